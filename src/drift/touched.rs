//! What each action of a grant becomes: an edit in git, a manual item, or a note.

use super::diff::{Change, diff, same};
use super::normalise::normalise;
use super::object::{Gvk, ManualItem, ObjectRef};
use super::path::Path;
use super::requested::requested_noise;
use super::secret_like::looks_secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One mutation of the grant that may have been stored.
#[derive(Clone, Serialize, Deserialize)]
pub struct Write {
    /// The verb of the audit event: create, update, patch, delete, deletecollection.
    pub verb: String,
    /// The sub-resource, mapped to its parent object.
    pub subresource: Option<String>,
    /// The body of the request: a patch for a patch.
    pub body: Option<Value>,
    /// The server made up the name (`generateName`).
    pub generate_name: bool,
}

/// An object that mutations of the grant named.
#[derive(Clone, Serialize, Deserialize)]
pub struct Touched {
    /// Group, version, kind.
    pub gvk: Gvk,
    /// The namespace; none for cluster-scoped objects.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The uid seen by the grant's first event, where the event carries one.
    pub uid: Option<String>,
    /// The mutations, oldest first.
    pub writes: Vec<Write>,
}

impl Touched {
    /// The object by name.
    #[must_use]
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            gvk: self.gvk.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// The versions of a touched object. Leave all empty for Secrets.
#[derive(Clone, Default)]
pub struct Observed {
    /// The last version preceding the grant's first event on the object.
    pub before: Option<Value>,
    /// The live object at the end.
    pub after: Option<Value>,
    /// The object as the API server answered the grant's last write, if audited.
    pub last_written: Option<Value>,
    /// An HPA or a KEDA `ScaledObject` targets it.
    pub autoscaled: bool,
}

/// What git owes.
#[derive(Clone, Default, PartialEq)]
pub struct Drift {
    /// Changes to bring to git, an entry per object.
    pub edits: Vec<ObjectEdit>,
    /// What only people can do.
    pub manual: Vec<ManualItem>,
    /// What is said in the pull request and changes nothing.
    pub notes: Vec<Note>,
}

impl Drift {
    /// Is there nothing to bring to git?
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.edits.is_empty() && self.manual.is_empty()
    }
}

/// What happens to one object in git.
#[derive(Clone, PartialEq)]
pub struct ObjectEdit {
    /// The object.
    pub object: ObjectRef,
    /// What happens.
    pub action: EditAction,
}

/// The kinds of edits.
#[derive(Clone, PartialEq)]
pub enum EditAction {
    /// Fields change in place.
    Change(Vec<Change>),
    /// A new document with this content.
    Create(Value),
    /// The document goes.
    Remove,
}

/// A sentence about an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The object.
    pub object: ObjectRef,
    /// What happened.
    pub what: String,
    /// Must it be looked at?
    pub flag: bool,
}

/// What the touched objects mean for git.
#[must_use]
pub fn drift(touched: &[(Touched, Observed)]) -> Drift {
    let mut out = Drift::default();
    for (touched, observed) in touched {
        judge(touched, observed, &mut out);
    }
    out
}

