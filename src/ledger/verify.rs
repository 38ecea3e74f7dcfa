//! Checks a whole log, segment by segment, against its checkpoints and those held elsewhere.
//! Memory holds one segment and the right edge of the tree, however long the log is.

use super::checkpoint::SignedCheckpoint;
use super::checks::Checks;
use super::problem::{Problem, Source};
use super::report::{MAX_LISTED, Report};
use super::segment::{self, OpenSegment, SegmentError};
use super::tree::{Frontier, Hash, leaf_hash};
use std::collections::BTreeMap;

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Entries looked at.
    pub entries: u64,
    /// Segments looked at.
    pub segments: u64,
}

struct Claim {
    root: Hash,
    source: Source,
}

// An entry whose bytes and stored leaf disagree; which of the two was altered is told by the next
// signed root.
pub(super) struct Doubt {
    pub(super) index: u64,
    pub(super) segment: u64,
    pub(super) kind: String,
    pub(super) moved_from: Option<u64>,
}

/// Checks a log that is pushed in, so that an asynchronous store can feed it.
pub struct Verifier<'a> {
    pub(super) checks: Checks<'a>,
    pub(super) report: Report,
    // The index that the next segment should begin at.
    pub(super) next: u64,
    // The tree over the stored leaves; `computed` over those made from the entries, while they differ.
    tree: Frontier,
    computed: Option<Frontier>,
    doubts: Vec<Doubt>,
    // Once the tree cannot be continued no root says anything; entries are still held to their leaves.
    lost: bool,
    claims: BTreeMap<u64, Vec<Claim>>,
    newest_stored: u64,
}

impl<'a> Verifier<'a> {
    /// A verifier for one log.
    #[must_use]
    pub fn new(checks: Checks<'a>) -> Self {
        let held = checks.held;
        let mut verifier = Self {
            checks,
            report: Report::default(),
            next: 0,
            tree: Frontier::new(),
            computed: None,
            doubts: Vec::new(),
            lost: false,
            claims: BTreeMap::new(),
            newest_stored: 0,
        };
        for note in held {
            verifier.claim(note, Source::Held);
        }
        verifier
    }

    /// Takes a checkpoint that is stored with the log: before the segment in which its size falls,
    /// or right after the one that ends there.
    pub fn stored_checkpoint(&mut self, note: &str) {
        self.claim(note, Source::Stored);
    }

    fn claim(&mut self, note: &str, source: Source) {
        let signed = match SignedCheckpoint::parse(note) {
            Ok(signed) => signed,
            Err(error) => {
                return self.report.found(Problem::BadSignature {
                    source,
                    size: None,
                    why: error.to_string(),
                });
            }
        };
        let (size, root) = (signed.checkpoint().size, signed.checkpoint().root);
        if let Err(error) = signed.verify(self.checks.keys) {
            return self.report.found(Problem::BadSignature {
                source,
                size: Some(size),
                why: error.to_string(),
            });
        }
        if source == Source::Stored {
            self.newest_stored = self.newest_stored.max(size);
        }
        self.claim_head(size, root, source);
    }

    /// Takes a head that is not signed, from a log that the operator cannot write: before the entries it
    /// covers.
    pub fn carried_head(&mut self, size: u64, root: Hash) {
        self.claim_head(size, root, Source::Carried);
    }

    fn claim_head(&mut self, size: u64, root: Hash, source: Source) {
        if size < self.next {
            let why = "it came after the entries beyond it";
            return self.report.found(Problem::NotCompared { source, size, why });
        }
        let claims = self.claims.entry(size).or_default();
        if let Some(other) = claims.iter().find(|claim| claim.root != root) {
            self.report.found(Problem::Fork {
                size,
                one: other.root,
                other: root,
            });
        }
        // The same head many times over says nothing new and costs no memory.
        if !claims
            .iter()
            .any(|claim| claim.root == root && claim.source == source)
        {
            claims.push(Claim { root, source });
        }
        if size == self.next {
            self.settle(size);
        }
    }

