//! From drift to file edits, and to manual items for everything that cannot be edited surely.

use super::diff::{Change, same};
use super::edit::{self, At, Op};
use super::list_keys;
use super::locate::{self, Found, Location};
use super::object::{ManualItem, ObjectRef};
use super::path::{Path, Step, item_matches};
use super::prove::Refused;
use super::secret_like::{in_words, looks_secret};
use super::touched::{Drift, EditAction, Note};
use super::{locate::rendered_by, read};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A file of the repository.
#[derive(Clone, PartialEq, Eq)]
pub struct GitFile {
    /// Its path from the top of the repository.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// How a repository is laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The namespace of manifests that name none, by directory; the longest that fits counts,
    /// an empty directory fits all. Without one it is `default`.
    pub default_namespaces: Vec<(String, String)>,
    /// The directory of files for objects git does not hold yet; empty for the top.
    pub new_files_in: String,
}

impl Rules {
    /// The namespace of a manifest in this file that names none.
    #[must_use]
    pub fn namespace_of(&self, path: &str) -> &str {
        let fits = |directory: &str| {
            directory.is_empty() || path.strip_prefix(directory.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
        };
        self.default_namespaces
            .iter()
            .filter(|(directory, _)| fits(directory))
            .max_by_key(|(directory, _)| directory.len())
            .map_or("default", |(_, namespace)| namespace)
    }
}

/// A file as it is and as it shall be.
#[derive(Clone, PartialEq, Eq)]
pub struct FileEdit {
    /// The path.
    pub path: String,
    /// The text now; none for a new file.
    pub old: Option<String>,
    /// The text after; none if the file goes.
    pub new: Option<String>,
}

/// A line of the drift table, secrets left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The object.
    pub object: ObjectRef,
    /// The field; empty for the whole object.
    pub path: String,
    /// The value before, in words.
    pub before: String,
    /// The value after, in words.
    pub after: String,
    /// Is it left to people?
    pub by_hand: bool,
}

/// What goes into the pull request.
#[derive(Clone, Default, PartialEq)]
pub struct Plan {
    /// The files that change; each proven.
    pub file_edits: Vec<FileEdit>,
    /// What is left to people.
    pub manual: Vec<ManualItem>,
    /// The drift table.
    pub rows: Vec<Row>,
    /// What is said and changes nothing.
    pub notes: Vec<Note>,
}

const BY_HAND: &str = "Bring this to git by hand, then link the merged commit.";

/// Plans the edits of `files` for this drift. Never fails: what has no sure edit is a manual item.
#[must_use]
pub fn plan(drift: &Drift, files: &[GitFile], rules: &Rules) -> Plan {
    let mut now: Vec<GitFile> = files.to_vec();
    let mut out = Plan { manual: drift.manual.clone(), notes: drift.notes.clone(), ..Plan::default() };
    for item in &drift.manual {
        for path in &item.paths {
            out.rows.push(Row { object: item.object.clone(), path: path.clone(), before: "not shown".to_owned(), after: "not shown".to_owned(), by_hand: true });
        }
    }
    for edit in &drift.edits {
        match &edit.action {
            EditAction::Change(changes) => change_all(&edit.object, changes, &mut now, rules, &mut out),
            EditAction::Create(value) => create(&edit.object, value, &mut now, rules, &mut out),
            EditAction::Remove => remove(&edit.object, &mut now, rules, &mut out),
        }
    }
    for file in &now {
        match files.iter().find(|old| old.path == file.path) {
            Some(old) if old.text == file.text => {}
            old => out.file_edits.push(FileEdit { path: file.path.clone(), old: old.map(|old| old.text.clone()), new: Some(file.text.clone()) }),
        }
    }
    for old in files.iter().filter(|old| !now.iter().any(|file| file.path == old.path)) {
        out.file_edits.push(FileEdit { path: old.path.clone(), old: Some(old.text.clone()), new: None });
    }
    out
}

fn barred(location: &Location) -> String {
    match location {
        Location::Missing(unreadable) if unreadable.is_empty() => "No configured file declares the object.".to_owned(),
        Location::Missing(unreadable) => format!("No readable file declares the object ({}).", unreadable.join("; ")),
        Location::Barred(why) => format!("There is no sure edit: {why}."),
        Location::Found(found) => format!("{} declares it already.", found.path),
    }
}

