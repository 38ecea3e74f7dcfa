//! Everything that is read back.

use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::{EndCause, GrantState};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::person::Person;
use crate::domain::transition::{About, ActionRow, Record, Transition, Write, record};
use crate::fixture::{at, follow_up, person, request};
use crate::suite::{Engine, filed, granted, opened, said};
use breakglass::domain::follow_up::FollowUp;
use breakglass::domain::request::Ask;
use breakglass::ids::{GrantId, RequestId};
use breakglass::store::{FollowUpFilter, GrantFilter, RequestFilter};
use chrono::TimeDelta;
use serde_json::json;
use std::sync::Arc;

pub async fn requests_are_found_by_state_and_person<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let pending = filed(&*store).await;
    let second = request(Ask {
        requester: person("second"),
        ..crate::fixture::ask()
    });
    let withdrawn = second.clone().withdraw(&person("second"), at(1)).unwrap();
    store
        .commit(Transition::new(said("asked")).write(Write::NewRequest(second)))
        .await
        .unwrap();
    let write = Write::Request {
        expected: "pending",
        new: withdrawn.clone(),
    };
    store
        .commit(Transition::new(said("back")).write(write))
        .await
        .unwrap();
    let ids = |filter| async {
        store
            .requests(filter)
            .await
            .unwrap()
            .iter()
            .map(|r| r.id)
            .collect::<Vec<_>>()
    };
    let all = RequestFilter {
        limit: 10,
        ..RequestFilter::default()
    };
    assert_eq!(ids(all.clone()).await, [withdrawn.id, pending.id], "newest first");
    assert_eq!(
        ids(RequestFilter {
            limit: 1,
            ..all.clone()
        })
        .await,
        [withdrawn.id]
    );
    assert_eq!(
        ids(RequestFilter {
            state: Some("pending"),
            ..all.clone()
        })
        .await,
        [pending.id]
    );
    assert_eq!(
        ids(RequestFilter {
            requester: Some("E-second".into()),
            ..all
        })
        .await,
        [withdrawn.id]
    );
}

pub async fn grants_are_found_by_account_cluster_and_person<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let of = |cluster: &'static str| store.grant_by_account(cluster, &grant.account);
    assert_eq!(of("production").await.unwrap(), Some(grant.clone()));
    assert_eq!(
        of("staging").await.unwrap(),
        None,
        "an account is one of its cluster's"
    );
    let live = GrantFilter {
        live: true,
        limit: 10,
        ..GrantFilter::default()
    };
    assert_eq!(
        store.grants(live.clone()).await.unwrap(),
        [Arc::new(grant.clone())]
    );
    for filter in [
        GrantFilter {
            cluster: Some("staging".into()),
            ..live.clone()
        },
        GrantFilter {
            requester: Some("E-second".into()),
            ..live.clone()
        },
        GrantFilter {
            since: Some(grant.approved_at + TimeDelta::seconds(1)),
            ..live.clone()
        },
    ] {
        assert!(store.grants(filter).await.unwrap().is_empty());
    }
    let mut ending = grant.clone().end(EndCause::Deadline, at(5)).unwrap();
    let proof = ending.ending.as_mut().unwrap();
    (proof.refused_after, proof.removed_at, proof.dead_after) = (Some(at(6)), Some(at(7)), Some(at(8)));
    proof.proof = Some("refused".to_owned());
    let ended = ending.ended(at(9)).unwrap();
    let write = Write::Grant {
        expected: GrantState::Provisioning,
        new: ended,
    };
    store
        .commit(Transition::new(said("ended")).write(write))
        .await
        .unwrap();
    assert!(store.grants(live.clone()).await.unwrap().is_empty());
    assert_eq!(
        store
            .grants(GrantFilter { live: false, ..live })
            .await
            .unwrap()
            .len(),
        1
    );
}

