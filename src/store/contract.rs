//! The contract every store keeps; `tests/store.rs` holds each engine to it.

use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::finding::Finding;
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::domain::job::{Job, Lane};
use crate::domain::notice::{Delivery, Notice};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::person::Person;
use crate::domain::request::Request;
use crate::domain::transition::{About, ActionRow, Transition};
use crate::ids::{FollowUpId, GrantId, JobId, NoticeId, RequestId};
use async_trait::async_trait;
use chrono::TimeDelta;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else was faster: read again, decide again. Nothing was written.
    #[error("{0} was changed by somebody else meanwhile")]
    Conflict(&'static str),
    /// The database failed. Whether the transaction took effect is known only by reading again.
    #[error("the database failed while {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: sqlx::Error,
    },
    /// What is stored cannot be read: never guessed around.
    #[error("the store holds {what} that cannot be read: {why}")]
    Corrupt {
        /// Which thing.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The database belongs to somebody else or to another version.
    #[error("{0}")]
    Refused(String),
}

/// What a commit left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Index of the first new entry; `None` when every record was a repeat.
    pub first: Option<u64>,
    /// How many entries were new.
    pub entries: u64,
    /// How many records were dropped as repeats.
    pub repeats: u64,
    /// The signed checkpoint over everything, this commit included.
    pub checkpoint: String,
}

/// A line of the ledger, as it is found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryLine {
    /// Its index in the log.
    pub index: u64,
    /// Its kind.
    pub kind: EntryKind,
    /// When it happened.
    pub at: Time,
    /// When it was entered.
    pub entered: Time,
    /// What it is about.
    pub about: About,
    /// The sentence.
    pub sentence: String,
}

/// Which lines of the ledger.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Only these kinds; empty for all.
    pub kinds: Vec<EntryKind>,
    /// Of this request.
    pub request: Option<RequestId>,
    /// Of this grant.
    pub grant: Option<GrantId>,
    /// Of this cluster.
    pub cluster: Option<String>,
    /// Of this team.
    pub team: Option<String>,
    /// Of this profile.
    pub profile: Option<String>,
    /// Done by a person of this name.
    pub person: Option<String>,
    /// Actions on this object, in the words of the record (`Deployment payments/web`), whatever their case.
    pub object: Option<String>,
    /// What happened at this time or later: the newest of it first, by when it happened.
    pub from: Option<Time>,
    /// What happened at this time or before: as with `from`.
    pub to: Option<Time>,
    /// Of emergencies that stand so.
    pub stands: Option<Stands>,
    /// Actions of sessions that are notable so.
    pub notable: Option<Notable>,
    /// Below this index (for the next page).
    pub before: Option<u64>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// How an emergency stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Its access is not ended.
    Running,
    /// Its follow-up is not closed.
    Owed,
    /// It has missed a deadline and still owes.
    Late,
    /// Compliance has not looked at it.
    Unreviewed,
    /// Compliance has looked at it.
    Reviewed,
}

/// What is notable about an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notable {
    /// It may have changed something.
    Change,
    /// It was in a Pod, a Node or a Service: exec, attach, port-forward, proxy, debug.
    Exec,
    /// It was about a Secret.
    Secret,
    /// It was about rights.
    Rights,
    /// It was refused.
    Denied,
}

/// Which requests.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// In this state.
    pub state: Option<&'static str>,
    /// Of this person (the person claim).
    pub requester: Option<String>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// Which grants.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    /// Only those not Ended.
    pub live: bool,
    /// Of this person (the person claim).
    pub requester: Option<String>,
    /// On this cluster.
    pub cluster: Option<String>,
    /// Approved at this time or later.
    pub since: Option<Time>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// Which follow-ups.
#[derive(Debug, Clone, Default)]
pub struct FollowUpFilter {
    /// Only those not closed.
    pub open: bool,
    /// Of this team.
    pub team: Option<String>,
    /// From this time on.
    pub since: Option<Time>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// The ledger's newest state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How many entries.
    pub size: u64,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// When it was signed.
    pub at: Time,
}

/// One stored segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSegment {
    /// Index of its first entry.
    pub first: u64,
    /// How many entries.
    pub count: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Keeps everything.
