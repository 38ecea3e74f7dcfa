//! The exact inverse of what drifted, as commands that a person runs with access of their own.
//!
//! Each command is made from the captured versions alone, touches the captured paths and nothing else, and
//! is tried here on the captured version first: only one that leads back to the version before is shown.
//! It is plain ASCII, and nothing of an object can step out of its quotes.

use super::defaults::without_defaults;
use super::diff::{Change, same};
use super::normalise::normalise;
use super::object::ObjectRef;
use super::path::{Path, Step, item_matches};
use super::secret_like::looks_secret;
use super::touched::{Drift, EditAction, Observed, Touched};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// A patch longer than this goes to the command's input: one argument of a command has a limit.
const LONGEST_ARGUMENT: usize = 8_192;
/// Ends an input. No line of JSON as it is written here can be the same.
const END_OF_INPUT: &str = "END_OF_OBJECT";

/// The way back for one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inverse {
    /// The object.
    pub object: ObjectRef,
    /// The command for what one can bring back.
    pub command: Option<String>,
    /// What is left to do by hand, in sentences.
    pub by_hand: Option<String>,
}

/// The way back for everything in `drift`, an entry an edited object and one a manual item's object that
/// has no edit.
#[must_use]
pub fn inverse(touched: &[(Touched, Observed)], drift: &Drift) -> Vec<Inverse> {
    let mut out: Vec<Inverse> = Vec::new();
    for edit in &drift.edits {
        let found = touched
            .iter()
            .find(|(touched, _)| touched.object() == edit.object);
        let command = match found {
            Some((touched, observed)) => command(touched, observed, &edit.action),
            None => Err("What it was before is not known any more.".to_owned()),
        };
        out.push(Inverse {
            object: edit.object.clone(),
            by_hand: command.as_ref().err().cloned(),
            command: command.ok(),
        });
    }
    for item in &drift.manual {
        let fields = match item.paths.as_slice() {
            [] => "it".to_owned(),
            paths => paths.join(", "),
        };
        let by_hand = if item.object.gvk.is_secret() {
            "Its value is never read: bring it back at its source.".to_owned()
        } else {
            format!("Bring {fields} back by hand.")
        };
        match out.iter_mut().find(|known| known.object == item.object) {
            Some(known) => {
                let all = known.by_hand.get_or_insert_default();
                if !all.is_empty() {
                    all.push(' ');
                }
                all.push_str(&by_hand);
            }
            None => out.push(Inverse {
                object: item.object.clone(),
                command: None,
                by_hand: Some(by_hand),
            }),
        }
    }
    out
}

fn command(touched: &Touched, observed: &Observed, action: &EditAction) -> Result<String, String> {
    if touched.gvk.is_secret() {
        return Err("Its value is never read: bring it back at its source.".to_owned());
    }
    let target = target(touched)?;
    match action {
        EditAction::Create(_) => Ok(format!("kubectl delete {target}")),
        EditAction::Remove => {
            let unknown = || "What it was before is not known any more.".to_owned();
            let before = observed.before.as_ref().ok_or_else(unknown)?;
            let before = normalise(&touched.gvk, before, observed.autoscaler.is_some());
            let mut manifest = without_defaults(&touched.gvk, &before);
            if looks_secret(&Path::default(), &manifest) {
                return Err("It holds a value that looks secret: make it again from git.".to_owned());
            }
            manifest["apiVersion"] = Value::from(touched.gvk.api_version());
            manifest["kind"] = Value::from(touched.gvk.kind.as_str());
            Ok(format!("kubectl create {}", input("-f -", &lines(&manifest)?)))
        }
        EditAction::Change(changes) => {
            let after = observed
                .after
                .as_ref()
                .ok_or_else(|| "It is not there any more.".to_owned())?;
            if changes.iter().any(|change| {
                let values = [&change.before, &change.after];
                values
                    .into_iter()
                    .flatten()
                    .any(|value| looks_secret(&change.path, value))
            }) {
                return Err("A value looks secret: bring it back from git.".to_owned());
            }
            let lists = changes
                .iter()
                .any(|change| change.path.0.iter().any(|step| matches!(step, Step::Item(_))));
            let (kind, patch) = if lists {
                let before = observed.before.as_ref().unwrap_or(&Value::Null);
                ("json", operations(changes, before, after)?)
            } else {
                ("merge", merge(changes, after)?)
            };
            let patch = ascii(&patch.to_string());
            let head = format!("kubectl patch {target} --type={kind}");
            Ok(if patch.len() > LONGEST_ARGUMENT {
                format!("{head} {}", input("--patch-file=/dev/stdin", &patch))
            } else {
                format!("{head} -p {}", quoted(&patch)?)
            })
        }
    }
}

