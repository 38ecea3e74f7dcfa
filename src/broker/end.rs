//! Stage 5: the end. Decide, take away, prove the death. Never given up.

use super::request::{done_unless_conflict, skip_conflict};
use super::unwritten::UnwrittenEnd;
use super::{Broker, BrokerError, Outcome, Result};
use crate::causes::chain;
use crate::clock::Time;
use crate::cluster::Probe;
use crate::domain::deadline::{Deadline, Goal};
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::{EndCause, Grant, GrantRefusal, GrantState};
use crate::domain::job::JobKind;
use crate::domain::notice::Notice;
use crate::domain::person::Person;
use crate::domain::transition::{About, Record, Transition, Write, record};
use crate::ids::{GrantId, RevealId};
use crate::store::StoreError;
use chrono::TimeDelta;
use serde_json::json;

/// Each API server answers from its token cache for that long (kube-apiserver, `cached_token_authenticator`).
pub(super) const TOKEN_CACHE: TimeDelta = TimeDelta::seconds(10);
/// What the entry says when the last binding is gone.
pub(super) const REFUSED: &str = "Every further request is refused";
/// What the entry says when nothing is left that a credential could live by.
pub(super) const REMOVED: &str = "The Secrets and the ServiceAccount are gone";
/// A removal that fails longer is an alarm.
const STUCK_AFTER: TimeDelta = TimeDelta::seconds(60);

impl Broker {
    /// The engineer is done, or somebody with the right takes the access away.
    ///
    /// # Errors
    /// Not allowed to this person, no reason, or ending already.
    pub async fn end_by(&self, id: GrantId, person: &Person, reason: &str) -> Result<()> {
        let grant = self.grant(id).await?;
        if !self.may_end(&grant, person) {
            return Err(BrokerError::NotFound("grant"));
        }
        let cause = if grant.requester.surely_same_person(person) {
            EndCause::Done { by: person.clone() }
        } else {
            EndCause::Revoked {
                by: person.clone(),
                reason: reason.trim().to_owned(),
            }
        };
        // A version that moved meanwhile (a reveal, a shortening) does not keep the access alive.
        loop {
            match self.end(id, cause.clone()).await {
                Err(BrokerError::Store(StoreError::Conflict(_))) => {}
                other => return other,
            }
        }
    }

    /// Begins to take a grant away.
    ///
    /// Taking access away never waits for the ledger: when the commit fails, everything of it is deleted
    /// first and the entries are filed when the store writes again.
    ///
    /// # Errors
    /// Ending already, or a conflict; where the store cannot be written, what the cluster says.
    pub async fn end(&self, id: GrantId, cause: EndCause) -> Result<()> {
        let grant = self.grant(id).await?;
        let (now, expected) = (self.now(), grant.state);
        let (entry, notice) = self.told_ending(&grant, &cause, now);
        let kept = cause.clone();
        let new = grant.end(cause, now)?;
        let transition = Transition::new(entry)
            .write(Write::Grant { expected, new })
            .notice(notice)
            .job(JobKind::End { grant: id }, now);
        match self.commit(transition).await {
            Err(BrokerError::Store(error @ StoreError::Database { .. })) => {
                tracing::error!(grant = %id, error = %chain(&error), "the end cannot be written; the access is taken away all the same");
                self.take_away_unwritten(id, UnwrittenEnd::new(kept, now)).await
            }
            other => other.map(|_| ()),
        }
    }

    /// The entry and the notice of an end that was decided at `since`.
    pub(super) fn told_ending(&self, grant: &Grant, cause: &EndCause, since: Time) -> (Record, Notice) {
        let about = About::grant(grant);
        let sentence = format!("The access is being taken away: {}", cause.words());
        let mail = super::notices::mail_of([&grant.requester]);
        let path = format!("/grants/{}", grant.id);
        let notice = self.notice_people("grant.ending", "An access ends", &sentence, &path, &about, &mail);
        let facts = json!({"cause": cause});
        (
            record(EntryKind::GrantEnding, since, about, sentence, facts),
            notice,
        )
    }

