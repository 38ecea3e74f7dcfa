//! Entries that have no row to be found by: they are read where they lie.

use super::contract::{EntryLine, StoreError, StoredSegment};
use crate::clock::Time;
use crate::domain::transition::About;
use crate::ledger;
use serde_json::Value;

/// The line of the entry at `index`, which `segment` holds.
///
/// # Errors
/// The segment cannot be read, or it holds no such entry.
pub(super) fn line_in(segment: &StoredSegment, index: u64) -> Result<EntryLine, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt {
        what: "a segment",
        why,
    };
    let open = ledger::open(&segment.bytes).map_err(|error| corrupt(error.to_string()))?;
    let position = index
        .checked_sub(open.first())
        .and_then(|position| u32::try_from(position).ok())
        .filter(|position| *position < open.count())
        .ok_or_else(|| corrupt(format!("it does not hold entry {index}")))?;
    let entry = open.entry(position);
    let kind = entry
        .kind()
        .ok_or_else(|| corrupt(format!("its kind {:?} is not known", entry.kind)))?;
    let time = |ms| Time::from_timestamp_millis(ms).ok_or_else(|| corrupt(format!("{ms} is no time")));
    // An erased payload says nothing any more; the entry stands.
    let payload: Value = open
        .payload(position)
        .and_then(|payload| serde_json::from_slice(payload).ok())
        .unwrap_or_default();
    let about = serde_json::from_value(payload["about"].clone()).ok();
    Ok(EntryLine {
        index,
        kind,
        at: time(entry.happened_at)?,
        entered: time(entry.entered_at)?,
        about: about.unwrap_or_else(|| About {
            cluster: entry.cluster.map(str::to_owned),
            ..About::default()
        }),
        sentence: payload["says"].as_str().unwrap_or_default().to_owned(),
    })
}
