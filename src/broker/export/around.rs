//! What the record of a grant's time rests on: the policy in force when it was asked for, and the holes in the audit
//! of its cluster while it lived, whenever they were found.

use super::{Reader, lines};
use crate::broker::Result;
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::Grant;
use crate::store::{EntryFilter, EntryLine, Store};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) async fn around(store: &dyn Store, grant: &Grant, own: &BTreeSet<u64>) -> Result<Vec<u64>> {
    let policy = EntryFilter {
        kinds: vec![EntryKind::PolicyLoaded],
        before: own.first().copied(),
        limit: 1,
        ..EntryFilter::default()
    };
    let mut found: Vec<u64> = store
        .entries(policy)
        .await?
        .iter()
        .map(|line| line.index)
        .collect();
    let holes = EntryFilter {
        kinds: vec![
            EntryKind::Gap,
            EntryKind::GapFilled,
            EntryKind::Quarantined,
            EntryKind::CanaryMissed,
            EntryKind::CanaryResumed,
        ],
        cluster: Some(grant.cluster.clone()),
        // A hole is entered when it is over or later.
        from: Some(grant.approved_at),
        ..EntryFilter::default()
    };
    let mut told = vec![];
    let mut reader = Reader::new(store);
    for line in lines(store, holes).await? {
        let facts = reader.payload(line.index).await?.unwrap_or_default()["facts"].take();
        told.push((line, facts));
    }
    let gap = |facts: &Value| facts["gap"].as_str().map(str::to_owned);
    let gaps: BTreeSet<String> = told
        .iter()
        .filter(|(line, facts)| line.kind == EntryKind::Gap && concerns(grant, line, facts))
        .filter_map(|(_, facts)| gap(facts))
        .collect();
    for (line, facts) in &told {
        let is_of = match line.kind {
            EntryKind::GapFilled => gap(facts).is_some_and(|gap| gaps.contains(&gap)),
            _ => concerns(grant, line, facts),
        };
        if is_of {
            found.push(line.index);
        }
    }
    Ok(found)
}

/// Does the hole lie in the time of the grant?
fn concerns(grant: &Grant, line: &EntryLine, facts: &Value) -> bool {
    let time = |name: &str| facts[name].as_str().and_then(|text| text.parse::<Time>().ok());
    let begins = time("from").or_else(|| time("since")).unwrap_or(line.at);
    let ends = time("to").unwrap_or(line.at);
    ends >= grant.approved_at && grant.ended_at.is_none_or(|ended| begins <= ended)
}
