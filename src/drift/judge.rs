//! The table of what each kind of action becomes, for one object.

use super::diff::{Change, diff_by, same};
use super::normalise::normalise;
use super::object::{Gvk, ManualItem};
use super::path::Path;
use super::requested::{requested_noise, scaled_to};
use super::secret_like::looks_secret;
use super::touched::{Drift, EditAction, Note, ObjectEdit, Observed, Touched, Write};
use super::written::as_written;
use serde_json::Value;

/// What stands in a recorded name where something was taken out.
const TAKEN_OUT: &str = "[redacted]";

pub(super) fn judge(touched: &Touched, observed: &Observed, out: &mut Drift) {
    let sheet = Sheet { touched, observed };
    if touched.gvk.is_secret() {
        out.manual.push(sheet.by_hand(
            "A Secret was changed; its value is never read and never written to git.",
            "Rotate it at its source and let the source bring it to the cluster.",
        ));
        return;
    }
    // An object that cannot be named cannot be looked at either, and a name is the session's own choice.
    if touched.name.contains(TAKEN_OUT) {
        out.manual.push(sheet.by_hand(
            "Its name looks like a secret and was not recorded, so it could not be compared.",
            "Look for it in the cluster by the action's time, and bring it to git or take it away.",
        ));
        return;
    }
    if !touched.writes.is_empty() && touched.writes.iter().all(acts_only) {
        out.notes
            .push(sheet.note("Acted upon through a sub-resource; git is not concerned.", false));
        return;
    }
    let deleted = touched
        .writes
        .iter()
        .any(|write| write.verb.starts_with("delete"));
    // What waits for a finalizer is as good as gone: once this was looked at, nobody looks again.
    let going = |object: &&Value| object.pointer("/metadata/deletionTimestamp").is_some();
    let after = match observed.after.as_ref() {
        Some(object) if going(&object) && deleted => {
            out.notes
                .push(sheet.note("It is deleted and still waits for a finalizer.", true));
            None
        }
        after => after,
    };
    match (&observed.before, after) {
        (None, None) => out
            .notes
            .push(sheet.note("Created and gone again by the end.", false)),
        (Some(before), None) => sheet.gone(before, deleted, out),
        (None, Some(after)) => sheet.created(after, out),
        (Some(before), Some(after)) => sheet.changed(before, after, out),
    }
}

/// A sub-resource such as exec or eviction leaves nothing in the manifest.
fn acts_only(write: &Write) -> bool {
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
}

/// Was it a controller's?
fn made_by_controller(object: &Value) -> bool {
    object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .is_some_and(|owners| {
            owners
                .iter()
                .any(|owner| owner.get("controller") == Some(&Value::Bool(true)))
        })
}

/// One touched object.
struct Sheet<'a> {
    touched: &'a Touched,
    observed: &'a Observed,
}