pub async fn follow_ups_are_found_by_grant_team_and_time<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let owed = FollowUp {
        grant: grant.id,
        ..follow_up()
    };
    store
        .commit(Transition::new(said("owed")).write(Write::NewFollowUp(owed.clone())))
        .await
        .unwrap();
    assert_eq!(store.follow_up(owed.id).await.unwrap(), Some(owed.clone()));
    assert_eq!(store.follow_up_of(grant.id).await.unwrap(), Some(owed.clone()));
    let open = FollowUpFilter {
        open: true,
        limit: 10,
        ..FollowUpFilter::default()
    };
    assert_eq!(store.follow_ups(open.clone()).await.unwrap().len(), 1);
    for filter in [
        FollowUpFilter {
            team: Some("platform".into()),
            ..open.clone()
        },
        FollowUpFilter {
            since: Some(at(1)),
            ..open.clone()
        },
    ] {
        assert!(store.follow_ups(filter).await.unwrap().is_empty());
    }
    let closed = owed.clone().no_drift(None, at(9)).unwrap();
    let write = Write::FollowUp {
        expected: owed.state,
        new: closed,
    };
    store
        .commit(Transition::new(said("closed")).write(write))
        .await
        .unwrap();
    assert!(store.follow_ups(open.clone()).await.unwrap().is_empty());
    assert_eq!(store.unreviewed().await.unwrap(), 1);
    let listed = store.follow_ups_of(&[owed.request]).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].is_closed(), "a list shows what was written last");
    assert!(store.follow_ups_of(&[RequestId::new()]).await.unwrap().is_empty());
    assert!(store.follow_ups_of(&[]).await.unwrap().is_empty());
    let now = store.follow_up(owed.id).await.unwrap().unwrap();
    let write = Write::FollowUp {
        expected: now.state,
        new: now.review(person("second"), "fine", at(10)).unwrap(),
    };
    store
        .commit(Transition::new(said("reviewed")).write(write))
        .await
        .unwrap();
    assert_eq!(store.unreviewed().await.unwrap(), 0);
    let all = FollowUpFilter { open: false, ..open };
    assert!(store.follow_ups(all).await.unwrap()[0].reviewed.is_some());
}

pub fn action(grant: Option<GrantId>, received_us: i64, credential: &str) -> Record {
    let row = ActionRow {
        grant,
        cluster: "production".to_owned(),
        received_us,
        arrived_at: at(0),
        credential_id: Some(credential.to_owned()),
        class: "change".to_owned(),
        flags: vec!["denied".to_owned()],
        words: "scaled".to_owned(),
        object: "Deployment payments/web".to_owned(),
        detail: "replicas = 5".to_owned(),
        code: Some(403),
        mutation: true,
        audit_id: format!("a{received_us}"),
        stage: "ResponseComplete".to_owned(),
        stream: false,
        facts: json!({}),
    };
    let about = About {
        grant,
        ..About::cluster("production")
    };
    let entry = record(
        EntryKind::AuditEvent,
        at(0),
        about,
        format!("at {received_us}"),
        json!({}),
    );
    Record {
        action: Some(Box::new(row)),
        ..entry
    }
}

