//! How entries are stored: one segment a batch, readable by itself.
//!
//! ```text
//! "BGSG"                     4 bytes
//! version 1                  u32     all numbers big-endian
//! first entry's index        u64
//! how many entries           u32
//! length of the body, plain  u32
//! CRC-32 of all other bytes  u32
//! leaf hashes                32 bytes each, not compressed: the tree can be read without the entries
//! body                       zstd, to the end
//! ```
//! The body: the time of entering (i64 ms), one byte `1` and the salt seed (32 bytes) or one byte `0`,
//! then for each entry its kind and cluster (a length byte and the name), the time it happened (i64 ms)
//! and either byte `1`, the salt (16 bytes, only without a seed), a u32 length and the payload, or
//! byte `0` and the payload's digest (32 bytes) when the payload was pruned.
//!
//! The salts of a fresh segment come from its random seed. Pruning takes the seed away and leaves the
//! salts of the kept payloads alone, so a pruned payload cannot be guessed from its digest.
//! The checksum names damage; only the tree and its signatures prove anything.

use super::entry::{Draft, Entry, EntryError, Salt, check_names, payload_digest};
use super::tree::{Frontier, Hash, leaf_hash};
use crate::clock::Time;
use crate::ids::random_bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::ops::Range;

const MAGIC: &[u8; 4] = b"BGSG";
const VERSION: u32 = 1;
/// Bytes before the leaf hashes.
pub const HEADER_LEN: usize = 28;
/// The longest body before compression, in bytes: what a reader must be ready to hold.
pub const MAX_BODY: usize = 64 << 20;
/// The most entries in one segment.
pub const MAX_COUNT: usize = 1 << 20;
const CRC_AT: Range<usize> = 24..28;
// Level 3 is where more effort costs more time than it saves room for audit events.
const ZSTD_LEVEL: i32 = 3;

/// The secret from which a segment's salts come. Random for each segment and used once: a key kept
/// elsewhere could bring back the salt of a payload that was erased.
pub struct Seed([u8; 32]);

impl Seed {
    /// A fresh seed.
    #[must_use]
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// A seed of one's own: for tests that need the same bytes twice.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn salts(&self) -> impl Fn(u32) -> Salt + use<> {
        let keyed = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        move |position| {
            let full = keyed.clone().chain_update(position.to_be_bytes()).finalize().into_bytes();
            let mut salt = Salt::default();
            salt.copy_from_slice(&full[..16]);
            salt
        }
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed([redacted])")
    }
}

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

/// Why bytes are not a segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Not a segment, or one of a version this program does not know.
    #[error("not a segment of version {VERSION}")]
    Version,
    /// The bytes end early, or go on too long.
    #[error("the segment's length is wrong")]
    Length,
    /// A bound is broken that every writer keeps.
    #[error("the segment claims more than {MAX_COUNT} entries or {MAX_BODY} bytes, or none")]
    Bounds,
    /// The checksum says that bytes were altered.
    #[error("the segment's checksum differs: bytes were altered")]
    Checksum,
    /// The body does not decompress.
    #[error("the segment's body cannot be decompressed: {0}")]
    Decompress(#[source] std::io::Error),
    /// The body does not read as entries.
    #[error("entry {position} of the segment cannot be read: {what}")]
    Entry {
        /// Which one, from 0.
        position: u32,
        /// Which part of it.
        what: &'static str,
    },
    /// The body's head or end is wrong.
    #[error("the segment's body is malformed: {0}")]
    Body(&'static str),
    /// Writing a pruned segment failed.
    #[error("writing the pruned segment: {0}")]
    Rewrite(#[source] SealError),
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
}

/// A segment that has everything but its place in the log.
#[derive(Debug)]
pub struct Prepared {
    bytes: Vec<u8>,
    leaves: Vec<Hash>,
}

impl Prepared {
    /// Gives it the next place: appends its leaves to the frontier.
    #[must_use]
    pub fn place(mut self, frontier: &mut Frontier) -> Segment {
        let first = frontier.size();
        self.leaves.iter().for_each(|leaf| frontier.append(leaf));
        finish(&mut self.bytes, first);
        let count = u32::try_from(self.leaves.len()).unwrap_or_else(|_| unreachable!("MAX_COUNT fits"));
        Segment { first, count, bytes: self.bytes, leaves: self.leaves }
    }
}

/// Hashes and compresses drafts. Needs no place in the log, so it may run beside other batches.
#[expect(clippy::needless_pass_by_value, reason = "a seed is used once")]
pub fn prepare(seed: Seed, entered_at: Time, drafts: &[Draft]) -> Result<Prepared, SealError> {
    let room: usize = drafts.iter().map(|draft| draft.payload.len() + 64).sum();
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
            cluster: draft.cluster.as_deref(),
            happened_at: draft.at.timestamp_millis(),
            entered_at,
            digest: payload_digest(&salt, &draft.payload),
        };
        check_names(entry.kind, entry.cluster)
            .map_err(|error| SealError::Names { position: position as usize, error })?;
        entry.encode_into(&mut line);
        leaves.push(leaf_hash(&line));
        put_entry(&mut body, &entry, None, Some(&draft.payload));
    }
    Ok(Prepared { bytes: pack(&leaves, &body)?, leaves })
}

