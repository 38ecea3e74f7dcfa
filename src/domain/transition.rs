//! A transition: what is written at once, or not at all. The only thing that can be committed.
//!
//! It cannot be made without a [`Record`], so nothing changes state without an entry in the ledger.

pub use super::action::ActionRow;
use super::entry_kind::EntryKind;
use super::finding::Finding;
use super::follow_up::{FollowUp, FollowUpState};
use super::grant::{Grant, GrantState};
use super::job::{Job, JobKind};
use super::notice::{Delivery, Notice};
use super::person::Person;
use super::request::Request;
use crate::clock::Time;
use crate::ids::{FollowUpId, GrantId, RequestId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an entry of the ledger says, and by what it can be found again.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its kind.
    pub kind: EntryKind,
    /// When it happened.
    pub at: Time,
    /// What it is about: only for finding it again, hashed as part of the payload.
    pub about: About,
    /// What happened, in one plain sentence, as the feed shows it.
    pub sentence: String,
    /// The facts. No secrets: what is here stays for years.
    pub payload: Value,
    /// Set for what can arrive twice (audit events): a second record with the same key is dropped,
    /// and that is not an error.
    pub key: Option<String>,
    /// The audit event this record is of.
    pub action: Option<Box<ActionRow>>,
}

/// What a record is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The follow-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<FollowUpId>,
    /// The cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Who did it, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

impl About {
    /// About a request.
    #[must_use]
    pub fn request(request: &Request) -> Self {
        Self {
            request: Some(request.id),
            cluster: Some(request.ask.cluster.clone()),
            team: Some(request.ask.team.clone()),
            profile: Some(request.ask.profile.clone()),
            ..Self::default()
        }
    }

    /// About a grant.
    #[must_use]
    pub fn grant(grant: &Grant) -> Self {
        Self {
            request: Some(grant.request),
            grant: Some(grant.id),
            cluster: Some(grant.cluster.clone()),
            team: Some(grant.team.clone()),
            profile: Some(grant.profile.clone()),
            ..Self::default()
        }
    }

    /// About a follow-up.
    #[must_use]
    pub fn follow_up(follow_up: &FollowUp) -> Self {
        Self {
            request: Some(follow_up.request),
            grant: Some(follow_up.grant),
            follow_up: Some(follow_up.id),
            cluster: Some(follow_up.cluster.clone()),
            team: Some(follow_up.team.clone()),
            profile: Some(follow_up.profile.clone()),
            ..Self::default()
        }
    }

    /// About a cluster.
    #[must_use]
    pub fn cluster(name: &str) -> Self {
        Self {
            cluster: Some(name.to_owned()),
            ..Self::default()
        }
    }

    /// Done by `person`.
    #[must_use]
    pub fn by(mut self, person: &Person) -> Self {
        self.person = Some(person.name.clone());
        self
    }
}

/// A guarded write. Updates name the state they expect; one that finds another changes nothing.
#[derive(Debug, Clone)]
pub enum Write {
    /// A new request.
    NewRequest(Request),
    /// A request whose stored state is still `expected`.
    Request {
        /// The state's stored name.
        expected: &'static str,
        /// The new value.
        new: Request,
    },
    /// A new grant.
    NewGrant(Grant),
    /// A grant whose stored state is still `expected`.
    Grant {
        /// The stored state.
        expected: GrantState,
        /// The new value.
        new: Grant,
    },
    /// A new follow-up.
    NewFollowUp(FollowUp),
    /// A follow-up whose stored state is still `expected`.
    FollowUp {
        /// The stored state.
        expected: FollowUpState,
        /// The new value.
        new: FollowUp,
    },
    /// A finding that is not known yet (by its key); a known one is left as it is.
    NewFinding(Finding),
    /// What is gathered in one open finding: a new one of that key, or one with as many changes as `expected`.
    Gathered {
        /// How many changes it has; none for a new finding.
        expected: Option<u64>,
        /// The new value.
        new: Finding,
    },
    /// A finding was looked at; of one that is gathered, all the changes that it has.
    Finding(Finding),
    /// How a notice fared on a channel. One more failure of what somebody settled leaves that as it is.
    Delivery(Delivery),
    /// A delivery that failed was looked at.
    SettledDelivery(Delivery),
    /// How many events came in one batch. The same batch again counts nothing.
    Received(Received),
    /// A small value that is kept with the entry that it follows from, or not at all.
    Keep {
        /// Its name.
        name: String,
        /// The value.
        value: String,
    },
}

