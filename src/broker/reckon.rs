//! What each API server says that it audited is held against what came: the difference is named to the event, across
//! its restarts and ours.

use super::arrivals::SLOT_MS;
use super::seen::Reading;
use super::{Broker, Result};
use crate::clock::Time;
use crate::config::Cluster;
use crate::domain::counting::{Found, Look, Mark, Reckoning, Run, Why};
use crate::domain::transition::{Transition, Write};
use crate::store::StoreError;
use chrono::TimeDelta;

/// A process reckons its start from its machine's, of which whole seconds are known: it began up to as much later.
const LATER_MS: i64 = 1_000;
/// Sums older than this are kept as one.
const FOLDED: TimeDelta = TimeDelta::minutes(15);
/// They are made one as often.
const FOLD_EVERY_MS: i64 = 10 * 60_000;
/// A canary and a reading take no longer.
const BEFORE_MS: i64 = 60_000;

/// What is known of an API server's losses, for people.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Events it counted since they are counted here, as of the newest reading that agrees.
    pub audited: u64,
    /// How many of them were lost.
    pub lost: u64,
    /// Since when, by its clock.
    pub since: Option<Time>,
    /// As of when.
    pub as_of: Option<Time>,
    /// Why losses cannot be counted now.
    pub uncountable: Option<String>,
}

fn name(cluster: &str, server: &str) -> String {
    format!("counting {cluster} {server}")
}

/// The first slot of a process that began then.
fn first_slot(started_ms: i64) -> i64 {
    (started_ms + LATER_MS).div_euclid(SLOT_MS) * SLOT_MS + SLOT_MS
}

impl Reckoning {
    /// The write that keeps this.
    pub(super) fn keep(&self, cluster: &str, server: &str) -> Result<Write> {
        let value = self.text()?;
        Ok(Write::Keep {
            name: name(cluster, server),
            value,
        })
    }

    fn text(&self) -> Result<String> {
        let text = serde_json::to_string(self).map_err(|error| StoreError::Corrupt {
            what: "a reckoning",
            why: error.to_string(),
        });
        Ok(text?)
    }
}

impl Broker {
    /// What is kept of an API server's counting.
    pub(super) async fn reckoning(&self, cluster: &str, server: &str) -> Result<Reckoning> {
        let Some(text) = self.store.setting(&name(cluster, server)).await? else {
            return Ok(Reckoning::default());
        };
        let read = serde_json::from_str(&text).map_err(|error| StoreError::Corrupt {
            what: "a reckoning",
            why: error.to_string(),
        });
        Ok(read?)
    }

    /// What is known of an API server's losses.
    ///
    /// # Errors
    /// The store's.
    pub async fn counted(&self, cluster: &str, server: &str) -> Result<Counted> {
        let known = self.reckoning(cluster, server).await?;
        let uncountable = self
            .audit
            .server(cluster, server, |seen| seen.uncountable.clone());
        let Some(run) = known.run else {
            return Ok(Counted {
                uncountable,
                ..Counted::default()
            });
        };
        let several = "more came than this API server sent: several send by one hook path; give each its own";
        Ok(Counted {
            audited: run.good.map_or(0, |good| good.audited).saturating_sub(run.before),
            lost: run.named,
            since: Time::from_timestamp_millis(run.since_ms),
            as_of: run.good.map(|good| good.here_at),
            uncountable: uncountable.or_else(|| run.several.then(|| several.to_owned())),
        })
    }

    /// Holds the readings that can be against what came.
    pub(super) async fn reckon(&self, cluster: &str, server: &str, settings: &Cluster) -> Result<()> {
        let given_up = self.now() - settings.lost_after.delta() - TimeDelta::minutes(1);
        let mut ready = self.audit.server(cluster, server, |seen| seen.ready(given_up));
        if ready.is_empty() {
            return Ok(());
        }
        let mut known = self.reckoning(cluster, server).await?;
        // One whose canary came back after a later one's says nothing more.
        if let Some(good) = known.run.as_ref().and_then(|run| run.good) {
            let (late, rest) = ready
                .into_iter()
                .partition(|reading| reading.here_at < good.here_at);
            ready = rest;
            self.audit.server(cluster, server, |seen| seen.done(&late));
        }
        while !ready.is_empty() {
            let done = self
                .reckon_some((cluster, server), settings, &mut known, &ready)
                .await?;
            if done == 0 {
                break;
            }
            let done: Vec<Reading> = ready.drain(..done).collect();
            self.audit.server(cluster, server, |seen| seen.done(&done));
        }
        Ok(())
    }

