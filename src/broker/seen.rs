//! What is known of one API server's audit right now.

use super::arrivals::Arrivals;
use super::canary::Canaries;
use super::record::AuditState;
use crate::clock::Time;
use crate::domain::counting::Counters;
use std::collections::VecDeque;
use std::time::Duration;

/// So many readings wait for what is on its way.
const READINGS: usize = 128;

/// An API server in words: the cluster alone where it has no name.
#[must_use]
pub fn label(cluster: &str, server: &str) -> String {
    if server.is_empty() {
        cluster.to_owned()
    } else {
        format!("API server {server} of {cluster}")
    }
}

/// What is known of one API server's audit; rebuilt from what arrives.
#[derive(Debug, Default)]
pub(super) struct ServerSeen {
    /// When a batch of it last came.
    pub(super) arrived_at: Option<Time>,
    /// How long its newest event took.
    pub(super) delay_ms: Option<i64>,
    /// Its canaries.
    pub(super) canaries: Canaries,
    /// What came of it in the last minutes.
    pub(super) arrivals: Arrivals,
    /// Why its losses cannot be counted.
    pub(super) uncountable: Option<String>,
    readings: VecDeque<Reading>,
}

/// Its counters, as they were read right after a canary was sent.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) nonce: String,
    /// When the canary was sent.
    pub(super) here_at: Time,
    /// When it came there and when it was answered, microseconds by the API server's clock; once it is back. It was
    /// counted before its answer went out.
    pub(super) there_us: Option<(i64, i64)>,
    /// What was read, and how long after that moment at most.
    pub(super) counters: Option<(Counters, Duration)>,
}

impl Reading {
    pub(super) fn of(nonce: &str, here_at: Time) -> Self {
        Self {
            nonce: nonce.to_owned(),
            here_at,
            there_us: None,
            counters: None,
        }
    }
}

impl ServerSeen {
    /// A reading begins.
    pub(super) fn read(&mut self, reading: Reading) {
        self.readings.push_back(reading);
        let spare = self.readings.len().saturating_sub(READINGS);
        self.readings.drain(..spare);
    }

    /// The counters that were read after that canary.
    pub(super) fn counted(&mut self, nonce: &str, counters: Counters, took: Duration) {
        if let Some(reading) = self.readings.iter_mut().find(|reading| reading.nonce == nonce) {
            reading.counters = Some((counters, took));
        }
        self.uncountable = None;
    }

    /// They could not be read: why, where that is not because the API server is away.
    pub(super) fn not_counted(&mut self, nonce: &str, why: Option<String>) {
        self.readings.retain(|reading| reading.nonce != nonce);
        self.uncountable = why.or(self.uncountable.take());
    }

    /// The canary came back by the hook path of `sent_to`: when it came there.
    pub(super) fn back(&mut self, nonce: &str, there_us: (i64, i64), own: &str, sent_to: &str) {
        if own != sent_to {
            let by = if sent_to.is_empty() { "no name" } else { sent_to };
            let why =
                format!("what it records comes by the hook path of {by}: give its webhook file its own");
            return self.not_counted(nonce, Some(why));
        }
        if let Some(reading) = self.readings.iter_mut().find(|reading| reading.nonce == nonce) {
            reading.there_us = Some(there_us);
        }
    }

    /// The readings that can be held against what came, oldest first. Those since which `since` passed without
    /// their canary are given up.
    pub(super) fn ready(&mut self, since: Time) -> Vec<Reading> {
        let whole = |reading: &Reading| reading.there_us.is_some() && reading.counters.is_some();
        self.readings
            .retain(|reading| whole(reading) || reading.here_at > since);
        self.readings
            .iter()
            .filter(|reading| whole(reading))
            .cloned()
            .collect()
    }

    /// These readings are done with.
    pub(super) fn done(&mut self, done: &[Reading]) {
        self.readings
            .retain(|reading| !done.iter().any(|done| done.nonce == reading.nonce));
    }
}

impl AuditState {
    /// Looks at, or changes, what is known of an API server.
    pub(super) fn server<T>(
        &self,
        cluster: &str,
        server: &str,
        look: impl FnOnce(&mut ServerSeen) -> T,
    ) -> T {
        let mut clusters = self.lock();
        let seen = clusters.entry(cluster.to_owned()).or_default();
        look(seen.servers.entry(server.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::at;

    #[test]
    fn a_reading_is_ready_once_its_canary_is_back_by_its_own_path() {
        let counters = Counters {
            started_ms: 0,
            audited: 9,
            given_up: 0,
        };
        let mut seen = ServerSeen::default();
        for nonce in ["one", "two", "three"] {
            seen.read(Reading::of(nonce, at(10)));
        }
        // The event may be here before the counters are.
        seen.back("one", (5, 6), "a", "a");
        seen.counted("one", counters, Duration::from_millis(3));
        seen.counted("two", counters, Duration::from_millis(3));
        assert_eq!(
            seen.ready(at(0))
                .iter()
                .map(|one| one.nonce.as_str())
                .collect::<Vec<_>>(),
            ["one"]
        );
        seen.back("three", (6, 7), "a", "");
        assert!(
            seen.uncountable
                .as_deref()
                .is_some_and(|why| why.contains("no name"))
        );
        let ready = seen.ready(at(11));
        assert_eq!(seen.readings.len(), 1, "the others' canaries did not come back");
        seen.done(&ready);
        assert!(seen.ready(at(0)).is_empty());
    }
}
