//! PostgreSQL: one database, several connections. The ledger's one head row, locked by every commit, is the sequencer;
//! `synchronous_commit` is on for each of them, so that a commit that returned survives the loss of power. One task commits,
//! in groups, on a connection of its own (`pen`).
//!
//! Several may append to one database. One broker works on it: [`Alone`].

mod address;
mod alone;
mod commit;
mod connection;
mod evidence;
mod pen;

pub use self::alone::Alone;
pub use self::evidence::evidence;

use super::contract::StoreError;
use super::sql::group::{Member, commits};
use super::sql::rows::database;
use super::sql::{SqlStore, sql};
use crate::clock::Clock;
use crate::store::signing::Signers;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Connection as _, Executor as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The oldest server whose answers were tried, as it numbers itself.
const OLDEST: i64 = 130_000;

/// The store in a PostgreSQL database.
pub type PostgresStore = SqlStore<PostgresDatabase>;

/// One PostgreSQL database.
#[derive(Debug)]
pub struct PostgresDatabase {
    pool: PgPool,
    /// To the task that commits.
    commits: mpsc::Sender<Member>,
    /// Which of the brokers that worked here this one is; `None` where it does not claim to work alone.
    term: Option<i64>,
}

impl PostgresStore {
    /// Opens the database at that address, migrating it. Others may have it open too.
    ///
    /// # Errors
    /// It cannot be used, it could lose what it said it kept, or it was made by a newer version.
    pub async fn open(
        address: &str,
        clock: Arc<dyn Clock>,
        signers: impl Into<Signers>,
    ) -> Result<Self, StoreError> {
        Self::opened(address, clock, signers.into(), false).await
    }

    async fn opened(
        address: &str,
        clock: Arc<dyn Clock>,
        signers: Signers,
        is_alone: bool,
    ) -> Result<Self, StoreError> {
        let options = address::options(address)?;
        let mut first = sqlx::ConnectOptions::connect(&options)
            .await
            .map_err(database("opening the store"))?;
        keeps_its_word(&mut first).await?;
        sqlx::migrate!("migrations/postgres")
            .run(&mut first)
            .await
            .map_err(|error| {
                StoreError::Refused(format!("the store cannot be brought up to date: {error}"))
            })?;
        let _ = first.close().await;
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(Duration::from_secs(8))
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // Whoever holds a lock and is gone must not keep everybody else from writing.
                    let text = "SET lock_timeout = '15s'; SET idle_in_transaction_session_timeout = '10s'";
                    connection.execute(text).await.map(|_| ())
                })
            })
            .connect_with(options.clone())
            .await
            .map_err(database("opening the store"))?;
        let to_write = pen::to_write(&options).await?;
        let (commits, waiting) = commits();
        let database = PostgresDatabase {
            pool,
            commits,
            term: None,
        };
        let mut store = Self::start(database, clock, signers).await?;
        if is_alone {
            store.database.term = Some(store.next_term().await?);
            store.free_jobs().await?;
        }
        store.begin_to_write(waiting, options, to_write);
        Ok(store)
    }

    /// Opens the database for the one broker that works on it: from now on no earlier one commits.
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn open_alone(
        alone: &Alone,
        clock: Arc<dyn Clock>,
        signers: impl Into<Signers>,
    ) -> Result<Self, StoreError> {
        Self::opened(alone.address(), clock, signers.into(), true).await
    }
}

/// The server keeps what it says it kept, and holds every letter.
async fn keeps_its_word(connection: &mut sqlx::PgConnection) -> Result<(), StoreError> {
    use super::sql::Connection;
    let refused = |why: &str| {
        Err(StoreError::Refused(format!(
            "the store on PostgreSQL is not used: {why}"
        )))
    };
    let query = sql(
        "SELECT current_setting('fsync'), current_setting('synchronous_commit'),
        current_setting('server_encoding'), CAST(current_setting('server_version_num') AS BIGINT),
        CAST(pg_is_in_recovery() AS TEXT)",
    );
    let rows = Connection::rows(connection, query)
        .await
        .map_err(database("asking the server how it keeps things"))?;
    let Some(row) = rows.first() else {
        return refused("it does not say how it keeps things");
    };
    if row.text(0)? == "off" {
        return refused(
            "fsync is off there, so that a loss of power would take what was committed. Set fsync = on",
        );
    }
    if row.text(1)? == "off" {
        return refused(
            "synchronous_commit is off for this account or database, so that the end of the ledger could be lost after it was said to be kept. Set synchronous_commit = on",
        );
    }
    if row.text(2)? != "UTF8" {
        return refused("its encoding is not UTF8. Make a database with ENCODING 'UTF8'");
    }
    if row.int(3)? < OLDEST {
        return refused("its server is older than PostgreSQL 13");
    }
    if row.text(4)? == "true" {
        return refused("the server is a standby that only reads. Use the address of the primary");
    }
    Ok(())
}
