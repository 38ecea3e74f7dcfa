//! From a batch as it came to what the store writes: one call, plain data out.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

use super::{
    attribute::{self, Attribution, GRANTS_NAMESPACE, Lookup},
    classify::{self, Class, Classified, Flag, Flags, Stream},
    event::{self, Event, Level, Stage},
    key::EventKey,
    object::Object,
    redact,
    words::{self, Words},
};
use crate::{clock::Time, ids::GrantId};

/// How much of a payload that cannot be read is kept.
const QUARANTINE_BYTES: usize = 64 << 10;

/// One recorded audit event of a grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The grant.
    pub grant: GrantId,
    /// The credential's id (JTI, without prefix): which reveal it was.
    pub credential: Option<String>,
    /// The cluster of the hook it came through; what the event says of itself does not count.
    pub cluster: String,
    /// The grant's ServiceAccount.
    pub account: String,
    /// By what the event is known when it comes again.
    pub key: EventKey,
    /// The same for all stages of one request: one line on a page, one in a count.
    pub request: EventKey,
    /// Lower-case hex of SHA-256 over the redacted event. The same `key`, or the same `audit_id`
    /// and `stage`, with another digest is an alarm.
    pub content: String,
    /// The API server's id of the request, which a client can set.
    pub audit_id: String,
    /// How much the audit policy wrote down.
    pub level: Level,
    /// The stage.
    pub stage: Stage,
    /// When the API server got the request, microseconds since 1970.
    pub received_us: i64,
    /// When the request reached the stage, microseconds since 1970.
    pub stage_us: i64,
    /// When the batch came here.
    pub recorded_at: Time,
    /// What it was, in one word.
    pub class: Class,
    /// What else is to be said.
    pub flags: Flags,
    /// Objects changed, or may have.
    pub mutates: bool,
    /// Whether it was applied is unknown.
    pub uncertain: bool,
    /// The Kubernetes verb.
    pub verb: String,
    /// What it was about; none for URLs that are no resource.
    pub object: Option<Object>,
    /// The URI, redacted.
    pub uri: String,
    /// The HTTP code of the answer.
    pub code: Option<u16>,
    /// The address the API server saw.
    pub source_ip: Option<String>,
    /// In words.
    pub words: Words,
    /// Whether it is a connection, and open.
    pub stream: Stream,
    /// How many values were taken out of the event.
    pub redactions: u32,
    /// The redacted event as canonical JSON: the ledger's payload.
    #[serde(skip)]
    pub event: Vec<u8>,
}

impl Action {
    /// When the API server got the request, to the millisecond.
    #[must_use]
    pub fn received(&self) -> Time {
        event::time_of(self.received_us)
    }

    /// When the request reached the stage, to the millisecond.
    #[must_use]
    pub fn staged(&self) -> Time {
        event::time_of(self.stage_us)
    }

    /// Did it delete its object, or may it have?
    #[must_use]
    pub fn deletes(&self) -> bool {
        let sub = self
            .object
            .as_ref()
            .and_then(|object| object.subresource.as_deref());
        self.mutates && (self.verb.starts_with("delete") || sub == Some("eviction"))
    }
}

/// What is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "alarm")]
pub enum AlarmKind {
    /// An identity of the grants' namespace that the ledger does not know.
    UnknownAccount {
        /// The account.
        name: String,
    },
    /// A grant's account used with a token the broker did not have issued, or one without an id.
    UnknownCredential {
        /// The grant.
        grant: GrantId,
        /// The token's id.
        credential: Option<String>,
    },
    /// Somebody else had a token issued for an account of the grants' namespace.
    ForeignIssuance {
        /// The account.
        account: String,
        /// Who.
        by: String,
    },
    /// Somebody else wrote an account, Secret or right in the grants' namespace.
    ForeignWrite {
        /// What.
        object: Object,
        /// Who.
        by: String,
    },
    /// Somebody acted as a grant's account, or a grant as somebody else.
    Impersonation {
        /// As whom.
        account: String,
        /// Who.
        by: String,
    },
    /// One audit id on two different requests: a client chose it.
    SameAuditId {
        /// The id.
        audit_id: String,
    },
    /// A grant's event has a body that could not be kept.
    Unreadable {
        /// The grant.
        grant: GrantId,
    },
}

/// Something people must look at now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What.
    pub kind: AlarmKind,
    /// In words.
    pub words: String,
    /// The event's key.
    pub key: EventKey,
    /// When the API server got the request, microseconds since 1970.
    pub at_us: i64,
    /// The address the API server saw.
    pub source_ip: Option<String>,
    /// The redacted event as canonical JSON.
    #[serde(skip)]
    pub event: Vec<u8>,
}

