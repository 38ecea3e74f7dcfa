//! `roles`: which groups may do what in the service.

use serde::{Deserialize, Serialize};

/// The groups that hold each role. A role that nobody holds is an empty list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// May ask for access and use it.
    pub engineer: Vec<String>,
    /// May open the inbox; what they can approve is said by `approvers` and the profiles.
    pub approver: Vec<String>,
    /// May end anybody's grant.
    #[serde(default)]
    pub revoker: Vec<String>,
    /// Reads everything, reviews emergencies, waives debts.
    pub compliance: Vec<String>,
    /// Reads everything, changes nothing.
    #[serde(default)]
    pub auditor: Vec<String>,
    /// Runs the service: sees its health and its outbox.
    #[serde(default)]
    pub operator: Vec<String>,
}
