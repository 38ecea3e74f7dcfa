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

use super::entry::{Entry, Salt, check_names, payload_digest};
use super::seal::SealError;
use super::seed::Seed;
use super::tree::Hash;
use std::ops::Range;

pub(super) const MAGIC: &[u8; 4] = b"BGSG";
pub(super) const VERSION: u32 = 1;
/// Bytes before the leaf hashes.
pub const HEADER_LEN: usize = 28;
/// The longest body before compression, in bytes: what a reader must be ready to hold.
pub const MAX_BODY: usize = 64 << 20;
/// The most entries in one segment.
pub const MAX_COUNT: usize = 1 << 20;
pub(super) const CRC_AT: Range<usize> = 24..28;

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

pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[..CRC_AT.start]);
    crc.update(&bytes[CRC_AT.end..]);
    crc.sum()
}

/// Whether bytes were altered since they were written. False for bytes too short to have a checksum.
pub(super) fn checksum_differs(bytes: &[u8]) -> bool {
    header(bytes).is_ok_and(|header| header.crc != checksum(bytes))
}

/// Gives altered bytes a checksum that fits: what somebody with write access would do.
#[cfg(test)]
pub(super) fn fix_checksum(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    bytes[CRC_AT].copy_from_slice(&sum.to_be_bytes());
}

struct Header {
    first: u64,
    count: u32,
    body_len: usize,
    crc: u32,
}

fn header(bytes: &[u8]) -> Result<Header, SegmentError> {
    let mut at = Cursor { bytes, at: 0 };
    let mut u32_at = || {
        at.array::<4>()
            .map(u32::from_be_bytes)
            .ok_or(SegmentError::Length)
    };
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
    Ok(Header {
        first,
        count,
        body_len,
        crc,
    })
}

/// The first index and the leaf hashes, from the first `HEADER_LEN + 32 * count` bytes or more.
/// Only the tree's root tells whether they are right.
pub fn leaves(prefix: &[u8]) -> Result<(u64, Vec<Hash>), SegmentError> {
    let header = header(prefix)?;
    let bytes = prefix[HEADER_LEN..]
        .get(..header.count as usize * 32)
        .ok_or(SegmentError::Length)?;
    Ok((header.first, bytes.as_chunks::<32>().0.to_vec()))
}

