//! Checkpoint, tiles and bundles.

use super::reader::LogReader;
use crate::broker::log;
use crate::ledger::TilePath;
use crate::web::{App, Result};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

/// `GET /log/checkpoint`: the newest signed checkpoint, with the cosignatures of witnesses where there are.
///
/// # Errors
/// The store's.
pub async fn checkpoint(State(app): State<App>, _reader: LogReader) -> Result<Response> {
    let note = app.broker.newest_checkpoint().await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

/// `GET /log/tile/LEVEL/NUMBER` and `GET /log/tile/entries/NUMBER`, with `.p/WIDTH` for a partial one.
///
/// # Errors
/// The store's.
pub async fn tile(State(app): State<App>, _reader: LogReader, Path(path): Path<String>) -> Result<Response> {
    let path: TilePath = match path.parse() {
        Ok(path) => path,
        Err(error) => return Ok(absent(format!("{error}\n"))),
    };
    let Some(bytes) = log::tile(app.broker.store.as_ref(), path).await? else {
        return Ok(absent(format!("the log has no tile {path} yet\n")));
    };
    let mut response = ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response();
    if path.is_full() {
        // A full tile never changes. Only the reader's own cache may keep it: the next one may be nobody known.
        let headers = response.headers_mut();
        headers.insert(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("private, max-age=31536000, immutable"),
        );
        headers.insert(
            header::VARY,
            header::HeaderValue::from_static("authorization, cookie"),
        );
    }
    Ok(response)
}

fn absent(why: String) -> Response {
    (
        StatusCode::NOT_FOUND,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        why,
    )
        .into_response()
}
