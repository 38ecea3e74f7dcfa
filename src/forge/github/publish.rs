//! The broker's branch: adopt what is there, add to what is ours, leave alone what is a person's.

use super::{
    GitHub,
    answers::commit_of,
    client::{path, segment, text},
};
use crate::forge::{Change, Commit, FileEdit, ForgeError, PublishedCommit, message::carries_grant};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::json;

impl GitHub {
    /// True when every file at `commit` is as the change wants it.
    pub(super) async fn holds(&self, change: &Change, commit: &str) -> Result<bool, ForgeError> {
        for file in &change.files {
            if self.read_file_at(&change.repo, &file.path, commit).await? != file.content {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a commit on the branch is the broker's for this grant. As an App its signature must be the
    /// forge's: anybody can write a trailer.
    pub(super) fn is_ours(&self, change: &Change, commit: &Commit) -> bool {
        carries_grant(&commit.message, &change.key) && (commit.verified || !self.is_app())
    }

    /// The broker's own commit with the wanted content, if the branch has one.
    pub(super) async fn earlier(
        &self,
        change: &Change,
        head: &Commit,
    ) -> Result<Option<PublishedCommit>, ForgeError> {
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
    pub(super) async fn tree(
        &self,
        change: &Change,
        parent: &str,
        parent_tree: &str,
    ) -> Result<String, ForgeError> {
        let mut entries = Vec::new();
        for FileEdit { path, content } in &change.files {
            let there = self.entry(&change.repo, parent, path).await?;
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
                Some(bytes) => {
                    if let Ok(content) = std::str::from_utf8(bytes) {
                        entries.push(json!({"path": path, "mode": mode, "type": "blob", "content": content}));
                    } else {
                        let operation = "store a file";
                        let body = json!({"content": STANDARD.encode(bytes), "encoding": "base64"});
                        let blob = self
                            .client
                            .write(&change.repo, operation, Method::POST, "/git/blobs", &body)
                            .await?
                            .body;
                        entries.push(json!({"path": path, "mode": mode, "type": "blob", "sha": text(&blob, operation, "/sha")?}));
                    }
                }
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

    pub(super) async fn publish_change(&self, change: &Change) -> Result<PublishedCommit, ForgeError> {
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