/// A segment, read. Entries are looked at in place, nothing is copied.
#[derive(Debug)]
pub struct OpenSegment {
    pub(super) first: u64,
    pub(super) entered_at: i64,
    seed: Option<Seed>,
    pub(super) leaves: Vec<Hash>,
    pub(super) body: Vec<u8>,
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
    let entered_at = at
        .array()
        .map(i64::from_be_bytes)
        .ok_or(SegmentError::Body("no time of entering"))?;
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
        check_names(
            at.text(&kind),
            Some(at.text(&cluster)).filter(|name| !name.is_empty()),
        )
        .map_err(|_| bad("names"))?;
        let happened_at = at.array().map(i64::from_be_bytes).ok_or(bad("time"))?;
        let content = match at.array() {
            Some([1]) => {
                let salt = match &salt_at {
                    Some(salt_at) => salt_at(position),
                    None => at.array().ok_or(bad("salt"))?,
                };
                let len = at.array().map(u32::from_be_bytes).ok_or(bad("payload"))?;
                Content::Kept {
                    salt,
                    payload: at.take(len as usize).ok_or(bad("payload"))?,
                }
            }
            Some([0]) => Content::Pruned {
                digest: at.array().ok_or(bad("digest"))?,
            },
            _ => return Err(bad("content")),
        };
        records.push(Record {
            kind,
            cluster,
            happened_at,
            content,
        });
    }
    if at.at != body.len() {
        return Err(SegmentError::Body("bytes after the last entry"));
    }
    Ok(OpenSegment {
        first,
        entered_at,
        seed,
        leaves,
        body,
        records,
    })
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
        std::str::from_utf8(&self.bytes[range.clone()])
            .ok()
            .map(|_| range)
    }

    fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(&self.bytes[range.clone()]).unwrap_or_default()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::entry::Draft;
    use super::super::seal::{Segment, finish, pack, prune, seal};
    use super::super::tree::Frontier;
    use super::*;
    use crate::clock::Time;
    use crate::domain::entry_kind::EntryKind;
    use proptest::prelude::*;

    pub fn time(ms: i64) -> Time {
        Time::from_timestamp_millis(1_780_000_000_000 + ms).unwrap()
    }

    pub fn draft(number: u64, kind: EntryKind) -> Draft {
        Draft {
            kind,
            at: time(i64::try_from(number).unwrap()),
            cluster: (!number.is_multiple_of(3)).then(|| "production".to_owned()),
            request: None,
            grant: None,
            payload: format!(r#"{{"number":{number},"verb":"delete"}}"#).into_bytes(),
        }
    }

    pub fn drafts(numbers: Range<u64>) -> Vec<Draft> {
        numbers
            .map(|number| draft(number, EntryKind::AuditEvent))
            .collect()
    }

    fn sealed(count: u64) -> Segment {
        seal(
            &mut Frontier::new(),
            Seed::from_bytes([5; 32]),
            time(0),
            &drafts(0..count),
        )
        .unwrap()
    }

    #[test]
    fn what_was_sealed_is_read_back() {
        let mut frontier = Frontier::new();
        seal(&mut frontier, Seed::random(), time(0), &drafts(0..3)).unwrap();
        let segment = seal(&mut frontier, Seed::random(), time(9), &drafts(3..8)).unwrap();
        assert_eq!((segment.first, segment.count, frontier.size()), (3, 5, 8));
        let open = open(&segment.bytes).unwrap();
        for (position, draft) in (0..).zip(drafts(3..8)) {
            let entry = open.entry(position);
            assert_eq!(entry.kind(), Some(draft.kind));
            assert_eq!(entry.cluster, draft.cluster.as_deref());
            assert_eq!(entry.happened_at, draft.at.timestamp_millis());
            assert_eq!(entry.entered_at, time(9).timestamp_millis());
            assert_eq!(open.payload(position), Some(draft.payload.as_slice()));
            assert_eq!(
                entry.digest,
                payload_digest(&open.salt(position).unwrap(), &draft.payload)
            );
            assert_eq!(
                [entry.leaf(); 2],
                [open.leaf(position), segment.leaves[position as usize]]
            );
        }
        let head = &segment.bytes[..HEADER_LEN + 5 * 32];
        assert_eq!(leaves(head).unwrap(), (3, segment.leaves));
    }

    /// The stored form is for ever: what was written once has to be readable by every later version.
    #[test]
    fn the_head_of_a_segment_is_fixed() {
        let segment = sealed(2);
        assert_eq!(&segment.bytes[..16], b"BGSG\0\0\0\x01\0\0\0\0\0\0\0\0");
        assert_eq!(segment.bytes[16..20], [0, 0, 0, 2]);
        assert_eq!(
            hex::encode(segment.leaves[0]),
            "5bf14f41b445fb1446531ffa94ff8ca58d2bdec7aeae6ce1c3ae48054084ec3f"
        );
        assert_eq!(
            hex::encode(open(&segment.bytes).unwrap().salt(1).unwrap()),
            "79f90f3fddb3df5c8cb6423016c87810"
        );
    }

    #[test]
    fn equal_payloads_have_unequal_digests() {
        let twice = [draft(1, EntryKind::Gap), draft(1, EntryKind::Gap)];
        let open = open(
            &seal(&mut Frontier::new(), Seed::random(), time(0), &twice)
                .unwrap()
                .bytes,
        )
        .unwrap();
        assert_ne!(open.entry(0).digest, open.entry(1).digest);
    }

    #[test]
    fn a_pruned_payload_leaves_its_proof_and_nothing_to_guess_it_from() {
        let whole = sealed(6);
        let before = open(&whole.bytes).unwrap();
        let pruned = prune(&whole.bytes, |index, entry| {
            index % 2 == 1 && entry.kind == "audit-event"
        })
        .unwrap();
        let after = open(&pruned).unwrap();
        assert!(after.seed_salt(1).is_none());
        for position in 0..6 {
            assert_eq!(after.entry(position), before.entry(position));
            assert_eq!(after.entry(position).leaf(), whole.leaves[position as usize]);
            let erased = position % 2 == 1;
            assert_eq!(after.payload(position).is_none(), erased);
            assert_eq!(
                after.salt(position),
                (!erased).then(|| before.salt(position).unwrap())
            );
        }
        let body = zstd::bulk::decompress(&pruned[HEADER_LEN + 6 * 32..], MAX_BODY).unwrap();
        let holds = |needle: &[u8]| body.windows(needle.len()).any(|window| window == needle);
        assert!(holds(&before.salt(0).unwrap()) && !holds(&before.salt(1).unwrap()) && !holds(&[5; 32]));
        assert!(!holds(br#""number":1,"#));
        let again = prune(&pruned, |_, _| true).unwrap();
        assert!((0..6).all(|position| open(&again).unwrap().payload(position).is_none()));
        assert_eq!(leaves(&again).unwrap().1, whole.leaves);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut frontier = Frontier::new();
        let mut seal = |drafts: &[Draft]| seal(&mut frontier, Seed::random(), time(0), drafts);
        assert!(matches!(seal(&[]), Err(SealError::Empty)));
        let hostile = Draft {
            cluster: Some("a\nb".into()),
            ..draft(1, EntryKind::Gap)
        };
        assert!(matches!(
            seal(&[draft(0, EntryKind::Gap), hostile]),
            Err(SealError::Names { position: 1, .. })
        ));
        let big = Draft {
            payload: vec![0; MAX_BODY],
            ..draft(1, EntryKind::Gap)
        };
        assert!(matches!(seal(&[big]), Err(SealError::TooBig)));
        assert_eq!(frontier.size(), 0, "nothing that was refused may have a place");
    }

    #[test]
    fn a_small_body_cannot_claim_a_big_one() {
        let bomb = zstd::bulk::compress(&vec![0; MAX_BODY + 1], 3).unwrap();
        let mut bytes = sealed(1).bytes[..HEADER_LEN + 32].to_vec();
        bytes.extend_from_slice(&bomb);
        bytes[20..24].copy_from_slice(&u32::try_from(MAX_BODY).unwrap().to_be_bytes());
        finish(&mut bytes, 0);
        assert!(matches!(open(&bytes), Err(SegmentError::Decompress(_))));
        bytes[20..24].copy_from_slice(&u32::MAX.to_be_bytes());
        finish(&mut bytes, 0);
        assert!(matches!(open(&bytes), Err(SegmentError::Bounds)));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_found() {
        let good = sealed(4).bytes;
        for len in 0..good.len() {
            assert!(open(&good[..len]).is_err(), "cut to {len}");
        }
        for at in 0..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= flip;
                assert!(open(&bytes).is_err(), "byte {at}");
            }
        }
        assert!(open(&[good, vec![0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = open(&bytes);
            let _ = open_damaged(&[MAGIC.as_slice(), &VERSION.to_be_bytes(), &bytes].concat());
        }

        /// A body that decompresses and carries a good checksum, but says nonsense.
        #[test]
        fn hostile_bodies_never_panic(at in 0usize..400, value: u8, cut in 0usize..400) {
            let good = sealed(4).bytes;
            let head = HEADER_LEN + 4 * 32;
            let mut body = zstd::bulk::decompress(&good[head..], MAX_BODY).unwrap();
            let len = body.len();
            body[at % len] = value;
            for body in [&body[..], &body[..cut % len]] {
                let mut bytes = pack(&leaves(&good).unwrap().1, body).unwrap();
                finish(&mut bytes, 0);
                if let Ok(open) = open(&bytes) {
                    (0..4).for_each(|position| drop(open.entry(position).encode()));
                }
            }
        }
    }
}
