//! Web sessions, people who signed in, small settings, and tidying up.

use super::{SqliteStore, database, json, ms};
use crate::clock::Time;
use crate::domain::person::Person;
use crate::store::contract::StoreError;
use chrono::TimeDelta;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

impl SqliteStore {
    /// `fresh`: only if the id is new; otherwise only if the session still exists. Says whether it was kept.
    pub(super) async fn write_session(
        &self,
        id_hash: &str,
        data: &str,
        expires: Time,
        fresh: bool,
    ) -> Result<bool, StoreError> {
        let sql = if fresh {
            "INSERT INTO sessions (expires, data, id_hash) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        } else {
            "UPDATE sessions SET expires = ?, data = ? WHERE id_hash = ?"
        };
        let mut writer = self.writer.lock().await;
        let done = sqlx::query(sql)
            .bind(expires.timestamp())
            .bind(data)
            .bind(id_hash)
            .execute(&mut *writer)
            .await
            .map_err(database("keeping a session"))?;
        Ok(done.rows_affected() == 1)
    }

    /// `[data, expires]` as JSON.
    pub(super) async fn read_session(&self, id_hash: &str, now: Time) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT data, expires FROM sessions WHERE id_hash = ? AND expires > ?")
            .bind(id_hash)
            .bind(now.timestamp())
            .fetch_optional(&self.readers)
            .await
            .map_err(database("reading a session"))?;
        Ok(row.map(|row| {
            let (data, expires): (String, i64) = (row.get("data"), row.get("expires"));
            format!("[{data},{expires}]")
        }))
    }

    pub(super) async fn remove_session(&self, id_hash: &str) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        sqlx::query("DELETE FROM sessions WHERE id_hash = ?")
            .bind(id_hash)
            .execute(&mut *writer)
            .await
            .map_err(database("forgetting a session"))?;
        Ok(())
    }

    pub(super) async fn remember_person(&self, person: &Person, at: Time) -> Result<(), StoreError> {
        let document = json(person)?;
        let mut writer = self.writer.lock().await;
        sqlx::query(
            "INSERT INTO people (id, issuer, subject, seen_at, document) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (issuer, subject) DO UPDATE SET
               id = excluded.id, seen_at = excluded.seen_at, document = excluded.document",
        )
        .bind(&person.person_claim)
        .bind(&person.issuer)
        .bind(&person.subject)
        .bind(ms(at))
        .bind(document)
        .execute(&mut *writer)
        .await
        .map_err(database("remembering a person"))?;
        Ok(())
    }

    pub(super) async fn write_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        keep(&mut writer, name, value).await
    }

    pub(super) async fn remove_expired(&self, now: Time) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        sqlx::query("DELETE FROM sessions WHERE expires <= ?")
            .bind(now.timestamp())
            .execute(&mut *writer)
            .await
            .map_err(database("tidying sessions"))?;
        // The API server stops retrying after about 100 s; an hour leaves room for a tap or a proxy.
        // What people changed without a grant, and what they applied as it is printed, stays known: an import may
        // bring it again years later.
        sqlx::query(
            "DELETE FROM seen WHERE at < ? AND NOT (key >= 'bypass ' AND key < 'bypass!')
               AND NOT (key >= 'audit ' AND key < 'audit!')",
        )
        .bind(ms(now - TimeDelta::hours(1)))
        .execute(&mut *writer)
        .await
        .map_err(database("tidying event keys"))?;
        Ok(())
    }
}

/// Keeps a small value.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    name: &str,
    value: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES (?, ?)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(connection)
    .await
    .map_err(database("keeping a setting"))?;
    Ok(())
}
