//! The oracle: an edit passes only if another parser reads exactly the expected tree in every
//! document, and only the lines that must move have moved.

use super::edit::{At, Op};
use super::read;
use serde_json::Value;

/// Why an edit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// One sentence.
    pub why: String,
}

impl Refused {
    pub(super) fn because(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// The tree after `op`, computed without the text. Fails where the tree has no such place.
pub fn expected(document: &Value, op: &Op) -> Result<Value, Refused> {
    let missing = || Refused::because("git has no such place to change");
    let mut out = document.clone();
    let (at, parent_of) = match op {
        Op::Set { at, .. } | Op::Remove { at } | Op::Insert { at, .. } => (at, at.split_last()),
    };
    let (last, above) = parent_of.ok_or_else(missing)?;
    let mut parent = &mut out;
    for step in above {
        parent = match step {
            At::Key(key) => parent.get_mut(key),
            At::Index(index) => parent.get_mut(*index),
        }
        .ok_or_else(missing)?;
    }
    match (op, last, parent) {
        (Op::Set { value, .. }, At::Key(key), Value::Object(map)) => {
            map.insert(key.clone(), value.clone());
        }
        (Op::Set { value, .. }, At::Index(index), Value::Array(items)) if *index < items.len() => {
            items[*index] = value.clone();
        }
        (Op::Insert { value, .. }, At::Index(index), Value::Array(items)) if *index <= items.len() => {
            items.insert(*index, value.clone());
        }
        (Op::Remove { .. }, At::Key(key), Value::Object(map)) if map.contains_key(key) => {
            map.shift_remove(key);
        }
        (Op::Remove { .. }, At::Index(index), Value::Array(items)) if *index < items.len() => {
            items.remove(*index);
        }
        _ => {
            return Err(Refused::because(format!(
                "git has no such place to change ({} steps)",
                at.len()
            )));
        }
    }
    Ok(out)
}

/// Accepts `new` as the text of `old` with `op` done in document `index`, or says why not.
pub fn prove(old: &str, new: &str, index: usize, op: &Op) -> Result<(), Refused> {
    let mut wanted = read::documents(old).map_err(Refused::because)?;
    let target = wanted
        .get_mut(index)
        .ok_or_else(|| Refused::because("the document is gone"))?;
    let before = target.clone();
    *target = expected(&before, op)?;
    let got =
        read::documents(new).map_err(|why| Refused::because(format!("the edited file would be {why}")))?;
    if got != wanted {
        return Err(Refused::because(
            "the edited file would not say exactly what is wanted",
        ));
    }
    bounded(old, new, &before, op)
}

/// Only lines that must move may move: one stretch, of the size the edit needs, and no comment
/// lost other than one that spoke of what is removed.
fn bounded(old: &str, new: &str, before: &Value, op: &Op) -> Result<(), Refused> {
    let (gone, come) = moved(old, new);
    let too_much =
        |what: &str| Refused::because(format!("the edit would move more lines than it must ({what})"));
    let fits = match op {
        Op::Set { at, value } => match find(before, at) {
            Some(was) => gone.len() <= height(was) + 1 && come.len() <= height(value) + 1,
            None => gone.len() <= 1 && come.len() <= height(value) + 2,
        },
        Op::Insert { value, .. } => gone.len() <= 1 && come.len() <= height(value) + 2,
        Op::Remove { at } => find(before, at).is_some() && come.len() <= 1,
    };
    if !fits {
        return Err(too_much("lines"));
    }
    let is_comment = |line: &&&str| line.trim_start().starts_with('#');
    let lost = gone
        .iter()
        .filter(is_comment)
        .count()
        .saturating_sub(come.iter().filter(is_comment).count());
    if lost > 0
        && !matches!(op, Op::Remove { .. })
        && !matches!(op, Op::Set { at, .. } if multiline(find(before, at)))
    {
        return Err(too_much("a comment"));
    }
    if let Op::Remove { .. } = op {
        // What goes must hang together: nothing at a shallower indent than its own first key.
        let indent = |line: &str| line.len() - line.trim_start().len();
        let content: Vec<&&str> = gone.iter().filter(|line| !line.trim().is_empty()).collect();
        let least = content
            .iter()
            .filter(|line| !is_comment(line))
            .map(|line| indent(line))
            .min();
        if content
            .iter()
            .filter(|line| is_comment(line))
            .any(|line| Some(indent(line)) < least)
        {
            return Err(too_much("a comment"));
        }
    }
    Ok(())
}

fn multiline(value: Option<&Value>) -> bool {
    value.is_some_and(|value| height(value) > 1)
}

fn find<'v>(root: &'v Value, at: &[At]) -> Option<&'v Value> {
    at.iter().try_fold(root, |value, step| match step {
        At::Key(key) => value.get(key),
        At::Index(index) => value.get(*index),
    })
}

/// The most lines a value takes in block style.
fn height(value: &Value) -> usize {
    match value {
        Value::Object(map) => map
            .values()
            .map(|below| height(below) + usize::from(!is_scalar(below)))
            .sum::<usize>()
            .max(1),
        Value::Array(items) => items.iter().map(height).sum::<usize>().max(1),
        Value::String(text) => text.lines().count().max(1) + usize::from(text.contains('\n')),
        _ => 1,
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

/// The lines that differ once the common beginning and end are taken away.
fn moved<'a>(old: &'a str, new: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let (old, new): (Vec<&str>, Vec<&str>) = (
        old.split_inclusive('\n').collect(),
        new.split_inclusive('\n').collect(),
    );
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    (old[..old.len() - tail].to_vec(), new[..new.len() - tail].to_vec())
}

/// Accepts `new` as the text of `old` without document `index`.
pub fn prove_removed(old: &str, new: &str, index: usize) -> Result<(), Refused> {
    let mut wanted = read::documents(old).map_err(Refused::because)?;
    if index >= wanted.len() {
        return Err(Refused::because("the document is gone"));
    }
    wanted.remove(index);
    let (_, come) = moved(old, new);
    if read::documents(new).map_err(Refused::because)? == wanted && come.len() <= 1 {
        Ok(())
    } else {
        Err(Refused::because("removing the document would change another one"))
    }
}
