//! What comes by import: events of the past, from an API server's own log or what a cloud kept of it. They fill
//! gaps: what the ledger holds is not entered again, however long ago it was, and nothing that is asked of the
//! present (is audit alive, how late is it) is answered by them.

use super::digest::Came;
use super::record::Recorded;
use super::{Broker, Result};
use crate::audit::{AlarmKind, Intake, Wrapping};
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::{About, Record, record};
use crate::ids::GrantId;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

impl Broker {
    /// Enters what is new of a batch (an `EventList`, unpacked) of `cluster`'s events that came in `wrapping`.
    ///
    /// # Errors
    /// The store's: nothing of this batch, or all of it, was entered. A long file comes in several, so that some of it
    /// may be in; sent again, that is known.
    pub async fn import_batch(
        &self,
        cluster: &str,
        body: impl Into<Bytes>,
        wrapping: Wrapping,
    ) -> Result<Recorded> {
        let body = body.into();
        Ok(self.take_in(cluster, &body, Came::Imported(wrapping)).await?.0)
    }

    /// What of `records` is new, and how many events were looked at for it; nothing where nothing is new.
    pub(super) async fn imported(
        &self,
        cluster: &str,
        records: Vec<Record>,
        intake: &mut Intake,
        wrapping: Wrapping,
        now: Time,
    ) -> Result<Vec<Record>> {
        // What others did is counted and nothing more: whether it came before is not known.
        intake.others.clear();
        let total = intake.counted_others.total + intake.kept.len() as u64;
        let mut known: BTreeMap<GrantId, BTreeSet<String>> = BTreeMap::new();
        let mut fresh = vec![];
        for one in records {
            if one.kind != EntryKind::BatchCount
                && !self.is_entered(&one, &mut known).await?
                && !self.is_own_question(&one).await?
            {
                fresh.push(one);
            }
        }
        let keys: Vec<String> = intake
            .bypasses
            .iter()
            .map(|one| super::bypass::entry_key(cluster, one))
            .collect();
        let entered = self.store.entered(&keys).await?;
        let mut keys = keys.iter();
        intake
            .bypasses
            .retain(|_| keys.next().is_some_and(|key| !entered.contains(key)));
        let mut told = vec![];
        for alarm in std::mem::take(&mut intake.alarms) {
            // By one that is no own question the same action is entered too.
            let own = match &alarm.kind {
                AlarmKind::UnknownCredential {
                    grant,
                    credential: Some(id),
                } => self.own_tokens(*grant).await?.contains(id),
                _ => false,
            };
            let is_kept = || {
                fresh
                    .iter()
                    .any(|one| event_key(one) == Some(alarm.key.to_string().as_str()))
            };
            if own && !is_kept() {
                continue;
            }
            let key = super::alarm::key(cluster, &alarm);
            if self.store.finding(&key).await?.is_none() && self.store.entered(&[key]).await?.is_empty() {
                told.push(alarm);
            }
        }
        intake.alarms = told;
        if fresh.is_empty() && intake.bypasses.is_empty() && intake.alarms.is_empty() {
            return Ok(vec![]);
        }
        let new = fresh.len() + intake.bypasses.len();
        let sentence = format!(
            "{total} events of {cluster} came by import from {}; {new} of them that concern people or grants are new",
            wrapping.words()
        );
        let facts = json!({"wrapping": wrapping, "partial": wrapping == Wrapping::Gke, "total": total, "new": new,
            "by_class": intake.counted_others.by_class});
        fresh.push(record(
            EntryKind::Import,
            now,
            About::cluster(cluster),
            sentence,
            facts,
        ));
        Ok(fresh)
    }

    /// What the broker asked itself as a grant's user: of accesses that are long over, the intake does not know.
    async fn is_own_question(&self, one: &Record) -> Result<bool> {
        let Some((grant, row)) = one.action.as_ref().and_then(|row| Some((row.grant?, row))) else {
            return Ok(false);
        };
        let asks = row.facts.get("verb").and_then(Value::as_str) == Some("get")
            && matches!(row.code, Some(403 | 404));
        let Some(id) = row.credential_id.as_ref().filter(|_| asks) else {
            return Ok(false);
        };
        Ok(self.own_tokens(grant).await?.contains(id))
    }

    /// Whether the ledger holds it, however long ago. Keys of events are remembered for the time in which an API
    /// server may send them again; what was entered of grants is there for good.
    async fn is_entered(
        &self,
        one: &Record,
        known: &mut BTreeMap<GrantId, BTreeSet<String>>,
    ) -> Result<bool> {
        let Some(action) = &one.action else {
            return Ok(false);
        };
        let Some(grant) = action.grant else {
            let Some(credential) = &action.credential_id else {
                return Ok(false);
            };
            let of = self
                .store
                .actions_of_credential(&action.cluster, credential)
                .await?;
            return Ok(of.iter().any(|row| row.class == action.class));
        };
        let keys = match known.entry(grant) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let rows = self.store.actions(grant).await?;
                let keys = rows
                    .iter()
                    .filter_map(|(_, row)| row.facts.get("key").and_then(Value::as_str));
                new.insert(keys.map(str::to_owned).collect())
            }
        };
        Ok(event_key(one).is_some_and(|key| keys.contains(key)))
    }
}

