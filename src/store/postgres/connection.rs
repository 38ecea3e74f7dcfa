//! The database as the shared statements see it. Nothing waits for a server that does not answer for longer than
//! [`PATIENCE`]: an end of access that waits for a commit must learn soon that there is none to be had.

use super::{PostgresDatabase, PostgresStore};
use crate::domain::transition::Transition;
use crate::store::contract::{Committed, StoreError};
use crate::store::sql::{Connection, Database, Query, Row};
use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use sqlx::{Executor as _, Postgres, Transaction};
use std::time::Duration;

/// How long one step at the server may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Begins a change. Whatever the server's default is meanwhile, its end is on the disk when it is told.
pub(super) const BEGIN: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit TO on";

/// Begins a look at one moment's state.
pub(super) const MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What `step` comes to, or that it took too long.
pub(super) async fn within<T>(
    step: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, sqlx::Error> {
    bounded(PATIENCE, step).await
}

pub(super) async fn bounded<T>(
    patience: Duration,
    step: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(patience, step).await.unwrap_or_else(|_| {
        Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("the server did not answer within {} s", patience.as_secs()),
        )))
    })
}

/// PostgreSQL's text holds every character but one.
pub(super) fn held(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

#[async_trait]
impl Connection for PgConnection {
    async fn change(&mut self, query: Query) -> Result<u64, sqlx::Error> {
        let done = within(query.driven::<Postgres>(held).execute(self)).await?;
        Ok(done.rows_affected())
    }

    async fn rows(&mut self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        let rows = within(query.driven::<Postgres>(held).fetch_all(self)).await?;
        rows.iter().map(Row::of).collect()
    }

    async fn say(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        within(self.execute(statement)).await.map(|_| ())
    }
}

#[async_trait]
impl Connection for Transaction<'_, Postgres> {
    async fn change(&mut self, query: Query) -> Result<u64, sqlx::Error> {
        (**self).change(query).await
    }

    async fn rows(&mut self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        (**self).rows(query).await
    }

    async fn say(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        (**self).say(statement).await
    }
}

#[async_trait]
impl Database for PostgresDatabase {
    const PASS_BY_TAKEN: &'static str = " FOR UPDATE SKIP LOCKED";
    const ENTRIES_AND_ACTIONS: &'static str = "entries JOIN actions ON actions.entry = entries.idx";
    const ACTIONS_AND_ENTRIES: &'static str = "actions JOIN entries ON entries.idx = actions.entry";
    const OBJECT_IS: &'static str = "lower(json_extract(actions.document, '$.object')) =";
    const IS_LATE: &'static str =
        "entries.request IN (SELECT json_extract(document, '$.request') FROM follow_ups
        WHERE closed_at IS NULL AND EXISTS (SELECT 1 FROM
          json_array_elements(CAST(json_extract(document, '$.deadlines') AS JSON)) AS deadline (value)
          WHERE value ->> 'state' = 'breached' AND value ->> 'met_at' IS NULL))";

    async fn rows(&self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        connection.rows(query).await
    }

    async fn moment(&self) -> Result<Box<dyn Connection + '_>, sqlx::Error> {
        Ok(Box::new(within(self.pool.begin_with(MOMENT)).await?))
    }

    async fn take(&self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        self.rows(query).await
    }

    async fn change(&self, query: Query) -> Result<u64, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        connection.change(query).await
    }

    async fn change_all(&self, queries: Vec<Query>) -> Result<(), sqlx::Error> {
        let mut transaction = within(self.pool.begin_with(BEGIN)).await?;
        for query in queries {
            transaction.change(query).await?;
        }
        within(transaction.commit()).await
    }

    async fn commit(store: &PostgresStore, transition: Transition) -> Result<Committed, StoreError> {
        store.have_written(&store.database.commits, transition).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_keeps_a_row_from_being_written() {
        assert_eq!(held("a\0b".to_owned()), "a\u{fffd}b");
        assert_eq!(held("as it is".to_owned()), "as it is");
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_given_up() {
        let never = std::future::pending::<Result<(), sqlx::Error>>();
        assert!(bounded(Duration::from_millis(1), never).await.is_err());
        assert!(within(std::future::ready(Ok(1))).await.is_ok());
    }
}
