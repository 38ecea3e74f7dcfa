//! What the store is given: plain data.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::{
    classify::{Class, Flags, Stream},
    event::{self, Level, Stage},
    foothold::Foothold,
    key::EventKey,
    object::Object,
    words::Words,
};
use crate::{clock::Time, ids::GrantId};

/// One recorded audit event of a grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The grant.
    pub grant: GrantId,
    /// The credential's id (JTI, without prefix): which reveal it was.
    pub credential: Option<String>,
    /// The cluster of the hook it came through; what the event says of itself does not count.
    pub cluster: String,
    /// The grant's `ServiceAccount`; where it was borrowed, the other's whole user name.
    pub account: String,
    /// What the session got hold of by it, and can act as somebody else with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives: Option<Foothold>,
    /// By what the session acted as another account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borrowed: Option<Foothold>,
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
        /// A role or binding as the API server answered it, where the event holds that and it was stored.
        /// As it came, to be compared and not to be kept: only its redacted form is.
        #[serde(skip)]
        written: Option<Value>,
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
    /// Another account acted by what a session got hold of.
    Borrowed {
        /// The session's grant.
        grant: GrantId,
        /// The account's whole user name.
        account: String,
        /// By what.
        by: Foothold,
        /// It did more than look.
        acted: bool,
    },
    /// A session had a token issued for an account.
    TokenMade {
        /// The grant.
        grant: GrantId,
        /// The account, `namespace/name`.
        account: String,
    },
    /// An account used a token without an id: one from a Secret, which never expires.
    LastingToken {
        /// The account, `namespace:name`.
        account: String,
    },
    /// A grant's event has a body that could not be kept.
    Unreadable {
        /// The grant.
        grant: GrantId,
    },
}

impl AlarmKind {
    /// The grant it is about, where it is about a known one.
    #[must_use]
    pub const fn grant(&self) -> Option<GrantId> {
        match self {
            Self::UnknownCredential { grant, .. }
            | Self::Borrowed { grant, .. }
            | Self::TokenMade { grant, .. }
            | Self::Unreadable { grant } => Some(*grant),
            _ => None,
        }
    }
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

/// What a person changed without a grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bypass {
    /// The user, as it is shown.
    pub user: String,
    /// What tells this user from every other, whatever is shown of its name: lower-case hex.
    pub user_digest: String,
    /// Who acted for that user, where the API server knew another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// The key of the request, the same for all its stages.
    pub key: EventKey,
    /// When the API server got the request, microseconds since 1970.
    pub at_us: i64,
    /// The address the API server saw.
    pub source_ip: Option<String>,
    /// What it was, in one word.
    pub class: Class,
    /// What else is to be said.
    pub flags: Flags,
    /// In words.
    pub words: Words,
    /// What it was about.
    pub object: Option<Object>,
    /// The HTTP code of the answer.
    pub code: Option<u16>,
    /// How much the audit policy wrote down.
    pub level: Level,
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

/// A question of the broker as the user of a grant, to see that what that user does is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnUse {
    /// The grant.
    pub grant: GrantId,
    /// The name that was asked for.
    pub name: String,
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

/// An event that is no grant's and is kept all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// When the API server got the request, microseconds since 1970.
    pub received_us: i64,
    /// What is stored of it.
    pub stored: Stored,
}

impl Other {
    /// When the API server got the request, to the millisecond.
    #[must_use]
    pub fn received(&self) -> Time {
        event::time_of(self.received_us)
    }
}

/// An event as it is stored, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// There is nothing to take out of it: these bytes of the body.
    AsItCame(Range<usize>),
    /// Redacted.
    Redacted(Vec<u8>),
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
    /// Everybody else's that are kept, in the order they came.
    pub others: Vec<Other>,
    /// The rest of everybody else's, the broker's own included.
    pub counted_others: Counts,
    /// What people must look at.
    pub alarms: Vec<Alarm>,
    /// What people changed without a grant.
    pub bypasses: Vec<Bypass>,
    /// Tokens issued to the broker.
    pub issuances: Vec<Issuance>,
    /// What a waiting reveal needs.
    pub first_uses: Vec<FirstUse>,
    /// The broker's own questions as grants' users.
    pub own_uses: Vec<OwnUse>,
    /// The broker's probes of the audit policy.
    pub probed: Vec<super::probe::Probed>,
    /// The broker's own looks at single objects.
    pub own: Vec<OwnEvent>,
    /// What was changed, by whomever.
    pub traces: Vec<super::trace::Trace>,
    /// Events of others that came before and are neither kept nor counted again.
    pub repeats: u64,
    /// What could not be read.
    pub quarantined: Vec<Quarantined>,
    /// When each event that came happened (its stage), microseconds since 1970 UTC.
    pub stages_us: Vec<i64>,
    /// Events that came and say of no time.
    pub undated: u64,
    /// Requests by audit id: two of one id are an alarm.
    pub(super) seen: HashMap<String, EventKey>,
}
