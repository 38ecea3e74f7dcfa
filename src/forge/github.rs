//! GitHub, through octocrab, as an App (its tokens narrowed to one repository) or by a plain token.
//!
//! Requests go out raw and answers are read field by field: octocrab's typed builders cannot delete
//! a file from a tree (`sha: null`), and their models fail on fields they do not know.

use super::{
    Capabilities, Change, Check, Commit, FileEdit, Forge, ForgeError, NewPull, OpenPull, ProtectionReport,
    PublishedCommit, PullRef, Repo, RequiredCheck, Settings,
    github_answers::{check_result, commit_of, phase, pull_ref, review, status_result},
    github_client::{Client, number, path, segment, text},
    message::carries_grant,
};
use crate::domain::review::{CheckResult, Conclusion, PullPhase, PullState};
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// GitHub's limit of a commit status' description.
const STATUS_DESCRIPTION: usize = 140;

/// The adapter. Make one and share it: it holds the gate through which writes go one at a time.
pub struct GitHub {
    client: Client,
}

impl fmt::Debug for GitHub {
    // octocrab's own Debug shows the state of authentication.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub")
            .field("app_id", &self.client.app_id())
            .finish_non_exhaustive()
    }
}

struct TreeEntry {
    mode: String,
    kind: String,
    sha: String,
}

impl GitHub {
    /// Prepares the adapter; asks the forge nothing yet. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ForgeError::Settings`] when the address or the key cannot be used.
    pub fn new(settings: Settings) -> Result<Self, ForgeError> {
        Ok(Self {
            client: Client::new(settings)?,
        })
    }

    fn is_app(&self) -> bool {
        self.client.app_id().is_some()
    }

    async fn commit(&self, repo: &Repo, sha: &str) -> Result<(Commit, String), ForgeError> {
        let operation = "read a commit";
        let body = self
            .client
            .get(repo, operation, &format!("/git/commits/{}", segment(sha)))
            .await?
            .body;
        Ok((
            commit_of(&body, operation)?,
            text(&body, operation, "/tree/sha")?.to_owned(),
        ))
    }

