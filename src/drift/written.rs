//! The fields of a new object that somebody wrote, so that its file holds those and no server default.
//!
//! The best witness is the grant's own requests: the body that created the object, and what was patched
//! into it later. Where a body was not audited, the API server's own bookkeeping (`managedFields`) of the
//! manager that wrote says it. Both see a `create` after the server has filled in its defaults, so what
//! equals a default does not count as written there; patches and server-side apply are seen as they were
//! sent. Only paths come from any of them; values are always the live ones.

use super::defaults::without_defaults;
use super::diff::{diff, same};
use super::list_keys::{keyed, merge_keys};
use super::object::Gvk;
use super::path::{Path, Step, item_matches};
use super::touched::{Touched, Write};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Mappings that mean the same empty as absent, and that clients send empty without meaning it.
const MEANS_NOTHING_EMPTY: [&str; 4] = ["resources", "strategy", "updateStrategy", "securityContext"];

/// What of a value was written.
#[derive(Debug, Clone, PartialEq)]
enum Written {
    /// All of it.
    Whole,
    /// These keys of a mapping; none of them: an empty mapping was written.
    Fields(BTreeMap<String, Written>),
    /// The items of a list that have these merge keys.
    Items(Vec<(Vec<(String, Value)>, Written)>),
    /// The items of a list without merge keys in their order, each as it was sent.
    Order(Vec<(Written, Value)>),
}

/// `live` (normalised) with the fields alone that the grant wrote; `managed` is its `managedFields`, which
/// `live` does not carry any more. All but the defaults where nothing tells which they are.
pub(super) fn as_written(touched: &Touched, live: &Value, managed: Option<&Value>) -> Value {
    let bare = || without_defaults(&touched.gvk, live);
    let out = match by_requests(touched, live) {
        Some(written) => kept(&written, live),
        None => by_managers(touched, managed).and_then(|(written, exact)| {
            let out = kept(&written, live)?;
            Some(if exact {
                out
            } else {
                without_defaults(&touched.gvk, &out)
            })
        }),
    };
    let Some(mut out) = out else { return bare() };
    // A file must say which object it is, though a request says the namespace in its address.
    for field in ["name", "namespace"] {
        let Some(value) = live.pointer(&format!("/metadata/{field}")) else {
            continue;
        };
        let Some(metadata) = out
            .as_object_mut()
            .map(|map| map.entry("metadata").or_insert_with(|| Value::Object(Map::new())))
        else {
            return bare();
        };
        metadata[field] = value.clone();
    }
    out
}

/// By the bodies of the requests; none if one of them is not known whole.
fn by_requests(touched: &Touched, live: &Value) -> Option<Written> {
    let stored = |write: &&Write| write.subresource.is_none() && !write.verb.starts_with("delete");
    let made = touched
        .writes
        .iter()
        .rposition(|write| stored(&write) && (write.verb == "create" || write.code == Some(201)))?;
    let mut all: Option<Written> = None;
    let mut before: Option<&Value> = None;
    for write in touched.writes.iter().skip(made) {
        if write.subresource.as_deref() == Some("scale") {
            add(
                &mut all,
                Path::keys(&["spec", "replicas"]).0.as_slice(),
                Written::Whole,
            );
            continue;
        }
        if !stored(&write) {
            continue;
        }
        let body = write
            .body
            .as_ref()
            .filter(|body| body.is_object() || body.is_array())?;
        let mut own: Option<Written> = None;
        match (body, write.verb.as_str(), before) {
            (Value::Array(operations), "patch", _) => {
                for operation in operations {
                    operated(&touched.gvk, operation, &mut own);
                }
            }
            // A whole object that was read before it was sent back holds the server's defaults.
            (_, "update", Some(before)) => {
                for change in diff(&touched.gvk, before, body).ok()? {
                    let Some(value) = &change.after else { continue };
                    let Some(node) = of(&touched.gvk, &change.path, value) else {
                        continue;
                    };
                    add(&mut own, &change.path.0, node);
                }
            }
            (_, "patch", _) => own = of(&touched.gvk, &Path::default(), body),
            _ => own = sent_whole(&touched.gvk, body),
        }
        // A key that was taken out before the body was stored cannot be found again; another reason why
        // a field is not there any more is no reason to leave out others.
        if write.redacted && own.as_ref().is_some_and(|own| !found(own, live)) {
            return None;
        }
        all = match (all, own) {
            (Some(all), Some(own)) => Some(both(all, own)),
            (all, own) => all.or(own),
        };
        before = write.answer.as_ref();
    }
    all
}

