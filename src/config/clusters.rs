//! `clusters`: the clusters that access is lent to, and the names of everything the broker makes there.

use super::{Automation, Secret, scalar::Duration, scalar::HttpUrl};
use crate::ids::GrantId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The namespace that holds every grant's ServiceAccount and Secrets: one group for audit policies
/// and admission policies to match.
pub const GRANTS_NAMESPACE: &str = "breakglass-grants";
/// The group every grant's ServiceAccount is in.
pub const GRANTS_GROUP: &str = "system:serviceaccounts:breakglass-grants";
/// The namespace of the broker itself.
pub const BROKER_NAMESPACE: &str = "breakglass";
/// The broker's own ServiceAccount.
pub const BROKER_ACCOUNT: &str = "breakglass";
/// The broker's user name at the API server.
pub const BROKER_USER: &str = "system:serviceaccount:breakglass:breakglass";
/// How the name of everything that belongs to a grant begins; the admission policies hold the
/// broker to it.
pub const NAME_PREFIX: &str = "breakglass-";
/// The account that the audit policy is probed with, where it is at the moment. It has no rights, and its name is no
/// grant's: that ends in digits.
pub const PROBE_ACCOUNT: &str = "breakglass-audit-probe";
/// The query parameter that names a probe of the audit policy: API servers ignore it, and audit keeps it.
pub const PROBE_PARAMETER: &str = "breakglassAuditProbe";
/// The label on everything that belongs to a grant; its value is the grant's id.
pub const GRANT_LABEL: &str = "breakglass/grant";
/// The label that a ClusterRole must carry, with value `cluster`, before a ClusterRoleBinding to it is let through.
pub const SCOPE_LABEL: &str = "breakglass/scope";
/// The type of the Secret that a reveal's token is bound to; the broker may make no other.
pub const REVEAL_SECRET_TYPE: &str = "breakglass/reveal";

/// No profile ever reaches into these, whatever the configuration says: whoever writes there can
/// take the cluster or the broker.
pub const ALWAYS_PROTECTED: &[&str] = &[
    "kube-system",
    "kube-public",
    "kube-node-lease",
    BROKER_NAMESPACE,
    GRANTS_NAMESPACE,
];

/// The digits of the grant's id at the end of its names. The length is fixed, so that the profile's
/// name can be cut out of a user name without doubt (`a` and `a-b` are both names of profiles).
pub const NAME_ID_DIGITS: usize = 12;

/// The name of a grant's ServiceAccount and of its bindings: `breakglass-PROFILE-` and the last
/// 12 hex digits of the grant's id. The session policy reads the profile from it.
#[must_use]
pub fn grant_name(profile: &str, grant: GrantId) -> String {
    let id = grant.to_string().replace('-', "");
    format!("{NAME_PREFIX}{profile}-{}", &id[id.len() - NAME_ID_DIGITS..])
}

/// A cluster.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The name people read; the key when left out.
    #[serde(default)]
    pub display: Option<String>,
    /// How the broker reaches it.
    pub access: Access,
    /// The API server's address as engineers reach it; the broker's own when left out.
    #[serde(default)]
    pub engineer_server: Option<HttpUrl>,
    /// The certificate authority for `engineer_server`, PEM; the broker's own when left out.
    #[serde(default)]
    pub engineer_ca_file: Option<PathBuf>,
    /// How its API servers prove themselves at `/hooks/audit/NAME`.
    pub audit: AuditSender,
    /// Its API servers by name, where it has several: each sends its audit to `/hooks/audit/NAME/SERVER`, and each is
    /// sent canaries and asked for its counters by itself. Without them there is one, at the cluster's own address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub api_servers: BTreeMap<String, ApiServer>,
    /// How long an event that an API server counted may be on its way before it counts as lost, where the API server
    /// does not say itself that it gave it up: longer than it goes on trying.
    #[serde(default = "lost_after")]
    pub lost_after: Duration,
    /// Namespaces no profile reaches into, besides `kube-system`, `kube-public`, `kube-node-lease`,
    /// `breakglass` and `breakglass-grants`, which are always protected. Name the GitOps
    /// controllers' namespaces here.
    #[serde(default = "gitops_namespaces")]
    pub protected_namespaces: Vec<String>,
    /// The proof that its audit is alive.
    #[serde(default)]
    pub canary: Canary,
    /// How long after a grant's end its record counts as settled where the API servers' counters
    /// are out of reach; added to the audit delay measured.
    #[serde(default = "settle_window")]
    pub settle_window: Duration,
    /// How long a reveal waits at most for its own events to come back through audit.
    #[serde(default = "audit_wait")]
    pub audit_wait: Duration,
}

