//! A database as evidence: one moment of it, read by whoever may read its tables.

use super::address;
use super::connection::MOMENT;
use crate::store::contract::StoreError;
use crate::store::sql::Evidence;
use crate::store::sql::rows::database;
use sqlx::{ConnectOptions, Executor};

/// Opens the database at that address and takes its state at this moment: a broker that goes on writing is not seen.
///
/// # Errors
/// It cannot be read, or it is no store of a broker.
pub async fn evidence(address: &str) -> Result<Evidence, StoreError> {
    let options = address::options(address)?;
    let mut connection = options
        .connect()
        .await
        .map_err(database("opening the database"))?;
    connection
        .execute(MOMENT)
        .await
        .map_err(database("opening the database"))?;
    Evidence::of(
        Box::new(connection),
        "SELECT count(*) FROM (VALUES ('segments'), ('ledger_head')) AS needed (name)
         WHERE to_regclass(name) IS NOT NULL",
    )
    .await
}
