//! A follow-up: what an emergency owes afterwards.
//! Capturing → NoDrift | Owed → Merged → Converged; or Rejected → Reverted; or Waived.

use super::deadline::{Deadline, Goal};
use super::person::Person;
use crate::clock::Time;
use crate::ids::{FollowUpId, GrantId, ItemId, RequestId};
use serde::{Deserialize, Serialize};

/// Where a follow-up stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowUpState {
    /// The record settles; the drift is being taken down.
    Capturing,
    /// Cluster and git agree on everything touched.
    NoDrift,
    /// A pull request is open, or manual items are listed.
    Owed,
    /// Merged, with somebody else's approval.
    Merged,
    /// The cluster equals the merged commit.
    Converged,
    /// The pull request was closed without a merge.
    Rejected,
    /// The cluster equals git again.
    Reverted,
    /// Compliance let it go.
    Waived,
}

impl FollowUpState {
    /// The name as stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capturing => "capturing",
            Self::NoDrift => "no drift",
            Self::Owed => "owed",
            Self::Merged => "merged",
            Self::Converged => "converged",
            Self::Rejected => "rejected",
            Self::Reverted => "reverted",
            Self::Waived => "waived",
        }
    }
}

/// One line of what drifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftRow {
    /// Kind, namespace and name.
    pub object: String,
    /// The field, or empty for the whole object.
    pub path: String,
    /// Before, in words; never a secret's value.
    pub before: String,
    /// After, in words; never a secret's value.
    pub after: String,
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Its path in the repository.
    pub path: String,
    /// Text before; `None` for a new file.
    pub old: Option<String>,
    /// Text after; `None` for a removed file.
    pub new: Option<String>,
}

/// Something a person has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub id: ItemId,
    /// Kind, namespace and name.
    pub object: String,
    /// Why it could not go into the pull request.
    pub why: String,
    /// What to do.
    pub how: String,
    /// The exact patch, without secret values.
    pub patch: String,
    /// Who said it is done, how (a commit's link, or "live equals git"), and when.
    pub done: Option<(Person, String, Time)>,
    /// Who accepted that, and when.
    pub accepted: Option<(Person, Time)>,
}

/// The pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// The repository's name in the configuration.
    pub repository: String,
    /// Its number.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// Its branch.
    pub branch: String,
    /// The newest commit.
    pub head_sha: String,
    /// What was merged.
    pub merge_sha: Option<String>,
    /// The forge marked our commit as signed.
    pub verified: bool,
    /// Who approved it there, by forge login, and whether that counts, in words.
    pub reviews: Vec<String>,
    /// The state of our check, in words.
    pub check: String,
    /// When it was opened.
    pub opened_at: Time,
}

/// Something that was noted about a follow-up and must not be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// When.
    pub at: Time,
    /// What, in a sentence.
    pub text: String,
}

/// A follow-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowUp {
    /// Its id.
    pub id: FollowUpId,
    /// The grant that owes.
    pub grant: GrantId,
    /// Its request.
    pub request: RequestId,
    /// The team that owes.
    pub team: String,
    /// The cluster.
    pub cluster: String,
    /// The profile.
    pub profile: String,
    /// Who had the access.
    pub requester: Person,
    /// Who approved it.
    pub approvers: Vec<Person>,
    /// When the access ended: deadlines run from here.
    pub from: Time,
    /// The deadlines.
    pub deadlines: Vec<Deadline>,
    /// What drifted.
    pub drift: Vec<DriftRow>,
    /// Files changed in the pull request.
    pub files: Vec<FileChange>,
    /// What people must do.
    pub items: Vec<Item>,
    /// The pull request.
    pub pull: Option<PullRequest>,
    /// What counts as touched: (kind, namespace, name, paths) compared with git at convergence.
    pub touched: serde_json::Value,
    /// Why somebody else must review it although nothing drifted.
    pub review_owed: Option<String>,
    /// Compliance's review: who, note, when.
    pub reviewed: Option<(Person, String, Time)>,
    /// Who waived it, why, when.
    pub waived: Option<(Person, String, Time)>,
    /// What was chosen after a rejection, in words.
    pub explanation: Option<(Person, String, Time)>,
    /// Remarks, oldest first.
    pub remarks: Vec<Remark>,
    /// When it came to a close.
    pub closed_at: Option<Time>,
    /// Where it stands.
    pub state: FollowUpState,
    /// Counts the changes: the store's guard against two writers.
    pub version: u64,
}

