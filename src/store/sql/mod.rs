//! What both engines share: every statement that both understand, written once. `$1` is a placeholder of both, a
//! truth is 0 or 1 in both, and `json_extract` is a function that SQLite has and PostgreSQL is given.
//!
//! An engine is a [`Database`]: how it connects, and its commit.

pub(super) mod commit;
mod database;
mod documents;
mod evidence;
pub(super) mod group;
mod jobs;
pub(super) mod ledger;
mod narrowed;
pub(super) mod pen;
mod query;
mod read;
mod received;
pub(super) mod rows;
mod sessions;
mod tree;
mod versions;

pub(super) use self::database::{Connection, Database};
use self::documents::Parsed;
pub use self::evidence::Evidence;
pub(super) use self::query::{Query, Row, sql};
use self::rows::database;
use super::contract::{
    Committed, EntryFilter, EntryLine, FollowUpFilter, GrantFilter, Head, RequestFilter, Store, StoreError,
    StoredSegment,
};
use crate::clock::{Clock, Time};
use crate::domain::finding::Finding;
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::domain::job::{Job, Lane};
use crate::domain::notice::{Delivery, Notice};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::person::Person;
use crate::domain::request::Request;
use crate::domain::transition::{ActionRow, Transition};
use crate::ids::{FollowUpId, GrantId, JobId, NoticeId, RequestId};
use crate::store::signing::Signers;
use async_trait::async_trait;
use chrono::TimeDelta;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The store in a database of one engine.
#[derive(Debug)]
pub struct SqlStore<D> {
    pub(super) database: D,
    parsed: Parsed,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) signers: Signers,
}

impl<D: Database> SqlStore<D> {
    /// The store in a database that is brought up to date. Starts its ledger, or sees that it can be continued.
    ///
    /// # Errors
    /// It cannot be read, or its head is not the one this broker signed.
    pub(super) async fn start(
        database: D,
        clock: Arc<dyn Clock>,
        signers: Signers,
    ) -> Result<Self, StoreError> {
        let store = Self {
            database,
            parsed: Parsed::default(),
            clock,
            signers,
        };
        store.start_ledger().await?;
        store.complete_tree().await?;
        Ok(store)
    }

    pub(super) async fn rows(&self, doing: &'static str, query: Query) -> Result<Vec<Row>, StoreError> {
        self.database.rows(query).await.map_err(database(doing))
    }

    /// The first row.
    async fn row(&self, doing: &'static str, query: Query) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(doing, query).await?.into_iter().next())
    }

    pub(super) async fn change(&self, doing: &'static str, query: Query) -> Result<u64, StoreError> {
        self.database.change(query).await.map_err(database(doing))
    }

    async fn change_all(&self, doing: &'static str, queries: Vec<Query>) -> Result<(), StoreError> {
        self.database.change_all(queries).await.map_err(database(doing))
    }
}

