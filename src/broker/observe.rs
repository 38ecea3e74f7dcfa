//! What a grant touched, before and after: from its recorded events, the versions that were watched, and
//! the live objects.

use super::{Broker, Result};
use crate::cluster::{Cluster, ClusterError};
use crate::domain::grant::Grant;
use crate::domain::object::ObjectKey;
use crate::domain::transition::ActionRow;
use crate::drift::{self, Observed, Touched};
use crate::ledger;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Said of an object where the cluster does not let the broker list autoscalers.
const UNSEEN_AUTOSCALER: &str = "an autoscaler, if there is one (the cluster's manifests are older than this \
                                 broker and do not let it look)";

/// One touched object and what the grant's events say of it.
struct Touch {
    key: ObjectKey,
    first_us: i64,
    first_version: Option<u64>,
    writes: Vec<drift::Write>,
}

impl Broker {
    /// Before and after of every object the grant's events touched.
    pub(super) async fn observe(
        &self,
        grant: &Grant,
        actions: &[(u64, ActionRow)],
    ) -> Result<Vec<(Touched, Observed)>> {
        let cluster = self.cluster(&grant.cluster)?;
        let mut observed = vec![];
        for mut touch in self.touches(grant, actions).await? {
            let until = touch.first_version.unwrap_or(u64::MAX);
            // Without a version in the event, the last one seen before the request came.
            let seen_before = touch.first_version.is_none().then_some(touch.first_us / 1000);
            let before = self
                .store
                .version_before(&grant.cluster, &touch.key, until, seen_before)
                .await?;
            if let Some(version) = &before {
                // One object looks different in each version of its API: both sides are read in the same.
                touch.key.version.clone_from(&version.key.version);
            }
            let before = before.and_then(|version| version.object);
            let after = if touch.key.resource == "secrets" {
                None
            } else {
                cluster.get(&touch.key).await?
            };
            let gvk = drift::Gvk::new(
                &touch.key.group,
                &touch.key.version,
                &kind(cluster.as_ref(), &touch.key, before.as_ref().or(after.as_ref())).await?,
            );
            let autoscaler = self
                .autoscaler(cluster.as_ref(), &touch, &gvk.kind, after.as_ref())
                .await?;
            let lists = match (&before, &after) {
                (Some(before), Some(after)) if before != after => {
                    cluster.list_keys(&touch.key, &gvk.kind).await?
                }
                _ => vec![],
            };
            observed.push((
                Touched {
                    gvk,
                    lists,
                    resource: touch.key.resource.clone(),
                    namespace: Some(touch.key.namespace.clone()).filter(|n| !n.is_empty()),
                    name: touch.key.name.clone(),
                    writes: touch.writes,
                },
                Observed {
                    before,
                    after,
                    autoscaler,
                },
            ));
        }
        Ok(observed)
    }

    /// What sets the object's number of replicas, asked only where there is such a number. Where the cluster
    /// does not let the broker look, an autoscaler is taken to be there: its number must not get into git.
    async fn autoscaler(
        &self,
        cluster: &dyn Cluster,
        touch: &Touch,
        kind: &str,
        after: Option<&Value>,
    ) -> Result<Option<String>> {
        if after.is_none_or(|object| object.pointer("/spec/replicas").is_none()) {
            return Ok(None);
        }
        match cluster.autoscaler(&touch.key, kind).await {
            Err(ClusterError::Refused { code: 403, .. }) => Ok(Some(UNSEEN_AUTOSCALER.to_owned())),
            found => Ok(found?),
        }
    }

