//! The adapter to the forge, where pull requests live.
//!
//! [`contract`] says what any forge must do and who retries; [`github`] does it on GitHub;
//! [`webhook`] checks and reads what the forge sends; [`body`] writes what people read there.

pub mod body;
pub mod contract;
pub mod github;
pub mod message;
pub mod settings;
pub mod text;
pub mod webhook;

pub use crate::domain::review::{CheckResult, Conclusion, PullPhase, PullState, Review, ReviewState};
pub use contract::{
    Capabilities, Change, Check, Commit, FileEdit, Forge, ForgeError, NewPull, OpenPull, ProtectionReport,
    PublishedCommit, PullRef, Repo, RequiredCheck,
};
pub use settings::{Auth, Secret, Settings};
