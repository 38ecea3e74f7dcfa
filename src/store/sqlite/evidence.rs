//! A store's file as evidence: read as it lies there, without the broker's lock, never migrated,
//! never written. An auditor's copy on read-only media is read too.

use super::{corrupt, database};
use crate::store::contract::StoreError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use std::collections::BTreeSet;
use std::path::Path;

/// A store's ledger, open for reading, as it was at one moment.
#[derive(Debug)]
pub struct Evidence {
    connection: SqliteConnection,
}

impl Evidence {
    /// Opens the file and takes its state at this moment: a broker that goes on writing is not seen.
    ///
    /// # Errors
    /// It cannot be read, or it is no store of a broker.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let mut journal = path.as_os_str().to_owned();
        journal.push("-wal");
        // Without a write-ahead file nobody has it open: read it as it lies, so that neither a lock nor
        // a shared-memory file is needed beside it.
        let alone = !Path::new(&journal).exists();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .immutable(alone)
            .busy_timeout(std::time::Duration::from_secs(10));
        let mut connection = options.connect().await.map_err(database("opening the file"))?;
        sqlx::query("BEGIN")
            .execute(&mut connection)
            .await
            .map_err(database("opening the file"))?;
        let tables = sqlx::query(
            "SELECT count(*) AS n FROM sqlite_schema WHERE type = 'table' AND name IN ('segments', 'ledger_head')",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(database("reading the file"))?;
        if tables
            .try_get::<i64, _>("n")
            .map_err(database("reading the file"))?
            != 2
        {
            return Err(StoreError::Refused(
                "it is a database, but not a broker's store".to_owned(),
            ));
        }
        Ok(Self { connection })
    }

    /// The signed checkpoints stored beside the log.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn checkpoints(&mut self) -> Result<Vec<String>, StoreError> {
        let doing = "reading the ledger's head";
        let rows = sqlx::query("SELECT checkpoint FROM ledger_head")
            .fetch_all(&mut self.connection)
            .await
            .map_err(database(doing))?;
        rows.iter()
            .map(|row| row.try_get("checkpoint").map_err(database(doing)))
            .collect()
    }

    /// The indices under which filed requests are found: a hint which segments hold one. `None` when
    /// the look-up rows do not cover the log and every segment must be looked at.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn filed(&mut self) -> Result<Option<BTreeSet<u64>>, StoreError> {
        let doing = "reading the look-up rows";
        let covered = sqlx::query(
            "SELECT (SELECT count(*) FROM entries) = (SELECT coalesce(sum(count), 0) FROM segments) AS covered",
        )
        .fetch_one(&mut self.connection)
        .await;
        // Rows that cannot be read are no evidence either way: the segments are.
        if !covered.is_ok_and(|row| row.try_get::<bool, _>("covered").unwrap_or(false)) {
            return Ok(None);
        }
        let rows = sqlx::query("SELECT idx FROM entries WHERE kind = 'request-filed'")
            .fetch_all(&mut self.connection)
            .await
            .map_err(database(doing))?;
        rows.iter()
            .map(|row| {
                row.try_get::<i64, _>("idx")
                    .map(i64::unsigned_abs)
                    .map_err(database(doing))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The segment with the lowest first index above `after`, with that index as its row says it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn segment_after(&mut self, after: Option<u64>) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let doing = "reading a segment";
        let after = match after {
            None => -1,
            Some(first) => i64::try_from(first).map_err(|error| corrupt("a segment")(error.to_string()))?,
        };
        let row = sqlx::query("SELECT first, bytes FROM segments WHERE first > ? ORDER BY first LIMIT 1")
            .bind(after)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(database(doing))?;
        row.map(|row| {
            let first: i64 = row.try_get("first").map_err(database(doing))?;
            Ok((
                first.unsigned_abs(),
                row.try_get("bytes").map_err(database(doing))?,
            ))
        })
        .transpose()
    }
}
