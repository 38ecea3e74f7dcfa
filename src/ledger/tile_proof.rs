//! Proofs out of tiles: which hashes of which level a proof needs, and the proof made of them. A proof
//! of a log of a million entries reads some thousand hashes, never the log.

use super::proof::{consistency_path, inclusion_path};
use super::tree::{Frontier, Hash, TreeError, node_hash};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Some neighbouring hashes of one level, all of one tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The level; 0 for the leaves.
    pub level: u8,
    /// The index of the first one within the level.
    pub first: u64,
    /// How many: a power of two, at most 128.
    pub count: u64,
}

/// A proof that still has to be made: [`Self::needs`] names the hashes, [`Self::resolve`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofPlan {
    // For each hash of the proof the complete subtrees it is folded from, left to right.
    path: Vec<Vec<Span>>,
}

impl ProofPlan {
    /// The inclusion proof of entry `index` in the tree of `size` (RFC 9162, 2.1.3).
    pub fn inclusion(index: u64, size: u64) -> Result<Self, TreeError> {
        Ok(Self::of(inclusion_path(index, size)?))
    }

    /// The proof that the tree of `size` extends that of `old` (RFC 9162, 2.1.4).
    pub fn consistency(old: u64, size: u64) -> Result<Self, TreeError> {
        Ok(Self::of(consistency_path(old, size)?))
    }

    /// The root of the tree of `size`: one hash.
    #[must_use]
    pub fn root(size: u64) -> Self {
        Self {
            path: vec![subtrees(0..size)],
        }
    }

    fn of(path: Vec<Range<u64>>) -> Self {
        Self {
            path: path.into_iter().map(subtrees).collect(),
        }
    }

    /// The hashes that are needed, each span once.
    #[must_use]
    pub fn needs(&self) -> BTreeSet<Span> {
        self.path.iter().flatten().copied().collect()
    }

    /// The proof, from the hashes of every span that is needed.
    ///
    /// # Errors
    /// A span is missing or has too few hashes.
    pub fn resolve(&self, hashes: &BTreeMap<Span, Vec<Hash>>) -> Result<Vec<Hash>, TreeError> {
        self.path
            .iter()
            .map(|spans| {
                let mut root: Option<Hash> = None;
                for span in spans.iter().rev() {
                    let left = hashes
                        .get(span)
                        .filter(|found| found.len() as u64 == span.count)
                        .map(|found| fold(found))
                        .ok_or(TreeError::Leaves {
                            given: hashes.get(span).map_or(0, |found| found.len() as u64),
                            size: span.count,
                        })?;
                    root = Some(root.map_or(left, |right| node_hash(&left, &right)));
                }
                Ok(root.unwrap_or_else(|| Frontier::new().root()))
            })
            .collect()
    }
}

/// The complete subtrees of a range that a path of the RFC names, left to right, each as the hashes of
/// the level below it.
fn subtrees(range: Range<u64>) -> Vec<Span> {
    let (mut at, mut spans) = (range.start, vec![]);
    while at < range.end {
        let height = at.trailing_zeros().min((range.end - at).ilog2());
        let (level, rest) = (height / 8, height % 8);
        #[expect(clippy::cast_possible_truncation, reason = "a height is below 64")]
        spans.push(Span {
            level: level as u8,
            first: at >> (8 * level),
            count: 1 << rest,
        });
        at += 1 << height;
    }
    spans
}

/// The root over a power of two of hashes.
fn fold(hashes: &[Hash]) -> Hash {
    if let [one] = hashes {
        return *one;
    }
    let (left, right) = hashes.split_at(hashes.len() / 2);
    node_hash(&fold(left), &fold(right))
}

#[cfg(test)]
mod tests {
    use super::super::proof::{Prover, verify_consistency, verify_inclusion};
    use super::super::tile::{Node, WIDTH, append, hashes_at};
    use super::super::tree::tests::some_leaves;
    use super::*;

    /// The hashes of every level, as a store keeps them.
    struct Levels(Vec<Vec<Hash>>);

    impl Levels {
        fn of(leaves: &[Hash]) -> Self {
            let (mut frontier, mut nodes) = (Frontier::new(), vec![]);
            for leaf in leaves {
                append(&mut frontier, leaf, &mut nodes);
            }
            let mut levels = vec![leaves.to_vec(), vec![], vec![], vec![]];
            for Node { level, hash, .. } in nodes {
                levels[usize::from(level)].push(hash);
            }
            Self(levels)
        }

        fn make(&self, plan: &ProofPlan) -> Vec<Hash> {
            let spans = plan.needs().into_iter().map(|span| {
                let from = usize::try_from(span.first).unwrap();
                let to = from + usize::try_from(span.count).unwrap();
                assert_eq!(
                    span.first / WIDTH,
                    (span.first + span.count - 1) / WIDTH,
                    "one tile"
                );
                (span, self.0[usize::from(span.level)][from..to].to_vec())
            });
            plan.resolve(&spans.collect()).unwrap()
        }
    }

    #[test]
    fn proofs_from_tiles_are_those_made_from_every_leaf() {
        let all = some_leaves(256 * 256 + 700);
        for size in [
            1, 2, 3, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 66_236,
        ] {
            let leaves = &all[..usize::try_from(size).unwrap()];
            let levels = Levels::of(leaves);
            let mut indices = vec![0, size / 3, size / 2, size - 1];
            indices.extend([255, 256, 257, 65_535].into_iter().filter(|index| *index < size));
            let mut prover = Prover::new(size);
            for index in &indices {
                prover.include(*index).unwrap();
                prover.extend_from(*index).unwrap();
            }
            prover.extend_from(size).unwrap();
            for leaf in leaves {
                prover.leaf(leaf).unwrap();
            }
            let proofs = prover.finish().unwrap();
            assert_eq!(levels.make(&ProofPlan::root(size)), [proofs.root], "size {size}");
            for (index, proof) in proofs.inclusion {
                assert_eq!(levels.make(&ProofPlan::inclusion(index, size).unwrap()), proof);
                let leaf = &leaves[usize::try_from(index).unwrap()];
                verify_inclusion(index, size, leaf, &proof, &proofs.root).unwrap();
            }
            for (old, proof) in proofs.consistency {
                assert_eq!(levels.make(&ProofPlan::consistency(old, size).unwrap()), proof);
                let old_root = levels.make(&ProofPlan::root(old))[0];
                verify_consistency(old, &old_root, size, &proofs.root, &proof).unwrap();
            }
        }
    }

    #[test]
    fn a_proof_of_a_million_entries_needs_few_hashes() {
        let size = 1_000_003;
        for index in [0, 500_000, 999_999, size - 1] {
            let needs = ProofPlan::inclusion(index, size).unwrap().needs();
            let hashes: u64 = needs.iter().map(|span| span.count).sum();
            assert!(
                needs.len() <= 40 && hashes < 2_000,
                "{} spans, {hashes} hashes",
                needs.len()
            );
            assert!(
                needs
                    .iter()
                    .all(|span| span.first + span.count <= hashes_at(span.level, size))
            );
        }
    }

    #[test]
    fn what_is_not_in_the_tree_has_no_proof_and_missing_hashes_make_none() {
        assert!(ProofPlan::inclusion(5, 5).is_err());
        assert!(ProofPlan::consistency(6, 5).is_err());
        let plan = ProofPlan::inclusion(3, 700).unwrap();
        assert!(plan.resolve(&BTreeMap::new()).is_err());
        assert_eq!(
            ProofPlan::root(0).resolve(&BTreeMap::new()).unwrap(),
            [Frontier::new().root()]
        );
    }
}
