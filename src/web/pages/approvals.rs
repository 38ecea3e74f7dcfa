//! Approvals: what waits for me?

use super::{Card, Shell, Table, count};
use askama::Template;

/// `GET /approvals`.
#[derive(Debug, Clone, Template)]
#[template(path = "approvals.html")]
pub struct ApprovalsPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// The requests this person can decide, oldest first.
    pub waiting: Vec<Card>,
    /// Those it cannot decide (its own, or already approved by it), each with the reason.
    pub not_mine: Vec<Card>,
    /// What it decided lately.
    pub decided: Table,
}

impl ApprovalsPage {
    /// The answer in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        match self.waiting.len() {
            0 => "Nothing waits for you.".to_owned(),
            n => format!(
                "{} for your decision.",
                count(n, "request waits", "requests wait")
            ),
        }
    }
}
