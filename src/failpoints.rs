//! Points at which the process ends itself, for tests of what a crash leaves: before and after every
//! commit, every other write of the store, and every call to the cluster, the forge, a notice's channel
//! and the sign-in provider. Compiled only with the feature `failpoints`.
//!
//! Each contract is wrapped whole: a call that is added to one does not compile until it stands here, and
//! [`list`] is made of the same lines. `FAILPOINTS="cluster.lay_out.after=return;…"` arms points
//! (the syntax is the `fail` crate's).

use async_trait::async_trait;
use breakglass::clock::Time;
use breakglass::cluster::manifests::AuditProbe;
use breakglass::cluster::{Access, Cluster, ClusterError, FirstUse, Probe, Sighting, Token};
use breakglass::domain::counting::Counters;
use breakglass::domain::entry_kind::EntryKind;
use breakglass::domain::finding::Finding;
use breakglass::domain::follow_up::FollowUp;
use breakglass::domain::grant::Grant;
use breakglass::domain::job::{Job, Lane};
use breakglass::domain::notice::{Delivery, Notice};
use breakglass::domain::object::{ObjectKey, ObjectVersion};
use breakglass::domain::person::Person;
use breakglass::domain::request::Request;
use breakglass::domain::review::PullState;
use breakglass::domain::transition::{ActionRow, Transition};
use breakglass::forge::{
    Capabilities, Change, Check, Commit, Forge, ForgeError, NewPull, OpenPull, ProtectionReport,
    PublishedCommit, PullRef, Repo,
};
use breakglass::identity::{Asking, Begin, CallbackParams, Flow, Identity, Refusal, SignedIn};
use breakglass::ids::{FollowUpId, GrantId, JobId, NoticeId, RequestId};
use breakglass::ledger::VerifierKey;
use breakglass::notify::{DeliveryError, Notifier};
use breakglass::store::{
    Committed, EntryFilter, EntryLine, FollowUpFilter, GrantFilter, Head, RequestFilter, Sign, SignError,
    Store, StoreError, StoredSegment,
};
use breakglass::witness::{NoAnswer, Witnesses};
use chrono::TimeDelta;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

type Answer<T, E> = std::result::Result<T, E>;

/// Ends the process here when this point is armed: nothing is flushed, nothing dropped, nobody told.
fn point(part: &str, call: &str, side: &str) {
    let name = format!("{part}.{call}.{side}");
    fail::fail_point!(name.as_str(), |_| {
        eprintln!("failpoint {name}");
        std::process::abort()
    });
}

