//! Checks a bundle: with the log's public key and nothing else.

use super::bundle::{Bundle, BundleEntry};
use super::checkpoint::{Checkpoint, NoteError, SignedCheckpoint, VerifierKey};
use super::entry::payload_digest;
use super::problem::{Problem, Source};
use super::proof::{verify_consistency, verify_inclusion};
use super::report::Report;
use super::tree::leaf_hash;
use super::verify::Checks;

/// Checks every entry, payload and approval of a bundle, and its checkpoint against those held
/// elsewhere. A held one that the bundle has no proof for counts as a problem: it was asked about and
/// could not be answered.
#[must_use]
pub fn verify_bundle(bundle: &Bundle, mut checks: Checks<'_>) -> Report {
    let mut report = Report::default();
    let head = match signed(&bundle.checkpoint, checks.keys) {
        Ok(head) => head,
        Err((size, error)) => {
            report.found(Problem::BadSignature { source: Source::Stored, size, why: error.to_string() });
            return report;
        }
    };
    report.checkpoints = 1;
    (report.size, report.root) = (head.size, Some(head.root));
    for note in checks.held {
        match signed(note, checks.keys) {
            Ok(held) => compare(&held, &head, bundle, &mut report),
            Err((size, error)) => {
                report.found(Problem::BadSignature { source: Source::Held, size, why: error.to_string() });
            }
        }
    }
    for entry in &bundle.entries {
        report.entries += 1;
        check_entry(entry, &head, &mut checks, &mut report);
    }
    report
}

fn signed(note: &str, keys: &[VerifierKey]) -> Result<Checkpoint, (Option<u64>, NoteError)> {
    let note = SignedCheckpoint::parse(note).map_err(|error| (None, error))?;
    let checkpoint = note.checkpoint().clone();
    note.verify(keys).map_err(|error| (Some(checkpoint.size), error))?;
    Ok(checkpoint)
}

fn compare(held: &Checkpoint, head: &Checkpoint, bundle: &Bundle, report: &mut Report) {
    let size = held.size;
    let not_compared = |why| Problem::NotCompared { source: Source::Held, size, why };
    if held.origin != head.origin {
        return report.found(not_compared("it is of another log"));
    }
    if size == head.size {
        if held.root != head.root {
            report.found(Problem::Fork { size, one: head.root, other: held.root });
        }
        return;
    }
    if size > head.size {
        return report.found(not_compared("it is newer than the bundle; export the grant again"));
    }
    let proof = bundle.consistency.iter().find(|one| one.from == size).map(|one| one.proof.as_slice());
    let Some(proof) = proof.or((size == 0).then_some(&[])) else {
        return report.found(not_compared("the bundle has no proof from that size"));
    };
    if verify_consistency(size, &held.root, head.size, &head.root, proof).is_err() {
        report.found(not_compared("the bundle's proof does not lead from it to the bundle's checkpoint: a fork, or a damaged proof"));
    }
}

fn check_entry(given: &BundleEntry, head: &Checkpoint, checks: &mut Checks<'_>, report: &mut Report) {
    let index = given.index;
    let entry = match given.read() {
        Ok(entry) => entry,
        Err(error) => return report.found(Problem::EntryNotInTree { index, why: error.to_string() }),
    };
    if let Err(error) = verify_inclusion(index, head.size, &leaf_hash(&given.entry), &given.proof, &head.root) {
        return report.found(Problem::EntryNotInTree { index, why: error.to_string() });
    }
    report.completeness.look(index, &entry);
    if let Some((salt, payload)) = &given.payload {
        if payload_digest(salt, payload) != entry.digest {
            return report.found(Problem::PayloadAltered { index });
        }
    } else {
        report.pruned += 1;
    }
    let payload = given.payload.as_ref().map(|(_, payload)| payload.as_slice());
    checks.approval(index, &entry, payload, report);
}
