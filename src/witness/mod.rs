//! Those who countersign checkpoints: the adapter to C2SP tlog-witness.

mod http;

pub use http::HttpWitnesses;

use async_trait::async_trait;

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Signature lines; not checked here.
    Lines(String),
    /// It knows the log at this size, not at the one that was named.
    Knows(u64),
    /// It refuses: the status and its words. 422 says that the proof does not lead from what it knew.
    Refuses(u16, String),
}

/// It did not answer, or not in the protocol's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// The configured witnesses.
#[async_trait]
pub trait Witnesses: Send + Sync + std::fmt::Debug {
    /// Asks the witness of that name to countersign: `body` is that of `add-checkpoint`. Asking again for
    /// what it countersigned already is harmless.
    ///
    /// # Errors
    /// There was no answer within some seconds.
    async fn add_checkpoint(&self, witness: &str, body: &str) -> Result<Answer, NoAnswer>;
}
