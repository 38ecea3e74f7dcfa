//! The log as its readers get it.

use crate::config::{LogReader, Secret};
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::{About, Transition, record};
use crate::ledger::tile::{read_entry_bundle, read_hash_tile};
use crate::ledger::{
    Entry, Frontier, Hash, SignedCheckpoint, TileKind, TilePath, leaf_hash, verify_consistency,
    verify_inclusion,
};
use crate::verify::tests::now;
use crate::verify::{How, Said, verify};
use crate::web::lists::fixture::{Answer, Stage};
use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A log of `entries` with a reader.
async fn stage(entries: usize) -> Stage {
    let stage = Stage::with(|config| {
        let token = Secret::for_test(TOKEN);
        config
            .ledger
            .readers
            .insert("auditor".into(), LogReader { token });
    })
    .await;
    let line = |n: usize| {
        let about = About::cluster("production");
        record(
            EntryKind::Finding,
            now(),
            about,
            format!("line {n}"),
            json!({"n": n}),
        )
    };
    for batch in (0..entries).collect::<Vec<_>>().chunks(97) {
        let batch = Transition::batch(batch.iter().copied().map(line).collect()).unwrap();
        stage.app.broker.store.commit(batch).await.unwrap();
    }
    stage
}

async fn read(stage: &Stage, path: &str, token: &str) -> Answer {
    let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    stage.send(request.body(Body::empty()).unwrap()).await
}

async fn bytes(stage: &Stage, path: TilePath) -> Vec<u8> {
    let answer = read(stage, &format!("/log/tile/{path}"), TOKEN).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    answer.bytes
}

fn hash(value: &Value) -> Hash {
    BASE64
        .decode(value.as_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap()
}

fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash).collect()
}

#[tokio::test]
async fn every_tile_and_bundle_of_the_checkpoint_makes_its_root() {
    let stage = stage(700).await;
    let note = read(&stage, "/log/checkpoint", TOKEN).await;
    assert_eq!(note.headers[header::CACHE_CONTROL], "no-store");
    let note = SignedCheckpoint::parse(&note.text).unwrap();
    note.verify(&[stage.app.broker.verifier_key().unwrap()]).unwrap();
    let size = note.checkpoint().size;
    assert_eq!(size, 700);
    let mut tree = Frontier::new();
    let mut level_1 = vec![];
    for path in TilePath::all(size) {
        let bytes = bytes(&stage, path).await;
        match path.kind {
            TileKind::Hashes(0) => {
                let leaves = read_hash_tile(&bytes, path.width).unwrap();
                for leaf in &leaves {
                    tree.append(leaf);
                }
                if path.is_full() {
                    let mut alone = Frontier::new();
                    for leaf in &leaves {
                        alone.append(leaf);
                    }
                    level_1.push(alone.root());
                }
            }
            TileKind::Hashes(1) => assert_eq!(read_hash_tile(&bytes, path.width).unwrap(), level_1),
            TileKind::Hashes(_) => panic!("a log of 700 entries has two levels"),
            TileKind::Entries => {
                let leaves = stage
                    .app
                    .broker
                    .store
                    .leaves(path.first(), path.width)
                    .await
                    .unwrap();
                for (entry, leaf) in read_entry_bundle(&bytes, path.width).unwrap().iter().zip(leaves) {
                    assert_eq!(leaf_hash(entry), leaf);
                    assert_eq!(Entry::parse(entry).unwrap().cluster, Some("production"));
                }
            }
        }
    }
    assert_eq!(tree.root(), note.checkpoint().root);
}

#[tokio::test]
async fn a_full_tile_may_be_kept_and_a_partial_one_may_not() {
    let stage = stage(300).await;
    let kept = async |path: &str| {
        let answer = read(&stage, path, TOKEN).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        answer.headers[header::CACHE_CONTROL].to_str().unwrap().to_owned()
    };
    for full in ["/log/tile/0/000", "/log/tile/entries/000"] {
        assert_eq!(kept(full).await, "private, max-age=31536000, immutable");
    }
    for partial in [
        "/log/tile/0/001.p/44",
        "/log/tile/1/000.p/1",
        "/log/tile/entries/001.p/1",
    ] {
        assert_eq!(kept(partial).await, "no-store");
    }
    for absent in [
        "/log/tile/0/001",
        "/log/tile/0/001.p/45",
        "/log/tile/0/002.p/1",
        "/log/tile/2/000.p/1",
        "/log/tile/0/0",
        "/log/tile/entries/001",
        "/log/tile/9/000",
        "/log/tile/0/000.p/0",
        "/log/tile/0",
    ] {
        assert_eq!(
            read(&stage, absent, TOKEN).await.status,
            StatusCode::NOT_FOUND,
            "{absent}"
        );
    }
}

