//! The export of one grant: everything the ledger holds about it, with proofs up to the newest signed
//! checkpoint, in one file that can be checked without this service. So can that of one entry, and of the whole log.

mod around;
mod entry;
mod log;

use self::around::around;
use super::log::Tiles;
use super::{Broker, BrokerError, Result};
use crate::domain::entry_kind::EntryKind;
use crate::domain::person::Person;
use crate::domain::transition::{About, Transition, record};
use crate::ids::GrantId;
use crate::ledger::{
    self, Bundle, BundleEntry, Checkpoint, Consistency, OpenSegment, ProofPlan, SignedCheckpoint, VerifierKey,
};
use crate::store::{EntryFilter, Store, StoreError};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Reading the ledger is entered once per person, query, and so many seconds.
const READ_ONCE: i64 = 600;

/// An entry as the ledger holds it, with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// The entry with its payload, its salt and the hashes from its leaf to the head.
    pub entry: BundleEntry,
    /// Its leaf hash.
    pub leaf: ledger::Hash,
    /// The head they lead to.
    pub head: Checkpoint,
    /// It, as it was signed.
    pub checkpoint: String,
}

/// Exports what the ledger holds about `grant`.
///
/// # Errors
/// There is no such grant, or the store failed or holds what cannot be read.
pub async fn export(store: &dyn Store, keys: &[VerifierKey], grant: GrantId) -> Result<Bundle> {
    let Some(stored) = store.grant(grant).await? else {
        return Err(BrokerError::NotFound("grant"));
    };
    let mut indices = BTreeSet::new();
    let mut left_the_house = BTreeSet::new();
    let mut requests = BTreeSet::from([stored.request]);
    for line in lines(
        store,
        EntryFilter {
            grant: Some(grant),
            ..EntryFilter::default()
        },
    )
    .await?
    {
        indices.insert(line.index);
        requests.extend(line.about.request);
        if line.kind == EntryKind::CheckpointPublished {
            left_the_house.insert(line.index);
        }
    }
    // An extension is a request of its own: its approvals lend the same access.
    for request in requests {
        let filter = EntryFilter {
            request: Some(request),
            ..EntryFilter::default()
        };
        indices.extend(lines(store, filter).await?.iter().map(|line| line.index));
    }
    indices.extend(around(store, &stored, &indices).await?);
    Ok(Bundle {
        request: Some(stored.request),
        grant: Some(grant),
        ..bundle(store, keys, indices, &left_the_house).await?
    })
}

/// The entries of `indices` with their proofs up to the newest checkpoint, which is proved to extend those that the
/// entries of `left_the_house` say were published.
async fn bundle(
    store: &dyn Store,
    keys: &[VerifierKey],
    mut indices: BTreeSet<u64>,
    left_the_house: &BTreeSet<u64>,
) -> Result<Bundle> {
    let head = store.head().await?;
    indices.retain(|index| *index < head.size);
    let mut reader = Reader::new(store);
    let mut published = BTreeSet::new();
    for index in left_the_house.range(..head.size) {
        let entry = reader.entry(*index).await?;
        published.extend(published_size(&entry).filter(|size| (1..head.size).contains(size)));
    }
    let mut proofs = prove(store, head.size, &indices, &published).await?;
    let mut entries = Vec::with_capacity(indices.len());
    for index in &indices {
        let mut entry = reader.entry(*index).await?;
        entry.proof = proofs.inclusion.remove(index).unwrap_or_default();
        entries.push(entry);
    }
    Ok(Bundle {
        request: None,
        grant: None,
        keys: keys.iter().map(ToString::to_string).collect(),
        checkpoint: head.checkpoint,
        consistency: proofs
            .consistency
            .into_iter()
            .map(|(from, proof)| Consistency { from, proof })
            .collect(),
        entries,
    })
}

async fn lines(store: &dyn Store, filter: EntryFilter) -> Result<Vec<crate::store::EntryLine>> {
    Ok(store
        .entries(EntryFilter {
            limit: u32::MAX,
            ..filter
        })
        .await?)
}

/// The size of the checkpoint that an entry says left the house.
fn published_size(entry: &BundleEntry) -> Option<u64> {
    let (_, payload) = entry.payload.as_ref()?;
    let payload: Value = serde_json::from_slice(payload).ok()?;
    let note = payload.pointer("/facts/checkpoint")?.as_str()?;
    Some(SignedCheckpoint::parse(note).ok()?.checkpoint().size)
}

/// One entry with its proof up to the newest checkpoint; `None` when the log is not that long.
///
/// # Errors
/// The store failed or holds what cannot be read.
pub async fn proved(store: &dyn Store, index: u64) -> Result<Option<Proved>> {
    let head = store.head().await?;
    if index >= head.size {
        return Ok(None);
    }
    let note = SignedCheckpoint::parse(&head.checkpoint).map_err(|error| corrupt("a checkpoint", &error))?;
    let mut entry = Reader::new(store).entry(index).await?;
    let mut proofs = prove(store, head.size, &BTreeSet::from([index]), &BTreeSet::new()).await?;
    entry.proof = proofs.inclusion.remove(&index).unwrap_or_default();
    let leaf = ledger::leaf_hash(&entry.entry);
    Ok(Some(Proved {
        entry,
        leaf,
        head: note.checkpoint().clone(),
        checkpoint: head.checkpoint,
    }))
}

