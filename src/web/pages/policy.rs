//! Policy: who can do what?

use super::request_form::{Preview, Verdict};
use super::{Choice, Facts, Shell, Text, When, Words};
use askama::Template;

/// `GET /policy`; with the fields of the question set, answered.
#[derive(Debug, Clone, Template)]
#[template(path = "policy.html")]
pub struct PolicyPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// The digest of the policy in force.
    pub digest: Text,
    /// Since when it is in force.
    pub since: When,
    /// The profiles.
    pub profiles: Vec<ProfileView>,
    /// The roles and teams with their groups.
    pub people: Facts,
    /// "Could this person, here, now?": the question as typed.
    pub question: Question,
    /// Its answer, when it was asked.
    pub answer: Option<Preview>,
}

/// A profile in words.
#[derive(Debug, Clone)]
pub struct ProfileView {
    /// Its name; also its anchor.
    pub name: Text,
    /// What it is for, one sentence.
    pub words: Words,
    /// Who, where, how long, how many approvals from whom, sign-in, deadlines.
    pub facts: Facts,
    /// What it allows, in words.
    pub may: Vec<Words>,
    /// The exact rules of its `ClusterRole`, one line each.
    pub rules: Vec<Text>,
    /// Their digest.
    pub digest: Text,
}

impl ProfileView {
    /// The anchor of the profile on the page: letters, digits and dashes of its name.
    #[must_use]
    pub fn anchor(&self) -> String {
        let name = self.name.plain();
        let safe = name.chars().map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        });
        format!("p-{}", safe.collect::<String>())
    }
}

/// The fields of the question.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Field `person`: a name or the claim.
    pub person: String,
    /// Field `profile`.
    pub profiles: Vec<Choice>,
    /// Field `cluster`.
    pub clusters: Vec<Choice>,
    /// Field `namespace`.
    pub namespace: String,
    /// What is wrong with it.
    pub error: Option<Text>,
}

impl PolicyPage {
    /// Whether the answer is yes.
    #[must_use]
    pub fn yes(&self, answer: &Preview) -> bool {
        matches!(answer.verdict, Verdict::AtOnce | Verdict::Needs { .. })
    }
}
