//! GitHub's answers, read field by field.

use super::client::{number, text};
use crate::domain::review::{CheckResult, Conclusion, PullPhase, Review, ReviewState};
use crate::forge::{Commit, ForgeError, PullRef};
use serde_json::{Value, json};

pub(super) fn commit_of(body: &Value, operation: &'static str) -> Result<Commit, ForgeError> {
    Ok(Commit {
        sha: text(body, operation, "/sha")?.to_owned(),
        message: text(body, operation, "/message")?.to_owned(),
        verified: body.pointer("/verification/verified") == Some(&json!(true)),
    })
}

/// Where a pull request stands. A list says it by `merged_at`, a single one by `merged` as well.
pub(super) fn phase(body: &Value, operation: &'static str) -> Result<PullPhase, ForgeError> {
    let merged = body["merged"] == json!(true) || body["merged_at"].is_string();
    match text(body, operation, "/state")? {
        _ if merged => Ok(PullPhase::Merged),
        "open" => Ok(PullPhase::Open),
        "closed" => Ok(PullPhase::Closed),
        other => Err(ForgeError::Unexpected {
            operation,
            reason: format!("state {other:?}"),
        }),
    }
}

pub(super) fn pull_ref(body: &Value, operation: &'static str) -> Result<PullRef, ForgeError> {
    Ok(PullRef {
        number: number(body, operation, "/number")?,
        url: text(body, operation, "/html_url")?.to_owned(),
        phase: phase(body, operation)?,
        head_sha: text(body, operation, "/head/sha")?.to_owned(),
    })
}

/// A review; `None` for one not yet submitted, and for one whose account is gone, which counts for nobody.
pub(super) fn review(body: &Value, operation: &'static str) -> Result<Option<Review>, ForgeError> {
    let state = match text(body, operation, "/state")? {
        "APPROVED" => ReviewState::Approved,
        "CHANGES_REQUESTED" => ReviewState::ChangesRequested,
        "COMMENTED" => ReviewState::Commented,
        "DISMISSED" => ReviewState::Dismissed,
        "PENDING" => return Ok(None),
        other => {
            return Err(ForgeError::Unexpected {
                operation,
                reason: format!("a review of state {other:?}"),
            });
        }
    };
    let Some(login) = body["user"]["login"].as_str() else {
        return Ok(None);
    };
    let at = text(body, operation, "/submitted_at")?;
    Ok(Some(Review {
        login: login.to_owned(),
        state,
        // A review whose commit is gone approves nothing that is there.
        commit_sha: body["commit_id"].as_str().unwrap_or_default().to_owned(),
        at: at.parse().map_err(|_| ForgeError::Unexpected {
            operation,
            reason: format!("a review at {at:?}"),
        })?,
    }))
}

pub(super) fn check_result(run: &Value, operation: &'static str) -> Result<CheckResult, ForgeError> {
    let conclusion = match (text(run, operation, "/status")?, run["conclusion"].as_str()) {
        ("completed", Some("success")) => Conclusion::Success,
        ("completed", Some("neutral" | "skipped")) => Conclusion::Neutral,
        ("completed", _) => Conclusion::Failure,
        _ => Conclusion::Pending,
    };
    Ok(CheckResult {
        name: text(run, operation, "/name")?.to_owned(),
        app_id: run.pointer("/app/id").and_then(Value::as_u64),
        conclusion,
    })
}

pub(super) fn status_result(status: &Value, operation: &'static str) -> Result<CheckResult, ForgeError> {
    let conclusion = match text(status, operation, "/state")? {
        "success" => Conclusion::Success,
        "pending" => Conclusion::Pending,
        _ => Conclusion::Failure,
    };
    Ok(CheckResult {
        name: text(status, operation, "/context")?.to_owned(),
        app_id: None,
        conclusion,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_nobody_described_is_an_error_not_an_approval() {
        let body = json!({"state": "BLESSED", "user": {"login": "a"}, "submitted_at": "2030-01-01T00:00:00Z", "commit_id": "x"});
        assert!(review(&body, "test").is_err());
        let pending = json!({"state": "PENDING", "user": {"login": "a"}});
        assert_eq!(review(&pending, "test").unwrap(), None);
        assert!(phase(&json!({"state": "odd"}), "test").is_err());
    }

    #[test]
    fn a_check_that_timed_out_or_was_cancelled_has_not_passed() {
        for conclusion in ["timed_out", "cancelled", "action_required", "stale"] {
            let run = json!({"name": "c", "status": "completed", "conclusion": conclusion});
            assert_eq!(
                check_result(&run, "test").unwrap().conclusion,
                Conclusion::Failure
            );
        }
    }
}