/// Why a step on a follow-up is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowUpRefusal {
    /// Not in a state that allows it.
    #[error("this follow-up is {0}; that is not possible now")]
    WrongState(&'static str),
    /// Not independent.
    #[error("somebody who neither had nor approved the access must do that")]
    NotIndependent,
    /// The same person said it is done.
    #[error("somebody else must accept what you marked as done")]
    SamePerson,
    /// A text is missing.
    #[error("{0} is needed; it is part of the record")]
    Missing(&'static str),
    /// No such item.
    #[error("there is no such manual item")]
    NoItem,
}

impl FollowUp {
    /// Nothing is owed any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed_at.is_some()
    }

    /// The deadline of `goal`.
    pub fn deadline(&mut self, goal: Goal) -> Option<&mut Deadline> {
        self.deadlines.iter_mut().find(|deadline| deadline.goal == goal)
    }

    /// A deadline was missed and its goal is still not met.
    #[must_use]
    pub fn is_breached(&self) -> bool {
        !self.is_closed() && self.deadlines.iter().any(Deadline::is_breached)
    }

    /// The next open deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<&Deadline> {
        if self.is_closed() {
            return None;
        }
        self.deadlines.iter().filter(|deadline| deadline.met_at.is_none()).min_by_key(|deadline| deadline.due)
    }

    /// `person` neither had nor approved the access.
    #[must_use]
    pub fn is_independent(&self, person: &Person) -> bool {
        !self.requester.same_person(person) && !self.approvers.iter().any(|other| other.same_person(person))
    }

    /// Notes something, once.
    pub fn remark(&mut self, at: Time, text: impl Into<String>) {
        let text = text.into();
        if self.remarks.last().is_none_or(|last| last.text != text) {
            self.remarks.push(Remark { at, text });
        }
    }

    /// Nothing drifted. Closed only when no review is owed.
    ///
    /// # Errors
    /// Not Capturing.
    pub fn no_drift(mut self, review_owed: Option<String>, now: Time) -> Result<Self, FollowUpRefusal> {
        self.expect(&[FollowUpState::Capturing])?;
        self.state = FollowUpState::NoDrift;
        for goal in [Goal::Opened, Goal::Merged, Goal::Converged] {
            if let Some(deadline) = self.deadline(goal) {
                deadline.meet(now);
            }
        }
        if review_owed.is_none() {
            self.close(now);
        } else if let Some(merged) = self.deadline(Goal::Merged) {
            // The review stands in for the merge: it is owed by the same time.
            let review = Deadline { goal: Goal::Reviewed, met_at: None, ..merged.clone() };
            self.deadlines.push(review);
        }
        self.review_owed = review_owed;
        Ok(self)
    }

    /// A pull request is open, or only manual items are owed.
    ///
    /// # Errors
    /// Not Capturing.
    pub fn owed(mut self, now: Time) -> Result<Self, FollowUpRefusal> {
        self.expect(&[FollowUpState::Capturing])?;
        self.state = FollowUpState::Owed;
        if let Some(deadline) = self.deadline(Goal::Opened) {
            deadline.meet(now);
        }
        Ok(self)
    }

    /// Merged with an independent approval.
    ///
    /// # Errors
    /// Not Owed or Rejected, or without a pull request.
    pub fn merged(mut self, merge_sha: String, at: Time) -> Result<Self, FollowUpRefusal> {
        self.expect(&[FollowUpState::Owed, FollowUpState::Rejected])?;
        let Some(pull) = &mut self.pull else {
            return Err(FollowUpRefusal::WrongState("without a pull request"));
        };
        pull.merge_sha = Some(merge_sha);
        self.state = FollowUpState::Merged;
        if let Some(deadline) = self.deadline(Goal::Merged) {
            deadline.meet(at);
        }
        Ok(self)
    }

    /// The cluster equals the merged commit and every manual item is accepted.
    ///
    /// # Errors
    /// Not Merged (or Owed with manual items only), or an item is open.
    pub fn converged(mut self, now: Time) -> Result<Self, FollowUpRefusal> {
        match self.state {
            FollowUpState::Merged => {}
            FollowUpState::Owed if self.pull.is_none() => {}
            _ => return Err(FollowUpRefusal::WrongState(self.state.name())),
        }
        if !self.all_items_accepted() {
            return Err(FollowUpRefusal::WrongState("waiting for manual items"));
        }
        for goal in [Goal::Merged, Goal::Converged] {
            if let Some(deadline) = self.deadline(goal) {
                deadline.meet(now);
            }
        }
        self.state = FollowUpState::Converged;
        self.close(now);
        Ok(self)
    }

    /// The pull request was closed unmerged.
    ///
    /// # Errors
    /// Not Owed.
    pub fn rejected(mut self) -> Result<Self, FollowUpRefusal> {
        self.expect(&[FollowUpState::Owed])?;
        self.state = FollowUpState::Rejected;
        Ok(self)
    }

    /// The pull request was opened again.
    ///
    /// # Errors
    /// Not Rejected.
    pub fn opened_again(mut self) -> Result<Self, FollowUpRefusal> {
        self.expect(&[FollowUpState::Rejected])?;
        self.state = FollowUpState::Owed;
        Ok(self)
    }

    /// The cluster equals git again.
    ///
    /// # Errors
    /// Not Rejected.
    pub fn reverted(mut self, now: Time) -> Result<Self, FollowUpRefusal> {
        self.expect(&[FollowUpState::Rejected])?;
        for goal in [Goal::Merged, Goal::Converged] {
            if let Some(deadline) = self.deadline(goal) {
                deadline.meet(now);
            }
        }
        self.state = FollowUpState::Reverted;
        self.close(now);
        Ok(self)
    }

    /// A late action arrived: the record grew, the drift is taken down again.
    ///
    /// # Errors
    /// Already Capturing, or waived.
    pub fn reopened(mut self, now: Time, why: &str) -> Result<Self, FollowUpRefusal> {
        if matches!(self.state, FollowUpState::Capturing | FollowUpState::Waived) {
            return Err(FollowUpRefusal::WrongState(self.state.name()));
        }
        self.state = FollowUpState::Capturing;
        self.closed_at = None;
        self.review_owed = None;
        self.deadlines.retain(|deadline| deadline.goal != Goal::Reviewed);
        for deadline in &mut self.deadlines {
            deadline.met_at = None;
        }
        self.remark(now, why);
        Ok(self)
    }

    /// Compliance lets the debt go.
    ///
    /// # Errors
    /// Closed, no reason, or not independent.
    pub fn waive(mut self, by: Person, reason: &str, now: Time) -> Result<Self, FollowUpRefusal> {
        if self.is_closed() {
            return Err(FollowUpRefusal::WrongState(self.state.name()));
        }
        if reason.trim().is_empty() {
            return Err(FollowUpRefusal::Missing("a reason"));
        }
        if !self.is_independent(&by) {
            return Err(FollowUpRefusal::NotIndependent);
        }
        self.waived = Some((by, reason.trim().to_owned(), now));
        self.state = FollowUpState::Waived;
        self.close(now);
        Ok(self)
    }

    /// Somebody independent has reviewed it.
    ///
    /// # Errors
    /// No note, reviewed before, or not independent.
    pub fn review(mut self, by: Person, note: &str, now: Time) -> Result<Self, FollowUpRefusal> {
        if note.trim().is_empty() {
            return Err(FollowUpRefusal::Missing("a note"));
        }
        if self.reviewed.is_some() {
            return Err(FollowUpRefusal::WrongState("reviewed already"));
        }
        if !self.is_independent(&by) {
            return Err(FollowUpRefusal::NotIndependent);
        }
        self.reviewed = Some((by, note.trim().to_owned(), now));
        if let Some(deadline) = self.deadline(Goal::Reviewed) {
            deadline.meet(now);
        }
        if self.state == FollowUpState::NoDrift {
            self.close(now);
        }
        Ok(self)
    }

    /// A manual item is said to be done.
    ///
    /// # Errors
    /// No such item, no evidence, or closed.
    pub fn item_done(
        mut self,
        item: ItemId,
        by: Person,
        how: &str,
        now: Time,
    ) -> Result<Self, FollowUpRefusal> {
        if self.is_closed() {
            return Err(FollowUpRefusal::WrongState(self.state.name()));
        }
        if how.trim().is_empty() {
            return Err(FollowUpRefusal::Missing("how it was done (a merged commit's link)"));
        }
        let item = self.items.iter_mut().find(|i| i.id == item).ok_or(FollowUpRefusal::NoItem)?;
        item.done = Some((by, how.trim().to_owned(), now));
        item.accepted = None;
        Ok(self)
    }

    /// Another person accepts that a manual item is done.
    ///
    /// # Errors
    /// No such item, not done, the same person, or the requester.
    pub fn item_accepted(mut self, item: ItemId, by: Person, now: Time) -> Result<Self, FollowUpRefusal> {
        if self.is_closed() {
            return Err(FollowUpRefusal::WrongState(self.state.name()));
        }
        if self.requester.same_person(&by) {
            return Err(FollowUpRefusal::NotIndependent);
        }
        let item = self.items.iter_mut().find(|i| i.id == item).ok_or(FollowUpRefusal::NoItem)?;
        match &item.done {
            Some((doer, _, _)) if doer.same_person(&by) => return Err(FollowUpRefusal::SamePerson),
            Some(_) => {}
            None => return Err(FollowUpRefusal::Missing("that somebody marks it as done first")),
        }
        item.accepted = Some((by, now));
        Ok(self)
    }

    /// Every manual item is accepted.
    #[must_use]
    pub fn all_items_accepted(&self) -> bool {
        self.items.iter().all(|item| item.accepted.is_some())
    }

    fn close(&mut self, now: Time) {
        self.closed_at = Some(now);
    }

    fn expect(&self, states: &[FollowUpState]) -> Result<(), FollowUpRefusal> {
        if states.contains(&self.state) {
            Ok(())
        } else {
            Err(FollowUpRefusal::WrongState(self.state.name()))
        }
    }
}
