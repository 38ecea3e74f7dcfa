//! For probes: is the process alive, can it work?

use super::App;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
}

/// Ready when the store answers: it only opens migrated, and without it nothing can be decided. One that is full or
/// read-only answers, and the pages behind it are needed; one that takes nothing more until the next start does not.
async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    if app.broker.store.halted().is_some() {
        let says = "the store is halted: a write was not confirmed by the disk; start this service again\n";
        return (StatusCode::SERVICE_UNAVAILABLE, says);
    }
    match app.broker.store.head().await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(error = %crate::causes::chain(&error), "not ready: the store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
    }
}
