//! What changed between two versions of an object.

use super::list_keys::{keyed, merge_keys};
use super::object::{Gvk, ObjectRef, Refusal};
use super::path::{Path, Step};
use super::quantity;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// One field that differs.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub path: Path,
    /// The value before; none if it was not set.
    pub before: Option<Value>,
    /// The value after; none if it is no longer set.
    pub after: Option<Value>,
}

/// Shows the place only: a value may be secret until somebody has looked.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Change({})", self.path)
    }
}

/// The changes from `before` to `after`, lists matched by their merge keys. Added or removed
/// subtrees are one change. Refuses Secrets.
pub fn diff(gvk: &Gvk, before: &Value, after: &Value) -> Result<Vec<Change>, Refusal> {
    diff_by(gvk, &[], before, after)
}

/// [`diff`] with the lists that a custom resource has for maps: the names of the fields on the way, and the
/// keys.
pub(super) fn diff_by(
    gvk: &Gvk,
    lists: &[(String, Vec<String>)],
    before: &Value,
    after: &Value,
) -> Result<Vec<Change>, Refusal> {
    if gvk.is_secret() {
        let text = |pointer: &str| after.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        return Err(Refusal::Secret(ObjectRef {
            gvk: gvk.clone(),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name").unwrap_or_default(),
        }));
    }
    let mut changes = Vec::new();
    walk((gvk, lists), &Path::default(), before, after, &mut changes);
    Ok(changes)
}

/// A kind, and the lists it has for maps beyond those of Kubernetes' own kinds.
type Shape<'a> = (&'a Gvk, &'a [(String, Vec<String>)]);

fn merge_keys_of<'a>((gvk, lists): Shape<'a>, path: &Path) -> Option<Vec<&'a str>> {
    let at = path.key_names().join(".");
    match lists.iter().find(|(list, _)| *list == at) {
        Some((_, keys)) => Some(keys.iter().map(String::as_str).collect()),
        None => merge_keys(gvk, path).map(<[_]>::to_vec),
    }
}

fn walk(shape: Shape<'_>, path: &Path, before: &Value, after: &Value, out: &mut Vec<Change>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                match new.get(key) {
                    Some(other) => walk(shape, &path.key(key), value, other, out),
                    None => out.push(Change {
                        path: path.key(key),
                        before: Some(value.clone()),
                        after: None,
                    }),
                }
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                out.push(Change {
                    path: path.key(key),
                    before: None,
                    after: Some(value.clone()),
                });
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let both =
                merge_keys_of(shape, path).and_then(|keys| Some((keyed(old, &keys)?, keyed(new, &keys)?)));
            let Some((old_items, new_items)) = both else {
                if before != after {
                    whole(path, before, after, out);
                }
                return;
            };
            for (key, value) in &old_items {
                let at = path.with(Step::Item(key.clone()));
                match new_items.iter().find(|(other, _)| other == key) {
                    Some((_, other)) => walk(shape, &at, value, other, out),
                    None => out.push(Change {
                        path: at,
                        before: Some((*value).clone()),
                        after: None,
                    }),
                }
            }
            for (key, value) in new_items
                .iter()
                .filter(|(key, _)| !old_items.iter().any(|(other, _)| other == key))
            {
                let at = path.with(Step::Item(key.clone()));
                out.push(Change {
                    path: at,
                    before: None,
                    after: Some((*value).clone()),
                });
            }
        }
        _ if !same(path, before, after) => whole(path, before, after, out),
        _ => {}
    }
}

fn whole(path: &Path, before: &Value, after: &Value, out: &mut Vec<Change>) {
    out.push(Change {
        path: path.clone(),
        before: Some(before.clone()),
        after: Some(after.clone()),
    });
}

