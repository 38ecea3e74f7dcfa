//! `profiles`: a ClusterRole with its rules of use.

use super::{scalar::Duration, scalar::Pattern, sla::Deadlines};
use serde::{Deserialize, Serialize};

/// A ClusterRole with its rules of use: who, where, how long, with whose approval.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The profile's name: its key in the file.
    #[serde(default, skip_deserializing)]
    #[schemars(skip)]
    pub name: String,
    /// What it is for, in words that the requester and the approver read.
    pub description: String,
    /// The ClusterRole it binds: one of `cluster_roles`, or the shipped `breakglass-workloads`.
    pub cluster_role: String,
    /// The clusters it can be used on.
    pub clusters: Vec<String>,
    /// The namespaces it can be used in, `*` for any part. Protected ones are always left out. Not
    /// for a ClusterRole whose scope is the cluster.
    #[serde(default)]
    pub namespaces: Vec<Pattern>,
    /// The teams whose engineers may ask for it.
    pub teams: Vec<String>,
    /// The durations the form offers, the first one chosen.
    pub durations: Vec<Duration>,
    /// The longest it may last, extensions included.
    pub max_duration: Duration,
    /// How many people must approve.
    #[serde(default = "one")]
    pub approvals: u32,
    /// Who may approve: names of `approvers`.
    pub approvers: Vec<String>,
    /// How long a request may wait for its approvals.
    #[serde(default = "patience")]
    pub patience: Duration,
    /// How long a grant may stay laid out without its credential being revealed.
    #[serde(default = "ready_shelf_life")]
    pub ready_shelf_life: Duration,
    /// How long ago a login may be for approving and revealing; that of `sign_in` when left out.
    #[serde(default)]
    pub step_up_window: Option<Duration>,
    /// The deadlines of what is owed afterwards; those of `sla` when left out.
    #[serde(default)]
    pub deadlines: Option<Deadlines>,
    /// The ServiceAccounts that Pods made or changed under it may run as. A Pod that names none runs
    /// as `default`.
    #[serde(default = "default_account")]
    pub service_account_names: Vec<String>,
    /// Show a credential even when its own events did not come back through audit. Each use is an
    /// alarm and an entry of the ledger.
    #[serde(default)]
    pub release_without_audit: bool,
    /// What happens to its grants when the cluster's audit goes silent.
    #[serde(default)]
    pub when_audit_is_silent: WhenSilent,
}

/// What happens to running grants when audit goes silent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenSilent {
    /// An alarm; the grant goes on.
    #[default]
    Alarm,
    /// The grant ends.
    End,
}

/// No request waits longer, whatever its profile says.
pub const LONGEST_PATIENCE: Duration = Duration::from_seconds(24 * 3600);

impl Profile {
    /// Whether it may be used in `namespace`, protected namespaces aside
    /// ([`super::Cluster::protects`] knows those).
    #[must_use]
    pub fn allows_namespace(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|pattern| pattern.matches(namespace))
    }

    /// SHA-256 over the profile in canonical JSON, hex. An approval is bound to it, so an edit of
    /// this profile voids the approval and an edit elsewhere does not.
    #[must_use]
    pub fn digest(&self) -> String {
        super::canonical::digest(self)
    }
}

const fn one() -> u32 {
    1
}

const fn patience() -> Duration {
    Duration::from_seconds(3600)
}

const fn ready_shelf_life() -> Duration {
    Duration::from_seconds(30 * 60)
}

fn default_account() -> Vec<String> {
    vec!["default".into()]
}