/// `resource.version.group/name`, with the namespace before it: a name that begins with a dash is no option.
fn target(touched: &Touched) -> Result<String, String> {
    let gvk = &touched.gvk;
    let resource = if gvk.group.is_empty() {
        touched.resource.clone()
    } else {
        format!("{}.{}.{}", touched.resource, gvk.version, gvk.group)
    };
    let object = quoted(&format!("{resource}/{}", touched.name))?;
    Ok(match &touched.namespace {
        Some(namespace) => format!("{} {object}", quoted(&format!("--namespace={namespace}"))?),
        None => object,
    })
}

/// A merge patch from `after` back to before.
fn merge(changes: &[Change], after: &Value) -> Result<Value, String> {
    let mut patch = Value::Object(Map::new());
    for change in changes {
        let value = change.before.clone().unwrap_or(Value::Null);
        let own = change
            .path
            .key_names()
            .iter()
            .rev()
            .fold(value, |below, key| json!({ *key: below }));
        join(&mut patch, own);
    }
    let mut tried = after.clone();
    merged(&mut tried, &patch);
    proved(changes, &tried)?;
    Ok(patch)
}

fn join(all: &mut Value, own: Value) {
    match (all, own) {
        (Value::Object(all), Value::Object(own)) => {
            for (key, value) in own {
                match all.get_mut(&key) {
                    Some(known) => join(known, value),
                    None => {
                        all.insert(key, value);
                    }
                }
            }
        }
        (all, own) => *all = own,
    }
}

