//! Pull requests: found, opened, read with all who had a hand in them.

use super::{
    GitHub,
    answers::{phase, pull_ref, review},
    client::{number, segment, text},
};
use crate::domain::review::{PullPhase, PullState};
use crate::forge::{ForgeError, NewPull, OpenPull, PullRef, Repo};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

impl GitHub {
    /// Logins that wrote or pushed, and in words what the forge could not name.
    pub(super) async fn contributors(
        &self,
        repo: &Repo,
        number: u64,
        branch: &str,
    ) -> Result<(BTreeSet<String>, Vec<String>), ForgeError> {
        let operation = "read who contributed";
        let mut logins = BTreeSet::new();
        let mut unknown = Vec::new();
        let commits = self
            .client
            .pages(repo, operation, &format!("/pulls/{number}/commits"), "")
            .await?;
        for commit in &commits {
            let sha: String = text(commit, operation, "/sha")?.chars().take(7).collect();
            for role in ["author", "committer"] {
                let name = commit
                    .pointer(&format!("/commit/{role}/name"))
                    .and_then(Value::as_str)
                    .unwrap_or("nobody");
                let email = commit
                    .pointer(&format!("/commit/{role}/email"))
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                match commit[role]["login"].as_str() {
                    // GitHub itself commits what people do on its pages; the author is the person.
                    Some("web-flow") => {}
                    Some(login) => _ = logins.insert(login.to_owned()),
                    None if role == "committer" && email == "noreply@github.com" => {}
                    None => unknown.push(format!(
                        "commit {sha} has the {role} {name:?}, who is nobody known to the forge"
                    )),
                }
            }
        }
        // The API lists 250 commits at most: whoever wrote the rest cannot be named.
        if commits.len() >= 250 {
            unknown.push("the pull request has 250 commits or more".to_owned());
        }
        let route = format!("/activity?ref={}", segment(&format!("refs/heads/{branch}")));
        match self.client.pages(repo, operation, &route, "").await {
            Ok(pushes) => {
                for push in pushes
                    .iter()
                    .filter(|push| push["activity_type"] != "branch_deletion")
                {
                    match push["actor"]["login"].as_str() {
                        Some(login) => _ = logins.insert(login.to_owned()),
                        None => unknown.push("a push by nobody known to the forge".to_owned()),
                    }
                }
            }
            Err(ForgeError::NotFound { .. } | ForgeError::Refused { status: 403, .. }) => {
                unknown.push("the forge does not tell who pushed".to_owned());
            }
            Err(error) => return Err(error),
        }
        Ok((logins, unknown))
    }

    pub(super) async fn pulls_of(&self, repo: &Repo, branch: &str) -> Result<Vec<PullRef>, ForgeError> {
        let operation = "find the pull request";
        let owner = self.client.reach(repo).await?.owner.clone();
        let route = format!("/pulls?state=all&head={}", segment(&format!("{owner}:{branch}")));
        let mut pulls = self
            .client
            .pages(repo, operation, &route, "")
            .await?
            .iter()
            .map(|body| pull_ref(body, operation))
            .collect::<Result<Vec<_>, _>>()?;
        pulls.sort_by_key(|pull| (pull.phase != PullPhase::Open, std::cmp::Reverse(pull.number)));
        Ok(pulls)
    }

    pub(super) async fn newest_pull(&self, repo: &Repo, branch: &str) -> Result<Option<PullRef>, ForgeError> {
        Ok(self.pulls_of(repo, branch).await?.into_iter().next())
    }

