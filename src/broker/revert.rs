//! After a rejection: somebody chooses that the cluster goes back to git, people or the shop's own
//! controller bring it back, and the broker looks until both agree.
//!
//! The broker changes no workload: it has no right to, and a thief of its token must have none. What it does
//! is to say exactly which commands lead back, and to see that they did.

use super::follow_up::LOOK_EVERY;
use super::{Broker, BrokerError, Outcome, Result};
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::{FollowUp, Inverse};
use crate::domain::job::JobKind;
use crate::domain::person::Person;
use crate::domain::transition::{About, Transition, Write, record};
use crate::drift;
use crate::ids::FollowUpId;
use crate::store::StoreError;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Longer commands are not kept.
const LONGEST_COMMAND: usize = 16_000;

impl Broker {
    /// Whoever had or approved the access chooses that the cluster goes back to git. Choosing it again says
    /// nothing new and is no error.
    ///
    /// # Errors
    /// Not rejected, neither of them, or the store failed.
    pub async fn choose_revert(&self, id: FollowUpId, by: &Person) -> Result<()> {
        for _ in 0..3 {
            let follow_up = self.follow_up_of(id).await?;
            if follow_up.revert.is_some() && follow_up.is_party(by) {
                return Ok(());
            }
            match self.commit_choice(follow_up, by).await {
                // Somebody moved it meanwhile: perhaps by the same choice.
                Err(BrokerError::Store(StoreError::Conflict(_))) => {}
                done => return done,
            }
        }
        Err(BrokerError::Refused(
            "it changes too fast just now; look at it again".into(),
        ))
    }

    async fn commit_choice(&self, follow_up: FollowUp, by: &Person) -> Result<()> {
        let (now, expected, id) = (self.now(), follow_up.state, follow_up.id);
        let about = About::follow_up(&follow_up).by(by);
        let new = follow_up.revert_chosen(by.clone(), now)?;
        let sentence = format!(
            "{} chose to revert: the cluster is to become what git says again",
            by.name
        );
        let mut people = super::notices::mail_of([&new.requester]);
        people.extend(super::notices::mail_of(&new.approvers));
        let path = format!("/follow-ups/{id}");
        let title = "To be reverted";
        let notice = self.notice_people(
            "follow-up.revert-chosen",
            title,
            &sentence,
            &path,
            &about,
            &people,
        );
        let facts = json!({"inverse": new.inverse});
        let transition = Transition::new(record(EntryKind::RevertChosen, now, about, sentence, facts))
            .write(Write::FollowUp { expected, new })
            .notice(notice)
            .job(JobKind::Follow { follow_up: id }, now);
        self.commit(transition).await?;
        Ok(())
    }

    /// Does the cluster equal git again? Once a revert was chosen, each object is told by itself.
    pub(super) async fn compare_reverted(&self, mut follow_up: FollowUp) -> Result<Outcome> {
        let again = Outcome::Again(self.now() + LOOK_EVERY);
        let mismatches = self.mismatches(&follow_up, None).await?;
        if follow_up.revert.is_some() {
            let mut differ: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for (object, words) in &mismatches {
                differ.entry(object.to_string()).or_default().push(words);
            }
            follow_up = self.note_equal(follow_up, &differ).await?;
        }
        if !mismatches.is_empty() || !follow_up.all_items_accepted() {
            return Ok(again);
        }
        let new = follow_up.clone().reverted(self.now())?;
        let sentence = "Closed: the cluster equals git again".to_owned();
        let title = Some("Closed: reverted");
        self.move_on(
            follow_up,
            new,
            EntryKind::FollowUpReverted,
            sentence,
            json!({}),
            title,
        )
        .await?;
        Ok(Outcome::Done)
    }

    /// Keeps which objects equal git, where that changed. An object with open manual items is not compared
    /// as a whole, so it is people who say that it is done.
    async fn note_equal(
        &self,
        follow_up: FollowUp,
        differ: &BTreeMap<String, Vec<&str>>,
    ) -> Result<FollowUp> {
        let mut new = follow_up.clone();
        let open: BTreeSet<String> = follow_up
            .items
            .iter()
            .filter(|item| item.accepted.is_none())
            .map(|item| item.object.clone())
            .collect();
        let mut words = vec![];
        for own in &mut new.inverse {
            let equal = !differ.contains_key(&own.object) && !open.contains(&own.object);
            let differs = differ
                .get(&own.object)
                .map_or_else(String::new, |all| all.join("; "));
            if own.equal != equal {
                let how = if equal {
                    "equals git again"
                } else {
                    "differs from git again"
                };
                words.push(format!("{} {how}", own.object));
            } else if own.differs != differs && !differs.is_empty() {
                words.push(format!("Not yet as in git: {differs}"));
            }
            (own.equal, own.differs) = (equal, differs);
        }
        if words.is_empty() {
            return Ok(follow_up);
        }
        let facts = json!({"inverse": new.inverse});
        self.move_on(
            follow_up,
            new,
            EntryKind::FollowUpRejected,
            words.join("; "),
            facts,
            None,
        )
        .await
    }
}

/// The way back as it is kept.
pub(super) fn kept(inverse: Vec<drift::Inverse>) -> Vec<Inverse> {
    let one = |one: drift::Inverse| {
        let mut by_hand = one.by_hand.unwrap_or_default();
        let mut command = one.command.unwrap_or_default();
        // A page shows no more than it can show whole, and half a command is a wrong one.
        if command.len() > LONGEST_COMMAND {
            command.clear();
            by_hand = format!("The command is too long to be shown: bring it back from git. {by_hand}");
        }
        Inverse {
            object: one.object.to_string(),
            command,
            by_hand: by_hand.trim_end().to_owned(),
            equal: false,
            differs: String::new(),
        }
    };
    inverse.into_iter().map(one).collect()
}
