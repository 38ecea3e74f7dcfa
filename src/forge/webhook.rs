//! What the forge sends on its own: checked over the raw bytes, then read into the little that matters.
//!
//! An event is a hint: whoever receives it reads the pull request again before believing anything.

use super::Secret;
use octocrab::models::webhook_events::verification::verify_signature;
use serde_json::Value;
use thiserror::Error;

/// Why a delivery was not taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WebhookError {
    /// No secret is configured: nothing can be trusted.
    #[error("no webhook secret is configured")]
    NoSecret,
    /// The signature is missing or wrong.
    #[error("the signature is missing or wrong")]
    BadSignature,
    /// Signed, but not what the forge sends.
    #[error("the delivery could not be read: {0}")]
    Unreadable(&'static str),
}

/// One delivery. A redelivery has the same id: skip what was *processed*, not what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The forge's id of it (`X-GitHub-Delivery`).
    pub id: String,
    /// What it says.
    pub event: WebhookEvent,
}

/// What a delivery says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookEvent {
    /// A pull request was opened, closed, pushed to, …
    PullRequest {
        /// The repository's number.
        repo: u64,
        /// The pull request's number.
        number: u64,
        /// The forge's word: `opened`, `reopened`, `synchronize`, `closed`, …
        action: String,
        /// True only for `closed` by merging.
        merged: bool,
        /// The newest commit.
        head_sha: String,
        /// The branch it merges into.
        base: String,
    },
    /// A review was submitted, edited or dismissed.
    Review {
        /// The repository's number.
        repo: u64,
        /// The pull request's number.
        number: u64,
        /// The forge's word.
        action: String,
    },
    /// A merge queue asks for checks on a group: publish neutral unless it holds a pull request of ours.
    MergeGroup {
        /// The repository's number.
        repo: u64,
        /// The group's commit.
        head_sha: String,
        /// The branch it merges into.
        base: String,
    },
    /// Commits came to a branch.
    Push {
        /// The repository's number.
        repo: u64,
        /// The branch.
        branch: String,
    },
    /// Anything else: nothing to do.
    Other,
}

/// Checks `signature` (`X-Hub-Signature-256`) over the raw body in constant time, against each secret
/// in use: two of them during a rotation.
///
/// # Errors
/// [`WebhookError::NoSecret`] or [`WebhookError::BadSignature`].
pub fn verify(secrets: &[Secret], signature: Option<&str>, body: &[u8]) -> Result<(), WebhookError> {
    // An empty secret would verify what anybody signs with nothing.
    if secrets.is_empty() || secrets.iter().any(|secret| secret.expose().is_empty()) {
        return Err(WebhookError::NoSecret);
    }
    let signature = signature.ok_or(WebhookError::BadSignature)?;
    if secrets
        .iter()
        .any(|secret| verify_signature(signature, secret.expose(), body).is_ok())
    {
        Ok(())
    } else {
        Err(WebhookError::BadSignature)
    }
}

