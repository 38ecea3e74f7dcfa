//! The compliance feed as a page: what happened, is it reviewed, is anything wrong?

use super::chooser::{self, filter, names};
use super::feed_query::{FLAGS, FeedQuery, STATES, follow_ups};
use super::must_open;
use crate::broker::Broker;
use crate::domain::entry_kind::EntryKind;
use crate::domain::finding::Finding;
use crate::domain::follow_up::FollowUp;
use crate::domain::person::Person;
use crate::domain::policy::{Role, has_role};
use crate::domain::transition::About;
use crate::ids::{FindingId, FollowUpId, RequestId};
use crate::store::{EntryLine, GrantFilter};
use crate::web::csrf::{Fields, Posted};
use crate::web::pages::feed::{FeedEntry, FeedPage};
use crate::web::pages::{Badge, Filter, Href, Look, Place, Shell, Words};
use crate::web::{App, Error, Result, Signed, page as answer, shell};
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use std::collections::BTreeMap;

/// Lines on a page.
const PAGE: usize = 50;

/// `GET /feed`.
///
/// # Errors
/// Not a reader of the feed, or the store's.
pub async fn page(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    must_open(&app, &signed, Place::Feed)?;
    let query = FeedQuery::read(&Fields::parse(raw.unwrap_or_default().as_bytes()));
    let broker = &app.broker;
    let shell = shell::shell(&app, &signed, "Compliance feed", Some(Place::Feed)).await?;
    let follow_ups = follow_ups(broker).await?;
    let found = query.find(broker, PAGE).await?;
    let is_compliance = has_role(app.config(), &signed.person, Role::Compliance);
    let reviewer = is_compliance.then_some(&signed.person);
    let mut left = follow_ups.clone();
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
    let live = GrantFilter {
        live: true,
        limit: shell::MANY,
        ..GrantFilter::default()
    };
    let view = FeedPage {
        running: broker
            .store
            .grants(live)
            .await?
            .iter()
            .filter(|grant| grant.was_revealed())
            .count(),
        unreviewed: follow_ups
            .values()
            .filter(|follow_up| follow_up.reviewed.is_none())
            .count(),
        pinned: pinned(broker, &shell, is_compliance).await?,
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
/// Not compliance, not independent, no note, or reviewed before.
pub async fn review(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result<Response> {
    let id: FollowUpId = id.parse().map_err(|_| Error::NotFound)?;
    app.broker
        .review(id, &posted.signed.person, posted.fields.get("note"))
        .await?;
    Ok(Redirect::to("/feed").into_response())
}

/// `POST /feed/findings/{finding}/settle`: compliance has looked at a finding.
///
/// # Errors
/// Not compliance, no note, or settled before.
pub async fn settle(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result<Response> {
    let id: FindingId = id.parse().map_err(|_| Error::NotFound)?;
    app.broker
        .settle_finding(id, &posted.signed.person, posted.fields.get("note"))
        .await?;
    Ok(Redirect::to("/feed").into_response())
}

/// One line. The newest line of an emergency on the page carries its review; the older ones do not
/// repeat it.
fn entry(
    shell: &Shell,
    line: &EntryLine,
    left: &mut BTreeMap<RequestId, FollowUp>,
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

/// What cannot wait: findings nobody has settled, and notices that reached nobody.
async fn pinned(broker: &Broker, shell: &Shell, can_settle: bool) -> Result<Vec<FeedEntry>> {
    let findings = broker.store.open_findings().await?;
    let mut pinned: Vec<_> = findings
        .iter()
        .map(|finding| found(shell, finding, can_settle))
        .collect();
    for delivery in broker.store.undeliverable().await? {
        let Some(notice) = broker.store.notice(delivery.notice).await? else {
            continue;
        };
        let why = delivery.error.as_deref().unwrap_or("no reason is known");
        let words = Words::say(format!(
            "Not delivered by {} after {} tries: ",
            delivery.channel, delivery.attempts
        ));
        pinned.push(FeedEntry {
            anchor: format!("notice-{}", notice.id),
            badge: Badge::new(Look::Late, "undeliverable"),
            when: shell.when(notice.at),
            words: match Href::new(notice.path.clone()) {
                Some(href) => words.link(href, &delivery.title),
                None => words.and(&delivery.title),
            },
            detail: Some(Words::say(why)),
            review: None,
            reviewed: None,
        });
    }
    Ok(pinned)
}

fn found(shell: &Shell, finding: &Finding, can_settle: bool) -> FeedEntry {
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
        detail: finding
            .cluster
            .as_ref()
            .map(|cluster| Words::say(format!("cluster {cluster}"))),
        review: can_settle.then(|| Href::path(format!("/feed/findings/{}/settle", finding.id))),
        reviewed: None,
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
        | K::SignInRefused => Look::Late,
        K::RequestFiled
        | K::ApprovalGiven
        | K::FollowUpOwed
        | K::FollowUpRejected
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
        | K::CanaryResumed => Look::Done,
        _ => Look::Info,
    };
    Badge::new(look, kind.name().replace('-', " "))
}
