//! What people and API servers talk to over HTTP. `router` shows every layer in order; a handler
//! fills a page's struct and calls one use case of the broker.

mod actions;
pub mod authorities;
pub mod csrf;
mod door;
pub mod error;
mod files;
mod follow_up_diff;
mod follow_up_page;
mod follow_ups;
mod form_link;
mod grant_notes;
mod grants;
mod headers;
mod health;
pub mod hooks;
pub mod limits;
pub mod lists;
mod live;
mod log;
pub mod pages;
mod refused;
mod request_form;
mod requests;
mod reveal;
pub mod serve;
pub mod session;
pub mod shell;
mod sign_in;
mod sign_out;
mod start;
mod state;
pub mod tls;
mod trace;
mod waits;
mod words;
mod zone;

pub use csrf::{Fields, Posted};
pub use error::{Error, Result};
pub use serve::{ServeError, serve, serve_waiting};
pub use session::Signed;
pub use state::App;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

/// A page's first byte comes within this, or an error does. Streams run on after it.
const FIRST_BYTE: Duration = Duration::from_secs(30);

/// Every route with its layers.
///
/// # Errors
/// The provider's origin cannot stand in a header.
pub fn router(app: App) -> std::result::Result<Router, axum::http::header::InvalidHeaderValue> {
    let headers = headers::Headers::new(&app)?;
    let people = Router::new()
        .merge(start::routes())
        .merge(sign_in::routes())
        .merge(requests::routes())
        .merge(grants::routes())
        .merge(reveal::routes())
        .merge(follow_ups::routes())
        .merge(zone::routes())
        .merge(lists::routes())
        .merge(log::routes())
        .fallback(|| async { Error::NotFound })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TimeoutLayer::with_status_code(
            axum::http::StatusCode::GATEWAY_TIMEOUT,
            FIRST_BYTE,
        ))
        .layer(DefaultBodyLimit::max(64 * 1024))
        .layer(from_fn_with_state(app.clone(), error::render))
        .layer(session::layer(&app));
    Ok(Router::new()
        .merge(people)
        .merge(files::routes())
        .merge(health::routes())
        .merge(hooks::routes())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(headers, headers::add))
        .layer(from_fn(trace::trace))
        .with_state(app))
}

/// A page, with 200.
///
/// # Errors
/// It cannot be written.
pub fn page(page: &impl askama::Template) -> Result<Response> {
    Ok(Html(page.render()?).into_response())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape the layer asks for")]
fn panicked(what: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let what = what
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| what.downcast_ref::<&str>().copied())
        .unwrap_or("no words");
    Error::Internal(format!("a handler panicked: {what}")).into_response()
}
