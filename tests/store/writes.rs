//! The one write door: whole or not at all, guarded, durable, once.

use crate::clock::ManualClock;
use crate::domain::entry_kind::EntryKind;
use crate::domain::finding::{Bypass, Finding};
use crate::domain::grant::{EndCause, GrantState};
use crate::domain::job::JobKind;
use crate::domain::notice::Notice;
use crate::domain::request::{Approved, Request};
use crate::domain::transition::{About, Received, Record, Transition, Write, record};
use crate::fixture::{approval, at, follow_up, person};
use crate::ids::{FindingId, GrantId, NoticeId, RequestId};
use crate::suite::{Engine, filed, granted, opened, said, signer};
use breakglass::domain::follow_up::FollowUp;
use breakglass::store::{Committed, EntryFilter, Store, StoreError};
use serde_json::json;
use std::sync::Arc;

pub fn notice(channels: &[&str]) -> Notice {
    Notice {
        id: NoticeId::new(),
        event: "request.filed".to_owned(),
        at: at(0),
        title: "Somebody asks".to_owned(),
        text: "Look at it".to_owned(),
        path: "/requests/1".to_owned(),
        request: None,
        grant: None,
        facts: vec![],
        channels: channels.iter().map(|channel| (*channel).to_owned()).collect(),
    }
}

fn finding(key: &str) -> Finding {
    Finding {
        id: FindingId::new(),
        key: key.to_owned(),
        at: at(0),
        text: "an unknown credential".to_owned(),
        cluster: Some("production".to_owned()),
        grant: None,
        settled: None,
        lines: None,
        bypass: None,
    }
}

/// All that a write can leave behind, apart from the document it is about.
async fn traces(store: &dyn Store) -> (String, usize, usize, usize) {
    (
        store.head().await.unwrap().checkpoint,
        store
            .entries(EntryFilter {
                limit: 1000,
                ..EntryFilter::default()
            })
            .await
            .unwrap()
            .len(),
        store.jobs().await.unwrap().len(),
        store.open_findings().await.unwrap().len(),
    )
}

pub async fn a_transition_is_written_whole<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let new = grant.clone().ready(at(2)).unwrap();
    let notice = notice(&["mail:leads@example.test"]);
    let committed = store
        .commit(
            Transition::new(said("one"))
                .record(said("two"))
                .write(Write::Grant {
                    expected: GrantState::Provisioning,
                    new: new.clone(),
                })
                .write(Write::NewFinding(finding("k")))
                .job(JobKind::End { grant: grant.id }, at(9))
                .notice(notice.clone()),
        )
        .await
        .unwrap();
    assert_eq!(
        (committed.first, committed.entries, committed.repeats),
        (Some(2), 2, 0)
    );
    let stored = store.grant(grant.id).await.unwrap().unwrap();
    assert_eq!(stored.version, grant.version + 1, "each change counts");
    assert_eq!(stored.state, GrantState::Ready);
    let head = store.head().await.unwrap();
    assert_eq!((head.size, &head.checkpoint), (4, &committed.checkpoint));
    assert_eq!(store.entry(2).await.unwrap().unwrap().sentence, "one");
    assert_eq!(store.entry(3).await.unwrap().unwrap().sentence, "two");
    assert_eq!(store.notice(notice.id).await.unwrap(), Some(notice));
    assert_eq!(store.open_findings().await.unwrap().len(), 1);
    assert_eq!(
        store.jobs().await.unwrap().len(),
        2,
        "the end, and the notice's delivery"
    );
}

pub async fn a_refused_commit_takes_no_other_with_it<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let before = store.head().await.unwrap().size;
    // What comes at once is written at once; every third of them decided on a state that is none.
    let late = |n: u64| {
        let new = grant.clone().ready(at(2)).unwrap();
        let write = Write::Grant {
            expected: GrantState::Active,
            new,
        };
        let job = JobKind::End {
            grant: GrantId::new(),
        };
        Transition::new(said(&format!("late {n}")))
            .write(write)
            .job(job, at(9))
    };
    let tasks: Vec<_> = (0..30)
        .map(|n| {
            let store = Arc::clone(&store);
            let transition = if n % 3 == 0 {
                late(n)
            } else {
                Transition::new(said(&format!("{n}")))
            };
            tokio::spawn(async move { store.commit(transition).await })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        let done = task.await.unwrap();
        assert_eq!(
            matches!(done, Err(StoreError::Conflict(_))),
            n % 3 == 0,
            "{n}: {done:?}"
        );
        assert_eq!(done.is_ok(), n % 3 != 0, "{n}: {done:?}");
    }
    let head = store.head().await.unwrap();
    assert_eq!(head.size, before + 20);
    let (checkpoint, entries, jobs, _) = traces(&*store).await;
    assert_eq!((checkpoint, entries, jobs), (head.checkpoint, 22, 0));
    assert_eq!(store.grant(grant.id).await.unwrap().unwrap(), grant);
}

