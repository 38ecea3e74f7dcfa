//! What SQLite writes its own way: which records are new, and the rows by which entries are found.

use crate::clock::Time;
use crate::domain::transition::Record;
use crate::store::contract::StoreError;
use crate::store::sql::rows::{database, index, json, ms};
use sqlx::sqlite::SqliteConnection;

/// Which records were not entered before, and are no repeats inside their batch.
pub(super) async fn unseen(
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

pub(super) async fn insert_line(
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
