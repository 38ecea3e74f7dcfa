//! The contract on PostgreSQL, on a real server, and what several brokers on one database can promise: one tree
//! whoever appends, nothing acknowledged that is lost with a connection, one broker at work.

use crate::clock::{Clock, ManualClock};
use crate::domain::job::{Job, JobKind, Lane};
use crate::domain::transition::Transition;
use crate::fixture::at;
use crate::ids::GrantId;
use crate::jobs::{LEASE, end, leased_at_once};
use crate::ledger::{committed_at_once, segments, verify};
use crate::server::Server;
use crate::suite::{Engine, granted, said, signer};
use breakglass::ledger::Signer;
use breakglass::ledger::report::Integrity;
use breakglass::store::postgres::{Alone, PostgresStore};
use breakglass::store::{EntryFilter, Store, StoreError};
use sqlx::{AssertSqlSafe, Executor};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

struct Postgres {
    database: String,
}

impl Postgres {
    fn address(&self) -> String {
        Server::shared().address(&self.database)
    }

    async fn try_open(&self, signer: Arc<Signer>) -> Result<PostgresStore, String> {
        let clock = Arc::new(ManualClock::at(at(0)));
        PostgresStore::open(&self.address(), clock, signer)
            .await
            .map_err(|error| error.to_string())
    }

    /// It, open twice.
    async fn two(&self) -> [Arc<dyn Store>; 2] {
        [
            Arc::new(self.try_open(signer()).await.unwrap()),
            Arc::new(self.try_open(signer()).await.unwrap()),
        ]
    }

    async fn run(&self, statement: &str) -> u64 {
        Server::shared().run(&self.database, statement).await
    }
}

impl Engine for Postgres {
    async fn new() -> Self {
        Self {
            database: Server::shared().database().await,
        }
    }

    async fn open(&self, clock: Arc<dyn Clock>, signer: Arc<Signer>) -> Arc<dyn Store> {
        Arc::new(PostgresStore::open(&self.address(), clock, signer).await.unwrap())
    }
}

crate::suite::contract!(Postgres);

