//! Whether a stored approval is what it says: the provider itself signed, for that person, a token
//! whose nonce commits to the request's hash. Offline, and at any later time.

use super::flow::approval_nonce;
use super::token::{self, Expected, SKEW, TokenFault};
use crate::clock::Time;
use crate::domain::person::Person;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use openidconnect::JsonWebKeySet;
use openidconnect::core::CoreJsonWebKey;
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// What an approval claims to be.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalClaim<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// The broker's name there.
    pub client_id: &'a str,
    /// The hash of the request.
    pub request_hash: &'a [u8; 32],
    /// The salt of the nonce.
    pub salt: &'a [u8; 32],
    /// Who approved.
    pub person: &'a Person,
    /// The name of the claim that holds the person's stable id, if it is known where this is checked.
    pub person_claim: Option<&'a str>,
    /// When, as recorded.
    pub approved_at: Time,
}

/// Why an approval proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The stored key is not a public key that can be used.
    #[error("the stored key is not a usable public key")]
    Key,
    /// The token does not hold.
    #[error("the provider's signed token does not hold: {0}")]
    Token(TokenFault),
    /// It was signed for another request, or the stored request was changed.
    #[error("the provider signed for another request")]
    OtherRequest,
    /// It was signed for another account or person.
    #[error("the provider signed for another person")]
    OtherPerson,
}

/// What a proof rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The key's RFC 7638 thumbprint (SHA-256, base64url). The proof is as good as this key: compare it
    /// with the keys the provider has published, since whoever can write the store could add a key of their own.
    pub key_thumbprint: String,
    /// When the approver had signed in, as the provider says.
    pub auth_time: Option<Time>,
}

/// How long before the recorded time the token can have been made: the round trip's own patience.
const LONGEST: TimeDelta = TimeDelta::minutes(30);

/// Checks a stored approval: signature, nonce, issuer, audience, subject, and that the token was valid
/// when the approval was recorded (not now).
pub fn check_approval_token(
    id_token_raw: &str,
    jwk: &Value,
    claim: &ApprovalClaim<'_>,
) -> Result<Proof, ProofError> {
    let key: CoreJsonWebKey = serde_json::from_value(jwk.clone()).map_err(|_| ProofError::Key)?;
    let key_thumbprint = thumbprint(jwk).ok_or(ProofError::Key)?;
    let nonce = approval_nonce(claim.request_hash, claim.salt);
    let expected = Expected {
        issuer: claim.issuer,
        client_id: claim.client_id,
        nonce: &nonce,
        issued_after: claim.approved_at - LONGEST - SKEW,
        at: claim.approved_at,
    };
    let verified = token::verify(id_token_raw, &JsonWebKeySet::new(vec![key]), &expected).map_err(
        |fault| match fault {
            TokenFault::Nonce => ProofError::OtherRequest,
            fault => ProofError::Token(fault),
        },
    )?;
    let says = |name: &str, value: &str| match verified.claims.get(name) {
        Some(Value::String(text)) => text.trim() == value,
        Some(Value::Number(number)) => number.to_string() == value,
        _ => false,
    };
    let same = says("sub", &claim.person.subject)
        && claim.person.issuer == claim.issuer
        && claim
            .person_claim
            .is_none_or(|name| says(name, &claim.person.person_claim));
    if !same {
        return Err(ProofError::OtherPerson);
    }
    Ok(Proof {
        key_thumbprint,
        auth_time: verified.auth_time,
    })
}

