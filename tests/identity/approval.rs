//! An approval, signed by the provider.

use crate::world::{Browser, World, issuer, now};
use breakglass::identity::token::TokenFault;
use breakglass::identity::{ApprovalClaim, ProofError, Purpose, check_approval_token};
use chrono::TimeDelta;
use serde_json::json;

#[tokio::test]
async fn an_approval_is_the_providers_word_on_one_request_by_one_person() {
    let mut world = World::new().await;
    let before = world.sign_in("approver").await.unwrap();
    let purpose = Purpose::approve([7; 32], 300);
    let Purpose::Approve { salt, .. } = purpose else {
        unreachable!()
    };
    let (approved, asked, _) = world.trip(purpose, "approver", Some(&before)).await;
    let approved = approved.unwrap();
    assert!(!asked, "silent while the login is fresh");

    let (issuer, at) = (issuer(), now());
    let claim = ApprovalClaim {
        issuer: &issuer,
        client_id: "breakglass-test",
        request_hash: &[7; 32],
        salt: &salt,
        person: &approved.person,
        person_claim: Some("employee_id"),
        approved_at: at,
    };
    let check = |token: &str, claim: &ApprovalClaim<'_>| check_approval_token(token, &approved.jwk, claim);
    let raw = approved.id_token_raw.as_str();
    let proof = check(raw, &claim).unwrap();
    assert_eq!(proof.auth_time, Some(before.auth_time));

    let fails = |change: ApprovalClaim<'_>| check(raw, &change).unwrap_err();
    assert_eq!(
        fails(ApprovalClaim {
            request_hash: &[8; 32],
            ..claim
        }),
        ProofError::OtherRequest
    );
    assert_eq!(
        fails(ApprovalClaim {
            salt: &[8; 32],
            ..claim
        }),
        ProofError::OtherRequest
    );
    assert_eq!(
        fails(ApprovalClaim {
            client_id: "other",
            ..claim
        }),
        ProofError::Token(TokenFault::Audience)
    );
    assert_eq!(
        fails(ApprovalClaim {
            issuer: "https://x.test",
            ..claim
        }),
        ProofError::Token(TokenFault::Issuer)
    );
    let later = ApprovalClaim {
        approved_at: at + TimeDelta::hours(1),
        ..claim
    };
    assert_eq!(
        fails(later),
        ProofError::Token(TokenFault::Expired),
        "recorded an hour after it was signed"
    );
    let earlier = ApprovalClaim {
        approved_at: at - TimeDelta::hours(1),
        ..claim
    };
    assert_eq!(
        fails(earlier),
        ProofError::Token(TokenFault::IssuedAt),
        "recorded an hour before"
    );

    world.browser = Browser::new();
    let other = world.sign_in("approver2").await.unwrap().person;
    assert_eq!(
        fails(ApprovalClaim {
            person: &other,
            ..claim
        }),
        ProofError::OtherPerson
    );
    let mut renamed = approved.person.clone();
    renamed.person_claim = "E9999".to_owned();
    assert_eq!(
        fails(ApprovalClaim {
            person: &renamed,
            ..claim
        }),
        ProofError::OtherPerson,
        "a person claim made up later"
    );

    // A sign-in's token, honest as it is, approves nothing; nor does a token under somebody else's key.
    assert_eq!(
        check(&before.id_token_raw, &claim).unwrap_err(),
        ProofError::OtherRequest
    );
    world.control("rotate", json!({})).await;
    let elsewhere = world.sign_in("second").await.unwrap();
    assert_ne!(elsewhere.jwk, approved.jwk);
    let swapped = check_approval_token(raw, &elsewhere.jwk, &claim);
    assert_eq!(swapped, Err(ProofError::Token(TokenFault::UnknownKey)));
    let symmetric = check_approval_token(raw, &json!({"kty": "oct", "k": "c2VjcmV0"}), &claim);
    assert_eq!(symmetric, Err(ProofError::Key));
}
