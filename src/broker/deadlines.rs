//! The deadlines of what is owed: each threshold is passed once, and told.

use super::request::skip_conflict;
use super::{Broker, Result};
use crate::clock::Time;
use crate::domain::deadline::{Deadline, DeadlineState};
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::FollowUp;
use crate::domain::transition::{About, Transition, Write, record};
use crate::store::FollowUpFilter;
use serde_json::json;
use std::sync::Arc;

impl Broker {
    /// Passes every threshold of every open deadline that its time has come for.
    ///
    /// # Errors
    /// The store's.
    pub async fn look_at_deadlines(&self) -> Result<()> {
        let filter = FollowUpFilter {
            open: true,
            limit: 10_000,
            ..FollowUpFilter::default()
        };
        for follow_up in self.store.follow_ups(filter).await? {
            let now = self.now();
            let passed: Vec<Deadline> = follow_up.deadlines.iter().filter_map(|d| d.tick(now)).collect();
            if !passed.is_empty() {
                skip_conflict(self.pass(Arc::unwrap_or_clone(follow_up), passed, now).await)?;
            }
        }
        Ok(())
    }

    async fn pass(&self, follow_up: FollowUp, passed: Vec<Deadline>, now: Time) -> Result<()> {
        let about = About::follow_up(&follow_up);
        let (id, expected) = (follow_up.id, follow_up.state);
        let mut people = super::notices::mail_of([&follow_up.requester]);
        let leads = self.lead_mail(&follow_up);
        let mut new = follow_up;
        let mut records = vec![];
        let mut notices = vec![];
        for deadline in passed {
            let goal = deadline.goal.name();
            let due = deadline.due.format("%Y-%m-%d %H:%M UTC");
            let (kind, title, sentence) = if deadline.state == DeadlineState::Breached {
                people.extend(leads.iter().cloned());
                (
                    EntryKind::DeadlineBreached,
                    "A deadline was missed",
                    format!(
                        "Team {} missed a deadline: {goal} was due {due}. Until it is closed, each new \
                         request of the team needs one more approval, from outside the team",
                        new.team
                    ),
                )
            } else {
                (
                    EntryKind::DeadlineDueSoon,
                    "A deadline is near",
                    format!("Due soon: {goal} by {due}"),
                )
            };
            let path = format!("/follow-ups/{id}");
            notices.push(self.notice_people(kind.name(), title, &sentence, &path, &about, &people));
            records.push(record(
                kind,
                now,
                about.clone(),
                sentence,
                json!({"deadline": deadline}),
            ));
            if let Some(own) = new.deadlines.iter_mut().find(|own| own.goal == deadline.goal) {
                *own = deadline;
            }
        }
        let Some(mut transition) = Transition::batch(records) else {
            return Ok(());
        };
        transition.notices = notices;
        self.commit(transition.write(Write::FollowUp { expected, new }))
            .await?;
        Ok(())
    }
}
