//! Signed heads of the log: C2SP tlog-checkpoint in a C2SP signed-note, Ed25519.
//!
//! <https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/signed-note>.

use super::tree::{Frontier, Hash};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The signature type byte of Ed25519 in key ids and keys.
const ED25519: u8 = 1;
/// The longest note that is read, in bytes. Ours have about 200.
pub const MAX_NOTE: usize = 64 << 10;
const MAX_SIGNATURES: usize = 100;

/// Why a key cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A name that a signature line cannot hold.
    #[error("the key's name must not be empty and must hold no space, plus sign or control character")]
    Name,
    /// The signing key's text.
    #[error("a signing key is 32 bytes, written as 64 hex digits or as base64")]
    Seed,
    /// The verifier key's text.
    #[error("a verifier key is written name+hash+base64 (C2SP signed-note, Ed25519)")]
    Form,
    /// The hash in a verifier key's text is not that of its name and key.
    #[error("the verifier key's hash does not belong to its name and key: it is mistyped")]
    Id,
}

/// Why a note is not a checkpoint, or is not signed as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a signed note.
    #[error("not a signed note: {0}")]
    Note(&'static str),
    /// A note whose text is no checkpoint.
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// None of the given keys signed it.
    #[error("the checkpoint is signed by none of the given keys")]
    Unsigned,
    /// A given key's signature does not verify.
    #[error("the checkpoint's signature by {0} is wrong")]
    Signature(String),
    /// It is signed by a given key, but speaks of another log.
    #[error("the checkpoint is of another log: {0}")]
    Origin(String),
}

pub(super) fn check_name(name: &str) -> Result<(), KeyError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > 255 || name.chars().any(bad) {
        Err(KeyError::Name)
    } else {
        Ok(())
    }
}

/// The head of a log: how many entries, and the root over all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name: the same as its key's.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The head of the tree at this frontier.
    #[must_use]
    pub fn of(origin: &str, frontier: &Frontier) -> Self {
        Self {
            origin: origin.to_owned(),
            size: frontier.size(),
            root: frontier.root(),
        }
    }

    /// The text that is signed: origin, size and root, a line each.
    #[must_use]
    pub fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    fn parse(body: &str) -> Result<Self, NoteError> {
        let mut lines = body.split_terminator('\n');
        let origin = lines
            .next()
            .filter(|line| !line.is_empty())
            .ok_or(NoteError::Checkpoint("no origin"))?;
        let size = lines.next().ok_or(NoteError::Checkpoint("no size"))?;
        let number: u64 = size
            .parse()
            .map_err(|_| NoteError::Checkpoint("the size is no number"))?;
        if number.to_string() != size {
            return Err(NoteError::Checkpoint("the size is not in canonical form"));
        }
        let root = lines
            .next()
            .and_then(|line| BASE64.decode(line).ok())
            .and_then(|root| root.try_into().ok());
        let root = root.ok_or(NoteError::Checkpoint("the root is not 32 bytes of base64"))?;
        // Further lines are extensions; the form lets a reader ignore them.
        if lines.any(str::is_empty) {
            return Err(NoteError::Checkpoint("an empty extension line"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: number,
            root,
        })
    }
}

/// Signs checkpoints.
pub struct Signer {
    name: String,
    key: SigningKey,
}

impl Signer {
    /// A signer from the key's 32 secret bytes. `name` is the log's origin.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            key: SigningKey::from_bytes(&seed),
        })
    }

    /// A signer from a file's or variable's text: 32 bytes as hex or base64.
    pub fn from_text(name: &str, text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = hex::decode(text).ok().or_else(|| BASE64.decode(text).ok());
        let seed = bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(KeyError::Seed)?;
        Self::from_seed(name, seed)
    }

    /// The log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half, to be handed to whoever verifies.
    #[must_use]
    pub fn verifier_key(&self) -> VerifierKey {
        VerifierKey {
            name: self.name.clone(),
            key: self.key.verifying_key(),
        }
    }

    /// The raw Ed25519 signature of `text`.
    #[must_use]
    pub fn sign_text(&self, text: &[u8]) -> [u8; 64] {
        self.key.sign(text).to_bytes()
    }

    /// Signs a checkpoint of this signer's log.
    pub fn sign(&self, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, NoteError> {
        let signature = self.sign_text(checkpoint.body().as_bytes());
        SignedCheckpoint::compose(checkpoint, &[(self.verifier_key(), signature)])
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier_key())
    }
}

