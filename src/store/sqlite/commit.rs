//! The one write door. One transaction: guarded updates, entries with their signed checkpoint,
//! jobs, notices. The only file that writes to the tables of requests, grants, follow-ups, findings
//! and the ledger (a test holds the tree to that).

use super::{SqliteStore, corrupt, database, index, jobs, json, ms};
use crate::clock::Time;
use crate::domain::canonical;
use crate::domain::finding::Finding;
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::domain::job::{Job, JobKind};
use crate::domain::notice::{Delivery, Notice};
use crate::domain::request::Request;
use crate::domain::transition::{Record, Transition, Write};
use crate::ledger::{self, Draft, Seed};
use crate::store::contract::{Committed, StoreError};
use serde_json::json as value;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

impl SqliteStore {
    pub(super) async fn write(&self, transition: Transition) -> Result<Committed, StoreError> {
        let now = self.clock.now();
        let mut writer = self.writer.lock().await;
        let mut transaction = writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(database("beginning a commit"))?;
        for write in &transition.writes {
            apply(&mut transaction, write).await?;
        }
        let given = transition.records.len() as u64;
        let fresh = unseen(&mut transaction, transition.records, now).await?;
        let repeats = given - fresh.len() as u64;
        let (first, checkpoint) = self.append(&mut transaction, &fresh, now).await?;
        for notice in &transition.notices {
            insert_notice(&mut transaction, notice, now).await?;
        }
        for job in &transition.jobs {
            jobs::insert(&mut transaction, job).await?;
        }
        transaction.commit().await.map_err(database("committing"))?;
        Ok(Committed {
            first,
            entries: fresh.len() as u64,
            repeats,
            checkpoint,
        })
    }

    /// Appends the records to the ledger: segment, head and look-up rows in this same transaction.
    async fn append(
        &self,
        connection: &mut SqliteConnection,
        records: &[Record],
        now: Time,
    ) -> Result<(Option<u64>, String), StoreError> {
        let (mut frontier, checkpoint) = super::ledger::head(connection).await?;
        if records.is_empty() {
            return Ok((None, checkpoint));
        }
        let drafts: Vec<Draft> = records.iter().map(draft).collect();
        let segment = ledger::seal(&mut frontier, Seed::random(), now, &drafts)
            .map_err(|error| corrupt("an entry that cannot be entered")(error.to_string()))?;
        let checkpoint = self.sign(&frontier)?;
        super::ledger::store_segment(connection, &segment).await?;
        super::ledger::store_head(connection, &frontier, &checkpoint, now).await?;
        for (offset, record) in (segment.first..).zip(records) {
            insert_line(connection, offset, record, now).await?;
        }
        Ok((Some(segment.first), checkpoint))
    }
}

/// The entry's payload: everything the record says, canonical, so that its hash covers the sentence too.
fn draft(record: &Record) -> Draft {
    Draft {
        kind: record.kind,
        at: record.at,
        cluster: record.about.cluster.clone(),
        request: record.about.request,
        grant: record.about.grant,
        payload: canonical::bytes(&value!({
            "about": record.about,
            "controls": record.kind.controls(),
            "facts": record.payload,
            "says": record.sentence,
        })),
    }
}

