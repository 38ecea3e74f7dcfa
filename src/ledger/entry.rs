//! One line of the ledger, in the bytes that are hashed. This format is for ever: a change is a new
//! version line, never another meaning of this one.
//!
//! ```text
//! breakglass-entry/1
//! audit-event            the kind
//! production             the cluster, empty when none
//! 1780000000123          when it happened, milliseconds since 1970-01-01 UTC
//! 1780000000456          when it was entered
//! 0f3a…                  SHA-256(salt ‖ payload), 64 hex digits
//! ```
//! Six lines, each ended by one line feed. The place in the log is not among them: the tree binds
//! it, and an entry can be hashed before its place is known.

use super::tree::{Hash, leaf_hash};
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::ids::{GrantId, RequestId};
use sha2::{Digest, Sha256};
use std::io::Write as _;

const VERSION: &str = "breakglass-entry/1";
/// The longest kind name in bytes.
pub const MAX_KIND: usize = 64;
/// The longest cluster name in bytes (that of a DNS name).
pub const MAX_CLUSTER: usize = 253;

/// What is hashed before a payload so that nobody can guess the payload from its digest.
pub type Salt = [u8; 16];

/// Something that is to be entered.
///
/// `request` and `grant` serve the store's look-ups only. They are not hashed by themselves, so the
/// payload has to say them as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What the entry says.
    pub kind: EntryKind,
    /// When it happened.
    pub at: Time,
    /// The cluster it happened in.
    pub cluster: Option<String>,
    /// The request it belongs to.
    pub request: Option<RequestId>,
    /// The grant it belongs to.
    pub grant: Option<GrantId>,
    /// The whole content, canonical JSON, already redacted.
    pub payload: Vec<u8>,
}

/// What a [`Draft`] says, wherever it lies: a payload may be put together from pieces.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// What the entry says.
    pub kind: EntryKind,
    /// When it happened.
    pub at: Time,
    /// The cluster it happened in.
    pub cluster: Option<&'a str>,
    /// The pieces of the payload, in order.
    pub payload: [&'a [u8]; 3],
}

impl Draft {
    /// What it says.
    #[must_use]
    pub fn content(&self) -> Content<'_> {
        Content {
            kind: self.kind,
            at: self.at,
            cluster: self.cluster.as_deref(),
            payload: [&self.payload, &[], &[]],
        }
    }
}

impl Content<'_> {
    /// SHA-256(salt ‖ payload).
    pub(super) fn digest(&self, salt: &Salt) -> Hash {
        let mut hash = Sha256::new_with_prefix(salt);
        for piece in self.payload {
            hash.update(piece);
        }
        hash.finalize().into()
    }

    /// How long the payload is, in bytes.
    pub(super) fn len(&self) -> usize {
        self.payload.iter().map(|piece| piece.len()).sum()
    }
}

/// Why bytes are not an entry, or names do not fit into one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The first line names no version this program knows.
    #[error("the entry is not of version {VERSION}")]
    Version,
    /// A line is missing, too many, or not in the one form it can have.
    #[error("the entry's {0} is not in canonical form")]
    Line(&'static str),
}

/// One line of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The kind's name. A newer version may have entered kinds that this one does not know.
    pub kind: &'a str,
    /// The cluster it happened in.
    pub cluster: Option<&'a str>,
    /// When it happened, milliseconds since 1970-01-01 UTC.
    pub happened_at: i64,
    /// When it was entered, milliseconds since 1970-01-01 UTC.
    pub entered_at: i64,
    /// SHA-256(salt ‖ payload).
    pub digest: Hash,
}

impl<'a> Entry<'a> {
    /// The kind, when this version knows it.
    #[must_use]
    pub fn kind(&self) -> Option<EntryKind> {
        EntryKind::from_name(self.kind)
    }

