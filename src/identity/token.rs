//! Whether a signed ID token holds: signature, issuer, audience, nonce and times
//! (`OpenID` Connect Core 1.0, 3.1.3.7). Pure: the keys and the time are passed in.

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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::json;

    pub(in crate::identity) const ISSUER: &str = "https://sign-in.example.test";

    pub(in crate::identity) fn at(text: &str) -> Time {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    pub(in crate::identity) fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    pub(in crate::identity) fn jwk(key: &SigningKey) -> Value {
        let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k1", "use": "sig"})
    }

    /// A token made at 10:00:00 for ten minutes, with `change` over its claims.
    pub(in crate::identity) fn token(key: &SigningKey, header: &Value, change: &Value) -> String {
        let made = at("10:00:00").timestamp();
        let mut claims = json!({
            "iss": ISSUER, "aud": "breakglass", "sub": "approver", "nonce": "n-1", "employee_id": "E2001",
            "iat": made, "exp": made + 600, "auth_time": made - 30,
        });
        for (claim, value) in change.as_object().unwrap() {
            claims[claim] = value.clone();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).to_bytes());
        format!("{text}.{signature}")
    }

    pub(in crate::identity) fn header() -> Value {
        json!({"alg": "EdDSA", "kid": "k1"})
    }

    fn check(raw: &str, when: &str) -> Result<Verified, TokenFault> {
        let keys = JsonWebKeySet::new(vec![serde_json::from_value(jwk(&key(1))).unwrap()]);
        let (issued_after, at) = (at("09:59:50"), at(when));
        verify(
            raw,
            &keys,
            &Expected {
                issuer: ISSUER,
                client_id: "breakglass",
                nonce: "n-1",
                issued_after,
                at,
            },
        )
    }

    fn with(change: &Value) -> Result<Verified, TokenFault> {
        check(&token(&key(1), &header(), change), "10:00:01")
    }

    #[test]
    fn an_honest_token_holds_and_names_its_key() {
        let verified = with(&json!({})).unwrap();
        assert_eq!(verified.claims["employee_id"], "E2001");
        assert_eq!(verified.jwk["x"], jwk(&key(1))["x"]);
        assert_eq!(verified.auth_time, Some(at("09:59:30")));
    }

    #[test]
    fn each_claim_is_checked() {
        for (change, fault) in [
            (
                json!({"iss": "https://sign-in.example.test/"}),
                TokenFault::Issuer,
            ),
            (json!({"aud": "other"}), TokenFault::Audience),
            (json!({"aud": ["breakglass", "other"]}), TokenFault::Audience),
            (json!({"aud": []}), TokenFault::Audience),
            (json!({"azp": "other"}), TokenFault::Audience),
            (json!({"nonce": "n-2"}), TokenFault::Nonce),
            (json!({"nonce": null}), TokenFault::Nonce),
            (json!({"exp": at("09:59:01").timestamp()}), TokenFault::Expired),
            (json!({"iat": at("09:58:49").timestamp()}), TokenFault::IssuedAt),
            (json!({"iat": at("10:01:02").timestamp()}), TokenFault::IssuedAt),
            (json!({"exp": null}), TokenFault::Malformed),
        ] {
            assert_eq!(with(&change).unwrap_err(), fault, "{change}");
        }
    }

    #[test]
    fn clocks_may_differ_by_a_minute() {
        assert!(with(&json!({"exp": at("09:59:02").timestamp()})).is_ok());
        assert!(with(&json!({"iat": at("10:01:01").timestamp()})).is_ok());
        assert!(check(&token(&key(1), &header(), &json!({})), "10:10:59").is_ok());
        assert_eq!(
            check(&token(&key(1), &header(), &json!({})), "10:11:00").unwrap_err(),
            TokenFault::Expired
        );
    }

    #[test]
    fn only_the_providers_own_key_signs() {
        assert_eq!(
            check(&token(&key(2), &header(), &json!({})), "10:00:01").unwrap_err(),
            TokenFault::Signature
        );
        let elsewhere = json!({"alg": "EdDSA", "kid": "k2"});
        assert_eq!(
            check(&token(&key(1), &elsewhere, &json!({})), "10:00:01").unwrap_err(),
            TokenFault::UnknownKey
        );
        for alg in ["none", "HS256", "HS512"] {
            let raw = token(&key(1), &json!({"alg": alg, "kid": "k1"}), &json!({}));
            assert_eq!(
                check(&raw, "10:00:01").unwrap_err(),
                TokenFault::Algorithm,
                "{alg}"
            );
        }
    }

    #[test]
    fn what_is_not_a_token_is_refused_without_a_fuss() {
        let honest = token(&key(1), &header(), &json!({}));
        let unsigned = honest.rsplit_once('.').unwrap().0;
        for raw in [
            "",
            ".",
            "..",
            "a.b.c",
            unsigned,
            &format!("{honest}.x"),
            "e30.e30.e30",
        ] {
            assert!(check(raw, "10:00:01").is_err(), "{raw}");
        }
        let critical = token(
            &key(1),
            &json!({"alg": "EdDSA", "kid": "k1", "crit": ["b64"]}),
            &json!({}),
        );
        assert!(matches!(check(&critical, "10:00:01"), Err(TokenFault::Other(_))));
    }
}
