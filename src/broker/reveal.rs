//! The reveal: one Secret and token each time, seen in audit before it is shown, shown once.
//!
//! The one stage that holds a credential, in memory only and for as long as this function runs. What
//! it leaves behind if it is cut anywhere: a grant in Issuing and a job that deletes the Secret.

use super::{Broker, BrokerError, Changed, Result};
use crate::clock::Time;
use crate::cluster::{ClusterError, FirstUse, Token};
use crate::config::Profile;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::{EndCause, Grant, GrantState, Issued};
use crate::domain::job::{Job, JobKind};
use crate::domain::person::Person;
use crate::domain::transition::{About, Transition, Write, record};
use crate::ids::{GrantId, RevealId};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Instant;
use tokio::sync::mpsc;

/// What the requester sees while waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A Secret of its own is being made and a token issued.
    Issuing,
    /// The token is being used once.
    Using,
    /// Waiting for both to come back through audit, for this long at most.
    Waiting {
        /// The bound, in seconds.
        at_most_s: u32,
        /// The audit delay last measured on this cluster, milliseconds.
        usual_ms: Option<i64>,
    },
    /// Both came back.
    Seen,
}

/// A shown key.
pub struct Shown {
    /// The kubeconfig. Handed to the requester and forgotten.
    pub kubeconfig: String,
    /// The grant, Active.
    pub grant: Grant,
    /// The expiry the server really gave.
    pub expires_at: Time,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown")
            .field("grant", &self.grant.id)
            .finish_non_exhaustive()
    }
}

/// The time between the bound of the wait and the job that takes the Secret away.
const GRACE_S: i64 = 15;

impl Broker {
    /// Reveals a key to its requester. The caller has verified a fresh login.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] with the reason; the token is dead or dying then, and compliance knows.
    pub async fn reveal(&self, id: GrantId, person: &Person, progress: &mpsc::Sender<Step>) -> Result<Shown> {
        let grant = self.grant(id).await?;
        let profile = self.config.profiles.get(&grant.profile).ok_or_else(|| {
            BrokerError::Refused(format!(
                "profile {} is not in the configuration any more",
                grant.profile
            ))
        })?;
        if !grant.requester.surely_same_person(person) {
            return Err(BrokerError::NotFound("grant"));
        }
        if let Some(why) = self.audit_policy_trouble(&grant.cluster, profile).await? {
            return Err(BrokerError::Refused(why));
        }
        match self.as_approved(&grant).await {
            Ok(()) => {}
            Err(BrokerError::Cluster(ClusterError::Unsound(reason))) => {
                self.end(
                    id,
                    EndCause::Policy {
                        reason: reason.clone(),
                    },
                )
                .await?;
                return Err(BrokerError::Refused(format!("{reason}; the access was ended")));
            }
            Err(error) => return Err(error),
        }
        let reveal = self.begin_reveal(grant, person).await?;
        match self.issue_and_see(id, reveal, profile, progress).await {
            Ok(shown) => Ok(shown),
            Err(error) => {
                let why = error.to_string();
                let grant = self.grant(id).await?;
                if grant.is_revealing(reveal) {
                    self.reveal_failed(&grant, reveal, &why).await?;
                } else if let Some(over) = grant
                    .reveals
                    .iter()
                    .find(|r| r.id == reveal && r.over_at.is_some())
                {
                    // It was given up while its Secret was still being made: the job that removes it may
                    // have run before it was there.
                    let secret = over.secret_name.clone();
                    let job = Job::new(JobKind::RemoveSecret { grant: id, secret }, self.now());
                    self.store.poke(&[job]).await?;
                }
                Err(error)
            }
        }
    }

    async fn begin_reveal(&self, grant: Grant, person: &Person) -> Result<RevealId> {
        let (now, expected, id) = (self.now(), grant.state, grant.id);
        let about = About::grant(&grant).by(person);
        let wait = self.audit_wait_s(&grant);
        let (new, reveal) = grant.begin_reveal(person, now)?;
        let sentence = format!("{} is revealing a key", person.name);
        let abandon = now + TimeDelta::seconds(i64::from(wait) + GRACE_S);
        let transition = Transition::new(record(
            EntryKind::RevealStarted,
            now,
            about,
            sentence,
            json!({"reveal": reveal}),
        ))
        .write(Write::Grant { expected, new })
        .job(JobKind::AbandonReveal { grant: id, reveal }, abandon);
        self.commit(transition).await?;
        Ok(reveal)
    }

