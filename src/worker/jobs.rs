//! The outbox is worked off: leased, done, dropped; or put back with the reason and a growing wait.

use crate::broker::{Broker, BrokerError, Outcome, Result};
use crate::causes::chain;
use crate::domain::job::{Job, JobKind, Lane};
use crate::ids::JobId;
use chrono::TimeDelta;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than any job takes; a broker that died leaves its jobs to the next one after this.
const LEASE: TimeDelta = TimeDelta::seconds(90);
/// How many jobs of one lane run at once.
const AT_ONCE: usize = 16;

/// Works off the jobs of `lane` until `stop` is cancelled; what runs then is finished or found again.
pub async fn run(broker: Arc<Broker>, lane: Lane, stop: CancellationToken) {
    let mut running = JoinSet::new();
    // A lease is held against the wall clock. When that jumps ahead, a job is due again that still runs here, and a
    // letter under way would be sent a second time.
    let under_way = Arc::new(Mutex::new(HashSet::new()));
    loop {
        while running.try_join_next().is_some() {}
        let room = AT_ONCE.saturating_sub(running.len());
        let leased = broker
            .store
            .lease_jobs(lane, broker.now(), LEASE, u32::try_from(room).unwrap_or(0))
            .await;
        match leased {
            Ok(jobs) => {
                for job in jobs {
                    let id = job.id;
                    if !locked(&under_way).insert(id) {
                        tracing::warn!(key = job.kind.key(), "the lease of a job ran out while it runs");
                        continue;
                    }
                    let broker = Arc::clone(&broker);
                    let place = Place(id, Arc::clone(&under_way));
                    running.spawn(async move {
                        work(&broker, job).await;
                        drop(place);
                    });
                }
            }
            failed @ Err(_) => {
                broker.note_store(&failed);
                if let Err(error) = failed {
                    tracing::error!(error = %chain(&error), "jobs cannot be read");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = broker.poke.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
            Some(_) = running.join_next(), if !running.is_empty() => {}
        }
    }
    // What does not finish in time is leased to nobody soon, and done by the next start.
    let _ = tokio::time::timeout(Duration::from_secs(5), async {
        while running.join_next().await.is_some() {}
    })
    .await;
}

/// A job that runs here; its place is given back however it ends.
struct Place(JobId, Arc<Mutex<HashSet<JobId>>>);

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.1).remove(&self.0);
    }
}

fn locked(ids: &Mutex<HashSet<JobId>>) -> MutexGuard<'_, HashSet<JobId>> {
    ids.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn work(broker: &Broker, mut job: Job) {
    let bound = Duration::from_secs(80);
    let result = match tokio::time::timeout(bound, perform(broker, &job)).await {
        Ok(result) => result,
        Err(_) => Err(BrokerError::Refused("it took longer than 80 s".to_owned())),
    };
    let now = broker.now();
    let kept = match result {
        Ok(Outcome::Done) => broker.store.drop_job(job.id).await,
        Ok(Outcome::Again(due)) => {
            job.goes_on(due);
            broker.store.put_back(&job).await
        }
        Err(error) => {
            let why = chain(&error);
            tracing::warn!(
                job = job.kind.name(),
                key = job.kind.key(),
                attempt = job.attempts + 1,
                why,
                "a job failed; it is tried again"
            );
            let wait = error.retry_after().unwrap_or_else(|| Job::back_off(job.attempts));
            job.failed(why, error.waits_for(), wait, now);
            broker.store.put_back(&job).await
        }
    };
    if let Err(error) = kept {
        // Nothing is lost: the lease runs out and the job is done again.
        tracing::error!(job = job.kind.name(), error = %chain(&error), "a job's outcome could not be kept");
    }
}

async fn perform(broker: &Broker, job: &Job) -> Result<Outcome> {
    match &job.kind {
        JobKind::Provision { grant } => broker.provision(*grant).await,
        JobKind::AbandonReveal { grant, reveal } => broker.abandon_reveal(*grant, *reveal).await,
        JobKind::RemoveSecret { grant, secret } => broker.remove_secret(*grant, secret).await,
        JobKind::End { grant } => broker.take_away(*grant).await,
        JobKind::Heed { grant } => broker.heed(*grant).await,
        JobKind::Capture { follow_up } => broker.capture(*follow_up).await,
        JobKind::Follow { follow_up } => broker.follow(*follow_up).await,
        JobKind::Deliver { notice, channel } => broker.deliver(*notice, channel, job.attempts).await,
    }
}
