//! `breakglass verify`: is this record whole? With the public key alone: a store or an export offline, a
//! log by its address as anybody reads it. No word of the broker is believed.

mod address;
mod audit_log;
mod progress;

use crate::broker::verify::{Judged, Piece, judge_bundle, judge_stream, send};
use crate::causes::chain;
use crate::ledger::bundle::MAX_BUNDLE;
use crate::ledger::checkpoint::MAX_NOTE;
use crate::ledger::{self, Archive, Bundle, Integrity, SignedCheckpoint, VerifierKey, archive, notes_in};
use crate::store::StoreError;
use crate::store::sql::Evidence;
use crate::store::{postgres, sqlite};
use address::Address;
use audit_log::{AuditLog, Held};
use progress::Bar;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::Sender;

/// How the bytes of every SQLite file begin.
const SQLITE: &[u8] = b"SQLite format 3\0";
/// The longest file of held checkpoints that is read, in bytes.
const MAX_HELD: usize = 16 << 20;

/// What is printed, and how the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Both verdicts, each problem by name, what it was checked with.
    pub text: String,
    /// 0 nothing altered; 1 something altered or missing; 2 it could not be checked.
    pub code: u8,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
enum Unchecked {
    #[error(
        "no key was given: pass --key with the log's public key (name+hash+base64) or a file that holds it, \
             had from somewhere else than this file"
    )]
    NoKey,
    #[error("{0:?} is neither a public key (name+hash+base64) nor a file that holds one: {1}")]
    Key(String, String),
    #[error("{path}: {why}", path = named(.0), why = .1)]
    File(PathBuf, String),
}

/// What to check with.
#[derive(Default)]
pub struct How {
    /// The log's public keys as text, or files that hold them.
    pub keys: Vec<String>,
    /// Checkpoints held elsewhere: files with one or more in them (a mail, a pull request's text), the notes
    /// themselves, or `-` for what is pasted in.
    pub against: Vec<PathBuf>,
    /// The bearer token for a log's address.
    pub token: Option<String>,
    /// Further authorities for a log's address, PEM.
    pub ca_file: Option<PathBuf>,
    /// API servers' own audit logs, had from where the broker's operator cannot write.
    pub audit_logs: Vec<PathBuf>,
}

/// Checks the store (a `SQLite` file, or a PostgreSQL database's address), the export, or the log at `path`, an
/// address that begins with http.
///
/// A completeness that has holes does not fail it: they are the log's own words, and are printed.
pub async fn verify(path: &Path, how: &How) -> Said {
    match check(path, how).await {
        Ok((what, judged, cut_off)) => {
            let complete = judged.report.completeness.missing_total == 0;
            let whole = judged.report.integrity() == Integrity::Whole && complete && cut_off.is_none();
            let mut text = format!("{}: {what}\n{judged}", named(path));
            if let Some(why) = cut_off {
                text += "it could not be read to its end: ";
                text += &why;
                text.push('\n');
            }
            Said {
                text,
                code: u8::from(!whole),
            }
        }
        Err(why) => Said {
            text: format!("not checked: {why}\n"),
            code: 2,
        },
    }
}

