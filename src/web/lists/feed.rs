//! The compliance feed as a page: what happened, is it reviewed, is anything wrong?

use super::chooser::{self, filter, names};
use super::feed_bypass;
use super::feed_query::{FLAGS, FeedQuery, STATES, follow_ups};
use super::must_open;
use crate::broker::Broker;
use crate::domain::entry_kind::EntryKind;
use crate::domain::finding::Finding;
use crate::domain::follow_up::FollowUp;
use crate::domain::person::Person;
use crate::domain::policy::{Role, has_role};
use crate::domain::transition::About;
use crate::ids::{FindingId, FollowUpId, NoticeId, RequestId};
use crate::store::EntryLine;
use crate::web::csrf::{Fields, Posted};
use crate::web::pages::feed::{BypassForms, FeedEntry, FeedPage};
use crate::web::pages::{Badge, Filter, Href, Look, Place, Shell, Text, Words};
use crate::web::{App, Error, Result, Signed, page as answer, shell, waits};
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Lines on a page.
const PAGE: u32 = 50;

/// `GET /feed`.
///
/// # Errors
/// Not a reader of the feed, or the store's.
pub async fn page(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    must_open(&app, &signed, Place::Feed)?;
    let query = FeedQuery::read(&Fields::parse(raw.unwrap_or_default().as_bytes()));
    let broker = &app.broker;
    let shell = shell::shell(&app, &signed, "Compliance feed", Some(Place::Feed)).await?;
    let found = query.find(broker, PAGE).await?;
    let mut left = follow_ups(broker, &found.lines).await?;
    let unreviewed = usize::try_from(broker.store.unreviewed().await?).unwrap_or(usize::MAX);
    let is_compliance = has_role(app.config(), &signed.person, Role::Compliance);
    let reviewer = is_compliance.then_some(&signed.person);
    let shown = found
        .lines
        .first()
        .zip(found.lines.last())
        .map(|(first, last)| (first.index, last.index));
    let entries = found
        .lines
        .iter()
        .map(|line| entry(&shell, line, &mut left, reviewer))
        .collect();
    let view = FeedPage {
        running: broker
            .live_grants(None)
            .await?
            .iter()
            .filter(|grant| grant.was_revealed())
            .count(),
        unreviewed,
        pinned: pinned(&app, &shell, &signed.person).await?,
        entries,
        filters: filters(broker, &query),
        query: query.text(),
        can_review: is_compliance,
        pager: chooser::pager("/feed", &query.pairs(), shown, found.next),
        shell,
    };
    answer(&view)
}

