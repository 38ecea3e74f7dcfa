//! The ledger's tables: segments, the head, and the look-up lines.

use super::commit::store_head;
use super::documents::Narrowed;
use super::{SqliteStore, corrupt, database, index, ms, time};
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::About;
use crate::ledger::segment::{HEADER_LEN, leaves as segment_leaves};
use crate::ledger::{Checkpoint, Frontier, SignedCheckpoint, VerifierKey};
use crate::store::contract::{EntryFilter, EntryLine, Head, Notable, Stands, StoreError, StoredSegment};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::str::FromStr;

impl SqliteStore {
    /// Writes the head of the empty log when there is none; otherwise refuses to go on from a head that
    /// is not the one this broker signed.
    ///
    /// Whoever alters the stored frontier would otherwise have the next commit sign over it.
    pub(super) async fn start_ledger(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM ledger_head) AS heads, (SELECT size FROM ledger_head) AS size,
               (SELECT max(first + count) FROM segments) AS stored",
        )
        .fetch_one(&mut *writer)
        .await
        .map_err(database("opening the ledger"))?;
        let stored = row.get::<Option<i64>, _>("stored").unwrap_or(0);
        if row.get::<i64, _>("heads") == 0 {
            if stored > 0 {
                return Err(refused(format!(
                    "{stored} entries are stored and their signed head is gone"
                )));
            }
            let frontier = Frontier::default();
            let checkpoint = self.sign(&frontier).await?;
            return store_head(&mut writer, &frontier, &checkpoint, self.clock.now()).await;
        }
        let (frontier, checkpoint) = head(&mut writer).await?;
        if row.get::<Option<i64>, _>("size") != Some(index(frontier.size())) {
            return Err(refused("the head's size is not that of its frontier"));
        }
        if stored != index(frontier.size()) {
            let size = frontier.size();
            return Err(refused(format!(
                "its head is of {size} entries, and {stored} are stored"
            )));
        }
        let signed = self.check_head(&frontier, &checkpoint)?;
        let is_by = |key: &VerifierKey| signed.verify(std::slice::from_ref(key)).is_ok();
        if !self.signers.keys().iter().all(is_by) {
            // A key came beside the one before: whoever holds only its public half can check from now on.
            let checkpoint = self.sign(&frontier).await?;
            store_head(&mut writer, &frontier, &checkpoint, self.clock.now()).await?;
        }
        Ok(())
    }

    /// The checkpoint is ours and signs exactly this frontier.
    fn check_head(&self, frontier: &Frontier, checkpoint: &str) -> Result<SignedCheckpoint, StoreError> {
        let signed = SignedCheckpoint::parse(checkpoint)
            .map_err(|error| refused(format!("its newest checkpoint cannot be read: {error}")))?;
        let keys = self.signers.keys();
        signed.verify(&keys).map_err(|error| {
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            refused(format!(
                "its newest checkpoint is not signed by the configured key {}: {error}",
                keys.join(" or ")
            ))
        })?;
        if *signed.checkpoint() != Checkpoint::of(&self.signers.origin(), frontier) {
            return Err(refused(format!(
                "its frontier of {} entries is not the one that its newest checkpoint of {} entries signs",
                frontier.size(),
                signed.checkpoint().size
            )));
        }
        Ok(signed)
    }

    /// The signed checkpoint over `frontier`.
    pub(super) async fn sign(&self, frontier: &Frontier) -> Result<String, StoreError> {
        let checkpoint = Checkpoint::of(&self.signers.origin(), frontier);
        let signed = self.signers.sign(&checkpoint).await;
        signed
            .map(|note| note.text().to_owned())
            .map_err(|error| corrupt("a checkpoint that cannot be signed")(error.to_string()))
    }

    pub(super) async fn read_head(&self) -> Result<Head, StoreError> {
        let row = sqlx::query("SELECT size, checkpoint, at FROM ledger_head WHERE one = 1")
            .fetch_one(&self.readers)
            .await
            .map_err(database("reading the ledger's head"))?;
        Ok(Head {
            size: row.get::<i64, _>("size").unsigned_abs(),
            checkpoint: row.get("checkpoint"),
            at: time(row.get("at"))?,
        })
    }

    pub(super) async fn read_entries(&self, filter: EntryFilter) -> Result<Vec<EntryLine>, StoreError> {
        let kinds: Vec<_> = filter.kinds.iter().map(|kind| kind.name()).collect();
        let told = !kinds.is_empty() && !filter.kinds.contains(&EntryKind::AuditEvent);
        let timed = filter.from.is_some() || filter.to.is_some();
        // What is rarest leads: the actions on one object, then the time, then the notable actions.
        let from = match (filter.object.is_some(), filter.notable.is_some(), timed) {
            (false, false, _) => "entries",
            (false, true, true) => "entries CROSS JOIN actions ON actions.entry = entries.idx",
            _ => "actions CROSS JOIN entries ON entries.idx = actions.entry",
        };
        let order = match from {
            _ if timed => "entries.at DESC, entries.idx DESC",
            "entries" => "entries.idx DESC",
            _ => "actions.entry DESC",
        };
        // Of what is common the `+` lets no index lead where the time does.
        let by = |plain: &'static str, beside: &'static str| if timed { beside } else { plain };
        let rows = Narrowed::rows("entries.*", from)
            .only(told, "entries.kind <> 'audit-event'")
            .among(by("entries.kind", "+entries.kind"), &kinds)
            .also(filter.notable.map(notable))
            .also(filter.stands.map(stands))
            .by(OBJECT, filter.object)
            .by("entries.request =", filter.request.map(|id| id.to_string()))
            .by("entries.grant_id =", filter.grant.map(|id| id.to_string()))
            .by(by("entries.person =", "+entries.person ="), filter.person)
            .by(by("entries.cluster =", "+entries.cluster ="), filter.cluster)
            .by(by("entries.team =", "+entries.team ="), filter.team)
            .by(by("entries.profile =", "+entries.profile ="), filter.profile)
            .by("entries.at >=", filter.from.map(ms))
            .by("entries.at <=", filter.to.map(ms))
            .before(timed, filter.before.map(index))
            .first(order, filter.limit)
            .build()
            .fetch_all(&self.readers)
            .await
            .map_err(database("reading the ledger"))?;
        rows.iter().map(line).collect()
    }

    pub(super) async fn read_entry(&self, at: u64) -> Result<Option<EntryLine>, StoreError> {
        let row = sqlx::query("SELECT * FROM entries WHERE idx = ?")
            .bind(index(at))
            .fetch_optional(&self.readers)
            .await
            .map_err(database("reading the ledger"))?;
        row.as_ref().map(line).transpose()
    }

    pub(super) async fn read_segment_of(&self, at: u64) -> Result<Option<StoredSegment>, StoreError> {
        let row = sqlx::query(
            "SELECT first, count, bytes FROM segments WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
        )
        .bind(index(at))
        .fetch_optional(&self.readers)
        .await
        .map_err(database("reading a segment"))?;
        Ok(row
            .as_ref()
            .map(segment)
            .filter(|s| at < s.first + u64::from(s.count)))
    }

    pub(super) async fn read_segments(
        &self,
        first: u64,
        limit: u32,
    ) -> Result<Vec<StoredSegment>, StoreError> {
        let rows =
            sqlx::query("SELECT first, count, bytes FROM segments WHERE first >= ? ORDER BY first LIMIT ?")
                .bind(index(first))
                .bind(limit)
                .fetch_all(&self.readers)
                .await
                .map_err(database("reading segments"))?;
        Ok(rows.iter().map(segment).collect())
    }

    pub(super) async fn read_leaves(&self, first: u64, count: u64) -> Result<Vec<[u8; 32]>, StoreError> {
        let end = first.saturating_add(count);
        let rows = sqlx::query(
            "SELECT first, count, substr(bytes, 1, ?3 + 32 * count) AS head FROM segments
             WHERE first >= coalesce((SELECT max(first) FROM segments WHERE first <= ?1), 0) AND first < ?2
             ORDER BY first",
        )
        .bind(index(first))
        .bind(index(end))
        .bind(i64::try_from(HEADER_LEN).unwrap_or(0))
        .fetch_all(&self.readers)
        .await
        .map_err(database("reading leaf hashes"))?;
        let mut leaves = vec![];
        for row in &rows {
            let (start, hashes) =
                segment_leaves(row.get("head")).map_err(|error| corrupt("a segment")(error.to_string()))?;
            for (at, leaf) in (start..).zip(hashes) {
                if at >= first && at < end {
                    leaves.push(leaf);
                }
            }
        }
        Ok(leaves)
    }
}

