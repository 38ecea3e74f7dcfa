//! What others did in a time that is asked for, where their events are kept (`audit.keep`). They have no lines to look
//! up: each batch's own line says when it came, and they are read where they lie behind it.

use super::ledger_query::Asked;
use crate::audit::{self, Told};
use crate::broker::Broker;
use crate::clock::Time;
use crate::cores;
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::About;
use crate::ledger;
use crate::store::{EntryFilter, EntryLine, StoreError, StoredSegment};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// An event comes no later than this after it happened: longer than an API server goes on trying.
pub(super) const LATE: TimeDelta = TimeDelta::minutes(10);
/// So many batches are read for one question.
pub(super) const BATCHES: usize = 200;
/// So many lines of batches are looked at for them.
const LINES: usize = 20_000;
const CHUNK: u32 = 500;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Newest first, by when it happened.
    pub lines: Vec<EntryLine>,
    /// There may be more: the question is too wide.
    pub more: bool,
}

/// Whether the question is one that others' events can answer: one of a time, and of nothing that they have not.
pub(super) fn answers(asked: &Asked) -> bool {
    (asked.from.is_some() || asked.to.is_some())
        && asked.kind.is_none_or(|kind| kind == EntryKind::AuditEvent)
        && asked.team.is_none()
        && asked.grant.is_none()
}

/// Up to `limit` of others' kept events that answer the question.
///
/// # Errors
/// The store's; or a segment cannot be read.
pub(super) async fn kept(asked: &Asked, broker: &Broker, limit: usize) -> Result<Kept, StoreError> {
    let mut found = Kept::default();
    if !answers(asked) {
        return Ok(found);
    }
    let mut filter = EntryFilter {
        kinds: vec![EntryKind::BatchCount],
        cluster: asked.cluster.clone(),
        from: asked.from,
        to: asked.to.and_then(|to| to.checked_add_signed(LATE)),
        limit: CHUNK,
        ..EntryFilter::default()
    };
    let (mut read, mut looked_at) = (BTreeSet::new(), 0);
    loop {
        let lines = broker.store.entries(filter.clone()).await?;
        let is_last = lines.len() < CHUNK as usize;
        for line in lines {
            filter.before = Some(line.index);
            looked_at += 1;
            if !line.sentence.contains(audit::KEPT) {
                continue;
            }
            if read.len() == BATCHES || looked_at > LINES || found.lines.len() > limit {
                found.more = true;
                break;
            }
            let segment = broker.store.segment_of(line.index).await?;
            if let Some(segment) = segment.filter(|segment| read.insert(segment.first)) {
                let asked = asked.clone();
                found
                    .lines
                    .extend(cores::run(move || within(&segment, &asked)).await?);
            }
        }
        if is_last || found.more {
            break;
        }
    }
    found
        .lines
        .sort_by_key(|line| std::cmp::Reverse((line.at, line.index)));
    found.more |= found.lines.len() > limit;
    found.lines.truncate(limit);
    Ok(found)
}

/// The kept events of a segment that answer the question.
fn within(segment: &StoredSegment, asked: &Asked) -> Result<Vec<EntryLine>, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt {
        what: "a segment",
        why,
    };
    let open = ledger::open(&segment.bytes).map_err(|error| corrupt(error.to_string()))?;
    let time = |ms| Time::from_timestamp_millis(ms).ok_or_else(|| corrupt(format!("{ms} is no time")));
    let mut lines = vec![];
    for position in 0..open.count() {
        let entry = open.entry(position);
        if entry.kind() != Some(EntryKind::AuditEvent)
            || asked
                .cluster
                .as_deref()
                .is_some_and(|cluster| entry.cluster != Some(cluster))
        {
            continue;
        }
        let (at, entered) = (time(entry.happened_at)?, time(entry.entered_at)?);
        if asked.from.is_some_and(|from| at < from) || asked.to.is_some_and(|to| at > to) {
            continue;
        }
        if let Some(told) = open.payload(position).and_then(|payload| answer(payload, asked)) {
            lines.push(EntryLine {
                index: open.first() + u64::from(position),
                kind: EntryKind::AuditEvent,
                at,
                entered,
                sentence: format!("{} {}", told.user, told.words.text),
                about: About {
                    cluster: entry.cluster.map(str::to_owned),
                    person: Some(told.user),
                    ..About::default()
                },
            });
        }
    }
    Ok(lines)
}

/// The event of a payload, told, where nothing but its place in the log says that it is there.
pub(super) fn told(payload: &[u8]) -> Option<(Told, &RawValue)> {
    #[derive(Deserialize)]
    struct Payload<'p> {
        #[serde(borrow)]
        facts: Facts<'p>,
    }
    #[derive(Deserialize)]
    struct Facts<'p> {
        #[serde(borrow, default)]
        action: Option<&'p RawValue>,
        #[serde(borrow)]
        event: &'p RawValue,
    }
    let payload: Payload<'_> = serde_json::from_slice(payload).ok()?;
    if payload.facts.action.is_some() {
        return None;
    }
    let event = payload.facts.event;
    Some((audit::told(event.get().as_bytes())?, event))
}

fn answer(payload: &[u8], asked: &Asked) -> Option<Told> {
    let (told, event) = told(payload)?;
    let is = |wanted: &Option<String>, found: &str| {
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted.to_lowercase() == found.to_lowercase())
    };
    if !is(&asked.person, &told.user) || !is(&asked.object, &told.words.object) {
        return None;
    }
    if let Some(field) = asked.field.as_ref().filter(|_| asked.object.is_some()) {
        let event = serde_json::from_str(event.get()).ok()?;
        if !told.mutates || !audit::may_write(&event, field) {
            return None;
        }
    }
    Some(told)
}
