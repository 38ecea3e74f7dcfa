//! The pull request: branch, commit, description. Idempotent: the forge adopts what an earlier try left.

use super::{Broker, BrokerError, Result};
use crate::config::Repository;
use crate::domain::counted::count;
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::{FollowUp, PullRequest};
use crate::domain::grant::Grant;
use crate::domain::transition::ActionRow;
use crate::drift::Plan;
use crate::forge::body::{self, ActionLine, ApprovalLine, DriftLine, ManualLine, PullBody};
use crate::forge::message::CommitMessage;
use crate::forge::{Change, FileEdit, NewPull, PullPhase};
use std::collections::BTreeSet;

/// Everything a pull request is made of.
pub(super) struct Publication<'a> {
    /// The repository's name in the configuration.
    pub name: &'a str,
    /// The repository.
    pub repository: &'a Repository,
    /// The commit of the base that was edited.
    pub base_commit: &'a str,
    /// What is owed.
    pub follow_up: &'a FollowUp,
    /// The grant.
    pub grant: &'a Grant,
    /// Its record.
    pub actions: &'a [(u64, ActionRow)],
    /// The edits.
    pub plan: &'a Plan,
}

impl Broker {
    /// Commits the edits to the grant's own branch and opens the pull request; the same again after a
    /// crash ends in the same commit and the same pull request.
    ///
    /// # Errors
    /// The forge's.
    ///
    /// Returns the pull request and the ledger's checkpoint that went out with it.
    pub(super) async fn publish(&self, work: &Publication<'_>) -> Result<(PullRequest, String)> {
        let repo = super::repository::repo_of(work.repository);
        let branch = format!("breakglass/{}", work.grant.id);
        let checkpoint = self.store.head().await?.checkpoint;
        let title = title(work);
        // The grant's own words, not the clock: a repeated try must make the same commit.
        let message = CommitMessage {
            subject: title.clone(),
            body: work.grant.reason.clone(),
            co_author: super::notices::mail_of([&work.grant.requester])
                .pop()
                .map(|mail| (work.grant.requester.name.clone(), mail)),
            grant: work.grant.id.to_string(),
            checkpoint: short(&checkpoint),
        };
        let files = work
            .plan
            .file_edits
            .iter()
            .map(|edit| FileEdit {
                path: edit.path.clone(),
                content: edit.new.clone().map(String::into_bytes),
            })
            .collect();
        let change = Change {
            repo: repo.clone(),
            base: work.repository.base_branch.clone(),
            base_commit: work.base_commit.to_owned(),
            branch: branch.clone(),
            files,
            message: message.build(),
            key: work.grant.id.to_string(),
        };
        let commit = self.forge.publish(&change).await?;
        let new = NewPull {
            branch: branch.clone(),
            base: work.repository.base_branch.clone(),
            title: body::title(&title),
            body: self.body(work, &checkpoint).await?.render(),
        };
        let pull = self.forge.open_pull(&repo, &new).await?;
        if pull.phase == PullPhase::Closed {
            self.forge.reopen(&repo, pull.number).await?;
        }
        self.forge.update_body(&repo, pull.number, &new.body).await?;
        self.ask_for_reviews(work, pull.number).await;
        let pull = PullRequest {
            repository: work.name.to_owned(),
            number: pull.number,
            url: pull.url,
            branch,
            head_sha: commit.sha,
            merge_sha: None,
            verified: commit.verified,
            reviews: vec![],
            check: "Waits for an approval by somebody who did not have the access.".to_owned(),
            opened_at: work
                .follow_up
                .pull
                .as_ref()
                .map_or_else(|| self.now(), |known| known.opened_at),
        };
        Ok((pull, checkpoint))
    }

    /// Asks the approvers whose login is known; a refusal of the forge costs nothing but the hint.
    async fn ask_for_reviews(&self, work: &Publication<'_>, number: u64) {
        let logins: BTreeSet<String> = work
            .grant
            .approvers
            .iter()
            .filter_map(|person| {
                let mapped = self.config.forge.logins.get(&person.person_claim).cloned();
                mapped.or_else(|| person.forge_login.clone())
            })
            .collect();
        let repo = super::repository::repo_of(work.repository);
        match self.forge.request_reviewers(&repo, number, &logins).await {
            Ok(refused) => {
                for (login, why) in refused {
                    tracing::info!(login, why, "the forge did not ask for a review");
                }
            }
            Err(error) => tracing::warn!(%error, "reviews could not be asked for"),
        }
    }

