//! The hashes above the leaves: read for tiles and proofs, made once where an older store has none.

use super::commit::store_nodes;
use super::{SqliteStore, corrupt, database, index};
use crate::ledger::Frontier;
use crate::ledger::segment::{HEADER_LEN, leaves as segment_leaves};
use crate::ledger::tile::{append, hashes_at};
use crate::store::contract::StoreError;
use sqlx::{Connection, Row};

/// How many segments' leaf hashes are read at a time.
const AT_ONCE: i64 = 512;

impl SqliteStore {
    /// Makes what is missing of the tree: all of it for a store that was written before it was kept.
    pub(super) async fn complete_tree(&self) -> Result<(), StoreError> {
        let doing = "looking at the tree";
        let mut writer = self.writer.lock().await;
        let row = sqlx::query(
            "SELECT (SELECT size FROM ledger_head) AS size, (SELECT max(idx) FROM tree_nodes WHERE level = 1) AS last",
        )
        .fetch_one(&mut *writer)
        .await
        .map_err(database(doing))?;
        let size = row.get::<i64, _>("size").unsigned_abs();
        let have = row
            .get::<Option<i64>, _>("last")
            .map_or(0, |last| last.unsigned_abs() + 1);
        if have == hashes_at(1, size) {
            return Ok(());
        }
        tracing::info!(
            size,
            "the tree above the entries is made once; this takes a moment"
        );
        let mut transaction = writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(database(doing))?;
        let (mut frontier, mut nodes, mut next) = (Frontier::new(), vec![], 0);
        loop {
            let rows = sqlx::query(
                "SELECT first, count, substr(bytes, 1, ?2 + 32 * count) AS head FROM segments WHERE first >= ?1
                 ORDER BY first LIMIT ?3",
            )
            .bind(index(next))
            .bind(i64::try_from(HEADER_LEN).unwrap_or(0))
            .bind(AT_ONCE)
            .fetch_all(&mut *transaction)
            .await
            .map_err(database(doing))?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                let (_, leaves) = segment_leaves(row.get("head"))
                    .map_err(|error| corrupt("a segment")(error.to_string()))?;
                for leaf in &leaves {
                    append(&mut frontier, leaf, &mut nodes);
                }
                next = row.get::<i64, _>("first").unsigned_abs() + leaves.len() as u64;
            }
            store_nodes(&mut transaction, &nodes).await?;
            nodes.clear();
        }
        transaction.commit().await.map_err(database(doing))
    }

    pub(super) async fn read_nodes(
        &self,
        level: u8,
        first: u64,
        count: u64,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        if level == 0 {
            return self.read_leaves(first, count).await;
        }
        let rows = sqlx::query(
            "SELECT idx, hash FROM tree_nodes WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx",
        )
        .bind(level)
        .bind(index(first))
        .bind(index(first.saturating_add(count)))
        .fetch_all(&self.readers)
        .await
        .map_err(database("reading the tree"))?;
        (first..)
            .zip(&rows)
            .map(|(at, row)| {
                let hash: &[u8] = row.get("hash");
                // A hole would give each hash after it another one's place.
                if row.get::<i64, _>("idx") != index(at) {
                    return Err(corrupt("a tree")(format!(
                        "hash {at} of level {level} is missing"
                    )));
                }
                hash.try_into()
                    .map_err(|_| corrupt("a tree")(format!("hash {at} of level {level} is not 32 bytes")))
            })
            .collect()
    }
}