/// Reads a verified delivery: `event` and `id` are the headers `X-GitHub-Event` and `X-GitHub-Delivery`.
///
/// # Errors
/// [`WebhookError::Unreadable`] when a known event lacks what it must have.
pub fn parse(event: &str, id: &str, body: &[u8]) -> Result<Delivery, WebhookError> {
    if id.is_empty() || id.len() > 100 || !id.chars().all(|c| c.is_ascii_graphic()) {
        return Err(WebhookError::Unreadable("no delivery id"));
    }
    let body: Value = serde_json::from_slice(body).map_err(|_| WebhookError::Unreadable("not JSON"))?;
    let text = |at: &str| {
        body.pointer(at)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or(WebhookError::Unreadable("a text is missing"))
    };
    let number = |at: &str| {
        body.pointer(at)
            .and_then(Value::as_u64)
            .ok_or(WebhookError::Unreadable("a number is missing"))
    };
    let repo = || number("/repository/id");
    let branch = |reference: String| reference.strip_prefix("refs/heads/").map(str::to_owned);
    let event = match event {
        "pull_request" => {
            let action = text("/action")?;
            let merged = action == "closed"
                && body.pointer("/pull_request/merged").and_then(Value::as_bool) == Some(true);
            WebhookEvent::PullRequest {
                repo: repo()?,
                number: number("/pull_request/number")?,
                action,
                merged,
                head_sha: text("/pull_request/head/sha")?,
                base: text("/pull_request/base/ref")?,
            }
        }
        "pull_request_review" => WebhookEvent::Review {
            repo: repo()?,
            number: number("/pull_request/number")?,
            action: text("/action")?,
        },
        "merge_group" if body["action"] == "checks_requested" => {
            let base = text("/merge_group/base_ref")?;
            WebhookEvent::MergeGroup {
                repo: repo()?,
                head_sha: text("/merge_group/head_sha")?,
                base: branch(base.clone()).unwrap_or(base),
            }
        }
        "push" => branch(text("/ref")?).map_or(Ok(WebhookEvent::Other), |branch| {
            Ok(WebhookEvent::Push {
                repo: repo()?,
                branch,
            })
        })?,
        _ => WebhookEvent::Other,
    };
    Ok(Delivery {
        id: id.to_owned(),
        event,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // The example in GitHub's documentation of webhook signatures.
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    const SECRET: &str = "It's a Secret to Everybody";

    #[test]
    fn only_the_secrets_own_signature_over_the_same_bytes_counts() {
        let secrets = [Secret::new("new"), Secret::new(SECRET)];
        assert_eq!(verify(&secrets, Some(SIGNATURE), b"Hello, World!"), Ok(()));
        assert_eq!(
            verify(&secrets, Some(SIGNATURE), b"Hello, World?"),
            Err(WebhookError::BadSignature)
        );
        assert_eq!(
            verify(&secrets[..1], Some(SIGNATURE), b"Hello, World!"),
            Err(WebhookError::BadSignature)
        );
        for bad in [
            None,
            Some(""),
            Some("sha256="),
            Some("sha1=0000"),
            Some("sha256=zz"),
            Some(&SIGNATURE[7..]),
        ] {
            assert_eq!(
                verify(&secrets, bad, b"Hello, World!"),
                Err(WebhookError::BadSignature),
                "{bad:?}"
            );
        }
        assert_eq!(
            verify(&[], Some(SIGNATURE), b"Hello, World!"),
            Err(WebhookError::NoSecret)
        );
        assert_eq!(
            verify(&[Secret::new("")], Some(SIGNATURE), b"Hello, World!"),
            Err(WebhookError::NoSecret)
        );
    }

    #[test]
    fn merged_is_closed_and_merged_only() {
        let event = |action: &str, merged: bool| {
            let body = json!({"action": action, "repository": {"id": 5}, "pull_request": {"number": 3, "merged": merged, "head": {"sha": "h"}, "base": {"ref": "main"}}});
            parse("pull_request", "d-1", body.to_string().as_bytes())
                .unwrap()
                .event
        };
        assert!(matches!(
            event("closed", true),
            WebhookEvent::PullRequest {
                repo: 5,
                number: 3,
                merged: true,
                ..
            }
        ));
        assert!(matches!(
            event("closed", false),
            WebhookEvent::PullRequest { merged: false, .. }
        ));
        assert!(matches!(
            event("edited", true),
            WebhookEvent::PullRequest { merged: false, .. }
        ));
    }

    #[test]
    fn what_is_not_understood_is_said_or_is_nothing_to_do() {
        assert_eq!(parse("star", "d-1", b"{}").unwrap().event, WebhookEvent::Other);
        assert_eq!(
            parse("push", "d-1", br#"{"ref":"refs/tags/v1","repository":{"id":1}}"#)
                .unwrap()
                .event,
            WebhookEvent::Other
        );
        assert_eq!(
            parse(
                "push",
                "d-1",
                br#"{"ref":"refs/heads/a/b","repository":{"id":1}}"#
            )
            .unwrap()
            .event,
            WebhookEvent::Push {
                repo: 1,
                branch: "a/b".into()
            }
        );
        assert!(parse("pull_request", "d-1", b"{}").is_err());
        assert!(parse("pull_request", "d-1", b"not json").is_err());
        assert!(parse("star", "", b"{}").is_err());
        assert!(parse("star", "d\n1", b"{}").is_err());
    }
}