pub async fn actions_come_in_the_order_of_the_api_server<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let records = vec![
        action(Some(grant.id), 30, "mine"),
        action(Some(grant.id), 10, "mine"),
        action(None, 5, "mine"),
        action(Some(grant.id), 20, "other"),
    ];
    let first = store
        .commit(Transition::batch(records).unwrap())
        .await
        .unwrap()
        .first
        .unwrap();
    let actions = store.actions(grant.id).await.unwrap();
    let order: Vec<_> = actions
        .iter()
        .map(|(entry, row)| (entry - first, row.received_us))
        .collect();
    assert_eq!(order, [(1, 10), (3, 20), (0, 30)], "each with the entry it is of");
    let since = store.actions_after(grant.id, Some(first + 1)).await.unwrap();
    let since: Vec<_> = since.iter().map(|(entry, _)| entry - first).collect();
    assert_eq!(since, [3], "what was entered after that one");
    assert!(store.actions(GrantId::new()).await.unwrap().is_empty());
    let mut mine: Vec<_> = store
        .actions_of_credential("production", "mine")
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.received_us)
        .collect();
    mine.sort_unstable();
    assert_eq!(mine, [5, 10, 30], "its issuance and its uses");
    assert!(
        store
            .actions_of_credential("staging", "mine")
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn what_gave_a_foothold_is_found_by_cluster<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let grant = granted(&*store).await;
    let acted = |cluster: &str, received_us: i64, facts: serde_json::Value| {
        let mut record = said(&format!("{cluster} {received_us}"));
        let mut row = crate::fixture::action("exec");
        row.grant = Some(grant.id);
        cluster.clone_into(&mut row.cluster);
        row.received_us = received_us;
        row.facts = facts;
        record.action = Some(Box::new(row));
        record
    };
    let gives = serde_json::json!({"gives": {"foothold": "pod", "namespace": "payments", "name": "web-1"}});
    let records = vec![
        acted("production", 2, gives.clone()),
        acted("production", 1, serde_json::json!({})),
        acted("staging", 3, gives.clone()),
    ];
    store.commit(Transition::batch(records).unwrap()).await.unwrap();
    let found = store.footholds("production").await.unwrap();
    let found: Vec<_> = found.iter().map(|row| row.received_us).collect();
    assert_eq!(found, [2]);
    assert!(store.footholds("elsewhere").await.unwrap().is_empty());
}

pub async fn people_are_remembered_by_account<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let one = person("oncall");
    store.remember(&one, at(1)).await.unwrap();
    store.remember(&person("second"), at(2)).await.unwrap();
    let renamed = Person {
        name: "Another name".to_owned(),
        groups: vec![],
        ..one
    };
    store.remember(&renamed, at(3)).await.unwrap();
    let other_provider = Person {
        issuer: "https://other.example.test".to_owned(),
        ..renamed.clone()
    };
    store.remember(&other_provider, at(4)).await.unwrap();
    assert_eq!(
        store.people().await.unwrap(),
        [other_provider, renamed, person("second")],
        "as they were last seen"
    );
}

