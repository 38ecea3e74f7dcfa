//! What a commit writes, the same on both engines. This file and its `documents`, with the engines' own files of the
//! same name, alone write to the tables of requests, grants, follow-ups, findings, deliveries, actions and the ledger
//! (`tests/house.rs` holds the tree to that).

pub(in crate::store) mod documents;

use super::jobs;
use super::query::{Query, sql};
use super::rows::{database, json, ms};
use super::{Connection, Database, SqlStore};
use crate::clock::Time;
use crate::domain::job::{Job, JobKind};
use crate::domain::notice::{Delivery, Notice};
use crate::ledger::{Frontier, Node, Segment};
use crate::store::contract::StoreError;

impl<D: Database> SqlStore<D> {
    /// Keeps the head of the empty log, unless there is one.
    pub(super) async fn begin_head(
        &self,
        frontier: &Frontier,
        checkpoint: &str,
        at: Time,
    ) -> Result<u64, StoreError> {
        let query = sql(
            "INSERT INTO ledger_head (one, size, frontier, checkpoint, at) VALUES (1, $1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
        )
        .bind(frontier.size())
        .bind(frontier.to_bytes())
        .bind(checkpoint)
        .bind(ms(at));
        self.change("beginning the ledger", query).await
    }

    /// Signs the head anew, unless it is another one by now.
    pub(super) async fn sign_head_again(
        &self,
        frontier: &Frontier,
        checkpoint: &str,
        at: Time,
    ) -> Result<u64, StoreError> {
        let query = sql("UPDATE ledger_head SET checkpoint = $1, at = $2 WHERE one = 1 AND size = $3")
            .bind(checkpoint)
            .bind(ms(at))
            .bind(frontier.size());
        self.change("signing the ledger's head", query).await
    }
}

pub(in crate::store) async fn insert_notice(
    connection: &mut dyn Connection,
    notice: &Notice,
    now: Time,
) -> Result<(), StoreError> {
    let query = sql("INSERT INTO notices (id, at, document) VALUES ($1, $2, $3)")
        .bind(notice.id.to_string())
        .bind(ms(notice.at))
        .bind(json(notice)?);
    connection
        .change(query)
        .await
        .map_err(database("adding a notice"))?;
    for channel in &notice.channels {
        let delivery = Delivery {
            notice: notice.id,
            channel: channel.clone(),
            title: notice.title.clone(),
            delivered_at: None,
            attempts: 0,
            error: None,
            undeliverable: false,
            settled: None,
        };
        documents::upsert_delivery(connection, &delivery).await?;
        let job = Job::new(
            JobKind::Deliver {
                notice: notice.id,
                channel: channel.clone(),
            },
            now,
        );
        insert_job(connection, &job).await?;
    }
    Ok(())
}

pub(in crate::store) async fn insert_job(
    connection: &mut dyn Connection,
    job: &Job,
) -> Result<(), StoreError> {
    connection
        .change(jobs::added(job)?)
        .await
        .map_err(database("adding a job"))?;
    Ok(())
}

pub(in crate::store) async fn store_head(
    connection: &mut dyn Connection,
    frontier: &Frontier,
    checkpoint: &str,
    at: Time,
) -> Result<(), StoreError> {
    let query =
        sql("UPDATE ledger_head SET size = $1, frontier = $2, checkpoint = $3, at = $4 WHERE one = 1")
            .bind(frontier.size())
            .bind(frontier.to_bytes())
            .bind(checkpoint)
            .bind(ms(at));
    let doing = "writing the ledger's head";
    connection.change(query).await.map_err(database(doing))?;
    Ok(())
}

pub(in crate::store) async fn store_segment(
    connection: &mut dyn Connection,
    segment: Segment,
) -> Result<(), StoreError> {
    let query = sql("INSERT INTO segments (first, count, bytes) VALUES ($1, $2, $3)")
        .bind(segment.first)
        .bind(segment.count)
        .bind(segment.bytes);
    connection
        .change(query)
        .await
        .map_err(database("writing a segment"))?;
    Ok(())
}

/// Keeps roots at the edges of tiles. Known ones stay: they are made from leaves that never change.
pub(in crate::store) fn kept_nodes(nodes: &[Node]) -> impl Iterator<Item = Query> {
    nodes.iter().map(|node| {
        sql("INSERT INTO tree_nodes (level, idx, hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(node.level)
            .bind(node.index)
            .bind(node.hash.as_slice())
    })
}

pub(in crate::store) async fn store_nodes(
    connection: &mut dyn Connection,
    nodes: &[Node],
) -> Result<(), StoreError> {
    for query in kept_nodes(nodes) {
        connection
            .change(query)
            .await
            .map_err(database("writing the tree"))?;
    }
    Ok(())
}
