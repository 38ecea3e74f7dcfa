//! What can be wrong with a log, each with its place.

use super::tile::TilePath;
use super::tree::Hash;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use std::fmt;

/// Where a checkpoint came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It lies beside the log, or in the bundle.
    Stored,
    /// It was kept elsewhere: the auditor's own.
    Held,
    /// A canary carried it into an API server's own audit log. It is not signed: that log is the witness.
    Carried,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored => "stored checkpoint",
            Self::Held => "checkpoint held elsewhere",
            Self::Carried => "head in the API server's audit log",
        })
    }
}

/// One thing that is wrong. Entries are named by index from 0; `to` is the first index not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the variants say it; the fields are the numbers and hashes in their words"
)]
pub enum Problem {
    /// What is stored of an entry is not what was hashed into the tree.
    EntryAltered { index: u64, segment: u64, kind: String },
    /// An entry is whole, but the leaf hash stored for it is not.
    LeafAltered { index: u64, segment: u64 },
    /// An entry stands where another one was entered.
    EntryMoved { index: u64, from: u64, segment: u64 },
    /// An entry's bytes are none that this program knows.
    EntryUnreadable { index: u64, why: String },
    /// A tile's hashes are not those that the tiles below it make.
    TileAltered { path: TilePath },
    /// A bundle's entry is not part of the tree at its index.
    EntryNotInTree { index: u64, why: String },
    /// A bundle's payload is not the one that its entry names.
    PayloadAltered { index: u64 },
    /// A segment's bytes were altered or torn.
    SegmentDamaged { first: u64, why: String },
    /// A segment stands in another one's row.
    SegmentMisplaced { row: u64, says: u64 },
    /// No segment holds these entries.
    SegmentMissing { from: u64, to: u64 },
    /// Entries that came before come again.
    SegmentRepeated { first: u64, count: u32 },
    /// The entries do not make the signed root; up to `from` they did.
    RootDiffers { from: u64, to: u64, signed: Hash },
    /// Entries under a stored checkpoint are gone.
    CutTail {
        present: u64,
        signed: u64,
        source: Source,
    },
    /// Entries under a held checkpoint are gone, and the log's own newest checkpoint is older.
    Rollback { present: u64, held: u64 },
    /// Two histories: one size with two roots.
    Fork { size: u64, one: Hash, other: Hash },
    /// A checkpoint cannot be read or its signature is wrong.
    BadSignature {
        source: Source,
        size: Option<u64>,
        why: String,
    },
    /// Entries that no checkpoint signs.
    Unsigned { from: u64, to: u64 },
    /// A bundle's proof does not lead from a held checkpoint to the bundle's.
    NotExtended { held: u64, size: u64 },
    /// A checkpoint that could not be compared with the log.
    NotCompared {
        source: Source,
        size: u64,
        why: &'static str,
    },
    /// An approval whose proof fails.
    Approval { index: u64, why: String },
}

impl Problem {
    /// The problem's short name, for machines.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::EntryAltered { .. } => "entry-altered",
            Self::LeafAltered { .. } => "leaf-altered",
            Self::EntryMoved { .. } => "entry-moved",
            Self::EntryUnreadable { .. } => "entry-unreadable",
            Self::TileAltered { .. } => "tile-altered",
            Self::EntryNotInTree { .. } => "entry-not-in-tree",
            Self::PayloadAltered { .. } => "payload-altered",
            Self::SegmentDamaged { .. } => "segment-damaged",
            Self::SegmentMisplaced { .. } => "segment-misplaced",
            Self::SegmentMissing { .. } => "segment-missing",
            Self::SegmentRepeated { .. } => "segment-repeated",
            Self::RootDiffers { .. } => "root-differs",
            Self::CutTail { .. } => "cut-tail",
            Self::Rollback { .. } => "rollback",
            Self::Fork { .. } => "fork",
            Self::BadSignature { .. } => "bad-signature",
            Self::Unsigned { .. } => "unsigned",
            Self::NotExtended { .. } => "fork-or-bad-proof",
            Self::NotCompared { .. } => "not-compared",
            Self::Approval { .. } => "approval",
        }
    }
}