pub async fn a_conflict_leaves_nothing_behind<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let read = grant.clone().ready(at(2)).unwrap();
    let entry = || {
        record(
            EntryKind::GrantReady,
            at(2),
            About::grant(&grant),
            "ready",
            json!({}),
        )
    };
    store
        .commit(Transition::new(entry()).write(Write::Grant {
            expected: GrantState::Provisioning,
            new: read,
        }))
        .await
        .unwrap();
    let stored = store.grant(grant.id).await.unwrap().unwrap();
    let before = traces(&*store).await;
    let stale_version = stored.clone().end(EndCause::Deadline, at(3)).unwrap();
    let stale_version = breakglass::domain::grant::Grant {
        version: 0,
        ..stale_version
    };
    let stale_state = stored.clone().end(EndCause::Deadline, at(3)).unwrap();
    let follow_up = FollowUp {
        grant: grant.id,
        ..follow_up()
    };
    let missing = follow_up.clone().no_drift(None, at(3)).unwrap();
    let request = store.request(grant.request).await.unwrap().unwrap();
    let request = Request {
        id: RequestId::new(),
        ..request
    };
    for write in [
        Write::Grant {
            expected: GrantState::Ready,
            new: stale_version,
        },
        Write::Grant {
            expected: GrantState::Provisioning,
            new: stale_state,
        },
        Write::FollowUp {
            expected: breakglass::domain::follow_up::FollowUpState::Capturing,
            new: missing,
        },
        Write::Request {
            expected: "pending",
            new: request,
        },
        Write::Finding(finding("nobody found this")),
    ] {
        let notice = notice(&["mail:leads@example.test"]);
        let transition = Transition::new(entry())
            .write(Write::NewFinding(finding("first")))
            .write(Write::NewFollowUp(follow_up.clone()))
            .write(write.clone())
            .job(JobKind::End { grant: grant.id }, at(3))
            .notice(notice.clone());
        // The follow-up is made by this very transition: only its update conflicts there.
        let transition = match write {
            Write::FollowUp { .. } => Transition {
                writes: vec![transition.writes[0].clone(), write],
                ..transition
            },
            _ => transition,
        };
        let refused = store.commit(transition).await.unwrap_err();
        assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
        assert_eq!(traces(&*store).await, before);
        assert_eq!(store.notice(notice.id).await.unwrap(), None);
        assert_eq!(store.follow_up_of(grant.id).await.unwrap(), None);
        assert_eq!(store.grant(grant.id).await.unwrap().as_ref(), Some(&stored));
    }
}

pub async fn what_exists_is_not_made_twice<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let request = store.request(grant.request).await.unwrap().unwrap();
    let first = FollowUp {
        grant: grant.id,
        ..follow_up()
    };
    store
        .commit(Transition::new(said("owed")).write(Write::NewFollowUp(first.clone())))
        .await
        .unwrap();
    let before = traces(&*store).await;
    let second_grant = breakglass::domain::grant::Grant {
        id: GrantId::new(),
        ..grant.clone()
    };
    let second = FollowUp {
        id: follow_up().id,
        ..first.clone()
    };
    for write in [
        Write::NewRequest(request),
        Write::NewGrant(second_grant),
        Write::NewFollowUp(second),
    ] {
        let refused = store
            .commit(Transition::new(said("again")).write(write))
            .await
            .unwrap_err();
        assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
        assert_eq!(traces(&*store).await, before);
    }
    assert_eq!(store.follow_up_of(grant.id).await.unwrap(), Some(first));
}

