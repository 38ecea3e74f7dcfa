//! Stage 4: the record. What an API server sends is attributed, redacted, classified, entered; only
//! then it is answered.

use super::canary::{CANARY_PREFIX, Canaries};
use super::heed::to_heed;
use super::{Broker, Result};
use crate::audit::{self, Accounts, Action, AlarmKind, Flag, Intake, Issuance, KnownGrant, Object};
use crate::clock::Time;
use crate::config::BROKER_USER;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::Grant;
use crate::domain::job::JobKind;
use crate::domain::transition::{About, ActionRow, Record, Transition, record};
use crate::ids::GrantId;
use crate::store::GrantFilter;
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
        let now = self.now();
        let mut known = self.known(cluster).await?;
        let mut intake = audit::digest_batch(cluster, body, &known.accounts, now);
        // A grant or credential written down a moment ago may not be in the snapshot yet.
        if intake.alarms.iter().any(|alarm| is_about_unknown(&alarm.kind)) {
            self.forget_accounts();
            known = self.known(cluster).await?;
            intake = audit::digest_batch(cluster, body, &known.accounts, now);
        }
        self.note_seen(cluster, &intake, now);
        let digest = hex::encode(Sha256::digest(body));
        let records = records(cluster, &digest, &intake, &known, now);
        let mut recorded = Recorded::default();
        if let Some(mut transition) = Transition::batch(records) {
            for grant in to_heed(&intake) {
                transition = transition.job(JobKind::Heed { grant }, now);
            }
            let committed = self.commit(transition).await?;
            recorded.entered = committed.entries;
            recorded.repeats = committed.repeats;
        }
        for alarm in &intake.alarms {
            let grant = match &alarm.kind {
                AlarmKind::UnknownCredential { grant, .. } | AlarmKind::Unreadable { grant } => {
                    known.grants.get(grant)
                }
                _ => None,
            };
            self.raise(cluster, alarm, grant).await?;
        }
        Ok(recorded)
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
        let filter = GrantFilter {
            cluster: Some(cluster.to_owned()),
            limit: 100_000,
            ..GrantFilter::default()
        };
        let grants = self.store.grants(filter).await?;
        let accounts = Accounts {
            broker: BROKER_USER.to_owned(),
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

/// The key of this event was not shown to anybody when the request came: only the broker had it. The API
/// server's clock and ours may differ, so only what the broker does with a new key can be a check of its own:
/// nothing that changes or reads anything is taken for one, whatever the times say.
fn is_own_check(grant: &Grant, action: &Action) -> bool {
    let received = action.received();
    let checks =
        |object: &Object| object.resource == "selfsubjectrulesreviews" || action.flags.has(Flag::DryRun);
    action.credential.is_some()
        && action.verb == "create"
        && action.object.as_ref().is_some_and(checks)
        && grant.reveals.iter().any(|reveal| {
            reveal.credential_id == action.credential && reveal.shown_at.is_none_or(|shown| received < shown)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::{at, grant, person};
    use crate::domain::grant::Issued;

    const JTI: &str = "7d0a7c9e-4b5d-4c6f-9a57-0f3a1f6f2b11";

    /// What the API server says of a request made with the key at 1200 s by its clock.
    fn action(grant: &Grant, verb: &str, resource: &str, uri: &str) -> Action {
        let user = format!("system:serviceaccount:breakglass-grants:{}", grant.account);
        let event = json!({
            "level": "Metadata", "auditID": "a", "stage": "ResponseComplete", "requestURI": uri, "verb": verb,
            "user": {"username": user, "groups": ["system:serviceaccounts:breakglass-grants"],
                "extra": {"authentication.kubernetes.io/credential-id": [format!("JTI={JTI}")]}},
            "objectRef": {"resource": resource, "namespace": "payments", "name": "web", "apiVersion": "v1"},
            "responseStatus": {"code": 200},
            "requestReceivedTimestamp": "1970-01-01T00:20:00.000000Z",
            "stageTimestamp": "1970-01-01T00:20:00.010000Z",
        });
        let known = KnownGrant {
            grant: grant.id,
            credentials: vec![JTI.to_owned()],
        };
        let accounts = Accounts {
            broker: BROKER_USER.to_owned(),
            grants: [(grant.account.clone(), known)].into(),
        };
        let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [event]});
        let intake = audit::digest_batch("production", list.to_string().as_bytes(), &accounts, at(1_200));
        intake.kept.into_iter().next().unwrap()
    }

    #[test]
    fn a_change_is_never_taken_for_a_check_of_our_own_whatever_the_clocks_say() {
        let (grant, reveal) = grant()
            .ready(at(10))
            .unwrap()
            .begin_reveal(&person("oncall"), at(1_100))
            .unwrap();
        let issued = Issued {
            credential_id: JTI.to_owned(),
            token_hash: String::new(),
            probe_token: String::new(),
            expires_at: at(5_000),
        };
        // By our clock it was shown long after the API server saw it used: that one's clock is behind.
        let shown = grant
            .issued(reveal, issued)
            .unwrap()
            .shown(reveal, at(1_700))
            .unwrap()
            .0;
        let own = |verb, resource, uri| is_own_check(&shown, &action(&shown, verb, resource, uri));
        let review = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
        assert!(own("create", "selfsubjectrulesreviews", review));
        assert!(own(
            "create",
            "pods",
            "/api/v1/namespaces/payments/pods?dryRun=All"
        ));
        for verb in ["create", "patch", "update", "delete"] {
            assert!(
                !own(verb, "configmaps", "/api/v1/namespaces/payments/configmaps/web"),
                "{verb}"
            );
        }
        assert!(!own("get", "secrets", "/api/v1/namespaces/payments/secrets/web"));
        assert!(!own(
            "get",
            "pods",
            "/api/v1/namespaces/payments/pods/web/exec?command=sh"
        ));
    }
}
