//! Every version of what somebody may change, so that there is always a "before".

use super::discovery::{Discovery, Resource, base};
use super::rules::changeable;
use super::server::{Result, Server, segment, text};
use super::{ClusterError, layout};
use crate::domain::object::{ObjectKey, ObjectVersion};
use futures::{StreamExt, TryStreamExt};
use http::Request;
use kube::core::WatchEvent;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// From so many namespaces on a resource is watched in the whole cluster and the rest is thrown
/// away: every watch is a connection of its own.
const MANY_NAMESPACES: usize = 4;
/// How long the API server holds a watch open.
const WATCH_S: u32 = 290;
/// Longer without even a bookmark (the API server sends one about every minute), and the connection is dead.
const SILENCE: Duration = Duration::from_secs(150);
const AGAIN: Duration = Duration::from_secs(1);
const GONE: u16 = 410;

/// One list and watch.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    resource: Resource,
    path: String,
    /// `fieldSelector=…`, or empty.
    selector: String,
    /// Only objects in these; all when empty.
    keep: BTreeSet<String>,
}

/// The present version of everything the rules let somebody change.
pub(super) async fn snapshot(
    server: &Server,
    discovery: &Discovery,
    rules: &Value,
    namespaces: &[String],
) -> Result<Vec<ObjectVersion>> {
    let scopes = scopes(server, discovery, rules, namespaces).await?;
    let lists: Vec<Vec<ObjectVersion>> = futures::stream::iter(scopes)
        .map(|scope| async move { Ok::<_, ClusterError>(scope.list(server).await?.0) })
        .buffer_unordered(layout::AT_ONCE)
        .try_collect()
        .await?;
    Ok(lists.into_iter().flatten().collect())
}

/// Sends the present versions and then each change, until the receiver is gone.
pub(super) async fn watch(
    server: &Server,
    discovery: &Discovery,
    rules: &Value,
    namespaces: &[String],
    versions: &Sender<ObjectVersion>,
) -> Result<()> {
    let scopes = scopes(server, discovery, rules, namespaces).await?;
    follow_all(server, &scopes, versions).await
}

/// Sends the present versions of several scopes and then each change, until the receiver is gone.
pub(super) async fn follow_all(
    server: &Server,
    scopes: &[Scope],
    versions: &Sender<ObjectVersion>,
) -> Result<()> {
    let follow = async {
        futures::future::try_join_all(scopes.iter().map(|scope| scope.follow(server, versions))).await?;
        // Nothing to watch, or nobody listens: the latter is what it waits for.
        versions.closed().await;
        Ok(())
    };
    tokio::select! { () = versions.closed() => Ok(()), done = follow => done }
}

async fn scopes(
    server: &Server,
    discovery: &Discovery,
    rules: &Value,
    namespaces: &[String],
) -> Result<Vec<Scope>> {
    let mut all = vec![];
    for (group, plurals) in changeable(rules) {
        for plural in plurals {
            // What is not served cannot be changed either.
            let Some(resource) = discovery.preferred(server, &group, &plural).await? else {
                continue;
            };
            if resource.watchable {
                all.extend(places(&resource, namespaces));
            }
        }
    }
    Ok(all)
}

/// Where a resource is watched. Without namespaces the role is bound in the whole cluster. A
/// `Namespace` is in itself (a `RoleBinding` in it reaches it); other cluster-scoped objects are out
/// of a `RoleBinding`'s reach.
fn places(resource: &Resource, namespaces: &[String]) -> Vec<Scope> {
    let base = base(&resource.group, &resource.version);
    let plural = segment(&resource.plural);
    let scope = |path: String, selector: String, keep: BTreeSet<String>| Scope {
        resource: resource.clone(),
        path,
        selector,
        keep,
    };
    let everywhere = format!("{base}/{plural}");
    if namespaces.is_empty() {
        return vec![scope(everywhere, String::new(), BTreeSet::new())];
    }
    if !resource.namespaced && !is_namespace(resource) {
        return vec![];
    }
    if namespaces.len() >= MANY_NAMESPACES {
        return vec![scope(
            everywhere,
            String::new(),
            namespaces.iter().cloned().collect(),
        )];
    }
    namespaces
        .iter()
        .map(|name| {
            let name = segment(name);
            if resource.namespaced {
                scope(
                    format!("{base}/namespaces/{name}/{plural}"),
                    String::new(),
                    BTreeSet::new(),
                )
            } else {
                scope(
                    everywhere.clone(),
                    format!("fieldSelector=metadata.name%3D{name}"),
                    BTreeSet::new(),
                )
            }
        })
        .collect()
}

