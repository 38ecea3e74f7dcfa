//! The export of one grant (`.bgx`): its entries with their payloads, their proofs up to one signed
//! checkpoint, and proofs that this checkpoint extends those that left the house earlier. A reader
//! needs nothing else but the log's public key, which it has to have from elsewhere.

use super::entry::{Entry, EntryError, Salt};
use super::segment::OpenSegment;
use super::tree::Hash;
use crate::ids::{GrantId, RequestId};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "breakglass-bundle/1";
/// The longest bundle that is read, in bytes.
pub const MAX_BUNDLE: usize = 1 << 30;
/// A proof in a tree of 2^63 entries has this many hashes.
const MAX_PROOF: usize = 64;

/// Why bytes are not a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Longer than [`MAX_BUNDLE`].
    #[error("the bundle is longer than {MAX_BUNDLE} bytes")]
    Length,
    /// Not JSON of this shape.
    #[error("not a bundle: {0}")]
    Json(#[from] serde_json::Error),
    /// Of a version this program does not know.
    #[error("the bundle is not of the format {FORMAT}")]
    Format,
    /// A field of an entry that cannot be.
    #[error("entry {index} of the bundle: {what}")]
    Entry {
        /// The entry's index in the log.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A consistency proof that cannot be.
    #[error("the bundle's proof from size {0} is malformed")]
    Consistency(u64),
}

/// Entries that can be checked without the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The request it is about.
    pub request: Option<RequestId>,
    /// The grant it is about.
    pub grant: Option<GrantId>,
    /// The verifier keys that the exporter names. Proves nothing: trust only keys had from elsewhere.
    pub keys: Vec<String>,
    /// The signed checkpoint that the proofs lead to.
    pub checkpoint: String,
    /// Proofs that the checkpoint extends earlier ones.
    pub consistency: Vec<Consistency>,
    /// The entries, by rising index.
    pub entries: Vec<BundleEntry>,
}

/// The proof that the bundle's checkpoint extends the log's first `from` entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// The size of the earlier tree.
    pub from: u64,
    /// The proof (RFC 9162, 2.1.4).
    pub proof: Vec<Hash>,
}

/// One entry of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleEntry {
    /// Its index in the log.
    pub index: u64,
    /// The entry's exact bytes.
    pub entry: Vec<u8>,
    /// The payload and its salt, unless pruned.
    pub payload: Option<(Salt, Vec<u8>)>,
    /// The inclusion proof (RFC 9162, 2.1.3).
    pub proof: Vec<Hash>,
}

impl BundleEntry {
    /// The entry at `position` of a segment, with its proof.
    #[must_use]
    pub fn from_segment(segment: &OpenSegment, position: u32, proof: Vec<Hash>) -> Self {
        Self {
            index: segment.first() + u64::from(position),
            entry: segment.entry(position).encode(),
            payload: segment
                .salt(position)
                .zip(segment.payload(position).map(<[u8]>::to_vec)),
            proof,
        }
    }

    /// The entry, read.
    pub fn read(&self) -> Result<Entry<'_>, EntryError> {
        Entry::parse(&self.entry)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleJson {
    format: String,
    request: Option<RequestId>,
    grant: Option<GrantId>,
    keys: Vec<String>,
    checkpoint: String,
    consistency: Vec<ConsistencyJson>,
    entries: Vec<EntryJson>,
}

#[derive(Deserialize)]
struct Version {
    format: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsistencyJson {
    from: u64,
    proof: Vec<String>,
}

// A payload is text wherever it is text, so that people can read an export; bytes otherwise.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryJson {
    index: u64,
    entry: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    proof: Vec<String>,
}

fn proof_text(proof: &[Hash]) -> Vec<String> {
    proof.iter().map(|hash| BASE64.encode(hash)).collect()
}

fn proof_hashes(proof: &[String]) -> Option<Vec<Hash>> {
    if proof.len() > MAX_PROOF {
        return None;
    }
    proof
        .iter()
        .map(|text| BASE64.decode(text).ok()?.try_into().ok())
        .collect()
}

impl Bundle {
    /// The bundle as a `.bgx` file's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let entries = self.entries.iter().map(|entry| {
            let bytes = entry.payload.as_ref().map(|(_, payload)| payload);
            let text = bytes
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .map(str::to_owned);
            EntryJson {
                index: entry.index,
                entry: String::from_utf8_lossy(&entry.entry).into_owned(),
                salt: entry.payload.as_ref().map(|(salt, _)| hex::encode(salt)),
                payload_base64: bytes.filter(|_| text.is_none()).map(|bytes| BASE64.encode(bytes)),
                payload: text,
                proof: proof_text(&entry.proof),
            }
        });
        let consistency = self.consistency.iter().map(|one| ConsistencyJson {
            from: one.from,
            proof: proof_text(&one.proof),
        });
        let json = BundleJson {
            format: FORMAT.to_owned(),
            request: self.request,
            grant: self.grant,
            keys: self.keys.clone(),
            checkpoint: self.checkpoint.clone(),
            consistency: consistency.collect(),
            entries: entries.collect(),
        };
        let text = serde_json::to_string_pretty(&json);
        text.unwrap_or_else(|_| unreachable!("strings and numbers always serialise"))
    }

    /// Reads a bundle's bytes. Checks its shape only: see [`super::verify_bundle`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BUNDLE {
            return Err(BundleError::Length);
        }
        // The format first, so that a newer bundle is called newer and not malformed.
        if serde_json::from_slice::<Version>(bytes)?.format != FORMAT {
            return Err(BundleError::Format);
        }
        let json: BundleJson = serde_json::from_slice(bytes)?;
        let mut entries: Vec<BundleEntry> = Vec::with_capacity(json.entries.len());
        for entry in json.entries {
            let index = entry.index;
            let bad = |what| BundleError::Entry { index, what };
            if entries.last().is_some_and(|last| last.index >= index) {
                return Err(bad("repeated or out of order"));
            }
            let payload = match (entry.salt, entry.payload, entry.payload_base64) {
                (None, None, None) => None,
                (Some(salt), Some(text), None) => Some((salt, text.into_bytes())),
                (Some(salt), None, Some(text)) => Some((
                    salt,
                    BASE64
                        .decode(text)
                        .map_err(|_| bad("the payload is not base64"))?,
                )),
                _ => return Err(bad("a payload comes once, and with its salt")),
            };
            let payload = match payload {
                None => None,
                Some((text, payload)) => {
                    let mut salt = Salt::default();
                    hex::decode_to_slice(text, &mut salt)
                        .map_err(|_| bad("the salt is not 16 bytes of hex"))?;
                    Some((salt, payload))
                }
            };
            let proof = proof_hashes(&entry.proof).ok_or(bad("the proof is malformed"))?;
            entries.push(BundleEntry {
                index,
                entry: entry.entry.into_bytes(),
                payload,
                proof,
            });
        }
        let mut consistency = Vec::with_capacity(json.consistency.len());
        for one in json.consistency {
            let proof = proof_hashes(&one.proof).ok_or(BundleError::Consistency(one.from))?;
            consistency.push(Consistency {
                from: one.from,
                proof,
            });
        }
        Ok(Self {
            request: json.request,
            grant: json.grant,
            keys: json.keys,
            checkpoint: json.checkpoint,
            consistency,
            entries,
        })
    }
}
