//! By what an event is known again when it comes a second time.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

use super::event::{Event, Stage};

/// SHA-256 over what tells one event from every other: cluster, audit id, stage, user, time of
/// receipt and URI, each with its length. The audit id alone will not do: a client can set it,
/// and a session could erase its own events by reusing one.
///
/// The URI goes in redacted: a hash over the rest, all of it on record, would otherwise let a
/// reader of the ledger try out passwords against it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey([u8; 32]);

impl EventKey {
    /// The key of this very event.
    #[must_use]
    pub fn of(cluster: &str, event: &Event<'_>, uri: &str) -> Self {
        Self::hash("breakglass-event-v1", cluster, event, Some(event.stage), uri)
    }

    /// The key of the request: the same for all stages of one stream.
    #[must_use]
    pub fn of_request(cluster: &str, event: &Event<'_>, uri: &str) -> Self {
        Self::hash("breakglass-request-v1", cluster, event, None, uri)
    }

    fn hash(domain: &str, cluster: &str, event: &Event<'_>, stage: Option<Stage>, uri: &str) -> Self {
        let mut hash = Sha256::new();
        let received = event.received_us.to_string();
        let stage = stage.map_or("", Stage::name);
        for part in [
            domain,
            cluster,
            &event.audit_id,
            stage,
            &event.user.username,
            &received,
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(Sha256::digest(uri.as_bytes()));
        Self(hash.finalize().into())
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key with these bytes, as the store kept them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventKey({self})")
    }
}

impl FromStr for EventKey {
    type Err = hex::FromHexError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Serialize for EventKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