fn is_namespace(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}

/// How a watch ended.
enum Ended {
    /// It can go on from its last version.
    Resumable,
    /// Its last version is too old: list again.
    TooOld,
    /// Nobody listens any more.
    Deaf,
}

impl Scope {
    /// Everything at that path.
    pub(super) fn whole(resource: Resource, path: String) -> Self {
        Self {
            resource,
            path,
            selector: String::new(),
            keep: BTreeSet::new(),
        }
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} {}", self.path)
    }

    /// What is there, and the list's version.
    async fn list(&self, server: &Server) -> Result<(Vec<ObjectVersion>, String)> {
        let list = server
            .list(&self.doing("listing"), &self.path, &self.selector)
            .await?;
        let items = list.items.into_iter().map(|item| self.version(item));
        let items: Vec<Option<ObjectVersion>> = items.collect::<Result<_>>()?;
        Ok((items.into_iter().flatten().collect(), list.version))
    }

    /// Lists, watches, and connects again, until nobody listens.
    async fn follow(&self, server: &Server, versions: &Sender<ObjectVersion>) -> Result<()> {
        let mut known: BTreeSet<ObjectKey> = BTreeSet::new();
        'list: loop {
            let (present, mut at) = match self.list(server).await {
                Ok(found) => found,
                // The first list must succeed: nothing says later that a scope was never seen.
                Err(ClusterError::Unreachable { why, .. }) if !known.is_empty() => {
                    tracing::warn!(path = self.path, why, "a list broke; it is tried again");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let keys: BTreeSet<ObjectKey> = present.iter().map(|version| version.key.clone()).collect();
            // Deleted while no watch ran: the list's version is the latest it can have happened at.
            let resource_version = self.number(&at)?;
            let deleted = known.difference(&keys).cloned();
            let deleted = deleted.map(|key| ObjectVersion {
                key,
                resource_version,
                object: None,
            });
            for version in deleted.collect::<Vec<_>>().into_iter().chain(present) {
                if versions.send(version).await.is_err() {
                    return Ok(());
                }
            }
            known = keys;
            loop {
                match self.watch_once(server, &mut at, &mut known, versions).await {
                    Ok(Ended::Resumable) => {}
                    Ok(Ended::TooOld) => continue 'list,
                    Ok(Ended::Deaf) => return Ok(()),
                    Err(ClusterError::Unreachable { why, .. }) => {
                        tracing::warn!(
                            path = self.path,
                            why,
                            "a watch broke; it goes on from where it was"
                        );
                        tokio::time::sleep(AGAIN).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// One watch from version `at`, which it moves on.
    async fn watch_once(
        &self,
        server: &Server,
        at: &mut String,
        known: &mut BTreeSet<ObjectKey>,
        versions: &Sender<ObjectVersion>,
    ) -> Result<Ended> {
        let doing = self.doing("watching");
        let query = format!(
            "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_S}&resourceVersion={}&{}",
            self.path,
            segment(at),
            self.selector
        );
        let request = Request::get(query.trim_end_matches('&'))
            .body(vec![])
            .map_err(|error| server.unreachable(&doing, &error.to_string()))?;
        let open = tokio::time::timeout(SILENCE, server.client.request_events::<Value>(request)).await;
        let silent = |_| server.unreachable(&doing, "it went silent");
        let events = match open.map_err(silent)? {
            Ok(events) => events,
            Err(kube::Error::Api(status)) if status.code == GONE => return Ok(Ended::TooOld),
            Err(error) => return Err(server.explain(&doing, &error)),
        };
        let mut events = pin!(events);
        loop {
            let next = tokio::time::timeout(SILENCE, events.try_next())
                .await
                .map_err(silent)?;
            let (item, deleted) = match next.map_err(|error| server.explain(&doing, &error))? {
                None => return Ok(Ended::Resumable),
                Some(WatchEvent::Bookmark(mark)) => {
                    *at = mark.metadata.resource_version;
                    continue;
                }
                Some(WatchEvent::Error(status)) if status.code == GONE => return Ok(Ended::TooOld),
                Some(WatchEvent::Error(status)) => return Err(server.refused(&doing, &status)),
                Some(WatchEvent::Added(item) | WatchEvent::Modified(item)) => (item, false),
                Some(WatchEvent::Deleted(item)) => (item, true),
            };
            text(&item, "/metadata/resourceVersion").clone_into(at);
            let Some(mut version) = self.version(item)? else {
                continue;
            };
            if deleted {
                version.object = None;
                known.remove(&version.key);
            } else {
                known.insert(version.key.clone());
            }
            if versions.send(version).await.is_err() {
                return Ok(Ended::Deaf);
            }
        }
    }

    /// An item as a version; `None` when it is in a namespace nobody asked about.
    fn version(&self, mut item: Value) -> Result<Option<ObjectVersion>> {
        let name = text(&item, "/metadata/name").to_owned();
        // Audit names a Namespace as being in itself.
        let namespace = if is_namespace(&self.resource) {
            &name
        } else {
            text(&item, "/metadata/namespace")
        };
        if !self.keep.is_empty() && !self.keep.contains(namespace) {
            return Ok(None);
        }
        let key = ObjectKey {
            group: self.resource.group.clone(),
            version: self.resource.version.clone(),
            resource: self.resource.plural.clone(),
            namespace: namespace.to_owned(),
            name: name.clone(),
        };
        let resource_version = self.number(text(&item, "/metadata/resourceVersion"))?;
        // Items of a list come without them.
        item["apiVersion"] = json!(self.resource.api_version());
        item["kind"] = json!(self.resource.kind);
        Ok(Some(ObjectVersion {
            key,
            resource_version,
            object: Some(item),
        }))
    }

    fn number(&self, version: &str) -> Result<u64> {
        version.parse().map_err(|_| {
            ClusterError::Unsound(format!(
                "{} has resource version {version:?}, which is no number: versions could not be put in order",
                self.path
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &str, plural: &str, namespaced: bool) -> Resource {
        Resource {
            group: group.into(),
            version: "v1".into(),
            plural: plural.into(),
            kind: "Kind".into(),
            namespaced,
            watchable: true,
        }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("ns-{n}")).collect()
    }

    #[test]
    fn each_namespace_is_watched_by_itself_until_they_are_many() {
        let deployments = resource("apps", "deployments", true);
        let few = places(&deployments, &names(2));
        let paths: Vec<&str> = few.iter().map(|scope| scope.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/apis/apps/v1/namespaces/ns-0/deployments",
                "/apis/apps/v1/namespaces/ns-1/deployments"
            ]
        );
        let many = places(&deployments, &names(9));
        assert_eq!(
            (many.len(), many[0].path.as_str()),
            (1, "/apis/apps/v1/deployments")
        );
        let item = |namespace: &str| json!({"metadata": {"name": "web", "namespace": namespace, "resourceVersion": "7"}});
        assert!(many[0].version(item("ns-3")).unwrap().is_some());
        assert!(many[0].version(item("other")).unwrap().is_none());
    }

    #[test]
    fn a_role_binding_reaches_its_own_namespace_and_no_node() {
        let own = places(&resource("", "namespaces", false), &names(1));
        assert_eq!(own[0].selector, "fieldSelector=metadata.name%3Dns-0");
        let version = own[0].version(json!({"metadata": {"name": "ns-0", "resourceVersion": "7"}}));
        assert_eq!(version.unwrap().unwrap().key.namespace, "ns-0");
        assert!(places(&resource("", "nodes", false), &names(1)).is_empty());
        assert_eq!(
            places(&resource("", "nodes", false), &[])[0].path,
            "/api/v1/nodes"
        );
    }

    #[test]
    fn a_version_carries_kind_and_number_and_a_strange_number_is_an_error() {
        let scope = places(&resource("apps", "deployments", true), &names(1)).remove(0);
        let item = json!({"metadata": {"name": "web", "namespace": "ns-0", "resourceVersion": "12"}});
        let version = scope.version(item).unwrap().unwrap();
        assert_eq!(version.resource_version, 12);
        assert_eq!(version.object.unwrap()["apiVersion"], "apps/v1");
        let strange = json!({"metadata": {"name": "web", "namespace": "ns-0", "resourceVersion": "a1"}});
        assert!(matches!(scope.version(strange), Err(ClusterError::Unsound(_))));
    }
}
