//! Web sessions, people who signed in, small settings, and tidying up.

use super::query::{Query, sql};
use super::rows::{database, json, ms};
use super::{Connection, Database, SqlStore};
use crate::clock::Time;
use crate::domain::person::Person;
use crate::store::contract::StoreError;
use chrono::TimeDelta;

impl<D: Database> SqlStore<D> {
    /// `fresh`: only if the id is new; otherwise only if the session still exists. Says whether it was kept.
    pub(super) async fn write_session(
        &self,
        id_hash: &str,
        data: &str,
        expires: Time,
        fresh: bool,
    ) -> Result<bool, StoreError> {
        let query = sql(if fresh {
            "INSERT INTO sessions (expires, data, id_hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
        } else {
            "UPDATE sessions SET expires = $1, data = $2 WHERE id_hash = $3"
        });
        let query = query.bind(expires.timestamp()).bind(data).bind(id_hash);
        Ok(self.change("keeping a session", query).await? == 1)
    }

    /// `[data, expires]` as JSON.
    pub(super) async fn read_session(&self, id_hash: &str, now: Time) -> Result<Option<String>, StoreError> {
        let query = sql("SELECT data, expires FROM sessions WHERE id_hash = $1 AND expires > $2")
            .bind(id_hash)
            .bind(now.timestamp());
        let row = self.row("reading a session", query).await?;
        row.map(|row| Ok(format!("[{},{}]", row.text(0)?, row.int(1)?)))
            .transpose()
    }

    pub(super) async fn remove_session(&self, id_hash: &str) -> Result<(), StoreError> {
        let query = sql("DELETE FROM sessions WHERE id_hash = $1").bind(id_hash);
        self.change("forgetting a session", query).await?;
        Ok(())
    }

    pub(super) async fn remember_person(&self, person: &Person, at: Time) -> Result<(), StoreError> {
        let query = sql(
            "INSERT INTO people (id, issuer, subject, seen_at, document) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (issuer, subject) DO UPDATE SET
               id = excluded.id, seen_at = excluded.seen_at, document = excluded.document",
        )
        .bind(&person.person_claim)
        .bind(&person.issuer)
        .bind(&person.subject)
        .bind(ms(at))
        .bind(json(person)?);
        self.change("remembering a person", query).await?;
        Ok(())
    }

    pub(super) async fn read_setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let query = sql("SELECT value FROM settings WHERE name = $1").bind(name);
        let row = self.row("reading a setting", query).await?;
        row.map(|row| row.text(0).map(str::to_owned)).transpose()
    }

    pub(super) async fn write_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.change("keeping a setting", kept(name, value)).await?;
        Ok(())
    }

    pub(super) async fn remove_expired(&self, now: Time) -> Result<(), StoreError> {
        let over = sql("DELETE FROM sessions WHERE expires <= $1").bind(now.timestamp());
        self.change("tidying sessions", over).await?;
        // The API server stops retrying after about 100 s; an hour leaves room for a tap or a proxy.
        // What people changed without a grant, and what they applied as it is printed, stays known: an import may
        // bring it again years later.
        let old = sql(
            "DELETE FROM seen WHERE at < $1 AND NOT (key >= 'bypass ' AND key < 'bypass!')
               AND NOT (key >= 'audit ' AND key < 'audit!')",
        )
        .bind(ms(now - TimeDelta::hours(1)));
        self.change("tidying event keys", old).await?;
        Ok(())
    }
}

fn kept(name: &str, value: &str) -> Query {
    sql("INSERT INTO settings (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value")
    .bind(name)
    .bind(value)
}

/// Keeps a small value.
pub(super) async fn keep(connection: &mut dyn Connection, name: &str, value: &str) -> Result<(), StoreError> {
    let done = connection.change(kept(name, value)).await;
    done.map_err(database("keeping a setting"))?;
    Ok(())
}
