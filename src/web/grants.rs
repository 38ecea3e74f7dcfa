//! Grant: what is being done with it, right now? And the ways to end it, shorten it, ask for longer.

use super::csrf::{Fields, Posted};
use super::error::Result;
use super::form_link::{self, Like};
use super::pages::grant::{GrantActions, GrantCan, GrantHeadline, GrantPage, GrantSide, GrantState as Shown};
use super::pages::{Badge, Choice, Facts, Href, Look, Note, Place, Shell, Text, Words, lasting};
use super::requests::{minutes_value, seconds_of};
use super::session::Signed;
use super::shell::{self, may_see_grant, person_ref, places};
use super::words::{history, incident};
use super::{App, Error, actions, grant_notes, page};
use crate::broker::request::minutes;
use crate::domain::grant::{Grant, GrantState};
use crate::domain::transition::ActionRow;
use crate::ids::GrantId;
use crate::store::EntryFilter;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use chrono::TimeDelta;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/grants/{id}", get(show))
        .route("/grants/{id}/live", get(super::live::live))
        .route("/grants/{id}/done", post(done))
        .route("/grants/{id}/end", post(end))
        .route("/grants/{id}/shorten", post(shorten))
}

/// A grant that the reader may know of.
pub(super) async fn seen(app: &App, signed: &Signed, id: &str) -> Result<Grant> {
    let id: GrantId = id.parse().map_err(|_| Error::NotFound)?;
    let grant = app.broker.grant(id).await?;
    if may_see_grant(app.config(), &signed.person, &grant) {
        Ok(grant)
    } else {
        Err(Error::NotFound)
    }
}

/// The parts of the page that are sent again live.
pub(super) struct Parts {
    /// The answer.
    pub headline: GrantHeadline,
    /// What was done.
    pub actions: GrantActions,
    /// What stands beside it.
    pub side: GrantSide,
}

