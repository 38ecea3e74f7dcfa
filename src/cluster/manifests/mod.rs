//! What has to be applied to a cluster before access to it can be lent: namespaces, the broker's own
//! rights, the profiles' ClusterRoles and two admission policies, each exactly as wide as the
//! configured profiles need. What a profile may touch differs from shop to shop, so no static file
//! could be right.

mod applied;
mod audit_policy;
mod audit_probe;
mod broker;
mod probe;
mod session;

pub use applied::as_printed;
pub use audit_policy::audit_policy;
pub use audit_probe::{AuditProbe, Heard, Wrong, audit_probes, lines_for};
pub use probe::{Probe, probe};

use crate::config::{
    BROKER_ACCOUNT, BROKER_NAMESPACE, ClusterRole, Config, GRANTS_NAMESPACE, Rule, SCOPE_LABEL, Scope,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The admission policy that holds sessions: its name and that of its binding.
pub const SESSION_POLICY: &str = "breakglass-session";
/// The admission policy that holds the broker: its name and that of its binding, of the broker's
/// ClusterRole and of its Roles.
pub const BROKER_POLICY: &str = "breakglass-broker";

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
pub enum ManifestsError {
    /// The configuration has no such cluster.
    #[error("there is no cluster '{0}' in the configuration")]
    UnknownCluster(String),
    /// A part could not be written as YAML.
    #[error("a manifest could not be written: {0}")]
    Write(String),
}

/// Everything to apply to the cluster of that name, as one stream of YAML documents.
///
/// # Errors
/// When the configuration has no such cluster.
pub fn manifests(config: &Config, cluster: &str) -> Result<String, ManifestsError> {
    let lent = Lent::of(config, cluster)?;
    let mut text = String::from(
        "# Printed by `breakglass manifests`; print it again after every change of profiles or protected\n\
         # namespaces. Apply it with the rights of a cluster administrator.\n",
    );
    for (comment, document) in documents(&lent) {
        text.push_str("---\n");
        if !comment.is_empty() {
            let _ = writeln!(text, "# {comment}");
        }
        text.push_str(&yaml(&document)?);
    }
    Ok(text)
}

/// What the profiles of one cluster lend.
struct Lent<'a> {
    /// The ClusterRoles by name, each once.
    roles: BTreeMap<&'a str, &'a ClusterRole>,
    /// By profile, the ServiceAccounts its Pods may run as.
    accounts: BTreeMap<&'a str, &'a [String]>,
    protected: Vec<&'a str>,
    /// The longest a token has to live, in seconds.
    longest: u32,
}

impl<'a> Lent<'a> {
    fn of(config: &'a Config, name: &'a str) -> Result<Self, ManifestsError> {
        let unknown = || ManifestsError::UnknownCluster(name.to_owned());
        let cluster = config.clusters.get(name).ok_or_else(unknown)?;
        let profiles: Vec<_> = config.profiles_on(name).collect();
        Ok(Self {
            // A profile's role is known once the configuration is valid, and no other is ever passed in.
            roles: profiles
                .iter()
                .filter_map(|profile| {
                    Some((
                        profile.cluster_role.as_str(),
                        config.cluster_role(&profile.cluster_role)?,
                    ))
                })
                .collect(),
            accounts: profiles
                .iter()
                .map(|profile| (profile.name.as_str(), profile.service_account_names.as_slice()))
                .collect(),
            protected: cluster.protected(),
            longest: profiles
                .iter()
                .map(|profile| profile.max_duration.seconds())
                .max()
                .unwrap_or(0),
        })
    }

    fn role_names(&self, scope: Scope) -> Vec<&str> {
        self.roles
            .iter()
            .filter(|(_, role)| role.scope == scope)
            .map(|(name, _)| *name)
            .collect()
    }

    /// What sessions may change, by API group, without sub-resources: what the broker reads for
    /// before and after. Never Secrets: RBAC cannot tell their names from their values.
    fn watched(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut watched: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (group, resource) in self
            .roles
            .values()
            .flat_map(|role| &role.rules)
            .filter(|rule| rule.changes())
            .flat_map(Rule::pairs)
        {
            let resource = resource.split('/').next().unwrap_or(resource);
            if !(group.is_empty() && resource == "secrets") {
                watched.entry(group).or_default().insert(resource);
            }
        }
        watched
    }
}

