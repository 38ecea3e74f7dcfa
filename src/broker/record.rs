//! Stage 4: the record. What an API server sends is attributed, redacted, classified, entered; only
//! then it is answered.

use super::arrivals::Batch;
use super::audit_probes::Probes;
use super::canary::CANARY_PREFIX;
use super::digest::{Came, digest};
use super::enter::{kept, records};
use super::heed::to_heed;
use super::own_use::OwnUses;
use super::recent::{AuditIds, Recent};
use super::seen::ServerSeen;
use super::unexplained::{Traces, is_traced};
use super::window::Window;
use super::{Broker, Result};
use crate::audit::{self, Accounts, AlarmKind, Footholds, Intake, KnownGrant};
use crate::clock::Time;
use crate::config::BROKER_USER;
use crate::cores;
use crate::domain::grant::Grant;
use crate::domain::job::JobKind;
use crate::domain::transition::{Transition, Write};
use crate::ids::GrantId;
use crate::store::{Committed, GrantFilter};
use bytes::Bytes;
use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The class under which the issuance of a credential is kept.
pub const ISSUANCE: &str = "issuance";

/// Whose grant was approved longer ago is looked up when an event of theirs comes: no access lasts as long, and a
/// snapshot of all there ever were would grow for ever.
const LATE: TimeDelta = TimeDelta::days(14);

/// What is known of a cluster's audit right now; rebuilt from what arrives.
#[derive(Debug, Default)]
pub struct AuditState {
    clusters: Mutex<BTreeMap<String, Seen>>,
    /// Which events of others came lately.
    window: Arc<Window>,
    /// How often it was said that accounts have changed.
    changes: AtomicU64,
    /// The broker's questions as the users of live grants.
    pub(super) own_uses: OwnUses,
    /// Probes of audit policies whose events are on their way.
    pub(super) probes: Probes,
}

/// What is known of one cluster's audit.
#[derive(Debug, Default)]
pub(super) struct Seen {
    arrived_at: Option<Time>,
    delay_ms: Option<i64>,
    /// Its API servers.
    pub(super) servers: BTreeMap<String, ServerSeen>,
    /// Canaries that came back, newest last.
    nonces: Vec<String>,
    /// Who is whom on this cluster; forgotten whenever a grant changes.
    pub(super) accounts: Option<Arc<Known>>,
    /// What its sessions got hold of; read from the store once.
    pub(super) footholds: Option<Arc<Footholds>>,
    /// Accounts of earlier grants whose events came nevertheless.
    pub(super) earlier: BTreeSet<String>,
    /// Batches of the last seconds.
    pub(super) recent: Recent,
    /// What was changed, by whomever, while something is lent.
    pub(super) traces: Traces,
    /// The requests of sessions by their audit ids.
    pub(super) audit_ids: AuditIds,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) accounts: Accounts,
    pub(super) grants: HashMap<GrantId, Arc<Grant>>,
}

/// What was done with a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Events entered.
    pub entered: u64,
    /// Events that had been entered before.
    pub repeats: u64,
}

impl Broker {
    /// Enters one batch (an `EventList`, already unpacked) that the sender of `cluster` was
    /// authenticated for; `server` names the API server (empty where it has no name). Durable when it returns.
    ///
    /// # Errors
    /// The store's: the API server must send it again.
    pub async fn record_batch(
        &self,
        cluster: &str,
        server: &str,
        body: impl Into<Bytes>,
    ) -> Result<Recorded> {
        let body = body.into();
        let (recorded, learned) = self.take_in(cluster, &body, Came::Now(server)).await?;
        if learned {
            // Batches come out of order: what was done by it may have come before. Keys drop what is known.
            for recent in self.audit.recent(cluster, self.now()) {
                self.take_in(cluster, &recent, Came::Before).await?;
            }
        }
        self.audit
            .with(cluster, |seen| seen.recent.push(self.now(), &body));
        Ok(recorded)
    }