    async fn issue_and_see(
        &self,
        id: GrantId,
        reveal: RevealId,
        profile: &Profile,
        progress: &mpsc::Sender<Step>,
    ) -> Result<Shown> {
        // A closed progress channel is a lost connection: nobody is there to show a key to.
        let gone = |_| BrokerError::Refused("the connection was lost".into());
        progress.send(Step::Issuing).await.map_err(gone)?;
        let grant = self.grant(id).await?;
        let access = self.access(&grant);
        let cluster = self.cluster(&grant.cluster)?;
        let secret = grant
            .reveals
            .iter()
            .find(|r| r.id == reveal)
            .map(|r| r.secret_name.clone())
            .ok_or(BrokerError::NotFound("reveal"))?;
        let left = grant.ends_at.map_or(i64::from(grant.duration_s), |ends| {
            (ends - self.now()).num_seconds()
        });
        // The API server gives no token for less than ten minutes (TokenRequest); a shorter access is ended by us.
        let seconds = u32::try_from(left.max(600)).unwrap_or(600);
        let began = Instant::now();
        let token = cluster.issue(&access, &secret, seconds).await?;
        let grant = self.write_down(grant, reveal, &token).await?;
        progress.send(Step::Using).await.map_err(gone)?;
        let uses = cluster.use_once(&access, &token).await?;
        let took_us = i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX);
        check_rules(&grant, &uses)?;
        let at_most_s = self.audit_wait_s(&grant);
        let usual_ms = self.audit_delay_ms(&grant.cluster);
        progress
            .send(Step::Waiting { at_most_s, usual_ms })
            .await
            .map_err(gone)?;
        let seen = self
            .wait_for_audit(&grant, &token.credential_id, at_most_s, progress)
            .await;
        // Its own events came by one API server; the key opens all of them.
        let seen = seen.and_then(|issued_us| match self.audit_trouble(&grant.cluster) {
            Some(trouble) => Err(BrokerError::Refused(trouble)),
            None => Ok(issued_us),
        });
        // The issuance came after `began`, so our last use was no later than this.
        let own_until_us = seen
            .as_ref()
            .ok()
            .map(|issued_us| issued_us.saturating_add(took_us));
        if let Err(error) = seen {
            if !profile.release_without_audit {
                return Err(error);
            }
            let text = format!(
                "A key of {} was shown although audit did not confirm it: {error}",
                grant.account
            );
            self.find(
                &format!("unaudited {reveal}"),
                About::grant(&grant),
                &text,
                Some(id),
            )
            .await?;
        }
        progress.send(Step::Seen).await.map_err(gone)?;
        let grant = self.shown(id, reveal, own_until_us).await?;
        Ok(Shown {
            kubeconfig: cluster.kubeconfig(&access, &token),
            grant,
            expires_at: token.expires_at,
        })
    }

    /// Keeps what identifies the token, before its first use.
    async fn write_down(&self, grant: Grant, reveal: RevealId, token: &Token) -> Result<Grant> {
        let now = self.now();
        let about = About::grant(&grant);
        let issued = Issued {
            credential_id: token.credential_id.clone(),
            token_hash: hex::encode(Sha256::digest(token.token.as_bytes())),
            probe_token: token.probe.clone(),
            expires_at: token.expires_at,
        };
        let facts = json!({"reveal": reveal, "credential_id": issued.credential_id,
            "token_sha256": issued.token_hash, "expires_at": issued.expires_at});
        let id = grant.id;
        let new = grant.issued(reveal, issued)?;
        let entry = record(
            EntryKind::CredentialIssued,
            now,
            about,
            "A credential was issued",
            facts,
        );
        self.commit(Transition::new(entry).write(Write::Grant {
            expected: GrantState::Issuing,
            new,
        }))
        .await?;
        self.grant(id).await
    }

    /// Polls the store, since another replica may receive the event.
    async fn wait_for_audit(
        &self,
        grant: &Grant,
        credential_id: &str,
        at_most_s: u32,
        progress: &mpsc::Sender<Step>,
    ) -> Result<i64> {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                let events = self
                    .store
                    .actions_of_credential(&grant.cluster, credential_id)
                    .await?;
                if let Some(issued_us) = confirmed(&events)? {
                    return Ok(issued_us);
                }
                let poll = tokio::time::sleep(std::time::Duration::from_millis(500));
                tokio::select! {
                    () = poll => {}
                    _ = changed.recv() => {}
                    () = progress.closed() => {
                        return Err(BrokerError::Refused("the connection was lost".into()));
                    }
                }
            }
        };
        let bound = std::time::Duration::from_secs(u64::from(at_most_s));
        tokio::time::timeout(bound, wait).await.unwrap_or_else(|_| {
            Err(BrokerError::Refused(format!(
                "the key's own events did not come back through audit within {at_most_s} s: \
                 without a record there is no access. See the Clusters page"
            )))
        })
    }

    async fn shown(&self, id: GrantId, reveal: RevealId, own_until_us: Option<i64>) -> Result<Grant> {
        let mut grant = self.grant(id).await?;
        if let Some(until_us) = own_until_us {
            grant = grant.used_by_us(reveal, until_us)?;
        }
        let now = self.now();
        let about = About::grant(&grant).by(&grant.requester);
        let first = !grant.was_revealed();
        let mut mail = super::notices::mail_of([&grant.requester]);
        mail.extend(super::notices::mail_of(&grant.approvers));
        let (new, replaced) = grant.shown(reveal, now)?;
        let until = new
            .ends_at
            .map(|t| t.format("%H:%M:%S UTC").to_string())
            .unwrap_or_default();
        let sentence = if first {
            format!(
                "The glass is broken: {} holds {} on {} ({}) until {until}",
                new.requester.name,
                new.profile,
                new.cluster,
                new.namespaces.join(", ")
            )
        } else {
            format!("{} revealed a new key; the old one dies", new.requester.name)
        };
        let notice = self.notice_people(
            "grant.active",
            "The glass is broken",
            &sentence,
            &format!("/grants/{id}"),
            &about,
            &mail,
        );
        let facts = json!({"reveal": reveal, "ends_at": new.ends_at});
        let mut transition = Transition::new(record(EntryKind::GrantActive, now, about, sentence, facts))
            .write(Write::Grant {
                expected: GrantState::Issuing,
                new,
            })
            .notice(notice);
        for secret in replaced {
            transition = transition.job(JobKind::RemoveSecret { grant: id, secret }, now);
        }
        self.commit(transition).await?;
        let _ = self.changed.send(Changed::Grant(id));
        self.grant(id).await
    }

    /// Back to where it was; the Secret goes.
    pub(super) async fn reveal_failed(&self, grant: &Grant, reveal: RevealId, why: &str) -> Result<()> {
        let now = self.now();
        let about = About::grant(grant);
        let (new, secret) = grant.clone().reveal_failed(reveal, now)?;
        let sentence = format!("No key was shown, and its token is being killed: {why}");
        let notice = self.notice_compliance(
            "reveal.failed",
            "A key could not be shown",
            &sentence,
            &format!("/grants/{}", grant.id),
            &about,
        );
        let transition = Transition::new(record(
            EntryKind::RevealFailed,
            now,
            about,
            sentence,
            json!({"why": why}),
        ))
        .write(Write::Grant {
            expected: GrantState::Issuing,
            new,
        })
        .notice(notice)
        .job(
            JobKind::RemoveSecret {
                grant: grant.id,
                secret,
            },
            now,
        );
        self.commit(transition).await?;
        Ok(())
    }

    fn audit_wait_s(&self, grant: &Grant) -> u32 {
        self.config
            .clusters
            .get(&grant.cluster)
            .map_or(45, |cluster| cluster.audit_wait.seconds())
    }
}

