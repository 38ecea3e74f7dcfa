//! What a batch is in the ledger: an entry for each action of a grant and for each credential issued, one for what
//! could not be read, and one that counts the rest.

use super::record::{ISSUANCE, Known};
use crate::audit::{self, Action, Flag, Intake, Issuance, Object, Other, Stored};
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::Grant;
use crate::domain::transition::{About, ActionRow, Kept, Record, record};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(super) fn records(cluster: &str, digest: &str, intake: &Intake, known: &Known, now: Time) -> Vec<Record> {
    let mut records = vec![];
    for action in &intake.kept {
        records.push(action_record(
            action,
            known.grants.get(&action.grant).map(AsRef::as_ref),
            now,
        ));
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
    if intake.counted_others.total > 0 || !intake.others.is_empty() {
        let (total, kept) = (intake.counted_others.total, intake.others.len());
        let mut sentence = if total == 1 {
            "1 event of others was looked at and counted".to_owned()
        } else {
            format!("{total} events of others were looked at and counted")
        };
        let mut facts = json!({"total": total, "by_class": intake.counted_others.by_class});
        if kept > 0 {
            sentence = format!("{kept} {}; {total} were looked at and counted", audit::KEPT);
            facts["kept"] = json!(kept);
        }
        let mut entry = record(
            EntryKind::BatchCount,
            now,
            About::cluster(cluster),
            sentence,
            facts,
        );
        // The same body sent again is the same batch.
        entry.key = Some(batch_key(cluster, digest));
        records.push(entry);
    }
    records
}

fn batch_key(cluster: &str, digest: &str) -> String {
    format!("batch {cluster} {digest}")
}

/// The events of others that are kept: entered with their batch, found by nothing but their index.
pub(super) fn kept(cluster: &str, digest: &str, body: &Bytes, others: Vec<Other>) -> Option<Kept> {
    if others.is_empty() {
        return None;
    }
    let stored = |other: Other| {
        let at = other.received();
        match other.stored {
            Stored::AsItCame(place) => (at, body.slice(place)),
            Stored::Redacted(event) => (at, event.into()),
        }
    };
    Some(Kept {
        batch: batch_key(cluster, digest),
        cluster: cluster.to_owned(),
        events: others.into_iter().map(stored).collect(),
    })
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
    // The same event with another content is another entry, and an alarm.
    entry.key = Some(format!("{} {}", action.key, action.content));
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
/// since, the API server's own times decide, never ours; and nothing but what the broker does with a new key can be a
/// check of its own, whatever the times say.
fn is_own_check(grant: &Grant, action: &Action) -> bool {
    let checks =
        |object: &Object| object.resource == "selfsubjectrulesreviews" || action.flags.has(Flag::DryRun);
    action.credential.is_some()
        && action.verb == "create"
        && action.object.as_ref().is_some_and(checks)
        && grant
            .reveals
            .iter()
            .any(|reveal| reveal.credential_id == action.credential && reveal.is_own_use(action.received_us))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Accounts, KnownGrant};
    use crate::config::BROKER_USER;
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
            own: vec![],
        };
        let accounts = Accounts {
            broker: BROKER_USER.to_owned(),
            grants: [(grant.account.clone(), known)].into(),
            ..Accounts::default()
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
            .used_by_us(reveal, 2_000_000_000)
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
