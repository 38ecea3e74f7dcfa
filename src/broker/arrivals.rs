//! When the events that came lately happened, by each API server's own clock: what tells how many of those counted
//! at one moment are here.
//!
//! The store holds the sums. Beside them stands here what happened after a moment of the last minutes, twice: what is
//! being written, and what is written for sure. Between the two lies every sum the store may give meanwhile.

use crate::clock::Time;
use crate::domain::transition::Received;
use std::collections::{BTreeMap, HashSet, VecDeque};

/// The store's sums go by so many milliseconds: a start of an API server's process lies between two of them.
pub(super) const SLOT_MS: i64 = 250;
/// Where nothing is ever counted, this is when something is forgotten, and what is older than that goes.
const MOST: usize = 700_000;
const OLDEST_MS: i64 = 10 * 60_000;
/// So many batches are known again.
const BATCHES: usize = 4_096;

/// Events by when they happened.
#[derive(Debug, Default)]
struct Tail(BTreeMap<i64, u64>);

impl Tail {
    fn add(&mut self, moments: &BTreeMap<i64, u64>) {
        for (moment, events) in moments {
            *self.0.entry(*moment).or_default() += events;
        }
    }

    fn forget(&mut self, before: i64) {
        self.0 = self.0.split_off(&before);
    }

    fn since(&self, moment: i64) -> u64 {
        self.0.range(moment..).map(|(_, events)| events).sum()
    }
}

/// What came of one API server lately.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    begun: Tail,
    written: Tail,
    batches: HashSet<String>,
    order: VecDeque<String>,
}

/// One batch by when its events happened.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    digest: String,
    moments: BTreeMap<i64, u64>,
    slots: BTreeMap<i64, u64>,
}

impl Batch {
    /// What came in a batch of that digest: when its events happened, and how many say of no time. These count as of
    /// the newest, or as of `now`.
    pub(super) fn of(digest: &str, stages_us: &[i64], undated: u64, now: Time) -> Self {
        let mut batch = Self {
            digest: digest.to_owned(),
            moments: BTreeMap::new(),
            slots: BTreeMap::new(),
        };
        for stage_us in stages_us {
            batch.add(stage_us.div_euclid(1000), 1);
        }
        if undated > 0 {
            let newest = stages_us.iter().max().map(|us| us.div_euclid(1000));
            batch.add(newest.unwrap_or_else(|| now.timestamp_millis()), undated);
        }
        batch
    }

    fn add(&mut self, at_ms: i64, events: u64) {
        *self.moments.entry(at_ms).or_default() += events;
        let slot = at_ms.div_euclid(SLOT_MS) * SLOT_MS;
        *self.slots.entry(slot).or_default() += events;
    }

    /// What the store counts of it; `None` where it holds nothing.
    pub(super) fn received(&self, cluster: &str, server: &str) -> Option<Received> {
        let slots: Vec<_> = self.slots.iter().map(|(slot, events)| (*slot, *events)).collect();
        (!slots.is_empty()).then(|| Received {
            key: format!("received {cluster} {server} {}", self.digest),
            cluster: cluster.to_owned(),
            server: server.to_owned(),
            slots,
        })
    }
}

impl Arrivals {
    /// A batch is about to be written.
    pub(super) fn begin(&mut self, batch: &Batch) {
        if !self.batches.contains(&batch.digest) {
            self.begun.add(&batch.moments);
        }
        if self.begun.0.len() > MOST
            && let Some((newest, _)) = self.begun.0.last_key_value()
        {
            self.forget(newest - OLDEST_MS);
        }
    }

    /// It is written. What could not be may be written all the same, and stays begun.
    pub(super) fn end(&mut self, batch: &Batch) {
        if self.batches.contains(&batch.digest) {
            return;
        }
        self.written.add(&batch.moments);
        self.batches.insert(batch.digest.clone());
        self.order.push_back(batch.digest.clone());
        if self.order.len() > BATCHES
            && let Some(oldest) = self.order.pop_front()
        {
            self.batches.remove(&oldest);
        }
    }

    /// What happened after `at_ms` and is written: no more than that.
    pub(super) fn written_after(&self, at_ms: i64) -> u64 {
        self.written.since(at_ms + 1)
    }

    /// What happened after `at_ms` and is written or being written: no less than that.
    pub(super) fn begun_after(&self, at_ms: i64) -> u64 {
        self.begun.since(at_ms + 1)
    }

    /// Nothing from before `at_ms` is asked for any more.
    pub(super) fn forget(&mut self, at_ms: i64) {
        self.begun.forget(at_ms);
        self.written.forget(at_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::at;

    fn batch(digest: &str, moments: &[i64]) -> Batch {
        let stages_us: Vec<i64> = moments.iter().map(|ms| ms * 1000 + 7).collect();
        Batch::of(digest, &stages_us, 0, at(0))
    }

    #[test]
    fn a_batch_counts_once_and_only_when_it_is_written() {
        let mut arrivals = Arrivals::default();
        let one = batch("one", &[1_000, 1_001, 1_300, 9_000]);
        arrivals.begin(&one);
        assert_eq!((arrivals.written_after(0), arrivals.begun_after(0)), (0, 4));
        arrivals.end(&one);
        // It comes again.
        arrivals.begin(&one);
        arrivals.end(&one);
        assert_eq!((arrivals.written_after(0), arrivals.begun_after(0)), (4, 4));
        assert_eq!(
            (arrivals.written_after(1_300), arrivals.begun_after(1_299)),
            (1, 2)
        );
        arrivals.forget(9_000);
        assert_eq!(arrivals.begun_after(0), 1);
    }

    #[test]
    fn the_store_is_told_by_slots() {
        let mut mixed = batch("two", &[999, 1_000, 1_249, 1_250]);
        let told = mixed.received("production", "a").unwrap();
        assert_eq!(told.slots, [(750, 1), (1_000, 2), (1_250, 1)]);
        assert_eq!(told.key, "received production a two");
        mixed.slots.clear();
        assert_eq!(mixed.received("production", "a"), None);
    }

    #[test]
    fn what_cannot_be_read_came_all_the_same() {
        let batch = Batch::of("three", &[5_000_000], 2, at(9));
        assert_eq!(batch.slots, [(5_000, 3)].into());
    }
}
