//! The answer to a question to the ledger for machines: NDJSON and CSV, a page of it a call.

use super::feed_formats::{COLUMNS, cells, table};
use super::feed_query::{Told, tell};
use super::ledger_query::Asked;
use super::must_open;
use crate::domain::transition::About;
use crate::web::pages::Place;
use crate::web::{App, Error, Result, Signed};
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde_json::json;

/// Lines of one answer; a header links to the next.
const MOST: u32 = 10_000;

async fn read(
    app: &App,
    signed: &Signed,
    raw: Option<String>,
    form: &str,
) -> Result<(Vec<Told>, Option<HeaderValue>)> {
    must_open(app, signed, Place::Ledger)?;
    let asked = Asked::read(raw, signed.tz)?;
    app.broker
        .note_read(
            &signed.person,
            format!("its list as {form} {}", asked.text()).trim_end(),
            About::default(),
        )
        .await?;
    let found = asked.find(&app.broker, MOST).await?;
    let next = found.next.map(|before| {
        let next = Asked {
            before: Some(before),
            ..asked
        };
        let base = app.config().server.public_url.base();
        let query = super::chooser::query(next.pairs());
        HeaderValue::try_from(format!("<{base}/ledger.{form}{query}>; rel=\"next\""))
    });
    let next = next
        .transpose()
        .map_err(|error| Error::Internal(error.to_string()))?;
    Ok((tell(&app.broker, found.lines).await?, next))
}

/// `GET /ledger.ndjson`: a JSON object a line.
///
/// # Errors
/// Not a reader of the ledger, or the store's.
pub async fn ndjson(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    let (told, next) = read(&app, &signed, raw, "ndjson").await?;
    let mut text = String::new();
    for Told { line, facts } in told {
        let object = json!({
            "entry": line.index,
            "kind": line.kind.name(),
            "happened": line.at.to_rfc3339(),
            "entered": line.entered.to_rfc3339(),
            "what": line.sentence,
            "about": line.about,
            "controls": line.kind.controls(),
            "facts": facts,
        });
        text.push_str(&object.to_string());
        text.push('\n');
    }
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"ledger.ndjson\"",
        ),
    ];
    Ok(linked((headers, text).into_response(), next))
}

/// `GET /ledger.csv`.
///
/// # Errors
/// Not a reader of the ledger, or the store's.
pub async fn csv(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    let (told, next) = read(&app, &signed, raw, "csv").await?;
    Ok(linked(
        table("ledger.csv", &COLUMNS, told.iter().map(cells))?,
        next,
    ))
}

/// RFC 8288.
fn linked(mut response: Response, next: Option<HeaderValue>) -> Response {
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, next);
    }
    response
}
