//! Probes of an audit policy on their way: sent to an API server, and waited for until they came back through audit, or
//! will not any more.

use super::canary::nonce;
use super::seen::label;
use super::{Broker, BrokerError, Result};
use crate::audit::{self, Stage};
use crate::clock::Time;
use crate::cluster::Token;
use crate::cluster::manifests::{AuditProbe, Heard, Wrong};
use crate::config;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Batches overtake each other: what was sent before a canary may come so long after it.
const LATE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// By cluster, when one last failed, and the identity it has.
pub(super) type Tries = BTreeMap<String, (Option<Time>, Option<String>)>;

/// Probes whose events are on their way.
#[derive(Debug, Default)]
pub(super) struct Probes {
    heard: Mutex<HashMap<String, Heard>>,
    tries: Mutex<Tries>,
}

impl Probes {
    /// An event came.
    pub(super) fn came_back(&self, probed: &audit::Probed) {
        if let Some(heard) = self.heard().get_mut(&probed.nonce) {
            match probed.stage {
                Stage::RequestReceived => heard.early = Some(probed.level),
                _ => heard.end = Some(probed.level),
            }
        }
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<String, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, nonce: &str) -> Heard {
        self.heard().get(nonce).copied().unwrap_or_default()
    }

    pub(super) fn tries(&self) -> MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// What of `probes` one API server keeps otherwise than promised. That is asked twice: an event may be lost.
    pub(super) async fn probe_server(
        &self,
        of: (&str, &str),
        settings: &config::Cluster,
        token: &Token,
        probes: &[AuditProbe],
    ) -> Result<Vec<Wrong>> {
        let wrong = self.ask_each(of, settings, token, probes).await?;
        if wrong.is_empty() {
            return Ok(wrong);
        }
        let again: Vec<AuditProbe> = wrong.into_iter().map(|wrong| wrong.probe).collect();
        self.ask_each(of, settings, token, &again).await
    }

    async fn ask_each(
        &self,
        (name, server): (&str, &str),
        settings: &config::Cluster,
        token: &Token,
        probes: &[AuditProbe],
    ) -> Result<Vec<Wrong>> {
        let asked: Vec<(String, AuditProbe)> = probes.iter().map(|probe| (nonce(), probe.clone())).collect();
        self.audit
            .probes
            .heard()
            .extend(asked.iter().map(|(nonce, _)| (nonce.clone(), Heard::default())));
        let (as_grant, own): (Vec<_>, Vec<_>) = asked.iter().cloned().partition(|(_, probe)| probe.of_grants);
        let sent = async {
            let cluster = self.cluster(name)?;
            cluster.probe_audit(server, Some(token), &as_grant).await?;
            cluster.probe_audit(server, None, &own).await?;
            let canary = nonce();
            cluster.canary(server, &canary).await?;
            self.wait_for_probes((name, server), settings, &asked, &canary)
                .await
        };
        let sent = sent.await;
        let wrong = asked
            .iter()
            .filter_map(|(nonce, probe)| probe.judge(&self.audit.probes.of(nonce)))
            .collect();
        let mut heard = self.audit.probes.heard();
        for (nonce, _) in &asked {
            heard.remove(nonce);
        }
        drop(heard);
        sent.map(|()| wrong)
    }

    /// Returns when all are back, or when those that are not will not come any more.
    async fn wait_for_probes(
        &self,
        (name, server): (&str, &str),
        settings: &config::Cluster,
        asked: &[(String, AuditProbe)],
        canary: &str,
    ) -> Result<()> {
        let patience = Duration::from_secs(u64::from(settings.audit_wait.seconds()));
        let (began, mut back_since) = (Instant::now(), None);
        loop {
            let probes = &self.audit.probes;
            if asked
                .iter()
                .all(|(nonce, probe)| probe.is_whole(&probes.of(nonce)))
            {
                return Ok(());
            }
            if back_since.is_none() && self.canary_came_back(name, canary) {
                back_since = Some(Instant::now());
            }
            match back_since {
                Some(since) if since.elapsed() > LATE => return Ok(()),
                None if began.elapsed() > patience => {
                    return Err(BrokerError::Refused(format!(
                        "audit of {} did not bring back a canary within {} s: its policy could not be probed",
                        label(name, server),
                        patience.as_secs()
                    )));
                }
                _ => sleep(POLL).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Level;

    #[test]
    fn what_comes_back_is_known_by_its_nonce_and_its_stage() {
        let probes = Probes::default();
        probes.heard().insert("n".to_owned(), Heard::default());
        for (nonce, stage, level) in [
            ("n", Stage::RequestReceived, Level::Metadata),
            ("n", Stage::ResponseComplete, Level::RequestResponse),
            ("other", Stage::ResponseComplete, Level::None),
        ] {
            probes.came_back(&audit::Probed {
                nonce: nonce.to_owned(),
                level,
                stage,
            });
        }
        assert_eq!(
            probes.of("n"),
            Heard {
                early: Some(Level::Metadata),
                end: Some(Level::RequestResponse)
            }
        );
        assert_eq!(probes.heard().len(), 1);
    }
}
