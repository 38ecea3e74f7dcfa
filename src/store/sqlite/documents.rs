//! Documents are parsed once a version. A list reads ids and versions, and the documents it has not met yet: parsing
//! a thousand of them for every look at a page is what takes its time.

use super::{SqliteStore, database, parse};
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::domain::request::Request;
use crate::store::contract::StoreError;
use hashlink::LruCache;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row, Sqlite};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// So many of each kind are kept, those that were asked for last; a follow-up with its files is some 10 kB.
const KEPT: usize = 1_500;

/// What was parsed.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) requests: Known<Request>,
    pub(super) grants: Known<Grant>,
    pub(super) follow_ups: Known<FollowUp>,
}

/// Documents of one table by their id, with the version that was parsed.
pub(super) struct Known<T>(Mutex<LruCache<String, (i64, Arc<T>)>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl<T> fmt::Debug for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Known").field(&self.lock().len()).finish()
    }
}

impl<T> Known<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<String, (i64, Arc<T>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each of `rows` where that very version of it is known.
    fn look_up(&self, rows: &[(String, i64)]) -> Vec<Option<Arc<T>>> {
        let mut known = self.lock();
        rows.iter()
            .map(|(id, version)| {
                let (own, document) = known.get(id)?;
                (own == version).then(|| Arc::clone(document))
            })
            .collect()
    }
}

impl SqliteStore {
    /// The documents of `table` whose `id` and `version` the query selects, in its order.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        (what, table): (&'static str, &'static str),
        known: &Known<T>,
        mut query: QueryBuilder<Sqlite>,
    ) -> Result<Vec<Arc<T>>, StoreError> {
        // One moment's state: a document read later may be one that the query would not have selected.
        let mut reader = self.readers.begin().await.map_err(database("reading"))?;
        let rows = query.build().fetch_all(&mut *reader).await;
        let rows: Vec<(String, i64)> = rows
            .map_err(database("reading"))?
            .iter()
            .map(|row| (row.get("id"), row.get("version")))
            .collect();
        // A longer list would drive out what every page asks for, and itself.
        let is_kept = rows.len() <= KEPT;
        let mut found = vec![];
        for (met, (id, version)) in known.look_up(&rows).into_iter().zip(rows) {
            if let Some(document) = met {
                found.push(document);
                continue;
            }
            let document = Arc::new(document(&mut reader, what, table, &id).await?);
            if is_kept {
                known.lock().insert(id, (version, Arc::clone(&document)));
            }
            found.push(document);
        }
        reader.commit().await.map_err(database("reading"))?;
        Ok(found)
    }
}

async fn document<T: DeserializeOwned>(
    reader: &mut SqliteConnection,
    what: &'static str,
    table: &'static str,
    id: &str,
) -> Result<T, StoreError> {
    let row = QueryBuilder::<Sqlite>::new("SELECT document FROM ")
        .push(table)
        .push(" WHERE id = ")
        .push_bind(id)
        .build()
        .fetch_one(reader)
        .await
        .map_err(database("reading"))?;
    parse(what, row.get("document"))
}

/// A query of `table` that is narrowed term by term. Only what is asked for is spelled out: the planner takes an
/// index over a part of a table for the very words of that index, and none for `? IS NULL OR …`.
pub(super) struct Narrowed(QueryBuilder<Sqlite>);

impl Narrowed {
    /// The ids and versions of `table`.
    pub(super) fn of(table: &'static str) -> Self {
        Self::rows("id, version", table)
    }

    /// These columns of `table`.
    pub(super) fn rows(columns: &'static str, table: &'static str) -> Self {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(columns).push(" FROM ").push(table).push(" WHERE TRUE");
        Self(query)
    }

    /// Only where `condition` holds, if it `is` asked for.
    pub(super) fn only(mut self, is: bool, condition: &'static str) -> Self {
        if is {
            self.0.push(" AND ").push(condition);
        }
        self
    }

    /// Only where `condition` holds, if there is one.
    pub(super) fn also(self, condition: Option<&'static str>) -> Self {
        self.only(condition.is_some(), condition.unwrap_or_default())
    }

    /// Only where `condition` (which ends in its operator) holds for that value, if there is one.
    pub(super) fn by<'t, V>(mut self, condition: &'static str, value: Option<V>) -> Self
    where
        V: sqlx::Encode<'t, Sqlite> + sqlx::Type<Sqlite>,
    {
        if let Some(value) = value {
            self.0.push(" AND ").push(condition).push(" ").push_bind(value);
        }
        self
    }

    /// Only entries that come after entry `index` in a list that is newest first: by when it happened, where that is
    /// the order.
    pub(super) fn before(mut self, timed: bool, index: Option<i64>) -> Self {
        match index {
            None => {}
            Some(index) if timed => {
                self.0
                    .push(" AND (entries.at, entries.idx) < (SELECT at, idx FROM entries WHERE idx = ")
                    .push_bind(index)
                    .push(")");
            }
            Some(index) => {
                self.0.push(" AND entries.idx < ").push_bind(index);
            }
        }
        self
    }

    /// Only where `column` has one of these values, if there are any.
    pub(super) fn among(mut self, column: &'static str, values: &[&'static str]) -> Self {
        match values {
            [] => {}
            [one] => {
                self.0.push(" AND ").push(column).push(" = ").push_bind(*one);
            }
            several => {
                // The `+` keeps the planner from collecting and sorting all rows of each value.
                let column = column.trim_start_matches('+');
                self.0.push(" AND +").push(column).push(" IN (");
                let mut list = self.0.separated(", ");
                for value in several {
                    list.push_bind(*value);
                }
                self.0.push(")");
            }
        }
        self
    }

    /// The first `limit` in this order.
    pub(super) fn first(mut self, order: &'static str, limit: u32) -> QueryBuilder<Sqlite> {
        self.0
            .push(" ORDER BY ")
            .push(order)
            .push(" LIMIT ")
            .push_bind(limit);
        self.0
    }
}
