//! A follow-up: what an emergency owes afterwards.
//! Capturing → `NoDrift` | Owed → Merged → Converged; or Rejected → Reverted; or Waived.

use super::deadline::{Deadline, DeadlineState, Goal};
use super::grant::Grant;
use super::person::Person;
use crate::clock::Time;
use crate::ids::{FollowUpId, GrantId, ItemId, RequestId};
use chrono::TimeDelta;
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

/// The way back for one object, should the pull request be rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inverse {
    /// Kind, namespace and name.
    pub object: String,
    /// The command; empty where there is none.
    pub command: String,
    /// What to do where there is no command.
    pub by_hand: String,
    /// Cluster and git were last seen to agree on it.
    pub equal: bool,
    /// Where they were last seen to differ, in words; never a secret's value.
    pub differs: String,
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
    /// The last entry of the grant's record that the drift was taken down from. An action entered later opens
    /// the follow-up again.
    pub captured_through: Option<u64>,
    /// Why somebody else must review it although nothing drifted.
    pub review_owed: Option<String>,
    /// Compliance's review: who, note, when.
    pub reviewed: Option<(Person, String, Time)>,
    /// Who waived it, why, when.
    pub waived: Option<(Person, String, Time)>,
    /// After a rejection: why the change is right all the same.
    pub explanation: Option<(Person, String, Time)>,
    /// After a rejection: who chose that the cluster goes back to git, and when.
    #[serde(default)]
    pub revert: Option<(Person, Time)>,
    /// The way back, object by object.
    #[serde(default)]
    pub inverse: Vec<Inverse>,
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
    /// Neither had nor approved the access.
    #[error("only whoever had or approved the access chooses that")]
    NotAParty,
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
    /// What a grant that ended at `from` owes until it is looked at; its deadlines run from there.
    #[must_use]
    pub fn after(grant: &Grant, from: Time, deadlines: Vec<Deadline>) -> Self {
        Self {
            id: FollowUpId::new(),
            grant: grant.id,
            request: grant.request,
            team: grant.team.clone(),
            cluster: grant.cluster.clone(),
            profile: grant.profile.clone(),
            requester: grant.requester.clone(),
            approvers: grant.approvers.clone(),
            from,
            deadlines,
            drift: vec![],
            files: vec![],
            items: vec![],
            pull: None,
            touched: serde_json::Value::Null,
            captured_through: None,
            review_owed: None,
            reviewed: None,
            waived: None,
            explanation: None,
            revert: None,
            inverse: vec![],
            remarks: vec![],
            closed_at: None,
            state: FollowUpState::Capturing,
            version: 0,
        }
    }

    /// Nothing is owed any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed_at.is_some()
    }

    /// The clock by which its times were told was set back by `by`: what is neither met nor missed is
    /// due as much earlier.
    #[must_use]
    pub fn clock_set_back(mut self, by: TimeDelta) -> Self {
        self.from -= by;
        let open =
            |deadline: &&mut Deadline| deadline.met_at.is_none() && deadline.state != DeadlineState::Breached;
        for deadline in self.deadlines.iter_mut().filter(open) {
            deadline.from -= by;
            deadline.soon -= by;
            deadline.due -= by;
        }
        self
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
        self.deadlines
            .iter()
            .filter(|deadline| deadline.met_at.is_none())
            .min_by_key(|deadline| deadline.due)
    }

    /// `person` neither had nor approved the access.
    #[must_use]
    pub fn is_independent(&self, person: &Person) -> bool {
        !self.requester.same_person(person) && !self.approvers.iter().any(|other| other.same_person(person))
    }

    /// `person` had or approved the access, beyond doubt. Not the opposite of [`Self::is_independent`]:
    /// who may be one of them is neither.
    #[must_use]
    pub fn is_party(&self, person: &Person) -> bool {
        self.requester.surely_same_person(person)
            || self
                .approvers
                .iter()
                .any(|approver| approver.surely_same_person(person))
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
            // The review stands in for the merge: it is owed by the same time, and its own thresholds
            // are told even where those of the merge were passed.
            let review = Deadline {
                goal: Goal::Reviewed,
                state: DeadlineState::OnTime,
                met_at: None,
                breached_at: None,
                ..merged.clone()
            };
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
        self.revert = None;
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

    /// After a rejection, whoever had or approved the access chooses that the cluster goes back to git.
    ///
    /// # Errors
    /// Not Rejected, chosen before, or neither of them.
    pub fn revert_chosen(mut self, by: Person, now: Time) -> Result<Self, FollowUpRefusal> {
        self.expect(&[FollowUpState::Rejected])?;
        if !self.is_party(&by) {
            return Err(FollowUpRefusal::NotAParty);
        }
        if self.revert.is_some() {
            return Err(FollowUpRefusal::WrongState("to be reverted already"));
        }
        self.revert = Some((by, now));
        Ok(self)
    }

    /// After a rejection, one of them says why the change is right all the same; that takes the place of a
    /// choice to revert.
    ///
    /// # Errors
    /// Not Rejected, no text, or neither of them.
    pub fn explained(mut self, by: Person, text: &str, now: Time) -> Result<Self, FollowUpRefusal> {
        self.expect(&[FollowUpState::Rejected])?;
        if !self.is_party(&by) {
            return Err(FollowUpRefusal::NotAParty);
        }
        if text.trim().is_empty() {
            return Err(FollowUpRefusal::Missing("an explanation"));
        }
        self.explanation = Some((by, text.trim().to_owned(), now));
        self.revert = None;
        Ok(self)
    }

    /// The pull request was opened again: a choice to revert is void.
    ///
    /// # Errors
    /// Not Rejected.
    pub fn opened_again(mut self) -> Result<Self, FollowUpRefusal> {
        self.expect(&[FollowUpState::Rejected])?;
        self.revert = None;
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
        self.revert = None;
        // Who reviewed it has not seen what came since.
        self.reviewed = None;
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
    /// Still Capturing (nobody has seen the whole record), no note, reviewed before, or not independent.
    pub fn review(mut self, by: Person, note: &str, now: Time) -> Result<Self, FollowUpRefusal> {
        if self.state == FollowUpState::Capturing {
            return Err(FollowUpRefusal::WrongState(self.state.name()));
        }
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
            return Err(FollowUpRefusal::Missing(
                "how it was done (a merged commit's link)",
            ));
        }
        let item = self
            .items
            .iter_mut()
            .find(|i| i.id == item)
            .ok_or(FollowUpRefusal::NoItem)?;
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
        let item = self
            .items
            .iter_mut()
            .find(|i| i.id == item)
            .ok_or(FollowUpRefusal::NoItem)?;
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

#[cfg(test)]
mod tests {
    use super::super::deadline::DeadlineState;
    use super::super::fixture::{at, follow_up, item, person, pull, same_mail, second_account};
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    const DAY: i64 = 86_400;

    fn owed() -> FollowUp {
        FollowUp {
            pull: Some(pull()),
            ..follow_up()
        }
        .owed(at(60))
        .unwrap()
    }

    fn met(follow_up: &FollowUp, goal: Goal) -> Option<Time> {
        follow_up
            .deadlines
            .iter()
            .find(|deadline| deadline.goal == goal)?
            .met_at
    }

    /// Moves every deadline by the clock, as the worker does.
    fn tick(mut follow_up: FollowUp, now: Time) -> FollowUp {
        for deadline in &mut follow_up.deadlines {
            if let Some(new) = deadline.tick(now) {
                *deadline = new;
            }
        }
        follow_up
    }

    #[test]
    fn the_whole_way_meets_each_deadline_at_its_own_time() {
        let merged = owed().merged("bb".repeat(20), at(7200)).unwrap();
        let closed = merged.converged(at(9000)).unwrap();
        assert_eq!(
            (closed.state, closed.closed_at),
            (FollowUpState::Converged, Some(at(9000)))
        );
        assert_eq!(met(&closed, Goal::Opened), Some(at(60)));
        assert_eq!(met(&closed, Goal::Merged), Some(at(7200)));
        assert_eq!(met(&closed, Goal::Converged), Some(at(9000)));
        assert_eq!(closed.next_deadline(), None);
    }

    #[test]
    fn a_deadline_runs_from_the_end_and_is_breached_until_its_goal_is_met() {
        let late = tick(owed(), at(DAY));
        assert!(late.is_breached());
        assert_eq!(
            late.next_deadline().map(|deadline| deadline.goal),
            Some(Goal::Merged)
        );
        let merged = late.merged("bb".repeat(20), at(DAY + 60)).unwrap();
        assert!(!merged.is_breached(), "merged late, but merged");
        assert!(
            merged
                .deadlines
                .iter()
                .any(|deadline| deadline.goal == Goal::Merged && deadline.was_late())
        );
        assert!(
            tick(merged.clone(), at(3 * DAY)).is_breached(),
            "it has not converged by then"
        );
        assert!(!merged.converged(at(DAY + 120)).unwrap().is_breached());
    }

    #[test]
    fn no_drift_closes_it_only_where_no_review_is_owed() {
        let closed = follow_up().no_drift(None, at(60)).unwrap();
        assert_eq!(closed.closed_at, Some(at(60)));
        let open = follow_up()
            .no_drift(Some("a shell was opened".into()), at(60))
            .unwrap();
        assert!(!open.is_closed());
        let next = open.next_deadline().unwrap();
        assert_eq!((next.goal, next.due), (Goal::Reviewed, at(DAY)));
        let reviewed = open
            .review(person("compliance"), "looked at the session", at(120))
            .unwrap();
        assert_eq!(
            (reviewed.closed_at, met(&reviewed, Goal::Reviewed)),
            (Some(at(120)), Some(at(120)))
        );
    }

    #[test]
    fn the_review_s_own_thresholds_are_told_even_when_those_of_the_merge_were_passed() {
        let late = tick(follow_up(), at(DAY));
        let open = late
            .no_drift(Some("a Secret was read".into()), at(DAY + 60))
            .unwrap();
        let told = open
            .deadlines
            .iter()
            .filter_map(|deadline| deadline.tick(at(DAY + 120)))
            .collect::<Vec<_>>();
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].goal, told[0].state),
            (Goal::Reviewed, DeadlineState::Breached)
        );
    }

    #[test]
    fn who_had_or_approved_the_access_neither_reviews_nor_waives() {
        let twin = Person {
            person_claim: "e-FIRST-approver".into(),
            ..person("approver-admin")
        };
        for by in [
            person("oncall"),
            second_account(),
            same_mail(),
            person("first-approver"),
            twin,
        ] {
            let refusal = FollowUpRefusal::NotIndependent;
            assert_eq!(
                owed().waive(by.clone(), "too old", at(1)).unwrap_err(),
                refusal,
                "{by:?}"
            );
            assert_eq!(owed().review(by, "fine", at(1)).unwrap_err(), refusal);
        }
    }

    #[test]
    fn waiving_and_reviewing_need_words_and_happen_once() {
        let by = person("compliance");
        assert_eq!(
            owed().waive(by.clone(), " ", at(1)).unwrap_err(),
            FollowUpRefusal::Missing("a reason")
        );
        assert_eq!(
            owed().review(by.clone(), "", at(1)).unwrap_err(),
            FollowUpRefusal::Missing("a note")
        );
        let waived = owed().waive(by.clone(), "the namespace is gone", at(1)).unwrap();
        assert_eq!(
            (waived.state, waived.closed_at),
            (FollowUpState::Waived, Some(at(1)))
        );
        assert!(waived.clone().waive(by.clone(), "again", at(2)).is_err());
        assert!(
            waived.reopened(at(3), "late").is_err(),
            "what compliance let go stays so"
        );
        let reviewed = owed().review(by.clone(), "fine", at(1)).unwrap();
        assert!(!reviewed.is_closed(), "the pull request is still owed");
        assert!(reviewed.review(by, "fine", at(2)).is_err());
    }

    #[test]
    fn a_review_of_half_a_record_does_not_count() {
        let by = person("compliance");
        assert!(
            follow_up().review(by.clone(), "fine", at(1)).is_err(),
            "the record is not settled"
        );
        let seen = follow_up()
            .no_drift(Some("a shell was opened".into()), at(60))
            .unwrap();
        let seen = seen.review(by.clone(), "fine", at(120)).unwrap();
        let grown = seen.reopened(at(180), "a late action arrived").unwrap();
        assert_eq!((grown.state, grown.closed_at), (FollowUpState::Capturing, None));
        let open = grown
            .no_drift(Some("a shell was opened".into()), at(240))
            .unwrap();
        assert!(!open.is_closed(), "somebody must look at what came since");
        assert_eq!(
            open.deadlines
                .iter()
                .filter(|deadline| deadline.goal == Goal::Reviewed)
                .count(),
            1
        );
        assert!(open.review(by, "looked again", at(300)).unwrap().is_closed());
    }

    #[test]
    fn growing_again_restarts_no_deadline() {
        let closed = owed()
            .merged("bb".repeat(20), at(7200))
            .unwrap()
            .converged(at(9000))
            .unwrap();
        let due: Vec<_> = closed.deadlines.iter().map(|deadline| deadline.due).collect();
        let grown = closed.reopened(at(DAY + 1), "a late action arrived").unwrap();
        assert_eq!(
            grown
                .deadlines
                .iter()
                .map(|deadline| deadline.due)
                .collect::<Vec<_>>(),
            due
        );
        assert!(grown.deadlines.iter().all(|deadline| deadline.met_at.is_none()));
        assert!(tick(grown, at(DAY + 1)).is_breached());
    }

    #[test]
    fn a_manual_item_is_accepted_by_another_person_than_did_it() {
        let one = item();
        let (id, doer) = (one.id, person("engineer"));
        let list = FollowUp {
            items: vec![one],
            ..follow_up()
        }
        .owed(at(60))
        .unwrap();
        assert_eq!(
            list.clone()
                .item_done(ItemId::new(), doer.clone(), "link", at(70))
                .unwrap_err(),
            FollowUpRefusal::NoItem
        );
        assert!(list.clone().item_done(id, doer.clone(), " ", at(70)).is_err());
        assert!(
            list.clone().item_accepted(id, person("lead"), at(70)).is_err(),
            "nobody did it yet"
        );
        let done = list
            .item_done(id, doer.clone(), "https://forge.example.test/c/1", at(70))
            .unwrap();
        let twin = Person {
            person_claim: "e-ENGINEER".into(),
            ..person("engineer-admin")
        };
        for by in [doer, twin] {
            assert_eq!(
                done.clone().item_accepted(id, by, at(80)).unwrap_err(),
                FollowUpRefusal::SamePerson
            );
        }
        for by in [person("oncall"), second_account()] {
            assert_eq!(
                done.clone().item_accepted(id, by, at(80)).unwrap_err(),
                FollowUpRefusal::NotIndependent
            );
        }
        assert!(done.clone().converged(at(80)).is_err(), "an item is open");
        let accepted = done.item_accepted(id, person("lead"), at(80)).unwrap();
        assert!(accepted.all_items_accepted());
        let redone = accepted
            .clone()
            .item_done(id, person("lead"), "another link", at(90))
            .unwrap();
        assert!(
            !redone.all_items_accepted(),
            "other evidence must be accepted anew"
        );
        assert_eq!(
            accepted.converged(at(95)).unwrap().state,
            FollowUpState::Converged
        );
    }

    #[test]
    fn an_open_item_holds_up_convergence_after_the_merge() {
        let list = FollowUp {
            items: vec![item()],
            pull: Some(pull()),
            ..follow_up()
        };
        let merged = list
            .owed(at(60))
            .unwrap()
            .merged("bb".repeat(20), at(70))
            .unwrap();
        assert!(merged.converged(at(80)).is_err());
        assert!(
            owed().converged(at(80)).is_err(),
            "the pull request is not merged"
        );
    }

    #[test]
    fn closed_unmerged_it_is_opened_again_or_reverted() {
        let rejected = owed().rejected().unwrap();
        assert!(!rejected.is_closed(), "the debt stays");
        assert_eq!(
            rejected.clone().opened_again().unwrap().state,
            FollowUpState::Owed
        );
        let reverted = rejected.reverted(at(500)).unwrap();
        assert_eq!(
            (reverted.state, reverted.closed_at),
            (FollowUpState::Reverted, Some(at(500)))
        );
        assert!(owed().reverted(at(500)).is_err() && owed().opened_again().is_err());
        assert!(follow_up().rejected().is_err());
    }

    #[test]
    fn a_revert_is_chosen_once_by_a_party_and_void_when_the_pull_request_comes_back() {
        let rejected = owed().rejected().unwrap();
        assert!(
            owed().revert_chosen(person("oncall"), at(70)).is_err(),
            "not rejected"
        );
        for stranger in ["compliance", "engineer"] {
            assert_eq!(
                rejected
                    .clone()
                    .revert_chosen(person(stranger), at(70))
                    .unwrap_err(),
                FollowUpRefusal::NotAParty
            );
        }
        for party in ["oncall", "first-approver"] {
            let chosen = rejected.clone().revert_chosen(person(party), at(70)).unwrap();
            assert_eq!(chosen.revert, Some((person(party), at(70))));
            assert!(!chosen.is_closed(), "a choice reverts nothing");
            assert!(chosen.clone().revert_chosen(person("oncall"), at(80)).is_err());
            assert_eq!(chosen.clone().opened_again().unwrap().revert, None);
            assert_eq!(
                chosen.clone().merged("bb".repeat(20), at(80)).unwrap().revert,
                None
            );
            assert_eq!(chosen.clone().reopened(at(80), "late").unwrap().revert, None);
            let explained = chosen
                .clone()
                .explained(person("oncall"), "it is right", at(80))
                .unwrap();
            assert_eq!(explained.revert, None);
            assert_eq!(chosen.reverted(at(90)).unwrap().state, FollowUpState::Reverted);
        }
    }

    #[test]
    fn a_follow_up_of_an_earlier_broker_can_be_read() {
        let one = owed();
        let mut old = serde_json::to_value(&one).unwrap();
        for field in ["revert", "inverse"] {
            old.as_object_mut().unwrap().remove(field).unwrap();
        }
        assert_eq!(serde_json::from_value::<FollowUp>(old).unwrap(), one);
    }

    #[test]
    fn a_remark_is_noted_once() {
        let mut one = owed();
        for now in 0..3 {
            one.remark(at(now), "another writer changes spec.replicas");
        }
        assert_eq!(one.remarks.len(), 1);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        NoDrift(bool),
        Owed(bool),
        Merged,
        Converged,
        Rejected,
        OpenedAgain,
        Reverted,
        Reopened,
        Waive(usize),
        Review(usize),
        Done(usize),
        Accept(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
        let step = prop_oneof![
            any::<bool>().prop_map(Step::NoDrift),
            any::<bool>().prop_map(Step::Owed),
            Just(Step::Merged),
            Just(Step::Converged),
            Just(Step::Rejected),
            Just(Step::OpenedAgain),
            Just(Step::Reverted),
            Just(Step::Reopened),
            (0..5usize).prop_map(Step::Waive),
            (0..5usize).prop_map(Step::Review),
            (0..5usize).prop_map(Step::Done),
            (0..5usize).prop_map(Step::Accept),
        ];
        prop::collection::vec((0..20_000i64, step), 1..40)
    }

    fn take(old: FollowUp, step: Step, now: Time) -> Result<FollowUp, FollowUpRefusal> {
        let people = ["oncall", "first-approver", "engineer", "lead", "compliance"].map(person);
        let id = old.items.first().map_or_else(ItemId::new, |item| item.id);
        match step {
            Step::NoDrift(review) => old.no_drift(review.then(|| "a shell was opened".to_owned()), now),
            Step::Owed(with_pull) => FollowUp {
                pull: with_pull.then(pull),
                items: vec![item()],
                ..old
            }
            .owed(now),
            Step::Merged => old.merged("bb".repeat(20), now),
            Step::Converged => old.converged(now),
            Step::Rejected => old.rejected(),
            Step::OpenedAgain => old.opened_again(),
            Step::Reverted => old.reverted(now),
            Step::Reopened => old.reopened(now, "a late action arrived"),
            Step::Waive(who) => old.waive(people[who].clone(), "gone", now),
            Step::Review(who) => old.review(people[who].clone(), "fine", now),
            Step::Done(who) => old.item_done(id, people[who].clone(), "link", now),
            Step::Accept(who) => old.item_accepted(id, people[who].clone(), now),
        }
    }

    fn may_follow(old: FollowUpState, new: FollowUpState, closed: bool) -> bool {
        use FollowUpState::{Capturing, Converged, Merged, NoDrift, Owed, Rejected, Reverted, Waived};
        match (old, new) {
            (Waived, _) => false,
            (_, Waived) => !closed,
            (old, new) if old == new => !matches!(old, Capturing | Converged | Reverted),
            (Capturing, NoDrift | Owed)
            | (Owed, Merged | Converged | Rejected)
            | (Merged, Converged)
            | (Rejected, Owed | Merged | Reverted)
            | (_, Capturing) => true,
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_history_breaks_the_rules(steps in steps()) {
            let mut one = follow_up();
            let due: Vec<_> = one.deadlines.iter().map(|deadline| (deadline.goal, deadline.due)).collect();
            let mut now = at(0);
            for (seconds, step) in steps {
                now += TimeDelta::seconds(seconds);
                one = tick(one, now);
                let Ok(new) = take(one.clone(), step, now) else { continue };
                let worked_off = matches!(step, Step::Done(_) | Step::Accept(_) | Step::Review(_));
                prop_assert!(
                    may_follow(one.state, new.state, one.is_closed()) || (worked_off && one.state == new.state),
                    "{:?} -> {:?} by {:?}", one.state, new.state, step
                );
                match new.state {
                    FollowUpState::Converged | FollowUpState::Reverted | FollowUpState::Waived => {
                        prop_assert!(new.is_closed());
                    }
                    FollowUpState::NoDrift => {
                        prop_assert_eq!(new.is_closed(), new.review_owed.is_none() || new.reviewed.is_some());
                    }
                    _ => prop_assert!(!new.is_closed()),
                }
                if new.state == FollowUpState::Converged {
                    prop_assert!(new.all_items_accepted());
                }
                prop_assert!(!new.is_closed() || !new.is_breached());
                for (by, _, _) in new.waived.iter().chain(&new.reviewed) {
                    prop_assert!(new.is_independent(by));
                }
                for item in &new.items {
                    if let Some((by, _)) = &item.accepted {
                        prop_assert!(!by.same_person(&new.requester));
                        prop_assert!(item.done.as_ref().is_some_and(|(doer, _, _)| !doer.same_person(by)));
                    }
                }
                let kept: Vec<_> = new
                    .deadlines
                    .iter()
                    .filter(|deadline| deadline.goal != Goal::Reviewed)
                    .map(|deadline| (deadline.goal, deadline.due))
                    .collect();
                prop_assert_eq!(&kept, &due, "no deadline restarts");
                prop_assert!(new.deadlines.len() <= 4);
                one = new;
            }
        }
    }
}
