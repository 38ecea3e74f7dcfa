//! The receivers as their senders find them.

use crate::cluster::manifests::manifests;
use crate::config::Keep;
use crate::domain::entry_kind::EntryKind;
use crate::domain::fixture::{ask, at, grant};
use crate::domain::grant::Grant;
use crate::domain::job::JobKind;
use crate::domain::transition::{About, Transition, Write, record};
use crate::store::EntryFilter;
use crate::verify::tests::{fill, honest, now};
use crate::web::lists::fixture::{Answer, Stage};
use axum::body::Body;
use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, StatusCode, header};
use proptest::strategy::{Just, Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
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
async fn what_is_kept_of_others_is_the_clusters_own_setting_and_the_rest_is_counted() {
    let (mut changes, mut secret) = (event(2), event(3));
    changes["verb"] = json!("patch");
    secret["verb"] = json!("update");
    secret["requestURI"] = json!("/api/v1/namespaces/payments/secrets/db?password=hunter2");
    let items = json!([event(1), changes, secret]);
    let batch = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items});
    for (keep, kept) in [(Keep::Grants, 0), (Keep::Changes, 2), (Keep::Everything, 3)] {
        let stage = Stage::with(|config| {
            let cluster = config.clusters.get_mut("production").unwrap();
            cluster.audit.keep = keep;
        })
        .await;
        for _ in 0..2 {
            let answer = send(
                &stage,
                "production",
                &token(&stage),
                false,
                batch.to_string().into(),
            )
            .await;
            assert_eq!(answer.status, StatusCode::OK);
        }
        let store = &stage.app.broker.store;
        let size = store.head().await.unwrap().size;
        assert_eq!(size, 1 + kept, "{keep:?}: the batch came twice");
        assert_eq!(
            entries(&stage, EntryKind::AuditEvent).await,
            0,
            "no rows to look up"
        );
        let segment = store.segment_of(0).await.unwrap().unwrap();
        let open = crate::ledger::open(&segment.bytes).unwrap();
        let payloads: Vec<Value> = (0..open.count())
            .map(|at| serde_json::from_slice(open.payload(at).unwrap()).unwrap())
            .collect();
        assert_eq!(payloads[0]["facts"]["total"], json!(3 - kept));
        let uris: Vec<_> = payloads[1..]
            .iter()
            .map(|one| one["facts"]["event"]["requestURI"].as_str().unwrap())
            .collect();
        assert_eq!(uris.len() as u64, kept);
        assert!(uris.iter().all(|uri| !uri.contains("hunter2")), "{uris:?}");
        assert_eq!(
            uris.iter()
                .filter(|uri| uri.contains("secrets/db?password="))
                .count() as u64,
            kept.min(1)
        );
    }
}

/// What the ledger holds of events: each that is kept, in no order, and how many others were counted.
async fn content(stage: &Stage) -> (Vec<String>, u64) {
    let store = &stage.app.broker.store;
    let (mut events, mut total, mut next) = (vec![], 0, 0);
    loop {
        let segments = store.segments(next, 100).await.unwrap();
        let Some(last) = segments.last() else { break };
        next = last.first + u64::from(last.count);
        for segment in &segments {
            let open = crate::ledger::open(&segment.bytes).unwrap();
            for at in 0..open.count() {
                let payload: Value = serde_json::from_slice(open.payload(at).unwrap()).unwrap();
                match open.entry(at).kind() {
                    Some(EntryKind::AuditEvent) if payload["facts"]["event"].is_object() => {
                        events.push(payload["facts"]["event"].to_string());
                    }
                    Some(EntryKind::BatchCount) => total += payload["facts"]["total"].as_u64().unwrap(),
                    _ => {}
                }
            }
        }
    }
    events.sort();
    (events, total)
}

