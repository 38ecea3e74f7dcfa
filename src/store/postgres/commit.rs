//! The one write door. One transaction: the ledger's head row locked first, so that commits come one after the other
//! whoever makes them; then guarded updates, entries with their signed checkpoint, jobs, notices.

use super::PostgresStore;
use super::connection::{BEGIN, held, within};
use crate::clock::Time;
use crate::domain::transition::{Record, Transition};
use crate::ledger::{Frontier, Segment};
use crate::store::contract::{Committed, StoreError};
use crate::store::seal;
use crate::store::sql::commit::{
    documents, insert_job, insert_notice, store_head, store_nodes, store_segment,
};
use crate::store::sql::ledger::edge;
use crate::store::sql::rows::{corrupt, database, index, json, ms};
use crate::store::sql::{Connection, sql};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use std::collections::HashSet;

impl PostgresStore {
    pub(super) async fn write(&self, transition: Transition) -> Result<Committed, StoreError> {
        let _turn = self.database.turns.acquire().await;
        let begun = within(self.database.pool.begin_with(BEGIN)).await;
        let mut transaction = begun.map_err(database("beginning a commit"))?;
        let (frontier, checkpoint) = self.lock_head(&mut transaction).await?;
        // After the wait for the lock, so that times in the log go as its entries do.
        let now = self.clock.now();
        for write in &transition.writes {
            documents::apply(&mut *transaction, write, now).await?;
        }
        let fresh = unseen(&mut transaction, &transition.records, now).await?;
        let repeats = fresh.iter().filter(|fresh| !**fresh).count() as u64;
        if repeats == fresh.len() as u64 && !seal::moves(&transition).is_empty() {
            return Err(corrupt("a transition")(
                "every record of it was entered before".to_owned(),
            ));
        }
        let (mut first, mut entries, mut checkpoint) = (None, 0, checkpoint);
        if let Some(prepared) = seal::seal(&transition, &fresh, now)? {
            let records = transition.records.iter().zip(&fresh);
            let records: Vec<&Record> = records
                .filter(|(_, fresh)| **fresh)
                .map(|(record, _)| record)
                .collect();
            let mut frontier = frontier;
            let segment = prepared.place(&mut frontier);
            (first, entries) = (Some(segment.first), segment.leaves.len() as u64);
            checkpoint = self
                .append(&mut transaction, &frontier, segment, &records, now)
                .await?;
        }
        for notice in &transition.notices {
            insert_notice(&mut *transaction, notice, now).await?;
        }
        for job in &transition.jobs {
            insert_job(&mut *transaction, job).await?;
        }
        within(transaction.commit())
            .await
            .map_err(database("committing"))?;
        Ok(Committed {
            first,
            entries,
            repeats,
            checkpoint,
        })
    }

    /// The ledger's right edge and newest checkpoint, nobody else's until this transaction is over.
    async fn lock_head(&self, connection: &mut PgConnection) -> Result<(Frontier, String), StoreError> {
        let query = sql("SELECT frontier, checkpoint, term FROM ledger_head WHERE one = 1 FOR UPDATE");
        let rows = Connection::rows(connection, query)
            .await
            .map_err(database("reading the ledger's head"))?;
        let row = rows
            .first()
            .ok_or_else(|| corrupt("a ledger")("its head is gone".to_owned()))?;
        match self.database.term {
            Some(own) if row.int(2)? != own => Err(StoreError::Refused(
                "another broker took over the work on this database: this one writes nothing any more"
                    .to_owned(),
            )),
            _ => edge(row, 0),
        }
    }

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

    /// Appends a segment to the ledger, with its head and the look-up rows of these records, in this same transaction.
    async fn append(
        &self,
        connection: &mut PgConnection,
        frontier: &Frontier,
        segment: Segment,
        records: &[&Record],
        now: Time,
    ) -> Result<String, StoreError> {
        let checkpoint = self.sign(frontier).await?;
        let first = segment.first;
        store_nodes(connection, &segment.nodes).await?;
        store_segment(connection, segment).await?;
        store_head(connection, frontier, &checkpoint, now).await?;
        insert_lines(connection, first, records, now).await?;
        insert_actions(connection, first, records).await?;
        Ok(checkpoint)
    }
}

/// Which records were not entered before, and are no repeats inside their batch.
async fn unseen(
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
async fn insert_lines(
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
async fn insert_actions(
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
