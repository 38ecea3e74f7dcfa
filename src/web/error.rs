//! One error type for every handler: what went wrong becomes a status and a page that says what to do.
//!
//! A handler does not know the page around it, so the error travels as an extension of the response
//! and [`render`] makes the page of it, with the reader's own navigation where somebody is signed in.

use super::limits::whole_seconds;
use super::pages::plain::{ConflictPage, ErrorPage, ForbiddenPage, NotFoundPage, SignedOutPage};
use super::pages::{Href, Shell, Text, Words};
use super::refused::RefusedPage;
use super::trace::RequestId;
use super::{App, session, shell};
use crate::broker::BrokerError;
use crate::cluster::ClusterError;
use crate::store::StoreError;
use askama::Template;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

/// Why a request was not answered as asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nobody is signed in, and this was no page to come back to.
    #[error("nobody is signed in")]
    SignedOut,
    /// There is no such thing, or this person may not know of it: both look the same.
    #[error("not found")]
    NotFound,
    /// This person may not do that; the words are for them.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The request itself is wrong; the words are for the person.
    #[error("bad request: {0}")]
    Bad(String),
    /// The rules say no; the words are for the person.
    #[error("refused: {0}")]
    Refused(String),
    /// A text is longer than it may be; it comes back, so that nothing typed is lost.
    #[error("too long: {why}")]
    TooLong {
        /// Which, and how long it may be.
        why: String,
        /// What was typed.
        typed: String,
    },
    /// They asked too often; the words are for the person.
    #[error("too often: {why}")]
    TooOften {
        /// How often, and when again.
        why: String,
        /// Seconds to wait.
        after_s: u64,
    },
    /// Somebody else was faster.
    #[error("conflict: {0}")]
    Conflict(String),
    /// An outside party does not answer; the words are for the person.
    #[error("not available: {what} ({detail})")]
    Unavailable {
        /// For the person.
        what: String,
        /// For the log.
        detail: String,
    },
    /// A mistake or a failure of ours: the words are for the log alone.
    #[error("{0}")]
    Internal(String),
}

/// What a handler returns.
pub type Result<T = Response> = std::result::Result<T, Error>;

impl From<BrokerError> for Error {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Refused(why) => Self::Refused(why),
            BrokerError::TooOften { why, after } => Self::TooOften {
                why,
                after_s: whole_seconds(after.to_std().unwrap_or_default()),
            },
            BrokerError::NotFound(_) => Self::NotFound,
            BrokerError::Store(error) => error.into(),
            BrokerError::Cluster(ClusterError::Unreachable { cluster, doing, why }) => Self::Unavailable {
                what: format!("The API server of {cluster} does not answer."),
                detail: format!("{doing}: {why}"),
            },
            BrokerError::Cluster(error @ ClusterError::Unsound(_)) => Self::Refused(error.to_string()),
            BrokerError::Cluster(error) => Self::Internal(error.to_string()),
            BrokerError::Undelivered { channel, why, .. } => Self::Unavailable {
                what: format!("{channel} does not answer."),
                detail: why,
            },
            BrokerError::Forge(error) => Self::Unavailable {
                what: "The forge does not answer.".to_owned(),
                detail: crate::causes::chain(&error),
            },
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(what) => {
                Self::Conflict(format!("{what} was changed by somebody else meanwhile"))
            }
            error @ StoreError::Database { .. } => Self::store_failed(crate::causes::chain(&error)),
            error => Self::Internal(crate::causes::chain(&error)),
        }
    }
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::Internal(format!("a page could not be written: {error}"))
    }
}

impl From<tower_sessions::session::Error> for Error {
    fn from(error: tower_sessions::session::Error) -> Self {
        match error {
            tower_sessions::session::Error::Store(tower_sessions::session_store::Error::Backend(why)) => {
                Self::store_failed(why)
            }
            error => Self::Internal(format!("the session could not be read or kept: {error}")),
        }
    }
}

impl Error {
    fn store_failed(detail: String) -> Self {
        Self::Unavailable {
            what: "The store of this service cannot be used now, so what you did was not taken.".to_owned(),
            detail,
        }
    }

    /// The status it is answered with.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::SignedOut => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Refused(_) | Self::TooLong { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn page(&self, shell: Shell, back: &str, id: &str) -> std::result::Result<String, askama::Error> {
        let back = Href::new(back).unwrap_or_else(|| Href::path("/"));
        match self {
            Self::SignedOut => SignedOutPage {
                shell,
                sign_in: Href::path("/sign-in"),
                provider: "your sign-in provider".into(),
                why: Some("You are not signed in, or your session is over. Nothing was done.".into()),
            }
            .render(),
            Self::NotFound => NotFoundPage { shell }.render(),
            Self::Forbidden(why) => ForbiddenPage {
                shell,
                why: Words::say(Text::prose(why)),
            }
            .render(),
            Self::Bad(why) | Self::Refused(why) | Self::TooOften { why, .. } => RefusedPage {
                shell,
                why: Words::say(Text::prose(sentence(why))),
                typed: None,
                href: back,
            }
            .render(),
            Self::TooLong { why, typed } => RefusedPage {
                shell,
                why: Words::say(Text::prose(sentence(why))),
                typed: Some(Text::whole(typed)),
                href: back,
            }
            .render(),
            Self::Conflict(what) => ConflictPage {
                shell,
                what: Words::say(Text::prose(sentence(what))),
                href: back,
            }
            .render(),
            Self::Unavailable { what, .. } => ErrorPage {
                shell,
                what: what.into(),
                request_id: id.into(),
                unchanged: false,
            }
            .render(),
            Self::Internal(_) => ErrorPage {
                shell,
                what: "Something failed here.".into(),
                request_id: id.into(),
                unchanged: false,
            }
            .render(),
        }
    }
}

