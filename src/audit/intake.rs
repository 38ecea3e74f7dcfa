//! From a batch as it came to what the store writes: one call, plain data out.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    attribute::{self, Attribution, Lookup},
    bypass,
    classify::{self, Class, Classified, Flag},
    clean::Fit,
    event::{self, Event},
    foothold::Foothold,
    key::EventKey,
    object::Object,
    record::{Action, AlarmKind, FirstUse, Intake, OwnUse, Quarantined},
    redact, scrub, split, words,
};
use crate::{clock::Time, config::PROBE_ACCOUNT, domain::canonical, ids::GrantId};
use std::ops::Range;

/// How much of a payload that cannot be read is kept.
const QUARANTINE_BYTES: usize = 64 << 10;

/// Reads the body of one delivery (an `EventList`, already unpacked) from `cluster`.
#[must_use]
pub fn digest_batch(cluster: &str, body: &[u8], lookup: &dyn Lookup, now: Time) -> Intake {
    digest_fresh(cluster, body, lookup, now, &mut |_| true)
}

/// [`digest_batch`] without the events that are no grant's and not `fresh`. Those of grants are known by their keys.
#[must_use]
pub fn digest_fresh(
    cluster: &str,
    body: &[u8],
    lookup: &dyn Lookup,
    now: Time,
    fresh: &mut dyn FnMut(&[u8]) -> bool,
) -> Intake {
    let mut intake = Intake::default();
    let split = split::split(body);
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
    let mut batch = Batch {
        cluster,
        body,
        lookup,
        now,
        fit: Fit::taken(),
        fresh,
    };
    for item in split.items {
        batch.event(item, &mut intake);
    }
    batch.fit.give_back();
    if let Some((at, reason)) = split.broken {
        intake.quarantine(reason, &body[at..]);
    }
    intake
}

/// A batch that is being read.
struct Batch<'b> {
    cluster: &'b str,
    body: &'b [u8],
    lookup: &'b dyn Lookup,
    now: Time,
    fit: Fit,
    fresh: &'b mut dyn FnMut(&[u8]) -> bool,
}

impl Batch<'_> {
    /// Reads the event that lies at `place` into `intake`.
    fn event(&mut self, place: Range<usize>, intake: &mut Intake) {
        let Self {
            cluster,
            body,
            lookup,
            now,
            fit,
            fresh,
        } = self;
        let raw = &body[place.clone()];
        let event = match event::parse(raw) {
            Ok(event) => event,
            Err(error) => {
                intake.undated += 1;
                return intake.quarantine(&error.to_string(), raw);
            }
        };
        intake.stages_us.push(event.stage_us);
        let class = classify::classify(&event);
        let whose = attribute::attribute(&event, *lookup);
        let view = View {
            cluster,
            raw,
            event: &event,
            class,
            now: *now,
        };
        if lookup.live() {
            view.trace(intake);
        }
        let mut other = |intake: &mut Intake| {
            if fresh(raw) {
                view.other(lookup.keep(), place.clone(), fit, intake);
            } else {
                intake.repeats += 1;
            }
        };
        match whose {
            Attribution::Grant { grant, credential } => {
                view.keep(grant, Credential::Known(credential), None, intake);
            }
            Attribution::OwnUse { grant, credential } => {
                if view.own_use(grant, credential, intake) {
                    other(intake);
                }
            }
            Attribution::UnknownCredential { grant, credential } => {
                view.keep(grant, Credential::Unknown(credential), None, intake);
            }
            Attribution::Borrowed { grant, by } => {
                if !view.borrowed(grant, by, intake) {
                    other(intake);
                }
                view.stranger(intake);
            }
            Attribution::UnknownAccount { name } => {
                view.alarm(AlarmKind::UnknownAccount { name }, intake);
                other(intake);
            }
            Attribution::Probe => {
                if !view.probe(true, intake) {
                    let name = PROBE_ACCOUNT.to_owned();
                    view.alarm(AlarmKind::UnknownAccount { name }, intake);
                }
                other(intake);
            }
            Attribution::Broker => {
                view.own(*lookup, intake);
                view.probe(false, intake);
                other(intake);
            }
            Attribution::Other => {
                let told = intake.alarms.len();
                view.stranger(intake);
                view.bypass(*lookup, told, intake);
                other(intake);
            }
        }
    }
}

impl Intake {
    fn quarantine(&mut self, reason: &str, raw: &[u8]) {
        let kept = &raw[..raw.len().min(QUARANTINE_BYTES)];
        let text = scrub::scrub_unread(kept);
        self.quarantined.push(Quarantined {
            // A parser's message may quote what it stumbled over.
            reason: words::visible(&scrub::scrub(reason).0),
            raw: text.into_bytes(),
            len: raw.len() as u64,
            cut: kept.len() < raw.len(),
        });
    }

    pub(super) fn count(&mut self, class: Class) {
        self.counted_others.total += 1;
        *self.counted_others.by_class.entry(class).or_default() += 1;
    }
}

/// One event being taken in.
pub(super) struct View<'v> {
    pub(super) cluster: &'v str,
    pub(super) raw: &'v [u8],
    pub(super) event: &'v Event<'v>,
    pub(super) class: Classified,
    now: Time,
}