fn judge(touched: &Touched, observed: &Observed, out: &mut Drift) {
    let object = touched.object();
    let by_hand = |paths: &[&Path], why: &str, how: &str| ManualItem {
        object: object.clone(),
        paths: paths.iter().map(ToString::to_string).collect(),
        why: why.to_owned(),
        patch: None,
        how: how.to_owned(),
    };
    let note = |what: &str, flag: bool| Note {
        object: object.clone(),
        what: what.to_owned(),
        flag,
    };
    if touched.gvk.is_secret() {
        out.manual.push(by_hand(
            &[],
            "A Secret was changed; its value is never read and never written to git.",
            "Rotate it at its source and let the source bring it to the cluster.",
        ));
        return;
    }
    // A sub-resource such as exec or eviction leaves nothing in the manifest.
    let acts_only = |write: &Write| {
        matches!(
            write.subresource.as_deref(),
            Some(
                "exec"
                    | "attach"
                    | "portforward"
                    | "eviction"
                    | "binding"
                    | "log"
                    | "proxy"
                    | "ephemeralcontainers"
            )
        )
    };
    if !touched.writes.is_empty() && touched.writes.iter().all(acts_only) {
        out.notes.push(note(
            "Acted upon through a sub-resource; git is not concerned.",
            false,
        ));
        return;
    }
    match (&observed.before, &observed.after) {
        (None, None) => out.notes.push(note("Created and gone again by the end.", false)),
        (Some(before), None) => {
            if touched.gvk.group.is_empty() && touched.gvk.kind == "Namespace" {
                out.manual.push(by_hand(
                    &[],
                    "The namespace was deleted, and everything in it went along: what of it should go from git is not for a program to say.",
                    "Decide what returns, and bring git to that.",
                ));
            } else if made_by_controller(before) {
                out.notes.push(note(
                    "Deleted; a controller made it, so git does not hold it.",
                    false,
                ));
            } else if touched
                .writes
                .iter()
                .any(|write| write.verb.starts_with("delete"))
            {
                out.edits.push(ObjectEdit {
                    object,
                    action: EditAction::Remove,
                });
            } else {
                out.notes.push(note(
                    "Deleted by somebody else meanwhile; nothing is brought to git.",
                    true,
                ));
            }
        }
        (None, Some(after)) => judge_created(touched, observed, after, out),
        (Some(before), Some(after)) => judge_changed(touched, observed, before, after, out),
    }
}

fn judge_created(touched: &Touched, observed: &Observed, after: &Value, out: &mut Drift) {
    let object = touched.object();
    let note = |what: &str, flag| Note {
        object: object.clone(),
        what: what.to_owned(),
        flag,
    };
    let created = touched
        .writes
        .iter()
        .any(|write| write.verb == "create" && write.subresource.is_none());
    // Server-side apply and `update` may create too; with no version before, any write counts.
    if !created
        && !touched
            .writes
            .iter()
            .any(|write| matches!(write.verb.as_str(), "patch" | "update"))
    {
        out.notes.push(note(
            "Appeared meanwhile, not by this grant; nothing is brought to git.",
            true,
        ));
        return;
    }
    if touched.writes.iter().any(|write| write.generate_name) {
        out.notes.push(note(
            "Created under a generated name; not brought to git, and still alive.",
            true,
        ));
        return;
    }
    if matches!(
        (touched.gvk.group.as_str(), touched.gvk.kind.as_str()),
        ("", "Pod") | ("batch", "Job")
    ) {
        out.notes
            .push(note("Made by hand; not brought to git, and still alive.", true));
        return;
    }
    // An owner reference proves nothing here: the session itself may have written it.
    let mut own = requested_noise(touched, None, Some(after), observed.autoscaled);
    out.manual.append(&mut own);
    let clean = normalise(&touched.gvk, after, observed.autoscaled);
    if looks_secret(&Path::default(), &clean) {
        out.manual.push(ManualItem {
            object,
            paths: Vec::new(),
            why: "It was created and holds a value that looks secret.".to_owned(),
            patch: None,
            how: "Move the value to a secret store and add the manifest without it.".to_owned(),
        });
        return;
    }
    out.edits.push(ObjectEdit {
        object,
        action: EditAction::Create(clean),
    });
}

