//! The answer to a question to the ledger for machines: NDJSON and CSV, a page of it a call.

use super::feed_formats::{COLUMNS, cells, table};
use super::feed_query::{Told, tell};
use super::kept::kept;
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

/// A header that says that others did more in that time than is here.
const MORE: &str = "x-breakglass-more";

struct Read {
    lines: Vec<Told>,
    next: Option<HeaderValue>,
    more: bool,
}

async fn read(app: &App, signed: &Signed, raw: Option<String>, form: &str) -> Result<Read> {
    must_open(app, signed, Place::Ledger)?;
    let asked = Asked::read(raw, signed.tz)?;
    app.broker
        .note_read(
            &signed.person,
            format!("its list as {form} {}", asked.text()).trim_end(),
            About::default(),
        )
        .await?;
    let mut found = asked.find(&app.broker, MOST).await?;
    // The last answer ends with what others did in that time.
    let mut more = false;
    if found.next.is_none() {
        let others = kept(&asked, &app.broker, MOST as usize).await?;
        found.lines.extend(others.lines);
        more = others.more;
    }
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
    let lines = tell(&app.broker, found.lines).await?;
    Ok(Read { lines, next, more })
}

/// `GET /ledger.ndjson`: a JSON object a line.
///
/// # Errors
/// Not a reader of the ledger, or the store's.
pub async fn ndjson(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    let mut read = read(&app, &signed, raw, "ndjson").await?;
    let mut text = String::new();
    for Told { line, facts } in std::mem::take(&mut read.lines) {
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
    Ok(linked((headers, text).into_response(), read))
}

/// `GET /ledger.csv`.
///
/// # Errors
/// Not a reader of the ledger, or the store's.
pub async fn csv(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    let read = read(&app, &signed, raw, "csv").await?;
    Ok(linked(
        table("ledger.csv", &COLUMNS, read.lines.iter().map(cells))?,
        read,
    ))
}

/// RFC 8288.
fn linked(mut response: Response, read: Read) -> Response {
    if let Some(next) = read.next {
        response.headers_mut().insert(header::LINK, next);
    }
    if read.more {
        let why = HeaderValue::from_static("others did more in this time than is here; narrow the question");
        response.headers_mut().insert(MORE, why);
    }
    response
}
