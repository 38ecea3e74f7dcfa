//! How PostgreSQL writes: on a connection of its own. Each transaction leaves a mark among the rows it writes, so that
//! what became of one whose end was not heard (the connection cut, the server killed, another in its place) is found out
//! by looking: the mark is there exactly when the rest is.

use super::PostgresStore;
use super::commit::{insert_actions, insert_lines, lock_head, unseen};
use super::connection::{BEGIN, bounded};
use crate::clock::Time;
use crate::domain::transition::Record;
use crate::ids;
use crate::ledger::Frontier;
use crate::store::contract::StoreError;
use crate::store::sql::group::{Member, Writer};
use crate::store::sql::pen::{Became, Pen};
use crate::store::sql::rows::{corrupt, database, ms};
use crate::store::sql::{Connection as _, sql};
use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout_at};

/// For how long the server is asked what became of a transaction: it may be starting again, or another one be taking
/// its place.
const ASKED: Duration = Duration::from_secs(30);
/// How long a connection may take to be made.
const CONNECTED: Duration = Duration::from_secs(8);
/// How soon it is asked again.
const AGAIN: Duration = Duration::from_millis(250);

/// What the task writes with.
pub(super) struct PostgresPen {
    options: PgConnectOptions,
    term: Option<i64>,
    /// The session of its connection at the server.
    session: Session,
}

/// One session at one server: a process there, and since when (in microseconds of 1970), since another may get its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pid: i64,
    since: i64,
}

/// What is known of a transaction once its connection is gone.
pub(super) struct Mark {
    key: String,
    session: Session,
}

impl PostgresStore {
    /// Begins the task that commits, for the broker of that `term`; it ends with the store.
    pub(super) fn begin_to_write(
        &self,
        waiting: mpsc::Receiver<Member>,
        options: PgConnectOptions,
        (on, session): (PgConnection, Session),
    ) {
        let writer = Writer {
            pen: PostgresPen {
                options,
                term: self.database.term,
                session,
            },
            on: Arc::new(Mutex::new(on)),
            clock: Arc::clone(&self.clock),
            signers: self.signers.clone(),
            is_lost: false,
        };
        tokio::spawn(writer.run(waiting));
    }
}

/// A connection to commit with. A broker that hangs with a transaction open, or is cut off, must not keep the head from
/// its successor for long.
pub(super) async fn to_write(options: &PgConnectOptions) -> Result<(PgConnection, Session), StoreError> {
    let failed = || database("opening the store for writing");
    let mut on = bounded(CONNECTED, options.connect()).await.map_err(failed())?;
    let text = "SET lock_timeout = '15s'; SET idle_in_transaction_session_timeout = '10s'";
    bounded(CONNECTED, on.execute(text)).await.map_err(failed())?;
    let query = sql(
        "SELECT CAST(pid AS BIGINT), CAST(extract(epoch FROM backend_start) * 1000000 AS BIGINT)
         FROM pg_stat_activity WHERE pid = pg_backend_pid()",
    );
    let rows = on.rows(query).await.map_err(failed())?;
    let row = rows
        .first()
        .ok_or_else(|| corrupt("a server")("it does not know this session".to_owned()))?;
    let session = Session {
        pid: row.int(0)?,
        since: row.int(1)?,
    };
    Ok((on, session))
}

impl PostgresPen {
    /// Whether the marked transaction is kept. It is surely over when this one holds the head that it held; and since
    /// the log of the server is one, it is as safe there as this one is.
    async fn look(&self, on: &mut PgConnection, mark: &Mark) -> Result<bool, StoreError> {
        let failed = || database("looking for a commit whose end was not heard");
        // Who was cut off before its COMMIT came would hold the head until the server found out.
        let cut_off = sql(
            "SELECT CAST(count(pg_terminate_backend(pid)) AS BIGINT) FROM pg_stat_activity
             WHERE pid = $1 AND CAST(extract(epoch FROM backend_start) * 1000000 AS BIGINT) = $2
               AND usename = current_user AND state LIKE 'idle in transaction%'",
        );
        let cut_off = cut_off.bind(mark.session.pid).bind(mark.session.since);
        on.rows(cut_off).await.map_err(failed())?;
        on.say(BEGIN).await.map_err(failed())?;
        lock_head(on, None).await?;
        let query = sql("SELECT 1::BIGINT FROM seen WHERE key = $1").bind(&mark.key);
        let found = on.rows(query).await.map_err(failed())?;
        on.say("COMMIT").await.map_err(failed())?;
        Ok(!found.is_empty())
    }
}

#[async_trait]
impl Pen for PostgresPen {
    type On = PgConnection;
    type Mark = Mark;
    const BEGIN: &'static str = BEGIN;

    async fn renew(&mut self, on: &mut PgConnection) -> Result<(), StoreError> {
        (*on, self.session) = to_write(&self.options).await?;
        Ok(())
    }

    async fn head(&mut self, on: &mut PgConnection) -> Result<(Frontier, String), StoreError> {
        lock_head(on, self.term).await
    }

    async fn mark(&mut self, on: &mut PgConnection, now: Time) -> Result<Mark, StoreError> {
        let mark = Mark {
            key: format!("commit {}", hex::encode(ids::random_bytes::<16>())),
            session: self.session,
        };
        let query = sql("INSERT INTO seen (key, at) VALUES ($1, $2)");
        let marked = on.change(query.bind(&mark.key).bind(ms(now))).await;
        marked.map_err(database("marking a commit"))?;
        Ok(mark)
    }

    async fn became(&mut self, on: &mut PgConnection, mark: &Mark) -> Became {
        let until = Instant::now() + ASKED;
        loop {
            let error = match timeout_at(until, self.look(on, mark)).await {
                Ok(Ok(true)) => return Became::There,
                Ok(Ok(false)) => return Became::NotThere,
                Ok(Err(error)) => crate::causes::chain(&error),
                Err(_) => "the server does not answer".to_owned(),
            };
            if Instant::now() + AGAIN >= until {
                tracing::error!(%error, "what became of a commit cannot be found out");
                return Became::Unknown;
            }
            tokio::time::sleep(AGAIN).await;
            // Where this fails the next look does too.
            let _ = timeout_at(until, self.renew(on)).await;
        }
    }

    fn is_cut(&self, error: &StoreError) -> bool {
        match error {
            StoreError::Database { source, .. } => is_cut(source),
            _ => false,
        }
    }

    async fn unseen(on: &mut PgConnection, records: &[Record], now: Time) -> Result<Vec<bool>, StoreError> {
        unseen(on, records, now).await
    }

    async fn index(
        on: &mut PgConnection,
        first: u64,
        records: &[&Record],
        now: Time,
    ) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        insert_lines(on, first, records, now).await?;
        insert_actions(on, first, records).await
    }
}

/// The connection is gone, or the server is going. A server that only does not answer is not asked again for the same.
fn is_cut(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() != ErrorKind::TimedOut,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            code.starts_with("57P") || code.starts_with("08")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_not_written_again_and_what_was_cut_is() {
        let io = |kind: ErrorKind| is_cut(&sqlx::Error::Io(kind.into()));
        assert!(io(ErrorKind::UnexpectedEof) && io(ErrorKind::ConnectionReset));
        assert!(!io(ErrorKind::TimedOut));
        assert!(!is_cut(&sqlx::Error::RowNotFound));
    }
}
