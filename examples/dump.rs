//! Prints everything a store holds, a line of JSON each: `{"table", "row"}` for every row of every table,
//! `{"entry", "kind", "at", "payload"}` for every entry of the ledger, unpacked. For tests that look for
//! what must not be in it, and for what must: it knows no table by name but the segments.

use breakglass::ledger;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use std::io::Write;

type Failed = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let path = std::env::args().nth(1).ok_or("usage: dump STORE")?;
    let mut store = SqliteConnectOptions::new()
        .filename(&path)
        .read_only(true)
        .busy_timeout(std::time::Duration::from_secs(10))
        .connect()
        .await?;
    // One moment of the store, whatever a running broker writes meanwhile.
    sqlx::query("BEGIN").execute(&mut store).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let tables: Vec<String> = strings(
        &mut store,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
    )
    .await?;
    for table in tables.iter().filter(|table| *table != "segments") {
        for row in rows(&mut store, table).await? {
            writeln!(out, "{}", json!({"table": table, "row": row}))?;
        }
    }
    for segment in sqlx::query("SELECT first, bytes FROM segments ORDER BY first")
        .fetch_all(&mut store)
        .await?
    {
        let first: i64 = segment.try_get("first")?;
        let opened = ledger::open(segment.try_get::<&[u8], _>("bytes")?)?;
        for position in 0..opened.count() {
            let entry = opened.entry(position);
            let payload: Value = match opened.payload(position) {
                Some(bytes) => serde_json::from_slice(bytes)?,
                None => Value::Null,
            };
            let line = json!({"entry": first + i64::from(position), "kind": entry.kind,
                "at": entry.happened_at, "payload": payload});
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Every row as an object; bytes as hexadecimal digits, JSON kept in a column as what it says.
async fn rows(store: &mut SqliteConnection, table: &str) -> Result<Vec<Value>, Failed> {
    let columns = strings(
        store,
        &format!("SELECT name || ' ' || upper(type) FROM pragma_table_info('{table}')"),
    )
    .await?;
    let members: Vec<String> = columns
        .iter()
        .filter_map(|column| column.split_once(' '))
        .map(|(name, kind)| match (name, kind) {
            ("document", _) => format!("'{name}', json(\"{name}\")"),
            (_, "BLOB") => format!("'{name}', hex(\"{name}\")"),
            _ => format!("'{name}', \"{name}\""),
        })
        .collect();
    let sql = format!("SELECT json_object({}) FROM \"{table}\"", members.join(", "));
    strings(store, &sql)
        .await?
        .iter()
        .map(|text| Ok(serde_json::from_str(text)?))
        .collect()
}

async fn strings(store: &mut SqliteConnection, sql: &str) -> Result<Vec<String>, Failed> {
    // The names come from the store's own schema.
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .fetch_all(store)
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