/// Drops records whose key was entered before, and repeats inside the batch.
async fn unseen(
    connection: &mut SqliteConnection,
    records: Vec<Record>,
    now: Time,
) -> Result<Vec<Record>, StoreError> {
    let mut fresh = Vec::with_capacity(records.len());
    for record in records {
        if let Some(key) = &record.key {
            let inserted = sqlx::query("INSERT INTO seen (key, at) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(key)
                .bind(ms(now))
                .execute(&mut *connection)
                .await
                .map_err(database("looking for repeats"))?;
            if inserted.rows_affected() == 0 {
                continue;
            }
        }
        fresh.push(record);
    }
    Ok(fresh)
}

async fn insert_line(
    connection: &mut SqliteConnection,
    at: u64,
    record: &Record,
    now: Time,
) -> Result<(), StoreError> {
    let about = &record.about;
    sqlx::query(
        "INSERT INTO entries (idx, kind, at, entered, request, grant_id, follow_up, cluster, team, profile,
           person, sentence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(index(at))
    .bind(record.kind.name())
    .bind(ms(record.at))
    .bind(ms(now))
    .bind(about.request.map(|id| id.to_string()))
    .bind(about.grant.map(|id| id.to_string()))
    .bind(about.follow_up.map(|id| id.to_string()))
    .bind(&about.cluster)
    .bind(&about.team)
    .bind(&about.profile)
    .bind(&about.person)
    .bind(&record.sentence)
    .execute(&mut *connection)
    .await
    .map_err(database("indexing an entry"))?;
    if let Some(action) = &record.action {
        sqlx::query(
            "INSERT INTO actions (entry, grant_id, cluster, received_us, credential_id, class, mutation, document)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(index(at))
        .bind(action.grant.map(|id| id.to_string()))
        .bind(&action.cluster)
        .bind(action.received_us)
        .bind(&action.credential_id)
        .bind(&action.class)
        .bind(action.mutation)
        .bind(json(action)?)
        .execute(connection)
        .await
        .map_err(database("indexing an action"))?;
    }
    Ok(())
}

async fn insert_notice(
    connection: &mut SqliteConnection,
    notice: &Notice,
    now: Time,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO notices (id, at, document) VALUES (?, ?, ?)")
        .bind(notice.id.to_string())
        .bind(ms(notice.at))
        .bind(json(notice)?)
        .execute(&mut *connection)
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
        };
        upsert_delivery(connection, &delivery).await?;
        let job = Job::new(
            JobKind::Deliver {
                notice: notice.id,
                channel: channel.clone(),
            },
            now,
        );
        jobs::insert(connection, &job).await?;
    }
    Ok(())
}

async fn upsert_delivery(connection: &mut SqliteConnection, delivery: &Delivery) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO deliveries (notice, channel, undeliverable, document) VALUES (?, ?, ?, ?)
         ON CONFLICT (notice, channel) DO UPDATE SET
           undeliverable = excluded.undeliverable, document = excluded.document",
    )
    .bind(delivery.notice.to_string())
    .bind(&delivery.channel)
    .bind(delivery.undeliverable)
    .bind(json(delivery)?)
    .execute(connection)
    .await
    .map_err(database("keeping a delivery"))?;
    Ok(())
}

async fn apply(connection: &mut SqliteConnection, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::NewRequest(request) => insert_request(connection, request).await,
        Write::Request { expected, new } => update_request(connection, expected, new).await,
        Write::NewGrant(grant) => insert_grant(connection, grant).await,
        Write::Grant { expected, new } => update_grant(connection, expected.name(), new).await,
        Write::NewFollowUp(follow_up) => insert_follow_up(connection, follow_up).await,
        Write::FollowUp { expected, new } => update_follow_up(connection, expected.name(), new).await,
        Write::NewFinding(finding) => insert_finding(connection, finding).await,
        Write::Finding(finding) => settle_finding(connection, finding).await,
        Write::Delivery(delivery) => upsert_delivery(connection, delivery).await,
    }
}

async fn insert_request(connection: &mut SqliteConnection, request: &Request) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO requests (id, state, version, requester, team, cluster, filed_at, document)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(request.id.to_string())
    .bind(request.state_name())
    .bind(index(request.version))
    .bind(&request.ask.requester.person_claim)
    .bind(&request.ask.team)
    .bind(&request.ask.cluster)
    .bind(ms(request.filed_at))
    .bind(json(request)?)
    .execute(connection)
    .await
    .map_err(database("filing a request"))?;
    Ok(())
}