#[async_trait]
impl<D: Database> Store for SqlStore<D> {
    async fn commit(&self, transition: Transition) -> Result<Committed, StoreError> {
        D::commit(self, transition).await
    }
    fn halted(&self) -> Option<String> {
        self.database.halted()
    }
    async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError> {
        self.one(
            "a request",
            sql("SELECT document FROM requests WHERE id = $1").bind(id.to_string()),
        )
        .await
    }
    async fn requests(&self, filter: RequestFilter) -> Result<Vec<Arc<Request>>, StoreError> {
        self.read_requests(filter).await
    }
    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.one(
            "a grant",
            sql("SELECT document FROM grants WHERE id = $1").bind(id.to_string()),
        )
        .await
    }
    async fn grant_by_account(&self, cluster: &str, account: &str) -> Result<Option<Grant>, StoreError> {
        self.one(
            "a grant",
            sql("SELECT document FROM grants WHERE cluster = $1 AND account = $2")
                .bind(cluster)
                .bind(account),
        )
        .await
    }
    async fn grants(&self, filter: GrantFilter) -> Result<Vec<Arc<Grant>>, StoreError> {
        self.read_grants(filter).await
    }
    async fn follow_up(&self, id: FollowUpId) -> Result<Option<FollowUp>, StoreError> {
        self.one(
            "a follow-up",
            sql("SELECT document FROM follow_ups WHERE id = $1").bind(id.to_string()),
        )
        .await
    }
    async fn follow_up_of(&self, grant: GrantId) -> Result<Option<FollowUp>, StoreError> {
        self.one(
            "a follow-up",
            sql("SELECT document FROM follow_ups WHERE grant_id = $1").bind(grant.to_string()),
        )
        .await
    }
    async fn follow_ups(&self, filter: FollowUpFilter) -> Result<Vec<Arc<FollowUp>>, StoreError> {
        self.read_follow_ups(filter).await
    }
    async fn follow_ups_of(&self, requests: &[RequestId]) -> Result<Vec<Arc<FollowUp>>, StoreError> {
        self.read_follow_ups_of(requests).await
    }
    async fn unreviewed(&self) -> Result<u64, StoreError> {
        self.count_unreviewed().await
    }
    async fn actions_after(
        &self,
        grant: GrantId,
        entry: Option<u64>,
    ) -> Result<Vec<(u64, ActionRow)>, StoreError> {
        self.read_actions(grant, entry).await
    }
    async fn actions_of_credential(
        &self,
        cluster: &str,
        credential_id: &str,
    ) -> Result<Vec<ActionRow>, StoreError> {
        self.many(
            "an action",
            sql("SELECT document FROM actions WHERE cluster = $1 AND credential_id = $2 ORDER BY entry")
                .bind(cluster)
                .bind(credential_id),
        )
        .await
    }
    async fn open_findings(&self) -> Result<Vec<Finding>, StoreError> {
        self.many(
            "a finding",
            sql("SELECT document FROM findings WHERE open = 1 ORDER BY at DESC"),
        )
        .await
    }
    async fn finding(&self, key: &str) -> Result<Option<Finding>, StoreError> {
        self.one(
            "a finding",
            sql("SELECT document FROM findings WHERE key = $1 ORDER BY at DESC LIMIT 1").bind(key),
        )
        .await
    }
    async fn entered(&self, keys: &[String]) -> Result<BTreeSet<String>, StoreError> {
        self.read_entered(keys).await
    }
    async fn footholds(&self, cluster: &str) -> Result<Vec<ActionRow>, StoreError> {
        self.many("an action", sql("SELECT document FROM actions WHERE cluster = $1 AND json_extract(document, '$.facts.gives') IS NOT NULL
             ORDER BY entry").bind(cluster))
        .await
    }
    async fn notice(&self, id: NoticeId) -> Result<Option<Notice>, StoreError> {
        self.one(
            "a notice",
            sql("SELECT document FROM notices WHERE id = $1").bind(id.to_string()),
        )
        .await
    }
    async fn undeliverable(&self) -> Result<Vec<Delivery>, StoreError> {
        self.many(
            "a delivery",
            sql("SELECT document FROM deliveries WHERE undeliverable = 1"),
        )
        .await
    }
    async fn people(&self) -> Result<Vec<Person>, StoreError> {
        self.many(
            "a person",
            sql("SELECT document FROM people ORDER BY seen_at DESC"),
        )
        .await
    }
    async fn remember(&self, person: &Person, at: Time) -> Result<(), StoreError> {
        self.remember_person(person, at).await
    }
    async fn lease_jobs(
        &self,
        lane: Lane,
        now: Time,
        lease: TimeDelta,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        self.lease(lane, now, lease, limit).await
    }
    async fn put_back(&self, job: &Job) -> Result<(), StoreError> {
        self.put_job_back(job).await
    }
    async fn drop_job(&self, id: JobId) -> Result<(), StoreError> {
        self.delete_job(id).await
    }
    async fn poke(&self, jobs: &[Job]) -> Result<(), StoreError> {
        self.poke_jobs(jobs).await
    }
    async fn jobs(&self) -> Result<Vec<Job>, StoreError> {
        self.read_jobs(sql("SELECT document, due FROM jobs ORDER BY due"))
            .await
    }
    async fn job(&self, key: &str) -> Result<Option<Job>, StoreError> {
        let query = sql("SELECT document, due FROM jobs WHERE key = $1").bind(key);
        Ok(self.read_jobs(query).await?.into_iter().next())
    }
    async fn failing_jobs(&self, limit: u32) -> Result<Vec<Job>, StoreError> {
        self.read_failing_jobs(limit).await
    }
    async fn entries(&self, filter: EntryFilter) -> Result<Vec<EntryLine>, StoreError> {
        self.read_entries(filter).await
    }
    async fn entry(&self, index: u64) -> Result<Option<EntryLine>, StoreError> {
        self.read_entry(index).await
    }
    async fn head(&self) -> Result<Head, StoreError> {
        self.read_head().await
    }
    async fn segment_of(&self, index: u64) -> Result<Option<StoredSegment>, StoreError> {
        self.read_segment_of(index).await
    }
    async fn segments(&self, first: u64, limit: u32) -> Result<Vec<StoredSegment>, StoreError> {
        self.read_segments(first, limit).await
    }
    async fn leaves(&self, first: u64, count: u64) -> Result<Vec<[u8; 32]>, StoreError> {
        self.read_leaves(first, count).await
    }
    async fn nodes(&self, level: u8, first: u64, count: u64) -> Result<Vec<[u8; 32]>, StoreError> {
        self.read_nodes(level, first, count).await
    }
    async fn keep_versions(
        &self,
        cluster: &str,
        versions: &[ObjectVersion],
        seen_at: Time,
    ) -> Result<(), StoreError> {
        self.write_versions(cluster, versions, seen_at).await
    }
    async fn version_before(
        &self,
        cluster: &str,
        key: &ObjectKey,
        version: u64,
        seen_before_ms: Option<i64>,
    ) -> Result<Option<ObjectVersion>, StoreError> {
        self.read_version_before(cluster, key, version, seen_before_ms)
            .await
    }
    async fn versions_before(
        &self,
        cluster: &str,
        resource: &ObjectKey,
        seen_before_ms: i64,
    ) -> Result<Vec<ObjectVersion>, StoreError> {
        self.read_versions_before(cluster, resource, seen_before_ms).await
    }
    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.read_setting(name).await
    }
    async fn set_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.write_setting(name, value).await
    }
    async fn received(&self, cluster: &str, server: &str, from_ms: i64) -> Result<u64, StoreError> {
        self.read_received(cluster, server, from_ms).await
    }
    async fn fold_received(&self, cluster: &str, server: &str, from: i64, to: i64) -> Result<(), StoreError> {
        self.write_folded(cluster, server, from, to).await
    }
    async fn clock_set_back(&self, by: TimeDelta, now: Time) -> Result<(), StoreError> {
        self.hasten_jobs(now).await?;
        self.see_versions_earlier(by, now).await
    }
    async fn save_session(
        &self,
        id_hash: &str,
        data: &str,
        expires: Time,
        fresh: bool,
    ) -> Result<bool, StoreError> {
        self.write_session(id_hash, data, expires, fresh).await
    }
    async fn load_session(&self, id_hash: &str, now: Time) -> Result<Option<String>, StoreError> {
        self.read_session(id_hash, now).await
    }
    async fn delete_session(&self, id_hash: &str) -> Result<(), StoreError> {
        self.remove_session(id_hash).await
    }
    async fn tidy(&self, now: Time) -> Result<(), StoreError> {
        self.remove_expired(now).await
    }
}