pub async fn of_two_decisions_on_one_version_exactly_one_wins<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    for round in 0..12 {
        let request = filed(&*store).await;
        let given = approval(&request, &person("first-approver"), at(5));
        let Ok(Approved::Enough { request: yes, .. }) = request.clone().approve(given, GrantId::new()) else {
            panic!("one approval is enough")
        };
        let no = request.clone().withdraw(&person("oncall"), at(5)).unwrap();
        let commit = |new: Request, kind| {
            let store = Arc::clone(&store);
            let entry = record(kind, at(5), About::request(&new), "decided", json!({}));
            tokio::spawn(async move {
                store
                    .commit(Transition::new(entry).write(Write::Request {
                        expected: "pending",
                        new,
                    }))
                    .await
            })
        };
        let approve = commit(yes, EntryKind::RequestApproved);
        let withdraw = commit(no, EntryKind::RequestWithdrawn);
        let (approve, withdraw) = (approve.await.unwrap(), withdraw.await.unwrap());
        assert_ne!(approve.is_ok(), withdraw.is_ok(), "round {round}");
        let stored = store.request(request.id).await.unwrap().unwrap();
        assert_eq!(
            stored.state_name(),
            if approve.is_ok() { "approved" } else { "withdrawn" }
        );
        let lines = EntryFilter {
            request: Some(request.id),
            limit: 10,
            ..EntryFilter::default()
        };
        assert_eq!(
            store.entries(lines).await.unwrap().len(),
            2,
            "asked, and decided once"
        );
    }
}

/// Three grants of one person on one cluster, ended in every order.
pub async fn overlapping_grants_never_change_one_another<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut ids = vec![];
        for seconds in [10, 20, 30] {
            let grant = granted(&*store).await;
            let new = grant.clone().ready(at(seconds)).unwrap();
            let write = Write::Grant {
                expected: GrantState::Provisioning,
                new,
            };
            store
                .commit(Transition::new(said("ready")).write(write))
                .await
                .unwrap();
            ids.push(grant.id);
        }
        for ending in order {
            let mut before = vec![];
            for id in &ids {
                before.push(store.grant(*id).await.unwrap().unwrap());
            }
            let grant = before[ending].clone();
            let new = grant.end(EndCause::Deadline, at(100)).unwrap();
            let write = Write::Grant {
                expected: GrantState::Ready,
                new,
            };
            store
                .commit(Transition::new(said("ending")).write(write))
                .await
                .unwrap();
            for (which, id) in ids.iter().enumerate() {
                let now = store.grant(*id).await.unwrap().unwrap();
                if which == ending {
                    assert_eq!(now.state, GrantState::Ending);
                } else {
                    assert_eq!(now, before[which], "order {order:?}");
                }
            }
        }
    }
}

pub async fn everything_is_there_after_opening_again<E: Engine>() {
    let (engine, store, clock) = opened::<E>().await;
    let grant = granted(&*store).await;
    let notice = notice(&["webhook:incidents"]);
    store
        .commit(
            Transition::new(said("kept"))
                .write(Write::NewFinding(finding("k")))
                .write(Write::NewFollowUp(FollowUp {
                    grant: grant.id,
                    ..follow_up()
                }))
                .job(JobKind::End { grant: grant.id }, at(9))
                .notice(notice.clone()),
        )
        .await
        .unwrap();
    let (head, jobs) = (store.head().await.unwrap(), store.jobs().await.unwrap());
    let follow_up = store.follow_up_of(grant.id).await.unwrap();
    let request = store.request(grant.request).await.unwrap();
    drop(store);
    let store = engine.open(Arc::new(ManualClock::clone(&clock)), signer()).await;
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(store.jobs().await.unwrap(), jobs);
    assert_eq!(store.grant(grant.id).await.unwrap(), Some(grant.clone()));
    assert_eq!(store.request(grant.request).await.unwrap(), request);
    assert_eq!(store.follow_up_of(grant.id).await.unwrap(), follow_up);
    assert_eq!(store.notice(notice.id).await.unwrap(), Some(notice));
    assert_eq!(store.open_findings().await.unwrap().len(), 1);
    assert_eq!(store.finding("k").await.unwrap().unwrap().key, "k");
    assert!(store.finding("other").await.unwrap().is_none());
    let next = store.commit(Transition::new(said("goes on"))).await.unwrap();
    assert_eq!(next.first, Some(head.size), "the log goes on where it was");
}

