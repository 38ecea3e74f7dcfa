//! The contract on SQLite, and what one file alone can promise: one broker at a time, no session's
//! id inside, no head that was not signed, no state that is no state.

use crate::clock::{Clock, ManualClock};
use crate::domain::transition::Transition;
use crate::fixture::at;
use crate::suite::{Engine, granted, said, signer};
use breakglass::ledger::SignedCheckpoint;
use breakglass::ledger::Signer;
use breakglass::store::session::Sessions;
use breakglass::store::sqlite::SqliteStore;
use breakglass::store::{Signers, Store};
use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use std::path::PathBuf;
use std::sync::Arc;
use tower_sessions::SessionStore;
use tower_sessions::cookie::time::{Duration, OffsetDateTime};
use tower_sessions::session::{Id, Record};

struct Sqlite {
    folder: tempfile::TempDir,
}

impl Sqlite {
    fn file(&self) -> PathBuf {
        self.folder.path().join("breakglass.db")
    }

    async fn try_open(&self, signer: Arc<Signer>) -> Result<SqliteStore, String> {
        let clock = Arc::new(ManualClock::at(at(0)));
        SqliteStore::open(&self.file(), clock, signer)
            .await
            .map_err(|error| error.to_string())
    }

    /// The file behind the broker's back.
    async fn raw(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.file())
            .connect()
            .await
            .unwrap()
    }
}

impl Engine for Sqlite {
    async fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn open(&self, clock: Arc<dyn Clock>, signer: Arc<Signer>) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.file(), clock, signer).await.unwrap())
    }
}

crate::suite::contract!(Sqlite);

#[tokio::test]
async fn a_second_broker_on_the_same_file_is_refused_and_told_who_holds_it() {
    let engine = Sqlite::new().await;
    let first = engine.try_open(signer()).await.unwrap();
    let refused = engine.try_open(signer()).await.unwrap_err();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let holder = format!("process {} on {})", std::process::id(), host.trim());
    assert!(
        refused.contains(&holder) && refused.contains("breakglass.db"),
        "{refused}"
    );
    drop(first);
    assert!(engine.try_open(signer()).await.is_ok(), "it is free again");
}

