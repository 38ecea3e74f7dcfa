//! `approvers`: named circles of people who may approve.

use serde::{Deserialize, Serialize};

/// People who may approve. Being named here is enough; the requester never counts.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approvers {
    /// The name people read; the key when left out.
    #[serde(default)]
    pub display: Option<String>,
    /// The groups whose members may approve.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Single people, by the person claim.
    #[serde(default)]
    pub people: Vec<String>,
    /// Where mail about a request that waits for them goes.
    #[serde(default)]
    pub mail: Vec<String>,
}
