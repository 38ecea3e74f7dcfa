//! The file: this account's alone, and one broker's at a time.

use crate::store::contract::StoreError;
use std::path::Path;
use std::time::Duration;

/// Makes the file before SQLite does, for this account alone: it holds the signed tokens of approvals. The
/// files that SQLite makes beside it take its mode. A file that is there keeps the mode its operator gave it.
pub(super) fn private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(|_| ())
        .map_err(|error| {
            StoreError::Refused(format!("the store {} cannot be opened: {error}", path.display()))
        })
}

/// How long a start waits for a predecessor that is just going, or for a child of it that is just beginning: both hold
/// the lock for a moment more.
const GOING: Duration = Duration::from_secs(3);

/// Takes the lock beside the file; its text says who holds it.
pub(super) async fn lock(path: &Path) -> Result<std::fs::File, StoreError> {
    use std::io::{Read, Write};
    let beside = path.with_extension("lock");
    let refused = |why: String| StoreError::Refused(format!("the store {}: {why}", path.display()));
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&beside)
        .map_err(|error| refused(format!("{} cannot be opened: {error}", beside.display())))?;
    let begun = tokio::time::Instant::now();
    let taken = loop {
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) if begun.elapsed() < GOING => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            done => break done,
        }
    };
    match taken {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(refused(format!(
                "another broker (process {}) uses it; two on one file would tear the ledger",
                holder.trim()
            )));
        }
        Err(std::fs::TryLockError::Error(error)) => {
            return Err(refused(format!("it cannot be locked: {error}")));
        }
    }
    file.set_len(0)
        .and_then(|()| write!(file, "{}{}", std::process::id(), on_host()))
        .map_err(|error| refused(format!("{} cannot be written: {error}", beside.display())))?;
    Ok(file)
}

/// " on HOST", where the machine tells its name: two containers that share a volume both hold process 1.
fn on_host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => String::new(),
        name => format!(" on {name}"),
    }
}
