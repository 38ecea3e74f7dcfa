//! `store`: the database.

use super::Secret;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The database that holds state and ledger.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Store {
    /// SQLite in this file. A relative path begins at the configuration's folder.
    Sqlite(PathBuf),
    /// PostgreSQL; the secret is its address, `postgres://user:password@host/database`.
    Postgres(Secret),
}
