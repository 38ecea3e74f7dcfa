//! A finding: something is wrong and people must look at it. Pinned on the feed until they did.

use crate::clock::Time;
use crate::ids::{FindingId, GrantId, RequestId};
use serde::{Deserialize, Serialize};

/// How many of the first changes a finding names.
const NAMED: usize = 5;
/// How many addresses a finding names.
const ADDRESSES: usize = 5;

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its id.
    pub id: FindingId,
    /// What makes it the same finding seen again; one open finding a key.
    pub key: String,
    /// When it was found.
    pub at: Time,
    /// What, in a sentence.
    pub text: String,
    /// The cluster.
    pub cluster: Option<String>,
    /// The grant.
    pub grant: Option<GrantId>,
    /// Who looked at it, what they say, when.
    pub settled: Option<(String, String, Time)>,
    /// What is to be written somewhere to put it right, line by line as it is written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<String>,
    /// What somebody changed without a grant, where it is that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypass: Option<Bypass>,
}

/// What one person changed on one cluster without a grant, gathered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bypass {
    /// The user, as the API server knows it.
    pub user: String,
    /// Who acted in that user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// From where, the first few.
    pub from: Vec<String>,
    /// How many changes there were. A finding is only changed by whoever knows how many it has.
    pub changes: u64,
    /// The first few, in words.
    pub named: Vec<String>,
    /// When the first was.
    pub first_at: Time,
    /// When the last was.
    pub last_at: Time,
    /// The request that it was said to belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

/// One change to be gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In words: "deleted Pod payments/web-1".
    pub words: String,
    /// From where.
    pub from: Option<String>,
    /// When.
    pub at: Time,
}

impl Bypass {
    /// Nothing yet, by `user`.
    #[must_use]
    pub const fn by(user: String, through: Option<String>, at: Time) -> Self {
        Self {
            user,
            through,
            from: vec![],
            changes: 0,
            named: vec![],
            first_at: at,
            last_at: at,
            request: None,
        }
    }

    /// One change more.
    pub fn add(&mut self, change: Change) {
        self.changes += 1;
        self.first_at = self.first_at.min(change.at);
        self.last_at = self.last_at.max(change.at);
        if self.named.len() < NAMED && !self.named.contains(&change.words) {
            self.named.push(change.words);
        }
        if let Some(from) = change.from
            && self.from.len() < ADDRESSES
            && !self.from.contains(&from)
        {
            self.from.push(from);
        }
    }

    /// Who, what, from where, in a sentence.
    #[must_use]
    pub fn text(&self, cluster: &str) -> String {
        let through = self
            .through
            .as_ref()
            .map(|through| format!(" (through {through})"))
            .unwrap_or_default();
        let from = match self.from.as_slice() {
            [] => String::new(),
            addresses => format!(", from {}", addresses.join(", ")),
        };
        let things = match self.changes {
            1 => "something".to_owned(),
            n => format!("{n} things"),
        };
        let more = match self.changes.saturating_sub(self.named.len() as u64) {
            0 => String::new(),
            n => format!("; and {n} more"),
        };
        format!(
            "{}{through} changed {things} on {cluster} without a grant{from}: {}{more}",
            self.user,
            self.named.join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn change(words: &str, from: &str, seconds: i64) -> Change {
        Change {
            words: words.to_owned(),
            from: Some(from.to_owned()),
            at: Time::UNIX_EPOCH + TimeDelta::seconds(seconds),
        }
    }

    #[test]
    fn the_first_changes_are_named_and_all_are_counted() {
        let mut bypass = Bypass::by("alice".to_owned(), None, change("", "", 50).at);
        bypass.add(change("deleted Pod payments/web-1", "10.0.0.7", 50));
        assert_eq!(
            bypass.text("production"),
            "alice changed something on production without a grant, from 10.0.0.7: deleted Pod payments/web-1"
        );
        for n in 2..1_000 {
            bypass.add(change(
                &format!("deleted Pod payments/web-{n}"),
                "10.0.0.8",
                100 - n,
            ));
        }
        let text = bypass.text("production");
        assert!(text.starts_with(
            "alice changed 999 things on production without a grant, from 10.0.0.7, 10.0.0.8: "
        ));
        assert!(text.ends_with("web-5; and 994 more"), "{text}");
        assert_eq!(
            (bypass.first_at, bypass.last_at),
            (change("", "", -899).at, change("", "", 98).at)
        );
    }

    #[test]
    fn what_is_done_again_is_counted_and_named_once() {
        let mut bypass = Bypass::by("alice".to_owned(), Some("gateway".to_owned()), Time::UNIX_EPOCH);
        for n in 0..3 {
            bypass.add(change("scaled Deployment payments/web", "10.0.0.7", n));
        }
        assert_eq!(
            bypass.text("production"),
            "alice (through gateway) changed 3 things on production without a grant, from 10.0.0.7: \
             scaled Deployment payments/web; and 2 more"
        );
    }
}
