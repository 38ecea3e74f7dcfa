//! What people changed without a grant, on the feed: which request it belongs to, or why it was expected.

use super::chooser::query;
use super::must_open;
use crate::domain::finding::Finding;
use crate::domain::request::Request;
use crate::ids::FindingId;
use crate::store::{RequestFilter, StoreError};
use crate::web::csrf::Posted;
use crate::web::pages::feed::BypassForms;
use crate::web::pages::{Choice, Href, Place, Shell, Words};
use crate::web::{App, Error, Result};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};

/// How many requests there are to choose from, newest first.
const CHOICES: usize = 50;
/// Among how many of all clusters they are looked for.
const LOOKED_AT: u32 = 1_000;
/// How much of a reason tells one request from another, in characters.
const REASON: usize = 60;

/// `POST /feed/findings/{finding}/attach`: compliance says which request it belongs to.
///
/// # Errors
/// Not a reader of the feed, not compliance, their own, no such request, or settled before.
pub async fn attach(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result<Response> {
    must_open(&app, &posted.signed, Place::Feed)?;
    let id: FindingId = id.parse().map_err(|_| Error::NotFound)?;
    let (by, fields) = (&posted.signed.person, &posted.fields);
    app.broker
        .attach_bypass(
            id,
            by,
            fields.get("request"),
            fields.get("note"),
            fields.get("changes"),
        )
        .await?;
    Ok(Redirect::to("/feed").into_response())
}

/// `POST /feed/findings/{finding}/expected`: compliance says why it was to be expected.
///
/// # Errors
/// Not a reader of the feed, not compliance, their own, no reason, or settled before.
pub async fn expected(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result<Response> {
    must_open(&app, &posted.signed, Place::Feed)?;
    let id: FindingId = id.parse().map_err(|_| Error::NotFound)?;
    let (by, fields) = (&posted.signed.person, &posted.fields);
    app.broker
        .expect_bypass(id, by, fields.get("reason"), fields.get("changes"))
        .await?;
    Ok(Redirect::to("/feed").into_response())
}

/// What compliance may say of a finding; none of one that is no change without a grant.
pub(super) async fn forms(
    app: &App,
    finding: &Finding,
) -> std::result::Result<Option<BypassForms>, StoreError> {
    let Some(bypass) = &finding.bypass else {
        return Ok(None);
    };
    let of_all = RequestFilter {
        limit: LOOKED_AT,
        ..RequestFilter::default()
    };
    let requests = app.broker.store.requests(of_all).await?;
    let mut choices: Vec<_> = requests
        .iter()
        .filter(|request| finding.cluster.as_ref() == Some(&request.ask.cluster))
        .take(CHOICES)
        .map(|request| Choice::new(request.id.to_string(), label(request), false))
        .collect();
    if !choices.is_empty() {
        choices.insert(0, Choice::new("", "choose …", true));
    }
    Ok(Some(BypassForms {
        attach: Href::path(format!("/feed/findings/{}/attach", finding.id)),
        expected: Href::path(format!("/feed/findings/{}/expected", finding.id)),
        changes: bypass.changes,
        requests: choices,
    }))
}

fn label(request: &Request) -> String {
    let ask = &request.ask;
    let mut reason: String = ask.reason.chars().take(REASON).collect();
    if reason.len() < ask.reason.len() {
        reason.push('…');
    }
    format!(
        "{}, {} by {}: {reason}",
        request.filed_at.format("%Y-%m-%d %H:%M UTC"),
        ask.profile,
        ask.requester.name
    )
}

/// Where it was; of changes without a grant also when the last was, and where all of them are listed.
pub(super) fn detail(shell: &Shell, finding: &Finding) -> Option<Words> {
    let cluster = finding.cluster.as_ref()?;
    let words = Words::say(format!("cluster {cluster}"));
    let Some(bypass) = &finding.bypass else {
        return Some(words);
    };
    let list = [
        ("cluster", Some(cluster.clone())),
        ("flag", Some("bypass".to_owned())),
    ];
    Some(
        words
            .and(" · last change ")
            .at(shell.when(bypass.last_at))
            .and(" · ")
            .link(Href::path(format!("/feed{}", query(list))), "every one of them"),
    )
}

#[cfg(test)]
mod tests {
    use crate::domain::entry_kind::EntryKind;
    use crate::domain::fixture::ask;
    use crate::domain::request::{Ask, Request};
    use crate::domain::transition::{About, Transition, Write, record};
    use crate::ids::RequestId;
    use crate::store::EntryFilter;
    use crate::verify::tests::now;
    use crate::web::lists::fixture::{Reader, Stage};
    use chrono::TimeDelta;
    use http::StatusCode;
    use serde_json::{Value, json};

    fn event(user: &str, n: u32) -> Value {
        let at = now().format("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
        json!({
            "level": "Metadata", "auditID": format!("a-{n}"), "stage": "ResponseComplete", "verb": "delete",
            "requestURI": format!("/api/v1/namespaces/payments/pods/web-{n}"), "user": {"username": user},
            "sourceIPs": ["10.0.0.7"],
            "objectRef": {"resource": "pods", "namespace": "payments", "name": format!("web-{n}"), "apiVersion": "v1"},
            "responseStatus": {"code": 200}, "requestReceivedTimestamp": at, "stageTimestamp": at,
        })
    }

    async fn sent(stage: &Stage, events: &[Value]) {
        let list =
            json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events});
        let body = list.to_string();
        stage
            .app
            .broker
            .record_batch("production", "", body)
            .await
            .unwrap();
    }

    async fn entries(stage: &Stage, kind: EntryKind) -> usize {
        let filter = EntryFilter {
            kinds: vec![kind],
            limit: 10_000,
            ..EntryFilter::default()
        };
        stage.app.broker.store.entries(filter).await.unwrap().len()
    }

    async fn filed(stage: &Stage, cluster: &str, requester: &str) -> RequestId {
        let asked = Ask {
            cluster: cluster.to_owned(),
            requester: crate::verify::tests::person(requester),
            ..ask()
        };
        let request = Request::file(asked, now(), TimeDelta::hours(1));
        let id = request.id;
        let entry = record(
            EntryKind::RequestFiled,
            now(),
            About::request(&request),
            "filed",
            json!({}),
        );
        let filed = Transition::new(entry).write(Write::NewRequest(request));
        stage.app.broker.commit(filed).await.unwrap();
        id
    }

    async fn found(stage: &Stage) -> (String, u64) {
        let open = stage.app.broker.store.open_findings().await.unwrap();
        assert_eq!(open.len(), 1, "{open:?}");
        let changes = open[0].bypass.as_ref().unwrap().changes;
        (format!("/feed/findings/{}", open[0].id), changes)
    }

    fn fields(request: &str) -> [(&str, &str); 3] {
        [("changes", "1"), ("request", request), ("note", "INC-1")]
    }

    async fn compliance(stage: &Stage) -> Reader {
        stage.signed_in("compliance", &["compliance"]).await
    }

    #[tokio::test]
    async fn a_thousand_changes_are_a_thousand_entries_and_one_finding_also_when_they_come_again() {
        let stage = Stage::new().await;
        let all: Vec<Value> = (0..1_000).map(|n| event("alice", n)).collect();
        for _ in 0..2 {
            for batch in all.chunks(400) {
                sent(&stage, batch).await;
            }
        }
        assert_eq!(entries(&stage, EntryKind::Bypass).await, 1_000);
        assert_eq!(entries(&stage, EntryKind::Finding).await, 1);
        assert_eq!(found(&stage).await.1, 1_000);
        let page = stage.get("/feed", Some(&compliance(&stage).await)).await.text;
        let said = "alice changed 1000 things on production without a grant, from 10.0.0.7: deleted Pod payments/web-0";
        assert!(page.contains(said), "{page}");
        sent(&stage, &[event("bob", 1)]).await;
        assert_eq!(
            entries(&stage, EntryKind::Finding).await,
            2,
            "another person is another finding"
        );
    }

    #[tokio::test]
    async fn batches_that_come_at_once_lose_no_change() {
        let stage = Stage::new().await;
        let batches = (0..20).map(|n| {
            let events: Vec<Value> = (0..5).map(|m| event("alice", n * 5 + m)).collect();
            let stage = &stage;
            async move { sent(stage, &events).await }
        });
        futures::future::join_all(batches).await;
        assert_eq!(found(&stage).await.1, 100);
        assert_eq!(entries(&stage, EntryKind::Bypass).await, 100);
        assert_eq!(entries(&stage, EntryKind::Finding).await, 1);
    }

    #[tokio::test]
    async fn compliance_attaches_it_to_a_request_of_that_cluster_which_then_says_so() {
        let stage = Stage::new().await;
        let (request, elsewhere) = (
            filed(&stage, "production", "oncall").await,
            filed(&stage, "staging", "oncall").await,
        );
        let own = filed(&stage, "production", "compliance").await;
        sent(&stage, &[event("alice", 1)]).await;
        let (path, _) = found(&stage).await;
        let attach = format!("{path}/attach");
        let (request, elsewhere, own) = (request.to_string(), elsewhere.to_string(), own.to_string());
        let operator = stage.signed_in("operator", &["platform-engineers"]).await;
        let page = stage.get("/feed", Some(&operator)).await.text;
        assert!(page.contains("alice changed") && !page.contains(&attach));
        let refused = stage.post(&attach, &operator, &fields(&request)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        let reader = compliance(&stage).await;
        let page = stage.get("/feed", Some(&reader)).await.text;
        let is_choice = |id: &str| page.contains(&format!("<option value=\"{id}\""));
        assert!(page.contains(&attach) && is_choice(&request) && !is_choice(&elsewhere));
        for wrong in [elsewhere.as_str(), own.as_str(), "", "no-such"] {
            let refused = stage.post(&attach, &reader, &fields(wrong)).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        }
        let done = stage.post(&attach, &reader, &fields(&request)).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
        assert_eq!(stage.app.broker.store.open_findings().await.unwrap(), []);
        let said = "compliance attached to this request: alice changed something on production without a grant, \
                    from 10.0.0.7: deleted Pod payments/web-1: INC-1";
        let page = stage.get("/feed", Some(&reader)).await.text;
        assert!(
            page.contains(said) && page.contains(&format!("/requests/{request}")),
            "{page}"
        );
        let page = stage
            .get(&format!("/requests/{request}"), Some(&reader))
            .await
            .text;
        assert!(page.contains(said), "{page}");
        let again = stage.post(&attach, &reader, &fields(&request)).await;
        assert_eq!(again.status, StatusCode::NOT_FOUND);
        // What comes after it was settled is found anew.
        sent(&stage, &[event("alice", 1), event("alice", 2)]).await;
        assert_eq!(found(&stage).await.1, 1);
    }

    #[tokio::test]
    async fn it_is_expected_with_a_reason_by_somebody_else_and_as_it_was_seen() {
        let stage = Stage::new().await;
        sent(&stage, &[event("oidc:Compliance", 1)]).await;
        let (path, _) = found(&stage).await;
        let (expected, reader) = (format!("{path}/expected"), compliance(&stage).await);
        let say = |seen: &'static str, reason: &'static str| [("changes", seen), ("reason", reason)];
        let refused = stage.post(&expected, &reader, &say("1", "planned")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text.contains("your own changes"), "{}", refused.text);
        let other = stage.signed_in("second-pair", &["compliance"]).await;
        let empty = stage.post(&expected, &other, &say("1", " ")).await;
        assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);
        sent(&stage, &[event("oidc:Compliance", 2)]).await;
        let outdated = stage.post(&expected, &other, &say("1", "planned")).await;
        assert_eq!(outdated.status, StatusCode::UNPROCESSABLE_ENTITY, "it has grown");
        let settle = format!("{path}/settle");
        let beside = stage.post(&settle, &other, &[("note", "fine")]).await;
        assert_eq!(
            beside.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "not without saying what it was"
        );
        let done = stage
            .post(&expected, &other, &say("2", "the planned upgrade"))
            .await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
        assert_eq!(entries(&stage, EntryKind::BypassExpected).await, 1);
        let page = stage.get("/feed", Some(&other)).await.text;
        assert!(page.contains("says that this was expected") && page.contains("the planned upgrade"));
    }

    #[tokio::test]
    async fn hostile_names_stay_text_on_the_feed() {
        let corpus: Vec<Value> =
            serde_json::from_str(include_str!("../../../tests/fixtures/hostile.json")).unwrap();
        let stage = Stage::new().await;
        for (n, hostile) in (0..).zip(&corpus) {
            let mut one = event(hostile["text"].as_str().unwrap(), n);
            one["objectRef"]["name"] = hostile["text"].clone();
            one["sourceIPs"] = json!([hostile["text"]]);
            sent(&stage, &[one]).await;
        }
        let findings = stage.app.broker.store.open_findings().await.unwrap().len();
        assert!(findings > corpus.len() / 2, "{findings} of {}", corpus.len());
        let reader = compliance(&stage).await;
        for path in ["/feed", "/feed?flag=bypass", "/feed.atom?flag=bypass"] {
            let page = stage.get(path, Some(&reader)).await.text;
            for tag in [
                "<img src=x",
                "<script class",
                "<svg onload",
                "<meta http-equiv=refresh",
                "<b class=pwned",
            ] {
                assert!(!page.contains(tag), "{tag} on {path}");
            }
            assert!(!page.contains('\u{202e}'), "{path}");
        }
    }

    #[tokio::test]
    async fn what_is_named_as_automation_is_no_finding() {
        let stage = Stage::with(|config| {
            let cluster = config.clusters.get_mut("production").unwrap();
            cluster.audit.automation.users = vec!["pipeline-*".to_owned()];
        })
        .await;
        sent(&stage, &[event("pipeline-7", 1)]).await;
        assert_eq!(stage.app.broker.store.open_findings().await.unwrap(), []);
        sent(&stage, &[event("pipelin", 2)]).await;
        assert_eq!(found(&stage).await.1, 1);
    }
}
