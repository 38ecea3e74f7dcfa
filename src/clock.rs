//! The only source of time. Everything that decides by the clock takes `now` or a [`Clock`],
//! so that a test can pass a deadline in a microsecond and a wrong system clock is one fact, not many.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A point in time, UTC, kept to the millisecond everywhere it is stored.
pub type Time = DateTime<Utc>;

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time now, UTC, cut to whole milliseconds (what the store keeps, so that a value
    /// read back equals the value written).
    fn now(&self) -> Time;

    /// What the machine's clock says, also where it was set back and [`Clock::now`] goes on: to be held
    /// against another machine's clock, and to decide nothing else by.
    fn machine_now(&self) -> Time {
        self.now()
    }

    /// How the machine's clock was moved; a leap is said once.
    fn moved(&self) -> Moved {
        Moved::default()
    }
}

/// How a machine's clock was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// By how much it is behind the time told here: it was set back.
    pub behind: TimeDelta,
    /// The longest leap forward since this was asked last; zero for none of a minute or more.
    pub leapt: TimeDelta,
}

/// Moves of the clock shorter than this are the clock being kept right.
pub const NOTABLE: TimeDelta = TimeDelta::minutes(1);

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    fn now(&self) -> Time {
        Utc::now().trunc_subsecs(3)
    }
}

/// Time that never goes back. It follows the machine's clock forward, also in leaps (a machine that slept), and
/// where that is set back it goes on at the pace of the monotonic clock: what was lent for an hour is over
/// after an hour at most, whatever the machine's clock is made to say meanwhile.
#[derive(Debug)]
pub struct SteadyClock {
    machine: Arc<dyn Clock>,
    monotonic: fn() -> Instant,
    anchor: Mutex<Anchor>,
}

#[derive(Debug)]
struct Anchor {
    /// What was told at `at`; what is told since is this and the time that passed.
    told: Time,
    at: Instant,
    leapt: TimeDelta,
}

impl SteadyClock {
    /// Steady time on top of the machine's clock.
    #[must_use]
    pub fn new(machine: Arc<dyn Clock>) -> Self {
        Self::paced(machine, Instant::now)
    }

    pub(crate) fn paced(machine: Arc<dyn Clock>, monotonic: fn() -> Instant) -> Self {
        let anchor = Mutex::new(Anchor {
            told: machine.now(),
            at: monotonic(),
            leapt: TimeDelta::zero(),
        });
        Self {
            machine,
            monotonic,
            anchor,
        }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Time {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let (machine, at) = (self.machine.now(), (self.monotonic)());
        let passed = TimeDelta::from_std(at.saturating_duration_since(anchor.at)).unwrap_or_default();
        let going_on = anchor.told + passed;
        if machine > going_on {
            let leap = machine - going_on;
            if leap >= NOTABLE {
                anchor.leapt = anchor.leapt.max(leap);
            }
            (anchor.told, anchor.at) = (machine, at);
        }
        machine.max(going_on).trunc_subsecs(3)
    }

    fn machine_now(&self) -> Time {
        self.machine.now()
    }

    fn moved(&self) -> Moved {
        let behind = self.now() - self.machine.now();
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        Moved {
            behind: behind.max(TimeDelta::zero()),
            leapt: std::mem::take(&mut anchor.leapt),
        }
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
    pub fn step(&self, step: TimeDelta) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now += step;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        /// Moved by hand, a thread's own.
        static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
        static BEGAN: Instant = Instant::now();
    }

    pub(crate) fn monotonic() -> Instant {
        BEGAN.with(|began| *began) + PASSED.get()
    }

    /// A machine's clock, and the steady one on top of it.
    pub(crate) fn clocks() -> (ManualClock, SteadyClock) {
        PASSED.set(Duration::ZERO);
        let machine = ManualClock::at(Time::UNIX_EPOCH + TimeDelta::days(20_000));
        let steady = SteadyClock::paced(Arc::new(machine.clone()), monotonic);
        (machine, steady)
    }

    /// Real time passes: both clocks of the machine go on.
    pub(crate) fn pass(machine: &ManualClock, seconds: u32) {
        PASSED.set(PASSED.get() + Duration::from_secs(seconds.into()));
        machine.step(TimeDelta::seconds(seconds.into()));
    }

    #[test]
    fn a_clock_set_back_an_hour_neither_stops_time_nor_takes_it_back() {
        let (machine, steady) = clocks();
        let start = steady.now();
        machine.step(TimeDelta::hours(-1));
        pass(&machine, 600);
        assert_eq!(steady.now() - start, TimeDelta::minutes(10));
        assert_eq!(steady.machine_now() - start, TimeDelta::minutes(-50));
        assert_eq!(steady.moved().behind, TimeDelta::hours(1));
        machine.step(TimeDelta::hours(1));
        assert_eq!(steady.now() - start, TimeDelta::minutes(10));
        assert_eq!(steady.moved(), Moved::default());
    }

    #[test]
    fn a_leap_forward_is_followed_and_goes_on_where_it_is_taken_back() {
        let (machine, steady) = clocks();
        let start = steady.now();
        machine.step(TimeDelta::hours(1));
        assert_eq!(steady.now() - start, TimeDelta::hours(1));
        machine.step(TimeDelta::hours(-1));
        pass(&machine, 60);
        assert_eq!(
            steady.now() - start,
            TimeDelta::minutes(61),
            "what was lent meanwhile ends in time"
        );
        let hour = TimeDelta::hours(1);
        assert_eq!(
            steady.moved(),
            Moved {
                behind: hour,
                leapt: hour
            }
        );
    }

    proptest! {
        /// Whatever the machine's clock is set to: never back, and never slower than time passes.
        #[test]
        fn time_is_never_slower_than_it_passes(steps in prop::collection::vec((-7200..7200_i64, 0..900_u32), 1..40)) {
            let (machine, steady) = clocks();
            let (start, mut passed) = (steady.now(), 0);
            let mut last = start;
            for (step, seconds) in steps {
                machine.step(TimeDelta::seconds(step));
                let at_once = steady.now();
                prop_assert!(at_once >= last);
                pass(&machine, seconds);
                passed += i64::from(seconds);
                last = steady.now();
                prop_assert!(last - at_once >= TimeDelta::seconds(seconds.into()));
                prop_assert!(last - start >= TimeDelta::seconds(passed));
                prop_assert!(last >= machine.now());
            }
        }
    }
}