    /// Enters a batch; says also whether a session got hold of something by it.
    pub(super) async fn take_in(
        &self,
        cluster: &str,
        body: &Bytes,
        came: Came<'_>,
    ) -> Result<(Recorded, bool)> {
        let now = self.now();
        // What came a moment ago and is looked at again is in: only what is a session's after all is new.
        let mut claim = matches!(came, Came::Now(_)).then(|| self.audit.window.claim(cluster));
        let mut known = self.known(cluster).await?;
        let mut intake = digest(cluster, body, &known, now, came, &mut claim).await;
        // A grant or credential written down a moment ago may not be in the snapshot yet.
        if intake.alarms.iter().any(|alarm| is_about_unknown(&alarm.kind)) {
            self.forget_accounts();
            self.find_earlier(cluster, &intake).await?;
            known = self.known(cluster).await?;
            intake = digest(cluster, body, &known, now, came, &mut claim).await;
        }
        // What a session got hold of in this batch may have been used in it.
        let learned = self.learn(cluster, &intake);
        if learned {
            known = self.known(cluster).await?;
            intake = digest(cluster, body, &known, now, came, &mut claim).await;
        }
        if let Came::Now(server) = came {
            self.note_seen(cluster, server, &intake, now);
            self.audit.with(cluster, |seen| {
                seen.traces.note(known.accounts.live, &intake.traces, now);
            });
        }
        self.compare_audit_ids(cluster, &mut intake);
        let (digest, mut records, mut intake) = {
            let (cluster, body, known) = (cluster.to_owned(), body.clone(), Arc::clone(&known));
            cores::run(move || {
                let digest = hex::encode(Sha256::digest(&body));
                let records = records(&cluster, &digest, &intake, &known, now);
                (digest, records, intake)
            })
            .await
        };
        if let Came::Imported(wrapping) = came {
            records = self
                .imported(cluster, records, &mut intake, wrapping, now)
                .await?;
        }
        let batch = match came {
            Came::Now(server) => Some((server, Batch::of(&digest, &intake.stages_us, intake.undated, now))),
            Came::Before | Came::Imported(_) => None,
        };
        let mut recorded = Recorded {
            repeats: intake.repeats,
            ..Recorded::default()
        };
        if let Some(mut transition) = Transition::batch(records) {
            for grant in to_heed(&intake) {
                transition = transition.job(JobKind::Heed { grant }, now);
            }
            let mut transition = self
                .with_alarms(transition, cluster, &intake.alarms, &known.grants)
                .await?;
            transition
                .kept
                .extend(kept(cluster, &digest, body, intake.others));
            let committed = self
                .commit_counted(cluster, batch, transition, &intake.bypasses)
                .await?;
            recorded.entered = committed.entries;
            recorded.repeats += committed.repeats;
        }
        if let Some(claim) = claim {
            claim.keep();
        }
        Ok((recorded, learned))
    }

    /// Commits what a batch is in the ledger, and with it how many events came.
    async fn commit_counted(
        &self,
        cluster: &str,
        batch: Option<(&str, Batch)>,
        mut transition: Transition,
        bypasses: &[audit::Bypass],
    ) -> Result<Committed> {
        let Some((server, batch)) = batch else {
            return self.commit_with_bypasses(transition, cluster, bypasses).await;
        };
        if let Some(received) = batch.received(cluster, server) {
            transition = transition.write(Write::Received(received));
        }
        self.audit
            .server(cluster, server, |seen| seen.arrivals.begin(&batch));
        let committed = self.commit_with_bypasses(transition, cluster, bypasses).await?;
        self.audit
            .server(cluster, server, |seen| seen.arrivals.end(&batch));
        Ok(committed)
    }

    /// The audit delay last measured on a cluster.
    #[must_use]
    pub fn audit_delay_ms(&self, cluster: &str) -> Option<i64> {
        self.audit.lock().get(cluster).and_then(|seen| seen.delay_ms)
    }

    /// When a batch of that cluster last arrived.
    #[must_use]
    pub fn audit_arrived_at(&self, cluster: &str) -> Option<Time> {
        self.audit.lock().get(cluster).and_then(|seen| seen.arrived_at)
    }

    /// The canary with that nonce came back.
    #[must_use]
    pub fn canary_came_back(&self, cluster: &str, nonce: &str) -> bool {
        self.audit
            .lock()
            .get(cluster)
            .is_some_and(|seen| seen.nonces.iter().any(|own| own == nonce))
    }

    /// Whoever attributes events must look again who is whom.
    pub(super) fn forget_accounts(&self) {
        let mut clusters = self.audit.lock();
        self.audit.changes.fetch_add(1, Ordering::SeqCst);
        for seen in clusters.values_mut() {
            seen.accounts = None;
        }
    }

