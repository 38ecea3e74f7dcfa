//! Reading back: documents by id and by filter.

use super::narrowed::Narrowed;
use super::query::{Query, sql};
use super::rows::{index, ms, parse};
use super::{Database, SqlStore};
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::domain::request::Request;
use crate::domain::transition::ActionRow;
use crate::ids::{GrantId, RequestId};
use crate::store::contract::{FollowUpFilter, GrantFilter, RequestFilter, StoreError};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::sync::Arc;

impl<D: Database> SqlStore<D> {
    /// What the query's documents say.
    pub(super) async fn many<T: DeserializeOwned>(
        &self,
        what: &'static str,
        query: Query,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.rows("reading", query).await?;
        rows.iter().map(|row| parse(what, row.text(0)?)).collect()
    }

    pub(super) async fn one<T: DeserializeOwned>(
        &self,
        what: &'static str,
        query: Query,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.many(what, query).await?.into_iter().next())
    }

    pub(super) async fn read_entered(&self, keys: &[String]) -> Result<BTreeSet<String>, StoreError> {
        if keys.is_empty() {
            return Ok(BTreeSet::new());
        }
        let wanted = sql("SELECT key FROM seen WHERE key IN (")
            .then_list(keys)
            .then(")");
        let rows = self.rows("looking for repeats", wanted).await?;
        rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
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
        if requests.is_empty() {
            return Ok(vec![]);
        }
        let query = sql("SELECT id, version FROM follow_ups WHERE json_extract(document, '$.request') IN (")
            .then_list(requests.iter().map(ToString::to_string))
            .then(")");
        self.list(("a follow-up", "follow_ups"), &self.parsed.follow_ups, query)
            .await
    }

    pub(super) async fn count_unreviewed(&self) -> Result<u64, StoreError> {
        let query = sql("SELECT count(*) FROM follow_ups WHERE json_extract(document, '$.reviewed') IS NULL");
        let row = self.row("counting", query).await?;
        row.map_or(Ok(0), |row| row.count(0))
    }

    pub(super) async fn read_actions(
        &self,
        grant: GrantId,
        after: Option<u64>,
    ) -> Result<Vec<(u64, ActionRow)>, StoreError> {
        let query = sql(
            "SELECT entry, document FROM actions WHERE grant_id = $1 AND entry > $2
             ORDER BY received_us, entry",
        );
        let query = query.bind(grant.to_string()).bind(after.map_or(-1, index));
        let rows = self.rows("reading actions", query).await?;
        rows.iter()
            .map(|row| Ok((row.count(0)?, parse("an action", row.text(1)?)?)))
            .collect()
    }
}
