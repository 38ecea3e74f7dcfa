//! The ledger's tables: segments, the head, and the look-up lines.

use super::narrowed::Narrowed;
use super::query::{Row, sql};
use super::rows::{corrupt, id, index, ms, time};
use super::{Database, SqlStore};
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::About;
use crate::ledger::segment::leaves as segment_leaves;
use crate::ledger::{Checkpoint, Frontier, SignedCheckpoint, VerifierKey};
use crate::store::contract::{EntryFilter, EntryLine, Head, Notable, Stands, StoreError, StoredSegment};
use crate::store::signing::Signers;
use crate::store::unindexed::line_in;

/// The part of a segment that holds its leaf hashes.
pub(super) const LEAVES: &str = "substr(bytes, 1, CAST(28 + 32 * count AS INTEGER))";
const _: () = assert!(crate::ledger::HEADER_LEN == 28);

/// The right edge of the tree and the newest checkpoint.
pub(in crate::store) const HEAD: &str = "SELECT frontier, checkpoint FROM ledger_head WHERE one = 1";

const COLUMNS: &str =
    "entries.idx, entries.kind, entries.at, entries.entered, entries.request, entries.grant_id,
    entries.follow_up, entries.cluster, entries.team, entries.profile, entries.person, entries.sentence";

impl<D: Database> SqlStore<D> {
    /// Writes the head of the empty log when there is none; otherwise refuses to go on from a head that
    /// is not the one this broker signed.
    ///
    /// Whoever alters the stored frontier would otherwise have the next commit sign over it.
    pub(super) async fn start_ledger(&self) -> Result<(), StoreError> {
        // One statement, so that another broker's commit lies before all of it or after.
        let query = sql("SELECT stored, size, frontier, checkpoint
             FROM (SELECT coalesce(max(first + count), 0) AS stored FROM segments) AS kept
             LEFT JOIN ledger_head ON one = 1");
        let rows = self.rows("opening the ledger", query).await?;
        let row = rows
            .first()
            .ok_or_else(|| corrupt("a ledger")("nothing".to_owned()))?;
        let stored = row.int(0)?;
        let Some(size) = row.some_int(1)? else {
            if stored > 0 {
                return Err(refused(format!(
                    "{stored} entries are stored and their signed head is gone"
                )));
            }
            let frontier = Frontier::default();
            let checkpoint = self.sign(&frontier).await?;
            self.begin_head(&frontier, &checkpoint, self.clock.now()).await?;
            return Ok(());
        };
        let (frontier, checkpoint) = edge(row, 2)?;
        if size != index(frontier.size()) {
            return Err(refused("the head's size is not that of its frontier"));
        }
        if stored != size {
            return Err(refused(format!(
                "its head is of {size} entries, and {stored} are stored"
            )));
        }
        let signed = self.check_head(&frontier, &checkpoint)?;
        let is_by = |key: &VerifierKey| signed.verify(std::slice::from_ref(key)).is_ok();
        if !self.signers.keys().iter().all(is_by) {
            // A key came beside the one before: whoever holds only its public half can check from now on.
            let checkpoint = self.sign(&frontier).await?;
            self.sign_head_again(&frontier, &checkpoint, self.clock.now())
                .await?;
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
    pub(in crate::store) async fn sign(&self, frontier: &Frontier) -> Result<String, StoreError> {
        sign(&self.signers, frontier).await
    }

    pub(super) async fn read_head(&self) -> Result<Head, StoreError> {
        let query = sql("SELECT size, checkpoint, at FROM ledger_head WHERE one = 1");
        let row = self.row("reading the ledger's head", query).await?;
        let row = row.ok_or_else(|| corrupt("a ledger")("its head is gone".to_owned()))?;
        Ok(Head {
            size: row.count(0)?,
            checkpoint: row.text(1)?.to_owned(),
            at: time(row.int(2)?)?,
        })
    }

    pub(super) async fn read_entries(&self, filter: EntryFilter) -> Result<Vec<EntryLine>, StoreError> {
        let kinds: Vec<_> = filter.kinds.iter().map(|kind| kind.name()).collect();
        let told = !kinds.is_empty() && !filter.kinds.contains(&EntryKind::AuditEvent);
        let timed = filter.from.is_some() || filter.to.is_some();
        // What is rarest leads: the actions on one object, then the time, then the notable actions.
        let from = match (filter.object.is_some(), filter.notable.is_some(), timed) {
            (false, false, _) => "entries",
            (false, true, true) => D::ENTRIES_AND_ACTIONS,
            _ => D::ACTIONS_AND_ENTRIES,
        };
        let order = match from {
            _ if timed => "entries.at DESC, entries.idx DESC",
            "entries" => "entries.idx DESC",
            _ => "actions.entry DESC",
        };
        // Of what is common the `|| ''` lets no index lead where the time does.
        let by = |plain: &'static str, beside: &'static str| if timed { beside } else { plain };
        let query = Narrowed::rows(COLUMNS, from)
            .only(told, "entries.kind <> 'audit-event'")
            .among(by("entries.kind", "entries.kind || ''"), &kinds)
            .also(filter.notable.map(notable))
            .also(filter.stands.map(stands::<D>))
            .by(
                D::OBJECT_IS,
                filter.object.map(|object| object.to_ascii_lowercase()),
            )
            .by("entries.request =", filter.request.map(|id| id.to_string()))
            .by("entries.grant_id =", filter.grant.map(|id| id.to_string()))
            .by(by("entries.person =", "entries.person || '' ="), filter.person)
            .by(by("entries.cluster =", "entries.cluster || '' ="), filter.cluster)
            .by(by("entries.team =", "entries.team || '' ="), filter.team)
            .by(by("entries.profile =", "entries.profile || '' ="), filter.profile)
            .by("entries.at >=", filter.from.map(ms))
            .by("entries.at <=", filter.to.map(ms))
            .before(timed, filter.before)
            .first(order, filter.limit);
        let rows = self.rows("reading the ledger", query).await?;
        rows.iter().map(line).collect()
    }

    pub(super) async fn read_entry(&self, at: u64) -> Result<Option<EntryLine>, StoreError> {
        let query = sql("SELECT ")
            .then(COLUMNS)
            .then(" FROM entries WHERE idx = ")
            .then_bind(at);
        if let Some(row) = self.row("reading the ledger", query).await? {
            return line(&row).map(Some);
        }
        let segment = self.read_segment_of(at).await?;
        segment.map(|segment| line_in(&segment, at)).transpose()
    }

    pub(super) async fn read_segment_of(&self, at: u64) -> Result<Option<StoredSegment>, StoreError> {
        let query =
            sql("SELECT first, count, bytes FROM segments WHERE first <= $1 ORDER BY first DESC LIMIT 1");
        let row = self.row("reading a segment", query.bind(at)).await?;
        let found = row.map(segment).transpose()?;
        Ok(found.filter(|s| at < s.first + u64::from(s.count)))
    }

    pub(super) async fn read_segments(
        &self,
        first: u64,
        limit: u32,
    ) -> Result<Vec<StoredSegment>, StoreError> {
        let query = sql("SELECT first, count, bytes FROM segments WHERE first >= $1 ORDER BY first LIMIT $2");
        let query = query.bind(first).bind(limit);
        let rows = self.rows("reading segments", query).await?;
        rows.into_iter().map(segment).collect()
    }

    pub(super) async fn read_leaves(&self, first: u64, count: u64) -> Result<Vec<[u8; 32]>, StoreError> {
        let end = first.saturating_add(count);
        let query = sql("SELECT ")
            .then(LEAVES)
            .then(
                " FROM segments
             WHERE first >= coalesce((SELECT max(first) FROM segments WHERE first <= $1), 0) AND first < $2
             ORDER BY first",
            )
            .bind(first)
            .bind(end);
        let mut leaves = vec![];
        for row in self.rows("reading leaf hashes", query).await? {
            let (start, hashes) =
                segment_leaves(row.bytes(0)?).map_err(|error| corrupt("a segment")(error.to_string()))?;
            for (at, leaf) in (start..).zip(hashes) {
                if at >= first && at < end {
                    leaves.push(leaf);
                }
            }
        }
        Ok(leaves)
    }
}

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

/// Those of few are collected, those of many looked up line by line (the `|| ''` lets the index over an expression
/// serve).
fn stands<D: Database>(how: Stands) -> &'static str {
    match how {
        Stands::Running => "entries.request IN (SELECT request FROM grants WHERE state <> 'ended')",
        Stands::Owed => {
            "entries.request IN (SELECT json_extract(document, '$.request') FROM follow_ups WHERE closed_at IS NULL)"
        }
        Stands::Late => D::IS_LATE,
        Stands::Unreviewed => {
            "entries.request IN (SELECT json_extract(document, '$.request') FROM follow_ups
               WHERE json_extract(document, '$.reviewed') IS NULL)"
        }
        Stands::Reviewed => {
            "EXISTS (SELECT 1 FROM follow_ups WHERE json_extract(document, '$.request') = entries.request || ''
               AND json_extract(document, '$.reviewed') IS NOT NULL)"
        }
    }
}

