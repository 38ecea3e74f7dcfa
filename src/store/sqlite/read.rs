//! Reading back: documents by id and by filter.

use super::{SqliteStore, database, ms, parse};
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::domain::request::Request;
use crate::domain::transition::ActionRow;
use crate::ids::GrantId;
use crate::store::contract::{FollowUpFilter, GrantFilter, RequestFilter, StoreError};
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

impl SqliteStore {
    pub(super) async fn many<T: DeserializeOwned>(
        &self,
        what: &'static str,
        sql: &'static str,
        values: &[&str],
    ) -> Result<Vec<T>, StoreError> {
        let mut query = sqlx::query(sql);
        for value in values {
            query = query.bind(*value);
        }
        let rows = query
            .fetch_all(&self.readers)
            .await
            .map_err(database("reading"))?;
        documents(what, &rows)
    }

    pub(super) async fn one<T: DeserializeOwned>(
        &self,
        what: &'static str,
        sql: &'static str,
        values: &[&str],
    ) -> Result<Option<T>, StoreError> {
        Ok(self.many(what, sql, values).await?.into_iter().next())
    }

    pub(super) async fn read_requests(&self, filter: RequestFilter) -> Result<Vec<Request>, StoreError> {
        let rows = sqlx::query(
            "SELECT document FROM requests WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR requester = ?2)
             ORDER BY filed_at DESC, id DESC LIMIT ?3",
        )
        .bind(filter.state)
        .bind(filter.requester)
        .bind(filter.limit)
        .fetch_all(&self.readers)
        .await
        .map_err(database("reading requests"))?;
        documents("a request", &rows)
    }

    pub(super) async fn read_grants(&self, filter: GrantFilter) -> Result<Vec<Grant>, StoreError> {
        let rows = sqlx::query(
            "SELECT document FROM grants WHERE (?1 = 0 OR state <> 'ended') AND (?2 IS NULL OR requester = ?2)
               AND (?3 IS NULL OR cluster = ?3) ORDER BY approved_at DESC, id DESC LIMIT ?4",
        )
        .bind(filter.live)
        .bind(filter.requester)
        .bind(filter.cluster)
        .bind(filter.limit)
        .fetch_all(&self.readers)
        .await
        .map_err(database("reading grants"))?;
        documents("a grant", &rows)
    }

    pub(super) async fn read_follow_ups(&self, filter: FollowUpFilter) -> Result<Vec<FollowUp>, StoreError> {
        let rows = sqlx::query(
            "SELECT document FROM follow_ups WHERE (?1 = 0 OR closed_at IS NULL) AND (?2 IS NULL OR team = ?2)
               AND (?3 IS NULL OR from_at >= ?3) ORDER BY from_at DESC, id DESC LIMIT ?4",
        )
        .bind(filter.open)
        .bind(filter.team)
        .bind(filter.since.map(ms))
        .bind(filter.limit)
        .fetch_all(&self.readers)
        .await
        .map_err(database("reading follow-ups"))?;
        documents("a follow-up", &rows)
    }

    pub(super) async fn read_actions(
        &self,
        grant: GrantId,
        after: Option<u64>,
    ) -> Result<Vec<(u64, ActionRow)>, StoreError> {
        let rows = sqlx::query(
            "SELECT entry, document FROM actions WHERE grant_id = ? AND entry > ?
             ORDER BY received_us, entry",
        )
        .bind(grant.to_string())
        .bind(after.map_or(-1, super::index))
        .fetch_all(&self.readers)
        .await
        .map_err(database("reading actions"))?;
        rows.iter()
            .map(|row| {
                let entry: i64 = row.get("entry");
                Ok((entry.unsigned_abs(), parse("an action", row.get("document"))?))
            })
            .collect()
    }

    pub(super) async fn read_setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await
            .map_err(database("reading a setting"))?;
        Ok(row.map(|row| row.get("value")))
    }
}

fn documents<T: DeserializeOwned>(what: &'static str, rows: &[SqliteRow]) -> Result<Vec<T>, StoreError> {
    rows.iter().map(|row| parse(what, row.get("document"))).collect()
}
