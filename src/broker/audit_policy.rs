//! Does each API server's audit policy keep what the profiles promise? Asked at start, once a day and after a restart
//! of the API server, by requests that are refused: audited all the same, at the level of their kind.

use super::seen::label;
use super::{Broker, Result};
use crate::clock::Time;
use crate::cluster::manifests::{Wrong, audit_probes, lines_for};
use crate::cluster::{Access, Cluster, Sighted, Sighting};
use crate::config::{NAME_PREFIX, PROBE_ACCOUNT, Profile};
use crate::domain::entry_kind::EntryKind;
use crate::domain::finding::Finding;
use crate::domain::transition::{About, Transition, Write, record};
use crate::store::StoreError;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// A policy that keeps what is promised is asked again so long after.
const EVERY: TimeDelta = TimeDelta::hours(24);
/// One that does not, and a try that failed.
const AGAIN: TimeDelta = TimeDelta::minutes(1);
const AFTER_FAILURE: TimeDelta = TimeDelta::seconds(10);
/// One process tells its start a little differently each time.
const SAME_START_MS: i64 = 5_000;
/// How many kinds of request a finding names.
const NAMED: usize = 3;
/// The label's value on the account and its Secret, where a grant's id stands otherwise.
const LABEL: &str = "audit-probe";

/// What is known of one API server's audit policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// When it was asked.
    pub at: Time,
    /// How many kinds of request were tried.
    pub tried: usize,
    /// Those that are kept otherwise than promised.
    pub wrong: Vec<Wrong>,
    /// Under which configuration, and on which cluster.
    of: String,
    /// When the API server's process began, once that is known, ms by its machine.
    started_ms: Option<i64>,
}

/// What is kept of a cluster.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    /// The account is, or may be, in the cluster.
    laid_out: bool,
    servers: BTreeMap<String, Probed>,
}

impl Probed {
    /// The lines that bring about what is promised, to stand before all other rules; none where all is well.
    #[must_use]
    pub fn lines(&self) -> Option<String> {
        (!self.wrong.is_empty()).then(|| lines_for(&self.wrong))
    }

    fn is_due(&self, of: &str, started_ms: Option<i64>, now: Time) -> bool {
        let ago = now - self.at;
        let every = if self.wrong.is_empty() { EVERY } else { AGAIN };
        let is_another = |started: i64| {
            self.started_ms
                .is_some_and(|own| (own - started).abs() > SAME_START_MS)
        };
        // A time that is still to come says nothing: the clock was set back since.
        ago >= every || ago < TimeDelta::zero() || self.of != of || started_ms.is_some_and(is_another)
    }

    /// Takes when the API server was started, where that was not known. Says whether it was not.
    fn learn_start(&mut self, started_ms: Option<i64>) -> bool {
        let is_new = self.started_ms.is_none() && started_ms.is_some();
        self.started_ms = self.started_ms.or(started_ms);
        is_new
    }
}

fn setting(cluster: &str) -> String {
    format!("audit policy {cluster}")
}

fn access() -> Access {
    Access {
        account: PROBE_ACCOUNT.to_owned(),
        grant: LABEL.to_owned(),
        cluster_role: String::new(),
        namespaces: vec![],
    }
}

fn secret() -> String {
    format!("{NAME_PREFIX}audit-probe")
}

impl Known {
    fn text(&self) -> Result<String> {
        let text = serde_json::to_string(self).map_err(|error| StoreError::Corrupt {
            what: "what is known of an audit policy",
            why: error.to_string(),
        });
        Ok(text?)
    }
}

impl Broker {
    /// Probes the audit policy of each API server of a cluster for which it is time. What is left of a probe that was
    /// cut is taken away first.
    ///
    /// # Errors
    /// The store's or the cluster's, or audit did not answer: it is tried again.
    pub async fn probe_audit_policy(&self, name: &str) -> Result<()> {
        let now = self.now();
        let (failed_at, _) = self.audit.probes.tries().get(name).cloned().unwrap_or_default();
        if failed_at.is_some_and(|at| (TimeDelta::zero()..AFTER_FAILURE).contains(&(now - at))) {
            return Ok(());
        }
        let done = self.probe_due(name).await;
        if done.is_err() {
            self.audit.probes.tries().entry(name.to_owned()).or_default().0 = Some(now);
        }
        done
    }

