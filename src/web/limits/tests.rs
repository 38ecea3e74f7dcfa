//! The limits by themselves, and as somebody meets them.

use super::*;
use crate::domain::entry_kind::EntryKind;
use crate::domain::fixture::{ask, request, second_account};
use crate::domain::person::Person;
use crate::domain::transition::{About, Transition, Write, record};
use crate::ids::GrantId;
use crate::verify::tests::{now, person};
use crate::web::hooks::tests::{batch, send, token};
use crate::web::lists::fixture::{Answer, Stage};
use axum::body::Body;
use chrono::TimeDelta;
use governor::clock::FakeRelativeClock;
use http::{Request, StatusCode, header};
use serde_json::json;

fn ip(text: &str) -> Who {
    Who::at(Some(Client(text.parse().unwrap())))
}

#[test]
fn one_asker_waits_and_no_other() {
    let clock = FakeRelativeClock::default();
    let limit = Limit::a_minute(NonZeroU32::new(3).unwrap(), clock.clone());
    let (one, other) = (Who::Person("E-1".to_owned()), Who::Person("E-2".to_owned()));
    for _ in 0..3 {
        assert_eq!(limit.take(&one), Ok(()));
    }
    let wait = limit.take(&one).unwrap_err();
    assert_eq!(whole_seconds(wait), 20, "a third of the minute");
    assert_eq!(limit.take(&other), Ok(()));
    clock.advance(wait);
    assert_eq!(limit.take(&one), Ok(()));
    assert!(limit.take(&one).is_err(), "one came free, not all");
    clock.advance(Duration::from_mins(1));
    assert_eq!(limit.take(&one), Ok(()));
}

#[test]
fn an_address_is_what_one_subscriber_holds() {
    assert_eq!(ip("2001:db8:1:2::1"), ip("2001:db8:1:2:ffff::9"));
    assert_ne!(ip("2001:db8:1:2::1"), ip("2001:db8:1:3::1"));
    assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
    assert_eq!(Who::at(None), Who::Anybody);
}

#[test]
fn who_could_ask_anew_anyway_is_forgotten() {
    let clock = FakeRelativeClock::default();
    let limit = Limit::a_minute(NonZeroU32::new(3).unwrap(), clock.clone());
    for n in 0..=MANY {
        limit.take(&Who::Browser(n.to_string())).unwrap();
    }
    clock.advance(Duration::from_mins(2));
    limit.take(&Who::Anybody).unwrap();
    assert!(limit.limiter.len() <= 1);
}

#[test]
fn a_wait_is_never_told_too_short() {
    for (wait, told) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2)] {
        assert_eq!(whole_seconds(Duration::from_millis(wait)), told);
    }
}

fn three(quota: &mut NonZeroU32) {
    *quota = NonZeroU32::new(3).unwrap();
}