/// How many events of an API server came in one batch, by when they happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What makes it the same batch.
    pub key: String,
    /// The cluster.
    pub cluster: String,
    /// The API server's name; empty where it has none.
    pub server: String,
    /// Beginnings of stretches of time by the API server's clock, ms, each with its events.
    pub slots: Vec<(i64, u64)>,
}

/// Events that are entered and have no rows to be found by: they are no grant's.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The key of the record of the batch they came in: where that one came before, so did they.
    pub batch: String,
    /// The cluster.
    pub cluster: String,
    /// When each happened, and the event itself as JSON, redacted.
    pub events: Vec<(Time, Bytes)>,
}

/// What is written at once.
#[derive(Debug, Clone)]
#[must_use = "a transition does nothing until it is committed"]
pub struct Transition {
    /// At least one.
    pub records: Vec<Record>,
    /// What is entered behind them.
    pub kept: Vec<Kept>,
    /// What changes.
    pub writes: Vec<Write>,
    /// Work that follows.
    pub jobs: Vec<Job>,
    /// Who is told.
    pub notices: Vec<Notice>,
}

impl Transition {
    /// A transition that at least records `record`.
    pub fn new(record: Record) -> Self {
        Self {
            records: vec![record],
            kept: vec![],
            writes: vec![],
            jobs: vec![],
            notices: vec![],
        }
    }

    /// Several records at once (a batch of audit events); `None` when there is nothing to record.
    #[must_use]
    pub fn batch(records: Vec<Record>) -> Option<Self> {
        let mut records = records.into_iter();
        let mut transition = Self::new(records.next()?);
        transition.records.extend(records);
        Some(transition)
    }

    /// Adds another transition: both are written at once.
    pub fn and(mut self, other: Self) -> Self {
        self.records.extend(other.records);
        self.kept.extend(other.kept);
        self.writes.extend(other.writes);
        self.jobs.extend(other.jobs);
        self.notices.extend(other.notices);
        self
    }

    /// Adds a record.
    pub fn record(mut self, record: Record) -> Self {
        self.records.push(record);
        self
    }

    /// Adds a write.
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Adds a job, due at `due`.
    pub fn job(mut self, kind: JobKind, due: Time) -> Self {
        self.jobs.push(Job::new(kind, due));
        self
    }

    /// Adds a notice.
    pub fn notice(mut self, notice: Notice) -> Self {
        self.notices.push(notice);
        self
    }
}

/// One change of state, as it stands in the entry that moved it. From these alone the states of all
/// requests, grants and follow-ups can be told, each version once: a state without its entry shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// `request`, `grant` or `follow-up`.
    pub what: &'static str,
    /// Its id.
    pub id: String,
    /// The state before; `None` for something new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'static str>,
    /// The state after.
    pub to: &'static str,
    /// Its version after.
    pub version: u64,
}

impl Write {
    /// What it moves; `None` where the thing has no states of its own.
    #[must_use]
    pub fn as_move(&self) -> Option<Move> {
        let (what, id, from, to, version) = match self {
            Self::NewRequest(new) => ("request", new.id.to_string(), None, new.state_name(), new.version),
            Self::Request { expected, new } => (
                "request",
                new.id.to_string(),
                Some(*expected),
                new.state_name(),
                new.version + 1,
            ),
            Self::NewGrant(new) => ("grant", new.id.to_string(), None, new.state.name(), new.version),
            Self::Grant { expected, new } => (
                "grant",
                new.id.to_string(),
                Some(expected.name()),
                new.state.name(),
                new.version + 1,
            ),
            Self::NewFollowUp(new) => (
                "follow-up",
                new.id.to_string(),
                None,
                new.state.name(),
                new.version,
            ),
            Self::FollowUp { expected, new } => (
                "follow-up",
                new.id.to_string(),
                Some(expected.name()),
                new.state.name(),
                new.version + 1,
            ),
            Self::NewFinding(_)
            | Self::Gathered { .. }
            | Self::Finding(_)
            | Self::Delivery(_)
            | Self::SettledDelivery(_)
            | Self::Received(_)
            | Self::Keep { .. } => return None,
        };
        Some(Move {
            what,
            id,
            from,
            to,
            version,
        })
    }
}

