//! Stage 6: the drift is taken down and goes to git.
//!
//! Runs once the record has settled. Everything here is computed again from the ledger, the cluster and
//! git at each try, and the forge's own idempotency makes a second pull request impossible: a crash
//! anywhere costs a repetition, nothing else.

use super::request::done_unless_conflict;
use super::{Broker, Outcome, Result};
use crate::domain::action::requests;
use crate::domain::counted::count;
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::{DriftRow, FileChange, FollowUp, FollowUpState, Item};
use crate::domain::grant::Grant;
use crate::domain::job::JobKind;
use crate::domain::transition::{About, ActionRow, Transition, Write, record};
use crate::drift::{self, Drift, EditAction, ManualItem, Rules};
use crate::ids::{FollowUpId, ItemId};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A canary that did not come back by then is sent again.
const CANARY_PATIENCE: TimeDelta = TimeDelta::seconds(10);

impl Broker {
    /// Job: waits until the record is settled, takes the drift down, opens the pull request.
    ///
    /// # Errors
    /// What failed; tried again until done.
    pub async fn capture(&self, id: FollowUpId) -> Result<Outcome> {
        let Some(mut follow_up) = self.store.follow_up(id).await? else {
            return Ok(Outcome::Done);
        };
        if follow_up.state != FollowUpState::Capturing {
            return Ok(Outcome::Done);
        }
        if !self.settled(&follow_up).await? {
            return Ok(Outcome::Again(self.now() + TimeDelta::seconds(1)));
        }
        let grant = self.grant(follow_up.grant).await?;
        let mut actions = self.store.actions(grant.id).await?;
        self.find_holes(&grant, &actions).await?;
        // Read before the cluster is looked at: what is entered from here on opens this again.
        follow_up.captured_through = actions.iter().map(|(entry, _)| *entry).max();
        actions = requests(&actions).into_iter().cloned().collect();
        actions.retain(|(_, action)| !action.is_own_check());
        let observed = self.observe(&grant, &actions).await?;
        let drift = drift::drift(&observed);
        if drift.is_none() {
            return self.close_without_drift(follow_up, &actions, &drift.notes).await;
        }
        let inverse = super::revert::kept(drift::inverse(&observed, &drift));
        let follow_up = FollowUp { inverse, ..follow_up };
        self.owe(follow_up, &grant, &actions, &drift).await
    }

    /// A canary sent after the proof of death has come back, and the window in which the API server
    /// may still retry a batch has passed.
    async fn settled(&self, follow_up: &FollowUp) -> Result<bool> {
        let Some(cluster) = self.config.clusters.get(&follow_up.cluster) else {
            return Ok(true);
        };
        let now = self.now();
        let name = format!("settle {}", follow_up.id);
        let sent = self.store.setting(&name).await?.unwrap_or_default();
        let mut sent = sent.split(' ');
        let (nonce, at, back) = (sent.next(), sent.next(), sent.next());
        if let (Some(nonce), Some(at)) = (nonce, at.and_then(|at| at.parse::<i64>().ok())) {
            // That it came back is kept, since only the process that heard it would know.
            let heard = back.is_none() && self.canary_came_back(&follow_up.cluster, nonce);
            if heard {
                self.store
                    .set_setting(&name, &format!("{nonce} {at} back"))
                    .await?;
            }
            let ago = now.timestamp_millis() - at;
            // Sent at a time that is still to come: the clock was set back since. Another one is sent.
            if ago >= 0 && (heard || back.is_some()) {
                return Ok(now >= follow_up.from + cluster.settle_window.delta());
            }
            if (0..CANARY_PATIENCE.num_milliseconds()).contains(&ago) {
                return Ok(false);
            }
        }
        let nonce = super::canary::nonce();
        // Written down first: a canary that comes back unasked would prove nothing.
        self.store
            .set_setting(&name, &format!("{nonce} {}", now.timestamp_millis()))
            .await?;
        self.cluster(&follow_up.cluster)?.canary("", &nonce).await?;
        Ok(false)
    }

