//! Inclusion and consistency proofs (RFC 9162, 2.1.3 and 2.1.4).
//!
//! [`Prover`] makes any number of proofs of one tree in a single pass over the leaf hashes, so that
//! a whole export costs one reading of the log and memory for the proofs alone.

use super::tree::{Frontier, Hash, TreeError, node_hash};
use std::collections::BTreeMap;
use std::ops::Range;

/// The ranges of leaves whose roots make the inclusion proof of `index` in a tree of `size`, in order.
pub fn inclusion_path(index: u64, size: u64) -> Result<Vec<Range<u64>>, TreeError> {
    if index >= size {
        return Err(TreeError::Outside { index, size });
    }
    let (mut start, mut end, mut path) = (0, size, Vec::new());
    while end - start > 1 {
        let split = start + largest_power_below(end - start);
        if index < split {
            path.push(split..end);
            end = split;
        } else {
            path.push(start..split);
            start = split;
        }
    }
    path.reverse();
    Ok(path)
}

/// The ranges of leaves whose roots make the proof that the tree of `size` extends that of `old`.
pub fn consistency_path(old: u64, size: u64) -> Result<Vec<Range<u64>>, TreeError> {
    if old > size {
        return Err(TreeError::Outside { index: old, size });
    }
    let (mut start, mut end, mut path) = (0, size, Vec::new());
    if old == 0 || old == size {
        return Ok(path);
    }
    while end != old {
        let split = start + largest_power_below(end - start);
        if old <= split {
            path.push(split..end);
            end = split;
        } else {
            path.push(start..split);
            start = split;
        }
    }
    // The old tree is itself a complete subtree from the left edge: its root is known already.
    if start != 0 {
        path.push(start..end);
    }
    path.reverse();
    Ok(path)
}

/// The largest power of two that is less than `n`, for `n` of 2 or more.
const fn largest_power_below(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// Makes proofs in one pass over the leaves of a tree.
#[derive(Debug)]
pub struct Prover {
    size: u64,
    frontier: Frontier,
    inclusion: BTreeMap<u64, Vec<Range<u64>>>,
    consistency: BTreeMap<u64, Vec<Range<u64>>>,
    // Keyed by (start, end).
    nodes: BTreeMap<(u64, u64), Option<Hash>>,
}

/// What a [`Prover`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proofs {
    /// The root of the tree proved against.
    pub root: Hash,
    /// Inclusion proofs by index.
    pub inclusion: BTreeMap<u64, Vec<Hash>>,
    /// Consistency proofs by the size of the older tree.
    pub consistency: BTreeMap<u64, Vec<Hash>>,
}

impl Prover {
    /// A prover for the tree of the first `size` leaves.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            size,
            frontier: Frontier::new(),
            inclusion: BTreeMap::new(),
            consistency: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }

    /// Asks for the inclusion proof of `index`. Before the first leaf.
    pub fn include(&mut self, index: u64) -> Result<(), TreeError> {
        let path = inclusion_path(index, self.size)?;
        self.nodes
            .extend(path.iter().map(|range| ((range.start, range.end), None)));
        self.inclusion.insert(index, path);
        Ok(())
    }

    /// Asks for the proof that the tree extends its first `old` leaves. Before the first leaf.
    pub fn extend_from(&mut self, old: u64) -> Result<(), TreeError> {
        let path = consistency_path(old, self.size)?;
        self.nodes
            .extend(path.iter().map(|range| ((range.start, range.end), None)));
        self.consistency.insert(old, path);
        Ok(())
    }

    /// Takes the next leaf hash.
    pub fn leaf(&mut self, leaf: &Hash) -> Result<(), TreeError> {
        let index = self.frontier.size();
        if index >= self.size {
            return Err(TreeError::Leaves {
                given: index + 1,
                size: self.size,
            });
        }
        let nodes = &mut self.nodes;
        let mut keep = |range: Range<u64>, hash: &Hash| {
            if let Some(wanted) = nodes.get_mut(&(range.start, range.end)) {
                *wanted = Some(*hash);
            }
        };
        keep(index..index + 1, leaf);
        self.frontier.append_with(leaf, keep);
        Ok(())
    }

    /// The proofs, once every leaf has come.
    pub fn finish(self) -> Result<Proofs, TreeError> {
        let Self {
            size,
            frontier,
            inclusion,
            consistency,
            nodes,
        } = self;
        if frontier.size() != size {
            return Err(TreeError::Leaves {
                given: frontier.size(),
                size,
            });
        }
        // A range that no append completed ends at the ragged right edge.
        let hash = |range: &Range<u64>| {
            let seen = nodes.get(&(range.start, range.end)).copied().flatten();
            seen.or_else(|| frontier.root_from(range.start).filter(|_| range.end == size))
        };
        let resolve = |paths: BTreeMap<u64, Vec<Range<u64>>>| {
            let proof = |path: &Vec<Range<u64>>| path.iter().map(hash).collect::<Option<Vec<_>>>();
            paths
                .iter()
                .map(|(key, path)| Some((*key, proof(path)?)))
                .collect::<Option<BTreeMap<_, _>>>()
                .ok_or(TreeError::Leaves {
                    given: frontier.size(),
                    size,
                })
        };
        Ok(Proofs {
            root: frontier.root(),
            inclusion: resolve(inclusion)?,
            consistency: resolve(consistency)?,
        })
    }
}

