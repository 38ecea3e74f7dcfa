//! One line a request, and an id by which an error page is found in the log.

use super::serve::Client;
use crate::ids::random_bytes;
use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use std::time::Instant;
use tracing::Instrument as _;

/// Names one request in the log. Always made here: one sent from outside could be anybody's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Logs the request: its path with ids but without the query, since queries carry codes and tokens.
pub async fn trace(mut request: Request, next: Next) -> Response {
    let id = RequestId(hex::encode(random_bytes::<8>()));
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let from = request
        .extensions()
        .get::<Client>()
        .map_or_else(String::new, |client| client.0.to_string());
    let quiet = path.starts_with("/static/") || matches!(path.as_str(), "/healthz" | "/readyz");
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|route| route.as_str().to_owned());
    let began = Instant::now();
    let span = tracing::info_span!("request", request = %id.0);
    let mut response = next.run(request).instrument(span).await;
    let status = response.status().as_u16();
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if !quiet || status >= 500 {
        let route = route.unwrap_or_default();
        tracing::info!(request = %id.0, %method, path, route, status, ms, from, "answered");
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
