//! GitHub, through octocrab, as an App (its tokens narrowed to one repository) or by a plain token.
//!
//! Requests go out raw and answers are read field by field: octocrab's typed builders cannot delete
//! a file from a tree (`sha: null`), and their models fail on fields they do not know.

mod answers;
mod checks;
mod client;
mod files;
mod pace;
mod publish;
mod pulls;
mod refusal;
mod trees;

use super::{
    Capabilities, Change, Check, Commit, Forge, ForgeError, NewPull, OpenPull, ProtectionReport,
    PublishedCommit, PullRef, Repo, Settings,
};
use crate::domain::review::PullState;
use async_trait::async_trait;
use client::Client;
use std::{collections::BTreeSet, fmt};

/// The adapter. Make one and share it: it holds the gate through which writes go one at a time.
pub struct GitHub {
    client: Client,
    trees: trees::Trees,
}

impl fmt::Debug for GitHub {
    // octocrab's own Debug shows the state of authentication.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub")
            .field("app_id", &self.client.app_id())
            .finish_non_exhaustive()
    }
}

impl GitHub {
    /// Prepares the adapter; asks the forge nothing yet. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ForgeError::Settings`] when the address or the key cannot be used.
    pub fn new(settings: Settings) -> Result<Self, ForgeError> {
        Ok(Self {
            client: Client::new(settings)?,
            trees: trees::Trees::default(),
        })
    }

    fn is_app(&self) -> bool {
        self.client.app_id().is_some()
    }
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
        self.head_commit(repo, branch).await
    }

    async fn read_file(&self, repo: &Repo, path: &str, at: &str) -> Result<Option<Vec<u8>>, ForgeError> {
        self.read_file_at(repo, path, at).await
    }

    async fn list_files(&self, repo: &Repo, dir: &str, at: &str) -> Result<Vec<String>, ForgeError> {
        self.list_files_at(repo, dir, at).await
    }

    async fn publish(&self, change: &Change) -> Result<PublishedCommit, ForgeError> {
        self.publish_change(change).await
    }

    async fn find_pull(&self, repo: &Repo, branch: &str) -> Result<Option<PullRef>, ForgeError> {
        self.newest_pull(repo, branch).await
    }

    async fn open_pull(&self, repo: &Repo, pull: &NewPull) -> Result<PullRef, ForgeError> {
        self.open_pull_request(repo, pull).await
    }

    async fn reopen(&self, repo: &Repo, number: u64) -> Result<PullRef, ForgeError> {
        self.reopen_pull(repo, number).await
    }

    async fn pull(&self, repo: &Repo, number: u64) -> Result<PullState, ForgeError> {
        self.read_pull(repo, number).await
    }

    async fn update_body(&self, repo: &Repo, number: u64, body: &str) -> Result<(), ForgeError> {
        self.replace_body(repo, number, body).await
    }

    async fn request_reviewers(
        &self,
        repo: &Repo,
        number: u64,
        logins: &BTreeSet<String>,
    ) -> Result<Vec<(String, String)>, ForgeError> {
        self.ask_reviewers(repo, number, logins).await
    }

    async fn set_check(&self, repo: &Repo, head_sha: &str, check: &Check) -> Result<(), ForgeError> {
        self.publish_check(repo, head_sha, check).await
    }

    async fn open_pulls(&self, repo: &Repo, base: &str) -> Result<Vec<OpenPull>, ForgeError> {
        self.pulls_into(repo, base).await
    }

    async fn branch_protection(&self, repo: &Repo, branch: &str) -> Result<ProtectionReport, ForgeError> {
        self.protection_of(repo, branch).await
    }
}