async fn show(
    State(app): State<App>,
    signed: Signed,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result {
    let grant = seen(&app, &signed, &id).await?;
    let asked = Fields::parse(query.unwrap_or_default().as_bytes());
    let title = format!("{} on {}", grant.profile, grant.cluster);
    let shell = shell::shell(&app, &signed, title, Some(Place::Requests)).await?;
    let rows = app.broker.store.actions(grant.id).await?;
    let Parts {
        headline,
        actions,
        mut side,
    } = parts(&app, &signed, &shell, &grant, &rows, &asked).await?;
    if signed.permit == Some(grant.id) {
        let words = "The next two minutes: one press of the button shows the key, once.";
        side.notes
            .insert(0, Note::new(Look::Done, "You signed in again.", words));
    }
    let filter = EntryFilter {
        grant: Some(grant.id),
        ..EntryFilter::default()
    };
    let next = match grant.state {
        GrantState::Ended => None,
        GrantState::Ending => Some("proved dead".into()),
        _ => Some("ended, proved dead".into()),
    };
    let history = history(&app, &signed, &shell, filter, next).await?;
    page(&GrantPage {
        id: grant.id,
        headline,
        actions,
        side,
        facts: facts(&app, &grant),
        can: can(&app, &signed, &shell, &grant),
        error: None,
        history,
        shell,
    })
}

/// The live parts as they are now.
///
/// # Errors
/// The store's.
pub(super) async fn parts(
    app: &App,
    signed: &Signed,
    shell: &Shell,
    grant: &Grant,
    rows: &[(u64, ActionRow)],
    asked: &Fields,
) -> Result<Parts> {
    let linked = shell::sees_all(app.config(), &signed.person);
    let headline = GrantHeadline {
        shell: shell.clone(),
        state: state(app, shell, grant).await?,
        mine: grant.requester.surely_same_person(&signed.person),
        who: person_ref(app, &grant.requester),
        scope: Words::default()
            .strong(&grant.profile)
            .and(" on ")
            .strong(&grant.cluster)
            .and(format!(": {}", places(&grant.namespaces))),
        counts: actions::counts(rows),
    };
    let side = GrantSide {
        coverage: coverage(app, shell, grant, rows.len()),
        streams: actions::open_streams(shell, rows),
        self_heal: None,
        notes: grant_notes::notes(app, shell, grant).await?,
    };
    Ok(Parts {
        headline,
        actions: actions::table(shell, grant, rows, asked, linked),
        side,
    })
}

async fn state(app: &App, shell: &Shell, grant: &Grant) -> Result<Shown> {
    let ending = grant.ending.as_ref();
    // Done and not written down: the page tells what is so, not what is stored.
    if let Some(end) = app.broker.unwritten_end(grant.id) {
        return Ok(Shown::Ending {
            since: shell.when(end.since),
            stuck: None,
        });
    }
    Ok(match grant.state {
        GrantState::Provisioning => Shown::Provisioning,
        GrantState::Ready => Shown::Ready {
            lapses: shell.when(grant.shelf_until),
        },
        GrantState::Issuing if grant.active_since.is_none() => Shown::Issuing,
        GrantState::Issuing | GrantState::Active => Shown::Active {
            until: shell.when(grant.ends_at.unwrap_or(grant.shelf_until)),
        },
        GrantState::Ending => Shown::Ending {
            since: shell.when(ending.map_or(shell.now, |ending| ending.since)),
            stuck: ending.filter(|ending| ending.stuck).map(|ending| {
                let why = ending.error.as_deref().unwrap_or("a removal fails");
                Words::say(Text::prose(why).sentence())
            }),
        },
        GrantState::Ended => Shown::Ended {
            at: shell.when(grant.ended_at.unwrap_or(shell.now)),
            why: ending
                .map_or_else(String::new, |ending| ending.cause.words())
                .into(),
            // Only a key that existed can have been refused.
            refused_after: ending
                .filter(|_| grant.was_revealed())
                .and_then(|ending| Some(ending.refused_after? - ending.since)),
            dead_after: ending
                .filter(|_| grant.was_revealed())
                .and_then(|ending| Some(ending.dead_after? - ending.since)),
            follow_up: app
                .broker
                .store
                .follow_up_of(grant.id)
                .await?
                .map(|follow_up| Href::path(format!("/follow-ups/{}", follow_up.id))),
        },
    })
}

/// What is known of the record being whole; no more than is known.
fn coverage(app: &App, shell: &Shell, grant: &Grant, rows: usize) -> (Badge, Words) {
    let here = super::pages::count(rows, "event of it is here", "events of it are here");
    let Some(cluster) = app.config().clusters.get(&grant.cluster) else {
        return (
            Badge::new(Look::Late, "unknown"),
            "This cluster is not in the configuration any more.".into(),
        );
    };
    let delay = app
        .broker
        .audit_delay_ms(&grant.cluster)
        .map(|ms| {
            format!(
                ", usually {}.{} s after they happen",
                ms / 1_000,
                ms % 1_000 / 100
            )
        })
        .unwrap_or_default();
    match app.broker.audit_arrived_at(&grant.cluster) {
        Some(at) if shell.now - at < cluster.canary.alarm_after.delta() => {
            let words = Words::say(format!(
                "{here}. Audit events of {} arrive{delay}; the last came ",
                grant.cluster
            ))
            .at(shell.when(at))
            .and(".");
            (Badge::new(Look::Done, "alive"), words)
        }
        Some(at) => {
            let words = Words::say(format!(
                "{here}, but no audit event of {} has come since ",
                grant.cluster
            ))
            .at(shell.when(at))
            .and(". What happens now may be missing until it speaks again.");
            (Badge::new(Look::Late, "silent"), words)
        }
        None if grant.state == GrantState::Ended => (
            Badge::new(Look::Info, "as recorded"),
            format!("{here}. This service has seen no audit event since it started.").into(),
        ),
        None => {
            let words = format!(
                "{here}. This service has seen no audit event of {} since it started.",
                grant.cluster
            );
            (Badge::new(Look::Wait, "not known yet"), words.into())
        }
    }
}

fn facts(app: &App, grant: &Grant) -> Facts {
    let mut approvers = Words::default();
    for (n, approver) in grant.approvers.iter().enumerate() {
        if n > 0 {
            approvers = approvers.and(", ");
        }
        approvers = approvers.person(person_ref(app, approver));
    }
    let mut facts = Facts::default()
        .with("Who", person_ref(app, &grant.requester))
        .with("Team", grant.team.as_str())
        .with("Profile", grant.profile.as_str())
        .with("Cluster", grant.cluster.as_str())
        .with("Namespaces", places(&grant.namespaces))
        .with("For", minutes(grant.duration_s))
        .with("Approved by", approvers)
        .with("Why", Words::say(Text::prose(&grant.reason).sentence()));
    if let Some(text) = &grant.incident {
        facts = facts.with("Incident", incident(text));
    }
    facts
        .with(
            "Request",
            Words::default().link(
                Href::path(format!("/requests/{}", grant.request)),
                "as it was asked",
            ),
        )
        .with("Account", Words::default().code(&grant.account))
}

fn can(app: &App, signed: &Signed, shell: &Shell, grant: &Grant) -> GrantCan {
    let mine = grant.requester.surely_same_person(&signed.person);
    let open = !matches!(grant.state, GrantState::Ending | GrantState::Ended)
        && app.broker.unwritten_end(grant.id).is_none();
    let may_end = open && app.broker.may_end(grant, &signed.person);
    let left = grant
        .ends_at
        .map(|ends| ends - shell.now)
        .filter(|left| *left > TimeDelta::minutes(1));
    let shorten = match left {
        Some(left) if may_end && matches!(grant.state, GrantState::Active | GrantState::Issuing) => {
            [60, 45, 30, 15, 10, 5, 1]
                .into_iter()
                .filter(|m| TimeDelta::minutes(*m) < left)
                .map(|m| Choice::new(m.to_string(), lasting(TimeDelta::minutes(m)), m == 5))
                .collect()
        }
        _ => vec![],
    };
    let extend = (mine && open).then(|| {
        let (id, minutes) = (grant.id.to_string(), minutes_value(900));
        let mut more = vec![
            ("extends", id.as_str()),
            ("minutes", &minutes),
            ("reason", &grant.reason),
        ];
        more.extend(grant.incident.as_deref().map(|incident| ("incident", incident)));
        form_link::filled(&like(grant), &more)
    });
    GrantCan {
        reveal: mine && open && matches!(grant.state, GrantState::Ready | GrantState::Active),
        done: mine && open,
        end: may_end && !mine,
        shorten,
        extend,
    }
}

/// The access of a grant, to ask for it again.
pub(super) fn like(grant: &Grant) -> Like<'_> {
    Like {
        team: &grant.team,
        cluster: &grant.cluster,
        profile: &grant.profile,
        namespaces: &grant.namespaces,
    }
}

