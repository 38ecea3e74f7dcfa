//! Stage 3: the access is laid out, shortened, and looked after.

use super::request::{done_unless_conflict, minutes, skip_conflict};
use super::{Broker, BrokerError, Outcome, Result};
use crate::clock::Time;
use crate::cluster::{Access, ClusterError};
use crate::config::Scope;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::{EndCause, Grant, GrantState};
use crate::domain::person::Person;
use crate::domain::policy::{self, Role};
use crate::domain::transition::{About, Transition, Write, record};
use crate::ids::GrantId;
use crate::store::GrantFilter;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

impl Broker {
    /// What is laid out in the cluster for `grant`.
    #[must_use]
    pub fn access(&self, grant: &Grant) -> Access {
        let scoped = self
            .config
            .cluster_role(&grant.cluster_role)
            .is_some_and(|role| role.scope == Scope::Cluster);
        Access {
            account: grant.account.clone(),
            grant: grant.id.to_string(),
            cluster_role: grant.cluster_role.clone(),
            namespaces: if scoped { vec![] } else { grant.namespaces.clone() },
        }
    }

    /// The cluster is still the one that was approved, and the role's rules still are what was shown.
    ///
    /// # Errors
    /// [`ClusterError::Unsound`] when they are not: the access must not be given, or must end.
    pub async fn as_approved(&self, grant: &Grant) -> Result<()> {
        let cluster = self.cluster(&grant.cluster)?;
        let (uid, rules) = tokio::try_join!(cluster.uid(), cluster.rules(&grant.cluster_role))?;
        Ok(is_as_approved(grant, &uid, &rules)?)
    }

    /// Job: lays out the access. A crash anywhere here leaves objects that the same job finds again,
    /// or that ending removes.
    ///
    /// # Errors
    /// What failed; the job is tried again until the grant's shelf life is over.
    pub async fn provision(&self, id: GrantId) -> Result<Outcome> {
        let grant = self.grant(id).await?;
        if grant.state != GrantState::Provisioning {
            return Ok(Outcome::Done);
        }
        match self.lay_out(&grant).await {
            Ok(()) => {}
            Err(BrokerError::Cluster(ClusterError::Unsound(reason))) => {
                self.end(id, EndCause::Policy { reason }).await?;
                return Ok(Outcome::Done);
            }
            Err(error) => return Err(error),
        }
        let now = self.now();
        let about = About::grant(&grant);
        let mail = super::notices::mail_of([&grant.requester]);
        let sentence = "The access is laid out; the key can be revealed now";
        let notice = self.notice_people(
            "grant.ready",
            "You can reveal your key now",
            sentence,
            &format!("/grants/{id}"),
            &about,
            &mail,
        );
        let facts =
            json!({"account": grant.account, "namespaces": grant.namespaces, "role": grant.cluster_role});
        let new = grant.ready(now)?;
        let transition = Transition::new(record(EntryKind::GrantReady, now, about, sentence, facts))
            .write(Write::Grant {
                expected: GrantState::Provisioning,
                new,
            })
            .notice(notice);
        done_unless_conflict(self.commit(transition).await, now)
    }

    async fn lay_out(&self, grant: &Grant) -> Result<()> {
        self.as_approved(grant).await?;
        // The scope is watched before anything can be touched: there is always a "before".
        self.watches.ensure(self, grant).await?;
        let cluster = self.cluster(&grant.cluster)?;
        Ok(cluster.lay_out(&self.access(grant)).await?)
    }

    /// Brings the end nearer, at once.
    ///
    /// # Errors
    /// Not allowed to this person, or not nearer.
    pub async fn shorten(&self, id: GrantId, person: &Person, ends_at: Time) -> Result<()> {
        let grant = self.grant(id).await?;
        if !self.may_end(&grant, person) {
            return Err(BrokerError::NotFound("grant"));
        }
        let (now, expected) = (self.now(), grant.state);
        let about = About::grant(&grant).by(person);
        let new = grant.shorten(ends_at, now)?;
        let left = u32::try_from((ends_at - now).num_seconds()).unwrap_or(0);
        let sentence = format!("{} shortened the access: {} left", person.name, minutes(left));
        let notice = self.notice_compliance(
            "grant.shortened",
            "An access was shortened",
            &sentence,
            &format!("/grants/{id}"),
            &about,
        );
        let entry = record(
            EntryKind::GrantShortened,
            now,
            about,
            sentence,
            json!({"ends_at": ends_at}),
        );
        self.commit(
            Transition::new(entry)
                .write(Write::Grant { expected, new })
                .notice(notice),
        )
        .await?;
        Ok(())
    }