/// [`prepare`] and [`Prepared::place`] in one.
pub fn seal(frontier: &mut Frontier, seed: Seed, entered_at: Time, drafts: &[Draft]) -> Result<Segment, SealError> {
    Ok(prepare(seed, entered_at, drafts)?.place(frontier))
}

fn put_entry(body: &mut Vec<u8>, entry: &Entry<'_>, salt: Option<&Salt>, payload: Option<&[u8]>) {
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
        body.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        body.extend_from_slice(payload);
    } else {
        body.push(0);
        body.extend_from_slice(&entry.digest);
    }
}

/// Header (without place and checksum), leaves and compressed body.
fn pack(leaves: &[Hash], body: &[u8]) -> Result<Vec<u8>, SealError> {
    if body.len() > MAX_BODY {
        return Err(SealError::TooBig);
    }
    let packed = zstd::bulk::compress(body, ZSTD_LEVEL).map_err(SealError::Compress)?;
    let mut bytes = Vec::with_capacity(HEADER_LEN + leaves.len() * 32 + packed.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 8]);
    for number in [leaves.len(), body.len()] {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by MAX_COUNT and MAX_BODY")]
        bytes.extend_from_slice(&(number as u32).to_be_bytes());
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend(leaves.iter().flatten());
    bytes.extend_from_slice(&packed);
    Ok(bytes)
}

fn finish(bytes: &mut [u8], first: u64) {
    bytes[8..16].copy_from_slice(&first.to_be_bytes());
    let sum = checksum(bytes);
    bytes[CRC_AT].copy_from_slice(&sum.to_be_bytes());
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[..CRC_AT.start]);
    crc.update(&bytes[CRC_AT.end..]);
    crc.sum()
}

/// Whether bytes were altered since they were written. False for bytes too short to have a checksum.
pub(super) fn checksum_differs(bytes: &[u8]) -> bool {
    header(bytes).is_ok_and(|header| header.crc != checksum(bytes))
}

struct Header {
    first: u64,
    count: u32,
    body_len: usize,
    crc: u32,
}

fn header(bytes: &[u8]) -> Result<Header, SegmentError> {
    let mut at = Cursor { bytes, at: 0 };
    let mut u32_at = || at.array::<4>().map(u32::from_be_bytes).ok_or(SegmentError::Length);
    if u32_at()? != u32::from_be_bytes(*MAGIC) || u32_at()? != VERSION {
        return Err(SegmentError::Version);
    }
    let first = u64::from(u32_at()?) << 32 | u64::from(u32_at()?);
    let (count, body_len, crc) = (u32_at()?, u32_at()? as usize, u32_at()?);
    if count == 0 || count as usize > MAX_COUNT || body_len > MAX_BODY {
        return Err(SegmentError::Bounds);
    }
    if first.checked_add(u64::from(count)).is_none() {
        return Err(SegmentError::Bounds);
    }
    Ok(Header { first, count, body_len, crc })
}

/// The first index and the leaf hashes, from the first `HEADER_LEN + 32 * count` bytes or more.
/// Only the tree's root tells whether they are right.
pub fn leaves(prefix: &[u8]) -> Result<(u64, Vec<Hash>), SegmentError> {
    let header = header(prefix)?;
    let bytes = prefix[HEADER_LEN..].get(..header.count as usize * 32).ok_or(SegmentError::Length)?;
    Ok((header.first, bytes.as_chunks::<32>().0.to_vec()))
}

/// A segment, read. Entries are looked at in place, nothing is copied.
#[derive(Debug)]
pub struct OpenSegment {
    first: u64,
    entered_at: i64,
    seed: Option<Seed>,
    leaves: Vec<Hash>,
    body: Vec<u8>,
    records: Vec<Record>,
}

#[derive(Debug)]
struct Record {
    kind: Range<usize>,
    cluster: Range<usize>,
    happened_at: i64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Kept { salt: Salt, payload: Range<usize> },
    Pruned { digest: Hash },
}

/// Reads a segment. Takes no more memory than its own length and [`MAX_BODY`], whatever the bytes say.
pub fn open(bytes: &[u8]) -> Result<OpenSegment, SegmentError> {
    let header = header(bytes)?;
    if checksum(bytes) != header.crc {
        return Err(SegmentError::Checksum);
    }
    open_damaged(bytes)
}