fn judge_changed(touched: &Touched, observed: &Observed, before: &Value, after: &Value, out: &mut Drift) {
    let object = touched.object();
    let clean = |value: &Value| normalise(&touched.gvk, value, observed.autoscaled);
    let (old, new) = (clean(before), clean(after));
    let mut own = requested_noise(touched, Some(before), Some(after), observed.autoscaled);
    out.manual.append(&mut own);
    // Secrets were turned away above, so neither comparison can be refused.
    let Ok(changes) = diff(&touched.gvk, &old, &new) else {
        return;
    };
    let mut mine = Vec::new();
    let last = observed.last_written.as_ref().map(&clean);
    for change in changes {
        // The server's answer to the grant's last write still had the old value: somebody else
        // changed it later.
        if let Some(last) = &last
            && change.path.find(last) == change.before.as_ref()
            && change.path.find(last) != change.after.as_ref()
        {
            out.notes.push(Note {
                object: object.clone(),
                what: format!(
                    "{} was changed after the grant's last write, by somebody else; not brought to git.",
                    change.path
                ),
                flag: true,
            });
        } else {
            mine.push(change);
        }
    }
    if let Some(last) = &last
        && let Ok(wanted) = diff(&touched.gvk, &old, last)
    {
        for change in wanted {
            let now = change.path.find(&new);
            let back = match (now, &change.before) {
                (Some(now), Some(before)) => same(&change.path, now, before),
                (now, before) => now.is_none() && before.is_none(),
            };
            if back {
                out.notes.push(Note {
                    object: object.clone(),
                    what: format!(
                        "{} was changed and reverted by another writer meanwhile; dropped.",
                        change.path
                    ),
                    flag: true,
                });
            }
        }
    }
    let (secret, plain): (Vec<Change>, Vec<Change>) = mine.into_iter().partition(|change| {
        [&change.before, &change.after]
            .into_iter()
            .flatten()
            .any(|value| looks_secret(&change.path, value))
    });
    for change in secret {
        out.manual.push(ManualItem {
            object: object.clone(),
            paths: vec![change.path.to_string()],
            why: "The value looks secret, so it is neither shown nor written to git.".to_owned(),
            patch: None,
            how: "Move the value to a secret store, or bring this field to git by hand if it is harmless."
                .to_owned(),
        });
    }
    if !plain.is_empty() {
        if made_by_controller(before) {
            out.notes.push(Note {
                object,
                what: "Changed; a controller made it, so git does not hold it.".to_owned(),
                flag: true,
            });
        } else {
            out.edits.push(ObjectEdit {
                object,
                action: EditAction::Change(plain),
            });
        }
    }
}

