//! What rows are made of: documents as JSON, times as milliseconds, and what is said when they are not.

use crate::clock::Time;
use crate::store::contract::StoreError;
use serde::de::DeserializeOwned;
use std::str::FromStr;

pub(in crate::store) fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Database { doing, source }
}

pub(in crate::store) fn corrupt(what: &'static str) -> impl Fn(String) -> StoreError {
    move |why| StoreError::Corrupt { what, why }
}

pub(in crate::store) fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
        what,
        why: error.to_string(),
    })
}

pub(in crate::store) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt {
        what: "a document to be stored",
        why: error.to_string(),
    })
}

pub(in crate::store) fn ms(time: Time) -> i64 {
    time.timestamp_millis()
}

pub(in crate::store) fn time(ms: i64) -> Result<Time, StoreError> {
    Time::from_timestamp_millis(ms).ok_or_else(|| StoreError::Corrupt {
        what: "a time",
        why: format!("{ms} ms is out of range"),
    })
}

/// Both engines count in i64; nothing here is ever negative.
pub(in crate::store) fn index(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An id, where there is one.
pub(in crate::store) fn id<T: FromStr<Err: std::fmt::Display>>(
    text: Option<&str>,
) -> Result<Option<T>, StoreError> {
    text.map(|text| {
        text.parse()
            .map_err(|error: T::Err| corrupt("an id")(error.to_string()))
    })
    .transpose()
}
