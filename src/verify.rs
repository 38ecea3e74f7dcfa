//! `breakglass verify`: is this record whole? Offline, with the public key, without a word of the broker.

use crate::broker::verify::{Judged, Piece, judge_bundle, judge_stream, send};
use crate::ledger::bundle::MAX_BUNDLE;
use crate::ledger::checkpoint::MAX_NOTE;
use crate::ledger::{Bundle, Integrity, VerifierKey};
use crate::store::StoreError;
use crate::store::sqlite::evidence::Evidence;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// How the bytes of every SQLite file begin.
const SQLITE: &[u8] = b"SQLite format 3\0";

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
    #[error("no key was given: pass --key with the log's public key (name+hash+base64) or a file that holds it, \
             had from somewhere else than this file")]
    NoKey,
    #[error("{0:?} is neither a public key (name+hash+base64) nor a file that holds one: {1}")]
    Key(String, String),
    #[error("{0}: {1}")]
    File(PathBuf, String),
}

/// Checks the `SQLite` store or the export at `path` with `keys` (the log's public keys as text, or files
/// that hold them), against checkpoints held elsewhere.
///
/// A completeness that has holes does not fail it: they are the log's own words, and are printed.
pub async fn verify(path: &Path, keys: &[String], against: &[PathBuf]) -> Said {
    match check(path, keys, against).await {
        Ok((what, judged, cut_off)) => {
            let whole = judged.report.integrity() == Integrity::Whole && cut_off.is_none();
            let mut text = format!("{}: {what}\n{judged}", path.display());
            if let Some(why) = cut_off {
                text.push_str(&format!("the file is damaged and could not be read to its end: {why}\n"));
            }
            Said { text, code: u8::from(!whole) }
        }
        Err(why) => Said { text: format!("not checked: {why}\n"), code: 2 },
    }
}

async fn check(
    path: &Path,
    keys: &[String],
    against: &[PathBuf],
) -> Result<(String, Judged, Option<String>), Unchecked> {
    if keys.is_empty() {
        return Err(Unchecked::NoKey);
    }
    let keys = keys.iter().map(|key| read_keys(key)).collect::<Result<Vec<_>, _>>()?.concat();
    let held = against
        .iter()
        .map(|file| read_bounded(file, MAX_NOTE))
        .map(|text| text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        .collect::<Result<Vec<_>, _>>()?;
    let start = read_start(path)?;
    if start == SQLITE {
        let (judged, cut_off) = check_store(path, keys, held).await?;
        return Ok(("a broker's store".to_owned(), judged, cut_off));
    }
    let bytes = read_bounded(path, MAX_BUNDLE)?;
    let bundle = Bundle::parse(&bytes).map_err(|error| Unchecked::File(path.to_owned(), error.to_string()))?;
    let what = bundle.grant.map_or_else(|| "an export".to_owned(), |grant| format!("the export of grant {grant}"));
    Ok((what, judge_bundle(&keys, &held, &bundle), None))
}

async fn check_store(
    path: &Path,
    keys: Vec<VerifierKey>,
    held: Vec<String>,
) -> Result<(Judged, Option<String>), Unchecked> {
    let refused = |error: StoreError| Unchecked::File(path.to_owned(), chain(&error));
    let mut evidence = Evidence::open(path).await.map_err(refused)?;
    let mut cut_off = None;
    let judged = judge_stream(keys, held, async |pieces| {
        // Past this point the file is a store: what cannot be read any more is damage, and is said
        // beside what the readable part shows.
        if let Err(error) = feed(&mut evidence, &pieces).await {
            cut_off = Some(chain(&error));
        }
        Ok::<(), StoreError>(())
    })
    .await
    .map_err(refused)?;
    Ok((judged, cut_off))
}

async fn feed(evidence: &mut Evidence, pieces: &tokio::sync::mpsc::Sender<Piece>) -> Result<(), StoreError> {
    for note in evidence.checkpoints().await? {
        send(pieces, Piece::Checkpoint(note)).await;
    }
    let filed = evidence.filed().await?;
    let mut pending = evidence.segment_after(None).await?;
    while let Some((row, bytes)) = pending {
        pending = evidence.segment_after(Some(row)).await?;
        let end = pending.as_ref().map_or(u64::MAX, |(next, _)| *next);
        let filed = filed.as_ref().is_none_or(|filed| filed.range(row..end).next().is_some());
        send(pieces, Piece::Segment { row, bytes, filed }).await;
    }
    Ok(())
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
    if keys.is_empty() { Err(Unchecked::Key(given.to_owned(), "the file is empty".to_owned())) } else { Ok(keys) }
}

fn read_start(path: &Path) -> Result<Vec<u8>, Unchecked> {
    let failed = |error: std::io::Error| Unchecked::File(path.to_owned(), error.to_string());
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut start = vec![];
    file.take(SQLITE.len() as u64).read_to_end(&mut start).map_err(failed)?;
    Ok(start)
}

fn read_bounded(path: &Path, bound: usize) -> Result<Vec<u8>, Unchecked> {
    let failed = |why: String| Unchecked::File(path.to_owned(), why);
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = vec![];
    file.take(bound as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() > bound { Err(failed(format!("it is longer than {bound} bytes"))) } else { Ok(bytes) }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    crate::worker::jobs::chain(error)
}
