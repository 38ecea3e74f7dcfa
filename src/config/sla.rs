//! `sla`: the deadlines of what is owed after an emergency.

use super::scalar::Duration;
use serde::{Deserialize, Serialize};

/// The deadlines that hold where a profile sets none, and when they count as near.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sla {
    /// The deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// How much of a deadline's time has passed, in per cent, when it counts as due soon.
    #[serde(default = "due_soon_percent")]
    pub due_soon_percent: u32,
}

impl Default for Sla {
    fn default() -> Self {
        Self {
            deadlines: Deadlines::default(),
            due_soon_percent: due_soon_percent(),
        }
    }
}

/// Three deadlines, each counted from the grant's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// The pull request is open.
    #[serde(default = "opened")]
    pub opened: Duration,
    /// It is merged with somebody else's approval.
    #[serde(default = "merged")]
    pub merged: Duration,
    /// The cluster equals the merged commit.
    #[serde(default = "converged")]
    pub converged: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            opened: opened(),
            merged: merged(),
            converged: converged(),
        }
    }
}

const fn due_soon_percent() -> u32 {
    75
}

const fn opened() -> Duration {
    Duration::from_seconds(3600)
}

const fn merged() -> Duration {
    Duration::from_seconds(24 * 3600)
}

const fn converged() -> Duration {
    Duration::from_seconds(72 * 3600)
}