    /// Job: takes the access away and proves it dead. Each step is committed before the next, so that a
    /// crash repeats at most one idempotent step.
    ///
    /// # Errors
    /// What failed; the job is tried again for as long as it takes.
    pub async fn take_away(&self, id: GrantId) -> Result<Outcome> {
        let grant = self.grant(id).await?;
        if grant.state != GrantState::Ending {
            return Ok(Outcome::Done);
        }
        let result = self.take_away_step(&grant).await;
        if let Err(error) = &result {
            self.note_failure(id, error).await?;
        }
        result
    }

    async fn take_away_step(&self, grant: &Grant) -> Result<Outcome> {
        let cluster = self.cluster(&grant.cluster)?;
        let access = self.access(grant);
        let Some(ending) = &grant.ending else {
            return Err(GrantRefusal::WrongState("ending without a cause").into());
        };
        let Some(refused_after) = ending.refused_after else {
            cluster.remove_bindings(&access).await?;
            let now = self.now();
            let facts = json!({"refused_after": now});
            return self
                .progress(grant, EntryKind::AccessRefused, facts, now, now)
                .await;
        };
        let Some(removed_at) = ending.removed_at else {
            cluster.remove_account(&access).await?;
            self.removals.note(grant.id);
            let now = self.now();
            let shown = grant.reveals.iter().any(|reveal| reveal.probe_token.is_some());
            let again = if shown { now + TOKEN_CACHE } else { now };
            return self
                .progress(
                    grant,
                    EntryKind::CredentialRemoved,
                    json!({"removed_at": now}),
                    now,
                    again,
                )
                .await;
        };
        let mut words = vec![];
        for reveal in &grant.reveals {
            let Some(probe) = &reveal.probe_token else {
                continue;
            };
            match cluster.probe(probe).await? {
                Probe::Dead(why) => words.push(why),
                Probe::Alive => {
                    let why = format!("the probe of {} still answers", reveal.secret_name);
                    return Err(BrokerError::Refused(why));
                }
            }
        }
        let now = self.now();
        // By the clock alone a leap forward would be a proof before its time.
        let left = self.removals.left(grant.id).max(removed_at + TOKEN_CACHE - now);
        if !words.is_empty() && left > TimeDelta::zero() {
            return Ok(Outcome::Again(now + left));
        }
        let proof = if words.is_empty() {
            "no credential was ever issued, and nothing of it exists in the cluster".to_owned()
        } else {
            format!("the API server says of the probe token: {}", words.join("; "))
        };
        let outcome = self.ended(grant, refused_after, now, proof).await?;
        self.removals.forget(grant.id);
        Ok(outcome)
    }

    /// Commits one step; the job goes on at `again`.
    async fn progress(
        &self,
        grant: &Grant,
        kind: EntryKind,
        facts: serde_json::Value,
        now: Time,
        again: Time,
    ) -> Result<Outcome> {
        let mut new = grant.clone();
        let Some(ending) = &mut new.ending else {
            return Ok(Outcome::Done);
        };
        let sentence = if kind == EntryKind::AccessRefused {
            ending.refused_after = Some(now);
            REFUSED
        } else {
            ending.removed_at = Some(now);
            REMOVED
        };
        ending.failing_since = None;
        ending.error = None;
        let entry = record(kind, now, About::grant(grant), sentence, facts);
        let write = Write::Grant {
            expected: GrantState::Ending,
            new,
        };
        skip_conflict(self.commit(Transition::new(entry).write(write)).await)?;
        Ok(Outcome::Again(again))
    }

    async fn ended(&self, grant: &Grant, refused_after: Time, now: Time, proof: String) -> Result<Outcome> {
        let mut new = grant.clone();
        if let Some(ending) = &mut new.ending {
            ending.dead_after = Some(now);
            ending.proof = Some(proof.clone());
            ending.failing_since = None;
            ending.error = None;
        }
        let new = new.ended(now)?;
        let about = About::grant(grant);
        let since = grant.ending.as_ref().map_or(now, |ending| ending.since);
        let sentence = format!(
            "The access is dead: refused after {:.1} s, proved dead after {:.1} s",
            seconds(refused_after - since),
            seconds(now - since),
        );
        let notice = self.notice_people(
            "grant.ended",
            "An access is proved dead",
            &sentence,
            &format!("/grants/{}", grant.id),
            &about,
            &super::notices::mail_of([&grant.requester]),
        );
        let facts = json!({"refused_after": refused_after, "dead_after": now, "proof": proof});
        let mut transition = Transition::new(record(EntryKind::GrantEnded, now, about, sentence, facts))
            .write(Write::Grant {
                expected: GrantState::Ending,
                new,
            })
            .notice(notice);
        if grant.was_revealed() {
            let follow_up = self.follow_up_for(grant, now);
            let sentence = "What changed is being compared with git";
            let entry = record(
                EntryKind::FollowUpCapturing,
                now,
                About::follow_up(&follow_up),
                sentence,
                json!({"deadlines": follow_up.deadlines}),
            );
            transition = transition
                .record(entry)
                .job(
                    JobKind::Capture {
                        follow_up: follow_up.id,
                    },
                    now,
                )
                .write(Write::NewFollowUp(follow_up));
        }
        done_unless_conflict(self.commit(transition).await, now)
    }

