//! The lists as their readers get them.

use super::fixture::Stage;
use crate::broker::verify::judge_bundle;
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::About;
use crate::ids::GrantId;
use crate::ledger::{Bundle, Integrity};
use crate::store::EntryFilter;
use crate::verify::tests::{fill, honest, now};
use chrono::TimeDelta;
use http::{StatusCode, header};
use serde_json::Value;

async fn filled() -> (Stage, GrantId) {
    let stage = Stage::new().await;
    let (grant, _) = fill(stage.app.broker.store.as_ref(), honest).await;
    (stage, grant)
}

async fn reads(stage: &Stage) -> usize {
    let filter = EntryFilter {
        kinds: vec![EntryKind::LedgerRead],
        limit: 100,
        ..EntryFilter::default()
    };
    stage.app.broker.store.entries(filter).await.unwrap().len()
}

#[tokio::test]
async fn the_feed_and_the_ledger_are_for_their_readers_alone() {
    let (stage, grant) = filled().await;
    let engineer = stage.signed_in("second", &["payments-engineers"]).await;
    let export = format!("/ledger/export/{grant}.bgx");
    for path in [
        "/feed",
        "/feed.atom",
        "/feed.json",
        "/feed.csv",
        "/feed/live",
        "/ledger",
        export.as_str(),
    ] {
        assert_eq!(
            stage.get(path, Some(&engineer)).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
        assert_eq!(
            stage.get(path, None).await.status,
            StatusCode::SEE_OTHER,
            "{path}"
        );
    }
    assert_eq!(reads(&stage).await, 0, "nothing was read");
    let filed = stage.get("/ledger/entries/0", Some(&engineer)).await;
    assert_eq!(
        filed.status,
        StatusCode::NOT_FOUND,
        "the request's own entry names no grant"
    );
    let own_team = stage.get("/ledger/entries/3", Some(&engineer)).await;
    assert_eq!(
        own_team.status,
        StatusCode::OK,
        "an action of a grant of their team"
    );
    let other_team = stage.signed_in("other", &["platform-engineers-2"]).await;
    assert_eq!(
        stage.get("/ledger/entries/3", Some(&other_team)).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_same_filter_holds_on_the_page_and_in_every_form() {
    let (stage, _) = filled().await;
    let reader = stage.signed_in("compliance", &["compliance"]).await;
    let page = stage.get("/feed", Some(&reader)).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(
        page.text.contains("approved") && !page.text.contains("scaled payments/web"),
        "actions only when asked for"
    );
    let page = stage.get("/feed?flag=change&team=payments", Some(&reader)).await;
    assert_eq!(
        page.text.matches("scaled payments/web-").count(),
        12,
        "{}",
        page.text
    );
    assert!(
        page.text.contains("/feed.csv?team=payments&#38;flag=change"),
        "the query goes along"
    );
    let none = stage.get("/feed?flag=exec", Some(&reader)).await;
    assert!(none.text.contains("Nothing matches this filter."));

    let feed = stage.get("/feed.json?flag=change", Some(&reader)).await;
    let feed: Value = serde_json::from_str(&feed.text).unwrap();
    assert_eq!(feed["version"], "https://jsonfeed.org/version/1.1");
    assert_eq!(feed["items"].as_array().unwrap().len(), 12);
    assert_eq!(
        feed["items"][0]["_breakglass"]["facts"]["action"]["mutates"],
        true
    );
    let atom = stage.get("/feed.atom?flag=change", Some(&reader)).await;
    let atom = atom_syndication::Feed::read_from(atom.text.as_bytes()).unwrap();
    assert_eq!(atom.entries.len(), 12);
    let csv = stage.get("/feed.csv?flag=change", Some(&reader)).await;
    assert_eq!(csv.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    assert_eq!(
        csv::Reader::from_reader(csv.text.as_bytes()).records().count(),
        12
    );
}

#[tokio::test]
async fn no_form_of_the_feed_shows_a_signed_token() {
    let (stage, _) = filled().await;
    let reader = stage.signed_in("compliance", &["compliance"]).await;
    for path in [
        "/feed",
        "/feed.json",
        "/feed.atom",
        "/feed.csv",
        "/ledger/entries/1",
    ] {
        let answer = stage.get(path, Some(&reader)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        // How every token in compact form begins: the letters of `{"`.
        assert!(!answer.text.contains("eyJ"), "{path}");
    }
}

#[tokio::test]
async fn compliance_settles_a_finding_with_a_note_and_nobody_else_does() {
    let (stage, _) = filled().await;
    let broker = &stage.app.broker;
    broker
        .find("k", About::cluster("production"), "a token nobody knows", None)
        .await
        .unwrap();
    let id = broker.store.open_findings().await.unwrap()[0].id;
    let path = format!("/feed/findings/{id}/settle");
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    let refused = stage.post(&path, &auditor, &[("note", "fine")]).await;
    assert!(refused.status.is_client_error());
    let compliance = stage.signed_in("compliance", &["compliance"]).await;
    let page = stage.get("/feed", Some(&compliance)).await;
    assert!(
        page.text.contains("a token nobody knows") && page.text.contains(&path),
        "pinned, with its form"
    );
    assert!(!stage.get("/feed", Some(&auditor)).await.text.contains(&path));
    assert!(
        stage
            .post(&path, &compliance, &[("note", " ")])
            .await
            .status
            .is_client_error()
    );
    assert_eq!(broker.store.open_findings().await.unwrap().len(), 1);
    let done = stage
        .post(&path, &compliance, &[("note", "it was the drill")])
        .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    assert!(broker.store.open_findings().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_entry_is_shown_with_its_proof_and_an_export_verifies() {
    let (stage, grant) = filled().await;
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    let page = stage.get("/ledger/entries/4", Some(&auditor)).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let store = &stage.app.broker.store;
    let leaf = hex::encode(store.leaves(4, 1).await.unwrap()[0]);
    assert!(
        page.text.contains(&leaf) && page.text.contains("scaled payments/web-0-1"),
        "{}",
        page.text
    );
    let export = stage
        .get(&format!("/ledger/export/{grant}.bgx"), Some(&auditor))
        .await;
    let bundle = Bundle::parse(export.text.as_bytes()).unwrap();
    let key = stage.app.broker.verifier_key().unwrap();
    let judged = judge_bundle(&[key], &[], &bundle);
    assert_eq!(judged.report.integrity(), Integrity::Whole, "{judged}");
    assert_eq!(
        (judged.report.approvals.good, judged.report.entries > 14),
        (1, true)
    );
    assert_eq!(
        stage.get("/ledger/entries/99999", Some(&auditor)).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        stage
            .get("/ledger/export/nothing.bgx", Some(&auditor))
            .await
            .status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn reading_is_entered_once_for_each_query() {
    let (stage, _) = filled().await;
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    for _ in 0..3 {
        assert_eq!(stage.get("/ledger", Some(&auditor)).await.status, StatusCode::OK);
    }
    assert_eq!(reads(&stage).await, 1);
    stage.get("/ledger?team=payments", Some(&auditor)).await;
    stage.get("/feed.csv", Some(&auditor)).await;
    assert_eq!(reads(&stage).await, 3);
}

#[tokio::test]
async fn the_ledger_page_says_what_was_checked_and_nothing_before() {
    let (stage, _) = filled().await;
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    let before = stage.get("/ledger", Some(&auditor)).await;
    assert!(before.text.contains("has not been checked"), "{}", before.text);
    stage.app.broker.check_ledger().await.unwrap();
    let after = stage.get("/ledger", Some(&auditor)).await;
    assert!(
        after.text.contains("The record is unaltered.") && after.text.contains("1 approval holds"),
        "{}",
        after.text
    );
    let note = stage.get("/log/checkpoint", Some(&auditor)).await.text;
    assert!(note.contains("breakglass.example.org/ledger"), "{note}");
}

#[tokio::test]
async fn an_altered_record_is_found_by_the_broker_itself() {
    let stage = Stage::new().await;
    let store = stage.app.broker.store.as_ref();
    fill(store, |filed| {
        let mut approval = honest(filed);
        approval.proof.salt = "00".repeat(32);
        approval
    })
    .await;
    stage.app.broker.check_ledger().await.unwrap();
    let checked = stage.app.broker.ledger_checked().await.unwrap().unwrap();
    assert!(
        !checked.whole && checked.problems[0].contains("the provider signed for another request"),
        "{checked:?}"
    );
    let findings = store.open_findings().await.unwrap();
    assert_eq!(findings.len(), 1);
    let compliance = stage.signed_in("compliance", &["compliance"]).await;
    assert!(
        stage
            .get("/ledger", Some(&compliance))
            .await
            .text
            .contains("The record was altered.")
    );
}

#[tokio::test]
async fn numbers_lead_to_what_they_count() {
    let (stage, grant) = filled().await;
    let store = stage.app.broker.store.as_ref();
    let stored = store.grant(grant).await.unwrap().unwrap();
    let mut debt = super::sla_figures::tests::follow_up("payments", now() - chrono::TimeDelta::hours(30));
    (debt.grant, debt.request) = (grant, stored.request);
    let mut debt = debt.owed(now()).unwrap();
    for deadline in &mut debt.deadlines {
        if let Some(passed) = deadline.tick(now()) {
            *deadline = passed;
        }
    }
    let id = super::fixture::owe(store, debt).await;
    let engineer = stage.signed_in("second", &["payments-engineers"]).await;
    let page = stage.get("/sla", Some(&engineer)).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.text.contains("1 debt is open, 1 is late."), "{}", page.text);
    assert!(page.text.contains("/sla?show=late#owed") && page.text.contains("one more approval"));
    let link = format!("/follow-ups/{id}");
    assert!(
        stage
            .get("/sla?show=late", Some(&engineer))
            .await
            .text
            .contains(&link)
    );
    assert!(
        !stage
            .get("/sla?show=in-time", Some(&engineer))
            .await
            .text
            .contains(&link)
    );
    assert!(
        !stage
            .get("/sla?team=platform", Some(&engineer))
            .await
            .text
            .contains(&link)
    );
    let table = stage.get("/sla.csv", Some(&engineer)).await;
    assert!(
        table
            .text
            .lines()
            .nth(1)
            .is_some_and(|row| row.starts_with(&id.to_string())),
        "{}",
        table.text
    );
    let compliance = stage.signed_in("compliance", &["compliance"]).await;
    let review = format!("/feed/reviews/{id}");
    assert!(
        stage
            .get("/feed?state=late", Some(&compliance))
            .await
            .text
            .contains(&review)
    );
    let done = stage
        .post(&review, &compliance, &[("note", "looked at every change")])
        .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    let page = stage.get("/feed?state=reviewed", Some(&compliance)).await;
    assert!(
        page.text.contains("looked at every change") && !page.text.contains(&review),
        "{}",
        page.text
    );
}

#[tokio::test]
async fn a_cluster_that_nobody_sees_is_said_so_and_the_policy_answers() {
    let (stage, _) = filled().await;
    let engineer = stage.signed_in("second", &["payments-engineers"]).await;
    let page = stage.get("/clusters", Some(&engineer)).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(
        page.text.contains("Not reachable") && page.text.contains("Audit is silent"),
        "{}",
        page.text
    );
    let page = stage.get("/policy", Some(&engineer)).await;
    assert!(
        page.text.contains("payments-admin") && page.text.contains("2 ways to break the glass"),
        "{}",
        page.text
    );
    let asked = "/policy?person=second&profile=node-repair&cluster=production&namespace=payments";
    let page = stage.get(asked, Some(&engineer)).await;
    assert!(
        page.text
            .contains("node-repair is for platform, and you ask as payments"),
        "{}",
        page.text
    );
    let nobody = stage
        .get(
            "/policy?person=%3Cb%3Enobody&profile=node-repair&cluster=production",
            Some(&engineer),
        )
        .await;
    assert!(nobody.text.contains("Nobody of that name") && !nobody.text.contains("<b>nobody"));
}

#[tokio::test]
async fn what_happened_to_a_field_is_answered_with_why_and_who_reviewed_it() {
    let (stage, _) = filled().await;
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    let ask = async |query: &str| {
        let answer = stage.get(&format!("/ledger?{query}"), Some(&auditor)).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
        answer.text
    };
    let of_object = "object=deployment+payments%2Fweb-1-2";
    let shown = ask(of_object).await;
    assert_eq!(shown.matches("scaled payments/web-").count(), 1, "{shown}");
    assert!(shown.contains("scaled payments/web-1-2") && shown.contains("nobody has reviewed it"));
    let field = ask(&format!("{of_object}&field=spec.replicas")).await;
    assert!(field.contains("scaled payments/web-1-2"));
    let other = ask(&format!("{of_object}&field=spec.template")).await;
    assert!(!other.contains("scaled") && other.contains("Nothing in the record answers this."));
    assert!(ask("field=spec.replicas").await.contains("name that too"));

    let (from, to) = (now() - TimeDelta::minutes(1), now() + TimeDelta::minutes(1));
    let utc = |time: Time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let then = ask(&format!("kind=audit-event&from={}&to={}", utc(from), utc(to))).await;
    assert_eq!(then.matches("scaled payments/web-").count(), 12);
    let before = ask(&format!("to={}", utc(from))).await;
    assert!(!before.contains("scaled"));
    // A time by the reader's clock is asked again in UTC, so that the address can be passed on.
    let local = stage.get("/ledger?from=2026-11-19T14:32", Some(&auditor)).await;
    assert_eq!(local.status, StatusCode::SEE_OTHER);
    assert_eq!(
        local.headers[header::LOCATION],
        "/ledger?from=2026-11-19T14%3A32%3A00Z"
    );
    let wrong = stage.get("/ledger?from=noon", Some(&auditor)).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_answer_of_the_ledger_is_the_same_for_machines_and_is_entered_as_read() {
    let (stage, _) = filled().await;
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    let engineer = stage.signed_in("second", &["payments-engineers"]).await;
    for path in ["/ledger.ndjson", "/ledger.csv"] {
        let refused = stage.get(path, Some(&engineer)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(reads(&stage).await, 0);
    let lines = stage.get("/ledger.ndjson?kind=audit-event", Some(&auditor)).await;
    assert_eq!(
        lines.headers[header::CONTENT_TYPE],
        "application/x-ndjson; charset=utf-8"
    );
    let read: Vec<Value> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(read.len(), 12);
    assert_eq!(read[0]["facts"]["event"]["verb"], "patch");
    assert_eq!(read[0]["about"]["team"], "payments");
    let table = stage.get("/ledger.csv?kind=audit-event", Some(&auditor)).await;
    assert_eq!(
        csv::Reader::from_reader(table.text.as_bytes()).records().count(),
        12
    );
    assert_eq!(reads(&stage).await, 2);
}
