//! What a `ClusterRole` lets somebody do, as it is now.

use super::ClusterError;
use super::server::{Result, Server, segment, text};
use crate::config;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The rules of a `ClusterRole`, canonical.
pub(super) async fn rules(server: &Server, cluster_role: &str) -> Result<Value> {
    let path = format!(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/{}",
        segment(cluster_role)
    );
    let doing = format!("reading ClusterRole {cluster_role}");
    // A role that is not there is no role without rules, and neither is an answer about something else.
    match server.find(&doing, &path).await? {
        Some(role) => canonical(cluster_role, &role),
        None => Err(ClusterError::Refused {
            cluster: server.cluster.clone(),
            doing,
            code: 404,
            why: format!("there is no ClusterRole {cluster_role}"),
        }),
    }
}

/// The same rules in whatever order they were written are the same value.
fn canonical(name: &str, role: &Value) -> Result<Value> {
    let unsound = |why: &str| Err(ClusterError::Unsound(format!("ClusterRole {name} {why}")));
    if role.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
        return unsound("has an aggregationRule: a label added elsewhere would widen an approved access");
    }
    if !text(role, "/metadata/deletionTimestamp").is_empty() {
        return unsound("is being deleted");
    }
    let mut rules = vec![];
    for rule in role.get("rules").and_then(Value::as_array).into_iter().flatten() {
        if !members(rule, "nonResourceURLs").is_empty() {
            return unsound("gives access to URLs that are no resources");
        }
        let mut one = serde_json::Map::new();
        for part in ["apiGroups", "resources", "verbs", "resourceNames"] {
            let members = members(rule, part);
            // Kubernetes has no way to take anything out of a wildcard again.
            if part != "resourceNames" && members.iter().any(|member| member.contains('*')) {
                return unsound(&format!("has a wildcard in {part}"));
            }
            one.insert(part.into(), json!(members));
        }
        rules.push(Value::Object(one));
    }
    rules.sort_by_key(Value::to_string);
    rules.dedup();
    Ok(Value::Array(rules))
}

fn members(rule: &Value, part: &str) -> BTreeSet<String> {
    let members = rule.get(part).and_then(Value::as_array).into_iter().flatten();
    members.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Canonical rules as the configuration's type.
pub(super) fn as_role(rules: &Value) -> config::ClusterRole {
    let rule = |rule: &Value| {
        let part = |name| members(rule, name).into_iter().collect();
        config::Rule {
            api_groups: part("apiGroups"),
            resources: part("resources"),
            verbs: part("verbs"),
            resource_names: part("resourceNames"),
        }
    };
    config::ClusterRole {
        scope: config::Scope::default(),
        rules: rules.as_array().into_iter().flatten().map(rule).collect(),
    }
}

/// By API group, the resources the rules let somebody change. A sub-resource counts as the object it
/// belongs to: `deployments/scale` changes the Deployment. Secrets are out of the broker's reach, and
/// Events are no state.
#[must_use]
pub fn changeable(rules: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in as_role(rules).rules.iter().filter(|rule| rule.changes()) {
        for (group, resource) in rule.pairs() {
            let resource = resource.split('/').next().unwrap_or(resource);
            let skipped = resource.contains('*')
                || group.contains('*')
                || resource == "events"
                || (group.is_empty() && resource == "secrets");
            if !skipped {
                all.entry(group.to_owned())
                    .or_default()
                    .insert(resource.to_owned());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(rules: &Value) -> Value {
        json!({"metadata": {"name": "r"}, "rules": rules})
    }

    #[test]
    fn order_is_no_change_and_one_more_verb_is() {
        let one = role(&json!([
            {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["patch", "get"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        ]));
        let same = role(&json!([
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": []},
            {"apiGroups": ["apps"], "resources": ["statefulsets", "deployments"], "verbs": ["get", "patch"]},
        ]));
        let wider = role(&json!([
            {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["patch", "get"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]},
        ]));
        let read = |role| canonical("r", role).unwrap();
        assert_eq!(read(&one), read(&same));
        assert_ne!(read(&one), read(&wider));
    }

    #[test]
    fn what_can_be_widened_or_has_no_bounds_is_unsound() {
        let pods = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
        let mut aggregated = role(&pods);
        aggregated["aggregationRule"] = json!({"clusterRoleSelectors": []});
        let wild = role(&json!([{"apiGroups": [""], "resources": ["pods/*"], "verbs": ["get"]}]));
        let urls = role(&json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]));
        for (bad, word) in [
            (aggregated, "aggregationRule"),
            (wild, "wildcard"),
            (urls, "URLs"),
        ] {
            let Err(ClusterError::Unsound(why)) = canonical("r", &bad) else {
                panic!("{bad} was taken")
            };
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn what_is_watched_is_what_can_be_changed() {
        let rules = json!([
            {"apiGroups": [""], "resources": ["secrets", "events", "configmaps", "pods/exec"], "verbs": ["create"], "resourceNames": []},
            {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"], "resourceNames": []},
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch"], "resourceNames": []},
        ]);
        let all = changeable(&rules);
        assert_eq!(
            json!(all),
            json!({"": ["configmaps", "pods"], "apps": ["deployments"]})
        );
    }
}
