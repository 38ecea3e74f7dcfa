//! What the broker asks of any forge.
//!
//! **Who retries.** An adapter sends each write once and never repeats it by itself; the worker that
//! runs the job calls the same method again later. **Idempotency.** Every writing method reads first
//! and adopts what an earlier, seemingly failed call left behind, so calling it again with the same
//! arguments ends in the same one commit, pull request or check. **Order.** An adapter sends one
//! write at a time. **People first.** No method moves a branch backwards or over a commit that the
//! broker did not make.

use crate::domain::review::{Conclusion, PullPhase, PullState};
use async_trait::async_trait;
use std::{collections::BTreeSet, time::Duration};
use thiserror::Error;

/// Why the forge did not do what was asked.
#[derive(Debug, Error)]
pub enum ForgeError {
    /// Asked to slow down: nothing was done; call again after the wait.
    #[error("{operation}: the forge asks to wait {} s", retry_after.as_secs())]
    RateLimited {
        /// What was asked.
        operation: &'static str,
        /// How long to wait.
        retry_after: Duration,
    },
    /// No answer, or a broken one: it may or may not have been done; call again.
    #[error("{operation}: the forge did not answer: {reason}")]
    Unavailable {
        /// What was asked.
        operation: &'static str,
        /// What went wrong, without secrets.
        reason: String,
    },
    /// The thing is not there, or these credentials may not see it.
    #[error("{operation}: not found: {what}")]
    NotFound {
        /// What was asked.
        operation: &'static str,
        /// What is missing.
        what: String,
    },
    /// The forge refused, in its own words. Calling again will not help until somebody changes something.
    #[error("{operation}: the forge refused ({status}): {message}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The HTTP status.
        status: u16,
        /// The forge's words.
        message: String,
    },
    /// A person's commit is on the broker's branch and the wanted files differ: people decide.
    #[error("branch {branch} carries commit {commit} that is not the broker's; it is left alone")]
    PersonOnBranch {
        /// The branch.
        branch: String,
        /// The branch's newest commit.
        commit: String,
    },
    /// The branch or the base moved meanwhile: call again.
    #[error("{operation}: the branch moved meanwhile: {message}")]
    Moved {
        /// What was asked.
        operation: &'static str,
        /// The forge's words.
        message: String,
    },
    /// Every file is already as wanted: there is nothing to commit, and without a commit no pull request.
    #[error("nothing to change: every file is already as wanted")]
    NothingToChange,
    /// A path that the broker must not write.
    #[error("path {path:?} cannot be written: {reason}")]
    BadPath {
        /// The path.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// More than the forge gives in one answer.
    #[error("{operation}: too large: {what}")]
    TooLarge {
        /// What was asked.
        operation: &'static str,
        /// What is too large.
        what: String,
    },
    /// An answer that could not be understood.
    #[error("{operation}: the answer could not be read: {reason}")]
    Unexpected {
        /// What was asked.
        operation: &'static str,
        /// What was wrong with it.
        reason: String,
    },
    /// The settings cannot work.
    #[error("forge settings: {0}")]
    Settings(String),
}

impl ForgeError {
    /// True when calling the same method again may succeed without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. } | Self::Unavailable { .. } | Self::Moved { .. }
        )
    }

    /// How long the forge asked to wait, when it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

/// A repository. Where the forge's number is known it finds the repository even after a rename.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repo {
    /// The owner's login.
    pub owner: String,
    /// The repository's name.
    pub name: String,
    /// The forge's number for it.
    pub id: Option<u64>,
}

/// A commit at the head of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its SHA.
    pub sha: String,
    /// Its message.
    pub message: String,
    /// True when the forge vouches for its signature.
    pub verified: bool,
}

/// One file's new content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEdit {
    /// From the repository's root, with `/`.
    pub path: String,
    /// The whole new content; `None` removes the file.
    pub content: Option<Vec<u8>>,
}

/// What is to be on the broker's branch.
#[derive(Debug, Clone)]
pub struct Change {
    /// The repository.
    pub repo: Repo,
    /// The branch it is meant for.
    pub base: String,
    /// The commit of the base that the edits were made against: the new branch starts there, so that
    /// whole-file contents never undo what came to the base afterwards.
    pub base_commit: String,
    /// The broker's branch, `breakglass/<grant id>`.
    pub branch: String,
    /// The files.
    pub files: Vec<FileEdit>,
    /// The commit message; carries `key` as its `Breakglass-Grant` trailer (see [`super::message`]).
    pub message: String,
    /// The grant's id.
    pub key: String,
}

/// A commit on the broker's branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedCommit {
    /// Its SHA.
    pub sha: String,
    /// True when the forge vouches for its signature.
    pub verified: bool,
    /// True when an earlier call had already made it.
    pub adopted: bool,
}

/// A pull request to open.
#[derive(Debug, Clone)]
pub struct NewPull {
    /// The broker's branch.
    pub branch: String,
    /// The branch it merges into.
    pub base: String,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
}

/// A pull request, briefly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRef {
    /// Its number.
    pub number: u64,
    /// Where people read it.
    pub url: String,
    /// Where it stands.
    pub phase: PullPhase,
    /// Its newest commit.
    pub head_sha: String,
}

/// Somebody's open pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPull {
    /// Its number.
    pub number: u64,
    /// Its branch, as the forge names it.
    pub branch: String,
    /// Its newest commit.
    pub head_sha: String,
    /// True when the branch lives in another repository (a fork).
    pub from_fork: bool,
}

/// A check to publish on a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, the one that branch protection requires.
    pub name: String,
    /// What it comes to.
    pub conclusion: Conclusion,
    /// One line.
    pub title: String,
    /// Markdown, at most 65,535 characters.
    pub summary: String,
}