/// Was it a controller's before the grant came?
fn made_by_controller(before: &Value) -> bool {
    before
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .is_some_and(|owners| {
            owners
                .iter()
                .any(|owner| owner.get("controller") == Some(&Value::Bool(true)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn web(writes: &[(&str, Option<&str>, Value)]) -> Touched {
        Touched {
            gvk: Gvk::new("apps", "v1", "Deployment"),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
            uid: None,
            writes: writes
                .iter()
                .map(|(verb, sub, body)| Write {
                    verb: (*verb).to_owned(),
                    subresource: sub.map(str::to_owned),
                    body: Some(body.clone()),
                    generate_name: false,
                })
                .collect(),
        }
    }

    fn deployment(replicas: i64) -> Value {
        json!({"metadata":{"name":"web","generation":replicas},"spec":{"replicas":replicas},"status":{"replicas":replicas}})
    }

    fn seen(before: Option<Value>, after: Option<Value>) -> Observed {
        Observed {
            before,
            after,
            ..Observed::default()
        }
    }

    #[test]
    fn scale_is_an_edit_and_net_zero_is_no_drift() {
        let touched = web(&[("patch", Some("scale"), json!({"spec":{"replicas":5}}))]);
        let out = drift(&[(touched.clone(), seen(Some(deployment(2)), Some(deployment(5))))]);
        assert!(
            matches!(&out.edits[0].action, EditAction::Change(c) if c.len() == 1 && c[0].path.to_string() == "spec.replicas")
        );
        assert!(out.manual.is_empty());
        assert!(drift(&[(touched, seen(Some(deployment(2)), Some(deployment(2))))]).is_none());
    }

    #[test]
    fn scale_under_an_autoscaler_is_for_people() {
        let touched = web(&[("patch", Some("scale"), json!({"spec":{"replicas":5}}))]);
        let observed = Observed {
            autoscaled: true,
            ..seen(Some(deployment(2)), Some(deployment(5)))
        };
        let out = drift(&[(touched, observed)]);
        assert!(out.edits.is_empty());
        assert_eq!(out.manual[0].paths, ["spec.replicas"]);
    }

    #[test]
    fn an_owner_reference_the_session_wrote_is_never_silent() {
        let owner = json!([{"kind":"ConfigMap","name":"x","uid":"1","controller":true}]);
        let mut after = deployment(2);
        after["metadata"]["ownerReferences"] = owner.clone();
        let touched = web(&[("patch", None, json!({"metadata":{"ownerReferences":owner}}))]);
        let out = drift(&[(touched, seen(Some(deployment(2)), Some(after.clone())))]);
        assert_eq!(out.manual.len(), 1);
        assert_eq!(out.manual[0].paths, ["metadata.ownerReferences"]);
        let json_patch = web(&[(
            "patch",
            None,
            json!([{"op":"add","path":"/metadata/ownerReferences/-","value":{"uid":"1"}}]),
        )]);
        assert_eq!(
            drift(&[(json_patch, seen(Some(deployment(2)), Some(after)))])
                .manual
                .len(),
            1
        );
    }

    #[test]
    fn a_restart_leaves_no_drift() {
        let patch = json!({"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}}});
        let mut after = deployment(2);
        after["spec"]["template"] = patch["spec"]["template"].clone();
        let mut before = deployment(2);
        before["spec"]["template"] = json!({});
        assert!(drift(&[(web(&[("patch", None, patch)]), seen(Some(before), Some(after)))]).is_none());
    }

    #[test]
    fn deletes_and_creates_follow_the_table() {
        let gone = drift(&[(
            web(&[("delete", None, json!({}))]),
            seen(Some(deployment(2)), None),
        )]);
        assert!(matches!(gone.edits[0].action, EditAction::Remove));
        let again = web(&[("delete", None, json!({})), ("create", None, json!({}))]);
        let out = drift(&[(again, seen(Some(deployment(2)), Some(deployment(3))))]);
        assert!(
            matches!(out.edits[0].action, EditAction::Change(_)),
            "deleted and made again is an edit"
        );
        let new = drift(&[(
            web(&[("create", None, deployment(1))]),
            seen(None, Some(deployment(1))),
        )]);
        assert!(matches!(&new.edits[0].action, EditAction::Create(v) if v.get("status").is_none()));
        let mut pod = web(&[("create", None, json!({}))]);
        pod.gvk = Gvk::new("", "v1", "Pod");
        let out = drift(&[(pod, seen(None, Some(json!({}))))]);
        assert!(out.is_none() && out.notes[0].flag);
        let mut namespace = web(&[("delete", None, json!({}))]);
        namespace.gvk = Gvk::new("", "v1", "Namespace");
        let out = drift(&[(namespace, seen(Some(json!({})), None))]);
        assert!(out.edits.is_empty() && out.manual.len() == 1);
    }

    #[test]
    fn what_another_writer_took_back_is_dropped_and_flagged() {
        let touched = web(&[("patch", None, json!({"spec":{"replicas":5}}))]);
        let observed = Observed {
            last_written: Some(deployment(5)),
            ..seen(Some(deployment(2)), Some(deployment(2)))
        };
        let out = drift(&[(touched.clone(), observed)]);
        assert!(out.is_none());
        assert!(
            out.notes[0].flag
                && out.notes[0]
                    .what
                    .contains("spec.replicas was changed and reverted")
        );
        let mut later = deployment(5);
        later["spec"]["paused"] = json!(true);
        let observed = Observed {
            last_written: Some(deployment(5)),
            ..seen(Some(deployment(2)), Some(later))
        };
        let out = drift(&[(touched, observed)]);
        assert!(matches!(&out.edits[0].action, EditAction::Change(c) if c.len() == 1));
        assert!(out.notes[0].what.contains("spec.paused"));
    }

    #[test]
    fn secrets_and_secret_looking_values_become_manual_items_without_value() {
        let mut secret = web(&[("patch", None, json!({"data":{"p":"aHVudGVyMg=="}}))]);
        secret.gvk = Gvk::new("", "v1", "Secret");
        let mut map = web(&[("patch", None, json!({"data":{"db.password":"hunter2"}}))]);
        map.gvk = Gvk::new("", "v1", "ConfigMap");
        let observed = seen(
            Some(json!({"data":{}})),
            Some(json!({"data":{"db.password":"hunter2"}})),
        );
        let out = drift(&[(secret, Observed::default()), (map, observed)]);
        assert!(out.edits.is_empty());
        assert_eq!(out.manual.len(), 2);
        let said = serde_json::to_string(&out.manual).unwrap();
        assert!(
            !said.contains("hunter2") && !said.contains("aHVudGVyMg"),
            "{said}"
        );
    }
}
