//! Fresh logins: asked for when needed, and believed only as signed.

use crate::world::{STRONG, World, next_second, settings};
use breakglass::identity::{OpenIdConnect, Purpose, Refusal, Settings};
use serde_json::json;

#[tokio::test]
async fn window_0_asks_again_and_gets_a_new_login() {
    let mut world = World::new().await;
    let first = world.sign_in("oncall").await.unwrap();
    next_second().await;
    let (stepped, asked, flow) = world
        .trip(Purpose::StepUp { window_s: 0 }, "oncall", Some(&first))
        .await;
    let stepped = stepped.unwrap();
    assert!(asked, "window 0 always asks");
    assert!(stepped.auth_time > first.auth_time);
    assert_eq!(flow.return_to, "/requests/1");
}

#[tokio::test]
async fn a_window_is_silent_while_the_login_is_fresh() {
    let mut world = World::new().await;
    let first = world.sign_in("oncall").await.unwrap();
    let (stepped, asked, _) = world
        .trip(Purpose::StepUp { window_s: 300 }, "oncall", Some(&first))
        .await;
    assert!(!asked);
    assert_eq!(stepped.unwrap().auth_time, first.auth_time);
    next_second().await;
    next_second().await;
    let (stepped, asked, _) = world
        .trip(Purpose::StepUp { window_s: 1 }, "oncall", Some(&first))
        .await;
    assert!(asked, "older than the window");
    assert!(stepped.unwrap().auth_time > first.auth_time);
}

#[tokio::test]
async fn the_returned_login_time_counts_not_that_it_was_asked_for() {
    let mut world = World::new().await;
    let first = world.sign_in("oncall").await.unwrap();
    world.control("faults", json!({"token": "stale-auth-time"})).await;
    for window_s in [0, 300] {
        let (stepped, _, _) = world
            .trip(Purpose::StepUp { window_s }, "oncall", Some(&first))
            .await;
        assert!(
            matches!(stepped, Err(Refusal::NotFresh { .. })),
            "{window_s}: {stepped:?}"
        );
    }
    assert!(
        matches!(world.sign_in("oncall").await, Err(Refusal::NotFresh { .. })),
        "beyond half a day"
    );
    world.control("faults", json!({"token": "no-auth-time"})).await;
    assert_eq!(world.sign_in("oncall").await.unwrap_err(), Refusal::NoAuthTime);
    world
        .control("faults", json!({"token": "future-auth-time"}))
        .await;
    assert!(matches!(
        world.sign_in("oncall").await,
        Err(Refusal::FutureLogin { .. })
    ));
}

#[tokio::test]
async fn a_step_up_by_another_account_is_refused() {
    let mut world = World::new().await;
    let first = world.sign_in("oncall").await.unwrap();
    for other in ["second", "oncall-lead"] {
        let (stepped, _, _) = world
            .trip(Purpose::StepUp { window_s: 0 }, other, Some(&first))
            .await;
        assert_eq!(stepped.unwrap_err(), Refusal::OtherAccount, "{other}");
    }
    world.control("faults", json!({"token": "other-person"})).await;
    let (stepped, _, _) = world
        .trip(Purpose::StepUp { window_s: 0 }, "oncall", Some(&first))
        .await;
    assert_eq!(stepped.unwrap_err(), Refusal::OtherAccount);
}

#[tokio::test]
async fn the_level_of_authentication_is_verified() {
    let mut world = World::with(Settings {
        acr_values: Some(vec![STRONG.to_owned()]),
        ..settings()
    })
    .await;
    let first = world.sign_in("oncall").await.unwrap();
    let (stepped, _, _) = world
        .trip(Purpose::StepUp { window_s: 0 }, "oncall", Some(&first))
        .await;
    assert!(stepped.is_ok(), "{stepped:?}");
    world.identity = OpenIdConnect::new(Settings {
        acr_values: Some(vec!["phr".to_owned()]),
        ..settings()
    })
    .unwrap();
    let (stepped, _, _) = world
        .trip(Purpose::StepUp { window_s: 0 }, "oncall", Some(&first))
        .await;
    assert!(matches!(stepped, Err(Refusal::TooWeak { .. })), "{stepped:?}");
}