fn segment(mut row: Row) -> Result<StoredSegment, StoreError> {
    Ok(StoredSegment {
        first: row.count(0)?,
        count: u32::try_from(row.count(1)?)
            .map_err(|_| corrupt("a segment")("its count is out of range".to_owned()))?,
        bytes: row.take_bytes(2)?,
    })
}

fn line(row: &Row) -> Result<EntryLine, StoreError> {
    let kind = row.text(1)?;
    let text = |place| Ok::<_, StoreError>(row.some_text(place)?.map(str::to_owned));
    Ok(EntryLine {
        index: row.count(0)?,
        kind: EntryKind::from_name(kind)
            .ok_or_else(|| corrupt("an entry")(format!("its kind {kind:?} is not known")))?,
        at: time(row.int(2)?)?,
        entered: time(row.int(3)?)?,
        about: About {
            request: id(row.some_text(4)?)?,
            grant: id(row.some_text(5)?)?,
            follow_up: id(row.some_text(6)?)?,
            cluster: text(7)?,
            team: text(8)?,
            profile: text(9)?,
            person: text(10)?,
        },
        sentence: row.text(11)?.to_owned(),
    })
}

/// The signed checkpoint over `frontier`.
pub(in crate::store) async fn sign(signers: &Signers, frontier: &Frontier) -> Result<String, StoreError> {
    let checkpoint = Checkpoint::of(&signers.origin(), frontier);
    let signed = signers.sign(&checkpoint).await;
    signed
        .map(|note| note.text().to_owned())
        .map_err(|error| corrupt("a checkpoint that cannot be signed")(error.to_string()))
}

/// The frontier and the checkpoint that stand from `place` on in a row of the head.
pub(in crate::store) fn edge(row: &Row, place: usize) -> Result<(Frontier, String), StoreError> {
    let frontier = Frontier::from_bytes(row.bytes(place)?)
        .map_err(|error| corrupt("a ledger head")(error.to_string()))?;
    Ok((frontier, row.text(place + 1)?.to_owned()))
}

fn refused(why: impl std::fmt::Display) -> StoreError {
    StoreError::Refused(format!(
        "the ledger in this store cannot be continued: {why}. Nothing was written; \
         `breakglass verify` on a copy of it says what is whole and what is not"
    ))
}
