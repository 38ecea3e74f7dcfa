//! The one write door. One transaction: guarded updates, entries with their signed checkpoint,
//! jobs, notices. This file and its `documents` alone write to the tables of requests, grants,
//! follow-ups, findings, deliveries, actions and the ledger (`tests/house.rs` holds the tree to that).

mod documents;

use super::{SqliteStore, corrupt, database, index, jobs, json, ms};
use crate::clock::Time;
use crate::domain::canonical;
use crate::domain::job::{Job, JobKind};
use crate::domain::notice::{Delivery, Notice};
use crate::domain::transition::{Move, Record, Transition, Write};
use crate::ledger::{self, Draft, Frontier, Node, Seed, Segment};
use crate::store::contract::{Committed, StoreError};
use serde_json::json as value;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

impl SqliteStore {
    pub(super) async fn write(&self, transition: Transition) -> Result<Committed, StoreError> {
        let mut writer = self.writer.lock().await;
        let written = self.write_on(&mut writer, transition).await;
        self.renew_after(&mut writer, written).await
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
            documents::apply(&mut transaction, write, now).await?;
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
            insert_notice(&mut transaction, notice, now).await?;
        }
        for job in &transition.jobs {
            jobs::insert(&mut transaction, job).await?;
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
        let (mut frontier, checkpoint) = super::ledger::head(connection).await?;
        if records.is_empty() {
            return Ok((None, checkpoint));
        }
        let of_first = std::iter::once(moves).chain(std::iter::repeat(&[][..]));
        let drafts: Vec<Draft> = records
            .iter()
            .zip(of_first)
            .map(|(record, moves)| draft(record, moves))
            .collect();
        let segment = ledger::seal(&mut frontier, Seed::random(), now, &drafts)
            .map_err(|error| corrupt("an entry that cannot be entered")(error.to_string()))?;
        let checkpoint = self.sign(&frontier).await?;
        store_segment(connection, &segment).await?;
        store_nodes(connection, &segment.nodes).await?;
        store_head(connection, &frontier, &checkpoint, now).await?;
        for (offset, record) in (segment.first..).zip(records) {
            insert_line(connection, offset, record, now).await?;
        }
        Ok((Some(segment.first), checkpoint))
    }
}

/// The entry's payload: everything the record says, canonical, so that its hash covers the sentence too.
/// The transition's first entry carries the states that it moved.
fn draft(record: &Record, moves: &[Move]) -> Draft {
    let mut payload = value!({
        "about": record.about,
        "controls": record.kind.controls(),
        "facts": record.payload,
        "says": record.sentence,
    });
    if !moves.is_empty() {
        payload["moves"] = value!(moves);
    }
    Draft {
        kind: record.kind,
        at: record.at,
        cluster: record.about.cluster.clone(),
        request: record.about.request,
        grant: record.about.grant,
        payload: canonical::bytes(&payload),
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

async fn insert_notice(
    connection: &mut SqliteConnection,
    notice: &Notice,
    now: Time,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO notices (id, at, document) VALUES (?, ?, ?)")
        .bind(notice.id.to_string())
        .bind(ms(notice.at))
        .bind(json(notice)?)
        .execute(&mut *connection)
        .await
        .map_err(database("adding a notice"))?;
    for channel in &notice.channels {
        let delivery = Delivery {
            notice: notice.id,
            channel: channel.clone(),
            title: notice.title.clone(),
            delivered_at: None,
            attempts: 0,
            error: None,
            undeliverable: false,
            settled: None,
        };
        documents::upsert_delivery(connection, &delivery).await?;
        let job = Job::new(
            JobKind::Deliver {
                notice: notice.id,
                channel: channel.clone(),
            },
            now,
        );
        jobs::insert(connection, &job).await?;
    }
    Ok(())
}

pub(super) async fn store_head(
    connection: &mut SqliteConnection,
    frontier: &Frontier,
    checkpoint: &str,
    at: Time,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO ledger_head (one, size, frontier, checkpoint, at) VALUES (1, ?, ?, ?, ?)
         ON CONFLICT (one) DO UPDATE SET size = excluded.size, frontier = excluded.frontier,
           checkpoint = excluded.checkpoint, at = excluded.at",
    )
    .bind(index(frontier.size()))
    .bind(frontier.to_bytes())
    .bind(checkpoint)
    .bind(ms(at))
    .execute(connection)
    .await
    .map_err(database("writing the ledger's head"))?;
    Ok(())
}

async fn store_segment(connection: &mut SqliteConnection, segment: &Segment) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO segments (first, count, bytes) VALUES (?, ?, ?)")
        .bind(index(segment.first))
        .bind(segment.count)
        .bind(&segment.bytes)
        .execute(connection)
        .await
        .map_err(database("writing a segment"))?;
    Ok(())
}

/// Keeps roots at the edges of tiles. Known ones stay: they are made from leaves that never change.
pub(super) async fn store_nodes(connection: &mut SqliteConnection, nodes: &[Node]) -> Result<(), StoreError> {
    for node in nodes {
        sqlx::query("INSERT INTO tree_nodes (level, idx, hash) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(node.level)
            .bind(index(node.index))
            .bind(node.hash.as_slice())
            .execute(&mut *connection)
            .await
            .map_err(database("writing the tree"))?;
    }
    Ok(())
}
