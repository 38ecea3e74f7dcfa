//! `POST /hooks/import/{cluster}`: events of the past, from `breakglass import`. Who imports writes the cluster's
//! record, and proves itself as its API servers do.

use super::audit::{busy, turn_away};
use super::intake::{Bounds, IntakeError, Purse, Reader, only};
use super::sender::prove;
use crate::audit::Wrapping;
use crate::web::App;
use crate::web::authorities::Presented;
use crate::web::csrf::Fields;
use crate::web::serve::Client;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// The longest batch, as sent and once unpacked; `breakglass import` sends shorter ones.
const LONGEST: usize = 128 << 20;
/// Bytes of all imports in flight: they may wait, the API servers' own batches have a purse of their own.
const IN_FLIGHT: usize = 256 << 20;

/// What the receiver keeps between requests.
#[derive(Debug)]
pub struct Importer(Purse);

impl Default for Importer {
    fn default() -> Self {
        Self(Purse::of(IN_FLIGHT))
    }
}

/// Takes one batch; `?from=` says in what its events came.
pub async fn receive(
    State(app): State<App>,
    Extension(importer): Extension<Arc<Importer>>,
    Path(cluster): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let presented = parts.extensions.get::<Presented>().cloned().unwrap_or_default();
    let client = parts.extensions.get::<Client>().copied();
    let (config, now) = (app.config(), app.broker.now());
    if let Err(why) = prove(config, &app.authorities, &cluster, headers, &presented, now) {
        return turn_away(&app, &cluster, client, &why).await;
    }
    let from = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let Some(wrapping) = Wrapping::ALL
        .into_iter()
        .find(|one| one.name() == from.get("from"))
    else {
        return (
            StatusCode::BAD_REQUEST,
            "say in what the events came: ?from=plain, eks, aks or gke\n",
        )
            .into_response();
    };
    let length = only(headers, "content-length").and_then(|value| value.parse().ok());
    let gzip = only(headers, "content-encoding").is_some_and(|value| value == "gzip");
    let bounds = Bounds {
        sent: LONGEST,
        unpacked: LONGEST,
        room: Duration::from_secs(5),
    };
    let refused = |error| match error {
        IntakeError::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, format!("{error}\n")).into_response(),
        IntakeError::Full | IntakeError::Cut => busy("too much is in flight; send it again\n"),
    };
    let mut reader = match Reader::begin(body, length, gzip, &importer.0, bounds).await {
        Ok(reader) => reader,
        Err(error) => return refused(error),
    };
    let mut entered = 0;
    loop {
        let part = match reader.next().await {
            Ok(Some(_)) if reader.broken => {
                return (StatusCode::BAD_REQUEST, "the body cannot be unpacked\n").into_response();
            }
            Ok(Some(part)) => part,
            Ok(None) => return Json(json!({"entered": entered})).into_response(),
            Err(error) => return refused(error),
        };
        // On a task of its own: an importer that hangs up must not stop what follows a commit that took effect.
        let (broker, cluster) = (Arc::clone(&app.broker), cluster.clone());
        let entering = tokio::spawn(async move { broker.import_batch(&cluster, part, wrapping).await });
        let error = match entering.await {
            Ok(Ok(recorded)) => {
                entered += recorded.entered;
                continue;
            }
            Ok(Err(error)) => crate::causes::chain(&error),
            Err(panicked) => panicked.to_string(),
        };
        tracing::error!(error, "an import could not be entered");
        return busy("it could not be written; send it again\n");
    }
}
