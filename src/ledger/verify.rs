//! Checks a whole log, segment by segment, against its checkpoints and those held elsewhere.
//! Memory holds one segment and the right edge of the tree, however long the log is.

use super::checkpoint::{SignedCheckpoint, VerifierKey};
use super::entry::Entry;
use super::problem::{Problem, Source};
use super::report::{MAX_LISTED, Report};
use super::segment::{self, OpenSegment, SegmentError};
use super::tree::{Frontier, Hash, leaf_hash};
use crate::domain::entry_kind::EntryKind;
use std::collections::BTreeMap;

/// An approval, for the caller's check of the sign-in provider's own signature.
#[derive(Debug)]
pub struct Approval<'a> {
    /// The entry's index.
    pub index: u64,
    /// Which of the two kinds of approval.
    pub kind: EntryKind,
    /// The entry's payload, already proved to be the one that was entered.
    pub payload: &'a [u8],
}

/// Checks one approval and says why it does not hold.
pub type ApprovalCheck<'a> = &'a mut dyn FnMut(&Approval<'_>) -> Result<(), String>;

/// What to check with.
#[derive(Default)]
pub struct Checks<'a> {
    /// The keys that may sign checkpoints. Several while a key is being replaced.
    pub keys: &'a [VerifierKey],
    /// Checkpoints held elsewhere, as notes.
    pub held: &'a [String],
    /// The check of approvals; without one they are counted as not checked.
    pub approvals: Option<ApprovalCheck<'a>>,
}

impl Checks<'_> {
    /// Hands an approval's payload to the check.
    pub(super) fn approval(&mut self, index: u64, entry: &Entry<'_>, payload: Option<&[u8]>, report: &mut Report) {
        let Some(kind @ (EntryKind::RequestApproved | EntryKind::ApprovalGiven)) = entry.kind() else { return };
        let (Some(payload), Some(check)) = (payload, self.approvals.as_mut()) else {
            let counted = if payload.is_none() { &mut report.approvals.pruned } else { &mut report.approvals.unchecked };
            *counted += 1;
            return;
        };
        match check(&Approval { index, kind, payload }) {
            Ok(()) => report.approvals.good += 1,
            Err(why) => {
                report.approvals.failed += 1;
                report.found(Problem::Approval { index, why });
            }
        }
    }
}

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
struct Doubt {
    index: u64,
    segment: u64,
    kind: String,
    moved_from: Option<u64>,
}