/// The issuance and at least one use by the grant's own user, each at the promised level: when the API server
/// received the issuance, microseconds since 1970.
///
/// # Errors
/// They came back at a lower level than the audit policy promises.
fn confirmed(events: &[crate::domain::transition::ActionRow]) -> Result<Option<i64>> {
    let issuance = events
        .iter()
        .find(|event| event.class == super::record::ISSUANCE)
        .map(|event| event.received_us);
    let Some(used) = events
        .iter()
        .find(|event| event.grant.is_some() && event.class != super::record::ISSUANCE)
    else {
        return Ok(None);
    };
    let level = used
        .facts
        .get("level")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if level != "RequestResponse" {
        return Err(BrokerError::Refused(format!(
            "the key's first use was recorded at level {level:?} instead of RequestResponse: the cluster's \
             audit policy is not the one `breakglass manifests --audit-policy` prints"
        )));
    }
    Ok(issuance)
}

/// Every resource rule the server grants the token was approved, or is what every account has.
///
/// # Errors
/// A rule beyond what was approved.
fn check_rules(grant: &Grant, uses: &[FirstUse]) -> Result<()> {
    let approved = grant.rules.as_array().cloned().unwrap_or_default();
    for found in uses {
        if found.incomplete {
            let why = format!("the API server could not list all rights in {}", found.namespace);
            return Err(BrokerError::Refused(why));
        }
        for rule in found.rules.as_array().into_iter().flatten() {
            if !within(rule, &approved) {
                return Err(BrokerError::Refused(format!(
                    "the key has rights in {} beyond what was approved: {rule}",
                    found.namespace
                )));
            }
        }
    }
    Ok(())
}