    async fn close_without_drift(
        &self,
        follow_up: FollowUp,
        actions: &[(u64, ActionRow)],
        notes: &[drift::Note],
    ) -> Result<Outcome> {
        let now = self.now();
        let owed = review_owed(actions);
        let about = About::follow_up(&follow_up);
        let id = follow_up.id;
        let mut new = follow_up.no_drift(owed.clone(), now)?;
        for note in notes {
            new.remark(now, format!("{}: {}", note.object, note.what));
        }
        let sentence = match &owed {
            Some(why) => {
                format!("No drift: cluster and git agree. Somebody else must still review it: {why}")
            }
            None => "No drift: cluster and git agree, and nothing was touched that needs a review".to_owned(),
        };
        let notice = self.notice_compliance(
            "follow-up.no-drift",
            "No drift",
            &sentence,
            &format!("/follow-ups/{id}"),
            &about,
        );
        let facts = json!({"review_owed": owed, "notes": new.remarks});
        let transition = Transition::new(record(EntryKind::FollowUpNoDrift, now, about, sentence, facts))
            .write(Write::FollowUp {
                expected: FollowUpState::Capturing,
                new,
            })
            .notice(notice);
        done_unless_conflict(self.commit(transition).await, now)
    }

    async fn owe(
        &self,
        mut follow_up: FollowUp,
        grant: &Grant,
        actions: &[(u64, ActionRow)],
        drift: &Drift,
    ) -> Result<Outcome> {
        let repository = self.repository_for(grant);
        let mut published = None;
        let mut base_commit = String::new();
        let plan = match &repository {
            Some((_, repository)) => {
                let repo = super::repository::repo_of(repository);
                base_commit = self.forge.head(&repo, &repository.base_branch).await?.sha;
                let files = self.git_files(repository, Some(&base_commit)).await?;
                drift::plan(
                    drift,
                    &files,
                    &super::repository::rules_of(repository, &grant.cluster),
                )
            }
            None => drift::plan(
                drift,
                &[],
                &Rules {
                    default_namespaces: vec![],
                    new_files_in: String::new(),
                },
            ),
        };
        // Git says already what the cluster says, as after a change that was reverted in an emergency of its
        // own: nothing is to be merged, and the emergency is reviewed as one without drift.
        if plan.file_edits.is_empty() && plan.manual.is_empty() && follow_up.pull.is_none() {
            follow_up.inverse.clear();
            return self.close_without_drift(follow_up, actions, &plan.notes).await;
        }
        follow_up.drift = plan.rows.iter().map(drift_row).collect();
        follow_up.files = plan.file_edits.iter().map(file_change).collect();
        follow_up.items = plan
            .manual
            .iter()
            .map(|item| manual_item(item, &follow_up.items))
            .collect();
        follow_up.touched = touched(drift, &plan);
        let now = self.now();
        for note in &plan.notes {
            follow_up.remark(now, format!("{}: {}", note.object, note.what));
        }
        if let (Some((name, repository)), false) = (&repository, plan.file_edits.is_empty()) {
            let work = super::publish::Publication {
                name,
                repository,
                base_commit: &base_commit,
                follow_up: &follow_up,
                grant,
                actions,
                plan: &plan,
            };
            let (pull, checkpoint) = self.publish(&work).await?;
            follow_up.pull = Some(pull);
            published = Some(checkpoint);
        }
        self.commit_owed(follow_up, published, now).await
    }

