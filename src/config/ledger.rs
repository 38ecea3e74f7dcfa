//! `ledger`: the name and the key of the log.

use super::Secret;
use serde::{Deserialize, Serialize};

/// The ledger's name and key.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The log's name, the first line of every checkpoint: a host and a path, without scheme. It
    /// never changes.
    pub origin: String,
    /// The seed of the Ed25519 key that signs checkpoints: 32 bytes in hex (`openssl rand -hex 32`).
    pub signing_key: Secret,
}
