//! Documents are parsed once a version. A list reads ids and versions, and the documents it has not met yet: parsing
//! a thousand of them for every look at a page is what takes its time.

use super::query::{Query, sql};
use super::rows::{database, parse};
use super::{Database, SqlStore};
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::domain::request::Request;
use crate::store::contract::StoreError;
use hashlink::LruCache;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// So many of each kind are kept, those that were asked for last; a follow-up with its files is some 10 kB.
const KEPT: usize = 1_500;

/// So many documents are asked for at a time.
const AT_ONCE: usize = 500;

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

impl<D: Database> SqlStore<D> {
    /// The documents of `table` whose `id` and `version` the query selects, in its order.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        (what, table): (&'static str, &'static str),
        known: &Known<T>,
        query: Query,
    ) -> Result<Vec<Arc<T>>, StoreError> {
        // One moment's state: a document read later may be one that the query would not have selected.
        let mut moment = self.database.moment().await.map_err(database("reading"))?;
        let rows = moment.rows(query).await.map_err(database("reading"))?;
        let rows = rows
            .iter()
            .map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        let mut found = known.look_up(&rows);
        let mut unmet: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, ((id, _), document)) in rows.iter().zip(&found).enumerate() {
            if document.is_none() {
                unmet.entry(id.clone()).or_default().push(place);
            }
        }
        let ids: Vec<&String> = unmet.keys().collect();
        for ids in ids.chunks(AT_ONCE) {
            let query = sql("SELECT id, document FROM ")
                .then(table)
                .then(" WHERE id IN (")
                .then_list(ids.iter().copied())
                .then(")");
            for row in moment.rows(query).await.map_err(database("reading"))? {
                let document = Arc::new(parse::<T>(what, row.text(1)?)?);
                for place in unmet.get(row.text(0)?).into_iter().flatten() {
                    found[*place] = Some(Arc::clone(&document));
                }
            }
        }
        // A longer list would drive out what every page asks for, and itself.
        if rows.len() <= KEPT && !unmet.is_empty() {
            let mut known = known.lock();
            for ((id, version), document) in rows.into_iter().zip(&found) {
                if let (true, Some(document)) = (unmet.contains_key(&id), document) {
                    known.insert(id, (version, Arc::clone(document)));
                }
            }
        }
        Ok(found.into_iter().flatten().collect())
    }
}