/// The event's own key, whatever of its content came on this way.
fn event_key(record: &Record) -> Option<&str> {
    record.action.as_ref()?.facts.get("key")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BROKER_USER;
    use crate::domain::fixture::{self, ask, at};
    use crate::domain::grant::Grant;
    use crate::domain::request::Request;
    use crate::domain::transition::{Transition, Write};
    use crate::store::EntryFilter;
    use crate::web::lists::fixture::Stage;
    use chrono::TimeDelta;

    fn event(user: &str, credential: Option<&str>, verb: &str, name: &str) -> Value {
        let received = at(60).format("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
        let mut event = json!({
            "level": "Metadata", "auditID": name, "stage": "ResponseComplete", "verb": verb,
            "requestURI": format!("/api/v1/namespaces/payments/pods/{name}"), "user": {"username": user},
            "objectRef": {"resource": "pods", "namespace": "payments", "name": name, "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 200}, "requestReceivedTimestamp": received,
            "stageTimestamp": received,
        });
        if let Some(id) = credential {
            event["user"]["extra"] =
                json!({"authentication.kubernetes.io/credential-id": [format!("JTI={id}")]});
        }
        event
    }

    fn list(events: &[&Value]) -> Vec<u8> {
        let list =
            json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events});
        list.to_string().into_bytes()
    }

    /// An access with a key.
    async fn lent(broker: &Broker) -> Grant {
        let request = Request::file(ask(), at(0), TimeDelta::hours(1));
        let lent = fixture::lent(&request);
        let entry = record(
            EntryKind::GrantActive,
            at(3),
            About::grant(&lent),
            "lent",
            json!({}),
        );
        let mut transition = Transition::new(entry);
        transition.writes = vec![Write::NewRequest(request), Write::NewGrant(lent.clone())];
        broker.commit(transition).await.unwrap();
        lent
    }

    async fn entries(broker: &Broker, kind: EntryKind) -> usize {
        let filter = EntryFilter {
            kinds: vec![kind],
            limit: 100,
            ..EntryFilter::default()
        };
        broker.store.entries(filter).await.unwrap().len()
    }

    #[tokio::test]
    async fn gaps_are_filled_and_what_the_ledger_holds_stays_once_however_long_ago_it_was() {
        let stage = Stage::new().await;
        let broker = &stage.app.broker;
        let grant = lent(broker).await;
        let user = format!("system:serviceaccount:breakglass-grants:{}", grant.account);
        let of = |name: &str| event(&user, Some("one"), "delete", name);
        let (known, lost, outside) = (of("known"), of("lost"), event("alice", None, "delete", "outside"));
        broker
            .record_batch(&grant.cluster, "", list(&[&known, &outside]))
            .await
            .unwrap();
        // What may come again from an API server is forgotten after an hour.
        broker
            .store
            .tidy(broker.now() + TimeDelta::days(400))
            .await
            .unwrap();
        let file = list(&[&known, &lost, &outside]);
        let first = broker
            .import_batch(&grant.cluster, file.clone(), Wrapping::Plain)
            .await
            .unwrap();
        assert_eq!(first.entered, 2, "what was lost, and that there was an import");
        for _ in 0..2 {
            broker
                .store
                .tidy(broker.now() + TimeDelta::days(400))
                .await
                .unwrap();
            let again = broker
                .import_batch(&grant.cluster, file.clone(), Wrapping::Plain)
                .await
                .unwrap();
            assert_eq!(again.entered, 0);
        }
        assert_eq!(broker.store.actions(grant.id).await.unwrap().len(), 2);
        assert_eq!(
            (
                entries(broker, EntryKind::Bypass).await,
                entries(broker, EntryKind::Import).await
            ),
            (1, 1)
        );
        assert_eq!(broker.store.open_findings().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_past_says_nothing_of_the_present() {
        let stage = Stage::new().await;
        let broker = &stage.app.broker;
        let grant = lent(broker).await;
        let canary = format!("{}{}", super::super::canary::CANARY_PREFIX, "00".repeat(12));
        let mut asked = event(BROKER_USER, Some("broker"), "get", &canary);
        asked["responseStatus"]["code"] = json!(404);
        let list = list(&[&asked]);
        broker
            .import_batch(&grant.cluster, list.clone(), Wrapping::Plain)
            .await
            .unwrap();
        assert!(!broker.canary_came_back(&grant.cluster, &canary));
        assert_eq!(broker.audit_arrived_at(&grant.cluster), None);
        broker
            .record_batch(&grant.cluster, "", list.clone())
            .await
            .unwrap();
        assert!(
            broker.canary_came_back(&grant.cluster, &canary),
            "the same, as it comes live"
        );
    }

    #[tokio::test]
    async fn a_question_of_the_brokers_own_is_no_unknown_key_later_either() {
        let stage = Stage::new().await;
        let broker = &stage.app.broker;
        let grant = lent(broker).await;
        let over = broker.grant(grant.id).await.unwrap();
        let ended = Grant {
            ended_at: Some(at(600)),
            state: crate::domain::grant::GrantState::Ended,
            ..over.clone()
        };
        let entry = record(
            EntryKind::GrantEnded,
            at(600),
            About::grant(&ended),
            "over",
            json!({}),
        );
        let moved = Transition::new(entry).write(Write::Grant {
            expected: over.state,
            new: ended,
        });
        broker.commit(moved).await.unwrap();
        let user = format!("system:serviceaccount:breakglass-grants:{}", grant.account);
        let mut asked = event(&user, Some("own-1"), "get", "nobody");
        asked["responseStatus"]["code"] = json!(404);
        broker.own_token_for_test(grant.id, "own-1").await;
        let recorded = broker
            .import_batch(&grant.cluster, list(&[&asked]), Wrapping::Plain)
            .await
            .unwrap();
        assert_eq!(recorded.entered, 0);
        // Anything else by that key is an alarm, as it would have been then.
        let stolen = event(&user, Some("own-1"), "delete", "web-1");
        broker
            .import_batch(&grant.cluster, list(&[&stolen]), Wrapping::Plain)
            .await
            .unwrap();
        assert_eq!(broker.store.open_findings().await.unwrap().len(), 1);
    }
}
