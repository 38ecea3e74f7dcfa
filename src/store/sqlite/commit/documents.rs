//! The documents with a state of their own: new ones, and updates guarded by the state and version
//! that were read.

use super::super::sessions::keep;
use super::super::{database, index, json, ms, received};
use crate::clock::Time;
use crate::domain::finding::Finding;
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::domain::notice::Delivery;
use crate::domain::request::Request;
use crate::domain::transition::Write;
use crate::store::contract::StoreError;
use sqlx::sqlite::SqliteConnection;

pub(super) async fn apply(
    connection: &mut SqliteConnection,
    write: &Write,
    now: Time,
) -> Result<(), StoreError> {
    match write {
        Write::NewRequest(request) => insert_request(connection, request).await,
        Write::Request { expected, new } => update_request(connection, expected, new).await,
        Write::NewGrant(grant) => insert_grant(connection, grant).await,
        Write::Grant { expected, new } => update_grant(connection, expected.name(), new).await,
        Write::NewFollowUp(follow_up) => insert_follow_up(connection, follow_up).await,
        Write::FollowUp { expected, new } => update_follow_up(connection, expected.name(), new).await,
        Write::NewFinding(finding) => insert_finding(connection, finding).await,
        Write::Gathered { expected, new } => gather(connection, *expected, new).await,
        Write::Finding(finding) => settle_finding(connection, finding).await,
        Write::Delivery(delivery) => upsert_delivery(connection, delivery).await,
        Write::SettledDelivery(delivery) => settle_delivery(connection, delivery).await,
        Write::Received(batch) => received::count(connection, batch, now).await,
        Write::Keep { name, value } => keep(connection, name, value).await,
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
    .map_err(unique("filing a request", "the request"))?;
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
    .map_err(unique("making a grant", "the grant"))?;
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
    .map_err(unique("opening a follow-up", "the follow-up"))?;
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

/// A finding that grows. Two that add to it at once would lose one's changes: whoever knows fewer loses.
async fn gather(
    connection: &mut SqliteConnection,
    expected: Option<u64>,
    finding: &Finding,
) -> Result<(), StoreError> {
    let Some(changes) = expected else {
        sqlx::query("INSERT INTO findings (id, key, at, open, document) VALUES (?, ?, ?, 1, ?)")
            .bind(finding.id.to_string())
            .bind(&finding.key)
            .bind(ms(finding.at))
            .bind(json(finding)?)
            .execute(connection)
            .await
            .map_err(unique("keeping a finding", "the finding"))?;
        return Ok(());
    };
    let done = sqlx::query(
        "UPDATE findings SET document = ?
         WHERE id = ? AND open = 1 AND json_extract(document, '$.bypass.changes') = ?",
    )
    .bind(json(finding)?)
    .bind(finding.id.to_string())
    .bind(index(changes))
    .execute(connection)
    .await
    .map_err(database("adding to a finding"))?;
    changed("the finding", done.rows_affected())
}

async fn settle_finding(connection: &mut SqliteConnection, finding: &Finding) -> Result<(), StoreError> {
    let changes = finding.bypass.as_ref().map_or(0, |bypass| bypass.changes);
    let done = sqlx::query(
        "UPDATE findings SET open = 0, document = ?
         WHERE id = ? AND open = 1 AND coalesce(json_extract(document, '$.bypass.changes'), 0) = ?",
    )
    .bind(json(finding)?)
    .bind(finding.id.to_string())
    .bind(index(changes))
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

pub(super) async fn upsert_delivery(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO deliveries (notice, channel, undeliverable, document) VALUES (?, ?, ?, ?)
         ON CONFLICT (notice, channel) DO UPDATE SET
           undeliverable = excluded.undeliverable, document = excluded.document
         WHERE excluded.undeliverable = 0 OR json_extract(deliveries.document, '$.settled') IS NULL",
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

async fn settle_delivery(connection: &mut SqliteConnection, delivery: &Delivery) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE deliveries SET undeliverable = 0, document = ?
         WHERE notice = ? AND channel = ? AND undeliverable = 1",
    )
    .bind(json(delivery)?)
    .bind(delivery.notice.to_string())
    .bind(&delivery.channel)
    .execute(connection)
    .await
    .map_err(database("settling a delivery"))?;
    changed("the delivery", done.rows_affected())
}

/// Who finds the same thing made already was not the first: as much a conflict as an update's.
fn unique(doing: &'static str, what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match error.as_database_error() {
        Some(source) if source.is_unique_violation() => StoreError::Conflict(what),
        _ => database(doing)(error),
    }
}
