//! What is read rather than done: the compliance feed, the debts, the ledger, the clusters, the policy.

mod chooser;
pub mod clusters;
pub mod entry;
pub mod feed;
mod feed_bypass;
mod feed_formats;
mod feed_live;
mod feed_query;
#[cfg(test)]
pub(crate) mod fixture;
mod kept;
pub mod ledger;
mod ledger_formats;
mod ledger_query;
pub mod policy;
pub mod sla;
mod sla_figures;
#[cfg(test)]
mod tests;
mod timeline;

use super::pages::Place;
use super::{App, Error, Result, Signed, shell};
use axum::Router;
use axum::routing::{get, post};

/// The lists.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/feed", get(feed::page))
        .route("/feed/live", get(feed_live::live))
        .route("/feed.atom", get(feed_formats::atom))
        .route("/feed.json", get(feed_formats::json))
        .route("/feed.csv", get(feed_formats::csv))
        .route("/feed/reviews/{follow_up}", post(feed::review))
        .route("/feed/findings/{finding}/settle", post(feed::settle))
        .route("/feed/findings/{finding}/attach", post(feed_bypass::attach))
        .route("/feed/findings/{finding}/expected", post(feed_bypass::expected))
        .route("/feed/notices/{notice}/settle", post(feed::settle_notice))
        .route("/sla", get(sla::page))
        .route("/sla.csv", get(sla::csv))
        .route("/ledger", get(ledger::page))
        .route("/ledger.ndjson", get(ledger_formats::ndjson))
        .route("/ledger.csv", get(ledger_formats::csv))
        .route("/ledger/entries/{index}", get(entry::page))
        .route("/ledger/export/{file}", get(entry::export))
        .route("/clusters", get(clusters::page))
        .route("/policy", get(policy::page))
}

/// Refuses who may not open `place`.
fn must_open(app: &App, signed: &Signed, place: Place) -> Result<()> {
    if shell::may_open(app.config(), &signed.person, place) {
        return Ok(());
    }
    Err(Error::Forbidden(
        "This is read by compliance, auditors, revokers and operators. What concerns you stands on the pages of your \
         own requests and follow-ups."
            .to_owned(),
    ))
}