async fn sentences(store: &dyn Store) -> BTreeSet<String> {
    let filter = EntryFilter {
        limit: 10_000,
        ..EntryFilter::default()
    };
    let lines = store.entries(filter).await.unwrap();
    lines.into_iter().map(|line| line.sentence).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_that_append_to_one_database_make_one_tree() {
    let engine = Postgres::new().await;
    let stores = engine.two().await;
    let batches = (0..60).map(|number| {
        let lines = (0..=number % 3).map(|line| said(&format!("{number}.{line}")));
        Transition::batch(lines.collect()).unwrap()
    });
    let committed = committed_at_once(&stores, batches.collect()).await;
    let notes: Vec<_> = committed
        .into_iter()
        .map(|committed| committed.checkpoint)
        .collect();
    for store in &stores {
        let report = verify(&notes, &segments(&**store).await);
        assert_eq!(
            (report.integrity(), report.size),
            (Integrity::Whole, 120),
            "{:?}",
            report.problems
        );
        // Those that waited together are signed together.
        assert!((2..=60).contains(&report.checkpoints), "{}", report.checkpoints);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_killed_in_a_commit_loses_nothing_that_was_acknowledged() {
    let engine = Postgres::new().await;
    let store = Arc::new(engine.try_open(signer()).await.unwrap());
    let killer = {
        let mut raw = Server::shared().raw(&engine.database).await;
        tokio::spawn(async move {
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
            let mut killed = 0;
            while killed < 15 {
                killed += raw.execute(kill).await.unwrap().rows_affected();
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
        })
    };
    let (mut acknowledged, mut notes, mut number) = (BTreeSet::new(), vec![], 0);
    while !killer.is_finished() || number < 20 {
        let line = format!("line {number}");
        number += 1;
        match store.commit(Transition::new(said(&line))).await {
            Ok(committed) => {
                acknowledged.insert(line);
                notes.push(committed.checkpoint);
            }
            // It was met by one kill after the other.
            Err(StoreError::Database { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(
        acknowledged.len() * 2 > number,
        "most were written again where they were cut"
    );
    let kept = sentences(&*store).await;
    assert!(acknowledged.is_subset(&kept), "what was acknowledged is there");
    assert!(kept.len() <= number, "and nothing twice");
    let report = verify(&notes, &segments(&*store).await);
    assert_eq!(
        (report.integrity(), report.size),
        (Integrity::Whole, kept.len() as u64),
        "{:?}",
        report.problems
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_stores_lease_different_jobs() {
    let engine = Postgres::new().await;
    let stores = engine.two().await;
    let jobs: Vec<_> = (0..200).map(|_| end()).collect();
    stores[0].poke(&jobs).await.unwrap();
    let mut leased = leased_at_once(&stores).await;
    // One that was passed by while another took it is taken by a later look.
    let rest = stores[1]
        .lease_jobs(Lane::Access, at(10), LEASE, 200)
        .await
        .unwrap();
    leased.extend(rest.into_iter().map(|job| job.id));
    assert_eq!(
        (leased.len(), leased.iter().collect::<BTreeSet<_>>().len()),
        (200, 200)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_broker_works_and_another_waits_until_it_is_gone() {
    let engine = Postgres::new().await;
    let first = Alone::take(&engine.address(), None, || {}).await.unwrap();
    let refused = Alone::take(&engine.address(), Some(Duration::ZERO), || {})
        .await
        .unwrap_err();
    let refused = refused.to_string();
    let name = format!("breakglass {} on ", std::process::id());
    for words in ["another broker works on this database", &name, "since 20"] {
        assert!(refused.contains(words), "{refused}");
    }
    let address = engine.address();
    let told = Arc::new(tokio::sync::Notify::new());
    let tell = Arc::clone(&told);
    let waiting = tokio::spawn(async move { Alone::take(&address, None, move || tell.notify_one()).await });
    told.notified().await;
    assert!(!waiting.is_finished(), "it waits");
    drop(first);
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_succeeded_is_told_and_commits_nothing_any_more() {
    let engine = Postgres::new().await;
    let clock = || Arc::new(ManualClock::at(at(0)));
    let one = Alone::take(&engine.address(), None, || {}).await.unwrap();
    let earlier = PostgresStore::open_alone(&one, clock(), signer()).await.unwrap();
    earlier.commit(Transition::new(said("one"))).await.unwrap();
    let job = Job::new(
        JobKind::End {
            grant: GrantId::new(),
        },
        at(0),
    );
    earlier.poke(&[job]).await.unwrap();
    assert_eq!(
        earlier
            .lease_jobs(Lane::Access, at(0), LEASE, 9)
            .await
            .unwrap()
            .len(),
        1
    );
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(engine.run(kill).await, 1);
    one.lost().await;
    let other = Alone::take(&engine.address(), None, || {}).await.unwrap();
    let later = PostgresStore::open_alone(&other, clock(), signer())
        .await
        .unwrap();
    let refused = earlier.commit(Transition::new(said("late"))).await.unwrap_err();
    assert!(
        refused.to_string().contains("another broker took over"),
        "{refused}"
    );
    later.commit(Transition::new(said("two"))).await.unwrap();
    assert_eq!(sentences(&later).await, ["one", "two"].map(str::to_owned).into());
    let left = later.lease_jobs(Lane::Access, at(0), LEASE, 9).await.unwrap();
    assert_eq!(left.len(), 1, "what the earlier one was doing goes on at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_could_lose_what_it_said_it_kept_is_refused() {
    let clock = || Arc::new(ManualClock::at(at(0)));
    let engine = Postgres::new().await;
    engine
        .run(&format!(
            "ALTER DATABASE {} SET synchronous_commit = off",
            engine.database
        ))
        .await;
    let refused = engine.try_open(signer()).await.unwrap_err();
    assert!(refused.contains("synchronous_commit is off"), "{refused}");

    let latin = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    Server::shared().run("postgres", latin).await;
    let opened = PostgresStore::open(&Server::shared().address("latin"), clock(), signer()).await;
    let refused = opened.unwrap_err().to_string();
    assert!(refused.contains("encoding is not UTF8"), "{refused}");

    let careless = Server::with(&["fsync=off"]);
    let opened = PostgresStore::open(&careless.address("postgres"), clock(), signer()).await;
    let refused = opened.unwrap_err().to_string();
    assert!(refused.contains("fsync is off"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_written_and_looked_up_as_any_other() {
    let engine = Postgres::new().await;
    let store = engine.try_open(signer()).await.unwrap();
    let grant = granted(&store).await;
    let mut record = said("with \0 and '; DROP TABLE entries; --");
    record.key = Some("key \0".to_owned());
    let mut row = crate::fixture::action("exec");
    row.grant = Some(grant.id);
    row.facts = serde_json::json!({"gives": {"foothold": "pod"}, "says": "a \0 b", "path": "C:\\u0000\\"});
    let cluster = row.cluster.clone();
    record.action = Some(Box::new(row.clone()));
    store.commit(Transition::new(record.clone())).await.unwrap();
    assert_eq!(
        store.footholds(&cluster).await.unwrap(),
        std::slice::from_ref(&row)
    );
    assert_eq!(store.actions(grant.id).await.unwrap()[0].1, row);
    let again = store.commit(Transition::new(record)).await.unwrap();
    assert_eq!((again.entries, again.repeats), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_was_not_signed_is_not_continued_and_no_state_is_made_up() {
    let cases = [
        ("UPDATE ledger_head SET checkpoint = 'nothing'", "cannot be read"),
        (
            "UPDATE ledger_head SET size = size + 1",
            "size is not that of its frontier",
        ),
        (
            "DELETE FROM segments WHERE first = 1",
            "2 entries, and 1 are stored",
        ),
        ("DELETE FROM ledger_head", "signed head is gone"),
    ];
    for (sql, words) in cases {
        let engine = Postgres::new().await;
        let store = engine.try_open(signer()).await.unwrap();
        for line in ["one", "two"] {
            store.commit(Transition::new(said(line))).await.unwrap();
        }
        drop(store);
        drop(
            engine
                .try_open(signer())
                .await
                .expect("untouched, it is continued"),
        );
        assert_eq!(engine.run(sql).await, 1, "{sql}");
        let refused = engine.try_open(signer()).await.expect_err(sql);
        assert!(refused.contains(words), "{sql}: {refused}");
    }
    let engine = Postgres::new().await;
    let store = engine.try_open(signer()).await.unwrap();
    let grant = granted(&store).await;
    let mut raw = Server::shared().raw(&engine.database).await;
    for sql in [
        "UPDATE grants SET state = 'revived'",
        "UPDATE grants SET document = 'not json'",
        "UPDATE grants SET version = -1",
        "INSERT INTO follow_ups SELECT 'f', 'no such grant', 'owed', 0, 't', 0, NULL, '{}'",
        "INSERT INTO ledger_head SELECT 2, size, frontier, checkpoint, at FROM ledger_head",
    ] {
        assert!(raw.execute(AssertSqlSafe(sql)).await.is_err(), "{sql}");
    }
    assert_eq!(store.grant(grant.id).await.unwrap(), Some(grant));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_believed_for_its_certificate_and_nothing_else() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let authority = |file: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let made = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join(file), made.pem()).unwrap();
        made
    };
    let (own, _other) = (authority("own.pem"), authority("other.pem"));
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &own).unwrap();
    std::fs::write(folder.path().join("server.crt"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let _server = Server::with_tls(folder.path(), port);
    let open = async |host: &str, ca: &str| {
        let ca = folder.path().join(ca).display().to_string();
        let address =
            format!("postgres://breakglass@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={ca}");
        let clock = Arc::new(ManualClock::at(at(0)));
        let opened = PostgresStore::open(&address, clock, signer()).await;
        opened.map_err(|error| breakglass::causes::chain(&error))
    };
    let store = open("localhost", "own.pem").await.unwrap();
    store.commit(Transition::new(said("one"))).await.unwrap();
    for (host, ca) in [("localhost", "other.pem"), ("127.0.0.1", "own.pem")] {
        let refused = open(host, ca).await.unwrap_err();
        assert!(refused.contains("certificate"), "{host} {ca}: {refused}");
    }
}