    /// Holds the tree of `size` to what was signed about it.
    fn settle(&mut self, size: u64) {
        let Some(claims) = self.claims.remove(&size) else {
            return;
        };
        if self.lost {
            return;
        }
        let root = self.tree.root();
        let computed = self.computed.take();
        let good = |root: Hash| claims.iter().any(|claim| claim.root == root);
        let leaves_altered = !good(root) && computed.as_ref().is_some_and(|tree| good(tree.root()));
        if let Some(tree) = computed.filter(|_| leaves_altered) {
            self.tree = tree;
        }
        self.decide(size, leaves_altered);
        if !self.doubts.is_empty() {
            self.computed = Some(self.tree.clone());
        }
        let root = self.tree.root();
        let agrees = good(root);
        for claim in &claims {
            if claim.root == root {
                self.report.checkpoints += u64::from(claim.source != Source::Carried);
                continue;
            }
            // With another claim that agrees the fork was named when the two met.
            match claim.source {
                _ if agrees => {}
                Source::Held | Source::Carried => self.report.found(Problem::Fork {
                    size,
                    one: root,
                    other: claim.root,
                }),
                Source::Stored => {
                    self.report.found(Problem::RootDiffers {
                        from: self.report.size,
                        to: size,
                        signed: claim.root,
                    });
                    self.lost = true;
                }
            }
        }
        // What is not signed holds the log to it and covers nothing.
        if claims
            .iter()
            .any(|claim| claim.root == root && claim.source != Source::Carried)
        {
            (self.report.size, self.report.root) = (size, Some(root));
        }
    }

    /// Reports the doubts below `size`, now that it is known which side was altered.
    fn decide(&mut self, size: u64, leaves_altered: bool) {
        let settled = self.doubts.partition_point(|doubt| doubt.index < size);
        for Doubt {
            index,
            segment,
            kind,
            moved_from,
        } in self.doubts.drain(..settled).collect::<Vec<_>>()
        {
            self.report.found(match moved_from {
                Some(from) => Problem::EntryMoved { index, from, segment },
                None if leaves_altered => Problem::LeafAltered { index, segment },
                None => Problem::EntryAltered { index, segment, kind },
            });
        }
    }

    /// Takes the next segment, by rising `row`: the index of its first entry, as its row says.
    pub fn segment(&mut self, row: u64, bytes: &[u8]) -> Progress {
        self.report.segments += 1;
        self.take(row, bytes);
        Progress {
            entries: self.report.entries,
            segments: self.report.segments,
        }
    }

    fn take(&mut self, row: u64, bytes: &[u8]) {
        let (first, leaves) = match segment::leaves(bytes) {
            Ok(head) => head,
            Err(error) => {
                self.lost = true;
                return self.report.found(Problem::SegmentDamaged {
                    first: row,
                    why: error.to_string(),
                });
            }
        };
        let damaged = segment::checksum_differs(bytes);
        // A damaged header says nothing about its place; the row does.
        let first = if damaged { row } else { first };
        if first != row {
            self.report.found(Problem::SegmentMisplaced { row, says: first });
        }
        let count = u32::try_from(leaves.len()).unwrap_or(u32::MAX);
        if first < self.next {
            return self.report.found(Problem::SegmentRepeated { first, count });
        }
        if first > self.next {
            self.report.found(Problem::SegmentMissing {
                from: self.next,
                to: first,
            });
            self.lost = true;
            self.decide(first, false);
            // What was signed about the missing stretch can no longer be looked at.
            self.claims = self.claims.split_off(&first);
            self.next = first;
        }
        if damaged {
            self.report.found(Problem::SegmentDamaged {
                first,
                why: SegmentError::Checksum.to_string(),
            });
        }
        match segment::open_damaged(bytes) {
            Ok(open) => self.entries(first, &open),
            Err(error) => {
                if !damaged {
                    self.report.found(Problem::SegmentDamaged {
                        first,
                        why: error.to_string(),
                    });
                }
                // The leaves may still be whole: the next signed root tells.
                for leaf in &leaves {
                    self.append(leaf, leaf);
                }
            }
        }
    }

