//! An API server counts what it audited; here is counted what came. The difference is told apart: on its way still,
//! lost, or never meant to come here.
//!
//! Events happen while counters are read, so no reading has one difference but a lowest and a highest, between the
//! moment before it and the moment after. Only the lowest says that something is lost, and only the highest that
//! something came after all.

use crate::clock::Time;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// A loss that goes on is named at least as often.
const LONGEST: i64 = 5 * 60_000;
/// Two starts of one process as it tells them at different times differ by less: it reckons from the machine's start,
/// and clocks are set.
const SAME_START: i64 = 5_000;

/// What an API server said of itself at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// When its process began, ms by its machine.
    pub started_ms: i64,
    /// Events it audited since, each stage one.
    pub audited: u64,
    /// Events of them that it gave up or could not send.
    pub given_up: u64,
}

/// One reading, held against what has come by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// When the counters were read at the latest, ms by the API server's clock.
    pub at_ms: i64,
    /// The same by ours.
    pub here_at: Time,
    /// What they said.
    pub counters: Counters,
    /// At least so many of what was counted are not here.
    pub low: i64,
    /// At most so many.
    pub high: i64,
    /// So long ago that whatever was on its way then has come, or never will.
    pub old: bool,
}

/// A reading by which everything is here, or named as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When, ms by the API server's clock.
    pub at_ms: i64,
    /// The same by ours.
    pub here_at: Time,
    /// What was counted by then.
    pub audited: u64,
    /// What it had given up by then.
    pub given_up: u64,
}

/// One life of an API server's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When it began, ms by its machine.
    pub started_ms: i64,
    /// From when on its events are accounted for, ms by its clock.
    pub since_ms: i64,
    /// What it had counted before that and did not send here.
    pub before: u64,
    /// What was lost since, and named.
    pub named: u64,
    /// The newest reading that agrees.
    pub good: Option<Mark>,
    /// By the last comparison more came than it counted: others send under its name, and nothing can be counted.
    #[serde(default)]
    pub several: bool,
}

/// What a comparison showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Events that were counted are not here and will not come by themselves.
    Lost {
        /// After this, ms by the API server's clock.
        from_ms: i64,
        /// Before this.
        to_ms: i64,
        /// How many.
        events: u64,
        /// How many of them the API server itself says that it gave up.
        given_up: u64,
    },
    /// So many that were named as lost are here now.
    Came(u64),
}

impl Run {
    /// A process whose events were to come here from its first on.
    #[must_use]
    pub fn begun(started_ms: i64, here_at: Time) -> Self {
        let good = Mark {
            at_ms: started_ms,
            here_at,
            audited: 0,
            given_up: 0,
        };
        Self {
            started_ms,
            since_ms: started_ms,
            before: 0,
            named: 0,
            good: Some(good),
            several: false,
        }
    }

    /// A process that ran before anything of it was counted here: what it counted so far is its own affair.
    #[must_use]
    pub fn met(look: &Look) -> Self {
        let mut run = Self {
            started_ms: look.counters.started_ms,
            since_ms: look.at_ms,
            before: u64::try_from(look.high).unwrap_or(0),
            named: 0,
            good: None,
            several: look.high < 0,
        };
        run.agree(look);
        run
    }

    /// Whether these counters are of another process than this one.
    #[must_use]
    pub fn is_over(&self, counters: &Counters) -> bool {
        (counters.started_ms - self.started_ms).abs() > SAME_START
            || self.good.is_some_and(|good| counters.audited < good.audited)
    }

