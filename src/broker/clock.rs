//! The machine's clock is moved. What is lent lasts no longer for it, no deadline that was missed is met again, and
//! people are told.
//!
//! While the process runs its time never goes back (`crate::clock::SteadyClock`). A process that is started
//! with a clock that says an earlier time than was last seen believes the clock, and moves the times of everything
//! that is lent by as much. Seen is the time of the ledger's newest entry, and while something is lent also what is
//! written down twice a minute.

use super::{Broker, Result};
use crate::clock::{NOTABLE, Time};
use crate::domain::entry_kind::EntryKind;
use crate::domain::finding::Finding;
use crate::domain::transition::{About, Transition, Write, record};
use crate::ids::FindingId;
use crate::store::{FollowUpFilter, RequestFilter};
use chrono::TimeDelta;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The setting that says until when time was seen to pass, and at what size of the ledger.
const SEEN: &str = "time seen";
const SEEN_EVERY: TimeDelta = TimeDelta::seconds(30);

/// When the time was written down last.
#[derive(Debug, Default)]
pub struct SeenTime(AtomicI64);

impl Broker {
    /// Writes down that time has passed, where nothing else did for a while: a start with an earlier clock gives no
    /// more than this back to what is lent.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn see_time(&self) -> Result<()> {
        let now = self.now();
        let last = self.seen_time.0.load(Ordering::Relaxed);
        if now.timestamp() - last < SEEN_EVERY.num_seconds() {
            return Ok(());
        }
        let size = self.store.head().await?.size;
        self.store
            .set_setting(SEEN, &format!("{size} {}", now.to_rfc3339()))
            .await?;
        self.seen_time.0.store(now.timestamp(), Ordering::Relaxed);
        Ok(())
    }

    /// The last time that is known to have been. One that was seen before the newest entry says nothing: that entry may
    /// be the one by which a clock was followed back.
    pub(super) async fn last_seen(&self, size: u64, entered: Time) -> Result<Time> {
        let seen = self.store.setting(SEEN).await?.unwrap_or_default();
        let seen = seen
            .split_once(' ')
            .filter(|(at_size, _)| *at_size == size.to_string())
            .and_then(|(_, at)| at.parse::<Time>().ok());
        Ok(seen.map_or(entered, |seen| seen.max(entered)))
    }

    /// At start: where the clock says an earlier time than was last seen, everything lent, waiting or owed is over as
    /// much earlier by it, which is when it would have been. Time that passed unseen is not counted.
    ///
    /// # Errors
    /// The store's.
    pub async fn follow_the_clock_back(&self) -> Result<()> {
        let (now, head) = (self.now(), self.store.head().await?);
        let by = self.last_seen(head.size, head.at).await? - now;
        if head.size == 0 || by < NOTABLE {
            return Ok(());
        }
        // First, since the entry below tells the next start that all is done.
        self.store.clock_set_back(by, now).await?;
        let grants = self.live_grants(None).await?;
        let waiting = RequestFilter {
            state: Some("pending"),
            limit: 10_000,
            ..RequestFilter::default()
        };
        let requests = self.store.requests(waiting).await?;
        let owed = FollowUpFilter {
            open: true,
            limit: 10_000,
            ..FollowUpFilter::default()
        };
        let follow_ups = self.store.follow_ups(owed).await?;
        let sentence = format!(
            "The clock of this machine was set back by {}. The {} accesses that are lent end when they would have; \
             times in the ledger before this entry may be ahead",
            in_words(by),
            grants.len()
        );
        let finding = Finding {
            id: FindingId::new(),
            key: format!("clock set back at {}", head.size),
            at: now,
            text: sentence.clone(),
            cluster: None,
            grant: None,
            settled: None,
            lines: None,
            bypass: None,
        };
        let about = About::default();
        let notice = self.notice_compliance("clock", "The clock was set back", &sentence, "/feed", &about);
        let facts = json!({"seconds": by.num_seconds(), "newest_entry": head.at, "finding": finding.id});
        let mut transition = Transition::new(record(EntryKind::ClockSetBack, now, about, sentence, facts))
            .write(Write::NewFinding(finding))
            .notice(notice);
        for grant in grants {
            transition = transition.write(Write::Grant {
                expected: grant.state,
                new: Arc::unwrap_or_clone(grant).clock_set_back(by),
            });
        }
        for request in requests {
            transition = transition.write(Write::Request {
                expected: "pending",
                new: Arc::unwrap_or_clone(request).clock_set_back(by),
            });
        }
        for follow_up in follow_ups {
            transition = transition.write(Write::FollowUp {
                expected: follow_up.state,
                new: Arc::unwrap_or_clone(follow_up).clock_set_back(by),
            });
        }
        self.commit(transition).await?;
        Ok(())
    }

    /// Tells people that the clock was moved while the process ran. `told`: that it is behind was said already.
    ///
    /// # Errors
    /// The store's.
    pub async fn look_at_the_clock(&self, told: &AtomicBool) -> Result<()> {
        let moved = self.clock.moved();
        if moved.leapt >= NOTABLE {
            let text = format!(
                "The clock of this machine leapt forward by {}, or the machine slept: what was to end meanwhile ends \
                 now, and deadlines in between count as missed",
                in_words(moved.leapt)
            );
            let key = format!("clock leapt at {}", self.now().timestamp());
            self.find(&key, About::default(), &text, None).await?;
        }
        if moved.behind < NOTABLE {
            told.store(false, Ordering::Relaxed);
        } else if !told.swap(true, Ordering::Relaxed) {
            let text = format!(
                "The clock of this machine was set back by {}. Here time goes on as before, so that nothing lent lasts \
                 longer; nobody can sign in anew until the clock is right. If it is right now, start the service again",
                in_words(moved.behind)
            );
            let key = format!("clock behind at {}", self.now().timestamp());
            self.find(&key, About::default(), &text, None).await?;
        }
        Ok(())
    }
}