impl View<'_> {
    /// What was done as another account is the session's own: kept, but for what merely looked. A Pod's own
    /// process goes on reading and renewing its leases for as long as it lives. Returns whether it was kept.
    fn borrowed(&self, grant: GrantId, by: Foothold, intake: &mut Intake) -> bool {
        let event = self.event;
        let looked = matches!(self.class.class, Class::Read | Class::Logs | Class::Other);
        let acted = !looked && !bypass::is_idle(event);
        let kind = AlarmKind::Borrowed {
            grant,
            account: event.user.username.to_string(),
            by: by.clone(),
            acted,
        };
        self.alarm(kind, intake);
        if acted {
            self.keep(grant, Credential::Borrowed, Some(by), intake);
        }
        acted
    }

    fn keep(&self, grant: GrantId, credential: Credential, borrowed: Option<Foothold>, intake: &mut Intake) {
        let event = self.event;
        let known = !matches!(credential, Credential::Unknown(_));
        let credential = match credential {
            Credential::Known(id) => Some(id),
            Credential::Unknown(id) => id,
            Credential::Borrowed => None,
        };
        let redacted = redact::event(self.raw, event);
        let (body, answer) = (redacted.body(), redacted.answer());
        let object = redacted.object(event);
        let mut words = words::say(event, self.class, object.as_ref(), &redacted.uri, body, answer);
        if let Some(by) = &borrowed {
            words = words.by_another(&event.user.username, &by.to_string());
        }
        let gives = Foothold::given_by(event, self.class, object.as_ref(), answer);
        let mut flags = self.class.flags;
        for (flag, on) in [
            (Flag::Unreadable, redacted.unreadable),
            (Flag::Redacted, redacted.count > 0),
            (Flag::UnknownCredential, !known),
            (Flag::Borrowed, borrowed.is_some()),
        ] {
            if on {
                flags.insert(flag);
            }
        }
        if let Some(of) = object.as_ref().filter(|_| *event.verb == *"create") {
            let dry_run = flags.has(Flag::DryRun);
            self.first_use(grant, credential.as_ref(), of, dry_run, &redacted, intake);
        }
        let stored = canonical::bytes(&redacted.event);
        let action = Action {
            grant,
            credential: credential.clone(),
            cluster: self.cluster.to_owned(),
            account: attribute::account_of(&event.user)
                .unwrap_or(&event.user.username)
                .to_owned(),
            gives: gives.clone(),
            borrowed,
            key: EventKey::of(self.cluster, event, &redacted.uri),
            request: EventKey::of_request(self.cluster, event, &redacted.uri),
            content: content(&redacted.event),
            audit_id: scrub::scrub(&event.audit_id).0.into_owned(),
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
        if let Some(Foothold::Token { account, .. }) = gives {
            self.alarm(AlarmKind::TokenMade { grant, account }, intake);
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

    /// What a reveal waits for: a review of its own rights, or its dry run.
    fn first_use(
        &self,
        grant: GrantId,
        credential: Option<&String>,
        of: &Object,
        dry_run: bool,
        redacted: &redact::Redacted,
        intake: &mut Intake,
    ) {
        let event = self.event;
        if of.resource != "selfsubjectrulesreviews" && !dry_run {
            return;
        }
        let asked = redacted
            .body()
            .and_then(|body| body.pointer("/spec/namespace")?.as_str().map(str::to_owned));
        let rules = redacted
            .event
            .pointer("/responseObject/status")
            .filter(|status| status.is_object());
        intake.first_uses.push(FirstUse {
            grant,
            credential: credential.cloned(),
            resource: of.full_resource(),
            uri: redacted.uri.clone(),
            level: event.level,
            code: event.code(),
            namespace: asked.or_else(|| of.namespace.clone()),
            dry_run,
            rules: rules.cloned(),
            at_us: event.received_us,
        });
    }

    /// The broker asks for names that do not exist, and gets nothing. Its token doing anything else is stolen.
    /// Returns whether it was the former.
    fn own_use(&self, grant: GrantId, credential: String, intake: &mut Intake) -> bool {
        let event = self.event;
        let name = Object::of(event, None).and_then(|object| object.name);
        match name {
            Some(name) if *event.verb == *"get" && matches!(event.code(), Some(403 | 404)) => {
                intake.own_uses.push(OwnUse { grant, name });
                true
            }
            _ => {
                self.keep(grant, Credential::Unknown(Some(credential)), None, intake);
                false
            }
        }
    }
}

/// By what an action was done.
enum Credential {
    /// By a token that the ledger knows.
    Known(String),
    /// By one that it does not know, with its id where it has one.
    Unknown(Option<String>),
    /// By another account's.
    Borrowed,
}

/// A log file writes `kind` and `apiVersion` into each event, a batch does not: the same event
/// must have the same digest by both ways.
fn content(event: &Value) -> String {
    let mut event = event.clone();
    if let Value::Object(map) = &mut event {
        map.shift_remove("kind");
        map.shift_remove("apiVersion");
    }
    hex::encode(Sha256::digest(canonical::bytes(&event)))
}