    /// Holds the readings, oldest first, against what is accounted for. Returns what was found and how many of the
    /// readings are done with; the others wait for what is on its way. `over`: there will be no further one.
    pub fn compare(&mut self, looks: &[Look], over: bool) -> (Vec<Found>, usize) {
        let mut found = vec![];
        let mut done = 0;
        self.several = looks.iter().any(|look| self.has_too_many(look));
        if self.several {
            return (found, looks.len());
        }
        let settled = |run: &Self, look: &Look| look.low <= run.accounted();
        if let Some(at) = looks.iter().rposition(|look| settled(self, look)) {
            let look = &looks[at];
            let excess = u64::try_from(self.accounted() - look.high).unwrap_or(0);
            let came = excess.min(self.named);
            self.named -= came;
            self.before -= excess - came;
            if came > 0 {
                found.push(Found::Came(came));
            }
            self.agree(look);
            done = at + 1;
        }
        let lost: Vec<&Look> = looks[done..]
            .iter()
            .take_while(|look| look.old || self.explains(look))
            .collect();
        let (Some(newest), Some(good)) = (lost.last(), self.good) else {
            return (found, done);
        };
        let others = &lost[..lost.len() - 1];
        let stands = others.iter().any(|look| look.low >= newest.low);
        let ends = over && done + lost.len() == looks.len();
        if stands || ends || newest.at_ms - good.at_ms > LONGEST {
            let top = lost.iter().map(|look| look.low).max().unwrap_or_default();
            let to_ms = lost
                .iter()
                .find(|look| look.low == top)
                .map_or(newest.at_ms, |look| look.at_ms);
            let events = u64::try_from(top - self.accounted()).unwrap_or(0);
            let given_up = newest.counters.given_up.saturating_sub(good.given_up).min(events);
            found.push(Found::Lost {
                from_ms: good.at_ms,
                to_ms,
                events,
                given_up,
            });
            self.named += events;
            done += lost.len();
            self.agree(newest);
        }
        (found, done)
    }

    /// Everything that is not here, lost or from before.
    fn accounted(&self) -> i64 {
        i64::try_from(self.before + self.named).unwrap_or(i64::MAX)
    }

    /// More is here than it ever sent, or what it sent before it was met goes on coming.
    fn has_too_many(&self, look: &Look) -> bool {
        let named = i64::try_from(self.named).unwrap_or(i64::MAX);
        let beyond = self.accounted() - named - look.high.max(0);
        look.high < 0 || (beyond > 0 && look.at_ms - self.since_ms > 2 * LONGEST)
    }

    /// The API server itself gave up as many as are missing.
    fn explains(&self, look: &Look) -> bool {
        let missing = u64::try_from(look.low - self.accounted()).unwrap_or(0);
        let before = self.good.map_or(0, |good| good.given_up);
        missing <= look.counters.given_up.saturating_sub(before)
    }

    fn agree(&mut self, look: &Look) {
        self.good = Some(Mark {
            at_ms: look.at_ms,
            here_at: look.here_at,
            audited: look.counters.audited,
            given_up: look.counters.given_up,
        });
    }
}

/// Why a stretch of the record may lack something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Events were counted there and are not here.
    Lost,
    /// This service did not run.
    Absent,
    /// Nothing came back through audit.
    Silent,
    /// The API server's process ended, and with it its count.
    Restarted,
}

/// A gap that may still be closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenGap {
    /// Its id, as its entry has it.
    pub id: String,
    /// Why.
    pub why: Why,
    /// From when.
    pub from: Time,
    /// Until when.
    pub to: Time,
    /// How many events are missing, where that is known.
    pub events: Option<u64>,
}

/// What is kept of one API server between starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reckoning {
    /// Its present process.
    pub run: Option<Run>,
    /// What may still be closed, oldest first.
    pub open: Vec<OpenGap>,
    /// Since when it is silent, once that was entered.
    pub silent_since: Option<Time>,
}

impl Reckoning {
    /// The gaps that ended and through which this process was counted without a break: the count agrees, so nothing
    /// is missing in them but what is named by itself. They are open no longer.
    pub fn close(&mut self) -> Vec<OpenGap> {
        let Some((since, good)) = self.run.as_ref().and_then(|run| Some((run.since_ms, run.good?))) else {
            return vec![];
        };
        let closed = |gap: &OpenGap| {
            matches!(gap.why, Why::Absent | Why::Silent)
                && since <= gap.from.timestamp_millis()
                && gap.to < good.here_at
        };
        let (closed, open) = std::mem::take(&mut self.open).into_iter().partition(closed);
        self.open = open;
        closed
    }

