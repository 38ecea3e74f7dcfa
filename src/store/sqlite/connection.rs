//! The file as the shared statements see it: one connection that writes, and those that read.

use super::{SqliteFile, SqliteStore};
use crate::domain::transition::Transition;
use crate::store::contract::{Committed, StoreError};
use crate::store::sql::{Connection, Database, Query, Row};
use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _, Sqlite, Transaction};

#[async_trait]
impl Connection for SqliteConnection {
    async fn change(&mut self, query: Query) -> Result<u64, sqlx::Error> {
        let done = query.driven::<Sqlite>(as_it_is).execute(self).await?;
        Ok(done.rows_affected())
    }

    async fn rows(&mut self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        let rows = query.driven::<Sqlite>(as_it_is).fetch_all(self).await?;
        rows.iter().map(Row::of).collect()
    }

    async fn say(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        self.execute(statement).await.map(|_| ())
    }
}

#[async_trait]
impl Connection for Transaction<'_, Sqlite> {
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

/// SQLite holds every text.
const fn as_it_is(text: String) -> String {
    text
}

#[async_trait]
impl Database for SqliteFile {
    /// One connection writes: nobody else is just taking any.
    const PASS_BY_TAKEN: &'static str = "";
    // Here `CROSS JOIN` is a join that the planner leaves in its order.
    const ENTRIES_AND_ACTIONS: &'static str = "entries CROSS JOIN actions ON actions.entry = entries.idx";
    const ACTIONS_AND_ENTRIES: &'static str = "actions CROSS JOIN entries ON entries.idx = actions.entry";
    const OBJECT_IS: &'static str = "json_extract(actions.document, '$.object') COLLATE NOCASE =";
    const IS_LATE: &'static str =
        "entries.request IN (SELECT json_extract(document, '$.request') FROM follow_ups
        WHERE closed_at IS NULL AND EXISTS (SELECT 1 FROM json_each(document, '$.deadlines')
          WHERE json_extract(value, '$.state') = 'breached' AND json_extract(value, '$.met_at') IS NULL))";

    async fn rows(&self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        let rows = query.driven::<Sqlite>(as_it_is).fetch_all(&self.readers).await?;
        rows.iter().map(Row::of).collect()
    }

    async fn moment(&self) -> Result<Box<dyn Connection + '_>, sqlx::Error> {
        Ok(Box::new(self.readers.begin().await?))
    }

    async fn take(&self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        let mut writer = self.writer.lock().await;
        self.trust.holds()?;
        let taken = writer.rows(query).await;
        self.trust.heed(&taken);
        self.renew_if(taken.is_err(), &mut writer).await;
        taken
    }

    async fn change(&self, query: Query) -> Result<u64, sqlx::Error> {
        let mut writer = self.writer.lock().await;
        self.trust.holds()?;
        let changed = writer.change(query).await;
        self.trust.heed(&changed);
        self.renew_if(changed.is_err(), &mut writer).await;
        changed
    }

    async fn change_all(&self, queries: Vec<Query>) -> Result<(), sqlx::Error> {
        let mut writer = self.writer.lock().await;
        self.trust.holds()?;
        let changed = all(&mut writer, queries).await;
        self.trust.heed(&changed);
        self.renew_if(changed.is_err(), &mut writer).await;
        changed
    }

    async fn commit(store: &SqliteStore, transition: Transition) -> Result<Committed, StoreError> {
        store.have_written(&store.database.commits, transition).await
    }

    fn halted(&self) -> Option<String> {
        self.trust.halted()
    }
}

async fn all(writer: &mut SqliteConnection, queries: Vec<Query>) -> Result<(), sqlx::Error> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    for query in queries {
        transaction.change(query).await?;
    }
    transaction.commit().await
}
