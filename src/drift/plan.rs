//! From drift to file edits, and to manual items for everything that cannot be edited surely.

use super::diff::Change;
use super::edit;
use super::locate::{self, Found, Location};
use super::object::{ManualItem, ObjectRef};
use super::path::Path;
use super::prove::Refused;
use super::replay::{declares, operations, patch};
use super::secret_like::{in_words, looks_secret};
use super::touched::{Drift, EditAction, Note};
use super::{locate::rendered_by, read};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
            directory.is_empty()
                || path
                    .strip_prefix(directory.trim_end_matches('/'))
                    .is_some_and(|rest| rest.starts_with('/'))
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
    let mut out = Plan {
        manual: drift.manual.clone(),
        notes: drift.notes.clone(),
        ..Plan::default()
    };
    for item in &drift.manual {
        for path in &item.paths {
            out.rows.push(Row {
                object: item.object.clone(),
                path: path.clone(),
                before: "not shown".to_owned(),
                after: "not shown".to_owned(),
                by_hand: true,
            });
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
            old => out.file_edits.push(FileEdit {
                path: file.path.clone(),
                old: old.map(|old| old.text.clone()),
                new: Some(file.text.clone()),
            }),
        }
    }
    for old in files
        .iter()
        .filter(|old| !now.iter().any(|file| file.path == old.path))
    {
        out.file_edits.push(FileEdit {
            path: old.path.clone(),
            old: Some(old.text.clone()),
            new: None,
        });
    }
    out
}

