//! The outbox: leased, never lost. A job is deleted only by the transition that completes it, or when
//! its work was found done. When it is due says its column, since it is moved there without reading the rest.

use super::query::{Query, Row, sql};
use super::rows::{database, json, ms, parse, time};
use super::{Database, SqlStore};
use crate::clock::Time;
use crate::domain::job::{Job, Lane};
use crate::ids::JobId;
use crate::store::contract::StoreError;
use chrono::TimeDelta;

impl<D: Database> SqlStore<D> {
    pub(super) async fn lease(
        &self,
        lane: Lane,
        now: Time,
        lease: TimeDelta,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let mut free =
            sql("WITH free AS (SELECT id FROM jobs WHERE due <= $1 AND leased_until <= $1 AND (FALSE")
                .bind(ms(now));
        for word in lane.first_words() {
            free = free.then(" OR key LIKE ").then_bind(format!("{word} %"));
        }
        let query = free
            .then(") ORDER BY due LIMIT ")
            .then_bind(limit)
            .then(D::PASS_BY_TAKEN)
            .then(") UPDATE jobs SET again = 0, leased_until = ")
            .then_bind(ms(now + lease))
            .then(" WHERE id IN (SELECT id FROM free) RETURNING document, due");
        let rows = self
            .database
            .take(query)
            .await
            .map_err(database("leasing jobs"))?;
        rows.iter().map(job).collect()
    }

    /// Jobs by a query of `document` and `due`.
    pub(super) async fn read_jobs(&self, query: Query) -> Result<Vec<Job>, StoreError> {
        self.rows("reading jobs", query).await?.iter().map(job).collect()
    }

    /// The condition and the order are those of the index `jobs_failing`.
    pub(super) async fn read_failing_jobs(&self, limit: u32) -> Result<Vec<Job>, StoreError> {
        let query = sql(
            "SELECT document, due FROM jobs WHERE json_extract(document, '$.failing_since') IS NOT NULL
             ORDER BY json_extract(document, '$.failing_since') LIMIT $1",
        );
        self.read_jobs(query.bind(limit)).await
    }

    pub(super) async fn put_job_back(&self, job: &Job) -> Result<(), StoreError> {
        // One that was poked meanwhile keeps the earlier time: waiting would lose the poke.
        let query = sql("UPDATE jobs SET leased_until = 0, document = $2,
               due = CASE WHEN again = 1 AND due < $1 THEN due ELSE $1 END WHERE id = $3")
        .bind(ms(job.due))
        .bind(json(job)?)
        .bind(job.id.to_string());
        self.change("putting a job back", query).await?;
        Ok(())
    }

    /// Completes a job; one that was asked for again meanwhile stays and is due at once.
    pub(super) async fn delete_job(&self, id: JobId) -> Result<(), StoreError> {
        let queries = [
            "DELETE FROM jobs WHERE id = $1 AND again = 0",
            "UPDATE jobs SET again = 0, leased_until = 0 WHERE id = $1",
        ]
        .map(|text| sql(text).bind(id.to_string()));
        self.change_all("completing a job", queries.into()).await
    }

    pub(super) async fn poke_jobs(&self, jobs: &[Job]) -> Result<(), StoreError> {
        let queries = jobs.iter().map(added).collect::<Result<_, _>>()?;
        self.change_all("adding jobs", queries).await
    }

    /// Every job is due now at the latest, and nobody holds one.
    pub(super) async fn hasten_jobs(&self, now: Time) -> Result<(), StoreError> {
        let query = sql("UPDATE jobs SET leased_until = 0, due = CASE WHEN due > $1 THEN $1 ELSE due END");
        self.change("bringing jobs forward", query.bind(ms(now))).await?;
        Ok(())
    }

    /// Whoever held a lease is dead: what it was doing (taking an access away, perhaps) goes on at once.
    pub(in crate::store) async fn free_jobs(&self) -> Result<(), StoreError> {
        let query = sql("UPDATE jobs SET leased_until = 0 WHERE leased_until > 0");
        let doing = "taking over the jobs of an earlier process";
        self.change(doing, query).await?;
        Ok(())
    }
}

fn job(row: &Row) -> Result<Job, StoreError> {
    Ok(Job {
        due: time(row.int(1)?)?,
        ..parse("a job", row.text(0)?)?
    })
}

/// Adds a job, or brings the waiting one of the same key forward. A leased one is run again
/// afterwards, since it may have read the world before what caused this poke.
pub(super) fn added(job: &Job) -> Result<Query, StoreError> {
    let query = sql("INSERT INTO jobs (id, key, due, document) VALUES ($1, $2, $3, $4)
         ON CONFLICT (key) DO UPDATE SET
           due = CASE WHEN excluded.due < jobs.due THEN excluded.due ELSE jobs.due END,
           again = CASE WHEN jobs.leased_until > 0 THEN 1 ELSE 0 END");
    Ok(query
        .bind(job.id.to_string())
        .bind(job.kind.key())
        .bind(ms(job.due))
        .bind(json(job)?))
}