/// `entry 7`, or `entries 7 to 9` with the last one meant.
struct Entries(u64, u64);

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1 <= self.0 + 1 {
            write!(f, "entry {}", self.0)
        } else {
            write!(f, "entries {} to {}", self.0, self.1 - 1)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntryAltered { index, segment, kind } => {
                write!(
                    f,
                    "entry {index} ({kind}, in the segment that begins at {segment}) was altered after it was entered"
                )
            }
            Self::LeafAltered { index, segment } => {
                write!(
                    f,
                    "the leaf hash stored for entry {index} (in the segment that begins at {segment}) was altered; the entry itself is whole"
                )
            }
            Self::EntryMoved { index, from, segment } => {
                write!(
                    f,
                    "entries were reordered: at index {index} (in the segment that begins at {segment}) stands what was entered at index {from}"
                )
            }
            Self::EntryUnreadable { index, why } => write!(f, "entry {index} cannot be read: {why}"),
            Self::TileAltered { path } => {
                write!(
                    f,
                    "the tile {path} does not hold the hashes that the tiles below it make"
                )
            }
            Self::EntryNotInTree { index, why } => {
                write!(f, "entry {index} is not part of the signed log: {why}")
            }
            Self::PayloadAltered { index } => {
                write!(f, "the payload of entry {index} is not the one that was entered")
            }
            Self::SegmentDamaged { first, why } => {
                write!(f, "the segment that begins at entry {first} is damaged: {why}")
            }
            Self::SegmentMisplaced { row, says } => {
                write!(
                    f,
                    "the row of the segment that begins at entry {row} holds the segment that begins at entry {says}"
                )
            }
            Self::SegmentMissing { from, to } => {
                write!(f, "{} missing: no segment holds them", Entries(*from, *to))
            }
            Self::SegmentRepeated { first, count } => {
                write!(
                    f,
                    "{} stored again: a segment is repeated or out of order",
                    Entries(*first, first + u64::from(*count))
                )
            }
            Self::RootDiffers { from, to, signed } => write!(
                f,
                "{} do not make the signed root of size {to} ({}): something among them was altered, reordered, added or removed",
                Entries(*from, *to),
                BASE64.encode(signed)
            ),
            Self::CutTail {
                present,
                signed,
                source,
            } => write!(
                f,
                "the tail is cut: the {source} of size {signed} covers {} that are not here",
                Entries(*present, *signed)
            ),
            Self::Rollback { present, held } => write!(
                f,
                "the log was rolled back or its tail cut: a checkpoint held elsewhere of size {held} covers {} that are not here, and no stored checkpoint knows of them",
                Entries(*present, *held)
            ),
            Self::Fork { size, one, other } => write!(
                f,
                "the log was forked: at size {size} there are two heads, {} and {}",
                BASE64.encode(one),
                BASE64.encode(other)
            ),
            Self::BadSignature {
                source,
                size: Some(size),
                why,
            } => write!(f, "the {source} of size {size} does not count: {why}"),
            Self::BadSignature {
                source,
                size: None,
                why,
            } => write!(f, "a {source} does not count: {why}"),
            Self::Unsigned { from, to } => {
                write!(f, "{} covered by no signed checkpoint", Entries(*from, *to))
            }
            Self::NotExtended { held, size } => write!(
                f,
                "the bundle does not show that its checkpoint of size {size} extends the one held elsewhere of size {held}: the log was forked, or the proof altered"
            ),
            Self::NotCompared { source, size, why } => {
                write!(f, "the {source} of size {size} was not compared: {why}")
            }
            Self::Approval { index, why } => write!(f, "the approval in entry {index} does not hold: {why}"),
        }
    }
}
