//! Stage 4: the record. What an API server sends is attributed, redacted, classified, entered; only
//! then it is answered.

use super::canary::{CANARY_PREFIX, Canaries};
use super::heed::to_heed;
use super::own_use::OwnUses;
use super::recent::{AuditIds, Recent};
use super::{Broker, Result};
use crate::audit::{
    self, Accounts, Action, Alarm, AlarmKind, Foothold, Footholds, Intake, Issuance, KnownGrant,
};
use crate::clock::Time;
use crate::config::BROKER_USER;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::Grant;
use crate::domain::job::JobKind;
use crate::domain::transition::{About, ActionRow, Record, Transition, record};
use crate::ids::GrantId;
use crate::store::GrantFilter;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The class under which the issuance of a credential is kept.
pub const ISSUANCE: &str = "issuance";

/// What is known of a cluster's audit right now; rebuilt from what arrives.
#[derive(Debug, Default)]
pub struct AuditState {
    clusters: Mutex<BTreeMap<String, Seen>>,
    /// How often it was said that accounts have changed.
    changes: AtomicU64,
    /// The broker's questions as the users of live grants.
    pub(super) own_uses: OwnUses,
}

/// What is known of one cluster's audit.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    arrived_at: Option<Time>,
    delay_ms: Option<i64>,
    /// Its canaries.
    pub(super) canaries: Canaries,
    /// Who is whom on this cluster; forgotten whenever a grant changes.
    accounts: Option<Arc<Known>>,
    /// What its sessions got hold of; read from the store once.
    footholds: Option<Arc<Footholds>>,
    /// Batches of the last seconds.
    recent: Recent,
    /// The requests of sessions by their audit ids.
    audit_ids: AuditIds,
}

#[derive(Debug)]
struct Known {
    accounts: Accounts,
    grants: HashMap<GrantId, Grant>,
}

/// What was done with a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Events entered.
    pub entered: u64,
    /// Events that had been entered before.
    pub repeats: u64,
}

impl Broker {
    /// Enters one batch (an `EventList`, already unpacked) that the sender of `cluster` was
    /// authenticated for. Durable when it returns.
    ///
    /// # Errors
    /// The store's: the API server must send it again.
    pub async fn record_batch(&self, cluster: &str, body: &[u8]) -> Result<Recorded> {
        let (recorded, learned) = self.take_in(cluster, body, true).await?;
        if learned {
            // Batches come out of order: what was done by it may have come before. Keys drop what is known.
            for recent in self.audit.recent(cluster, self.now()) {
                self.take_in(cluster, &recent, false).await?;
            }
        }
        self.audit
            .with(cluster, |seen| seen.recent.push(self.now(), body));
        Ok(recorded)
    }

    /// Enters a batch that came now, or again; says also whether a session got hold of something by it.
    async fn take_in(&self, cluster: &str, body: &[u8], came_now: bool) -> Result<(Recorded, bool)> {
        let now = self.now();
        let mut known = self.known(cluster).await?;
        let mut intake = audit::digest_batch(cluster, body, &known.accounts, now);
        // A grant or credential written down a moment ago may not be in the snapshot yet.
        if intake.alarms.iter().any(|alarm| is_about_unknown(&alarm.kind)) {
            self.forget_accounts();
            known = self.known(cluster).await?;
            intake = audit::digest_batch(cluster, body, &known.accounts, now);
        }
        // What a session got hold of in this batch may have been used in it.
        let learned = self.learn(cluster, &intake);
        if learned {
            known = self.known(cluster).await?;
            intake = audit::digest_batch(cluster, body, &known.accounts, now);
        }
        if came_now {
            self.note_seen(cluster, &intake, now);
        }
        self.compare_audit_ids(cluster, &mut intake);
        let digest = hex::encode(Sha256::digest(body));
        let records = records(cluster, &digest, &intake, &known, now);
        let mut recorded = Recorded::default();
        if let Some(mut transition) = Transition::batch(records) {
            for grant in to_heed(&intake) {
                transition = transition.job(JobKind::Heed { grant }, now);
            }
            let transition = self
                .with_alarms(transition, cluster, &intake.alarms, &known.grants)
                .await?;
            let committed = self.commit(transition).await?;
            recorded.entered = committed.entries;
            recorded.repeats = committed.repeats;
        }
        Ok((recorded, learned))
    }

