//! What an engine gives to be held to the contract, and the contract's cases by name.

use crate::clock::{Clock, ManualClock};
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::{About, Record, Transition, Write, record};
use crate::fixture::{ask, at, grant, request};
use breakglass::domain::grant::Grant;
use breakglass::domain::request::Request;
use breakglass::ledger::Signer;
use breakglass::store::Store;
use serde_json::json;
use std::sync::Arc;

/// One empty database of an engine.
pub trait Engine: Sized {
    /// A new, empty one.
    async fn new() -> Self;
    /// Opens it. The store opened before is dropped first: the data must be there again.
    async fn open(&self, clock: Arc<dyn Clock>, signer: Arc<Signer>) -> Arc<dyn Store>;
}

/// The key every store of these tests signs with.
pub fn signer() -> Arc<Signer> {
    Arc::new(Signer::from_seed("example.test/ledger", [7; 32]).unwrap())
}

/// An engine with its store open and the clock at 0.
pub async fn opened<E: Engine>() -> (E, Arc<dyn Store>, ManualClock) {
    let (engine, clock) = (E::new().await, ManualClock::at(at(0)));
    let store = engine.open(Arc::new(clock.clone()), signer()).await;
    (engine, store, clock)
}

/// A record about nothing in particular.
pub fn said(sentence: &str) -> Record {
    record(
        EntryKind::Finding,
        at(0),
        About::cluster("production"),
        sentence,
        json!({"n": sentence}),
    )
}

/// A filed request.
pub async fn filed(store: &dyn Store) -> Request {
    let request = request(ask());
    let entry = record(
        EntryKind::RequestFiled,
        at(0),
        About::request(&request),
        "asked",
        json!({}),
    );
    store
        .commit(Transition::new(entry).write(Write::NewRequest(request.clone())))
        .await
        .unwrap();
    request
}

/// A grant in Provisioning, with its request.
pub async fn granted(store: &dyn Store) -> Grant {
    let request = filed(store).await;
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
    store
        .commit(Transition::new(entry).write(Write::NewGrant(grant.clone())))
        .await
        .unwrap();
    grant
}

/// The contract, as tests of one engine.
macro_rules! contract {
    ($engine:ty: $($room:ident::$case:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            crate::$room::$case::<$engine>().await;
        }
    )*};
    ($engine:ty) => {
        $crate::suite::contract!($engine:
            writes::a_transition_is_written_whole,
            writes::a_conflict_leaves_nothing_behind,
            writes::what_exists_is_not_made_twice,
            writes::of_two_decisions_on_one_version_exactly_one_wins,
            writes::a_refused_commit_takes_no_other_with_it,
            writes::overlapping_grants_never_change_one_another,
            writes::everything_is_there_after_opening_again,
            writes::a_record_that_came_before_is_dropped_and_the_rest_stands,
            writes::a_finding_is_open_once_and_settled_once,
            writes::what_is_gathered_loses_no_change,
            writes::what_was_entered_is_known_by_its_key,
            writes::a_batch_is_counted_once_and_with_its_entry,
            writes::what_is_kept_with_an_entry_is_kept_with_it_or_not_at_all,
            jobs::a_job_is_leased_once,
            jobs::a_lease_that_is_over_is_taken_by_the_next,
            jobs::what_is_poked_while_leased_runs_again,
            jobs::what_is_poked_while_leased_does_not_wait,
            jobs::a_poke_brings_forward_and_never_back,
            jobs::what_failed_waits_and_says_why,
            jobs::what_fails_is_found_by_its_key_and_among_all_that_fails,
            jobs::a_clock_set_back_keeps_no_job_waiting,
            jobs::a_notice_is_one_job_a_channel_and_one_that_is_given_up_is_seen,
            look_ups::requests_are_found_by_state_and_person,
            look_ups::grants_are_found_by_account_cluster_and_person,
            look_ups::follow_ups_are_found_by_grant_team_and_time,
            look_ups::actions_come_in_the_order_of_the_api_server,
            look_ups::what_gave_a_foothold_is_found_by_cluster,
            look_ups::people_are_remembered_by_account,
            look_ups::a_session_lives_until_it_is_over_or_deleted,
            look_ups::the_before_of_an_object_is_the_newest_version_below,
            look_ups::what_was_seen_by_a_clock_that_was_set_back_was_seen_earlier,
            look_ups::a_setting_is_kept,
            questions::notable_actions_are_found_newest_first_and_by_page,
            questions::actions_on_an_object_are_found_in_the_words_of_the_record,
            questions::emergencies_are_found_by_how_they_stand,
            ledger::any_sequence_of_commits_is_one_whole_signed_log,
            ledger::commits_side_by_side_make_one_log,
            ledger::what_is_kept_lies_in_the_log_without_a_row_and_comes_once,
            ledger::lines_are_found_newest_first_and_by_page,
            ledger::lines_are_found_by_when_they_happened_and_by_whom,
            ledger::hashes_of_every_level_are_kept_as_the_log_grows,
        );
    };
}
pub(crate) use contract;
