//! The ledger: one Merkle log over everything that happened, for ever in this format.
//!
//! An [`Entry`] is small and public; what it is about lies in a payload that it names only by
//! SHA-256(salt ‖ payload), so that a payload can be erased while every proof stays valid. Entries
//! are stored in [`Segment`]s, their leaf hashes make the tree of RFC 9162 (`tree`, `proof`), and
//! each commit signs the tree's head as a C2SP tlog-checkpoint (`checkpoint`). A [`Bundle`] carries
//! some entries with their proofs, an [`Archive`] all of them; `verify` checks a whole log, `verify_bundle` a bundle, and both
//! name what is wrong and where.
//!
//! Pure: bytes in, bytes out. No clock, no database, no network.

pub mod archive;
pub mod bundle;
pub mod checkpoint;
pub mod checks;
mod completeness;
pub mod cosignature;
pub mod entry;
pub mod notes;
pub mod problem;
pub mod proof;
pub mod report;
pub mod seal;
pub mod seed;
pub mod segment;
mod stretch;
pub mod tile;
pub mod tile_proof;
pub mod tree;
pub mod verify;
pub mod verify_bundle;
pub mod verify_log;
pub mod verify_tiles;

pub use archive::{Archive, ArchiveError};
pub use bundle::{Bundle, BundleEntry, BundleError, Consistency};
pub use checkpoint::{Checkpoint, KeyError, NoteError, SignedCheckpoint, Signer, VerifierKey};
pub use checks::{Approval, ApprovalCheck, Checks};
pub use cosignature::WitnessKey;
pub use entry::{Content, Draft, Entry, EntryError, Salt};
pub use notes::notes_in;
pub use problem::{Problem, Source};
pub use proof::{Proofs, Prover, verify_consistency, verify_inclusion};
pub use report::{ApprovalCount, Completeness, Hole, Integrity, Report};
pub use seal::{Prepared, SealError, Segment, prepare, prepare_contents, prune, seal};
pub use seed::Seed;
pub use segment::{HEADER_LEN, MAX_BODY, MAX_COUNT, OpenSegment, SegmentError, open};
pub use tile::{Node, TileKind, TilePath};
pub use tile_proof::{ProofPlan, Span};
pub use tree::{Frontier, Hash, TreeError, leaf_hash, node_hash};
pub use verify::{Progress, Verifier};
pub use verify_bundle::verify_bundle;
pub use verify_log::verify_log;