    pub(super) async fn open_pull_request(&self, repo: &Repo, pull: &NewPull) -> Result<PullRef, ForgeError> {
        let operation = "open the pull request";
        if let Some(known) = self.newest_pull(repo, &pull.branch).await? {
            let newer = known.phase == PullPhase::Merged
                && self
                    .branch_head(repo, &pull.branch)
                    .await?
                    .is_some_and(|head| head != known.head_sha);
            if !newer {
                return Ok(known);
            }
        }
        let body = json!({"title": pull.title, "body": pull.body, "head": pull.branch, "base": pull.base, "maintainer_can_modify": false});
        match self
            .client
            .write(repo, operation, Method::POST, "/pulls", &body)
            .await
        {
            Ok(answer) => pull_ref(&answer.body, operation),
            Err(ForgeError::Refused {
                status: 422, message, ..
            }) if message.contains("already exists") => self
                .newest_pull(repo, &pull.branch)
                .await?
                .ok_or(ForgeError::Moved { operation, message }),
            Err(ForgeError::Refused {
                status: 422, message, ..
            }) if message.contains("No commits between") => Err(ForgeError::NothingToChange),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn reopen_pull(&self, repo: &Repo, number: u64) -> Result<PullRef, ForgeError> {
        let operation = "open the pull request again";
        let known = pull_ref(
            &self
                .client
                .get(repo, operation, &format!("/pulls/{number}"))
                .await?
                .body,
            operation,
        )?;
        if known.phase != PullPhase::Closed {
            return Ok(known);
        }
        let answer = self
            .client
            .write(
                repo,
                operation,
                Method::PATCH,
                &format!("/pulls/{number}"),
                &json!({"state": "open"}),
            )
            .await?;
        pull_ref(&answer.body, operation)
    }

    pub(super) async fn read_pull(&self, repo: &Repo, number: u64) -> Result<PullState, ForgeError> {
        let operation = "read the pull request";
        let body = self
            .client
            .get(repo, operation, &format!("/pulls/{number}"))
            .await?
            .body;
        let head_sha = text(&body, operation, "/head/sha")?.to_owned();
        let reviews = self
            .client
            .pages(repo, operation, &format!("/pulls/{number}/reviews"), "")
            .await?;
        let reviews = reviews
            .iter()
            .filter_map(|body| review(body, operation).transpose())
            .collect::<Result<_, _>>()?;
        let (mut authors_and_pushers, unknown_contributors) = self
            .contributors(repo, number, text(&body, operation, "/head/ref")?)
            .await?;
        authors_and_pushers.extend(body["user"]["login"].as_str().map(str::to_owned));
        let phase = phase(&body, operation)?;
        Ok(PullState {
            number,
            url: text(&body, operation, "/html_url")?.to_owned(),
            title: text(&body, operation, "/title")?.to_owned(),
            body: body["body"].as_str().unwrap_or_default().to_owned(),
            phase,
            // Before a merge this field names a test merge, which is on no branch.
            merge_commit_sha: if phase == PullPhase::Merged {
                body["merge_commit_sha"].as_str().map(str::to_owned)
            } else {
                None
            },
            merged_by: body["merged_by"]["login"].as_str().map(str::to_owned),
            base: text(&body, operation, "/base/ref")?.to_owned(),
            checks: self.checks(repo, &head_sha).await?,
            head_sha,
            reviews,
            authors_and_pushers,
            unknown_contributors,
        })
    }

    pub(super) async fn replace_body(&self, repo: &Repo, number: u64, body: &str) -> Result<(), ForgeError> {
        let operation = "update the pull request";
        let route = format!("/pulls/{number}");
        if self.client.get(repo, operation, &route).await?.body["body"] != body {
            self.client
                .write(repo, operation, Method::PATCH, &route, &json!({"body": body}))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn ask_reviewers(
        &self,
        repo: &Repo,
        number: u64,
        logins: &BTreeSet<String>,
    ) -> Result<Vec<(String, String)>, ForgeError> {
        let operation = "ask for a review";
        let route = format!("/pulls/{number}/requested_reviewers");
        let asked = self.client.get(repo, operation, &route).await?.body;
        let reviews = self
            .client
            .pages(repo, operation, &format!("/pulls/{number}/reviews"), "")
            .await?;
        let known: BTreeSet<String> = asked["users"]
            .as_array()
            .into_iter()
            .flatten()
            .chain(reviews.iter().map(|review| &review["user"]))
            .filter_map(|user| user["login"].as_str().map(str::to_lowercase))
            .collect();
        let mut refused = Vec::new();
        // One by one: GitHub refuses the whole list for one login it does not take.
        for login in logins
            .iter()
            .filter(|login| !known.contains(&login.to_lowercase()))
        {
            match self
                .client
                .write(
                    repo,
                    operation,
                    Method::POST,
                    &route,
                    &json!({"reviewers": [login]}),
                )
                .await
            {
                Ok(_) => {}
                Err(ForgeError::Refused {
                    status: 422, message, ..
                }) => refused.push((login.clone(), message)),
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    pub(super) async fn pulls_into(&self, repo: &Repo, base: &str) -> Result<Vec<OpenPull>, ForgeError> {
        let operation = "list open pull requests";
        let pulls = self
            .client
            .pages(
                repo,
                operation,
                &format!("/pulls?state=open&base={}", segment(base)),
                "",
            )
            .await?;
        pulls
            .iter()
            .map(|body| {
                Ok(OpenPull {
                    number: number(body, operation, "/number")?,
                    branch: text(body, operation, "/head/ref")?.to_owned(),
                    head_sha: text(body, operation, "/head/sha")?.to_owned(),
                    // The source repository of a pull request may be gone: then it was not this one.
                    from_fork: body.pointer("/head/repo/id").and_then(Value::as_u64)
                        != body.pointer("/base/repo/id").and_then(Value::as_u64),
                })
            })
            .collect()
    }
}