#[tokio::test]
async fn who_reads_the_file_cannot_take_over_a_session() {
    let engine = Sqlite::new().await;
    let clock = Arc::new(ManualClock::at(at(0)));
    let store = engine.open(clock.clone(), signer()).await;
    let sessions = Sessions::new(Arc::clone(&store), clock);
    let expiry_date = OffsetDateTime::from_unix_timestamp(at(600).timestamp()).unwrap();
    let mut record = Record {
        id: Id::default(),
        data: [].into(),
        expiry_date,
    };
    record.data.insert("person".to_owned(), "E-oncall".into());
    sessions.create(&mut record).await.unwrap();
    let taken = record.id;
    let mut second = Record {
        id: taken,
        ..record.clone()
    };
    sessions.create(&mut second).await.unwrap();
    assert_ne!(second.id, taken, "an id that is in use is never given twice");
    assert_eq!(sessions.load(&taken).await.unwrap(), Some(record.clone()));
    record.expiry_date += Duration::seconds(60);
    sessions.save(&record).await.unwrap();
    assert_eq!(
        sessions.load(&taken).await.unwrap().unwrap().expiry_date,
        record.expiry_date
    );

    let mut stored = vec![];
    for entry in std::fs::read_dir(engine.folder.path()).unwrap() {
        stored.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let found = |needle: &[u8]| stored.windows(needle.len()).any(|window| window == needle);
    assert!(found(b"E-oncall"), "the session is in there");
    for id in [taken, second.id] {
        assert!(!found(id.to_string().as_bytes()) && !found(id.0.to_string().as_bytes()));
        assert!(!found(&id.0.to_be_bytes()) && !found(&id.0.to_le_bytes()));
        assert!(!found(format!("{:032x}", id.0.cast_unsigned()).as_bytes()));
    }

    sessions.delete(&taken).await.unwrap();
    sessions.save(&record).await.unwrap();
    assert_eq!(
        sessions.load(&taken).await.unwrap(),
        None,
        "a late save brings nothing back"
    );
    assert!(sessions.load(&second.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_head_that_was_not_signed_is_not_continued() {
    let cases = [
        (
            "UPDATE ledger_head SET checkpoint = replace(checkpoint, 'example.test', 'exbmple.test')",
            "not signed",
        ),
        ("UPDATE ledger_head SET checkpoint = 'nothing'", "cannot be read"),
        (
            "UPDATE ledger_head SET size = size + 1",
            "size is not that of its frontier",
        ),
        (
            "UPDATE ledger_head SET frontier = CAST(x'0000000000000003' || zeroblob(64) AS BLOB)",
            "is not the one",
        ),
        ("UPDATE ledger_head SET frontier = x'00'", "frontier is damaged"),
        (
            "DELETE FROM segments WHERE first = 1",
            "3 entries, and 1 are stored",
        ),
        ("DELETE FROM ledger_head", "signed head is gone"),
        // An older head and its own checkpoint: the entries after it are still there.
        (
            "UPDATE ledger_head SET size = old.size, frontier = old.frontier, checkpoint = old.checkpoint
          FROM before AS old",
            "1 entries, and 3 are stored",
        ),
    ];
    for (sql, words) in cases {
        let engine = Sqlite::new().await;
        let store = engine.try_open(signer()).await.unwrap();
        store.commit(Transition::new(said("one"))).await.unwrap();
        engine
            .raw()
            .await
            .execute("CREATE TABLE before AS SELECT * FROM ledger_head")
            .await
            .unwrap();
        store
            .commit(Transition::new(said("two")).record(said("three")))
            .await
            .unwrap();
        drop(store);
        drop(
            engine
                .try_open(signer())
                .await
                .expect("untouched, it is continued"),
        );
        let done = engine.raw().await.execute(sql).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{sql}");
        let refused = engine.try_open(signer()).await.expect_err(sql);
        assert!(refused.contains(words), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn another_key_does_not_continue_the_log() {
    let engine = Sqlite::new().await;
    let store = engine.try_open(signer()).await.unwrap();
    store.commit(Transition::new(said("one"))).await.unwrap();
    drop(store);
    for (name, seed) in [("example.test/ledger", 8), ("example.test/other", 7)] {
        let other = Arc::new(Signer::from_seed(name, [seed; 32]).unwrap());
        let refused = engine.try_open(other.clone()).await.unwrap_err();
        let key = other.verifier_key().to_string();
        assert!(
            refused.contains("not signed by the configured key") && refused.contains(&key),
            "{refused}"
        );
    }
    assert!(engine.try_open(signer()).await.is_ok());
}

#[tokio::test]
async fn what_is_no_state_cannot_be_stored() {
    let engine = Sqlite::new().await;
    let store = engine.try_open(signer()).await.unwrap();
    let grant = granted(&store).await;
    let mut raw = engine.raw().await;
    for sql in [
        "UPDATE grants SET state = 'revived'",
        "UPDATE requests SET state = ''",
        "UPDATE grants SET document = 'not json'",
        "UPDATE grants SET version = -1",
        "INSERT INTO follow_ups SELECT 'f', 'no such grant', 'owed', 0, 't', 0, NULL, '{}'",
        "INSERT INTO ledger_head SELECT 2, size, frontier, checkpoint, at FROM ledger_head",
    ] {
        assert!(raw.execute(sql).await.is_err(), "{sql}");
    }
    assert_eq!(store.grant(grant.id).await.unwrap(), Some(grant));
}

#[tokio::test]
async fn a_store_from_before_the_tree_was_kept_gets_it_when_it_is_opened() {
    let engine = Sqlite::new().await;
    let store = engine.try_open(signer()).await.unwrap();
    for batch in 0..9 {
        let lines = (0..100).map(|line| said(&format!("{batch}.{line}"))).collect();
        store.commit(Transition::batch(lines).unwrap()).await.unwrap();
    }
    let nodes = store.nodes(1, 0, 256).await.unwrap();
    assert_eq!(nodes.len(), 3);
    drop(store);
    // As it was before the migration: the table and the note that it was made are gone.
    let mut raw = engine.raw().await;
    raw.execute("DROP TABLE tree_nodes").await.unwrap();
    raw.execute("DELETE FROM _sqlx_migrations WHERE version = 4")
        .await
        .unwrap();
    drop(raw);
    let store = engine.try_open(signer()).await.unwrap();
    assert_eq!(store.nodes(1, 0, 256).await.unwrap(), nodes);
    store.commit(Transition::new(said("and on"))).await.unwrap();
}

#[tokio::test]
async fn a_key_is_replaced_with_both_valid_across_the_seam() {
    let engine = Sqlite::new().await;
    let key = |seed: u8| Arc::new(Signer::from_seed("example.test/ledger", [seed; 32]).unwrap());
    let (old, new) = (key(7), key(8));
    let open = async |signers: Signers| {
        let clock = Arc::new(ManualClock::at(at(0)));
        SqliteStore::open(&engine.file(), clock, signers)
            .await
            .map_err(|error| error.to_string())
    };
    let holds = |note: &str, key: &Arc<Signer>| {
        let note = SignedCheckpoint::parse(note).unwrap();
        note.verify(&[key.verifier_key()]).is_ok()
    };
    let store = open(old.clone().into()).await.unwrap();
    let before = store
        .commit(Transition::new(said("one")))
        .await
        .unwrap()
        .checkpoint;
    assert!(holds(&before, &old) && !holds(&before, &new));
    drop(store);
    let straight = open(new.clone().into()).await.unwrap_err();
    assert!(
        straight.contains("not signed by the configured key"),
        "{straight}"
    );
    // The next key beside the old one: from the first moment on either public key checks the head.
    let store = open(Signers::new(old.clone(), vec![new.clone()])).await.unwrap();
    let head = store.head().await.unwrap().checkpoint;
    assert!(holds(&head, &old) && holds(&head, &new), "{head}");
    drop(store);
    let store = open(Signers::new(new.clone(), vec![old.clone()])).await.unwrap();
    let seam = store
        .commit(Transition::new(said("two")))
        .await
        .unwrap()
        .checkpoint;
    assert!(holds(&seam, &old) && holds(&seam, &new), "{seam}");
    drop(store);
    let store = open(new.clone().into()).await.unwrap();
    let after = store
        .commit(Transition::new(said("three")))
        .await
        .unwrap()
        .checkpoint;
    assert!(!holds(&after, &old) && holds(&after, &new), "{after}");
}
