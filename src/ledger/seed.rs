//! Where salts come from.

use super::entry::Salt;
use crate::ids::random_bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret from which a segment's salts come. Random for each segment and used once: a key kept
/// elsewhere could bring back the salt of a payload that was erased.
pub struct Seed(pub(super) [u8; 32]);

impl Seed {
    /// A fresh seed.
    #[must_use]
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// A seed of one's own: for tests that need the same bytes twice.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn salts(&self) -> impl Fn(u32) -> Salt + use<> {
        let keyed = Hmac::<Sha256>::new_from_slice(&self.0)
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        move |position| {
            let full = keyed
                .clone()
                .chain_update(position.to_be_bytes())
                .finalize()
                .into_bytes();
            let mut salt = Salt::default();
            salt.copy_from_slice(&full[..16]);
            salt
        }
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed([redacted])")
    }
}
