//! The one write door. One transaction: guarded updates, entries with their signed checkpoint,
//! jobs, notices.

use super::SqliteStore;
use crate::clock::Time;
use crate::domain::transition::{Move, Record, Transition, Write};
use crate::store::contract::{Committed, StoreError};
use crate::store::sql::commit::{
    documents, insert_job, insert_notice, sealed, store_head, store_nodes, store_segment,
};
use crate::store::sql::ledger::{HEAD, edge};
use crate::store::sql::rows::{corrupt, database, index, json, ms};
use crate::store::sql::{Connection as _, sql};
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

impl SqliteStore {
    pub(super) async fn write(&self, transition: Transition) -> Result<Committed, StoreError> {
        let mut writer = self.database.writer.lock().await;
        let written = self.write_on(&mut writer, transition).await;
        let is_broken = matches!(written, Err(StoreError::Database { .. }));
        self.database.renew_if(is_broken, &mut writer).await;
        written
    }

    async fn write_on(
        &self,
        writer: &mut SqliteConnection,
        transition: Transition,
    ) -> Result<Committed, StoreError> {
        let now = self.clock.now();
        let mut transaction = writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(database("beginning a commit"))?;
        for write in &transition.writes {
            documents::apply(&mut *transaction, write, now).await?;
        }
        let given = transition.records.len() as u64;
        let fresh = unseen(&mut transaction, transition.records, now).await?;
        let repeats = given - fresh.len() as u64;
        let moves: Vec<Move> = transition.writes.iter().filter_map(Write::as_move).collect();
        if fresh.is_empty() && !moves.is_empty() {
            return Err(corrupt("a transition")(
                "every record of it was entered before".to_owned(),
            ));
        }
        let (first, checkpoint) = self.append(&mut transaction, &fresh, &moves, now).await?;
        for notice in &transition.notices {
            insert_notice(&mut *transaction, notice, now).await?;
        }
        for job in &transition.jobs {
            insert_job(&mut *transaction, job).await?;
        }
        transaction.commit().await.map_err(database("committing"))?;
        Ok(Committed {
            first,
            entries: fresh.len() as u64,
            repeats,
            checkpoint,
        })
    }

    /// Appends the records to the ledger: segment, head and look-up rows in this same transaction.
    async fn append(
        &self,
        connection: &mut SqliteConnection,
        records: &[Record],
        moves: &[Move],
        now: Time,
    ) -> Result<(Option<u64>, String), StoreError> {
        let rows = connection.rows(sql(HEAD)).await;
        let rows = rows.map_err(database("reading the ledger's head"))?;
        let row = rows
            .first()
            .ok_or_else(|| corrupt("a ledger")("its head is gone".to_owned()))?;
        let (mut frontier, checkpoint) = edge(row, 0)?;
        if records.is_empty() {
            return Ok((None, checkpoint));
        }
        let segment = sealed(&mut frontier, records, moves, now)?;
        let checkpoint = self.sign(&frontier).await?;
        let first = segment.first;
        store_nodes(connection, &segment.nodes).await?;
        store_segment(connection, segment).await?;
        store_head(connection, &frontier, &checkpoint, now).await?;
        for (offset, record) in (first..).zip(records) {
            insert_line(connection, offset, record, now).await?;
        }
        Ok((Some(first), checkpoint))
    }
}

/// Drops records whose key was entered before, and repeats inside the batch.
async fn unseen(
    connection: &mut SqliteConnection,
    records: Vec<Record>,
    now: Time,
) -> Result<Vec<Record>, StoreError> {
    let mut fresh = Vec::with_capacity(records.len());
    for record in records {
        if let Some(key) = &record.key {
            let inserted = sqlx::query("INSERT INTO seen (key, at) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(key)
                .bind(ms(now))
                .execute(&mut *connection)
                .await
                .map_err(database("looking for repeats"))?;
            if inserted.rows_affected() == 0 {
                continue;
            }
        }
        fresh.push(record);
    }
    Ok(fresh)
}

async fn insert_line(
    connection: &mut SqliteConnection,
    at: u64,
    record: &Record,
    now: Time,
) -> Result<(), StoreError> {
    let about = &record.about;
    sqlx::query(
        "INSERT INTO entries (idx, kind, at, entered, request, grant_id, follow_up, cluster, team, profile,
           person, sentence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(index(at))
    .bind(record.kind.name())
    .bind(ms(record.at))
    .bind(ms(now))
    .bind(about.request.map(|id| id.to_string()))
    .bind(about.grant.map(|id| id.to_string()))
    .bind(about.follow_up.map(|id| id.to_string()))
    .bind(&about.cluster)
    .bind(&about.team)
    .bind(&about.profile)
    .bind(&about.person)
    .bind(&record.sentence)
    .execute(&mut *connection)
    .await
    .map_err(database("indexing an entry"))?;
    if let Some(action) = &record.action {
        sqlx::query(
            "INSERT INTO actions (entry, grant_id, cluster, received_us, credential_id, class, mutation, document)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(index(at))
        .bind(action.grant.map(|id| id.to_string()))
        .bind(&action.cluster)
        .bind(action.received_us)
        .bind(&action.credential_id)
        .bind(&action.class)
        .bind(action.mutation)
        .bind(json(action)?)
        .execute(connection)
        .await
        .map_err(database("indexing an action"))?;
    }
    Ok(())
}
