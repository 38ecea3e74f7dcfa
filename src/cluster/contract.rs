//! What the broker asks of a cluster. Every call is idempotent, and every answer is read from the API
//! server, never remembered: it is the truth for access.

use super::manifests::AuditProbe;
use crate::clock::Time;
use crate::domain::counting::Counters;
use crate::domain::object::{ObjectKey, ObjectVersion};
use async_trait::async_trait;
use serde_json::Value;
use std::fmt;

/// Why a cluster could not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    /// Not reachable, too slow, or the answer was cut: it may or may not have been applied.
    #[error("the API server of {cluster} did not answer while {doing}: {why}")]
    Unreachable {
        /// The cluster.
        cluster: String,
        /// What was being done.
        doing: String,
        /// Why.
        why: String,
    },
    /// It answered no.
    #[error("the API server of {cluster} refused {doing} ({code}): {why}")]
    Refused {
        /// The cluster.
        cluster: String,
        /// What was being done.
        doing: String,
        /// The HTTP code.
        code: u16,
        /// Its message.
        why: String,
    },
    /// Something there is not as it must be.
    #[error("{0}")]
    Unsound(String),
}

/// What is laid out for a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The name of the `ServiceAccount` and of its bindings.
    pub account: String,
    /// The grant's id: the value of the label on everything made.
    pub grant: String,
    /// The `ClusterRole` to bind.
    pub cluster_role: String,
    /// One `RoleBinding` in each; empty for a cluster-scoped role (one `ClusterRoleBinding`).
    pub namespaces: Vec<String>,
}

/// A token that was just issued. Never stored, never printed.
pub struct Token {
    /// The credential itself.
    pub token: String,
    /// Its `jti`, by which audit names the credential.
    pub credential_id: String,
    /// The expiry the server really gave.
    pub expires_at: Time,
    /// A token bound to the same Secret that the API server refuses as a credential.
    pub probe: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("credential_id", &self.credential_id)
            .finish_non_exhaustive()
    }
}

/// What `TokenReview` says of a probe token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It still authenticates: the Secret lives.
    Alive,
    /// It is refused as invalidated or expired, with the server's words.
    Dead(String),
}

/// What a first use of a token found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstUse {
    /// The namespace asked about.
    pub namespace: String,
    /// The resource rules the server says the token has there, as `SelfSubjectRulesReview` returns them.
    pub rules: Value,
    /// The server could not list them all.
    pub incomplete: bool,
}

/// Something that gives access to an account of the grants' namespace, or is one; whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// What it is.
    pub what: Sighted,
    /// Its kind.
    pub kind: String,
    /// Where it is.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
    /// The grant that its label names; anybody may have written that.
    pub grant: Option<String>,
}

/// What was sighted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighted {
    /// A `ServiceAccount`.
    Account,
    /// A Secret.
    Secret {
        /// Of the type a reveal makes, which holds nothing.
        of_a_reveal: bool,
    },
    /// A binding.
    Binding {
        /// The accounts it names; `*` for all of them at once.
        accounts: Vec<String>,
        /// It names somebody else too.
        others: bool,
        /// The role it gives, with its kind.
        role: String,
    },
}

/// A cluster.
#[async_trait]
pub trait Cluster: Send + Sync + fmt::Debug {
    /// The UID of its `kube-system` namespace: what a cluster is, whatever it is called.
    async fn uid(&self) -> Result<String, ClusterError>;
    /// The names of its namespaces, sorted.
    async fn namespaces(&self) -> Result<Vec<String>, ClusterError>;
    /// The rules of a `ClusterRole` as they are now, canonical (`[{apiGroups, resources, verbs, resourceNames}]`,
    /// members sorted). One with an `aggregationRule` is [`ClusterError::Unsound`]: its rules can be
    /// widened from elsewhere after an approval.
    async fn rules(&self, cluster_role: &str) -> Result<Value, ClusterError>;