/// A check that the base branch requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredCheck {
    /// Its name.
    pub name: String,
    /// The App whose result alone counts; `None` when anybody's does.
    pub app_id: Option<u64>,
}

/// How a branch is protected, as far as the forge tells these credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectionReport {
    /// True when any rule applies.
    pub protected: bool,
    /// The checks it requires.
    pub required_checks: Vec<RequiredCheck>,
    /// The approvals it requires; `None` when the forge does not tell.
    pub required_reviews: Option<u32>,
    /// The App the broker publishes as, when it is one.
    pub own_app_id: Option<u64>,
}

impl ProtectionReport {
    /// What an operator should change so that `check` cannot be gone round, in plain words.
    #[must_use]
    pub fn warnings(&self, check: &str) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.protected {
            warnings.push(
                "The base branch has no protection: anybody with write access can merge without review."
                    .to_owned(),
            );
            return warnings;
        }
        match self.required_checks.iter().find(|required| required.name == check) {
            None => warnings.push(format!("The base branch does not require the check {check:?}: a merge need not wait for an independent approval.")),
            Some(required) if required.app_id.is_none() || (self.own_app_id.is_some() && required.app_id != self.own_app_id) => {
                warnings.push(format!("The required check {check:?} is not pinned to the broker's App: a workflow can publish one of the same name."));
            }
            Some(_) => {}
        }
        if self.required_reviews == Some(0) {
            warnings.push("The base branch requires no approving review.".to_owned());
        }
        warnings
    }
}

/// What a forge, with these credentials, can do. What it cannot is said, never skipped in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each read by its name"
)]
pub struct Capabilities {
    /// Commits are signed by the forge.
    pub signed_commits: bool,
    /// A required check can be pinned to the broker.
    pub pinned_checks: bool,
    /// A check can be neutral; without it `Neutral` is published as a success that says so.
    pub neutral_checks: bool,
    /// The forge tells who pushed.
    pub names_pushers: bool,
}

/// A forge.
#[async_trait]
pub trait Forge: Send + Sync + std::fmt::Debug {
    /// What it can do with these credentials.
    fn capabilities(&self) -> Capabilities;

    /// The newest commit of `branch`. [`ForgeError::NotFound`] when there is no such branch.
    async fn head(&self, repo: &Repo, branch: &str) -> Result<Commit, ForgeError>;

    /// The content of a file at commit `at`; `None` when there is no file.
    async fn read_file(&self, repo: &Repo, path: &str, at: &str) -> Result<Option<Vec<u8>>, ForgeError>;

    /// The paths of all files under `dir` (empty: the root) at commit `at`, sorted, from the root.
    async fn list_files(&self, repo: &Repo, dir: &str, at: &str) -> Result<Vec<String>, ForgeError>;

    /// Makes the broker's branch hold the change: adopts a commit of an earlier call with the same
    /// content, starts the branch at `base_commit`, or adds a commit to a branch whose newest commit
    /// is the broker's own. [`ForgeError::PersonOnBranch`] when a person's commit is in the way.
    async fn publish(&self, change: &Change) -> Result<PublishedCommit, ForgeError>;

    /// The pull request of a branch: an open one first, otherwise the newest.
    async fn find_pull(&self, repo: &Repo, branch: &str) -> Result<Option<PullRef>, ForgeError>;

    /// Opens a pull request, or gives the branch's own: an open or closed one as it is, a merged one
    /// as long as the branch holds nothing newer. The caller looks at the phase.
    async fn open_pull(&self, repo: &Repo, pull: &NewPull) -> Result<PullRef, ForgeError>;

    /// Opens a closed pull request again; an open one stays open.
    async fn reopen(&self, repo: &Repo, number: u64) -> Result<PullRef, ForgeError>;

    /// The pull request as it stands now, with reviews, contributors and checks.
    async fn pull(&self, repo: &Repo, number: u64) -> Result<PullState, ForgeError>;

    /// Replaces the description; nothing is sent when it is already so.
    async fn update_body(&self, repo: &Repo, number: u64, body: &str) -> Result<(), ForgeError>;

    /// Asks `logins` to review, those not yet asked and who have not reviewed. Gives those the forge refused, with its words.
    async fn request_reviewers(
        &self,
        repo: &Repo,
        number: u64,
        logins: &BTreeSet<String>,
    ) -> Result<Vec<(String, String)>, ForgeError>;

    /// Makes `check` the newest result of its name on `head_sha`; nothing is sent when it already is.
    async fn set_check(&self, repo: &Repo, head_sha: &str, check: &Check) -> Result<(), ForgeError>;

    /// Every open pull request into `base`.
    async fn open_pulls(&self, repo: &Repo, base: &str) -> Result<Vec<OpenPull>, ForgeError>;

    /// How `branch` is protected.
    async fn branch_protection(&self, repo: &Repo, branch: &str) -> Result<ProtectionReport, ForgeError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_that_can_be_gone_round_is_warned_about() {
        let mut report = ProtectionReport {
            protected: false,
            required_checks: vec![],
            required_reviews: None,
            own_app_id: Some(7),
        };
        assert!(report.warnings("breakglass")[0].contains("no protection"));
        report.protected = true;
        assert!(report.warnings("breakglass")[0].contains("does not require"));
        report.required_checks.push(RequiredCheck {
            name: "breakglass".into(),
            app_id: None,
        });
        assert!(report.warnings("breakglass")[0].contains("not pinned"));
        report.required_checks[0].app_id = Some(8);
        assert!(report.warnings("breakglass")[0].contains("not pinned"));
        report.required_checks[0].app_id = Some(7);
        assert!(report.warnings("breakglass").is_empty());
        report.required_reviews = Some(0);
        assert!(report.warnings("breakglass")[0].contains("no approving review"));
    }
}
