//! What people ask of the ledger beyond one column: how an emergency stands, what is notable about an action.

use crate::domain::deadline::DeadlineState;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::{EndCause, Grant, GrantState};
use crate::domain::transition::{About, Record, Transition, Write, record};
use crate::fixture::{at, follow_up, person};
use crate::look_ups::action;
use crate::suite::{Engine, granted, opened, said};
use breakglass::domain::follow_up::FollowUp;
use breakglass::store::{EntryFilter, Notable, Stands, Store};
use serde_json::json;

async fn sentences(store: &dyn Store, filter: EntryFilter) -> Vec<String> {
    let lines = store.entries(filter).await.unwrap();
    lines.into_iter().map(|line| line.sentence).collect()
}

pub async fn notable_actions_are_found_newest_first_and_by_page<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let done = |n: i64, class: &str, mutation: bool, flags: &[&str]| -> Record {
        let mut record = action(Some(grant.id), n, "mine");
        let row = record.action.as_mut().unwrap();
        (row.class, row.mutation) = (class.to_owned(), mutation);
        row.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        record
    };
    let records = vec![
        done(1, "read", false, &[]),
        done(2, "change", true, &[]),
        done(3, "exec", false, &["stream"]),
        done(4, "debug", true, &[]),
        done(5, "secret-read", false, &[]),
        done(6, "delete", true, &["secret", "redacted"]),
        done(7, "rights-change", true, &["rights"]),
        done(8, "change", true, &["denied", "secretive"]),
        done(9, "denied", false, &[]),
    ];
    store.commit(Transition::batch(records).unwrap()).await.unwrap();
    let of = |what| EntryFilter {
        notable: Some(what),
        limit: 100,
        ..EntryFilter::default()
    };
    let cases: [(Notable, &[i64]); 5] = [
        (Notable::Change, &[8, 7, 6, 4, 2]),
        (Notable::Exec, &[4, 3]),
        (Notable::Secret, &[6, 5]),
        (Notable::Rights, &[7]),
        (Notable::Denied, &[9, 8]),
    ];
    for (what, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|n| format!("at {n}")).collect();
        assert_eq!(sentences(&*store, of(what)).await, expected, "{what:?}");
    }
    let first = EntryFilter {
        limit: 2,
        ..of(Notable::Change)
    };
    let page = store.entries(first.clone()).await.unwrap();
    let next = EntryFilter {
        before: Some(page[1].index),
        ..first
    };
    assert_eq!(sentences(&*store, next).await, ["at 6", "at 4"]);
    let elsewhere = EntryFilter {
        cluster: Some("staging".to_owned()),
        ..of(Notable::Change)
    };
    assert_eq!(sentences(&*store, elsewhere).await, [""; 0]);
    let then = EntryFilter {
        from: Some(at(0)),
        to: Some(at(0)),
        limit: 2,
        ..of(Notable::Change)
    };
    assert_eq!(sentences(&*store, then).await, ["at 8", "at 7"]);
}

pub async fn actions_on_an_object_are_found_in_the_words_of_the_record<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let on = |n: i64, object: &str, mutation: bool| -> Record {
        let mut record = action(Some(grant.id), n, "mine");
        let row = record.action.as_mut().unwrap();
        (row.object, row.mutation) = (object.to_owned(), mutation);
        record
    };
    let records = vec![
        on(1, "Deployment payments/web", true),
        on(2, "Deployment payments/web", false),
        on(3, "Deployment payments/web-2", true),
        on(4, "Deployment payments/web", true),
    ];
    store.commit(Transition::batch(records).unwrap()).await.unwrap();
    let of = |object: &str| EntryFilter {
        object: Some(object.to_owned()),
        limit: 10,
        ..EntryFilter::default()
    };
    assert_eq!(
        sentences(&*store, of("deployment payments/web")).await,
        ["at 4", "at 2", "at 1"]
    );
    let changes = EntryFilter {
        notable: Some(Notable::Change),
        ..of("Deployment payments/web")
    };
    assert_eq!(sentences(&*store, changes.clone()).await, ["at 4", "at 1"]);
    let then = EntryFilter {
        from: Some(at(0)),
        ..changes
    };
    assert_eq!(sentences(&*store, then).await, ["at 4", "at 1"]);
    for other in ["Deployment payments", "%", "Deployment payments/w*", ""] {
        assert_eq!(sentences(&*store, of(other)).await, [""; 0], "{other}");
    }
}

/// An ended emergency with its follow-up, and one line that names it.
async fn ended(store: &dyn Store, name: &str, change: impl FnOnce(FollowUp) -> FollowUp) {
    let grant = granted(store).await;
    let line = record(
        EntryKind::FollowUpOwed,
        at(20),
        About::grant(&grant),
        name,
        json!({}),
    );
    let follow_up = change(FollowUp {
        grant: grant.id,
        request: grant.request,
        ..follow_up()
    });
    let writes = [
        Write::Grant {
            expected: GrantState::Provisioning,
            new: Grant {
                state: GrantState::Ended,
                ..grant.end(EndCause::Deadline, at(5)).unwrap()
            },
        },
        Write::NewFollowUp(follow_up),
    ];
    let mut transition = Transition::new(line);
    transition.writes.extend(writes);
    store.commit(transition).await.unwrap();
}

pub async fn emergencies_are_found_by_how_they_stand<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let store = &*store;
    let running = granted(store).await;
    let line = record(
        EntryKind::GrantActive,
        at(9),
        About::grant(&running),
        "running",
        json!({}),
    );
    store.commit(Transition::new(line)).await.unwrap();
    ended(store, "owed", |follow_up| follow_up).await;
    ended(store, "late", |mut follow_up| {
        follow_up.deadlines[0].state = DeadlineState::Breached;
        follow_up
    })
    .await;
    ended(store, "late, then met", |mut follow_up| {
        follow_up.deadlines[0].state = DeadlineState::Breached;
        follow_up.deadlines[0].met_at = Some(at(50));
        follow_up
    })
    .await;
    ended(store, "closed", |follow_up| {
        follow_up.no_drift(None, at(40)).unwrap()
    })
    .await;
    ended(store, "reviewed", |follow_up| {
        let closed = follow_up.no_drift(None, at(40)).unwrap();
        closed.review(person("second"), "fine", at(41)).unwrap()
    })
    .await;
    store.commit(Transition::new(said("of nothing"))).await.unwrap();
    let cases: [(Stands, &[&str]); 5] = [
        (Stands::Running, &["running"]),
        (Stands::Owed, &["late, then met", "late", "owed"]),
        (Stands::Late, &["late"]),
        (Stands::Unreviewed, &["closed", "late, then met", "late", "owed"]),
        (Stands::Reviewed, &["reviewed"]),
    ];
    for (stands, expected) in cases {
        let filter = EntryFilter {
            stands: Some(stands),
            kinds: vec![
                EntryKind::GrantActive,
                EntryKind::FollowUpOwed,
                EntryKind::Finding,
            ],
            limit: 100,
            ..EntryFilter::default()
        };
        assert_eq!(sentences(store, filter).await, expected, "{stands:?}");
    }
}
