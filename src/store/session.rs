//! Web sessions on the broker's own store. The id is hashed at rest: who reads the database
//! cannot take over a session.

use super::contract::Store;
use crate::clock::{Clock, Time};
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error, Result};

/// [`tower_sessions::SessionStore`] over [`Store`].
#[derive(Debug, Clone)]
pub struct Sessions {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Sessions {
    /// Sessions kept in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    async fn keep(&self, record: &Record, fresh: bool) -> Result<bool> {
        // The id itself stays out of the stored document.
        let data = serde_json::to_string(&record.data).map_err(|error| Error::Encode(error.to_string()))?;
        let expires = Time::from_timestamp(record.expiry_date.unix_timestamp(), 0)
            .ok_or_else(|| Error::Encode("an expiry out of range".to_owned()))?;
        self.store
            .save_session(&hashed(record.id), &data, expires, fresh)
            .await
            .map_err(|error| Error::Backend(error.to_string()))
    }
}

fn hashed(id: Id) -> String {
    hex::encode(Sha256::digest(id.0.to_be_bytes()))
}

#[async_trait]
impl tower_sessions::SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> Result<()> {
        while !self.keep(record, true).await? {
            record.id = Id::default();
        }
        Ok(())
    }

    async fn save(&self, record: &Record) -> Result<()> {
        // A session deleted meanwhile (sign-out in another window) is not brought back to life.
        self.keep(record, false).await.map(|_| ())
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let now = self.clock.machine_now();
        let Some(text) = self
            .store
            .load_session(&hashed(*id), now)
            .await
            .map_err(|error| Error::Backend(error.to_string()))?
        else {
            return Ok(None);
        };
        let (data, expires): (_, i64) =
            serde_json::from_str(&text).map_err(|error| Error::Decode(error.to_string()))?;
        let expiry_date = tower_sessions::cookie::time::OffsetDateTime::from_unix_timestamp(expires)
            .map_err(|error| Error::Decode(error.to_string()))?;
        Ok(Some(Record {
            id: *id,
            data,
            expiry_date,
        }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.store
            .delete_session(&hashed(*id))
            .await
            .map_err(|error| Error::Backend(error.to_string()))
    }
}
