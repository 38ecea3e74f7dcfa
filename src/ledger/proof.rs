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
        self.nodes.extend(path.iter().map(|range| ((range.start, range.end), None)));
        self.inclusion.insert(index, path);
        Ok(())
    }

    /// Asks for the proof that the tree extends its first `old` leaves. Before the first leaf.
    pub fn extend_from(&mut self, old: u64) -> Result<(), TreeError> {
        let path = consistency_path(old, self.size)?;
        self.nodes.extend(path.iter().map(|range| ((range.start, range.end), None)));
        self.consistency.insert(old, path);
        Ok(())
    }

    /// Takes the next leaf hash.
    pub fn leaf(&mut self, leaf: &Hash) -> Result<(), TreeError> {
        let index = self.frontier.size();
        if index >= self.size {
            return Err(TreeError::Leaves { given: index + 1, size: self.size });
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
        let Self { size, frontier, inclusion, consistency, nodes } = self;
        if frontier.size() != size {
            return Err(TreeError::Leaves { given: frontier.size(), size });
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
                .ok_or(TreeError::Leaves { given: frontier.size(), size })
        };
        Ok(Proofs { root: frontier.root(), inclusion: resolve(inclusion)?, consistency: resolve(consistency)? })
    }
}

/// Checks that `leaf` is at `index` of the tree of `size` with `root` (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash], root: &Hash) -> Result<(), TreeError> {
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
    if hash == *root { Ok(()) } else { Err(TreeError::Root) }
}

/// Checks that the tree of `size` with `root` extends that of `old` with `old_root` (RFC 9162, 2.1.4.2).
/// Every tree extends the empty one and itself, both by the empty proof.
pub fn verify_consistency(old: u64, old_root: &Hash, size: u64, root: &Hash, proof: &[Hash]) -> Result<(), TreeError> {
    if old > size {
        return Err(TreeError::Outside { index: old, size });
    }
    if old == size || old == 0 {
        if !proof.is_empty() {
            return Err(TreeError::Length);
        }
        let known = if old == 0 { Frontier::new().root() } else { *root };
        return if known == *old_root { Ok(()) } else { Err(TreeError::Root) };
    }
    let mut steps = proof.iter();
    let (mut node, mut last) = (old - 1, size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // When the old size is a power of two its root is the first node, and the proof leaves it out.
    let first = if old.is_power_of_two() { old_root } else { steps.next().ok_or(TreeError::Length)? };
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
    if old_hash == *old_root && hash == *root { Ok(()) } else { Err(TreeError::Root) }
}