    fn entries(&mut self, first: u64, open: &OpenSegment) {
        let mut computed = Vec::with_capacity(open.count() as usize);
        let mut wrong = Vec::new();
        let mut line = Vec::with_capacity(512);
        for position in 0..open.count() {
            let index = first + u64::from(position);
            let entry = open.entry(position);
            entry.encode_into(&mut line);
            let leaf = leaf_hash(&line);
            computed.push(leaf);
            let payload = open.payload(position);
            self.report.entries += 1;
            self.report.pruned += u64::from(payload.is_none());
            self.report.completeness.look(index, &entry, payload);
            if leaf == open.leaf(position) {
                self.checks.approval(index, &entry, payload, &mut self.report);
            } else {
                wrong.push(position);
            }
        }
        for &position in &wrong {
            let index = first + u64::from(position);
            let kind = open.entry(position).kind.to_owned();
            self.doubt(Doubt {
                index,
                segment: first,
                kind,
                moved_from: moved_from(open, position, &wrong),
            });
        }
        if !wrong.is_empty() {
            self.compute_beside();
        }
        for (position, leaf) in (0..).zip(&computed) {
            self.append(&open.leaf(position), leaf);
        }
    }

    pub(super) fn doubt(&mut self, doubt: Doubt) {
        if self.doubts.len() == MAX_LISTED {
            self.report.problems_left_off += 1;
        } else {
            self.doubts.push(doubt);
        }
    }

    /// From here on the tree is followed over the computed leaves as well, until it is known which side
    /// was altered.
    pub(super) fn compute_beside(&mut self) {
        self.computed.get_or_insert_with(|| self.tree.clone());
    }

    pub(super) fn append(&mut self, stored: &Hash, computed: &Hash) {
        self.next += 1;
        if !self.lost {
            self.tree.append(stored);
            if let Some(tree) = &mut self.computed {
                tree.append(computed);
            }
        }
        if self
            .claims
            .first_key_value()
            .is_some_and(|(size, _)| *size == self.next)
        {
            self.settle(self.next);
        }
    }

    /// The verdicts, once every segment and checkpoint has come.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.decide(u64::MAX, false);
        let present = self.next;
        if let Some(size) = Some(self.newest_stored).filter(|size| *size > present) {
            self.report.found(Problem::CutTail {
                present,
                signed: size,
                source: Source::Stored,
            });
        }
        for (&size, claims) in self.claims.range(present + 1..) {
            if claims.iter().any(|claim| claim.source != Source::Stored) {
                self.report.found(if self.newest_stored > present {
                    Problem::CutTail {
                        present,
                        signed: size,
                        source: Source::Held,
                    }
                } else {
                    Problem::Rollback { present, held: size }
                });
            }
        }
        if !self.lost && self.report.size < present {
            self.report.found(Problem::Unsigned {
                from: self.report.size,
                to: present,
            });
        }
        self.report
    }
}