/// In the very words of the index over objects.
const OBJECT: &str = "json_extract(actions.document, '$.object') COLLATE NOCASE =";

/// In the very words of the indices over the notable ones.
fn notable(what: Notable) -> &'static str {
    match what {
        Notable::Change => "actions.mutation = 1",
        Notable::Exec => "actions.class IN ('exec','attach','port-forward','proxy','debug')",
        Notable::Secret => {
            "(actions.class = 'secret-read' OR json_extract(actions.document, '$.flags') LIKE '%\"secret\"%')"
        }
        Notable::Rights => {
            "(actions.class = 'rights-change' OR json_extract(actions.document, '$.flags') LIKE '%\"rights\"%')"
        }
        Notable::Denied => {
            "(actions.class = 'denied' OR json_extract(actions.document, '$.flags') LIKE '%\"denied\"%')"
        }
    }
}

/// Those of few are collected, those of many looked up line by line (the `+` lets the index over an expression serve).
fn stands(how: Stands) -> &'static str {
    match how {
        Stands::Running => "entries.request IN (SELECT request FROM grants WHERE state <> 'ended')",
        Stands::Owed => {
            "entries.request IN (SELECT json_extract(document, '$.request') FROM follow_ups WHERE closed_at IS NULL)"
        }
        Stands::Late => {
            "entries.request IN (SELECT json_extract(document, '$.request') FROM follow_ups
               WHERE closed_at IS NULL AND EXISTS (SELECT 1 FROM json_each(document, '$.deadlines')
                 WHERE json_extract(value, '$.state') = 'breached' AND json_extract(value, '$.met_at') IS NULL))"
        }
        Stands::Unreviewed => {
            "entries.request IN (SELECT json_extract(document, '$.request') FROM follow_ups
               WHERE json_extract(document, '$.reviewed') IS NULL)"
        }
        Stands::Reviewed => {
            "EXISTS (SELECT 1 FROM follow_ups WHERE json_extract(document, '$.request') = +entries.request
               AND json_extract(document, '$.reviewed') IS NOT NULL)"
        }
    }
}

