//! The lists as their readers get them.

use super::fixture::Stage;
use crate::broker::verify::judge_bundle;
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::{About, Transition, record};
use crate::ids::GrantId;
use crate::ledger::{Bundle, Integrity};
use crate::store::EntryFilter;
use crate::verify::tests::{fill, honest, now};
use crate::verify::{How, Said, verify};
use chrono::TimeDelta;
use http::{StatusCode, header};
use serde_json::{Value, json};

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

/// `bytes` under that name in a folder of its own, checked with the log's key as the page's line does.
async fn checked(stage: &Stage, name: &str, bytes: &[u8]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let how = How {
        keys: vec![stage.app.broker.verifier_key().unwrap().to_string()],
        ..How::default()
    };
    verify(&path, &how).await
}

#[tokio::test]
async fn the_whole_log_is_had_as_one_file_and_tells_of_its_holes_offline() {
    let (stage, _) = filled().await;
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    let engineer = stage.signed_in("second", &["payments-engineers"]).await;
    let path = "/ledger/export/ledger.bgl";
    let refused = stage.get(path, Some(&engineer)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(stage.get("/ledger", Some(&auditor)).await.text.contains(path));
    let log = stage.get(path, Some(&auditor)).await;
    assert_eq!(log.status, StatusCode::OK, "{}", log.text);
    assert_eq!(
        log.headers[header::CONTENT_DISPOSITION],
        "attachment; filename=\"ledger.bgl\""
    );
    let said = checked(&stage, "ledger.bgl", &log.bytes).await;
    assert_eq!(said.code, 0, "{}", said.text);
    for words in [
        "the export of a log",
        "integrity: whole\ncompleteness: whole; the log knows of no hole",
        "approvals: 1 hold, 0 fail",
    ] {
        assert!(said.text.contains(words), "{words:?} is not in {}", said.text);
    }
    let facts = json!({"gap": "one", "why": "lost", "from": "2026-03-01T02:14:00Z", "to": "2026-03-01T02:16:00Z",
        "events": 7, "grants": []});
    let gap = record(
        EntryKind::Gap,
        now(),
        About::cluster("production"),
        "a gap",
        facts,
    );
    stage.app.broker.store.commit(Transition::new(gap)).await.unwrap();
    let log = stage.get(path, Some(&auditor)).await;
    let said = checked(&stage, "ledger.bgl", &log.bytes).await;
    let sentence =
        "integrity: whole\ncompleteness: whole except 2026-03-01 02:14–02:16 UTC, nobody held a grant\n";
    assert!(said.code == 0 && said.text.contains(sentence), "{}", said.text);
    // A byte that was altered, an end that was cut, in the middle of a segment and after one.
    let mut altered = log.bytes.clone();
    let last = altered.len() - 10;
    altered[last] ^= 1;
    let store = &stage.app.broker.store;
    let size = store.head().await.unwrap().size;
    let last_segment = store.segment_of(size - 1).await.unwrap().unwrap();
    let whole_segments = log.bytes.len() - last_segment.bytes.len() - 12;
    for (bytes, words) in [
        (altered.as_slice(), "segment-damaged: "),
        (
            &log.bytes[..last],
            "it could not be read to its end: it was cut off after ",
        ),
        (&log.bytes[..whole_segments], "cut-tail: "),
    ] {
        let said = checked(&stage, "ledger.bgl", bytes).await;
        assert!(
            said.code == 1 && said.text.contains(words),
            "{words:?}: {}",
            said.text
        );
    }
}

#[tokio::test]
async fn each_entry_is_had_as_a_file_that_the_line_on_its_page_checks() {
    let (stage, _) = filled().await;
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    for index in [0_u64, 1, 2, 4] {
        let page = stage
            .get(&format!("/ledger/entries/{index}"), Some(&auditor))
            .await
            .text;
        let name = format!("entry-{index}.bgx");
        let key = stage.app.broker.verifier_key().unwrap();
        let line = format!("breakglass verify --key &#39;{key}&#39; {name}");
        assert!(page.contains(&line), "{line} is not on {page}");
        assert!(
            page.contains("— breakglass.example.org/ledger "),
            "the checkpoint: {page}"
        );
        let path = format!("/ledger/export/{name}");
        assert!(page.contains(&path));
        let file = stage.get(&path, Some(&auditor)).await;
        let said = checked(&stage, &name, &file.bytes).await;
        assert_eq!(said.code, 0, "{}", said.text);
        assert!(said.text.contains("integrity: whole"), "{}", said.text);
        if index == 1 {
            assert!(said.text.contains("approvals: 1 hold, 0 fail"), "{}", said.text);
        } else {
            assert!(
                said.text.contains(&format!("the export of entry {index}")),
                "{}",
                said.text
            );
        }
    }
    let file = stage.get("/ledger/export/entry-4.bgx", Some(&auditor)).await;
    let altered = file.text.replacen("web-0-1", "web-0-2", 1);
    let said = checked(&stage, "entry-4.bgx", altered.as_bytes()).await;
    assert!(
        said.code == 1 && said.text.contains("payload-altered") && said.text.contains("entry 4"),
        "{}",
        said.text
    );
    for none in ["entry-99999.bgx", "entry--1.bgx", "entry-4.bgl", "entry-4"] {
        let answer = stage.get(&format!("/ledger/export/{none}"), Some(&auditor)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{none}");
    }
}

#[tokio::test]
async fn who_may_see_an_entry_may_have_it_and_no_signed_token_with_it() {
    let (stage, _) = filled().await;
    let engineer = stage.signed_in("second", &["payments-engineers"]).await;
    let stranger = stage.signed_in("other", &["platform-engineers-2"]).await;
    for index in [1, 3] {
        let path = format!("/ledger/export/entry-{index}.bgx");
        let refused = stage.get(&path, Some(&stranger)).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{path}");
    }
    let approval = stage.get("/ledger/export/entry-1.bgx", Some(&engineer)).await;
    assert_eq!(approval.status, StatusCode::OK, "{}", approval.text);
    assert!(!approval.text.contains("eyJ"), "the approver's signed token");
    let said = checked(&stage, "entry-1.bgx", &approval.bytes).await;
    assert!(
        said.code == 0 && said.text.contains("1 payloads were pruned or left out"),
        "{}",
        said.text
    );
    let action = stage.get("/ledger/export/entry-3.bgx", Some(&engineer)).await;
    assert!(action.text.contains("scaled payments/web-0-0"), "{}", action.text);
    let filed = stage.get("/ledger/export/entry-0.bgx", Some(&engineer)).await;
    assert_eq!(filed.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_export_of_a_grant_holds_the_holes_of_its_time_whenever_they_were_found() {
    let (stage, id) = filled().await;
    let store = &stage.app.broker.store;
    let enter = async |kind, facts: Value| {
        let later = now() + TimeDelta::hours(9);
        let entry = record(kind, later, About::cluster("demo"), "audit", facts);
        store.commit(Transition::new(entry)).await.unwrap();
    };
    let gap = |id: &str, from: i64, to: i64| {
        let at = |minutes| now() + TimeDelta::minutes(minutes);
        json!({"gap": id, "why": "lost", "from": at(from), "to": at(to), "events": 1,
            "grants": [{"id": "1", "profile": "workloads", "requester": "Olga Oncall"}]})
    };
    enter(EntryKind::Gap, gap("before", -20, -10)).await;
    enter(EntryKind::Gap, gap("within", 5, 6)).await;
    enter(EntryKind::Gap, gap("filled", 7, 8)).await;
    enter(
        EntryKind::GapFilled,
        json!({"gap": "filled", "came": 1, "left": 0}),
    )
    .await;
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    let export = stage
        .get(&format!("/ledger/export/{id}.bgx"), Some(&auditor))
        .await;
    let said = checked(&stage, "grant.bgx", &export.bytes).await;
    let sentence = "completeness: whole except 2026-03-01 10:05–10:06 UTC, held by Olga Oncall (workloads)\n";
    assert!(said.text.contains(sentence), "{}", said.text);
}

#[tokio::test]
async fn a_question_by_time_is_answered_with_what_others_did_where_that_is_kept() {
    let stage = Stage::with(|config| {
        config.clusters.get_mut("production").unwrap().audit.keep = crate::config::Keep::Everything;
    })
    .await;
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    let at = |minute: i64| now() + TimeDelta::minutes(minute);
    let event = |n: i64, user: &str, minute: i64| {
        json!({"level": "Request", "auditID": format!("{n}"), "stage": "ResponseComplete", "verb": "patch",
            "requestURI": "/apis/apps/v1/namespaces/shop/deployments/web", "user": {"username": user},
            "objectRef": {"resource": "deployments", "apiGroup": "apps", "apiVersion": "v1", "namespace": "shop",
                "name": format!("web-{n}")},
            "requestObject": {"spec": {"replicas": n}}, "responseStatus": {"code": 200},
            "requestReceivedTimestamp": at(minute), "stageTimestamp": at(minute)})
    };
    let send = async |items: &[Value]| {
        let list =
            json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items});
        let broker = &stage.app.broker;
        broker
            .record_batch("production", "", list.to_string())
            .await
            .unwrap();
    };
    let (robot, other) = (
        "system:serviceaccount:kube-system:robot",
        "system:serviceaccount:kube-system:other",
    );
    send(&[event(1, robot, -3), event(2, other, -2)]).await;
    send(&[event(3, robot, -2), event(4, robot, 0)]).await;
    let ask = async |query: &str| {
        let answer = stage.get(&format!("/ledger?{query}"), Some(&auditor)).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
        let others = answer
            .text
            .split("id=\"others\"")
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let named: Vec<i64> = (1..=4)
            .filter(|n| others.contains(&format!("shop/web-{n}")))
            .collect();
        (named, others)
    };
    let utc = |minute: i64| at(minute).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let minute = format!("from={}&to={}", utc(-2), utc(-1));
    let (named, others) = ask(&minute).await;
    assert_eq!(named, [2, 3], "{others}");
    assert!(
        others.contains("kube-system:robot") && !others.contains("There is more"),
        "{others}"
    );
    // Narrowed as the lines are.
    assert_eq!(
        ask(&format!("{minute}&person={}", robot.replace(':', "%3A")))
            .await
            .0,
        [3]
    );
    assert_eq!(
        ask(&format!("{minute}&object=deployment+shop%2Fweb-2")).await.0,
        [2]
    );
    let object = format!("{minute}&object=Deployment+shop%2Fweb-2");
    assert_eq!(ask(&format!("{object}&field=spec.replicas")).await.0, [2]);
    for none in [
        format!("{object}&field=spec.template"),
        format!("{minute}&kind=gap"),
        format!("{minute}&team=payments"),
        format!("{minute}&cluster=staging"),
        "person=x".to_owned(),
    ] {
        assert!(ask(&none).await.0.is_empty(), "{none}");
    }
    assert_eq!(ask(&format!("from={}", utc(-60))).await.0, [1, 2, 3, 4]);
    // The same for machines; and each is a page of its own, in words.
    let lines = stage
        .get(&format!("/ledger.ndjson?{minute}"), Some(&auditor))
        .await
        .text;
    let kept: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["what"].as_str().unwrap().contains("shop/web-"))
        .collect();
    assert_eq!(kept.len(), 2, "{lines}");
    assert_eq!(kept[0]["facts"]["event"]["requestObject"]["spec"]["replicas"], 3);
    let page = stage
        .get(&format!("/ledger/entries/{}", kept[0]["entry"]), Some(&auditor))
        .await;
    assert!(
        page.text.contains("Deployment shop/web-3") && page.text.contains("kube-system:robot"),
        "{}",
        page.text
    );
}

#[tokio::test]
async fn a_question_that_is_too_wide_for_what_others_did_says_so() {
    use super::kept::{BATCHES, kept};
    use super::ledger_query::Asked;
    use crate::domain::transition::Kept;
    let stage = Stage::new().await;
    let broker = &stage.app.broker;
    for n in 0..=BATCHES {
        let mut line = record(
            EntryKind::BatchCount,
            now(),
            About::cluster("production"),
            format!("1 {}", crate::audit::KEPT),
            json!({}),
        );
        line.key = Some(format!("batch {n}"));
        let event = json!({"level": "Metadata", "auditID": n.to_string(), "stage": "ResponseComplete", "verb": "get",
            "requestURI": "/version", "user": {"username": "robot"},
            "requestReceivedTimestamp": now(), "stageTimestamp": now()});
        let mut transition = Transition::new(line);
        transition.kept = vec![Kept {
            batch: format!("batch {n}"),
            cluster: "production".to_owned(),
            events: vec![(now(), event.to_string().into_bytes().into())],
        }];
        broker.store.commit(transition).await.unwrap();
    }
    let asked = Asked {
        from: Some(now()),
        ..Asked::default()
    };
    let found = kept(&asked, broker, 10_000).await.unwrap();
    assert_eq!((found.lines.len(), found.more), (BATCHES, true));
    let few = kept(&asked, broker, 20).await.unwrap();
    assert_eq!((few.lines.len(), few.more), (20, true));
    let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
    let path = "/ledger?from=2026-03-01T10:00:00Z";
    assert!(
        stage
            .get(path, Some(&auditor))
            .await
            .text
            .contains("There is more than is looked through at once")
    );
    let machine = stage
        .get("/ledger.ndjson?from=2026-03-01T10:00:00Z", Some(&auditor))
        .await;
    assert!(machine.headers.contains_key("x-breakglass-more"));
}
