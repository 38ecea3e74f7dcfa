//! Versions of watched objects: the "before" of what a grant touches.

use super::{SqliteStore, database, index, json, ms, parse};
use crate::clock::Time;
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::store::contract::StoreError;
use chrono::TimeDelta;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};

impl SqliteStore {
    pub(super) async fn write_versions(
        &self,
        cluster: &str,
        versions: &[ObjectVersion],
        seen_at: Time,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let written = write_on(&mut writer, cluster, versions, seen_at).await;
        self.renew_after(&mut writer, written).await
    }

    pub(super) async fn read_version_before(
        &self,
        cluster: &str,
        key: &ObjectKey,
        version: u64,
        seen_before_ms: Option<i64>,
    ) -> Result<Option<ObjectVersion>, StoreError> {
        let row = sqlx::query(
            "SELECT document FROM versions WHERE cluster = ?1 AND key = ?2 AND version < ?3
               AND (?4 IS NULL OR seen_at <= ?4) ORDER BY version DESC LIMIT 1",
        )
        .bind(cluster)
        .bind(path(key))
        .bind(index(version))
        .bind(seen_before_ms)
        .fetch_optional(&self.readers)
        .await
        .map_err(database("reading a version"))?;
        row.map(|row| parse("a version", row.get("document"))).transpose()
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
        let rows = sqlx::query(
            "SELECT document, max(version) FROM versions
             WHERE cluster = ?1 AND substr(key, 1, length(?2)) = ?2 AND seen_at <= ?3 GROUP BY key",
        )
        .bind(cluster)
        .bind(prefix)
        .bind(seen_before_ms)
        .fetch_all(&self.readers)
        .await
        .map_err(database("reading versions"))?;
        let versions: Result<Vec<ObjectVersion>, _> = rows
            .iter()
            .map(|row| parse("a version", row.get("document")))
            .collect();
        Ok(versions?
            .into_iter()
            .filter(|version| version.object.is_some())
            .collect())
    }
}

impl SqliteStore {
    /// What was seen at a time that is still to come was seen `by` earlier.
    pub(super) async fn see_versions_earlier(&self, by: TimeDelta, now: Time) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        sqlx::query("UPDATE versions SET seen_at = min(seen_at - ?1, ?2) WHERE seen_at > ?2")
            .bind(by.num_milliseconds())
            .bind(ms(now))
            .execute(&mut *writer)
            .await
            .map_err(database("moving the times of versions"))?;
        Ok(())
    }
}

/// The API version is left out: one object is served under several.
fn path(key: &ObjectKey) -> String {
    format!("{}/{}/{}/{}", key.group, key.resource, key.namespace, key.name)
}

async fn write_on(
    writer: &mut SqliteConnection,
    cluster: &str,
    versions: &[ObjectVersion],
    seen_at: Time,
) -> Result<(), StoreError> {
    let mut transaction = writer.begin().await.map_err(database("keeping versions"))?;
    for version in versions {
        sqlx::query(
            "INSERT INTO versions (cluster, key, version, seen_at, document) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )
        .bind(cluster)
        .bind(path(&version.key))
        .bind(index(version.resource_version))
        .bind(ms(seen_at))
        .bind(json(version)?)
        .execute(&mut *transaction)
        .await
        .map_err(database("keeping versions"))?;
    }
    transaction.commit().await.map_err(database("keeping versions"))
}
