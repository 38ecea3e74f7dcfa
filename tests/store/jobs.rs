//! The outbox: leased, never lost, never twice at once.

use crate::domain::job::{Job, JobKind, Lane};
use crate::domain::notice::Delivery;
use crate::domain::transition::{Transition, Write};
use crate::fixture::at;
use crate::ids::{GrantId, JobId};
use crate::suite::{Engine, opened, said};
use crate::writes::notice;
use breakglass::store::{Store, StoreError};
use chrono::TimeDelta;
use std::collections::BTreeSet;
use std::sync::Arc;

pub const LEASE: TimeDelta = TimeDelta::seconds(90);

pub fn end() -> Job {
    Job::new(
        JobKind::End {
            grant: GrantId::new(),
        },
        at(10),
    )
}

/// What is due at 10, leased by four workers at once, three jobs at a look, in turns by each of `stores`.
pub async fn leased_at_once(stores: &[Arc<dyn Store>]) -> Vec<JobId> {
    let workers: Vec<_> = stores
        .iter()
        .cycle()
        .take(4)
        .map(|store| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut mine = vec![];
                loop {
                    let jobs = store.lease_jobs(Lane::Access, at(10), LEASE, 3).await.unwrap();
                    assert!(jobs.len() <= 3);
                    if jobs.is_empty() {
                        return mine;
                    }
                    mine.extend(jobs.into_iter().map(|job| job.id));
                }
            })
        })
        .collect();
    let mut leased = vec![];
    for worker in workers {
        leased.extend(worker.await.unwrap());
    }
    leased
}

pub async fn a_job_is_leased_once<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let jobs: Vec<_> = (0..20).map(|_| end()).collect();
    store.poke(&jobs).await.unwrap();
    assert!(
        store
            .lease_jobs(Lane::Access, at(9), LEASE, 100)
            .await
            .unwrap()
            .is_empty(),
        "not due yet"
    );
    let leased = leased_at_once(&[Arc::clone(&store)]).await;
    assert_eq!(leased.len(), 20);
    assert_eq!(
        leased.iter().collect::<BTreeSet<_>>().len(),
        20,
        "each by one worker"
    );
    for job in &jobs {
        store.drop_job(job.id).await.unwrap();
    }
    assert!(store.jobs().await.unwrap().is_empty());
}

pub async fn a_lease_that_is_over_is_taken_by_the_next<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    store.poke(&[end()]).await.unwrap();
    assert_eq!(
        store
            .lease_jobs(Lane::Access, at(10), LEASE, 9)
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(
        store
            .lease_jobs(Lane::Access, at(99), LEASE, 9)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        store
            .lease_jobs(Lane::Access, at(100), LEASE, 9)
            .await
            .unwrap()
            .len(),
        1,
        "its worker died"
    );
}

pub async fn what_is_poked_while_leased_runs_again<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let job = end();
    store.poke(std::slice::from_ref(&job)).await.unwrap();
    let leased = store.lease_jobs(Lane::Access, at(10), LEASE, 9).await.unwrap();
    let again = Job::new(job.kind.clone(), at(11));
    store
        .commit(Transition::new(said("asked again")).job(again.kind.clone(), again.due))
        .await
        .unwrap();
    assert!(
        store
            .lease_jobs(Lane::Access, at(12), LEASE, 9)
            .await
            .unwrap()
            .is_empty(),
        "never twice at once"
    );
    store.drop_job(leased[0].id).await.unwrap();
    let second = store.lease_jobs(Lane::Access, at(12), LEASE, 9).await.unwrap();
    assert_eq!(
        second.len(),
        1,
        "it may have read the world before what caused the poke"
    );
    store.drop_job(second[0].id).await.unwrap();
    assert!(store.jobs().await.unwrap().is_empty(), "and then it is done");
}

pub async fn what_is_poked_while_leased_does_not_wait<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let job = end();
    store.poke(std::slice::from_ref(&job)).await.unwrap();
    let mut leased = store
        .lease_jobs(Lane::Access, at(10), LEASE, 9)
        .await
        .unwrap()
        .remove(0);
    store.poke(&[Job::new(job.kind.clone(), at(11))]).await.unwrap();
    leased.due = at(40);
    store.put_back(&leased).await.unwrap();
    let mut second = store.lease_jobs(Lane::Access, at(12), LEASE, 9).await.unwrap();
    assert_eq!(second.len(), 1, "it looked before what caused the poke");
    second[0].due = at(40);
    store.put_back(&second[0]).await.unwrap();
    assert!(
        store
            .lease_jobs(Lane::Access, at(39), LEASE, 9)
            .await
            .unwrap()
            .is_empty(),
        "and then it waits"
    );
}

pub async fn a_poke_brings_forward_and_never_back<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let job = end();
    let due = |seconds| Job::new(job.kind.clone(), at(seconds));
    store.poke(&[due(50)]).await.unwrap();
    store.poke(&[due(20), due(90)]).await.unwrap();
    let jobs = store.jobs().await.unwrap();
    assert_eq!(jobs.len(), 1, "one job a key");
    assert_eq!(jobs[0].due, at(20));
    assert!(
        store
            .lease_jobs(Lane::Access, at(19), LEASE, 9)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        store
            .lease_jobs(Lane::Access, at(20), LEASE, 9)
            .await
            .unwrap()
            .len(),
        1
    );
}

