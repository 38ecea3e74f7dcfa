//! Values that look like secrets, wherever they hide: they never leave this module.

use super::path::{Path, Step};
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

const NAMES: &str = r"pass(word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|client[_-]?secret|auth|dsn|conn(ection)?[_-]?str";

#[expect(clippy::unwrap_used, reason = "constant patterns, compiled by the tests")]
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(r"(?i)(^|[^a-z]|[a-z][_-])({NAMES})s?($|[^a-z])|(?i)(password|secret|token|apikey|privatekey|credentials?)$")).unwrap()
});

#[expect(clippy::unwrap_used, reason = "constant patterns, compiled by the tests")]
static TEXT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(
        r#"(?x)
        -----BEGIN\ [A-Z\ ]*PRIVATE\ KEY
        | \b(AKIA|ASIA)[0-9A-Z]{{16}}\b
        | \bgh[pousr]_[0-9A-Za-z]{{20,}} | \bgithub_pat_[0-9A-Za-z_]{{20,}} | \bglpat-[0-9A-Za-z_-]{{16,}}
        | \bxox[abprs]-[0-9A-Za-z-]{{10,}} | \bsk_(live|test)_[0-9A-Za-z]{{16,}}
        | \bAIza[0-9A-Za-z_-]{{30,}} | \bhvs\.[0-9A-Za-z_-]{{20,}}
        | \beyJ[0-9A-Za-z_-]{{8,}}\.eyJ[0-9A-Za-z_-]{{8,}}
        | ://[^/\s:@]*:[^/\s@]+@
        | (?i:bearer|basic)\ +[0-9A-Za-z+/_.=-]{{12,}}
        | (?im:({NAMES})["']?\s*[:=]\s*["']?[^\s"'$\{{<]{{3,}})
        | (?i:--?[a-z0-9-]*({NAMES})[=\ ]\S)"#
    ))
    .unwrap()
});

/// Does this text, at this path, look like a secret? Wrong towards yes: the price of a false
/// alarm is one manual item, the price of a miss is a secret in git.
#[must_use]
fn text_looks_secret(path: &Path, text: &str) -> bool {
    let key = path.last_key().unwrap_or_default();
    let reference = [
        "name",
        "key",
        "secretName",
        "serviceAccountName",
        "kind",
        "image",
        "imagePullPolicy",
    ]
    .contains(&key)
        || key.ends_with("Name")
        || key.ends_with("Ref")
        || key.ends_with("Path");
    if reference {
        return TEXT.is_match(text);
    }
    let named = path.0.iter().any(|step| match step {
        Step::Item(keys) => {
            keys.iter()
                .any(|(_, value)| value.as_str().is_some_and(|v| NAME.is_match(v)))
                && key == "value"
        }
        Step::Key(_) => false,
    }) || NAME.is_match(key);
    (named && !text.is_empty()) || TEXT.is_match(text) || looks_random(text)
}

/// Long unbroken text with the mix of a generated key. Digests name content and are no secret.
fn looks_random(text: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/_-=".contains(c)))
        .any(|word| {
            word.len() >= 28
                && !text.contains("sha256:")
                && word.contains(|c: char| c.is_ascii_digit())
                && word.contains(|c: char| c.is_ascii_uppercase())
                && word.contains(|c: char| c.is_ascii_lowercase())
                || word.len() >= 40
                    && !text.contains("sha256:")
                    && word.chars().all(|c| c.is_ascii_hexdigit())
        })
}

/// Does anything at or below this path look like a secret?
#[must_use]
pub fn looks_secret(path: &Path, value: &Value) -> bool {
    match value {
        Value::String(text) => text_looks_secret(path, text),
        Value::Object(map) => map.iter().any(|(key, below)| {
            let named_env = key == "value"
                && map
                    .get("name")
                    .and_then(Value::as_str)
                    .is_some_and(|name| NAME.is_match(name))
                && below.as_str().is_some_and(|text| !text.is_empty());
            named_env || looks_secret(&path.key(key), below)
        }),
        Value::Array(items) => {
            // `args: [--token, abc]` hides the value in the item after its name.
            let split = items.windows(2).any(|pair| {
                pair[0]
                    .as_str()
                    .is_some_and(|flag| flag.starts_with('-') && !flag.contains('=') && NAME.is_match(flag))
            });
            split || items.iter().any(|item| looks_secret(path, item))
        }
        _ => false,
    }
}

/// The value in words for people: short, one line, never a secret.
#[must_use]
pub fn in_words(path: &Path, value: Option<&Value>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(value) if looks_secret(path, value) => "looks secret, not shown".to_owned(),
        Some(Value::String(text)) => shorten(&format!("{text:?}")),
        Some(value) => shorten(&value.to_string()),
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 200 {
        return text.to_owned();
    }
    let head: String = text.chars().take(200).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_seen_wherever_they_hide() {
        let data = Path::keys(&["data", "app.properties"]);
        for text in [
            "db.password=hunter22",
            "url: postgres://app:s3cr3t@db/app",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_0123456789abcdefghijABCDEFGHIJ",
            "Authorization: Bearer abcdefghijklmnop",
            "Zk3jD8s0Qp1LmN7vXc5Bt2Rw9Yh4Ug6K",
        ] {
            assert!(looks_secret(&data, &json!(text)), "{text}");
        }
        let spec = Path::keys(&["spec", "containers"]);
        assert!(looks_secret(
            &spec,
            &json!([{"name":"web","env":[{"name":"DB_PASSWORD","value":"x"}]}])
        ));
        assert!(looks_secret(&Path::keys(&["args"]), &json!(["--token", "abc"])));
        assert!(looks_secret(&Path::keys(&["args"]), &json!(["--api-key=abc"])));
        assert!(looks_secret(&Path::keys(&["data", "password"]), &json!("x")));
        assert!(!in_words(&Path::keys(&["data", "password"]), Some(&json!("hunter2"))).contains("hunter2"));
    }

    #[test]
    fn everyday_values_are_shown() {
        for (path, value) in [
            (Path::keys(&["spec", "replicas"]), json!(5)),
            (Path::keys(&["data", "LOG_LEVEL"]), json!("debug")),
            (
                Path::keys(&["image"]),
                json!("shop/web@sha256:9b2a0f0d6c1e4a7f8b3c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2"),
            ),
            (Path::keys(&["secretName"]), json!("web-tls")),
            (
                Path::keys(&["secretKeyRef"]),
                json!({"name":"db","key":"password"}),
            ),
            (Path::keys(&["memory"]), json!("512Mi")),
            (Path::keys(&["args"]), json!(["--listen=:8080", "--verbose"])),
        ] {
            assert!(!looks_secret(&path, &value), "{path} {value}");
        }
    }
}
