//! What a grant touched, before and after: from its recorded events, the versions that were watched, and
//! the live objects.

use super::{Broker, Result};
use crate::cluster::Cluster;
use crate::domain::grant::Grant;
use crate::domain::object::ObjectKey;
use crate::domain::transition::ActionRow;
use crate::drift::{self, Observed, Touched};
use crate::ledger;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One touched object and what the grant's events say of it.
struct Touch {
    key: ObjectKey,
    first_us: i64,
    first_version: Option<u64>,
    writes: Vec<drift::Write>,
    last_written: Option<Value>,
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
        for touch in self.touches(grant, actions).await? {
            let until = touch.first_version.unwrap_or(u64::MAX);
            // Without a version in the event, the last one seen before the request came.
            let seen_before = touch.first_version.is_none().then_some(touch.first_us / 1000);
            let before = self
                .store
                .version_before(&grant.cluster, &touch.key, until, seen_before)
                .await?;
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
            let uid = before
                .as_ref()
                .and_then(|o| o.pointer("/metadata/uid"))
                .and_then(Value::as_str);
            observed.push((
                Touched {
                    gvk,
                    namespace: Some(touch.key.namespace.clone()).filter(|n| !n.is_empty()),
                    name: touch.key.name.clone(),
                    uid: uid.map(str::to_owned),
                    writes: touch.writes,
                },
                Observed {
                    before,
                    after,
                    last_written: touch.last_written,
                    autoscaled: false,
                },
            ));
        }
        Ok(observed)
    }

    async fn touches(&self, grant: &Grant, actions: &[(u64, ActionRow)]) -> Result<Vec<Touch>> {
        let mut touches: BTreeMap<ObjectKey, Touch> = BTreeMap::new();
        for (entry, action) in actions.iter().filter(|(_, action)| action.mutation) {
            let Some(key) = object_key(action) else { continue };
            let event = self.event(*entry).await?;
            let write = drift::Write {
                verb: text(&action.facts, "/verb"),
                subresource: action
                    .facts
                    .pointer("/object/subresource")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                body: event.get("requestObject").cloned(),
                generate_name: event.pointer("/requestObject/metadata/generateName").is_some()
                    && event.pointer("/requestObject/metadata/name").is_none(),
            };
            let written = event
                .get("responseObject")
                .filter(|o| o.get("kind") != Some(&json!("Status")));
            let version = written
                .and_then(|object| object.pointer("/metadata/resourceVersion"))
                .and_then(Value::as_str)
                .and_then(|version| version.parse().ok());
            for key in self.expand(grant, key, action).await? {
                let touch = touches.entry(key.clone()).or_insert_with(|| Touch {
                    key,
                    first_us: action.received_us,
                    first_version: version,
                    writes: vec![],
                    last_written: None,
                });
                touch.writes.push(drift::Write {
                    verb: write.verb.clone(),
                    subresource: write.subresource.clone(),
                    body: write.body.clone(),
                    generate_name: write.generate_name,
                });
                if write.subresource.is_none() {
                    touch.last_written = written.cloned();
                }
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
