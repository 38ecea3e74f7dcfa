//! Where a field stands in an object, independent of the order of lists.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// One step of a [`Path`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Step {
    /// A key of a mapping.
    Key(String),
    /// The item of a list that has these values under these keys.
    Item(Vec<(String, Value)>),
}

/// The way from the top of an object to a field. Items of lists are named by their merge keys,
/// never by index, so that a path means the same in the cluster and in git.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// A path of mapping keys only.
    #[must_use]
    pub fn keys(keys: &[&str]) -> Self {
        Self(keys.iter().map(|k| Step::Key((*k).to_owned())).collect())
    }

    /// This path, one step longer.
    #[must_use]
    pub fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// This path and a mapping key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The last mapping key on the way.
    #[must_use]
    pub fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Item(_) => None,
        })
    }

    /// The mapping keys on the way, list items left out.
    #[must_use]
    pub fn key_names(&self) -> Vec<&str> {
        self.0
            .iter()
            .filter_map(|step| match step {
                Step::Key(key) => Some(key.as_str()),
                Step::Item(_) => None,
            })
            .collect()
    }

    /// Is `self` at or below `other`?
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The value at this path.
    #[must_use]
    pub fn find<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(root, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Item(keys) => {
                let items = value.as_array()?;
                let mut hits = items.iter().filter(|item| item_matches(item, keys));
                let hit = hits.next()?;
                hits.next().is_none().then_some(hit)
            }
        })
    }
}

/// Does the item carry these merge keys? A missing `protocol` is the server's default, TCP.
#[must_use]
pub fn item_matches(item: &Value, keys: &[(String, Value)]) -> bool {
    keys.iter().all(|(key, wanted)| match item.get(key) {
        Some(value) => value == wanted,
        None => key == "protocol" && wanted == "TCP",
    })
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if key.contains(['.', '/', '[', ' ']) => write!(f, "[{key:?}]")?,
                Step::Key(key) if i == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item(keys) => {
                    f.write_str("[")?;
                    for (n, (key, value)) in keys.iter().enumerate() {
                        let comma = if n == 0 { "" } else { "," };
                        match value.as_str() {
                            Some(text) => write!(f, "{comma}{key}={text}")?,
                            None => write!(f, "{comma}{key}={value}")?,
                        }
                    }
                    f.write_str("]")?;
                }
            }
        }
        Ok(())
    }
}
