//! Deadlines of a follow-up: opened by, merged by, converged by. `OnTime` → `DueSoon` → `Breached`.
//!
//! They run from the end of the access and never restart. Each threshold is passed once.

use crate::clock::Time;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// What must be done by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The pull request is open.
    Opened,
    /// It is merged with somebody else's approval.
    Merged,
    /// Cluster and git agree.
    Converged,
    /// Somebody else has reviewed an emergency that left no drift.
    Reviewed,
}

impl Goal {
    /// The name as stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Merged => "merged",
            Self::Converged => "converged",
            Self::Reviewed => "reviewed",
        }
    }
}

/// Where a deadline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadlineState {
    /// Time enough.
    OnTime,
    /// Told that it is near.
    DueSoon,
    /// Missed.
    Breached,
}

/// One deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// What must be done.
    pub goal: Goal,
    /// From when it counts: the end of the access.
    pub from: Time,
    /// By when.
    pub due: Time,
    /// From when it is "due soon".
    pub soon: Time,
    /// Where it stands.
    pub state: DeadlineState,
    /// When it was met, in time or late.
    pub met_at: Option<Time>,
    /// When it was noticed to be breached.
    pub breached_at: Option<Time>,
}

impl Deadline {
    /// A deadline `within` after `from`; due soon when `soon_percent` of that time is over.
    #[must_use]
    pub fn new(goal: Goal, from: Time, within: TimeDelta, soon_percent: u32) -> Self {
        let percent = i32::try_from(soon_percent.min(100)).unwrap_or(100);
        Self {
            goal,
            from,
            due: from + within,
            soon: from + within * percent / 100,
            state: DeadlineState::OnTime,
            met_at: None,
            breached_at: None,
        }
    }

    /// The next threshold that `now` has passed, if any: each is returned once, since the new
    /// state is stored with the notice. A deadline slept through goes straight to Breached.
    #[must_use]
    pub fn tick(&self, now: Time) -> Option<Self> {
        if self.met_at.is_some() {
            return None;
        }
        let state = if now >= self.due {
            DeadlineState::Breached
        } else if now >= self.soon {
            DeadlineState::DueSoon
        } else {
            return None;
        };
        // A clock stepping back never takes a threshold back.
        if self.state == state || self.state == DeadlineState::Breached {
            return None;
        }
        let breached_at = (state == DeadlineState::Breached).then_some(now);
        Some(Self {
            state,
            breached_at,
            ..self.clone()
        })
    }

    /// Marks it met at `at`.
    pub fn meet(&mut self, at: Time) {
        self.met_at.get_or_insert(at);
    }

    /// Missed and still open.
    #[must_use]
    pub fn is_breached(&self) -> bool {
        self.met_at.is_none() && self.state == DeadlineState::Breached
    }

    /// Met after it was due.
    #[must_use]
    pub fn was_late(&self) -> bool {
        self.met_at.is_some_and(|met| met > self.due) || self.state == DeadlineState::Breached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Time {
        Time::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    #[test]
    fn each_threshold_is_passed_once_and_never_taken_back() {
        let deadline = Deadline::new(Goal::Merged, at(0), TimeDelta::minutes(60), 75);
        assert_eq!(deadline.tick(at(44)), None);
        let soon = deadline.tick(at(45)).unwrap();
        assert_eq!(soon.state, DeadlineState::DueSoon);
        assert_eq!(soon.tick(at(59)), None);
        let late = soon.tick(at(60)).unwrap();
        assert_eq!(late.state, DeadlineState::Breached);
        assert_eq!(late.breached_at, Some(at(60)));
        assert_eq!(late.tick(at(50)), None, "the clock went back; the breach stays");
        assert_eq!(late.tick(at(100)), None);
    }

    #[test]
    fn a_deadline_slept_through_is_breached_at_once() {
        let deadline = Deadline::new(Goal::Opened, at(0), TimeDelta::minutes(60), 75);
        assert_eq!(deadline.tick(at(500)).unwrap().state, DeadlineState::Breached);
    }

    #[test]
    fn what_is_met_is_not_reminded() {
        let mut deadline = Deadline::new(Goal::Opened, at(0), TimeDelta::minutes(60), 75);
        deadline.meet(at(10));
        assert_eq!(deadline.tick(at(500)), None);
        assert!(!deadline.was_late());
    }
}