/// A token that the broker's own user was given for an account of the grants' namespace. One the
/// ledger does not know is as loud as an alarm, but only the broker can tell: the event may
/// overtake its own answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuance {
    /// The account.
    pub account: String,
    /// The token's id; none on servers that do not name it (before 1.30).
    pub credential: Option<String>,
    /// The snapshot knew this id for this account.
    pub known: bool,
    /// How much the audit policy wrote down.
    pub level: Level,
    /// When, microseconds since 1970.
    pub at_us: i64,
    /// The HTTP code: 201 when a token was issued.
    pub code: Option<u16>,
}

/// A grant's review of its own rights, or its dry run: what a reveal waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstUse {
    /// The grant.
    pub grant: GrantId,
    /// The token's id.
    pub credential: Option<String>,
    /// The resource: `selfsubjectrulesreviews`, or what the dry run would have created.
    pub resource: String,
    /// The URI, redacted.
    pub uri: String,
    /// How much the audit policy wrote down.
    pub level: Level,
    /// The HTTP code.
    pub code: Option<u16>,
    /// The namespace asked about, where the level shows it.
    pub namespace: Option<String>,
    /// It was a dry run.
    pub dry_run: bool,
    /// The review's `status` (`resourceRules`, …), where the level shows it.
    pub rules: Option<Value>,
    /// When, microseconds since 1970.
    pub at_us: i64,
}

/// A look of the broker itself at one object by name: its canaries are such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnEvent {
    /// What it looked at.
    pub object: Object,
    /// The URI, redacted.
    pub uri: String,
    /// How much the audit policy wrote down.
    pub level: Level,
    /// The HTTP code.
    pub code: Option<u16>,
    /// When the API server got it, microseconds since 1970.
    pub at_us: i64,
    /// When it was answered, microseconds since 1970.
    pub stage_us: i64,
}

/// A payload that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Why.
    pub reason: String,
    /// The bytes as they came, at most 64 KiB, less what looks like a secret.
    pub raw: Vec<u8>,
    /// How many bytes came.
    pub len: u64,
    /// Fewer are kept than came.
    pub cut: bool,
}

/// How many events were looked at and not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub total: u64,
    /// By class.
    pub by_class: BTreeMap<Class, u64>,
}

/// What a batch holds.
#[derive(Debug, Default)]
pub struct Intake {
    /// Every event of a grant, all stages.
    pub kept: Vec<Action>,
    /// Everybody else's, the broker's own included.
    pub counted_others: Counts,
    /// What people must look at.
    pub alarms: Vec<Alarm>,
    /// Tokens issued to the broker.
    pub issuances: Vec<Issuance>,
    /// What a waiting reveal needs.
    pub first_uses: Vec<FirstUse>,
    /// The broker's own looks at single objects.
    pub own: Vec<OwnEvent>,
    /// What could not be read.
    pub quarantined: Vec<Quarantined>,
    /// Requests by audit id: two of one id are an alarm.
    seen: HashMap<String, EventKey>,
}

/// Reads the body of one delivery (an `EventList`, already unpacked) from `cluster`.
#[must_use]
pub fn digest_batch(cluster: &str, body: &[u8], lookup: &dyn Lookup, now: Time) -> Intake {
    let mut intake = Intake::default();
    let split = event::split(body);
    let is = |range: &Option<std::ops::Range<usize>>, text: &[u8]| {
        range.as_ref().is_some_and(|range| &body[range.clone()] == text)
    };
    if !is(&split.kind, br#""EventList""#) || !is(&split.api_version, br#""audit.k8s.io/v1""#) {
        // A cut list may end before it says what it is: its whole events are still evidence.
        if split.broken.is_none()
            || split.kind.is_some()
            || split.api_version.is_some()
            || split.items.is_empty()
        {
            intake.quarantine("not an EventList of audit.k8s.io/v1", body);
            return intake;
        }
    }
    for item in split.items {
        digest_event(cluster, &body[item], lookup, now, &mut intake);
    }
    if let Some((at, reason)) = split.broken {
        intake.quarantine(reason, &body[at..]);
    }
    intake
}

/// Reads one event into `intake`.
pub fn digest_event(cluster: &str, raw: &[u8], lookup: &dyn Lookup, now: Time, intake: &mut Intake) {
    let event = match event::parse(raw) {
        Ok(event) => event,
        Err(error) => return intake.quarantine(&error.to_string(), raw),
    };
    let class = classify::classify(&event);
    let whose = attribute::attribute(&event, lookup);
    let view = View {
        cluster,
        raw,
        event: &event,
        class,
        now,
    };
    match whose {
        Attribution::Grant { grant, credential } => view.keep(grant, Some(credential), true, intake),
        Attribution::UnknownCredential { grant, credential } => view.keep(grant, credential, false, intake),
        Attribution::UnknownAccount { name } => {
            view.alarm(AlarmKind::UnknownAccount { name }, intake);
            intake.count(class.class);
        }
        Attribution::Broker => {
            view.own(lookup, intake);
            intake.count(class.class);
        }
        Attribution::Other => {
            view.stranger(intake);
            intake.count(class.class);
        }
    }
}