/// Where an error page leads back to, when its own address does not say.
#[derive(Debug, Clone)]
pub struct Back(pub String);

/// The page a person came from: the thing itself without the verb after it.
fn back(path: &str) -> String {
    let mut parts = path.trim_matches('/').split('/');
    match (parts.next(), parts.next()) {
        (Some(kind @ ("requests" | "grants" | "follow-ups")), Some(id)) if id.len() == 36 => {
            format!("/{kind}/{id}")
        }
        (Some(kind @ ("requests" | "approvals" | "feed" | "sla" | "ledger" | "clusters" | "policy")), _) => {
            format!("/{kind}")
        }
        _ => "/".to_owned(),
    }
}

/// The same words as a sentence of their own.
#[must_use]
pub fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    let mut text: String = chars
        .next()
        .map(|first| first.to_uppercase().collect())
        .unwrap_or_default();
    text.push_str(chars.as_str());
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        // The body is for machines and for the case that the page itself cannot be made.
        let mut response =
            (self.status(), self.status().canonical_reason().unwrap_or("error")).into_response();
        if let Self::TooOften { after_s, .. } = &self {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, (*after_s).into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Makes a page of each error.
pub async fn render(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let session = request.extensions().get::<tower_sessions::Session>().cloned();
    let id = request
        .extensions()
        .get::<RequestId>()
        .cloned()
        .unwrap_or_default();
    let tz = session::zone_of(request.headers());
    let page_wanted = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_none_or(|accept| accept.contains("text/html") || accept.contains("*/*"));
    let mut response = next.run(request).await;
    let error = match response.extensions_mut().remove::<Error>() {
        Some(error) => error,
        None if response.status() == StatusCode::GATEWAY_TIMEOUT => Error::Unavailable {
            what: "It took too long.".to_owned(),
            detail: "no answer within the time a page may take".to_owned(),
        },
        None => return response,
    };
    let after = response.headers().get(header::RETRY_AFTER).cloned();
    let back = response
        .extensions_mut()
        .remove::<Back>()
        .map_or_else(|| back(&path), |back| back.0);
    match &error {
        Error::Internal(detail) => tracing::error!(request = %id.0, path, detail, "a request failed"),
        Error::Unavailable { .. } => {
            tracing::warn!(request = %id.0, path, %error, "an outside party is not available");
        }
        error => tracing::info!(request = %id.0, path, %error, "a request was turned away"),
    }
    if !page_wanted {
        return response;
    }
    let title = match error.status() {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::UNAUTHORIZED => "Signed out",
        StatusCode::TOO_MANY_REQUESTS => "Too often",
        status if status.is_server_error() => "Failed",
        _ => "Not done",
    };
    let signed = match session {
        Some(session) => session::signed(&app, session, tz).await.ok().flatten(),
        None => None,
    };
    let shell = match &signed {
        // Whatever broke the page may break its surroundings too: then it stands alone.
        Some(signed) => shell::shell(&app, signed, title, None).await.ok(),
        None => None,
    }
    .unwrap_or_else(|| shell::bare(&app, title, tz));
    match error.page(shell, &back, &id.0) {
        Ok(page) => {
            let mut response = (error.status(), Html(page)).into_response();
            if let Some(after) = after {
                response.headers_mut().insert(header::RETRY_AFTER, after);
            }
            response
        }
        Err(failure) => {
            tracing::error!(request = %id.0, %failure, "the error page could not be written");
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_leads_back_to_the_thing_and_nowhere_else() {
        let id = "0199a3f0-7c3b-7d52-8a51-2f6ad1b0c9e4";
        assert_eq!(back(&format!("/grants/{id}/shorten")), format!("/grants/{id}"));
        assert_eq!(back("/requests/new"), "/requests");
        assert_eq!(back("//elsewhere.example/grants"), "/");
        assert_eq!(back("/grants/../../etc"), "/");
    }

    #[test]
    fn a_refusal_of_the_rules_is_no_failure_of_ours_and_the_other_way_round() {
        let refused = Error::from(BrokerError::Refused("no".into()));
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let conflict = Error::from(StoreError::Conflict("the request"));
        assert_eq!(conflict.status(), StatusCode::CONFLICT);
        let corrupt = Error::from(StoreError::Corrupt {
            what: "a grant",
            why: "secret detail".into(),
        });
        assert_eq!(corrupt.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let shown = corrupt.page(shell::for_test(), "/", "r-1").unwrap();
        assert!(!shown.contains("secret detail") && shown.contains("r-1"));
    }

    #[test]
    fn words_become_a_sentence() {
        assert_eq!(
            sentence("you asked for this yourself"),
            "You asked for this yourself."
        );
    }
}
