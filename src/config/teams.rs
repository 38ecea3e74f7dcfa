//! `teams`: who works together, and who leads them.

use serde::{Deserialize, Serialize};

/// A team. A request is filed for one of the requester's teams.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// The name people read; the key when left out.
    #[serde(default)]
    pub display: Option<String>,
    /// The groups whose members belong to it.
    pub groups: Vec<String>,
    /// The groups whose members lead it: they hear of a missed deadline before compliance does.
    #[serde(default)]
    pub lead_groups: Vec<String>,
    /// Where mail for its leads goes.
    #[serde(default)]
    pub lead_mail: Vec<String>,
}
