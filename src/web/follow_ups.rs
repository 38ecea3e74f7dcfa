//! Follow-up: what drifted, where is the pull request, who must act by when?

use super::csrf::Posted;
use super::error::{Result, sentence};
use super::follow_up_page::page_of;
use super::pages::Text;
use super::session::Signed;
use super::shell::may_see;
use super::{App, Error, page};
use crate::broker::{BrokerError, Result as BrokerResult};
use crate::domain::follow_up::FollowUp;
use crate::ids::{FollowUpId, ItemId};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/follow-ups/{id}", get(show))
        .route("/follow-ups/{id}/waive", post(waive))
        .route("/follow-ups/{id}/explain", post(explain))
        .route("/follow-ups/{id}/revert", post(revert))
        .route("/follow-ups/{id}/review", post(review))
        .route("/follow-ups/{id}/items/{item}/link", post(link))
        .route("/follow-ups/{id}/items/{item}/accept", post(accept))
}

/// A follow-up that the reader may know of.
async fn seen(app: &App, signed: &Signed, id: &str) -> Result<FollowUp> {
    let id: FollowUpId = id.parse().map_err(|_| Error::NotFound)?;
    let follow_up = app.broker.follow_up_of(id).await?;
    let person = &signed.person;
    let known = may_see(
        app.config(),
        person,
        &follow_up.team,
        &follow_up.profile,
        &follow_up.requester,
    ) || follow_up
        .approvers
        .iter()
        .any(|approver| approver.surely_same_person(person));
    if known {
        Ok(follow_up)
    } else {
        Err(Error::NotFound)
    }
}

async fn show(State(app): State<App>, signed: Signed, Path(id): Path<String>) -> Result {
    let follow_up = seen(&app, &signed, &id).await?;
    page(&page_of(&app, &signed, &follow_up, None).await?)
}

/// Back to the page, or the page again with what the rules say and what was typed lost to nobody but
/// the browser's own history.
async fn answer(app: &App, posted: &Posted, follow_up: &FollowUp, done: BrokerResult<()>) -> Result {
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/follow-ups/{}", follow_up.id)).into_response()),
        Err(BrokerError::Refused(why)) => {
            let error = Some(Text::prose(sentence(&why)).sentence());
            let mut response = page(&page_of(app, &posted.signed, follow_up, error).await?)?;
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

async fn waive(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let follow_up = seen(&app, &posted.signed, &id).await?;
    let done = app
        .broker
        .waive(follow_up.id, &posted.signed.person, posted.fields.get("reason"))
        .await;
    answer(&app, &posted, &follow_up, done).await
}

async fn explain(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let follow_up = seen(&app, &posted.signed, &id).await?;
    let done = app
        .broker
        .explain(follow_up.id, &posted.signed.person, posted.fields.get("reason"))
        .await;
    answer(&app, &posted, &follow_up, done).await
}

async fn revert(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let follow_up = seen(&app, &posted.signed, &id).await?;
    let done = app
        .broker
        .choose_revert(follow_up.id, &posted.signed.person)
        .await;
    answer(&app, &posted, &follow_up, done).await
}

async fn review(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let follow_up = seen(&app, &posted.signed, &id).await?;
    let done = app
        .broker
        .review(follow_up.id, &posted.signed.person, posted.fields.get("note"))
        .await;
    answer(&app, &posted, &follow_up, done).await
}

async fn link(State(app): State<App>, Path((id, item)): Path<(String, String)>, posted: Posted) -> Result {
    let follow_up = seen(&app, &posted.signed, &id).await?;
    let item: ItemId = item.parse().map_err(|_| Error::NotFound)?;
    let how = posted.fields.get("commit");
    let done = app
        .broker
        .item_done(follow_up.id, item, &posted.signed.person, how)
        .await;
    answer(&app, &posted, &follow_up, done).await
}

async fn accept(State(app): State<App>, Path((id, item)): Path<(String, String)>, posted: Posted) -> Result {
    let follow_up = seen(&app, &posted.signed, &id).await?;
    let item: ItemId = item.parse().map_err(|_| Error::NotFound)?;
    let done = app
        .broker
        .item_accepted(follow_up.id, item, &posted.signed.person)
        .await;
    answer(&app, &posted, &follow_up, done).await
}
