//! Whether a signed ID token holds: signature, issuer, audience, nonce and times
//! (OpenID Connect Core 1.0, 3.1.3.7). Pure: the keys and the time are passed in.

use crate::clock::Time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKey, CoreJwsSigningAlgorithm};
use openidconnect::{
    ClaimsVerificationError, ClientId, IssuerUrl, JsonWebKeySet, Nonce, SignatureVerificationError,
};
use serde_json::{Map, Value};
use std::str::FromStr;
use subtle::ConstantTimeEq;
use thiserror::Error;

/// How far the provider's clock may differ from ours.
pub const SKEW: TimeDelta = TimeDelta::seconds(60);

/// Signatures by a private key only. With `HS256` whoever holds the client secret could sign (the
/// broker itself, for its own approvals), and `none` is signed by nobody.
const SIGNATURES: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What is wrong with an ID token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenFault {
    /// Not an ID token at all.
    #[error("it is not a signed ID token")]
    Malformed,
    /// Signed in a way that proves nothing.
    #[error("it is not signed with a key that only the provider has")]
    Algorithm,
    /// None of the known keys has signed it.
    #[error("it is signed with a key that the provider does not publish")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// Another provider.
    #[error("it names another provider")]
    Issuer,
    /// For somebody else.
    #[error("it is meant for another service")]
    Audience,
    /// Made for another round trip.
    #[error("it was made for another sign-in")]
    Nonce,
    /// Past its time.
    #[error("it has expired")]
    Expired,
    /// Made at a time that cannot be.
    #[error("it was made at another time than this sign-in")]
    IssuedAt,
    /// Something else the standard asks for.
    #[error("it breaks the standard ({0})")]
    Other(String),
}

impl TokenFault {
    /// One word for the log, the ledger and counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_unknown_key",
            Self::Signature => "token_signature",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Nonce => "token_nonce",
            Self::Expired => "token_expired",
            Self::IssuedAt => "token_issued_at",
            Self::Other(_) => "token_other",
        }
    }

    /// Whether newer keys of the provider might change the answer.
    #[must_use]
    pub fn may_be_a_new_key(&self) -> bool {
        matches!(self, Self::UnknownKey | Self::Signature)
    }
}

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The provider, letter for letter.
    pub issuer: &'a str,
    /// Us.
    pub client_id: &'a str,
    /// What binds it to the round trip.
    pub nonce: &'a str,
    /// The earliest time it can have been made, before skew.
    pub issued_after: Time,
    /// The time at which it has to be valid.
    pub at: Time,
}

/// A token that holds.
#[derive(Debug, Clone)]
pub struct Verified {
    /// All its claims.
    pub claims: Map<String, Value>,
    /// The public key that signed it.
    pub jwk: Value,
    /// When the person signed in, if it says so.
    pub auth_time: Option<Time>,
}

/// Checks `raw` (JWS compact form) against `keys` and `expected`.
pub fn verify(
    raw: &str,
    keys: &JsonWebKeySet<CoreJsonWebKey>,
    expected: &Expected<'_>,
) -> Result<Verified, TokenFault> {
    let token = CoreIdToken::from_str(raw).map_err(|_| TokenFault::Malformed)?;
    let issuer = IssuerUrl::new(expected.issuer.to_owned()).map_err(|_| TokenFault::Issuer)?;
    let at = expected.at;
    let earliest = expected.issued_after - SKEW;
    let verifier = CoreIdTokenVerifier::new_public_client(
        ClientId::new(expected.client_id.to_owned()),
        issuer,
        keys.clone(),
    )
    .set_allowed_algs(SIGNATURES)
    .set_time_fn(move || at - SKEW)
    .set_issue_time_verifier_fn(move |issued| {
        if issued > at + SKEW || issued < earliest {
            Err("issued at another time".to_owned())
        } else {
            Ok(())
        }
    });
    // Not the library's own error for the time it was made, which it files under "expired".
    let nonce = expected.nonce.as_bytes();
    let checked = token.claims(&verifier, |found: Option<&Nonce>| match found {
        Some(found) if bool::from(found.secret().as_bytes().ct_eq(nonce)) => Ok(()),
        _ => Err("another nonce".to_owned()),
    });
    let claims = checked.map_err(|error| fault(&error))?;
    // The library leaves `azp` to its callers.
    if claims
        .authorized_party()
        .is_some_and(|party| party.as_str() != expected.client_id)
    {
        return Err(TokenFault::Audience);
    }
    let key = token.signing_key(&verifier).map_err(|_| TokenFault::UnknownKey)?;
    Ok(Verified {
        claims: payload(raw)?,
        jwk: serde_json::to_value(key).map_err(|_| TokenFault::UnknownKey)?,
        auth_time: claims.auth_time(),
    })
}

/// The claims of `raw`, unverified.
fn payload(raw: &str) -> Result<Map<String, Value>, TokenFault> {
    let part = raw.split('.').nth(1).ok_or(TokenFault::Malformed)?;
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenFault::Malformed)
}

fn fault(error: &ClaimsVerificationError) -> TokenFault {
    match error {
        ClaimsVerificationError::Expired(why) if why.starts_with("issued") => TokenFault::IssuedAt,
        ClaimsVerificationError::Expired(_) => TokenFault::Expired,
        ClaimsVerificationError::InvalidAudience(_) => TokenFault::Audience,
        ClaimsVerificationError::InvalidIssuer(_) => TokenFault::Issuer,
        ClaimsVerificationError::InvalidNonce(_) => TokenFault::Nonce,
        ClaimsVerificationError::SignatureVerification(error) => match error {
            SignatureVerificationError::NoMatchingKey | SignatureVerificationError::AmbiguousKeyId(_) => {
                TokenFault::UnknownKey
            }
            SignatureVerificationError::DisallowedAlg(_)
            | SignatureVerificationError::UnsupportedAlg(_)
            | SignatureVerificationError::NoSignature => TokenFault::Algorithm,
            _ => TokenFault::Signature,
        },
        other => TokenFault::Other(super::refusal::tame(&other.to_string())),
    }
}
