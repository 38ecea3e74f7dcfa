//! Where an object stands in the configured YAML files.

use super::object::{Gvk, ObjectRef};
use super::plan::{GitFile, Rules};
use super::read;
use serde_json::Value;

/// Where an object was found, or why not.
#[derive(Clone, PartialEq)]
pub enum Location {
    /// In one place.
    Found(Found),
    /// Nowhere among the readable files; the others are named with the reason.
    Missing(Vec<String>),
    /// In a place, or in several, that must not be edited: one sentence.
    Barred(String),
}

/// A document of a file.
#[derive(Clone, PartialEq)]
pub struct Found {
    /// The file.
    pub path: String,
    /// Which document of the file, empty ones not counted.
    pub index: usize,
    /// Its content.
    pub value: Value,
}

/// Finds the document that declares the object. The version of the API is left out of the match:
/// git may declare an older one than the cluster serves.
#[must_use]
pub fn document(object: &ObjectRef, files: &[GitFile], rules: &Rules) -> Location {
    let mut found: Vec<Found> = Vec::new();
    let mut unreadable = Vec::new();
    for file in files.iter().filter(|file| is_yaml(&file.path)) {
        let documents = match read::documents(&file.text) {
            Ok(documents) => documents,
            Err(_) if file.text.contains("{{") => {
                unreadable.push(format!("{} is a template", file.path));
                continue;
            }
            Err(why) => {
                unreadable.push(format!("{}: {why}", file.path));
                continue;
            }
        };
        for (index, value) in documents.into_iter().enumerate() {
            if value.get("items").is_some_and(Value::is_array)
                && value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"))
            {
                let inside = value["items"].as_array().into_iter().flatten();
                if inside
                    .into_iter()
                    .any(|item| is_it(object, item, &file.path, rules))
                {
                    return Location::Barred(format!("{} holds it inside a List", file.path));
                }
            } else if is_it(object, &value, &file.path, rules) {
                found.push(Found {
                    path: file.path.clone(),
                    index,
                    value,
                });
            }
        }
    }
    match found.as_slice() {
        [] => Location::Missing(unreadable),
        [one] => {
            if one.value.get("sops").is_some() {
                return Location::Barred(format!("{} is encrypted with SOPS", one.path));
            }
            match rendered_by(&one.path, files) {
                Some(renderer) => Location::Barred(format!(
                    "{} is an input of {renderer}, not what reaches the cluster",
                    one.path
                )),
                None => Location::Found(one.clone()),
            }
        }
        several => {
            let mut places: Vec<&str> = several.iter().map(|found| found.path.as_str()).collect();
            places.dedup();
            Location::Barred(format!("it is declared more than once: {}", places.join(", ")))
        }
    }
}

fn is_yaml(path: &str) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(_, end)| end == "yaml" || end == "yml")
}

fn is_it(object: &ObjectRef, value: &Value, path: &str, rules: &Rules) -> bool {
    let Some(gvk) = Gvk::of(value) else { return false };
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let namespace_fits = match &object.namespace {
        None => true,
        Some(wanted) => text("/metadata/namespace").unwrap_or_else(|| rules.namespace_of(path)) == wanted,
    };
    gvk.group == object.gvk.group
        && gvk.kind == object.gvk.kind
        && text("/metadata/name") == Some(&object.name)
        && namespace_fits
}

/// The tool whose description stands in the file's directory or above it: Kustomize or Helm.
#[must_use]
pub fn rendered_by(path: &str, files: &[GitFile]) -> Option<&'static str> {
    files.iter().find_map(|file| {
        let (directory, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let tool = match name {
            "kustomization.yaml" | "kustomization.yml" | "Kustomization" => "Kustomize",
            "Chart.yaml" => "Helm",
            _ => return None,
        };
        let below = directory.is_empty()
            || path
                .strip_prefix(directory)
                .is_some_and(|rest| rest.starts_with('/'));
        below.then_some(tool)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> GitFile {
        GitFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn web() -> ObjectRef {
        ObjectRef {
            gvk: Gvk::new("apps", "v1", "Deployment"),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        }
    }

    const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n";

    fn barred(files: &[GitFile]) -> String {
        match document(&web(), files, &Rules::default()) {
            Location::Barred(why) => why,
            Location::Found(_) => "found".to_owned(),
            Location::Missing(why) => format!("missing: {}", why.join("; ")),
        }
    }

    #[test]
    fn the_right_document_among_many() {
        let other = WEB.replace("shop", "test");
        let all = format!("---\n# head\n---\n{other}---\n{WEB}---\n");
        let Location::Found(found) = document(&web(), &[file("a.yaml", &all)], &Rules::default()) else {
            panic!("not found")
        };
        assert_eq!((found.path.as_str(), found.index), ("a.yaml", 1));
    }

    #[test]
    fn a_directory_has_a_default_namespace() {
        let bare = WEB.replace(", namespace: shop", "");
        let rules = Rules {
            default_namespaces: vec![("apps".to_owned(), "shop".to_owned())],
            ..Rules::default()
        };
        assert!(matches!(
            document(&web(), &[file("apps/a.yaml", &bare)], &rules),
            Location::Found(_)
        ));
        assert!(matches!(
            document(&web(), &[file("appsx/a.yaml", &bare)], &rules),
            Location::Missing(_)
        ));
    }

    #[test]
    fn what_must_not_be_edited_is_named() {
        assert_eq!(
            barred(&[file("a.yaml", WEB), file("b.yaml", WEB)]),
            "it is declared more than once: a.yaml, b.yaml"
        );
        assert_eq!(
            barred(&[file("a.yaml", &format!("{WEB}sops: {{mac: x}}\n"))]),
            "a.yaml is encrypted with SOPS"
        );
        assert_eq!(
            barred(&[file("t.yaml", "a: {{ .Values.x }}\n")]),
            "missing: t.yaml is a template"
        );
        assert_eq!(
            barred(&[file("t.yaml", "a: 1\na: s3cret\n")]),
            "missing: t.yaml: not readable as YAML at line 2 column 1"
        );
        let kustomized = [
            file("k/kustomization.yaml", "resources: [a.yaml]\n"),
            file("k/a.yaml", WEB),
        ];
        assert_eq!(
            barred(&kustomized),
            "k/a.yaml is an input of Kustomize, not what reaches the cluster"
        );
        let list = format!(
            "apiVersion: v1\nkind: List\nitems:\n- {}",
            WEB.trim_end().replace('\n', "\n  ")
        );
        assert_eq!(barred(&[file("l.yaml", &list)]), "l.yaml holds it inside a List");
    }
}
