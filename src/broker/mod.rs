//! The use cases, one file a stage; the only callers of `Store::commit`.
//!
//! Every function re-reads what it decides about, decides with `domain`, and commits. A conflict means
//! that somebody else was faster: the caller reads again, and the second decision is the true one.

mod alarm;
pub mod approve;
mod arrivals;
pub mod audit_policy;
mod audit_probes;
mod bypass;
pub mod canary;
pub mod capture;
pub mod clock;
pub mod converge;
pub mod deadlines;
pub mod deliver;
mod digest;
#[cfg(feature = "failpoints")]
mod doctored;
pub mod end;
mod enter;
pub mod export;
pub mod follow_up;
pub mod gap;
pub mod grant;
pub mod guard;
pub mod heed;
mod holes;
mod import;
mod learn;
pub mod log;
pub mod losses;
pub mod notices;
pub mod observe;
mod own_use;
pub mod publish;
mod recent;
pub mod reckon;
pub mod record;
pub mod removals;
pub mod repository;
pub mod request;
pub mod reveal;
pub mod revert;
pub mod review;
pub mod seen;
pub mod session;
pub mod start;
mod unexplained;
pub mod unwritten;
pub mod verify;
pub mod watch;
mod window;
pub mod witness;

use crate::clock::{Clock, Time};
use crate::cluster::{Cluster, ClusterError};
use crate::config::Config;
use crate::domain::follow_up::FollowUpRefusal;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantRefusal;
use crate::domain::request::RequestRefusal;
use crate::domain::transition::{About, Transition, Write};
use crate::forge::{Forge, ForgeError};
use crate::ids::GrantId;
use crate::notify::Notifier;
use crate::store::{Committed, Store, StoreError};
use crate::witness::Witnesses;
use chrono::TimeDelta;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Notify, broadcast};

/// Why a use case did not happen.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The rules say no; the text is for the person who asked.
    #[error("{0}")]
    Refused(String),
    /// Not now: they asked as often as one person may. The text is for the person who asked.
    #[error("{why}")]
    TooOften {
        /// How often, and when again.
        why: String,
        /// How long to wait.
        after: TimeDelta,
    },
    /// There is no such thing, or this person may not know of it.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The forge.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// A notice did not go out by a channel; it is tried again.
    #[error("{why}")]
    Undelivered {
        /// The channel, as the configuration names it.
        channel: String,
        /// Why.
        why: String,
        /// How long its receiver asked to wait.
        after: Option<TimeDelta>,
    },
}

/// The longest an outside party's wish to be left alone is heeded: a wrong answer must not park work for days.
pub const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);

impl BrokerError {
    /// Whom work waits for that failed with this, in words; `None` where it is nobody outside.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        match self {
            Self::Cluster(
                ClusterError::Unreachable { cluster, .. } | ClusterError::Refused { cluster, .. },
            ) => Some(format!("the API server of {cluster}")),
            Self::Forge(_) => Some("the forge".to_owned()),
            Self::Undelivered { channel, .. } => Some(channel.clone()),
            Self::Store(_) => Some("the store".to_owned()),
            _ => None,
        }
    }

    /// How long whoever failed asked to wait, at most [`LONGEST_WAIT`].
    #[must_use]
    pub fn retry_after(&self) -> Option<TimeDelta> {
        let asked = match self {
            Self::Forge(forge) => TimeDelta::from_std(forge.retry_after()?).unwrap_or(LONGEST_WAIT),
            Self::Undelivered { after, .. } => (*after)?,
            _ => return None,
        };
        Some(asked.clamp(TimeDelta::seconds(1), LONGEST_WAIT))
    }
}

macro_rules! refusals {
    ($($refusal:ty),*) => {$(
        impl From<$refusal> for BrokerError {
            fn from(refusal: $refusal) -> Self {
                Self::Refused(refusal.to_string())
            }
        }
    )*};
}
refusals!(RequestRefusal, GrantRefusal, FollowUpRefusal);

/// What a stage returns.
pub type Result<T> = std::result::Result<T, BrokerError>;

/// What a job says when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its work is done.
    Done,
    /// It goes on at this time.
    Again(Time),
}

/// Something changed that a page or a worker may be waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Something about this grant.
    Grant(GrantId),
    /// The feed, an inbox, a follow-up.
    Anything,
}

/// The broker: the configuration, the store, and the adapters.
#[derive(Debug)]
pub struct Broker {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// Who countersigns the ledger's checkpoints.
    pub witnesses: Arc<dyn Witnesses>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The clusters, by their names in the configuration.
    pub clusters: BTreeMap<String, Arc<dyn Cluster>>,
    /// The forge.
    pub forge: Arc<dyn Forge>,
    /// The channels notices go out by.
    pub notifier: Arc<dyn Notifier>,
    /// Wakes the workers.
    pub poke: Arc<Notify>,
    /// Wakes live pages and waiting reveals.
    pub changed: broadcast::Sender<Changed>,
    /// What could not be written yet, and since when the store cannot be.
    pub unwritten: unwritten::Unwritten,
    /// When credentials were removed, for the proof that they are dead.
    pub removals: removals::Removals,
    /// When it was written down last that time passes.
    pub seen_time: clock::SeenTime,
    /// What is known of each cluster's audit.
    pub audit: record::AuditState,
    /// Since when each watched grant's scope is watched, so that Ready is only said after it runs.
    pub watches: watch::Watches,
}

impl Broker {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// What the machine's clock says: what the sign-in provider's times are held against. While it is wrong
    /// nobody signs in; the time told by [`Self::now`] may be ahead of it and must not keep people out.
    #[must_use]
    pub fn machine_now(&self) -> Time {
        self.clock.machine_now()
    }

    /// The cluster of that name.
    ///
    /// # Errors
    /// It is not configured (any more).
    pub fn cluster(&self, name: &str) -> Result<&Arc<dyn Cluster>> {
        self.clusters.get(name).ok_or_else(|| {
            BrokerError::Refused(format!("cluster {name} is not in the configuration any more"))
        })
    }

    /// A grant that exists.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub async fn grant(&self, id: GrantId) -> Result<Grant> {
        self.store.grant(id).await?.ok_or(BrokerError::NotFound("grant"))
    }

    /// Commits, then wakes whoever may be waiting for it.
    ///
    /// # Errors
    /// The store's.
    pub async fn commit(&self, transition: Transition) -> Result<Committed> {
        let grants: Vec<_> = transition
            .records
            .iter()
            .filter_map(|record| record.about.grant)
            .collect();
        let grants_changed = transition
            .writes
            .iter()
            .any(|write| matches!(write, Write::NewGrant(_) | Write::Grant { .. }));
        let committed = self.store.commit(transition).await;
        self.note_store(&committed);
        let committed = committed?;
        if grants_changed {
            self.forget_accounts();
        }
        // Nobody listening is fine: pages read the store when they are opened.
        let _ = self.changed.send(Changed::Anything);
        for grant in grants {
            let _ = self.changed.send(Changed::Grant(grant));
        }
        self.poke.notify_waiters();
        Ok(committed)
    }

    /// Files a finding: an entry, a pinned line on the feed, and a notice to compliance. The same
    /// finding seen again is no second one.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, key: &str, about: About, text: &str, grant: Option<GrantId>) -> Result<()> {
        if self
            .store
            .open_findings()
            .await?
            .iter()
            .any(|finding| finding.key == key)
        {
            return Ok(());
        }
        let mut about = about;
        about.grant = grant.or(about.grant);
        let transition = self.finding(key.to_owned(), about, text.to_owned());
        self.commit(transition).await?;
        Ok(())
    }
}