fn barred(location: &Location) -> String {
    match location {
        Location::Missing(unreadable) if unreadable.is_empty() => {
            "No configured file declares the object.".to_owned()
        }
        Location::Missing(unreadable) => format!(
            "No readable file declares the object ({}).",
            unreadable.join("; ")
        ),
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

fn change_one(
    object: &ObjectRef,
    change: &Change,
    found: &Found,
    files: &mut [GitFile],
) -> Result<(), Refused> {
    let gone = || Refused::because("The document is gone.");
    let file = files
        .iter_mut()
        .find(|file| file.path == found.path)
        .ok_or_else(gone)?;
    let document = read::documents(&file.text)
        .map_err(Refused::because)?
        .into_iter()
        .nth(found.index)
        .ok_or_else(gone)?;
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

fn create(object: &ObjectRef, value: &Value, files: &mut Vec<GitFile>, rules: &Rules, out: &mut Plan) {
    // Objects out of a list carry neither version nor kind.
    let mut manifest = value.clone();
    if let Some(map) = manifest.as_object_mut() {
        map.insert("apiVersion".to_owned(), Value::from(object.gvk.api_version()));
        map.insert("kind".to_owned(), Value::from(object.gvk.kind.as_str()));
    }
    let done = (|| {
        match locate::document(object, files, rules) {
            Location::Missing(_) => {}
            Location::Found(found) if declares(object, &Path::default(), &found.value, &manifest) => {
                return Ok(None);
            }
            other => return Err(Refused { why: barred(&other) }),
        }
        let safe = |text: &str| {
            text.to_lowercase()
                .chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() || c == '-' {
                        c
                    } else {
                        '-'
                    }
                })
                .collect::<String>()
        };
        let directory = rules.new_files_in.trim_end_matches('/');
        let slash = if directory.is_empty() { "" } else { "/" };
        let namespace = object
            .namespace
            .as_deref()
            .map(|namespace| format!("{}-", safe(namespace)))
            .unwrap_or_default();
        let path = format!(
            "{directory}{slash}{namespace}{}-{}.yaml",
            safe(&object.gvk.kind),
            safe(&object.name)
        );
        if let Some(tool) = rendered_by(&path, files) {
            return Err(Refused {
                why: format!("{path} would have to be listed for {tool}."),
            });
        }
        if files.iter().any(|file| file.path == path) {
            return Err(Refused {
                why: format!("{path} exists and holds something else."),
            });
        }
        Ok(Some(GitFile {
            text: edit::new_file(&manifest)?,
            path,
        }))
    })();
    out.rows.push(Row {
        object: object.clone(),
        path: String::new(),
        before: "not there".to_owned(),
        after: "created".to_owned(),
        by_hand: done.is_err(),
    });
    match done {
        Ok(file) => files.extend(file),
        Err(refused) => out.manual.push(ManualItem {
            object: object.clone(),
            paths: Vec::new(),
            why: refused.why,
            patch: (!looks_secret(&Path::default(), &manifest))
                .then(|| edit::new_file(&manifest).ok())
                .flatten(),
            how: BY_HAND.to_owned(),
        }),
    }
}

fn remove(object: &ObjectRef, files: &mut Vec<GitFile>, rules: &Rules, out: &mut Plan) {
    let done = match locate::document(object, files, rules) {
        Location::Missing(unreadable) if unreadable.is_empty() => {
            out.notes.push(Note {
                object: object.clone(),
                what: "Deleted; git never declared it.".to_owned(),
                flag: false,
            });
            return;
        }
        Location::Found(found) => files
            .iter()
            .position(|file| file.path == found.path)
            .ok_or_else(|| Refused::because("The file is gone."))
            .and_then(|position| {
                if let Some(text) = edit::remove_document(&files[position].text, found.index)? {
                    files[position].text = text;
                } else {
                    files.remove(position);
                }
                Ok(())
            }),
        other => Err(Refused { why: barred(&other) }),
    };
    out.rows.push(Row {
        object: object.clone(),
        path: String::new(),
        before: "there".to_owned(),
        after: "deleted".to_owned(),
        by_hand: done.is_err(),
    });
    if let Err(refused) = done {
        out.manual.push(ManualItem {
            object: object.clone(),
            paths: Vec::new(),
            why: refused.why,
            patch: None,
            how: "Remove its manifest by hand, then link the merged commit.".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::diff;
    use super::super::object::Gvk;
    use super::super::touched::ObjectEdit;
    use super::*;
    use serde_json::json;

    const FILE: &str = r#"---
# Shop configuration, owned by the platform.
apiVersion: v1
kind: ConfigMap
metadata:
  name: web
  namespace: shop
data:
  debug: "no"
  mode: 0755x
---
# The shop window.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {app: web, tier: 'front'}
spec:
  replicas: 2   # weekday
  # how to roll
  strategy:
    type: Recreate
  template:
    spec:
      containers:
      # the window itself
      - name: web
        image: "shop/web:1.4"	# pinned
        args: ["--listen=:8080", --verbose]
        resources:
          limits:
            memory: 256Mi
        env:
        - name: MODE
          value: 'no'
        # how loud
        - name: LOG
          value: info
      - name: side
        image: shop/side:2
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: test
spec:
  replicas: 2   # weekday
"#;

    fn web() -> ObjectRef {
        ObjectRef {
            gvk: Gvk::new("apps", "v1", "Deployment"),
            namespace: Some("shop".into()),
            name: "web".into(),
        }
    }

    fn git(text: &str) -> Vec<GitFile> {
        vec![GitFile {
            path: "apps/web.yaml".into(),
            text: text.into(),
        }]
    }

    /// The plan for the live change from what git says to what `change` makes of it.
    fn changed(text: &str, change: impl FnOnce(&mut Value)) -> Plan {
        let Location::Found(found) = locate::document(&web(), &git(text), &Rules::default()) else {
            panic!("not found")
        };
        let mut after = found.value.clone();
        change(&mut after);
        let changes = diff(&web().gvk, &found.value, &after).unwrap();
        assert!(!changes.is_empty());
        let drift = Drift {
            edits: vec![ObjectEdit {
                object: web(),
                action: EditAction::Change(changes),
            }],
            ..Drift::default()
        };
        plan(&drift, &git(text), &Rules::default())
    }

    fn lines(plan: &Plan) -> (Vec<String>, Vec<String>) {
        assert_eq!(
            plan.manual
                .iter()
                .map(|item| item.why.clone())
                .collect::<Vec<_>>(),
            Vec::<String>::new()
        );
        assert_eq!(plan.file_edits.len(), 1);
        let (old, new) = (
            plan.file_edits[0].old.clone().unwrap(),
            plan.file_edits[0].new.clone().unwrap(),
        );
        let diff = similar::TextDiff::from_lines(&old, &new);
        let of = |tag| {
            diff.iter_all_changes()
                .filter(|c| c.tag() == tag)
                .map(|c| c.value().trim_end_matches('\n').to_owned())
                .collect()
        };
        (of(similar::ChangeTag::Delete), of(similar::ChangeTag::Insert))
    }

    fn container(value: &mut Value, index: usize) -> &mut Value {
        &mut value["spec"]["template"]["spec"]["containers"][index]
    }

    type Edit = fn(&mut Value);

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn only_the_lines_that_must_move_move() {
        let table: Vec<(&str, Edit, &[&str], &[&str])> = vec![
            (
                "scale",
                |v| v["spec"]["replicas"] = json!(5),
                &["  replicas: 2   # weekday"],
                &["  replicas: 5   # weekday"],
            ),
            (
                "double quotes stay",
                |v| container(v, 0)["image"] = json!("shop/web:1.5"),
                &["        image: \"shop/web:1.4\"\t# pinned"],
                &["        image: \"shop/web:1.5\"\t# pinned"],
            ),
            (
                "single quotes stay",
                |v| container(v, 0)["env"][0]["value"] = json!("yes"),
                &["          value: 'no'"],
                &["          value: 'yes'"],
            ),
            (
                "a word that reads as a boolean gets quotes",
                |v| container(v, 0)["env"][1]["value"] = json!("y"),
                &["          value: info"],
                &["          value: \"y\""],
            ),
            (
                "a number with underscores gets quotes",
                |v| container(v, 0)["env"][1]["value"] = json!("1_000"),
                &["          value: info"],
                &["          value: \"1_000\""],
            ),
            (
                "an amount",
                |v| container(v, 0)["resources"]["limits"]["memory"] = json!("1Gi"),
                &["            memory: 256Mi"],
                &["            memory: 1Gi"],
            ),
            (
                "a new key",
                |v| container(v, 0)["resources"]["limits"]["cpu"] = json!("500m"),
                &[],
                &["            cpu: 500m"],
            ),
            (
                "a new tree",
                |v| v["metadata"]["annotations"] = json!({"shop/why":"on"}),
                &[],
                &["  annotations:", "    shop/why: \"on\""],
            ),
            (
                "a new item",
                |v| {
                    container(v, 0)["env"]
                        .as_array_mut()
                        .unwrap()
                        .push(json!({"name":"NEW","value":"off"}));
                },
                &[],
                &["        - name: NEW", "          value: \"off\""],
            ),
            (
                "an item goes with its comment",
                |v| {
                    container(v, 0)["env"].as_array_mut().unwrap().remove(1);
                },
                &[
                    "        # how loud",
                    "        - name: LOG",
                    "          value: info",
                ],
                &[],
            ),
            (
                "a key goes with its comment",
                |v| {
                    v["spec"].as_object_mut().unwrap().shift_remove("strategy");
                },
                &["  # how to roll", "  strategy:", "    type: Recreate"],
                &[],
            ),
            (
                "a container goes",
                |v| {
                    v["spec"]["template"]["spec"]["containers"]
                        .as_array_mut()
                        .unwrap()
                        .remove(1);
                },
                &["      - name: side", "        image: shop/side:2"],
                &[],
            ),
            (
                "flow mapping",
                |v| v["metadata"]["labels"]["tier"] = json!("back"),
                &["  labels: {app: web, tier: 'front'}"],
                &["  labels: {app: web, tier: 'back'}"],
            ),
            (
                "flow list",
                |v| container(v, 0)["args"] = json!(["--listen=:9090", "--verbose"]),
                &["        args: [\"--listen=:8080\", --verbose]"],
                &["        args: [\"--listen=:9090\", --verbose]"],
            ),
        ];
        for (what, change, gone, come) in table {
            for text in [FILE.to_owned(), FILE.replace('\n', "\r\n")] {
                let (old, new) = lines(&changed(&text, change));
                let bare = |lines: Vec<String>| {
                    lines
                        .into_iter()
                        .map(|l| l.trim_end_matches('\r').to_owned())
                        .collect::<Vec<_>>()
                };
                assert_eq!(bare(old), gone, "{what}");
                assert_eq!(bare(new), come, "{what}");
            }
        }
    }

    #[test]
    fn what_is_not_sure_is_left_to_people_with_the_patch() {
        let anchored = FILE.replace(
            "replicas: 2   # weekday\n  # how",
            "replicas: &n 2\n  minReadySeconds: *n\n  # how",
        );
        let plan = changed(&anchored, |v| v["spec"]["replicas"] = json!(5));
        assert!(plan.file_edits.is_empty());
        assert_eq!(plan.manual[0].patch.as_deref(), Some("spec:\n  replicas: 5\n"));
        assert!(plan.rows[0].by_hand && plan.rows[0].before == "2" && plan.rows[0].after == "5");
    }

    #[test]
    fn git_that_says_something_else_is_not_overwritten() {
        let change = |before: i64, after: i64| Change {
            path: Path::keys(&["spec", "replicas"]),
            before: Some(json!(before)),
            after: Some(json!(after)),
        };
        let with = |change| Drift {
            edits: vec![ObjectEdit {
                object: web(),
                action: EditAction::Change(vec![change]),
            }],
            ..Drift::default()
        };
        let other = plan(&with(change(3, 5)), &git(FILE), &Rules::default());
        assert_eq!(
            other.manual[0].why,
            "Git declared another value than the cluster had before."
        );
        let already = plan(&with(change(1, 2)), &git(FILE), &Rules::default());
        assert!(already.manual.is_empty() && already.file_edits.is_empty());
    }

    #[test]
    fn documents_go_and_new_files_come() {
        let act = |action| Drift {
            edits: vec![ObjectEdit {
                object: web(),
                action,
            }],
            ..Drift::default()
        };
        let gone = plan(&act(EditAction::Remove), &git(FILE), &Rules::default());
        let left = read::documents(gone.file_edits[0].new.as_deref().unwrap()).unwrap();
        assert_eq!(left.len(), 2);
        assert_eq!(left[1]["metadata"]["namespace"], "test");
        let only = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n";
        assert_eq!(
            plan(&act(EditAction::Remove), &git(only), &Rules::default()).file_edits[0].new,
            None
        );

        let rules = Rules {
            new_files_in: "apps".into(),
            ..Rules::default()
        };
        let value = json!({"spec":{"replicas":1},"metadata":{"name":"web","namespace":"shop","annotations":{"a":"no"}},"kind":"Deployment"});
        let made = plan(&act(EditAction::Create(value)), &[], &rules);
        assert_eq!(made.file_edits[0].path, "apps/shop-deployment-web.yaml");
        assert_eq!(
            made.file_edits[0].new.as_deref(),
            Some(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: shop\n  annotations:\n    a: \"no\"\nspec:\n  replicas: 1\n"
            )
        );
    }

    #[test]
    fn a_final_text_without_line_end_is_never_changed_by_the_way() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  note: |\n    a\n    b";
        let plan = changed(text, |v| v["spec"]["replicas"] = json!(1));
        if let Some(edit) = plan.file_edits.first() {
            let said = read::documents(edit.new.as_deref().unwrap()).unwrap();
            assert_eq!(
                said[0]["spec"],
                json!({"note": read::documents(text).unwrap()[0]["spec"]["note"], "replicas": 1})
            );
        } else {
            assert_eq!(plan.manual.len(), 1);
        }
    }
}
