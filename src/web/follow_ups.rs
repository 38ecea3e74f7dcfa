//! Follow-up: what drifted, where is the pull request, who must act by when?

use super::App;
use axum::Router;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
}
