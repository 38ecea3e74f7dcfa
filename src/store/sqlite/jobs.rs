//! The outbox: leased, never lost. A job is deleted only by the transition that completes it, or when
//! its work was found done.

use super::{SqliteStore, database, json, ms, parse};
use crate::clock::Time;
use crate::domain::job::{Job, Lane};
use crate::ids::JobId;
use crate::store::contract::StoreError;
use chrono::TimeDelta;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

impl SqliteStore {
    pub(super) async fn lease(
        &self,
        lane: Lane,
        now: Time,
        lease: TimeDelta,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let mut writer = self.writer.lock().await;
        let rows = sqlx::query(
            "UPDATE jobs SET leased_until = ?1, again = 0 WHERE id IN
               (SELECT id FROM jobs WHERE due <= ?2 AND leased_until <= ?2
                  AND substr(key, 1, instr(key, ' ') - 1) IN (SELECT value FROM json_each(?4))
                ORDER BY due LIMIT ?3)
             RETURNING document",
        )
        .bind(ms(now + lease))
        .bind(ms(now))
        .bind(limit)
        .bind(json(&lane.first_words())?)
        .fetch_all(&mut *writer)
        .await
        .map_err(database("leasing jobs"))?;
        rows.iter()
            .map(|row| parse("a job", row.get("document")))
            .collect()
    }

    /// The condition and the order are those of the index `jobs_failing`.
    pub(super) async fn read_failing_jobs(&self, limit: u32) -> Result<Vec<Job>, StoreError> {
        self.many(
            "a job",
            "SELECT document FROM jobs WHERE json_extract(document, '$.failing_since') IS NOT NULL
             ORDER BY json_extract(document, '$.failing_since') LIMIT ?",
            &[&limit.to_string()],
        )
        .await
    }

    pub(super) async fn put_job_back(&self, job: &Job) -> Result<(), StoreError> {
        let document = json(job)?;
        let mut writer = self.writer.lock().await;
        // One that was poked meanwhile keeps the earlier time: waiting would lose the poke.
        sqlx::query(
            "UPDATE jobs SET leased_until = 0,
               document = CASE WHEN again THEN json_set(?2, '$.due', json_extract(document, '$.due')) ELSE ?2 END,
               due = CASE WHEN again THEN min(due, ?1) ELSE ?1 END
             WHERE id = ?3",
        )
        .bind(ms(job.due))
        .bind(document)
        .bind(job.id.to_string())
        .execute(&mut *writer)
        .await
        .map_err(database("putting a job back"))?;
        Ok(())
    }

    pub(super) async fn delete_job(&self, id: JobId) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        complete(&mut writer, id).await
    }

    pub(super) async fn poke_jobs(&self, jobs: &[Job]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        for job in jobs {
            insert(&mut writer, job).await?;
        }
        Ok(())
    }
}

impl SqliteStore {
    /// Every job is due now at the latest, and nobody holds one.
    pub(super) async fn hasten_jobs(&self, now: Time) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        sqlx::query(
            "UPDATE jobs SET leased_until = 0, due = min(due, ?1),
               document = CASE WHEN due > ?1 THEN json_set(document, '$.due', ?2 ->> '$') ELSE document END",
        )
        .bind(ms(now))
        .bind(json(&now)?)
        .execute(&mut *writer)
        .await
        .map_err(database("bringing jobs forward"))?;
        Ok(())
    }
}

/// Adds a job, or brings the waiting one of the same key forward. A leased one is run again
/// afterwards, since it may have read the world before what caused this poke.
pub(super) async fn insert(connection: &mut SqliteConnection, job: &Job) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO jobs (id, key, due, document) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (key) DO UPDATE SET due = min(due, excluded.due), again = leased_until > 0,
           document = CASE WHEN excluded.due < due
             THEN json_set(document, '$.due', json_extract(excluded.document, '$.due')) ELSE document END",
    )
    .bind(job.id.to_string())
    .bind(job.kind.key())
    .bind(ms(job.due))
    .bind(json(job)?)
    .execute(connection)
    .await
    .map_err(database("adding a job"))?;
    Ok(())
}

/// Completes a job; one that was asked for again meanwhile stays and is due at once.
pub(super) async fn complete(connection: &mut SqliteConnection, id: JobId) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM jobs WHERE id = ? AND again = 0",
        "UPDATE jobs SET again = 0, leased_until = 0 WHERE id = ?",
    ] {
        sqlx::query(sql)
            .bind(id.to_string())
            .execute(&mut *connection)
            .await
            .map_err(database("completing a job"))?;
    }
    Ok(())
}
