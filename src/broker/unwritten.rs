//! Ends that the store could not take: the access is taken away all the same, and written down when there is room.
//!
//! What is remembered here is lost with the process. The access is gone then too: an end that nobody knows of any more
//! is decided again at the deadline, and finds its work done.

use super::end::{REFUSED, REMOVED};
use super::request::skip_conflict;
use super::{Broker, Result};
use crate::causes::chain;
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::{EndCause, Grant, GrantState};
use crate::domain::job::JobKind;
use crate::domain::transition::{About, Transition, Write, record};
use crate::ids::GrantId;
use crate::store::StoreError;
use futures::future::join_all;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;

/// What was done to end a grant, and when, while none of it could be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnwrittenEnd {
    /// Why it ends.
    pub cause: EndCause,
    /// When that was decided.
    pub since: Time,
    /// When the last binding was gone.
    pub refused_after: Option<Time>,
    /// When the Secrets and the `ServiceAccount` were gone.
    pub removed_at: Option<Time>,
}

impl UnwrittenEnd {
    /// An end that was decided now and of which nothing is done.
    #[must_use]
    pub const fn new(cause: EndCause, since: Time) -> Self {
        Self {
            cause,
            since,
            refused_after: None,
            removed_at: None,
        }
    }

    /// What is left to do of an end that was written down when there was room.
    fn of(grant: &Grant) -> Option<Self> {
        let ending = grant
            .ending
            .as_ref()
            .filter(|_| grant.state == GrantState::Ending)?;
        Some(Self {
            refused_after: ending.refused_after,
            removed_at: ending.removed_at,
            ..Self::new(ending.cause.clone(), ending.since)
        })
    }
}

/// Since when the store cannot be written, and why, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFailure {
    /// Since when.
    pub since: Time,
    /// Why; no secrets.
    pub why: String,
}

/// What the process remembers while the store cannot be written.
#[derive(Debug, Default)]
pub struct Unwritten {
    ends: std::sync::Mutex<BTreeMap<GrantId, UnwrittenEnd>>,
    failure: std::sync::Mutex<Option<StoreFailure>>,
}