async fn check(path: &Path, how: &How) -> Result<(String, Judged, Option<String>), Unchecked> {
    if how.keys.is_empty() {
        return Err(Unchecked::NoKey);
    }
    let keys = how
        .keys
        .iter()
        .map(|key| read_keys(key))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let held = how
        .against
        .iter()
        .map(|given| read_held(given))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let audit_log = read_audit_logs(&how.audit_logs)?;
    if let Some(url) = path
        .to_str()
        .filter(|text| text.starts_with("http://") || text.starts_with("https://"))
    {
        let failed = |why: String| Unchecked::File(path.to_owned(), why);
        let address = Address::new(url, how.token.clone(), how.ca_file.as_deref()).map_err(failed)?;
        let note = address.checkpoint().await.map_err(failed)?;
        let (judged, cut_off) = address
            .judge(note, keys, held, audit_log.as_ref())
            .await
            .map_err(|error| failed(chain(&error)))?;
        return Ok(("a log, by its address".to_owned(), judged, cut_off));
    }
    let database = path.to_str().filter(|text| is_database(text));
    let start = match database {
        Some(_) => vec![],
        None => read_start(path)?,
    };
    let refused = |error: StoreError| Unchecked::File(path.to_owned(), chain(&error));
    if database.is_some() || start.starts_with(SQLITE) {
        let opened = match database {
            Some(address) => postgres::evidence(address).await,
            None => sqlite::evidence(path).await,
        };
        let mut evidence = opened.map_err(refused)?;
        let store = async |pieces: &Sender<Piece>, here: Option<&mut Held>| {
            let fed = feed(&mut evidence, pieces, here).await;
            fed.map_err(|error| chain(&error))
        };
        let (judged, cut_off) = check_segments(keys, held, audit_log, store)
            .await
            .map_err(refused)?;
        return Ok(("a broker's store".to_owned(), judged, cut_off));
    }
    if start.starts_with(archive::MAGIC) {
        let failed = |why: String| Unchecked::File(path.to_owned(), why);
        let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
        let mut all = Archive::open(BufReader::new(file)).map_err(|error| failed(error.to_string()))?;
        let log = async |pieces: &Sender<Piece>, here: Option<&mut Held>| {
            let fed = feed_archive(&mut all, pieces, here).await;
            fed.map_err(|error| error.to_string())
        };
        let (judged, cut_off) = check_segments(keys, held, audit_log, log)
            .await
            .map_err(refused)?;
        return Ok(("the export of a log".to_owned(), judged, cut_off));
    }
    if audit_log.is_some() {
        let why = "the export of a grant or an entry holds too little to be compared with an audit log: check the log's \
                   export, the store or the log's address";
        return Err(Unchecked::File(path.to_owned(), why.to_owned()));
    }
    let bytes = read_bounded(path, MAX_BUNDLE)?;
    let bundle =
        Bundle::parse(&bytes).map_err(|error| Unchecked::File(path.to_owned(), error.to_string()))?;
    let what = match (bundle.grant, bundle.entries.as_slice()) {
        (Some(grant), _) => format!("the export of grant {grant}"),
        (None, [only]) => format!("the export of entry {}", only.index),
        (None, several) => format!("the export of {} entries", several.len()),
    };
    Ok((what, judge_bundle(&keys, &held, &bundle), None))
}

