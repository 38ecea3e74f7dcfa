//! What the API server serves: the kind behind a resource, and whether it lives in namespaces.

use super::ClusterError;
use super::server::{Result, Server, is_missing, segment, text};
use http::Method;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A resource as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) kind: String,
    pub(super) namespaced: bool,
    /// It can be listed and watched.
    pub(super) watchable: bool,
}

impl Resource {
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// Where a version of a group is served.
pub(super) fn base(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("/api/{}", segment(version))
    } else {
        format!("/apis/{}/{}", segment(group), segment(version))
    }
}

/// What was asked before, by where it is served. A resource that is not in it is asked for again:
/// a CRD may have come since.
#[derive(Debug, Default)]
pub(super) struct Discovery(Mutex<HashMap<String, Arc<Vec<Resource>>>>);

impl Discovery {
    /// The resource of that group and version.
    pub(super) async fn resource(
        &self,
        server: &Server,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Result<Resource> {
        let found = |all: &[Resource]| all.iter().find(|one| one.plural == plural).cloned();
        let path = base(group, version);
        if let Some(known) = self.known(&path).and_then(|all| found(&all)) {
            return Ok(known);
        }
        let fresh = self.ask(server, group, version).await?.unwrap_or_default();
        found(&fresh)
            .ok_or_else(|| ClusterError::Unsound(format!("{} serves no {plural} at {path}", server.cluster)))
    }

    /// The resource in the version its group prefers, or else in one that has it; `None` when it is
    /// not served.
    pub(super) async fn preferred(
        &self,
        server: &Server,
        group: &str,
        plural: &str,
    ) -> Result<Option<Resource>> {
        for version in versions(server, group).await? {
            let fresh = self.ask(server, group, &version).await?.unwrap_or_default();
            if let Some(found) = fresh.iter().find(|one| one.plural == plural) {
                return Ok(Some(found.clone()));
            }
        }
        Ok(None)
    }

    async fn ask(&self, server: &Server, group: &str, version: &str) -> Result<Option<Arc<Vec<Resource>>>> {
        let path = base(group, version);
        let doing = format!("reading what is served at {path}");
        let list = match server.send(&doing, Method::GET, &path, None).await? {
            Ok(list) => list,
            Err(status) if status.code == 404 && !is_missing(&status) => return Ok(None),
            Err(status) => return Err(server.refused(&doing, &status)),
        };
        // Read as "nothing is served there", a wrong answer would leave a scope unwatched.
        server.expect(&doing, &list, "APIResourceList")?;
        let resources: Arc<Vec<Resource>> = Arc::new(parse(group, version, &list));
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path, Arc::clone(&resources));
        Ok(Some(resources))
    }

    fn known(&self, path: &str) -> Option<Arc<Vec<Resource>>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .cloned()
    }
}

/// The versions of a group, the preferred one first; none when the group is not served.
async fn versions(server: &Server, group: &str) -> Result<Vec<String>> {
    if group.is_empty() {
        return Ok(vec!["v1".into()]);
    }
    let doing = format!("reading the versions of {group}");
    let found = match server
        .send(&doing, Method::GET, &format!("/apis/{}", segment(group)), None)
        .await?
    {
        Ok(found) => found,
        Err(status) if status.code == 404 => return Ok(vec![]),
        Err(status) => return Err(server.refused(&doing, &status)),
    };
    server.expect(&doing, &found, "APIGroup")?;
    let preferred = text(&found, "/preferredVersion/version").to_owned();
    let all = found
        .get("versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let others = all
        .map(|one| text(one, "/version").to_owned())
        .filter(|one| *one != preferred);
    Ok(std::iter::once(preferred.clone())
        .chain(others)
        .filter(|one| !one.is_empty())
        .collect())
}

fn parse(group: &str, version: &str, list: &Value) -> Vec<Resource> {
    let all = list
        .get("resources")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    all.filter(|one| !text(one, "/name").contains('/'))
        .map(|one| {
            let verbs = one.get("verbs").and_then(Value::as_array);
            let can = |verb: &str| verbs.is_some_and(|all| all.iter().any(|one| one == verb));
            Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                plural: text(one, "/name").to_owned(),
                kind: text(one, "/kind").to_owned(),
                namespaced: one.get("namespaced").and_then(Value::as_bool).unwrap_or(true),
                watchable: can("list") && can("watch"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sub_resources_are_no_resources() {
        let list = json!({"resources": [
            {"name": "pods", "kind": "Pod", "namespaced": true, "verbs": ["list", "watch", "get"]},
            {"name": "pods/exec", "kind": "PodExecOptions", "namespaced": true, "verbs": ["create"]},
            {"name": "bindings", "kind": "Binding", "namespaced": true, "verbs": ["create"]},
        ]});
        let all = parse("", "v1", &list);
        assert_eq!(all.len(), 2);
        assert!(all[0].watchable && all[0].kind == "Pod" && all[0].api_version() == "v1");
        assert!(!all[1].watchable);
    }
}