///
/// * **Atomic**: a [`Transition`] is written whole or not at all: guarded updates, entries, the signed
///   checkpoint over them, jobs and notices.
/// * **Durable**: when `commit` returns, the transition survives the loss of power.
/// * **Guarded**: an update whose expected state or version is gone is a [`StoreError::Conflict`], and
///   nothing of that transition is written.
/// * **Shared**: lists hand out documents that are parsed once a version, not once a look.
/// * **Once**: a record whose key is known is dropped; the rest of the transition stands.
/// * Callers retry conflicts by reading again; a database error may hide a commit that took effect,
///   so they read before they write again.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Writes a transition: the only way anything changes state.
    async fn commit(&self, transition: Transition) -> Result<Committed, StoreError>;
    /// Why nothing is written any more until this service is started again, in words; `None` while something may be.
    /// Until then everything that was committed can be read.
    fn halted(&self) -> Option<String>;

    /// A request.
    async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError>;
    /// Requests, newest first.
    async fn requests(&self, filter: RequestFilter) -> Result<Vec<Arc<Request>>, StoreError>;
    /// A grant.
    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError>;
    /// The grant with that `ServiceAccount` on that cluster.
    async fn grant_by_account(&self, cluster: &str, account: &str) -> Result<Option<Grant>, StoreError>;
    /// Grants, newest first.
    async fn grants(&self, filter: GrantFilter) -> Result<Vec<Arc<Grant>>, StoreError>;
    /// A follow-up.
    async fn follow_up(&self, id: FollowUpId) -> Result<Option<FollowUp>, StoreError>;
    /// The follow-up of a grant.
    async fn follow_up_of(&self, grant: GrantId) -> Result<Option<FollowUp>, StoreError>;
    /// The follow-ups of these requests, in no order.
    async fn follow_ups_of(&self, requests: &[RequestId]) -> Result<Vec<Arc<FollowUp>>, StoreError>;
    /// How many follow-ups compliance has not looked at.
    async fn unreviewed(&self) -> Result<u64, StoreError>;
    /// Follow-ups, newest first.
    async fn follow_ups(&self, filter: FollowUpFilter) -> Result<Vec<Arc<FollowUp>>, StoreError>;
    /// A grant's actions in the order the API server received them, with their entries' indices.
    async fn actions(&self, grant: GrantId) -> Result<Vec<(u64, ActionRow)>, StoreError> {
        self.actions_after(grant, None).await
    }
    /// Those of them that were entered after this entry; all of them without one.
    async fn actions_after(
        &self,
        grant: GrantId,
        entry: Option<u64>,
    ) -> Result<Vec<(u64, ActionRow)>, StoreError>;
    /// The events that name this credential: its issuance, and its uses.
    async fn actions_of_credential(
        &self,
        cluster: &str,
        credential_id: &str,
    ) -> Result<Vec<ActionRow>, StoreError>;
    /// Open findings, newest first.
    async fn open_findings(&self) -> Result<Vec<Finding>, StoreError>;
    /// The newest finding of that key, open or settled.
    async fn finding(&self, key: &str) -> Result<Option<Finding>, StoreError>;
    /// Those of `keys` whose records were entered, as far as is remembered (see [`Self::tidy`]).
    async fn entered(&self, keys: &[String]) -> Result<BTreeSet<String>, StoreError>;
    /// The actions on a cluster by which sessions got hold of something to act as somebody else with
    /// (`gives` of their facts), oldest first.
    async fn footholds(&self, cluster: &str) -> Result<Vec<ActionRow>, StoreError>;
    /// A notice.
    async fn notice(&self, id: NoticeId) -> Result<Option<Notice>, StoreError>;
    /// Deliveries that failed for long or for good and that nobody has settled.
    async fn undeliverable(&self) -> Result<Vec<Delivery>, StoreError>;
    /// Everybody who has signed in.
    async fn people(&self) -> Result<Vec<Person>, StoreError>;
    /// Remembers who signed in (the entry is committed by the caller; this is a look-up table).
    async fn remember(&self, person: &Person, at: Time) -> Result<(), StoreError>;

    /// Takes up to `limit` due jobs of `lane` for `lease`: nobody else gets them until it is over.
    async fn lease_jobs(
        &self,
        lane: Lane,
        now: Time,
        lease: TimeDelta,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError>;
    /// Puts a job back to be tried again at its `due`.
    async fn put_back(&self, job: &Job) -> Result<(), StoreError>;
    /// A job whose work was found done already.
    async fn drop_job(&self, id: JobId) -> Result<(), StoreError>;
    /// Adds jobs that follow from the world rather than from a transition; known keys are brought
    /// forward to the earlier time.
    async fn poke(&self, jobs: &[Job]) -> Result<(), StoreError>;
    /// Every waiting job.
    async fn jobs(&self) -> Result<Vec<Job>, StoreError>;
    /// The waiting job of that key.
    async fn job(&self, key: &str) -> Result<Option<Job>, StoreError>;
    /// Jobs whose last try failed, at most `limit`, those that fail longest first.
    async fn failing_jobs(&self, limit: u32) -> Result<Vec<Job>, StoreError>;

    /// Lines of the ledger, newest first.
    async fn entries(&self, filter: EntryFilter) -> Result<Vec<EntryLine>, StoreError>;
    /// The line with that index.
    async fn entry(&self, index: u64) -> Result<Option<EntryLine>, StoreError>;
    /// The ledger's head.
    async fn head(&self) -> Result<Head, StoreError>;
    /// The segment that holds entry `index`.
    async fn segment_of(&self, index: u64) -> Result<Option<StoredSegment>, StoreError>;
    /// Segments from entry `first` on, in order, at most `limit`.
    async fn segments(&self, first: u64, limit: u32) -> Result<Vec<StoredSegment>, StoreError>;
    /// Leaf hashes of entries `first..first + count`.
    async fn leaves(&self, first: u64, count: u64) -> Result<Vec<[u8; 32]>, StoreError>;
    /// Hashes `first..first + count` of a level of the tree: leaves at level 0, above it the roots over
    /// `256^level` entries. Fewer where the log has not as many; whatever the log's size, only these are
    /// read.
    async fn nodes(&self, level: u8, first: u64, count: u64) -> Result<Vec<[u8; 32]>, StoreError>;

    /// Keeps versions of watched objects; known ones are left.
    async fn keep_versions(
        &self,
        cluster: &str,
        versions: &[ObjectVersion],
        seen_at: Time,
    ) -> Result<(), StoreError>;
    /// The newest kept version of `key` below `version` (and seen at or before `seen_before_ms`, where
    /// given). One at which the object was deleted comes back without an object.
    async fn version_before(
        &self,
        cluster: &str,
        key: &ObjectKey,
        version: u64,
        seen_before_ms: Option<i64>,
    ) -> Result<Option<ObjectVersion>, StoreError>;
    /// The objects of a resource in a namespace (the key's name does not count) as they were at a time.
    async fn versions_before(
        &self,
        cluster: &str,
        resource: &ObjectKey,
        seen_before_ms: i64,
    ) -> Result<Vec<ObjectVersion>, StoreError>;

    /// A small value kept between starts.
    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError>;
    /// Keeps a small value.
    async fn set_setting(&self, name: &str, value: &str) -> Result<(), StoreError>;
    /// How many events of an API server were counted ([`crate::domain::transition::Received`]) in slots that begin at
    /// `from_ms` or later.
    async fn received(&self, cluster: &str, server: &str, from_ms: i64) -> Result<u64, StoreError>;
    /// The slots that begin in `from..to` (ms) become one that begins at `from`, with all their events; what began
    /// before is forgotten. Again, it changes nothing more.
    async fn fold_received(&self, cluster: &str, server: &str, from: i64, to: i64) -> Result<(), StoreError>;
    /// The clock was set back by `by`, and it is `now`: no job waits for a time that is still to come, no lease
    /// holds until then, and what was seen then was seen as much earlier. Again, it changes nothing more.
    async fn clock_set_back(&self, by: TimeDelta, now: Time) -> Result<(), StoreError>;

    /// Keeps a web session under the hash of its id.
    async fn save_session(
        &self,
        id_hash: &str,
        data: &str,
        expires: Time,
        fresh: bool,
    ) -> Result<bool, StoreError>;
    /// A web session that has not expired.
    async fn load_session(&self, id_hash: &str, now: Time) -> Result<Option<String>, StoreError>;
    /// Forgets a web session.
    async fn delete_session(&self, id_hash: &str) -> Result<(), StoreError>;
    /// Forgets expired sessions and keys of events too old to come again.
    async fn tidy(&self, now: Time) -> Result<(), StoreError>;
}
