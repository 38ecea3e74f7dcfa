//! Versions of watched objects: the "before" of what a grant touches.

use super::query::sql;
use super::rows::{json, ms, parse};
use super::{Database, SqlStore};
use crate::clock::Time;
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::store::contract::StoreError;
use chrono::TimeDelta;

/// So many are written by one statement.
const AT_ONCE: usize = 100;

impl<D: Database> SqlStore<D> {
    pub(super) async fn write_versions(
        &self,
        cluster: &str,
        versions: &[ObjectVersion],
        seen_at: Time,
    ) -> Result<(), StoreError> {
        let mut ordered: Vec<_> = versions
            .iter()
            .map(|version| (path(&version.key), version))
            .collect();
        // In one order, so that no two that write the same ones wait for each other.
        ordered.sort_by(|(a, one), (b, other)| (a, one.resource_version).cmp(&(b, other.resource_version)));
        let mut queries = vec![];
        for some in ordered.chunks(AT_ONCE) {
            let mut query = sql("INSERT INTO versions (cluster, key, version, seen_at, document) VALUES ");
            for (place, (path, version)) in some.iter().enumerate() {
                query = query
                    .then(if place == 0 { "(" } else { ", (" })
                    .then_bind(cluster)
                    .then(", ")
                    .then_bind(path)
                    .then(", ")
                    .then_bind(version.resource_version)
                    .then(", ")
                    .then_bind(ms(seen_at))
                    .then(", ")
                    .then_bind(json(version)?)
                    .then(")");
            }
            queries.push(query.then(" ON CONFLICT DO NOTHING"));
        }
        self.change_all("keeping versions", queries).await
    }

    pub(super) async fn read_version_before(
        &self,
        cluster: &str,
        key: &ObjectKey,
        version: u64,
        seen_before_ms: Option<i64>,
    ) -> Result<Option<ObjectVersion>, StoreError> {
        let query = sql(
            "SELECT document FROM versions WHERE cluster = $1 AND key = $2 AND version < $3 AND seen_at <= $4
             ORDER BY version DESC LIMIT 1",
        )
        .bind(cluster)
        .bind(path(key))
        .bind(version)
        .bind(seen_before_ms.unwrap_or(i64::MAX));
        let row = self.row("reading a version", query).await?;
        row.map(|row| parse("a version", row.text(0)?)).transpose()
    }

    pub(super) async fn read_versions_before(
        &self,
        cluster: &str,
        resource: &ObjectKey,
        seen_before_ms: i64,
    ) -> Result<Vec<ObjectVersion>, StoreError> {
        let prefix = path(&ObjectKey {
            name: String::new(),
            ..resource.clone()
        });
        let query = sql(
            "SELECT document FROM versions JOIN
               (SELECT key AS named, max(version) AS newest FROM versions
                WHERE cluster = $1 AND substr(key, 1, length($2)) = $2 AND seen_at <= $3 GROUP BY key) AS newest_ones
               ON key = named AND version = newest
             WHERE cluster = $1",
        )
        .bind(cluster)
        .bind(prefix)
        .bind(seen_before_ms);
        let rows = self.rows("reading versions", query).await?;
        let versions = rows
            .iter()
            .map(|row| parse("a version", row.text(0)?))
            .collect::<Result<Vec<ObjectVersion>, StoreError>>()?;
        Ok(versions
            .into_iter()
            .filter(|version| version.object.is_some())
            .collect())
    }

    /// What was seen at a time that is still to come was seen `by` earlier.
    pub(super) async fn see_versions_earlier(&self, by: TimeDelta, now: Time) -> Result<(), StoreError> {
        let query = sql(
            "UPDATE versions SET seen_at = CASE WHEN seen_at - $1 < $2 THEN seen_at - $1 ELSE $2 END
             WHERE seen_at > $2",
        );
        let query = query.bind(by.num_milliseconds()).bind(ms(now));
        self.change("moving the times of versions", query).await?;
        Ok(())
    }
}

/// The API version is left out: one object is served under several.
fn path(key: &ObjectKey) -> String {
    format!("{}/{}/{}/{}", key.group, key.resource, key.namespace, key.name)
}
