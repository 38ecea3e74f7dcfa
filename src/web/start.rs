//! Start: what can I do now, what needs me?

use super::error::Result;
use super::form_link::{self, Like};
use super::pages::start::StartPage;
use super::pages::{Badge, Card, Href, Look, Place, Shell, Words};
use super::session::{Signed, signed, zone_of};
use super::shell::{self, MANY, person_ref, places};
use super::sign_out::signed_out_page;
use super::words::{grant_badge, incident, request_badge};
use super::{App, page};
use crate::domain::follow_up::FollowUp;
use crate::domain::policy::{Role, has_role};
use crate::domain::request::Request;
use crate::store::{FollowUpFilter, RequestFilter};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use std::sync::Arc;
use tower_sessions::Session;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new().route("/", get(show))
}

async fn show(State(app): State<App>, session: Session, headers: HeaderMap) -> Result {
    match signed(&app, session, zone_of(&headers)).await? {
        Some(signed) => start(&app, &signed).await,
        None => signed_out_page(&app, &headers, "/", None, StatusCode::UNAUTHORIZED),
    }
}

async fn start(app: &App, signed: &Signed) -> Result {
    let person = &signed.person;
    let store = &app.broker.store;
    let shell = shell::shell(app, signed, "Start", Some(Place::Start)).await?;
    let filter = RequestFilter {
        limit: MANY,
        ..RequestFilter::default()
    };
    let mut asked = store.requests(filter).await?;
    asked.retain(|request| request.ask.requester.surely_same_person(person));
    let grants = app.broker.live_grants(None).await?;
    let follow_ups = store
        .follow_ups(FollowUpFilter {
            open: true,
            limit: MANY,
            ..FollowUpFilter::default()
        })
        .await?;

    let mut mine: Vec<Card> = grants
        .iter()
        .filter(|grant| grant.requester.surely_same_person(person))
        .map(|grant| Card {
            href: Href::path(format!("/grants/{}", grant.id)),
            title: format!("{} on {}", grant.profile, grant.cluster).into(),
            badge: Some(grant_badge(grant)),
            detail: places(&grant.namespaces).into(),
        })
        .collect();
    let pending = asked.iter().filter(|request| request.state_name() == "pending");
    mine.extend(pending.map(|request| request_card(app, &shell, request)));

    let mut owed: Vec<&Arc<FollowUp>> = follow_ups
        .iter()
        .filter(|follow_up| follow_up.requester.surely_same_person(person))
        .collect();
    owed.sort_by_key(|follow_up| follow_up.next_deadline().map(|deadline| deadline.due));
    let waiting = shell::waiting(app, person).await?;
    let page_struct = StartPage {
        may_ask: has_role(app.config(), person, Role::Engineer),
        again: asked.first().map(|last| {
            let words = Words::say(format!(
                "{} on {}, {}",
                last.ask.profile,
                last.ask.cluster,
                places(&last.ask.namespaces)
            ));
            (form_like(last), words)
        }),
        mine,
        waiting: waiting
            .iter()
            .map(|request| request_card(app, &shell, request))
            .collect(),
        owed: owed
            .into_iter()
            .map(|follow_up| owed_card(&shell, follow_up))
            .collect(),
        clusters: clusters(app),
        shell,
    };
    page(&page_struct)
}

/// The form, filled as that request was; the reason is asked anew.
fn form_like(request: &Request) -> Href {
    let ask = &request.ask;
    let like = Like {
        team: &ask.team,
        cluster: &ask.cluster,
        profile: &ask.profile,
        namespaces: &ask.namespaces,
    };
    let minutes = super::requests::minutes_value(ask.duration_s);
    form_link::filled(&like, &[("minutes", minutes.as_str())])
}

/// A request, with enough on it to decide whether to open it.
pub(super) fn request_card(app: &App, shell: &Shell, request: &Request) -> Card {
    let ask = &request.ask;
    let mut detail = Words::default()
        .person(person_ref(app, &ask.requester))
        .and(format!(" of {} · {} · ", ask.team, places(&ask.namespaces)))
        .and(crate::broker::request::minutes(ask.duration_s))
        .and(" · ")
        .and(super::pages::Text::from(&ask.reason));
    if let Some(text) = &ask.incident {
        detail = detail.and(" · ");
        // Within a card everything is one link already.
        detail
            .0
            .extend(incident(text).0.into_iter().map(|piece| match piece {
                super::pages::Piece::Link(_, text) => super::pages::Piece::Plain(text),
                other => other,
            }));
    }
    Card {
        href: Href::path(format!("/requests/{}", request.id)),
        title: format!("{} on {}", ask.profile, ask.cluster).into(),
        badge: Some(request_badge(request)),
        detail: detail.and(" · ").at(shell.when(request.filed_at).relative_only()),
    }
}

fn owed_card(shell: &Shell, follow_up: &FollowUp) -> Card {
    let late = follow_up.is_breached();
    let detail = match follow_up.next_deadline() {
        Some(deadline) => Words::say(format!("{} by ", deadline.goal.name())).at(shell.when(deadline.due)),
        None => Words::say("a review by somebody else is owed"),
    };
    Card {
        href: Href::path(format!("/follow-ups/{}", follow_up.id)),
        title: format!("{} on {}", follow_up.profile, follow_up.cluster).into(),
        badge: Some(Badge::new(
            if late { Look::Late } else { Look::Wait },
            if late { "late" } else { follow_up.state.name() },
        )),
        detail,
    }
}

fn clusters(app: &App) -> Vec<Badge> {
    let now = app.broker.now();
    app.config()
        .clusters
        .iter()
        .map(|(name, cluster)| match app.broker.audit_arrived_at(name) {
            Some(at) if now - at < cluster.canary.alarm_after.delta() => {
                Badge::new(Look::Done, format!("{name}: audit arrives"))
            }
            Some(_) => Badge::new(Look::Late, format!("{name}: audit is silent")),
            None => Badge::new(Look::Wait, format!("{name}: no audit yet")),
        })
        .collect()
}