/// Each (group, resource, verb) of `rule` stands in some approved rule, or is a self review that the
/// built-in `system:basic-user` gives to everybody.
fn within(rule: &Value, approved: &[Value]) -> bool {
    let list = |rule: &Value, name: &str| -> Vec<String> {
        rule.get(name)
            .and_then(Value::as_array)
            .map(|items| {
                items
                    .iter()
                    .filter_map(|v| v.as_str().map(str::to_owned))
                    .collect()
            })
            .unwrap_or_default()
    };
    let has = |set: &[String], item: &str| set.iter().any(|own| own == "*" || own == item);
    list(rule, "apiGroups").iter().all(|group| {
        list(rule, "resources").iter().all(|resource| {
            list(rule, "verbs").iter().all(|verb| {
                let basic = verb == "create"
                    && ((group == "authorization.k8s.io"
                        && ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
                            .contains(&resource.as_str()))
                        || (group == "authentication.k8s.io" && resource == "selfsubjectreviews"));
                basic
                    || approved.iter().any(|own| {
                        let names = list(own, "resourceNames");
                        has(&list(own, "apiGroups"), group)
                            && has(&list(own, "resources"), resource)
                            && has(&list(own, "verbs"), verb)
                            && (names.is_empty() || {
                                let asked = list(rule, "resourceNames");
                                !asked.is_empty() && asked.iter().all(|name| names.contains(name))
                            })
                    })
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
        json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
    }

    #[test]
    fn a_rule_split_or_joined_otherwise_is_within_what_was_approved() {
        let approved = [rule(
            &["apps"],
            &["deployments", "statefulsets"],
            &["get", "patch"],
        )];
        assert!(within(&rule(&["apps"], &["deployments"], &["get"]), &approved));
        assert!(within(
            &rule(&["apps"], &["statefulsets", "deployments"], &["patch", "get"]),
            &approved
        ));
        assert!(!within(
            &rule(&["apps"], &["deployments"], &["delete"]),
            &approved
        ));
        assert!(!within(&rule(&[""], &["secrets"], &["get"]), &approved));
        assert!(!within(&rule(&["*"], &["*"], &["*"]), &approved));
    }

    #[test]
    fn what_everybody_has_is_no_surprise() {
        assert!(within(
            &rule(
                &["authorization.k8s.io"],
                &["selfsubjectrulesreviews"],
                &["create"]
            ),
            &[]
        ));
        assert!(!within(
            &rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
            &[]
        ));
    }

    #[test]
    fn a_right_to_one_name_is_not_a_right_to_all() {
        let mut one = rule(&[""], &["configmaps"], &["get"]);
        one["resourceNames"] = json!(["flags"]);
        assert!(!within(
            &rule(&[""], &["configmaps"], &["get"]),
            std::slice::from_ref(&one)
        ));
        assert!(within(&one.clone(), &[one]));
    }
}