/// [`open`] without looking at the checksum: to find out which entry is damaged.
pub(super) fn open_damaged(bytes: &[u8]) -> Result<OpenSegment, SegmentError> {
    let header = header(bytes)?;
    let (first, leaves) = leaves(bytes)?;
    let packed = &bytes[HEADER_LEN + leaves.len() * 32..];
    let body = zstd::bulk::decompress(packed, header.body_len).map_err(SegmentError::Decompress)?;
    if body.len() != header.body_len {
        return Err(SegmentError::Length);
    }
    let mut at = Cursor { bytes: &body, at: 0 };
    let entered_at = at.array().map(i64::from_be_bytes).ok_or(SegmentError::Body("no time of entering"))?;
    let seed = match at.array() {
        Some([0]) => None,
        Some([1]) => Some(Seed(at.array().ok_or(SegmentError::Body("no seed"))?)),
        _ => return Err(SegmentError::Body("neither with nor without a seed")),
    };
    let salt_at = seed.as_ref().map(Seed::salts);
    let mut records = Vec::with_capacity(leaves.len());
    for position in 0..header.count {
        let bad = |what| SegmentError::Entry { position, what };
        let kind = at.name().ok_or(bad("kind"))?;
        let cluster = at.name().ok_or(bad("cluster"))?;
        check_names(at.text(&kind), Some(at.text(&cluster)).filter(|name| !name.is_empty())).map_err(|_| bad("names"))?;
        let happened_at = at.array().map(i64::from_be_bytes).ok_or(bad("time"))?;
        let content = match at.array() {
            Some([1]) => {
                let salt = match &salt_at {
                    Some(salt_at) => salt_at(position),
                    None => at.array().ok_or(bad("salt"))?,
                };
                let len = at.array().map(u32::from_be_bytes).ok_or(bad("payload"))?;
                Content::Kept { salt, payload: at.take(len as usize).ok_or(bad("payload"))? }
            }
            Some([0]) => Content::Pruned { digest: at.array().ok_or(bad("digest"))? },
            _ => return Err(bad("content")),
        };
        records.push(Record { kind, cluster, happened_at, content });
    }
    if at.at != body.len() {
        return Err(SegmentError::Body("bytes after the last entry"));
    }
    Ok(OpenSegment { first, entered_at, seed, leaves, body, records })
}

impl OpenSegment {
    /// Index of the first entry in the log.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// How many entries it holds; positions run from 0 to this.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.records.len()).unwrap_or_else(|_| unreachable!("MAX_COUNT fits"))
    }

    /// The entry at a position, made from what is stored: its digest is computed from the payload.
    ///
    /// # Panics
    /// When `position` is not below [`Self::count`]; so do the others below.
    #[must_use]
    pub fn entry(&self, position: u32) -> Entry<'_> {
        self.entry_salted(position, self.salt(position))
    }

    /// [`Self::entry`] as it would be with another salt: to recognise an entry that was moved.
    pub(super) fn entry_salted(&self, position: u32, salt: Option<Salt>) -> Entry<'_> {
        let record = &self.records[position as usize];
        let text = |range: &Range<usize>| std::str::from_utf8(&self.body[range.clone()]).unwrap_or_default();
        let digest = match (&record.content, salt) {
            (Content::Kept { payload, .. }, Some(salt)) => payload_digest(&salt, &self.body[payload.clone()]),
            (Content::Kept { salt, payload }, None) => payload_digest(salt, &self.body[payload.clone()]),
            (Content::Pruned { digest }, _) => *digest,
        };
        Entry {
            kind: text(&record.kind),
            cluster: Some(text(&record.cluster)).filter(|name| !name.is_empty()),
            happened_at: record.happened_at,
            entered_at: self.entered_at,
            digest,
        }
    }

    /// The payload, unless it was pruned.
    #[must_use]
    pub fn payload(&self, position: u32) -> Option<&[u8]> {
        match &self.records[position as usize].content {
            Content::Kept { payload, .. } => Some(&self.body[payload.clone()]),
            Content::Pruned { .. } => None,
        }
    }

    /// The payload's salt, unless it was pruned.
    #[must_use]
    pub fn salt(&self, position: u32) -> Option<Salt> {
        match &self.records[position as usize].content {
            Content::Kept { salt, .. } => Some(*salt),
            Content::Pruned { .. } => None,
        }
    }

    /// The salt that belongs to a place, while the segment still has its seed.
    pub(super) fn seed_salt(&self, position: u32) -> Option<Salt> {
        self.seed.as_ref().map(|seed| seed.salts()(position))
    }

    /// The stored leaf hash.
    #[must_use]
    pub fn leaf(&self, position: u32) -> Hash {
        self.leaves[position as usize]
    }
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
        put_entry(&mut body, &entry, kept.as_ref().map(|(salt, _)| salt), kept.map(|(_, payload)| payload));
    }
    let mut bytes = pack(&open.leaves, &body).map_err(SegmentError::Rewrite)?;
    finish(&mut bytes, open.first);
    Ok(bytes)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let range = self.at..self.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        self.at = range.end;
        Some(range)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let range = self.take(N)?;
        self.bytes[range].try_into().ok()
    }

    /// A length byte and as many bytes of UTF-8.
    fn name(&mut self) -> Option<Range<usize>> {
        let [len] = self.array()?;
        let range = self.take(len.into())?;
        std::str::from_utf8(&self.bytes[range.clone()]).ok().map(|_| range)
    }

    fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(&self.bytes[range.clone()]).unwrap_or_default()
    }
}
