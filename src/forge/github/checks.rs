//! Checks, published and read, and what a branch requires.

use super::{
    GitHub,
    answers::{check_result, status_result},
    client::{number, path, segment, text},
};
use crate::domain::review::{CheckResult, Conclusion};
use crate::forge::{Check, ForgeError, ProtectionReport, Repo, RequiredCheck};
use http::Method;
use serde_json::{Value, json};

/// GitHub's limit of a commit status' description.
const STATUS_DESCRIPTION: usize = 140;

impl GitHub {
    pub(super) async fn checks(&self, repo: &Repo, sha: &str) -> Result<Vec<CheckResult>, ForgeError> {
        let operation = "read the checks";
        let runs = self
            .client
            .pages(
                repo,
                operation,
                &format!("/commits/{sha}/check-runs?filter=latest"),
                "check_runs",
            )
            .await?;
        let mut results = runs
            .iter()
            .map(|run| check_result(run, operation))
            .collect::<Result<Vec<_>, _>>()?;
        for status in self
            .client
            .pages(repo, operation, &format!("/commits/{sha}/status"), "statuses")
            .await?
        {
            results.push(status_result(&status, operation)?);
        }
        Ok(results)
    }

    pub(super) async fn set_check_run(
        &self,
        repo: &Repo,
        head_sha: &str,
        check: &Check,
        app: u64,
    ) -> Result<(), ForgeError> {
        let operation = "publish a check";
        let route = format!(
            "/commits/{}/check-runs?check_name={}&app_id={app}&filter=latest",
            segment(head_sha),
            segment(&check.name)
        );
        let known = self.client.pages(repo, operation, &route, "check_runs").await?;
        let summary: String = check.summary.chars().take(65_000).collect();
        if let Some(run) = known.first() {
            let same = check_result(run, operation)?.conclusion == check.conclusion
                && run.pointer("/output/title").and_then(Value::as_str) == Some(&check.title)
                && run.pointer("/output/summary").and_then(Value::as_str) == Some(&summary);
            if same {
                return Ok(());
            }
        }
        let mut body = json!({"name": check.name, "output": {"title": check.title, "summary": summary}});
        match check.conclusion {
            Conclusion::Pending => body["status"] = json!("in_progress"),
            Conclusion::Success => body["conclusion"] = json!("success"),
            Conclusion::Failure => body["conclusion"] = json!("failure"),
            Conclusion::Neutral => body["conclusion"] = json!("neutral"),
        }
        // A completed run does not go back to running: a new one takes its place.
        let reuse = known
            .first()
            .filter(|run| check.conclusion != Conclusion::Pending || run["status"] != "completed");
        if let Some(run) = reuse {
            if check.conclusion != Conclusion::Pending {
                body["status"] = json!("completed");
            }
            let id = number(run, operation, "/id")?;
            self.client
                .write(
                    repo,
                    operation,
                    Method::PATCH,
                    &format!("/check-runs/{id}"),
                    &body,
                )
                .await?;
        } else {
            body["head_sha"] = json!(head_sha);
            if check.conclusion != Conclusion::Pending {
                body["status"] = json!("completed");
            }
            self.client
                .write(repo, operation, Method::POST, "/check-runs", &body)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn set_status(
        &self,
        repo: &Repo,
        head_sha: &str,
        check: &Check,
    ) -> Result<(), ForgeError> {
        let operation = "publish a check";
        let (state, prefix) = match check.conclusion {
            Conclusion::Success => ("success", ""),
            Conclusion::Failure => ("failure", ""),
            Conclusion::Pending => ("pending", ""),
            // A commit status has no neutral: say it in words.
            Conclusion::Neutral => ("success", "Does not apply: "),
        };
        let description: String = format!("{prefix}{}", check.title)
            .chars()
            .take(STATUS_DESCRIPTION)
            .collect();
        let known = self
            .client
            .pages(
                repo,
                operation,
                &format!("/commits/{}/status", segment(head_sha)),
                "statuses",
            )
            .await?;
        if known.iter().any(|status| {
            status["context"] == *check.name
                && status["state"] == state
                && status["description"] == *description
        }) {
            return Ok(());
        }
        let body = json!({"state": state, "context": check.name, "description": description});
        self.client
            .write(
                repo,
                operation,
                Method::POST,
                &format!("/statuses/{}", segment(head_sha)),
                &body,
            )
            .await?;
        Ok(())
    }

    pub(super) async fn publish_check(
        &self,
        repo: &Repo,
        head_sha: &str,
        check: &Check,
    ) -> Result<(), ForgeError> {
        match self.client.app_id() {
            Some(app) => self.set_check_run(repo, head_sha, check, app).await,
            None => self.set_status(repo, head_sha, check).await,
        }
    }

    pub(super) async fn protection_of(
        &self,
        repo: &Repo,
        branch: &str,
    ) -> Result<ProtectionReport, ForgeError> {
        let operation = "read the branch's protection";
        // The protection itself asks for the administration permission, which the broker must not have: this is what it may see.
        let body = self
            .client
            .get(repo, operation, &format!("/branches/{}", path(branch)))
            .await?
            .body;
        let rules = self
            .client
            .pages(repo, operation, &format!("/rules/branches/{}", path(branch)), "")
            .await?;
        let classic = body
            .pointer("/protection/required_status_checks/checks")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let mut required_checks: Vec<RequiredCheck> = Vec::new();
        let mut required_reviews = if body["protected"] == json!(true) {
            None
        } else {
            Some(0)
        };
        for check in classic {
            required_checks.push(RequiredCheck {
                name: text(check, operation, "/context")?.to_owned(),
                app_id: check["app_id"].as_u64(),
            });
        }
        for rule in &rules {
            let parameters = &rule["parameters"];
            for check in parameters["required_status_checks"]
                .as_array()
                .into_iter()
                .flatten()
            {
                required_checks.push(RequiredCheck {
                    name: text(check, operation, "/context")?.to_owned(),
                    app_id: check["integration_id"].as_u64(),
                });
            }
            if let Some(count) = parameters["required_approving_review_count"]
                .as_u64()
                .and_then(|count| u32::try_from(count).ok())
            {
                required_reviews = Some(required_reviews.unwrap_or(0).max(count));
            }
        }
        Ok(ProtectionReport {
            protected: body["protected"] == json!(true) || !rules.is_empty(),
            required_checks,
            required_reviews,
            own_app_id: self.client.app_id(),
        })
    }
}
