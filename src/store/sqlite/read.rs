//! Reading back: documents by id and by filter.

use super::documents::Narrowed;
use super::{SqliteStore, database, json, ms, parse};
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::domain::request::Request;
use crate::domain::transition::ActionRow;
use crate::ids::{GrantId, RequestId};
use crate::store::contract::{FollowUpFilter, GrantFilter, RequestFilter, StoreError};
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row};
use std::collections::BTreeSet;
use std::sync::Arc;

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

    pub(super) async fn read_entered(&self, keys: &[String]) -> Result<BTreeSet<String>, StoreError> {
        let rows = sqlx::query("SELECT key FROM seen WHERE key IN (SELECT value FROM json_each(?))")
            .bind(json(&keys)?)
            .fetch_all(&self.readers)
            .await
            .map_err(database("looking for repeats"))?;
        let key = |row: &SqliteRow| row.try_get(0).map_err(database("looking for repeats"));
        rows.iter().map(key).collect()
    }

    pub(super) async fn read_requests(&self, filter: RequestFilter) -> Result<Vec<Arc<Request>>, StoreError> {
        let query = Narrowed::of("requests")
            .by("state =", filter.state)
            .by("requester =", filter.requester)
            .first("filed_at DESC, id DESC", filter.limit);
        self.list(("a request", "requests"), &self.parsed.requests, query)
            .await
    }

    pub(super) async fn read_grants(&self, filter: GrantFilter) -> Result<Vec<Arc<Grant>>, StoreError> {
        let query = Narrowed::of("grants")
            .only(filter.live, "state <> 'ended'")
            .by("requester =", filter.requester)
            .by("cluster =", filter.cluster)
            .by("approved_at >=", filter.since.map(ms))
            .first("approved_at DESC, id DESC", filter.limit);
        self.list(("a grant", "grants"), &self.parsed.grants, query).await
    }

    pub(super) async fn read_follow_ups(
        &self,
        filter: FollowUpFilter,
    ) -> Result<Vec<Arc<FollowUp>>, StoreError> {
        let query = Narrowed::of("follow_ups")
            .only(filter.open, "closed_at IS NULL")
            .by("team =", filter.team)
            .by("from_at >=", filter.since.map(ms))
            .first("from_at DESC, id DESC", filter.limit);
        self.list(("a follow-up", "follow_ups"), &self.parsed.follow_ups, query)
            .await
    }

    pub(super) async fn read_follow_ups_of(
        &self,
        requests: &[RequestId],
    ) -> Result<Vec<Arc<FollowUp>>, StoreError> {
        let mut query = QueryBuilder::new(
            "SELECT id, version FROM follow_ups
             WHERE json_extract(document, '$.request') IN (SELECT value FROM json_each(",
        );
        query.push_bind(json(&requests)?).push("))");
        self.list(("a follow-up", "follow_ups"), &self.parsed.follow_ups, query)
            .await
    }

    pub(super) async fn count_unreviewed(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT count(*) AS count FROM follow_ups WHERE json_extract(document, '$.reviewed') IS NULL",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(database("counting"))?;
        Ok(row.get::<i64, _>("count").unsigned_abs())
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