impl Sheet<'_> {
    fn by_hand(&self, why: &str, how: &str) -> ManualItem {
        ManualItem {
            object: self.touched.object(),
            paths: Vec::new(),
            why: why.to_owned(),
            patch: None,
            how: how.to_owned(),
        }
    }

    fn note(&self, what: &str, flag: bool) -> Note {
        Note {
            object: self.touched.object(),
            what: what.to_owned(),
            flag,
        }
    }

    fn clean(&self, object: &Value) -> Value {
        normalise(&self.touched.gvk, object, self.observed.autoscaler.is_some())
    }

    fn noise(&self, before: Option<&Value>, after: Option<&Value>, out: &mut Drift) {
        let (items, notes) =
            requested_noise(self.touched, before, after, self.observed.autoscaler.as_deref());
        out.manual.extend(items);
        out.notes.extend(notes);
    }

    fn gone(&self, before: &Value, deleted: bool, out: &mut Drift) {
        let Gvk { group, kind, .. } = &self.touched.gvk;
        if group.is_empty() && kind == "Namespace" {
            out.manual.push(self.by_hand(
                "The namespace was deleted, and everything in it went along: what of it should go from git is not for a program to say.",
                "Decide what returns, and bring git to that.",
            ));
        } else if made_by_controller(before) {
            out.notes
                .push(self.note("Deleted; a controller made it, so git does not hold it.", false));
        } else if deleted {
            out.edits.push(ObjectEdit {
                object: self.touched.object(),
                action: EditAction::Remove,
            });
        } else {
            out.notes.push(self.note(
                "Deleted by somebody else meanwhile; nothing is brought to git.",
                true,
            ));
        }
    }

    fn created(&self, after: &Value, out: &mut Drift) {
        let writes = || {
            let own = self.touched.writes.iter();
            own.filter(|write| write.subresource.is_none())
        };
        // Server-side apply and `update` make objects too, and say so by their code; a request whose end
        // is not known may have.
        let made = writes().any(|write| write.verb == "create" || write.code == Some(201));
        let maybe = || {
            writes().any(|write| {
                matches!(write.verb.as_str(), "patch" | "update") && write.code.is_none_or(|code| code >= 400)
            })
        };
        if !made && made_by_controller(after) {
            out.notes.push(self.note(
                "Appeared meanwhile; a controller made it, so git does not hold it.",
                true,
            ));
            return;
        }
        if !made && !maybe() {
            // It was there before, unseen, or somebody else made it: what the grant changed in it is not
            // to be told apart, and must not go unsaid.
            out.manual.push(self.by_hand(
                "The grant changed it, and no version from before the grant is known.",
                "Compare it with git, and bring to git what the grant changed or take it back.",
            ));
            return;
        }
        if self.touched.writes.iter().any(|write| write.generate_name) {
            out.notes.push(self.note(
                "Created under a generated name; not brought to git, and still alive.",
                true,
            ));
            return;
        }
        if matches!(
            (self.touched.gvk.group.as_str(), self.touched.gvk.kind.as_str()),
            ("", "Pod") | ("batch", "Job")
        ) {
            out.notes
                .push(self.note("Made by hand; not brought to git, and still alive.", true));
            return;
        }
        // An owner reference proves nothing here: the session itself may have written it.
        self.noise(None, Some(after), out);
        let file = as_written(
            self.touched,
            &self.clean(after),
            after.pointer("/metadata/managedFields"),
        );
        if looks_secret(&Path::default(), &file) {
            out.manual.push(self.by_hand(
                "It was created and holds a value that looks secret.",
                "Move the value to a secret store and add the manifest without it.",
            ));
            return;
        }
        out.edits.push(ObjectEdit {
            object: self.touched.object(),
            action: EditAction::Create(file),
        });
    }

    fn changed(&self, before: &Value, after: &Value, out: &mut Drift) {
        let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
        if uid(before).is_some() && uid(after).is_some() && uid(before) != uid(after) {
            let last = self
                .touched
                .writes
                .iter()
                .rfind(|write| write.subresource.is_none());
            if last.is_some_and(|write| write.verb.starts_with("delete")) {
                out.notes.push(self.note(
                    "Deleted by the grant and made again by another writer meanwhile; dropped.",
                    true,
                ));
                return;
            }
            out.notes.push(self.note(
                "Deleted and created again: git gets what differs from before.",
                false,
            ));
        }
        let (old, new) = (self.clean(before), self.clean(after));
        self.noise(Some(before), Some(after), out);
        // Secrets were turned away above, so neither comparison can be refused.
        let Ok(changes) = diff_by(&self.touched.gvk, &self.touched.lists, &old, &new) else {
            return;
        };
        let last = self.last_written(before).map(|last| self.clean(&last));
        // The server's answer to the grant's last write still had the old value: somebody else changed it
        // later.
        let (theirs, mine): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(|change| {
            last.as_ref().is_some_and(|last| {
                change.path.find(last) == change.before.as_ref()
                    && change.path.find(last) != change.after.as_ref()
            })
        });
        for change in theirs {
            let what = format!(
                "{} was changed after the grant's last write, by somebody else; not brought to git.",
                change.path
            );
            out.notes.push(self.note(&what, true));
        }
        if let Some(last) = &last {
            self.taken_back(&old, last, &new, out);
        }
        self.sort_out(mine, before, out);
    }

    /// What the grant changed and somebody else took back.
    fn taken_back(&self, old: &Value, last: &Value, new: &Value, out: &mut Drift) {
        let Ok(wanted) = diff_by(&self.touched.gvk, &self.touched.lists, old, last) else {
            return;
        };
        for change in wanted {
            let back = match (change.path.find(new), &change.before) {
                (Some(now), Some(before)) => same(&change.path, now, before),
                (now, before) => now.is_none() && before.is_none(),
            };
            if back {
                let what = format!(
                    "{} was changed and reverted by another writer meanwhile; dropped.",
                    change.path
                );
                out.notes.push(self.note(&what, true));
            }
        }
    }

    /// The grant's own changes: to git, or to people where a value looks secret.
    fn sort_out(&self, mine: Vec<Change>, before: &Value, out: &mut Drift) {
        let (secret, plain): (Vec<Change>, Vec<Change>) = mine.into_iter().partition(|change| {
            [&change.before, &change.after]
                .into_iter()
                .flatten()
                .any(|value| looks_secret(&change.path, value))
        });
        for change in secret {
            out.manual.push(ManualItem {
                paths: vec![change.path.to_string()],
                ..self.by_hand(
                    "The value looks secret, so it is neither shown nor written to git.",
                    "Move the value to a secret store, or bring this field to git by hand if it is harmless.",
                )
            });
        }
        if plain.is_empty() {
            return;
        }
        if made_by_controller(before) {
            out.notes
                .push(self.note("Changed; a controller made it, so git does not hold it.", true));
        } else {
            out.edits.push(ObjectEdit {
                object: self.touched.object(),
                action: EditAction::Change(plain),
            });
        }
    }

    /// The object as the grant's last write left it, by the API server's own answers; none where the last
    /// answer is not known.
    fn last_written(&self, before: &Value) -> Option<Value> {
        let mut last: Option<Value> = None;
        for write in &self.touched.writes {
            match write.subresource.as_deref() {
                None => {
                    last = write.answer.clone().filter(|answer| {
                        !write.verb.starts_with("delete")
                            && Gvk::of(answer).is_none_or(|gvk| gvk == self.touched.gvk)
                    });
                }
                Some("scale") => {
                    let mut scaled = last.take().unwrap_or_else(|| before.clone());
                    last = scaled_to(write).and_then(|replicas| {
                        scaled.pointer_mut("/spec")?["replicas"] = replicas;
                        Some(scaled)
                    });
                }
                _ => {}
            }
        }
        last
    }
}
