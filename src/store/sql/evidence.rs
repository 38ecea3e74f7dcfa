//! A store as evidence: read as it lies there, without a broker's lock, never migrated, never written.

use super::query::sql;
use super::rows::{corrupt, database};
use super::{Connection, Row};
use crate::store::contract::StoreError;
use std::collections::BTreeSet;

/// A store's ledger, open for reading, as it was at one moment.
pub struct Evidence {
    connection: Box<dyn Connection>,
}

impl Evidence {
    /// What is read on that connection, which sees one moment's state. `tables` counts which of `segments` and
    /// `ledger_head` are there.
    ///
    /// # Errors
    /// It cannot be read, or it is no store of a broker.
    pub(in crate::store) async fn of(
        mut connection: Box<dyn Connection>,
        tables: &'static str,
    ) -> Result<Self, StoreError> {
        let doing = "looking for a ledger";
        let rows = connection.rows(sql(tables)).await.map_err(database(doing))?;
        if rows.first().map(|row| row.int(0)).transpose()? == Some(2) {
            Ok(Self { connection })
        } else {
            Err(StoreError::Refused(
                "it is a database, but not a broker's store".to_owned(),
            ))
        }
    }

    async fn rows(&mut self, doing: &'static str, text: &'static str) -> Result<Vec<Row>, StoreError> {
        self.connection.rows(sql(text)).await.map_err(database(doing))
    }

    /// The signed checkpoints stored beside the log.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn checkpoints(&mut self) -> Result<Vec<String>, StoreError> {
        let rows = self
            .rows("reading the ledger's head", "SELECT checkpoint FROM ledger_head")
            .await?;
        rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
    }

    /// The indices under which filed requests are found: a hint which segments hold one. `None` when
    /// the look-up rows do not cover the log and every segment must be looked at.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn filed(&mut self) -> Result<Option<BTreeSet<u64>>, StoreError> {
        let doing = "reading the look-up rows";
        let both = "SELECT (SELECT count(*) FROM entries), (SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM segments)";
        // Rows that cannot be read are no evidence either way: the segments are.
        let covers = |row: &Row| row.int(0).ok() == row.int(1).ok() && row.int(0).is_ok();
        if !self
            .rows(doing, both)
            .await
            .is_ok_and(|rows| rows.first().is_some_and(covers))
        {
            return Ok(None);
        }
        let rows = self
            .rows(doing, "SELECT idx FROM entries WHERE kind = 'request-filed'")
            .await?;
        rows.iter()
            .map(|row| row.int(0).map(i64::unsigned_abs))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The segment with the lowest first index above `after`, with that index as its row says it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn segment_after(&mut self, after: Option<u64>) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let after = match after {
            None => -1,
            Some(first) => i64::try_from(first).map_err(|error| corrupt("a segment")(error.to_string()))?,
        };
        let query =
            sql("SELECT first, bytes FROM segments WHERE first > $1 ORDER BY first LIMIT 1").bind(after);
        let rows = self.connection.rows(query).await;
        let mut rows = rows.map_err(database("reading a segment"))?;
        rows.first_mut()
            .map(|row| Ok((row.int(0)?.unsigned_abs(), row.take_bytes(1)?)))
            .transpose()
    }
}
