//! The ledger: one Merkle log over everything that happened, for ever in this format.
//!
//! An [`Entry`] is small and public; what it is about lies in a payload that it names only by
//! SHA-256(salt ‖ payload), so that a payload can be erased while every proof stays valid. Entries
//! are stored in [`Segment`]s, their leaf hashes make the tree of RFC 9162 (`tree`, `proof`), and
//! each commit signs the tree's head as a C2SP tlog-checkpoint (`checkpoint`). A [`Bundle`] carries
//! some entries with their proofs; `verify` checks a whole log or a bundle and names what is wrong.
//!
//! Pure: bytes in, bytes out. No clock, no database, no network.

pub mod entry;
pub mod proof;
pub mod segment;
pub mod tree;

pub use entry::{Draft, Entry, EntryError, Salt};
pub use proof::{Proofs, Prover, verify_consistency, verify_inclusion};
pub use segment::{
    HEADER_LEN, MAX_BODY, MAX_COUNT, OpenSegment, Prepared, SealError, Seed, Segment, SegmentError,
    open, prepare, prune, seal,
};
pub use tree::{Frontier, Hash, TreeError, leaf_hash, node_hash};
