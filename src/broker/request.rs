//! Stage 1: the request. Look up the facts, let the policy decide, file it.

use super::{Broker, BrokerError, Outcome, Result};
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::person::Person;
use crate::domain::policy::{self, Decision, Facts, Question};
use crate::domain::request::{Ask, Request};
use crate::domain::transition::{About, Transition, Write, record};
use crate::ids::{GrantId, RequestId};
use crate::store::{FollowUpFilter, RequestFilter};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::sync::Arc;

/// `server.limits.requests_per_hour` holds over this time.
const LIMITED_OVER: TimeDelta = TimeDelta::hours(1);
/// More than a whole organisation files in that time.
const LOOKED_AT: u32 = 2_000;

/// What would happen if it were sent now.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The policy's answer.
    pub decision: Decision,
    /// The cluster's namespaces, where it could be asked.
    pub namespaces: Vec<String>,
    /// The role's rules as they are now.
    pub rules: Option<Value>,
    /// The cluster's UID.
    pub cluster_uid: Option<String>,
    /// Accesses of the same person that overlap, in words; they never end one another.
    pub overlaps: Vec<String>,
}

/// What was found of a question's team, cluster and profile, whatever its namespaces are.
struct Looked {
    facts: Facts,
    rules: Option<Value>,
    cluster_uid: Option<String>,
}

impl Broker {
    /// Answers what would happen if `person` asked this now.
    ///
    /// # Errors
    /// The store's. An unreachable cluster is part of the answer.
    pub async fn preview(&self, person: &Person, question: &Question) -> Result<Preview> {
        let looked = self.look(question).await?;
        self.judged(person, question, looked).await
    }

    /// [`Self::preview`] of a question whose namespaces are settled by those that the cluster has.
    ///
    /// # Errors
    /// The store's.
    pub async fn preview_settled(
        &self,
        person: &Person,
        question: &mut Question,
        settle: impl FnOnce(&mut Question, &[String]),
    ) -> Result<Preview> {
        let looked = self.look(question).await?;
        settle(question, looked.facts.namespaces.as_deref().unwrap_or_default());
        self.judged(person, question, looked).await
    }

    async fn look(&self, question: &Question) -> Result<Looked> {
        let mut facts = Facts {
            people: self.store.people().await?,
            ..Facts::default()
        };
        let (mut rules, mut cluster_uid) = (None, None);
        if let Some(cluster) = self.clusters.get(&question.cluster) {
            let profile = self.config.profiles.get(&question.profile);
            let role = async {
                match profile {
                    Some(profile) => Some(cluster.rules(&profile.cluster_role).await),
                    None => None,
                }
            };
            let (namespaces, uid, role) = tokio::join!(cluster.namespaces(), cluster.uid(), role);
            match namespaces.and_then(|namespaces| Ok((namespaces, uid?))) {
                Ok((namespaces, uid)) => {
                    facts.namespaces = Some(namespaces);
                    facts.cluster_trouble = self.audit_trouble(&question.cluster);
                    if let (None, Some(profile)) = (&facts.cluster_trouble, profile) {
                        facts.cluster_trouble = self.audit_policy_trouble(&question.cluster, profile).await?;
                    }
                    cluster_uid = Some(uid);
                    match role {
                        Some(Ok(found)) => rules = Some(found),
                        Some(Err(error)) => facts.role_trouble = Some(error.to_string()),
                        None => {}
                    }
                }
                Err(error) => facts.cluster_trouble = Some(error.to_string()),
            }
        }
        facts.team_is_breached = self.is_breached(&question.team).await?;
        Ok(Looked {
            facts,
            rules,
            cluster_uid,
        })
    }

    async fn judged(&self, person: &Person, question: &Question, looked: Looked) -> Result<Preview> {
        let Looked {
            facts,
            rules,
            cluster_uid,
        } = looked;
        let decision = policy::decide(&self.config, person, question, &facts);
        let overlaps = self.overlaps(person, question).await?;
        let namespaces = facts.namespaces.unwrap_or_default();
        Ok(Preview {
            decision,
            namespaces,
            rules,
            cluster_uid,
            overlaps,
        })
    }

