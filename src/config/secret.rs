//! Secrets: read from a file or the environment, never written in the configuration, and never
//! printed: whatever formats or serializes one writes `[redacted]`.

use serde::{Deserialize, Serialize, Serializer};
use std::{fmt, path::Path, path::PathBuf};

const REDACTED: &str = "[redacted]";

/// Where a secret comes from. It is never written in the configuration itself, because that file is
/// kept in git.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Source {
    /// A file that holds the secret and nothing else (one line end after it is cut off). A relative
    /// path begins at the configuration's folder.
    File(PathBuf),
    /// The name of an environment variable.
    Env(String),
}

/// A secret of the configuration.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
#[serde(from = "Source")]
#[schemars(with = "Source", rename = "Secret")]
pub struct Secret {
    source: Source,
    value: Option<String>,
}

impl From<Source> for Secret {
    fn from(source: Source) -> Self {
        Self { source, value: None }
    }
}

impl Secret {
    /// The secret itself.
    ///
    /// A configuration that was loaded only to be looked at has not read its secrets: then this is
    /// a random value that opens nothing, and never an empty one, which might.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.value.as_deref().unwrap_or_else(|| unread())
    }

    /// Reads the secret; relative files begin at `folder`.
    ///
    /// # Errors
    /// Why it cannot be read, in words that name the source and never the value.
    pub(super) fn read(&mut self, folder: &Path, env: &Env) -> Result<(), String> {
        let (value, source) = match &self.source {
            Source::File(path) => {
                let path = folder.join(path);
                let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
                    std::io::ErrorKind::InvalidData => format!("the file {} is not text", path.display()),
                    _ => format!("the file {} cannot be read: {error}", path.display()),
                })?;
                (text, format!("the file {}", path.display()))
            }
            Source::Env(name) => (
                env.get(name)
                    .ok_or_else(|| format!("the environment variable {name} is not set"))?,
                format!("the environment variable {name}"),
            ),
        };
        let line = value.strip_suffix('\n').unwrap_or(&value);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim().is_empty() {
            return Err(format!("{source} is empty"));
        }
        self.value = Some(line.to_owned());
        Ok(())
    }

    /// Whether the value was read.
    pub(super) const fn is_read(&self) -> bool {
        self.value.is_some()
    }

    /// A secret with a known value: for tests.
    #[cfg(test)]
    #[must_use]
    pub fn for_test(value: &str) -> Self {
        Self {
            source: Source::Env("TEST".into()),
            value: Some(value.to_owned()),
        }
    }
}

/// One random value a process, so that two looks at an unread secret agree with each other and
/// with nothing else.
fn unread() -> &'static str {
    static UNREAD: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    UNREAD.get_or_init(|| hex::encode(crate::ids::random_bytes::<32>()))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// The environment variables that secrets may name.
#[derive(Clone, Default)]
pub struct Env(Option<std::collections::BTreeMap<String, String>>);

impl Env {
    /// The environment of this process.
    #[must_use]
    pub const fn of_process() -> Self {
        Self(None)
    }

    /// Only these variables.
    #[must_use]
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self(Some(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        ))
    }

    fn get(&self, name: &str) -> Option<String> {
        match &self.0 {
            Some(pairs) => pairs.get(name).cloned(),
            None => std::env::var(name).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(yaml: &str) -> Secret {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn a_secret_is_read_and_never_printed() {
        let mut read = secret("env: TOKEN");
        read.read(Path::new("."), &Env::of(&[("TOKEN", "hunter2\r\n")]))
            .unwrap();
        assert_eq!(read.expose(), "hunter2");
        let printed = format!("{read} {read:?} {}", serde_json::to_string(&read).unwrap());
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(printed.contains("[redacted]"));
    }

    #[test]
    fn a_file_is_found_beside_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-a-file\n").unwrap();
        let mut read = secret("file: token");
        read.read(folder.path(), &Env::of(&[])).unwrap();
        assert_eq!(read.expose(), "from-a-file");
    }

    #[test]
    fn what_cannot_be_read_is_named_and_empty_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        for (yaml, words) in [
            ("env: NONE", "NONE is not set"),
            ("file: none", "none cannot be read"),
            ("file: empty", "is empty"),
        ] {
            let why = secret(yaml).read(folder.path(), &Env::of(&[])).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn an_unread_secret_opens_nothing() {
        let unread = secret("env: TOKEN");
        assert!(unread.expose().len() >= 32);
    }
}