pub async fn a_record_that_came_before_is_dropped_and_the_rest_stands<E: Engine>() {
    let (_engine, store, clock) = opened::<E>().await;
    let keyed = |key: &str, sentence: &str| Record {
        key: Some(key.to_owned()),
        ..said(sentence)
    };
    let batch = Transition::batch(vec![
        keyed("a", "one"),
        keyed("a", "one again"),
        keyed("b", "two"),
    ]);
    let first = store.commit(batch.unwrap()).await.unwrap();
    assert_eq!((first.first, first.entries, first.repeats), (Some(0), 2, 1));
    let again = Transition::batch(vec![keyed("b", "two again"), keyed("c", "three")]).unwrap();
    let again = again.write(Write::NewFinding(finding("stands")));
    let again = store.commit(again).await.unwrap();
    assert_eq!((again.first, again.entries, again.repeats), (Some(2), 1, 1));
    assert_eq!(store.open_findings().await.unwrap().len(), 1);
    let head = store.head().await.unwrap();
    let nothing = store.commit(Transition::new(keyed("a", "one"))).await.unwrap();
    assert_eq!((nothing.first, nothing.entries, nothing.repeats), (None, 0, 1));
    assert_eq!(store.head().await.unwrap(), head, "a repeat signs nothing new");
    let sentences: Vec<_> = store
        .entries(EntryFilter {
            limit: 10,
            ..EntryFilter::default()
        })
        .await
        .unwrap()
        .into_iter()
        .map(|line| line.sentence)
        .collect();
    assert_eq!(sentences, ["three", "two", "one"]);
    // The key of a refused transition is not used up: the API server sends the event again.
    let refused = Transition::new(keyed("d", "four")).write(Write::Finding(finding("unknown")));
    assert!(store.commit(refused).await.is_err());
    assert_eq!(
        store
            .commit(Transition::new(keyed("d", "four")))
            .await
            .unwrap()
            .entries,
        1
    );
    store.tidy(at(1800)).await.unwrap();
    assert_eq!(
        store
            .commit(Transition::new(keyed("a", "one")))
            .await
            .unwrap()
            .entries,
        0,
        "still known"
    );
    drop(clock);
}

fn gathered(of: &Finding, changes: u64) -> Finding {
    let mut bypass = Bypass::by("alice".to_owned(), None, at(0));
    bypass.changes = changes;
    Finding {
        bypass: Some(bypass),
        ..of.clone()
    }
}

pub async fn what_is_gathered_loses_no_change<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let first = finding("alice");
    let gather = |expected: Option<u64>, new: Finding| {
        store.commit(Transition::new(said("changed")).write(Write::Gathered { expected, new }))
    };
    let conflict = |done: Result<Committed, StoreError>| matches!(done, Err(StoreError::Conflict(_)));
    gather(None, gathered(&first, 1)).await.unwrap();
    let entries = store.head().await.unwrap().size;
    assert!(
        conflict(gather(None, gathered(&finding("alice"), 1)).await),
        "one open finding a key"
    );
    assert!(
        conflict(gather(Some(2), gathered(&first, 3)).await),
        "somebody added to it meanwhile"
    );
    assert_eq!(
        store.head().await.unwrap().size,
        entries,
        "a conflict leaves nothing"
    );
    gather(Some(1), gathered(&first, 3)).await.unwrap();
    assert_eq!(store.finding("alice").await.unwrap(), Some(gathered(&first, 3)));
    let settle = |changes: u64| {
        let settled = Finding {
            settled: Some(("compliance".into(), "planned".into(), at(5))),
            ..gathered(&first, changes)
        };
        store.commit(Transition::new(said("settled")).write(Write::Finding(settled)))
    };
    assert!(conflict(settle(1).await), "two changes of it were not seen");
    settle(3).await.unwrap();
    assert!(
        conflict(gather(Some(3), gathered(&first, 4)).await),
        "what is settled does not grow"
    );
    gather(None, gathered(&finding("alice"), 1)).await.unwrap();
    assert_eq!(store.open_findings().await.unwrap().len(), 1);
}

pub async fn what_was_entered_is_known_by_its_key<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let keyed = |key: &str, sentence: &str| Record {
        key: Some(key.to_owned()),
        ..said(sentence)
    };
    store.commit(Transition::new(keyed("a", "one"))).await.unwrap();
    store
        .commit(Transition::new(keyed("b 'x'", "two")))
        .await
        .unwrap();
    let asked = ["a", "b 'x'", "c"].map(str::to_owned);
    let known: Vec<String> = store.entered(&asked).await.unwrap().into_iter().collect();
    assert_eq!(known, ["a", "b 'x'"]);
    assert!(store.entered(&[]).await.unwrap().is_empty());
}