    /// The head of a branch, or `None` when there is no such branch.
    async fn branch_head(&self, repo: &Repo, branch: &str) -> Result<Option<String>, ForgeError> {
        let operation = "read a branch";
        match self
            .client
            .get(repo, operation, &format!("/git/ref/heads/{}", path(branch)))
            .await
        {
            Ok(answer) => Ok(Some(text(&answer.body, operation, "/object/sha")?.to_owned())),
            Err(ForgeError::NotFound { .. }) => {
                // A repository that cannot be seen is also 404: that is no missing branch.
                self.client.get(repo, "find the repository", "").await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What the tree at `commit` holds at `wanted`, walked folder by folder so that no tree is too large.
    async fn entry(
        &self,
        repo: &Repo,
        commit: &str,
        wanted: &str,
        seen: &mut BTreeMap<String, Vec<Value>>,
    ) -> Result<Option<TreeEntry>, ForgeError> {
        let operation = "read a folder";
        let mut tree = commit.to_owned();
        let mut parts = wanted.split('/').peekable();
        while let Some(part) = parts.next() {
            if !seen.contains_key(&tree) {
                let body = self
                    .client
                    .get(repo, operation, &format!("/git/trees/{tree}"))
                    .await?
                    .body;
                if body["truncated"] == json!(true) {
                    return Err(ForgeError::TooLarge {
                        operation,
                        what: format!("the folder of {wanted}"),
                    });
                }
                let entries = body["tree"]
                    .as_array()
                    .cloned()
                    .ok_or_else(|| ForgeError::Unexpected {
                        operation,
                        reason: "no entries".into(),
                    })?;
                seen.insert(tree.clone(), entries);
            }
            let Some(found) = seen[&tree].iter().find(|entry| entry["path"] == *part) else {
                return Ok(None);
            };
            let sha = text(found, operation, "/sha")?.to_owned();
            let kind = text(found, operation, "/type")?;
            if parts.peek().is_none() {
                return Ok(Some(TreeEntry {
                    mode: text(found, operation, "/mode")?.to_owned(),
                    kind: kind.to_owned(),
                    sha,
                }));
            }
            if kind != "tree" {
                return Ok(None);
            }
            tree = sha;
        }
        Ok(None)
    }

    /// True when every file at `commit` is as the change wants it.
    async fn holds(&self, change: &Change, commit: &str) -> Result<bool, ForgeError> {
        for file in &change.files {
            if self.read_file(&change.repo, &file.path, commit).await? != file.content {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a commit on the branch is the broker's for this grant. As an App its signature must be the
    /// forge's: anybody can write a trailer.
    fn is_ours(&self, change: &Change, commit: &Commit) -> bool {
        carries_grant(&commit.message, &change.key) && (commit.verified || !self.is_app())
    }

    /// The broker's own commit with the wanted content, if the branch has one.
    async fn earlier(&self, change: &Change, head: &Commit) -> Result<Option<PublishedCommit>, ForgeError> {
        let operation = "compare the branch with its base";
        let mut candidates = vec![head.clone()];
        let route = format!(
            "/compare/{}...{}",
            segment(&change.base_commit),
            segment(&head.sha)
        );
        let compared = self.client.get(&change.repo, operation, &route).await?.body;
        for commit in compared["commits"].as_array().into_iter().flatten().rev() {
            candidates.push(Commit {
                sha: text(commit, operation, "/sha")?.to_owned(),
                message: text(commit, operation, "/commit/message")?.to_owned(),
                verified: commit.pointer("/commit/verification/verified") == Some(&json!(true)),
            });
        }
        for commit in candidates {
            if self.is_ours(change, &commit) && self.holds(change, &commit.sha).await? {
                return Ok(Some(PublishedCommit {
                    sha: commit.sha,
                    verified: commit.verified,
                    adopted: true,
                }));
            }
        }
        Ok(None)
    }

    /// The tree with the change on top of `parent`.
    async fn tree(&self, change: &Change, parent: &str, parent_tree: &str) -> Result<String, ForgeError> {
        let mut entries = Vec::new();
        let mut seen = BTreeMap::new();
        for FileEdit { path, content } in &change.files {
            let there = self.entry(&change.repo, parent, path, &mut seen).await?;
            let mode = match &there {
                Some(entry) if entry.kind != "blob" || entry.mode == "120000" => {
                    return Err(ForgeError::BadPath {
                        path: path.clone(),
                        reason: "it is a folder, a symbolic link or a submodule",
                    });
                }
                Some(entry) => entry.mode.clone(),
                None => "100644".to_owned(),
            };
            match content {
                // GitHub refuses to remove what is not there; it is as wanted already.
                None if there.is_none() => {}
                None => entries.push(json!({"path": path, "mode": mode, "type": "blob", "sha": null})),
                Some(bytes) => match std::str::from_utf8(bytes) {
                    Ok(content) => {
                        entries.push(json!({"path": path, "mode": mode, "type": "blob", "content": content}))
                    }
                    Err(_) => {
                        let operation = "store a file";
                        let body = json!({"content": STANDARD.encode(bytes), "encoding": "base64"});
                        let blob = self
                            .client
                            .write(&change.repo, operation, Method::POST, "/git/blobs", &body)
                            .await?
                            .body;
                        entries.push(json!({"path": path, "mode": mode, "type": "blob", "sha": text(&blob, operation, "/sha")?}));
                    }
                },
            }
        }
        if entries.is_empty() {
            return Err(ForgeError::NothingToChange);
        }
        let operation = "store the files";
        let body = json!({"base_tree": parent_tree, "tree": entries});
        let made = self
            .client
            .write(&change.repo, operation, Method::POST, "/git/trees", &body)
            .await?
            .body;
        let tree = text(&made, operation, "/sha")?;
        if tree == parent_tree {
            Err(ForgeError::NothingToChange)
        } else {
            Ok(tree.to_owned())
        }
    }

    /// Logins that wrote or pushed, and in words what the forge could not name.
    async fn contributors(
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
                unknown.push("the forge does not tell who pushed".to_owned())
            }
            Err(error) => return Err(error),
        }
        Ok((logins, unknown))
    }

    async fn checks(&self, repo: &Repo, sha: &str) -> Result<Vec<CheckResult>, ForgeError> {
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

    async fn set_check_run(
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

    async fn set_status(&self, repo: &Repo, head_sha: &str, check: &Check) -> Result<(), ForgeError> {
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

    async fn pulls_of(&self, repo: &Repo, branch: &str) -> Result<Vec<PullRef>, ForgeError> {
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
}

/// Refuses paths that leave the tree, and workflows, which the App has no permission for and must not get.
fn check_path(path: &str) -> Result<(), ForgeError> {
    let bad = |reason| {
        Err(ForgeError::BadPath {
            path: path.chars().take(200).collect(),
            reason,
        })
    };
    if path.is_empty()
        || path.contains(['\\', '\0', '\n', '\r'])
        || path
            .split('/')
            .any(|part| matches!(part, "" | "." | "..") || part.eq_ignore_ascii_case(".git"))
    {
        return bad("it is not a plain path inside the repository");
    }
    if path.to_ascii_lowercase().starts_with(".github/workflows/") {
        return bad("the broker never writes workflows");
    }
    Ok(())
}

#[async_trait]
impl Forge for GitHub {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            signed_commits: self.is_app(),
            pinned_checks: self.is_app(),
            neutral_checks: self.is_app(),
            names_pushers: true,
        }
    }

    async fn head(&self, repo: &Repo, branch: &str) -> Result<Commit, ForgeError> {
        let sha = self
            .branch_head(repo, branch)
            .await?
            .ok_or_else(|| ForgeError::NotFound {
                operation: "read a branch",
                what: format!("branch {branch}"),
            })?;
        Ok(self.commit(repo, &sha).await?.0)
    }

    async fn read_file(&self, repo: &Repo, path: &str, at: &str) -> Result<Option<Vec<u8>>, ForgeError> {
        let operation = "read a file";
        let Some(entry) = self.entry(repo, at, path, &mut BTreeMap::new()).await? else {
            return Ok(None);
        };
        if entry.kind != "blob" {
            return Ok(None);
        }
        let body = self
            .client
            .get(repo, operation, &format!("/git/blobs/{}", entry.sha))
            .await?
            .body;
        let encoded: String = text(&body, operation, "/content")?.split_whitespace().collect();
        STANDARD
            .decode(encoded)
            .map(Some)
            .map_err(|error| ForgeError::Unexpected {
                operation,
                reason: error.to_string(),
            })
    }

    async fn list_files(&self, repo: &Repo, dir: &str, at: &str) -> Result<Vec<String>, ForgeError> {
        let operation = "list files";
        let dir = dir.trim_matches('/');
        let tree = if dir.is_empty() {
            at.to_owned()
        } else {
            match self.entry(repo, at, dir, &mut BTreeMap::new()).await? {
                Some(entry) if entry.kind == "tree" => entry.sha,
                _ => return Ok(Vec::new()),
            }
        };
        let body = self
            .client
            .get(
                repo,
                operation,
                &format!("/git/trees/{}?recursive=1", segment(&tree)),
            )
            .await?
            .body;
        if body["truncated"] == json!(true) {
            return Err(ForgeError::TooLarge {
                operation,
                what: format!("folder {dir:?}"),
            });
        }
        let entries = body["tree"].as_array().ok_or_else(|| ForgeError::Unexpected {
            operation,
            reason: "no entries".into(),
        })?;
        let mut files = Vec::new();
        for entry in entries.iter().filter(|entry| entry["type"] == "blob") {
            let path = text(entry, operation, "/path")?;
            files.push(if dir.is_empty() {
                path.to_owned()
            } else {
                format!("{dir}/{path}")
            });
        }
        files.sort();
        Ok(files)
    }

    async fn publish(&self, change: &Change) -> Result<PublishedCommit, ForgeError> {
        let repo = &change.repo;
        change.files.iter().try_for_each(|file| check_path(&file.path))?;
        let existing = self.branch_head(repo, &change.branch).await?;
        let parent = match &existing {
            None => change.base_commit.clone(),
            Some(sha) => {
                let (head, _) = self.commit(repo, sha).await?;
                if let Some(made) = self.earlier(change, &head).await? {
                    return Ok(made);
                }
                // A branch that holds nothing of its own yet may be written to, and so may one that ends in our commit.
                if *sha != change.base_commit && !self.is_ours(change, &head) {
                    return Err(ForgeError::PersonOnBranch {
                        branch: change.branch.clone(),
                        commit: sha.clone(),
                    });
                }
                sha.clone()
            }
        };
        let (_, parent_tree) = self.commit(repo, &parent).await?;
        let tree = self.tree(change, &parent, &parent_tree).await?;
        let operation = "commit";
        // No author and no committer: only then does GitHub sign it. The engineer is named in a trailer.
        let body = json!({"message": change.message, "tree": tree, "parents": [parent]});
        let made = commit_of(
            &self
                .client
                .write(repo, operation, Method::POST, "/git/commits", &body)
                .await?
                .body,
            operation,
        )?;
        let operation = "move the branch";
        let moved = if existing.is_some() {
            let body = json!({"sha": made.sha, "force": false});
            self.client
                .write(
                    repo,
                    operation,
                    Method::PATCH,
                    &format!("/git/refs/heads/{}", path(&change.branch)),
                    &body,
                )
                .await
        } else {
            let body = json!({"ref": format!("refs/heads/{}", change.branch), "sha": made.sha});
            self.client
                .write(repo, operation, Method::POST, "/git/refs", &body)
                .await
        };
        match moved {
            Ok(_) => Ok(PublishedCommit {
                sha: made.sha,
                verified: made.verified,
                adopted: false,
            }),
            Err(ForgeError::Refused {
                status: 422, message, ..
            }) => {
                // Somebody was faster; perhaps an earlier call of our own that seemed to fail.
                let Some(sha) = self.branch_head(repo, &change.branch).await? else {
                    return Err(ForgeError::Refused {
                        operation,
                        status: 422,
                        message,
                    });
                };
                if sha == existing.unwrap_or_default() {
                    return Err(ForgeError::Refused {
                        operation,
                        status: 422,
                        message,
                    });
                }
                let (head, _) = self.commit(repo, &sha).await?;
                self.earlier(change, &head)
                    .await?
                    .ok_or(ForgeError::Moved { operation, message })
            }
            Err(error) => Err(error),
        }
    }

    async fn find_pull(&self, repo: &Repo, branch: &str) -> Result<Option<PullRef>, ForgeError> {
        Ok(self.pulls_of(repo, branch).await?.into_iter().next())
    }

    async fn open_pull(&self, repo: &Repo, pull: &NewPull) -> Result<PullRef, ForgeError> {
        let operation = "open the pull request";
        if let Some(known) = self.find_pull(repo, &pull.branch).await? {
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
                .find_pull(repo, &pull.branch)
                .await?
                .ok_or(ForgeError::Moved { operation, message }),
            Err(ForgeError::Refused {
                status: 422, message, ..
            }) if message.contains("No commits between") => Err(ForgeError::NothingToChange),
            Err(error) => Err(error),
        }
    }

    async fn reopen(&self, repo: &Repo, number: u64) -> Result<PullRef, ForgeError> {
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

    async fn pull(&self, repo: &Repo, number: u64) -> Result<PullState, ForgeError> {
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

    async fn update_body(&self, repo: &Repo, number: u64, body: &str) -> Result<(), ForgeError> {
        let operation = "update the pull request";
        let route = format!("/pulls/{number}");
        if self.client.get(repo, operation, &route).await?.body["body"] != body {
            self.client
                .write(repo, operation, Method::PATCH, &route, &json!({"body": body}))
                .await?;
        }
        Ok(())
    }

    async fn request_reviewers(
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

    async fn set_check(&self, repo: &Repo, head_sha: &str, check: &Check) -> Result<(), ForgeError> {
        match self.client.app_id() {
            Some(app) => self.set_check_run(repo, head_sha, check, app).await,
            None => self.set_status(repo, head_sha, check).await,
        }
    }

    async fn open_pulls(&self, repo: &Repo, base: &str) -> Result<Vec<OpenPull>, ForgeError> {
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

    async fn branch_protection(&self, repo: &Repo, branch: &str) -> Result<ProtectionReport, ForgeError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_tree_or_touch_workflows_are_refused() {
        for bad in [
            "",
            "/etc",
            "a//b",
            "a/../b",
            "./a",
            "a/.GIT/config",
            ".github/workflows/x.yml",
            ".GitHub/Workflows/x.yml",
            "a\nb",
        ] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        assert!(check_path("apps/shop/web.yaml").is_ok());
    }
}
