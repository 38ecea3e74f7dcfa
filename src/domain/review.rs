//! Whether a pull request was approved by somebody independent of the change.
//!
//! The broker's bot is the author on the forge, so the forge itself would let the engineer approve
//! their own change: this rule is what the required check publishes and what the deadline counts.

use crate::clock::Time;
use std::collections::{BTreeMap, BTreeSet};

/// What a review said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewState {
    /// The change is good.
    Approved,
    /// The change must be altered first.
    ChangesRequested,
    /// A remark, neither for nor against.
    Commented,
    /// An earlier word that no longer stands.
    Dismissed,
}

/// One review of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The reviewer's login on the forge.
    pub login: String,
    /// What it said.
    pub state: ReviewState,
    /// The commit that was reviewed.
    pub commit_sha: String,
    /// When it was given.
    pub at: Time,
}

/// The result of one check on a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// Passed.
    Success,
    /// Did not pass.
    Failure,
    /// Says nothing for or against: counts as passed.
    Neutral,
    /// Not known yet: holds up a merge where the check is required.
    Pending,
}

/// The newest result of one check on a pull request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// The check's name.
    pub name: String,
    /// The id of the App that published it; `None` for a plain commit status.
    pub app_id: Option<u64>,
    /// What it came to.
    pub conclusion: Conclusion,
}

/// Where a pull request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPhase {
    /// Waiting to be merged.
    Open,
    /// Closed without being merged.
    Closed,
    /// Merged.
    Merged,
}

/// A pull request as the forge shows it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullState {
    /// Its number in the repository.
    pub number: u64,
    /// Where people read it.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Its description as it stands: people may have edited it.
    pub body: String,
    /// Where it stands.
    pub phase: PullPhase,
    /// The commit that the merge made on the base branch; only when merged.
    pub merge_commit_sha: Option<String>,
    /// Who merged it; only when merged and known.
    pub merged_by: Option<String>,
    /// The newest commit of its branch.
    pub head_sha: String,
    /// The branch it merges into.
    pub base: String,
    /// Every review, oldest first.
    pub reviews: Vec<Review>,
    /// Logins that wrote or pushed any commit of it, and the login that opened it.
    pub authors_and_pushers: BTreeSet<String>,
    /// Commits whose author or pusher the forge could not name, in words.
    pub unknown_contributors: Vec<String>,
    /// The newest result of each check on the head.
    pub checks: Vec<CheckResult>,
}

/// Whether somebody independent approved, and why (not).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Approved by at least one independent person.
    Independent {
        /// The logins whose approvals count.
        by: Vec<String>,
    },
    /// Nobody's approval counts yet.
    Missing {
        /// Each approval that does not count, with the reason, or that there is none; in plain words.
        reasons: Vec<String>,
    },
}

impl Verdict {
    /// True when an approval counts.
    #[must_use]
    pub fn is_independent(&self) -> bool {
        matches!(self, Self::Independent { .. })
    }

    /// The verdict in one or more plain sentences.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Independent { by } => format!("Approved independently by {}.", by.join(", ")),
            Self::Missing { reasons } => reasons.join(" "),
        }
    }
}

