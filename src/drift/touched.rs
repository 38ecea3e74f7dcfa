//! What each action of a grant becomes: an edit in git, a manual item, or a note.

use super::diff::Change;
use super::judge::judge;
use super::object::{Gvk, ManualItem, ObjectRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One mutation of the grant that may have been stored.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Write {
    /// The verb of the audit event: create, update, patch, delete, deletecollection.
    pub verb: String,
    /// The sub-resource, mapped to its parent object.
    pub subresource: Option<String>,
    /// The body of the request: a patch for a patch.
    pub body: Option<Value>,
    /// The API server's answer, where it was audited and is no `Status`: the object as it was stored then,
    /// or a `Scale`.
    pub answer: Option<Value>,
    /// The HTTP code; none where the end of the request is not known. 201 says that it made the object.
    pub code: Option<u16>,
    /// The field manager the request named.
    pub manager: Option<String>,
    /// Something was taken out of the body before it was stored.
    pub redacted: bool,
    /// The server made up the name (`generateName`).
    pub generate_name: bool,
}

/// An object that mutations of the grant named.
#[derive(Clone, Serialize, Deserialize)]
pub struct Touched {
    /// Group, version, kind.
    pub gvk: Gvk,
    /// The lists that are maps, beyond those of Kubernetes' own kinds: the names of the fields on the way
    /// (`spec.listeners`), and the keys.
    pub lists: Vec<(String, Vec<String>)>,
    /// The plural name of its resource, as commands and addresses have it.
    pub resource: String,
    /// The namespace; none for cluster-scoped objects.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
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
    /// The HPA or KEDA `ScaledObject` that sets its number of replicas, in words.
    pub autoscaler: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn web(writes: &[(&str, Option<&str>, Value)]) -> Touched {
        Touched {
            gvk: Gvk::new("apps", "v1", "Deployment"),
            lists: vec![],
            resource: "deployments".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
            writes: writes
                .iter()
                .map(|(verb, sub, body)| Write {
                    verb: (*verb).to_owned(),
                    subresource: sub.map(str::to_owned),
                    body: Some(body.clone()),
                    code: Some(200),
                    ..Write::default()
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
            autoscaler: Some("HorizontalPodAutoscaler shop/web".to_owned()),
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
        let answered = |sub: Option<&str>, answer: Value| {
            let mut touched = web(&[("patch", sub, json!({"spec":{"replicas":5}}))]);
            touched.writes[0].answer = Some(answer);
            touched
        };
        let scale = json!({"kind":"Scale","apiVersion":"autoscaling/v1","spec":{"replicas":5}});
        for touched in [
            answered(None, deployment(5)),
            answered(Some("scale"), scale.clone()),
        ] {
            let out = drift(&[(touched, seen(Some(deployment(2)), Some(deployment(2))))]);
            assert!(out.is_none());
            assert!(
                out.notes[0].flag
                    && out.notes[0]
                        .what
                        .contains("spec.replicas was changed and reverted")
            );
        }
        let mut later = deployment(5);
        later["spec"]["paused"] = json!(true);
        for touched in [answered(None, deployment(5)), answered(Some("scale"), scale)] {
            let out = drift(&[(touched, seen(Some(deployment(2)), Some(later.clone())))]);
            assert!(matches!(&out.edits[0].action, EditAction::Change(c) if c.len() == 1));
            assert!(out.notes[0].what.contains("spec.paused"));
        }
    }

    #[test]
    fn what_was_deleted_and_made_again_is_an_edit_unless_somebody_else_made_it() {
        let with = |uid: &str, replicas: i64| {
            let mut object = deployment(replicas);
            object["metadata"]["uid"] = json!(uid);
            Some(object)
        };
        let own = web(&[("delete", None, json!({})), ("create", None, deployment(3))]);
        let out = drift(&[(own, seen(with("1", 2), with("2", 3)))]);
        assert!(matches!(&out.edits[0].action, EditAction::Change(c) if c.len() == 1));
        assert!(out.notes[0].what.starts_with("Deleted and created again"));
        let theirs = web(&[("delete", None, json!({}))]);
        let out = drift(&[(theirs, seen(with("1", 2), with("2", 3)))]);
        assert!(out.is_none() && out.notes[0].flag);
    }

    #[test]
    fn what_still_waits_for_a_finalizer_is_gone() {
        let mut going = deployment(2);
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let out = drift(&[(
            web(&[("delete", None, json!({}))]),
            seen(Some(deployment(2)), Some(going)),
        )]);
        assert!(matches!(out.edits[0].action, EditAction::Remove) && out.notes[0].flag);
    }

    #[test]
    fn only_what_the_grant_made_is_new_to_git() {
        let by = json!([{"kind":"Deployment","name":"x","uid":"1","controller":true}]);
        let mut owned = deployment(1);
        owned["metadata"]["ownerReferences"] = by.clone();
        // A controller made it meanwhile and the grant patched it.
        let patched = web(&[("patch", None, json!({"spec":{"replicas":1}}))]);
        let out = drift(&[(patched.clone(), seen(None, Some(owned.clone())))]);
        assert!(out.is_none() && out.notes[0].flag);
        // Somebody made it, or it was never seen before.
        let out = drift(&[(patched.clone(), seen(None, Some(deployment(1))))]);
        assert!(out.edits.is_empty() && out.manual[0].why.contains("no version from before"));
        // Server-side apply made it: the code says so. A forged owner changes nothing about that.
        let mut applied = web(&[("patch", None, owned.clone())]);
        applied.writes[0].code = Some(201);
        for touched in [applied, web(&[("create", None, owned.clone())])] {
            let out = drift(&[(touched, seen(None, Some(owned.clone())))]);
            assert!(
                matches!(&out.edits[0].action, EditAction::Create(v) if !v.to_string().contains("ownerReferences"))
            );
            assert_eq!(out.manual[0].paths, ["metadata.ownerReferences"]);
        }
    }

    #[test]
    fn what_an_update_takes_away_or_leaves_alone_is_told_apart() {
        let mut before = deployment(2);
        before["metadata"]["finalizers"] = json!(["shop.example/guard"]);
        before["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision":"1"});
        let mut after = deployment(2);
        after["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision":"2"});
        let mut sent = before.clone();
        sent["metadata"]
            .as_object_mut()
            .unwrap()
            .shift_remove("finalizers");
        let out = drift(&[(web(&[("update", None, sent)]), seen(Some(before), Some(after)))]);
        assert_eq!(out.manual.len(), 1, "the revision is the controller's");
        assert_eq!(out.manual[0].paths, ["metadata.finalizers"]);
    }

    #[test]
    fn an_object_whose_name_was_not_recorded_is_for_people() {
        let mut hidden = web(&[("create", None, deployment(1))]);
        hidden.name = "[redacted]".to_owned();
        let out = drift(&[(hidden, seen(None, None))]);
        assert_eq!(out.manual.len(), 1);
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
