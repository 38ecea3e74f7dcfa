//! One request to an API server: bounded in time, answered or explained.
//!
//! Answers are parsed here and not by the client library, which logs an answer that it cannot
//! parse: the answer to a token request is a token.

use super::ClusterError;
use http::{Method, Request};
use kube::Client;
use kube::client::AuthError;
use kube::core::Status;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) type Result<T> = std::result::Result<T, ClusterError>;

/// How long connecting, and every single answer, may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Objects on one page of a list.
const PAGE: usize = 500;
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One part of a path: a name from outside never becomes two.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}

/// The API server of a cluster, under one identity.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) cluster: String,
    pub(super) client: Client,
}

/// A list as it was at one version.
pub(super) struct List {
    pub(super) items: Vec<Value>,
    pub(super) version: String,
}

impl Server {
    /// Sends one request and returns the answer's body.
    pub(super) async fn ask(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        self.send(doing, method, path, body)
            .await?
            .map_err(|status| self.refused(doing, &status))
    }

    /// The object at `path`; `None` when there is none of that name. A path that the API server does
    /// not know at all is an error: it says nothing about an object.
    pub(super) async fn find(&self, doing: &str, path: &str) -> Result<Option<Value>> {
        match self.send(doing, Method::GET, path, None).await? {
            Ok(object) if is_named(&object, path) => Ok(Some(object)),
            Ok(_) => Err(self.unreachable(doing, "the answer is not the object that was asked for")),
            Err(status) if is_missing(&status) => Ok(None),
            Err(status) => Err(self.refused(doing, &status)),
        }
    }

    /// Deletes the very object that was read: `uid` keeps a namesake made meanwhile alive. Done as
    /// well when there is none.
    pub(super) async fn delete(&self, doing: &str, path: &str, uid: &str) -> Result<()> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        match self.send(doing, Method::DELETE, path, Some(&options)).await? {
            Ok(_) => Ok(()),
            Err(status) if is_missing(&status) => Ok(()),
            Err(status) => Err(self.refused(doing, &status)),
        }
    }

    /// Sends one request. The inner error is the API server's own no.
    pub(super) async fn send(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<std::result::Result<Value, Box<Status>>> {
        let bytes = body
            .map(|value| value.to_string().into_bytes())
            .unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(http::header::ACCEPT, "application/json")
            .body(bytes)
            .map_err(|error| self.unreachable(doing, &error.to_string()))?;
        let answer = tokio::time::timeout(PATIENCE, self.client.request_text(request)).await;
        let slow = |_| self.unreachable(doing, &format!("no answer within {} s", PATIENCE.as_secs()));
        match answer.map_err(slow)? {
            Ok(text) => serde_json::from_str(&text)
                .map(Ok)
                .map_err(|_| self.unreachable(doing, "the answer was cut, or is not JSON")),
            Err(kube::Error::Api(status)) => Ok(Err(status)),
            Err(error) => Err(self.explain(doing, &error)),
        }
    }

    /// Makes an object. `None` when one of its name exists already.
    pub(super) async fn make(&self, doing: &str, path: &str, object: &Value) -> Result<Option<Value>> {
        match self.send(doing, Method::POST, path, Some(object)).await? {
            Ok(made) if text(&made, "/metadata/name") == text(object, "/metadata/name") => Ok(Some(made)),
            Ok(_) => Err(self.unreachable(doing, "the answer is not the object that was made")),
            Err(status) if status.code == 409 => Ok(None),
            Err(status) => Err(self.refused(doing, &status)),
        }
    }

    /// Everything at a collection's `path`, page by page, as it was at one version. `selector` is a
    /// query (`labelSelector=…`), or empty.
    pub(super) async fn list(&self, doing: &str, path: &str, selector: &str) -> Result<List> {
        let mut list = List {
            items: vec![],
            version: String::new(),
        };
        let mut token = String::new();
        loop {
            let query = format!("{path}?limit={PAGE}&continue={}&{selector}", segment(&token));
            let mut page = self
                .ask(doing, Method::GET, query.trim_end_matches('&'), None)
                .await?;
            // An answer without a list says nothing: read as an empty one, it would prove that a binding is gone.
            if !text(&page, "/kind").ends_with("List") {
                return Err(self.unreachable(doing, "the answer is not a list"));
            }
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(items)) => list.items.extend(items),
                Some(Value::Null) => {}
                _ => return Err(self.unreachable(doing, "the answer is a list without items")),
            }
            text(&page, "/metadata/resourceVersion").clone_into(&mut list.version);
            text(&page, "/metadata/continue").clone_into(&mut token);
            if token.is_empty() {
                return Ok(list);
            }
        }
    }

    /// `answer` is of that kind, and no page of a proxy on the way.
    pub(super) fn expect(&self, doing: &str, answer: &Value, kind: &str) -> Result<()> {
        if text(answer, "/kind") == kind {
            return Ok(());
        }
        Err(self.unreachable(doing, &format!("the answer is no {kind}")))
    }

    /// What a failure of the client means.
    pub(super) fn explain(&self, doing: &str, error: &kube::Error) -> ClusterError {
        match error {
            kube::Error::Api(status) => self.refused(doing, status),
            other => self.unreachable(doing, &reasons(other)),
        }
    }

    pub(super) fn refused(&self, doing: &str, status: &Status) -> ClusterError {
        ClusterError::Refused {
            cluster: self.cluster.clone(),
            doing: doing.to_owned(),
            code: status.code,
            why: status.message.clone(),
        }
    }

    pub(super) fn unreachable(&self, doing: &str, why: &str) -> ClusterError {
        ClusterError::Unreachable {
            cluster: self.cluster.clone(),
            doing: doing.to_owned(),
            why: why.to_owned(),
        }
    }
}