/// Is it the address of a PostgreSQL database?
fn is_database(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// What is checked, in words: an address without its password.
fn named(path: &Path) -> String {
    let text = path.display().to_string();
    if !is_database(&text) {
        return text;
    }
    let Ok(mut url) = url::Url::parse(&text) else {
        return "the database".to_owned();
    };
    url.set_query(None);
    let _ = url.set_password(None);
    url.to_string()
}

/// Judges a log that comes by its segments. What cannot be read to its end is damage, and is said beside what the
/// part that can be read shows.
async fn check_segments(
    keys: Vec<VerifierKey>,
    held: Vec<String>,
    audit_log: Option<AuditLog>,
    feed: impl AsyncFnOnce(&Sender<Piece>, Option<&mut Held>) -> Result<(), String>,
) -> Result<(Judged, Option<String>), StoreError> {
    let mut cut_off = None;
    let mut here = audit_log.as_ref().map(|_| Held::default());
    let mut judged = judge_stream(keys, held, async |pieces| {
        for (size, root) in audit_log.iter().flat_map(|log| &log.heads) {
            send(&pieces, Piece::Carried(*size, *root)).await;
        }
        cut_off = feed(&pieces, here.as_mut()).await.err();
        Ok::<(), StoreError>(())
    })
    .await?;
    if let (Some(log), Some(here)) = (&audit_log, &here) {
        let (missing, total) = here.missing(log);
        judged.report.completeness.missing = missing;
        judged.report.completeness.missing_total = total as u64;
        judged.compared = Some(here.compared(log));
    }
    Ok((judged, cut_off))
}

async fn feed_archive(
    all: &mut Archive<impl std::io::Read>,
    pieces: &Sender<Piece>,
    mut here: Option<&mut Held>,
) -> Result<(), archive::ArchiveError> {
    let note = all.checkpoint.clone();
    let size = SignedCheckpoint::parse(&note).map_or(0, |signed| signed.checkpoint().size);
    send(pieces, Piece::Checkpoint(note)).await;
    let mut bar = Bar::of(size);
    while let Some((row, bytes)) = all.segment()? {
        if let (Some(here), Ok(open)) = (&mut here, ledger::open(&bytes)) {
            here.look(&open);
        }
        let filed = true;
        send(pieces, Piece::Segment { row, bytes, filed }).await;
        bar.at(row);
    }
    Ok(())
}

async fn feed(
    evidence: &mut Evidence,
    pieces: &Sender<Piece>,
    mut here: Option<&mut Held>,
) -> Result<(), StoreError> {
    let mut size = 0;
    for note in evidence.checkpoints().await? {
        size = SignedCheckpoint::parse(&note).map_or(size, |signed| signed.checkpoint().size.max(size));
        send(pieces, Piece::Checkpoint(note)).await;
    }
    let mut bar = Bar::of(size);
    let filed = evidence.filed().await?;
    let mut pending = evidence.segment_after(None).await?;
    while let Some((row, bytes)) = pending {
        pending = evidence.segment_after(Some(row)).await?;
        let end = pending.as_ref().map_or(u64::MAX, |(next, _)| *next);
        // A segment that cannot be opened is the judge's to name.
        if let (Some(here), Ok(open)) = (&mut here, ledger::open(&bytes)) {
            here.look(&open);
        }
        let filed = filed
            .as_ref()
            .is_none_or(|filed| filed.range(row..end).next().is_some());
        send(pieces, Piece::Segment { row, bytes, filed }).await;
        bar.at(row);
    }
    Ok(())
}

fn read_audit_logs(files: &[PathBuf]) -> Result<Option<AuditLog>, Unchecked> {
    let mut log = AuditLog::default();
    for file in files {
        log.add(file)
            .map_err(|error| Unchecked::File(file.clone(), error.to_string()))?;
    }
    Ok((!files.is_empty()).then_some(log))
}

/// The notes of one `--against`. A file without any is handed on whole, so that it is named as none.
fn read_held(given: &Path) -> Result<Vec<String>, Unchecked> {
    let text = match given.to_str() {
        Some(note) if note.contains('\n') => note.to_owned(),
        Some("-") => {
            let pasted = read_all(std::io::stdin().lock(), given, MAX_HELD)?;
            String::from_utf8_lossy(&pasted).into_owned()
        }
        _ => String::from_utf8_lossy(&read_bounded(given, MAX_HELD)?).into_owned(),
    };
    let notes = notes_in(&text);
    Ok(if notes.is_empty() { vec![text] } else { notes })
}

/// A key as text, or every line of a file of keys.
fn read_keys(given: &str) -> Result<Vec<VerifierKey>, Unchecked> {
    let problem = match given.trim().parse::<VerifierKey>() {
        Ok(key) => return Ok(vec![key]),
        Err(error) => error.to_string(),
    };
    let path = Path::new(given);
    if !path.is_file() {
        return Err(Unchecked::Key(given.to_owned(), problem));
    }
    let bytes = read_bounded(path, MAX_NOTE)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<VerifierKey> = lines
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|error: crate::ledger::KeyError| Unchecked::Key(given.to_owned(), error.to_string()))?;
    if keys.is_empty() {
        Err(Unchecked::Key(given.to_owned(), "the file is empty".to_owned()))
    } else {
        Ok(keys)
    }
}

fn read_start(path: &Path) -> Result<Vec<u8>, Unchecked> {
    let failed = |error: std::io::Error| Unchecked::File(path.to_owned(), error.to_string());
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut start = vec![];
    file.take(SQLITE.len().max(archive::MAGIC.len()) as u64)
        .read_to_end(&mut start)
        .map_err(failed)?;
    Ok(start)
}

