//! An API server's own audit log, as an auditor has it from where the broker's operator cannot write: what
//! canaries carried into it is held against the ledger, and each event of a grant must be in the ledger.

use crate::audit::is_probe;
use crate::broker::canary::{CANARY_PREFIX, carried};
use crate::config::{BROKER_USER, GRANTS_NAMESPACE, PROBE_ACCOUNT};
use crate::domain::entry_kind::EntryKind;
use crate::ledger::{Hash, OpenSegment};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

/// The longest line that is read, in bytes: an event may hold a body of some megabytes.
const LONGEST_LINE: u64 = 64 << 20;
/// How many missing events are named one by one.
const MOST_NAMED: usize = 100;

/// An event, by the API server's id of the request and its stage.
type EventId = (String, String);

/// What the log says.
#[derive(Debug, Default)]
pub(super) struct AuditLog {
    /// Heads of the ledger that canaries carried: size and root.
    pub(super) heads: BTreeSet<(u64, Hash)>,
    /// The events of grants, each with when (milliseconds since 1970) and what, in words.
    events: BTreeMap<EventId, (i64, String)>,
    /// Lines that are no events.
    pub(super) unreadable: u64,
    /// All lines.
    pub(super) lines: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    verb: String,
    #[serde(rename = "requestURI", default)]
    uri: String,
    user: User,
    object_ref: Option<Object>,
    #[serde(default)]
    response_status: Option<Status>,
    stage_timestamp: chrono::DateTime<chrono::Utc>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

#[derive(Deserialize, Default)]
struct Object {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

impl AuditLog {
    /// Adds a file: one event a line, as the API server writes it; gzip where it is packed.
    pub(super) fn add(&mut self, path: &Path) -> std::io::Result<()> {
        let mut start = [0; 2];
        let packed = {
            let mut file = std::fs::File::open(path)?;
            file.read(&mut start)? == 2 && start == [0x1f, 0x8b]
        };
        let file = std::fs::File::open(path)?;
        if packed {
            self.read(BufReader::new(flate2::read::MultiGzDecoder::new(file)))
        } else {
            self.read(BufReader::new(file))
        }
    }

    fn read(&mut self, mut lines: impl std::io::BufRead) -> std::io::Result<()> {
        let mut line = vec![];
        loop {
            line.clear();
            let taken = lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            if taken == 0 {
                return Ok(());
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            self.lines += 1;
            match serde_json::from_slice::<Line>(&line) {
                Ok(event) => self.event(event),
                Err(_) => self.unreadable += 1,
            }
        }
    }

    fn event(&mut self, event: Line) {
        let object = event.object_ref.unwrap_or_default();
        let name = object.name;
        // Anybody can ask for an object of that name: only what the broker itself sent speaks for it.
        if event.user.username == BROKER_USER
            && let Some(head) = carried(&name)
        {
            self.heads.insert(head);
        }
        let of_grants = format!("system:serviceaccount:{GRANTS_NAMESPACE}:");
        // The broker's question whether what this user does is recorded: no doing of the session's, so no entry.
        let question =
            event.verb == "get" && object.namespace == GRANTS_NAMESPACE && name.starts_with(CANARY_PREFIX);
        // Nor is what the audit policy is probed with.
        let code = event.response_status.map(|status| status.code);
        let probed = event.user.username.strip_prefix(&of_grants) == Some(PROBE_ACCOUNT)
            && is_probe(&event.uri, event.stage == "RequestReceived", code);
        if event.user.username.starts_with(&of_grants) && !question && !probed {
            let words = format!(
                "{} {} {} by {}, {}",
                event.stage_timestamp.to_rfc3339(),
                event.verb,
                event.uri.chars().take(200).collect::<String>(),
                event.user.username,
                event.stage
            );
            let at = event.stage_timestamp.timestamp_millis();
            self.events.insert((event.audit_id, event.stage), (at, words));
        }
    }
}

/// Which events of grants the ledger holds, and which time it speaks of.
#[derive(Debug, Default)]
pub(super) struct Held {
    events: BTreeSet<EventId>,
    pruned: u64,
    first: Option<i64>,
    last: Option<i64>,
}

impl Held {
    /// Looks at a segment.
    pub(super) fn look(&mut self, open: &OpenSegment) {
        #[derive(Deserialize)]
        struct Payload {
            facts: Facts,
        }
        #[derive(Deserialize)]
        struct Facts {
            action: Action,
        }
        #[derive(Deserialize)]
        struct Action {
            audit_id: String,
            stage: String,
        }
        for position in 0..open.count() {
            let entry = open.entry(position);
            self.first.get_or_insert(entry.entered_at);
            self.last = self.last.max(Some(entry.entered_at));
            if entry.kind() != Some(EntryKind::AuditEvent) {
                continue;
            }
            match open.payload(position).map(serde_json::from_slice::<Payload>) {
                Some(Ok(payload)) => {
                    let Action { audit_id, stage } = payload.facts.action;
                    self.events.insert((audit_id, stage));
                }
                // An issuance: no event of a grant.
                Some(Err(_)) => {}
                None => self.pruned += 1,
            }
        }
    }

