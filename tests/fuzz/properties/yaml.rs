//! The YAML editor: what it writes, another parser reads as exactly the tree that was wanted, with every other
//! document, value and comment as it was. The input is a line `DOCUMENT PLACE KIND`, a line with the value as
//! JSON, and the file.

use breakglass::drift::edit::{At, Op, apply, new_file, remove_document};
use breakglass::drift::read;
use serde_json::Value;

/// Both parsers take more than linear time on some files; what stands in git is bounded by the forge.
const LONGEST: usize = 8 << 10;

pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.len() > LONGEST {
        return;
    }
    let mut parts = text.splitn(3, '\n');
    let (Some(how), Some(value), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    whole(&value);
    let mut how = how.split(' ').map(|word| word.parse::<usize>().unwrap_or(0));
    let mut next = || how.next().unwrap_or(0);
    let (document, place, kind) = (next(), next(), next());
    let Ok(before) = read::documents(file) else {
        // What the oracle cannot read is never edited.
        let op = Op::Remove {
            at: vec![At::Key("a".to_owned())],
        };
        assert!(apply(file, 0, &op).is_err() && remove_document(file, 0).is_err());
        return;
    };
    if before.is_empty() {
        return;
    }
    let index = document % before.len();
    without(file, &before, index);
    let mut all = Vec::new();
    places(&before[index], &mut vec![], &mut all);
    if all.is_empty() {
        return;
    }
    let mut at = all.swap_remove(place % all.len());
    let op = match (kind % 4, at.last()) {
        (0, _) => Op::Remove { at },
        (1, Some(At::Index(_))) => Op::Insert { at, value },
        (2, Some(At::Key(_))) => {
            at.pop();
            at.push(At::Key(format!("new{}", kind / 4)));
            Op::Set { at, value }
        }
        _ => Op::Set { at, value },
    };
    edit(file, &before, index, &op);
}

fn edit(file: &str, before: &[Value], index: usize, op: &Op) {
    let Ok(new) = apply(file, index, op) else { return };
    let after = read::documents(&new).expect("what was written can be read");
    assert_eq!(after.len(), before.len(), "a document came or went");
    for (n, (was, is)) in before.iter().zip(&after).enumerate() {
        if n != index {
            assert_eq!(was, is, "document {n} changed, {index} was edited");
        }
    }
    assert_eq!(after[index], wanted(&before[index], op), "another tree:\n{new}");
    if !matches!(op, Op::Remove { .. }) {
        // A value may bring lines with a hash of its own, a list or text may take some away; the file's own
        // remarks, those that stand alone, stay.
        let value = find(&before[index], op);
        if value.is_none_or(|value| !value.is_object() && !value.is_array() && !value.is_string()) {
            let lone = |text: &str| {
                text.lines()
                    .filter(|line| line.trim_start().starts_with('#'))
                    .count()
            };
            assert!(lone(&new) >= lone(file), "a remark is gone:\n{new}");
        }
    }
    if matches!(op, Op::Set { .. })
        && let Ok(again) = apply(&new, index, op)
    {
        let read = read::documents(&again).expect("readable");
        assert_eq!(read, after, "the same edit again is another one");
    }
}

/// The tree that is wanted, made here anew: the code's own is one of the things to be tried.
fn wanted(document: &Value, op: &Op) -> Value {
    let (Op::Set { at, .. } | Op::Insert { at, .. } | Op::Remove { at }) = op;
    let (last, above) = at.split_last().expect("never the top");
    let mut out = document.clone();
    let mut parent = &mut out;
    for step in above {
        parent = match step {
            At::Key(key) => &mut parent[key.as_str()],
            At::Index(index) => &mut parent[*index],
        };
    }
    match (op, last) {
        (Op::Set { value, .. }, At::Key(key)) => parent[key.as_str()] = value.clone(),
        (Op::Set { value, .. }, At::Index(index)) => parent[*index] = value.clone(),
        (Op::Insert { value, .. }, At::Index(index)) => {
            parent
                .as_array_mut()
                .expect("a list")
                .insert(*index, value.clone());
        }
        (Op::Remove { .. }, At::Key(key)) => {
            parent.as_object_mut().expect("a mapping").shift_remove(key);
        }
        (Op::Remove { .. }, At::Index(index)) => {
            parent.as_array_mut().expect("a list").remove(*index);
        }
        (Op::Insert { .. }, At::Key(_)) => unreachable!("made for lists alone"),
    }
    out
}

fn find<'v>(document: &'v Value, op: &Op) -> Option<&'v Value> {
    let (Op::Set { at, .. } | Op::Insert { at, .. } | Op::Remove { at }) = op;
    at.iter().try_fold(document, |value, step| match step {
        At::Key(key) => value.get(key),
        At::Index(index) => value.get(*index),
    })
}

fn places(value: &Value, at: &mut Vec<At>, out: &mut Vec<Vec<At>>) {
    let mut below = |step: At, value: &Value, at: &mut Vec<At>| {
        at.push(step);
        out.push(at.clone());
        places(value, at, out);
        at.pop();
    };
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| below(At::Key(key.clone()), value, at)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| below(At::Index(index), value, at));
        }
        _ => {}
    }
}

/// A document is taken away, and no other one notices.
fn without(file: &str, before: &[Value], index: usize) {
    match remove_document(file, index) {
        Ok(None) => assert_eq!(before.len(), 1, "the file would go with documents in it"),
        Ok(Some(new)) => {
            let mut left = before.to_vec();
            left.remove(index);
            assert_eq!(read::documents(&new).expect("readable"), left);
        }
        Err(_) => {}
    }
}

/// A new file says what is wanted, and nothing else.
fn whole(value: &Value) {
    if let Ok(text) = new_file(value) {
        let back = read::documents(&text).expect("readable");
        assert_eq!(back, std::slice::from_ref(value), "{text}");
        assert!(text.ends_with('\n') && !text.ends_with("\n\n\n"));
    }
}
