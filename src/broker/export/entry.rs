//! The export of one entry: it, its proof, and what it takes to judge it by itself.

use super::{bundle, for_eyes, lines};
use crate::broker::{Broker, BrokerError, Result};
use crate::domain::entry_kind::EntryKind;
use crate::domain::person::Person;
use crate::ledger::{Bundle, BundleEntry};
use crate::store::{EntryFilter, EntryLine, Store};
use std::collections::BTreeSet;

impl Broker {
    /// The export of the entry at `index`, read by `person`. `with_tokens`: with the signed tokens that approvals rest
    /// on; otherwise an entry that holds one comes without what it says.
    ///
    /// # Errors
    /// There is no such entry; it cannot be read, or the reading cannot be entered.
    pub async fn export_entry(&self, index: u64, person: &Person, with_tokens: bool) -> Result<Bundle> {
        let store = self.store.as_ref();
        let Some(line) = store.entry(index).await? else {
            return Err(BrokerError::NotFound("entry"));
        };
        self.note_read(person, &format!("export of entry {index}"), line.about.clone())
            .await?;
        let keys = self
            .verifier_keys()
            .map_err(|error| BrokerError::Refused(error.to_string()))?;
        let indices = if with_tokens {
            beneath(store, &line).await?
        } else {
            BTreeSet::from([index])
        };
        let mut bundle = bundle(store, &keys, indices, &published(store, &line).await?).await?;
        if !with_tokens {
            bundle.entries.iter_mut().for_each(without_tokens);
        }
        Ok(bundle)
    }
}

/// The entry, and beneath an approval what it is of: the request as it was filed, and the approvals before.
async fn beneath(store: &dyn Store, line: &EntryLine) -> Result<BTreeSet<u64>> {
    let mut indices = BTreeSet::from([line.index]);
    let is_approval = matches!(line.kind, EntryKind::RequestApproved | EntryKind::ApprovalGiven);
    if let Some(request) = line.about.request.filter(|_| is_approval) {
        let filter = EntryFilter {
            kinds: vec![EntryKind::RequestFiled, EntryKind::ApprovalGiven],
            request: Some(request),
            before: Some(line.index),
            ..EntryFilter::default()
        };
        indices.extend(lines(store, filter).await?.iter().map(|line| line.index));
    }
    Ok(indices)
}

/// The entries that say which checkpoints left the house with its grant.
async fn published(store: &dyn Store, line: &EntryLine) -> Result<BTreeSet<u64>> {
    let Some(grant) = line.about.grant else {
        return Ok(BTreeSet::new());
    };
    let filter = EntryFilter {
        kinds: vec![EntryKind::CheckpointPublished],
        grant: Some(grant),
        ..EntryFilter::default()
    };
    Ok(lines(store, filter)
        .await?
        .iter()
        .map(|line| line.index)
        .collect())
}

fn without_tokens(entry: &mut BundleEntry) {
    let holds_one = entry.payload.as_ref().is_some_and(|(_, bytes)| {
        // What cannot be read may hold anything.
        serde_json::from_slice::<serde_json::Value>(bytes)
            .map_or(true, |payload| for_eyes(payload.clone()) != payload)
    });
    if holds_one {
        entry.payload = None;
    }
}
