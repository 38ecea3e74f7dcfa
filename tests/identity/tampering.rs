//! A provider, a network or a thief that does not play by the rules.

use crate::world::{Browser, World, now, settings};
use breakglass::clock::Time;
use breakglass::identity::token::TokenFault;
use breakglass::identity::{CallbackParams, Flow, Identity as _, OpenIdConnect, Purpose, Refusal};
use chrono::TimeDelta;
use serde_json::json;

#[tokio::test]
async fn a_tampered_token_is_refused_for_what_is_wrong_with_it() {
    let mut world = World::new().await;
    for (fault, refusal) in [
        ("nonce", TokenFault::Nonce),
        ("no-nonce", TokenFault::Nonce),
        ("aud", TokenFault::Audience),
        ("aud-extra", TokenFault::Audience),
        ("azp", TokenFault::Audience),
        ("iss", TokenFault::Issuer),
        ("expired", TokenFault::Expired),
        ("future-iat", TokenFault::IssuedAt),
        ("alg-none", TokenFault::Algorithm),
        ("alg-hmac", TokenFault::Algorithm),
        ("other-key", TokenFault::Signature),
        ("flipped-signature", TokenFault::Signature),
    ] {
        world.control("faults", json!({"token": fault})).await;
        assert_eq!(
            world.sign_in("oncall").await.unwrap_err(),
            Refusal::BadToken(refusal),
            "{fault}"
        );
    }
    world.control("faults", json!({})).await;
    assert!(
        world.sign_in("oncall").await.is_ok(),
        "honest again, so the faults were the reason"
    );
}

#[tokio::test]
async fn an_answer_from_elsewhere_is_refused() {
    let mut world = World::new().await;
    let begin = world
        .identity
        .begin(World::asking(Purpose::SignIn, None), now())
        .await
        .unwrap();
    let other = world
        .identity
        .begin(World::asking(Purpose::SignIn, None), now())
        .await
        .unwrap();
    let (honest, _) = world.browser.go(&begin.authorize_url, "oncall").await;
    let finish = async |flow: &Flow, params: CallbackParams, at: Time| {
        world
            .identity
            .finish(flow, &params, at)
            .await
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(
        finish(&other.flow, honest.clone(), now()).await,
        Refusal::StateMismatch
    );
    assert_eq!(
        finish(
            &begin.flow,
            CallbackParams {
                state: None,
                ..honest.clone()
            },
            now()
        )
        .await,
        Refusal::StateMismatch
    );
    let elsewhere = CallbackParams {
        iss: Some("https://other.example.test".to_owned()),
        ..honest.clone()
    };
    assert_eq!(
        finish(&begin.flow, elsewhere, now()).await,
        Refusal::WrongProvider
    );
    let unnamed = CallbackParams {
        iss: None,
        ..honest.clone()
    };
    assert_eq!(
        finish(&begin.flow, unnamed, now()).await,
        Refusal::WrongProvider,
        "this provider always names itself"
    );
    assert_eq!(
        finish(
            &begin.flow,
            CallbackParams {
                code: None,
                ..honest.clone()
            },
            now()
        )
        .await,
        Refusal::Incomplete
    );
    let late = now() + TimeDelta::minutes(31);
    assert_eq!(
        finish(&begin.flow, honest.clone(), late).await,
        Refusal::TookTooLong
    );
    let declined = CallbackParams {
        error: Some("access_denied".to_owned()),
        error_description: None,
        ..honest.clone()
    };
    assert_eq!(
        finish(&begin.flow, declined, now()).await,
        Refusal::ProviderRefused("access_denied".to_owned())
    );
    // A code is worth nothing without the verifier of the flow that asked for it, and is used up by the try.
    let stolen = Flow {
        state: begin.flow.state.clone(),
        nonce: begin.flow.nonce.clone(),
        ..other.flow.clone()
    };
    assert!(matches!(
        finish(&stolen, honest.clone(), now()).await,
        Refusal::CodeRefused(_)
    ));
}

#[tokio::test]
async fn a_code_works_once() {
    let mut world = World::new().await;
    let begin = world
        .identity
        .begin(World::asking(Purpose::SignIn, None), now())
        .await
        .unwrap();
    let (params, _) = world.browser.go(&begin.authorize_url, "oncall").await;
    assert!(world.identity.finish(&begin.flow, &params, now()).await.is_ok());
    let again = world.identity.finish(&begin.flow, &params, now()).await;
    assert!(matches!(again, Err(Refusal::CodeRefused(_))), "{again:?}");
}

#[tokio::test]
async fn a_new_signing_key_is_picked_up() {
    let mut world = World::new().await;
    let before = world.sign_in("oncall").await.unwrap();
    world.control("rotate", json!({"forget": true})).await;
    let after = world.sign_in("oncall").await.unwrap();
    assert_ne!(before.jwk["kid"], after.jwk["kid"]);
    // A key that never becomes known is asked for, in vain, at most every three seconds.
    world.control("faults", json!({"token": "other-key"})).await;
    assert_eq!(
        world.sign_in("oncall").await.unwrap_err(),
        Refusal::BadToken(TokenFault::Signature)
    );
}

#[tokio::test]
async fn a_provider_that_is_down_is_said_to_be_and_comes_back() {
    let mut world = World::new().await;
    for (fault, most) in [("reset", 2), ("error", 2), ("huge", 5), ("hang", 12)] {
        world.identity =
            OpenIdConnect::new(settings()).expect("a provider that is down keeps nobody from starting");
        world.control("faults", json!({"wire": fault})).await;
        let began = std::time::Instant::now();
        let refusal = world
            .identity
            .begin(World::asking(Purpose::SignIn, None), now())
            .await
            .unwrap_err();
        assert!(
            matches!(refusal, Refusal::ProviderUnreachable { .. }),
            "{fault}: {refusal:?}"
        );
        assert!(refusal.is_passing());
        assert!(
            began.elapsed().as_secs() < most,
            "{fault} took {:?}",
            began.elapsed()
        );
        world.control("faults", json!({})).await;
        // A failure is remembered for three seconds.
        let soon = now() + TimeDelta::seconds(4);
        world
            .identity
            .begin(World::asking(Purpose::SignIn, None), soon)
            .await
            .expect("it is back");
        world.browser = Browser::new();
        assert!(world.sign_in("oncall").await.is_ok(), "{fault} is over");
    }
    // Known already, it need not be asked again to send somebody there; the exchange then says that it is down.
    world
        .control("faults", json!({"wire": "error", "only": ["/token"]}))
        .await;
    let refusal = world.sign_in("oncall").await.unwrap_err();
    assert!(
        matches!(refusal, Refusal::ProviderUnreachable { .. }),
        "{refusal:?}"
    );
    assert!(
        !refusal.to_string().contains("a-test-secret"),
        "no secret in what is shown"
    );
}

#[tokio::test]
async fn what_is_known_of_the_provider_is_used_for_hours_and_not_for_ever() {
    let mut world = World::new().await;
    world.sign_in("oncall").await.unwrap();
    world.control("faults", json!({"wire": "error"})).await;
    let begin = |hours| {
        world.identity.begin(
            World::asking(Purpose::SignIn, None),
            now() + TimeDelta::hours(hours),
        )
    };
    assert!(
        begin(5).await.is_ok(),
        "its description cannot be read again, the old one will do"
    );
    assert!(
        matches!(begin(7).await, Err(Refusal::ProviderUnreachable { .. })),
        "a key it took back must die"
    );
}