impl Unwritten {
    fn ends(&self) -> BTreeMap<GrantId, UnwrittenEnd> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, id: GrantId, end: &UnwrittenEnd) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.insert(id, end.clone());
    }

    fn forget(&self, id: GrantId) {
        self.ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

impl Broker {
    /// The end of a grant that is under way and could not be written yet.
    #[must_use]
    pub fn unwritten_end(&self, id: GrantId) -> Option<UnwrittenEnd> {
        self.unwritten.ends().get(&id).cloned()
    }

    /// Since when the store cannot be written, if it cannot.
    #[must_use]
    pub fn store_failure(&self) -> Option<StoreFailure> {
        let failure = self.unwritten.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps whether the store could be written. A conflict is an answer of a store that works.
    pub fn note_store<T>(&self, written: &std::result::Result<T, StoreError>) {
        let mut failure = self
            .unwritten
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match written {
            Err(error @ StoreError::Database { .. }) => {
                let why = chain(error);
                match failure.as_mut() {
                    Some(known) => known.why = why,
                    None => {
                        *failure = Some(StoreFailure {
                            since: self.now(),
                            why,
                        });
                    }
                }
            }
            Ok(_) => *failure = None,
            Err(_) => {}
        }
    }

    /// Whether the store can be written, tried by a write: an update that finds nothing to change writes nothing.
    pub async fn is_store_written(&self) -> bool {
        let probe = self
            .store
            .set_setting("store written", &self.now().to_rfc3339())
            .await;
        self.note_store(&probe);
        probe.is_ok()
    }

    /// Deletes in the cluster what a grant lives by, and remembers when.
    ///
    /// # Errors
    /// The cluster's; [`Broker::look_after_unwritten`] goes on.
    pub(super) async fn take_away_unwritten(&self, id: GrantId, end: UnwrittenEnd) -> Result<()> {
        let mut end = self.unwritten_end(id).unwrap_or(end);
        self.unwritten.keep(id, &end);
        let grant = self.grant(id).await?;
        let (cluster, access) = (self.cluster(&grant.cluster)?, self.access(&grant));
        if end.refused_after.is_none() {
            cluster.remove_bindings(&access).await?;
            end.refused_after = Some(self.now());
            self.unwritten.keep(id, &end);
        }
        if end.removed_at.is_none() {
            cluster.remove_account(&access).await?;
            end.removed_at = Some(self.now());
            self.unwritten.keep(id, &end);
        }
        Ok(())
    }

    /// Goes on with every end that could not be written, and writes down what was done as soon as that works.
    /// While the store cannot be written no job runs either, so ends under way are gone on with here.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn look_after_unwritten(&self, live: &[Arc<Grant>]) -> Result<()> {
        if self.store_failure().is_some() && !self.is_store_written().await {
            for (grant, end) in live
                .iter()
                .filter_map(|grant| Some((grant, UnwrittenEnd::of(grant)?)))
            {
                if end.removed_at.is_none() && self.unwritten_end(grant.id).is_none() {
                    self.unwritten.keep(grant.id, &end);
                }
            }
        }
        let each = self.unwritten.ends().into_iter().map(|(id, end)| async move {
            let taken = self.take_away_unwritten(id, end).await;
            let written = match &taken {
                // An end that the cluster holds up is written down as it is: its job goes on with it.
                _ if self.store_failure().is_none() => self.write_down_end(id).await,
                Ok(()) => Ok(()),
                Err(_) => taken,
            };
            if let Err(error) = written {
                tracing::warn!(grant = %id, error = %chain(&error), "an end is not written down yet");
            }
        });
        join_all(each).await;
        Ok(())
    }

    /// The entries of an end that could not be written when it was done: each with the time at which it was done.
    async fn write_down_end(&self, id: GrantId) -> Result<()> {
        let Some(end) = self.unwritten_end(id) else {
            return Ok(());
        };
        let grant = self.grant(id).await?;
        if let Some(transition) = self.late(&grant, &end)? {
            skip_conflict(self.commit(transition).await)?;
            // A version that moved meanwhile: written by the next look.
            if !matches!(
                self.grant(id).await?.state,
                GrantState::Ending | GrantState::Ended
            ) {
                return Ok(());
            }
        }
        self.unwritten.forget(id);
        Ok(())
    }

    fn late(&self, grant: &Grant, end: &UnwrittenEnd) -> Result<Option<Transition>> {
        let about = || About::grant(grant);
        let is_decided = matches!(grant.state, GrantState::Ending | GrantState::Ended);
        let mut new = if is_decided {
            grant.clone()
        } else {
            grant.clone().end(end.cause.clone(), end.since)?
        };
        let mut records = vec![];
        let mut notice = None;
        if !is_decided {
            let (entry, told) = self.told_ending(grant, &end.cause, end.since);
            records.push(entry);
            notice = Some(told);
        }
        let Some(ending) = new.ending.as_mut().filter(|_| grant.state != GrantState::Ended) else {
            return Ok(None);
        };
        if let Some(at) = end.refused_after.filter(|_| ending.refused_after.is_none()) {
            ending.refused_after = Some(at);
            let facts = json!({"refused_after": at});
            records.push(record(EntryKind::AccessRefused, at, about(), REFUSED, facts));
        }
        if let Some(at) = end.removed_at.filter(|_| ending.removed_at.is_none()) {
            ending.removed_at = Some(at);
            let facts = json!({"removed_at": at});
            records.push(record(EntryKind::CredentialRemoved, at, about(), REMOVED, facts));
        }
        let Some(mut transition) = Transition::batch(records) else {
            return Ok(None);
        };
        transition.notices.extend(notice);
        let write = Write::Grant {
            expected: grant.state,
            new,
        };
        Ok(Some(
            transition
                .write(write)
                .job(JobKind::End { grant: grant.id }, self.now()),
        ))
    }
}
