//! The log as others check it: tiles, bundles of entries, and proofs, each from a few reads of the store.

use super::Result;
use crate::ledger::tile::{WIDTH, entry_bundle, hash_tile};
use crate::ledger::{self, Hash, ProofPlan, Span, TileKind, TilePath};
use crate::store::{Store, StoreError};
use std::collections::BTreeMap;

/// Makes proofs; what one of them read serves the next.
pub struct Tiles<'a> {
    store: &'a dyn Store,
    // By level and number.
    read: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl<'a> Tiles<'a> {
    /// Reads from `store`.
    #[must_use]
    pub fn new(store: &'a dyn Store) -> Self {
        Self {
            store,
            read: BTreeMap::new(),
        }
    }

    /// The hashes of a plan, in order.
    ///
    /// # Errors
    /// The store's; or it has fewer hashes than the plan's tree.
    pub async fn make(&mut self, plan: &ProofPlan) -> std::result::Result<Vec<Hash>, StoreError> {
        let mut hashes = BTreeMap::new();
        for span in plan.needs() {
            hashes.insert(span, self.span(span).await?);
        }
        plan.resolve(&hashes).map_err(|error| corrupt(&error))
    }

    /// The root of the first `size` entries.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub async fn root(&mut self, size: u64) -> std::result::Result<Hash, StoreError> {
        let made = self.make(&ProofPlan::root(size)).await?;
        made.first()
            .copied()
            .ok_or_else(|| corrupt(&ledger::TreeError::Length))
    }

    async fn span(&mut self, span: Span) -> std::result::Result<Vec<Hash>, StoreError> {
        let number = span.first / WIDTH;
        let key = (span.level, number);
        if !self.read.contains_key(&key) {
            let hashes = self.store.nodes(span.level, number * WIDTH, WIDTH).await?;
            self.read.insert(key, hashes);
        }
        let hashes = self.read.get(&key).map(Vec::as_slice).unwrap_or_default();
        let from = usize::try_from(span.first - number * WIDTH).unwrap_or(usize::MAX);
        let count = usize::try_from(span.count).unwrap_or(usize::MAX);
        // A tile that is too short gives too few: the plan refuses them.
        Ok(hashes.iter().skip(from).take(count).copied().collect())
    }
}

/// The bytes of a tile or bundle; `None` where the log is not that long.
///
/// # Errors
/// The store's; or it holds what cannot be read.
pub async fn tile(store: &dyn Store, path: TilePath) -> Result<Option<Vec<u8>>> {
    let head = store.head().await?;
    if !path.is_within(head.size) {
        return Ok(None);
    }
    let bytes = match path.kind {
        TileKind::Hashes(level) => {
            let hashes = store.nodes(level, path.first(), path.width).await?;
            if hashes.len() as u64 != path.width {
                return Err(corrupt(&ledger::TreeError::Leaves {
                    given: hashes.len() as u64,
                    size: path.width,
                })
                .into());
            }
            hash_tile(&hashes)
        }
        TileKind::Entries => {
            let entries = entries(store, path.first(), path.width).await?;
            entry_bundle(entries.iter().map(Vec::as_slice))
                .ok_or_else(|| corrupt(&"an entry is longer than a bundle can hold"))?
        }
    };
    Ok(Some(bytes))
}

/// The entries' bytes, in order.
async fn entries(store: &dyn Store, first: u64, count: u64) -> std::result::Result<Vec<Vec<u8>>, StoreError> {
    let (mut next, end) = (first, first + count);
    let mut found = vec![];
    while next < end {
        let segment = store
            .segment_of(next)
            .await?
            .ok_or_else(|| corrupt(&format!("no segment holds entry {next}")))?;
        // Unpacking a segment is work for a thread that answers nobody meanwhile.
        let part = tokio::task::spawn_blocking(move || {
            let open = ledger::open(&segment.bytes).map_err(|error| corrupt(&error))?;
            let past = end.min(open.first() + u64::from(open.count()));
            Ok::<_, StoreError>(
                (next..past)
                    .filter_map(|index| u32::try_from(index.checked_sub(open.first())?).ok())
                    .map(|position| open.entry(position).encode())
                    .collect::<Vec<_>>(),
            )
        })
        .await
        .map_err(|error| corrupt(&error))??;
        if part.is_empty() {
            return Err(corrupt(&format!("the segment of entry {next} does not hold it")));
        }
        next += part.len() as u64;
        found.extend(part);
    }
    Ok(found)
}

fn corrupt(why: &(impl std::fmt::Display + ?Sized)) -> StoreError {
    StoreError::Corrupt {
        what: "a ledger",
        why: why.to_string(),
    }
}
