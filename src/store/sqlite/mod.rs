//! SQLite: one file, one writer, many readers. `synchronous=FULL`, so that a commit that returned
//! survives the loss of power.

mod commit;
mod documents;
pub mod evidence;
mod file;
mod jobs;
mod ledger;
mod read;
mod received;
mod sessions;
mod tree;
mod versions;
mod writer;

use self::documents::Parsed;
use self::file::{lock, private};
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
use serde::de::DeserializeOwned;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// The store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    /// The only connection that writes. Its lock is the sequencer of the ledger.
    writer: Mutex<SqliteConnection>,
    options: SqliteConnectOptions,
    readers: SqlitePool,
    parsed: Parsed,
    clock: Arc<dyn Clock>,
    signers: Signers,
    /// Held while the store is open, so that a second broker on the same file refuses to start.
    _lock: std::fs::File,
}

impl SqliteStore {
    /// Opens the file, creating and migrating it.
    ///
    /// # Errors
    /// The file cannot be used, another process holds it, or it was made by a newer version.
    pub async fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        signers: impl Into<Signers>,
    ) -> Result<Self, StoreError> {
        let lock = lock(path).await?;
        private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Where the store's folder is the only one it may write, there is none for files to sort in.
            .pragma("temp_store", "MEMORY")
            .busy_timeout(Duration::from_secs(10));
        let mut writer = sqlx::ConnectOptions::connect(&options)
            .await
            .map_err(database("opening the store"))?;
        sqlx::migrate!("migrations/sqlite")
            .run(&mut writer)
            .await
            .map_err(|error| {
                StoreError::Refused(format!(
                    "the store {} cannot be brought up to date: {error}",
                    path.display()
                ))
            })?;
        // The lock says that no other process works on a job: whoever held a lease is dead, and what it was
        // doing (taking an access away, perhaps) goes on at once.
        sqlx::query("UPDATE jobs SET leased_until = 0 WHERE leased_until > 0")
            .execute(&mut writer)
            .await
            .map_err(database("taking over the jobs of an earlier process"))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(8)
            .connect_with(options.clone().read_only(true).create_if_missing(false))
            .await
            .map_err(database("opening the store for reading"))?;
        let store = Self {
            writer: Mutex::new(writer),
            options,
            readers,
            parsed: Parsed::default(),
            clock,
            signers: signers.into(),
            _lock: lock,
        };
        store.start_ledger().await?;
        store.complete_tree().await?;
        Ok(store)
    }
}

fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Database { doing, source }
}

fn corrupt(what: &'static str) -> impl Fn(String) -> StoreError {
    move |why| StoreError::Corrupt { what, why }
}

fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
        what,
        why: error.to_string(),
    })
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt {
        what: "a document to be stored",
        why: error.to_string(),
    })
}

fn ms(time: Time) -> i64 {
    time.timestamp_millis()
}

fn time(ms: i64) -> Result<Time, StoreError> {
    Time::from_timestamp_millis(ms).ok_or_else(|| StoreError::Corrupt {
        what: "a time",
        why: format!("{ms} ms is out of range"),
    })
}

/// SQLite counts in i64; nothing here is ever negative.
fn index(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, transition: Transition) -> Result<Committed, StoreError> {
        self.write(transition).await
    }
    async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError> {
        self.one(
            "a request",
            "SELECT document FROM requests WHERE id = ?",
            &[&id.to_string()],
        )
        .await
    }
    async fn requests(&self, filter: RequestFilter) -> Result<Vec<Arc<Request>>, StoreError> {
        self.read_requests(filter).await
    }
    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.one(
            "a grant",
            "SELECT document FROM grants WHERE id = ?",
            &[&id.to_string()],
        )
        .await
    }
    async fn grant_by_account(&self, cluster: &str, account: &str) -> Result<Option<Grant>, StoreError> {
        self.one(
            "a grant",
            "SELECT document FROM grants WHERE cluster = ? AND account = ?",
            &[cluster, account],
        )
        .await
    }
    async fn grants(&self, filter: GrantFilter) -> Result<Vec<Arc<Grant>>, StoreError> {
        self.read_grants(filter).await
    }
    async fn follow_up(&self, id: FollowUpId) -> Result<Option<FollowUp>, StoreError> {
        self.one(
            "a follow-up",
            "SELECT document FROM follow_ups WHERE id = ?",
            &[&id.to_string()],
        )
        .await
    }
    async fn follow_up_of(&self, grant: GrantId) -> Result<Option<FollowUp>, StoreError> {
        self.one(
            "a follow-up",
            "SELECT document FROM follow_ups WHERE grant_id = ?",
            &[&grant.to_string()],
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
            "SELECT document FROM actions WHERE cluster = ? AND credential_id = ? ORDER BY entry",
            &[cluster, credential_id],
        )
        .await
    }
    async fn open_findings(&self) -> Result<Vec<Finding>, StoreError> {
        self.many(
            "a finding",
            "SELECT document FROM findings WHERE open = 1 ORDER BY at DESC",
            &[],
        )
        .await
    }
    async fn finding(&self, key: &str) -> Result<Option<Finding>, StoreError> {
        self.one(
            "a finding",
            "SELECT document FROM findings WHERE key = ? ORDER BY at DESC LIMIT 1",
            &[key],
        )
        .await
    }
    async fn entered(&self, keys: &[String]) -> Result<BTreeSet<String>, StoreError> {
        self.read_entered(keys).await
    }
    async fn footholds(&self, cluster: &str) -> Result<Vec<ActionRow>, StoreError> {
        self.many(
            "an action",
            "SELECT document FROM actions WHERE cluster = ? AND json_extract(document, '$.facts.gives') IS NOT NULL
             ORDER BY entry",
            &[cluster],
        )
        .await
    }
    async fn notice(&self, id: NoticeId) -> Result<Option<Notice>, StoreError> {
        self.one(
            "a notice",
            "SELECT document FROM notices WHERE id = ?",
            &[&id.to_string()],
        )
        .await
    }
    async fn undeliverable(&self) -> Result<Vec<Delivery>, StoreError> {
        self.many(
            "a delivery",
            "SELECT document FROM deliveries WHERE undeliverable = 1",
            &[],
        )
        .await
    }
    async fn people(&self) -> Result<Vec<Person>, StoreError> {
        self.many(
            "a person",
            "SELECT document FROM people ORDER BY seen_at DESC",
            &[],
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
        self.many("a job", "SELECT document FROM jobs ORDER BY due", &[])
            .await
    }
    async fn job(&self, key: &str) -> Result<Option<Job>, StoreError> {
        self.one("a job", "SELECT document FROM jobs WHERE key = ?", &[key])
            .await
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
