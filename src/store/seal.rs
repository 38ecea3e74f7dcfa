//! What a transition enters, hashed and compressed: everything of a commit that needs no place in the log, so that it
//! is done beside other commits and not inside the one transaction that all wait for.

use crate::clock::Time;
use crate::cores;
use crate::domain::canonical;
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::{About, Kept, Move, Record, Transition, Write};
use crate::ledger::{self, Content, Draft, Prepared, Seed};
use crate::store::contract::StoreError;
use serde_json::json;

/// More records than this are sealed on a core of their own.
const AT_ONCE: usize = 8;

/// The entry's payload: everything the record says, canonical, so that its hash covers the sentence too.
/// The transition's first entry carries the states that it moved.
pub(super) fn draft(record: &Record, moves: &[Move]) -> Draft {
    let mut payload = json!({
        "about": record.about,
        "controls": record.kind.controls(),
        "facts": record.payload,
        "says": record.sentence,
    });
    if !moves.is_empty() {
        payload["moves"] = json!(moves);
    }
    Draft {
        kind: record.kind,
        at: record.at,
        cluster: record.about.cluster.clone(),
        request: record.about.request,
        grant: record.about.grant,
        payload: canonical::bytes(&payload),
    }
}

/// The states that a transition moves.
pub(super) fn moves(transition: &Transition) -> Vec<Move> {
    transition.writes.iter().filter_map(Write::as_move).collect()
}

/// Its entries: those of the records that are `fresh`, and what is kept behind them. `None` where there are none.
///
/// # Errors
/// One of them cannot be entered.
pub(super) fn seal(
    transition: &Transition,
    fresh: &[bool],
    now: Time,
) -> Result<Option<Prepared>, StoreError> {
    let moves = moves(transition);
    let of_first = std::iter::once(moves.as_slice()).chain(std::iter::repeat(&[][..]));
    let records = transition.records.iter().zip(fresh);
    let drafts: Vec<Draft> = records
        .filter(|(_, fresh)| **fresh)
        .zip(of_first)
        .map(|((record, _), moves)| draft(record, moves))
        .collect();
    let kept: Vec<(&Kept, [Vec<u8>; 2])> = standing(transition, fresh)
        .map(|kept| (kept, around(&kept.cluster)))
        .collect();
    let mut contents: Vec<Content<'_>> = drafts.iter().map(Draft::content).collect();
    for (kept, [before, after]) in &kept {
        contents.extend(kept.events.iter().map(|(at, event)| Content {
            kind: EntryKind::AuditEvent,
            at: *at,
            cluster: Some(&kept.cluster),
            payload: [before, event, after],
        }));
    }
    if contents.is_empty() {
        return Ok(None);
    }
    let sealed = ledger::prepare_contents(Seed::random(), now, &contents);
    sealed.map(Some).map_err(|error| StoreError::Corrupt {
        what: "an entry that cannot be entered",
        why: error.to_string(),
    })
}

/// [`seal`] with every record taken for fresh: what is much goes to a core of its own.
pub(super) async fn seal_beside(
    transition: Transition,
    now: Time,
) -> (Transition, Result<Option<Prepared>, StoreError>) {
    let much = transition.records.len() > AT_ONCE || !transition.kept.is_empty();
    let work = move || {
        let sealed = seal(&transition, &vec![true; transition.records.len()], now);
        (transition, sealed)
    };
    if much { cores::run(work).await } else { work() }
}

/// What is kept and did not come before: its batch's own record says so.
pub(super) fn standing<'t>(transition: &'t Transition, fresh: &'t [bool]) -> impl Iterator<Item = &'t Kept> {
    transition.kept.iter().filter(move |kept| {
        let mut records = transition.records.iter().zip(fresh);
        !records.any(|(record, fresh)| !fresh && record.key.as_ref() == Some(&kept.batch))
    })
}

/// The payload of a kept event, without the event: it lies between.
fn around(cluster: &str) -> [Vec<u8>; 2] {
    let about = json!(About::cluster(cluster));
    let controls = json!(EntryKind::AuditEvent.controls());
    let before = format!(r#"{{"about":{about},"controls":{controls},"facts":{{"event":"#);
    let after = r#"},"says":"An event that is no grant's"}"#;
    [before.into_bytes(), after.as_bytes().to_vec()]
}