fn change_all(object: &ObjectRef, changes: &[Change], files: &mut [GitFile], rules: &Rules, out: &mut Plan) {
    let location = locate::document(object, files, rules);
    for change in changes {
        let done = match &location {
            Location::Found(found) => change_one(object, change, found, files),
            other => Err(Refused { why: barred(other) }),
        };
        out.rows.push(Row {
            object: object.clone(),
            path: change.path.to_string(),
            before: in_words(&change.path, change.before.as_ref()),
            after: in_words(&change.path, change.after.as_ref()),
            by_hand: done.is_err(),
        });
        if let Err(refused) = done {
            out.manual.push(ManualItem {
                object: object.clone(),
                paths: vec![change.path.to_string()],
                why: refused.why,
                patch: patch(change),
                how: BY_HAND.to_owned(),
            });
        }
    }
}

fn change_one(object: &ObjectRef, change: &Change, found: &Found, files: &mut [GitFile]) -> Result<(), Refused> {
    let gone = || Refused::because("The document is gone.");
    let file = files.iter_mut().find(|file| file.path == found.path).ok_or_else(gone)?;
    let document = read::documents(&file.text).map_err(Refused::because)?.into_iter().nth(found.index).ok_or_else(gone)?;
    let mut text = file.text.clone();
    let mut tree = document;
    // Each step is proven alone against the text the step before left.
    for op in operations(object, change, &tree)? {
        text = edit::apply(&text, found.index, &op)?;
        tree = super::prove::expected(&tree, &op)?;
    }
    file.text = text;
    Ok(())
}

/// The edits of the document that make this change. None if git says it already.
fn operations(object: &ObjectRef, change: &Change, document: &Value) -> Result<Vec<Op>, Refused> {
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
                    None => return Ok(match &change.after {
                        None => Vec::new(),
                        Some(value) => vec![Op::Set { at, value: wrap(&steps[depth + 1..], value)? }],
                    }),
                }
            }
            Step::Item(keys) => {
                let items = here.as_array().ok_or_else(|| Refused::because("Git has something else than a list there."))?;
                let hits: Vec<usize> = (0..items.len()).filter(|index| item_matches(&items[*index], keys)).collect();
                match (hits.as_slice(), &change.after) {
                    ([index], _) => {
                        at.push(At::Index(*index));
                        here = &items[*index];
                    }
                    ([], None) => return Ok(Vec::new()),
                    ([], Some(value)) if last && change.before.is_none() => {
                        at.push(At::Index(items.len()));
                        return Ok(vec![Op::Insert { at, value: value.clone() }]);
                    }
                    ([], Some(_)) => return Err(Refused::because("Git does not declare this item of the list.")),
                    _ => return Err(Refused::because("Git declares this item of the list more than once.")),
                }
            }
        }
    }
    let says = |value: &Option<Value>| value.as_ref().is_some_and(|value| same(&change.path, here, value) || declares(object, &change.path, here, value));
    if change.after.as_ref().is_some_and(|after| same(&change.path, here, after)) {
        return Ok(Vec::new());
    }
    if !says(&change.before) {
        return Err(Refused::because("Git declared another value than the cluster had before."));
    }
    Ok(match &change.after {
        None => {
            // An emptied list or mapping would stay behind as `[]` or `{}`; the key goes instead.
            let alone = |at: &[At]| parent(document, at).is_some_and(|above| above.as_object().map(serde_json::Map::len).or(above.as_array().map(Vec::len)) == Some(1));
            while at.len() > 2 && alone(&at) && !matches!(at[at.len() - 2], At::Index(_)) {
                at.pop();
            }
            vec![Op::Remove { at }]
        }
        Some(Value::Array(new)) if here.is_array() => {
            let old = here.as_array().map_or(&[][..], Vec::as_slice);
            list_operations(&at, old, new)?
        }
        Some(value) => vec![Op::Set { at, value: value.clone() }],
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
fn declares(object: &ObjectRef, path: &Path, git: &Value, live: &Value) -> bool {
    match (git, live) {
        (Value::Object(git), Value::Object(live)) => git.iter().all(|(key, value)| {
            live.get(key).is_some_and(|other| declares(object, &path.key(key), value, other))
        }),
        (Value::Array(git_items), Value::Array(live_items)) => {
            git_items.len() == live_items.len()
                && match list_keys::merge_keys(&object.gvk, path).and_then(|keys| Some((list_keys::keyed(git_items, keys)?, list_keys::keyed(live_items, keys)?))) {
                    Some((git_items, live_items)) => git_items.iter().all(|(key, value)| {
                        let at = path.with(Step::Item(key.clone()));
                        live_items.iter().any(|(other, live)| other == key && declares(object, &at, value, live))
                    }),
                    None => git_items.iter().zip(live_items).all(|(a, b)| declares(object, path, a, b)),
                }
        }
        _ => same(path, git, live),
    }
}

/// A value under keys that git does not have yet.
fn wrap(steps: &[Step], value: &Value) -> Result<Value, Refused> {
    steps.iter().rev().try_fold(value.clone(), |below, step| match step {
        Step::Key(key) => Ok(json!({ key.as_str(): below })),
        Step::Item(keys) if below.is_object() && keys.iter().all(|(key, wanted)| below.get(key) == Some(wanted) || key == "protocol") => {
            Ok(json!([below]))
        }
        Step::Item(_) => Err(Refused::because("Git does not declare this item of the list.")),
    })
}

/// A list without keys: what both have at the beginning and the end stays as it is.
fn list_operations(at: &[At], old: &[Value], new: &[Value]) -> Result<Vec<Op>, Refused> {
    if old.is_empty() || new.is_empty() {
        return Err(Refused::because("The list becomes empty or begins; its layout is for a person."));
    }
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
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
            out.push(Op::Set { at: place(head + n), value: come[n].clone() });
        }
    }
    for (n, value) in come.iter().enumerate().skip(both) {
        out.push(Op::Insert { at: place(head + n), value: value.clone() });
    }
    for n in (both..gone.len()).rev() {
        out.push(Op::Remove { at: place(head + n) });
    }
    Ok(out)
}