/// One API server of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiServer {
    /// Where it alone answers, past whatever shares the load; its certificate is held to the cluster's authority.
    pub address: HttpUrl,
    /// The name in its certificate, where that is not the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
}

/// How the broker reaches a cluster.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Access {
    /// By a kubeconfig file.
    Kubeconfig(Kubeconfig),
    /// As the Pod the broker runs in.
    InCluster,
}

/// A kubeconfig file.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kubeconfig {
    /// The file. A relative path begins at the configuration's folder.
    pub file: PathBuf,
    /// The context in it; its current one when left out.
    #[serde(default)]
    pub context: Option<String>,
}

/// How an API server proves that audit events are its own: by a token, by a client certificate, or by
/// both. At least one is given; where both are, both must fit.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditSender {
    /// A bearer token in its webhook's kubeconfig; each cluster has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// The certificate authority, PEM, of the client certificate in its webhook's kubeconfig; read again
    /// when the file changes. Whoever it issues a client certificate to can write this cluster's record:
    /// give it an authority of its own, never the cluster's. Needs `server.tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<PathBuf>,
    /// Who changes this cluster and is no person: what a person changes without a grant is a finding.
    #[serde(default, skip_serializing_if = "Automation::is_empty")]
    pub automation: Automation,
    /// What is kept of events that are no grant's. The rest is counted, whatever is kept.
    #[serde(default)]
    pub keep: Keep,
}

/// What is kept of the events that are no grant's. A grant's events and what is flagged are kept always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// All of them.
    Everything,
    /// What changed something, or may have.
    Changes,
    /// None.
    #[default]
    Grants,
}

/// The dead-man's switch: a request that must come back through audit.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// How often it is sent to each API server.
    #[serde(default = "every")]
    pub every: Duration,
    /// Missing for so long: an alarm, and no new grants on that cluster.
    #[serde(default = "alarm_after")]
    pub alarm_after: Duration,
    /// Missing for so long: the grants of profiles with `when_audit_is_silent: end` are ended.
    #[serde(default = "end_after")]
    pub end_after: Duration,
}

impl Default for Canary {
    fn default() -> Self {
        Self {
            every: every(),
            alarm_after: alarm_after(),
            end_after: end_after(),
        }
    }
}

impl Cluster {
    /// The names of its API servers; the empty one where they have none.
    #[must_use]
    pub fn servers(&self) -> Vec<&str> {
        if self.api_servers.is_empty() {
            return vec![""];
        }
        self.api_servers.keys().map(String::as_str).collect()
    }

    /// The name of the API server that sends to the hook's path of that name; the empty one where none has it.
    #[must_use]
    pub fn server(&self, sent_to: &str) -> &str {
        self.api_servers
            .get_key_value(sent_to)
            .map_or("", |(name, _)| name)
    }

    /// Whether `namespace` is out of every profile's reach.
    #[must_use]
    pub fn protects(&self, namespace: &str) -> bool {
        ALWAYS_PROTECTED.contains(&namespace)
            || self.protected_namespaces.iter().any(|name| name == namespace)
    }

    /// Every protected namespace, sorted, each once.
    #[must_use]
    pub fn protected(&self) -> Vec<&str> {
        let mut all: Vec<&str> = ALWAYS_PROTECTED.to_vec();
        all.extend(self.protected_namespaces.iter().map(String::as_str));
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn gitops_namespaces() -> Vec<String> {
    ["argocd", "flux-system"].map(str::to_owned).into()
}

const fn settle_window() -> Duration {
    Duration::from_seconds(100)
}

const fn lost_after() -> Duration {
    Duration::from_seconds(3 * 60)
}

const fn audit_wait() -> Duration {
    Duration::from_seconds(45)
}

const fn every() -> Duration {
    Duration::from_seconds(15)
}

const fn alarm_after() -> Duration {
    Duration::from_seconds(90)
}

const fn end_after() -> Duration {
    Duration::from_seconds(5 * 60)
}
