//! The store: the one write door, and everything that is read back.
//!
//! [`contract::Store`] is what the rest of the house sees; an engine is chosen in `main`.

pub mod contract;
pub mod postgres;
mod seal;
pub mod session;
pub mod signing;
pub mod sql;
pub mod sqlite;
mod unindexed;

pub use contract::{
    Committed, EntryFilter, EntryLine, FollowUpFilter, GrantFilter, Head, Notable, RequestFilter, Stands,
    Store, StoreError, StoredSegment,
};
pub use signing::{Sign, SignError, Signers};