/// A stage that keeps changes, with an access, and events of it and of others.
async fn watched() -> (Stage, Vec<Value>) {
    let stage = Stage::with(|config| {
        config.clusters.get_mut("production").unwrap().audit.keep = Keep::Changes;
    })
    .await;
    let request = crate::domain::request::Request::file(ask(), at(0), TimeDelta::hours(1));
    let grant = Grant {
        request: request.id,
        ..grant()
    };
    let account = grant.account.clone();
    let entry = record(
        EntryKind::RequestApproved,
        at(1),
        About::grant(&grant),
        "approved",
        json!({}),
    );
    let mut lent = Transition::new(entry);
    lent.writes = vec![Write::NewRequest(request), Write::NewGrant(grant)];
    stage.app.broker.commit(lent).await.unwrap();
    let one = |n: u32| {
        let mut event = event(n);
        match n % 4 {
            0 => event["verb"] = json!("patch"),
            1 => {
                event["user"] = json!({"username": format!("system:serviceaccount:breakglass-grants:{account}"),
                    "groups": ["system:serviceaccounts:breakglass-grants"]});
            }
            _ => {}
        }
        event
    };
    (stage, (0..60).map(one).collect())
}

fn batch_of(events: &[Value]) -> Vec<u8> {
    json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events})
        .to_string()
        .into()
}

/// Several API servers send at once, out of order, again what was sent, and now and then less than all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_batches_come_the_ledger_holds_what_the_tidy_stream_leaves() {
    let (tidy, events) = watched().await;
    for batch in events.chunks(7) {
        let answer = send(&tidy, "production", &token(&tidy), false, batch_of(batch)).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    // The access has another account at each stage.
    let account = |events: &[Value]| events[1]["user"]["username"].as_str().unwrap().to_owned();
    let (mut wanted, total) = content(&tidy).await;
    assert_eq!((wanted.len(), total), (30, 30));
    let first = account(&events);
    for event in &mut wanted {
        *event = event.replace(&first, "the account");
    }
    wanted.sort();
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..4 {
        let (stage, events) = watched().await;
        let own = account(&events);
        let orders = proptest::collection::vec(Just(events).prop_shuffle(), 3);
        let ways = (
            orders,
            proptest::collection::vec((1usize..16, 0usize..100), 3..40),
        );
        let (orders, ways) = ways.new_tree(&mut runner).unwrap().current();
        let mut bodies: Vec<Vec<u8>> = vec![];
        for (order, (size, _)) in orders.iter().zip(&ways) {
            bodies.extend(order.chunks(*size).map(batch_of));
        }
        for (_, at) in &ways {
            // Some of them again, whole and cut.
            let mut again = bodies[at % bodies.len()].clone();
            bodies.insert(at % bodies.len(), again.clone());
            again.truncate(again.len() * at / 100);
            bodies.insert((at * 7) % bodies.len(), again);
        }
        let token = token(&stage);
        for together in bodies.chunks(5) {
            let sent = together
                .iter()
                .map(|body| send(&stage, "production", &token, false, body.clone()));
            for answer in futures::future::join_all(sent).await {
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
            }
        }
        let (mut found, counted) = content(&stage).await;
        for event in &mut found {
            *event = event.replace(&own, "the account");
        }
        found.sort();
        assert_eq!(found, wanted);
        assert_eq!(counted, total);
    }
}

#[tokio::test]
async fn an_event_of_a_session_that_says_something_else_is_entered_and_told() {
    let (stage, mut events) = watched().await;
    let store = &stage.app.broker.store;
    let other = |events: &[Value]| {
        let mut other = events[1].clone();
        other["responseStatus"]["code"] = json!(403);
        other
    };
    let changed = other(&events);
    events.truncate(2);
    for batch in [vec![events[1].clone()], vec![changed.clone()], vec![changed]] {
        let answer = send(&stage, "production", &token(&stage), false, batch_of(&batch)).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(content(&stage).await.0.len(), 2, "both, each once");
    let findings = store.open_findings().await.unwrap();
    let told = findings
        .iter()
        .filter(|one| one.text.contains("carry the audit id"));
    assert_eq!(told.count(), 1, "{findings:?}");
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
