//! SQLite: one file, one writer, many readers. `synchronous=FULL`, so that a commit that returned
//! survives the loss of power.

mod commit;
mod connection;
mod evidence;
mod file;
mod pen;
mod trust;
mod writer;

pub use self::evidence::evidence;
use self::file::{lock, private};
use self::trust::{Trust, settle};
use super::contract::StoreError;
use super::sql::SqlStore;
use super::sql::group::{Member, commits};
use super::sql::rows::database;
use crate::clock::Clock;
use crate::store::signing::Signers;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// The store in one SQLite file.
pub type SqliteStore = SqlStore<SqliteFile>;

/// One SQLite file.
#[derive(Debug)]
pub struct SqliteFile {
    /// The only connection that writes. Its lock is the sequencer of the ledger.
    writer: Arc<Mutex<SqliteConnection>>,
    /// To the task that commits.
    commits: mpsc::Sender<Member>,
    options: SqliteConnectOptions,
    readers: SqlitePool,
    /// Whether anything may be written.
    trust: Arc<Trust>,
    /// Held while the store is open, so that a second broker on the same file refuses to start.
    lock: Arc<std::fs::File>,
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
        settle(path, &mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(8)
            // Each holds up to 2 MB of pages: at night there is one.
            .idle_timeout(Duration::from_secs(20))
            .min_connections(1)
            .connect_with(options.clone().read_only(true).create_if_missing(false))
            .await
            .map_err(database("opening the store for reading"))?;
        let (commits, waiting) = commits();
        let file = SqliteFile {
            writer: Arc::new(Mutex::new(writer)),
            commits,
            options,
            readers,
            trust: Arc::default(),
            lock: Arc::new(lock),
        };
        let store = Self::start(file, clock, signers.into()).await?;
        // The lock says that no other process works on a job.
        store.free_jobs().await?;
        store.begin_to_write(waiting);
        Ok(store)
    }
}
