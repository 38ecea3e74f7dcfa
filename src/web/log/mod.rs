//! `/log/`: the log in the form of C2SP tlog-tiles, so that any client of that form can read and check all
//! of it, and proofs as JSON. It shows no payload: what an entry is about is not here.

mod proof;
mod reader;
#[cfg(test)]
mod tests;
mod tiles;

use super::App;
use axum::Router;
use axum::routing::get;

/// The log's routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/log/checkpoint", get(tiles::checkpoint))
        .route("/log/tile/{*path}", get(tiles::tile))
        .route("/log/proof/inclusion", get(proof::inclusion))
        .route("/log/proof/consistency", get(proof::consistency))
}
