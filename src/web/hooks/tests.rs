//! The receivers as their senders find them.

use crate::cluster::manifests::manifests;
use crate::domain::entry_kind::EntryKind;
use crate::domain::job::JobKind;
use crate::store::EntryFilter;
use crate::verify::tests::{fill, honest, now};
use crate::web::lists::fixture::{Answer, Stage};
use axum::body::Body;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use sha2::Sha256;
use std::io::Write as _;

pub(in crate::web) fn token(stage: &Stage) -> String {
    let token = stage.app.config().clusters["production"].audit.token.as_ref();
    format!("Bearer {}", token.unwrap().expose())
}

pub(in crate::web) async fn send(
    stage: &Stage,
    cluster: &str,
    token: &str,
    gzip: bool,
    body: Vec<u8>,
) -> Answer {
    let mut request = Request::post(format!("/hooks/audit/{cluster}")).header(header::AUTHORIZATION, token);
    if gzip {
        request = request.header(header::CONTENT_ENCODING, "gzip");
    }
    stage.send(request.body(Body::from(body)).unwrap()).await
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A batch with one event of somebody else, which is counted.
pub(in crate::web) fn batch(n: u32) -> Vec<u8> {
    list(&event(n))
}

fn list(event: &Value) -> Vec<u8> {
    json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": [event]})
        .to_string()
        .into_bytes()
}

fn event(n: u32) -> Value {
    json!({
        "level": "Metadata", "auditID": format!("{n:08}-0000-0000-0000-000000000000"), "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/payments/pods", "verb": "list",
        "user": {"username": "system:kube-scheduler"}, "sourceIPs": ["10.0.0.1"],
        "objectRef": {"resource": "pods", "namespace": "payments", "apiVersion": "v1"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-03-01T10:00:00.000000Z", "stageTimestamp": "2026-03-01T10:00:00.010000Z",
    })
}

/// The broker's Role beside the grants, as `breakglass manifests` prints it and an API server answers it.
fn applied(stage: &Stage) -> Value {
    let printed = manifests(stage.app.config(), "production").unwrap();
    let all: Vec<Value> = serde_saphyr::from_multiple(&printed).unwrap();
    let of = |one: &Value| one["kind"] == "Role" && one["metadata"]["namespace"] == "breakglass-grants";
    let mut role = all.into_iter().find(of).unwrap();
    role["metadata"]["uid"] = json!("1d7b2f3c-0000-4000-8000-000000000000");
    role["metadata"]["resourceVersion"] = json!("231");
    role
}

/// The event of writing `role` there.
fn written(n: u32, role: &Value) -> Vec<u8> {
    let mut event = event(n);
    event["verb"] = json!("create");
    event["user"] = json!({"username": "admin"});
    event["responseStatus"] = json!({"code": 201});
    event["responseObject"] = role.clone();
    event["objectRef"] = json!({"resource": "roles", "namespace": "breakglass-grants", "name": "breakglass-broker",
        "apiGroup": "rbac.authorization.k8s.io", "apiVersion": "v1"});
    list(&event)
}

#[tokio::test]
async fn the_installation_as_printed_is_an_entry_and_anything_else_a_finding() {
    let stage = Stage::new().await;
    let (token, mut role) = (token(&stage), applied(&stage));
    for _ in 0..2 {
        let answer = send(&stage, "production", &token, false, written(1, &role)).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(
        entries(&stage, EntryKind::ManifestsApplied).await,
        1,
        "the batch came twice"
    );
    let store = &stage.app.broker.store;
    assert!(store.open_findings().await.unwrap().is_empty());
    role["rules"][0]["resources"] = json!(["*"]);
    send(&stage, "production", &token, false, written(2, &role)).await;
    let findings = store.open_findings().await.unwrap();
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0]
            .text
            .contains("admin wrote Role breakglass-grants/breakglass-broker")
            && findings[0].text.contains("rules differs"),
        "{findings:?}"
    );
    assert_eq!(entries(&stage, EntryKind::ManifestsApplied).await, 1);
}

async fn entries(stage: &Stage, kind: EntryKind) -> usize {
    let filter = EntryFilter {
        kinds: vec![kind],
        limit: 100,
        ..EntryFilter::default()
    };
    stage.app.broker.store.entries(filter).await.unwrap().len()
}

#[tokio::test]
async fn what_each_api_server_sent_is_counted_by_itself_and_each_batch_once() {
    let stage = Stage::new().await;
    let token = token(&stage);
    let sent = [
        ("production/control-1", 1),
        ("production/control-1", 1),
        ("production/control-2", 2),
        ("production/control-2", 3),
        ("production", 4),
        // Nobody configured it: what it recorded counts as from a server without a name.
        ("production/control-9", 5),
    ];
    for (to, n) in sent {
        assert_eq!(
            send(&stage, to, &token, false, batch(n)).await.status,
            StatusCode::OK
        );
    }
    let store = &stage.app.broker.store;
    for (server, events) in [("control-1", 1), ("control-2", 2), ("", 2), ("control-9", 0)] {
        assert_eq!(
            store.received("production", server, 0).await.unwrap(),
            events,
            "{server}"
        );
    }
    let answer = send(&stage, "production/control-1", "Bearer wrong", false, batch(6)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_batch_is_durable_before_its_answer_and_a_repeat_changes_nothing() {
    let stage = Stage::new().await;
    let token = token(&stage);
    assert_eq!(
        send(&stage, "production", &token, false, batch(1)).await.status,
        StatusCode::OK
    );
    assert_eq!(entries(&stage, EntryKind::BatchCount).await, 1);
    assert_eq!(
        send(&stage, "production", &token, true, packed(&batch(1)))
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        entries(&stage, EntryKind::BatchCount).await,
        1,
        "the same batch, packed"
    );
    assert_eq!(
        send(&stage, "production", &token, true, packed(&batch(2)))
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(entries(&stage, EntryKind::BatchCount).await, 2);
}

#[tokio::test]
async fn an_unknown_cluster_and_a_wrong_token_look_the_same() {
    let stage = Stage::new().await;
    let wrong = send(&stage, "production", "Bearer wrong", false, batch(1)).await;
    let unknown = send(&stage, "elsewhere", &token(&stage), false, batch(1)).await;
    let none = send(&stage, "production", "", false, batch(1)).await;
    let empty = send(&stage, "elsewhere", "Bearer ", false, batch(1)).await;
    for answer in [&wrong, &unknown, &none, &empty] {
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (StatusCode::UNAUTHORIZED, wrong.text.as_str())
        );
    }
    assert_eq!(entries(&stage, EntryKind::BatchCount).await, 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_and_answered_so_that_it_is_not_sent_for_ever() {
    let stage = Stage::new().await;
    let token = token(&stage);
    assert_eq!(
        send(&stage, "production", &token, false, b"{\"kind\":".to_vec())
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        send(&stage, "production", &token, true, b"never packed".to_vec())
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(entries(&stage, EntryKind::Quarantined).await, 2);
}

#[tokio::test]
async fn a_bomb_is_refused_and_said_to_compliance() {
    let stage = Stage::new().await;
    let bomb = packed(&vec![b' '; 300 << 20]);
    assert!(bomb.len() < 1 << 20);
    let answer = send(&stage, "production", &token(&stage), true, bomb).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let findings = stage.app.broker.store.open_findings().await.unwrap();
    assert!(
        findings[0].text.contains("longer than can be taken"),
        "{findings:?}"
    );
}

async fn deliver(stage: &Stage, id: &str, secret: &str, number: u64) -> Answer {
    let body = json!({"action": "closed", "repository": {"id": 5}, "pull_request": {"number": number, "merged": true,
        "head": {"sha": "h"}, "base": {"ref": "main"}}})
    .to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let request = Request::post("/hooks/forge")
        .header("x-github-event", "pull_request")
        .header("x-github-delivery", id)
        .header("x-hub-signature-256", signature);
    stage.send(request.body(Body::from(body)).unwrap()).await
}

/// A follow-up whose pull request is number 7.
async fn owed(stage: &Stage) -> crate::ids::FollowUpId {
    let store = stage.app.broker.store.as_ref();
    let (grant, _) = fill(store, honest).await;
    let mut debt = crate::web::lists::fixture::debt(now());
    debt.grant = grant;
    debt.request = store.grant(grant).await.unwrap().unwrap().request;
    crate::web::lists::fixture::owe(store, debt).await
}

#[tokio::test]
async fn the_forge_wakes_the_follow_up_whose_pull_request_moved() {
    let stage = Stage::new().await;
    let id = owed(&stage).await;
    let secret = stage.app.config().forge.webhook_secret.expose().to_owned();
    let store = &stage.app.broker.store;
    assert_eq!(
        deliver(&stage, "d-1", &secret, 8).await.status,
        StatusCode::ACCEPTED
    );
    assert!(
        store.jobs().await.unwrap().is_empty(),
        "somebody else's pull request"
    );
    assert_eq!(
        deliver(&stage, "d-2", &secret, 7).await.status,
        StatusCode::ACCEPTED
    );
    let jobs = store.jobs().await.unwrap();
    assert_eq!(
        jobs.iter().map(|job| job.kind.clone()).collect::<Vec<_>>(),
        [JobKind::Follow { follow_up: id }]
    );
    assert!(jobs[0].due <= now());
    let again = deliver(&stage, "d-2", &secret, 7).await;
    assert_eq!((again.status, again.text.as_str()), (StatusCode::OK, "known\n"));
}

#[tokio::test]
async fn what_the_forge_did_not_sign_wakes_nobody_and_is_found() {
    let stage = Stage::new().await;
    owed(&stage).await;
    for _ in 0..3 {
        assert_eq!(
            deliver(&stage, "d-1", "guessed", 7).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    assert!(
        stage
            .app
            .broker
            .store
            .jobs()
            .await
            .unwrap()
            .iter()
            .all(|job| !matches!(job.kind, JobKind::Follow { .. }))
    );
    let findings = stage.app.broker.store.open_findings().await.unwrap();
    assert_eq!(findings.len(), 1, "one finding, however many tries");
    assert!(findings[0].text.contains("without the forge's signature"));
}
