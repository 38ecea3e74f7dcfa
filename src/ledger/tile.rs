//! The log as C2SP tlog-tiles serves it: tiles of 256 hashes, bundles of 256 entries.
//!
//! <https://c2sp.org/tlog-tiles>. Tile `n` of level 0 holds the leaf hashes of entries `256 n` and on;
//! a hash of level `l` is the root over `256^l` entries, and exists once all of them do. So a tile's
//! content never changes: it only becomes wider until it is full.

use super::tree::{Frontier, Hash};
use std::fmt;
use std::str::FromStr;

/// How many hashes a full tile has, and how many entries a full bundle.
pub const WIDTH: u64 = 256;
/// The highest level whose hashes a log of this form can have: a hash there covers 2^56 entries.
pub const MAX_LEVEL: u8 = 7;

/// The root over `256^level` entries, those from `index * 256^level` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// From 1: those of level 0 are the leaves.
    pub level: u8,
    /// Its place among the hashes of its level.
    pub index: u64,
    /// The hash.
    pub hash: Hash,
}

/// How many hashes of a level a log of `size` entries has.
#[must_use]
pub const fn hashes_at(level: u8, size: u64) -> u64 {
    match size.checked_shr(8 * level as u32) {
        Some(count) => count,
        None => 0,
    }
}

/// Appends a leaf; what it completes at the edges of tiles goes to `nodes`.
pub fn append(frontier: &mut Frontier, leaf: &Hash, nodes: &mut Vec<Node>) {
    frontier.append_with(leaf, |range, hash| {
        let height = (range.end - range.start).trailing_zeros();
        if height.is_multiple_of(8)
            && let Ok(level) = u8::try_from(height / 8)
        {
            nodes.push(Node {
                level,
                index: range.start >> height,
                hash: *hash,
            });
        }
    });
}

/// What a tile's path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TileKind {
    /// The hashes of a level.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// A tile or bundle, as it is asked for below `tile/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TilePath {
    /// Hashes or entries.
    pub kind: TileKind,
    /// Which one of its kind.
    pub number: u64,
    /// How many hashes or entries: 1 to 256.
    pub width: u64,
}

impl TilePath {
    /// The index of its first hash within its level, or of its first entry.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.number.saturating_mul(WIDTH)
    }

    /// A full tile never changes; a partial one is replaced by a wider one.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// Whether a log of `size` entries has it.
    #[must_use]
    pub const fn is_within(&self, size: u64) -> bool {
        let level = match self.kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        match self.first().checked_add(self.width) {
            Some(end) => end <= hashes_at(level, size),
            None => false,
        }
    }

    /// Every tile and bundle of a log of `size` entries that a reader needs to check all of it.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let of = move |kind, count: u64| {
            (0..count.div_ceil(WIDTH)).map(move |number| Self {
                kind,
                number,
                width: WIDTH.min(count - number * WIDTH),
            })
        };
        (0..=MAX_LEVEL)
            .flat_map(move |level| of(TileKind::Hashes(level), hashes_at(level, size)))
            .chain(of(TileKind::Entries, size))
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "{level}/")?,
            TileKind::Entries => f.write_str("entries/")?,
        }
        let mut groups = vec![];
        let mut rest = self.number;
        loop {
            groups.push(rest % 1000);
            rest /= 1000;
            if rest == 0 {
                break;
            }
        }
        for group in groups[1..].iter().rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        if self.is_full() {
            Ok(())
        } else {
            write!(f, ".p/{}", self.width)
        }
    }
}

/// The path is not one that the form has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no path of a tile: expected LEVEL/NUMBER or entries/NUMBER, with .p/WIDTH for a partial one (c2sp.org/tlog-tiles)"
)]
pub struct PathError;

impl FromStr for TilePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let (kind, rest) = text.split_once('/').ok_or(PathError)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().map_err(|_| PathError)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().map_err(|_| PathError)?),
            None => (rest, WIDTH),
        };
        let mut value: u64 = 0;
        for group in number.split('/') {
            let group: u64 = group
                .strip_prefix('x')
                .unwrap_or(group)
                .parse()
                .map_err(|_| PathError)?;
            value = value
                .checked_mul(1000)
                .and_then(|value| value.checked_add(group))
                .ok_or(PathError)?;
        }
        let path = Self {
            kind,
            number: value,
            width,
        };
        // One spelling for each tile: whatever else reads as the same numbers is refused.
        let in_bounds = matches!(kind, TileKind::Entries | TileKind::Hashes(0..=MAX_LEVEL));
        if in_bounds && (1..=WIDTH).contains(&width) && path.to_string() == text {
            Ok(path)
        } else {
            Err(PathError)
        }
    }
}

/// The bytes of a tile of hashes.
#[must_use]
pub fn hash_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// Reads a tile of exactly `width` hashes.
#[must_use]
pub fn read_hash_tile(bytes: &[u8], width: u64) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() as u64 == width).then(|| hashes.to_vec())
}