/// What a whole object sets that is no default. `kubectl apply` sends along what it was given, and so tells
/// which defaults were written; it may add to the body and take nothing from it, for whoever sent the body
/// wrote that too.
fn sent_whole(gvk: &Gvk, body: &Value) -> Option<Written> {
    let mut bare = without_defaults(gvk, body);
    let given = body
        .pointer("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration")
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(given) = given else {
        return of(gvk, &Path::default(), &bare);
    };
    if given.pointer("/spec/replicas").is_none()
        && bare.pointer("/spec/replicas") == Some(&Value::from(1))
        && let Some(spec) = bare.pointer_mut("/spec").and_then(Value::as_object_mut)
    {
        spec.shift_remove("replicas");
    }
    let bare = of(gvk, &Path::default(), &bare)?;
    Some(match of(gvk, &Path::default(), &given) {
        // The later of two lists without keys counts: that of the body.
        Some(given) => both(given, bare),
        None => bare,
    })
}

/// By `managedFields`, of the managers that the grant's requests named; and whether they were seen as they
/// were sent.
fn by_managers(touched: &Touched, managed: Option<&Value>) -> Option<(Written, bool)> {
    let mut all: Option<Written> = None;
    let mut exact = true;
    for entry in managed?.as_array()? {
        let name = entry.get("manager").and_then(Value::as_str).unwrap_or_default();
        let own = touched.writes.iter().any(|write| {
            !write.verb.starts_with("delete")
                && write.manager.as_deref() == Some(name)
                && write.subresource.as_deref() == entry.get("subresource").and_then(Value::as_str)
        });
        if own && let Some(fields) = entry.get("fieldsV1") {
            exact &= entry.get("operation").is_some_and(|how| how == "Apply");
            let fields = of_fields(fields);
            all = Some(match all {
                Some(all) => both(all, fields),
                None => fields,
            });
        }
    }
    Some((all?, exact))
}

/// What a body sets at `path`. Null takes away, and so sets nothing.
fn of(gvk: &Gvk, path: &Path, value: &Value) -> Option<Written> {
    match value {
        Value::Null => None,
        Value::Object(map) if map.get("$patch").is_some_and(|how| how == "delete") => None,
        Value::Object(map) => {
            // Keys that begin with `$` are orders to a strategic merge.
            let fields: BTreeMap<_, _> = map
                .iter()
                .filter(|(key, _)| !key.starts_with('$'))
                .filter_map(|(key, below)| Some((key.clone(), of(gvk, &path.key(key), below)?)))
                .collect();
            (map.is_empty() || !fields.is_empty()).then_some(Written::Fields(fields))
        }
        Value::Array(items) => {
            let by_key = merge_keys(gvk, path).and_then(|keys| keyed(items, keys));
            Some(match by_key {
                Some(by_key) => Written::Items(
                    by_key
                        .into_iter()
                        .filter_map(|(key, item)| {
                            let below = of(gvk, &path.with(Step::Item(key.clone())), item)?;
                            Some((key, below))
                        })
                        .collect(),
                ),
                None if !items.is_empty() && items.iter().all(Value::is_object) => Written::Order(
                    items
                        .iter()
                        .map(|item| (of(gvk, path, item).unwrap_or(Written::Whole), item.clone()))
                        .collect(),
                ),
                None => Written::Whole,
            })
        }
        _ => Some(Written::Whole),
    }
}

/// What one operation of a JSON patch sets. An index means another item after every other operation, so a
/// list that one of them enters counts as a whole.
fn operated(gvk: &Gvk, operation: &Value, all: &mut Option<Written>) {
    let text = |field: &str| operation.get(field).and_then(Value::as_str).unwrap_or_default();
    if !matches!(text("op"), "add" | "replace" | "copy" | "move") {
        return;
    }
    let mut path = Path::default();
    for step in text("path").split('/').skip(1) {
        if step == "-" || step.parse::<usize>().is_ok() {
            return add(all, &path.0, Written::Whole);
        }
        path = path.key(&step.replace("~1", "/").replace("~0", "~"));
    }
    let node = match operation.get("value") {
        Some(value) => of(gvk, &path, value),
        None => Some(Written::Whole),
    };
    if let Some(node) = node {
        add(all, &path.0, node);
    }
}

