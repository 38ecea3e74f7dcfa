//! A finding: something is wrong and people must look at it. Pinned on the feed until they did.

use crate::clock::Time;
use crate::ids::{FindingId, GrantId};
use serde::{Deserialize, Serialize};

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its id.
    pub id: FindingId,
    /// What makes it the same finding seen again; one open finding a key.
    pub key: String,
    /// When it was found.
    pub at: Time,
    /// What, in a sentence.
    pub text: String,
    /// The cluster.
    pub cluster: Option<String>,
    /// The grant.
    pub grant: Option<GrantId>,
    /// Who looked at it, what they say, when.
    pub settled: Option<(String, String, Time)>,
}