/// Do both mean the same to the API server at this path? Resource amounts are compared as
/// amounts, everything else exactly; keyed lists without regard to order.
#[must_use]
pub fn same(path: &Path, a: &Value, b: &Value) -> bool {
    if a == b {
        return true;
    }
    let names = path.key_names();
    let amount = names.iter().any(|name| {
        matches!(
            *name,
            "limits" | "requests" | "hard" | "capacity" | "sizeLimit" | "averageValue"
        )
    });
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    amount
        && match (text(a), text(b)) {
            (Some(a), Some(b)) => quantity::nano(&a).is_some() && quantity::nano(&a) == quantity::nano(&b),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(kind: &str, before: &Value, after: &Value) -> Vec<String> {
        let group = if kind == "Service" { "" } else { "apps" };
        diff(&Gvk::new(group, "v1", kind), before, after)
            .unwrap()
            .iter()
            .map(|c| c.path.to_string())
            .collect()
    }

    #[test]
    fn lists_match_by_merge_key_and_never_by_index() {
        let before = json!({"spec":{"containers":[
            {"name":"web","image":"a:1","env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],
             "ports":[{"containerPort":53,"protocol":"UDP"},{"containerPort":53}]},
            {"name":"side","image":"s:1"}]}});
        let after = json!({"spec":{"containers":[
            {"name":"side","image":"s:1"},
            {"name":"web","image":"a:2","env":[{"name":"B","value":"2"},{"name":"C","value":"3"}],
             "ports":[{"containerPort":53,"protocol":"TCP","name":"dns"},{"containerPort":53,"protocol":"UDP"}]}]}});
        assert_eq!(
            paths("Deployment", &before, &after),
            [
                "spec.containers[name=web].image",
                "spec.containers[name=web].env[name=A]",
                "spec.containers[name=web].env[name=C]",
                "spec.containers[name=web].ports[containerPort=53,protocol=TCP].protocol",
                "spec.containers[name=web].ports[containerPort=53,protocol=TCP].name",
            ]
        );
    }

    #[test]
    fn service_ports_have_other_keys_than_container_ports() {
        let before = json!({"spec":{"ports":[{"port":80,"targetPort":8080}]}});
        let after = json!({"spec":{"ports":[{"port":80,"targetPort":9090}]}});
        assert_eq!(
            paths("Service", &before, &after),
            ["spec.ports[port=80,protocol=TCP].targetPort"]
        );
    }

    #[test]
    fn net_zero_is_no_change_and_equal_amounts_are_equal() {
        let a = json!({"spec":{"resources":{"limits":{"cpu":"500m"}}}});
        let b = json!({"spec":{"resources":{"limits":{"cpu":"0.5"}}}});
        assert!(paths("Deployment", &a, &a).is_empty());
        assert!(paths("Deployment", &a, &b).is_empty());
    }

    #[test]
    fn lists_without_keys_or_with_double_keys_are_one_value() {
        let a = json!({"spec":{"containers":[{"name":"w","args":["a","b"],"env":[{"name":"A"},{"name":"A","value":"1"}]}]}});
        let b = json!({"spec":{"containers":[{"name":"w","args":["a","c"],"env":[{"name":"A"},{"name":"A","value":"2"}]}]}});
        assert_eq!(
            paths("Deployment", &a, &b),
            ["spec.containers[name=w].args", "spec.containers[name=w].env"]
        );
    }

    #[test]
    fn a_custom_resource_has_the_keys_its_own_description_names() {
        let gvk = Gvk::new("shop.example", "v1", "Route");
        let a = json!({"spec":{"rules":[{"host":"a","to":"1"},{"host":"b","to":"2"}]}});
        let b = json!({"spec":{"rules":[{"host":"b","to":"3"},{"host":"a","to":"1"}]}});
        let paths = |lists: &[(String, Vec<String>)]| {
            let changes = diff_by(&gvk, lists, &a, &b).unwrap();
            changes
                .iter()
                .map(|change| change.path.to_string())
                .collect::<Vec<_>>()
        };
        let lists = [("spec.rules".to_owned(), vec!["host".to_owned()])];
        assert_eq!(paths(&lists), ["spec.rules[host=b].to"]);
        assert_eq!(
            paths(&[]),
            ["spec.rules"],
            "without a description the list is one value"
        );
    }

    #[test]
    fn a_secret_is_refused() {
        let secret = json!({"metadata":{"name":"db","namespace":"shop"},"data":{"p":"c2VjcmV0"}});
        let refused = diff(&Gvk::new("", "v1", "Secret"), &secret, &secret).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Secret shop/db is a Secret: its content must not be compared or written"
        );
    }
}