pub async fn a_finding_is_open_once_and_settled_once<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let first = finding("unknown credential");
    for found in [first.clone(), finding("unknown credential"), finding("another")] {
        store
            .commit(Transition::new(said("found")).write(Write::NewFinding(found)))
            .await
            .unwrap();
    }
    let open = store.open_findings().await.unwrap();
    assert_eq!(open.len(), 2);
    assert!(open.contains(&first), "the first stays as it was found");
    let settled = Finding {
        settled: Some(("compliance".into(), "a drill".into(), at(5))),
        ..first.clone()
    };
    let settle = || Transition::new(said("settled")).write(Write::Finding(settled.clone()));
    store.commit(settle()).await.unwrap();
    assert!(matches!(
        store.commit(settle()).await,
        Err(StoreError::Conflict(_))
    ));
    assert!(
        !store
            .open_findings()
            .await
            .unwrap()
            .iter()
            .any(|open| open.id == first.id)
    );
    let anew = finding("unknown credential");
    store
        .commit(Transition::new(said("found")).write(Write::NewFinding(anew.clone())))
        .await
        .unwrap();
    assert!(
        store.open_findings().await.unwrap().contains(&anew),
        "what happens again is found again"
    );
}

fn received(key: &str, server: &str, slots: &[(i64, u64)]) -> Write {
    Write::Received(Received {
        key: key.to_owned(),
        cluster: "production".to_owned(),
        server: server.to_owned(),
        slots: slots.to_vec(),
    })
}

pub async fn a_batch_is_counted_once_and_with_its_entry<E: Engine>() {
    let (engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let batch = |says: &str, counted: Write| Transition::new(said(says)).write(counted);
    let one = || received("one", "a", &[(1_000, 2), (1_250, 3)]);
    for says in ["came", "came again"] {
        store.commit(batch(says, one())).await.unwrap();
    }
    store
        .commit(batch("another", received("two", "a", &[(1_250, 4), (9_000, 1)])))
        .await
        .unwrap();
    store
        .commit(batch("of another server", received("three", "", &[(1_250, 70)])))
        .await
        .unwrap();
    // Nothing of a transition that fails is counted, and its batch may come again.
    let stale = Write::Grant {
        expected: GrantState::Active,
        new: grant,
    };
    let four = || received("four", "a", &[(9_000, 500)]);
    assert!(store.commit(batch("fails", four()).write(stale)).await.is_err());
    drop(store);
    let store = engine.open(Arc::new(ManualClock::at(at(5))), signer()).await;
    let count = async |from| store.received("production", "a", from).await.unwrap();
    assert_eq!(
        (count(0).await, count(1_250).await, count(1_251).await),
        (10, 8, 1)
    );
    assert_eq!(store.received("production", "", 0).await.unwrap(), 70);
    assert_eq!(store.received("elsewhere", "a", 0).await.unwrap(), 0);
    for _ in 0..2 {
        store
            .fold_received("production", "a", 1_100, 2_000)
            .await
            .unwrap();
        assert_eq!(
            (count(0).await, count(1_100).await, count(1_101).await),
            (8, 8, 1)
        );
    }
    store.commit(batch("comes again", four())).await.unwrap();
    store
        .commit(batch("late", received("five", "a", &[(1_100, 1)])))
        .await
        .unwrap();
    assert_eq!(count(0).await, 509);
    assert_eq!(
        store.received("production", "", 0).await.unwrap(),
        70,
        "folding is one server's"
    );
}

pub async fn what_is_kept_with_an_entry_is_kept_with_it_or_not_at_all<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let keep = |value: &str| {
        Transition::new(said(value)).write(Write::Keep {
            name: "counting".to_owned(),
            value: value.to_owned(),
        })
    };
    store.commit(keep("one")).await.unwrap();
    store.commit(keep("two")).await.unwrap();
    let stale = Write::Grant {
        expected: GrantState::Active,
        new: grant,
    };
    assert!(store.commit(keep("three").write(stale)).await.is_err());
    assert_eq!(store.setting("counting").await.unwrap().as_deref(), Some("two"));
}
