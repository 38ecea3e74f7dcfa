//! What machines send here: the API servers' audit, the forge's events. No session, no form token:
//! each sender proves itself by what its request carries.

pub mod audit;
mod cut;
pub mod forge;
mod import;
mod intake;
pub(in crate::web) mod sender;
#[cfg(test)]
pub(in crate::web) mod tests;

use crate::web::App;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::{Extension, Router};
use std::sync::Arc;

/// The receivers. They bound their bodies themselves.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/hooks/audit/{cluster}", post(audit::receive))
        .route("/hooks/audit/{cluster}/{server}", post(audit::receive))
        .layer(Extension(Arc::new(audit::Receiver::new())))
        .merge(
            Router::new()
                .route("/hooks/import/{cluster}", post(import::receive))
                .layer(Extension(Arc::new(import::Importer::default()))),
        )
        .merge(
            Router::new()
                .route("/hooks/forge", post(forge::receive))
                .layer(Extension(Arc::new(forge::Receiver::default()))),
        )
        .layer(DefaultBodyLimit::disable())
}
