//! Whether what SQLite wrote may still be believed.
//!
//! After a failed fsync nobody knows what the disk keeps: the system drops the pages that it could not write, or serves
//! them from memory as if they were there, and the next fsync succeeds without them. A commit that was acknowledged on
//! top of that would be lost with the power. So nothing more is written by this process, and the next one begins by
//! writing what it finds once more ([`settle`]).

use crate::store::contract::StoreError;
use crate::store::sql::rows::database;
use sqlx::sqlite::SqliteConnection;
use std::path::Path;
use std::sync::OnceLock;

/// `SQLITE_IOERR_FSYNC` and `SQLITE_IOERR_DIR_FSYNC`, as the driver gives them.
const NOT_SYNCED: [&str; 2] = ["1034", "1290"];

/// Ends with the first failed fsync, for as long as the process lives.
#[derive(Debug, Default)]
pub(super) struct Trust(OnceLock<String>);

impl Trust {
    /// Why nothing is written any more, in words; `None` while all is well.
    pub(super) fn halted(&self) -> Option<String> {
        self.0.get().cloned()
    }

    /// To be asked before anything is written.
    ///
    /// # Errors
    /// An fsync failed before.
    pub(super) fn holds(&self) -> Result<(), sqlx::Error> {
        match self.0.get() {
            None => Ok(()),
            Some(why) => Err(sqlx::Error::Io(std::io::Error::other(why.clone()))),
        }
    }

    /// To be shown what became of each write.
    pub(super) fn heed<T>(&self, written: &Result<T, sqlx::Error>) {
        let Err(error) = written else { return };
        if !is_not_synced(error) {
            return;
        }
        let why = format!(
            "the disk did not confirm a write ({error}), so that nobody knows what it kept; nothing more is written until \
             this service is started again"
        );
        if self.0.set(why.clone()).is_ok() {
            tracing::error!(why, "the store is halted");
        }
    }
}

fn is_not_synced(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| NOT_SYNCED.contains(&&*code))
}

/// Writes what an earlier process left beside the store's file into it, and has the disk confirm it, before anything is
/// built on it: pages whose fsync failed may be in memory alone, and are read like any other.
pub(super) async fn settle(path: &Path, writer: &mut SqliteConnection) -> Result<(), StoreError> {
    let settled: Result<(i64, i64, i64), _> = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(writer)
        .await;
    match settled {
        Ok((0, ..)) => Ok(()),
        // An auditor who reads the file meanwhile keeps no broker from starting.
        Ok(_) => {
            tracing::warn!(
                path = %path.display(),
                "the store is being read by another process: what the last broker wrote is not brought into its file yet"
            );
            Ok(())
        }
        Err(error) if is_not_synced(&error) => Err(StoreError::Refused(format!(
            "the store {}: the disk does not confirm what is written to it ({error})",
            path.display()
        ))),
        Err(error) => Err(database("bringing the last writes to the disk")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_is_no_failed_fsync_halts_nothing() {
        let trust = Trust::default();
        trust.heed(&Err::<(), _>(sqlx::Error::WorkerCrashed));
        trust.heed(&Ok(()));
        assert_eq!(trust.halted(), None);
        assert!(trust.holds().is_ok());
    }
}
