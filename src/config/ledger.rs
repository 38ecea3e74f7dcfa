//! `ledger`: the name and the keys of the log, who else reads it, and who witnesses it.

use super::{HttpUrl, Secret};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The ledger's name and keys, its readers and witnesses.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The log's name, the first line of every checkpoint: a host and a path, without scheme. It
    /// never changes.
    pub origin: String,
    /// The seed of the Ed25519 key that signs checkpoints: 32 bytes in hex (`openssl rand -hex 32`).
    pub signing_key: Secret,
    /// While a key is being replaced, the one that follows: checkpoints are signed by it as well, so that
    /// whoever holds either public key can check them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<Secret>,
    /// After a key was replaced, the one before: checkpoints are signed by it as well, until whoever checks
    /// them holds the new public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_key: Option<Secret>,
    /// Who reads the log under `/log/` without a sign-in: auditors' programs, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub readers: BTreeMap<String, LogReader>,
    /// Who countersigns checkpoints (C2SP tlog-witness), by name. One that is down or disagrees is named
    /// and never stops the log.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub witnesses: BTreeMap<String, LogWitness>,
}

/// A program that reads the log. It sees hashes, kinds, clusters and times, never what an entry is about.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogReader {
    /// Its bearer token, at least 32 characters (`openssl rand -hex 32`); each reader has its own.
    pub token: Secret,
}

/// A witness.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogWitness {
    /// Its submission address; `/add-checkpoint` is added to it.
    pub url: HttpUrl,
    /// Its public key, written name+hash+base64 (C2SP signed-note, cosignature/v1).
    pub key: String,
}

impl Ledger {
    /// The keys that sign, the one in force first; each with the name of its field.
    pub fn keys(&self) -> impl Iterator<Item = (&'static str, &Secret)> {
        let beside = [("next_key", &self.next_key), ("previous_key", &self.previous_key)];
        std::iter::once(("signing_key", &self.signing_key)).chain(
            beside
                .into_iter()
                .filter_map(|(name, key)| key.as_ref().map(|key| (name, key))),
        )
    }
}
