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

/// API groups no session may touch: each of them hands out rights or takes over what others send.
const REFUSED_GROUPS: [&str; 4] = [
    "rbac.authorization.k8s.io",
    "admissionregistration.k8s.io",
    "certificates.k8s.io",
    "apiregistration.k8s.io",
];

/// Resources no session may touch: `nodes/proxy` is an exec on every Pod of a node,
/// `serviceaccounts/token` makes another identity, `pods/binding` goes past the scheduler.
const REFUSED_RESOURCES: [&str; 3] = ["nodes/proxy", "serviceaccounts/token", "pods/binding"];

const REFUSED_VERBS: [&str; 3] = ["impersonate", "escalate", "bind"];

/// What a role bound in the whole cluster may carry. A namespaced resource there would reach into
/// every protected namespace, and reads are seen by no admission policy: a cluster-wide
/// `get secrets` reads signing keys.
const CLUSTER_SCOPED: [(&str, &[&str]); 8] = [
    (
        "",
        &[
            "namespaces",
            "namespaces/status",
            "nodes",
            "nodes/status",
            "persistentvolumes",
            "persistentvolumes/status",
        ],
    ),
    (
        "storage.k8s.io",
        &["storageclasses", "volumeattachments", "csidrivers", "csinodes"],
    ),
    ("scheduling.k8s.io", &["priorityclasses"]),
    ("networking.k8s.io", &["ingressclasses"]),
    ("node.k8s.io", &["runtimeclasses"]),
    (
        "apiextensions.k8s.io",
        &["customresourcedefinitions", "customresourcedefinitions/status"],
    ),
    ("metrics.k8s.io", &["nodes"]),
    (
        "flowcontrol.apiserver.k8s.io",
        &["flowschemas", "prioritylevelconfigurations"],
    ),
];

impl ClusterRole {
    /// The role that is there without being configured: workloads and their configuration, exec,
    /// logs and port-forward; no Secrets, no rights, no ServiceAccounts.
    #[must_use]
    pub fn shipped() -> Self {
        const READ: &[&str] = &["get", "list", "watch"];
        const CHANGE: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete"];
        let rule = |group: &str, resources: &[&str], verbs: &[&str]| Rule {
            api_groups: vec![group.to_owned()],
            resources: resources.iter().map(|name| (*name).to_owned()).collect(),
            verbs: verbs.iter().map(|name| (*name).to_owned()).collect(),
            resource_names: Vec::new(),
        };
        Self {
            scope: Scope::Namespaces,
            rules: vec![
                rule(
                    "",
                    &["pods", "configmaps", "services", "persistentvolumeclaims"],
                    CHANGE,
                ),
                rule(
                    "",
                    &[
                        "pods/log",
                        "pods/status",
                        "events",
                        "resourcequotas",
                        "limitranges",
                    ],
                    READ,
                ),
                // Before 1.35 `get` alone is enough to exec over WebSocket, so both are said.
                rule(
                    "",
                    &["pods/exec", "pods/attach", "pods/portforward"],
                    &["get", "create"],
                ),
                rule("", &["pods/eviction"], &["create"]),
                rule("", &["pods/ephemeralcontainers"], &["get", "update", "patch"]),
                rule(
                    "apps",
                    &["deployments", "statefulsets", "daemonsets", "replicasets"],
                    CHANGE,
                ),
                rule(
                    "apps",
                    &["deployments/scale", "statefulsets/scale", "replicasets/scale"],
                    &["get", "update", "patch"],
                ),
                rule("apps", &["controllerrevisions"], READ),
                rule("batch", &["jobs", "cronjobs"], CHANGE),
                rule("autoscaling", &["horizontalpodautoscalers"], CHANGE),
                rule("networking.k8s.io", &["ingresses", "networkpolicies"], CHANGE),
                rule("policy", &["poddisruptionbudgets"], CHANGE),
                rule("events.k8s.io", &["events"], READ),
            ],
        }
    }

