//! The hashes above the leaves: read for tiles and proofs, made once where an older store has none.

use super::commit::kept_nodes;
use super::ledger::LEAVES;
use super::query::sql;
use super::rows::corrupt;
use super::{Database, SqlStore};
use crate::ledger::Frontier;
use crate::ledger::segment::leaves as segment_leaves;
use crate::ledger::tile::{append, hashes_at};
use crate::store::contract::StoreError;

/// How many segments' leaf hashes are read at a time.
const AT_ONCE: u32 = 512;

impl<D: Database> SqlStore<D> {
    /// Makes what is missing of the tree: all of it for a store that was written before it was kept.
    pub(super) async fn complete_tree(&self) -> Result<(), StoreError> {
        let doing = "looking at the tree";
        let ends = sql("SELECT size, (SELECT max(idx) FROM tree_nodes WHERE level = 1) FROM ledger_head");
        let Some(row) = self.row(doing, ends).await? else {
            return Ok(());
        };
        let size = row.count(0)?;
        let have = row.some_int(1)?.map_or(0, |last| last.unsigned_abs() + 1);
        if have == hashes_at(1, size) {
            return Ok(());
        }
        tracing::info!(
            size,
            "the tree above the entries is made once; this takes a moment"
        );
        let (mut frontier, mut queries, mut next) = (Frontier::new(), vec![], 0);
        loop {
            let query = sql("SELECT first, ")
                .then(LEAVES)
                .then(" FROM segments WHERE first >= ")
                .then_bind(next)
                .then(" ORDER BY first LIMIT ")
                .then_bind(AT_ONCE);
            let rows = self.rows(doing, query).await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                let (_, leaves) =
                    segment_leaves(row.bytes(1)?).map_err(|error| corrupt("a segment")(error.to_string()))?;
                let mut nodes = vec![];
                for leaf in &leaves {
                    append(&mut frontier, leaf, &mut nodes);
                }
                queries.extend(kept_nodes(&nodes));
                next = row.count(0)? + leaves.len() as u64;
            }
        }
        // Whole or not at all: a tree that ends early would be taken for one that is complete.
        self.change_all(doing, queries).await
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
        let query =
            sql("SELECT idx, hash FROM tree_nodes WHERE level = $1 AND idx >= $2 AND idx < $3 ORDER BY idx")
                .bind(level)
                .bind(first)
                .bind(first.saturating_add(count));
        let rows = self.rows("reading the tree", query).await?;
        (first..)
            .zip(&rows)
            .map(|(at, row)| {
                // A hole would give each hash after it another one's place.
                if row.count(0)? != at {
                    return Err(corrupt("a tree")(format!(
                        "hash {at} of level {level} is missing"
                    )));
                }
                let hash = row.bytes(1)?.try_into();
                hash.map_err(|_| corrupt("a tree")(format!("hash {at} of level {level} is not 32 bytes")))
            })
            .collect()
    }
}