/// Decides whether `pull` has an approval that counts: for the current head, the reviewer's latest
/// word, by a login that `mapped` gives to a person, who is not among `excluded` (the requester, and
/// whoever else the caller rules out) and under no login wrote or pushed a commit of it.
///
/// `mapped` goes from lower-case login to the person's stable id; logins are compared without case,
/// as forges do. A contributor the forge cannot name might be any reviewer, so then none counts.
#[must_use]
pub fn independent_approval(
    pull: &PullState,
    excluded: &BTreeSet<String>,
    mapped: &BTreeMap<String, String>,
) -> Verdict {
    let person = |login: &str| mapped.get(&login.to_lowercase());
    let contributors: BTreeSet<String> = pull
        .authors_and_pushers
        .iter()
        .map(|login| login.to_lowercase())
        .collect();
    let contributing: BTreeSet<&String> = contributors.iter().filter_map(|login| person(login)).collect();

    // The latest word of each login; a comment is no word.
    let mut words: BTreeMap<String, &Review> = BTreeMap::new();
    for review in pull
        .reviews
        .iter()
        .filter(|review| review.state != ReviewState::Commented)
    {
        let word = words.entry(review.login.to_lowercase()).or_insert(review);
        if review.at >= word.at {
            *word = review;
        }
    }

    let mut by = Vec::new();
    let mut reasons = Vec::new();
    for (login, review) in &words {
        let name = &review.login;
        if review.state != ReviewState::Approved {
            continue;
        }
        if review.commit_sha != pull.head_sha {
            reasons.push(format!("{name} approved an earlier commit, not the current one."));
        } else if contributors.contains(login) {
            reasons.push(format!(
                "{name} approved, but wrote or pushed a commit of this pull request."
            ));
        } else {
            match person(login) {
                None => reasons.push(format!(
                    "{name} approved, but this login is not mapped to a person."
                )),
                Some(id) if excluded.contains(id) => {
                    reasons.push(format!("{name} approved, but is the requester or is ruled out."));
                }
                Some(id) if contributing.contains(id) => {
                    reasons.push(format!(
                        "{name} approved, but the same person wrote or pushed a commit under another login."
                    ));
                }
                Some(_) => by.push(name.clone()),
            }
        }
    }
    if !by.is_empty() && !pull.unknown_contributors.is_empty() {
        reasons.push(format!(
            "Approved by {}, but it cannot be shown that they did not write it: {}.",
            by.join(", "),
            pull.unknown_contributors.join("; ")
        ));
        by.clear();
    }
    if !by.is_empty() {
        return Verdict::Independent { by };
    }
    if reasons.is_empty() {
        reasons.push("Nobody has approved the current commit yet.".to_owned());
    }
    Verdict::Missing { reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u32) -> Time {
        format!("2030-01-01T10:00:{second:02}Z").parse().unwrap()
    }

    fn review(login: &str, state: ReviewState, commit_sha: &str, second: u32) -> Review {
        Review {
            login: login.into(),
            state,
            commit_sha: commit_sha.into(),
            at: at(second),
        }
    }

    fn pull(reviews: Vec<Review>) -> PullState {
        PullState {
            number: 1,
            url: String::new(),
            title: String::new(),
            body: String::new(),
            phase: PullPhase::Open,
            merge_commit_sha: None,
            merged_by: None,
            head_sha: "head".into(),
            base: "main".into(),
            reviews,
            authors_and_pushers: ["breakglass[bot]".to_owned()].into(),
            unknown_contributors: vec![],
            checks: vec![],
        }
    }

    fn verdict(pull: &PullState) -> Verdict {
        let mapped = [
            ("oncall", "p1"),
            ("oncall-private", "p1"),
            ("second", "p2"),
            ("second-private", "p2"),
            ("third", "p3"),
        ];
        let mapped = mapped
            .into_iter()
            .map(|(login, id)| (login.to_owned(), id.to_owned()))
            .collect();
        independent_approval(pull, &["p1".to_owned()].into(), &mapped)
    }

    #[test]
    fn a_mapped_other_person_on_the_head_counts() {
        let v = verdict(&pull(vec![review("Second", ReviewState::Approved, "head", 1)]));
        assert_eq!(
            v,
            Verdict::Independent {
                by: vec!["Second".into()]
            }
        );
    }

    #[test]
    fn what_does_not_count_is_said() {
        use ReviewState::{Approved, ChangesRequested, Commented, Dismissed};
        let cases = [
            (vec![], "Nobody has approved"),
            (vec![review("oncall", Approved, "head", 1)], "is the requester"),
            (
                vec![review("oncall-private", Approved, "head", 1)],
                "is the requester",
            ),
            (vec![review("stranger", Approved, "head", 1)], "not mapped"),
            (vec![review("second", Approved, "old", 1)], "an earlier commit"),
            (
                vec![
                    review("second", Approved, "head", 1),
                    review("second", ChangesRequested, "head", 2),
                ],
                "Nobody has approved",
            ),
            (
                vec![
                    review("second", Approved, "head", 1),
                    review("second", Dismissed, "head", 2),
                ],
                "Nobody has approved",
            ),
            (
                vec![review("second", Commented, "head", 1)],
                "Nobody has approved",
            ),
            (
                vec![review("breakglass[bot]", Approved, "head", 1)],
                "wrote or pushed",
            ),
        ];
        for (reviews, expected) in cases {
            let v = verdict(&pull(reviews.clone()));
            assert!(
                !v.is_independent() && v.words().contains(expected),
                "{reviews:?} gave {v:?}"
            );
        }
    }

    #[test]
    fn a_comment_after_an_approval_leaves_it_standing_and_order_is_by_time() {
        use ReviewState::{Approved, ChangesRequested, Commented};
        assert!(
            verdict(&pull(vec![
                review("second", Approved, "head", 1),
                review("second", Commented, "head", 2)
            ]))
            .is_independent()
        );
        assert!(
            verdict(&pull(vec![
                review("second", Approved, "head", 5),
                review("second", ChangesRequested, "head", 2)
            ]))
            .is_independent()
        );
    }

    #[test]
    fn whoever_pushed_does_not_count_under_any_login() {
        let mut p = pull(vec![review("second", ReviewState::Approved, "head", 1)]);
        p.authors_and_pushers.insert("Second-Private".into());
        assert!(verdict(&p).words().contains("same person"));
        p.reviews.push(review("third", ReviewState::Approved, "head", 2));
        assert_eq!(
            verdict(&p),
            Verdict::Independent {
                by: vec!["third".into()]
            }
        );
    }

    #[test]
    fn an_unnamed_contributor_might_be_the_reviewer() {
        let mut p = pull(vec![review("second", ReviewState::Approved, "head", 1)]);
        p.unknown_contributors.push("commit 1234567 by somebody".into());
        assert!(verdict(&p).words().contains("cannot be shown"));
    }
}
