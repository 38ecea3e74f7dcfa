//! What an engine gives: connections that run statements, and the commit that is its own.

use super::SqlStore;
use super::query::{Query, Row};
use crate::domain::transition::Transition;
use crate::store::contract::{Committed, StoreError};
use async_trait::async_trait;

/// A connection, or a transaction on one.
#[async_trait]
pub trait Connection: Send {
    /// Changes something; says how many rows.
    async fn change(&mut self, query: Query) -> Result<u64, sqlx::Error>;
    /// Reads.
    async fn rows(&mut self, query: Query) -> Result<Vec<Row>, sqlx::Error>;
    /// Begins or ends a transaction or a part of one.
    async fn say(&mut self, statement: &'static str) -> Result<(), sqlx::Error>;
}

/// A database of one engine.
#[async_trait]
pub trait Database: Sized + Send + Sync + std::fmt::Debug + 'static {
    /// What a statement ends in that takes rows for itself: those that another one is just taking are passed by.
    const PASS_BY_TAKEN: &'static str;

    /// Entries with the actions of some, the entries leading.
    const ENTRIES_AND_ACTIONS: &'static str;
    /// Actions with their entries, the actions leading.
    const ACTIONS_AND_ENTRIES: &'static str;
    /// An action's object is, whatever its case, in the very words of the index over objects.
    const OBJECT_IS: &'static str;
    /// An entry is of an emergency that has missed a deadline and still owes.
    const IS_LATE: &'static str;

    /// Reads.
    async fn rows(&self, query: Query) -> Result<Vec<Row>, sqlx::Error>;
    /// A moment's state, which stays as it is while it is read.
    async fn moment(&self) -> Result<Box<dyn Connection + '_>, sqlx::Error>;
    /// Changes something and hands back the rows that the statement returns.
    async fn take(&self, query: Query) -> Result<Vec<Row>, sqlx::Error>;
    /// Changes something; says how many rows.
    async fn change(&self, query: Query) -> Result<u64, sqlx::Error>;
    /// Makes all of these changes or none.
    async fn change_all(&self, queries: Vec<Query>) -> Result<(), sqlx::Error>;
    /// The one write door.
    async fn commit(store: &SqlStore<Self>, transition: Transition) -> Result<Committed, StoreError>;

    /// Why nothing is written any more until this process is started again, where that is so.
    fn halted(&self) -> Option<String> {
        None
    }
}
