//! The objects drift speaks about, and what is left for people to do by hand.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Group, version and kind of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gvk {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version inside the group.
    pub version: String,
    /// The kind, as it stands in a manifest.
    pub kind: String,
}

impl Gvk {
    /// Group, version and kind in that order.
    #[must_use]
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    /// The `apiVersion` of a manifest.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Reads `apiVersion` and `kind` of a manifest.
    #[must_use]
    pub fn of(manifest: &Value) -> Option<Self> {
        let api = manifest.get("apiVersion")?.as_str()?;
        let kind = manifest.get("kind")?.as_str()?;
        let (group, version) = api.split_once('/').unwrap_or(("", api));
        Some(Self::new(group, version, kind))
    }

    /// Is it the core `Secret`, whose values never enter this module?
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.group.is_empty() && self.kind == "Secret"
    }
}

/// One object of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Group, version, kind.
    pub gvk: Gvk,
    /// The namespace; none for cluster-scoped objects.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {}/{}", self.gvk.kind, namespace, self.name),
            None => write!(f, "{} {}", self.gvk.kind, self.name),
        }
    }
}

/// Something a person has to bring to git, because no edit is sure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualItem {
    /// The object it is about.
    pub object: ObjectRef,
    /// The fields it is about, as [`super::Path`] displays them; empty for the whole object.
    pub paths: Vec<String>,
    /// Why there is no edit, in one sentence.
    pub why: String,
    /// The exact change as a merge patch in YAML, list items named by their merge keys (a
    /// strategic merge patch), or the whole manifest of a new object. None where a value looks
    /// secret or where there is nothing to patch.
    pub patch: Option<String>,
    /// What to do, in one sentence.
    pub how: String,
}

/// Why an input is refused outright.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A Secret was handed in with its content; only its name may be.
    #[error("{0} is a Secret: its content must not be compared or written")]
    Secret(ObjectRef),
}
