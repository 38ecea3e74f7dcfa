//! One request to GitHub: who asks, how long, one write at a time, and what an answer means.

use super::pace::Pace;
use super::refusal::{reason, wait_asked, words};
use crate::forge::{Auth, ForgeError, Repo, Settings};
use http::{HeaderMap, Method, header, request};
use octocrab::{
    Octocrab,
    models::{AppId, InstallationId, RepositoryId},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// One path segment or query value, percent-encoded.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A path with its slashes kept and all else percent-encoded.
pub(super) fn path(text: &str) -> String {
    text.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// A repository as reached now: its client, whose token sees only it, and its current name.
#[derive(Clone)]
pub(super) struct Reach {
    octo: Octocrab,
    pub(super) owner: String,
    pub(super) route: String,
}

pub(super) struct Client {
    base: Octocrab,
    auth: Auth,
    timeout: Duration,
    /// When the next write may be sent; held while one is under way.
    writes: Mutex<Pace>,
    /// Until when the forge asked for silence.
    quiet_until: std::sync::Mutex<Option<Instant>>,
    reached: Mutex<HashMap<Repo, Arc<Reach>>>,
}

impl Client {
    pub(super) fn new(settings: Settings) -> Result<Self, ForgeError> {
        let wrong = |error: octocrab::Error| ForgeError::Settings(reason(&error));
        // octocrab is built without its `retry` feature: a repeated POST is a second pull request, so
        // only the worker retries, after reading.
        let builder = Octocrab::builder()
            .base_uri(settings.api_url.as_str())
            .map_err(wrong)?
            .set_connect_timeout(Some(settings.timeout))
            .set_read_timeout(Some(settings.timeout));
        let builder = match &settings.auth {
            Auth::App {
                app_id, private_key, ..
            } => builder
                .app_from_rsa_pem(AppId(*app_id), private_key.expose())
                .map_err(wrong)?,
            Auth::Token(token) if token.expose().is_empty() => {
                return Err(ForgeError::Settings("the token is empty".into()));
            }
            Auth::Token(token) => builder.user_access_token(token.expose()),
        };
        Ok(Self {
            base: builder.build().map_err(wrong)?,
            auth: settings.auth,
            timeout: settings.timeout,
            writes: Mutex::new(Pace::new(settings.write_gap)),
            quiet_until: std::sync::Mutex::new(None),
            reached: Mutex::new(HashMap::new()),
        })
    }

    /// The id of the App the client publishes as.
    pub(super) fn app_id(&self) -> Option<u64> {
        match self.auth {
            Auth::App { app_id, .. } => Some(app_id),
            Auth::Token(_) => None,
        }
    }

    /// Finds the repository, by its number where that is known, and a client for it alone.
    pub(super) async fn reach(&self, repo: &Repo) -> Result<Arc<Reach>, ForgeError> {
        if let Some(reach) = self.reached.lock().await.get(repo) {
            return Ok(reach.clone());
        }
        let octo = self.narrowed(repo).await?;
        let route = repo.id.map_or_else(
            || format!("/repos/{}/{}", segment(&repo.owner), segment(&repo.name)),
            |id| format!("/repositories/{id}"),
        );
        let found = match self
            .send(&octo, "find the repository", &Method::GET, &route, None)
            .await
        {
            // Found by name alone, a renamed repository stays lost until the configuration says more.
            Err(ForgeError::Moved { operation, .. }) if repo.id.is_none() => {
                let message = "the repository was renamed: give its new name, or its number".to_owned();
                return Err(ForgeError::Refused {
                    operation,
                    status: 301,
                    message,
                });
            }
            found => found?,
        };
        let full = text(&found.body, "find the repository", "/full_name")?;
        let (owner, name) = full.split_once('/').ok_or_else(|| ForgeError::Unexpected {
            operation: "find the repository",
            reason: format!("full_name is {full:?}"),
        })?;
        let reach = Arc::new(Reach {
            octo,
            owner: owner.to_owned(),
            route: format!("/repos/{}/{}", segment(owner), segment(name)),
        });
        self.reached.lock().await.insert(repo.clone(), reach.clone());
        Ok(reach)
    }

    async fn narrowed(&self, repo: &Repo) -> Result<Octocrab, ForgeError> {
        let Auth::App { installation_id, .. } = self.auth else {
            return Ok(self.base.clone());
        };
        let installation = if let Some(id) = installation_id {
            id
        } else {
            self.installation(&repo.owner).await?
        };
        let builder = self.base.installation_builder(InstallationId(installation));
        // One repository's token cannot be used on another, whatever a bug or a thief asks for.
        let builder = match repo.id {
            Some(id) => builder.repository_ids(vec![RepositoryId(id)]),
            None => builder.repositories(vec![repo.name.clone()]),
        };
        builder
            .build()
            .map_err(|error| ForgeError::Settings(reason(&error)))
    }

    /// The App's installation on an account: by the account, since the repository may have been renamed.
    async fn installation(&self, owner: &str) -> Result<u64, ForgeError> {
        let operation = "find the App's installation";
        let owner = segment(owner);
        let of_organisation = self
            .send(
                &self.base,
                operation,
                &Method::GET,
                &format!("/orgs/{owner}/installation"),
                None,
            )
            .await;
        let found = match of_organisation {
            Err(ForgeError::NotFound { .. }) => {
                self.send(
                    &self.base,
                    operation,
                    &Method::GET,
                    &format!("/users/{owner}/installation"),
                    None,
                )
                .await?
            }
            found => found?,
        };
        number(&found.body, operation, "/id")
    }

    /// Reads `route` (from the repository's root).
    pub(super) async fn get(
        &self,
        repo: &Repo,
        operation: &'static str,
        route: &str,
    ) -> Result<Answer, ForgeError> {
        let reach = self.reach(repo).await?;
        let sent = self
            .send(
                &reach.octo,
                operation,
                &Method::GET,
                &format!("{}{route}", reach.route),
                None,
            )
            .await;
        self.forget_if_moved(repo, sent).await
    }

    /// Reads every page of a list; `field` names the list inside the answer, empty when it is the answer.
    pub(super) async fn pages(
        &self,
        repo: &Repo,
        operation: &'static str,
        route: &str,
        field: &str,
    ) -> Result<Vec<Value>, ForgeError> {
        let join = if route.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        // GitHub lists no more than 10 pages of most things that matter here; 50 bound a loop that lies.
        for page in 1..=50 {
            let answer = self
                .get(repo, operation, &format!("{route}{join}per_page=100&page={page}"))
                .await?;
            let list = if field.is_empty() {
                Some(&answer.body)
            } else {
                answer.body.get(field)
            };
            let list = list
                .and_then(Value::as_array)
                .ok_or_else(|| ForgeError::Unexpected {
                    operation,
                    reason: "no list in the answer".into(),
                })?;
            items.extend(list.iter().cloned());
            let more = answer
                .headers
                .get(header::LINK)
                .and_then(|link| link.to_str().ok())
                .is_some_and(|link| link.contains("rel=\"next\""));
            if !more {
                return Ok(items);
            }
        }
        Err(ForgeError::TooLarge {
            operation,
            what: format!("more than {} entries", items.len()),
        })
    }

    /// Sends one write, after the one before it and at the pace that GitHub asks for.
    pub(super) async fn write(
        &self,
        repo: &Repo,
        operation: &'static str,
        method: Method,
        route: &str,
        body: &Value,
    ) -> Result<Answer, ForgeError> {
        let reach = self.reach(repo).await?;
        let mut pace = self.writes.lock().await;
        tokio::time::sleep(pace.wait(Instant::now())).await;
        let sent = self
            .send(
                &reach.octo,
                operation,
                &method,
                &format!("{}{route}", reach.route),
                Some(body),
            )
            .await;
        drop(pace);
        self.forget_if_moved(repo, sent).await
    }

    async fn forget_if_moved(
        &self,
        repo: &Repo,
        sent: Result<Answer, ForgeError>,
    ) -> Result<Answer, ForgeError> {
        // octocrab does not follow a redirect of a write: find the repository anew at the next call.
        if let Err(
            ForgeError::Moved { .. } | ForgeError::Refused { status: 401, .. } | ForgeError::NotFound { .. },
        ) = &sent
        {
            self.reached.lock().await.remove(repo);
        }
        sent
    }

    async fn send(
        &self,
        octo: &Octocrab,
        operation: &'static str,
        method: &Method,
        route: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ForgeError> {
        let quiet = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = quiet
            .and_then(|until| until.checked_duration_since(Instant::now()))
            .filter(|wait| !wait.is_zero())
        {
            return Err(ForgeError::RateLimited {
                operation,
                retry_after: wait,
            });
        }
        let unread = |reason: String| ForgeError::Unavailable { operation, reason };
        let exchange = async {
            let request = octo.build_request(request::Builder::new().method(method).uri(route), body)?;
            let response = octo.execute(request).await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok::<_, octocrab::Error>((status, headers, octo.body_to_string(response).await?))
        };
        let (status, headers, text) = match tokio::time::timeout(self.timeout, exchange).await {
            Err(_) => return Err(unread(format!("no answer within {} s", self.timeout.as_secs()))),
            // Only minting a token answers this way; its refusals mean what every answer's do.
            Ok(Err(octocrab::Error::GitHub { source, .. })) => {
                let headers = source.headers.clone().unwrap_or_default();
                return Err(self.refusal(
                    operation,
                    source.status_code.as_u16(),
                    &headers,
                    source.message.clone(),
                ));
            }
            Ok(Err(error)) => return Err(unread(reason(&error))),
            Ok(Ok(whole)) => whole,
        };
        if (200..300).contains(&status) {
            let body = if text.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(&text)
                    .map_err(|error| unread(format!("the answer is not JSON: {error}")))?
            };
            return Ok(Answer { headers, body });
        }
        Err(self.refusal(operation, status, &headers, words(&text)))
    }

    fn refusal(
        &self,
        operation: &'static str,
        status: u16,
        headers: &HeaderMap,
        message: String,
    ) -> ForgeError {
        if let Some(retry_after) = wait_asked(status, headers, &message) {
            *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Instant::now() + retry_after);
            return ForgeError::RateLimited {
                operation,
                retry_after,
            };
        }
        match status {
            300..=399 => ForgeError::Moved {
                operation,
                message: "the repository was renamed or moved".into(),
            },
            404 => ForgeError::NotFound {
                operation,
                what: message,
            },
            409 => ForgeError::Moved { operation, message },
            500..=599 => ForgeError::Unavailable {
                operation,
                reason: format!("status {status}: {message}"),
            },
            _ => ForgeError::Refused {
                operation,
                status,
                message,
            },
        }
    }
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    headers: HeaderMap,
    pub(super) body: Value,
}

/// A text at a JSON pointer.
pub(super) fn text<'a>(body: &'a Value, operation: &'static str, at: &str) -> Result<&'a str, ForgeError> {
    body.pointer(at)
        .and_then(Value::as_str)
        .ok_or_else(|| ForgeError::Unexpected {
            operation,
            reason: format!("no text at {at}"),
        })
}

/// A whole number at a JSON pointer.
pub(super) fn number(body: &Value, operation: &'static str, at: &str) -> Result<u64, ForgeError> {
    body.pointer(at)
        .and_then(Value::as_u64)
        .ok_or_else(|| ForgeError::Unexpected {
            operation,
            reason: format!("no number at {at}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_one_segment() {
        assert_eq!(segment("../x?y#z"), "..%2Fx%3Fy%23z");
        assert_eq!(path("a b/c#d"), "a%20b/c%23d");
    }
}
