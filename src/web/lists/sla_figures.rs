//! The numbers of the SLA page: pure, so that each can be checked by hand.

use crate::clock::Time;
use crate::domain::deadline::{Deadline, Goal};
use crate::domain::follow_up::{FollowUp, FollowUpState};
use chrono::{Datelike, NaiveDate, TimeDelta};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One list that a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Open debts.
    Owed,
    /// Open debts that missed a deadline.
    Late,
    /// Closed, every deadline met in time.
    InTime,
    /// Closed, some deadline missed.
    ClosedLate,
    /// Ended without drift.
    NoDrift,
    /// Brought to git by a pull request.
    ToGit,
    /// Everything of the time shown.
    All,
}

impl Show {
    /// Each with its name in the query and its title.
    pub const ALL: &[(Self, &str, &str)] = &[
        (Self::Owed, "owed", "Owed now, worst first"),
        (Self::Late, "late", "Late now, worst first"),
        (Self::InTime, "in-time", "Closed in time"),
        (Self::ClosedLate, "closed-late", "Closed late"),
        (Self::NoDrift, "no-drift", "Left no drift"),
        (Self::ToGit, "to-git", "Brought to git"),
        (Self::All, "all", "Every emergency of this time"),
    ];

    /// The list with that name; what is owed now by default.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self::ALL
            .iter()
            .find(|(_, own, _)| *own == name)
            .map_or(Self::Owed, |(show, _, _)| *show)
    }

    /// Its name in the query.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(show, _, _)| *show == self)
            .map_or("owed", |(_, name, _)| name)
    }

    /// Its title.
    #[must_use]
    pub fn title(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(show, _, _)| *show == self)
            .map_or("", |(_, _, title)| title)
    }

    /// Whether it counts `follow_up`.
    #[must_use]
    pub fn has(self, follow_up: &FollowUp) -> bool {
        match self {
            Self::Owed => !follow_up.is_closed(),
            Self::Late => follow_up.is_breached(),
            Self::InTime => follow_up.is_closed() && !was_late(follow_up),
            Self::ClosedLate => follow_up.is_closed() && was_late(follow_up),
            Self::NoDrift => follow_up.state == FollowUpState::NoDrift,
            Self::ToGit => time_to_git(follow_up).is_some(),
            Self::All => true,
        }
    }
}

/// Some deadline was met late or is missed.
#[must_use]
pub fn was_late(follow_up: &FollowUp) -> bool {
    follow_up.deadlines.iter().any(Deadline::was_late)
}

/// From the end of the access to the merge, where a pull request was merged.
#[must_use]
pub fn time_to_git(follow_up: &FollowUp) -> Option<TimeDelta> {
    follow_up.pull.as_ref()?.merge_sha.as_ref()?;
    let merged = follow_up
        .deadlines
        .iter()
        .find(|deadline| deadline.goal == Goal::Merged)?;
    Some(merged.met_at? - follow_up.from)
}

/// One week.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Week {
    /// Debts that began in it.
    pub opened: usize,
    /// Closed in it, in time.
    pub in_time: usize,
    /// Closed in it, late.
    pub late: usize,
}

/// One team.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Team {
    /// Emergencies.
    pub emergencies: usize,
    /// Open debts.
    pub open: usize,
    /// Late ones among them.
    pub late: usize,
    /// Closed in time.
    pub in_time: usize,
    /// Closed late.
    pub closed_late: usize,
}

/// The numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// By list: how many it counts.
    pub counts: BTreeMap<&'static str, usize>,
    /// The share closed in time of all that is closed, in per cent.
    pub in_time_percent: Option<usize>,
    /// The share without drift of all whose drift is known, in per cent.
    pub no_drift_percent: Option<usize>,
    /// Half were faster.
    pub to_git_median: Option<TimeDelta>,
    /// Nine of ten were faster.
    pub to_git_p90: Option<TimeDelta>,
    /// By the Monday a week begins with (UTC), oldest first, without gaps.
    pub weeks: BTreeMap<NaiveDate, Week>,
    /// By team.
    pub teams: BTreeMap<String, Team>,
}

/// Counts.
#[must_use]
pub fn figures(follow_ups: &[Arc<FollowUp>], since: Time, now: Time) -> Figures {
    let count = |show: Show| follow_ups.iter().filter(|follow_up| show.has(follow_up)).count();
    let counts: BTreeMap<_, _> = Show::ALL
        .iter()
        .map(|(show, name, _)| (*name, count(*show)))
        .collect();
    let closed = count(Show::InTime) + count(Show::ClosedLate);
    let known = follow_ups
        .iter()
        .filter(|follow_up| follow_up.state != FollowUpState::Capturing)
        .count();
    let mut to_git: Vec<_> = follow_ups
        .iter()
        .filter_map(|follow_up| time_to_git(follow_up))
        .collect();
    to_git.sort_unstable();
    let mut weeks = BTreeMap::new();
    let mut monday = monday_of(since);
    while monday <= monday_of(now) {
        weeks.insert(monday, Week::default());
        monday += TimeDelta::weeks(1);
    }
    let mut teams: BTreeMap<String, Team> = BTreeMap::new();
    for follow_up in follow_ups {
        if let Some(week) = weeks.get_mut(&monday_of(follow_up.from)) {
            week.opened += 1;
        }
        let late = was_late(follow_up);
        if let Some(week) = follow_up
            .closed_at
            .and_then(|closed| weeks.get_mut(&monday_of(closed)))
        {
            *(if late { &mut week.late } else { &mut week.in_time }) += 1;
        }
        let team = teams.entry(follow_up.team.clone()).or_default();
        team.emergencies += 1;
        team.open += usize::from(Show::Owed.has(follow_up));
        team.late += usize::from(Show::Late.has(follow_up));
        team.in_time += usize::from(Show::InTime.has(follow_up));
        team.closed_late += usize::from(Show::ClosedLate.has(follow_up));
    }
    Figures {
        in_time_percent: percent(count(Show::InTime), closed),
        no_drift_percent: percent(count(Show::NoDrift), known),
        to_git_median: rank(&to_git, 50),
        to_git_p90: rank(&to_git, 90),
        counts,
        weeks,
        teams,
    }
}

