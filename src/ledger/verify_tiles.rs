//! Checks a log that is read as others serve it: entries beside their leaf hashes, and the hashes above.

use super::checks::Checks;
use super::entry::Entry;
use super::problem::Problem;
use super::tile::TilePath;
use super::tree::{Hash, leaf_hash};
use super::verify::{Doubt, Verifier};

impl Verifier<'_> {
    /// Takes the next entries with the leaf hashes that a tile gives for them, as many of each. There are
    /// no payloads in that form: approvals are counted as not checked.
    pub fn bundle(&mut self, leaves: &[Hash], entries: &[Vec<u8>]) {
        let first = self.next;
        let computed: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        for ((index, bytes), (leaf, stored)) in (first..).zip(entries).zip(computed.iter().zip(leaves)) {
            self.report.entries += 1;
            match Entry::parse(bytes) {
                Ok(entry) => {
                    self.report.completeness.look(index, &entry, None);
                    if leaf == stored {
                        Checks::bare_approval(&entry, &mut self.report);
                    } else {
                        self.doubt(Doubt {
                            index,
                            segment: first,
                            kind: entry.kind.to_owned(),
                            moved_from: None,
                        });
                    }
                }
                Err(error) => self.report.found(Problem::EntryUnreadable {
                    index,
                    why: error.to_string(),
                }),
            }
        }
        if computed
            .iter()
            .zip(leaves)
            .any(|(computed, stored)| computed != stored)
        {
            self.compute_beside();
        }
        for (stored, computed) in leaves.iter().zip(&computed) {
            self.append(stored, computed);
        }
    }

    /// A tile whose hashes are not those that the tiles below it make.
    pub fn bad_tile(&mut self, path: TilePath) {
        self.report.found(Problem::TileAltered { path });
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Integrity;
    use super::super::segment;
    use super::super::verify::tests::{Log, signer};
    use super::*;

    type Bundles = Vec<(Vec<Hash>, Vec<Vec<u8>>)>;

    /// A log of twenty entries, as it is served: five by five.
    fn served(log: &Log) -> Bundles {
        let mut all = vec![];
        for (_, bytes) in &log.segments {
            let open = segment::open(bytes).unwrap();
            all.extend((0..open.count()).map(|at| (open.leaf(at), open.entry(at).encode())));
        }
        all.chunks(5).map(|part| part.iter().cloned().unzip()).collect()
    }

    fn verify(log: &Log, bundles: &Bundles, held: &[String]) -> super::super::report::Report {
        let keys = [signer().verifier_key()];
        let mut verifier = Verifier::new(Checks {
            keys: &keys,
            held,
            approvals: None,
        });
        verifier.stored_checkpoint(log.notes.last().unwrap());
        for (leaves, entries) in bundles {
            verifier.bundle(leaves, entries);
        }
        verifier.finish()
    }

    fn names(report: &super::super::report::Report) -> Vec<&'static str> {
        report.problems.iter().map(Problem::name).collect()
    }

    #[test]
    fn an_honest_log_is_whole_against_every_head_it_ever_had() {
        let log = Log::of_twenty();
        let report = verify(&log, &served(&log), &log.notes);
        assert_eq!(report.integrity(), Integrity::Whole, "{report}");
        assert_eq!((report.entries, report.size), (20, 20));
        assert!(report.checkpoints >= 5, "{report}");
    }

    #[test]
    fn an_altered_entry_an_altered_leaf_and_both_are_told_apart() {
        let log = Log::of_twenty();
        let mut entry = served(&log);
        let text = String::from_utf8(entry[1].1[2].clone()).unwrap();
        let at = text.find("178").unwrap();
        entry[1].1[2][at] = b'2';
        let report = verify(&log, &entry, &[]);
        assert_eq!(names(&report), ["entry-altered"], "{report}");
        assert!(report.to_string().contains("entry 7 "), "{report}");
        let mut leaf = served(&log);
        leaf[1].0[2][0] ^= 1;
        assert_eq!(names(&verify(&log, &leaf, &[])), ["leaf-altered"]);
        let mut both = entry;
        both[1].0[2] = leaf_hash(&both[1].1[2]);
        assert_eq!(names(&verify(&log, &both, &[])), ["root-differs"]);
        let mut unreadable = served(&log);
        unreadable[0].1[0] = b"nothing".to_vec();
        assert!(names(&verify(&log, &unreadable, &[])).contains(&"entry-unreadable"));
    }

    #[test]
    fn a_fork_and_a_rollback_are_named_as_such() {
        let log = Log::of_twenty();
        let mut other = Log::default();
        other.commit(&super::super::segment::tests::drafts(100..120));
        let report = verify(&log, &served(&log), &other.notes);
        assert_eq!(names(&report), ["fork"], "{report}");
        let mut short = Log::of_twenty();
        short.segments.truncate(3);
        short.notes.truncate(3);
        let report = verify(&short, &served(&short), &log.notes[4..]);
        assert_eq!(names(&report), ["rollback"], "{report}");
    }
}