#[tokio::test]
async fn proofs_lead_from_the_leaf_and_from_older_heads_to_the_newest() {
    let stage = stage(700).await;
    let get = async |path: String| {
        let answer = read(&stage, &path, TOKEN).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        serde_json::from_str::<Value>(&answer.text).unwrap()
    };
    let note = read(&stage, "/log/checkpoint", TOKEN).await.text;
    let head = SignedCheckpoint::parse(&note).unwrap().checkpoint().clone();
    for (entry, size) in [(0, 1), (255, 256), (256, 700), (699, 700), (3, 513)] {
        let said = get(format!("/log/proof/inclusion?entry={entry}&size={size}")).await;
        let (leaf, root) = (hash(&said["leaf"]), hash(&said["root"]));
        verify_inclusion(entry, size, &leaf, &hashes(&said["proof"]), &root).unwrap();
        assert!(size != 700 || root == head.root);
    }
    let newest = get("/log/proof/inclusion?entry=5".to_owned()).await;
    assert_eq!((&newest["size"], hash(&newest["root"])), (&json!(700), head.root));
    for (from, to) in [(0, 700), (1, 2), (256, 700), (300, 512), (700, 700)] {
        let said = get(format!("/log/proof/consistency?from={from}&to={to}")).await;
        let (old, new) = (hash(&said["from_root"]), hash(&said["to_root"]));
        verify_consistency(from, &old, to, &new, &hashes(&said["proof"])).unwrap();
    }
    for (path, status, words) in [
        ("inclusion", StatusCode::BAD_REQUEST, "`entry` is missing"),
        ("inclusion?entry=x", StatusCode::BAD_REQUEST, "not a whole number"),
        (
            "inclusion?entry=-1",
            StatusCode::BAD_REQUEST,
            "not a whole number",
        ),
        (
            "inclusion?entry=700",
            StatusCode::NOT_FOUND,
            "only those below 700",
        ),
        (
            "inclusion?entry=1&size=701",
            StatusCode::NOT_FOUND,
            "the log has 700 entries",
        ),
        ("consistency?to=5", StatusCode::BAD_REQUEST, "`from` is missing"),
        (
            "consistency?from=6&to=5",
            StatusCode::BAD_REQUEST,
            "a log only grows",
        ),
        (
            "consistency?from=1&to=701",
            StatusCode::NOT_FOUND,
            "the log has 700 entries",
        ),
    ] {
        let answer = read(&stage, &format!("/log/proof/{path}"), TOKEN).await;
        assert_eq!(answer.status, status, "{path}");
        let said: Value = serde_json::from_str(&answer.text).unwrap();
        assert!(said["error"].as_str().unwrap().contains(words), "{path}: {said}");
    }
}

