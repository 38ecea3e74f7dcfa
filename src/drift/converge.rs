//! After the merge: does the cluster say what git says, on every touched path?

use super::diff::same;
use super::list_keys;
use super::object::Gvk;
use super::path::{Path, Step};
use super::secret_like::in_words;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A touched field on which git and cluster disagree; values in words, secrets left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The field; empty for the whole object.
    pub path: String,
    /// What the cluster has.
    pub live: String,
    /// What git says.
    pub git: String,
}

/// Compares the live object with the merged document on these paths (an empty path is the whole
/// object). What git leaves to the server inside a declared field does not count as a mismatch.
pub fn converged(live: Option<&Value>, git_doc: Option<&Value>, paths: &[Path]) -> Result<(), Vec<Mismatch>> {
    let gvk = git_doc
        .or(live)
        .and_then(Gvk::of)
        .unwrap_or_else(|| Gvk::new("", "", ""));
    let mut out = Vec::new();
    for path in paths {
        let (have, say) = (
            live.and_then(|live| path.find(live)),
            git_doc.and_then(|git| path.find(git)),
        );
        let agree = match (have, say) {
            (None, None) => true,
            (Some(have), Some(say)) => covers(&gvk, path, say, have),
            _ => false,
        };
        if !agree {
            // Of a whole object that is in both, the first field that differs is said.
            let (path, have, say) = match (have, say) {
                (Some(have), Some(say)) if path.0.is_empty() => {
                    let at = first_difference(&gvk, path, say, have);
                    let (have, say) = (at.find(have), at.find(say));
                    (at, have, say)
                }
                _ => (path.clone(), have, say),
            };
            let words = |value| match path.0.is_empty() {
                false => in_words(&path, value),
                true if value.is_some() => "there".to_owned(),
                true => "not there".to_owned(),
            };
            out.push(Mismatch {
                path: path.to_string(),
                live: words(have),
                git: words(say),
            });
        }
    }
    if out.is_empty() { Ok(()) } else { Err(out) }
}

/// The way to the first field that git says otherwise, through mappings alone.
fn first_difference(gvk: &Gvk, path: &Path, git: &Value, live: &Value) -> Path {
    let (Value::Object(git), Value::Object(live)) = (git, live) else {
        return path.clone();
    };
    for (key, say) in git.iter().filter(|(_, say)| !say.is_null()) {
        let at = path.key(key);
        match live.get(key) {
            Some(have) if covers(gvk, &at, say, have) => {}
            Some(have) => return first_difference(gvk, &at, say, have),
            None => return at,
        }
    }
    path.clone()
}

/// Has the live value everything git says?
fn covers(gvk: &Gvk, path: &Path, git: &Value, live: &Value) -> bool {
    match (git, live) {
        (Value::Object(git), Value::Object(live)) => git.iter().all(|(key, value)| {
            value.is_null()
                || live
                    .get(key)
                    .is_some_and(|other| covers(gvk, &path.key(key), value, other))
        }),
        (Value::Array(git), Value::Array(live)) => {
            let keyed = list_keys::merge_keys(gvk, path)
                .and_then(|keys| Some((list_keys::keyed(git, keys)?, list_keys::keyed(live, keys)?)));
            match keyed {
                Some((git, live)) => git.iter().all(|(key, value)| {
                    let at = path.with(Step::Item(key.clone()));
                    live.iter()
                        .any(|(other, have)| other == key && covers(gvk, &at, value, have))
                }),
                None => {
                    git.len() == live.len()
                        && git
                            .iter()
                            .zip(live)
                            .all(|(git, live)| covers(gvk, path, git, live))
                }
            }
        }
        _ => same(path, git, live),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_touched_paths_count_and_words_are_said() {
        let git = json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},
            "spec":{"replicas":5,"paused":true,"template":{"spec":{"containers":[{"name":"web","resources":{"limits":{"cpu":"0.5"}}}]}}}});
        let live = json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","uid":"1"},
            "spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"web","imagePullPolicy":"Always","resources":{"limits":{"cpu":"500m"}}}]}}}});
        let containers = Path::keys(&["spec", "template", "spec", "containers"]);
        assert_eq!(converged(Some(&live), Some(&git), &[containers]), Ok(()));
        let wrong = converged(
            Some(&live),
            Some(&git),
            &[Path::keys(&["spec", "replicas"]), Path::keys(&["spec", "paused"])],
        )
        .unwrap_err();
        assert_eq!(
            wrong[0],
            Mismatch {
                path: "spec.replicas".into(),
                live: "3".into(),
                git: "5".into()
            }
        );
        assert_eq!(wrong[1].live, "not set");
        let whole = converged(Some(&live), Some(&git), &[Path::default()]).unwrap_err();
        assert_eq!(
            (whole[0].path.as_str(), whole[0].live.as_str()),
            ("spec.replicas", "3")
        );
        assert_eq!(converged(None, None, &[Path::default()]), Ok(()));
        assert_eq!(
            converged(Some(&live), None, &[Path::default()]).unwrap_err()[0].git,
            "not there"
        );
    }
}