/// Proofs in the tree of `size`: of inclusion by index, of consistency by the older size.
struct Proofs {
    inclusion: BTreeMap<u64, Vec<ledger::Hash>>,
    consistency: BTreeMap<u64, Vec<ledger::Hash>>,
}

async fn prove(
    store: &dyn Store,
    size: u64,
    indices: &BTreeSet<u64>,
    published: &BTreeSet<u64>,
) -> Result<Proofs> {
    let failed = |error: ledger::TreeError| corrupt("a ledger", &error);
    let mut tiles = Tiles::new(store);
    let (mut inclusion, mut consistency) = (BTreeMap::new(), BTreeMap::new());
    for index in indices {
        let plan = ProofPlan::inclusion(*index, size).map_err(failed)?;
        inclusion.insert(*index, tiles.make(&plan).await?);
    }
    for old in published {
        let plan = ProofPlan::consistency(*old, size).map_err(failed)?;
        consistency.insert(*old, tiles.make(&plan).await?);
    }
    Ok(Proofs {
        inclusion,
        consistency,
    })
}

fn corrupt(what: &'static str, error: &dyn std::error::Error) -> StoreError {
    StoreError::Corrupt {
        what,
        why: error.to_string(),
    }
}

/// Reads entries out of their segments; neighbours share one opening.
pub struct Reader<'a> {
    store: &'a dyn Store,
    open: Option<OpenSegment>,
}

impl<'a> Reader<'a> {
    /// Reads from `store`.
    #[must_use]
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, open: None }
    }

    /// The entry at `index`, without a proof.
    ///
    /// # Errors
    /// No segment holds it, the segment cannot be read, or the store failed.
    pub async fn entry(&mut self, index: u64) -> std::result::Result<BundleEntry, StoreError> {
        let holds =
            |open: &OpenSegment| (open.first()..open.first() + u64::from(open.count())).contains(&index);
        if !self.open.as_ref().is_some_and(holds) {
            let segment = self
                .store
                .segment_of(index)
                .await?
                .ok_or_else(|| StoreError::Corrupt {
                    what: "a ledger",
                    why: format!("no segment holds entry {index}"),
                })?;
            self.open = Some(ledger::open(&segment.bytes).map_err(|error| corrupt("a segment", &error))?);
        }
        match self.open.as_ref().filter(|open| holds(open)) {
            Some(open) => {
                let position = u32::try_from(index - open.first()).unwrap_or(u32::MAX);
                Ok(BundleEntry::from_segment(open, position, vec![]))
            }
            None => Err(StoreError::Corrupt {
                what: "a segment",
                why: format!("it does not hold entry {index}"),
            }),
        }
    }

    /// The payload of the entry at `index`, read; `None` when it was erased.
    ///
    /// # Errors
    /// As [`Self::entry`]; or the payload is not what the store writes.
    pub async fn payload(&mut self, index: u64) -> std::result::Result<Option<Value>, StoreError> {
        let entry = self.entry(index).await?;
        entry
            .payload
            .map(|(_, bytes)| serde_json::from_slice(&bytes).map_err(|error| corrupt("a payload", &error)))
            .transpose()
    }
}

/// What a signed token is shown as: it proves an approval in the export, and on a page it would only be
/// something to steal while it is valid.
const LEFT_OUT: &str = "[signed by the provider; it is in the export]";

/// `payload` for people's eyes: without signed tokens.
#[must_use]
pub fn for_eyes(mut payload: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    if name == "id_token" {
                        *value = LEFT_OUT.into();
                    } else {
                        walk(value);
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut payload);
    payload
}

impl Broker {
    /// Enters that `person` read the ledger: once per query and ten minutes.
    ///
    /// # Errors
    /// The store's: what cannot be recorded is not read.
    pub async fn note_read(&self, person: &Person, query: &str, about: About) -> Result<()> {
        let now = self.now();
        let window: i64 = now.timestamp().div_euclid(READ_ONCE);
        let sentence = format!("{} read the ledger: {query}", person.name);
        let facts = json!({"query": query, "person": person.person_claim});
        let mut entry = record(EntryKind::LedgerRead, now, about.by(person), sentence, facts);
        entry.key = Some(format!("read {} {window} {query}", person.person_claim));
        self.store.commit(Transition::new(entry)).await?;
        Ok(())
    }

    /// The export of a grant, read by `person`.
    ///
    /// # Errors
    /// As [`export`]; or the reading cannot be entered.
    pub async fn export(&self, grant: GrantId, person: &Person) -> Result<Bundle> {
        let stored = self.grant(grant).await?;
        self.note_read(person, &format!("export of grant {grant}"), About::grant(&stored))
            .await?;
        let keys = self
            .verifier_keys()
            .map_err(|error| BrokerError::Refused(error.to_string()))?;
        export(self.store.as_ref(), &keys, grant).await
    }
}