/// A record of `kind` at `at`.
#[must_use]
pub fn record(
    kind: EntryKind,
    at: Time,
    about: About,
    sentence: impl Into<String>,
    payload: Value,
) -> Record {
    Record {
        kind,
        at,
        about,
        sentence: sentence.into(),
        payload,
        key: None,
        action: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ask, at, follow_up, grant, person, request};
    use super::*;
    use serde_json::json;

    fn said(sentence: &str) -> Record {
        record(
            EntryKind::Finding,
            at(0),
            About::cluster("production"),
            sentence,
            json!({}),
        )
    }

    #[test]
    fn nothing_to_record_is_no_transition() {
        assert!(Transition::batch(vec![]).is_none());
        let batch = Transition::batch(vec![said("one"), said("two")]).unwrap();
        let sentences: Vec<_> = batch
            .records
            .iter()
            .map(|record| record.sentence.as_str())
            .collect();
        assert_eq!(sentences, ["one", "two"], "in the order they came");
    }

    #[test]
    fn an_entry_is_found_by_everything_it_is_about() {
        let (request, grant, follow_up) = (request(ask()), grant(), follow_up());
        let about = About::request(&request).by(&person("first-approver"));
        assert_eq!((about.request, about.grant), (Some(request.id), None));
        assert_eq!(about.person.as_deref(), Some("The first-approver"));
        assert_eq!(about.profile.as_deref(), Some("payments-admin"));
        let about = About::grant(&grant);
        assert_eq!(
            (about.request, about.grant),
            (Some(grant.request), Some(grant.id))
        );
        let about = About::follow_up(&follow_up);
        assert_eq!(
            (about.request, about.grant, about.follow_up),
            (Some(follow_up.request), Some(follow_up.grant), Some(follow_up.id))
        );
        for about in [
            About::request(&request),
            About::grant(&grant),
            About::follow_up(&follow_up),
        ] {
            assert_eq!(about.cluster.as_deref(), Some("production"));
            assert_eq!(about.team.as_deref(), Some("payments"));
        }
    }

    #[test]
    fn what_an_entry_is_not_about_is_not_written() {
        assert_eq!(
            serde_json::to_value(About::cluster("production")).unwrap(),
            json!({"cluster": "production"})
        );
    }

    #[test]
    fn a_write_says_what_it_moves_and_to_which_version() {
        let made = grant();
        let born = Write::NewGrant(made.clone()).as_move().unwrap();
        assert_eq!(
            serde_json::to_value(&born).unwrap(),
            json!({"what": "grant", "id": made.id.to_string(), "to": "provisioning", "version": 0})
        );
        let ready = made.clone().ready(at(1)).unwrap();
        let moved = Write::Grant {
            expected: GrantState::Provisioning,
            new: ready,
        };
        let moved = moved.as_move().unwrap();
        assert_eq!(
            (moved.from, moved.to, moved.version),
            (Some("provisioning"), "ready", 1)
        );
    }

    #[test]
    fn a_transition_keeps_all_that_was_added() {
        let grant = grant();
        let transition = Transition::new(said("made"))
            .record(said("and said"))
            .write(Write::NewGrant(grant.clone()))
            .job(JobKind::Provision { grant: grant.id }, at(5));
        assert_eq!(
            (
                transition.records.len(),
                transition.writes.len(),
                transition.jobs.len()
            ),
            (2, 1, 1)
        );
        assert_eq!((transition.jobs[0].due, transition.jobs[0].attempts), (at(5), 0));
    }
}
