//! How fast writes may follow one another.
//!
//! GitHub asks for a second between the writes of whoever makes many, and refuses more than 80 a minute that make
//! content ("Best practices for using the REST API", "Rate limits for the REST API"). The handful of one emergency's
//! pull request is not many, and somebody waits for it: those go at once, and what follows them keeps the second.

use std::time::Duration;
use tokio::time::Instant;

/// So many writes go without a gap when none was sent for a while: with 60 more in the rest of the minute they stay
/// below what GitHub refuses.
const AT_ONCE: u32 = 10;

/// When the next write may be sent.
#[derive(Debug)]
pub(super) struct Pace {
    gap: Duration,
    /// When all that was sent would have been sent with its gaps.
    even: Option<Instant>,
}

impl Pace {
    pub(super) const fn new(gap: Duration) -> Self {
        Self { gap, even: None }
    }

    /// A write is wanted `now`: how long it has to wait. Counts it.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let even = self.even.map_or(now, |even| even.max(now));
        self.even = Some(even + self.gap);
        even.saturating_duration_since(now)
            .saturating_sub(self.gap * (AT_ONCE - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Sends writes as fast as the pace allows, until `over`; when each was sent.
    fn sent(pace: &mut Pace, from: Instant, over: Duration) -> Vec<Duration> {
        let (mut now, mut all) = (from, vec![]);
        loop {
            now += pace.wait(now);
            if now >= from + over {
                return all;
            }
            all.push(now - from);
        }
    }

    #[test]
    fn a_pull_request_goes_at_once_and_a_row_of_them_a_write_a_second() {
        let mut pace = Pace::new(SECOND);
        let all = sent(&mut pace, Instant::now(), SECOND * 60);
        assert!(all[..10].iter().all(Duration::is_zero), "{all:?}");
        assert_eq!(all[10..13], [SECOND, SECOND * 2, SECOND * 3]);
        assert!(all.len() < 80, "{} in a minute", all.len());
    }

    #[test]
    fn quiet_gives_back_what_was_used_and_no_more() {
        let mut pace = Pace::new(SECOND);
        let begun = Instant::now();
        sent(&mut pace, begun, SECOND * 5);
        let later = sent(&mut pace, begun + SECOND * 3_600, SECOND * 3);
        assert_eq!(later.iter().filter(|at| at.is_zero()).count(), 10);
    }
}
