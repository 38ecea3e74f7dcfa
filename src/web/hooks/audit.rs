//! `POST /hooks/audit/{cluster}` and `/hooks/audit/{cluster}/{server}`: what an API server recorded. Durable, then
//! 200. A name that is not configured is taken as none: what was recorded matters more than who says so.
//!
//! An API server sends anything that was not answered 2xx again, five times in about 100 s, and then
//! drops it: so what cannot be read is kept as it came and answered 200, and only what could not be
//! written is refused.

use super::intake::{Bounds, IntakeError, Purse, Reader, only};
use super::sender::{Stranger, prove};
use crate::broker::Broker;
use crate::domain::transition::About;
use crate::web::App;
use crate::web::authorities::Presented;
use crate::web::limits::{Who, whole_seconds};
use crate::web::serve::Client;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The longest body as sent: more than an API server holds.
const SENT: usize = 1 << 30;
/// The longest packed body once unpacked: few bytes can be made to be many.
const UNPACKED: usize = 256 << 20;
/// Bytes of all bodies in flight, as they are held while they are read.
const IN_FLIGHT: usize = 40 << 20;
/// Bytes that are being entered: each is many once it is read as events.
const ENTERING: usize = 6 << 20;
/// How long a body may wait for room.
const ROOM: Duration = Duration::from_secs(5);
/// An answer comes within this, whatever happens: an API server that waits longer holds its batches in
/// memory until it dies (kubernetes#85489).
const ANSWER: Duration = Duration::from_secs(19);

/// What the receiver keeps between requests.
#[derive(Debug)]
pub struct Receiver {
    purse: Purse,
    turns: Purse,
}

impl Receiver {
    /// An idle one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            purse: Purse::of(IN_FLIGHT),
            turns: Purse::of(ENTERING),
        }
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

/// Whose audit it is, as the path says.
#[derive(Debug, serde::Deserialize)]
pub struct Recipient {
    cluster: String,
    /// The API server's own name, where the path has one.
    #[serde(default)]
    server: String,
}

/// Takes one batch.
pub async fn receive(
    State(app): State<App>,
    Extension(receiver): Extension<Arc<Receiver>>,
    Path(to): Path<Recipient>,
    presented: Option<Extension<Presented>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let until = Instant::now() + ANSWER;
    let Recipient { cluster, server } = to;
    let presented = presented
        .map(|Extension(presented)| presented)
        .unwrap_or_default();
    let (config, now) = (app.config(), app.broker.now());
    if let Err(why) = prove(config, &app.authorities, &cluster, &headers, &presented, now) {
        return turn_away(&app, &cluster, client.map(|Extension(client)| client), &why).await;
    }
    let length = only(&headers, "content-length").and_then(|value| value.parse().ok());
    let gzip = only(&headers, "content-encoding").is_some_and(|value| value == "gzip");
    let bounds = Bounds {
        sent: SENT,
        unpacked: UNPACKED,
        room: ROOM,
    };
    let reading = Reader::begin(body, length, gzip, &receiver.purse, bounds);
    let mut reader = match timeout_at(until, reading).await {
        Ok(Ok(reader)) => reader,
        Ok(Err(error)) => return not_taken(&app.broker, &cluster, error).await,
        Err(_) => return not_taken(&app.broker, &cluster, IntakeError::Full).await,
    };
    let server = config
        .clusters
        .get(&cluster)
        .map_or("", |known| known.server(&server));
    loop {
        let part = match timeout_at(until, reader.next()).await {
            Ok(Ok(Some(part))) => part,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return not_taken(&app.broker, &cluster, error).await,
            Err(_) => return not_taken(&app.broker, &cluster, IntakeError::Cut).await,
        };
        if let Err(why) = enter(&app.broker, &receiver, (&cluster, server), part, until).await {
            return busy(why);
        }
    }
    if reader.broken {
        tracing::warn!(
            cluster,
            "a body said that it was packed and could not be unpacked; it is kept as it came"
        );
    }
    StatusCode::OK.into_response()
}