/// The bytes of a bundle: each entry after its length as a big-endian u16. An entry of this log has at
/// most 1,024 bytes; a longer one than the form can hold is a mistake, and makes no bundle.
#[must_use]
pub fn entry_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bytes = vec![];
    for entry in entries {
        bytes.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Some(bytes)
}

/// Reads a bundle of exactly `width` entries.
#[must_use]
pub fn read_entry_bundle(mut bytes: &[u8], width: u64) -> Option<Vec<&[u8]>> {
    let mut entries = vec![];
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        bytes = rest;
    }
    (bytes.is_empty() && entries.len() as u64 == width).then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{naive_root, some_leaves};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_paths_of_the_form_are_read_and_no_other_spelling() {
        // The examples of c2sp.org/tlog-tiles.
        for (text, kind, number, width) in [
            ("0/x001/x234/067", TileKind::Hashes(0), 1_234_067, 256),
            ("0/x001/x234/067.p/8", TileKind::Hashes(0), 1_234_067, 8),
            ("1/000", TileKind::Hashes(1), 0, 256),
            ("entries/x001/000.p/255", TileKind::Entries, 1_000, 255),
        ] {
            let path = TilePath { kind, number, width };
            assert_eq!(text.parse(), Ok(path), "{text}");
            assert_eq!(path.to_string(), text);
        }
        for bad in [
            "",
            "0",
            "0/",
            "0/0",
            "0/00",
            "0/0000",
            "0/1000",
            "0/x000/001",
            "00/000",
            "+0/000",
            "0/+00",
            "8/000",
            "entry/000",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/08",
            "0/000.p/",
            "0/x001",
            "0/001/000",
            "0/-01",
            "0/000/",
            "/0/000",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
            "0/０００",
        ] {
            assert_eq!(bad.parse::<TilePath>(), Err(PathError), "{bad:?}");
        }
    }

    #[test]
    fn a_hash_of_each_level_is_the_root_over_its_entries() {
        let leaves = some_leaves(256 * 256 + 600);
        let (mut frontier, mut nodes) = (Frontier::new(), vec![]);
        for leaf in &leaves {
            append(&mut frontier, leaf, &mut nodes);
        }
        for level in 1..=3 {
            let of_level: Vec<_> = nodes.iter().filter(|node| node.level == level).collect();
            assert_eq!(of_level.len() as u64, hashes_at(level, leaves.len() as u64));
            let span = 256usize.pow(level.into());
            for (at, node) in of_level.iter().enumerate() {
                assert_eq!(node.index, at as u64);
                assert_eq!(node.hash, naive_root(&leaves[at * span..(at + 1) * span]));
            }
        }
        assert_eq!(nodes.len(), 258 + 1);
    }

    #[test]
    fn a_log_has_exactly_the_tiles_of_its_size() {
        let names = |size| {
            TilePath::all(size)
                .map(|path| path.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(0), [""; 0]);
        assert_eq!(names(1), ["0/000.p/1", "entries/000.p/1"]);
        assert_eq!(names(256), ["0/000", "1/000.p/1", "entries/000"]);
        assert_eq!(
            names(257),
            [
                "0/000",
                "0/001.p/1",
                "1/000.p/1",
                "entries/000",
                "entries/001.p/1"
            ]
        );
        for size in [0, 1, 255, 256, 257, 70_000] {
            assert!(TilePath::all(size).all(|path| path.is_within(size)));
            let last = TilePath::all(size + 1).filter(|path| !path.is_within(size));
            assert!(last.count() >= 2, "a wider tile is not there before its entry is");
        }
        let far = TilePath {
            kind: TileKind::Entries,
            number: u64::MAX,
            width: 256,
        };
        assert!(!far.is_within(u64::MAX - 1));
    }

    proptest! {
        #[test]
        fn every_path_is_read_back(level in 0..=MAX_LEVEL, entries: bool, number: u64, width in 1..=256u64) {
            let kind = if entries { TileKind::Entries } else { TileKind::Hashes(level) };
            let path = TilePath { kind, number, width };
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }

        #[test]
        fn hostile_paths_and_bundles_never_panic(text in "[0-9x/.p]{0,40}", bytes: Vec<u8>, width in 0..300u64) {
            let _ = text.parse::<TilePath>();
            let _ = read_entry_bundle(&bytes, width);
            let _ = read_hash_tile(&bytes, width);
        }

        #[test]
        fn a_bundle_holds_its_entries_and_nothing_after_them(
            entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let bytes = entry_bundle(entries.iter().map(Vec::as_slice)).unwrap();
            let width = entries.len() as u64;
            prop_assert_eq!(read_entry_bundle(&bytes, width).unwrap(), entries);
            prop_assert_eq!(read_entry_bundle(&bytes, width + 1), None);
            let longer = [bytes.as_slice(), &[0]].concat();
            prop_assert_eq!(read_entry_bundle(&longer, width), None);
        }
    }
}