fn segment(row: &SqliteRow) -> StoredSegment {
    StoredSegment {
        first: row.get::<i64, _>("first").unsigned_abs(),
        count: row.get("count"),
        bytes: row.get("bytes"),
    }
}

fn line(row: &SqliteRow) -> Result<EntryLine, StoreError> {
    let kind: &str = row.get("kind");
    Ok(EntryLine {
        index: row.get::<i64, _>("idx").unsigned_abs(),
        kind: EntryKind::from_name(kind)
            .ok_or_else(|| corrupt("an entry")(format!("its kind {kind:?} is not known")))?,
        at: time(row.get("at"))?,
        entered: time(row.get("entered"))?,
        about: About {
            request: id(row.get("request"))?,
            grant: id(row.get("grant_id"))?,
            follow_up: id(row.get("follow_up"))?,
            cluster: row.get("cluster"),
            team: row.get("team"),
            profile: row.get("profile"),
            person: row.get("person"),
        },
        sentence: row.get("sentence"),
    })
}

fn id<T: FromStr<Err: std::fmt::Display>>(text: Option<&str>) -> Result<Option<T>, StoreError> {
    text.map(|text| {
        text.parse()
            .map_err(|error: T::Err| corrupt("an id")(error.to_string()))
    })
    .transpose()
}

/// The right edge of the tree and the newest checkpoint.
pub(super) async fn head(connection: &mut SqliteConnection) -> Result<(Frontier, String), StoreError> {
    let row = sqlx::query("SELECT frontier, checkpoint FROM ledger_head WHERE one = 1")
        .fetch_one(connection)
        .await
        .map_err(database("reading the ledger's head"))?;
    let frontier = Frontier::from_bytes(row.get("frontier"))
        .map_err(|error| corrupt("a ledger head")(error.to_string()))?;
    Ok((frontier, row.get("checkpoint")))
}

fn refused(why: impl std::fmt::Display) -> StoreError {
    StoreError::Refused(format!(
        "the ledger in this store cannot be continued: {why}. Nothing was written; \
         `breakglass verify` on a copy of it says what is whole and what is not"
    ))
}
