//! The documents with a state of their own: new ones, and updates guarded by the state and version
//! that were read.

use crate::clock::Time;
use crate::domain::finding::Finding;
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::domain::notice::Delivery;
use crate::domain::request::Request;
use crate::domain::transition::Write;
use crate::store::contract::StoreError;
use crate::store::sql::rows::{database, json, ms};
use crate::store::sql::sessions::keep;
use crate::store::sql::{Connection, received, sql};

pub(in crate::store) async fn apply(
    connection: &mut dyn Connection,
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

async fn insert_request(connection: &mut dyn Connection, request: &Request) -> Result<(), StoreError> {
    connection
        .change(
            sql(
                "INSERT INTO requests (id, state, version, requester, team, cluster, filed_at, document)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(request.id.to_string())
            .bind(request.state_name())
            .bind(request.version)
            .bind(&request.ask.requester.person_claim)
            .bind(&request.ask.team)
            .bind(&request.ask.cluster)
            .bind(ms(request.filed_at))
            .bind(json(request)?),
        )
        .await
        .map_err(unique("filing a request", "the request"))?;
    Ok(())
}

async fn update_request(
    connection: &mut dyn Connection,
    expected: &str,
    request: &Request,
) -> Result<(), StoreError> {
    let new = Request {
        version: request.version + 1,
        ..request.clone()
    };
    let done = connection.change(sql("UPDATE requests SET state = $1, version = $2, document = $3 WHERE id = $4 AND state = $5 AND version = $6").bind(new.state_name())
    .bind(new.version)
    .bind(json(&new)?)
    .bind(new.id.to_string())
    .bind(expected)
    .bind(request.version)).await
    .map_err(database("changing a request"))?;
    changed("the request", done)
}

async fn insert_grant(connection: &mut dyn Connection, grant: &Grant) -> Result<(), StoreError> {
    connection.change(sql("INSERT INTO grants (id, request, state, version, requester, team, cluster, account, approved_at, document)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)").bind(grant.id.to_string())
    .bind(grant.request.to_string())
    .bind(grant.state.name())
    .bind(grant.version)
    .bind(&grant.requester.person_claim)
    .bind(&grant.team)
    .bind(&grant.cluster)
    .bind(&grant.account)
    .bind(ms(grant.approved_at))
    .bind(json(grant)?)).await
    .map_err(unique("making a grant", "the grant"))?;
    Ok(())
}

async fn update_grant(
    connection: &mut dyn Connection,
    expected: &str,
    grant: &Grant,
) -> Result<(), StoreError> {
    let new = Grant {
        version: grant.version + 1,
        ..grant.clone()
    };
    let done = connection.change(sql("UPDATE grants SET state = $1, version = $2, document = $3 WHERE id = $4 AND state = $5 AND version = $6").bind(new.state.name())
    .bind(new.version)
    .bind(json(&new)?)
    .bind(new.id.to_string())
    .bind(expected)
    .bind(grant.version)).await
    .map_err(database("changing a grant"))?;
    changed("the grant", done)
}

async fn insert_follow_up(connection: &mut dyn Connection, follow_up: &FollowUp) -> Result<(), StoreError> {
    connection
        .change(
            sql(
                "INSERT INTO follow_ups (id, grant_id, state, version, team, from_at, closed_at, document)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(follow_up.id.to_string())
            .bind(follow_up.grant.to_string())
            .bind(follow_up.state.name())
            .bind(follow_up.version)
            .bind(&follow_up.team)
            .bind(ms(follow_up.from))
            .bind(follow_up.closed_at.map(ms))
            .bind(json(follow_up)?),
        )
        .await
        .map_err(unique("opening a follow-up", "the follow-up"))?;
    Ok(())
}

async fn update_follow_up(
    connection: &mut dyn Connection,
    expected: &str,
    follow_up: &FollowUp,
) -> Result<(), StoreError> {
    let new = FollowUp {
        version: follow_up.version + 1,
        ..follow_up.clone()
    };
    let done = connection
        .change(
            sql(
                "UPDATE follow_ups SET state = $1, version = $2, closed_at = $3, document = $4
         WHERE id = $5 AND state = $6 AND version = $7",
            )
            .bind(new.state.name())
            .bind(new.version)
            .bind(new.closed_at.map(ms))
            .bind(json(&new)?)
            .bind(new.id.to_string())
            .bind(expected)
            .bind(follow_up.version),
        )
        .await
        .map_err(database("changing a follow-up"))?;
    changed("the follow-up", done)
}

async fn insert_finding(connection: &mut dyn Connection, finding: &Finding) -> Result<(), StoreError> {
    connection
        .change(
            sql(
                "INSERT INTO findings (id, key, at, open, document) VALUES ($1, $2, $3, 1, $4)
         ON CONFLICT (key) WHERE open = 1 DO NOTHING",
            )
            .bind(finding.id.to_string())
            .bind(&finding.key)
            .bind(ms(finding.at))
            .bind(json(finding)?),
        )
        .await
        .map_err(database("keeping a finding"))?;
    Ok(())
}

/// A finding that grows. Two that add to it at once would lose one's changes: whoever knows fewer loses.
async fn gather(
    connection: &mut dyn Connection,
    expected: Option<u64>,
    finding: &Finding,
) -> Result<(), StoreError> {
    let Some(changes) = expected else {
        let insert = sql("INSERT INTO findings (id, key, at, open, document) VALUES ($1, $2, $3, 1, $4)")
            .bind(finding.id.to_string())
            .bind(&finding.key)
            .bind(ms(finding.at))
            .bind(json(finding)?);
        let inserted = connection.change(insert).await;
        inserted.map_err(unique("keeping a finding", "the finding"))?;
        return Ok(());
    };
    let grown = sql("UPDATE findings SET document = $1
         WHERE id = $2 AND open = 1 AND CAST(json_extract(document, '$.bypass.changes') AS TEXT) = $3")
    .bind(json(finding)?)
    .bind(finding.id.to_string())
    .bind(changes.to_string());
    let done = connection.change(grown).await;
    changed("the finding", done.map_err(database("adding to a finding"))?)
}

async fn settle_finding(connection: &mut dyn Connection, finding: &Finding) -> Result<(), StoreError> {
    let changes = finding.bypass.as_ref().map_or(0, |bypass| bypass.changes);
    let settled = sql("UPDATE findings SET open = 0, document = $1
         WHERE id = $2 AND open = 1
           AND coalesce(CAST(json_extract(document, '$.bypass.changes') AS TEXT), '0') = $3")
    .bind(json(finding)?)
    .bind(finding.id.to_string())
    .bind(changes.to_string());
    let done = connection.change(settled).await;
    changed("the finding", done.map_err(database("settling a finding"))?)
}

fn changed(what: &'static str, rows: u64) -> Result<(), StoreError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict(what))
    }
}

pub(in crate::store) async fn upsert_delivery(
    connection: &mut dyn Connection,
    delivery: &Delivery,
) -> Result<(), StoreError> {
    connection
        .change(
            sql(
                "INSERT INTO deliveries (notice, channel, undeliverable, document) VALUES ($1, $2, $3, $4)
         ON CONFLICT (notice, channel) DO UPDATE SET
           undeliverable = excluded.undeliverable, document = excluded.document
         WHERE excluded.undeliverable = 0 OR json_extract(deliveries.document, '$.settled') IS NULL",
            )
            .bind(delivery.notice.to_string())
            .bind(&delivery.channel)
            .bind(delivery.undeliverable)
            .bind(json(delivery)?),
        )
        .await
        .map_err(database("keeping a delivery"))?;
    Ok(())
}

async fn settle_delivery(connection: &mut dyn Connection, delivery: &Delivery) -> Result<(), StoreError> {
    let done = connection
        .change(
            sql("UPDATE deliveries SET undeliverable = 0, document = $1
         WHERE notice = $2 AND channel = $3 AND undeliverable = 1")
            .bind(json(delivery)?)
            .bind(delivery.notice.to_string())
            .bind(&delivery.channel),
        )
        .await
        .map_err(database("settling a delivery"))?;
    changed("the delivery", done)
}

/// Who finds the same thing made already was not the first: as much a conflict as an update's.
fn unique(doing: &'static str, what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match error.as_database_error() {
        Some(source) if source.is_unique_violation() => StoreError::Conflict(what),
        _ => database(doing)(error),
    }
}