async fn update_request(
    connection: &mut SqliteConnection,
    expected: &str,
    request: &Request,
) -> Result<(), StoreError> {
    let new = Request {
        version: request.version + 1,
        ..request.clone()
    };
    let done = sqlx::query(
        "UPDATE requests SET state = ?, version = ?, document = ? WHERE id = ? AND state = ? AND version = ?",
    )
    .bind(new.state_name())
    .bind(index(new.version))
    .bind(json(&new)?)
    .bind(new.id.to_string())
    .bind(expected)
    .bind(index(request.version))
    .execute(connection)
    .await
    .map_err(database("changing a request"))?;
    changed("the request", done.rows_affected())
}

async fn insert_grant(connection: &mut SqliteConnection, grant: &Grant) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO grants (id, request, state, version, requester, team, cluster, account, approved_at, document)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(grant.id.to_string())
    .bind(grant.request.to_string())
    .bind(grant.state.name())
    .bind(index(grant.version))
    .bind(&grant.requester.person_claim)
    .bind(&grant.team)
    .bind(&grant.cluster)
    .bind(&grant.account)
    .bind(ms(grant.approved_at))
    .bind(json(grant)?)
    .execute(connection)
    .await
    .map_err(database("making a grant"))?;
    Ok(())
}

async fn update_grant(
    connection: &mut SqliteConnection,
    expected: &str,
    grant: &Grant,
) -> Result<(), StoreError> {
    let new = Grant {
        version: grant.version + 1,
        ..grant.clone()
    };
    let done = sqlx::query(
        "UPDATE grants SET state = ?, version = ?, document = ? WHERE id = ? AND state = ? AND version = ?",
    )
    .bind(new.state.name())
    .bind(index(new.version))
    .bind(json(&new)?)
    .bind(new.id.to_string())
    .bind(expected)
    .bind(index(grant.version))
    .execute(connection)
    .await
    .map_err(database("changing a grant"))?;
    changed("the grant", done.rows_affected())
}

async fn insert_follow_up(connection: &mut SqliteConnection, follow_up: &FollowUp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO follow_ups (id, grant_id, state, version, team, from_at, closed_at, document)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(follow_up.id.to_string())
    .bind(follow_up.grant.to_string())
    .bind(follow_up.state.name())
    .bind(index(follow_up.version))
    .bind(&follow_up.team)
    .bind(ms(follow_up.from))
    .bind(follow_up.closed_at.map(ms))
    .bind(json(follow_up)?)
    .execute(connection)
    .await
    .map_err(database("opening a follow-up"))?;
    Ok(())
}

async fn update_follow_up(
    connection: &mut SqliteConnection,
    expected: &str,
    follow_up: &FollowUp,
) -> Result<(), StoreError> {
    let new = FollowUp {
        version: follow_up.version + 1,
        ..follow_up.clone()
    };
    let done = sqlx::query(
        "UPDATE follow_ups SET state = ?, version = ?, closed_at = ?, document = ?
         WHERE id = ? AND state = ? AND version = ?",
    )
    .bind(new.state.name())
    .bind(index(new.version))
    .bind(new.closed_at.map(ms))
    .bind(json(&new)?)
    .bind(new.id.to_string())
    .bind(expected)
    .bind(index(follow_up.version))
    .execute(connection)
    .await
    .map_err(database("changing a follow-up"))?;
    changed("the follow-up", done.rows_affected())
}

async fn insert_finding(connection: &mut SqliteConnection, finding: &Finding) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO findings (id, key, at, open, document) VALUES (?, ?, ?, 1, ?)
         ON CONFLICT (key) WHERE open = 1 DO NOTHING",
    )
    .bind(finding.id.to_string())
    .bind(&finding.key)
    .bind(ms(finding.at))
    .bind(json(finding)?)
    .execute(connection)
    .await
    .map_err(database("keeping a finding"))?;
    Ok(())
}

async fn settle_finding(connection: &mut SqliteConnection, finding: &Finding) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE findings SET open = 0, document = ? WHERE id = ? AND open = 1")
        .bind(json(finding)?)
        .bind(finding.id.to_string())
        .execute(connection)
        .await
        .map_err(database("settling a finding"))?;
    changed("the finding", done.rows_affected())
}

fn changed(what: &'static str, rows: u64) -> Result<(), StoreError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict(what))
    }
}