/// Enters a part. Durable when it is `Ok`; what comes before it already is, and is known again when it comes again.
async fn enter(
    broker: &Arc<Broker>,
    receiver: &Receiver,
    (cluster, server): (&str, &str),
    part: Bytes,
    until: Instant,
) -> Result<(), &'static str> {
    let late = "it is not written yet; send it again\n";
    let Ok(Some(turn)) = timeout_at(until, receiver.turns.take(part.len())).await else {
        return Err(late);
    };
    // On a task of its own: an answer that comes too late, or a sender that hung up, must not stop what
    // follows a commit that took effect.
    let (broker, cluster, server) = (Arc::clone(broker), cluster.to_owned(), server.to_owned());
    let recorded = tokio::spawn(async move {
        let recorded = broker.record_batch(&cluster, &server, part).await;
        drop(turn);
        recorded
    });
    let error = match timeout_at(until, recorded).await {
        Ok(Ok(Ok(_))) => return Ok(()),
        Ok(Ok(Err(error))) => crate::causes::chain(&error),
        Ok(Err(panicked)) => panicked.to_string(),
        Err(_) => return Err(late),
    };
    tracing::error!(error, "a batch could not be entered");
    Err("it could not be written; send it again\n")
}

async fn not_taken(broker: &Broker, cluster: &str, error: IntakeError) -> Response {
    match error {
        IntakeError::TooLong => {
            lost(broker, cluster).await;
            (StatusCode::PAYLOAD_TOO_LARGE, format!("{error}\n")).into_response()
        }
        IntakeError::Full => busy("too much is in flight; send it again\n"),
        IntakeError::Cut => busy("the body did not come in time; send it again\n"),
    }
}

/// Only who could not prove themselves is counted, and after they could not: whatever is sent beside it,
/// a cluster's own API servers are heard.
pub(super) async fn turn_away(app: &App, cluster: &str, client: Option<Client>, why: &Stranger) -> Response {
    let told = "not a known audit sender\n";
    let Err(wait) = app.limits.strangers.take(&Who::at(client)) else {
        tracing::warn!(cluster = %crate::audit::visible(cluster), %why, "an audit sender was not recognised");
        return (StatusCode::UNAUTHORIZED, told).into_response();
    };
    let from = client.map_or_else(|| "an unknown address".to_owned(), |Client(ip)| ip.to_string());
    // One open finding a cluster, however many send; names that were made up share one.
    let (key, about, text) = match app.config().clusters.get_key_value(cluster) {
        Some((name, _)) => (
            format!("audit strangers {name}"),
            About::cluster(name),
            format!(
                "Audit events of {name} come from {from} again and again without proof that it is one of its API \
                 servers: {why}. Either somebody guesses, or its webhook file and this configuration do not \
                 agree, and then its record is missing here"
            ),
        ),
        None => (
            "audit strangers".to_owned(),
            About::default(),
            format!("Audit events of a cluster that is not configured come from {from} again and again"),
        ),
    };
    if app.limits.told.take(&key).is_ok()
        && let Err(error) = app.broker.find(&key, about, &text, None).await
    {
        tracing::error!(error = %crate::causes::chain(&error), "an unknown audit sender could not be recorded");
    }
    let after = whole_seconds(wait).to_string();
    (
        StatusCode::TOO_MANY_REQUESTS,
        [(header::RETRY_AFTER, after)],
        told,
    )
        .into_response()
}

/// A batch that cannot be held is lost to the record: said where compliance looks.
async fn lost(broker: &Broker, cluster: &str) {
    let text = format!(
        "A batch of audit events of {cluster} was longer than can be taken and was refused: what was in it is \
         missing here. Look into the API server's own audit log, and lower its batch size"
    );
    if let Err(error) = broker
        .find(
            &format!("audit too long {cluster}"),
            About::cluster(cluster),
            &text,
            None,
        )
        .await
    {
        tracing::error!(error = %crate::causes::chain(&error), "a lost batch could not be recorded");
    }
}

pub(super) fn busy(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], why).into_response()
}
