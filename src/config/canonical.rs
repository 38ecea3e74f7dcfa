//! One spelling of a value, so that its digest changes only when its meaning does.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// SHA-256 over `value` in canonical JSON, hex.
pub(super) fn digest(value: &impl Serialize) -> String {
    // Sections hold strings, whole numbers, booleans, lists and maps with string keys, which always
    // become JSON; were one ever not to, `null` would be one digest for all, so that is made loud.
    let value = serde_json::to_value(value).unwrap_or_else(|error| panic!("a section is not JSON: {error}"));
    let mut text = String::new();
    write(&value, &mut text);
    hex::encode(Sha256::digest(text))
}

/// Keys in order, no white space: RFC 8785 for values without fractions and keys without
/// characters beyond the basic plane, which a configuration has none of.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (at, (key, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", Value::from(key.as_str()));
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_does_not_matter_and_values_do() {
        let one = digest(&json!({"a": {"x": 1, "y": [true, null]}, "b": "é\n"}));
        assert_eq!(
            one,
            digest(&json!({"b": "é\n", "a": {"y": [true, null], "x": 1}}))
        );
        assert_ne!(
            one,
            digest(&json!({"b": "é\n", "a": {"y": [null, true], "x": 1}}))
        );
        // printf '{"a":[1,"x"]}' | sha256sum
        assert_eq!(
            digest(&json!({"a": [1, "x"]})),
            "5e49f471d8b615a8ae0ecf0a53dbe2f5f617abb2dfe6246974aa6e4bdeb89725"
        );
    }
}
