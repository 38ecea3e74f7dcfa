//! How SQLite writes: the one connection there is for it. Whether what failed at its end is on the disk, nobody can say.

use super::SqliteStore;
use super::commit::{insert_line, unseen};
use super::trust::Trust;
use crate::clock::Time;
use crate::domain::transition::Record;
use crate::ledger::Frontier;
use crate::store::contract::StoreError;
use crate::store::sql::group::{Member, Writer};
use crate::store::sql::ledger::{HEAD, edge};
use crate::store::sql::pen::{Became, Pen};
use crate::store::sql::rows::{corrupt, database};
use crate::store::sql::{Connection as _, sql};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What the task writes with.
pub(super) struct SqlitePen {
    options: SqliteConnectOptions,
    trust: Arc<Trust>,
    /// The file is nobody else's until the last group is written.
    _lock: Arc<std::fs::File>,
}

impl SqliteStore {
    /// Begins the task that commits; it ends with the store.
    pub(super) fn begin_to_write(&self, waiting: mpsc::Receiver<Member>) {
        let writer = Writer {
            pen: SqlitePen {
                options: self.database.options.clone(),
                trust: Arc::clone(&self.database.trust),
                _lock: Arc::clone(&self.database.lock),
            },
            on: Arc::clone(&self.database.writer),
            clock: Arc::clone(&self.clock),
            signers: self.signers.clone(),
            is_lost: false,
        };
        tokio::spawn(writer.run(waiting));
    }
}

#[async_trait]
impl Pen for SqlitePen {
    type On = SqliteConnection;
    type Mark = ();
    const BEGIN: &'static str = "BEGIN IMMEDIATE";

    async fn renew(&mut self, on: &mut SqliteConnection) -> Result<(), StoreError> {
        self.holds()?;
        // The file is locked for as long as the old one has a transaction open. SQLite may have taken it back itself.
        let _ = on.say("ROLLBACK").await;
        super::writer::renew(&self.options, on)
            .await
            .map_err(database("opening the store again for writing"))
    }

    async fn head(&mut self, on: &mut SqliteConnection) -> Result<(Frontier, String), StoreError> {
        let rows = on.rows(sql(HEAD)).await;
        let rows = rows.map_err(database("reading the ledger's head"))?;
        let row = rows
            .first()
            .ok_or_else(|| corrupt("a ledger")("its head is gone".to_owned()))?;
        edge(row, 0)
    }

    async fn mark(&mut self, _: &mut SqliteConnection, _: Time) -> Result<(), StoreError> {
        Ok(())
    }

    /// A disk that failed once tells different things before and after the next start.
    async fn became(&mut self, _: &mut SqliteConnection, (): &()) -> Became {
        Became::Unknown
    }

    fn is_cut(&self, _: &StoreError) -> bool {
        false
    }

    fn holds(&self) -> Result<(), StoreError> {
        self.trust.holds().map_err(database("committing"))
    }

    fn heed(&self, ended: &Result<(), sqlx::Error>) {
        self.trust.heed(ended);
    }

    async fn unseen(
        on: &mut SqliteConnection,
        records: &[Record],
        now: Time,
    ) -> Result<Vec<bool>, StoreError> {
        unseen(on, records, now).await
    }

    async fn index(
        on: &mut SqliteConnection,
        first: u64,
        records: &[&Record],
        now: Time,
    ) -> Result<(), StoreError> {
        for (at, record) in (first..).zip(records) {
            insert_line(on, at, record, now).await?;
        }
        Ok(())
    }
}
