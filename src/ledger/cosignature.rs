//! What witnesses add to a checkpoint (C2SP cosignature/v1, Ed25519), and how they are asked
//! (C2SP tlog-witness). <https://c2sp.org/tlog-cosignature>, <https://c2sp.org/tlog-witness>.

use super::checkpoint::{KeyError, NoteError, SignedCheckpoint, key_id, read_key, write_key};
use super::tree::Hash;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signature, VerifyingKey};
use std::fmt;
use std::str::FromStr;

/// The signature type byte of cosignature/v1.
const COSIGNATURE_V1: u8 = 4;

/// The public key of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    key: VerifyingKey,
}

impl WitnessKey {
    /// The witness's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> u32 {
        key_id(&self.name, COSIGNATURE_V1, self.key.as_bytes())
    }

    /// When this witness says that it saw the checkpoint, in seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// It has not cosigned, or its cosignature is wrong.
    pub fn verify(&self, note: &SignedCheckpoint) -> Result<u64, NoteError> {
        let mut seen = None;
        for bytes in note.signatures_by(&self.name, self.id()) {
            let wrong = || NoteError::Signature(self.name.clone());
            let (time, signature) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
            let time = u64::from_be_bytes(*time);
            let signature = Signature::from_slice(signature).map_err(|_| wrong())?;
            let text = format!("cosignature/v1\ntime {time}\n{}", note.body());
            self.key
                .verify_strict(text.as_bytes(), &signature)
                .map_err(|_| wrong())?;
            seen = Some(time);
        }
        seen.ok_or(NoteError::Unsigned)
    }

    /// Of the lines that a witness answered with, those that claim to be its own: what it says in
    /// somebody else's name is left.
    #[must_use]
    pub fn own_lines(&self, lines: &str) -> String {
        let is_own = |line: &&str| {
            let given = line
                .strip_prefix("— ")
                .and_then(|rest| rest.split_once(' '))
                .and_then(|(name, bytes)| Some((name, BASE64.decode(bytes).ok()?)));
            given.is_some_and(|(name, bytes)| {
                name == self.name && bytes.first_chunk::<4>() == Some(&self.id().to_be_bytes())
            })
        };
        let mut own = String::new();
        for line in lines.lines().filter(is_own) {
            own.push_str(line);
            own.push('\n');
        }
        own
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, &self.name, COSIGNATURE_V1, &self.key)
    }
}

impl FromStr for WitnessKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, key) = read_key(text, COSIGNATURE_V1)?;
        Ok(Self { name, key })
    }
}

/// The body of `add-checkpoint`: the size the witness knows, the proof from there, the checkpoint.
#[must_use]
pub fn add_checkpoint(old: u64, proof: &[Hash], note: &SignedCheckpoint) -> String {
    let mut body = format!("old {old}\n");
    for hash in proof {
        body.push_str(&BASE64.encode(hash));
        body.push('\n');
    }
    body.push('\n');
    body.push_str(note.text());
    body
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::{Checkpoint, Signer};
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};

    fn note() -> SignedCheckpoint {
        let signer = Signer::from_seed("ledger.example/one", [9; 32]).unwrap();
        let head = Checkpoint {
            origin: "ledger.example/one".into(),
            size: 7,
            root: [3; 32],
        };
        signer.sign(&head).unwrap()
    }

    /// A witness as the form describes one.
    fn witness(name: &str, note: &SignedCheckpoint, time: u64) -> (WitnessKey, String) {
        let secret = SigningKey::from_bytes(&[5; 32]);
        let key = WitnessKey {
            name: name.to_owned(),
            key: secret.verifying_key(),
        };
        let text = format!("cosignature/v1\ntime {time}\n{}", note.body());
        let mut bytes = key.id().to_be_bytes().to_vec();
        bytes.extend(time.to_be_bytes());
        bytes.extend(secret.sign(text.as_bytes()).to_bytes());
        (key, format!("— {name} {}\n", BASE64.encode(bytes)))
    }

    /// A key that transparency-dev/formats v0.1.0 wrote.
    #[test]
    fn a_key_is_read_as_others_write_it() {
        let text = "w.example.test+ef03b26d+BHHuyCb8n/J12RIJ4G3gmXQhtl0tc64oNhhT0JwMdzfH";
        let key: WitnessKey = text.parse().unwrap();
        assert_eq!((key.name(), key.to_string().as_str()), ("w.example.test", text));
        let of_a_log = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(of_a_log.parse::<WitnessKey>(), Err(KeyError::Form));
        assert_eq!(
            text.replace("ef03", "ef04").parse::<WitnessKey>(),
            Err(KeyError::Id)
        );
    }

    #[test]
    fn a_cosignature_holds_for_its_checkpoint_and_time_alone() {
        let note = note();
        let (key, line) = witness("witness.example/one", &note, 1_780_000_000);
        assert_eq!(key.verify(&note), Err(NoteError::Unsigned));
        let both = note.with_lines(&line).unwrap();
        assert_eq!(key.verify(&both), Ok(1_780_000_000));
        let log: Vec<_> = [Signer::from_seed("ledger.example/one", [9; 32])
            .unwrap()
            .verifier_key()]
        .into();
        assert_eq!(both.verify(&log), Ok(()), "the log's own signature stands");
        let mut bytes = BASE64
            .decode(line.trim_end().rsplit_once(' ').unwrap().1)
            .unwrap();
        for at in 4..bytes.len() {
            bytes[at] ^= 1;
            let altered = format!("— witness.example/one {}\n", BASE64.encode(&bytes));
            bytes[at] ^= 1;
            let altered = note.with_lines(&altered).unwrap();
            assert!(
                matches!(key.verify(&altered), Err(NoteError::Signature(_))),
                "byte {at}"
            );
        }
        assert!(note.with_lines("\nother text\n").is_err());
    }

    #[test]
    fn a_witness_speaks_for_itself_alone() {
        let note = note();
        let (key, own) = witness("witness.example/one", &note, 5);
        let (_, others) = witness("witness.example/two", &note, 5);
        assert_eq!(key.own_lines(&format!("{others}{own}noise\n")), own);
    }

    #[test]
    fn a_witness_is_asked_in_the_words_of_the_form() {
        let note = note();
        let body = add_checkpoint(4, &[[1; 32], [2; 32]], &note);
        let (one, two) = (BASE64.encode([1; 32]), BASE64.encode([2; 32]));
        assert_eq!(body, format!("old 4\n{one}\n{two}\n\n{}", note.text()));
        assert_eq!(add_checkpoint(0, &[], &note), format!("old 0\n\n{}", note.text()));
    }
}
