//! `POST /hooks/audit/{cluster}` and `/hooks/audit/{cluster}/{server}`: what an API server recorded. Durable, then
//! 200. A name that is not configured is taken as none: what was recorded matters more than who says so.
//!
//! An API server sends anything that was not answered 2xx again, five times in about 100 s, and then
//! drops it: so what cannot be read is kept as it came and answered 200, and only what could not be
//! written is refused.

use super::intake::{Bounds, IntakeError, Purse, Taken, only, take};
use super::sender::{Stranger, prove};
use crate::audit::split::split;
use crate::broker::{Broker, Result as BrokerResult};
use crate::domain::transition::About;
use crate::web::App;
use crate::web::authorities::Presented;
use crate::web::limits::{Who, whole_seconds};
use crate::web::serve::Client;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The longest body as sent.
const SENT: usize = 200 << 20;
/// The longest body once unpacked.
const UNPACKED: usize = 256 << 20;
/// Bytes of all bodies in flight.
const IN_FLIGHT: usize = 768 << 20;
/// How long a body may wait for room.
const ROOM: Duration = Duration::from_secs(5);
/// An answer comes within this, whatever happens: an API server that waits longer holds its batches in
/// memory until it dies (kubernetes#85489).
const ANSWER: Duration = Duration::from_secs(19);
/// Longer bodies are entered in parts of about this size, so that no commit grows with its batch.
const PART: usize = 8 << 20;

/// What the receiver keeps between requests.
#[derive(Debug)]
pub struct Receiver {
    purse: Purse,
}

impl Receiver {
    /// An idle one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            purse: Purse::of(IN_FLIGHT),
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
    let taken = match timeout_at(until, take(body, length, gzip, &receiver.purse, bounds)).await {
        Ok(Ok(taken)) => taken,
        Ok(Err(error @ IntakeError::TooLong)) => {
            lost(&app.broker, &cluster).await;
            return (StatusCode::PAYLOAD_TOO_LARGE, format!("{error}\n")).into_response();
        }
        Ok(Err(IntakeError::Full)) => return busy("too much is in flight; send it again\n"),
        Ok(Err(IntakeError::Cut)) | Err(_) => return busy("the body did not come in time; send it again\n"),
    };
    if taken.broken {
        tracing::warn!(
            cluster,
            "a body said that it was packed and could not be unpacked; it is kept as it came"
        );
    }
    // On a task of its own: an answer that comes too late, or a sender that hung up, must not stop what
    // follows a commit that took effect.
    let broker = Arc::clone(&app.broker);
    let server = config
        .clusters
        .get(&cluster)
        .map_or("", |known| known.server(&server))
        .to_owned();
    let recorded = tokio::spawn(async move { record(&broker, &cluster, &server, &taken).await });
    match timeout_at(until, recorded).await {
        Ok(Ok(Ok(()))) => StatusCode::OK.into_response(),
        Ok(Ok(Err(error))) => {
            tracing::error!(error = %crate::causes::chain(&error), "a batch could not be entered");
            busy("it could not be written; send it again\n")
        }
        Ok(Err(panicked)) => {
            tracing::error!(%panicked, "a batch could not be entered");
            busy("it could not be written; send it again\n")
        }
        Err(_) => busy("it is not written yet; send it again\n"),
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

async fn record(broker: &Broker, cluster: &str, server: &str, taken: &Taken) -> BrokerResult<()> {
    for part in parts(&taken.bytes) {
        broker.record_batch(cluster, server, &part).await?;
    }
    Ok(())
}

/// A long `EventList` as several, each an `EventList` of whole events. What does not split cleanly
/// stays whole: the intake finds out what is wrong with it.
fn parts(body: &[u8]) -> Vec<std::borrow::Cow<'_, [u8]>> {
    if body.len() <= PART {
        return vec![body.into()];
    }
    let found = split(body);
    let (Some(kind), Some(api_version), None, false) = (
        &found.kind,
        &found.api_version,
        &found.broken,
        found.items.is_empty(),
    ) else {
        return vec![body.into()];
    };
    let head = [
        b"{\"kind\":",
        &body[kind.clone()],
        b",\"apiVersion\":",
        &body[api_version.clone()],
        b",\"items\":[",
    ]
    .concat();
    let mut parts = vec![];
    let mut part = head.clone();
    for item in &found.items {
        if part.len() > head.len() {
            if part.len() + item.len() > PART {
                part.extend_from_slice(b"]}");
                parts.push(std::mem::replace(&mut part, head.clone()).into());
            } else {
                part.push(b',');
            }
        }
        part.extend_from_slice(&body[item.clone()]);
    }
    part.extend_from_slice(b"]}");
    parts.push(part.into());
    parts
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_batch_is_entered_in_parts_that_hold_every_event_once() {
        let event = |n: usize| format!("{{\"auditID\":\"{n}\",\"pad\":\"{}\"}}", "x".repeat(900_000));
        let events: Vec<String> = (0..30).map(event).collect();
        let body = format!(
            "{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{{}},\"items\":[{}]}}",
            events.join(" , ")
        );
        let parts = parts(body.as_bytes());
        assert!(parts.len() >= 3, "{} parts", parts.len());
        let mut ids = vec![];
        for part in &parts {
            assert!(part.len() <= PART + 1_000_000);
            let list: serde_json::Value = serde_json::from_slice(part).unwrap();
            assert_eq!(
                (&list["kind"], &list["apiVersion"]),
                (&"EventList".into(), &"audit.k8s.io/v1".into())
            );
            ids.extend(
                list["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|event| event["auditID"].as_str().unwrap().to_owned()),
            );
        }
        assert_eq!(ids, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_body_that_does_not_split_stays_whole() {
        let body = vec![b'['; PART + 10];
        assert_eq!(parts(&body), vec![std::borrow::Cow::Borrowed(body.as_slice())]);
    }
}
