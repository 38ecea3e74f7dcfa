//! Stage 7: the way back to git is followed until cluster and git agree.
//!
//! A job an open follow-up, run on every webhook and every half minute: it asks the forge and the
//! cluster, and moves the follow-up where they say it is. Hints are never believed, only looked at.

use super::{Broker, Outcome, Result};
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::{FollowUp, FollowUpState};
use crate::domain::review::{Conclusion, PullPhase, PullState, ReviewState, Verdict, independent_approval};
use crate::domain::transition::{About, Transition, Write, record};
use crate::forge::Check;
use crate::ids::FollowUpId;
use chrono::TimeDelta;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// How often an open follow-up is looked at when nothing pokes it.
pub(super) const LOOK_EVERY: TimeDelta = TimeDelta::seconds(30);

impl Broker {
    /// Job: looks at one follow-up and moves it as far as the world has moved.
    ///
    /// # Errors
    /// What failed; looked at again later.
    pub async fn follow(&self, id: FollowUpId) -> Result<Outcome> {
        let Some(mut follow_up) = self.store.follow_up(id).await? else {
            return Ok(Outcome::Done);
        };
        if follow_up.is_closed() || follow_up.state == FollowUpState::Capturing {
            return Ok(Outcome::Done);
        }
        if follow_up.pull.is_some() && follow_up.state != FollowUpState::Merged {
            follow_up = self.look_at_pull(follow_up).await?;
        }
        match follow_up.state {
            FollowUpState::Merged => self.compare(follow_up).await,
            FollowUpState::Owed if follow_up.pull.is_none() && follow_up.all_items_accepted() => {
                self.converge(follow_up).await
            }
            FollowUpState::Rejected => self.compare_reverted(follow_up).await,
            FollowUpState::Owed => Ok(Outcome::Again(self.now() + LOOK_EVERY)),
            _ => Ok(Outcome::Done),
        }
    }

    async fn look_at_pull(&self, follow_up: FollowUp) -> Result<FollowUp> {
        let Some(pull) = follow_up.pull.clone() else {
            return Ok(follow_up);
        };
        let (repo, _) = self.repository(&pull.repository)?;
        let state = self.forge.pull(&repo, pull.number).await?;
        let verdict = self.verdict(&follow_up, &state).await?;
        if state.phase == PullPhase::Open {
            self.forge
                .set_check(&repo, &state.head_sha, &self.check(&follow_up, &verdict))
                .await?;
        }
        let follow_up = self.note_pull(follow_up, &state, &verdict).await?;
        match (state.phase, follow_up.state) {
            (PullPhase::Open, FollowUpState::Rejected) => self.opened_again(follow_up).await,
            (PullPhase::Closed, FollowUpState::Owed) => self.rejected(follow_up).await,
            (PullPhase::Merged, FollowUpState::Owed | FollowUpState::Rejected) => {
                self.merged(follow_up, &state, &verdict).await
            }
            _ => Ok(follow_up),
        }
    }

    /// Somebody independent approved the head, by a login that is known to be theirs.
    async fn verdict(&self, follow_up: &FollowUp, pull: &PullState) -> Result<Verdict> {
        let mut logins: BTreeMap<String, String> = BTreeMap::new();
        for person in self.store.people().await? {
            if let Some(login) = &person.forge_login {
                logins.insert(login.to_lowercase(), person.person_claim.clone());
            }
        }
        for (person, login) in &self.config.forge.logins {
            logins.insert(login.to_lowercase(), person.clone());
        }
        let excluded = BTreeSet::from([follow_up.requester.person_claim.clone()]);
        Ok(independent_approval(pull, &excluded, &logins))
    }

    fn check(&self, follow_up: &FollowUp, verdict: &Verdict) -> Check {
        let (conclusion, title) = if verdict.is_independent() {
            (
                Conclusion::Success,
                "Approved by somebody who did not have the access".to_owned(),
            )
        } else {
            (
                Conclusion::Pending,
                "Waits for an approval by somebody who did not have the access".to_owned(),
            )
        };
        let page = format!(
            "{}/follow-ups/{}",
            self.config.server.public_url.base(),
            follow_up.id
        );
        Check {
            name: self.config.forge.check_name.clone(),
            conclusion,
            title,
            summary: format!("{}\n\n{page}", crate::forge::text::quiet(&verdict.words())),
        }
    }

