//! What one transition writes: guarded updates, entries, jobs, notices. The ledger's head is its group's (`group`).

use crate::clock::Time;
use crate::domain::transition::{Record, Transition};
use crate::ledger::{Frontier, Prepared};
use crate::store::contract::StoreError;
use crate::store::seal;
use crate::store::sql::commit::{documents, insert_job, insert_notice, store_nodes, store_segment};
use crate::store::sql::rows::{corrupt, database, index, json, ms};
use sqlx::sqlite::SqliteConnection;

/// What a transition came to inside the transaction.
#[derive(Debug)]
pub(super) struct Entered {
    /// Index of its first new entry.
    pub(super) first: Option<u64>,
    /// How many entries were new.
    pub(super) entries: u64,
    /// How many records were dropped as repeats.
    pub(super) repeats: u64,
    /// The log's right edge behind it.
    pub(super) frontier: Frontier,
}

/// Writes everything of a transition but the ledger's head, which is written once for all of a group.
/// `sealed` are its entries with none of them dropped.
pub(super) async fn enter(
    connection: &mut SqliteConnection,
    transition: &Transition,
    sealed: Option<Prepared>,
    now: Time,
    mut frontier: Frontier,
) -> Result<Entered, StoreError> {
    for write in &transition.writes {
        documents::apply(connection, write, now).await?;
    }
    let fresh = unseen(connection, &transition.records, now).await?;
    let is_repeat = |fresh: &&bool| !**fresh;
    let repeats = fresh.iter().filter(is_repeat).count() as u64;
    if repeats == fresh.len() as u64 && !seal::moves(transition).is_empty() {
        return Err(corrupt("a transition")(
            "every record of it was entered before".to_owned(),
        ));
    }
    let prepared = match sealed {
        Some(sealed) if repeats == 0 => Some(sealed),
        _ => seal::seal(transition, &fresh, now)?,
    };
    let (mut first, mut entries) = (None, 0);
    if let Some(prepared) = prepared {
        let segment = prepared.place(&mut frontier);
        let at = segment.first;
        (first, entries) = (Some(at), segment.leaves.len() as u64);
        store_nodes(connection, &segment.nodes).await?;
        store_segment(connection, segment).await?;
        let records = transition.records.iter().zip(&fresh);
        let entered = records.filter(|(_, fresh)| **fresh);
        for (at, (record, _)) in (at..).zip(entered) {
            insert_line(connection, at, record, now).await?;
        }
    }
    for notice in &transition.notices {
        insert_notice(connection, notice, now).await?;
    }
    for job in &transition.jobs {
        insert_job(connection, job).await?;
    }
    Ok(Entered {
        first,
        entries,
        repeats,
        frontier,
    })
}

/// Which records were not entered before, and are no repeats inside their batch.
async fn unseen(
    connection: &mut SqliteConnection,
    records: &[Record],
    now: Time,
) -> Result<Vec<bool>, StoreError> {
    let mut fresh = Vec::with_capacity(records.len());
    for record in records {
        let Some(key) = &record.key else {
            fresh.push(true);
            continue;
        };
        let inserted = sqlx::query("INSERT INTO seen (key, at) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(key)
            .bind(ms(now))
            .execute(&mut *connection)
            .await
            .map_err(database("looking for repeats"))?;
        fresh.push(inserted.rows_affected() > 0);
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
