//! How long API servers may still remember a credential that was removed.

use super::end::TOKEN_CACHE;
use crate::ids::GrantId;
use chrono::TimeDelta;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// When this process removed credentials, by the monotonic clock: how long API servers may remember one is no matter
/// of what time it is.
#[derive(Debug, Default)]
pub struct Removals(Mutex<BTreeMap<GrantId, Instant>>);

impl Removals {
    /// The credentials of this grant are gone from now on.
    pub(super) fn note(&self, id: GrantId) {
        self.removals().insert(id, Instant::now());
    }

    /// How long an API server may still remember them; another process removed what was not noted here.
    pub(super) fn left(&self, id: GrantId) -> TimeDelta {
        let passed = self.removals().entry(id).or_insert_with(Instant::now).elapsed();
        TOKEN_CACHE - TimeDelta::from_std(passed).unwrap_or(TOKEN_CACHE)
    }

    pub(super) fn forget(&self, id: GrantId) {
        self.removals().remove(&id);
    }

    fn removals(&self) -> MutexGuard<'_, BTreeMap<GrantId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
