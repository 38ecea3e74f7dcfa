//! Queries that are narrowed term by term. Only what is asked for is spelled out: the planner takes an index over a
//! part of a table for the very words of that index, and none for `? IS NULL OR …`.

use super::query::{Query, Value, sql};

/// A query of a table.
pub(super) struct Narrowed(Query);

impl Narrowed {
    /// The ids and versions of `table`.
    pub(super) fn of(table: &'static str) -> Self {
        Self::rows("id, version", table)
    }

    /// These columns of `table`.
    pub(super) fn rows(columns: &'static str, table: &'static str) -> Self {
        let query = sql("SELECT ").then(columns).then(" FROM ").then(table);
        Self(query.then(" WHERE TRUE"))
    }

    /// Only where `condition` holds, if it `is` asked for.
    pub(super) fn only(self, is: bool, condition: &'static str) -> Self {
        if is {
            Self(self.0.then(" AND ").then(condition))
        } else {
            self
        }
    }

    /// Only where `condition` holds, if there is one.
    pub(super) fn also(self, condition: Option<&'static str>) -> Self {
        self.only(condition.is_some(), condition.unwrap_or_default())
    }

    /// Only where `condition` (which ends in its operator) holds for that value, if there is one.
    pub(super) fn by(self, condition: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => Self(self.0.then(" AND ").then(condition).then(" ").then_bind(value)),
            None => self,
        }
    }

    /// Only entries that come after entry `index` in a list that is newest first: by when it happened, where that is
    /// the order.
    pub(super) fn before(self, timed: bool, index: Option<u64>) -> Self {
        match index {
            None => self,
            Some(index) if timed => {
                let query = self
                    .0
                    .then(" AND (entries.at, entries.idx) < (SELECT at, idx FROM entries WHERE idx = ");
                Self(query.then_bind(index).then(")"))
            }
            Some(index) => Self(self.0.then(" AND entries.idx < ").then_bind(index)),
        }
    }

    /// Only where `column` has one of these values, if there are any.
    pub(super) fn among(self, column: &'static str, values: &[&'static str]) -> Self {
        match values {
            [] => self,
            [one] => Self(self.0.then(" AND ").then(column).then(" = ").then_bind(*one)),
            several => {
                // The `|| ''` keeps the planner from collecting and sorting all rows of each value.
                let column = column.trim_end_matches(" || ''");
                let query = self.0.then(" AND ").then(column).then(" || '' IN (");
                Self(query.then_list(several.iter().copied()).then(")"))
            }
        }
    }

    /// The first `limit` in this order.
    pub(super) fn first(self, order: &'static str, limit: u32) -> Query {
        let query = self.0.then(" ORDER BY ").then(order);
        query.then(" LIMIT ").then_bind(limit)
    }
}
