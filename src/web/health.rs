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

/// Ready when the store answers: it only opens migrated, and without it nothing can be decided.
async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    match app.broker.store.head().await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(error = %crate::causes::chain(&error), "not ready: the store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
    }
}
