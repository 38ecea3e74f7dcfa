//! One byte form for what is hashed or signed: JSON without spaces, object keys sorted by their
//! bytes (in the spirit of RFC 8785; numbers here are integers, so its float rules do not arise).

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The canonical bytes of `value`.
///
/// # Panics
/// Never for the plain data of this crate: a type whose serialisation can fail is not hashed.
#[must_use]
pub fn bytes(value: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("plain data serialises");
    serde_json::to_vec(&sorted(value)).expect("a JSON value serialises")
}

/// Lower-case hex of SHA-256 over `domain`, a line feed, and the canonical bytes of `value`.
/// The domain keeps a hash made for one purpose from standing for another.
#[must_use]
pub fn digest(domain: &str, value: &impl Serialize) -> String {
    let mut hash = Sha256::new();
    hash.update(domain.as_bytes());
    hash.update(b"\n");
    hash.update(bytes(value));
    hex::encode(hash.finalize())
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.into_iter().collect();
            members.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            Value::Object(
                members
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_does_not_matter_and_the_order_of_lists_does() {
        let one = json!({"b": [1, {"y": 1, "x": 2}], "a": null});
        let two = json!({"a": null, "b": [1, {"x": 2, "y": 1}]});
        assert_eq!(bytes(&one), bytes(&two));
        assert_eq!(
            String::from_utf8(bytes(&one)).unwrap(),
            r#"{"a":null,"b":[1,{"x":2,"y":1}]}"#
        );
        assert_ne!(digest("d", &json!([1, 2])), digest("d", &json!([2, 1])));
        assert_ne!(digest("d", &json!(1)), digest("e", &json!(1)));
    }
}