    /// `person` may end or shorten this access: whoever has it, approved it, or may revoke.
    #[must_use]
    pub fn may_end(&self, grant: &Grant, person: &Person) -> bool {
        grant.requester.surely_same_person(person)
            || grant
                .approvers
                .iter()
                .any(|approver| approver.surely_same_person(person))
            || policy::has_role(&self.config, person, Role::Revoker)
    }

    /// Ends every live grant whose rules, or whose cluster, are no longer what was approved.
    ///
    /// # Errors
    /// The store's. A cluster that does not answer is looked at again.
    pub async fn compare_rules(&self) -> Result<()> {
        // One question a cluster and a role, however many grants have it.
        let mut answers = BTreeMap::new();
        for grant in self.live_grants(None).await? {
            if grant.state == GrantState::Ending {
                continue;
            }
            let asked = (grant.cluster.clone(), grant.cluster_role.clone());
            let answer = match answers.entry(asked) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let cluster = self.cluster(&grant.cluster)?;
                    new.insert(tokio::try_join!(
                        cluster.uid(),
                        cluster.rules(&grant.cluster_role)
                    ))
                }
            };
            let judged = match answer {
                Ok((uid, rules)) => is_as_approved(&grant, uid, rules),
                Err(error) => Err(error.clone()),
            };
            if let Err(ClusterError::Unsound(reason)) = judged {
                let key = format!("approved {}", grant.id);
                let text = format!("{reason}; the access of {} ends", grant.requester.name);
                self.find(&key, About::grant(&grant), &text, Some(grant.id))
                    .await?;
                skip_conflict(self.end(grant.id, EndCause::Policy { reason }).await)?;
            }
        }
        Ok(())
    }

    /// Ends every grant whose time is over, and goes on with ends that could not be written.
    ///
    /// One that cannot be ended now keeps no other one alive: each is tried.
    ///
    /// # Errors
    /// The store cannot be read, or the first failure.
    pub async fn look_after_grants(&self) -> Result<()> {
        let live = self.live_grants(None).await?;
        self.look_after_unwritten(&live).await?;
        let (is_lent, mut first) = (!live.is_empty(), Ok(()));
        for grant in live {
            if self.unwritten_end(grant.id).is_some() {
                continue;
            }
            if let Some(cause) = grant.overdue(self.now()) {
                let ended = skip_conflict(self.end(grant.id, cause).await);
                first = first.and(ended.map(|_| ()));
            }
        }
        // Last: no end may wait for it, or fail by it.
        if is_lent && let Err(error) = self.see_time().await {
            tracing::warn!(
                error = crate::causes::chain(&error),
                "the time cannot be written down"
            );
        }
        first
    }

    /// Sees that live scopes are watched. Apart from the deadlines: a cluster that hangs must not hold them up.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn look_after_scopes(&self) -> Result<()> {
        for grant in self.live_grants(None).await? {
            let open = matches!(
                grant.state,
                GrantState::Ready | GrantState::Issuing | GrantState::Active
            );
            if open && let Err(error) = self.watches.ensure(self, &grant).await {
                tracing::warn!(grant = %grant.id, %error, "the scope is not watched");
            }
        }
        Ok(())
    }

    /// Every grant that is not ended; of one cluster, where it is named.
    ///
    /// # Errors
    /// The store's.
    pub async fn live_grants(&self, cluster: Option<&str>) -> Result<Vec<Arc<Grant>>> {
        let filter = GrantFilter {
            live: true,
            cluster: cluster.map(str::to_owned),
            limit: 10_000,
            ..GrantFilter::default()
        };
        Ok(self.store.grants(filter).await?)
    }
}

/// The cluster and the role's rules are those that were approved.
fn is_as_approved(grant: &Grant, uid: &str, rules: &Value) -> std::result::Result<(), ClusterError> {
    if uid != grant.cluster_uid {
        let why = format!(
            "{} is another cluster than the one that was approved",
            grant.cluster
        );
        return Err(ClusterError::Unsound(why));
    }
    if *rules != grant.rules {
        let why = format!(
            "the rules of ClusterRole {} changed after the approval",
            grant.cluster_role
        );
        return Err(ClusterError::Unsound(why));
    }
    Ok(())
}
