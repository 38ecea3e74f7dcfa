//! What a batch is in the ledger: an entry for each action of a grant and for each credential issued, one for what
//! could not be read, and one that counts the rest.

use super::record::{ISSUANCE, Known};
use crate::audit::{self, Action, Intake, Issuance};
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::Grant;
use crate::domain::transition::{About, ActionRow, Record, record};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(super) fn records(cluster: &str, digest: &str, intake: &Intake, known: &Known, now: Time) -> Vec<Record> {
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

/// The key of this event was not shown to anybody when the request came: only the broker had it. Where it was shown
/// since, the API server's own times decide, never ours.
fn is_own_check(grant: &Grant, action: &Action) -> bool {
    action.credential.is_some()
        && grant
            .reveals
            .iter()
            .any(|reveal| reveal.credential_id == action.credential && reveal.is_own_use(action.received_us))
}