    async fn body(&self, work: &Publication<'_>, checkpoint: &str) -> Result<PullBody> {
        let grant = work.grant;
        let request = self
            .store
            .request(grant.request)
            .await?
            .ok_or(BrokerError::NotFound("request"))?;
        let missing = || BrokerError::Refused("the access has not ended".to_owned());
        let page = format!(
            "{}/follow-ups/{}",
            self.config.server.public_url.base(),
            work.follow_up.id
        );
        let file = |object: &str| {
            // One object is edited in one file; with several files the object's page tells which.
            let files = &work.plan.file_edits;
            if files.len() == 1 {
                files[0].path.clone()
            } else {
                object.to_owned()
            }
        };
        let controls: BTreeSet<&str> = [
            EntryKind::FollowUpOwed,
            EntryKind::GrantEnded,
            EntryKind::AuditEvent,
        ]
        .iter()
        .flat_map(|kind| kind.controls())
        .copied()
        .collect();
        Ok(PullBody {
            grant: grant.id.to_string(),
            requester: grant.requester.name.clone(),
            cluster: grant.cluster.clone(),
            namespaces: grant.namespaces.clone(),
            profile: grant.profile.clone(),
            reason: grant.reason.clone(),
            incident: grant.incident.clone(),
            began: grant.active_since.unwrap_or(grant.approved_at),
            ended: grant.ended_at.ok_or_else(missing)?,
            approvals: request
                .approvals()
                .iter()
                .map(|approval| ApprovalLine {
                    who: approval.by.name.clone(),
                    at: approval.at,
                    note: format!(
                        "signed by the sign-in provider over request hash {}",
                        approval.request_hash
                    ),
                })
                .collect(),
            actions: work
                .actions
                .iter()
                .filter_map(|(_, action)| action_line(action))
                .collect(),
            drift: work
                .plan
                .rows
                .iter()
                .filter(|row| !row.by_hand)
                .map(|row| DriftLine {
                    object: row.object.to_string(),
                    field: row.path.clone(),
                    before: Some(row.before.clone()).filter(|text| !text.is_empty()),
                    after: Some(row.after.clone()).filter(|text| !text.is_empty()),
                    file: file(&row.object.to_string()),
                })
                .collect(),
            manual: work
                .follow_up
                .items
                .iter()
                .map(|item| ManualLine {
                    title: item.object.clone(),
                    why: format!("{}. {}", item.why, item.how),
                    patch: Some(item.patch.clone()).filter(|patch| !patch.is_empty()),
                })
                .collect(),
            checkpoint: Some(checkpoint.to_owned()),
            controls: controls.into_iter().map(str::to_owned).collect(),
            evidence: url::Url::parse(&page).ok(),
        })
    }
}

/// Reads say little in a pull request; what changed, ran, was refused or was secret stands there.
fn action_line(action: &ActionRow) -> Option<ActionLine> {
    let dull = matches!(action.class.as_str(), "read" | "other") && action.flags.is_empty();
    if dull || action.stage == "ResponseStarted" {
        return None;
    }
    Some(ActionLine {
        at: crate::clock::Time::from_timestamp_micros(action.received_us)?,
        verb: action.words.clone(),
        object: format!("{} {}", action.object, action.detail).trim().to_owned(),
        outcome: action
            .code
            .map_or_else(|| "no answer".to_owned(), |code| code.to_string()),
    })
}

/// A checkpoint on one line, for a commit trailer: size and root.
fn short(checkpoint: &str) -> Option<String> {
    let mut lines = checkpoint.lines();
    let (_, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    Some(format!("{size}:{root}"))
}

/// The pull request's title, and the commit's subject.
fn title(work: &Publication<'_>) -> String {
    let objects: BTreeSet<_> = work
        .follow_up
        .drift
        .iter()
        .map(|row| row.object.as_str())
        .collect();
    let what = match objects.iter().next() {
        Some(only) if objects.len() == 1 => (*only).to_owned(),
        _ => count(objects.len(), "object", "objects"),
    };
    format!("Emergency change on {}: {what}", work.grant.cluster)
}
