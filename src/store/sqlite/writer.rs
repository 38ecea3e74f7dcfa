//! The connection that writes outlives whatever went wrong on it.

use super::SqliteStore;
use crate::store::contract::StoreError;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnection;

impl SqliteStore {
    /// Passes `written` on; where the database failed, what comes next is written on a new connection.
    ///
    /// SQLite takes back a transaction by itself when the disk is full or fails, and the driver then waits for the
    /// end of one that is none any more: every later write would fail, also when there is room again.
    pub(super) async fn renew_after<T>(
        &self,
        writer: &mut SqliteConnection,
        written: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if matches!(written, Err(StoreError::Database { .. })) {
            match self.options.connect().await {
                Ok(fresh) => *writer = fresh,
                Err(error) => tracing::error!(%error, "the store cannot be opened again for writing"),
            }
        }
        written
    }
}
