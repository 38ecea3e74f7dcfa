//! The only source of time. Everything that decides by the clock takes `now` or a [`Clock`],
//! so that a test can pass a deadline in a microsecond and a wrong system clock is one fact, not many.

use chrono::{DateTime, SubsecRound, Utc};
use std::sync::{Arc, Mutex};

/// A point in time, UTC, kept to the millisecond everywhere it is stored.
pub type Time = DateTime<Utc>;

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time now, UTC, cut to whole milliseconds (what the store keeps, so that a value
    /// read back equals the value written).
    fn now(&self) -> Time;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    fn now(&self) -> Time {
        Utc::now().trunc_subsecs(3)
    }
}

/// A clock that stands still until it is moved: for tests.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Time>>);

impl ManualClock {
    /// A clock standing at `at`.
    #[must_use]
    pub fn at(at: Time) -> Self {
        Self(Arc::new(Mutex::new(at)))
    }

    /// Moves the clock by `step`, forward or back.
    pub fn step(&self, step: chrono::TimeDelta) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now += step;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
