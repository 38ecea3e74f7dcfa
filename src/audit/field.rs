//! Whether a recorded request may have written a field of its object: the question "who changed `spec.replicas`".

use serde_json::Value;

/// May the request of `event` (redacted, as it is kept) have written `field` (`spec.replicas`,
/// `spec.template.spec.containers[web].image`)?
///
/// Where the record cannot say no, the answer is yes: a body that was not recorded, an object that came or went
/// whole, a sub-resource that is no part of the body. Items of lists are any item, unless `[name]` names one.
#[must_use]
pub fn may_write(event: &Value, field: &str) -> bool {
    let steps = steps(field);
    let Some(body) = event.get("requestObject").filter(|body| !body.is_null()) else {
        return true;
    };
    if event["verb"] == "delete" || event["verb"] == "deletecollection" {
        return true;
    }
    match body {
        Value::Array(operations) => operations.iter().any(|operation| is_at(operation, &steps)),
        Value::Object(_) => holds(body, &steps),
        _ => true,
    }
}

/// One step of the way: a key, or an item of a list by its name.
#[derive(Debug, PartialEq, Eq)]
enum Step<'f> {
    Key(&'f str),
    Item(&'f str),
}

fn steps(field: &str) -> Vec<Step<'_>> {
    let mut steps = vec![];
    for part in field.trim().trim_matches('.').split('.') {
        let (key, items) = part.split_once('[').unwrap_or((part, ""));
        if !key.is_empty() {
            steps.push(Step::Key(key));
        }
        steps.extend(
            items
                .split('[')
                .map(|item| item.trim_end_matches(']'))
                .filter(|item| !item.is_empty())
                .map(Step::Item),
        );
    }
    steps
}

/// An operation of RFC 6902 at the field, above it, or below it. Items are numbers there: any of them is meant.
fn is_at(operation: &Value, steps: &[Step<'_>]) -> bool {
    let keys: Vec<&str> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(*key),
            Step::Item(_) => None,
        })
        .collect();
    // `test` only looks.
    let writes = operation["op"] != "test";
    let goes_by = |pointer: &Value| {
        let Some(pointer) = pointer.as_str() else {
            return false;
        };
        let way: Vec<String> = pointer
            .split('/')
            .skip(1)
            .filter(|token| *token != "-" && token.parse::<u32>().is_err())
            .map(|token| token.replace("~1", "/").replace("~0", "~"))
            .collect();
        way.iter().zip(&keys).all(|(own, asked)| own == asked)
    };
    let moved = operation["op"] == "move" && goes_by(&operation["from"]);
    writes && (goes_by(&operation["path"]) || moved)
}

/// The way leads to something in `value`, or ends at what is set as a whole (a `null` deletes all below it).
fn holds(value: &Value, steps: &[Step<'_>]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return true;
    };
    match (value, step) {
        (Value::Null, _) => true,
        (Value::Object(map), Step::Key(key)) => map.get(*key).is_some_and(|next| holds(next, rest)),
        (Value::Array(items), Step::Key(_)) => items.iter().any(|item| holds(item, steps)),
        (Value::Array(items), Step::Item(name)) => items
            .iter()
            .filter(|item| item["name"] == *name)
            .any(|item| holds(item, rest)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patch(body: &Value) -> Value {
        json!({"verb": "patch", "requestObject": body})
    }

    #[test]
    fn a_patch_writes_what_it_names_and_nothing_beside() {
        let scaled = patch(&json!({"spec": {"replicas": 5}}));
        assert!(may_write(&scaled, "spec.replicas"));
        assert!(may_write(&scaled, "spec"), "what is below it is part of it");
        assert!(!may_write(&scaled, "spec.template"));
        assert!(!may_write(&scaled, "status.replicas"));
        assert!(may_write(
            &patch(&json!({"spec": {"replicas": null}})),
            "spec.replicas"
        ));
        assert!(
            may_write(&patch(&json!({"spec": null})), "spec.replicas"),
            "deleted with all above it"
        );
    }

    #[test]
    fn an_item_of_a_list_is_meant_by_its_name() {
        let image = patch(&json!({"spec": {"template": {"spec": {"containers": [
            {"name": "web", "image": "shop:2"}, {"name": "side", "args": ["x"]}]}}}}));
        assert!(may_write(&image, "spec.template.spec.containers.image"));
        assert!(may_write(&image, "spec.template.spec.containers[web].image"));
        assert!(!may_write(&image, "spec.template.spec.containers[side].image"));
        assert!(may_write(&image, "spec.template.spec.containers[side]"));
    }

    #[test]
    fn a_list_of_operations_writes_at_above_and_below_its_pointers() {
        let one = |op: &str, path: &str| patch(&json!([{"op": op, "path": path, "value": 1}]));
        assert!(may_write(&one("replace", "/spec/replicas"), "spec.replicas"));
        assert!(may_write(&one("replace", "/spec"), "spec.replicas"));
        assert!(may_write(
            &one("add", "/spec/template/spec/containers/0/image"),
            "spec.template.spec.containers[web].image"
        ));
        assert!(!may_write(&one("replace", "/spec/paused"), "spec.replicas"));
        assert!(!may_write(&one("test", "/spec/replicas"), "spec.replicas"));
        let label = patch(&json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": "c"}]));
        assert!(may_write(&label, "metadata.labels"));
        let moved = patch(&json!([{"op": "move", "from": "/spec/replicas", "path": "/spec/other"}]));
        assert!(may_write(&moved, "spec.replicas"));
    }

    #[test]
    fn what_the_record_cannot_deny_is_told() {
        assert!(
            may_write(&json!({"verb": "patch"}), "spec.replicas"),
            "no body was kept"
        );
        assert!(may_write(&patch(&json!("[not kept]")), "spec.replicas"));
        let gone = json!({"verb": "delete", "requestObject": {"kind": "DeleteOptions"}});
        assert!(may_write(&gone, "spec.replicas"));
    }

    #[test]
    fn no_field_is_too_odd_to_ask_for() {
        let body = patch(&json!({"spec": {"replicas": 5}}));
        for odd in [
            "",
            ".",
            "..",
            "[",
            "]",
            "a[",
            "[x]",
            "a[b][c].d",
            "spec..replicas",
            "\u{202e}",
        ] {
            let _ = may_write(&body, odd);
        }
        assert!(may_write(&body, "spec..replicas"));
    }
}
