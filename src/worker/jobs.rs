//! The outbox is worked off: leased, done, dropped; or put back with the reason and a growing wait.

use crate::broker::{Broker, BrokerError, Outcome, Result};
use crate::causes::chain;
use crate::domain::job::{Job, JobKind};
use chrono::TimeDelta;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than any job takes; a broker that died leaves its jobs to the next one after this.
const LEASE: TimeDelta = TimeDelta::seconds(90);
/// How many jobs run at once.
const AT_ONCE: usize = 16;

/// Works off jobs until `stop` is cancelled; what runs then is finished or found again.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let room = AT_ONCE.saturating_sub(running.len());
        match broker
            .store
            .lease_jobs(broker.now(), LEASE, u32::try_from(room).unwrap_or(0))
            .await
        {
            Ok(jobs) => {
                for job in jobs {
                    let broker = Arc::clone(&broker);
                    running.spawn(async move { work(&broker, job).await });
                }
            }
            Err(error) => tracing::error!(error = %chain(&error), "jobs cannot be read"),
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
            job.due = due;
            job.attempts = 0;
            job.failing_since = None;
            job.error = None;
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
            let wait = retry_after(&error).unwrap_or_else(|| Job::back_off(job.attempts));
            job.due = now + wait;
            job.attempts += 1;
            job.failing_since.get_or_insert(now);
            job.error = Some(why);
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

fn retry_after(error: &BrokerError) -> Option<TimeDelta> {
    match error {
        BrokerError::Forge(forge) => forge
            .retry_after()
            .and_then(|wait| TimeDelta::from_std(wait).ok()),
        _ => None,
    }
}