/// Where the entry at `position` was entered, when it is one of the other wrong ones: tried with the
/// salt of that place. Looks at a handful, since more say that the segment was rewritten.
fn moved_from(open: &OpenSegment, position: u32, wrong: &[u32]) -> Option<u64> {
    wrong.iter().take(64).find_map(|&other| {
        let leaf = open.entry_salted(position, open.seed_salt(other)).leaf();
        let fits = other != position && (leaf == open.leaf(position) || leaf == open.leaf(other));
        fits.then(|| open.first() + u64::from(other))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::checkpoint::{Checkpoint, Signer};
    use super::super::checks::Approval;
    use super::super::entry::Draft;
    use super::super::report::Integrity;
    use super::super::seal::{prune, seal};
    use super::super::seed::Seed;
    use super::super::segment::HEADER_LEN;
    use super::super::segment::tests::{draft, drafts, time};
    use super::super::verify_log::verify_log;
    use super::*;
    use crate::domain::entry_kind::EntryKind;
    use proptest::prelude::*;

    pub const ORIGIN: &str = "ledger.example/one";

    pub fn signer() -> Signer {
        Signer::from_seed(ORIGIN, [9; 32]).unwrap()
    }

    /// A log as a store holds it.
    #[derive(Clone, Default)]
    pub struct Log {
        pub frontier: Frontier,
        pub segments: Vec<(u64, Vec<u8>)>,
        pub notes: Vec<String>,
    }

    impl Log {
        pub fn commit(&mut self, drafts: &[Draft]) {
            let seed = Seed::from_bytes([u8::try_from(self.segments.len()).unwrap(); 32]);
            let segment = seal(&mut self.frontier, seed, time(0), drafts).unwrap();
            self.segments.push((segment.first, segment.bytes));
            let head = Checkpoint::of(ORIGIN, &self.frontier);
            self.notes.push(signer().sign(&head).unwrap().text().to_owned());
        }

        /// Five segments of four entries each.
        pub fn of_twenty() -> Self {
            let mut log = Self::default();
            (0..5).for_each(|number| log.commit(&drafts(number * 4..number * 4 + 4)));
            log
        }

        fn verify(&self, held: &[String]) -> Report {
            let keys = [signer().verifier_key()];
            let checks = Checks {
                keys: &keys,
                held,
                approvals: None,
            };
            verify_log(checks, self.notes.clone(), self.segments.clone(), &mut |_| {})
        }

        /// Rewrites one segment with other entries, as somebody who can write the database would,
        /// with the leaf hashes left as they were or made to fit.
        fn rewrite(&mut self, number: usize, drafts: &[Draft], fit: bool) {
            let mut frontier = Frontier::new();
            for (_, bytes) in &self.segments[..number] {
                segment::leaves(bytes)
                    .unwrap()
                    .1
                    .iter()
                    .for_each(|leaf| frontier.append(leaf));
            }
            let seed = Seed::from_bytes([u8::try_from(number).unwrap(); 32]);
            let new = seal(&mut frontier, seed, time(0), drafts).unwrap();
            let old = std::mem::replace(&mut self.segments[number].1, new.bytes);
            if !fit {
                let bytes = &mut self.segments[number].1;
                bytes[HEADER_LEN..HEADER_LEN + 4 * 32].copy_from_slice(&old[HEADER_LEN..HEADER_LEN + 4 * 32]);
                segment::fix_checksum(bytes);
            }
        }
    }

    fn names(report: &Report) -> Vec<&'static str> {
        report.problems.iter().map(Problem::name).collect()
    }

    #[test]
    fn a_log_as_it_was_written_is_whole() {
        let log = Log::of_twenty();
        let report = log.verify(&[log.notes[1].clone(), log.notes[4].clone()]);
        assert_eq!(report.integrity(), Integrity::Whole, "{report}");
        assert_eq!(
            (report.entries, report.segments, report.checkpoints, report.size),
            (20, 5, 7, 20)
        );
        assert_eq!(report.root, Some(log.frontier.root()));
        assert!(report.to_string().contains("integrity: whole"));
    }

    #[test]
    fn pruning_keeps_a_log_whole() {
        let mut log = Log::of_twenty();
        log.segments[2].1 = prune(&log.segments[2].1, |_, _| true).unwrap();
        let report = log.verify(&[]);
        assert_eq!(
            (report.integrity(), report.pruned),
            (Integrity::Whole, 4),
            "{report}"
        );
    }

    #[test]
    fn a_flipped_byte_on_disk_names_its_segment() {
        let mut log = Log::of_twenty();
        let bytes = &mut log.segments[3].1;
        *bytes.last_mut().unwrap() ^= 1;
        let report = log.verify(&[]);
        assert!(
            matches!(report.problems[0], Problem::SegmentDamaged { first: 12, .. }),
            "{report}"
        );
    }

    #[test]
    fn an_altered_payload_names_its_entry() {
        for fit in [false, true] {
            let mut log = Log::of_twenty();
            let mut forged = drafts(8..12);
            forged[2].payload = br#"{"number":10,"verb":"get"}"#.to_vec();
            log.rewrite(2, &forged, fit);
            let report = log.verify(&[]);
            if fit {
                // Whoever made the leaf fit as well is found by the signed root.
                assert!(
                    matches!(
                        report.problems[..],
                        [Problem::RootDiffers { from: 8, to: 12, .. }]
                    ),
                    "{report}"
                );
            } else {
                let [
                    Problem::EntryAltered {
                        index: 10,
                        segment: 8,
                        kind,
                    },
                ] = &report.problems[..]
                else {
                    panic!("{report}")
                };
                assert_eq!(kind, "audit-event");
            }
        }
    }

    #[test]
    fn an_altered_leaf_hash_is_told_apart_from_an_altered_entry() {
        let mut log = Log::of_twenty();
        let bytes = &mut log.segments[1].1;
        bytes[HEADER_LEN + 32] ^= 1;
        segment::fix_checksum(bytes);
        assert_eq!(
            log.verify(&[]).problems,
            [Problem::LeafAltered { index: 5, segment: 4 }]
        );
    }

    #[test]
    fn reordered_entries_are_named_as_such() {
        for fit in [false, true] {
            let mut log = Log::of_twenty();
            let mut swapped = drafts(4..8);
            swapped.swap(0, 3);
            log.rewrite(1, &swapped, fit);
            let report = log.verify(&[]);
            assert_eq!(report.integrity(), Integrity::Broken);
            if !fit {
                let moved = |index, from| Problem::EntryMoved {
                    index,
                    from,
                    segment: 4,
                };
                assert_eq!(report.problems, [moved(4, 7), moved(7, 4)], "{report}");
            }
        }
    }

    #[test]
    fn a_missing_segment_is_named() {
        let mut log = Log::of_twenty();
        log.segments.remove(2);
        assert_eq!(
            log.verify(&[]).problems,
            [Problem::SegmentMissing { from: 8, to: 12 }]
        );
    }

    #[test]
    fn a_repeated_segment_is_named() {
        let mut log = Log::of_twenty();
        log.segments.insert(3, log.segments[2].clone());
        assert_eq!(
            log.verify(&[]).problems,
            [Problem::SegmentRepeated { first: 8, count: 4 }]
        );
    }

    #[test]
    fn a_segment_in_another_ones_row_is_named() {
        let mut log = Log::of_twenty();
        let (second, third) = (log.segments[1].1.clone(), log.segments[2].1.clone());
        (log.segments[1].1, log.segments[2].1) = (third, second);
        assert_eq!(
            log.verify(&[]).problems[0],
            Problem::SegmentMisplaced { row: 4, says: 8 }
        );
    }

    #[test]
    fn a_cut_tail_is_named_by_the_stored_and_by_the_held_checkpoint() {
        let whole = Log::of_twenty();
        let mut log = whole.clone();
        log.segments.truncate(3);
        let cut = |source| Problem::CutTail {
            present: 12,
            signed: 20,
            source,
        };
        assert_eq!(log.verify(&[]).problems, [cut(Source::Stored)]);
        assert_eq!(
            log.verify(&whole.notes[4..]).problems,
            [cut(Source::Stored), cut(Source::Held)]
        );
        // With the checkpoints cut as well only the one held elsewhere can tell.
        log.notes.truncate(3);
        assert_eq!(log.verify(&[]).integrity(), Integrity::Whole);
        let report = log.verify(&whole.notes[4..]);
        assert_eq!(
            report.problems,
            [Problem::Rollback {
                present: 12,
                held: 20
            }]
        );
        assert!(report.to_string().contains("entries 12 to 19"), "{report}");
        log.segments.clear();
        log.notes.clear();
        assert_eq!(
            log.verify(&whole.notes[4..]).problems,
            [Problem::Rollback { present: 0, held: 20 }]
        );
    }

    #[test]
    fn a_log_rewritten_and_signed_again_is_a_fork() {
        let honest = Log::of_twenty();
        let mut log = Log::default();
        (0..5).for_each(|number| log.commit(&drafts(number * 4 + 1..number * 4 + 5)));
        assert_eq!(
            log.verify(&[]).integrity(),
            Integrity::Whole,
            "its own checkpoints cannot tell"
        );
        let report = log.verify(&honest.notes[2..3]);
        assert!(
            matches!(report.problems[..], [Problem::Fork { size: 12, .. }]),
            "{report}"
        );
        // Two heads of one size lying beside one log.
        log.notes.insert(3, honest.notes[2].clone());
        assert!(names(&log.verify(&[])).contains(&"fork"));
    }

    #[test]
    fn a_checkpoint_by_another_key_does_not_count() {
        let mut log = Log::of_twenty();
        let stranger = Signer::from_seed(ORIGIN, [8; 32]).unwrap();
        log.notes[4] = stranger
            .sign(&Checkpoint::of(ORIGIN, &log.frontier))
            .unwrap()
            .text()
            .to_owned();
        assert_eq!(names(&log.verify(&[])), ["bad-signature", "unsigned"]);
        log.notes[4] = "nonsense".into();
        assert_eq!(names(&log.verify(&[])), ["bad-signature", "unsigned"]);
        log.notes.pop();
        assert_eq!(log.verify(&[]).problems, [Problem::Unsigned { from: 16, to: 20 }]);
    }

    #[test]
    fn every_approval_is_handed_to_the_check_and_its_failure_named() {
        let mut log = Log::default();
        log.commit(&[
            draft(0, EntryKind::RequestFiled),
            draft(1, EntryKind::ApprovalGiven),
        ]);
        log.commit(&[
            draft(2, EntryKind::RequestApproved),
            draft(3, EntryKind::GrantReady),
        ]);
        let keys = [signer().verifier_key()];
        let mut seen = Vec::new();
        let mut check = |approval: &Approval<'_>| {
            seen.push((approval.index, approval.kind));
            let good = approval.payload == draft(1, EntryKind::Gap).payload;
            if good {
                Ok(())
            } else {
                Err("the token is of another request".to_owned())
            }
        };
        let checks = Checks {
            keys: &keys,
            held: &[],
            approvals: Some(&mut check),
        };
        let report = verify_log(checks, log.notes.clone(), log.segments.clone(), &mut |_| {});
        assert_eq!(
            seen,
            [(1, EntryKind::ApprovalGiven), (2, EntryKind::RequestApproved)]
        );
        assert_eq!((report.approvals.good, report.approvals.failed), (1, 1));
        assert!(
            matches!(&report.problems[..], [Problem::Approval { index: 2, why }] if why.contains("another request"))
        );
        assert_eq!(log.verify(&[]).approvals.unchecked, 2);
    }

    #[test]
    fn holes_are_told_apart_from_tampering() {
        let mut log = Log::default();
        let kinds = [
            EntryKind::CanaryMissed,
            EntryKind::Gap,
            EntryKind::Quarantined,
            EntryKind::CanaryResumed,
        ];
        log.commit(&kinds.map(|kind| draft(1, kind)));
        let report = log.verify(&[]);
        assert_eq!(
            (report.integrity(), report.completeness.holes.len()),
            (Integrity::Whole, 3)
        );
        assert!(report.completeness.silent.is_empty());
        log.commit(&[draft(1, EntryKind::CanaryMissed)]);
        assert_eq!(log.verify(&[]).completeness.silent, ["production"]);
    }

    #[test]
    fn every_flipped_byte_of_a_segment_is_found() {
        let mut log = Log::of_twenty();
        log.notes.drain(..4);
        for number in [1, 4] {
            for at in 0..log.segments[number].1.len() {
                let mut log = log.clone();
                log.segments[number].1[at] ^= 0x41;
                assert_eq!(
                    log.verify(&[]).integrity(),
                    Integrity::Broken,
                    "segment {number} byte {at}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_two_swapped_entries_are_found(one in 0usize..20, other in 0usize..20, fit: bool) {
            prop_assume!(one != other);
            let mut log = Log::of_twenty();
            let mut all = drafts(0..20);
            all.swap(one, other);
            let touched: std::collections::BTreeSet<_> = [one / 4, other / 4].into();
            for number in touched {
                log.rewrite(number, &all[number * 4..number * 4 + 4], fit);
            }
            prop_assert_eq!(log.verify(&[]).integrity(), Integrity::Broken);
        }

        #[test]
        fn hostile_rows_and_notes_never_panic(
            row: u64, bytes in proptest::collection::vec(any::<u8>(), 0..100), note in "[a-z0-9\n]{0,60}",
        ) {
            let mut log = Log::of_twenty();
            log.segments.push((row, bytes));
            log.notes.push(note);
            prop_assert_eq!(log.verify(&[]).integrity(), Integrity::Broken);
        }
    }
}