    /// Counted by the person, whatever account they use, and over what is stored: a restart forgets
    /// nothing. Two filed in the same instant may both pass, which costs an approver one line.
    async fn may_file_again(&self, person: &Person) -> Result<()> {
        let most = self.config.server.limits.requests_per_hour.get();
        let filter = RequestFilter {
            limit: LOOKED_AT,
            ..RequestFilter::default()
        };
        let (now, newest) = (self.now(), self.store.requests(filter).await?);
        let last = newest
            .iter()
            .take_while(|request| now - request.filed_at < LIMITED_OVER)
            .filter(|request| request.ask.requester.same_person(person))
            .nth(most as usize - 1);
        let Some(last) = last else {
            return Ok(());
        };
        let after = last.filed_at + LIMITED_OVER - now;
        Err(BrokerError::TooOften {
            why: format!(
                "You have filed {most} requests within an hour, which is as many as one person may. The next can \
                 be filed in {}. Whatever you hold can be ended at any time",
                minutes(u32::try_from((after.num_seconds() / 60 + 1) * 60).unwrap_or(3_600))
            ),
            after,
        })
    }

    /// Files a request.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] with the policy's first reason; [`BrokerError::TooOften`].
    pub async fn file(
        &self,
        person: &Person,
        mut question: Question,
        incident: Option<String>,
        extends: Option<GrantId>,
    ) -> Result<Request> {
        self.may_file_again(person).await?;
        question.namespaces.sort();
        question.namespaces.dedup();
        if let Some(grant) = extends {
            let grant = self.grant(grant).await?;
            let same = grant.requester.surely_same_person(person)
                && grant.cluster == question.cluster
                && grant.namespaces == question.namespaces
                && grant.profile == question.profile
                && grant.team == question.team;
            if !same {
                return Err(BrokerError::Refused(
                    "an extension asks for the same access, longer".into(),
                ));
            }
            question.extends_s = Some(grant.duration_s);
        }
        let preview = self.preview(person, &question).await?;
        if let Some(refusal) = preview.decision.refusals.first() {
            return Err(BrokerError::Refused(refusal.why.clone()));
        }
        let (Some(profile), Some(rules), Some(cluster_uid)) = (
            self.config.profiles.get(&question.profile),
            preview.rules,
            preview.cluster_uid,
        ) else {
            return Err(BrokerError::Refused(
                "the cluster could not be asked; nothing was filed".into(),
            ));
        };
        let now = self.now();
        let ask = Ask {
            requester: person.clone(),
            team: question.team,
            cluster: question.cluster,
            cluster_uid,
            namespaces: question.namespaces,
            profile: question.profile,
            profile_digest: profile.digest(),
            cluster_role: profile.cluster_role.clone(),
            rules,
            duration_s: question.duration_s,
            reason: question.reason.trim().to_owned(),
            incident: incident
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty()),
            extends,
            approvals_needed: preview.decision.approvals_needed,
            outside_needed: preview.decision.outside_needed,
        };
        let request = Request::file(ask, now, profile.patience.delta());
        let about = About::request(&request).by(person);
        let sentence = format!(
            "{} asked for {} on {} ({}) for {}{}: {}",
            person.name,
            request.ask.profile,
            request.ask.cluster,
            request.ask.namespaces.join(", "),
            minutes(request.ask.duration_s),
            if extends.is_some() { " more" } else { "" },
            request.ask.reason,
        );
        let notice = self.notice_people(
            "request.filed",
            &format!(
                "{} asks for {} on {}",
                person.name, request.ask.profile, request.ask.cluster
            ),
            &sentence,
            &format!("/requests/{}", request.id),
            &about,
            &preview.decision.mail,
        );
        let facts = json!({"request": request, "hash": request.hash(), "decision": {
            "approvals_needed": request.ask.approvals_needed,
            "outside_needed": request.ask.outside_needed,
            "circles": preview.decision.circles,
        }});
        let transition = Transition::new(record(EntryKind::RequestFiled, now, about, sentence, facts))
            .write(Write::NewRequest(request.clone()))
            .notice(notice);
        self.commit(transition).await?;
        Ok(request)
    }

    /// The requester takes a request back.
    ///
    /// # Errors
    /// Not pending, lapsed, or somebody else's.
    pub async fn withdraw(&self, id: RequestId, person: &Person) -> Result<()> {
        let request = self.request_of(id).await?;
        let now = self.now();
        let about = About::request(&request).by(person);
        let sentence = format!("{} took the request back", person.name);
        let new = request.withdraw(person, now)?;
        let entry = record(
            EntryKind::RequestWithdrawn,
            now,
            about.clone(),
            sentence.clone(),
            json!({}),
        );
        let notice = self.notice_compliance(
            "request.withdrawn",
            "A request was taken back",
            &sentence,
            &format!("/requests/{id}"),
            &about,
        );
        let write = Write::Request {
            expected: "pending",
            new,
        };
        self.commit(Transition::new(entry).write(write).notice(notice))
            .await?;
        Ok(())
    }

    /// Lapses every request whose patience is over.
    ///
    /// # Errors
    /// The store's; what was lapsed before stays lapsed.
    pub async fn lapse_requests(&self) -> Result<()> {
        let filter = RequestFilter {
            state: Some("pending"),
            limit: 10_000,
            ..RequestFilter::default()
        };
        for request in self.store.requests(filter).await? {
            let now = self.now();
            let about = About::request(&request);
            let mail = super::notices::mail_of([&request.ask.requester]);
            let id = request.id;
            let Some(new) = Arc::unwrap_or_clone(request).lapse(now) else {
                continue;
            };
            let sentence = "Nobody decided in time; the request lapsed";
            let notice = self.notice_people(
                "request.lapsed",
                "A request lapsed",
                sentence,
                &format!("/requests/{id}"),
                &about,
                &mail,
            );
            let entry = record(EntryKind::RequestLapsed, now, about, sentence, json!({}));
            let write = Write::Request {
                expected: "pending",
                new,
            };
            skip_conflict(
                self.commit(Transition::new(entry).write(write).notice(notice))
                    .await,
            )?;
        }
        Ok(())
    }

    /// A request that exists.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub async fn request_of(&self, id: RequestId) -> Result<Request> {
        self.store
            .request(id)
            .await?
            .ok_or(BrokerError::NotFound("request"))
    }

    /// The team has a breached debt that is still open.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_breached(&self, team: &str) -> Result<bool> {
        let filter = FollowUpFilter {
            open: true,
            team: Some(team.to_owned()),
            limit: 10_000,
            ..FollowUpFilter::default()
        };
        Ok(self
            .store
            .follow_ups(filter)
            .await?
            .iter()
            .any(|follow_up| follow_up.is_breached()))
    }

    async fn overlaps(&self, person: &Person, question: &Question) -> Result<Vec<String>> {
        let grants = self.live_grants(Some(&question.cluster)).await?;
        Ok(grants
            .iter()
            .filter(|grant| grant.requester.surely_same_person(person))
            .filter(|grant| grant.namespaces.iter().any(|n| question.namespaces.contains(n)))
            .map(|grant| {
                let ends = grant
                    .ends_at
                    .map(|t| t.format(" until %H:%M UTC").to_string())
                    .unwrap_or_default();
                format!(
                    "{} in {}{ends} ({})",
                    grant.profile,
                    grant.namespaces.join(", "),
                    grant.state.name()
                )
            })
            .collect())
    }
}

/// Seconds in words.
#[must_use]
pub fn minutes(seconds: u32) -> String {
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// The end of a job. After a conflict it looks at the world again at once: a job that is dropped there
/// leaves its work undone for ever.
pub(super) fn done_unless_conflict<T>(result: Result<T>, now: Time) -> Result<Outcome> {
    Ok(skip_conflict(result)?.map_or(Outcome::Again(now), |_| Outcome::Done))
}

/// A conflict means that somebody else did it, or something else happened first: the loop looks again.
pub(super) fn skip_conflict<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(BrokerError::Store(crate::store::StoreError::Conflict(_))) => Ok(None),
        Err(error) => Err(error),
    }
}