    async fn probe_due(&self, name: &str) -> Result<()> {
        let Some(settings) = self.config.clusters.get(name) else {
            return Ok(());
        };
        self.stop_probing(name).await?;
        let cluster = self.cluster(name)?;
        let of = self.probed_as(name, &**cluster).await?;
        let mut known = self.probing(name).await?;
        let (mut due, mut is_new) = (vec![], false);
        for server in settings.servers() {
            let started_ms = self.reckoning(name, server).await?.run.map(|run| run.started_ms);
            let now = self.now();
            match known.servers.get_mut(server) {
                Some(probed) if !probed.is_due(&of, started_ms, now) => {
                    is_new |= probed.learn_start(started_ms);
                }
                // While audit is silent nothing would come back, and that is told already.
                _ if self.canaries(name, server).back_at.is_some()
                    && self.audit_silent_since(name, server, settings).is_none() =>
                {
                    due.push((server, started_ms));
                }
                _ => {}
            }
        }
        if is_new {
            self.store.set_setting(&setting(name), &known.text()?).await?;
        }
        if due.is_empty() {
            return Ok(());
        }
        let probes = audit_probes(&self.config, name, &cluster.namespaces().await?);
        // Written down first: what is made is known to be ours, also to the next process.
        known.laid_out = true;
        self.store.set_setting(&setting(name), &known.text()?).await?;
        let access = access();
        cluster.make_account(&access).await?;
        let token = cluster.issue(&access, &secret(), 600).await?;
        let mut found = vec![];
        for (server, started_ms) in due {
            let wrong = self
                .probe_server((name, server), settings, &token, &probes)
                .await?;
            let result = Probed {
                at: self.now(),
                tried: probes.len(),
                wrong,
                of: of.clone(),
                started_ms,
            };
            found.push((server, result));
        }
        self.stop_probing(name).await?;
        for (server, probed) in found {
            self.enter_probed(name, server, probed).await?;
        }
        Ok(())
    }

    /// Takes the probing account away, where one is laid out.
    ///
    /// # Errors
    /// The store's or the cluster's.
    pub async fn stop_probing(&self, name: &str) -> Result<()> {
        let mut known = self.probing(name).await?;
        if known.laid_out {
            self.cluster(name)?.remove_account(&access()).await?;
            known.laid_out = false;
            self.store.set_setting(&setting(name), &known.text()?).await?;
        }
        Ok(())
    }

    /// What was sighted in a cluster is the account of a probe that is under way, or its Secret.
    pub(super) async fn is_of_probe(&self, cluster: &str, sighting: &Sighting) -> Result<bool> {
        let own = match &sighting.what {
            Sighted::Account => sighting.key.name == PROBE_ACCOUNT,
            Sighted::Secret { of_a_reveal } => *of_a_reveal && sighting.key.name == secret(),
            Sighted::Binding { .. } => false,
        };
        Ok(own && sighting.grant.as_deref() == Some(LABEL) && self.probing(cluster).await?.laid_out)
    }

    /// What is known of an API server's audit policy; nothing before it was probed.
    ///
    /// # Errors
    /// The store's.
    pub async fn probed(&self, cluster: &str, server: &str) -> Result<Option<Probed>> {
        Ok(self.probing(cluster).await?.servers.remove(server))
    }

    /// Why nothing may be lent by a profile on a cluster because of an audit policy there: what it lends would not be
    /// recorded as promised. `None` where it is, or where the profile does without.
    ///
    /// # Errors
    /// The store's.
    pub async fn audit_policy_trouble(&self, cluster: &str, profile: &Profile) -> Result<Option<String>> {
        let Some(role) = self.config.cluster_role(&profile.cluster_role) else {
            return Ok(None);
        };
        if profile.release_without_audit {
            return Ok(None);
        }
        let known = self.probing(cluster).await?;
        let wrong = known.servers.iter().find_map(|(server, probed)| {
            Some((server, probed.wrong.iter().find(|wrong| wrong.concerns(role))?))
        });
        Ok(wrong.map(|(server, wrong)| {
            format!(
                "The audit policy of {} does not keep what this profile promises: {}. The Clusters page has the \
                 lines that put it right",
                label(cluster, server),
                wrong.words()
            )
        }))
    }

    async fn probing(&self, cluster: &str) -> Result<Known> {
        let Some(text) = self.store.setting(&setting(cluster)).await? else {
            return Ok(Known::default());
        };
        let read = serde_json::from_str(&text).map_err(|error| StoreError::Corrupt {
            what: "what is known of an audit policy",
            why: error.to_string(),
        });
        Ok(read?)
    }

    /// The configuration, and the cluster as it was met by this process.
    async fn probed_as(&self, name: &str, cluster: &dyn Cluster) -> Result<String> {
        let met = self
            .audit
            .probes
            .tries()
            .get(name)
            .and_then(|(_, uid)| uid.clone());
        let uid = if let Some(uid) = met {
            uid
        } else {
            let uid = cluster.uid().await?;
            self.audit.probes.tries().entry(name.to_owned()).or_default().1 = Some(uid.clone());
            uid
        };
        Ok(format!("{} {uid}", self.config.digest()))
    }

