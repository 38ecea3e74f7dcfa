//! Writes segments: entries hashed, compressed, given their place; and payloads taken out again.
//! The stored form is described in [`super::segment`].

use super::entry::{Content, Draft, Entry, EntryError, Salt, check_names};
use super::seed::Seed;
use super::segment::{CRC_AT, HEADER_LEN, MAGIC, MAX_BODY, MAX_COUNT, SegmentError, VERSION, checksum, open};
use super::tile::{Node, append};
use super::tree::{Frontier, Hash, leaf_hash};
use crate::clock::Time;
use std::sync::{Mutex, PoisonError};
use zstd::bulk::Compressor;

// Level 3 is where more effort costs more time than it saves room for audit events.
const ZSTD_LEVEL: i32 = 3;

/// Why drafts cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A segment holds at least one entry.
    #[error("there is nothing to seal")]
    Empty,
    /// The drafts belong into several segments.
    #[error("too much for one segment: at most {MAX_COUNT} entries and {MAX_BODY} bytes")]
    TooBig,
    /// A kind or cluster name that no entry can hold.
    #[error("draft {position} cannot be entered: {error}")]
    Names {
        /// Which draft, from 0.
        position: usize,
        /// What is wrong with it.
        error: EntryError,
    },
    /// The compressor failed.
    #[error("compressing a segment: {0}")]
    Compress(#[source] std::io::Error),
}

/// Compressors that wait for the next segment: making one costs about as much as a small segment.
static SPARE: Mutex<Vec<Compressor<'static>>> = Mutex::new(Vec::new());
/// How many are kept.
const SPARES: usize = 4;

fn compressed(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let spare = || SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = spare().pop();
    let mut compressor = match taken {
        Some(compressor) => compressor,
        None => Compressor::new(ZSTD_LEVEL)?,
    };
    let packed = compressor.compress(body)?;
    let mut spare = spare();
    if spare.len() < SPARES {
        spare.push(compressor);
    }
    Ok(packed)
}

/// Entries, hashed and stored: what one commit appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Index of the first entry in the log.
    pub first: u64,
    /// How many entries.
    pub count: u32,
    /// What is stored. It holds the leaves too.
    pub bytes: Vec<u8>,
    /// The leaf hashes in order.
    pub leaves: Vec<Hash>,
    /// The roots at the edges of tiles that these leaves complete.
    pub nodes: Vec<Node>,
}

/// A segment that has everything but its place in the log.
#[derive(Debug, Clone)]
pub struct Prepared {
    bytes: Vec<u8>,
    leaves: Vec<Hash>,
}

impl Prepared {
    /// Gives it the next place: appends its leaves to the frontier.
    #[must_use]
    pub fn place(mut self, frontier: &mut Frontier) -> Segment {
        let first = frontier.size();
        let mut nodes = vec![];
        for leaf in &self.leaves {
            append(frontier, leaf, &mut nodes);
        }
        finish(&mut self.bytes, first);
        let count = u32::try_from(self.leaves.len()).unwrap_or_else(|_| unreachable!("MAX_COUNT fits"));
        Segment {
            first,
            count,
            bytes: self.bytes,
            leaves: self.leaves,
            nodes,
        }
    }
}

/// Hashes and compresses drafts. Needs no place in the log, so it may run beside other batches.
pub fn prepare(seed: Seed, entered_at: Time, drafts: &[Draft]) -> Result<Prepared, SealError> {
    let drafts: Vec<_> = drafts.iter().map(Draft::content).collect();
    prepare_contents(seed, entered_at, &drafts)
}

