//! The ledger: a Merkle log over small entries, its segments, proofs and signed checkpoints. Pure.