    /// What of `log` is not here, in words: a line each, at most some hundred, and their number.
    pub(super) fn missing(&self, log: &AuditLog) -> (Vec<String>, usize) {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return (vec![], 0);
        };
        let missing: Vec<&String> = log
            .events
            .iter()
            .filter(|(id, (at, _))| (first..=last).contains(at) && !self.events.contains(*id))
            .map(|(_, (_, words))| words)
            .collect();
        let named = missing
            .iter()
            .take(MOST_NAMED)
            .map(|words| crate::audit::visible(words));
        (named.collect(), missing.len())
    }

    /// What was compared, in a sentence.
    pub(super) fn compared(&self, log: &AuditLog) -> String {
        let mut text = format!(
            "audit log: {} events, {} of grants, {} heads of this log carried by canaries",
            log.lines - log.unreadable,
            log.events.len(),
            log.heads.len()
        );
        let not = [
            (log.unreadable, "lines could not be read"),
            (self.pruned, "events here were pruned and cannot be compared"),
        ];
        for (count, what) in not.into_iter().filter(|(count, _)| *count > 0) {
            text = format!("{text}; {count} {what}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::canary::nonce_with;
    use std::io::Write as _;

    fn line(id: &str, user: &str, name: &str) -> String {
        serde_json::json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id,
            "stage": "ResponseComplete", "requestURI": format!("/api/v1/namespaces/shop/configmaps/{name}"),
            "verb": "get", "user": {"username": user}, "objectRef": {"resource": "configmaps", "name": name},
            "stageTimestamp": "2026-03-01T10:00:00.000000Z"})
        .to_string()
    }

    #[test]
    fn heads_come_from_the_broker_alone_and_packed_files_are_read_too() {
        let folder = tempfile::tempdir().unwrap();
        let name = nonce_with(Some((7, [9; 32])));
        let text = [
            line("a", BROKER_USER, &name),
            line(
                "b",
                "system:serviceaccount:breakglass-grants:breakglass-x-1",
                &nonce_with(Some((8, [9; 32]))),
            ),
            line("c", BROKER_USER, &nonce_with(None)),
            "no event".to_owned(),
        ]
        .join("\n");
        let (plain, packed) = (
            folder.path().join("audit.log"),
            folder.path().join("audit.log.gz"),
        );
        std::fs::write(&plain, &text).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(
            std::fs::File::create(&packed).unwrap(),
            flate2::Compression::fast(),
        );
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap();
        for file in [plain, packed] {
            let mut log = AuditLog::default();
            log.add(&file).unwrap();
            assert_eq!(log.heads, BTreeSet::from([(7, [9; 32])]));
            assert_eq!((log.lines, log.unreadable, log.events.len()), (4, 1, 1));
        }
    }

    #[test]
    fn the_brokers_questions_as_a_grants_user_are_no_events_of_the_grant() {
        let user = "system:serviceaccount:breakglass-grants:breakglass-x-1";
        let asked = |verb: &str, namespace: &str, name: &str| {
            let mut event: serde_json::Value = serde_json::from_str(&line("a", user, name)).unwrap();
            event["verb"] = verb.into();
            event["objectRef"]["namespace"] = namespace.into();
            let mut log = AuditLog::default();
            log.read(event.to_string().as_bytes()).unwrap();
            log.events.len()
        };
        let nonce = nonce_with(None);
        assert_eq!(asked("get", GRANTS_NAMESPACE, &nonce), 0);
        assert_eq!(asked("delete", GRANTS_NAMESPACE, &nonce), 1);
        assert_eq!(asked("get", "shop", &nonce), 1);
        assert_eq!(asked("get", GRANTS_NAMESPACE, "limits"), 1);
    }

    #[test]
    fn refused_probes_of_the_audit_policy_are_no_events_of_a_grant() {
        let asked = |account: &str, code: u16| {
            let user = format!("system:serviceaccount:breakglass-grants:{account}");
            let mut event: serde_json::Value = serde_json::from_str(&line("a", &user, "x")).unwrap();
            event["requestURI"] = "/api/v1/namespaces/shop/pods/x?dryRun=All&breakglassAuditProbe=n".into();
            event["responseStatus"] = serde_json::json!({"code": code});
            let mut log = AuditLog::default();
            log.read(event.to_string().as_bytes()).unwrap();
            log.events.len()
        };
        assert_eq!(asked(PROBE_ACCOUNT, 403), 0);
        assert_eq!(asked(PROBE_ACCOUNT, 200), 1, "nothing is ever let through");
        assert_eq!(asked("breakglass-x-1", 403), 1);
    }

    #[test]
    fn what_the_ledger_does_not_hold_is_named_within_its_time() {
        let mut log = AuditLog::default();
        let user = "system:serviceaccount:breakglass-grants:breakglass-x-1";
        log.read(format!("{}\n{}\n", line("a", user, "one"), line("b", user, "two")).as_bytes())
            .unwrap();
        let at = log.events.values().next().unwrap().0;
        let mut held = Held {
            events: BTreeSet::from([("a".to_owned(), "ResponseComplete".to_owned())]),
            first: Some(at - 1),
            last: Some(at + 1),
            ..Held::default()
        };
        let (named, count) = held.missing(&log);
        assert_eq!(count, 1);
        assert!(
            named[0].contains("configmaps/two") && named[0].contains(user),
            "{named:?}"
        );
        held.last = Some(at - 1);
        assert_eq!(
            held.missing(&log).1,
            0,
            "what came after the copy was made is not missing from it"
        );
    }
}