/// Every document with a line that says what it is for.
fn documents(lent: &Lent<'_>) -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("The broker itself.", namespace(BROKER_NAMESPACE)),
        (
            "One ServiceAccount per grant, and the Secrets their tokens die with.",
            namespace(GRANTS_NAMESPACE),
        ),
        ("No Pod ever runs as a grant's ServiceAccount.", no_pods()),
        (
            "",
            named("v1", "ServiceAccount", BROKER_ACCOUNT, Some(BROKER_NAMESPACE)),
        ),
    ];
    for (at, (name, role)) in lent.roles.iter().enumerate() {
        let comment = if at == 0 {
            "What the profiles lend. No role is a wildcard: RBAC cannot take anything out again."
        } else {
            ""
        };
        all.push((comment, profile_role(name, role)));
    }
    all.extend(broker::rights(lent));
    all.push((
        "The second wall around a session, and what RBAC cannot say: which Pods it may make.",
        session::policy(lent),
    ));
    all.push(("", policy_binding(SESSION_POLICY)));
    all.push((
        "The second wall around the broker: a stolen broker token must be nearly useless.",
        broker::policy(lent),
    ));
    all.push(("", policy_binding(BROKER_POLICY)));
    all
}

fn named(version: &str, kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({"name": name});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    metadata["labels"] = json!({"app.kubernetes.io/name": "breakglass"});
    json!({"apiVersion": version, "kind": kind, "metadata": metadata})
}

fn with(mut document: Value, fields: Value) -> Value {
    if let (Value::Object(document), Value::Object(fields)) = (&mut document, fields) {
        document.extend(fields);
    }
    document
}

fn namespace(name: &str) -> Value {
    let mut namespace = named("v1", "Namespace", name, None);
    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "restricted".into();
    namespace
}

fn no_pods() -> Value {
    with(
        named(
            "v1",
            "ResourceQuota",
            "breakglass-no-pods",
            Some(GRANTS_NAMESPACE),
        ),
        json!({"spec": {"hard": {"pods": "0"}}}),
    )
}

fn profile_role(name: &str, role: &ClusterRole) -> Value {
    let mut document = named("rbac.authorization.k8s.io/v1", "ClusterRole", name, None);
    if role.scope == Scope::Cluster {
        document["metadata"]["labels"][SCOPE_LABEL] = "cluster".into();
    }
    let rules = role.rules.iter().map(|rule| {
        let mut one = json!({"apiGroups": rule.api_groups, "resources": rule.resources, "verbs": rule.verbs});
        if !rule.resource_names.is_empty() {
            one["resourceNames"] = json!(rule.resource_names);
        }
        one
    });
    with(document, json!({"rules": rules.collect::<Vec<_>>()}))
}

/// `Audit` besides `Deny`: the refusal is noted in the audit event too.
fn policy_binding(policy: &str) -> Value {
    with(
        named(
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicyBinding",
            policy,
            None,
        ),
        json!({"spec": {"policyName": policy, "validationActions": ["Deny", "Audit"]}}),
    )
}

/// An admission policy over every write of those whom `who` matches. It fails closed.
fn admission_policy(name: &str, who: &str, variables: &[(&str, String)], rules: &[(String, &str)]) -> Value {
    let variables = variables
        .iter()
        .map(|(name, expression)| json!({"name": name, "expression": expression}));
    let validations = rules.iter().map(
        |(expression, message)| json!({"expression": expression, "message": message, "reason": "Forbidden"}),
    );
    with(
        named(
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicy",
            name,
            None,
        ),
        json!({"spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [
                {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]},
            ]},
            "matchConditions": [{"name": "who", "expression": who}],
            "variables": variables.collect::<Vec<_>>(),
            "validations": validations.collect::<Vec<_>>(),
        }}),
    )
}

