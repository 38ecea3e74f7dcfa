//! An object of a cluster and its versions.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Names one object for good.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// API group, empty for the core group.
    pub group: String,
    /// API version within the group.
    pub version: String,
    /// Plural resource name.
    pub resource: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.resource, self.namespace, self.name)
    }
}

/// One version of an object, as a list or a watch showed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// Which object.
    pub key: ObjectKey,
    /// Its resource version; from Kubernetes 1.35 on they can be compared as numbers (KEP-5504).
    pub resource_version: u64,
    /// The object; `None` when it was deleted at this version.
    pub object: Option<Value>,
}