    /// A client chooses the audit id, and may choose one that another request had: both are kept, and it is told.
    fn compare_audit_ids(&self, cluster: &str, intake: &mut Intake) {
        self.audit.with(cluster, |seen| {
            for action in &intake.kept {
                let Some(first) = seen.audit_ids.remember(&action.audit_id, action.request) else {
                    continue;
                };
                let audit_id = action.audit_id.clone();
                let known = |alarm: &Alarm| matches!(&alarm.kind, AlarmKind::SameAuditId { audit_id: one } if *one == audit_id);
                if first == action.request || intake.alarms.iter().any(known) {
                    continue;
                }
                intake.alarms.push(Alarm {
                    words: audit::visible(&format!("two requests carry the audit id {audit_id}")),
                    kind: AlarmKind::SameAuditId { audit_id },
                    key: action.key,
                    at_us: action.received_us,
                    source_ip: action.source_ip.clone(),
                    event: action.event.clone(),
                });
            }
        });
    }

    /// Takes in what sessions got hold of in a batch; true when any of it is new.
    fn learn(&self, cluster: &str, intake: &Intake) -> bool {
        let given: Vec<_> = intake
            .kept
            .iter()
            .filter_map(|action| Some((action.grant, action.received_us, action.gives.as_ref()?)))
            .collect();
        if given.is_empty() {
            return false;
        }
        let mut learned = false;
        self.audit.with(cluster, |seen| {
            if let Some(footholds) = &mut seen.footholds {
                let all = Arc::make_mut(footholds);
                for (grant, since_us, foothold) in given {
                    learned |= all.add(grant, since_us, foothold);
                }
            }
            if learned {
                seen.accounts = None;
            }
        });
        learned
    }

    /// What the sessions of a cluster got hold of, as far as the store knows.
    async fn footholds(&self, cluster: &str) -> Result<Arc<Footholds>> {
        if let Some(footholds) = self
            .audit
            .lock()
            .get(cluster)
            .and_then(|seen| seen.footholds.clone())
        {
            return Ok(footholds);
        }
        let mut all = Footholds::default();
        for row in self.store.footholds(cluster).await? {
            let given = row
                .facts
                .get("gives")
                .cloned()
                .map(serde_json::from_value::<Foothold>);
            if let (Some(grant), Some(Ok(foothold))) = (row.grant, given) {
                all.add(grant, row.received_us, &foothold);
            }
        }
        let mut clusters = self.audit.lock();
        let seen = clusters.entry(cluster.to_owned()).or_default();
        Ok(Arc::clone(seen.footholds.get_or_insert_with(|| Arc::new(all))))
    }

    /// The audit delay last measured on a cluster.
    #[must_use]
    pub fn audit_delay_ms(&self, cluster: &str) -> Option<i64> {
        self.audit.lock().get(cluster).and_then(|seen| seen.delay_ms)
    }

    /// When a batch of that cluster last arrived.
    #[must_use]
    pub fn audit_arrived_at(&self, cluster: &str) -> Option<Time> {
        self.audit.lock().get(cluster).and_then(|seen| seen.arrived_at)
    }

    /// The canary with that nonce came back.
    #[must_use]
    pub fn canary_came_back(&self, cluster: &str, nonce: &str) -> bool {
        self.audit
            .lock()
            .get(cluster)
            .is_some_and(|seen| seen.canaries.seen.iter().any(|own| own == nonce))
    }

    /// Whoever attributes events must look again who is whom.
    pub(super) fn forget_accounts(&self) {
        let mut clusters = self.audit.lock();
        self.audit.changes.fetch_add(1, Ordering::SeqCst);
        for seen in clusters.values_mut() {
            seen.accounts = None;
        }
    }

