//! What an engine does its own way when it writes.

use super::Connection;
use crate::clock::Time;
use crate::domain::transition::Record;
use crate::ledger::Frontier;
use crate::store::contract::StoreError;
use async_trait::async_trait;

/// What became of a transaction whose end was not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Became {
    /// It is kept.
    There,
    /// It is not, and never will be.
    NotThere,
    /// Nobody could say.
    Unknown,
}

/// How an engine writes: on one connection, which nobody else writes the ledger with.
#[async_trait]
pub(in crate::store) trait Pen: Send + Sync + 'static {
    /// That connection.
    type On: Connection + 'static;
    /// What tells this transaction from every other, also after its connection is gone.
    type Mark: Send;
    /// Begins a transaction that ends on the disk.
    const BEGIN: &'static str;

    /// A new connection in place of one on which something went wrong. What was open on it is taken back.
    async fn renew(&mut self, on: &mut Self::On) -> Result<(), StoreError>;
    /// The ledger's right edge and newest checkpoint, nobody else's until this transaction is over.
    async fn head(&mut self, on: &mut Self::On) -> Result<(Frontier, String), StoreError>;
    /// Marks this transaction.
    async fn mark(&mut self, on: &mut Self::On, now: Time) -> Result<Self::Mark, StoreError>;
    /// Finds out what became of a transaction, on a connection that works.
    async fn became(&mut self, on: &mut Self::On, mark: &Self::Mark) -> Became;
    /// Whether this error says that the connection was lost, and nothing of what was being written.
    fn is_cut(&self, error: &StoreError) -> bool;
    /// Which records were not entered before, and are no repeats inside their batch.
    async fn unseen(on: &mut Self::On, records: &[Record], now: Time) -> Result<Vec<bool>, StoreError>;
    /// To be asked before anything is written.
    ///
    /// # Errors
    /// Nothing is any more, until the next start.
    fn holds(&self) -> Result<(), StoreError> {
        Ok(())
    }
    /// To be shown how each transaction ended.
    fn heed(&self, _ended: &Result<(), sqlx::Error>) {}
    /// The rows by which these entries and their actions are found; the first of them is entry `first`.
    async fn index(on: &mut Self::On, first: u64, records: &[&Record], now: Time) -> Result<(), StoreError>;
}
