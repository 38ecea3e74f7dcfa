//! `cluster_roles`: what a profile allows, as Kubernetes rules. They stand in the configuration so
//! that the broker's own rights and the manifests can be exactly as wide as they need to be, and so
//! that a dangerous rule is refused before it reaches a cluster.

use serde::{Deserialize, Serialize};

/// A ClusterRole that profiles may bind.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterRole {
    /// Where it is bound: in chosen namespaces, or in the whole cluster (cluster-scoped resources only).
    #[serde(default)]
    pub scope: Scope,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// Where a ClusterRole is bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// By one RoleBinding in each namespace of the grant.
    #[default]
    Namespaces,
    /// By one ClusterRoleBinding.
    Cluster,
}

/// One rule of a ClusterRole, as Kubernetes has it. No part may be `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The API groups; `""` is the core group.
    pub api_groups: Vec<String>,
    /// The resources, sub-resources as `pods/exec`.
    pub resources: Vec<String>,
    /// The verbs.
    pub verbs: Vec<String>,
    /// Only objects of these names; all when empty.
    #[serde(default)]
    pub resource_names: Vec<String>,
}

/// The role that is there without being configured.
pub const SHIPPED: &str = "breakglass-workloads";