    async fn commit_owed(
        &self,
        follow_up: FollowUp,
        published: Option<String>,
        now: crate::clock::Time,
    ) -> Result<Outcome> {
        let about = About::follow_up(&follow_up);
        let id = follow_up.id;
        let objects: std::collections::BTreeSet<_> = follow_up.drift.iter().map(|row| &row.object).collect();
        let mut sentence = format!("{} drifted", count(objects.len(), "object", "objects"));
        if let Some(pull) = &follow_up.pull {
            let _ = write!(sentence, "; pull request #{} is open", pull.number);
        }
        if !follow_up.items.is_empty() {
            let _ = write!(
                sentence,
                "; {} must be done by hand",
                count(follow_up.items.len(), "item", "items")
            );
        }
        let mut mail = super::notices::mail_of([&follow_up.requester]);
        mail.extend(self.lead_mail(&follow_up));
        let notice = self.notice_people(
            "follow-up.owed",
            "An emergency owes git",
            &sentence,
            &format!("/follow-ups/{id}"),
            &about,
            &mail,
        );
        let facts = json!({"drift": follow_up.drift, "pull_request": follow_up.pull, "items": follow_up.items,
            "deadlines": follow_up.deadlines});
        let new = follow_up.owed(now)?;
        let mut transition = Transition::new(record(
            EntryKind::FollowUpOwed,
            now,
            about.clone(),
            sentence,
            facts,
        ));
        if let Some(checkpoint) = published {
            // From here on a copy lies outside the house, and an export must be provable against it.
            let sentence = "A checkpoint went out with the pull request";
            let facts = json!({"checkpoint": checkpoint});
            transition = transition.record(record(
                EntryKind::CheckpointPublished,
                now,
                about,
                sentence,
                facts,
            ));
        }
        let transition = transition
            .write(Write::FollowUp {
                expected: FollowUpState::Capturing,
                new,
            })
            .notice(notice)
            .job(JobKind::Follow { follow_up: id }, now);
        done_unless_conflict(self.commit(transition).await, now)
    }
}

/// Classes of actions that run something inside a Pod or talk to it.
pub(super) const RUNS_INSIDE: &[&str] = &["exec", "attach", "debug", "port-forward"];

/// The class of a Secret that was read.
pub(super) const SECRET_READ: &str = "secret-read";

/// Why somebody else must look at an emergency that left no drift.
fn review_owed(actions: &[(u64, ActionRow)]) -> Option<String> {
    let any = |wanted: &[&str]| {
        actions.iter().any(|(_, a)| {
            wanted.contains(&a.class.as_str())
                && !a.flags.iter().any(|flag| flag == "denied" || flag == "dry-run")
        })
    };
    let mut why = vec![];
    if actions.iter().any(|(_, action)| action.mutation) {
        why.push("it changed something");
    }
    if any(RUNS_INSIDE) {
        why.push("it ran something inside a Pod");
    }
    if any(&[SECRET_READ]) {
        why.push("it read Secrets");
    }
    (!why.is_empty()).then(|| why.join(", "))
}

fn drift_row(row: &drift::Row) -> DriftRow {
    DriftRow {
        object: row.object.to_string(),
        path: row.path.clone(),
        before: row.before.clone(),
        after: row.after.clone(),
    }
}

fn file_change(edit: &drift::FileEdit) -> FileChange {
    FileChange {
        path: edit.path.clone(),
        old: edit.old.clone(),
        new: edit.new.clone(),
    }
}

/// An item found again (the record grew, or a try was repeated) keeps what people said of it.
fn manual_item(item: &ManualItem, known: &[Item]) -> Item {
    let (object, patch) = (item.object.to_string(), item.patch.clone().unwrap_or_default());
    if let Some(same) = known
        .iter()
        .find(|i| i.object == object && i.patch == patch && i.why == item.why)
    {
        return same.clone();
    }
    Item {
        id: ItemId::new(),
        object,
        why: item.why.clone(),
        how: item.how.clone(),
        patch,
        done: None,
        accepted: None,
    }
}

/// What must be equal in cluster and merged commit: objects with their touched paths, an empty path for the
/// whole object. What people bring to git by hand is theirs to compare.
fn touched(drift: &Drift, plan: &drift::Plan) -> Value {
    let sure = |edit: &drift::ObjectEdit, path: &drift::Path| {
        let own = path.to_string();
        !plan
            .rows
            .iter()
            .any(|row| row.by_hand && row.object == edit.object && row.path == own)
    };
    let edits = drift.edits.iter().filter_map(|edit| {
        let mut paths = match &edit.action {
            EditAction::Change(changes) => changes.iter().map(|change| change.path.clone()).collect(),
            EditAction::Create(_) | EditAction::Remove => vec![drift::Path::default()],
        };
        paths.retain(|path| sure(edit, path));
        (!paths.is_empty()).then(|| json!({"object": edit.object, "paths": paths}))
    });
    Value::Array(edits.collect())
}
