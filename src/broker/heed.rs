//! What a grant's record asks for: its first change is told at once, and a late action opens again what was
//! taken down. A job of the very transaction that entered the actions, so that no crash lets it be forgotten.

use super::request::skip_conflict;
use super::{Broker, Outcome, Result};
use crate::audit::Intake;
use crate::clock::Time;
use crate::domain::action::requests;
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::FollowUpState;
use crate::domain::grant::Grant;
use crate::domain::job::JobKind;
use crate::domain::transition::{About, ActionRow, Transition, Write, record};
use crate::ids::GrantId;
use chrono::TimeDelta;
use serde_json::json;
use std::collections::BTreeSet;

/// How long the end of a request may come after its beginning before it counts as a change by itself.
const END_ARRIVES_WITHIN: TimeDelta = TimeDelta::seconds(5);

impl Broker {
    /// Looks at what was recorded of a grant.
    ///
    /// # Errors
    /// The store's; tried again.
    pub async fn heed(&self, id: GrantId) -> Result<Outcome> {
        let grant = self.grant(id).await?;
        if grant.first_change_at.is_none()
            && let Some(again) = self.tell_first_change(grant).await?
        {
            return Ok(Outcome::Again(again));
        }
        let Some(follow_up) = self.store.follow_up_of(id).await? else {
            return Ok(Outcome::Done);
        };
        let since = follow_up.captured_through;
        let late = self.store.actions_after(id, since).await?;
        let late = requests(&late);
        if !late.iter().any(|(_, action)| matters(action)) {
            return Ok(Outcome::Done);
        }
        match follow_up.state {
            // What is being taken down just now may have read the record before this action came.
            FollowUpState::Capturing => return Ok(Outcome::Again(self.now() + TimeDelta::seconds(2))),
            FollowUpState::Waived => return Ok(Outcome::Done),
            _ => {}
        }
        let (now, expected, about) = (self.now(), follow_up.state, About::follow_up(&follow_up));
        let sentence = "The record grew: a late action arrived, the drift is taken down again";
        let job = JobKind::Capture {
            follow_up: follow_up.id,
        };
        let new = follow_up.reopened(now, sentence)?;
        let entry = record(EntryKind::FollowUpCapturing, now, about, sentence, json!({}));
        let transition = Transition::new(entry)
            .write(Write::FollowUp { expected, new })
            .job(job, now);
        let committed = skip_conflict(self.commit(transition).await)?;
        Ok(committed.map_or(Outcome::Again(now), |_| Outcome::Done))
    }

    /// When to look again: where it is not known yet how a request ended, or somebody else changed the
    /// grant meanwhile.
    async fn tell_first_change(&self, grant: Grant) -> Result<Option<Time>> {
        let actions = self.store.actions(grant.id).await?;
        let actions = requests(&actions);
        let Some((_, first)) = actions.iter().find(|(_, action)| action.mutation) else {
            return Ok(None);
        };
        let known = first.arrived_at + END_ARRIVES_WITHIN;
        if first.has_no_end() && self.now() < known {
            return Ok(Some(known));
        }
        let (id, now, expected) = (grant.id, self.now(), grant.state);
        let about = About::grant(&grant).by(&grant.requester);
        let sentence = format!("The first change: {}", in_words(first));
        let notice = self.notice_compliance(
            "grant.first-change",
            "First change under an emergency access",
            &sentence,
            &format!("/grants/{id}"),
            &about,
        );
        let mut new = grant;
        new.first_change_at = Some(now);
        let entry = record(EntryKind::FirstChange, now, about, sentence, json!({}));
        let transition = Transition::new(entry)
            .write(Write::Grant { expected, new })
            .notice(notice);
        let committed = skip_conflict(self.commit(transition).await)?;
        Ok(committed.is_none().then_some(now))
    }
}

/// The grants of a batch whose record must be looked at.
pub(super) fn to_heed(intake: &Intake) -> BTreeSet<GrantId> {
    intake
        .kept
        .iter()
        .filter(|action| action.mutates || asks_for_review(action.class.name()))
        .map(|action| action.grant)
        .collect()
}

/// Classes after which somebody else must look at an emergency even if nothing drifted.
fn asks_for_review(class: &str) -> bool {
    super::capture::RUNS_INSIDE.contains(&class) || class == super::capture::SECRET_READ
}

/// Whether an action changes what is owed.
fn matters(action: &ActionRow) -> bool {
    let without_effect = |flag: &String| flag == "denied" || flag == "dry-run";
    !action.is_own_check()
        && (action.mutation || asks_for_review(&action.class) && !action.flags.iter().any(without_effect))
}

fn in_words(action: &ActionRow) -> String {
    let mut words = format!("{} {}", action.words, action.object);
    if !action.detail.is_empty() {
        words = format!("{words}: {}", action.detail);
    }
    words
}