pub async fn what_failed_waits_and_says_why<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    store.poke(&[end()]).await.unwrap();
    let mut now = at(10);
    for attempt in 0..3 {
        let mut job = store
            .lease_jobs(Lane::Access, now, LEASE, 9)
            .await
            .unwrap()
            .remove(0);
        assert_eq!(job.attempts, attempt);
        let why = "the API server is away".to_owned();
        job.failed(
            why,
            Some("the API server".to_owned()),
            Job::back_off(attempt),
            now,
        );
        store.put_back(&job).await.unwrap();
        let wait = TimeDelta::milliseconds(1);
        assert!(
            store
                .lease_jobs(Lane::Access, job.due - wait, LEASE, 9)
                .await
                .unwrap()
                .is_empty()
        );
        now = job.due;
    }
    let kept = store.jobs().await.unwrap().remove(0);
    assert_eq!((kept.attempts, kept.failing_since), (3, Some(at(10))));
    assert_eq!(kept.error.as_deref(), Some("the API server is away"));
    assert_eq!(kept.due, at(17), "1 s, 2 s, 4 s");
}

pub async fn what_fails_is_found_by_its_key_and_among_all_that_fails<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let all: Vec<Job> = (0..3).map(|_| end()).collect();
    store.poke(&all).await.unwrap();
    for (job, now) in [(&all[2], at(1)), (&all[0], at(2))] {
        let mut failed = job.clone();
        failed.failed("503".to_owned(), None, Job::back_off(0), now);
        store.put_back(&failed).await.unwrap();
    }
    let failing = store.failing_jobs(9).await.unwrap();
    let ids: Vec<_> = failing.iter().map(|job| job.id).collect();
    assert_eq!(ids, [all[2].id, all[0].id], "what fails longest comes first");
    assert_eq!(store.failing_jobs(1).await.unwrap().len(), 1);
    let found = store.job(&all[0].kind.key()).await.unwrap().unwrap();
    assert_eq!((found.id, found.failing_since), (all[0].id, Some(at(2))));
    let mut well = found;
    well.goes_on(at(30));
    store.put_back(&well).await.unwrap();
    assert_eq!(store.failing_jobs(9).await.unwrap().len(), 1, "it goes on");
    assert!(store.job("end nobody").await.unwrap().is_none());
}

pub async fn a_notice_is_one_job_a_channel_and_one_that_is_given_up_is_seen<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let notice = notice(&["mail:leads@example.test", "webhook:incidents"]);
    store
        .commit(Transition::new(said("asked")).notice(notice.clone()))
        .await
        .unwrap();
    let jobs = store.lease_jobs(Lane::Notices, at(0), LEASE, 9).await.unwrap();
    let channels: BTreeSet<_> = jobs
        .iter()
        .map(|job| match &job.kind {
            JobKind::Deliver { notice: of, channel } if *of == notice.id => channel.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        channels,
        BTreeSet::from(["mail:leads@example.test", "webhook:incidents"])
    );
    assert!(store.undeliverable().await.unwrap().is_empty());
    let given_up = Delivery {
        notice: notice.id,
        channel: "webhook:incidents".to_owned(),
        title: notice.title,
        delivered_at: None,
        attempts: 9,
        error: Some("410 Gone".to_owned()),
        undeliverable: true,
        settled: None,
    };
    let write = Write::Delivery(given_up.clone());
    store
        .commit(Transition::new(said("not delivered")).write(write))
        .await
        .unwrap();
    assert_eq!(
        store.undeliverable().await.unwrap(),
        std::slice::from_ref(&given_up)
    );
    let settled = Delivery {
        undeliverable: false,
        settled: Some(("compliance".into(), "told by phone".into(), at(60))),
        ..given_up.clone()
    };
    let settle = || Transition::new(said("settled")).write(Write::SettledDelivery(settled.clone()));
    store.commit(settle()).await.unwrap();
    assert!(store.undeliverable().await.unwrap().is_empty());
    assert!(matches!(
        store.commit(settle()).await,
        Err(StoreError::Conflict(_))
    ));
    let failed_again = Transition::new(said("failed again")).write(Write::Delivery(Delivery {
        attempts: 10,
        ..given_up.clone()
    }));
    store.commit(failed_again).await.unwrap();
    assert!(
        store.undeliverable().await.unwrap().is_empty(),
        "a retry that fails too does not bring it back"
    );
    let late = Delivery {
        delivered_at: Some(at(90)),
        undeliverable: false,
        error: None,
        ..given_up
    };
    store
        .commit(Transition::new(said("delivered")).write(Write::Delivery(late)))
        .await
        .unwrap();
    assert!(store.undeliverable().await.unwrap().is_empty());
}

pub async fn a_clock_set_back_keeps_no_job_waiting<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let (then, hour) = (at(10_000), TimeDelta::hours(1));
    let due_then = || Job { due: then, ..end() };
    store.poke(&[due_then()]).await.unwrap();
    assert_eq!(
        store
            .lease_jobs(Lane::Access, then, LEASE, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    store.poke(&[due_then()]).await.unwrap();
    let now = then - hour;
    assert!(
        store
            .lease_jobs(Lane::Access, now, LEASE, 10)
            .await
            .unwrap()
            .is_empty(),
        "both are of a time to come"
    );
    for _ in 0..2 {
        store.clock_set_back(hour, now).await.unwrap();
    }
    let found = store.lease_jobs(Lane::Access, now, LEASE, 10).await.unwrap();
    assert_eq!(
        found.len(),
        2,
        "the one that nobody holds any more, and the one that waited"
    );
    assert!(found.iter().all(|job| job.due <= now));
}