    /// The bytes that are hashed and served.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        self.encode_into(&mut out);
        out
    }

    /// [`Self::encode`] into a buffer that is emptied first.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.clear();
        let mut digest = [0u8; 64];
        hex::encode_to_slice(self.digest, &mut digest).unwrap_or_else(|_| unreachable!("64 is twice 32"));
        for line in [VERSION, self.kind, self.cluster.unwrap_or_default()] {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        write!(out, "{}\n{}\n", self.happened_at, self.entered_at)
            .unwrap_or_else(|_| unreachable!("a Vec takes every write"));
        out.extend_from_slice(&digest);
        out.push(b'\n');
    }

    /// The entry's leaf in the tree.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        leaf_hash(&self.encode())
    }

    /// Reads an entry. Only the exact bytes that [`Self::encode`] writes are accepted, so that two
    /// readers can never see two entries in the same bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let text = std::str::from_utf8(bytes).map_err(|_| EntryError::Line("text"))?;
        let mut lines = text
            .strip_suffix('\n')
            .ok_or(EntryError::Line("end"))?
            .split('\n');
        if lines.next() != Some(VERSION) {
            return Err(EntryError::Version);
        }
        let mut line = |name| lines.next().ok_or(EntryError::Line(name));
        let kind = line("kind")?;
        let cluster = line("cluster")?;
        let happened_at = line("time of happening")?;
        let entered_at = line("time of entering")?;
        let digest = line("digest")?;
        let mut hash = Hash::default();
        hex::decode_to_slice(digest, &mut hash).map_err(|_| EntryError::Line("digest"))?;
        let entry = Self {
            kind,
            cluster: (!cluster.is_empty()).then_some(cluster),
            happened_at: happened_at
                .parse()
                .map_err(|_| EntryError::Line("time of happening"))?,
            entered_at: entered_at
                .parse()
                .map_err(|_| EntryError::Line("time of entering"))?,
            digest: hash,
        };
        check_names(entry.kind, entry.cluster)?;
        if entry.encode() != bytes {
            return Err(EntryError::Line("text"));
        }
        Ok(entry)
    }
}

/// Whether these names can stand in an entry: a line feed in a cluster's name would be another line.
pub(super) fn check_names(kind: &str, cluster: Option<&str>) -> Result<(), EntryError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if kind.is_empty() || kind.len() > MAX_KIND || !kind.bytes().all(plain) {
        return Err(EntryError::Line("kind"));
    }
    if let Some(cluster) = cluster
        && (cluster.is_empty() || cluster.len() > MAX_CLUSTER || cluster.chars().any(char::is_control))
    {
        return Err(EntryError::Line("cluster"));
    }
    Ok(())
}

/// SHA-256(salt ‖ payload).
#[must_use]
pub fn payload_digest(salt: &Salt, payload: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(salt)
        .chain_update(payload)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry<'a>(kind: &'a str, cluster: Option<&'a str>) -> Entry<'a> {
        Entry {
            kind,
            cluster,
            happened_at: 1_780_000_000_123,
            entered_at: 1_780_000_000_456,
            digest: [7; 32],
        }
    }

    /// The format is for ever: these bytes and this hash may never change.
    #[test]
    fn the_bytes_of_an_entry_are_fixed() {
        let entry = Entry {
            digest: payload_digest(&[1; 16], b"{}"),
            ..entry("audit-event", Some("production"))
        };
        let text = "breakglass-entry/1\naudit-event\nproduction\n1780000000123\n1780000000456\n\
                    d355d911d2f26a54dc0366196d99e2ffef085bb9edf7a495a342ea52c2a4c2f3\n";
        assert_eq!(String::from_utf8(entry.encode()).unwrap(), text);
        assert_eq!(
            hex::encode(entry.leaf()),
            "4ccdc9821a591964fbf391d3de98f8d4639bd0375435f232380653cab85734f6"
        );
    }

    #[test]
    fn an_entry_stays_within_a_kilobyte() {
        let (kind, cluster) = ("k".repeat(MAX_KIND), "c".repeat(MAX_CLUSTER));
        let entry = Entry {
            happened_at: i64::MIN,
            entered_at: i64::MIN,
            ..entry(&kind, Some(&cluster))
        };
        assert!(entry.encode().len() <= 1024);
        assert_eq!(Entry::parse(&entry.encode()), Ok(entry));
    }

    #[test]
    fn other_spellings_of_an_entry_are_refused() {
        let good = String::from_utf8(entry("gap", Some("a")).encode()).unwrap();
        for bad in [
            good.replace("/1", "/2"),
            good.replace("gap", "Gap"),
            good.replace("gap", ""),
            good.replace("\na\n", "\na\r\n"),
            good.replace("1780000000123", "+1780000000123"),
            good.replace("1780000000123", "01780000000123"),
            good.replace("0707", "0A07"),
            good.replace("0707", "07"),
            format!("{good}\n"),
            good.trim_end().to_owned(),
            String::new(),
        ] {
            assert!(Entry::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Entry::parse(&bytes);
        }

        #[test]
        fn what_is_accepted_is_what_was_written(
            kind in "[a-z0-9-]{1,64}", cluster in proptest::option::of("[^\\p{Cc}]{1,60}"),
            happened_at: i64, entered_at: i64, digest: [u8; 32],
        ) {
            let entry = Entry { kind: &kind, cluster: cluster.as_deref(), happened_at, entered_at, digest };
            let bytes = entry.encode();
            prop_assert_eq!(Entry::parse(&bytes), Ok(entry));
        }
    }
}
