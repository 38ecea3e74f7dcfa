//! Stage 7: the way back to git is followed until cluster and git agree.
//!
//! A job an open follow-up, run on every webhook and every half minute: it asks the forge and the
//! cluster, and moves the follow-up where they say it is. Hints are never believed, only looked at.

use super::request::skip_conflict;
use super::{Broker, BrokerError, Outcome, Result};
use crate::clock::Time;
use crate::config::Repository;
use crate::domain::deadline::{Deadline, DeadlineState};
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::{FollowUp, FollowUpState};
use crate::domain::object::ObjectKey;
use crate::domain::review::{Conclusion, PullPhase, PullState, ReviewState, Verdict, independent_approval};
use crate::domain::transition::{About, Transition, Write, record};
use crate::drift::locate::{Location, document};
use crate::drift::{self, ObjectRef, Path};
use crate::forge::{Check, Repo};
use crate::ids::FollowUpId;
use crate::store::FollowUpFilter;
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// How often an open follow-up is looked at when nothing pokes it.
const LOOK_EVERY: TimeDelta = TimeDelta::seconds(30);
/// How often the cluster is compared while it converges.
const COMPARE_EVERY: TimeDelta = TimeDelta::seconds(5);

/// One object that must be equal in cluster and git.
#[derive(Deserialize)]
struct TouchedObject {
    object: ObjectRef,
    paths: Vec<Path>,
}

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
        let sentence = "The pull request was opened again".to_owned();
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

    /// Compares every touched object with the merged commit.
    async fn compare(&self, mut follow_up: FollowUp) -> Result<Outcome> {
        let sha = follow_up.pull.as_ref().and_then(|pull| pull.merge_sha.clone());
        let mismatches = self.mismatches(&follow_up, sha.as_deref()).await?;
        if mismatches.is_empty() && follow_up.all_items_accepted() {
            return self.converge(follow_up).await;
        }
        let now = self.now();
        let text = if mismatches.is_empty() {
            "The cluster equals the merged commit; manual items are still open".to_owned()
        } else {
            format!("Not yet as merged: {}", mismatches.join("; "))
        };
        let before = follow_up.clone();
        follow_up.remark(now, text.clone());
        if follow_up != before {
            self.move_on(
                before,
                follow_up,
                EntryKind::FollowUpMerged,
                text,
                json!({}),
                None,
            )
            .await?;
        }
        Ok(Outcome::Again(now + COMPARE_EVERY))
    }

    async fn converge(&self, follow_up: FollowUp) -> Result<Outcome> {
        let new = follow_up.clone().converged(self.now())?;
        let lasted = self.now() - follow_up.from;
        let sentence = format!(
            "Closed: cluster and git agree, {} after the access ended",
            super::request::minutes(u32::try_from(lasted.num_seconds()).unwrap_or(0))
        );
        let facts = json!({"deadlines": new.deadlines});
        let title = Some("Closed: cluster and git agree");
        self.move_on(
            follow_up,
            new,
            EntryKind::FollowUpConverged,
            sentence,
            facts,
            title,
        )
        .await?;
        Ok(Outcome::Done)
    }

    async fn compare_reverted(&self, follow_up: FollowUp) -> Result<Outcome> {
        let again = Outcome::Again(self.now() + LOOK_EVERY);
        if !self.mismatches(&follow_up, None).await?.is_empty() || !follow_up.all_items_accepted() {
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

    /// Where the cluster differs from git at `commit` (the base branch's head without one), in words.
    async fn mismatches(&self, follow_up: &FollowUp, commit: Option<&str>) -> Result<Vec<String>> {
        let Some(pull) = &follow_up.pull else {
            return Ok(vec![]);
        };
        let (_, repository) = self.repository(&pull.repository)?;
        let files = self.git_files(&repository, commit).await?;
        let rules = super::capture::rules_of(&repository, &follow_up.cluster);
        let cluster = self.cluster(&follow_up.cluster)?;
        let touched: Vec<TouchedObject> = serde_json::from_value(follow_up.touched.clone())
            .map_err(|error| BrokerError::Refused(format!("the touched objects cannot be read: {error}")))?;
        let manual: BTreeSet<_> = follow_up.items.iter().map(|item| item.object.clone()).collect();
        let mut words = vec![];
        for TouchedObject { object, paths } in touched {
            if manual.contains(&object.to_string()) {
                continue;
            }
            let in_git = match document(&object, &files, &rules) {
                Location::Found(found) => Some(found.value),
                _ => None,
            };
            let resource = self.resource_of(follow_up, &object).await?;
            let live = cluster.get(&resource).await?;
            if let Err(found) = drift::converged(live.as_ref(), in_git.as_ref(), &paths) {
                words.extend(
                    found
                        .iter()
                        .map(|m| format!("{object} {}: live {}, git {}", m.path, m.live, m.git)),
                );
            }
        }
        Ok(words)
    }

    /// The resource behind an object of the record: the one its own events named.
    async fn resource_of(&self, follow_up: &FollowUp, object: &ObjectRef) -> Result<ObjectKey> {
        let namespace = object.namespace.clone().unwrap_or_default();
        for (_, action) in self.store.actions(follow_up.grant).await? {
            let Some(mut key) = super::capture::object_key(&action) else {
                continue;
            };
            if key.namespace == namespace && key.group == object.gvk.group && key.name == object.name {
                key.version.clone_from(&object.gvk.version);
                let cluster = self.cluster(&follow_up.cluster)?;
                if cluster.kind(&key).await? == object.gvk.kind {
                    return Ok(key);
                }
            }
        }
        Err(BrokerError::Refused(format!(
            "no event of the grant names {object}"
        )))
    }

    async fn move_on(
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

    /// The repository of that name.
    pub(super) fn repository(&self, name: &str) -> Result<(Repo, Repository)> {
        let repository = self.config.forge.repositories.get(name).ok_or_else(|| {
            BrokerError::Refused(format!("repository {name} is not in the configuration any more"))
        })?;
        Ok((repo_of(repository), repository.clone()))
    }

    /// Publishes a neutral check on everybody else's pull requests: ours must never hold up a shop's
    /// normal work.
    ///
    /// # Errors
    /// The forge's.
    pub async fn let_others_pass(&self) -> Result<()> {
        for repository in self.config.forge.repositories.values() {
            let repo = repo_of(repository);
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
                skip_conflict(self.pass(follow_up, passed, now).await)?;
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

/// The forge's name for a configured repository.
pub(super) fn repo_of(repository: &Repository) -> Repo {
    // The configuration was refused at start if this is not `owner/name`.
    let (owner, name) = repository.owner_and_name().unwrap_or_default();
    Repo {
        owner: owner.to_owned(),
        name: name.to_owned(),
        id: None,
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