/// [`prepare`] for what is not put together as drafts.
#[expect(clippy::needless_pass_by_value, reason = "a seed is used once")]
pub fn prepare_contents(seed: Seed, entered_at: Time, drafts: &[Content<'_>]) -> Result<Prepared, SealError> {
    let room: usize = drafts.iter().map(|draft| draft.len() + 64).sum();
    if drafts.is_empty() {
        return Err(SealError::Empty);
    }
    if drafts.len() > MAX_COUNT || room > MAX_BODY {
        return Err(SealError::TooBig);
    }
    let entered_at = entered_at.timestamp_millis();
    let mut body = Vec::with_capacity(room + 64);
    body.extend_from_slice(&entered_at.to_be_bytes());
    body.push(1);
    body.extend_from_slice(&seed.0);
    let salt_at = seed.salts();
    let mut leaves = Vec::with_capacity(drafts.len());
    let mut line = Vec::with_capacity(512);
    for (position, draft) in (0u32..).zip(drafts) {
        let salt = salt_at(position);
        let entry = Entry {
            kind: draft.kind.name(),
            cluster: draft.cluster,
            happened_at: draft.at.timestamp_millis(),
            entered_at,
            digest: draft.digest(&salt),
        };
        check_names(entry.kind, entry.cluster).map_err(|error| SealError::Names {
            position: position as usize,
            error,
        })?;
        entry.encode_into(&mut line);
        leaves.push(leaf_hash(&line));
        put_entry(&mut body, &entry, None, Some(&draft.payload[..]));
    }
    Ok(Prepared {
        bytes: pack(&leaves, &body)?,
        leaves,
    })
}

/// [`prepare`] and [`Prepared::place`] in one.
pub fn seal(
    frontier: &mut Frontier,
    seed: Seed,
    entered_at: Time,
    drafts: &[Draft],
) -> Result<Segment, SealError> {
    Ok(prepare(seed, entered_at, drafts)?.place(frontier))
}

fn put_entry(body: &mut Vec<u8>, entry: &Entry<'_>, salt: Option<&Salt>, payload: Option<&[&[u8]]>) {
    for name in [entry.kind, entry.cluster.unwrap_or_default()] {
        // Names were checked: at most 253 bytes.
        #[expect(clippy::cast_possible_truncation, reason = "bounded by check_names")]
        body.push(name.len() as u8);
        body.extend_from_slice(name.as_bytes());
    }
    body.extend_from_slice(&entry.happened_at.to_be_bytes());
    if let Some(payload) = payload {
        body.push(1);
        body.extend(salt.into_iter().flatten());
        #[expect(clippy::cast_possible_truncation, reason = "bounded by MAX_BODY")]
        let len = payload.iter().map(|piece| piece.len()).sum::<usize>() as u32;
        body.extend_from_slice(&len.to_be_bytes());
        for piece in payload {
            body.extend_from_slice(piece);
        }
    } else {
        body.push(0);
        body.extend_from_slice(&entry.digest);
    }
}

/// Header (without place and checksum), leaves and compressed body.
pub(super) fn pack(leaves: &[Hash], body: &[u8]) -> Result<Vec<u8>, SealError> {
    if body.len() > MAX_BODY {
        return Err(SealError::TooBig);
    }
    let packed = compressed(body).map_err(SealError::Compress)?;
    let mut bytes = Vec::with_capacity(HEADER_LEN + leaves.len() * 32 + packed.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 8]);
    for number in [leaves.len(), body.len()] {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "bounded by MAX_COUNT and MAX_BODY"
        )]
        bytes.extend_from_slice(&(number as u32).to_be_bytes());
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend(leaves.iter().flatten());
    bytes.extend_from_slice(&packed);
    Ok(bytes)
}

pub(super) fn finish(bytes: &mut [u8], first: u64) {
    bytes[8..16].copy_from_slice(&first.to_be_bytes());
    let sum = checksum(bytes);
    bytes[CRC_AT].copy_from_slice(&sum.to_be_bytes());
}

/// The same segment without the payloads that `erase` names by index and entry. Its leaves, and so
/// every proof, stay as they are. The seed goes too: with it the erased salts could be made again.
pub fn prune(bytes: &[u8], mut erase: impl FnMut(u64, &Entry<'_>) -> bool) -> Result<Vec<u8>, SegmentError> {
    let open = open(bytes)?;
    let mut body = Vec::with_capacity(open.body.len());
    body.extend_from_slice(&open.entered_at.to_be_bytes());
    body.push(0);
    for position in 0..open.count() {
        let entry = open.entry(position);
        let kept = open.salt(position).zip(open.payload(position));
        let kept = kept.filter(|_| !erase(open.first + u64::from(position), &entry));
        put_entry(
            &mut body,
            &entry,
            kept.as_ref().map(|(salt, _)| salt),
            kept.as_ref().map(|(_, payload)| std::slice::from_ref(payload)),
        );
    }
    let mut bytes = pack(&open.leaves, &body).map_err(SegmentError::Rewrite)?;
    finish(&mut bytes, open.first);
    Ok(bytes)
}
