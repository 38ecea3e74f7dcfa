//! Stage 2: the decision. A person's word on the hash of one exact request, signed by the provider.

use super::request::minutes;
use super::{Broker, BrokerError, Result};
use crate::clock::Time;
use crate::config::{self, Profile};
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::{Grant, GrantState};
use crate::domain::job::JobKind;
use crate::domain::person::Person;
use crate::domain::policy;
use crate::domain::request::{Approval, ApprovalProof, Approved, Request};
use crate::domain::transition::{About, Transition, Write, record};
use crate::ids::{ApprovalId, GrantId, RequestId};
use serde_json::json;

/// An approval as it comes back from the sign-in provider.
#[derive(Debug, Clone)]
pub struct Approving {
    /// Who approves: the person in the signed token.
    pub by: Person,
    /// Seconds allowed.
    pub duration_s: u32,
    /// The hash the token's nonce commits to.
    pub request_hash: String,
    /// The token and its key.
    pub proof: ApprovalProof,
}

impl Broker {
    /// Whether `person` may decide on `request` now, and whether they are outside its team.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn may_decide(&self, request: &Request, person: &Person, now: Time) -> Result<bool> {
        let profile = self.may_judge(request, person)?;
        if profile.digest() != request.ask.profile_digest {
            return Err(BrokerError::Refused(
                "the profile was changed after this was asked; a new request is needed".into(),
            ));
        }
        let outside = policy::is_outside(&self.config, &request.ask.team, person);
        request.may_be_approved_by(person, outside, now)?;
        Ok(outside)
    }

    fn may_judge(&self, request: &Request, person: &Person) -> Result<&Profile> {
        let profile = self.config.profiles.get(&request.ask.profile).ok_or_else(|| {
            BrokerError::Refused(format!(
                "profile {} is not in the configuration any more",
                request.ask.profile
            ))
        })?;
        if !policy::is_approver(&self.config, profile, person) {
            let circles = profile.approvers.join(", ");
            return Err(BrokerError::Refused(format!("only {circles} can decide on this")));
        }
        Ok(profile)
    }

    /// Takes an approval. The caller has verified the token; `verify` does it again a year later.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] with the rule that stands against it; a conflict when another decision
    /// was faster.
    pub async fn approve(&self, id: RequestId, approving: Approving) -> Result<()> {
        let request = self.request_of(id).await?;
        let now = self.now();
        let outside = self.may_decide(&request, &approving.by, now)?;
        if let Some(profile) = self.config.profiles.get(&request.ask.profile)
            && let Some(why) = self.audit_policy_trouble(&request.ask.cluster, profile).await?
        {
            return Err(BrokerError::Refused(why));
        }
        // A new access is held back until its key is shown; a longer one has its key.
        let is_longer = request.ask.extends.is_some();
        if let Some(trouble) = self.audit_trouble(&request.ask.cluster).filter(|_| is_longer) {
            return Err(BrokerError::Refused(trouble));
        }
        let approval = Approval {
            id: ApprovalId::new(),
            by: approving.by.clone(),
            outside,
            // The provider's token is judged by this time, now and by whoever verifies the record.
            at: self.machine_now(),
            duration_s: approving.duration_s,
            request_hash: approving.request_hash,
            proof: approving.proof,
        };
        let about = About::request(&request).by(&approving.by);
        let silent = self.config.profiles.get(&request.ask.profile);
        let silent = silent.map(|profile| profile.when_audit_is_silent);
        let facts = json!({"approval": approval, "hash": request.hash(), "when_audit_is_silent": silent});
        let grant = request.ask.extends.unwrap_or_else(GrantId::new);
        match request.approve(approval, grant)? {
            Approved::More(new) => {
                let (missing, _) = new.missing();
                let sentence = format!("{} approved; {missing} more needed", approving.by.name);
                let entry = record(EntryKind::ApprovalGiven, now, about, sentence, facts);
                let write = Write::Request {
                    expected: "pending",
                    new,
                };
                self.commit(Transition::new(entry).write(write)).await?;
            }
            Approved::Enough { request, duration_s } => {
                let transition = self
                    .approved(&request, duration_s, grant, about, facts, now)
                    .await?;
                self.commit(transition).await?;
            }
        }
        Ok(())
    }

    async fn approved(
        &self,
        request: &Request,
        duration_s: u32,
        id: GrantId,
        mut about: About,
        facts: serde_json::Value,
        now: Time,
    ) -> Result<Transition> {
        about.grant = Some(id);
        let by: Vec<_> = request
            .approvals()
            .iter()
            .map(|approval| approval.by.clone())
            .collect();
        let names: Vec<_> = by.iter().map(|person| person.name.as_str()).collect();
        let sentence = format!(
            "{} approved {} on {} for {}",
            names.join(" and "),
            request.ask.profile,
            request.ask.cluster,
            minutes(duration_s)
        );
        let mail = super::notices::mail_of([&request.ask.requester]);
        let notice = self.notice_people(
            "request.approved",
            "Approved: your access is being laid out",
            &sentence,
            &format!("/requests/{}", request.id),
            &about,
            &mail,
        );
        let transition = Transition::new(record(
            EntryKind::RequestApproved,
            now,
            about.clone(),
            sentence,
            facts,
        ))
        .write(Write::Request {
            expected: "pending",
            new: request.clone(),
        })
        .notice(notice);
        if request.ask.extends.is_some() {
            let grant = self.grant(id).await?;
            let expected = grant.state;
            let new = grant.extend(duration_s, &by, now)?;
            let sentence = format!("The access lasts {} longer", minutes(duration_s));
            let facts = json!({"ends_at": new.ends_at, "duration_s": new.duration_s});
            return Ok(transition
                .record(record(EntryKind::GrantExtended, now, about, sentence, facts))
                .write(Write::Grant { expected, new }));
        }
        let profile = &self.config.profiles[&request.ask.profile];
        let grant = Grant {
            id,
            request: request.id,
            requester: request.ask.requester.clone(),
            approvers: by,
            team: request.ask.team.clone(),
            cluster: request.ask.cluster.clone(),
            cluster_uid: request.ask.cluster_uid.clone(),
            namespaces: request.ask.namespaces.clone(),
            profile: request.ask.profile.clone(),
            cluster_role: request.ask.cluster_role.clone(),
            rules: request.ask.rules.clone(),
            reason: request.ask.reason.clone(),
            incident: request.ask.incident.clone(),
            duration_s,
            account: config::grant_name(&request.ask.profile, id),
            approved_at: now,
            shelf_until: now + profile.ready_shelf_life.delta(),
            ready_at: None,
            active_since: None,
            ends_at: None,
            reveals: vec![],
            ending: None,
            ended_at: None,
            first_change_at: None,
            state: GrantState::Provisioning,
            version: 0,
        };
        Ok(transition
            .write(Write::NewGrant(grant))
            .job(JobKind::Provision { grant: id }, now))
    }

    /// An approver says no.
    ///
    /// # Errors
    /// Not theirs to decide, no reason, or decided before.
    pub async fn deny(&self, id: RequestId, person: &Person, reason: &str) -> Result<()> {
        let request = self.request_of(id).await?;
        let now = self.now();
        // Denying is open to the whole circle, whether or not the missing approval must come from outside.
        self.may_judge(&request, person)?;
        let about = About::request(&request).by(person);
        let mail = super::notices::mail_of([&request.ask.requester]);
        let new = request.deny(person.clone(), reason, now)?;
        let sentence = format!("{} denied it: {}", person.name, reason.trim());
        let notice = self.notice_people(
            "request.denied",
            "Denied",
            &sentence,
            &format!("/requests/{id}"),
            &about,
            &mail,
        );
        let entry = record(
            EntryKind::RequestDenied,
            now,
            about,
            sentence,
            json!({"reason": reason.trim()}),
        );
        let write = Write::Request {
            expected: "pending",
            new,
        };
        self.commit(Transition::new(entry).write(write).notice(notice))
            .await?;
        Ok(())
    }
}