/// The exact change as a JSON patch written in YAML; none where a value looks secret or where the
/// path leads through a list, whose indexes belong to the live object alone.
fn patch(change: &Change) -> Option<String> {
    if [&change.before, &change.after].into_iter().flatten().any(|value| looks_secret(&change.path, value)) {
        return None;
    }
    // A merge patch names list items by their keys, as a strategic patch does.
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

fn create(object: &ObjectRef, value: &Value, files: &mut Vec<GitFile>, rules: &Rules, out: &mut Plan) {
    let mut manifest = value.clone();
    manifest["apiVersion"] = Value::from(object.gvk.api_version());
    manifest["kind"] = Value::from(object.gvk.kind.as_str());
    let done = (|| {
        match locate::document(object, files, rules) {
            Location::Missing(_) => {}
            Location::Found(found) if declares(object, &Path::default(), &found.value, &manifest) => return Ok(None),
            other => return Err(Refused { why: barred(&other) }),
        }
        let safe = |text: &str| text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect::<String>();
        let directory = rules.new_files_in.trim_end_matches('/');
        let slash = if directory.is_empty() { "" } else { "/" };
        let namespace = object.namespace.as_deref().map(|namespace| format!("{}-", safe(namespace))).unwrap_or_default();
        let path = format!("{directory}{slash}{namespace}{}-{}.yaml", safe(&object.gvk.kind), safe(&object.name));
        if let Some(tool) = rendered_by(&path, files) {
            return Err(Refused { why: format!("{path} would have to be listed for {tool}.") });
        }
        if files.iter().any(|file| file.path == path) {
            return Err(Refused { why: format!("{path} exists and holds something else.") });
        }
        Ok(Some(GitFile { text: edit::new_file(&manifest)?, path }))
    })();
    out.rows.push(Row { object: object.clone(), path: String::new(), before: "not there".to_owned(), after: "created".to_owned(), by_hand: done.is_err() });
    match done {
        Ok(file) => files.extend(file),
        Err(refused) => out.manual.push(ManualItem {
            object: object.clone(),
            paths: Vec::new(),
            why: refused.why,
            patch: (!looks_secret(&Path::default(), &manifest)).then(|| edit::new_file(&manifest).ok()).flatten(),
            how: BY_HAND.to_owned(),
        }),
    }
}

fn remove(object: &ObjectRef, files: &mut Vec<GitFile>, rules: &Rules, out: &mut Plan) {
    let done = match locate::document(object, files, rules) {
        Location::Missing(unreadable) if unreadable.is_empty() => {
            out.notes.push(Note { object: object.clone(), what: "Deleted; git never declared it.".to_owned(), flag: false });
            return;
        }
        Location::Found(found) => files
            .iter()
            .position(|file| file.path == found.path)
            .ok_or_else(|| Refused::because("The file is gone."))
            .and_then(|position| match edit::remove_document(&files[position].text, found.index)? {
                Some(text) => {
                    files[position].text = text;
                    Ok(())
                }
                None => {
                    files.remove(position);
                    Ok(())
                }
            }),
        other => Err(Refused { why: barred(&other) }),
    };
    out.rows.push(Row { object: object.clone(), path: String::new(), before: "there".to_owned(), after: "deleted".to_owned(), by_hand: done.is_err() });
    if let Err(refused) = done {
        out.manual.push(ManualItem { object: object.clone(), paths: Vec::new(), why: refused.why, patch: None, how: "Remove its manifest by hand, then link the merged commit.".to_owned() });
    }
}