    /// Keeps what the forge shows when it changed.
    async fn note_pull(&self, follow_up: FollowUp, state: &PullState, verdict: &Verdict) -> Result<FollowUp> {
        let Some(mut pull) = follow_up.pull.clone() else {
            return Ok(follow_up);
        };
        pull.head_sha.clone_from(&state.head_sha);
        pull.check = verdict.words();
        pull.reviews = state
            .reviews
            .iter()
            .map(|review| format!("{} {}", review.login, words(review.state)))
            .collect();
        if follow_up.pull.as_ref() == Some(&pull) {
            return Ok(follow_up);
        }
        let sentence = format!("Pull request #{}: {}", pull.number, pull.check);
        let facts = json!({"pull_request": pull});
        let new = FollowUp {
            pull: Some(pull),
            ..follow_up.clone()
        };
        self.move_on(follow_up, new, EntryKind::FollowUpOwed, sentence, facts, None)
            .await
    }

    async fn opened_again(&self, follow_up: FollowUp) -> Result<FollowUp> {
        let new = follow_up.clone().opened_again()?;
        let void = match &follow_up.revert {
            Some((by, _)) => format!("; that {} chose to revert is void", by.name),
            None => String::new(),
        };
        let sentence = format!("The pull request was opened again{void}");
        self.move_on(
            follow_up,
            new,
            EntryKind::FollowUpOwed,
            sentence,
            json!({}),
            Some("Opened again"),
        )
        .await
    }

    async fn rejected(&self, follow_up: FollowUp) -> Result<FollowUp> {
        let new = follow_up.clone().rejected()?;
        let sentence = "The pull request was closed without a merge: revert the change in the cluster, or \
                        explain it and open the pull request again"
            .to_owned();
        let title = Some("Closed without a merge: revert or explain");
        self.move_on(
            follow_up,
            new,
            EntryKind::FollowUpRejected,
            sentence,
            json!({}),
            title,
        )
        .await
    }

    async fn merged(&self, follow_up: FollowUp, state: &PullState, verdict: &Verdict) -> Result<FollowUp> {
        let sha = state.merge_commit_sha.clone().unwrap_or_default();
        let reviewed = follow_up.reviewed.is_some();
        if !verdict.is_independent() && !reviewed {
            let text = format!(
                "Pull request #{} was merged without an independent approval; somebody else must still \
                 review it: {}",
                state.number,
                verdict.words()
            );
            let key = format!("merged-unreviewed {}", follow_up.id);
            self.find(&key, About::follow_up(&follow_up), &text, Some(follow_up.grant))
                .await?;
            return Ok(follow_up);
        }
        let new = follow_up.clone().merged(sha.clone(), self.now())?;
        let sentence = format!("Merged as {}; {}", sha.get(..12).unwrap_or(&sha), verdict.words());
        let facts = json!({"merge_commit": sha, "verdict": verdict.words()});
        self.move_on(
            follow_up,
            new,
            EntryKind::FollowUpMerged,
            sentence,
            facts,
            Some("Merged"),
        )
        .await
    }

    pub(super) async fn move_on(
        &self,
        before: FollowUp,
        new: FollowUp,
        kind: EntryKind,
        sentence: String,
        facts: serde_json::Value,
        title: Option<&str>,
    ) -> Result<FollowUp> {
        let about = About::follow_up(&before);
        let id = before.id;
        let mut transition =
            Transition::new(record(kind, self.now(), about.clone(), sentence.clone(), facts)).write(
                Write::FollowUp {
                    expected: before.state,
                    new,
                },
            );
        if let Some(title) = title {
            let mail = super::notices::mail_of([&before.requester]);
            let path = format!("/follow-ups/{id}");
            let event = format!("follow-up.{}", kind.name().trim_start_matches("follow-up-"));
            transition =
                transition.notice(self.notice_people(&event, title, &sentence, &path, &about, &mail));
        }
        self.commit(transition).await?;
        self.follow_up_of(id).await
    }

    /// Publishes a neutral check on everybody else's pull requests: ours must never hold up a shop's
    /// normal work.
    ///
    /// # Errors
    /// The forge's.
    pub async fn let_others_pass(&self) -> Result<()> {
        for repository in self.config.forge.repositories.values() {
            let repo = super::repository::repo_of(repository);
            for pull in self.forge.open_pulls(&repo, &repository.base_branch).await? {
                if pull.branch.starts_with("breakglass/") && !pull.from_fork {
                    continue;
                }
                let check = Check {
                    name: self.config.forge.check_name.clone(),
                    conclusion: Conclusion::Neutral,
                    title: "Not an emergency's pull request".to_owned(),
                    summary: "This check is about emergencies only and has nothing to say here.".to_owned(),
                };
                self.forge.set_check(&repo, &pull.head_sha, &check).await?;
            }
        }
        Ok(())
    }
}

fn words(state: ReviewState) -> &'static str {
    match state {
        ReviewState::Approved => "approved",
        ReviewState::ChangesRequested => "asked for changes",
        ReviewState::Commented => "commented",
        ReviewState::Dismissed => "was dismissed",
    }
}
