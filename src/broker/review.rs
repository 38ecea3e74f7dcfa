//! What people do about a follow-up: review it, waive it, explain a rejection, work off manual items.

use super::{Broker, BrokerError, Result};
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::FollowUp;
use crate::domain::job::JobKind;
use crate::domain::person::Person;
use crate::domain::policy::{Role, has_role, is_approver, teams_of};
use crate::domain::transition::{About, Transition, Write, record};
use crate::ids::{FindingId, FollowUpId, ItemId, NoticeId};
use serde_json::json;

impl Broker {
    /// A follow-up that exists.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub async fn follow_up_of(&self, id: FollowUpId) -> Result<FollowUp> {
        self.store
            .follow_up(id)
            .await?
            .ok_or(BrokerError::NotFound("follow-up"))
    }

    /// Compliance lets a debt go, with a reason.
    ///
    /// # Errors
    /// Not compliance, not independent, no reason, or closed.
    pub async fn waive(&self, id: FollowUpId, by: &Person, reason: &str) -> Result<()> {
        self.must_be(by, Role::Compliance, "only compliance can waive a debt")?;
        let follow_up = self.follow_up_of(id).await?;
        let sentence = format!("{} waived the debt: {}", by.name, reason.trim());
        let facts = json!({"reason": reason.trim()});
        let now = self.now();
        self.step(follow_up, by, EntryKind::FollowUpWaived, sentence, facts, |f| {
            f.waive(by.clone(), reason, now)
        })
        .await
    }

    /// Somebody independent reviewed the emergency.
    ///
    /// # Errors
    /// Not independent, no note, or reviewed before.
    pub async fn review(&self, id: FollowUpId, by: &Person, note: &str) -> Result<()> {
        let follow_up = self.follow_up_of(id).await?;
        let lead = self
            .config
            .teams
            .get(&follow_up.team)
            .is_some_and(|team| team.lead_groups.iter().any(|group| by.is_in(group)));
        if !lead {
            self.must_be(
                by,
                Role::Compliance,
                "only compliance or a lead of the team can review it",
            )?;
        }
        let sentence = format!("{} reviewed the emergency: {}", by.name, note.trim());
        let facts = json!({"note": note.trim()});
        let now = self.now();
        self.step(follow_up, by, EntryKind::Reviewed, sentence, facts, |f| {
            f.review(by.clone(), note, now)
        })
        .await
    }

    /// After a rejection: why the change is right and the pull request is opened again.
    ///
    /// # Errors
    /// Not Rejected, no text, or not theirs.
    pub async fn explain(&self, id: FollowUpId, by: &Person, text: &str) -> Result<()> {
        let follow_up = self.follow_up_of(id).await?;
        let sentence = format!("{} explained: {}", by.name, text.trim());
        let facts = json!({"explanation": text.trim()});
        let (now, text) = (self.now(), text.trim().to_owned());
        self.step(follow_up, by, EntryKind::FollowUpRejected, sentence, facts, |f| {
            f.explained(by.clone(), &text, now)
        })
        .await
    }

    /// Somebody says that a manual item is done, and how.
    ///
    /// # Errors
    /// Not theirs to say, no such item, no evidence, or closed.
    pub async fn item_done(&self, id: FollowUpId, item: ItemId, by: &Person, how: &str) -> Result<()> {
        let follow_up = self.follow_up_of(id).await?;
        self.must_work_on(&follow_up, by)?;
        let sentence = format!("{} marked a manual item as done: {}", by.name, how.trim());
        let facts = json!({"item": item, "how": how.trim()});
        let now = self.now();
        self.step(follow_up, by, EntryKind::ManualItemDone, sentence, facts, |f| {
            f.item_done(item, by.clone(), how, now)
        })
        .await
    }

    /// Somebody else accepts it.
    ///
    /// # Errors
    /// Not theirs to say, no such item, not done, or the same person.
    pub async fn item_accepted(&self, id: FollowUpId, item: ItemId, by: &Person) -> Result<()> {
        let follow_up = self.follow_up_of(id).await?;
        self.must_work_on(&follow_up, by)?;
        let sentence = format!("{} accepted a manual item", by.name);
        let now = self.now();
        self.step(
            follow_up,
            by,
            EntryKind::ManualItemAccepted,
            sentence,
            json!({"item": item}),
            |f| f.item_accepted(item, by.clone(), now),
        )
        .await
    }

    /// Compliance has looked at a finding.
    ///
    /// # Errors
    /// Not compliance, no note, or settled before.
    pub async fn settle_finding(&self, id: FindingId, by: &Person, note: &str) -> Result<()> {
        self.must_be(by, Role::Compliance, "only compliance can settle a finding")?;
        if note.trim().is_empty() {
            return Err(BrokerError::Refused(
                "a note is needed; it is part of the record".into(),
            ));
        }
        let findings = self.store.open_findings().await?;
        let Some(mut finding) = findings.into_iter().find(|finding| finding.id == id) else {
            return Err(BrokerError::NotFound("open finding"));
        };
        if finding.bypass.is_some() {
            return Err(BrokerError::Refused(
                "say which request these changes belong to, or that they were expected".into(),
            ));
        }
        let now = self.now();
        finding.settled = Some((by.name.clone(), note.trim().to_owned(), now));
        let about = About {
            cluster: finding.cluster.clone(),
            grant: finding.grant,
            ..About::default()
        };
        let sentence = format!("{} settled a finding: {}", by.name, note.trim());
        let facts = json!({"finding": finding.id, "text": finding.text, "note": note.trim()});
        let entry = record(EntryKind::Reviewed, now, about.by(by), sentence, facts);
        self.commit(Transition::new(entry).write(Write::Finding(finding)))
            .await?;
        Ok(())
    }

    /// Somebody has looked at a notice that reached nobody by one channel. A retry still under way goes on:
    /// late is better than never.
    ///
    /// # Errors
    /// Neither compliance nor operator, no note, or it is settled or has arrived.
    pub async fn settle_delivery(&self, id: NoticeId, channel: &str, by: &Person, note: &str) -> Result<()> {
        if !has_role(&self.config, by, Role::Operator) {
            let why = "only compliance or an operator can settle a notice that was not delivered";
            self.must_be(by, Role::Compliance, why)?;
        }
        if note.trim().is_empty() {
            return Err(BrokerError::Refused(
                "a note is needed; it is part of the record".into(),
            ));
        }
        let failed = self.store.undeliverable().await?;
        let Some(mut delivery) = failed
            .into_iter()
            .find(|delivery| delivery.notice == id && delivery.channel == channel)
        else {
            return Err(BrokerError::NotFound("undelivered notice"));
        };
        let notice = self
            .store
            .notice(id)
            .await?
            .ok_or(BrokerError::NotFound("notice"))?;
        let now = self.now();
        delivery.undeliverable = false;
        delivery.settled = Some((by.name.clone(), note.trim().to_owned(), now));
        let about = About {
            request: notice.request,
            grant: notice.grant,
            ..About::default()
        };
        let sentence = format!(
            "{} settled a notice that {channel} was not told ({}): {}",
            by.name,
            notice.title,
            note.trim()
        );
        let facts = json!({"notice": id, "channel": channel, "event": notice.event, "note": note.trim(),
            "error": delivery.error, "attempts": delivery.attempts});
        let entry = record(EntryKind::Reviewed, now, about.by(by), sentence, facts);
        self.commit(Transition::new(entry).write(Write::SettledDelivery(delivery)))
            .await?;
        Ok(())
    }

    fn must_be(&self, person: &Person, role: Role, why: &str) -> Result<()> {
        if has_role(&self.config, person, role) {
            Ok(())
        } else {
            Err(BrokerError::Refused(why.to_owned()))
        }
    }

    /// Whether `person` may say that a manual item is done, and accept what somebody else said: the
    /// parties, the team, whoever approves its profile, compliance. Auditors, operators and revokers
    /// read it, and a debt must not be closed by its readers.
    #[must_use]
    pub fn may_work_on(&self, follow_up: &FollowUp, person: &Person) -> bool {
        follow_up.is_party(person)
            || teams_of(&self.config, person).contains(&follow_up.team)
            || has_role(&self.config, person, Role::Compliance)
            || self
                .config
                .profiles
                .get(&follow_up.profile)
                .is_some_and(|profile| is_approver(&self.config, profile, person))
    }

    fn must_work_on(&self, follow_up: &FollowUp, person: &Person) -> Result<()> {
        if self.may_work_on(follow_up, person) {
            Ok(())
        } else {
            Err(BrokerError::Refused(
                "only the team, its approvers and compliance work off manual items".into(),
            ))
        }
    }

    /// One step of a person on a follow-up, told to compliance, looked at again by the worker.
    async fn step(
        &self,
        follow_up: FollowUp,
        by: &Person,
        kind: EntryKind,
        sentence: String,
        facts: serde_json::Value,
        change: impl FnOnce(FollowUp) -> std::result::Result<FollowUp, crate::domain::follow_up::FollowUpRefusal>
        + Send,
    ) -> Result<()> {
        let (now, expected, id) = (self.now(), follow_up.state, follow_up.id);
        let about = About::follow_up(&follow_up).by(by);
        let new = change(follow_up)?;
        let notice = self.notice_compliance(
            &format!("follow-up.{}", kind.name()),
            "A follow-up moved",
            &sentence,
            &format!("/follow-ups/{id}"),
            &about,
        );
        let transition = Transition::new(record(kind, now, about, sentence, facts))
            .write(Write::FollowUp { expected, new })
            .notice(notice)
            .job(JobKind::Follow { follow_up: id }, now);
        self.commit(transition).await?;
        Ok(())
    }
}
