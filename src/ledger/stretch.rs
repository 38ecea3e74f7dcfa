//! The stretches of time whose record may lack something, and who held a grant in them, in one sentence.

use super::completeness::{Holder, Hole};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use std::fmt::Write as _;

/// So many stretches are named in the sentence; each hole has a line of its own below it.
const NAMED: usize = 5;
/// So many holders of grants are named in one stretch.
const HOLDERS: usize = 3;

/// A time of which something may be missing. Holes that overlap are one.
struct Stretch<'a> {
    from: DateTime<Utc>,
    /// `None`: it had not ended when the log did.
    to: Option<DateTime<Utc>>,
    held: Vec<&'a Holder>,
    /// A hole in it does not tell who held a grant.
    untold: bool,
}

/// The stretches of `holes` in the order of time, and that there are `left_off` more holes.
pub(super) fn sentence(holes: &[Hole], left_off: u64) -> String {
    let all = stretches(holes);
    let mut parts: Vec<String> = all.iter().take(NAMED).map(Stretch::say).collect();
    let more = (all.len().saturating_sub(NAMED)) as u64 + left_off;
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    parts.join("; ")
}

fn stretches(holes: &[Hole]) -> Vec<Stretch<'_>> {
    let mut all: Vec<Stretch<'_>> = holes.iter().map(Stretch::of).collect();
    all.sort_by_key(|one| one.from);
    let mut merged: Vec<Stretch<'_>> = Vec::with_capacity(all.len());
    for next in all {
        match merged.last_mut() {
            Some(last) if last.to.is_none_or(|to| next.from <= to) => last.take(next),
            _ => merged.push(next),
        }
    }
    merged
}

impl<'a> Stretch<'a> {
    fn of(hole: &'a Hole) -> Self {
        let at = DateTime::from_timestamp_millis(hole.at).unwrap_or_default();
        let Some(gap) = &hole.gap else {
            return Self {
                from: at,
                to: Some(at),
                held: vec![],
                untold: true,
            };
        };
        let from = time(&gap.from).or_else(|| time(&gap.since)).unwrap_or(at);
        let to = time(&gap.to);
        Self {
            from,
            // What says from when and not until when goes on.
            to: to
                .or_else(|| gap.since.is_empty().then_some(at))
                .map(|to| to.max(from)),
            held: gap.grants.iter().collect(),
            untold: to.is_none(),
        }
    }

    fn take(&mut self, other: Self) {
        self.to = self.to.zip(other.to).map(|(one, other)| one.max(other));
        self.untold |= other.untold;
        for holder in other.held {
            if !self.held.iter().any(|known| known.id == holder.id) {
                self.held.push(holder);
            }
        }
    }

    fn say(&self) -> String {
        let minute = TimeDelta::minutes(1);
        // Outwards: the sentence never says less than the lines below it.
        let from = self.from.duration_trunc(minute).unwrap_or(self.from);
        let when = match self.to {
            None => format!("from {} UTC on", from.format("%Y-%m-%d %H:%M")),
            Some(to) => {
                let to = to.duration_round_up(minute).unwrap_or(to);
                format!("{} UTC", span(from, to, "%H:%M"))
            }
        };
        format!("{when}, {}", held(&self.held, self.untold))
    }
}

/// From when to when: a day that is the same is said once.
pub(super) fn span(from: DateTime<Utc>, to: DateTime<Utc>, clock: &str) -> String {
    let day = format!("%Y-%m-%d {clock}");
    let begins = from.format(&day);
    if from == to {
        begins.to_string()
    } else if from.date_naive() == to.date_naive() {
        format!("{begins}–{}", to.format(clock))
    } else {
        format!("{begins}–{}", to.format(&day))
    }
}

/// Who held a grant.
pub(super) fn held(holders: &[&Holder], untold: bool) -> String {
    let mut words = match (holders, untold) {
        ([], true) => return "who held a grant it does not tell".to_owned(),
        ([], false) => return "nobody held a grant".to_owned(),
        _ => "held by ".to_owned(),
    };
    for (place, holder) in holders.iter().take(HOLDERS).enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        // Writing to a `String` cannot fail.
        let _ = write!(words, "{comma}{} ({})", holder.requester, holder.profile);
    }
    if holders.len() > HOLDERS {
        let _ = write!(words, " and {} more", holders.len() - HOLDERS);
    }
    words
}

/// A time as an entry tells it.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::super::completeness::Gap;
    use super::*;
    use crate::domain::entry_kind::EntryKind;

    fn hole(gap: Option<Gap>) -> Hole {
        Hole {
            index: 0,
            kind: EntryKind::Gap,
            cluster: Some("production".to_owned()),
            at: time("2026-03-01T09:30:30Z").unwrap().timestamp_millis(),
            gap,
        }
    }

    fn gap(from: &str, to: &str, holders: &[&str]) -> Hole {
        let holder = |name: &&str| Holder {
            id: (*name).to_owned(),
            profile: "workloads".to_owned(),
            requester: (*name).to_owned(),
        };
        hole(Some(Gap {
            from: from.to_owned(),
            to: to.to_owned(),
            grants: holders.iter().map(holder).collect(),
            ..Gap::default()
        }))
    }

    #[test]
    fn holes_that_overlap_are_one_stretch_with_everybody_who_held_a_grant() {
        let holes = [
            gap("2026-03-01T03:00:00Z", "2026-03-01T03:10:00Z", &["Olga", "Pia"]),
            gap("2026-03-01T02:14:03Z", "2026-03-01T02:15:10Z", &[]),
            gap("2026-03-01T02:15:00Z", "2026-03-01T02:15:40Z", &[]),
            gap(
                "2026-03-01T03:05:00Z",
                "2026-03-01T03:12:00Z",
                &["Pia", "Quinn", "Rolf"],
            ),
        ];
        assert_eq!(
            sentence(&holes, 0),
            "2026-03-01 02:14–02:16 UTC, nobody held a grant; 2026-03-01 03:00–03:12 UTC, held by Olga (workloads), Pia \
             (workloads), Quinn (workloads) and 1 more"
        );
    }

    #[test]
    fn what_goes_on_and_what_does_not_tell_are_said_to_be_so() {
        let since = Gap {
            since: "2026-03-01T23:59:30Z".to_owned(),
            ..Gap::default()
        };
        assert_eq!(
            sentence(&[hole(None), hole(Some(since))], 4),
            "2026-03-01 09:30–09:31 UTC, who held a grant it does not tell; from 2026-03-01 23:59 UTC on, who held a \
             grant it does not tell; and 4 more"
        );
        let over_midnight = gap("2026-03-01T23:59:30Z", "2026-03-02T00:00:01Z", &[]);
        assert_eq!(
            sentence(&[over_midnight], 0),
            "2026-03-01 23:59–2026-03-02 00:01 UTC, nobody held a grant"
        );
    }

    #[test]
    fn a_time_that_cannot_be_breaks_nothing() {
        let holes = [
            gap("+262142-12-31T23:59:59Z", "+262142-12-31T23:59:59Z", &[]),
            gap("2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z", &[]),
            gap("yesterday", "now", &[]),
        ];
        for hole in &holes {
            assert!(sentence(std::slice::from_ref(hole), 0).contains("UTC"));
        }
    }
}