/// `POST /feed/reviews/{follow_up}`: compliance has looked at an emergency.
///
/// # Errors
/// Not a reader of the feed, not compliance, not independent, no note, or reviewed before.
pub async fn review(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result<Response> {
    // First, so that nobody else learns from the answer whether there is such a follow-up.
    must_open(&app, &posted.signed, Place::Feed)?;
    let id: FollowUpId = id.parse().map_err(|_| Error::NotFound)?;
    app.broker
        .review(id, &posted.signed.person, posted.fields.get("note"))
        .await?;
    Ok(Redirect::to("/feed").into_response())
}

/// `POST /feed/findings/{finding}/settle`: compliance has looked at a finding.
///
/// # Errors
/// Not a reader of the feed, not compliance, no note, or settled before.
pub async fn settle(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result<Response> {
    must_open(&app, &posted.signed, Place::Feed)?;
    let id: FindingId = id.parse().map_err(|_| Error::NotFound)?;
    app.broker
        .settle_finding(id, &posted.signed.person, posted.fields.get("note"))
        .await?;
    Ok(Redirect::to("/feed").into_response())
}

/// `POST /feed/notices/{notice}/settle?channel=…`: somebody has looked at a notice that was not delivered.
///
/// # Errors
/// Not a reader of the feed, neither compliance nor operator, no note, or it is settled or has arrived.
pub async fn settle_notice(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
    posted: Posted,
) -> Result<Response> {
    must_open(&app, &posted.signed, Place::Feed)?;
    let id: NoticeId = id.parse().map_err(|_| Error::NotFound)?;
    let query = Fields::parse(raw.unwrap_or_default().as_bytes());
    app.broker
        .settle_delivery(
            id,
            query.get("channel"),
            &posted.signed.person,
            posted.fields.get("note"),
        )
        .await?;
    Ok(Redirect::to("/feed").into_response())
}

/// One line. The newest line of an emergency on the page carries its review; the older ones do not
/// repeat it.
fn entry(
    shell: &Shell,
    line: &EntryLine,
    left: &mut BTreeMap<RequestId, Arc<FollowUp>>,
    may_review: Option<&Person>,
) -> FeedEntry {
    let follow_up = line.about.request.and_then(|request| left.remove(&request));
    let reviewed = follow_up
        .as_ref()
        .and_then(|follow_up| follow_up.reviewed.as_ref())
        .map(|(by, note, at)| {
            Words::say(format!("Reviewed by {} ", by.name))
                .at(shell.when(*at))
                .and(format!(": {note}"))
        });
    let review = follow_up
        .as_ref()
        .filter(|follow_up| follow_up.reviewed.is_none())
        .filter(|follow_up| may_review.is_some_and(|person| follow_up.is_independent(person)))
        .map(|follow_up| Href::path(format!("/feed/reviews/{}", follow_up.id)));
    FeedEntry {
        anchor: format!("entry-{}", line.index),
        badge: badge(line.kind),
        when: shell.when(line.at),
        words: sentence(line),
        detail: Some(detail(line)),
        review,
        reviewed,
        lines: None,
        bypass: None,
    }
}

fn sentence(line: &EntryLine) -> Words {
    let words = Words::say(&line.sentence);
    match target(&line.about) {
        Some((href, name)) => words.and(" · ").link(Href::path(href), name),
        None => words,
    }
}

/// The page of what a line is about.
#[must_use]
pub fn target(about: &About) -> Option<(String, &'static str)> {
    about
        .follow_up
        .map(|id| (format!("/follow-ups/{id}"), "follow-up"))
        .or_else(|| about.grant.map(|id| (format!("/grants/{id}"), "grant")))
        .or_else(|| about.request.map(|id| (format!("/requests/{id}"), "request")))
}

fn detail(line: &EntryLine) -> Words {
    let about = &line.about;
    let facts: Vec<_> = [
        ("team", &about.team),
        ("cluster", &about.cluster),
        ("profile", &about.profile),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")))
    .collect();
    let words = if facts.is_empty() {
        Words::default()
    } else {
        Words::say(format!("{} · ", facts.join(" · ")))
    };
    words.link(
        Href::path(format!("/ledger/entries/{}", line.index)),
        format!("entry {}", line.index),
    )
}

/// What cannot wait: findings and notices that reached nobody, until somebody settles them.
async fn pinned(app: &App, shell: &Shell, reader: &Person) -> Result<Vec<FeedEntry>> {
    let broker = &app.broker;
    let is = |role| has_role(&broker.config, reader, role);
    let (is_compliance, is_operator) = (is(Role::Compliance), is(Role::Operator));
    let findings = broker.store.open_findings().await?;
    let mut pinned = vec![];
    for finding in &findings {
        let bypass = if is_compliance {
            feed_bypass::forms(app, finding).await?
        } else {
            None
        };
        pinned.push(found(shell, finding, is_compliance, bypass));
    }
    for (n, delivery) in broker.store.undeliverable().await?.into_iter().enumerate() {
        let Some(notice) = broker.store.notice(delivery.notice).await? else {
            continue;
        };
        let why = delivery.error.as_deref().unwrap_or("no reason is known");
        let words = Words::say(format!(
            "Not delivered by {} after {} tries: ",
            delivery.channel, delivery.attempts
        ));
        pinned.push(FeedEntry {
            // One notice may fail on several channels.
            anchor: format!("notice-{}-{n}", notice.id),
            badge: Badge::new(Look::Late, "undeliverable"),
            when: shell.when(notice.at),
            words: match Href::new(notice.path.clone()) {
                Some(href) => words.link(href, &delivery.title),
                None => words.and(&delivery.title),
            },
            detail: Some(Words::say(why)),
            review: (is_compliance || is_operator).then(|| {
                let channel: String =
                    url::form_urlencoded::byte_serialize(delivery.channel.as_bytes()).collect();
                Href::path(format!("/feed/notices/{}/settle?channel={channel}", notice.id))
            }),
            reviewed: None,
            lines: None,
            bypass: None,
        });
    }
    for (n, party) in waits::all(app).await?.into_iter().enumerate() {
        pinned.push(FeedEntry {
            anchor: format!("waits-{n}"),
            badge: Badge::new(Look::Wait, "waiting"),
            when: shell.when(party.job.failing_since.unwrap_or(party.job.due)),
            words: party.words(shell),
            detail: None,
            review: None,
            reviewed: None,
            lines: None,
            bypass: None,
        });
    }
    Ok(pinned)
}

fn found(shell: &Shell, finding: &Finding, can_settle: bool, bypass: Option<BypassForms>) -> FeedEntry {
    let words = Words::say(&finding.text);
    FeedEntry {
        anchor: format!("finding-{}", finding.id),
        badge: Badge::new(Look::Late, "finding"),
        when: shell.when(finding.at),
        words: match finding.grant {
            Some(grant) => words
                .and(" · ")
                .link(Href::path(format!("/grants/{grant}")), "grant"),
            None => words,
        },
        detail: feed_bypass::detail(shell, finding),
        review: (can_settle && finding.bypass.is_none())
            .then(|| Href::path(format!("/feed/findings/{}/settle", finding.id))),
        reviewed: None,
        lines: finding.lines.as_ref().map(Text::whole),
        bypass,
    }
}

fn filters(broker: &Broker, query: &FeedQuery) -> Vec<Filter> {
    let config = &broker.config;
    let pairs = |list: &[(&str, &str)]| {
        list.iter()
            .map(|(name, words)| ((*name).to_owned(), (*words).to_owned()))
            .collect::<Vec<_>>()
    };
    vec![
        filter("team", "Team", query.team.as_deref(), names(config.teams.keys())),
        filter(
            "cluster",
            "Cluster",
            query.cluster.as_deref(),
            names(config.clusters.keys()),
        ),
        filter(
            "profile",
            "Profile",
            query.profile.as_deref(),
            names(config.profiles.keys()),
        ),
        filter("state", "State", query.state, pairs(STATES)),
        filter("flag", "Flag", query.flag, pairs(FLAGS)),
    ]
}

/// How a kind looks.
#[must_use]
pub fn badge(kind: EntryKind) -> Badge {
    use EntryKind as K;
    let look = match kind {
        K::GrantActive | K::FirstChange | K::GrantExtended => Look::Live,
        K::Finding
        | K::EndingStuck
        | K::DeadlineBreached
        | K::NoticeUndeliverable
        | K::Gap
        | K::CanaryMissed
        | K::Quarantined
        | K::Bypass
        | K::SignInRefused => Look::Late,
        K::RequestFiled
        | K::ApprovalGiven
        | K::FollowUpOwed
        | K::FollowUpRejected
        | K::RevertChosen
        | K::DeadlineDueSoon
        | K::ManualItemDone
        | K::GrantEnding
        | K::RevealFailed => Look::Wait,
        K::GrantEnded
        | K::FollowUpNoDrift
        | K::FollowUpConverged
        | K::FollowUpReverted
        | K::FollowUpWaived
        | K::Reviewed
        | K::ManualItemAccepted
        | K::BypassAttached
        | K::BypassExpected
        | K::CanaryResumed => Look::Done,
        _ => Look::Info,
    };
    Badge::new(look, kind.name().replace('-', " "))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Stage;
    use crate::domain::entry_kind::EntryKind;
    use crate::domain::notice::Delivery;
    use crate::domain::transition::{About, Transition, Write, record};
    use crate::store::EntryFilter;
    use crate::verify::tests::now;
    use http::StatusCode;
    use serde_json::json;

    /// A notice that two channels were not told.
    async fn undelivered(stage: &Stage) -> String {
        let broker = &stage.app.broker;
        let about = About::cluster("production");
        let mut notice = broker.notice_compliance("finding", "Look at this", "Now.", "/feed", &about);
        notice.channels = vec!["mail:a+b@example.test".to_owned(), "webhook:pager".to_owned()];
        let (id, channels) = (notice.id, notice.channels.clone());
        let said = |kind| record(kind, now(), About::cluster("production"), "said", json!({}));
        let told = Transition::new(said(EntryKind::Finding)).notice(notice);
        broker.commit(told).await.unwrap();
        for channel in channels {
            let failed = Delivery {
                notice: id,
                channel,
                title: "Look at this".to_owned(),
                delivered_at: None,
                attempts: 5,
                error: Some("550 no such mailbox".to_owned()),
                undeliverable: true,
                settled: None,
            };
            let entry = said(EntryKind::NoticeUndeliverable);
            let write = Write::Delivery(failed);
            broker.commit(Transition::new(entry).write(write)).await.unwrap();
        }
        format!("/feed/notices/{id}/settle?channel=")
    }

    #[tokio::test]
    async fn a_notice_that_reached_nobody_is_settled_channel_by_channel_with_a_note() {
        let stage = Stage::new().await;
        let path = undelivered(&stage).await;
        let mail = format!("{path}mail%3Aa%2Bb%40example.test");
        let auditor = stage.signed_in("auditor", &["internal-audit"]).await;
        assert!(!stage.get("/feed", Some(&auditor)).await.text.contains(&path));
        let refused = stage.post(&mail, &auditor, &[("note", "fine")]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        let operator = stage.signed_in("operator", &["platform-engineers"]).await;
        let page = stage.get("/feed", Some(&operator)).await;
        assert!(page.text.contains(&mail), "pinned, with its form: {}", page.text);
        let empty = stage.post(&mail, &operator, &[("note", " ")]).await;
        assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);
        let note = [("note", "told by phone")];
        let done = stage.post(&mail, &operator, &note).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
        let again = stage.post(&mail, &operator, &note).await;
        assert_eq!(again.status, StatusCode::NOT_FOUND, "it is settled");

        let compliance = stage.signed_in("compliance", &["compliance"]).await;
        let page = stage.get("/feed", Some(&compliance)).await;
        assert!(!page.text.contains(&mail) && page.text.contains("told by phone"));
        let pager = format!("{path}webhook%3Apager");
        assert!(page.text.contains(&pager), "the other channel still stands");
        let done = stage.post(&pager, &compliance, &note).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER);
        let filter = EntryFilter {
            kinds: vec![EntryKind::Reviewed],
            limit: 10,
            ..EntryFilter::default()
        };
        let entries = stage.app.broker.store.entries(filter).await.unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(
            entries[1].sentence,
            "operator settled a notice that mail:a+b@example.test was not told (Look at this): told by phone"
        );
    }
}
