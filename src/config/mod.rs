//! The configuration: one YAML file, validated whole at start, secrets redacted. A file of this room
//! is a section of that file.
//!
//! Reading goes in three steps, each of which finds as many problems as it can: `tree` parses the
//! YAML and remembers where everything stands, `shape` holds it against the JSON Schema that the
//! sections' own types give, and `validate` asks whether what the sections say of each other is true.

mod approvers;
mod canonical;
mod cluster_roles;
mod clusters;
mod forge;
mod ledger;
mod notices;
mod problem;
mod profiles;
mod roles;
mod scalar;
mod secret;
mod server;
mod sign_in;
mod sla;
mod store;
mod teams;

pub use approvers::Approvers;
pub use cluster_roles::{ClusterRole, Rule, SHIPPED as SHIPPED_CLUSTER_ROLE, Scope};
pub use clusters::{
    ALWAYS_PROTECTED, Access, AuditSender, BROKER_ACCOUNT, BROKER_NAMESPACE, BROKER_USER, Canary, Cluster,
    GRANT_LABEL, GRANTS_GROUP, GRANTS_NAMESPACE, Kubeconfig, NAME_ID_DIGITS, NAME_PREFIX, REVEAL_SECRET_TYPE,
    SCOPE_LABEL, grant_name,
};
pub use forge::{DeployedPath, Forge, ForgeApp, ForgeCredentials, ForgeKind, Repository};
pub use ledger::Ledger;
pub use notices::{Notices, Smtp, SmtpTls, Webhook};
pub use problem::Problem;
pub use profiles::{LONGEST_PATIENCE, Profile, WhenSilent};
pub use roles::Roles;
pub use scalar::{Cidr, Duration, HttpUrl, Listen, Pattern, Scalar};
pub use secret::{Env, Secret};
pub use server::{Server, Tls};
pub use sign_in::{Session, SignIn};
pub use sla::{Deadlines, Sla};
pub use store::Store;
pub use teams::Team;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole configuration. Names that are keys (`teams`, `clusters`, `profiles`, `approvers`,
/// repositories) are chosen by whoever writes it: lower-case letters, digits and `-`.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the service listens and how people reach it.
    pub server: Server,
    /// The database.
    pub store: Store,
    /// The OpenID provider.
    pub sign_in: SignIn,
    /// Who works together, and who leads them.
    pub teams: BTreeMap<String, Team>,
    /// Which groups may do what in the service.
    pub roles: Roles,
    /// The clusters that access is lent to.
    pub clusters: BTreeMap<String, Cluster>,
    /// What profiles allow, besides the shipped `breakglass-workloads`.
    #[serde(default)]
    pub cluster_roles: BTreeMap<String, ClusterRole>,
    /// What can be asked for.
    pub profiles: BTreeMap<String, Profile>,
    /// Named circles of people who may approve.
    pub approvers: BTreeMap<String, Approvers>,
    /// Where git lives.
    pub forge: Forge,
    /// Who is told, and how.
    #[serde(default)]
    pub notices: Notices,
    /// The deadlines of what is owed afterwards.
    #[serde(default)]
    pub sla: Sla,
    /// The name and the key of the log.
    pub ledger: Ledger,
}

impl Config {
    /// SHA-256 over the whole configuration in canonical JSON, hex: defaults filled in, secrets as
    /// `[redacted]`, so that it tells one policy from another and nothing about a secret.
    #[must_use]
    pub fn digest(&self) -> String {
        canonical::digest(self)
    }

    /// The deadlines that hold for a profile.
    #[must_use]
    pub fn deadlines(&self, profile: &Profile) -> Deadlines {
        profile.deadlines.unwrap_or(self.sla.deadlines)
    }

    /// The step-up window that holds for a profile.
    #[must_use]
    pub fn step_up_window(&self, profile: &Profile) -> Duration {
        profile.step_up_window.unwrap_or(self.sign_in.step_up_window)
    }
}
