//! Proofs as JSON, hashes in base64 as in a checkpoint.

use super::reader::LogReader;
use crate::broker::log::Tiles;
use crate::ledger::{Hash, ProofPlan};
use crate::store::Store;
use crate::web::csrf::Fields;
use crate::web::{App, Result};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::StatusCode;
use serde_json::json;

/// Why there is no such proof, in words for the caller.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

/// A number of the query; `default` where the field is not given.
fn number(fields: &Fields, name: &str, default: Option<u64>) -> std::result::Result<u64, Refused> {
    let text = fields.get(name);
    match (text, default) {
        ("", Some(default)) => Ok(default),
        ("", None) => Err(Refused(StatusCode::BAD_REQUEST, format!("`{name}` is missing"))),
        _ => text.parse().map_err(|_| {
            let why = format!("`{name}` is not a whole number from 0 on");
            Refused(StatusCode::BAD_REQUEST, why)
        }),
    }
}

/// A size that the log has reached.
fn size(fields: &Fields, name: &str, reached: u64) -> std::result::Result<u64, Refused> {
    let size = number(fields, name, Some(reached))?;
    if size > reached {
        let why = format!("`{name}` is {size}, and the log has {reached} entries");
        return Err(Refused(StatusCode::NOT_FOUND, why));
    }
    Ok(size)
}

/// What a proof is asked of: a number of the query, and a size that the log has reached.
async fn asked(
    store: &dyn Store,
    raw: Option<String>,
    [first, of]: [&str; 2],
) -> Result<std::result::Result<(u64, u64), Refused>> {
    let fields = Fields::parse(raw.unwrap_or_default().as_bytes());
    let head = store.head().await?;
    Ok(number(&fields, first, None).and_then(|first| Ok((first, size(&fields, of, head.size)?))))
}

fn base64(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| BASE64.encode(hash)).collect()
}

/// `GET /log/proof/inclusion?entry=&size=`: that an entry is in the tree of a size; the newest one where
/// `size` is left out.
///
/// # Errors
/// The store's.
pub async fn inclusion(
    State(app): State<App>,
    _reader: LogReader,
    RawQuery(raw): RawQuery,
) -> Result<Response> {
    let store = app.broker.store.as_ref();
    let (entry, size) = match asked(store, raw, ["entry", "size"]).await? {
        Ok(asked) => asked,
        Err(why) => return Ok(why.into_response()),
    };
    let Ok(plan) = ProofPlan::inclusion(entry, size) else {
        let why = format!("`entry` is {entry}, and a tree of {size} entries has only those below {size}");
        return Ok(Refused(StatusCode::NOT_FOUND, why).into_response());
    };
    let mut tiles = Tiles::new(store);
    let proof = tiles.make(&plan).await?;
    let root = tiles.root(size).await?;
    let leaf = store.nodes(0, entry, 1).await?;
    let answer = json!({
        "entry": entry, "size": size, "leaf": leaf.first().map(|leaf| BASE64.encode(leaf)),
        "root": BASE64.encode(root), "proof": base64(&proof),
    });
    Ok(Json(answer).into_response())
}

/// `GET /log/proof/consistency?from=&to=`: that the tree of size `to` extends that of size `from`; the
/// newest one where `to` is left out.
///
/// # Errors
/// The store's.
pub async fn consistency(
    State(app): State<App>,
    _reader: LogReader,
    RawQuery(raw): RawQuery,
) -> Result<Response> {
    let store = app.broker.store.as_ref();
    let (from, to) = match asked(store, raw, ["from", "to"]).await? {
        Ok(asked) => asked,
        Err(why) => return Ok(why.into_response()),
    };
    let Ok(plan) = ProofPlan::consistency(from, to) else {
        let why =
            format!("`from` is {from} and `to` is {to}: a log only grows, so `from` must not be larger");
        return Ok(Refused(StatusCode::BAD_REQUEST, why).into_response());
    };
    let mut tiles = Tiles::new(store);
    let proof = tiles.make(&plan).await?;
    let answer = json!({
        "from": from, "to": to, "from_root": BASE64.encode(tiles.root(from).await?),
        "to_root": BASE64.encode(tiles.root(to).await?), "proof": base64(&proof),
    });
    Ok(Json(answer).into_response())
}