    /// Gives `events` that came after all to the gaps that lack some, newest first. Returns each gap they go to, with
    /// how many; what lacks nothing more is open no longer.
    pub fn fill(&mut self, mut events: u64) -> Vec<(OpenGap, u64)> {
        let mut filled = vec![];
        for gap in self.open.iter_mut().rev().filter(|gap| gap.why == Why::Lost) {
            let lacks = gap.events.unwrap_or(0);
            let came = lacks.min(events);
            if came > 0 {
                events -= came;
                gap.events = Some(lacks - came);
                filled.push((gap.clone(), came));
            }
        }
        self.open
            .retain(|gap| gap.why != Why::Lost || gap.events.is_some_and(|events| events > 0));
        filled
    }

    /// Keeps a gap; the oldest are let go where there are very many.
    pub fn push(&mut self, gap: OpenGap) {
        const MOST: usize = 200;
        self.open.push(gap);
        let spare = self.open.len().saturating_sub(MOST);
        self.open.drain(..spare);
    }
}

/// How long the source usually takes: the middle of its last delays.
#[must_use]
pub fn usual(delays: impl IntoIterator<Item = TimeDelta>) -> TimeDelta {
    let mut delays: Vec<TimeDelta> = delays.into_iter().collect();
    delays.sort_unstable();
    delays.get(delays.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::at;
    use proptest::prelude::*;

    fn look(second: u32, audited: u64, given_up: u64, missing: i64) -> Look {
        Look {
            at_ms: i64::from(second) * 1000,
            here_at: at(second.into()),
            counters: Counters {
                started_ms: 0,
                audited,
                given_up,
            },
            low: missing,
            high: missing,
            old: false,
        }
    }

    fn old(look: Look) -> Look {
        Look { old: true, ..look }
    }

    #[test]
    fn what_was_counted_before_is_nobodys_loss() {
        let mut run = Run::met(&look(10, 500, 3, 120));
        assert_eq!(run.compare(&[look(25, 600, 3, 120)], false), (vec![], 1));
        // What was on its way at the first reading came: it was not lost before.
        assert_eq!(run.compare(&[look(40, 700, 3, 100)], false), (vec![], 1));
        assert_eq!((run.before, run.named), (100, 0));
        let (found, _) = run.compare(&[old(look(55, 800, 3, 101)), old(look(70, 900, 3, 101))], false);
        assert_eq!(
            found,
            [Found::Lost {
                from_ms: 40_000,
                to_ms: 55_000,
                events: 1,
                given_up: 0
            }]
        );
    }

    #[test]
    fn what_is_on_its_way_is_waited_for() {
        let mut run = Run::begun(0, at(0));
        assert_eq!(
            run.compare(&[look(15, 960, 0, 40), look(30, 1200, 0, 25)], false),
            (vec![], 0)
        );
        let late = [look(15, 960, 0, 0), look(30, 1200, 0, 12)];
        assert_eq!(run.compare(&late, false), (vec![], 1));
        assert_eq!(run.good.unwrap().at_ms, 15_000);
    }

    #[test]
    fn what_the_api_server_gave_up_is_named_once_it_stands() {
        let mut run = Run::begun(0, at(0));
        assert_eq!(
            run.compare(&[look(15, 960, 12, 12)], false),
            (vec![], 0),
            "it may rise"
        );
        let (found, done) = run.compare(&[look(15, 960, 12, 12), look(30, 990, 12, 12)], false);
        assert_eq!(
            (found.as_slice(), done),
            (
                &[Found::Lost {
                    from_ms: 0,
                    to_ms: 15_000,
                    events: 12,
                    given_up: 12
                }][..],
                2
            )
        );
        assert_eq!(
            run.compare(&[look(45, 1000, 12, 12)], false),
            (vec![], 1),
            "it is named once"
        );
        assert_eq!(
            run.compare(&[look(60, 1100, 12, 5)], false),
            (vec![Found::Came(7)], 1)
        );
        assert_eq!(run.named, 5);
    }

    #[test]
    fn a_loss_that_nobody_owns_up_to_is_named_when_it_is_old() {
        let mut run = Run::begun(0, at(0));
        let looks = [look(15, 100, 0, 3), look(30, 200, 0, 3)];
        assert_eq!(run.compare(&looks, false), (vec![], 0));
        let (found, done) = run.compare(&[old(looks[0]), old(looks[1])], false);
        assert!(
            matches!(
                found[..],
                [Found::Lost {
                    events: 3,
                    given_up: 0,
                    ..
                }]
            ),
            "{found:?}"
        );
        assert_eq!(done, 2);
    }

    #[test]
    fn the_last_reading_of_a_process_is_enough() {
        let mut run = Run::begun(0, at(0));
        assert_eq!(run.compare(&[look(15, 100, 0, 3)], true), (vec![], 0));
        let (found, done) = run.compare(&[old(look(15, 100, 0, 3))], true);
        assert_eq!((found.len(), done), (1, 1));
    }

    #[test]
    fn more_than_was_counted_means_several_senders() {
        let mut run = Run::begun(0, at(0));
        assert_eq!(run.compare(&[look(15, 100, 0, -40)], false), (vec![], 1));
        assert!(run.several);
        // It was met with much that it never sent here, and all of that seems to come now.
        let mut run = Run::met(&look(10, 500, 0, 400));
        run.compare(&[look(25, 600, 0, 300), look(700, 700, 0, 290)], false);
        assert!(run.several);
    }

    #[test]
    fn another_process_is_known_by_its_start_or_its_count() {
        let run = Run::met(&look(10, 500, 0, 0));
        let says = |started_ms, audited| {
            run.is_over(&Counters {
                started_ms,
                audited,
                given_up: 0,
            })
        };
        assert!(!says(900, 500) && says(60_000, 900) && says(900, 20));
    }

    #[test]
    fn gaps_are_closed_by_a_count_that_went_through_them() {
        let gap = |why, from, to, events| OpenGap {
            id: format!("{from}"),
            why,
            from: at(from),
            to: at(to),
            events,
        };
        let mut known = Reckoning {
            run: Some(Run::begun(at(5).timestamp_millis(), at(5))),
            open: vec![
                gap(Why::Absent, 2, 8, None),
                gap(Why::Absent, 10, 20, None),
                gap(Why::Lost, 12, 14, Some(4)),
                gap(Why::Lost, 15, 16, Some(2)),
                gap(Why::Silent, 30, 90, None),
            ],
            silent_since: None,
        };
        let later = Look {
            at_ms: at(25).timestamp_millis(),
            ..look(25, 10, 6, 0)
        };
        known.run.as_mut().unwrap().compare(&[later], false);
        assert_eq!(
            known.close().iter().map(|gap| gap.from).collect::<Vec<_>>(),
            [at(10)]
        );
        let filled = known.fill(3);
        assert_eq!(
            filled
                .iter()
                .map(|(gap, came)| (gap.from, *came))
                .collect::<Vec<_>>(),
            [(at(15), 2), (at(12), 1)]
        );
        assert_eq!(known.open.iter().filter(|gap| gap.why == Why::Lost).count(), 1);
    }

    proptest! {
        /// Whatever is in flight at each reading and however wide it is: nothing is named that is not lost, and in
        /// the end all that is lost is.
        #[test]
        fn nothing_but_what_is_lost_is_named(
            steps in prop::collection::vec((0..50u64, 0..5u64, 0..30i64, 0..4i64, any::<bool>()), 1..30),
        ) {
            let mut run = Run::begun(0, at(0));
            let (mut audited, mut lost, mut owned) = (0, 0u64, 0);
            for (n, (sent, gone, flying, wide, owns)) in steps.into_iter().enumerate() {
                audited += sent + gone;
                lost += gone;
                owned += if owns { gone } else { 0 };
                let second = u32::try_from(n).unwrap() * 15 + 15;
                let missing = i64::try_from(lost).unwrap();
                let young = Look {
                    low: missing + flying - wide,
                    high: missing + flying,
                    ..look(second, audited, owned, 0)
                };
                let aged = Look { low: (missing - wide).max(0), high: missing, old: true, ..young };
                // Young ones are never named beyond what is lost, unless the API server says so itself.
                if !owns && owned == 0 {
                    run.compare(&[young], false);
                    prop_assert!(run.named <= lost);
                }
                run.compare(&[aged, aged], false);
                prop_assert!(run.named <= lost && !run.several);
            }
            let exact = old(look(100_000, audited, owned, i64::try_from(lost).unwrap()));
            run.compare(&[exact, exact], false);
            prop_assert_eq!(run.named, lost);
        }
    }
}