impl Intake {
    fn quarantine(&mut self, reason: &str, raw: &[u8]) {
        let kept = &raw[..raw.len().min(QUARANTINE_BYTES)];
        let text = redact::scrub_unread(kept);
        self.quarantined.push(Quarantined {
            // A parser's message may quote what it stumbled over.
            reason: words::visible(&redact::scrub(reason).0),
            raw: text.into_bytes(),
            len: raw.len() as u64,
            cut: kept.len() < raw.len(),
        });
    }

    fn count(&mut self, class: Class) {
        self.counted_others.total += 1;
        *self.counted_others.by_class.entry(class).or_default() += 1;
    }
}

/// One event being taken in.
struct View<'v> {
    cluster: &'v str,
    raw: &'v [u8],
    event: &'v Event<'v>,
    class: Classified,
    now: Time,
}

impl View<'_> {
    fn keep(&self, grant: GrantId, credential: Option<String>, known: bool, intake: &mut Intake) {
        let event = self.event;
        let redacted = redact::event(self.raw, event);
        let (body, answer) = (
            redacted.event.get("requestObject"),
            redacted.event.get("responseObject"),
        );
        let generated = answer.and_then(|answer| answer.pointer("/metadata/name")?.as_str());
        let object = Object::of(event, generated).map(|object| object.scrubbed());
        let words = words::say(event, &self.class, object.as_ref(), &redacted.uri, body, answer);
        let mut flags = self.class.flags;
        for (flag, on) in [
            (Flag::Unreadable, redacted.unreadable),
            (Flag::Redacted, redacted.count > 0),
            (Flag::UnknownCredential, !known),
        ] {
            if on {
                flags.insert(flag);
            }
        }
        if let Some(of) = object.as_ref().filter(|_| *event.verb == *"create") {
            let dry_run = flags.has(Flag::DryRun);
            if of.resource == "selfsubjectrulesreviews" || dry_run {
                let asked =
                    body.and_then(|body| body.pointer("/spec/namespace")?.as_str().map(str::to_owned));
                intake.first_uses.push(FirstUse {
                    grant,
                    credential: credential.clone(),
                    resource: of.full_resource(),
                    uri: redacted.uri.clone(),
                    level: event.level,
                    code: event.code(),
                    namespace: asked.or_else(|| of.namespace.clone()),
                    dry_run,
                    rules: answer
                        .and_then(|answer| answer.get("status"))
                        .filter(|s| s.is_object())
                        .cloned(),
                    at_us: event.received_us,
                });
            }
        }
        let stored = canonical(&redacted.event);
        let action = Action {
            grant,
            credential: credential.clone(),
            cluster: self.cluster.to_owned(),
            account: attribute::account_of(&event.user).unwrap_or_default().to_owned(),
            key: EventKey::of(self.cluster, event, &redacted.uri),
            request: EventKey::of_request(self.cluster, event, &redacted.uri),
            content: content(&redacted.event),
            audit_id: redact::scrub(&event.audit_id).0.into_owned(),
            level: event.level,
            stage: event.stage,
            received_us: event.received_us,
            stage_us: event.stage_us,
            recorded_at: self.now,
            class: self.class.class,
            flags,
            mutates: self.class.mutates,
            uncertain: self.class.uncertain,
            verb: event.verb.to_string(),
            object,
            uri: redacted.uri,
            code: event.code(),
            source_ip: event.source_ip().map(str::to_owned),
            words,
            stream: self.class.stream,
            redactions: redacted.count,
            event: stored,
        };
        let by = action.account.clone();
        if let Some(first) = intake.seen.insert(action.audit_id.clone(), action.request)
            && first != action.request
        {
            self.alarm(
                AlarmKind::SameAuditId {
                    audit_id: action.audit_id.clone(),
                },
                intake,
            );
        }
        if !known {
            self.alarm(AlarmKind::UnknownCredential { grant, credential }, intake);
        }
        if redacted.unreadable {
            self.alarm(AlarmKind::Unreadable { grant }, intake);
        }
        if let Some(other) = &event.impersonated_user {
            self.alarm(
                AlarmKind::Impersonation {
                    account: other.username.to_string(),
                    by,
                },
                intake,
            );
        }
        intake.kept.push(action);
    }

    fn own(&self, lookup: &dyn Lookup, intake: &mut Intake) {
        let event = self.event;
        let Some(object) = Object::of(event, None) else {
            return;
        };
        let account = object.name.clone().unwrap_or_default();
        if *event.verb == *"create" && is_account_token(&object) {
            let credential = attribute::issued_credential(event).map(str::to_owned);
            let ids = lookup
                .account(&account)
                .map(|known| known.credentials)
                .unwrap_or_default();
            let known = credential
                .as_ref()
                .is_some_and(|id| ids.iter().any(|known| attribute::bare(known) == id));
            intake.issuances.push(Issuance {
                account,
                credential,
                known,
                level: event.level,
                at_us: event.received_us,
                code: event.code(),
            });
        } else if *event.verb == *"get" && object.name.is_some() {
            intake.own.push(OwnEvent {
                object,
                uri: redact::uri(&event.uri),
                level: event.level,
                code: event.code(),
                at_us: event.received_us,
                stage_us: event.stage_us,
            });
        }
    }

    /// What somebody else may not do: hand out, write or borrow a grant's identity.
    fn stranger(&self, intake: &mut Intake) {
        let event = self.event;
        let by = event.user.username.to_string();
        if let Some(account) = event.impersonated_user.as_ref().and_then(attribute::account_of) {
            let kind = AlarmKind::Impersonation {
                account: account.to_owned(),
                by: by.clone(),
            };
            self.alarm(kind, intake);
        }
        let writes = matches!(&*event.verb, "create" | "update" | "patch");
        let refused = event
            .code()
            .is_some_and(|code| (400..500).contains(&code) && !self.class.uncertain);
        if !writes || refused || self.class.flags.has(Flag::DryRun) {
            return;
        }
        let Some(object) = Object::of(event, None) else {
            return;
        };
        if is_account_token(&object) {
            let account = object.name.unwrap_or_default();
            self.alarm(AlarmKind::ForeignIssuance { account, by }, intake);
        } else if object.namespace.as_deref() == Some(GRANTS_NAMESPACE)
            && matches!(
                object.resource.as_str(),
                "serviceaccounts" | "secrets" | "roles" | "rolebindings"
            )
        {
            self.alarm(
                AlarmKind::ForeignWrite {
                    object: object.scrubbed(),
                    by,
                },
                intake,
            );
        }
    }

    fn alarm(&self, kind: AlarmKind, intake: &mut Intake) {
        let redacted = redact::event(self.raw, self.event);
        let text = match &kind {
            AlarmKind::UnknownAccount { name } => {
                format!("{name} in {GRANTS_NAMESPACE} was used and no grant has it")
            }
            AlarmKind::UnknownCredential {
                credential: Some(id), ..
            } => {
                format!("a grant's account was used with token {id}, which the broker did not have issued")
            }
            AlarmKind::UnknownCredential { credential: None, .. } => {
                "a grant's account was used with a token that has no id".to_owned()
            }
            AlarmKind::ForeignIssuance { account, by } => format!("{by} had a token issued for {account}"),
            AlarmKind::ForeignWrite { object, by } => {
                format!("{by} wrote {} {}", object.kind(), object.path())
            }
            AlarmKind::Impersonation { account, by } => format!("{by} acted as {account}"),
            AlarmKind::SameAuditId { audit_id } => format!("two requests carry the audit id {audit_id}"),
            AlarmKind::Unreadable { .. } => {
                "a body was too large, too deep or no JSON and is not kept".to_owned()
            }
        };
        intake.alarms.push(Alarm {
            words: words::piece(&redact::scrub(&text).0),
            kind,
            key: EventKey::of(self.cluster, self.event, &redacted.uri),
            at_us: self.event.received_us,
            source_ip: self.event.source_ip().map(str::to_owned),
            event: canonical(&redacted.event),
        });
    }
}

fn is_account_token(object: &Object) -> bool {
    object.resource == "serviceaccounts"
        && object.subresource.as_deref() == Some("token")
        && object.namespace.as_deref() == Some(GRANTS_NAMESPACE)
}

/// JSON without spaces, keys sorted: one byte form of one event, however it was sent.
fn canonical(value: &Value) -> Vec<u8> {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    sorted.to_string().into_bytes()
}

/// A log file writes `kind` and `apiVersion` into each event, a batch does not: the same event
/// must have the same digest by both ways.
fn content(event: &Value) -> String {
    let mut event = event.clone();
    if let Value::Object(map) = &mut event {
        map.shift_remove("kind");
        map.shift_remove("apiVersion");
    }
    hex::encode(Sha256::digest(canonical(&event)))
}