/// The public key of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

impl VerifierKey {
    /// The key's name: the log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id: the first four bytes of SHA-256(name ‖ line feed ‖ type ‖ key).
    #[must_use]
    pub fn id(&self) -> u32 {
        key_id(&self.name, ED25519, self.key.as_bytes())
    }
}

pub(super) fn key_id(name: &str, kind: u8, key: &[u8]) -> u32 {
    let hash = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', kind])
        .chain_update(key)
        .finalize();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// A public key as C2SP signed-note writes it: its name, its id, and its kind before its bytes.
pub(super) fn write_key(f: &mut fmt::Formatter<'_>, name: &str, kind: u8, key: &VerifyingKey) -> fmt::Result {
    let id = key_id(name, kind, key.as_bytes());
    let bytes = [&[kind], key.as_bytes().as_slice()].concat();
    write!(f, "{name}+{id:08x}+{}", BASE64.encode(bytes))
}

/// Reads such a key of `kind`: its name and itself.
pub(super) fn read_key(text: &str, kind: u8) -> Result<(String, VerifyingKey), KeyError> {
    // The key itself is base64 and may hold plus signs: only the first two part the text.
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form);
    };
    check_name(name)?;
    let bytes = BASE64.decode(key).map_err(|_| KeyError::Form)?;
    let (&found, public) = bytes.split_first().ok_or(KeyError::Form)?;
    if format!("{:08x}", key_id(name, found, public)) != id {
        return Err(KeyError::Id);
    }
    let public: [u8; 32] = public.try_into().map_err(|_| KeyError::Form)?;
    let key = VerifyingKey::from_bytes(&public).map_err(|_| KeyError::Form)?;
    // A weak key has signatures that fit any text.
    if found != kind || key.is_weak() {
        return Err(KeyError::Form);
    }
    Ok((name.to_owned(), key))
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, &self.name, ED25519, &self.key)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, key) = read_key(text, ED25519)?;
        Ok(Self { name, key })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    id: u32,
    bytes: Vec<u8>,
}

/// A checkpoint with its signatures, as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    text: String,
    body_len: usize,
    checkpoint: Checkpoint,
    signatures: Vec<NoteSignature>,
}

impl SignedCheckpoint {
    /// The note of a checkpoint with these signatures, each of which must hold.
    pub fn compose(
        checkpoint: &Checkpoint,
        signatures: &[(VerifierKey, [u8; 64])],
    ) -> Result<Self, NoteError> {
        let mut text = checkpoint.body();
        text.push('\n');
        for (key, signature) in signatures {
            let signed = [key.id().to_be_bytes().as_slice(), signature].concat();
            text = format!("{text}— {} {}\n", key.name, BASE64.encode(signed));
        }
        let note = Self::parse(&text)?;
        for (key, _) in signatures {
            note.verify(std::slice::from_ref(key))?;
        }
        Ok(note)
    }

    /// The same checkpoint with further signature lines: a witness's.
    pub fn with_lines(&self, lines: &str) -> Result<Self, NoteError> {
        let note = Self::parse(&format!("{}{lines}", self.text))?;
        if note.body_len == self.body_len {
            Ok(note)
        } else {
            Err(NoteError::Note("more than signature lines"))
        }
    }

