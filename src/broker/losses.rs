//! What is lost to the record of the time in which an access was held: by which API servers, how many, when.

use super::{Broker, Result};
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::Grant;
use crate::ids::GrantId;
use crate::store::EntryFilter;
use chrono::TimeDelta;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A loss is named within this time of the end of the access in which it was.
const NAMED_WITHIN: TimeDelta = TimeDelta::hours(1);
/// So many entries are looked through.
const MOST: u32 = 200;

/// Events that an API server counted and that did not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// After this.
    pub from: Time,
    /// Before this.
    pub to: Time,
    /// How many, without those that came after all.
    pub events: u64,
}

/// The facts of a gap (`broker::gap`).
#[derive(Deserialize)]
struct Gap {
    #[serde(rename = "gap")]
    id: String,
    from: Time,
    to: Time,
    events: Option<u64>,
    grants: Vec<Held>,
}

#[derive(Deserialize)]
struct Held {
    id: GrantId,
}

/// The facts of what came after all.
#[derive(Deserialize)]
struct Filled {
    gap: String,
    left: u64,
}

impl Broker {
    /// What is lost of the time in which this access was held; one loss a gap, oldest first.
    ///
    /// # Errors
    /// The store's; or an entry cannot be read.
    pub async fn losses(&self, grant: &Grant) -> Result<Vec<Loss>> {
        let Some(ready) = grant.ready_at else {
            return Ok(vec![]);
        };
        let named_by = grant.ended_at.map(|at| at + NAMED_WITHIN);
        let named = self.facts_of(EntryKind::Gap, grant, ready, named_by).await?;
        let mut lost: BTreeMap<String, Loss> = BTreeMap::new();
        // What is no loss has no number, or no time.
        let gaps = named
            .into_iter()
            .filter_map(|facts| serde_json::from_value::<Gap>(facts).ok());
        for gap in gaps.filter(|gap| gap.grants.iter().any(|held| held.id == grant.id)) {
            let Some(events) = gap.events else { continue };
            let (from, to) = (gap.from, gap.to);
            lost.insert(gap.id, Loss { from, to, events });
        }
        if lost.is_empty() {
            return Ok(vec![]);
        }
        let came = self.facts_of(EntryKind::GapFilled, grant, ready, None).await?;
        for filled in came.into_iter().rev() {
            if let Ok(Filled { gap, left }) = serde_json::from_value(filled)
                && let Some(loss) = lost.get_mut(&gap)
            {
                loss.events = left;
            }
        }
        let mut losses: Vec<Loss> = lost.into_values().filter(|loss| loss.events > 0).collect();
        losses.sort_by_key(|loss| loss.from);
        Ok(losses)
    }

    /// The facts of the entries of a kind about the grant's cluster, newest first.
    async fn facts_of(
        &self,
        kind: EntryKind,
        grant: &Grant,
        from: Time,
        to: Option<Time>,
    ) -> Result<Vec<serde_json::Value>> {
        let filter = EntryFilter {
            kinds: vec![kind],
            cluster: Some(grant.cluster.clone()),
            from: Some(from),
            to,
            limit: MOST,
            ..EntryFilter::default()
        };
        let mut facts = vec![];
        for line in self.store.entries(filter).await? {
            let payload = self.payload(line.index).await?;
            facts.push(payload.get("facts").cloned().unwrap_or_default());
        }
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::transition::{About, Transition, record};
    use crate::verify::tests::{fill, honest, now};
    use crate::web::lists::fixture::Stage;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn a_loss_marks_whoever_held_an_access_meanwhile_until_it_came_after_all() {
        let stage = Stage::new().await;
        let broker = &stage.app.broker;
        let (id, _) = fill(broker.store.as_ref(), honest).await;
        let stored = broker.store.grant(id).await.unwrap().unwrap();
        let held = Grant {
            ready_at: Some(now()),
            ..stored.clone()
        };
        let enter = async |kind, cluster: &str, facts: Value| {
            let entry = record(kind, now(), About::cluster(cluster), "a gap", facts);
            broker.store.commit(Transition::new(entry)).await.unwrap();
        };
        let gap = |name: &str, events: Option<u64>, grants: Value| json!({"gap": name, "why": "lost", "from": now(), "to": now(), "events": events, "grants": grants});
        let ours = json!([{"id": id, "profile": "workloads", "requester": "oncall"}]);
        enter(EntryKind::Gap, "demo", gap("one", Some(12), ours.clone())).await;
        enter(EntryKind::Gap, "demo", gap("two", Some(3), ours.clone())).await;
        enter(EntryKind::Gap, "demo", gap("silence", None, ours.clone())).await;
        enter(EntryKind::Gap, "demo", gap("nobody's", Some(7), json!([]))).await;
        enter(EntryKind::Gap, "other", gap("elsewhere", Some(7), ours)).await;
        let lost = async |grant: &Grant| {
            let losses = broker.losses(grant).await.unwrap();
            losses.iter().map(|loss| loss.events).sum::<u64>()
        };
        assert_eq!(lost(&held).await, 15);
        assert_eq!(lost(&stored).await, 0, "it was never to be had");
        enter(
            EntryKind::GapFilled,
            "demo",
            json!({"gap": "one", "came": 10, "left": 2}),
        )
        .await;
        assert_eq!(lost(&held).await, 5);
        enter(
            EntryKind::GapFilled,
            "demo",
            json!({"gap": "one", "came": 2, "left": 0}),
        )
        .await;
        enter(
            EntryKind::GapFilled,
            "demo",
            json!({"gap": "two", "came": 3, "left": 0}),
        )
        .await;
        assert_eq!(broker.losses(&held).await.unwrap(), []);
    }
}
