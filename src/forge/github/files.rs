//! Commits, branches and files, read.

use super::{
    GitHub,
    answers::commit_of,
    client::{path, segment, text},
    trees::{Tree, TreeEntry},
};
use crate::forge::{Commit, ForgeError, Repo};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

impl GitHub {
    pub(super) async fn commit(&self, repo: &Repo, sha: &str) -> Result<(Commit, String), ForgeError> {
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
    pub(super) async fn branch_head(&self, repo: &Repo, branch: &str) -> Result<Option<String>, ForgeError> {
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

    /// The folder with that SHA (a tree's, or a commit's for its root).
    async fn folder(&self, repo: &Repo, sha: &str, wanted: &str) -> Result<Tree, ForgeError> {
        let operation = "read a folder";
        let repository = format!("{}/{}", repo.owner, repo.name);
        if let Some(known) = self.trees.get(&repository, sha) {
            return Ok(known);
        }
        let body = self
            .client
            .get(repo, operation, &format!("/git/trees/{}", segment(sha)))
            .await?
            .body;
        if body["truncated"] == json!(true) {
            return Err(ForgeError::TooLarge {
                operation,
                what: format!("the folder of {wanted}"),
            });
        }
        let entries = body["tree"].as_array().ok_or_else(|| ForgeError::Unexpected {
            operation,
            reason: "no entries".into(),
        })?;
        let mut tree = BTreeMap::new();
        for entry in entries {
            let field = |name| text(entry, operation, name).map(str::to_owned);
            let (mode, kind, sha) = (field("/mode")?, field("/type")?, field("/sha")?);
            tree.insert(field("/path")?, TreeEntry { mode, kind, sha });
        }
        let tree = Arc::new(tree);
        self.trees.keep(&repository, sha, &tree);
        Ok(tree)
    }

    /// What the tree at `commit` holds at `wanted`, walked folder by folder so that no tree is too large.
    pub(super) async fn entry(
        &self,
        repo: &Repo,
        commit: &str,
        wanted: &str,
    ) -> Result<Option<TreeEntry>, ForgeError> {
        let mut tree = commit.to_owned();
        let mut parts = wanted.split('/').peekable();
        while let Some(part) = parts.next() {
            let Some(found) = self.folder(repo, &tree, wanted).await?.get(part).cloned() else {
                return Ok(None);
            };
            if parts.peek().is_none() {
                return Ok(Some(found));
            }
            if found.kind != "tree" {
                return Ok(None);
            }
            tree = found.sha;
        }
        Ok(None)
    }

    pub(super) async fn head_commit(&self, repo: &Repo, branch: &str) -> Result<Commit, ForgeError> {
        let sha = self
            .branch_head(repo, branch)
            .await?
            .ok_or_else(|| ForgeError::NotFound {
                operation: "read a branch",
                what: format!("branch {branch}"),
            })?;
        Ok(self.commit(repo, &sha).await?.0)
    }

    pub(super) async fn read_file_at(
        &self,
        repo: &Repo,
        path: &str,
        at: &str,
    ) -> Result<Option<Vec<u8>>, ForgeError> {
        let operation = "read a file";
        let Some(entry) = self.entry(repo, at, path).await? else {
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

    pub(super) async fn list_files_at(
        &self,
        repo: &Repo,
        dir: &str,
        at: &str,
    ) -> Result<Vec<String>, ForgeError> {
        let operation = "list files";
        let dir = dir.trim_matches('/');
        let tree = if dir.is_empty() {
            at.to_owned()
        } else {
            match self.entry(repo, at, dir).await? {
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
}