#[tokio::test]
async fn the_log_is_read_with_a_session_or_a_readers_token_and_with_nothing_else() {
    let stage = stage(3).await;
    let paths = [
        "/log/checkpoint",
        "/log/tile/0/000.p/3",
        "/log/tile/entries/000.p/3",
        "/log/proof/inclusion?entry=0",
        "/log/proof/consistency?from=1",
    ];
    let engineer = stage.signed_in("second", &["payments-engineers"]).await;
    for path in paths {
        assert_eq!(read(&stage, path, TOKEN).await.status, StatusCode::OK, "{path}");
        assert_eq!(
            stage.get(path, Some(&engineer)).await.status,
            StatusCode::OK,
            "{path}"
        );
        assert_eq!(
            stage.get(path, None).await.status,
            StatusCode::SEE_OTHER,
            "{path}"
        );
        for wrong in ["", "0123456789abcdef0123456789abcdeF", &TOKEN[1..]] {
            assert_eq!(
                read(&stage, path, wrong).await.status,
                StatusCode::UNAUTHORIZED,
                "{path}"
            );
        }
        // A wrong token is not made good by a session beside it.
        let both = Request::get(path)
            .header(header::COOKIE, &engineer.cookie)
            .header(header::AUTHORIZATION, "Bearer wrong");
        let both = stage.send(both.body(Body::empty()).unwrap()).await;
        assert_eq!(both.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    // The token opens the log and nothing beside it.
    for path in ["/ledger", "/feed.json", "/ledger/entries/0", "/requests"] {
        let answer = read(&stage, path, TOKEN).await;
        assert!(
            matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::SEE_OTHER),
            "{path}: {}",
            answer.status
        );
    }
    let mut last = StatusCode::OK;
    for _ in 0..40 {
        last = read(&stage, "/log/checkpoint", "guess").await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS, "guessing is slowed down");
    assert_eq!(
        read(&stage, "/log/checkpoint", TOKEN).await.status,
        StatusCode::OK
    );
}

/// `breakglass verify` at the log's address.
async fn verified(stage: &Stage, address: &str, against: &[String]) -> Said {
    let how = How {
        keys: vec![stage.app.broker.verifier_key().unwrap().to_string()],
        against: against.iter().map(Into::into).collect(),
        token: Some(TOKEN.to_owned()),
        ..How::default()
    };
    verify(format!("{address}/log").as_ref(), &how).await
}

async fn by_hand(stage: &Stage, sql: &'static str) {
    use sqlx::ConnectOptions as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(stage.file());
    let mut hand = options.connect().await.unwrap();
    assert!(sqlx::query(sql).execute(&mut hand).await.unwrap().rows_affected() > 0);
}

#[tokio::test]
async fn verify_reads_a_whole_log_by_its_address() {
    let stage = stage(600).await;
    let address = stage.listen().await;
    let early = stage.app.broker.store.head().await.unwrap().checkpoint;
    let about = About::cluster("production");
    let gap = record(EntryKind::Gap, now(), about, "a gap", json!({}));
    stage.app.broker.store.commit(Transition::new(gap)).await.unwrap();
    let said = verified(&stage, &address, &[early]).await;
    assert_eq!(said.code, 0, "{}", said.text);
    for words in [
        "601 entries, 2 checkpoints",
        "integrity: whole",
        "completeness: whole except 2026-03-01 10:00 UTC, who held a grant it does not tell",
        "entry 600: gap",
    ] {
        assert!(said.text.contains(words), "{words:?} is not in {}", said.text);
    }
    let mut how = How {
        keys: vec![stage.app.broker.verifier_key().unwrap().to_string()],
        ..How::default()
    };
    let log = format!("{address}/log");
    let nobody = verify(log.as_ref(), &how).await;
    assert_eq!(nobody.code, 2, "{}", nobody.text);
    assert!(nobody.text.contains("BREAKGLASS_LOG_TOKEN"), "{}", nobody.text);
    how.token = Some(TOKEN.to_owned());
    how.keys = vec![
        crate::ledger::Signer::from_seed("breakglass.example.org/ledger", [9; 32])
            .unwrap()
            .verifier_key()
            .to_string(),
    ];
    let other = verify(log.as_ref(), &how).await;
    assert_eq!(other.code, 1, "{}", other.text);
    assert!(other.text.contains("bad-signature"), "{}", other.text);
    let open = verify("http://log.example.test/log".as_ref(), &how).await;
    assert!(
        open.code == 2 && open.text.contains("without encryption"),
        "{}",
        open.text
    );
}

#[tokio::test]
async fn verify_names_an_altered_tile_an_altered_entry_a_fork_and_a_rollback() {
    let (stage, other) = (stage(300).await, stage(300).await);
    let (address, elsewhere) = (stage.listen().await, other.listen().await);
    let head = async |stage: &Stage| stage.app.broker.store.head().await.unwrap().checkpoint;
    // One origin and one key, two histories of one size.
    let said = verified(&stage, &address, &[head(&other).await]).await;
    assert_eq!(said.code, 1, "{}", said.text);
    assert!(
        said.text.contains("fork: the log was forked: at size 300"),
        "{}",
        said.text
    );
    let more = record(EntryKind::Finding, now(), About::default(), "more", json!({}));
    other
        .app
        .broker
        .store
        .commit(Transition::new(more))
        .await
        .unwrap();
    let said = verified(&stage, &address, &[head(&other).await]).await;
    assert_eq!(said.code, 1, "{}", said.text);
    assert!(
        said.text.contains("rollback") && said.text.contains("of size 301"),
        "{}",
        said.text
    );
    by_hand(
        &stage,
        "UPDATE tree_nodes SET hash = zeroblob(32) WHERE level = 1 AND idx = 0",
    )
    .await;
    let said = verified(&stage, &address, &[]).await;
    assert_eq!(said.code, 1, "{}", said.text);
    assert!(
        said.text.contains("tile-altered: the tile 1/000.p/1"),
        "{}",
        said.text
    );
    by_hand(
        &other,
        "UPDATE segments SET bytes = (SELECT bytes FROM segments WHERE first = 0) WHERE first = 97",
    )
    .await;
    let said = verified(&other, &elsewhere, &[]).await;
    assert_eq!(said.code, 1, "{}", said.text);
    assert!(
        said.text.contains("could not be read to its end"),
        "{}",
        said.text
    );
}
