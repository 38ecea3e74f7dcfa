//! In which zone a reader reads times.

use super::csrf::Posted;
use super::error::Result;
use super::pages::Choice;
use super::pages::plain::ZonePage;
use super::session::Signed;
use super::{App, Error, page, shell};
use axum::Router;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use chrono_tz::{TZ_VARIANTS, Tz};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new().route("/zone", get(show).post(set))
}

async fn show(State(app): State<App>, signed: Signed) -> Result {
    let shell = shell::shell(&app, &signed, "Time zone", None).await?;
    let zones = TZ_VARIANTS
        .iter()
        .map(|tz| Choice::new(tz.name(), tz.name(), *tz == signed.tz))
        .collect();
    page(&ZonePage { shell, zones })
}

async fn set(State(app): State<App>, posted: Posted) -> Result {
    let tz: Tz = posted
        .fields
        .get("tz")
        .parse()
        .map_err(|_| Error::Bad("choose one of the zones listed".into()))?;
    let secure = if app.is_https() { "; Secure" } else { "" };
    // Not HttpOnly: the script sets it too, from what the browser knows.
    let cookie = format!("tz={}; Path=/; SameSite=Lax; Max-Age=31536000{secure}", tz.name());
    Ok(([(SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}