/// Checks a log that is pushed in, so that an asynchronous store can feed it.
pub struct Verifier<'a> {
    checks: Checks<'a>,
    report: Report,
    // The index that the next segment should begin at.
    next: u64,
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
                return self.report.found(Problem::BadSignature { source, size: None, why: error.to_string() });
            }
        };
        let (size, root) = (signed.checkpoint().size, signed.checkpoint().root);
        if let Err(error) = signed.verify(self.checks.keys) {
            return self.report.found(Problem::BadSignature { source, size: Some(size), why: error.to_string() });
        }
        if source == Source::Stored {
            self.newest_stored = self.newest_stored.max(size);
        }
        if size < self.next {
            let why = "it came after the entries beyond it";
            return self.report.found(Problem::NotCompared { source, size, why });
        }
        let claims = self.claims.entry(size).or_default();
        if let Some(other) = claims.iter().find(|claim| claim.root != root) {
            self.report.found(Problem::Fork { size, one: other.root, other: root });
        }
        // The same head many times over says nothing new and costs no memory.
        if !claims.iter().any(|claim| claim.root == root && claim.source == source) {
            claims.push(Claim { root, source });
        }
        if size == self.next {
            self.settle(size);
        }
    }

    /// Holds the tree of `size` to what was signed about it.
    fn settle(&mut self, size: u64) {
        let Some(claims) = self.claims.remove(&size) else { return };
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
                self.report.checkpoints += 1;
                continue;
            }
            // With another claim that agrees the fork was named when the two met.
            match claim.source {
                _ if agrees => {}
                Source::Held => self.report.found(Problem::Fork { size, one: root, other: claim.root }),
                Source::Stored => {
                    self.report.found(Problem::RootDiffers { from: self.report.size, to: size, signed: claim.root });
                    self.lost = true;
                }
            }
        }
        if agrees {
            (self.report.size, self.report.root) = (size, Some(root));
        }
    }

    /// Reports the doubts below `size`, now that it is known which side was altered.
    fn decide(&mut self, size: u64, leaves_altered: bool) {
        let settled = self.doubts.partition_point(|doubt| doubt.index < size);
        for Doubt { index, segment, kind, moved_from } in self.doubts.drain(..settled).collect::<Vec<_>>() {
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
        Progress { entries: self.report.entries, segments: self.report.segments }
    }

    fn take(&mut self, row: u64, bytes: &[u8]) {
        let (first, leaves) = match segment::leaves(bytes) {
            Ok(head) => head,
            Err(error) => {
                self.lost = true;
                return self.report.found(Problem::SegmentDamaged { first: row, why: error.to_string() });
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
            self.report.found(Problem::SegmentMissing { from: self.next, to: first });
            self.lost = true;
            self.decide(first, false);
            // What was signed about the missing stretch can no longer be looked at.
            self.claims = self.claims.split_off(&first);
            self.next = first;
        }
        if damaged {
            self.report.found(Problem::SegmentDamaged { first, why: SegmentError::Checksum.to_string() });
        }
        match segment::open_damaged(bytes) {
            Ok(open) => self.entries(first, &open),
            Err(error) => {
                if !damaged {
                    self.report.found(Problem::SegmentDamaged { first, why: error.to_string() });
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
            self.report.completeness.look(index, &entry);
            if leaf == open.leaf(position) {
                self.checks.approval(index, &entry, payload, &mut self.report);
            } else {
                wrong.push(position);
            }
        }
        for &position in &wrong {
            if self.doubts.len() == MAX_LISTED {
                self.report.problems_left_off += 1;
                continue;
            }
            let index = first + u64::from(position);
            let kind = open.entry(position).kind.to_owned();
            self.doubts.push(Doubt { index, segment: first, kind, moved_from: moved_from(open, position, &wrong) });
        }
        if !wrong.is_empty() {
            self.computed.get_or_insert_with(|| self.tree.clone());
        }
        for (position, leaf) in (0..).zip(&computed) {
            self.append(&open.leaf(position), leaf);
        }
    }

    fn append(&mut self, stored: &Hash, computed: &Hash) {
        self.next += 1;
        if !self.lost {
            self.tree.append(stored);
            if let Some(tree) = &mut self.computed {
                tree.append(computed);
            }
        }
        if self.claims.first_key_value().is_some_and(|(size, _)| *size == self.next) {
            self.settle(self.next);
        }
    }

    /// The verdicts, once every segment and checkpoint has come.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.decide(u64::MAX, false);
        let present = self.next;
        if let Some(size) = Some(self.newest_stored).filter(|size| *size > present) {
            self.report.found(Problem::CutTail { present, signed: size, source: Source::Stored });
        }
        for (&size, claims) in self.claims.range(present + 1..) {
            if claims.iter().any(|claim| claim.source == Source::Held) {
                self.report.found(if self.newest_stored > present {
                    Problem::CutTail { present, signed: size, source: Source::Held }
                } else {
                    Problem::Rollback { present, held: size }
                });
            }
        }
        if !self.lost && self.report.size < present {
            self.report.found(Problem::Unsigned { from: self.report.size, to: present });
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

/// Verifies a log from two iterators: its checkpoints by rising size, and its segments with the index
/// in their row by rising index. `progress` is told after each segment.
pub fn verify_log(
    checks: Checks<'_>,
    checkpoints: impl IntoIterator<Item = String>,
    segments: impl IntoIterator<Item = (u64, Vec<u8>)>,
    progress: &mut dyn FnMut(&Progress),
) -> Report {
    let mut verifier = Verifier::new(checks);
    let mut checkpoints = checkpoints.into_iter();
    // Checkpoints are taken until one lies beyond the segment, so that few are held at a time.
    let mut taken = 0;
    for (row, bytes) in segments {
        let end = segment::leaves(&bytes).map_or(row, |(first, leaves)| first.saturating_add(leaves.len() as u64));
        while taken <= end
            && let Some(note) = checkpoints.next()
        {
            taken = SignedCheckpoint::parse(&note).map_or(taken, |signed| signed.checkpoint().size);
            verifier.stored_checkpoint(&note);
        }
        progress(&verifier.segment(row, &bytes));
    }
    checkpoints.for_each(|note| verifier.stored_checkpoint(&note));
    verifier.finish()
}
