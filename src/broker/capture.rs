//! Stage 6: the drift is taken down and goes to git.
//!
//! Runs once the record has settled. Everything here is computed again from the ledger, the cluster and
//! git at each try, and the forge's own idempotency makes a second pull request impossible: a crash
//! anywhere costs a repetition, nothing else.

use super::request::done_unless_conflict;
use super::{Broker, BrokerError, Outcome, Result};
use crate::cluster::Cluster;
use crate::domain::action::requests;
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::{DriftRow, FileChange, FollowUp, FollowUpState, Item};
use crate::domain::grant::Grant;
use crate::domain::job::JobKind;
use crate::domain::object::ObjectKey;
use crate::domain::transition::{About, ActionRow, Transition, Write, record};
use crate::drift::{self, Drift, EditAction, GitFile, ManualItem, Observed, Rules, Touched};
use crate::ids::{FollowUpId, ItemId};
use crate::ledger;
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A canary that did not come back by then is sent again.
const CANARY_PATIENCE: TimeDelta = TimeDelta::seconds(10);

/// One touched object and what the grant's events say of it.
struct Touch {
    key: ObjectKey,
    first_us: i64,
    first_version: Option<u64>,
    writes: Vec<drift::Write>,
    last_written: Option<Value>,
}

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
        // Read before the cluster is looked at: what is entered from here on opens this again.
        follow_up.captured_through = actions.iter().map(|(entry, _)| *entry).max();
        actions = requests(&actions).into_iter().cloned().collect();
        actions.retain(|(_, action)| !action.is_own_check());
        let observed = self.observe(&grant, &actions).await?;
        let drift = drift::drift(&observed);
        if drift.is_none() && drift.manual.is_empty() {
            return self.close_without_drift(follow_up, &actions, &drift).await;
        }
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
        let sent = self.store.setting(&name).await?;
        let sent = sent.as_deref().and_then(|text| text.split_once(' '));
        let sent = sent.and_then(|(nonce, at)| Some((nonce.to_owned(), at.parse::<i64>().ok()?)));
        if let Some((nonce, at)) = sent {
            if self.canary_came_back(&follow_up.cluster, &nonce) {
                return Ok(now >= follow_up.from + cluster.settle_window.delta());
            }
            if now.timestamp_millis() - at < CANARY_PATIENCE.num_milliseconds() {
                return Ok(false);
            }
        }
        let nonce = super::canary::nonce();
        // Written down first: a canary that comes back unasked would prove nothing.
        self.store
            .set_setting(&name, &format!("{nonce} {}", now.timestamp_millis()))
            .await?;
        self.cluster(&follow_up.cluster)?.canary(&nonce).await?;
        Ok(false)
    }

    /// Before and after of every object the grant's events touched.
    async fn observe(&self, grant: &Grant, actions: &[(u64, ActionRow)]) -> Result<Vec<(Touched, Observed)>> {
        let cluster = self.cluster(&grant.cluster)?;
        let mut observed = vec![];
        for touch in self.touches(grant, actions).await? {
            let until = touch.first_version.unwrap_or(u64::MAX);
            // Without a version in the event, the last one seen before the request came.
            let seen_before = touch.first_version.is_none().then_some(touch.first_us / 1000);
            let before = self
                .store
                .version_before(&grant.cluster, &touch.key, until, seen_before)
                .await?;
            let before = before.and_then(|version| version.object);
            let after = if touch.key.resource == "secrets" {
                None
            } else {
                cluster.get(&touch.key).await?
            };
            let gvk = drift::Gvk::new(
                &touch.key.group,
                &touch.key.version,
                &kind(cluster.as_ref(), &touch.key, before.as_ref().or(after.as_ref())).await?,
            );
            let uid = before
                .as_ref()
                .and_then(|o| o.pointer("/metadata/uid"))
                .and_then(Value::as_str);
            observed.push((
                Touched {
                    gvk,
                    namespace: Some(touch.key.namespace.clone()).filter(|n| !n.is_empty()),
                    name: touch.key.name.clone(),
                    uid: uid.map(str::to_owned),
                    writes: touch.writes,
                },
                Observed {
                    before,
                    after,
                    last_written: touch.last_written,
                    autoscaled: false,
                },
            ));
        }
        Ok(observed)
    }

    async fn touches(&self, grant: &Grant, actions: &[(u64, ActionRow)]) -> Result<Vec<Touch>> {
        let mut touches: BTreeMap<ObjectKey, Touch> = BTreeMap::new();
        for (entry, action) in actions.iter().filter(|(_, action)| action.mutation) {
            let Some(key) = object_key(action) else { continue };
            let event = self.event(*entry).await?;
            let write = drift::Write {
                verb: text(&action.facts, "/verb"),
                subresource: action
                    .facts
                    .pointer("/object/subresource")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                body: event.get("requestObject").cloned(),
                generate_name: event.pointer("/requestObject/metadata/generateName").is_some()
                    && event.pointer("/requestObject/metadata/name").is_none(),
            };
            let written = event
                .get("responseObject")
                .filter(|o| o.get("kind") != Some(&json!("Status")));
            let version = written
                .and_then(|object| object.pointer("/metadata/resourceVersion"))
                .and_then(Value::as_str)
                .and_then(|version| version.parse().ok());
            for key in self.expand(grant, key, action).await? {
                let touch = touches.entry(key.clone()).or_insert_with(|| Touch {
                    key,
                    first_us: action.received_us,
                    first_version: version,
                    writes: vec![],
                    last_written: None,
                });
                touch.writes.push(drift::Write {
                    verb: write.verb.clone(),
                    subresource: write.subresource.clone(),
                    body: write.body.clone(),
                    generate_name: write.generate_name,
                });
                if write.subresource.is_none() {
                    touch.last_written = written.cloned();
                }
            }
        }
        Ok(touches.into_values().collect())
    }

    /// A `deletecollection` names nothing: it is resolved against what was there before.
    async fn expand(&self, grant: &Grant, key: ObjectKey, action: &ActionRow) -> Result<Vec<ObjectKey>> {
        if !key.name.is_empty() {
            return Ok(vec![key]);
        }
        let before = self
            .store
            .versions_before(&grant.cluster, &key, action.received_us / 1000)
            .await?;
        Ok(before.into_iter().map(|version| version.key).collect())
    }

    /// The stored event of an entry.
    async fn event(&self, entry: u64) -> Result<Value> {
        Ok(self
            .payload(entry)
            .await?
            .pointer("/facts/event")
            .cloned()
            .unwrap_or(Value::Null))
    }

    /// The payload of an entry.
    ///
    /// # Errors
    /// The store's, or the segment is damaged.
    pub async fn payload(&self, entry: u64) -> Result<Value> {
        let corrupt = |why: String| crate::store::StoreError::Corrupt {
            what: "a segment",
            why,
        };
        let Some(stored) = self.store.segment_of(entry).await? else {
            return Ok(Value::Null);
        };
        let segment = ledger::open(&stored.bytes).map_err(|error| corrupt(error.to_string()))?;
        let at = u32::try_from(entry - stored.first).unwrap_or(u32::MAX);
        match segment.payload(at) {
            Some(bytes) => Ok(serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?),
            None => Ok(Value::Null),
        }
    }

    async fn close_without_drift(
        &self,
        follow_up: FollowUp,
        actions: &[(u64, ActionRow)],
        drift: &Drift,
    ) -> Result<Outcome> {
        let now = self.now();
        let owed = review_owed(actions);
        let about = About::follow_up(&follow_up);
        let id = follow_up.id;
        let mut new = follow_up.no_drift(owed.clone(), now)?;
        for note in &drift.notes {
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
                let repo = super::follow_up::repo_of(repository);
                base_commit = self.forge.head(&repo, &repository.base_branch).await?.sha;
                let files = self.git_files(repository, Some(&base_commit)).await?;
                drift::plan(drift, &files, &rules_of(repository, &grant.cluster))
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
        follow_up.drift = plan.rows.iter().map(drift_row).collect();
        follow_up.files = plan.file_edits.iter().map(file_change).collect();
        follow_up.items = plan
            .manual
            .iter()
            .map(|item| manual_item(item, &follow_up.items))
            .collect();
        follow_up.touched = touched(drift);
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
        let mut sentence = format!("{} drifted", count(objects.len(), "object"));
        if let Some(pull) = &follow_up.pull {
            let _ = write!(sentence, "; pull request #{} is open", pull.number);
        }
        if !follow_up.items.is_empty() {
            let _ = write!(
                sentence,
                "; {} must be done by hand",
                count(follow_up.items.len(), "item")
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

pub(super) fn count(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn object_key(action: &ActionRow) -> Option<ObjectKey> {
    let object = action.facts.get("object").filter(|object| !object.is_null())?;
    Some(ObjectKey {
        group: text(object, "/api_group"),
        version: text(object, "/version"),
        resource: text(object, "/resource"),
        namespace: text(object, "/namespace"),
        name: text(object, "/name"),
    })
}

async fn kind(cluster: &dyn Cluster, key: &ObjectKey, object: Option<&Value>) -> Result<String> {
    match object
        .and_then(|object| object.get("kind"))
        .and_then(Value::as_str)
    {
        Some(kind) => Ok(kind.to_owned()),
        None if key.resource == "secrets" => Ok("Secret".to_owned()),
        None => Ok(cluster.kind(key).await?),
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

/// What must be equal in cluster and merged commit: objects with their touched paths.
fn touched(drift: &Drift) -> Value {
    let edits: Vec<_> = drift
        .edits
        .iter()
        .map(|edit| {
            let paths = match &edit.action {
                EditAction::Change(changes) => changes.iter().map(|change| change.path.clone()).collect(),
                EditAction::Create(_) | EditAction::Remove => vec![],
            };
            json!({"object": edit.object, "paths": paths})
        })
        .collect();
    Value::Array(edits)
}

/// The directory rules of a repository.
pub(super) fn rules_of(repository: &crate::config::Repository, cluster: &str) -> Rules {
    let paths: Vec<_> = repository
        .paths
        .iter()
        .filter(|path| path.cluster == cluster)
        .collect();
    Rules {
        default_namespaces: paths
            .iter()
            .filter_map(|path| Some((path.path.clone(), path.default_namespace.clone()?)))
            .collect(),
        new_files_in: paths.first().map(|path| path.path.clone()).unwrap_or_default(),
    }
}

impl Broker {
    /// The first repository that deploys to the grant's cluster.
    fn repository_for(&self, grant: &Grant) -> Option<(String, crate::config::Repository)> {
        self.config
            .forge
            .repositories
            .iter()
            .find(|(_, repository)| repository.paths.iter().any(|path| path.cluster == grant.cluster))
            .map(|(name, repository)| (name.clone(), repository.clone()))
    }

    /// Every YAML file of the repository's configured directories, at `commit` or the base branch's head.
    pub(super) async fn git_files(
        &self,
        repository: &crate::config::Repository,
        commit: Option<&str>,
    ) -> Result<Vec<GitFile>> {
        let repo = super::follow_up::repo_of(repository);
        let at = match commit {
            Some(commit) => commit.to_owned(),
            None => self.forge.head(&repo, &repository.base_branch).await?.sha,
        };
        let mut files = vec![];
        for path in &repository.paths {
            for file in self.forge.list_files(&repo, &path.path, &at).await? {
                let yaml = [".yaml", ".yml"]
                    .iter()
                    .any(|end| file.to_ascii_lowercase().ends_with(end));
                if !yaml || files.iter().any(|known: &GitFile| known.path == file) {
                    continue;
                }
                let bytes = self.forge.read_file(&repo, &file, &at).await?;
                let Some(bytes) = bytes else { continue };
                let text = String::from_utf8(bytes).map_err(|_| {
                    BrokerError::Refused(format!("{file} in {} is not UTF-8", repository.repository))
                })?;
                files.push(GitFile { path: file, text });
            }
        }
        Ok(files)
    }
}