    /// Makes the `ServiceAccount` and its bindings; what exists as laid out is left alone, what exists
    /// otherwise is [`ClusterError::Unsound`].
    async fn lay_out(&self, access: &Access) -> Result<(), ClusterError>;
    /// Makes the `ServiceAccount` alone, without any right.
    async fn make_account(&self, access: &Access) -> Result<(), ClusterError>;
    /// Makes the Secret `secret` and issues a token bound to it, for `seconds` (600 at least), and its probe.
    async fn issue(&self, access: &Access, secret: &str, seconds: u32) -> Result<Token, ClusterError>;
    /// Issues another token for the Secret of a reveal, for `seconds` (600 at least); `None` when that Secret is gone.
    async fn issue_again(
        &self,
        access: &Access,
        secret: &str,
        seconds: u32,
    ) -> Result<Option<Token>, ClusterError>;
    /// Uses the token once: a `SelfSubjectRulesReview` per namespace, and a dry-run of something that
    /// RBAC allows and the session policy forbids. An accepted dry-run is [`ClusterError::Unsound`].
    async fn use_once(&self, access: &Access, token: &Token) -> Result<Vec<FirstUse>, ClusterError>;

    /// Deletes the grant's bindings and returns when a read no longer finds any.
    async fn remove_bindings(&self, access: &Access) -> Result<(), ClusterError>;
    /// Deletes a Secret and returns when a read no longer finds it.
    async fn remove_secret(&self, secret: &str) -> Result<(), ClusterError>;
    /// Deletes every Secret labelled with the grant and its `ServiceAccount`, and returns when a read
    /// no longer finds any.
    async fn remove_account(&self, access: &Access) -> Result<(), ClusterError>;
    /// Asks `TokenReview` about a probe token. An error proves nothing.
    async fn probe(&self, probe: &str) -> Result<Probe, ClusterError>;

    /// The present version of every object the rules let somebody change in `namespaces`
    /// (Secrets aside, which are out of the broker's reach), each with its `apiVersion` and `kind`.
    async fn snapshot(
        &self,
        rules: &Value,
        namespaces: &[String],
    ) -> Result<Vec<ObjectVersion>, ClusterError>;
    /// Watches the same scope and sends each change until the receiver is gone or the watch ends;
    /// it starts with the present versions. Returning `Ok` means the receiver is gone.
    async fn watch(
        &self,
        rules: &Value,
        namespaces: &[String],
        versions: tokio::sync::mpsc::Sender<ObjectVersion>,
    ) -> Result<(), ClusterError>;
    /// Sends every account and Secret of the grants' namespace and every binding that names one of its subjects,
    /// as they are and then as they change, until the receiver is gone or the watch ends.
    async fn guard(&self, sightings: tokio::sync::mpsc::Sender<Sighting>) -> Result<(), ClusterError>;
    /// Reads an object whose name is `nonce` from the API server of that name (by the cluster's own address for
    /// the empty one): audited whatever the answer, 403 and 404 too.
    async fn canary(&self, server: &str, nonce: &str) -> Result<(), ClusterError>;
    /// What the API server of that name says of its own audit, now.
    async fn counters(&self, server: &str) -> Result<Counters, ClusterError>;
    /// Sends probes of the audit policy, each with its nonce, to the API server of that name: with the token, or as
    /// the broker itself. They are refused, and audited all the same.
    async fn probe_audit(
        &self,
        server: &str,
        token: Option<&Token>,
        probes: &[(String, AuditProbe)],
    ) -> Result<(), ClusterError>;
    /// Sends a canary with a grant's token, as its user.
    async fn canary_as(&self, token: &Token, nonce: &str) -> Result<(), ClusterError>;
    /// The live object, `None` when it does not exist.
    async fn get(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError>;

    /// The autoscaler that sets the replicas of the object of that kind, in words: a
    /// `HorizontalPodAutoscaler` or a KEDA `ScaledObject` of its namespace whose `scaleTargetRef` it is.
    async fn autoscaler(&self, key: &ObjectKey, kind: &str) -> Result<Option<String>, ClusterError>;
    /// The lists of a custom resource that are maps, by the names of the fields on the way, with their keys.
    async fn list_keys(
        &self,
        key: &ObjectKey,
        kind: &str,
    ) -> Result<Vec<(String, Vec<String>)>, ClusterError>;
    /// The kind behind a resource, from discovery (`deployments` of `apps/v1` is `Deployment`).
    async fn kind(&self, key: &ObjectKey) -> Result<String, ClusterError>;
    /// The kubeconfig for a token: the address and CA engineers reach, the first namespace as default.
    fn kubeconfig(&self, access: &Access, token: &Token) -> String;
}
