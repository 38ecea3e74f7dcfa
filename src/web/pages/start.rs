//! Start: what can I do now, what needs me?

use super::{Badge, Card, Href, Shell, Words, count};
use askama::Template;

/// `GET /` for somebody signed in.
#[derive(Debug, Clone, Template)]
#[template(path = "start.html")]
pub struct StartPage {
    /// What surrounds the page; its live bars show the person's own access.
    pub shell: Shell,
    /// Whether this person may ask for access at all.
    pub may_ask: bool,
    /// The last request as a one-tap start: a link to the filled form.
    pub again: Option<(Href, Words)>,
    /// The person's own requests and grants that are not over.
    pub mine: Vec<Card>,
    /// Requests that wait for this person's decision, oldest first.
    pub waiting: Vec<Card>,
    /// Follow-ups this person owes, worst first.
    pub owed: Vec<Card>,
    /// One badge a cluster: can we still see?
    pub clusters: Vec<Badge>,
}

impl StartPage {
    /// What needs the person, in one line; nothing when nothing does.
    #[must_use]
    pub fn needs(&self) -> Option<String> {
        let mut needs = Vec::new();
        if !self.waiting.is_empty() {
            needs.push(format!(
                "{} for your decision",
                count(self.waiting.len(), "request waits", "requests wait")
            ));
        }
        if !self.owed.is_empty() {
            needs.push(format!(
                "You owe git {}",
                count(self.owed.len(), "follow-up", "follow-ups")
            ));
        }
        (!needs.is_empty()).then(|| needs.join(". "))
    }
}
