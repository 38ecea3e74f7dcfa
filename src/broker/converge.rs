//! Does the cluster say what git says? Asked after the merge, and after a rejection until it is so again.

use super::{Broker, BrokerError, Outcome, Result};
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::FollowUp;
use crate::domain::object::ObjectKey;
use crate::drift::locate::{Location, document};
use crate::drift::{self, ObjectRef, Path};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::json;

/// How often the cluster is compared while it converges.
const COMPARE_EVERY: TimeDelta = TimeDelta::seconds(5);

/// One object that must be equal in cluster and git.
#[derive(Deserialize)]
struct TouchedObject {
    object: ObjectRef,
    paths: Vec<Path>,
}

impl Broker {
    /// Compares every touched object with the merged commit.
    pub(super) async fn compare(&self, mut follow_up: FollowUp) -> Result<Outcome> {
        let sha = follow_up.pull.as_ref().and_then(|pull| pull.merge_sha.clone());
        let mismatches = self.mismatches(&follow_up, sha.as_deref()).await?;
        if mismatches.is_empty() && follow_up.all_items_accepted() {
            return self.converge(follow_up).await;
        }
        let now = self.now();
        let text = if mismatches.is_empty() {
            "The cluster equals the merged commit; manual items are still open".to_owned()
        } else {
            let words: Vec<String> = mismatches.into_iter().map(|(_, words)| words).collect();
            format!("Not yet as merged: {}", words.join("; "))
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

    pub(super) async fn converge(&self, follow_up: FollowUp) -> Result<Outcome> {
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

    /// Where the cluster differs from git at `commit` (the base branch's head without one), in words, by
    /// object. What was left to people is not looked at: they say when it is done.
    pub(super) async fn mismatches(
        &self,
        follow_up: &FollowUp,
        commit: Option<&str>,
    ) -> Result<Vec<(ObjectRef, String)>> {
        let Some(pull) = &follow_up.pull else {
            return Ok(vec![]);
        };
        let (_, repository) = self.repository(&pull.repository)?;
        let files = self.git_files(&repository, commit).await?;
        let rules = super::repository::rules_of(&repository, &follow_up.cluster);
        let cluster = self.cluster(&follow_up.cluster)?;
        let touched: Vec<TouchedObject> = serde_json::from_value(follow_up.touched.clone())
            .map_err(|error| BrokerError::Refused(format!("the touched objects cannot be read: {error}")))?;
        let mut words = vec![];
        for TouchedObject { object, paths } in touched {
            let in_git = match document(&object, &files, &rules) {
                Location::Found(found) => Some(found.value),
                _ => None,
            };
            let resource = self.resource_of(follow_up, &object).await?;
            let live = cluster.get(&resource).await?;
            if let Err(found) = drift::converged(live.as_ref(), in_git.as_ref(), &paths) {
                words.extend(found.iter().map(|m| {
                    let field = if m.path.is_empty() {
                        String::new()
                    } else {
                        format!(" {}", m.path)
                    };
                    let said = format!("{object}{field}: live {}, git {}", m.live, m.git);
                    (object.clone(), said)
                }));
            }
        }
        Ok(words)
    }

    /// The resource behind an object of the record: the one its own events named.
    async fn resource_of(&self, follow_up: &FollowUp, object: &ObjectRef) -> Result<ObjectKey> {
        let namespace = object.namespace.clone().unwrap_or_default();
        for (_, action) in self.store.actions(follow_up.grant).await? {
            let Some(mut key) = super::observe::object_key(&action) else {
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
}
