//! A store's file as evidence: without the broker's lock. An auditor's copy on read-only media is read too.

use crate::store::contract::StoreError;
use crate::store::sql::Evidence;
use crate::store::sql::rows::database;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::path::Path;

/// Opens the file and takes its state at this moment: a broker that goes on writing is not seen.
///
/// # Errors
/// It cannot be read, or it is no store of a broker.
pub async fn evidence(path: &Path) -> Result<Evidence, StoreError> {
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
    Evidence::of(
        Box::new(connection),
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('segments', 'ledger_head')",
    )
    .await
}