/// Checks that `leaf` is at `index` of the tree of `size` with `root` (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), TreeError> {
    if index >= size {
        return Err(TreeError::Outside { index, size });
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for step in proof {
        if last == 0 {
            return Err(TreeError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(step, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(TreeError::Length);
    }
    if hash == *root {
        Ok(())
    } else {
        Err(TreeError::Root)
    }
}

/// Checks that the tree of `size` with `root` extends that of `old` with `old_root` (RFC 9162, 2.1.4.2).
/// Every tree extends the empty one and itself, both by the empty proof.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), TreeError> {
    if old > size {
        return Err(TreeError::Outside { index: old, size });
    }
    if old == size || old == 0 {
        if !proof.is_empty() {
            return Err(TreeError::Length);
        }
        let known = if old == 0 { Frontier::new().root() } else { *root };
        return if known == *old_root {
            Ok(())
        } else {
            Err(TreeError::Root)
        };
    }
    let mut steps = proof.iter();
    let (mut node, mut last) = (old - 1, size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // When the old size is a power of two its root is the first node, and the proof leaves it out.
    let first = if old.is_power_of_two() {
        old_root
    } else {
        steps.next().ok_or(TreeError::Length)?
    };
    let (mut old_hash, mut hash) = (*first, *first);
    for step in steps {
        if last == 0 {
            return Err(TreeError::Length);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(step, &old_hash);
            hash = node_hash(step, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(TreeError::Length);
    }
    if old_hash == *old_root && hash == *root {
        Ok(())
    } else {
        Err(TreeError::Root)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{naive_root, some_leaves, vector_leaves};
    use super::*;

    fn prove(leaves: &[Hash]) -> Proofs {
        let size = leaves.len() as u64;
        let mut prover = Prover::new(size);
        (0..size).for_each(|index| prover.include(index).unwrap());
        (0..=size).for_each(|old| prover.extend_from(old).unwrap());
        for leaf in leaves {
            prover.leaf(leaf).unwrap();
        }
        prover.finish().unwrap()
    }

    fn hashes(hex_proof: &[&str]) -> Vec<Hash> {
        hex_proof
            .iter()
            .map(|text| hex::decode(text).unwrap().try_into().unwrap())
            .collect()
    }

    /// The Certificate Transparency test vectors (`merkle_tree_test` of the reference implementation).
    #[test]
    fn the_published_proofs_come_out() {
        let leaves = vector_leaves();
        let inclusion: [(usize, usize, &[&str]); 4] = [
            (0, 1, &[]),
            (
                0,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                5,
                8,
                &[
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                3,
                &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
            ),
        ];
        for (index, size, proof) in inclusion {
            assert_eq!(
                prove(&leaves[..size]).inclusion[&(index as u64)],
                hashes(proof),
                "{index} of {size}"
            );
        }
        let consistency: [(u64, usize, &[&str]); 4] = [
            (1, 1, &[]),
            (
                1,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                6,
                8,
                &[
                    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                5,
                &[
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
        ];
        for (old, size, proof) in consistency {
            assert_eq!(
                prove(&leaves[..size]).consistency[&old],
                hashes(proof),
                "{old} to {size}"
            );
        }
    }

    #[test]
    fn every_proof_of_every_size_up_to_200_verifies_and_no_other() {
        let leaves = some_leaves(200);
        let roots: Vec<_> = (0..=leaves.len())
            .map(|size| naive_root(&leaves[..size]))
            .collect();
        for size in 1..=200u64 {
            let root = &roots[usize::try_from(size).unwrap()];
            let proofs = prove(&leaves[..usize::try_from(size).unwrap()]);
            assert_eq!(proofs.root, *root);
            for (&index, proof) in &proofs.inclusion {
                let leaf = &leaves[usize::try_from(index).unwrap()];
                assert_eq!(
                    verify_inclusion(index, size, leaf, proof, root),
                    Ok(()),
                    "{index} of {size}"
                );
                // Altered proofs of the bigger trees show nothing that those of the smaller do not.
                if size > 33 {
                    continue;
                }
                assert!(verify_inclusion(index, size, &[0; 32], proof, root).is_err());
                assert!(verify_inclusion((index + 1) % size, size, leaf, proof, root).is_err() || size == 1);
                if let [rest @ .., _] = proof.as_slice() {
                    assert!(verify_inclusion(index, size, leaf, rest, root).is_err());
                }
                let longer = [proof.as_slice(), &[[0; 32]]].concat();
                assert!(verify_inclusion(index, size, leaf, &longer, root).is_err());
            }
            for (&old, proof) in &proofs.consistency {
                let old_root = &roots[usize::try_from(old).unwrap()];
                assert_eq!(
                    verify_consistency(old, old_root, size, root, proof),
                    Ok(()),
                    "{old} to {size}"
                );
                if size > 33 {
                    continue;
                }
                assert!(verify_consistency(old, &[0; 32], size, root, proof).is_err());
                let longer = [proof.as_slice(), &[[0; 32]]].concat();
                assert!(verify_consistency(old, old_root, size, root, &longer).is_err());
                for at in 0..proof.len() {
                    let mut other = proof.clone();
                    other[at][0] ^= 1;
                    assert!(verify_consistency(old, old_root, size, root, &other).is_err());
                }
            }
        }
    }

    /// An implementation that is not ours reads our proofs and finds the same roots.
    #[test]
    fn ct_merkle_agrees() {
        use ct_merkle::mem_backed_tree::MemoryBackedTree;
        let mut theirs = MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
        let mut leaves = Vec::new();
        for size in 1..=70u64 {
            theirs.push((size - 1).to_be_bytes().to_vec());
            leaves.push(super::super::tree::leaf_hash(&(size - 1).to_be_bytes()));
            let ours = prove(&leaves);
            assert_eq!(theirs.root().as_bytes().as_slice(), ours.root);
            for (&index, proof) in &ours.inclusion {
                assert_eq!(
                    theirs.prove_inclusion(usize::try_from(index).unwrap()).as_bytes(),
                    proof.concat()
                );
            }
            for (&old, proof) in ours.consistency.range(1..size) {
                let added = usize::try_from(size - old).unwrap();
                assert_eq!(theirs.prove_consistency(added).as_bytes(), proof.concat());
            }
        }
    }

    #[test]
    fn a_prover_takes_exactly_its_leaves() {
        let mut prover = Prover::new(2);
        assert!(prover.include(2).is_err());
        assert!(prover.extend_from(3).is_err());
        prover.include(0).unwrap();
        prover.leaf(&[1; 32]).unwrap();
        assert_eq!(prover.finish(), Err(TreeError::Leaves { given: 1, size: 2 }));
        let mut prover = Prover::new(0);
        assert_eq!(
            prover.leaf(&[1; 32]),
            Err(TreeError::Leaves { given: 1, size: 0 })
        );
    }

    #[test]
    fn hostile_sizes_do_not_overflow() {
        for index in [0, 1, u64::MAX - 1] {
            assert!(verify_inclusion(index, u64::MAX, &[0; 32], &[[0; 32]; 64], &[0; 32]).is_err());
            assert!(inclusion_path(index, u64::MAX).is_ok());
            assert!(consistency_path(index, u64::MAX).is_ok());
            assert!(verify_consistency(index, &[0; 32], u64::MAX, &[0; 32], &[[0; 32]; 64]).is_err());
        }
    }
}
