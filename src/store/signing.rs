//! Who signs checkpoints: a key in this process, or one that never leaves a key service.

use crate::ledger::{Checkpoint, NoteError, SignedCheckpoint, Signer, VerifierKey};
use async_trait::async_trait;
use std::sync::Arc;

/// A checkpoint could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key does not answer, or refuses.
    #[error("the key {key} did not sign: {why}")]
    Key {
        /// Which key.
        key: String,
        /// What it said.
        why: String,
    },
    /// What came back is no signature of that text by that key.
    #[error("the checkpoint cannot be signed: {0}")]
    Note(#[from] NoteError),
}

/// A key that signs checkpoints. It is asked inside a commit, so it answers within moments or the commit
/// fails; what it answers is checked against its public half before anything is written.
#[async_trait]
pub trait Sign: Send + Sync + std::fmt::Debug {
    /// The public half.
    fn key(&self) -> VerifierKey;
    /// The Ed25519 signature of `text`.
    async fn sign(&self, text: &[u8]) -> Result<[u8; 64], SignError>;
}

#[async_trait]
impl Sign for Signer {
    fn key(&self) -> VerifierKey {
        self.verifier_key()
    }

    async fn sign(&self, text: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.sign_text(text))
    }
}

/// The keys that sign every checkpoint: the one in force, and beside it those of a seam between two keys.
#[derive(Debug, Clone)]
pub struct Signers {
    force: Arc<dyn Sign>,
    beside: Vec<Arc<dyn Sign>>,
}

impl Signers {
    /// `force` with those beside it; all of one log.
    #[must_use]
    pub const fn new(force: Arc<dyn Sign>, beside: Vec<Arc<dyn Sign>>) -> Self {
        Self { force, beside }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn Sign>> {
        std::iter::once(&self.force).chain(&self.beside)
    }

    /// The public halves, the one in force first.
    #[must_use]
    pub fn keys(&self) -> Vec<VerifierKey> {
        self.all().map(|signer| signer.key()).collect()
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> String {
        self.force.key().name().to_owned()
    }

    /// The checkpoint, signed by every key.
    ///
    /// # Errors
    /// One of them did not sign: a checkpoint that half of its readers could not check is not written.
    pub async fn sign(&self, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, SignError> {
        let body = checkpoint.body();
        let mut signatures = vec![];
        for signer in self.all() {
            signatures.push((signer.key(), signer.sign(body.as_bytes()).await?));
        }
        Ok(SignedCheckpoint::compose(checkpoint, &signatures)?)
    }
}

impl From<Arc<Signer>> for Signers {
    fn from(signer: Arc<Signer>) -> Self {
        Self::new(signer, vec![])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(seed: u8) -> Arc<Signer> {
        Arc::new(Signer::from_seed("log.example.test", [seed; 32]).unwrap())
    }

    fn head() -> Checkpoint {
        Checkpoint {
            origin: "log.example.test".into(),
            size: 3,
            root: [1; 32],
        }
    }

    #[tokio::test]
    async fn across_the_seam_either_key_checks_a_checkpoint() {
        let signers = Signers::new(signer(1), vec![signer(2)]);
        let note = signers.sign(&head()).await.unwrap();
        for key in signers.keys() {
            note.verify(&[key]).unwrap();
        }
        note.verify(&signers.keys()).unwrap();
        assert!(note.verify(&[signer(3).verifier_key()]).is_err());
    }

    /// A key service that answers with something else.
    #[derive(Debug)]
    struct Confused(Arc<Signer>);

    #[async_trait]
    impl Sign for Confused {
        fn key(&self) -> VerifierKey {
            self.0.verifier_key()
        }

        async fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignError> {
            Ok(self.0.sign_text(b"another text"))
        }
    }

    #[tokio::test]
    async fn a_wrong_signature_never_becomes_a_checkpoint() {
        for signers in [
            Signers::new(Arc::new(Confused(signer(1))), vec![]),
            Signers::new(signer(2), vec![Arc::new(Confused(signer(1)))]),
        ] {
            assert!(matches!(
                signers.sign(&head()).await,
                Err(SignError::Note(NoteError::Signature(_)))
            ));
        }
        let of_another_log = Checkpoint {
            origin: "other".into(),
            ..head()
        };
        assert!(Signers::from(signer(1)).sign(&of_another_log).await.is_err());
    }
}
