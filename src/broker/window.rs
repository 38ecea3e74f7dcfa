//! Which events came lately, by their bytes: one that comes again in another batch is neither kept nor counted twice.
//!
//! Only whole bytes make the same event. An audit id is a client's to choose: what another event with the same one
//! says is never dropped. What a batch holds counts as known once it is on the disk; until then whoever meets it
//! waits to hear what became of it. A whole body that comes again later is known by its digest, for days.

use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How many events a generation has: two of them are remembered, of all clusters together.
const GENERATION: usize = 900_000;

/// The beginning of SHA-256 over the cluster and the event: long enough that nobody finds a second one.
type Key = [u8; 12];

/// What came lately.
#[derive(Debug, Default)]
pub(super) struct Window(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// In which batch each came.
    now: HashMap<Key, u32>,
    before: HashMap<Key, u32>,
    /// Batches that are not on the disk yet.
    pending: HashMap<u32, Pending>,
    last: u32,
}

#[derive(Debug, Default)]
struct Pending {
    /// It has events of its own here.
    holds: bool,
    /// Told when it has none any more, and at its end.
    changed: Arc<Notify>,
}

impl Window {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a batch of `cluster` that is being read.
    pub(super) fn claim(self: &Arc<Self>, cluster: &str) -> Claim {
        let mut inner = self.lock();
        inner.last = inner.last.wrapping_add(1);
        let number = inner.last;
        inner.pending.insert(number, Pending::default());
        drop(inner);
        Claim {
            window: Arc::clone(self),
            cluster: Sha256::new_with_prefix(cluster).chain_update([0]),
            number,
            keys: vec![],
            earlier: HashSet::new(),
            waits: None,
        }
    }
}

/// The events of a batch. Dropped, they were never seen; [`Claim::keep`] says that they are on the disk.
#[derive(Debug)]
pub(super) struct Claim {
    window: Arc<Window>,
    cluster: Sha256,
    number: u32,
    keys: Vec<Key>,
    /// Its own, of when it was read before.
    earlier: HashSet<Key>,
    waits: Option<u32>,
}

impl Claim {
    /// Whether `event` is new. Where it is another batch's that is not on the disk yet, [`Self::waits`] says so.
    pub(super) fn is_fresh(&mut self, event: &[u8]) -> bool {
        let hash = self.cluster.clone().chain_update(event).finalize();
        let mut key = Key::default();
        key.copy_from_slice(&hash[..12]);
        let mut inner = self.window.lock();
        let known = inner.now.get(&key).or_else(|| inner.before.get(&key));
        match known.copied() {
            Some(number) if number == self.number => {
                let again = self.earlier.remove(&key);
                self.keys.extend(again.then_some(key));
                return again;
            }
            Some(number) => {
                if inner.pending.contains_key(&number) {
                    self.waits = Some(number);
                }
                return false;
            }
            None => {}
        }
        if inner.now.len() >= GENERATION {
            inner.before = std::mem::take(&mut inner.now);
        }
        inner.now.insert(key, self.number);
        if self.keys.is_empty()
            && let Some(own) = inner.pending.get_mut(&self.number)
        {
            own.holds = true;
        }
        drop(inner);
        self.keys.push(key);
        true
    }

    /// The batch is read from its beginning again.
    pub(super) fn begin_again(&mut self) {
        self.earlier.extend(self.keys.drain(..));
        self.waits = None;
    }

    /// Waits where another batch under way holds some of the same events; false where there is none. The later of
    /// two lets go of its own until the other has ended, and the earlier only waits for that: no two wait for
    /// each other.
    pub(super) async fn waits(&mut self) -> bool {
        let Some(other) = self.waits.take() else {
            return false;
        };
        let is_later = other < self.number;
        if is_later {
            self.let_go();
        }
        loop {
            let under_way = || {
                let inner = self.window.lock();
                let other = inner.pending.get(&other).filter(|other| is_later || other.holds);
                other.map(|other| Arc::clone(&other.changed))
            };
            let Some(changed) = under_way() else { return true };
            let told = changed.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if under_way().is_none() {
                return true;
            }
            told.await;
        }
    }

    /// Forgets its events.
    fn let_go(&mut self) {
        let mut inner = self.window.lock();
        for key in self.keys.drain(..).chain(self.earlier.drain()) {
            inner.now.remove(&key);
            inner.before.remove(&key);
        }
        if let Some(own) = inner.pending.get_mut(&self.number) {
            own.holds = false;
            own.changed.notify_waiters();
        }
    }

    /// They are on the disk.
    pub(super) fn keep(mut self) {
        self.keys.clear();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.let_go();
        let own = self.window.lock().pending.remove(&self.number);
        if let Some(own) = own {
            own.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_on_the_disk_is_known_and_what_failed_is_not() {
        let window = Arc::new(Window::default());
        let mut first = window.claim("production");
        assert!(first.is_fresh(b"one") && first.is_fresh(b"two"));
        assert!(!first.is_fresh(b"one"), "twice in one batch");
        assert!(window.claim("staging").is_fresh(b"one"), "another cluster's");
        first.keep();
        let mut second = window.claim("production");
        assert!(!second.is_fresh(b"one") && second.is_fresh(b"three"));
        assert!(!second.waits().await, "it is known for good");
        drop(second);
        assert!(window.claim("production").is_fresh(b"three"), "it failed");
    }

    #[tokio::test]
    async fn whoever_meets_a_batch_under_way_hears_what_became_of_it() {
        for fails in [false, true] {
            let window = Arc::new(Window::default());
            let mut first = window.claim("production");
            assert!(first.is_fresh(b"one"));
            let mut second = window.claim("production");
            assert!(second.is_fresh(b"two") && !second.is_fresh(b"one"));
            let waiting = tokio::spawn(async move {
                assert!(second.waits().await);
                second.is_fresh(b"one")
            });
            tokio::task::yield_now().await;
            assert!(
                window.claim("production").is_fresh(b"two"),
                "nothing is claimed by who waits"
            );
            if fails {
                drop(first);
            } else {
                first.keep();
            }
            assert_eq!(waiting.await.unwrap(), fails);
        }
    }

    #[tokio::test]
    async fn of_two_that_meet_each_other_the_earlier_goes_first() {
        let window = Arc::new(Window::default());
        let (mut first, mut second) = (window.claim("production"), window.claim("production"));
        assert!(first.is_fresh(b"one") && second.is_fresh(b"two"));
        assert!(!first.is_fresh(b"two") && !second.is_fresh(b"one"));
        let later = tokio::spawn(async move {
            assert!(second.waits().await);
            second.begin_again();
            [second.is_fresh(b"two"), second.is_fresh(b"one")]
        });
        assert!(first.waits().await);
        first.begin_again();
        assert!(first.is_fresh(b"one") && first.is_fresh(b"two") && !first.is_fresh(b"one"));
        first.keep();
        assert_eq!(later.await.unwrap(), [false, false]);
    }
}