fn waits(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text);
    let seconds: u64 = answer.headers[header::RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=3_600).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn the_form_answers_a_person_so_often_and_says_when_again() {
    let stage = Stage::with(|config| three(&mut config.server.limits.previews_per_minute)).await;
    let (one, other) = (
        stage.signed_in("oncall", &["payments-engineers"]).await,
        stage.signed_in("second", &["payments-engineers"]).await,
    );
    for _ in 0..3 {
        let answer = stage.post("/requests/preview", &one, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    let page = stage.get("/requests/new", Some(&one)).await;
    waits(&page);
    assert!(
        page.text.contains("more than 3 times within a minute")
            && page.text.contains("ending an access is never limited"),
        "{}",
        page.text
    );
    waits(&stage.post("/requests", &one, &[("reason", "x")]).await);
    assert_eq!(
        stage.get("/requests/new", Some(&other)).await.status,
        StatusCode::OK
    );
    let end = format!("/grants/{}/done", GrantId::new());
    assert_eq!(
        stage.post(&end, &one, &[]).await.status,
        StatusCode::NOT_FOUND,
        "looked for, not held back"
    );
}

/// Requests of `who`, filed one minute after the other until now.
async fn file(stage: &Stage, who: &Person, count: i64) {
    for n in (0..count).rev() {
        let mut asked = request(ask());
        asked.ask.requester = who.clone();
        asked.filed_at = now() - TimeDelta::minutes(n);
        let entry = record(
            EntryKind::RequestFiled,
            asked.filed_at,
            About::request(&asked),
            "asked",
            json!({}),
        );
        let transition = Transition::new(entry).write(Write::NewRequest(asked));
        stage.app.broker.store.commit(transition).await.unwrap();
    }
}

#[tokio::test]
async fn a_person_files_so_many_requests_an_hour_by_any_account_and_loses_nothing_typed() {
    let stage = Stage::new().await;
    file(&stage, &second_account(), 10).await;
    file(&stage, &person("oncall"), 10).await;
    file(&stage, &person("second"), 19).await;
    let one = stage.signed_in("oncall", &["payments-engineers"]).await;
    let asked = [("reason", "the queue stands"), ("team", "payments")];
    let answer = stage.post("/requests", &one, &asked).await;
    waits(&answer);
    assert!(
        answer.text.contains("You have filed 20 requests within an hour")
            && answer.text.contains("the queue stands"),
        "{}",
        answer.text
    );
    // The oldest of them was filed nine minutes ago.
    assert_eq!(
        answer.headers[header::RETRY_AFTER],
        (51 * 60).to_string().as_str()
    );
    let other = stage.signed_in("second", &["payments-engineers"]).await;
    let answer = stage.post("/requests", &other, &asked).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
}

#[tokio::test]
async fn signing_in_is_begun_so_often_from_one_address() {
    let stage = Stage::with(|config| three(&mut config.server.limits.sign_ins_per_minute)).await;
    let begin = async |from: &str, site: &str| {
        let request = Request::get("/sign-in")
            .header(header::ACCEPT, "text/html")
            .header("sec-fetch-site", site)
            .header("sec-fetch-mode", "no-cors")
            .extension(Client(from.parse().unwrap()));
        stage.send(request.body(Body::empty()).unwrap()).await
    };
    for _ in 0..9 {
        let image = begin("192.0.2.1", "cross-site").await;
        assert_eq!(
            image.status,
            StatusCode::BAD_REQUEST,
            "another site uses nothing up"
        );
    }
    for _ in 0..3 {
        let answer = begin("192.0.2.1", "same-origin").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "no provider here");
    }
    let answer = begin("192.0.2.1", "same-origin").await;
    waits(&answer);
    assert!(
        answer
            .text
            .contains("Signing in was begun from here more than 3 times"),
        "{}",
        answer.text
    );
    let elsewhere = begin("192.0.2.2", "same-origin").await;
    assert_eq!(elsewhere.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn strangers_are_told_to_wait_and_a_clusters_own_senders_never() {
    let stage = Stage::with(|config| three(&mut config.server.limits.strangers_per_minute)).await;
    let send_as = async |token: &str, cluster: &str| send(&stage, cluster, token, false, batch(1)).await;
    for _ in 0..3 {
        assert_eq!(
            send_as("Bearer wrong", "production").await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    assert!(stage.app.broker.store.open_findings().await.unwrap().is_empty());
    for _ in 0..3 {
        waits(&send_as("Bearer wrong", "production").await);
        waits(&send_as("Bearer wrong", "made-up").await);
    }
    let right = send_as(&token(&stage), "production").await;
    assert_eq!(right.status, StatusCode::OK, "{}", right.text);
    let findings = stage.app.broker.store.open_findings().await.unwrap();
    let mut texts: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
    texts.sort_unstable();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].contains("not configured") && texts[1].contains("of production"),
        "{texts:?}"
    );
    assert!(!texts.concat().contains("made-up"));
}
