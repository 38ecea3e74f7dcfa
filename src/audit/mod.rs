//! What the API server sends: read, redact, attribute, classify. Pure.
//!
//! One batch walks through this room in one call, [`digest_batch`]: [`split`] finds the events in
//! the body, [`Event`] reads one without copying it, [`attribute`] says whose it is, [`classify`]
//! what was done, [`redact`] takes out what must never be stored, [`words`] says it in a sentence.
//! What comes out ([`Intake`]) is plain data: the store writes it, nothing here remembers anything.
//!
//! Two rules hold everywhere. An event that cannot be understood is kept as it came and flagged,
//! never dropped: whoever could make the reader stumble could otherwise act unseen. And nothing
//! leaves this room before [`redact`] has seen it, the words and the quarantine included.

mod alarm;
mod attribute;
mod bypass;
mod classify;
mod clean;
mod event;
mod field;
mod foothold;
mod gke;
pub mod import;
mod intake;
mod key;
mod object;
mod others;
mod person;
mod probe;
mod record;
mod redact;
mod scrub;
pub mod split;
mod told;
mod trace;
mod words;

pub use attribute::{Accounts, Attribution, GrantRef, KnownGrant, Lookup, attribute};
pub use classify::{Class, Classified, Flag, Flags, Stream, classify};
pub use clean::Fit;
pub use event::{Event, Level, ObjectRef, ParseError, Stage, Status, Text, User, parse};
pub use field::may_write;
pub use foothold::{Foothold, Footholds};
pub use import::Wrapping;
pub use intake::{digest_batch, digest_fresh};
pub use key::EventKey;
pub use object::Object;
pub use probe::{Probed, is_probe};
pub use record::{
    Action, Alarm, AlarmKind, Bypass, Counts, FirstUse, Intake, Issuance, Other, OwnEvent, OwnUse,
    Quarantined, Stored,
};
pub use redact::{MARK, Redacted};
pub use scrub::scrub;
pub use split::{Split, split};
pub use told::{KEPT, Told, told};
pub use trace::{Trace, place};
pub use words::{Words, is_hidden, visible};

#[cfg(test)]
mod tests;
