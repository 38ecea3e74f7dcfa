//! Which lists of a custom resource are maps, and by which keys, as its CRD says.

use super::discovery::base;
use super::server::{Result, Server};
use crate::domain::object::ObjectKey;
use http::Method;
use serde_json::Value;

/// Each list that is a map, by the names of the fields on the way to it (`spec.listeners`), with its keys.
/// None where the API server describes the kind in no such way, or does not let the broker read it: such a
/// list is then one value.
pub(super) async fn of(server: &Server, key: &ObjectKey, kind: &str) -> Result<Vec<(String, Vec<String>)>> {
    // Kubernetes' own kinds are known; only theirs have groups without a dot.
    if !key.group.contains('.') {
        return Ok(vec![]);
    }
    let path = format!("/openapi/v3{}", base(&key.group, &key.version));
    let doing = "reading the description of an API";
    match server.send(doing, Method::GET, &path, None).await? {
        Ok(description) => Ok(lists(&description, &key.group, &key.version, kind)),
        Err(status) if matches!(status.code, 403 | 404) => Ok(vec![]),
        Err(status) => Err(server.refused(doing, &status)),
    }
}

fn lists(description: &Value, group: &str, version: &str, kind: &str) -> Vec<(String, Vec<String>)> {
    let schemas = description
        .pointer("/components/schemas")
        .and_then(Value::as_object);
    let own = schemas
        .into_iter()
        .flatten()
        .map(|(_, schema)| schema)
        .find(|schema| {
            let kinds = schema
                .get("x-kubernetes-group-version-kind")
                .and_then(Value::as_array);
            kinds.into_iter().flatten().any(|one| {
                let is = |field: &str, wanted: &str| one.get(field).is_some_and(|value| value == wanted);
                is("group", group) && is("version", version) && is("kind", kind)
            })
        });
    let mut found = vec![];
    if let Some(schema) = own {
        walk(schema, &mut vec![], &mut found);
    }
    found
}

fn walk<'s>(schema: &'s Value, at: &mut Vec<&'s str>, found: &mut Vec<(String, Vec<String>)>) {
    for (name, below) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        at.push(name);
        walk(below, at, found);
        at.pop();
    }
    let Some(items) = schema.get("items") else { return };
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    if let Some(keys) = keys.filter(|_| {
        schema
            .get("x-kubernetes-list-type")
            .is_some_and(|kind| kind == "map")
    }) {
        let keys = keys.iter().filter_map(Value::as_str).map(str::to_owned);
        found.push((at.join("."), keys.collect()));
    }
    walk(items, at, found);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_are_found_where_they_stand_and_other_lists_are_not() {
        let list = |kind: &str, keys: Value, below: Value| {
            json!({"type": "array", "x-kubernetes-list-type": kind,
            "x-kubernetes-list-map-keys": keys, "items": {"type": "object", "properties": below}})
        };
        let inner = list(
            "map",
            json!(["host", "port"]),
            json!({"host": {"type": "string"}}),
        );
        let schema = |kind: &str, spec: Value| {
            json!({"properties": {"spec": {"properties": spec}},
            "x-kubernetes-group-version-kind": [{"group": "shop.example", "version": "v1", "kind": kind}]})
        };
        let description = json!({"components": {"schemas": {
            "a": schema("Till", json!({"wrong": list("map", json!(["name"]), json!({}))})),
            "b": schema("Route", json!({"rules": list("map", json!(["name"]), json!({"backends": inner})),
                "hosts": list("set", json!([]), json!({}))})),
        }}});
        let mut found = lists(&description, "shop.example", "v1", "Route");
        found.sort();
        assert_eq!(
            found,
            [
                ("spec.rules".to_owned(), vec!["name".to_owned()]),
                (
                    "spec.rules.backends".to_owned(),
                    vec!["host".to_owned(), "port".to_owned()]
                ),
            ]
        );
        assert!(lists(&description, "shop.example", "v2", "Route").is_empty());
    }
}