/// `group/resource/subresource` of the request, the core group empty: `/pods/exec`.
const RESOURCE: &str = "request.resource.group + '/' + request.resource.resource + \
     (has(request.subResource) && request.subResource != '' ? '/' + request.subResource : '')";

/// A list of words as CEL has it. Names of a valid configuration hold no quote or backslash; any
/// that did are written as escapes, so that no name can ever be read as a part of a policy.
fn cel<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = |word: &str| {
        format!(
            "'{}'",
            word.replace('\\', "\\\\")
                .replace('\'', "\\'")
                .replace('\n', "\\n")
        )
    };
    format!(
        "[{}]",
        words.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
    )
}

fn yaml(document: &Value) -> Result<String, ManifestsError> {
    serde_saphyr::to_string(document).map_err(|error| ManifestsError::Write(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    pub(super) fn example() -> Config {
        let text = include_str!("../../../breakglass.example.yaml");
        Config::from_text("example", text, Path::new("/"), None).unwrap()
    }

    fn parsed() -> Vec<Value> {
        serde_saphyr::from_multiple(&manifests(&example(), "production").unwrap()).unwrap()
    }

    fn find(all: &[Value], kind: &str, name: &str) -> Value {
        all.iter()
            .find(|one| one["kind"] == kind && one["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("no {kind} {name}"))
            .clone()
    }

    #[test]
    fn what_is_printed_reads_back_as_what_was_meant() {
        let config = example();
        let meant: Vec<Value> = documents(&Lent::of(&config, "production").unwrap())
            .into_iter()
            .map(|(_, document)| document)
            .collect();
        assert_eq!(parsed(), meant);
        assert!(matches!(
            manifests(&config, "staging"),
            Err(ManifestsError::UnknownCluster(_))
        ));
    }

    #[test]
    fn the_broker_binds_the_profiles_roles_alone_and_reads_no_secrets_elsewhere() {
        let all = parsed();
        let rules = find(&all, "ClusterRole", "breakglass-broker")["rules"]
            .as_array()
            .unwrap()
            .clone();
        let names = |list: &Value| {
            list.as_array()
                .unwrap()
                .iter()
                .map(|one| one.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        for rule in rules.iter().filter(|rule| rule.get("nonResourceURLs").is_none()) {
            let (resources, verbs) = (names(&rule["resources"]), names(&rule["verbs"]));
            assert!(!resources.contains(&"secrets".to_owned()), "{rule}");
            assert!(verbs.iter().all(|verb| !["*", "escalate", "impersonate", "patch", "update"].contains(&verb.as_str())), "{rule}");
            if verbs.contains(&"bind".to_owned()) {
                assert_eq!(
                    names(&rule["resourceNames"]),
                    ["breakglass-nodes", "breakglass-workloads"]
                );
            }
        }
        for (group, resource) in [
            ("autoscaling", "horizontalpodautoscalers"),
            ("keda.sh", "scaledobjects"),
        ] {
            assert!(rules.iter().any(|rule| names(&rule["apiGroups"]) == [group]
                && names(&rule["resources"]) == [resource]
                && names(&rule["verbs"]) == ["list"]));
        }
        assert!(rules.iter().any(|rule| rule["apiGroups"][0] == "apps"
            && names(&rule["resources"]).contains(&"deployments".into())));
    }

    #[test]
    fn a_role_for_the_whole_cluster_is_labelled_and_others_are_not() {
        let all = parsed();
        assert_eq!(
            find(&all, "ClusterRole", "breakglass-nodes")["metadata"]["labels"][SCOPE_LABEL],
            "cluster"
        );
        assert!(
            find(&all, "ClusterRole", "breakglass-workloads")["metadata"]["labels"]
                .get(SCOPE_LABEL)
                .is_none()
        );
    }

    #[test]
    fn a_name_never_becomes_a_part_of_a_policy() {
        assert_eq!(cel(["a", "b'] || true || ['"]), r"['a', 'b\'] || true || [\'']");
        assert_eq!(cel([r"\'"]), r"['\\\'']");
    }
}