/// A contract's calls, each with a point before and after it; what `reads` is passed on as it is.
macro_rules! pointed {
    ($name:ident: $contract:ident, $part:literal {
        $(async fn $call:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*
        $(reads {
            $(fn $told:ident($($told_arg:ident: $told_type:ty),*) -> $what:ty;)*
            $(async fn $read:ident($($read_arg:ident: $read_type:ty),*) -> $read_answer:ty;)*
        })?
        $(commits $commit:ident($transition:ty) -> $committed:ty;)?
    }) => {
        struct $name(Arc<dyn $contract>);

        impl $name {
            const CALLS: &[&str] = &[$(stringify!($call)),*];
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        #[async_trait]
        impl $contract for $name {
            $(async fn $call(&self, $($arg: $type),*) -> $answer {
                point($part, stringify!($call), "before");
                let answer = self.0.$call($($arg),*).await;
                point($part, stringify!($call), "after");
                answer
            })*
            $(
                $(fn $told(&self, $($told_arg: $told_type),*) -> $what {
                    self.0.$told($($told_arg),*)
                })*
                $(async fn $read(&self, $($read_arg: $read_type),*) -> $read_answer {
                    self.0.$read($($read_arg),*).await
                })*
            )?
            $(async fn $commit(&self, transition: $transition) -> $committed {
                let kinds: BTreeSet<EntryKind> = transition.records.iter().map(|record| record.kind).collect();
                for kind in &kinds {
                    point("commit", kind.name(), "before");
                }
                let answer = self.0.$commit(transition).await;
                for kind in &kinds {
                    point("commit", kind.name(), "after");
                }
                answer
            })?
        }
    };
}

pointed!(PointedStore: Store, "store" {
    async fn remember(person: &Person, at: Time) -> Answer<(), StoreError>;
    async fn lease_jobs(lane: Lane, now: Time, lease: TimeDelta, limit: u32) -> Answer<Vec<Job>, StoreError>;
    async fn put_back(job: &Job) -> Answer<(), StoreError>;
    async fn drop_job(id: JobId) -> Answer<(), StoreError>;
    async fn poke(jobs: &[Job]) -> Answer<(), StoreError>;
    async fn keep_versions(cluster: &str, versions: &[ObjectVersion], seen_at: Time) -> Answer<(), StoreError>;
    async fn set_setting(name: &str, value: &str) -> Answer<(), StoreError>;
    async fn fold_received(cluster: &str, server: &str, from: i64, to: i64) -> Answer<(), StoreError>;
    async fn clock_set_back(by: TimeDelta, now: Time) -> Answer<(), StoreError>;
    async fn save_session(id_hash: &str, data: &str, expires: Time, fresh: bool) -> Answer<bool, StoreError>;
    async fn delete_session(id_hash: &str) -> Answer<(), StoreError>;
    async fn tidy(now: Time) -> Answer<(), StoreError>;
    reads {
        fn halted() -> Option<String>;
        async fn request(id: RequestId) -> Answer<Option<Request>, StoreError>;
        async fn requests(filter: RequestFilter) -> Answer<Vec<Arc<Request>>, StoreError>;
        async fn grant(id: GrantId) -> Answer<Option<Grant>, StoreError>;
        async fn grant_by_account(cluster: &str, account: &str) -> Answer<Option<Grant>, StoreError>;
        async fn grants(filter: GrantFilter) -> Answer<Vec<Arc<Grant>>, StoreError>;
        async fn follow_up(id: FollowUpId) -> Answer<Option<FollowUp>, StoreError>;
        async fn follow_up_of(grant: GrantId) -> Answer<Option<FollowUp>, StoreError>;
        async fn follow_ups(filter: FollowUpFilter) -> Answer<Vec<Arc<FollowUp>>, StoreError>;
        async fn follow_ups_of(requests: &[RequestId]) -> Answer<Vec<Arc<FollowUp>>, StoreError>;
        async fn unreviewed() -> Answer<u64, StoreError>;
        async fn actions(grant: GrantId) -> Answer<Vec<(u64, ActionRow)>, StoreError>;
        async fn actions_after(grant: GrantId, entry: Option<u64>) -> Answer<Vec<(u64, ActionRow)>, StoreError>;
        async fn actions_of_credential(cluster: &str, credential_id: &str) -> Answer<Vec<ActionRow>, StoreError>;
        async fn open_findings() -> Answer<Vec<Finding>, StoreError>;
        async fn finding(key: &str) -> Answer<Option<Finding>, StoreError>;
        async fn entered(keys: &[String]) -> Answer<BTreeSet<String>, StoreError>;
        async fn footholds(cluster: &str) -> Answer<Vec<ActionRow>, StoreError>;
        async fn notice(id: NoticeId) -> Answer<Option<Notice>, StoreError>;
        async fn undeliverable() -> Answer<Vec<Delivery>, StoreError>;
        async fn people() -> Answer<Vec<Person>, StoreError>;
        async fn jobs() -> Answer<Vec<Job>, StoreError>;
        async fn job(key: &str) -> Answer<Option<Job>, StoreError>;
        async fn failing_jobs(limit: u32) -> Answer<Vec<Job>, StoreError>;
        async fn entries(filter: EntryFilter) -> Answer<Vec<EntryLine>, StoreError>;
        async fn entry(index: u64) -> Answer<Option<EntryLine>, StoreError>;
        async fn head() -> Answer<Head, StoreError>;
        async fn segment_of(index: u64) -> Answer<Option<StoredSegment>, StoreError>;
        async fn segments(first: u64, limit: u32) -> Answer<Vec<StoredSegment>, StoreError>;
        async fn leaves(first: u64, count: u64) -> Answer<Vec<[u8; 32]>, StoreError>;
        async fn nodes(level: u8, first: u64, count: u64) -> Answer<Vec<[u8; 32]>, StoreError>;
        async fn version_before(cluster: &str, key: &ObjectKey, version: u64, seen_before_ms: Option<i64>) -> Answer<Option<ObjectVersion>, StoreError>;
        async fn versions_before(cluster: &str, resource: &ObjectKey, seen_before_ms: i64) -> Answer<Vec<ObjectVersion>, StoreError>;
        async fn setting(name: &str) -> Answer<Option<String>, StoreError>;
        async fn received(cluster: &str, server: &str, from_ms: i64) -> Answer<u64, StoreError>;
        async fn load_session(id_hash: &str, now: Time) -> Answer<Option<String>, StoreError>;
    }
    commits commit(Transition) -> Answer<Committed, StoreError>;
});

pointed!(PointedCluster: Cluster, "cluster" {
    async fn uid() -> Answer<String, ClusterError>;
    async fn namespaces() -> Answer<Vec<String>, ClusterError>;
    async fn rules(cluster_role: &str) -> Answer<Value, ClusterError>;
    async fn lay_out(access: &Access) -> Answer<(), ClusterError>;
    async fn issue(access: &Access, secret: &str, seconds: u32) -> Answer<Token, ClusterError>;
    async fn issue_again(access: &Access, secret: &str, seconds: u32) -> Answer<Option<Token>, ClusterError>;
    async fn use_once(access: &Access, token: &Token) -> Answer<Vec<FirstUse>, ClusterError>;
    async fn make_account(access: &Access) -> Answer<(), ClusterError>;
    async fn remove_bindings(access: &Access) -> Answer<(), ClusterError>;
    async fn remove_secret(secret: &str) -> Answer<(), ClusterError>;
    async fn remove_account(access: &Access) -> Answer<(), ClusterError>;
    async fn probe(probe: &str) -> Answer<Probe, ClusterError>;
    async fn snapshot(rules: &Value, namespaces: &[String]) -> Answer<Vec<ObjectVersion>, ClusterError>;
    async fn watch(rules: &Value, namespaces: &[String], versions: Sender<ObjectVersion>) -> Answer<(), ClusterError>;
    async fn guard(sightings: Sender<Sighting>) -> Answer<(), ClusterError>;
    async fn canary(server: &str, nonce: &str) -> Answer<(), ClusterError>;
    async fn counters(server: &str) -> Answer<Counters, ClusterError>;
    async fn probe_audit(server: &str, token: Option<&Token>, probes: &[(String, AuditProbe)]) -> Answer<(), ClusterError>;
    async fn canary_as(token: &Token, nonce: &str) -> Answer<(), ClusterError>;
    async fn get(key: &ObjectKey) -> Answer<Option<Value>, ClusterError>;
    async fn autoscaler(key: &ObjectKey, kind: &str) -> Answer<Option<String>, ClusterError>;
    async fn list_keys(key: &ObjectKey, kind: &str) -> Answer<Vec<(String, Vec<String>)>, ClusterError>;
    async fn kind(key: &ObjectKey) -> Answer<String, ClusterError>;
    reads {
        fn kubeconfig(access: &Access, token: &Token) -> String;
    }
});

pointed!(PointedForge: Forge, "forge" {
    async fn head(repo: &Repo, branch: &str) -> Answer<Commit, ForgeError>;
    async fn read_file(repo: &Repo, path: &str, at: &str) -> Answer<Option<Vec<u8>>, ForgeError>;
    async fn list_files(repo: &Repo, dir: &str, at: &str) -> Answer<Vec<String>, ForgeError>;
    async fn publish(change: &Change) -> Answer<PublishedCommit, ForgeError>;
    async fn find_pull(repo: &Repo, branch: &str) -> Answer<Option<PullRef>, ForgeError>;
    async fn open_pull(repo: &Repo, pull: &NewPull) -> Answer<PullRef, ForgeError>;
    async fn reopen(repo: &Repo, number: u64) -> Answer<PullRef, ForgeError>;
    async fn pull(repo: &Repo, number: u64) -> Answer<PullState, ForgeError>;
    async fn update_body(repo: &Repo, number: u64, body: &str) -> Answer<(), ForgeError>;
    async fn request_reviewers(repo: &Repo, number: u64, logins: &BTreeSet<String>) -> Answer<Vec<(String, String)>, ForgeError>;
    async fn set_check(repo: &Repo, head_sha: &str, check: &Check) -> Answer<(), ForgeError>;
    async fn open_pulls(repo: &Repo, base: &str) -> Answer<Vec<OpenPull>, ForgeError>;
    async fn branch_protection(repo: &Repo, branch: &str) -> Answer<ProtectionReport, ForgeError>;
    reads {
        fn capabilities() -> Capabilities;
    }
});

pointed!(PointedNotifier: Notifier, "notify" {
    async fn send(notice: &Notice, channel: &str, checkpoint: &str) -> Answer<(), DeliveryError>;
});

pointed!(PointedWitnesses: Witnesses, "witness" {
    async fn add_checkpoint(witness: &str, body: &str) -> Answer<breakglass::witness::Answer, NoAnswer>;
});

pointed!(PointedSign: Sign, "sign" {
    async fn sign(text: &[u8]) -> Answer<[u8; 64], SignError>;
    reads {
        fn key() -> VerifierKey;
    }
});

pointed!(PointedIdentity: Identity, "identity" {
    async fn begin(asking: Asking, now: Time) -> Answer<Begin, Refusal>;
    async fn finish(flow: &Flow, params: &CallbackParams, now: Time) -> Answer<SignedIn, Refusal>;
    async fn logout_url(id_token_hint: &str, return_to: &url::Url, now: Time) -> Option<url::Url>;
});

/// Every point there is.
pub fn list() -> Vec<String> {
    let calls = [
        ("store", PointedStore::CALLS),
        ("cluster", PointedCluster::CALLS),
        ("forge", PointedForge::CALLS),
        ("notify", PointedNotifier::CALLS),
        ("identity", PointedIdentity::CALLS),
        ("sign", PointedSign::CALLS),
        ("witness", PointedWitnesses::CALLS),
    ];
    let calls = calls
        .into_iter()
        .flat_map(|(part, calls)| calls.iter().map(move |call| (part, *call)));
    EntryKind::ALL
        .iter()
        .map(|kind| ("commit", kind.name()))
        .chain(calls)
        .flat_map(|(part, call)| ["before", "after"].map(|side| format!("{part}.{call}.{side}")))
        .collect()
}

/// The keys with points around them.
pub fn around_keys(keys: Vec<Arc<dyn Sign>>) -> Vec<Arc<dyn Sign>> {
    keys.into_iter()
        .map(|key| Arc::new(PointedSign(key)) as Arc<dyn Sign>)
        .collect()
}

/// The witnesses with points around them.
pub fn around_witnesses(witnesses: Arc<dyn Witnesses>) -> Arc<dyn Witnesses> {
    Arc::new(PointedWitnesses(witnesses))
}

/// The parts with points around them, armed as the environment says.
#[expect(clippy::type_complexity, reason = "the parts of a broker, as they came")]
pub fn around(
    store: Arc<dyn Store>,
    clusters: BTreeMap<String, Arc<dyn Cluster>>,
    forge: Arc<dyn Forge>,
    notifier: Arc<dyn Notifier>,
    identity: Arc<dyn Identity>,
) -> (
    Arc<dyn Store>,
    BTreeMap<String, Arc<dyn Cluster>>,
    Arc<dyn Forge>,
    Arc<dyn Notifier>,
    Arc<dyn Identity>,
) {
    // Points are read from the environment once, and stay for as long as the process lives.
    std::mem::forget(fail::FailScenario::setup());
    let clusters = clusters
        .into_iter()
        .map(|(name, cluster)| (name, Arc::new(PointedCluster(cluster)) as Arc<dyn Cluster>))
        .collect();
    (
        Arc::new(PointedStore(store)),
        clusters,
        Arc::new(PointedForge(forge)),
        Arc::new(PointedNotifier(notifier)),
        Arc::new(PointedIdentity(identity)),
    )
}