fn in_words(by: TimeDelta) -> String {
    match (by.num_hours(), by.num_minutes() % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::{About, AtomicBool, EntryKind, TimeDelta, Transition, Write, json, record};
    use crate::broker::Broker;
    use crate::clock::tests::{clocks, monotonic, pass};
    use crate::clock::{Clock, ManualClock, SteadyClock, Time};
    use crate::domain::deadline::{Deadline, DeadlineState, Goal};
    use crate::domain::fixture::{ask, grant, person};
    use crate::domain::follow_up::FollowUp;
    use crate::domain::grant::{Grant, GrantState, Issued};
    use crate::domain::job::{Job, JobKind};
    use crate::domain::request::Request;
    use crate::ids::{FollowUpId, GrantId};
    use crate::ledger::Signer;
    use crate::store::EntryFilter;
    use crate::store::sqlite::SqliteStore;
    use crate::web::lists::fixture::Stage;
    use proptest::prelude::*;
    use std::path::Path;
    use std::sync::Arc;

    /// Seconds between two looks of the worker.
    const LOOK: u32 = 60;

    #[derive(Debug, Clone)]
    enum Step {
        Pass(u32),
        Move(i64),
        Die,
        Lend(u32),
        Shorten(usize, u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let hours = prop::sample::select(vec![-3600_i64, 3600, -7200]);
        let step = prop_oneof![
            3 => (60..900_u32).prop_map(Step::Pass),
            2 => hours.prop_map(Step::Move),
            1 => Just(Step::Die),
            2 => (300..2_400_u32).prop_map(Step::Lend),
            1 => (0..4_usize, 60..900_u32).prop_map(|(n, s)| Step::Shorten(n, s)),
        ];
        prop::collection::vec(step, 4..14)
    }

    /// A broker over a real store, whose machine's clock is moved by hand.
    struct Shop {
        stage: Stage,
        folder: tempfile::TempDir,
        machine: ManualClock,
        broker: Option<Broker>,
        /// Seconds that really passed.
        real: i64,
        /// What was lent, and the last real second at which it may be alive.
        lent: Vec<(GrantId, i64)>,
        debt: Option<FollowUpId>,
        missed: bool,
    }

    async fn opened(path: &Path, clock: Arc<dyn Clock>, stage: &Stage) -> Broker {
        let own = &stage.app.broker;
        let key = own.config.ledger.signing_key.expose();
        let signer = Signer::from_text(&own.config.ledger.origin, key).unwrap();
        let store = SqliteStore::open(path, Arc::clone(&clock), Arc::new(signer))
            .await
            .unwrap();
        Broker {
            store: Arc::new(store),
            clock,
            clusters: std::collections::BTreeMap::new(),
            forge: Arc::clone(&own.forge),
            notifier: Arc::clone(&own.notifier),
            poke: Arc::default(),
            changed: tokio::sync::broadcast::channel(64).0,
            witnesses: Arc::clone(&own.witnesses),
            unwritten: crate::broker::unwritten::Unwritten::default(),
            removals: crate::broker::removals::Removals::default(),
            seen_time: crate::broker::clock::SeenTime::default(),
            audit: crate::broker::record::AuditState::default(),
            watches: crate::broker::watch::Watches::default(),
            config: Arc::clone(&own.config),
        }
    }

    impl Shop {
        async fn new() -> Self {
            let (machine, clock) = clocks();
            let (stage, folder) = (Stage::new().await, tempfile::tempdir().unwrap());
            let broker = opened(&folder.path().join("b.db"), Arc::new(clock), &stage).await;
            Self {
                stage,
                folder,
                machine,
                broker: Some(broker),
                real: 0,
                lent: vec![],
                debt: None,
                missed: false,
            }
        }

        fn broker(&self) -> &Broker {
            self.broker.as_ref().unwrap()
        }

        async fn die(&mut self) {
            drop(self.broker.take());
            let clock = SteadyClock::paced(Arc::new(self.machine.clone()), monotonic);
            let path = self.folder.path().join("b.db");
            let broker = opened(&path, Arc::new(clock), &self.stage).await;
            broker.follow_the_clock_back().await.unwrap();
            self.broker = Some(broker);
        }

        /// An access that was just shown, and, for the first one, what is owed of an earlier one.
        async fn lend(&mut self, seconds: u32) {
            let now = self.broker().now();
            let request = Request::file(ask(), now, TimeDelta::hours(1));
            let own = Grant {
                request: request.id,
                duration_s: seconds,
                approved_at: now,
                shelf_until: now + TimeDelta::minutes(30),
                ..grant()
            };
            let (issuing, reveal) = own
                .ready(now)
                .unwrap()
                .begin_reveal(&person("oncall"), now)
                .unwrap();
            let issued = Issued {
                credential_id: issuing.id.to_string(),
                token_hash: "aa".repeat(32),
                probe_token: "probe".to_owned(),
                expires_at: now,
            };
            let (active, _) = issuing
                .issued(reveal, issued)
                .unwrap()
                .shown(reveal, now)
                .unwrap();
            let about = About::grant(&active);
            let entry = record(EntryKind::GrantActive, now, about, "lent", json!({}));
            let (id, until) = (active.id, self.real + i64::from(seconds));
            let mut transition = Transition::new(entry)
                .write(Write::NewRequest(request))
                .write(Write::NewGrant(active.clone()));
            if self.debt.is_none() {
                let deadline = Deadline::new(Goal::Opened, now, TimeDelta::minutes(20), 75);
                let owed = FollowUp::after(&active, now, vec![deadline]);
                self.debt = Some(owed.id);
                transition = transition.write(Write::NewFollowUp(owed));
            }
            self.broker().commit(transition).await.unwrap();
            self.lent.push((id, until));
        }

        async fn shorten(&mut self, n: usize, seconds: u32) {
            if self.lent.is_empty() {
                return;
            }
            let (at, ends_at) = (
                n % self.lent.len(),
                self.broker().now() + TimeDelta::seconds(seconds.into()),
            );
            let (id, until) = self.lent[at];
            if self
                .broker()
                .shorten(id, &person("oncall"), ends_at)
                .await
                .is_ok()
            {
                self.lent[at].1 = until.min(self.real + i64::from(seconds));
            }
        }

        /// The loops of the worker, and what must hold after them.
        async fn look(&mut self) -> Result<(), TestCaseError> {
            let broker = self.broker();
            broker.look_after_grants().await.unwrap();
            broker.look_at_deadlines().await.unwrap();
            for (id, until) in &self.lent {
                let alive = broker.grant(*id).await.unwrap().state == GrantState::Active;
                let over = self.real - until;
                prop_assert!(!alive || over <= i64::from(LOOK), "alive {over} s too long");
            }
            let Some(debt) = self.debt else { return Ok(()) };
            let owed = broker.store.follow_up(debt).await.unwrap().unwrap();
            let missed = owed
                .deadlines
                .iter()
                .any(|own| own.state == DeadlineState::Breached);
            prop_assert!(
                !owed.is_closed() && owed.deadlines[0].met_at.is_none(),
                "closed by nobody"
            );
            prop_assert!(missed || !self.missed, "a missed deadline is on time again");
            self.missed = missed;
            Ok(())
        }

        async fn play(&mut self, steps: Vec<Step>) -> Result<(), TestCaseError> {
            for step in steps {
                match step {
                    Step::Pass(seconds) => {
                        for _ in 0..seconds / LOOK {
                            pass(&self.machine, LOOK);
                            self.real += i64::from(LOOK);
                            self.look().await?;
                        }
                        continue;
                    }
                    Step::Move(seconds) => self.machine.step(TimeDelta::seconds(seconds)),
                    Step::Die => self.die().await,
                    Step::Lend(seconds) if self.lent.len() < 4 => self.lend(seconds).await,
                    Step::Lend(_) => {}
                    Step::Shorten(n, seconds) => self.shorten(n, seconds).await,
                }
                self.look().await?;
            }
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 40, ..ProptestConfig::default() })]
        /// The broker itself over its store: nothing lent lives longer than its time, and no debt goes.
        #[test]
        fn no_clock_lengthens_what_is_lent_or_closes_what_is_owed(steps in steps()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { Shop::new().await.play(steps).await })?;
        }
    }

    #[tokio::test]
    async fn a_start_with_an_earlier_clock_says_so_and_leaves_no_job_waiting() {
        let mut shop = Shop::new().await;
        shop.lend(600).await;
        let (id, then) = (shop.lent[0].0, shop.broker().now());
        let job = Job::new(JobKind::End { grant: id }, then + TimeDelta::seconds(30));
        shop.broker().store.poke(&[job]).await.unwrap();
        let ends: Time = shop.broker().grant(id).await.unwrap().ends_at.unwrap();
        shop.machine.step(TimeDelta::hours(-1));
        shop.die().await;
        shop.die().await;
        let broker = shop.broker();
        let moved = broker.grant(id).await.unwrap().ends_at.unwrap();
        assert_eq!(ends - moved, TimeDelta::hours(1), "once, however often it starts");
        assert!(
            broker
                .store
                .jobs()
                .await
                .unwrap()
                .iter()
                .all(|job| job.due <= broker.now())
        );
        let filter = EntryFilter {
            kinds: vec![EntryKind::ClockSetBack],
            limit: 10,
            ..EntryFilter::default()
        };
        let said = broker.store.entries(filter).await.unwrap();
        assert_eq!(said.len(), 1);
        assert!(
            said[0].sentence.contains("set back by 1 h 0 min"),
            "{}",
            said[0].sentence
        );
        let open = broker.store.open_findings().await.unwrap();
        assert!(open.iter().any(|finding| finding.text == said[0].sentence));
    }

    #[tokio::test]
    async fn a_clock_that_is_moved_is_told_once() {
        let shop = Shop::new().await;
        let (told, broker) = (AtomicBool::new(false), shop.broker());
        let findings = async || broker.store.open_findings().await.unwrap().len();
        broker.look_at_the_clock(&told).await.unwrap();
        assert_eq!(findings().await, 0);
        shop.machine.step(TimeDelta::hours(-1));
        for _ in 0..3 {
            broker.look_at_the_clock(&told).await.unwrap();
        }
        assert_eq!(findings().await, 1, "set back, once");
        shop.machine.step(TimeDelta::hours(3));
        for _ in 0..3 {
            broker.look_at_the_clock(&told).await.unwrap();
        }
        assert_eq!(findings().await, 2, "and leapt, once");
    }
}