/// RFC 7638, 3: SHA-256 over the required members in order of their names. `None` for a key that is
/// not an asymmetric public one: anybody could sign with a symmetric key that lies beside the proof.
#[must_use]
pub fn thumbprint(jwk: &Value) -> Option<String> {
    let members: &[&str] = match jwk.get("kty")?.as_str()? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        _ => return None,
    };
    let mut parts = Vec::with_capacity(members.len());
    for name in members {
        parts.push(format!(
            "\"{name}\":{}",
            serde_json::to_string(jwk.get(*name)?.as_str()?).ok()?
        ));
    }
    Some(URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{{{}}}", parts.join(",")))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::token::tests::{ISSUER, at, header, jwk, key, token};
    use serde_json::json;

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let jwk = json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
                  tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n\
                  91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        assert_eq!(
            thumbprint(&jwk).as_deref(),
            Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        );
    }

    fn approver() -> Person {
        Person {
            person_claim: "E2001".to_owned(),
            issuer: ISSUER.to_owned(),
            subject: "approver".to_owned(),
            name: "First approver".to_owned(),
            email: None,
            email_verified: false,
            groups: vec![],
            forge_login: None,
        }
    }

    fn claim(person: &Person) -> ApprovalClaim<'_> {
        ApprovalClaim {
            issuer: ISSUER,
            client_id: "breakglass",
            request_hash: &[7; 32],
            salt: &[9; 32],
            person,
            person_claim: Some("employee_id"),
            approved_at: at("10:00:02"),
        }
    }

    /// A token that approves the request of [`claim`], signed with `key`.
    fn signed(key: &ed25519_dalek::SigningKey) -> String {
        token(
            key,
            &header(),
            &json!({"nonce": approval_nonce(&[7; 32], &[9; 32])}),
        )
    }

    #[test]
    fn an_approval_holds_long_after_its_token_expired() {
        // No clock is asked: the token is judged at the time the approval was recorded.
        let proof = check_approval_token(&signed(&key(1)), &jwk(&key(1)), &claim(&approver())).unwrap();
        assert_eq!(proof.auth_time, Some(at("09:59:30")));
        assert_eq!(Some(proof.key_thumbprint), thumbprint(&jwk(&key(1))));
    }

    #[test]
    fn nothing_of_it_can_be_changed() {
        let (person, raw, public) = (approver(), signed(&key(1)), jwk(&key(1)));
        let fails = |claim: ApprovalClaim<'_>| check_approval_token(&raw, &public, &claim).unwrap_err();
        let honest = claim(&person);
        assert_eq!(
            fails(ApprovalClaim {
                request_hash: &[8; 32],
                ..honest
            }),
            ProofError::OtherRequest
        );
        assert_eq!(
            fails(ApprovalClaim {
                salt: &[8; 32],
                ..honest
            }),
            ProofError::OtherRequest
        );
        let late = ApprovalClaim {
            approved_at: at("11:00:00"),
            ..honest
        };
        assert_eq!(fails(late), ProofError::Token(TokenFault::Expired));
        let early = ApprovalClaim {
            approved_at: at("09:00:00"),
            ..honest
        };
        assert_eq!(fails(early), ProofError::Token(TokenFault::IssuedAt));
        for other in [
            Person {
                subject: "oncall".to_owned(),
                ..approver()
            },
            Person {
                person_claim: "E1001".to_owned(),
                ..approver()
            },
            Person {
                issuer: "https://other.example.test".to_owned(),
                ..approver()
            },
        ] {
            assert_eq!(fails(claim(&other)), ProofError::OtherPerson);
        }
    }

    #[test]
    fn another_key_shows() {
        let person = approver();
        let forged = signed(&key(2));
        let found = check_approval_token(&forged, &jwk(&key(1)), &claim(&person));
        assert_eq!(found, Err(ProofError::Token(TokenFault::Signature)));
        // Whoever also swaps the stored key gets through here, but not past its thumbprint.
        let proof = check_approval_token(&forged, &jwk(&key(2)), &claim(&person)).unwrap();
        assert_ne!(Some(proof.key_thumbprint), thumbprint(&jwk(&key(1))));
    }

    #[test]
    fn a_symmetric_key_proves_nothing() {
        assert_eq!(thumbprint(&json!({"kty": "oct", "k": "c2VjcmV0"})), None);
    }
}
