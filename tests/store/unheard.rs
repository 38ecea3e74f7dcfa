//! A commit whose end was not heard: the connection cut before or after it was applied, its server killed in its middle.
//! What is acknowledged is there, once; and whoever waits for it waits no longer than until that is known.

use crate::clock::ManualClock;
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::{About, Kept, Received, Transition, Write, record};
use crate::fixture::{at, grant};
use crate::ledger::{segments, verify};
use crate::server::Server;
use crate::suite::{filed, said, signer};
use crate::wire::{Fault, Wire};
use breakglass::domain::grant::Grant;
use breakglass::ledger::report::Integrity;
use breakglass::store::postgres::PostgresStore;
use breakglass::store::{EntryFilter, GrantFilter, Store};
use serde_json::json;
use std::sync::Arc;

/// Faults that end in a known state, and what a commit meets one after the other.
const WAYS: [&[Fault]; 5] = [
    &[Fault::Lost],
    &[Fault::Unheard],
    &[Fault::Unanswered],
    // The second COMMIT is that of the question what became of the first.
    &[Fault::Unanswered, Fault::Unanswered],
    &[Fault::Lost, Fault::None, Fault::Unanswered],
];

async fn opened(server: &'static Server) -> (Wire, Arc<PostgresStore>) {
    let wire = Wire::before(server).await;
    let database = server.database().await;
    let clock = Arc::new(ManualClock::at(at(0)));
    let store = PostgresStore::open(&wire.address(&database), clock, signer())
        .await
        .unwrap();
    (wire, Arc::new(store))
}

/// What an API server sent: a record under its digest, what is kept of it, and how many events it was.
fn batch(name: &str) -> Transition {
    let mut counted = said(name);
    counted.key = Some(format!("batch {name}"));
    let mut transition = Transition::new(counted);
    transition.kept.push(Kept {
        batch: format!("batch {name}"),
        cluster: "production".to_owned(),
        events: (0..4)
            .map(|n| (at(n), format!(r#"{{"auditID":"{name}-{n}"}}"#).into()))
            .collect(),
    });
    transition.write(Write::Received(Received {
        key: format!("received {name}"),
        cluster: "production".to_owned(),
        server: "a".to_owned(),
        slots: vec![(0, 4)],
    }))
}

async fn count(store: &PostgresStore, sentence: &str) -> usize {
    let filter = EntryFilter {
        limit: 10_000,
        ..EntryFilter::default()
    };
    let lines = store.entries(filter).await.unwrap();
    lines.iter().filter(|line| line.sentence == sentence).count()
}

async fn is_whole(store: &PostgresStore, notes: &[String], size: u64) {
    // In the order of the log: those that waited together were answered in any.
    let mut notes = notes.to_vec();
    notes.sort_by_key(|note| note.lines().nth(1).unwrap().parse::<u64>().unwrap());
    let report = verify(&notes, &segments(store).await);
    assert_eq!(
        (report.integrity(), report.size),
        (Integrity::Whole, size),
        "{:?}",
        report.problems
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_whose_commit_was_not_heard_is_acknowledged_when_it_is_there_and_is_there_once() {
    let (wire, store) = opened(Server::shared()).await;
    let (mut sent, mut notes) = (0, vec![]);
    for (way, faults) in WAYS.iter().enumerate() {
        // One alone, and several that wait for one another.
        for together in [1, 6] {
            wire.arm(faults);
            let names: Vec<_> = (0..together).map(|n| format!("{way} {together} {n}")).collect();
            let tasks: Vec<_> = names
                .iter()
                .map(|name| {
                    let (store, batch) = (Arc::clone(&store), batch(name));
                    tokio::spawn(async move { store.commit(batch).await })
                })
                .collect();
            for task in tasks {
                let committed = task.await.unwrap().unwrap();
                assert_eq!((committed.entries, committed.repeats), (5, 0), "{faults:?}");
                notes.push(committed.checkpoint);
            }
            assert_eq!(wire.left(), 0, "{faults:?}: each of them happened");
            sent += together;
            for name in &names {
                assert_eq!(count(&store, name).await, 1, "{faults:?} {name}");
                let again = store.commit(batch(name)).await.unwrap();
                assert_eq!((again.entries, again.repeats), (0, 1), "{faults:?} {name}");
            }
        }
    }
    assert_eq!(store.received("production", "a", 0).await.unwrap(), 4 * sent);
    is_whole(&store, &notes, 5 * sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_state_whose_commit_was_not_heard_moves_once() {
    for faults in WAYS {
        let (wire, store) = opened(Server::shared()).await;
        let request = filed(&*store).await;
        let grant = Grant {
            request: request.id,
            ..grant()
        };
        let entry = record(
            EntryKind::RequestApproved,
            at(1),
            About::grant(&grant),
            "approved",
            json!({}),
        );
        wire.arm(faults);
        let approved = Transition::new(entry).write(Write::NewGrant(grant.clone()));
        let committed = store.commit(approved).await.unwrap();
        // The rest of the faults meets what comes after.
        for n in 0..3 {
            store
                .commit(Transition::new(said(&format!("after {n}"))))
                .await
                .unwrap();
        }
        assert_eq!(wire.left(), 0, "{faults:?}");
        assert_eq!(committed.first, Some(1), "{faults:?}");
        assert_eq!(store.grant(grant.id).await.unwrap(), Some(grant));
        let grants = store.grants(GrantFilter {
            limit: 9,
            ..GrantFilter::default()
        });
        assert_eq!(grants.await.unwrap().len(), 1, "{faults:?}");
        assert_eq!(count(&store, "approved").await, 1, "{faults:?}");
        let head = store.head().await.unwrap().checkpoint;
        is_whole(&store, &[committed.checkpoint, head], 5).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_killed_in_a_commit_and_started_again_says_what_became_of_it() {
    static SERVER: std::sync::OnceLock<Server> = std::sync::OnceLock::new();
    let server = SERVER.get_or_init(|| Server::with(&["fsync=on"]));
    let (wire, store) = opened(server).await;
    let mut notes = vec![];
    for n in 0..4 {
        wire.arm(&[Fault::Killed]);
        let name = format!("line {n}");
        let committed = store.commit(batch(&name)).await.unwrap();
        assert_eq!(wire.left(), 0);
        wire.quiet().await;
        notes.push(committed.checkpoint);
        assert_eq!(count(&store, &name).await, 1, "{name}");
    }
    is_whole(&store, &notes, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_fails_over_in_a_commit_loses_nothing_that_was_acknowledged() {
    for arrives in [false, true] {
        // They end with this process: the way to them outlives the test.
        let primary: &'static Server = Box::leak(Box::new(Server::with(&["fsync=on"])));
        let standby: &'static Server = Box::leak(Box::new(primary.standby().await));
        let (wire, store) = opened(primary).await;
        wire.behind(standby);
        let mut notes = vec![];
        for n in 0..6 {
            if n == 3 {
                wire.arm(&[Fault::FailedOver { arrives }]);
            }
            let committed = store.commit(batch(&format!("line {n}"))).await.unwrap();
            wire.quiet().await;
            notes.push(committed.checkpoint);
        }
        assert_eq!(wire.left(), 0);
        for n in 0..6 {
            assert_eq!(
                count(&store, &format!("line {n}")).await,
                1,
                "{arrives}: line {n}"
            );
        }
        is_whole(&store, &notes, 30).await;
    }
}
