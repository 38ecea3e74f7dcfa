//! The scopes of live grants are watched, so that there is always a "before".

use super::unexplained::{Changes, Observer};
use super::{Broker, Result};
use crate::cluster::{ClusterError, changeable};
use crate::domain::grant::{Grant, GrantState};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::ids::GrantId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// One watch a live grant.
#[derive(Debug, Default)]
pub struct Watches {
    /// What they showed to change.
    pub(super) changes: Arc<Changes>,
    running: Mutex<BTreeMap<GrantId, JoinHandle<()>>>,
}

impl Watches {
    /// Sees that the grant's scope is watched. The first time it also keeps the present version of
    /// everything in it before it returns.
    ///
    /// # Errors
    /// The first list failed: the grant must not become Ready.
    pub async fn ensure(&self, broker: &Broker, grant: &Grant) -> Result<()> {
        if self
            .running()
            .get(&grant.id)
            .is_some_and(|task| !task.is_finished())
        {
            return Ok(());
        }
        let cluster = Arc::clone(broker.cluster(&grant.cluster)?);
        let mut present = cluster.snapshot(&grant.rules, &grant.namespaces).await?;
        present.extend(gone(broker, grant, &present).await?);
        broker
            .store
            .keep_versions(&grant.cluster, &present, broker.now())
            .await?;
        let (store, clock) = (Arc::clone(&broker.store), Arc::clone(&broker.clock));
        let mut observer = Observer::begin(&present, broker.now());
        let changes = Arc::clone(&self.changes);
        let grant = grant.clone();
        let id = grant.id;
        let task = tokio::spawn(async move {
            let (sender, mut receiver) = mpsc::channel::<ObjectVersion>(256);
            let keep = async {
                let mut batch = vec![];
                while receiver.recv_many(&mut batch, 256).await > 0 {
                    if let Err(error) = store.keep_versions(&grant.cluster, &batch, clock.now()).await {
                        tracing::error!(%error, grant = %grant.id, "versions could not be kept");
                    }
                    changes.see(grant.id, &mut observer, &batch, clock.now());
                    batch.clear();
                    match store.grant(grant.id).await {
                        Ok(Some(now)) if now.state == GrantState::Ended => return,
                        _ => {}
                    }
                }
            };
            let watch = async {
                loop {
                    match cluster
                        .watch(&grant.rules, &grant.namespaces, sender.clone())
                        .await
                    {
                        Ok(()) => return,
                        Err(ClusterError::Unsound(why)) => {
                            tracing::error!(why, grant = %grant.id, "the scope cannot be watched");
                        }
                        Err(error) => {
                            tracing::warn!(%error, grant = %grant.id, "a watch broke; it starts again");
                        }
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            let over = async {
                loop {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    if let Ok(Some(now)) = store.grant(grant.id).await
                        && now.state == GrantState::Ended
                    {
                        return;
                    }
                }
            };
            tokio::select! { () = keep => {}, () = watch => {}, () = over => {} }
        });
        let mut running = self.running();
        running.retain(|_, task| !task.is_finished());
        if let Some(old) = running.insert(id, task) {
            old.abort();
        }
        Ok(())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<GrantId, JoinHandle<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was there when the scope was last watched and is not any more. Without these, what was deleted while
/// nobody watched would be the "before" of its next namesake, and making it again would look like no change.
async fn gone(broker: &Broker, grant: &Grant, present: &[ObjectVersion]) -> Result<Vec<ObjectVersion>> {
    let there: BTreeSet<_> = present.iter().map(|version| place(&version.key)).collect();
    let whole = [String::new()];
    let namespaces = if grant.namespaces.is_empty() {
        whole.as_slice()
    } else {
        grant.namespaces.as_slice()
    };
    let now = broker.now().timestamp_millis();
    let mut gone = vec![];
    for (group, resources) in changeable(&grant.rules) {
        for resource in resources {
            for namespace in namespaces {
                let all = ObjectKey {
                    group: group.clone(),
                    version: String::new(),
                    resource: resource.clone(),
                    namespace: namespace.clone(),
                    name: String::new(),
                };
                let known = broker.store.versions_before(&grant.cluster, &all, now).await?;
                gone.extend(
                    known
                        .into_iter()
                        .filter(|known| !there.contains(&place(&known.key))),
                );
            }
        }
    }
    for version in &mut gone {
        // The next version there can have been.
        version.resource_version += 1;
        version.object = None;
    }
    Ok(gone)
}

/// An object is one, whatever version of the API it is read by.
fn place(key: &ObjectKey) -> (&str, &str, &str, &str) {
    (&key.group, &key.resource, &key.namespace, &key.name)
}