/// `fieldsV1` of a manager: `f:` a field, `k:` an item by its merge keys, `v:` and `i:` an item of a list
/// that is one value here.
fn of_fields(fields: &Value) -> Written {
    let Some(map) = fields.as_object().filter(|map| map.keys().any(|key| key != ".")) else {
        return Written::Whole;
    };
    let mut below = BTreeMap::new();
    let mut items = Vec::new();
    for (key, value) in map {
        if let Some(name) = key.strip_prefix("f:") {
            below.insert(name.to_owned(), of_fields(value));
        } else if let Some(Ok(Value::Object(keys))) = key.strip_prefix("k:").map(serde_json::from_str) {
            items.push((keys.into_iter().collect(), of_fields(value)));
        } else if key != "." {
            return Written::Whole;
        }
    }
    if items.is_empty() {
        Written::Fields(below)
    } else {
        Written::Items(items)
    }
}

/// Adds what was written at the end of `steps`.
fn add(all: &mut Option<Written>, steps: &[Step], node: Written) {
    let node = steps.iter().rev().fold(node, |below, step| match step {
        Step::Key(key) => Written::Fields(BTreeMap::from([(key.clone(), below)])),
        Step::Item(keys) => Written::Items(vec![(keys.clone(), below)]),
    });
    *all = Some(match all.take() {
        Some(all) => both(all, node),
        None => node,
    });
}

fn both(one: Written, other: Written) -> Written {
    match (one, other) {
        (Written::Fields(mut one), Written::Fields(other)) => {
            for (key, node) in other {
                let node = match one.remove(&key) {
                    Some(known) => both(known, node),
                    None => node,
                };
                one.insert(key, node);
            }
            Written::Fields(one)
        }
        (Written::Items(mut one), Written::Items(other)) => {
            for (key, node) in other {
                match one.iter().position(|(known, _)| *known == key) {
                    Some(at) => {
                        let (key, known) = one.remove(at);
                        one.insert(at, (key, both(known, node)));
                    }
                    None => one.push((key, node)),
                }
            }
            Written::Items(one)
        }
        // The later list stands for the whole of an earlier one.
        (Written::Order(_), Written::Order(other)) => Written::Order(other),
        _ => Written::Whole,
    }
}

/// Is everything written still there?
fn found(written: &Written, live: &Value) -> bool {
    match written {
        Written::Fields(fields) => fields
            .iter()
            .all(|(key, below)| live.get(key).is_some_and(|live| found(below, live))),
        Written::Items(items) => items.iter().all(|(keys, below)| {
            let mut live = live.as_array().into_iter().flatten();
            live.any(|item| item_matches(item, keys) && found(below, item))
        }),
        Written::Order(items) => live.as_array().is_some_and(|live| live.len() == items.len()),
        Written::Whole => true,
    }
}

/// The live value of what was written; none where nothing of it is left.
fn kept(written: &Written, live: &Value) -> Option<Value> {
    Some(match (written, live) {
        (Written::Fields(fields), Value::Object(map)) => {
            let out: Map<String, Value> = map
                .iter()
                .filter_map(|(key, below)| {
                    let node = fields.get(key)?;
                    let idle = MEANS_NOTHING_EMPTY.contains(&key.as_str())
                        && matches!(node, Written::Fields(below) if below.is_empty());
                    if idle {
                        return None;
                    }
                    Some((key.clone(), kept(node, below)?))
                })
                .collect();
            if out.is_empty() && !fields.is_empty() {
                return None;
            }
            Value::Object(out)
        }
        (Written::Items(items), Value::Array(live)) => {
            let out: Vec<Value> = live
                .iter()
                .filter_map(|item| {
                    let (_, node) = items.iter().find(|(keys, _)| item_matches(item, keys))?;
                    kept(node, item)
                })
                .collect();
            if out.is_empty() {
                return None;
            }
            Value::Array(out)
        }
        // Items are paired by their place only where each still says what was sent.
        (Written::Order(items), Value::Array(live))
            if items.len() == live.len()
                && items.iter().zip(live).all(|((_, sent), live)| says(live, sent)) =>
        {
            let pairs = items.iter().zip(live);
            Value::Array(
                pairs
                    .map(|((node, _), live)| kept(node, live).unwrap_or_else(|| live.clone()))
                    .collect(),
            )
        }
        _ => live.clone(),
    })
}