    /// Enters what was found; people are told where it is something new, and need look no more where it is well.
    async fn enter_probed(&self, name: &str, server: &str, probed: Probed) -> Result<()> {
        let mut known = self.probing(name).await?;
        let before = known.servers.insert(server.to_owned(), probed.clone());
        let keep = Write::Keep {
            name: setting(name),
            value: known.text()?,
        };
        let key = format!("audit policy {name} {server}");
        let open = self
            .store
            .finding(&key)
            .await?
            .filter(|finding| finding.settled.is_none());
        let is_same = before.is_some_and(|before| before.wrong == probed.wrong && !before.wrong.is_empty());
        if is_same && (open.is_some() || self.is_settled_today(&key).await?) {
            // Nothing new to be said.
            return Ok(self.store.set_setting(&setting(name), &known.text()?).await?);
        }
        let (now, about) = (self.now(), About::cluster(name));
        let whose = label(name, server);
        let text = say(&whose, &probed);
        let facts = json!({"server": server, "tried": probed.tried, "wrong": probed.wrong});
        let mut transition =
            Transition::new(record(EntryKind::AuditProbed, now, about.clone(), &text, facts)).write(keep);
        if let Some(open) = open {
            let settled = Some(("breakglass".to_owned(), text.clone(), now));
            transition = transition.write(Write::Finding(Finding { settled, ..open }));
        }
        if let Some(lines) = probed.lines() {
            transition = transition.and(self.finding_with(key, about, text, Some(lines)));
        }
        self.commit(transition).await?;
        Ok(())
    }

    /// Somebody settled a finding that stands, less than a day ago: they know of it.
    async fn is_settled_today(&self, key: &str) -> Result<bool> {
        let found = self.store.finding(key).await?.and_then(|finding| finding.settled);
        Ok(found.is_some_and(|(_, _, at)| self.now() - at < EVERY))
    }
}

fn say(whose: &str, probed: &Probed) -> String {
    let tried = probed.tried;
    if probed.wrong.is_empty() {
        return format!(
            "The audit policy of {whose} keeps what is promised: {tried} kinds of request were tried"
        );
    }
    let mut named: Vec<String> = probed.wrong.iter().take(NAMED).map(Wrong::words).collect();
    let more = probed.wrong.len() - named.len();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    format!(
        "The audit policy of {whose} does not keep what is promised: {}. The lines that it lacks (see Clusters) go \
         before all others under `rules:`, since the first that matches wins, with no omitStages for the whole \
         policy; then restart the API server",
        named.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Level;
    use crate::cluster::manifests::{AuditProbe, Heard};
    use crate::domain::fixture::at;

    fn wrong() -> Wrong {
        let probe = AuditProbe {
            of_grants: true,
            group: "apps".to_owned(),
            resource: "deployments".to_owned(),
            namespace: "shop".to_owned(),
            verb: "update".to_owned(),
        };
        probe
            .judge(&Heard {
                early: None,
                end: Some(Level::Metadata),
            })
            .unwrap()
    }

    fn probed(wrong: Vec<Wrong>) -> Probed {
        Probed {
            at: at(100_000),
            tried: 90,
            wrong,
            of: "policy uid".to_owned(),
            started_ms: Some(7_000_000),
        }
    }

    #[test]
    fn it_is_asked_once_a_day_and_when_something_changed() {
        let good = probed(vec![]);
        let due = |of, started, now| good.is_due(of, started, at(now));
        assert!(
            !due("policy uid", Some(7_000_900), 100_000 + 86_399),
            "a restart of ours is no reason"
        );
        assert!(!due("policy uid", None, 100_001));
        assert!(due("policy uid", None, 100_000 + 86_400));
        assert!(due("another uid", None, 100_001) && due("policy another", None, 100_001));
        assert!(
            due("policy uid", Some(7_006_000), 100_001),
            "the API server has read its policy anew"
        );
        assert!(due("policy uid", None, 99_999), "the clock was set back");
        let bad = probed(vec![wrong()]);
        assert!(!bad.is_due("policy uid", None, at(100_059)) && bad.is_due("policy uid", None, at(100_060)));
    }

    #[test]
    fn a_finding_says_what_is_wrong_and_where_the_lines_go() {
        let bad = probed(vec![wrong(); 7]);
        let text = say("demo", &bad);
        assert!(
            text.contains("update of deployments.apps in shop by an access is recorded at Metadata, and RequestResponse is promised")
                && text.contains("; and 4 more.") && text.contains("before all others under `rules:`"),
            "{text}"
        );
        assert!(bad.lines().unwrap().starts_with("# First,"));
        assert_eq!(probed(vec![]).lines(), None);
        assert!(
            say("demo", &probed(vec![])).ends_with("keeps what is promised: 90 kinds of request were tried")
        );
    }
}
