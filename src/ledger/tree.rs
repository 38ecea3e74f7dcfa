//! The Merkle tree of RFC 9162 (2.1.1): hashes, and the frontier from which the log grows.

use sha2::{Digest, Sha256};

/// A SHA-256 value: of a leaf, a node, a root or a payload.
pub type Hash = [u8; 32];

/// Why a tree operation or proof fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Stored frontier bytes that no frontier has.
    #[error("the stored frontier is damaged: {0}")]
    Frontier(&'static str),
    /// A leaf or size outside the tree.
    #[error("{index} lies outside a tree of {size} entries")]
    Outside {
        /// What was asked for.
        index: u64,
        /// How many leaves there are.
        size: u64,
    },
    /// More or fewer leaves than the proof's tree has.
    #[error("{given} leaves were given for a tree of {size}")]
    Leaves {
        /// How many leaves came.
        given: u64,
        /// How many the tree has.
        size: u64,
    },
    /// The proof has too few or too many hashes.
    #[error("the proof has the wrong length")]
    Length,
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The hash of a leaf: SHA-256(0x00 ‖ data).
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(data)
        .finalize()
        .into()
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The right edge of a tree: one root for each complete subtree, largest first. All that is needed
/// to append and to tell the root, in at most 2,056 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    // One hash per set bit of `size`, from the highest bit down.
    roots: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf at the end.
    pub fn append(&mut self, leaf: &Hash) {
        self.append_with(leaf, |_, _| {});
    }

    /// Adds a leaf and tells each subtree of two leaves or more that it completes:
    /// its range of leaves and its root.
    pub(super) fn append_with(
        &mut self,
        leaf: &Hash,
        mut completed: impl FnMut(std::ops::Range<u64>, &Hash),
    ) {
        let end = self.size + 1;
        let mut hash = *leaf;
        // Each trailing one bit of the old size is a complete subtree that now gets its right half.
        for level in 0..self.size.trailing_ones() {
            let left = self
                .roots
                .pop()
                .unwrap_or_else(|| unreachable!("one root for each set bit"));
            hash = node_hash(&left, &hash);
            completed(end - (2u64 << level)..end, &hash);
        }
        self.roots.push(hash);
        self.size = end;
    }

    /// The root: of no leaves, the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root_from(0).unwrap_or_else(|| Sha256::digest([]).into())
    }

    /// The root over the leaves from `start` to the end, when subtrees begin exactly there.
    pub(super) fn root_from(&self, start: u64) -> Option<Hash> {
        let mut at = self.size;
        let mut bits = self.size;
        let mut root: Option<Hash> = None;
        for hash in self.roots.iter().rev() {
            if at <= start {
                break;
            }
            root = Some(root.map_or(*hash, |right| node_hash(hash, &right)));
            at -= 1 << bits.trailing_zeros();
            bits &= bits - 1;
        }
        root.filter(|_| at == start)
    }

    /// The form kept beside the log: the size, big-endian, then the roots.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.size.to_be_bytes().to_vec();
        out.extend(self.roots.iter().flatten());
        out
    }

    /// Reads [`Self::to_bytes`]. The roots themselves are not checked here: whoever loads a frontier
    /// compares its root with the newest signed checkpoint.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TreeError> {
        let (size, roots) = bytes
            .split_first_chunk::<8>()
            .ok_or(TreeError::Frontier("too short"))?;
        let size = u64::from_be_bytes(*size);
        let (roots, rest) = roots.as_chunks::<32>();
        if !rest.is_empty() || roots.len() != size.count_ones() as usize {
            return Err(TreeError::Frontier("its length does not fit its size"));
        }
        Ok(Self {
            size,
            roots: roots.to_vec(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// MTH of RFC 9162, 2.1.1, word for word: what the frontier is held to.
    pub fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&naive_root(&leaves[..split]), &naive_root(&leaves[split..]))
            }
        }
    }

    /// The eight leaves of the Certificate Transparency test vectors and the root of each size
    /// (certificate-transparency-go, `testonly/reference_tree`; the same as in RFC 9162 libraries).
    pub const VECTOR_LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    pub const VECTOR_ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    pub fn vector_leaves() -> Vec<Hash> {
        VECTOR_LEAVES
            .iter()
            .map(|leaf| leaf_hash(&hex::decode(leaf).unwrap()))
            .collect()
    }

    pub fn some_leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn the_published_roots_come_out() {
        let mut frontier = Frontier::new();
        assert_eq!(hex::encode(frontier.root()), VECTOR_ROOTS[0]);
        for (leaf, root) in vector_leaves().iter().zip(&VECTOR_ROOTS[1..]) {
            frontier.append(leaf);
            assert_eq!(hex::encode(frontier.root()), *root);
        }
    }

    #[test]
    fn the_frontier_equals_the_naive_tree_at_every_size_and_after_every_reload() {
        let leaves = some_leaves(300);
        let mut frontier = Frontier::new();
        for size in 0..leaves.len() {
            assert_eq!(frontier.root(), naive_root(&leaves[..size]), "size {size}");
            frontier = Frontier::from_bytes(&frontier.to_bytes()).unwrap();
            frontier.append(&leaves[size]);
            assert_eq!(frontier.size(), size as u64 + 1);
        }
    }

    #[test]
    fn damaged_frontier_bytes_are_refused() {
        let mut frontier = Frontier::new();
        for leaf in some_leaves(5) {
            frontier.append(&leaf);
        }
        let bytes = frontier.to_bytes();
        for len in 0..bytes.len() {
            assert!(Frontier::from_bytes(&bytes[..len]).is_err(), "cut to {len}");
        }
        let mut other_size = bytes;
        other_size[7] = 7;
        assert!(Frontier::from_bytes(&other_size).is_err());
    }
}