pub async fn a_session_lives_until_it_is_over_or_deleted<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    assert!(
        store
            .save_session("hash", r#"{"n":1}"#, at(60), true)
            .await
            .unwrap()
    );
    assert!(
        !store
            .save_session("hash", r#"{"n":2}"#, at(60), true)
            .await
            .unwrap(),
        "the id is taken"
    );
    let loaded = store.load_session("hash", at(59)).await.unwrap().unwrap();
    assert!(loaded.starts_with(r#"[{"n":1},"#), "{loaded}");
    assert_eq!(store.load_session("hash", at(60)).await.unwrap(), None, "over");
    assert!(
        store
            .save_session("hash", r#"{"n":3}"#, at(90), false)
            .await
            .unwrap()
    );
    assert!(
        store
            .load_session("hash", at(89))
            .await
            .unwrap()
            .unwrap()
            .contains(r#""n":3"#)
    );
    store.delete_session("hash").await.unwrap();
    assert!(!store.save_session("hash", "{}", at(900), false).await.unwrap());
    assert_eq!(
        store.load_session("hash", at(1)).await.unwrap(),
        None,
        "signed out stays signed out"
    );
    store.save_session("old", "{}", at(60), true).await.unwrap();
    store.save_session("new", "{}", at(600), true).await.unwrap();
    store.tidy(at(61)).await.unwrap();
    assert_eq!(store.load_session("old", at(0)).await.unwrap(), None);
    assert!(store.load_session("new", at(0)).await.unwrap().is_some());
}

fn version(name: &str, resource_version: u64, object: Option<&str>) -> ObjectVersion {
    ObjectVersion {
        key: ObjectKey {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            resource: "deployments".to_owned(),
            namespace: "payments".to_owned(),
            name: name.to_owned(),
        },
        resource_version,
        object: object.map(|text| json!({"was": text})),
    }
}

pub async fn what_was_seen_by_a_clock_that_was_set_back_was_seen_earlier<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let (early, late) = (version("web", 9, Some("nine")), version("web", 10, Some("ten")));
    let hour = chrono::TimeDelta::hours(1);
    for (version, seen_at) in [(&early, at(6_000)), (&late, at(9_700))] {
        let version = std::slice::from_ref(version);
        store.keep_versions("production", version, seen_at).await.unwrap();
    }
    let now = at(6_400);
    for _ in 0..2 {
        store.clock_set_back(hour, now).await.unwrap();
    }
    let before = |seconds: i64| {
        let seen = Some(at(seconds).timestamp_millis());
        store.version_before("production", &late.key, u64::MAX, seen)
    };
    assert_eq!(
        before(6_100).await.unwrap(),
        Some(late.clone()),
        "9700 s is 6100 s"
    );
    assert_eq!(before(6_099).await.unwrap(), Some(early));
}

pub async fn the_before_of_an_object_is_the_newest_version_below<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    let (nine, ten, gone) = (
        version("web", 9, Some("nine")),
        version("web", 10, Some("ten")),
        version("web", 100, None),
    );
    store
        .keep_versions(
            "production",
            &[nine.clone(), version("api", 5, Some("api"))],
            at(1),
        )
        .await
        .unwrap();
    store
        .keep_versions("production", std::slice::from_ref(&ten), at(2))
        .await
        .unwrap();
    store
        .keep_versions("production", &[version("web", 10, Some("rewritten"))], at(3))
        .await
        .unwrap();
    store
        .keep_versions("production", std::slice::from_ref(&gone), at(4))
        .await
        .unwrap();
    let before = |version, seen: Option<i64>| store.version_before("production", &ten.key, version, seen);
    assert_eq!(
        before(10, None).await.unwrap(),
        Some(nine.clone()),
        "compared as numbers"
    );
    assert_eq!(
        before(100, None).await.unwrap(),
        Some(ten.clone()),
        "known ones are left as they were"
    );
    assert_eq!(
        before(u64::MAX, None).await.unwrap(),
        Some(gone),
        "deleted: there was nothing"
    );
    assert_eq!(
        before(u64::MAX, Some(at(2).timestamp_millis())).await.unwrap(),
        Some(ten.clone())
    );
    assert_eq!(before(9, None).await.unwrap(), None);
    assert_eq!(
        store
            .version_before("staging", &ten.key, 100, None)
            .await
            .unwrap(),
        None
    );
    let served_elsewhere = ObjectKey {
        version: "v1beta1".to_owned(),
        ..ten.key.clone()
    };
    assert_eq!(
        store
            .version_before("production", &served_elsewhere, 100, None)
            .await
            .unwrap(),
        Some(ten.clone()),
        "one object is served under several versions"
    );
    let all = |seconds| store.versions_before("production", &ten.key, at(seconds).timestamp_millis());
    let mut names: Vec<_> = all(3)
        .await
        .unwrap()
        .into_iter()
        .map(|v| (v.key.name, v.resource_version))
        .collect();
    names.sort();
    assert_eq!(names, [("api".to_owned(), 5), ("web".to_owned(), 10)]);
    assert_eq!(
        all(4).await.unwrap().len(),
        1,
        "what was deleted by then is left out"
    );
}

pub async fn a_setting_is_kept<E: Engine>() {
    let (_engine, store, _) = opened::<E>().await;
    assert_eq!(store.setting("policy").await.unwrap(), None);
    store.set_setting("policy", "one").await.unwrap();
    store.set_setting("policy", "two").await.unwrap();
    assert_eq!(store.setting("policy").await.unwrap().as_deref(), Some("two"));
}
