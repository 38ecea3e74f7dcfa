//! Overlap and time: random histories of one person's grants and what they owe, while the machine's clock is moved
//! and the process dies and starts again.

use super::deadline::{Deadline, DeadlineState, Goal};
use super::fixture::{at, grant, person, pull};
use super::follow_up::{FollowUp, FollowUpState};
use super::grant::{EndCause, Ending, Grant, GrantState, Issued};
use crate::clock::tests::{clocks, pass};
use crate::clock::{Clock, ManualClock, NOTABLE, SteadyClock, Time};
use chrono::TimeDelta;
use proptest::prelude::*;
use std::sync::Arc;

/// How often the worker looks, in seconds.
const LOOK: u32 = 5;

#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u32),
    /// The machine's clock is moved, by seconds.
    Move(i64),
    /// The process dies, and starts after so many seconds.
    Die(u32),
    Lend,
    Reveal(usize),
    Extend(usize, u32),
    Shorten(usize, u32),
    Done(usize),
    /// An action of a grant that ended arrives.
    Late(usize),
    Owe(usize),
    Pay(usize),
    /// Somebody waives a debt: the requester, the approver, compliance.
    Waive(usize, &'static str),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..6_usize;
    let who = prop::sample::select(vec!["oncall", "first-approver", "compliance"]);
    let hour = prop::sample::select(vec![-3600_i64, 3600, -7200, 40, -40, 86_400]);
    let step = prop_oneof![
        4 => (1..1_800_u32).prop_map(Step::Pass),
        2 => hour.prop_map(Step::Move),
        1 => (0..120_u32).prop_map(Step::Die),
        2 => Just(Step::Lend),
        2 => n.clone().prop_map(Step::Reveal),
        1 => (n.clone(), 60..3_600_u32).prop_map(|(n, s)| Step::Extend(n, s)),
        1 => (n.clone(), 60..3_600_u32).prop_map(|(n, s)| Step::Shorten(n, s)),
        1 => n.clone().prop_map(Step::Done),
        1 => n.clone().prop_map(Step::Late),
        1 => n.clone().prop_map(Step::Owe),
        1 => n.clone().prop_map(Step::Pay),
        1 => (n, who).prop_map(|(n, who)| Step::Waive(n, who)),
    ];
    prop::collection::vec(step, 4..30)
}

/// A grant, and what must hold of it by a clock that nobody moves.
struct Lent {
    grant: Grant,
    /// The last real second at which it may be alive, once it was revealed.
    until: Option<i64>,
    debt: Option<Debt>,
}

struct Debt {
    follow_up: FollowUp,
    /// The last real second at which the first deadline may be unmet and not missed.
    due: i64,
    missed: Vec<Goal>,
}

struct History {
    machine: ManualClock,
    clock: SteadyClock,
    /// Seconds that really passed.
    real: i64,
    /// What the ledger's newest entry says.
    entered: Time,
    lent: Vec<Lent>,
}

type Held = Result<(), TestCaseError>;

