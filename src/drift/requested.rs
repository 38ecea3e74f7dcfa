//! What the grant's own requests set, by the bodies the API server audited.

use super::normalise::never_drift;
use super::object::ManualItem;
use super::path::{Path, Step};
use super::touched::{Note, Touched, Write};
use serde_json::Value;

/// Fields that are never drift but that the grant's own requests set: manual items. What every client
/// sends along without meaning it is left out. The notes say what an autoscaler took back.
pub(super) fn requested_noise(
    touched: &Touched,
    before: Option<&Value>,
    after: Option<&Value>,
    autoscaler: Option<&str>,
) -> (Vec<ManualItem>, Vec<Note>) {
    let mut items: Vec<ManualItem> = Vec::new();
    let mut notes: Vec<Note> = Vec::new();
    for write in &touched.writes {
        let Some(body) = &write.body else { continue };
        for path in fields_set(write, body) {
            let names = path.key_names();
            if names.is_empty() || sent_by_every_client(&names, write) {
                continue;
            }
            let Some(whose) = never_drift(&touched.gvk, &names, autoscaler.is_some()) else {
                continue;
            };
            let top = top_of_noise(&path);
            let value = |object: Option<&Value>| object.and_then(|object| top.find(object).cloned());
            // An `update` sends back what was read: what it left as it was it did not set.
            if write.verb == "update" && before.is_some() && value(Some(body)) == value(before) {
                continue;
            }
            let shown = top.to_string();
            let scaler = autoscaler.filter(|_| names == ["spec", "replicas"]);
            if value(before) == value(after) {
                let what = scaler.map(|scaler| {
                    format!("{shown} was set by the grant; {scaler} sets it, and took it back. Dropped.")
                });
                if let Some(what) = what.filter(|what| notes.iter().all(|note| note.what != *what)) {
                    notes.push(Note {
                        object: touched.object(),
                        what,
                        flag: true,
                    });
                }
                continue;
            }
            if items.iter().any(|item| item.paths.first() == Some(&shown)) {
                continue;
            }
            let (why, how) = match scaler {
                Some(scaler) => (
                    format!("The grant set this field, which {scaler} sets: git does not carry it."),
                    "If the range was too narrow, change the autoscaler's least and most in git; the number \
                     itself is the autoscaler's.",
                ),
                None => (
                    format!("A request of the grant set this field, which git does not carry ({whose})."),
                    "Decide whether it stays; take it back in the cluster if not.",
                ),
            };
            items.push(ManualItem {
                object: touched.object(),
                paths: vec![shown],
                why,
                patch: None,
                how: how.to_owned(),
            });
        }
    }
    (items, notes)
}

/// The number of replicas that a write on `scale` asked for, by the answer or else by the body.
pub(super) fn scaled_to(write: &Write) -> Option<Value> {
    let scale = write
        .answer
        .as_ref()
        .filter(|answer| answer.get("spec").is_some_and(Value::is_object))
        .or(write.body.as_ref())?;
    match scale.pointer("/spec/replicas") {
        Some(replicas) => Some(replicas.clone()),
        // The server leaves a zero out.
        None if write.answer.is_some() => Some(Value::from(0)),
        None => None,
    }
}

/// List items cannot be found by path in lists without keys; the field that holds them can.
fn top_of_noise(path: &Path) -> Path {
    let depth = match path.key_names().as_slice() {
        ["metadata", "ownerReferences" | "finalizers" | "managedFields", ..] => 2,
        _ => path
            .0
            .iter()
            .position(|step| matches!(step, Step::Item(_)))
            .unwrap_or(path.0.len()),
    };
    Path(path.0.iter().take(depth).cloned().collect())
}

fn sent_by_every_client(names: &[&str], write: &Write) -> bool {
    match names {
        ["status", ..] => write.subresource.as_deref() != Some("status"),
        [
            "metadata",
            "uid"
            | "resourceVersion"
            | "generation"
            | "creationTimestamp"
            | "selfLink"
            | "managedFields"
            | "deletionTimestamp"
            | "deletionGracePeriodSeconds",
            ..,
        ]
        | [.., "metadata", "creationTimestamp"] => true,
        [.., "annotations", key] => {
            matches!(
                *key,
                "kubectl.kubernetes.io/last-applied-configuration" | "kubectl.kubernetes.io/restartedAt"
            )
        }
        _ => false,
    }
}

/// The fields a request body names.
fn fields_set(write: &Write, body: &Value) -> Vec<Path> {
    let mut out = Vec::new();
    if let Some(operations) = body.as_array() {
        for operation in operations {
            for field in ["path", "from"] {
                if let Some(pointer) = operation.get(field).and_then(Value::as_str) {
                    let steps = pointer.split('/').skip(1);
                    let keys = steps.filter(|step| *step != "-" && step.parse::<usize>().is_err());
                    let base = Path(
                        keys.map(|key| Step::Key(key.replace("~1", "/").replace("~0", "~")))
                            .collect(),
                    );
                    match operation.get("value") {
                        Some(value) if field == "path" => leaves(&base, value, &mut out),
                        _ => out.push(base),
                    }
                }
            }
        }
    } else if write.subresource.as_deref() == Some("scale") {
        out.push(Path::keys(&["spec", "replicas"]));
    } else {
        leaves(&Path::default(), body, &mut out);
        if write.verb == "update" {
            // A whole object without them takes them away, and names nothing that it takes away.
            for field in ["finalizers", "ownerReferences"] {
                out.push(Path::keys(&["metadata", field]));
            }
        }
    }
    out
}

fn leaves(path: &Path, value: &Value, out: &mut Vec<Path>) {
    match value {
        Value::Object(map) if !map.is_empty() => map
            .iter()
            .for_each(|(key, below)| leaves(&path.key(key), below, out)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                leaves(path, item, out);
            }
        }
        _ => out.push(path.clone()),
    }
}
