//! What PostgreSQL writes its own way: the ledger's head row, locked first, so that commits come one after the other
//! whoever makes them; which records are new; and the rows by which entries are found, each kind in one statement.

use super::PostgresStore;
use super::connection::{held, within};
use crate::clock::Time;
use crate::domain::transition::Record;
use crate::ledger::Frontier;
use crate::store::contract::StoreError;
use crate::store::sql::ledger::edge;
use crate::store::sql::rows::{corrupt, database, index, json, ms};
use crate::store::sql::{Connection, sql};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use std::collections::HashSet;

impl PostgresStore {
    /// Begins the next broker's time: whatever an earlier one is just committing is waited for, and it commits nothing
    /// afterwards.
    pub(super) async fn next_term(&self) -> Result<i64, StoreError> {
        let query = sql("UPDATE ledger_head SET term = term + 1 WHERE one = 1 RETURNING term");
        let rows = self.rows("taking over the work", query).await?;
        let row = rows
            .first()
            .ok_or_else(|| corrupt("a ledger")("its head is gone".to_owned()))?;
        row.int(0)
    }
}

/// The ledger's right edge and newest checkpoint, nobody else's until this transaction is over; refused to one whose
/// `term` is over.
pub(super) async fn lock_head(
    connection: &mut PgConnection,
    term: Option<i64>,
) -> Result<(Frontier, String), StoreError> {
    let query = sql("SELECT frontier, checkpoint, term FROM ledger_head WHERE one = 1 FOR UPDATE");
    let rows = Connection::rows(connection, query)
        .await
        .map_err(database("reading the ledger's head"))?;
    let row = rows
        .first()
        .ok_or_else(|| corrupt("a ledger")("its head is gone".to_owned()))?;
    match term {
        Some(own) if row.int(2)? != own => Err(StoreError::Refused(
            "another broker took over the work on this database: this one writes nothing any more".to_owned(),
        )),
        _ => edge(row, 0),
    }
}

/// Which records were not entered before, and are no repeats inside their batch.
pub(super) async fn unseen(
    connection: &mut PgConnection,
    records: &[Record],
    now: Time,
) -> Result<Vec<bool>, StoreError> {
    let keys: HashSet<String> = records
        .iter()
        .filter_map(|record| record.key.clone())
        .map(held)
        .collect();
    if keys.is_empty() {
        return Ok(vec![true; records.len()]);
    }
    let query = sqlx::query(
        "INSERT INTO seen (key, at) SELECT key, $2 FROM unnest($1) AS key ON CONFLICT DO NOTHING RETURNING key",
    )
    .bind(keys.into_iter().collect::<Vec<_>>())
    .bind(ms(now));
    let rows = within(query.fetch_all(connection))
        .await
        .map_err(database("looking for repeats"))?;
    let mut new = rows
        .iter()
        .map(|row| row.try_get::<String, _>(0))
        .collect::<Result<HashSet<_>, _>>()
        .map_err(database("looking for repeats"))?;
    let mut is_new = |record: &Record| record.key.clone().is_none_or(|key| new.remove(&held(key)));
    Ok(records.iter().map(&mut is_new).collect())
}

/// One statement, whatever the number of lines: each would be a way to the server and back.
pub(super) async fn insert_lines(
    connection: &mut PgConnection,
    first: u64,
    records: &[&Record],
    now: Time,
) -> Result<(), StoreError> {
    let of = |column: fn(&Record) -> Option<String>| -> Vec<Option<String>> {
        records.iter().map(|record| column(record).map(held)).collect()
    };
    let query = sqlx::query(
        "INSERT INTO entries (idx, kind, at, entered, request, grant_id, follow_up, cluster, team, profile, person,
           sentence)
         SELECT idx, kind, at, $12, request, grant_id, follow_up, cluster, team, profile, person, sentence
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
           AS line (idx, kind, at, request, grant_id, follow_up, cluster, team, profile, person, sentence)",
    )
    .bind((first..).take(records.len()).map(index).collect::<Vec<_>>())
    .bind(of(|record| Some(record.kind.name().to_owned())))
    .bind(records.iter().map(|record| ms(record.at)).collect::<Vec<_>>())
    .bind(of(|record| record.about.request.map(|id| id.to_string())))
    .bind(of(|record| record.about.grant.map(|id| id.to_string())))
    .bind(of(|record| record.about.follow_up.map(|id| id.to_string())))
    .bind(of(|record| record.about.cluster.clone()))
    .bind(of(|record| record.about.team.clone()))
    .bind(of(|record| record.about.profile.clone()))
    .bind(of(|record| record.about.person.clone()))
    .bind(of(|record| Some(record.sentence.clone())))
    .bind(ms(now));
    within(query.execute(connection))
        .await
        .map_err(database("indexing entries"))?;
    Ok(())
}

/// One statement as well.
pub(super) async fn insert_actions(
    connection: &mut PgConnection,
    first: u64,
    records: &[&Record],
) -> Result<(), StoreError> {
    let actions: Vec<_> = (first..)
        .zip(records)
        .filter_map(|(at, record)| Some((index(at), record.action.as_deref()?)))
        .collect();
    if actions.is_empty() {
        return Ok(());
    }
    let documents = actions
        .iter()
        .map(|(_, action)| json(action))
        .collect::<Result<Vec<_>, _>>()?;
    let rows = || actions.iter().map(|(_, action)| action);
    let query = sqlx::query(
        "INSERT INTO actions (entry, grant_id, cluster, received_us, credential_id, class, mutation, document)
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(actions.iter().map(|(at, _)| *at).collect::<Vec<_>>())
    .bind(
        rows()
            .map(|action| action.grant.map(|id| id.to_string()))
            .collect::<Vec<_>>(),
    )
    .bind(rows().map(|action| held(action.cluster.clone())).collect::<Vec<_>>())
    .bind(rows().map(|action| action.received_us).collect::<Vec<_>>())
    .bind(
        rows()
            .map(|action| action.credential_id.clone().map(held))
            .collect::<Vec<_>>(),
    )
    .bind(rows().map(|action| held(action.class.clone())).collect::<Vec<_>>())
    .bind(
        rows()
            .map(|action| i64::from(action.mutation))
            .collect::<Vec<_>>(),
    )
    .bind(documents);
    within(query.execute(connection))
        .await
        .map_err(database("indexing actions"))?;
    Ok(())
}