impl History {
    fn new() -> Self {
        let (machine, clock) = clocks();
        let entered = clock.now();
        Self {
            machine,
            clock,
            real: 0,
            entered,
            lent: vec![],
        }
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    fn wait(&mut self, seconds: u32) -> Held {
        let mut left = seconds;
        while left > 0 {
            let next = left.min(LOOK);
            left -= next;
            pass(&self.machine, next);
            self.real += i64::from(next);
            self.look()?;
        }
        Ok(())
    }

    /// What the worker does: ends what is over, and passes deadlines.
    fn look(&mut self) -> Held {
        let now = self.now();
        prop_assert!(now >= self.entered, "time went back");
        self.entered = now;
        for one in &mut self.lent {
            if let Some(cause) = one.grant.overdue(now) {
                end(one, cause, now, self.real);
            }
            let alive = !matches!(one.grant.state, GrantState::Ending | GrantState::Ended);
            if let (true, Some(until)) = (alive, one.until) {
                prop_assert!(
                    self.real <= until + i64::from(LOOK),
                    "alive {} s too long",
                    self.real - until
                );
            }
            let Some(debt) = &mut one.debt else { continue };
            let open = !debt.follow_up.is_closed();
            for own in &mut debt.follow_up.deadlines {
                if open && let Some(passed) = own.tick(now) {
                    *own = passed;
                }
                let missed = own.state == DeadlineState::Breached;
                prop_assert!(
                    missed || !debt.missed.contains(&own.goal),
                    "a missed deadline is on time again"
                );
                if missed && !debt.missed.contains(&own.goal) {
                    debt.missed.push(own.goal);
                }
                let late = open && own.goal == Goal::Opened && own.met_at.is_none() && !missed;
                prop_assert!(
                    !late || self.real <= debt.due.saturating_add(i64::from(LOOK)),
                    "a debt has more time"
                );
            }
        }
        Ok(())
    }

    fn die(&mut self, downtime: u32) {
        pass(&self.machine, downtime);
        self.real += i64::from(downtime);
        self.clock = SteadyClock::paced(Arc::new(self.machine.clone()), crate::clock::tests::monotonic);
        let unseen = TimeDelta::seconds(i64::from(downtime));
        let by = self.entered - self.now();
        // What passed unseen is not counted where the clock was set back, nor is a move too small to be noticed.
        let lost = if by >= NOTABLE {
            unseen
        } else {
            (by + unseen).max(TimeDelta::zero())
        };
        for one in &mut self.lent {
            one.until = one.until.map(|until| until + lost.num_seconds());
            if by >= NOTABLE {
                one.grant = one.grant.clone().clock_set_back(by);
            }
            if let Some(debt) = &mut one.debt {
                debt.due = debt.due.saturating_add(lost.num_seconds());
                if by >= NOTABLE {
                    debt.follow_up = debt.follow_up.clone().clock_set_back(by);
                }
            }
        }
        self.entered = self.now();
    }

    fn at(&mut self, n: usize) -> Option<&mut Lent> {
        let len = self.lent.len();
        (len > 0).then(|| &mut self.lent[n % len])
    }

    fn step(&mut self, step: Step) -> Held {
        let (now, real) = (self.now(), self.real);
        let before: Vec<(Option<Time>, GrantState)> = self
            .lent
            .iter()
            .map(|one| (one.grant.ends_at, one.grant.state))
            .collect();
        let closed_then: Vec<bool> = self.lent.iter().map(closed).collect();
        let mut on = None;
        match step {
            Step::Pass(seconds) => self.wait(seconds)?,
            Step::Move(seconds) => {
                self.machine.step(TimeDelta::seconds(seconds));
                self.look()?;
            }
            Step::Die(downtime) => {
                self.die(downtime);
                self.look()?;
            }
            Step::Lend if self.lent.len() < 5 => {
                let shelf_until = now + TimeDelta::minutes(30);
                let grant = Grant {
                    shelf_until,
                    approved_at: now,
                    ..grant()
                };
                let grant = grant.ready(now).unwrap();
                self.lent.push(Lent {
                    grant,
                    until: None,
                    debt: None,
                });
            }
            Step::Lend => {}
            Step::Reveal(n) => {
                on = Some(n);
                self.at(n).map_or(Ok(()), |one| reveal(one, now, real))?;
            }
            Step::Extend(n, seconds) => {
                on = Some(n);
                if let Some(one) = self.at(n)
                    && let Ok(longer) = one.grant.clone().extend(seconds, &[], now)
                {
                    one.grant = longer;
                    one.until = one.until.map(|until| until + i64::from(seconds));
                }
            }
            Step::Shorten(n, seconds) => {
                on = Some(n);
                if let Some(one) = self.at(n)
                    && let Ok(shorter) = one
                        .grant
                        .clone()
                        .shorten(now + TimeDelta::seconds(seconds.into()), now)
                {
                    one.grant = shorter;
                    one.until = one.until.map(|until| until.min(real + i64::from(seconds)));
                }
            }
            Step::Done(n) => {
                on = Some(n);
                if let Some(one) = self.at(n) {
                    end(one, EndCause::Done { by: person("oncall") }, now, real);
                }
            }
            step => return self.settle(step, now),
        }
        // Nobody else's end moves, and nothing but a person or an end that came closes anything.
        for (i, (one, (ends_at, state))) in self.lent.iter().zip(&before).enumerate() {
            if on.is_some_and(|on| on % self.lent.len() != i) {
                prop_assert_eq!(
                    (one.grant.ends_at, one.grant.state),
                    (*ends_at, *state),
                    "cut by another one"
                );
            }
        }
        for (one, closed_before) in self.lent.iter().zip(closed_then) {
            prop_assert!(closed_before || !closed(one), "a debt was closed by nobody");
        }
        Ok(())
    }

    /// What people and late audit do to a debt.
    fn settle(&mut self, step: Step, now: Time) -> Held {
        let (Step::Late(n) | Step::Owe(n) | Step::Pay(n) | Step::Waive(n, _)) = step else {
            return Ok(());
        };
        let Some(debt) = self.at(n).and_then(|one| one.debt.as_mut()) else {
            return Ok(());
        };
        let old = debt.follow_up.clone();
        let again = matches!(step, Step::Late(_));
        let done = match step {
            Step::Owe(_) => old.clone().owed(now).map(|owed| FollowUp {
                pull: Some(pull()),
                ..owed
            }),
            Step::Pay(_) => old
                .clone()
                .merged("aa".to_owned(), now)
                .and_then(|merged| merged.converged(now)),
            Step::Waive(_, who) => {
                let done = old.clone().waive(person(who), "the cluster is gone", now);
                prop_assert!(done.is_err() || who == "compliance", "waived by {who}");
                done
            }
            _ => old.clone().reopened(now, "a late action"),
        };
        let Ok(new) = done else { return Ok(()) };
        if again {
            prop_assert!(!new.is_closed(), "the record grew, and nothing is owed");
            // Opened anew, the same deadlines hold: what was met in time may be late now.
            debt.due = i64::MAX;
            // The same action again changes nothing.
            prop_assert!(new.clone().reopened(now, "a late action").is_err());
        }
        if matches!(step, Step::Pay(_)) {
            prop_assert_eq!(new.state, FollowUpState::Converged);
            for goal in &debt.missed {
                let own = new.deadlines.iter().find(|own| own.goal == *goal);
                prop_assert!(
                    own.is_some_and(Deadline::was_late),
                    "paid late, and said to be in time"
                );
            }
        }
        debt.follow_up = new;
        Ok(())
    }
}

fn closed(one: &Lent) -> bool {
    one.debt.as_ref().is_some_and(|debt| debt.follow_up.is_closed())
}

/// A key is shown; how long its token lives is asked for as the broker does.
fn reveal(one: &mut Lent, now: Time, real: i64) -> Held {
    let Ok((issuing, reveal)) = one.grant.clone().begin_reveal(&person("oncall"), now) else {
        return Ok(());
    };
    let left = issuing
        .ends_at
        .map_or(i64::from(issuing.duration_s), |ends| (ends - now).num_seconds());
    if let Some(until) = one.until {
        prop_assert!(
            real + left <= until + 1,
            "a new key outlives its access by {} s",
            real + left - until
        );
    }
    let issued = Issued {
        credential_id: "7f1c".to_owned(),
        token_hash: "aa".repeat(32),
        probe_token: "probe".to_owned(),
        expires_at: now + TimeDelta::seconds(left.max(600)),
    };
    let shown = issuing
        .issued(reveal, issued)
        .unwrap()
        .shown(reveal, now)
        .unwrap()
        .0;
    one.until.get_or_insert(real + i64::from(shown.duration_s));
    one.grant = shown;
    Ok(())
}

/// Ended and proved dead at once; what it owes begins.
fn end(one: &mut Lent, cause: EndCause, now: Time, real: i64) {
    let Ok(mut ending) = one.grant.clone().end(cause, now) else {
        return;
    };
    if let Some(Ending {
        refused_after,
        removed_at,
        dead_after,
        proof,
        ..
    }) = &mut ending.ending
    {
        (*refused_after, *removed_at, *dead_after) = (Some(now), Some(now), Some(now));
        *proof = Some("invalidated".to_owned());
    }
    let ended = ending.ended(now).unwrap();
    if ended.was_revealed() {
        let deadline = |goal, minutes| Deadline::new(goal, now, TimeDelta::minutes(minutes), 75);
        let deadlines = vec![
            deadline(Goal::Opened, 20),
            deadline(Goal::Merged, 60),
            deadline(Goal::Converged, 90),
        ];
        let follow_up = FollowUp::after(&ended, now, deadlines);
        one.debt = Some(Debt {
            follow_up,
            due: real + 20 * 60,
            missed: vec![],
        });
    }
    one.grant = ended;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn whatever_the_clock_does_nothing_lasts_longer_and_no_debt_is_forgotten(steps in steps()) {
        let mut history = History::new();
        for step in steps {
            history.step(step)?;
        }
    }
}

#[test]
fn a_clock_set_back_between_two_processes_moves_what_is_lent_with_it() {
    let hour = TimeDelta::hours(1);
    let lent = grant().ready(at(0)).unwrap();
    let moved = lent.clone().clock_set_back(hour);
    assert_eq!(moved.shelf_until, lent.shelf_until - hour);
    assert_eq!(moved.overdue(at(1800) - hour), Some(EndCause::ShelfLife));
}
