//! Folders that were read already. A tree's SHA names its content, so what was read of it never gets old.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// How many names are kept over all folders: some megabytes.
const MOST: usize = 20_000;

/// What a folder holds under one name.
#[derive(Debug, Clone)]
pub(super) struct TreeEntry {
    pub(super) mode: String,
    pub(super) kind: String,
    pub(super) sha: String,
}

/// A folder: what it holds, by name.
pub(super) type Tree = Arc<BTreeMap<String, TreeEntry>>;

/// The folders read so far, by repository and SHA (of the tree, or of a commit for its root).
#[derive(Debug, Default)]
pub(super) struct Trees(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    trees: HashMap<(String, String), Tree>,
    names: usize,
}

impl Trees {
    /// The folder with that SHA, if it was read.
    pub(super) fn get(&self, repository: &str, sha: &str) -> Option<Tree> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.trees
            .get(&(repository.to_owned(), sha.to_owned()))
            .map(Arc::clone)
    }

    /// Keeps a folder; all others are let go when that would be too many.
    pub(super) fn keep(&self, repository: &str, sha: &str, tree: &Tree) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.names + tree.len() > MOST {
            *kept = Kept::default();
        }
        let key = (repository.to_owned(), sha.to_owned());
        if tree.len() <= MOST && kept.trees.insert(key, Arc::clone(tree)).is_none() {
            kept.names += tree.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: usize) -> Tree {
        let entry = |n: usize| TreeEntry {
            mode: "100644".to_owned(),
            kind: "blob".to_owned(),
            sha: format!("{n:040x}"),
        };
        Arc::new((0..names).map(|n| (format!("{n}.yaml"), entry(n))).collect())
    }

    #[test]
    fn a_folder_is_found_in_its_own_repository_alone() {
        let trees = Trees::default();
        trees.keep("demo/shop", "aa", &tree(2));
        assert_eq!(trees.get("demo/shop", "aa").unwrap()["1.yaml"].kind, "blob");
        assert!(trees.get("demo/other", "aa").is_none());
        assert!(trees.get("demo/shop", "ab").is_none());
    }

    #[test]
    fn what_is_kept_stays_within_bounds() {
        let trees = Trees::default();
        for n in 0..50 {
            trees.keep("demo/shop", &n.to_string(), &tree(1_000));
        }
        trees.keep("demo/shop", "vast", &tree(MOST + 1));
        let kept = trees.0.lock().unwrap();
        let names: usize = kept.trees.values().map(|tree| tree.len()).sum();
        assert_eq!(kept.names, names);
        assert!(names <= MOST);
    }
}
