//! How many events came of each API server: written with their batch, read and folded beside it.

use super::{SqliteStore, database, index, ms};
use crate::clock::Time;
use crate::domain::transition::Received;
use crate::store::contract::StoreError;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};

/// Counts a batch, unless its key was counted before.
pub(super) async fn count(
    connection: &mut SqliteConnection,
    received: &Received,
    now: Time,
) -> Result<(), StoreError> {
    let inserted = sqlx::query("INSERT INTO seen (key, at) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(&received.key)
        .bind(ms(now))
        .execute(&mut *connection)
        .await
        .map_err(database("looking for a batch counted before"))?;
    if inserted.rows_affected() == 0 {
        return Ok(());
    }
    for (slot, events) in received.slots.iter().filter(|(_, events)| *events > 0) {
        add(
            &mut *connection,
            (&received.cluster, &received.server),
            *slot,
            index(*events),
        )
        .await?;
    }
    Ok(())
}

async fn add(
    connection: &mut SqliteConnection,
    (cluster, server): (&str, &str),
    slot_ms: i64,
    events: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO received (cluster, server, slot_ms, events) VALUES (?, ?, ?, ?)
         ON CONFLICT (cluster, server, slot_ms) DO UPDATE SET events = events + excluded.events",
    )
    .bind(cluster)
    .bind(server)
    .bind(slot_ms)
    .bind(events)
    .execute(connection)
    .await
    .map_err(database("counting events"))?;
    Ok(())
}

impl SqliteStore {
    pub(super) async fn read_received(
        &self,
        cluster: &str,
        server: &str,
        from_ms: i64,
    ) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT coalesce(sum(events), 0) AS events FROM received
             WHERE cluster = ? AND server = ? AND slot_ms >= ?",
        )
        .bind(cluster)
        .bind(server)
        .bind(from_ms)
        .fetch_one(&self.readers)
        .await
        .map_err(database("reading what was counted"))?;
        let events: i64 = row
            .try_get("events")
            .map_err(database("reading what was counted"))?;
        Ok(u64::try_from(events).unwrap_or(0))
    }

    pub(super) async fn write_folded(
        &self,
        cluster: &str,
        server: &str,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let folded = fold(&mut writer, (cluster, server), from_ms, to_ms).await;
        self.renew_after(&mut writer, folded).await
    }
}

async fn fold(
    writer: &mut SqliteConnection,
    (cluster, server): (&str, &str),
    from_ms: i64,
    to_ms: i64,
) -> Result<(), StoreError> {
    let doing = || database("folding what was counted");
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(doing())?;
    let folded: i64 = sqlx::query(
        "SELECT coalesce(sum(events), 0) AS events FROM received
         WHERE cluster = ? AND server = ? AND slot_ms >= ? AND slot_ms < ?",
    )
    .bind(cluster)
    .bind(server)
    .bind(from_ms)
    .bind(to_ms)
    .fetch_one(&mut *transaction)
    .await
    .and_then(|row| row.try_get("events"))
    .map_err(doing())?;
    sqlx::query("DELETE FROM received WHERE cluster = ? AND server = ? AND slot_ms < ?")
        .bind(cluster)
        .bind(server)
        .bind(to_ms)
        .execute(&mut *transaction)
        .await
        .map_err(doing())?;
    if folded > 0 {
        add(&mut transaction, (cluster, server), from_ms, folded).await?;
    }
    transaction.commit().await.map_err(doing())
}
