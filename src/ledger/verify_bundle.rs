//! Checks a bundle: with the log's public key and nothing else.

use super::bundle::{Bundle, BundleEntry};
use super::checkpoint::{Checkpoint, NoteError, SignedCheckpoint, VerifierKey};
use super::checks::Checks;
use super::entry::payload_digest;
use super::problem::{Problem, Source};
use super::proof::{verify_consistency, verify_inclusion};
use super::report::Report;
use super::tree::leaf_hash;

/// Checks every entry, payload and approval of a bundle, and its checkpoint against those held
/// elsewhere. A held one that the bundle has no proof for counts as a problem: it was asked about and
/// could not be answered.
#[must_use]
pub fn verify_bundle(bundle: &Bundle, mut checks: Checks<'_>) -> Report {
    let mut report = Report::default();
    report.completeness.is_part = true;
    let head = match signed(&bundle.checkpoint, checks.keys) {
        Ok(head) => head,
        Err((size, error)) => {
            report.found(Problem::BadSignature {
                source: Source::Stored,
                size,
                why: error.to_string(),
            });
            return report;
        }
    };
    report.checkpoints = 1;
    (report.size, report.root) = (head.size, Some(head.root));
    for note in checks.held {
        match signed(note, checks.keys) {
            Ok(earlier) => compare(&earlier, &head, bundle, &mut report),
            Err((size, error)) => {
                report.found(Problem::BadSignature {
                    source: Source::Held,
                    size,
                    why: error.to_string(),
                });
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
    note.verify(keys)
        .map_err(|error| (Some(checkpoint.size), error))?;
    Ok(checkpoint)
}

fn compare(earlier: &Checkpoint, head: &Checkpoint, bundle: &Bundle, report: &mut Report) {
    let size = earlier.size;
    let not_compared = |why| Problem::NotCompared {
        source: Source::Held,
        size,
        why,
    };
    if earlier.origin != head.origin {
        return report.found(not_compared("it is of another log"));
    }
    if size == head.size {
        if earlier.root != head.root {
            report.found(Problem::Fork {
                size,
                one: head.root,
                other: earlier.root,
            });
        }
        return;
    }
    if size > head.size {
        return report.found(not_compared(
            "it is newer than the bundle; export the grant again",
        ));
    }
    let proof = bundle
        .consistency
        .iter()
        .find(|one| one.from == size)
        .map(|one| one.proof.as_slice());
    let Some(proof) = proof.or((size == 0).then_some(&[])) else {
        return report.found(not_compared("the bundle has no proof from that size"));
    };
    if verify_consistency(size, &earlier.root, head.size, &head.root, proof).is_err() {
        report.found(Problem::NotExtended {
            held: size,
            size: head.size,
        });
    }
}

fn check_entry(given: &BundleEntry, head: &Checkpoint, checks: &mut Checks<'_>, report: &mut Report) {
    let index = given.index;
    let entry = match given.read() {
        Ok(entry) => entry,
        Err(error) => {
            return report.found(Problem::EntryNotInTree {
                index,
                why: error.to_string(),
            });
        }
    };
    if let Err(error) = verify_inclusion(
        index,
        head.size,
        &leaf_hash(&given.entry),
        &given.proof,
        &head.root,
    ) {
        return report.found(Problem::EntryNotInTree {
            index,
            why: error.to_string(),
        });
    }
    let known = given.payload.as_ref().map(|(_, payload)| payload.as_slice());
    report.completeness.look(index, &entry, known);
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

#[cfg(test)]
mod tests {
    use super::super::bundle::Consistency;
    use super::super::checkpoint::Signer;
    use super::super::proof::Prover;
    use super::super::report::Integrity;
    use super::super::segment;
    use super::super::verify::tests::{Log, ORIGIN, signer};
    use super::*;
    use proptest::prelude::*;

    /// The export of entries 5, 9 and 10, comparable with the checkpoints of size 8 and 20.
    fn export(log: &Log) -> Bundle {
        let mut prover = Prover::new(20);
        for index in [5, 9, 10] {
            prover.include(index).unwrap();
        }
        prover.extend_from(8).unwrap();
        for (_, bytes) in &log.segments {
            segment::leaves(bytes)
                .unwrap()
                .1
                .iter()
                .for_each(|leaf| prover.leaf(leaf).unwrap());
        }
        let mut proofs = prover.finish().unwrap();
        let entries = [5u32, 9, 10].map(|index| {
            let segment = segment::open(&log.segments[index as usize / 4].1).unwrap();
            BundleEntry::from_segment(
                &segment,
                index % 4,
                proofs.inclusion.remove(&u64::from(index)).unwrap(),
            )
        });
        Bundle {
            request: None,
            grant: Some(crate::ids::GrantId::new()),
            keys: vec![signer().verifier_key().to_string()],
            checkpoint: log.notes[4].clone(),
            consistency: vec![Consistency {
                from: 8,
                proof: proofs.consistency.remove(&8).unwrap(),
            }],
            entries: entries.into(),
        }
    }

    fn verify(bundle: &Bundle, held: &[String]) -> Report {
        let keys = [signer().verifier_key()];
        verify_bundle(
            bundle,
            Checks {
                keys: &keys,
                held,
                approvals: None,
            },
        )
    }

    #[test]
    fn an_export_survives_its_file_and_is_whole() {
        let log = Log::of_twenty();
        let bundle = export(&log);
        let read = Bundle::parse(bundle.to_json().as_bytes()).unwrap();
        assert_eq!(read, bundle);
        let report = verify(&read, &[log.notes[1].clone(), log.notes[4].clone()]);
        assert_eq!(
            (report.integrity(), report.entries),
            (Integrity::Whole, 3),
            "{report}"
        );
    }

    #[test]
    fn a_payload_that_is_no_text_survives_its_file() {
        let mut bundle = export(&Log::of_twenty());
        bundle.entries[0].payload.as_mut().unwrap().1 = vec![0xff, 0, 0xfe];
        bundle.entries[1].payload = None;
        let read = Bundle::parse(bundle.to_json().as_bytes()).unwrap();
        assert_eq!(read, bundle);
        let report = verify(&read, &[]);
        assert_eq!(
            (report.problems, report.pruned),
            (vec![Problem::PayloadAltered { index: 5 }], 1)
        );
    }

    #[test]
    fn a_held_checkpoint_that_does_not_fit_is_named() {
        let log = Log::of_twenty();
        let bundle = export(&log);
        let name = |held: &str| {
            verify(&bundle, &[held.to_owned()])
                .problems
                .iter()
                .map(Problem::name)
                .collect::<Vec<_>>()
        };
        assert_eq!(name(&log.notes[0]), ["not-compared"], "no proof from size 4");
        let other = |size, root| {
            signer()
                .sign(&Checkpoint {
                    origin: ORIGIN.into(),
                    size,
                    root,
                })
                .unwrap()
        };
        assert_eq!(name(other(20, [1; 32]).text()), ["fork"]);
        assert_eq!(name(other(8, [1; 32]).text()), ["fork-or-bad-proof"]);
        assert_eq!(name(other(21, [1; 32]).text()), ["not-compared"]);
        let stranger = Signer::from_seed(ORIGIN, [1; 32]).unwrap();
        let theirs = Checkpoint {
            origin: ORIGIN.into(),
            size: 20,
            root: log.frontier.root(),
        };
        assert_eq!(name(stranger.sign(&theirs).unwrap().text()), ["bad-signature"]);
    }

    #[test]
    fn an_altered_entry_proof_or_checkpoint_is_named() {
        let log = Log::of_twenty();
        let mut bundle = export(&log);
        bundle.entries[1].entry[30] ^= 1;
        bundle.entries[2].proof[0][0] ^= 1;
        let report = verify(&bundle, &[]);
        assert!(
            matches!(
                report.problems[..],
                [
                    Problem::EntryNotInTree { index: 9, .. },
                    Problem::EntryNotInTree { index: 10, .. }
                ]
            ),
            "{report}"
        );
        let mut bundle = export(&log);
        bundle.checkpoint = bundle.checkpoint.replace("\n20\n", "\n21\n");
        assert!(matches!(
            verify(&bundle, &[]).problems[..],
            [Problem::BadSignature { size: Some(21), .. }]
        ));
    }

    #[test]
    fn malformed_bundles_are_refused() {
        let good = export(&Log::of_twenty()).to_json();
        for bad in [
            good.replace("bundle/1", "bundle/2"),
            good.replace("\"salt\"", "\"pepper\""),
            good.replace("\"index\": 9", "\"index\": 5"),
            good.replace("\"index\": 9", "\"index\": -9"),
            good.replace("\"payload\": ", "\"payload_base64\": "),
            good[..good.len() - 2].to_owned(),
            "[".repeat(100_000),
        ] {
            assert_ne!(bad, good);
            assert!(Bundle::parse(bad.as_bytes()).is_err());
        }
    }

    proptest! {
        /// Only the grant, the request and the named keys may be altered without being found: nothing
        /// signs them, and they decide nothing.
        #[test]
        fn an_altered_byte_of_a_bundle_is_found(at: prop::sample::Index, value in b' '..b'~') {
            let bundle = Bundle { grant: None, keys: Vec::new(), ..export(&Log::of_twenty()) };
            let mut bytes = bundle.to_json().into_bytes();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != value);
            bytes[at] = value;
            if let Ok(read) = Bundle::parse(&bytes) {
                let held = &Log::of_twenty().notes[1..2];
                prop_assert!(read == bundle || verify(&read, held).integrity() == Integrity::Broken);
            }
        }
    }
}