fn to(grant: &Grant) -> Response {
    Redirect::to(&format!("/grants/{}", grant.id)).into_response()
}

async fn done(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let grant = seen(&app, &posted.signed, &id).await?;
    if !grant.requester.surely_same_person(&posted.signed.person) {
        return Err(Error::Forbidden(
            "Only whoever holds this access can say that they are done.".into(),
        ));
    }
    app.broker.end_by(grant.id, &posted.signed.person, "").await?;
    Ok(to(&grant))
}

/// Somebody who may see a grant and not end it is told so.
fn must_end(app: &App, grant: &Grant, signed: &Signed) -> Result<()> {
    if app.broker.may_end(grant, &signed.person) {
        Ok(())
    } else {
        Err(Error::Forbidden(
            "Only whoever has this access, approved it, or may revoke can end or shorten it.".into(),
        ))
    }
}

async fn end(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let grant = seen(&app, &posted.signed, &id).await?;
    must_end(&app, &grant, &posted.signed)?;
    app.broker
        .end_by(grant.id, &posted.signed.person, posted.fields.get("reason"))
        .await?;
    Ok(to(&grant))
}

async fn shorten(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let grant = seen(&app, &posted.signed, &id).await?;
    must_end(&app, &grant, &posted.signed)?;
    let seconds =
        seconds_of(posted.fields.get("minutes")).ok_or_else(|| Error::Bad("choose what is left".into()))?;
    let ends_at = app.broker.now() + TimeDelta::seconds(i64::from(seconds));
    app.broker
        .shorten(grant.id, &posted.signed.person, ends_at)
        .await?;
    Ok(to(&grant))
}
