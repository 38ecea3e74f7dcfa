//! Whatever gives access in a cluster is known to the ledger, or it is found: an account, a Secret, a binding that
//! no grant accounts for. A right added to a live grant behind the approvers' backs also ends it.

use super::request::skip_conflict;
use super::{Broker, Result};
use crate::cluster::{Sighted, Sighting};
use crate::config::GRANTS_NAMESPACE;
use crate::domain::grant::{EndCause, Grant, GrantState};
use crate::domain::transition::About;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;

impl Broker {
    /// Looks at everything that gives access in a cluster, until the watch ends.
    ///
    /// # Errors
    /// The cluster's or the store's: it begins again, with everything that is there.
    pub async fn guard(&self, cluster: &str) -> Result<()> {
        let watched = Arc::clone(self.cluster(cluster)?);
        let (sender, mut sightings) = mpsc::channel(64);
        let judge = async {
            while let Some(sighting) = sightings.recv().await {
                self.judge(cluster, &sighting).await?;
            }
            Result::Ok(())
        };
        let watch = async { Result::Ok(watched.guard(sender).await?) };
        tokio::try_join!(watch, judge)?;
        Ok(())
    }

    async fn judge(&self, cluster: &str, sighting: &Sighting) -> Result<()> {
        let live = self.live_grants(Some(cluster)).await?;
        let Some(Unknown { text, widened }) = unknown(sighting, &live) else {
            return Ok(());
        };
        if self.is_of_probe(cluster, sighting).await? {
            return Ok(());
        }
        // A watch that was cut tells again what has been taken away since.
        if widened.is_empty() && !self.is_there(cluster, sighting).await? {
            return Ok(());
        }
        let grant = widened.first();
        let mut about = grant.map_or_else(|| About::cluster(cluster), |grant| About::grant(grant));
        about.cluster = Some(cluster.to_owned());
        let key = format!("guard {cluster} {} {}", sighting.kind, sighting.uid);
        self.find(&key, about, &text, grant.map(|grant| grant.id)).await?;
        for grant in widened.iter().filter(|grant| grant.state != GrantState::Ending) {
            let reason = text.clone();
            skip_conflict(self.end(grant.id, EndCause::Policy { reason }).await)?;
        }
        Ok(())
    }

    async fn is_there(&self, cluster: &str, sighting: &Sighting) -> Result<bool> {
        let now = self.cluster(cluster)?.get(&sighting.key).await?;
        let uid = now
            .as_ref()
            .and_then(|object| object.pointer("/metadata/uid"))
            .and_then(Value::as_str);
        Ok(uid == Some(&sighting.uid))
    }
}

/// What nobody approved.
struct Unknown<'a> {
    text: String,
    /// Live grants that have more rights by it than were approved.
    widened: Vec<&'a Grant>,
}