    fn follow_up_for(&self, grant: &Grant, now: Time) -> FollowUp {
        let deadlines = match self.config.profiles.get(&grant.profile) {
            Some(profile) => self.config.deadlines(profile),
            None => self.config.sla.deadlines,
        };
        let soon = self.config.sla.due_soon_percent;
        let deadlines = vec![
            Deadline::new(Goal::Opened, now, deadlines.opened.delta(), soon),
            Deadline::new(Goal::Merged, now, deadlines.merged.delta(), soon),
            Deadline::new(Goal::Converged, now, deadlines.converged.delta(), soon),
        ];
        FollowUp::after(grant, now, deadlines)
    }

    /// Keeps since when a removal fails; past a minute it is an alarm until it is over.
    async fn note_failure(&self, id: GrantId, error: &BrokerError) -> Result<()> {
        let grant = self.grant(id).await?;
        let now = self.now();
        let mut new = grant.clone();
        let Some(ending) = &mut new.ending else {
            return Ok(());
        };
        // The wait for the token caches is part of the way, not a failure of it.
        if grant.state != GrantState::Ending || ending.removed_at.is_some_and(|at| now < at + TOKEN_CACHE * 2)
        {
            return Ok(());
        }
        let since = *ending.failing_since.get_or_insert(now);
        let turned_stuck = !ending.stuck && now - since >= STUCK_AFTER;
        let first = grant
            .ending
            .as_ref()
            .is_some_and(|before| before.failing_since.is_none());
        if !first && !turned_stuck {
            return Ok(());
        }
        ending.error = Some(error.to_string());
        ending.stuck |= turned_stuck;
        let about = About::grant(&grant);
        let (kind, sentence) = if turned_stuck {
            (
                EntryKind::EndingStuck,
                format!("ALARM: the access cannot be taken away: {error}"),
            )
        } else {
            (
                EntryKind::GrantEnding,
                format!("Taking the access away failed and is tried again: {error}"),
            )
        };
        let mut transition = Transition::new(record(
            kind,
            now,
            about.clone(),
            sentence.clone(),
            json!({"since": since}),
        ))
        .write(Write::Grant {
            expected: GrantState::Ending,
            new,
        });
        if turned_stuck {
            let title = "ALARM: an access cannot be taken away";
            let path = format!("/grants/{id}");
            transition =
                transition.notice(self.notice_compliance("grant.stuck", title, &sentence, &path, &about));
        }
        skip_conflict(self.commit(transition).await)?;
        Ok(())
    }

    /// Job: deletes a reveal's Secret unless the reveal was shown meanwhile.
    ///
    /// # Errors
    /// What failed; tried again until done.
    pub async fn abandon_reveal(&self, id: GrantId, reveal: RevealId) -> Result<Outcome> {
        let grant = self.grant(id).await?;
        if grant.is_revealing(reveal) {
            self.reveal_failed(&grant, reveal, "it took too long, or the connection was lost")
                .await?;
        }
        Ok(Outcome::Done)
    }

    /// Job: deletes a Secret that another reveal replaced, or a failed reveal's.
    ///
    /// # Errors
    /// What failed; tried again until done.
    pub async fn remove_secret(&self, id: GrantId, secret: &str) -> Result<Outcome> {
        let grant = self.grant(id).await?;
        self.cluster(&grant.cluster)?.remove_secret(secret).await?;
        Ok(Outcome::Done)
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds(delta: TimeDelta) -> f64 {
    delta.num_milliseconds() as f64 / 1000.0
}