    async fn touches(&self, grant: &Grant, actions: &[(u64, ActionRow)]) -> Result<Vec<Touch>> {
        let mut touches: BTreeMap<ObjectKey, Touch> = BTreeMap::new();
        for (entry, action) in actions.iter().filter(|(_, action)| action.mutation) {
            let Some(key) = object_key(action) else { continue };
            let event = self.event(*entry).await?;
            let written = event
                .get("responseObject")
                .filter(|o| o.is_object() && o.get("kind") != Some(&json!("Status")));
            let write = drift::Write {
                verb: text(&action.facts, "/verb"),
                subresource: action
                    .facts
                    .pointer("/object/subresource")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                body: event.get("requestObject").cloned(),
                answer: written.cloned(),
                code: action.code,
                manager: manager(&event),
                redacted: action.flags.iter().any(|flag| flag == "redacted"),
                generate_name: event.pointer("/requestObject/metadata/generateName").is_some()
                    && event.pointer("/requestObject/metadata/name").is_none(),
            };
            let version = written
                .and_then(|object| object.pointer("/metadata/resourceVersion"))
                .and_then(Value::as_str)
                .and_then(|version| version.parse().ok());
            for key in self.expand(grant, key, action).await? {
                // One object is served under several versions of its API.
                let any_version = ObjectKey {
                    version: String::new(),
                    ..key.clone()
                };
                let touch = touches.entry(any_version).or_insert_with(|| Touch {
                    key,
                    first_us: action.received_us,
                    first_version: version,
                    writes: vec![],
                });
                touch.writes.push(write.clone());
            }
        }
        Ok(touches.into_values().collect())
    }

    /// A `deletecollection` names nothing: it is resolved against what was there before.
    async fn expand(&self, grant: &Grant, key: ObjectKey, action: &ActionRow) -> Result<Vec<ObjectKey>> {
        if !key.name.is_empty() {
            return Ok(vec![key]);
        }
        let before = self
            .store
            .versions_before(&grant.cluster, &key, action.received_us / 1000)
            .await?;
        Ok(before.into_iter().map(|version| version.key).collect())
    }

    /// The stored event of an entry.
    async fn event(&self, entry: u64) -> Result<Value> {
        Ok(self
            .payload(entry)
            .await?
            .pointer("/facts/event")
            .cloned()
            .unwrap_or(Value::Null))
    }

    /// The payload of an entry.
    ///
    /// # Errors
    /// The store's, or the segment is damaged.
    pub async fn payload(&self, entry: u64) -> Result<Value> {
        let corrupt = |why: String| crate::store::StoreError::Corrupt {
            what: "a segment",
            why,
        };
        let Some(stored) = self.store.segment_of(entry).await? else {
            return Ok(Value::Null);
        };
        let segment = ledger::open(&stored.bytes).map_err(|error| corrupt(error.to_string()))?;
        let at = u32::try_from(entry - stored.first).unwrap_or(u32::MAX);
        match segment.payload(at) {
            Some(bytes) => Ok(serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?),
            None => Ok(Value::Null),
        }
    }
}

/// The field manager a request named, or what stands for it: the first word of its user agent.
fn manager(event: &Value) -> Option<String> {
    let uri = event.get("requestURI").and_then(Value::as_str)?;
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    let named = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "fieldManager");
    let agent = event.get("userAgent").and_then(Value::as_str).unwrap_or_default();
    let name = named.map_or_else(
        || agent.split('/').next().unwrap_or_default().to_owned(),
        |(_, name)| name.into_owned(),
    );
    (!name.is_empty()).then_some(name)
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn object_key(action: &ActionRow) -> Option<ObjectKey> {
    let object = action.facts.get("object").filter(|object| !object.is_null())?;
    Some(ObjectKey {
        group: text(object, "/api_group"),
        version: text(object, "/version"),
        resource: text(object, "/resource"),
        namespace: text(object, "/namespace"),
        name: text(object, "/name"),
    })
}

async fn kind(cluster: &dyn Cluster, key: &ObjectKey, object: Option<&Value>) -> Result<String> {
    match object
        .and_then(|object| object.get("kind"))
        .and_then(Value::as_str)
    {
        Some(kind) => Ok(kind.to_owned()),
        None if key.resource == "secrets" => Ok("Secret".to_owned()),
        None => Ok(cluster.kind(key).await?),
    }
}
