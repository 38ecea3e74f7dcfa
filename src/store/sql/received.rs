//! How many events came of each API server: written with their batch, read and folded beside it.

use super::query::{Query, sql};
use super::rows::{database, ms};
use super::{Connection, Database, SqlStore};
use crate::clock::Time;
use crate::domain::transition::Received;
use crate::store::contract::StoreError;

/// Counts a batch, unless its key was counted before.
pub(super) async fn count(
    connection: &mut dyn Connection,
    received: &Received,
    now: Time,
) -> Result<(), StoreError> {
    let seen = sql("INSERT INTO seen (key, at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(&received.key)
        .bind(ms(now));
    let new = connection.change(seen).await;
    if new.map_err(database("looking for a batch counted before"))? == 0 {
        return Ok(());
    }
    for (slot, events) in received.slots.iter().filter(|(_, events)| *events > 0) {
        let more = sql(
            "INSERT INTO received (cluster, server, slot_ms, events) VALUES ($1, $2, $3, $4)
             ON CONFLICT (cluster, server, slot_ms) DO UPDATE SET events = received.events + excluded.events",
        )
        .bind(&received.cluster)
        .bind(&received.server)
        .bind(*slot)
        .bind(*events);
        let done = connection.change(more).await;
        done.map_err(database("counting events"))?;
    }
    Ok(())
}

impl<D: Database> SqlStore<D> {
    pub(super) async fn read_received(
        &self,
        cluster: &str,
        server: &str,
        from_ms: i64,
    ) -> Result<u64, StoreError> {
        let query = sql("SELECT CAST(coalesce(sum(events), 0) AS BIGINT) FROM received
             WHERE cluster = $1 AND server = $2 AND slot_ms >= $3")
        .bind(cluster)
        .bind(server)
        .bind(from_ms);
        let row = self.row("reading what was counted", query).await?;
        row.map_or(Ok(0), |row| row.count(0))
    }

    pub(super) async fn write_folded(
        &self,
        cluster: &str,
        server: &str,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<(), StoreError> {
        let bound = |query: Query| query.bind(cluster).bind(server).bind(from_ms).bind(to_ms);
        let one = bound(sql(
            "INSERT INTO received (cluster, server, slot_ms, events)
             SELECT $1, $2, $3, sum(events) FROM received
             WHERE cluster = $1 AND server = $2 AND slot_ms > $3 AND slot_ms < $4
             HAVING sum(events) > 0
             ON CONFLICT (cluster, server, slot_ms) DO UPDATE SET events = received.events + excluded.events",
        ));
        let rest = bound(sql(
            "DELETE FROM received
             WHERE cluster = $1 AND server = $2 AND (slot_ms < $3 OR (slot_ms > $3 AND slot_ms < $4))",
        ));
        self.change_all("folding what was counted", vec![one, rest]).await
    }
}