/// The object at that path, rather than whatever a proxy on the way makes of a page.
fn is_named(object: &Value, path: &str) -> bool {
    let name = text(object, "/metadata/name");
    !text(object, "/kind").is_empty() && !name.is_empty() && path.rsplit('/').next() == Some(&segment(name))
}

/// No object of that name, rather than no such path.
pub(super) fn is_missing(status: &Status) -> bool {
    status.code == 404
        && status
            .details
            .as_ref()
            .is_some_and(|details| !details.name.is_empty())
}

/// The chain of reasons of a transport failure. What a credential plugin printed is left out, it may be
/// a credential; and since each link may repeat the next one's words, so is the whole chain then.
fn reasons(error: &kube::Error) -> String {
    let chain = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |link| {
        link.source()
    });
    let mut words: Vec<String> = vec![];
    for link in chain {
        if link.is::<AuthError>() || matches!(link.downcast_ref(), Some(kube::Error::Auth(_))) {
            return "the broker's own credentials could not be loaded".into();
        }
        let said = link.to_string();
        if !words.iter().any(|known| known.contains(&said)) {
            words.push(said);
        }
    }
    words.join(": ")
}

/// The text at a pointer; empty when there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_outside_stays_one_part_of_a_path() {
        assert_eq!(segment("../../secrets?x=1#"), "..%2F..%2Fsecrets%3Fx%3D1%23");
        assert_eq!(segment("breakglass-canary-0a"), "breakglass-canary-0a");
    }

    #[test]
    fn only_the_object_that_was_asked_for_is_taken() {
        let path = "/api/v1/namespaces/kube-system";
        assert!(is_named(
            &json!({"kind": "Namespace", "metadata": {"name": "kube-system"}}),
            path
        ));
        for other in [
            json!({}),
            json!(null),
            json!("<html>"),
            json!({"kind": "Namespace", "metadata": {"name": "other"}}),
            json!({"metadata": {"name": "kube-system"}}),
        ] {
            assert!(!is_named(&other, path), "{other}");
        }
    }

    #[test]
    fn what_a_credential_plugin_printed_is_not_repeated() {
        let error = kube::Error::Auth(AuthError::AuthExec("token: hunter2".into()));
        assert_eq!(
            reasons(&error),
            "the broker's own credentials could not be loaded"
        );
        let boxed = kube::Error::Service(Box::new(AuthError::AuthExec("token: hunter2".into())));
        assert!(!reasons(&boxed).contains("hunter2"), "{}", reasons(&boxed));
    }
}