    /// The readings of one process; how many are done with.
    async fn reckon_some(
        &self,
        (cluster, server): (&str, &str),
        settings: &Cluster,
        known: &mut Reckoning,
        ready: &[Reading],
    ) -> Result<usize> {
        let of_run = |run: &Run| {
            let over = |reading: &&Reading| {
                reading
                    .counters
                    .is_none_or(|(counters, _)| run.is_over(&counters))
            };
            ready
                .iter()
                .position(|reading| over(&reading))
                .unwrap_or(ready.len())
        };
        let counters = |reading: &Reading| reading.counters.map(|(counters, _)| counters);
        let Some(run) = &mut known.run else {
            let Some(first) = counters(&ready[0]) else {
                return Ok(1);
            };
            let looks = self
                .looks((cluster, server), settings, first.started_ms, &ready[..1])
                .await?;
            known.run = looks.first().map(Run::met);
            self.keep_quietly(cluster, server, known).await?;
            return Ok(1);
        };
        let own = of_run(run);
        if own == 0 {
            let Some(next) = counters(&ready[0]) else {
                return Ok(1);
            };
            if next.started_ms < run.started_ms {
                let why = "several API servers answer at its address: name each in `api_servers`".to_owned();
                self.audit
                    .server(cluster, server, |seen| seen.uncountable = Some(why));
                return Ok(1);
            }
            let from = run.good.and_then(|good| Time::from_timestamp_millis(good.at_ms));
            let from = from.unwrap_or(ready[0].here_at);
            let to = Time::from_timestamp_millis(next.started_ms)
                .unwrap_or(from)
                .max(from);
            known.run = Some(Run::begun(next.started_ms, ready[0].here_at));
            let (gap, _) = self
                .gap((cluster, server), Why::Restarted, (from, to), None)
                .await?;
            self.commit(gap.write(known.keep(cluster, server)?)).await?;
            // Its readings are held against it the next time.
            return Ok(0);
        }
        let looks = self
            .looks((cluster, server), settings, run.started_ms, &ready[..own])
            .await?;
        let before = run.good;
        let (found, done) = run.compare(&looks, own < ready.len());
        let (good, first) = (run.good, first_slot(run.started_ms));
        if let Some(told) = self.tell((cluster, server), found, known).await? {
            self.commit(told.write(known.keep(cluster, server)?)).await?;
        } else if good != before || done > 0 {
            self.keep_quietly(cluster, server, known).await?;
        }
        if let Some(good) = good {
            self.fold((cluster, server), first, before, good).await?;
        }
        Ok(done)
    }

    /// What was found, and what that closes, as entries; `None` where nothing is to be said.
    async fn tell(
        &self,
        (cluster, server): (&str, &str),
        found: Vec<Found>,
        known: &mut Reckoning,
    ) -> Result<Option<Transition>> {
        let mut told = vec![];
        for found in found {
            match found {
                Found::Lost {
                    from_ms,
                    to_ms,
                    events,
                    given_up,
                } => {
                    let [from, to] =
                        [from_ms, to_ms].map(|ms| Time::from_timestamp_millis(ms).unwrap_or_default());
                    let lost = Some((events, given_up));
                    let (gap, open) = self.gap((cluster, server), Why::Lost, (from, to), lost).await?;
                    known.push(open);
                    told.push(gap);
                }
                Found::Came(events) => {
                    for (gap, came) in known.fill(events) {
                        told.push(self.filled((cluster, server), &gap, came).await?);
                    }
                }
            }
        }
        for gap in known.close() {
            told.push(self.filled((cluster, server), &gap, 0).await?);
        }
        Ok(told.into_iter().reduce(Transition::and))
    }

    /// Sums of long ago become one, and what no later reading asks for is forgotten.
    async fn fold(
        &self,
        (cluster, server): (&str, &str),
        first: i64,
        before: Option<Mark>,
        good: Mark,
    ) -> Result<()> {
        // Each reading that is left is a later one, and took less than this.
        let oldest = good.at_ms - BEFORE_MS;
        self.audit
            .server(cluster, server, |seen| seen.arrivals.forget(oldest));
        let round = |at_ms: i64| at_ms.div_euclid(FOLD_EVERY_MS);
        if before.is_none_or(|before| round(before.at_ms) == round(good.at_ms)) {
            return Ok(());
        }
        let to = (good.at_ms - FOLDED.num_milliseconds()).div_euclid(SLOT_MS) * SLOT_MS;
        if to > first {
            self.store.fold_received(cluster, server, first, to).await?;
        }
        Ok(())
    }

    /// The readings held against what came of a process that began then, as of now. What is written meanwhile counts
    /// for neither side.
    async fn looks(
        &self,
        (cluster, server): (&str, &str),
        settings: &Cluster,
        started_ms: i64,
        readings: &[Reading],
    ) -> Result<Vec<Look>> {
        let there = |reading: &Reading| {
            let (came, answered) = reading.there_us.unwrap_or_default();
            (came.div_euclid(1000), answered.div_euclid(1000))
        };
        let ended = |reading: &Reading| {
            let took = reading.counters.map(|(_, took)| took).unwrap_or_default();
            there(reading).0 + i64::try_from(took.as_millis()).unwrap_or(i64::MAX / 2) + 1
        };
        let after: Vec<u64> = self.audit.server(cluster, server, |seen| {
            let written = |reading| seen.arrivals.written_after(ended(reading));
            readings.iter().map(written).collect()
        });
        let sum = self
            .store
            .received(cluster, server, first_slot(started_ms))
            .await?;
        let before: Vec<u64> = self.audit.server(cluster, server, |seen| {
            let begun = |reading| seen.arrivals.begun_after(there(reading).1);
            readings.iter().map(begun).collect()
        });
        let patience = settings.lost_after.delta();
        let signed = |events: u64| i64::try_from(events).unwrap_or(i64::MAX);
        let looks = readings.iter().zip(after.into_iter().zip(before));
        Ok(looks
            .filter_map(|(reading, (after, before))| {
                let (counters, _) = reading.counters?;
                Some(Look {
                    at_ms: ended(reading),
                    here_at: reading.here_at,
                    counters,
                    low: signed(counters.audited) - signed(sum.saturating_sub(after)),
                    high: signed(counters.audited) - signed(sum.saturating_sub(before)),
                    old: self.now() - reading.here_at > patience,
                })
            })
            .collect())
    }

    /// That nothing is missing is no entry.
    async fn keep_quietly(&self, cluster: &str, server: &str, known: &Reckoning) -> Result<()> {
        Ok(self
            .store
            .set_setting(&name(cluster, server), &known.text()?)
            .await?)
    }
}