    async fn known(&self, cluster: &str) -> Result<Arc<Known>> {
        if let Some(known) = self
            .audit
            .lock()
            .get(cluster)
            .and_then(|seen| seen.accounts.clone())
        {
            return Ok(known);
        }
        let changes = self.audit.changes.load(Ordering::SeqCst);
        let footholds = self.footholds(cluster).await?;
        let approved_since = GrantFilter {
            cluster: Some(cluster.to_owned()),
            since: Some(self.now() - LATE),
            limit: 100_000,
            ..GrantFilter::default()
        };
        let mut found = self.live_grants(Some(cluster)).await?;
        found.extend(self.store.grants(approved_since).await?);
        let earlier = self.audit.lock().get(cluster).map(|seen| seen.earlier.clone());
        for account in earlier.iter().flatten() {
            let grant = self.store.grant_by_account(cluster, account).await?;
            found.extend(grant.map(Arc::new));
        }
        // Each once, as it was read last.
        let grants: HashMap<GrantId, Arc<Grant>> = found.into_iter().map(|grant| (grant.id, grant)).collect();
        let mut own_tokens = HashMap::new();
        // What was asked as the user of a grant comes back within moments, if at all.
        let lately = |grant: &Grant| {
            grant
                .ended_at
                .is_none_or(|at| self.now() - at < TimeDelta::days(1))
        };
        for grant in grants.values().filter(|grant| lately(grant)) {
            own_tokens.insert(grant.id, self.own_tokens(grant.id).await?);
        }
        let accounts = Accounts {
            live: grants.values().any(|grant| is_traced(grant, self.now())),
            broker: BROKER_USER.to_owned(),
            footholds,
            automation: self
                .config
                .clusters
                .get(cluster)
                .map(|cluster| cluster.audit.automation.clone())
                .unwrap_or_default(),
            keep: self
                .config
                .clusters
                .get(cluster)
                .map(|cluster| cluster.audit.keep)
                .unwrap_or_default(),
            grants: grants
                .values()
                .map(|grant| {
                    let credentials = grant
                        .reveals
                        .iter()
                        .filter_map(|r| r.credential_id.clone())
                        .collect();
                    (
                        grant.account.clone(),
                        KnownGrant {
                            grant: grant.id,
                            credentials,
                            own: own_tokens.remove(&grant.id).unwrap_or_default(),
                        },
                    )
                })
                .collect(),
        };
        let known = Arc::new(Known { accounts, grants });
        let mut clusters = self.audit.lock();
        // What changed while this was read may not be in it. Kept, it would take an engineer's first action
        // for the broker's own check.
        if self.audit.changes.load(Ordering::SeqCst) == changes {
            clusters.entry(cluster.to_owned()).or_default().accounts = Some(Arc::clone(&known));
        }
        drop(clusters);
        Ok(known)
    }

    fn note_seen(&self, cluster: &str, server: &str, intake: &Intake, now: Time) {
        for own in &intake.own_uses {
            self.audit.own_uses.came_back(own);
        }
        for probed in &intake.probed {
            self.audit.probes.came_back(probed);
        }
        let mut clusters = self.audit.lock();
        let seen = clusters.entry(cluster.to_owned()).or_default();
        let newest = intake.stages_us.iter().max();
        let delay_ms = newest.map(|us| (now.timestamp_micros() - us).max(0) / 1000);
        seen.arrived_at = Some(now);
        seen.delay_ms = delay_ms.or(seen.delay_ms);
        let sender = seen.servers.entry(server.to_owned()).or_default();
        sender.arrived_at = Some(now);
        sender.delay_ms = delay_ms.or(sender.delay_ms);
        for (name, there_us) in intake
            .own
            .iter()
            .filter_map(|own| Some((own.object.name.as_ref()?, (own.at_us, own.stage_us))))
            .filter(|(name, _)| name.starts_with(CANARY_PREFIX))
        {
            seen.nonces.push(name.clone());
            // One that this process did not send to any speaks for whoever brought it back.
            let sent_to = seen.servers.iter().find(|(_, to)| to.canaries.awaits(name));
            let sent_to = sent_to.map_or(server, |(to, _)| to).to_owned();
            let to = seen.servers.entry(sent_to.clone()).or_default();
            to.canaries.came_back(name, now);
            to.back(name, there_us, &sent_to, server);
        }
        let spare = seen.nonces.len().saturating_sub(256);
        seen.nonces.drain(..spare);
    }
}

impl AuditState {
    pub(super) fn with(&self, cluster: &str, change: impl FnOnce(&mut Seen)) {
        change(self.lock().entry(cluster.to_owned()).or_default());
    }

    fn recent(&self, cluster: &str, now: Time) -> Vec<Bytes> {
        self.lock()
            .get_mut(cluster)
            .map(|seen| seen.recent.since(now))
            .unwrap_or_default()
    }

    /// When a canary of any of its API servers last came back.
    pub(super) fn back_at(&self, cluster: &str) -> Option<Time> {
        let clusters = self.lock();
        let servers = clusters.get(cluster)?.servers.values();
        servers.filter_map(|server| server.canaries.back_at).max()
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Seen>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_about_unknown(kind: &AlarmKind) -> bool {
    matches!(
        kind,
        AlarmKind::UnknownAccount { .. } | AlarmKind::UnknownCredential { .. }
    )
}

#[cfg(test)]
mod tests;