/// RFC 7396.
fn merged(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.shift_remove(key);
        } else {
            merged(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// A JSON patch from `after` back to before. Items of lists are addressed by index, so the patch first tests
/// that each is the one meant and that each value still is what the emergency left: after anybody else's
/// change it fails as a whole and does nothing.
fn operations(changes: &[Change], before: &Value, after: &Value) -> Result<Value, String> {
    let mut out: Vec<Value> = Vec::new();
    let mut tree = after.clone();
    for change in changes {
        let nowhere = || format!("{} cannot be addressed in a patch.", change.path);
        let (last, above) = change.path.0.split_last().ok_or_else(nowhere)?;
        let mut at = String::new();
        let mut here = &mut tree;
        for step in above {
            let (token, tests) = address(step, here).ok_or_else(nowhere)?;
            let _ = write!(at, "/{token}");
            out.extend(
                tests
                    .into_iter()
                    .map(|(key, value)| json!({"op": "test", "path": format!("{at}/{key}"), "value": value})),
            );
            here = match step {
                Step::Key(key) => here.get_mut(key),
                Step::Item(_) => token.parse::<usize>().ok().and_then(|index| here.get_mut(index)),
            }
            .ok_or_else(nowhere)?;
        }
        let test = |path: &str, value: &Value| json!({"op": "test", "path": path, "value": value});
        match (here, last) {
            (Value::Object(map), Step::Key(key)) => {
                let path = format!("{at}/{}", pointer(key));
                match (&change.before, map.get(key)) {
                    (Some(value), Some(now)) => {
                        out.push(test(&path, now));
                        out.push(json!({"op": "replace", "path": path, "value": value}));
                        map.insert(key.clone(), value.clone());
                    }
                    (Some(value), None) => {
                        out.push(json!({"op": "add", "path": path, "value": value}));
                        map.insert(key.clone(), value.clone());
                    }
                    (None, Some(now)) => {
                        out.push(test(&path, now));
                        out.push(json!({"op": "remove", "path": path}));
                        map.shift_remove(key);
                    }
                    (None, None) => {}
                }
            }
            (Value::Array(items), Step::Item(keys)) => {
                let now = items.iter().position(|item| item_matches(item, keys));
                match (&change.before, now) {
                    (Some(value), None) => {
                        let place = Path(above.to_vec());
                        let was = place.find(before).and_then(Value::as_array);
                        let was = was.and_then(|was| was.iter().position(|item| item_matches(item, keys)));
                        let index = was.unwrap_or(items.len()).min(items.len());
                        out.push(json!({"op": "add", "path": format!("{at}/{index}"), "value": value}));
                        items.insert(index, value.clone());
                    }
                    (None, Some(index)) => {
                        let path = format!("{at}/{index}");
                        out.push(test(&path, &items[index]));
                        out.push(json!({"op": "remove", "path": path}));
                        items.remove(index);
                    }
                    _ => return Err(nowhere()),
                }
            }
            _ => return Err(nowhere()),
        }
    }
    proved(changes, &tree)?;
    Ok(Value::Array(out))
}

/// A step as a token of a JSON pointer, with what says that it is the item meant.
type Address = (String, Vec<(String, Value)>);

fn address(step: &Step, here: &Value) -> Option<Address> {
    match step {
        Step::Key(key) => Some((pointer(key), Vec::new())),
        Step::Item(keys) => {
            let items = here.as_array()?;
            let index = items.iter().position(|item| item_matches(item, keys))?;
            let tests = keys
                .iter()
                .filter(|(key, _)| items[index].get(key).is_some())
                .map(|(key, value)| (pointer(key), value.clone()))
                .collect();
            Some((index.to_string(), tests))
        }
    }
}

fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Is everything as it was before?
fn proved(changes: &[Change], tried: &Value) -> Result<(), String> {
    let back = |change: &Change| match (change.path.find(tried), &change.before) {
        (Some(now), Some(before)) => same(&change.path, now, before),
        (now, before) => now.is_none() && before.is_none(),
    };
    match changes.iter().find(|change| !back(change)) {
        None => Ok(()),
        Some(change) => Err(format!(
            "{} has no sure way back: bring it back by hand.",
            change.path
        )),
    }
}

/// JSON in ASCII: what a terminal or a reader could take for something else is written as its number.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || (' '..='~').contains(&c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

fn lines(value: &Value) -> Result<String, String> {
    serde_json::to_string_pretty(value)
        .map(|json| ascii(&json))
        .map_err(|_| "It cannot be written down.".to_owned())
}

/// Hands `text` to a command as its input. Quoted, the shell reads nothing in it.
fn input(argument: &str, text: &str) -> String {
    format!("{argument} <<'{END_OF_INPUT}'\n{text}\n{END_OF_INPUT}")
}

/// One word of a POSIX shell. What is not printable is refused: a terminal may act on it when it is pasted.
fn quoted(word: &str) -> Result<String, String> {
    if !word.chars().all(|c| (' '..='~').contains(&c)) {
        return Err(
            "Its name has characters that cannot be pasted safely: bring it back by hand.".to_owned(),
        );
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    Ok(if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::diff;
    use super::super::object::{Gvk, ManualItem};
    use super::super::touched::ObjectEdit;
    use super::*;
    use proptest::prelude::*;

    fn object(name: &str) -> Touched {
        Touched {
            gvk: Gvk::new("apps", "v1", "Deployment"),
            lists: vec![],
            resource: "deployments".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
            writes: vec![],
        }
    }

    fn back(touched: &Touched, before: Option<Value>, after: Option<Value>) -> Result<String, String> {
        let action = match (&before, &after) {
            (Some(before), Some(after)) => EditAction::Change(diff(&touched.gvk, before, after).unwrap()),
            (Some(_), None) => EditAction::Remove,
            _ => EditAction::Create(Value::Null),
        };
        let drift = Drift {
            edits: vec![ObjectEdit {
                object: touched.object(),
                action,
            }],
            ..Drift::default()
        };
        let observed = Observed {
            before,
            after,
            ..Observed::default()
        };
        let own = inverse(&[(touched.clone(), observed)], &drift).remove(0);
        own.command.ok_or_else(|| own.by_hand.unwrap())
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers make it in place")]
    fn pods(containers: Value) -> Value {
        json!({"spec": {"replicas": 2, "template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn fields_go_back_by_a_merge_patch_and_only_the_touched_ones() {
        let before = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 2, "paused": true}});
        let after = json!({"metadata": {"labels": {"a": "1", "b/c": "2"}}, "spec": {"replicas": 5}});
        assert_eq!(
            back(&object("web"), Some(before), Some(after)).unwrap(),
            r#"kubectl patch --namespace=shop deployments.v1.apps/web --type=merge -p '{"metadata":{"labels":{"b/c":null}},"spec":{"replicas":2,"paused":true}}'"#
        );
    }

    #[test]
    fn items_go_back_only_while_they_are_the_ones_meant() {
        let before = pods(
            json!([{"name": "web", "image": "a:1", "env": [{"name": "A", "value": "1"}]}, {"name": "side"}]),
        );
        let after = pods(
            json!([{"name": "side"}, {"name": "web", "image": "a:2", "env": [{"name": "B", "value": "2"}]}]),
        );
        let command = back(&object("web"), Some(before), Some(after)).unwrap();
        let patch = command
            .split("--type=json -p '")
            .nth(1)
            .unwrap()
            .trim_end_matches('\'');
        let at = "/spec/template/spec/containers/1";
        let own = |path: &str| json!({"op": "test", "path": format!("{at}{path}"), "value": "web"});
        assert_eq!(
            serde_json::from_str::<Value>(patch).unwrap(),
            json!([
                own("/name"),
                {"op": "test", "path": format!("{at}/image"), "value": "a:2"},
                {"op": "replace", "path": format!("{at}/image"), "value": "a:1"},
                own("/name"),
                {"op": "add", "path": format!("{at}/env/0"), "value": {"name": "A", "value": "1"}},
                own("/name"),
                {"op": "test", "path": format!("{at}/env/1"), "value": {"name": "B", "value": "2"}},
                {"op": "remove", "path": format!("{at}/env/1")},
            ])
        );
    }

    #[test]
    fn created_goes_and_deleted_comes_back_without_the_server_s_own_fields() {
        let web = json!({"metadata": {"name": "web", "namespace": "shop", "uid": "1"}, "spec": {"replicas": 2}, "status": {}});
        assert_eq!(
            back(&object("web"), None, Some(web.clone())).unwrap(),
            "kubectl delete --namespace=shop deployments.v1.apps/web"
        );
        let command = back(&object("web"), Some(web), None).unwrap();
        let (head, rest) = command.split_once('\n').unwrap();
        assert_eq!(head, "kubectl create -f - <<'END_OF_OBJECT'");
        let manifest: Value = serde_json::from_str(rest.strip_suffix("\nEND_OF_OBJECT").unwrap()).unwrap();
        assert_eq!(
            manifest,
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": 2}})
        );
    }

    #[test]
    fn no_secret_is_ever_in_a_command() {
        let mut secret = object("db");
        secret.gvk = Gvk::new("", "v1", "Secret");
        let data = |value: &str| Some(json!({"metadata": {"name": "db"}, "data": {"db.password": value}}));
        let item = ManualItem {
            object: secret.object(),
            paths: vec![],
            why: String::new(),
            patch: None,
            how: String::new(),
        };
        let drift = Drift {
            manual: vec![item],
            ..Drift::default()
        };
        let out = inverse(&[(secret.clone(), Observed::default())], &drift);
        assert!(out[0].command.is_none() && out[0].by_hand.as_ref().unwrap().contains("never read"));
        let mut map = object("db");
        map.gvk = Gvk::new("", "v1", "ConfigMap");
        for (before, after) in [(data("hunter2"), data("hunter3")), (data("hunter2"), None)] {
            let why = back(&map, before, after).unwrap_err();
            assert!(!why.contains("hunter"), "{why}");
        }
    }

    #[test]
    fn a_long_patch_is_an_input() {
        let text = |c: &str| Some(json!({"data": {"page": c.repeat(9_000)}}));
        let command = back(&object("web"), text("a "), text("b ")).unwrap();
        assert!(command.contains(" --type=merge --patch-file=/dev/stdin <<'END_OF_OBJECT'\n{\"data\""));
        assert!(command.ends_with("\nEND_OF_OBJECT"));
    }

    #[test]
    fn a_name_that_a_terminal_would_act_on_has_no_command() {
        for name in ["a\u{1b}[2J", "a\nrm -rf x", "a\u{202e}b", "a\u{7f}"] {
            assert!(back(&object(name), None, Some(json!({}))).is_err(), "{name:?}");
        }
    }

    /// What `sh` makes of a command: its words, or the input after them.
    fn read_by_sh(command: &str) -> (Vec<String>, String) {
        let script = format!("kubectl() {{ printf '%s\\0' \"$@\"; printf '\\001'; cat; }}\n{command}\n");
        let mut child = std::process::Command::new("sh")
            .arg("-s")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
        let said = child.wait_with_output().unwrap();
        assert!(said.status.success());
        let said = String::from_utf8(said.stdout).unwrap();
        let (words, input) = said.split_once('\u{1}').unwrap();
        let words = words.split_terminator('\0').map(str::to_owned).collect();
        (words, input.to_owned())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_in_an_object_steps_out_of_its_quotes(
            name in "[ -~&&[^/]]{1,20}", text in r#"([ -~\n]|['"$`\\]|END_OF_OBJECT|\n){0,20}"#, long in any::<bool>(),
        ) {
            let value = |text: String| Some(json!({"metadata": {"name": "web"}, "data": {"page": text}}));
            let fill = if long { "x ".repeat(5_000) } else { String::new() };
            let Ok(command) = back(&object(&name), value(format!("{text}{fill}")), value(format!("{fill}after"))) else {
                return Ok(()); // what looks secret has none
            };
            let (words, input) = read_by_sh(&command);
            prop_assert_eq!(&words[..4], ["patch", "--namespace=shop", &format!("deployments.v1.apps/{name}"), "--type=merge"]);
            let patch = if long { input.as_str() } else { words[5].as_str() };
            let patch: Value = serde_json::from_str(patch).unwrap();
            prop_assert_eq!(patch, json!({"data": {"page": format!("{text}{fill}")}}));
        }
    }
}