fn read_bounded(path: &Path, bound: usize) -> Result<Vec<u8>, Unchecked> {
    let file =
        std::fs::File::open(path).map_err(|error| Unchecked::File(path.to_owned(), error.to_string()))?;
    read_all(file, path, bound)
}

fn read_all(from: impl std::io::Read, path: &Path, bound: usize) -> Result<Vec<u8>, Unchecked> {
    let failed = |why: String| Unchecked::File(path.to_owned(), why);
    let mut bytes = vec![];
    from.take(bound as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    if bytes.len() > bound {
        Err(failed(format!("it is longer than {bound} bytes")))
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::broker::export::export;
    use crate::clock::{ManualClock, Time};
    use crate::domain::entry_kind::EntryKind;
    use crate::domain::fixture::action;
    use crate::domain::grant::{Grant, GrantState};
    use crate::domain::person::Person;
    use crate::domain::request::{Approval, ApprovalProof, Approved, Ask, Request};
    use crate::domain::transition::{About, ActionRow, Transition, Write, record};
    use crate::identity::flow::approval_nonce;
    use crate::ids::{ApprovalId, GrantId};
    use crate::ledger::{HEADER_LEN, Signer};
    use crate::store::Store;
    use crate::store::sqlite::SqliteStore;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use chrono::TimeDelta;
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::{Value, json};
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
    use std::sync::Arc;

    const ISSUER: &str = "https://sign-in.example.test";

    async fn verify(path: &Path, keys: &[String], against: &[PathBuf]) -> Said {
        let how = How {
            keys: keys.to_vec(),
            against: against.to_vec(),
            ..How::default()
        };
        super::verify(path, &how).await
    }

    pub(crate) fn now() -> Time {
        "2026-03-01T10:00:00Z".parse().unwrap()
    }

    pub(crate) fn person(subject: &str) -> Person {
        Person {
            person_claim: format!("E-{subject}"),
            issuer: ISSUER.to_owned(),
            subject: subject.to_owned(),
            name: subject.to_owned(),
            email: None,
            email_verified: false,
            groups: vec![],
            forge_login: None,
        }
    }

    fn request() -> Request {
        let ask = Ask {
            requester: person("oncall"),
            team: "payments".to_owned(),
            cluster: "demo".to_owned(),
            cluster_uid: "uid".to_owned(),
            namespaces: vec!["payments".to_owned()],
            profile: "workloads".to_owned(),
            profile_digest: "00".repeat(32),
            cluster_role: "breakglass-workloads".to_owned(),
            rules: json!([]),
            duration_s: 1_800,
            reason: "the queue does not drain".to_owned(),
            incident: None,
            extends: None,
            approvals_needed: 1,
            outside_needed: 0,
        };
        Request::file(ask, now(), TimeDelta::hours(1))
    }

    /// An approval signed by the provider's key `signer`, for `hash`.
    fn approval(by: &str, hash: &str, signer: &SigningKey) -> Approval {
        let (salt, mut bytes) = ([9; 32], [0; 32]);
        hex::decode_to_slice(hash, &mut bytes).unwrap();
        let made = now().timestamp();
        let claims = json!({"iss": ISSUER, "aud": "breakglass", "sub": by, "iat": made, "exp": made + 600,
            "auth_time": made - 30, "nonce": approval_nonce(&bytes, &salt)});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!(
            "{}.{}",
            part(&json!({"alg": "EdDSA", "kid": "k1"})),
            part(&claims)
        );
        let signature = URL_SAFE_NO_PAD.encode(signer.sign(text.as_bytes()).to_bytes());
        let x = URL_SAFE_NO_PAD.encode(provider().verifying_key().as_bytes());
        Approval {
            id: ApprovalId::new(),
            by: person(by),
            outside: false,
            at: now(),
            duration_s: 1_800,
            request_hash: hash.to_owned(),
            proof: ApprovalProof {
                id_token: format!("{text}.{signature}"),
                jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k1", "use": "sig"}),
                salt: hex::encode(salt),
                issuer: ISSUER.to_owned(),
                client_id: "breakglass".to_owned(),
            },
        }
    }

    fn grant(request: &Request, id: GrantId) -> Grant {
        Grant {
            id,
            request: request.id,
            requester: request.ask.requester.clone(),
            approvers: vec![person("approver")],
            team: "payments".to_owned(),
            cluster: "demo".to_owned(),
            cluster_uid: "uid".to_owned(),
            namespaces: vec!["payments".to_owned()],
            profile: "workloads".to_owned(),
            cluster_role: "breakglass-workloads".to_owned(),
            rules: json!([]),
            reason: "the queue does not drain".to_owned(),
            incident: None,
            duration_s: 1_800,
            account: "breakglass-workloads-1".to_owned(),
            approved_at: now(),
            shelf_until: now() + TimeDelta::minutes(30),
            ready_at: None,
            active_since: None,
            ends_at: None,
            reveals: vec![],
            ending: None,
            ended_at: None,
            first_change_at: None,
            state: GrantState::Provisioning,
            version: 0,
        }
    }

    /// An emergency in `store`: filed, approved as `approve` makes it, acted, told. Returns its grant and
    /// the head after the approval.
    pub(crate) async fn fill(
        store: &dyn Store,
        approve: impl FnOnce(&Request) -> Approval,
    ) -> (GrantId, String) {
        let filed = request();
        let about = About::request(&filed);
        let facts = json!({"request": filed, "hash": filed.hash()});
        let entry = record(EntryKind::RequestFiled, now(), about.clone(), "asked", facts);
        store
            .commit(Transition::new(entry).write(Write::NewRequest(filed.clone())))
            .await
            .unwrap();

        let given = approve(&filed);
        let facts = json!({"approval": given, "hash": filed.hash()});
        let id = GrantId::new();
        let grant = grant(&filed, id);
        let honest = approval("approver", &filed.hash(), &provider());
        let Ok(Approved::Enough { request, .. }) = filed.approve(honest, id) else {
            panic!("one is enough")
        };
        let about = About {
            grant: Some(id),
            ..about
        };
        let entry = record(EntryKind::RequestApproved, now(), about, "approved", facts);
        let write = Write::Request {
            expected: "pending",
            new: request,
        };
        store
            .commit(
                Transition::new(entry)
                    .write(write)
                    .write(Write::NewGrant(grant.clone())),
            )
            .await
            .unwrap();
        let early = store.head().await.unwrap().checkpoint;

        let facts = json!({"checkpoint": early});
        let left = record(
            EntryKind::CheckpointPublished,
            now(),
            About::grant(&grant),
            "left the house",
            facts,
        );
        store.commit(Transition::new(left)).await.unwrap();
        for batch in 0..3 {
            let event = |n: i32| {
                let says = format!("scaled payments/web-{batch}-{n}");
                let facts = json!({"n": n, "action": {"class": "change", "flags": [], "mutates": true},
                    "event": {"verb": "patch", "requestObject": {"spec": {"replicas": n}}}});
                let mut entry = record(EntryKind::AuditEvent, now(), About::grant(&grant), says, facts);
                entry.action = Some(Box::new(ActionRow {
                    grant: Some(id),
                    mutation: true,
                    object: format!("Deployment payments/web-{batch}-{n}"),
                    ..action("change")
                }));
                entry
            };
            store
                .commit(Transition::batch((0..4).map(event).collect()).unwrap())
                .await
                .unwrap();
        }
        (id, early)
    }

    /// The approval that the approver really gave.
    pub(crate) fn honest(filed: &Request) -> Approval {
        approval("approver", &filed.hash(), &provider())
    }

    fn provider() -> SigningKey {
        SigningKey::from_bytes(&[1; 32])
    }

    struct Log {
        folder: tempfile::TempDir,
        store: SqliteStore,
        grant: GrantId,
        /// The head after the request was approved.
        early: String,
    }

    impl Log {
        /// A real store with an emergency in it: filed, approved as `approve` makes it, acted, told.
        async fn filled(approve: impl FnOnce(&Request) -> Approval) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let signer = Arc::new(Signer::from_seed("log.example.test", [7; 32]).unwrap());
            let clock = Arc::new(ManualClock::at(now()));
            let store = SqliteStore::open(&folder.path().join("breakglass.db"), clock, signer)
                .await
                .unwrap();
            let (grant, early) = fill(&store, approve).await;
            Self {
                folder,
                store,
                grant,
                early,
            }
        }

        async fn honest() -> Self {
            Self::filled(honest).await
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("breakglass.db")
        }

        fn key() -> Vec<String> {
            vec![
                Signer::from_seed("log.example.test", [7; 32])
                    .unwrap()
                    .verifier_key()
                    .to_string(),
            ]
        }

        fn keep(&self, name: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        async fn verify(&self, against: &[PathBuf]) -> Said {
            verify(&self.path(), &Self::key(), against).await
        }

        /// A hand on the file that the broker does not see.
        async fn tamper(&self) -> SqliteConnection {
            SqliteConnectOptions::new()
                .filename(self.path())
                .connect()
                .await
                .unwrap()
        }

        async fn replace(&self, first: i64, bytes: Vec<u8>) {
            let mut hand = self.tamper().await;
            let done = sqlx::query("UPDATE segments SET bytes = ? WHERE first = ?")
                .bind(bytes)
                .bind(first);
            assert_eq!(done.execute(&mut hand).await.unwrap().rows_affected(), 1);
        }

        async fn bytes(&self, first: u64) -> Vec<u8> {
            self.store.segment_of(first).await.unwrap().unwrap().bytes
        }
    }

    #[tokio::test]
    async fn an_honest_store_and_its_export_pass() {
        let log = Log::honest().await;
        let early = log.keep("early.txt", &log.early);
        let said = log.verify(std::slice::from_ref(&early)).await;
        assert_eq!(said.code, 0, "{}", said.text);
        for words in ["integrity: whole", "approvals: 1 hold, 0 fail", "no hole", ISSUER] {
            assert!(said.text.contains(words), "{words:?} is not in {}", said.text);
        }
        let key = Log::key()[0].parse().unwrap();
        let bundle = export(&log.store, &[key], log.grant).await.unwrap();
        assert_eq!(
            bundle.entries.len(),
            15,
            "filed, approved, published, and twelve actions"
        );
        let file = log.keep("grant.bgx", &bundle.to_json());
        let said = verify(&file, &Log::key(), &[early]).await;
        assert_eq!(said.code, 0, "{}", said.text);
        assert!(
            said.text.contains("approvals: 1 hold") && said.text.contains("integrity: whole"),
            "{}",
            said.text
        );
    }

    #[tokio::test]
    async fn the_api_servers_own_log_shows_what_the_operator_left_out() {
        use crate::broker::canary::nonce_with;
        let log = Log::honest().await;
        let head = SignedCheckpoint::parse(&log.store.head().await.unwrap().checkpoint).unwrap();
        let (size, root) = (head.checkpoint().size, head.checkpoint().root);
        let event = |user: &str, name: &str| {
            json!({"auditID": name, "stage": "ResponseComplete", "verb": "get", "requestURI": format!("/x/{name}"),
                "user": {"username": user}, "objectRef": {"name": name}, "stageTimestamp": now()})
            .to_string()
        };
        let check = async |lines: &[String]| {
            let how = How {
                keys: Log::key(),
                audit_logs: vec![log.keep("audit.log", &lines.join("\n"))],
                ..How::default()
            };
            super::verify(&log.path(), &how).await
        };
        let canary = |size, root| event(crate::config::BROKER_USER, &nonce_with(Some((size, root))));
        let good = check(&[canary(size, root)]).await;
        assert_eq!(good.code, 0, "{}", good.text);
        assert!(
            good.text.contains("1 heads of this log carried by canaries"),
            "{}",
            good.text
        );
        let forked = check(&[canary(3, [9; 32])]).await;
        assert!(
            forked.code == 1 && forked.text.contains("fork: "),
            "{}",
            forked.text
        );
        let rolled_back = check(&[canary(size + 5, root)]).await;
        assert!(
            rolled_back.code == 1 && rolled_back.text.contains("rollback: "),
            "{}",
            rolled_back.text
        );
        let of_a_grant = event(
            "system:serviceaccount:breakglass-grants:breakglass-x-1",
            "left-out",
        );
        let missing = check(&[canary(size, root), of_a_grant]).await;
        assert_eq!(missing.code, 1, "{}", missing.text);
        for words in [
            "integrity: whole",
            "completeness: BROKEN, 1 events of grants",
            "/x/left-out",
        ] {
            assert!(
                missing.text.contains(words),
                "{words:?} is not in {}",
                missing.text
            );
        }
    }

    #[tokio::test]
    async fn a_flipped_byte_is_found_and_named() {
        let log = Log::honest().await;
        let mut bytes = log.bytes(7).await;
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
        log.replace(7, bytes).await;
        let said = log.verify(&[]).await;
        assert_eq!(said.code, 1, "{}", said.text);
        assert!(
            said.text
                .contains("segment-damaged: the segment that begins at entry 7"),
            "{}",
            said.text
        );
    }

    #[tokio::test]
    async fn a_cut_tail_shows_against_a_held_checkpoint() {
        let log = Log::honest().await;
        let held = log.keep("held.txt", &log.store.head().await.unwrap().checkpoint);
        let mut hand = log.tamper().await;
        sqlx::query("DELETE FROM segments WHERE first >= 2")
            .execute(&mut hand)
            .await
            .unwrap();
        let cut = log.verify(&[]).await;
        assert_eq!(cut.code, 1, "{}", cut.text);
        assert!(cut.text.contains("cut-tail"), "{}", cut.text);
        // A careful hand also puts an old checkpoint back: only what lies elsewhere tells.
        sqlx::query("UPDATE ledger_head SET checkpoint = ?, size = 2")
            .bind(&log.early)
            .execute(&mut hand)
            .await
            .unwrap();
        assert_eq!(log.verify(&[]).await.code, 0);
        let said = log.verify(&[held]).await;
        assert_eq!(said.code, 1, "{}", said.text);
        assert!(
            said.text.contains("rollback") && said.text.contains("of size 15"),
            "{}",
            said.text
        );
    }

    #[tokio::test]
    async fn reordered_segments_are_found_and_named() {
        let log = Log::honest().await;
        let (one, two) = (log.bytes(3).await, log.bytes(7).await);
        log.replace(3, two).await;
        log.replace(7, one).await;
        let said = log.verify(&[]).await;
        assert_eq!(said.code, 1, "{}", said.text);
        assert!(
            said.text
                .contains("the row of the segment that begins at entry 3"),
            "{}",
            said.text
        );
    }

    #[tokio::test]
    async fn reordered_entries_are_found_and_named_although_the_checksum_was_mended() {
        let log = Log::honest().await;
        let mut bytes = log.bytes(3).await;
        let open = ledger::open(&bytes).unwrap();
        let (one, two) = (
            open.payload(0).unwrap().to_vec(),
            open.payload(2).unwrap().to_vec(),
        );
        assert_eq!(one.len(), two.len());
        let body_at = HEADER_LEN + 32 * open.count() as usize;
        let mut body = zstd::decode_all(&bytes[body_at..]).unwrap();
        let place = |payload: &[u8]| {
            body.windows(payload.len())
                .position(|found| found == payload)
                .unwrap()
        };
        let (first, second) = (place(&one), place(&two));
        body[first..first + one.len()].copy_from_slice(&two);
        body[second..second + two.len()].copy_from_slice(&one);
        bytes.truncate(body_at);
        bytes.extend(zstd::encode_all(body.as_slice(), 3).unwrap());
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[..24]);
        crc.update(&bytes[28..]);
        bytes[24..28].copy_from_slice(&crc.sum().to_be_bytes());
        log.replace(3, bytes).await;
        let said = log.verify(&[]).await;
        assert_eq!(said.code, 1, "{}", said.text);
        assert!(
            said.text.contains("entry-moved") && said.text.contains("at index 3"),
            "{}",
            said.text
        );
        assert!(said.text.contains("what was entered at index 5"), "{}", said.text);
    }

    #[tokio::test]
    async fn approvals_that_the_provider_did_not_sign_for_this_request_are_named() {
        let own = provider();
        let made_up =
            Log::filled(|filed| approval("approver", &filed.hash(), &SigningKey::from_bytes(&[2; 32]))).await;
        let other = Log::filled(|_| approval("approver", &"ab".repeat(32), &own)).await;
        let themselves = Log::filled(|filed| approval("oncall", &filed.hash(), &own)).await;
        for (log, why) in [
            (made_up, "the provider's signed token does not hold"),
            (other, "but the request that was filed has"),
            (themselves, "the requester approved their own request"),
        ] {
            let said = log.verify(&[]).await;
            assert_eq!(said.code, 1, "{}", said.text);
            assert!(
                said.text
                    .contains("approval: the approval in entry 1 does not hold"),
                "{}",
                said.text
            );
            assert!(said.text.contains(why), "{}", said.text);
        }
    }

    #[tokio::test]
    async fn an_altered_export_is_named() {
        let log = Log::honest().await;
        let key = Log::key()[0].parse().unwrap();
        let bundle = export(&log.store, &[key], log.grant).await.unwrap();
        let file = log.keep("grant.bgx", &bundle.to_json().replacen("web-1-2", "web-1-3", 1));
        let said = verify(&file, &Log::key(), &[]).await;
        assert_eq!(said.code, 1, "{}", said.text);
        assert!(said.text.contains("payload-altered"), "{}", said.text);
    }

    #[tokio::test]
    async fn without_a_key_or_a_ledger_nothing_is_called_whole() {
        let log = Log::honest().await;
        let no_key = verify(&log.path(), &[], &[]).await;
        assert_eq!(no_key.code, 2);
        assert!(no_key.text.contains("--key"), "{}", no_key.text);
        let other = Signer::from_seed("log.example.test", [8; 32])
            .unwrap()
            .verifier_key()
            .to_string();
        assert_eq!(verify(&log.path(), &[other], &[]).await.code, 1);
        let text = log.keep("notes.txt", "not a ledger");
        assert_eq!(verify(&text, &Log::key(), &[]).await.code, 2);
        assert_eq!(
            verify(&log.folder.path().join("gone.db"), &Log::key(), &[])
                .await
                .code,
            2
        );
        let empty = log.folder.path().join("other.db");
        let options = SqliteConnectOptions::new()
            .filename(&empty)
            .create_if_missing(true);
        let mut hand = options.connect().await.unwrap();
        sqlx::query("CREATE TABLE t (x)")
            .execute(&mut hand)
            .await
            .unwrap();
        let said = verify(&empty, &Log::key(), &[]).await;
        assert_eq!(said.code, 2);
        assert!(said.text.contains("not a broker's store"), "{}", said.text);
    }

    #[test]
    fn a_database_is_named_without_its_password() {
        let named = |text: &str| super::named(Path::new(text));
        assert_eq!(
            named("postgres://auditor:s3cr3t@db.example.test/b?sslmode=verify-full&password=s3cr3t"),
            "postgres://auditor@db.example.test/b"
        );
        assert_eq!(named("postgres://a:s3cr3t@db:port/b"), "the database");
        assert_eq!(named("/var/lib/breakglass.db"), "/var/lib/breakglass.db");
    }

    #[tokio::test]
    async fn the_key_may_be_a_file_and_the_file_is_only_read() {
        let log = Log::honest().await;
        let key = log.keep("log.pub", &format!("{}\n", Log::key()[0]));
        let path = log.path();
        let before = log.store.head().await.unwrap();
        let said = verify(&path, &[key.display().to_string()], &[]).await;
        assert_eq!(said.code, 0, "{}", said.text);
        assert_eq!(
            log.store.head().await.unwrap(),
            before,
            "the broker goes on as it was"
        );
    }
}
