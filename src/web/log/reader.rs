//! Who reads the log: somebody signed in, or an auditor's program by its token.

use crate::config::Ledger;
use crate::web::hooks::sender::bearer;
use crate::web::limits::{Who, whole_seconds};
use crate::web::serve::Client;
use crate::web::{App, Signed};
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Somebody who may read the log. As an extractor: a request with a token is judged by it alone; one
/// without needs a session.
#[derive(Debug)]
pub struct LogReader;

impl FromRequestParts<App> for LogReader {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Signed::from_request_parts(parts, app).await.map(|_| Self);
        }
        let token = bearer(&parts.headers);
        if let Some(name) = named(&app.config().ledger, token) {
            tracing::debug!(reader = name, path = parts.uri.path(), "the log was read");
            return Ok(Self);
        }
        let client = parts.extensions.get::<Client>().copied();
        let told = "no known reader of the log\n";
        match app.limits.strangers.take(&Who::at(client)) {
            Ok(()) => Err((
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, "Bearer")],
                told,
            )
                .into_response()),
            Err(wait) => Err((
                StatusCode::TOO_MANY_REQUESTS,
                [(header::RETRY_AFTER, whole_seconds(wait).to_string())],
                told,
            )
                .into_response()),
        }
    }
}

/// The reader whose token this is. Every token is compared, by its digest: neither the place of a
/// difference nor the reader's place among the others shows in the time.
fn named<'a>(ledger: &'a Ledger, token: &str) -> Option<&'a str> {
    let presented = Sha256::digest(token);
    let mut found = None;
    for (name, reader) in &ledger.readers {
        let expected = reader.token.expose();
        let same: bool = presented.ct_eq(&Sha256::digest(expected)).into();
        if same & !expected.is_empty() {
            found = Some(name.as_str());
        }
    }
    found
}
