//! Signing out, and what somebody sees who is not signed in.

use super::csrf::Posted;
use super::error::Result;
use super::pages::plain::SignedOutPage;
use super::pages::{Href, Text};
use super::session::{self, sign_in_path, zone_of};
use super::{App, Error, shell};
use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};

/// Ends the session here, and at the provider where that offers it.
pub(super) async fn sign_out(State(app): State<App>, posted: Posted) -> Result {
    let session = &posted.signed.session;
    let hint = session::login(&app, session)
        .await?
        .map(|login| login.id_token)
        .unwrap_or_default();
    session.flush().await?;
    let home = app
        .config()
        .server
        .public_url
        .url()
        .join("/signed-out")
        .map_err(|error| Error::Internal(format!("public_url: {error}")))?;
    let there = app
        .identity
        .logout_url(&hint, &home, app.broker.machine_now())
        .await;
    let to = there.as_ref().map_or("/signed-out", url::Url::as_str);
    Ok(Redirect::to(to).into_response())
}

/// Where the provider sends people who signed out.
pub(super) async fn signed_out(State(app): State<App>, headers: HeaderMap) -> Result {
    signed_out_page(
        &app,
        &headers,
        "/",
        Some("You signed out.".into()),
        StatusCode::OK,
    )
}

/// What somebody sees who is not signed in.
///
/// # Errors
/// The page cannot be written.
pub fn signed_out_page(
    app: &App,
    headers: &HeaderMap,
    to: &str,
    why: Option<Text>,
    status: StatusCode,
) -> Result<Response> {
    let shell = shell::bare(app, "Sign in", zone_of(headers));
    let provider = app
        .config()
        .sign_in
        .issuer
        .url()
        .host_str()
        .unwrap_or("your provider")
        .into();
    let html = SignedOutPage {
        shell,
        sign_in: Href::path(sign_in_path(to)),
        provider,
        why,
    }
    .render()?;
    Ok((status, Html(html)).into_response())
}
