//! The connection that writes outlives whatever went wrong on it.

use super::SqliteFile;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

impl SqliteFile {
    /// Where the database failed, what comes next is written on a new connection.
    ///
    /// SQLite takes back a transaction by itself when the disk is full or fails, and the driver then waits for the
    /// end of one that is none any more: every later write would fail, also when there is room again.
    pub(super) async fn renew_if(&self, is_broken: bool, writer: &mut SqliteConnection) {
        if is_broken && let Err(error) = renew(&self.options, writer).await {
            tracing::error!(%error, "the store cannot be opened again for writing");
        }
    }
}

/// A new connection in place of this one.
pub(super) async fn renew(
    options: &SqliteConnectOptions,
    writer: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    *writer = options.connect().await?;
    Ok(())
}