/// Does the live value say everything that was sent?
fn says(live: &Value, sent: &Value) -> bool {
    match (live, sent) {
        (_, Value::Null) => true,
        (Value::Object(live), Value::Object(sent)) => sent.iter().all(|(key, sent)| match live.get(key) {
            Some(live) => says(live, sent),
            None => sent.is_null(),
        }),
        (Value::Array(live), Value::Array(sent)) => {
            live.len() == sent.len() && live.iter().zip(sent).all(|(live, sent)| says(live, sent))
        }
        _ => same(&Path::default(), live, sent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn touched(kind: &str, writes: Vec<Write>) -> Touched {
        Touched {
            gvk: Gvk::new(if kind == "ConfigMap" { "" } else { "apps" }, "v1", kind),
            lists: vec![],
            resource: String::new(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
            writes,
        }
    }

    fn write(verb: &str, body: Value) -> Write {
        Write {
            verb: verb.to_owned(),
            code: Some(if verb == "create" { 201 } else { 200 }),
            body: Some(body),
            manager: Some("kubectl-create".to_owned()),
            ..Write::default()
        }
    }

    /// As audit shows `kubectl create deployment web --image=shop/web:1 --port=8080`.
    fn sent() -> Value {
        let mut sent = live();
        sent["metadata"]["labels"] = json!({"app":"web"});
        sent["status"] = json!({});
        sent
    }

    /// As the API server stored it, normalised.
    fn live() -> Value {
        json!({"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","namespace":"shop","labels":{"app":"web","team":"injected"}},
            "spec":{"progressDeadlineSeconds":600,"replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"web"}},
                "strategy":{"rollingUpdate":{"maxSurge":"25%"},"type":"RollingUpdate"},
                "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[
                    {"image":"shop/web:1","imagePullPolicy":"IfNotPresent","name":"web",
                     "ports":[{"containerPort":8080,"protocol":"TCP"}],"resources":{},"terminationMessagePath":"/dev/termination-log"}],
                    "dnsPolicy":"ClusterFirst","restartPolicy":"Always","securityContext":{},"terminationGracePeriodSeconds":30}}}})
    }

    fn minimal() -> Value {
        json!({"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","namespace":"shop","labels":{"app":"web"}},
            "spec":{"replicas":1,"selector":{"matchLabels":{"app":"web"}},
                "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[
                    {"image":"shop/web:1","name":"web","ports":[{"containerPort":8080}]}]}}}})
    }

    #[test]
    fn the_body_that_created_it_says_what_was_written() {
        let made = touched("Deployment", vec![write("create", sent())]);
        assert_eq!(as_written(&made, &live(), None), minimal());
    }

    #[test]
    fn later_writes_add_their_own_fields_and_values_are_the_live_ones() {
        let mut live = live();
        live["spec"]["replicas"] = json!(4);
        live["spec"]["revisionHistoryLimit"] = json!(3);
        live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
        let mut wanted = minimal();
        wanted["spec"]["replicas"] = json!(4);
        wanted["spec"]["revisionHistoryLimit"] = json!(3);
        wanted["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
        let strategic = json!({"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"web"}],
            "containers":[{"name":"web","imagePullPolicy":"Always"}]}}}});
        let mut scale = write("patch", json!({"spec":{"replicas":4}}));
        scale.subresource = Some("scale".to_owned());
        let operations = json!([{"op":"replace","path":"/spec/revisionHistoryLimit","value":3}]);
        let made = touched(
            "Deployment",
            vec![
                write("create", sent()),
                write("patch", strategic),
                scale,
                write("patch", operations),
            ],
        );
        assert_eq!(as_written(&made, &live, None), wanted);
    }

    #[test]
    fn an_object_that_was_read_and_sent_back_brings_no_defaults() {
        let mut create = write("create", sent());
        create.answer = Some(live());
        let mut back = live();
        back["spec"]["revisionHistoryLimit"] = json!(3);
        let mut wanted = minimal();
        wanted["spec"]["revisionHistoryLimit"] = json!(3);
        let made = touched("Deployment", vec![create, write("update", back.clone())]);
        assert_eq!(as_written(&made, &back, None), wanted);
    }

    #[test]
    fn without_a_body_the_server_s_own_bookkeeping_counts_and_then_everything() {
        let managed = json!([
            {"manager":"kubectl-create","operation":"Update","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},
                "f:spec":{"f:selector":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:image":{},
                    "f:ports":{".":{},"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}},
            {"manager":"kube-controller-manager","operation":"Update","fieldsV1":{"f:spec":{"f:replicas":{}}}},
        ]);
        let mut blind = write("create", Value::Null);
        blind.body = None;
        let made = touched("Deployment", vec![blind]);
        let file = as_written(&made, &live(), Some(&managed));
        assert_eq!(
            file,
            json!({"metadata":{"name":"web","namespace":"shop","labels":{"app":"web"}},
                "spec":{"selector":{"matchLabels":{"app":"web"}},"template":{"spec":{"containers":[
                    {"image":"shop/web:1","name":"web","ports":[{"containerPort":8080}]}]}}}})
        );
        // The label was injected, and nothing tells.
        let mut wanted = minimal();
        wanted["metadata"]["labels"]["team"] = json!("injected");
        assert_eq!(as_written(&made, &live(), None), wanted);
    }

    #[test]
    fn what_was_applied_adds_to_the_body_and_hides_nothing_in_it() {
        let given = json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"revisionHistoryLimit":10,
            "template":{"spec":{"containers":[{"name":"web","image":"shop/web:1"}]}}}});
        let mut body = sent();
        body["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/last-applied-configuration": given.to_string()});
        let mut wanted = minimal();
        wanted["spec"].as_object_mut().unwrap().shift_remove("replicas");
        wanted["spec"]["revisionHistoryLimit"] = json!(10);
        let made = touched("Deployment", vec![write("create", body.clone())]);
        assert_eq!(as_written(&made, &live(), None), wanted);
        // A forged one that leaves out what was really sent.
        body["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        let mut forged = live();
        forged["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        let made = touched("Deployment", vec![write("create", body)]);
        assert_eq!(
            as_written(&made, &forged, None)["spec"]["template"]["spec"]["hostNetwork"],
            true
        );
    }

    #[test]
    fn what_was_taken_out_of_a_body_is_not_lost() {
        let live = json!({"metadata":{"name":"web","namespace":"shop"},"data":{"a-real-key":"1","b":"2"}});
        let mut create = write(
            "create",
            json!({"metadata":{"name":"web"},"data":{"[redacted]":"1","b":"2"}}),
        );
        create.redacted = true;
        let made = touched("ConfigMap", vec![create]);
        assert_eq!(as_written(&made, &live, None), live);
    }

    #[test]
    fn lists_without_keys_are_paired_only_while_they_say_what_was_sent() {
        let rules =
            |extra: Value| json!({"metadata":{"name":"web","namespace":"shop"},"spec":{"ingress":extra}});
        let body =
            json!({"metadata":{"name":"web"},"spec":{"ingress":[{"ports":[{"port":80}]}],"podSelector":{}}});
        let mut same = rules(json!([{"ports":[{"port":80,"protocol":"TCP"}]}]));
        same["spec"]["podSelector"] = json!({});
        let made = touched("Deployment", vec![write("create", body)]);
        let mut wanted = rules(json!([{"ports":[{"port":80}]}]));
        wanted["spec"]["podSelector"] = json!({});
        assert_eq!(as_written(&made, &same, None), wanted);
        let other = rules(json!([{"ports":[{"port":81,"protocol":"TCP"}]}]));
        assert_eq!(
            as_written(&made, &other, None)["spec"]["ingress"],
            other["spec"]["ingress"]
        );
    }
}
