//! A change of the live object, replayed onto the document git has.

use super::diff::{Change, same};
use super::edit::{At, Op};
use super::list_keys;
use super::object::ObjectRef;
use super::path::{Path, Step, item_matches};
use super::prove::Refused;
use super::read;
use super::secret_like::looks_secret;
use serde_json::{Value, json};

/// The edits of the document that make this change. None if git says it already.
pub(super) fn operations(object: &ObjectRef, change: &Change, document: &Value) -> Result<Vec<Op>, Refused> {
    let mut at: Vec<At> = Vec::new();
    let mut here = document;
    let steps = &change.path.0;
    for (depth, step) in steps.iter().enumerate() {
        let last = depth + 1 == steps.len();
        match step {
            Step::Key(key) => {
                at.push(At::Key(key.clone()));
                match here.get(key) {
                    Some(below) => here = below,
                    None => {
                        return Ok(match &change.after {
                            None => Vec::new(),
                            Some(value) => vec![Op::Set {
                                at,
                                value: wrap(&steps[depth + 1..], value)?,
                            }],
                        });
                    }
                }
            }
            Step::Item(keys) => {
                let items = here
                    .as_array()
                    .ok_or_else(|| Refused::because("Git has something else than a list there."))?;
                let hits: Vec<usize> = (0..items.len())
                    .filter(|index| item_matches(&items[*index], keys))
                    .collect();
                match (hits.as_slice(), &change.after) {
                    ([index], _) => {
                        at.push(At::Index(*index));
                        here = &items[*index];
                    }
                    ([], None) => return Ok(Vec::new()),
                    ([], Some(value)) if last && change.before.is_none() => {
                        at.push(At::Index(items.len()));
                        return Ok(vec![Op::Insert {
                            at,
                            value: value.clone(),
                        }]);
                    }
                    ([], Some(_)) => {
                        return Err(Refused::because("Git does not declare this item of the list."));
                    }
                    _ => {
                        return Err(Refused::because(
                            "Git declares this item of the list more than once.",
                        ));
                    }
                }
            }
        }
    }
    let says = |value: &Option<Value>| {
        value.as_ref().is_some_and(|value| {
            same(&change.path, here, value) || declares(object, &change.path, here, value)
        })
    };
    if change
        .after
        .as_ref()
        .is_some_and(|after| same(&change.path, here, after))
    {
        return Ok(Vec::new());
    }
    if !says(&change.before) {
        return Err(Refused::because(
            "Git declared another value than the cluster had before.",
        ));
    }
    Ok(match &change.after {
        None => {
            // An emptied list or mapping would stay behind as `[]` or `{}`; the key goes instead.
            let alone = |at: &[At]| {
                parent(document, at).is_some_and(|above| {
                    above
                        .as_object()
                        .map(serde_json::Map::len)
                        .or(above.as_array().map(Vec::len))
                        == Some(1)
                })
            };
            while at.len() > 2 && alone(&at) && !matches!(at[at.len() - 2], At::Index(_)) {
                at.pop();
            }
            vec![Op::Remove { at }]
        }
        Some(Value::Array(new)) if here.is_array() => {
            let old = here.as_array().map_or(&[][..], Vec::as_slice);
            list_operations(&at, old, new)?
        }
        Some(value) => vec![Op::Set {
            at,
            value: value.clone(),
        }],
    })
}

fn parent<'v>(document: &'v Value, at: &[At]) -> Option<&'v Value> {
    let (_, above) = at.split_last()?;
    above.iter().try_fold(document, |value, step| match step {
        At::Key(key) => value.get(key),
        At::Index(index) => value.get(*index),
    })
}

/// Does git's value say what the live one says, server defaults aside?
pub(super) fn declares(object: &ObjectRef, path: &Path, git: &Value, live: &Value) -> bool {
    match (git, live) {
        (Value::Object(git), Value::Object(live)) => git.iter().all(|(key, value)| {
            live.get(key)
                .is_some_and(|other| declares(object, &path.key(key), value, other))
        }),
        (Value::Array(git_items), Value::Array(live_items)) => {
            git_items.len() == live_items.len()
                && match list_keys::merge_keys(&object.gvk, path).and_then(|keys| {
                    Some((
                        list_keys::keyed(git_items, keys)?,
                        list_keys::keyed(live_items, keys)?,
                    ))
                }) {
                    Some((git_items, live_items)) => git_items.iter().all(|(key, value)| {
                        let at = path.with(Step::Item(key.clone()));
                        live_items
                            .iter()
                            .any(|(other, live)| other == key && declares(object, &at, value, live))
                    }),
                    None => git_items
                        .iter()
                        .zip(live_items)
                        .all(|(a, b)| declares(object, path, a, b)),
                }
        }
        _ => same(path, git, live),
    }
}

/// A value under keys that git does not have yet.
fn wrap(steps: &[Step], value: &Value) -> Result<Value, Refused> {
    steps
        .iter()
        .rev()
        .try_fold(value.clone(), |below, step| match step {
            Step::Key(key) => Ok(json!({ key.as_str(): below })),
            Step::Item(keys)
                if below.is_object()
                    && keys
                        .iter()
                        .all(|(key, wanted)| below.get(key) == Some(wanted) || key == "protocol") =>
            {
                Ok(json!([below]))
            }
            Step::Item(_) => Err(Refused::because("Git does not declare this item of the list.")),
        })
}

/// A list without keys: what both have at the beginning and the end stays as it is.
fn list_operations(at: &[At], old: &[Value], new: &[Value]) -> Result<Vec<Op>, Refused> {
    if old.is_empty() || new.is_empty() {
        return Err(Refused::because(
            "The list becomes empty or begins; its layout is for a person.",
        ));
    }
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..]
        .iter()
        .rev()
        .zip(new[head..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (gone, come) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let place = |index: usize| {
        let mut at = at.to_vec();
        at.push(At::Index(index));
        at
    };
    let both = gone.len().min(come.len());
    let mut out: Vec<Op> = Vec::new();
    for n in 0..both {
        if gone[n] != come[n] {
            out.push(Op::Set {
                at: place(head + n),
                value: come[n].clone(),
            });
        }
    }
    for (n, value) in come.iter().enumerate().skip(both) {
        out.push(Op::Insert {
            at: place(head + n),
            value: value.clone(),
        });
    }
    for n in (both..gone.len()).rev() {
        out.push(Op::Remove { at: place(head + n) });
    }
    Ok(out)
}

/// The exact change as a merge patch in YAML; none where a value looks secret.
pub(super) fn patch(change: &Change) -> Option<String> {
    if [&change.before, &change.after]
        .into_iter()
        .flatten()
        .any(|value| looks_secret(&change.path, value))
    {
        return None;
    }
    let value = change.after.clone().unwrap_or(Value::Null);
    let tree = change.path.0.iter().rev().fold(value, |below, step| match step {
        Step::Key(key) => json!({ key.as_str(): below }),
        Step::Item(keys) => {
            let mut item = serde_json::Map::new();
            for (key, wanted) in keys {
                item.insert(key.clone(), wanted.clone());
            }
            match below {
                Value::Object(below) => item.extend(below),
                _ => {
                    item.insert("$patch".to_owned(), Value::from("delete"));
                }
            }
            json!([item])
        }
    });
    read::write(&tree).ok()
}
