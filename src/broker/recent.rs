//! What is remembered of the last batches of a cluster.
//!
//! The batches of the last seconds are kept as they came. API servers send theirs at once and out of order: what a
//! session did by something it got hold of may be told before that it got hold of it.

use crate::audit::EventKey;
use crate::clock::Time;
use bytes::Bytes;
use chrono::TimeDelta;
use std::collections::{HashMap, VecDeque};

/// How much earlier a later event may arrive.
const KEPT: TimeDelta = TimeDelta::seconds(20);
/// What is kept of one cluster, in bytes; the oldest goes first.
const BYTES: usize = 4 << 20;

/// Batches, newest last.
#[derive(Debug, Default, Clone)]
pub(super) struct Recent {
    batches: VecDeque<(Time, Bytes)>,
    bytes: usize,
}

impl Recent {
    /// Keeps a batch that arrived now.
    pub(super) fn push(&mut self, now: Time, body: &Bytes) {
        self.forget(now);
        if body.len() > BYTES {
            return;
        }
        self.bytes += body.len();
        self.batches.push_back((now, body.clone()));
        while self.bytes > BYTES {
            self.drop_first();
        }
    }

    /// What arrived in the last seconds before `now`.
    pub(super) fn since(&mut self, now: Time) -> Vec<Bytes> {
        self.forget(now);
        self.batches.iter().map(|(_, body)| body.clone()).collect()
    }

    fn forget(&mut self, now: Time) {
        while self.batches.front().is_some_and(|(at, _)| now - *at > KEPT) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some((_, body)) = self.batches.pop_front() {
            self.bytes -= body.len();
        }
    }
}

/// Which request had which audit id, and which event which content, of the last thousands.
#[derive(Debug, Default, Clone)]
pub(super) struct AuditIds {
    requests: HashMap<String, EventKey>,
    order: VecDeque<String>,
    contents: HashMap<EventKey, String>,
    events: VecDeque<EventKey>,
}

/// How many audit ids of one cluster are remembered.
const IDS: usize = 20_000;

impl AuditIds {
    /// Remembers that `request` had this id; returns the first that had it, where one had.
    pub(super) fn remember(&mut self, id: &str, request: EventKey) -> Option<EventKey> {
        if let Some(first) = self.requests.get(id) {
            return Some(*first);
        }
        self.requests.insert(id.to_owned(), request);
        self.order.push_back(id.to_owned());
        if self.order.len() > IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.requests.remove(&oldest);
        }
        None
    }

    /// Remembers what the event of that key says; true where it said something else before.
    pub(super) fn differs(&mut self, event: EventKey, content: &str) -> bool {
        if let Some(first) = self.contents.get(&event) {
            return first != content;
        }
        self.contents.insert(event, content.to_owned());
        self.events.push_back(event);
        if self.events.len() > IDS
            && let Some(oldest) = self.events.pop_front()
        {
            self.contents.remove(&oldest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_of_an_audit_id_is_remembered_and_the_oldest_forgotten() {
        let key = |n: u8| EventKey::from_bytes([n; 32]);
        let mut ids = AuditIds::default();
        assert_eq!(ids.remember("one", key(1)), None);
        assert_eq!(ids.remember("one", key(2)), Some(key(1)));
        for n in 0..IDS {
            ids.remember(&format!("other {n}"), key(3));
        }
        assert_eq!(ids.remember("one", key(4)), None);
        assert!(!ids.differs(key(1), "this") && !ids.differs(key(1), "this"));
        assert!(ids.differs(key(1), "that"));
        assert!(ids.requests.len() <= IDS);
    }

    #[test]
    fn batches_are_kept_for_seconds_and_within_bounds() {
        let at = |seconds| Time::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let mut recent = Recent::default();
        recent.push(at(0), &Bytes::from_static(b"first"));
        recent.push(at(15), &Bytes::from_static(b"second"));
        assert_eq!(recent.since(at(20)).len(), 2);
        let left = recent.since(at(21));
        assert_eq!(left.len(), 1);
        assert_eq!(&*left[0], b"second");
        recent.push(at(22), &vec![0; BYTES].into());
        assert_eq!(recent.since(at(22)).len(), 1, "the newest");
        recent.push(at(22), &vec![0; BYTES + 1].into());
        assert!(recent.bytes <= BYTES);
    }
}
