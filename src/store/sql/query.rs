//! A statement with its values, and the rows that come back, as both engines know them.

use crate::store::contract::StoreError;
use sqlx::{AssertSqlSafe, Decode, Encode, Type, TypeInfo, ValueRef};
use std::borrow::Cow;
use std::fmt::Write as _;

/// A value of a statement or of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number, a truth (0 or 1), a time in milliseconds.
    Int(Option<i64>),
    /// Text.
    Text(Option<String>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

macro_rules! values {
    ($($from:ty => $kind:ident($value:ident): $to:expr),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                Self::$kind($to)
            }
        }
    )*};
}

values!(
    i64 => Int(value): Some(value),
    Option<i64> => Int(value): value,
    u64 => Int(value): Some(i64::try_from(value).unwrap_or(i64::MAX)),
    u32 => Int(value): Some(i64::from(value)),
    u8 => Int(value): Some(i64::from(value)),
    bool => Int(value): Some(i64::from(value)),
    &str => Text(value): Some(value.to_owned()),
    &String => Text(value): Some(value.clone()),
    String => Text(value): Some(value),
    Option<String> => Text(value): value,
    Option<&str> => Text(value): value.map(str::to_owned),
    &[u8] => Bytes(value): Some(value.to_vec()),
    Vec<u8> => Bytes(value): Some(value),
);

/// A statement and its values. Its text is code and never data: only what was there at compile time is put into it.
#[derive(Debug, Clone)]
pub struct Query {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

/// A statement; its values are `$1`, `$2`, … in the order of [`Query::bind`].
#[must_use]
pub const fn sql(text: &'static str) -> Query {
    Query {
        text: Cow::Borrowed(text),
        values: vec![],
    }
}

impl Query {
    /// The next value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Its text goes on.
    #[must_use]
    pub fn then(mut self, text: &'static str) -> Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Its text goes on with this value.
    #[must_use]
    pub fn then_bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        // Writing to a `String` cannot fail.
        let _ = write!(self.text.to_mut(), "${}", self.values.len());
        self
    }

    /// Its text goes on with these values between commas.
    #[must_use]
    pub fn then_list<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        for (place, value) in values.into_iter().enumerate() {
            if place > 0 {
                self = self.then(", ");
            }
            self = self.then_bind(value);
        }
        self
    }

    /// As the driver takes it; `text` makes a text one that this engine can hold.
    pub(in crate::store) fn driven<DB: sqlx::Database>(
        self,
        text: fn(String) -> String,
    ) -> sqlx::query::Query<'static, DB, DB::Arguments>
    where
        Option<i64>: for<'q> Encode<'q, DB> + Type<DB>,
        Option<String>: for<'q> Encode<'q, DB> + Type<DB>,
        Option<Vec<u8>>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let query = sqlx::query(AssertSqlSafe(self.text));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value.map(text)),
            Value::Bytes(value) => query.bind(value),
        })
    }
}

/// A row, its columns by their place in the statement.
#[derive(Debug)]
pub struct Row(Vec<Value>);

impl Row {
    /// The driver's row.
    pub(in crate::store) fn of<R: sqlx::Row>(row: &R) -> Result<Self, sqlx::Error>
    where
        usize: sqlx::ColumnIndex<R>,
        i64: for<'r> Decode<'r, R::Database>,
        String: for<'r> Decode<'r, R::Database>,
        Vec<u8>: for<'r> Decode<'r, R::Database>,
    {
        let mut values = Vec::with_capacity(row.len());
        for place in 0..row.len() {
            let raw = row.try_get_raw(place)?;
            let kind = raw.type_info().name().to_owned();
            let failed = |source| sqlx::Error::ColumnDecode {
                index: place.to_string(),
                source,
            };
            values.push(match &*kind {
                _ if raw.is_null() => Value::Int(None),
                "INTEGER" | "INT8" => Value::Int(Some(Decode::decode(raw).map_err(failed)?)),
                "BLOB" | "BYTEA" => Value::Bytes(Some(Decode::decode(raw).map_err(failed)?)),
                "TEXT" => Value::Text(Some(Decode::decode(raw).map_err(failed)?)),
                other => return Err(failed(format!("no statement here asks for a {other}").into())),
            });
        }
        Ok(Self(values))
    }

    fn wrong(&self, place: usize, wanted: &str) -> StoreError {
        StoreError::Corrupt {
            what: "a row",
            why: format!("column {place} of {} is no {wanted}", self.0.len()),
        }
    }

    /// A number, where there is one.
    ///
    /// # Errors
    /// It is something else.
    pub fn some_int(&self, place: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(place) {
            Some(Value::Int(value)) => Ok(*value),
            _ => Err(self.wrong(place, "number")),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// It is none.
    pub fn int(&self, place: usize) -> Result<i64, StoreError> {
        self.some_int(place)?.ok_or_else(|| self.wrong(place, "number"))
    }

    /// A count or an index, which is never negative.
    ///
    /// # Errors
    /// It is none.
    pub fn count(&self, place: usize) -> Result<u64, StoreError> {
        u64::try_from(self.int(place)?).map_err(|_| self.wrong(place, "count"))
    }

    /// A text, where there is one.
    ///
    /// # Errors
    /// It is something else.
    pub fn some_text(&self, place: usize) -> Result<Option<&str>, StoreError> {
        match self.0.get(place) {
            Some(Value::Text(value)) => Ok(value.as_deref()),
            Some(Value::Int(None)) => Ok(None),
            _ => Err(self.wrong(place, "text")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// It is none.
    pub fn text(&self, place: usize) -> Result<&str, StoreError> {
        self.some_text(place)?.ok_or_else(|| self.wrong(place, "text"))
    }

    /// Bytes.
    ///
    /// # Errors
    /// There are none.
    pub fn bytes(&self, place: usize) -> Result<&[u8], StoreError> {
        match self.0.get(place) {
            Some(Value::Bytes(Some(value))) => Ok(value),
            _ => Err(self.wrong(place, "bytes")),
        }
    }

    /// Bytes, taken out of the row.
    ///
    /// # Errors
    /// There are none.
    pub fn take_bytes(&mut self, place: usize) -> Result<Vec<u8>, StoreError> {
        match self.0.get_mut(place) {
            Some(Value::Bytes(value)) if value.is_some() => Ok(value.take().unwrap_or_default()),
            _ => Err(self.wrong(place, "bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_counts_its_values() {
        let query = sql("SELECT a FROM t WHERE b = $1")
            .bind("one")
            .then(" AND c IN (")
            .then_list([2_i64, 3])
            .then(") LIMIT ")
            .then_bind(4_u32);
        assert_eq!(
            query.text,
            "SELECT a FROM t WHERE b = $1 AND c IN ($2, $3) LIMIT $4"
        );
        assert_eq!(
            query.values,
            [
                Value::from("one"),
                Value::from(2_i64),
                Value::from(3_i64),
                Value::from(4_i64)
            ]
        );
    }

    #[test]
    fn what_is_not_what_was_asked_for_is_corrupt_and_never_a_default() {
        let mut row = Row(vec![Value::from(-1_i64), Value::Int(None), Value::from("text")]);
        assert_eq!((row.int(0).unwrap(), row.some_int(1).unwrap()), (-1, None));
        assert_eq!((row.some_text(1).unwrap(), row.text(2).unwrap()), (None, "text"));
        assert!(row.count(0).is_err() && row.int(1).is_err() && row.text(1).is_err());
        assert!(row.int(2).is_err() && row.text(0).is_err() && row.int(9).is_err());
        assert!(row.bytes(2).is_err() && row.take_bytes(1).is_err());
    }
}