/// Whether a live grant accounts for what was sighted. Names and labels prove nothing by themselves: they must
/// be those of a grant that is live now.
fn unknown<'a>(sighting: &Sighting, live: &'a [Arc<Grant>]) -> Option<Unknown<'a>> {
    let live = || live.iter().map(Arc::as_ref);
    let labelled = |grant: &&Grant| sighting.grant == Some(grant.id.to_string());
    let place = if sighting.key.namespace.is_empty() {
        sighting.key.name.clone()
    } else {
        format!("{}/{}", sighting.key.namespace, sighting.key.name)
    };
    let nothing_widened = |text: String| {
        Some(Unknown {
            text,
            widened: vec![],
        })
    };
    match &sighting.what {
        Sighted::Account => {
            let known = live()
                .filter(labelled)
                .any(|grant| grant.account == sighting.key.name);
            if known {
                return None;
            }
            nothing_widened(format!(
                "ServiceAccount {place} is in the cluster and no live grant has it"
            ))
        }
        Sighted::Secret { of_a_reveal } => {
            let of = |grant: &Grant| {
                grant
                    .reveals
                    .iter()
                    .any(|reveal| reveal.secret_name == sighting.key.name)
            };
            if *of_a_reveal && live().filter(labelled).any(of) {
                return None;
            }
            nothing_widened(format!(
                "Secret {place} is in the cluster and belongs to no live grant: it may be a lasting credential"
            ))
        }
        Sighted::Binding {
            accounts,
            others,
            role,
        } => {
            let laid_out = |grant: &Grant| {
                let here = if sighting.key.namespace.is_empty() {
                    grant.namespaces.is_empty()
                } else {
                    grant.namespaces.contains(&sighting.key.namespace)
                };
                here && accounts.as_slice() == std::slice::from_ref(&grant.account)
                    && sighting.key.name == grant.account
                    && *role == format!("ClusterRole {}", grant.cluster_role)
            };
            if !others && live().filter(labelled).any(laid_out) {
                return None;
            }
            let whom = |grant: &&Grant| accounts.iter().any(|name| name == "*" || *name == grant.account);
            let named = if accounts.iter().any(|name| name == "*") {
                format!("everybody in {GRANTS_NAMESPACE}")
            } else {
                accounts.join(", ")
            };
            Some(Unknown {
                text: format!(
                    "{} {place} gives {role} to {named}, and nobody approved that",
                    sighting.kind
                ),
                widened: live().filter(whom).collect(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture;
    use crate::domain::object::ObjectKey;

    fn sighting(what: Sighted, namespace: &str, name: &str, grant: &Grant) -> Sighting {
        Sighting {
            what,
            kind: "RoleBinding".into(),
            key: ObjectKey {
                group: String::new(),
                version: "v1".into(),
                resource: String::new(),
                namespace: namespace.into(),
                name: name.into(),
            },
            uid: "u".into(),
            grant: Some(grant.id.to_string()),
        }
    }

    fn binding(accounts: &[&str], others: bool, role: &str) -> Sighted {
        Sighted::Binding {
            accounts: accounts.iter().map(|name| (*name).to_owned()).collect(),
            others,
            role: role.to_owned(),
        }
    }

    #[test]
    fn what_was_laid_out_is_known_and_everything_else_is_found() {
        let grant = fixture::grant();
        let live = [Arc::new(grant.clone())];
        let (account, place) = (grant.account.as_str(), grant.namespaces[0].as_str());
        let role = format!("ClusterRole {}", grant.cluster_role);
        let own = sighting(binding(&[account], false, &role), place, account, &grant);
        assert!(unknown(&own, &live).is_none());
        assert!(unknown(&own, &[]).is_some(), "after the end nothing may be left");
        for (what, namespace, name) in [
            (
                binding(&[account], false, "ClusterRole cluster-admin"),
                place,
                account,
            ),
            (binding(&[account], false, &role), "elsewhere", account),
            (binding(&[account], false, &role), "", account),
            (binding(&[account], false, &role), place, "another"),
            (binding(&[account], true, &role), place, account),
            (binding(&[account, "b"], false, &role), place, account),
            (binding(&["*"], false, &role), place, account),
        ] {
            let found = unknown(&sighting(what.clone(), namespace, name, &grant), &live).expect("found");
            assert_eq!(found.widened.len(), 1, "{what:?} ends the grant");
        }
        let foreign = sighting(binding(&["stranger"], false, &role), place, "x", &grant);
        assert!(
            unknown(&foreign, &live).unwrap().widened.is_empty(),
            "and leaves others alone"
        );
    }

    #[test]
    fn an_account_or_secret_needs_its_grant_not_only_its_label() {
        let grant = fixture::grant();
        let live = [Arc::new(grant.clone())];
        let of = |what: Sighted, name: &str| unknown(&sighting(what, GRANTS_NAMESPACE, name, &grant), &live);
        assert!(of(Sighted::Account, &grant.account).is_none());
        assert!(of(Sighted::Account, "breakglass-other").is_some());
        let secret = |of_a_reveal| Sighted::Secret { of_a_reveal };
        assert!(of(secret(true), "planted").is_some());
        assert!(of(secret(false), "planted").is_some());
    }
}
