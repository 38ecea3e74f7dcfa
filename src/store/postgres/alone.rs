//! One broker works on a database: what it keeps in its memory (which events it heard, what it uses itself, who looks
//! at a page) is true for one alone. Another that is started waits until that one is gone, and then goes on.
//!
//! Who works holds a lock of its session at the server. That session can end without its holder knowing at once, so it
//! is asked about every moment, and each commit looks at the head's `term` as well: no commit of one that was succeeded
//! is possible, whatever it knows.

use super::address;
use crate::store::contract::StoreError;
use crate::store::sql::rows::database;
use crate::store::sql::{Connection, sql};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The lock's number, among those of whatever else is in the database: "breakgla".
const LOCK: i64 = 0x6272_6561_6b67_6c61;
/// How often the lock is tried for, and asked about.
const EACH: Duration = Duration::from_secs(1);
/// How long its session may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// The server ends the session of whoever did not ask for so long (from PostgreSQL 14 on): a broker that hangs, or whose
/// machine does, is succeeded although its connection stands. Statements are no part of that time.
const SILENT: &str =
    "SELECT set_config(name, '20s', false) FROM pg_settings WHERE name = 'idle_session_timeout'";
/// How often it is said who is waited for.
const SAID: Duration = Duration::from_mins(1);

/// The right to work on a database, held until it is dropped or lost.
pub struct Alone {
    address: String,
    lost: CancellationToken,
    watch: JoinHandle<()>,
}

impl std::fmt::Debug for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address is a secret.
        f.debug_struct("Alone")
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // Its session ends with the watch, and the lock with the session.
        self.watch.abort();
    }
}

impl Alone {
    /// Waits until no other broker works on the database at that address, at most for `patience` where there is one.
    /// `waits` is told when there is something to wait for.
    ///
    /// # Errors
    /// The database cannot be reached, or somebody still holds it; who, and since when.
    pub async fn take(
        address: &str,
        patience: Option<Duration>,
        waits: impl Fn() + Send,
    ) -> Result<Self, StoreError> {
        let options = address::options(address)?;
        let mut connection = options.connect().await.map_err(database("opening the store"))?;
        Connection::rows(&mut connection, sql(SILENT))
            .await
            .map_err(database("opening the store"))?;
        let begun = Instant::now();
        let mut said: Option<Instant> = None;
        while !is_taken(&mut connection).await? {
            let holder = holder(&mut connection).await?;
            if patience.is_some_and(|patience| begun.elapsed() >= patience) {
                return Err(StoreError::Refused(format!(
                    "the store: another broker works on this database: {holder}"
                )));
            }
            waits();
            if said.is_none_or(|at| at.elapsed() >= SAID) {
                tracing::info!(%holder, "another broker works on this database; this one waits to take over");
                said = Some(Instant::now());
            }
            tokio::time::sleep(EACH).await;
        }
        let lost = CancellationToken::new();
        let watch = tokio::spawn(watch(connection, lost.clone()));
        Ok(Self {
            address: address.to_owned(),
            lost,
            watch,
        })
    }

    /// Comes back when the lock is not held any more: whoever works without it must stop.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Whether it is not held any more.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

async fn is_taken(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let query = sql("SELECT CAST(pg_try_advisory_lock($1) AS TEXT)").bind(LOCK);
    let rows = Connection::rows(connection, query).await;
    let rows = rows.map_err(database("locking the store"))?;
    rows.first().map_or(Ok(false), |row| Ok(row.text(0)? == "true"))
}

/// Who holds the lock, in words.
async fn holder(connection: &mut PgConnection) -> Result<String, StoreError> {
    let query = sql("SELECT coalesce(nullif(application_name, ''), 'without a name'),
           coalesce(host(client_addr), 'the server''s own machine'),
           to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
         FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE locktype = 'advisory' AND granted AND objsubid = 1
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND CAST(classid AS BIGINT) = $1 >> 32 AND CAST(objid AS BIGINT) = $1 & 4294967295")
    .bind(LOCK);
    let rows = Connection::rows(connection, query)
        .await
        .map_err(database("asking who holds the store"))?;
    let Some(row) = rows.first() else {
        return Ok("it has just gone".to_owned());
    };
    Ok(format!(
        "{} from {}, since {} UTC",
        row.text(0)?,
        row.text(1)?,
        row.some_text(2)?.unwrap_or("an unknown time")
    ))
}

/// Looks after the session that holds the lock until it is gone.
async fn watch(mut connection: PgConnection, lost: CancellationToken) {
    loop {
        tokio::time::sleep(EACH).await;
        let asked = tokio::time::timeout(ANSWER, Connection::rows(&mut connection, sql("SELECT 1::BIGINT")));
        let why = match asked.await {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        tracing::error!(%why, "the session that holds this broker's lock on the store is lost");
        lost.cancel();
        return;
    }
}
