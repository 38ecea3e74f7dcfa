//! Periodic and poked loops. Each is idempotent, takes no input, and re-reads the world; asleep through
//! a deadline, it acts as soon as it wakes.

pub mod jobs;

use crate::broker::{Broker, Result};
use crate::domain::job::Lane;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts every loop; they end when `stop` is cancelled.
pub fn start(broker: &Arc<Broker>, tasks: &TaskTracker, stop: &CancellationToken) {
    let every = Duration::from_secs;
    spawn(broker, tasks, stop, "requests", every(1), |b| async move {
        b.lapse_requests().await
    });
    spawn(broker, tasks, stop, "grants", every(1), |b| async move {
        b.look_after_grants().await
    });
    spawn(broker, tasks, stop, "scopes", every(1), |b| async move {
        b.look_after_scopes().await
    });
    for (cluster, settings) in &broker.config.clusters {
        // One that hangs holds no other up.
        for server in settings.servers() {
            let (cluster, server) = (cluster.clone(), server.to_owned());
            spawn(broker, tasks, stop, "audit", every(1), move |b| {
                let (cluster, server) = (cluster.clone(), server.clone());
                async move { b.look_after_audit(&cluster, &server).await }
            });
        }
    }
    spawn(broker, tasks, stop, "own uses", every(1), |b| async move {
        b.ask_as_grants().await
    });
    for cluster in broker.clusters.keys() {
        let (cluster, over) = (cluster.clone(), stop.clone());
        spawn(broker, tasks, stop, "audit policy", every(1), move |b| {
            let (cluster, over) = (cluster.clone(), over.clone());
            // Nothing of a probe stays behind.
            async move {
                tokio::select! {
                    () = over.cancelled() => b.stop_probing(&cluster).await,
                    done = b.probe_audit_policy(&cluster) => done,
                }
            }
        });
    }
    spawn(broker, tasks, stop, "rules", every(2), |b| async move {
        b.compare_rules().await
    });
    for cluster in broker.clusters.keys() {
        let (cluster, over) = (cluster.clone(), stop.clone());
        spawn(broker, tasks, stop, "guard", every(2), move |b| {
            let (cluster, over) = (cluster.clone(), over.clone());
            // It goes on as long as the watch does.
            async move {
                tokio::select! { () = over.cancelled() => Ok(()), done = b.guard(&cluster) => done }
            }
        });
    }
    let told = Arc::new(AtomicBool::new(false));
    spawn(broker, tasks, stop, "clock", every(5), move |b| {
        let told = Arc::clone(&told);
        async move { b.look_at_the_clock(&told).await }
    });
    spawn(broker, tasks, stop, "deadlines", every(5), |b| async move {
        b.look_at_deadlines().await
    });
    spawn(broker, tasks, stop, "neutral checks", every(30), |b| async move {
        b.let_others_pass().await
    });
    spawn(broker, tasks, stop, "tidy", every(60), |b| async move {
        // Sessions are kept for as long as the machine's clock says: the layer that keeps them asks that.
        Ok(b.store.tidy(b.machine_now()).await?)
    });
    spawn(broker, tasks, stop, "ledger check", every(600), |b| async move {
        b.check_ledger().await
    });
    for lane in Lane::ALL {
        tasks.spawn(jobs::run(Arc::clone(broker), lane, stop.clone()));
    }
    spawn(broker, tasks, stop, "witnesses", every(2), |b| async move {
        b.ask_witnesses().await
    });
}

/// Runs `work` every `period`, and at once when something is poked.
fn spawn<F, S>(
    broker: &Arc<Broker>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    name: &'static str,
    period: Duration,
    work: F,
) where
    F: Fn(Arc<Broker>) -> S + Send + 'static,
    S: Future<Output = Result<()>> + Send,
{
    let (broker, stop) = (Arc::clone(broker), stop.clone());
    tasks.spawn(async move {
        loop {
            if let Err(error) = work(Arc::clone(&broker)).await {
                tracing::warn!(name, error = %crate::causes::chain(&error), "a loop failed; it runs again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(period) => {}
            }
        }
    });
}