/// The Monday of its week, UTC.
#[must_use]
pub fn monday_of(at: Time) -> NaiveDate {
    let day = at.date_naive();
    day - TimeDelta::days(i64::from(day.weekday().num_days_from_monday()))
}

fn percent(part: usize, whole: usize) -> Option<usize> {
    (whole > 0).then(|| (part * 100 + whole / 2) / whole)
}

/// The nearest-rank percentile of sorted values.
fn rank(sorted: &[TimeDelta], percent: usize) -> Option<TimeDelta> {
    let place = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(place - 1).copied()
}

/// Worst first: late before not, then by the next due date; closed ones by their end, newest first.
pub fn worst_first(follow_ups: &mut [Arc<FollowUp>]) {
    follow_ups.sort_by_key(|follow_up| {
        let due = follow_up.next_deadline().map(|deadline| deadline.due);
        (
            follow_up.is_closed(),
            !follow_up.is_breached(),
            due.is_none(),
            due,
            std::cmp::Reverse(follow_up.closed_at),
        )
    });
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::fixture;
    use crate::domain::follow_up::PullRequest;

    pub(in crate::web::lists) fn at(hours: i64) -> Time {
        // A Monday.
        "2026-03-02T00:00:00Z".parse::<Time>().unwrap() + TimeDelta::hours(hours)
    }

    pub(in crate::web::lists) fn follow_up(team: &str, from: Time) -> FollowUp {
        let deadline = |goal, hours| Deadline::new(goal, from, TimeDelta::hours(hours), 75);
        FollowUp {
            team: team.to_owned(),
            from,
            deadlines: vec![
                deadline(Goal::Opened, 1),
                deadline(Goal::Merged, 24),
                deadline(Goal::Converged, 72),
            ],
            ..fixture::follow_up()
        }
    }

    /// Merged after `hours` and converged an hour later.
    fn merged(team: &str, from: Time, hours: i64) -> FollowUp {
        let mut follow_up = follow_up(team, from).owed(from + TimeDelta::minutes(5)).unwrap();
        follow_up.pull = Some(PullRequest {
            opened_at: from,
            ..fixture::pull()
        });
        let done = from + TimeDelta::hours(hours);
        follow_up
            .merged("abc".into(), done)
            .unwrap()
            .converged(done + TimeDelta::hours(1))
            .unwrap()
    }

    #[test]
    fn each_number_counts_what_it_says() {
        let late_now = {
            let mut open = follow_up("orders", at(0)).owed(at(0)).unwrap();
            for deadline in &mut open.deadlines {
                if let Some(passed) = deadline.tick(at(30)) {
                    *deadline = passed;
                }
            }
            open
        };
        let quiet = follow_up("payments", at(1)).no_drift(None, at(2)).unwrap();
        let all = [
            merged("payments", at(0), 2),
            merged("payments", at(0), 4),
            merged("orders", at(0), 30),
            quiet,
            late_now,
            follow_up("orders", at(200)),
        ]
        .map(Arc::new);
        let figures = figures(&all, at(-24 * 7), at(201));
        let count = |name: &str| figures.counts[name];
        assert_eq!(
            (
                count("owed"),
                count("late"),
                count("in-time"),
                count("closed-late")
            ),
            (2, 1, 3, 1)
        );
        assert_eq!((count("no-drift"), count("to-git"), count("all")), (1, 3, 6));
        assert_eq!(figures.in_time_percent, Some(75));
        assert_eq!(
            figures.no_drift_percent,
            Some(20),
            "one of five whose drift is known"
        );
        assert_eq!(figures.to_git_median, Some(TimeDelta::hours(4)));
        assert_eq!(figures.to_git_p90, Some(TimeDelta::hours(30)));
        let weeks: Vec<_> = figures.weeks.values().cloned().collect();
        assert_eq!(weeks.len(), 3);
        assert_eq!(
            weeks[1],
            Week {
                opened: 5,
                in_time: 3,
                late: 1
            }
        );
        assert_eq!(
            weeks[2],
            Week {
                opened: 1,
                in_time: 0,
                late: 0
            }
        );
        assert_eq!(
            figures.teams["orders"],
            Team {
                emergencies: 3,
                open: 2,
                late: 1,
                in_time: 0,
                closed_late: 1
            }
        );
    }

    #[test]
    fn nothing_is_no_number_rather_than_a_hundred_per_cent() {
        let none = figures(&[], at(0), at(1));
        assert_eq!(
            (none.in_time_percent, none.no_drift_percent, none.to_git_median),
            (None, None, None)
        );
    }

    #[test]
    fn the_worst_debt_comes_first() {
        let mut late = follow_up("a", at(10)).owed(at(10)).unwrap();
        late.deadlines[1] = late.deadlines[1].tick(at(40)).unwrap();
        let mut list = [
            merged("b", at(0), 1),
            follow_up("c", at(5)),
            late.clone(),
            follow_up("d", at(1)),
        ]
        .map(Arc::new);
        worst_first(&mut list);
        assert_eq!(
            list.iter().map(|f| f.team.as_str()).collect::<Vec<_>>(),
            ["a", "d", "c", "b"]
        );
    }
}