    async fn known(&self, cluster: &str) -> Result<Arc<Known>> {
        if let Some(known) = self
            .audit
            .lock()
            .get(cluster)
            .and_then(|seen| seen.accounts.clone())
        {
            return Ok(known);
        }
        let changes = self.audit.changes.load(Ordering::SeqCst);
        let footholds = self.footholds(cluster).await?;
        let filter = GrantFilter {
            cluster: Some(cluster.to_owned()),
            limit: 100_000,
            ..GrantFilter::default()
        };
        let grants = self.store.grants(filter).await?;
        let mut own_tokens = HashMap::new();
        // What was asked as the user of a grant comes back within moments, if at all.
        let lately = |grant: &Grant| {
            grant
                .ended_at
                .is_none_or(|at| self.now() - at < TimeDelta::days(1))
        };
        for grant in grants.iter().filter(|grant| lately(grant)) {
            own_tokens.insert(grant.id, self.own_tokens(grant.id).await?);
        }
        let accounts = Accounts {
            broker: BROKER_USER.to_owned(),
            footholds,
            grants: grants
                .iter()
                .map(|grant| {
                    let credentials = grant
                        .reveals
                        .iter()
                        .filter_map(|r| r.credential_id.clone())
                        .collect();
                    (
                        grant.account.clone(),
                        KnownGrant {
                            grant: grant.id,
                            credentials,
                            own: own_tokens.remove(&grant.id).unwrap_or_default(),
                        },
                    )
                })
                .collect(),
        };
        let known = Arc::new(Known {
            accounts,
            grants: grants.into_iter().map(|g| (g.id, g)).collect(),
        });
        let mut clusters = self.audit.lock();
        // What changed while this was read may not be in it. Kept, it would take an engineer's first action
        // for the broker's own check.
        if self.audit.changes.load(Ordering::SeqCst) == changes {
            clusters.entry(cluster.to_owned()).or_default().accounts = Some(Arc::clone(&known));
        }
        drop(clusters);
        Ok(known)
    }

    fn note_seen(&self, cluster: &str, intake: &Intake, now: Time) {
        for own in &intake.own_uses {
            self.audit.own_uses.came_back(own);
        }
        let mut clusters = self.audit.lock();
        let seen = clusters.entry(cluster.to_owned()).or_default();
        seen.arrived_at = Some(now);
        let stages = intake
            .kept
            .iter()
            .map(|a| a.stage_us)
            .chain(intake.own.iter().map(|o| o.stage_us));
        if let Some(newest) = stages.max() {
            seen.delay_ms = Some((now.timestamp_micros() - newest).max(0) / 1000);
        }
        for name in intake.own.iter().filter_map(|own| own.object.name.as_ref()) {
            if name.starts_with(CANARY_PREFIX) {
                seen.canaries.back_at = Some(now);
                seen.canaries.seen.push(name.clone());
            }
        }
        let spare = seen.canaries.seen.len().saturating_sub(256);
        seen.canaries.seen.drain(..spare);
    }
}

impl AuditState {
    pub(super) fn with(&self, cluster: &str, change: impl FnOnce(&mut Seen)) {
        change(self.lock().entry(cluster.to_owned()).or_default());
    }

    fn recent(&self, cluster: &str, now: Time) -> Vec<Arc<[u8]>> {
        self.lock()
            .get_mut(cluster)
            .map(|seen| seen.recent.since(now))
            .unwrap_or_default()
    }