    /// Why the role is too dangerous to lend, each with the index of its rule.
    pub(super) fn dangers(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            let mut say = |why: String| found.push((at, why));
            if [&rule.api_groups, &rule.resources, &rule.verbs]
                .into_iter()
                .any(Vec::is_empty)
            {
                say("api_groups, resources and verbs must each name something".into());
            }
            let parts = rule
                .api_groups
                .iter()
                .chain(&rule.resources)
                .chain(&rule.verbs)
                .chain(&rule.resource_names);
            if let Some(part) = parts.into_iter().find(|part| part.contains('*')) {
                say(format!(
                    "'{part}' is a wildcard: Kubernetes has no way to take anything out of it again"
                ));
            }
            for group in rule
                .api_groups
                .iter()
                .filter(|group| REFUSED_GROUPS.contains(&group.as_str()))
            {
                say(format!(
                    "'{group}' hands out rights or takes over what others send; it is never lent"
                ));
            }
            for verb in rule
                .verbs
                .iter()
                .filter(|verb| REFUSED_VERBS.contains(&verb.as_str()))
            {
                say(format!(
                    "'{verb}' makes another identity or more rights; it is never lent"
                ));
            }
            for resource in rule
                .resources
                .iter()
                .filter(|name| REFUSED_RESOURCES.contains(&name.as_str()))
            {
                say(format!(
                    "'{resource}' leads around every control; it is never lent"
                ));
            }
            if self.scope == Scope::Cluster {
                for (group, resource) in rule
                    .pairs()
                    .filter(|(group, resource)| !is_cluster_scoped(group, resource))
                {
                    let group = if group.is_empty() { "core" } else { group };
                    say(format!(
                        "'{resource}' ({group}) is not known to be cluster-scoped: bound in the whole cluster it \
                         would reach into the protected namespaces"
                    ));
                }
            }
        }
        found
    }

    /// Whether a holder may do `verb` to any object of that resource.
    #[must_use]
    pub fn allows(&self, verb: &str, group: &str, resource: &str) -> bool {
        self.rules.iter().any(|rule| {
            rule.resource_names.is_empty()
                && rule.verbs.iter().any(|one| one == verb)
                && rule.pairs().any(|pair| pair == (group, resource))
        })
    }
}

impl Rule {
    /// Every (API group, resource) the rule speaks of.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.api_groups.iter().flat_map(|group| {
            self.resources
                .iter()
                .map(move |resource| (group.as_str(), resource.as_str()))
        })
    }

    /// Whether it lets something be changed.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.verbs.iter().any(|verb| is_change(verb))
    }
}

/// A verb that lets something be changed.
#[must_use]
pub fn is_change(verb: &str) -> bool {
    !matches!(verb, "get" | "list" | "watch")
}

fn is_cluster_scoped(group: &str, resource: &str) -> bool {
    CLUSTER_SCOPED
        .iter()
        .any(|(known, resources)| *known == group && resources.contains(&resource))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dangers(yaml: &str) -> String {
        let role: ClusterRole = serde_saphyr::from_str(yaml).unwrap();
        role.dangers()
            .into_iter()
            .map(|(at, why)| format!("{at}: {why}"))
            .collect::<Vec<_>>()
            .join(
                "
",
            )
    }

    #[test]
    fn what_leads_out_of_a_session_is_never_lent() {
        for (rule, word) in [
            ("{api_groups: ['*'], resources: [pods], verbs: [get]}", "wildcard"),
            (
                "{api_groups: [''], resources: ['pods/*'], verbs: [get]}",
                "wildcard",
            ),
            ("{api_groups: [''], resources: [pods], verbs: ['*']}", "wildcard"),
            (
                "{api_groups: [rbac.authorization.k8s.io], resources: [roles], verbs: [get]}",
                "never lent",
            ),
            (
                "{api_groups: [''], resources: [serviceaccounts], verbs: [impersonate]}",
                "impersonate",
            ),
            (
                "{api_groups: [''], resources: [serviceaccounts/token], verbs: [create]}",
                "serviceaccounts/token",
            ),
            (
                "{api_groups: [''], resources: [nodes/proxy], verbs: [get]}",
                "nodes/proxy",
            ),
            (
                "{api_groups: [], resources: [pods], verbs: [get]}",
                "must each name",
            ),
        ] {
            let found = dangers(&format!("rules: [{rule}]"));
            assert!(found.contains(word), "{rule}: {found}");
        }
        assert_eq!(
            dangers("rules: [{api_groups: [''], resources: [secrets], verbs: [get]}]"),
            ""
        );
    }

    #[test]
    fn a_role_for_the_whole_cluster_carries_cluster_scoped_resources_alone() {
        let secrets = dangers(
            "{scope: cluster, rules: [{api_groups: [''], resources: [secrets, nodes], verbs: [get]}]}",
        );
        assert!(
            secrets.contains("'secrets' (core)") && !secrets.contains("'nodes'"),
            "{secrets}"
        );
    }

    #[test]
    fn the_shipped_role_is_fit_to_be_lent_and_reads_no_secrets() {
        let shipped = ClusterRole::shipped();
        assert_eq!(shipped.dangers(), []);
        assert!(
            shipped
                .rules
                .iter()
                .all(|rule| rule.pairs().all(|(_, resource)| !resource.starts_with("secrets")))
        );
        assert!(shipped.allows("patch", "apps", "deployments") && !shipped.allows("get", "", "secrets"));
    }
}