    /// The text that is signed.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.text[..self.body_len]
    }

    /// The signatures that are given as by this name and key id.
    pub(super) fn signatures_by(&self, name: &str, id: u32) -> impl Iterator<Item = &[u8]> {
        self.signatures
            .iter()
            .filter(move |given| given.name == name && given.id == id)
            .map(|given| given.bytes.as_slice())
    }

    /// Reads a note. Says nothing about its signatures: see [`Self::verify`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        if text.len() > MAX_NOTE {
            return Err(NoteError::Note("too long"));
        }
        if text.chars().any(|c| c.is_control() && c != '\n') {
            return Err(NoteError::Note("control characters"));
        }
        // The last empty line parts the text from its signatures.
        let split = text.rfind("\n\n").ok_or(NoteError::Note("no signatures"))?;
        let (body, lines) = (&text[..=split], &text[split + 2..]);
        let lines = lines
            .strip_suffix('\n')
            .ok_or(NoteError::Note("the last line is not ended"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            let (name, encoded) = line
                .strip_prefix("— ")
                .and_then(|rest| rest.split_once(' '))
                .ok_or(NoteError::Note("a malformed signature line"))?;
            check_name(name).map_err(|_| NoteError::Note("a malformed name in a signature line"))?;
            let bytes = BASE64
                .decode(encoded)
                .map_err(|_| NoteError::Note("a signature is not base64"))?;
            let (id, bytes) = bytes
                .split_first_chunk::<4>()
                .ok_or(NoteError::Note("a signature is too short"))?;
            if bytes.is_empty() || signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::Note("an empty signature, or too many"));
            }
            signatures.push(NoteSignature {
                name: name.to_owned(),
                id: u32::from_be_bytes(*id),
                bytes: bytes.to_vec(),
            });
        }
        let checkpoint = Checkpoint::parse(body)?;
        Ok(Self {
            body_len: body.len(),
            text: text.to_owned(),
            checkpoint,
            signatures,
        })
    }

    /// The note, to be stored, sent and served as it is.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Checks that one of `keys` signed it and that none of them signed it wrongly. Signatures of
    /// other keys (witnesses) are passed over. The origin has to be the signing key's name, so that
    /// a key shared by two logs cannot vouch for the wrong one.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<(), NoteError> {
        let mut signed = false;
        for given in &self.signatures {
            for key in keys
                .iter()
                .filter(|key| key.name == given.name && key.id() == given.id)
            {
                let wrong = || NoteError::Signature(key.name.clone());
                let signature = Signature::from_slice(&given.bytes).map_err(|_| wrong())?;
                let body = &self.text.as_bytes()[..self.body_len];
                key.key.verify_strict(body, &signature).map_err(|_| wrong())?;
                if key.name != self.checkpoint.origin {
                    return Err(NoteError::Origin(self.checkpoint.origin.clone()));
                }
                signed = true;
            }
        }
        if signed { Ok(()) } else { Err(NoteError::Unsigned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // golang.org/x/mod/sumdb/note, the implementation that the form was written down from.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_SEED: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

    fn signer() -> Signer {
        Signer::from_seed("ledger.example/one", [9; 32]).unwrap()
    }

    fn signed(size: u64) -> SignedCheckpoint {
        signer()
            .sign(&Checkpoint {
                origin: "ledger.example/one".into(),
                size,
                root: [3; 32],
            })
            .unwrap()
    }

    #[test]
    fn the_go_keys_read_and_belong_together() {
        let key: VerifierKey = GO_KEY.parse().unwrap();
        assert_eq!(key.to_string(), GO_KEY);
        assert_eq!(key.id(), 0xc74f_20a3);
        let secret = BASE64
            .decode(GO_SEED.rsplit_once("c74f20a3+").unwrap().1)
            .unwrap();
        let signer = Signer::from_text("PeterNeumann", &hex::encode(&secret[1..])).unwrap();
        assert_eq!(signer.verifier_key(), key);
        assert_eq!(
            Signer::from_text("PeterNeumann", &BASE64.encode(&secret[1..]))
                .unwrap()
                .verifier_key(),
            key
        );
    }

    /// The note that golang.org/x/mod/sumdb/note v0.42.0 signs with that key over that text.
    #[test]
    fn a_checkpoint_is_byte_for_byte_the_note_that_go_signs() {
        let go = "PeterNeumann\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\n\
                  — PeterNeumann x08gozdSgLMzAnw63LH1RGViJhUfW60EUGKY7Kmr004fQNOSqfrcd1hIk3BCtdcLWIqvGtX67sL24VN+44uTlxMnbAA=\n";
        let secret = BASE64
            .decode(GO_SEED.rsplit_once("c74f20a3+").unwrap().1)
            .unwrap();
        let signer = Signer::from_text("PeterNeumann", &hex::encode(&secret[1..])).unwrap();
        let mut frontier = Frontier::new();
        for leaf in super::super::tree::tests::vector_leaves() {
            frontier.append(&leaf);
        }
        let ours = signer.sign(&Checkpoint::of("PeterNeumann", &frontier)).unwrap();
        assert_eq!(ours.text(), go);
        assert_eq!(
            SignedCheckpoint::parse(go)
                .unwrap()
                .verify(&[GO_KEY.parse().unwrap()]),
            Ok(())
        );
    }

    /// The manglings that the Go implementation's own tests refuse.
    #[test]
    fn a_mangled_key_is_refused() {
        for from in 0..GO_KEY.len() {
            for to in from + 1..=GO_KEY.len() {
                assert!((from, to) == (0, GO_KEY.len()) || GO_KEY[from..to].parse::<VerifierKey>().is_err());
            }
        }
        for at in 0..GO_KEY.len() {
            let mut bytes = GO_KEY.as_bytes().to_vec();
            bytes[at] += 1;
            assert!(
                String::from_utf8(bytes).unwrap().parse::<VerifierKey>().is_err(),
                "byte {at}"
            );
        }
        for bad in [
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert!(bad.parse::<VerifierKey>().is_err());
        }
        assert_eq!(Signer::from_seed("a b", [1; 32]).unwrap_err(), KeyError::Name);
        assert_eq!(Signer::from_text("a", "abcd").unwrap_err(), KeyError::Seed);
    }

    #[test]
    fn every_flipped_bit_of_a_checkpoint_is_found() {
        let keys = [signer().verifier_key()];
        let good = signed(1234);
        assert_eq!(good.verify(&keys), Ok(()));
        assert_eq!(SignedCheckpoint::parse(good.text()), Ok(good.clone()));
        for at in 0..good.text().len() {
            for bit in 0..8 {
                let mut bytes = good.text().as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let Ok(text) = String::from_utf8(bytes) else {
                    continue;
                };
                let found = SignedCheckpoint::parse(&text).map_or(true, |note| note.verify(&keys).is_err());
                assert!(found, "byte {at} bit {bit}: {text}");
            }
        }
    }

    #[test]
    fn a_signature_by_somebody_else_is_not_enough_and_does_no_harm() {
        let good = signed(5);
        let other = Signer::from_seed("witness", [8; 32]).unwrap();
        assert_eq!(good.verify(&[other.verifier_key()]), Err(NoteError::Unsigned));
        assert_eq!(good.verify(&[]), Err(NoteError::Unsigned));
        let both = format!("{}— witness {}\n", good.text(), BASE64.encode([0; 68]));
        assert_eq!(
            SignedCheckpoint::parse(&both)
                .unwrap()
                .verify(&[signer().verifier_key()]),
            Ok(())
        );
        let same_key_other_log = Checkpoint {
            origin: "ledger.example/two".into(),
            size: 5,
            root: [3; 32],
        };
        assert!(signer().sign(&same_key_other_log).is_err());
    }

    #[test]
    fn other_spellings_of_a_checkpoint_are_refused() {
        let good = signed(12).text().to_owned();
        for bad in [
            good.replace("\n12\n", "\n012\n"),
            good.replace("\n12\n", "\n-12\n"),
            good.replace("\n12\n", "\n99999999999999999999\n"),
            good.replace("\n\n", "\n"),
            good.replace("— ", "- "),
            good.replace('\n', "\r\n"),
            good.trim_end().to_owned(),
            "x".repeat(MAX_NOTE + 1),
        ] {
            assert!(SignedCheckpoint::parse(&bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_notes_never_panic(text in "(— a )?[a-zA-Z0-9+/=\n— ]{0,200}") {
            let _ = SignedCheckpoint::parse(&text);
            let _ = text.parse::<VerifierKey>();
        }
    }
}