    /// What is known of a cluster's canaries.
    #[must_use]
    pub fn canaries(&self, cluster: &str) -> Canaries {
        self.lock()
            .get(cluster)
            .map(|seen| seen.canaries.clone())
            .unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Seen>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_about_unknown(kind: &AlarmKind) -> bool {
    matches!(
        kind,
        AlarmKind::UnknownAccount { .. } | AlarmKind::UnknownCredential { .. }
    )
}

fn records(cluster: &str, digest: &str, intake: &Intake, known: &Known, now: Time) -> Vec<Record> {
    let mut records = vec![];
    for action in &intake.kept {
        records.push(action_record(action, known.grants.get(&action.grant), now));
    }
    for issuance in &intake.issuances {
        records.extend(issuance_record(cluster, issuance, now));
    }
    for broken in &intake.quarantined {
        let raw = hex::encode(Sha256::digest(&broken.raw));
        let sentence = format!(
            "A payload of {} bytes could not be read and is kept as it came",
            broken.len
        );
        let facts = json!({"reason": broken.reason, "raw": String::from_utf8_lossy(&broken.raw),
            "length": broken.len, "cut": broken.cut});
        let mut entry = record(
            EntryKind::Quarantined,
            now,
            About::cluster(cluster),
            sentence,
            facts,
        );
        entry.key = Some(format!("quarantined {cluster} {raw}"));
        records.push(entry);
    }
    if intake.counted_others.total > 0 {
        let total = intake.counted_others.total;
        let sentence = format!("{total} events of others were looked at and counted");
        let facts = json!({"total": total, "by_class": intake.counted_others.by_class});
        let mut entry = record(
            EntryKind::BatchCount,
            now,
            About::cluster(cluster),
            sentence,
            facts,
        );
        // The same body sent again is the same batch.
        entry.key = Some(format!("batch {cluster} {digest}"));
        records.push(entry);
    }
    records
}

fn action_record(action: &Action, grant: Option<&Grant>, now: Time) -> Record {
    let about = grant.map_or_else(
        || About {
            grant: Some(action.grant),
            ..About::cluster(&action.cluster)
        },
        |grant| About::grant(grant).by(&grant.requester),
    );
    let flags = names(&serde_json::to_value(action.flags).unwrap_or_default());
    let event: Value = serde_json::from_slice(&action.event).unwrap_or(Value::Null);
    let facts = serde_json::to_value(action).unwrap_or(Value::Null);
    let mut entry = record(
        EntryKind::AuditEvent,
        action.received(),
        about,
        action.words.text.clone(),
        json!({"action": facts, "event": event}),
    );
    entry.key = Some(action.key.to_string());
    let mut row = ActionRow {
        grant: Some(action.grant),
        cluster: action.cluster.clone(),
        received_us: action.received_us,
        arrived_at: now,
        credential_id: action.credential.clone(),
        class: action.class.name().to_owned(),
        flags,
        words: action.words.verb.clone(),
        object: action.words.object.clone(),
        detail: action.words.detail.clone(),
        code: action.code,
        mutation: action.mutates,
        audit_id: action.request.to_string(),
        stage: action.stage.name().to_owned(),
        stream: action.stream == audit::Stream::Open,
        facts,
    };
    if grant.is_some_and(|grant| is_own_check(grant, action)) {
        row.mark_own_check();
    }
    entry.action = Some(Box::new(row));
    entry
}

fn issuance_record(cluster: &str, issuance: &Issuance, now: Time) -> Option<Record> {
    let credential = issuance.credential.clone()?;
    let at = Time::from_timestamp_micros(issuance.at_us).unwrap_or(now);
    let facts = json!({"account": issuance.account, "credential_id": credential,
        "level": issuance.level, "known": issuance.known, "code": issuance.code});
    let sentence = format!("The API server issued a credential for {}", issuance.account);
    let mut entry = record(
        EntryKind::AuditEvent,
        at,
        About::cluster(cluster),
        sentence,
        facts.clone(),
    );
    entry.key = Some(format!("issuance {cluster} {credential}"));
    entry.action = Some(Box::new(ActionRow {
        grant: None,
        cluster: cluster.to_owned(),
        received_us: issuance.at_us,
        arrived_at: now,
        credential_id: Some(credential),
        class: ISSUANCE.to_owned(),
        flags: vec![],
        words: "issued".to_owned(),
        object: format!("a credential for {}", issuance.account),
        detail: String::new(),
        code: issuance.code,
        mutation: false,
        audit_id: String::new(),
        stage: String::new(),
        stream: false,
        facts,
    }));
    Some(entry)
}

/// A serialised list of names.
fn names(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

/// The key of this event was not shown to anybody when the request came: only the broker had it.
fn is_own_check(grant: &Grant, action: &Action) -> bool {
    let received = action.received();
    action.credential.is_some()
        && grant.reveals.iter().any(|reveal| {
            reveal.credential_id == action.credential && reveal.shown_at.is_none_or(|shown| received < shown)
        })
}
