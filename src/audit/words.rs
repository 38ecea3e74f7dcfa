//! One plain sentence an action, for the page and for notices. Built from what is redacted
//! already, and from nothing the client merely claims (the user agent).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Write as _;

use super::{
    classify::{Class, Classified, Flag, Stream},
    event::Event,
    object::Object,
};

/// Longest piece of a sentence, in characters.
const LONGEST: usize = 200;
/// More changed fields than this are counted, not named.
const MOST_FIELDS: usize = 3;

/// An action in words. Each piece is at most 200 characters, one line, without characters that
/// move or hide text; it is still text by strangers, to be escaped like any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// "scaled", "read", "was refused", "may have deleted".
    pub verb: String,
    /// "Deployment payments/web".
    pub object: String,
    /// "to 5 replicas", "limits.memory = 1Gi", the command of an exec; may be empty.
    pub detail: String,
    /// All of it.
    pub text: String,
}

impl Words {
    /// The same, done as `account` by what the session got hold of.
    pub(super) fn by_another(self, account: &str, by: &str) -> Self {
        let detail = piece(&join(&[&self.detail, &format!("as {account}, from {by}")]));
        let text = piece(&format!("{} (as {account}, from {by})", self.text));
        Self { detail, text, ..self }
    }
}

/// Says what was done. `uri` and both bodies are redacted.
#[must_use]
pub(super) fn say(
    event: &Event<'_>,
    class: Classified,
    object: Option<&Object>,
    uri: &str,
    body: Option<&Value>,
    answer: Option<&Value>,
) -> Words {
    let sub = object
        .and_then(|object| object.subresource.as_deref())
        .unwrap_or_default();
    let (done, mut detail) = deed(event, class, sub, uri, body, answer);
    let code = event.code();
    let verb = if class.flags.has(Flag::Denied) {
        detail = join(&[infinitive(&event.verb, sub), &detail]);
        "was refused".to_owned()
    } else if class.flags.has(Flag::DryRun) {
        detail = join(&[infinitive(&event.verb, sub), "nothing was stored", &detail]);
        "tried as a dry run".to_owned()
    } else if class.uncertain {
        format!("may have {done}")
    } else if class.flags.has(Flag::Failed) {
        detail = join(&[
            infinitive(&event.verb, sub),
            &code.map(|code| format!("answer {code}")).unwrap_or_default(),
            &detail,
        ]);
        "failed".to_owned()
    } else {
        done.to_owned()
    };
    if let Some(other) = &event.impersonated_user {
        detail = join(&[&format!("as {}", &*other.username), &detail]);
    }
    if class.stream == Stream::Closed {
        detail = join(&[&detail, "ended"]);
    }
    let what = match object {
        Some(object) => [object.kind(), object.path()].join(" ").trim_end().to_owned(),
        None => uri.split('?').next().unwrap_or_default().to_owned(),
    };
    let (verb, what, detail) = (piece(&verb), piece(&what), piece(&detail));
    let sentence = match (verb.as_str(), detail.is_empty()) {
        ("was refused" | "tried as a dry run" | "failed", _) => {
            let (first, rest) = detail.split_once(", ").unwrap_or((&detail, ""));
            let rest = if rest.is_empty() {
                String::new()
            } else {
                format!(" ({rest})")
            };
            format!("{verb}: {first} {what}{rest}")
        }
        (_, true) => format!("{verb} {what}"),
        ("scaled", _) => format!("{verb} {what} {detail}"),
        _ => format!("{verb} {what}: {detail}"),
    };
    Words {
        verb,
        object: what,
        detail,
        text: piece(&sentence),
    }
}

fn deed(
    event: &Event<'_>,
    class: Classified,
    sub: &str,
    uri: &str,
    body: Option<&Value>,
    answer: Option<&Value>,
) -> (&'static str, String) {
    let none = String::new();
    match (&*event.verb, sub) {
        (_, "exec") => {
            let command = command_line(uri);
            let verb = if class.flags.has(Flag::Copy) {
                "copied files (tar) in"
            } else {
                "exec in"
            };
            (verb, join(&[&command, &parameter(uri, "container")]))
        }
        (_, "attach") => ("attached to", parameter(uri, "container")),
        (_, "portforward") => ("forwarded a port of", parameter(uri, "ports")),
        (_, "proxy") => ("reached through the proxy", uri.to_owned()),
        (_, "log") => ("read the logs of", parameter(uri, "container")),
        ("create", "eviction") => ("evicted", none),
        ("create", "token") => ("had a token issued for", none),
        (_, "ephemeralcontainers") if class.class == Class::Debug => {
            ("put a debug container into", images(body))
        }
        ("update" | "patch", "scale") => ("scaled", replicas(body, answer)),
        ("patch", _) if body.is_some_and(is_restart) => ("restarted", none),
        ("create", _) => ("created", none),
        ("update", "") => ("replaced", none),
        ("update", sub) => ("changed", format!("its {sub}")),
        ("patch", _) => ("changed", body.map(fields).unwrap_or_default()),
        ("delete", _) => ("deleted", none),
        ("deletecollection", _) => ("deleted all of", selector(uri)),
        ("list", _) => ("listed", selector(uri)),
        ("watch", _) => ("watched", selector(uri)),
        _ => ("read", none),
    }
}

const fn infinitive_of(verb: &[u8]) -> &'static str {
    match verb {
        b"create" => "create",
        b"update" => "replace",
        b"patch" => "change",
        b"delete" => "delete",
        b"deletecollection" => "delete all of",
        b"list" => "list",
        b"watch" => "watch",
        _ => "read",
    }
}

fn infinitive(verb: &str, sub: &str) -> &'static str {
    match sub {
        "exec" => "exec in",
        "attach" => "attach to",
        "portforward" => "forward a port of",
        "proxy" => "reach through the proxy",
        "log" => "read the logs of",
        "eviction" => "evict",
        "token" => "have a token issued for",
        "scale" if matches!(verb, "update" | "patch") => "scale",
        "ephemeralcontainers" if matches!(verb, "update" | "patch") => "put a debug container into",
        _ => infinitive_of(verb.as_bytes()),
    }
}

fn query(uri: &str) -> impl Iterator<Item = (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)> {
    url::form_urlencoded::parse(uri.split_once('?').map_or("", |(_, query)| query).as_bytes())
}

fn parameter(uri: &str, name: &str) -> String {
    let found = query(uri).find(|(key, value)| key == name && !value.is_empty());
    found
        .map(|(_, value)| format!("{} {value}", name.trim_end_matches('s')))
        .unwrap_or_default()
}

fn selector(uri: &str) -> String {
    let picks = query(uri).filter(|(key, _)| matches!(&**key, "labelSelector" | "fieldSelector"));
    picks
        .map(|(_, value)| value.into_owned())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The words of the command, quoted where a shell would need it, so that `sh -c "a b"` cannot be
/// mistaken for `sh -c a b`.
fn command_line(uri: &str) -> String {
    let mut line = String::new();
    for (_, word) in query(uri).filter(|(key, _)| key == "command") {
        if !line.is_empty() {
            line.push(' ');
        }
        let plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+[]".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            line.push_str(&word);
        } else {
            let _ = write!(line, "'{}'", word.replace('\'', r"'\''"));
        }
    }
    line
}

fn images(body: Option<&Value>) -> String {
    let at = body
        .and_then(|body| body.pointer("/spec/ephemeralContainers"))
        .and_then(Value::as_array);
    let images = at
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("image")?.as_str());
    images.collect::<Vec<_>>().join(", ")
}

/// "to 5 replicas", from the Scale that came back or the one that was sent. A Scale's `status`
/// says how many ran at that moment, which is not what was asked for before: said as such.
fn replicas(body: Option<&Value>, answer: Option<&Value>) -> String {
    let number = |value: Option<&Value>, path: &str| value.and_then(|value| value.pointer(path)?.as_u64());
    let patched = || {
        let ops = body?.as_array()?;
        ops.iter()
            .find(|op| op.get("path").and_then(Value::as_str) == Some("/spec/replicas"))?
            .get("value")?
            .as_u64()
    };
    let to = number(answer, "/spec/replicas")
        .or_else(|| number(body, "/spec/replicas"))
        .or_else(patched);
    match (to, number(answer, "/status/replicas")) {
        (Some(to), Some(running)) if to != running => format!("to {to} replicas ({running} running then)"),
        (Some(1), _) => "to 1 replica".to_owned(),
        (Some(to), _) => format!("to {to} replicas"),
        (None, _) => String::new(),
    }
}

fn is_restart(body: &Value) -> bool {
    let path = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
    body.pointer(path).is_some_and(Value::is_string)
}

/// The fields a patch sets: "limits.memory = 1Gi", at most three, the rest counted.
fn fields(body: &Value) -> String {
    let mut found = Vec::new();
    match body {
        Value::Array(operations) => {
            for operation in operations {
                let part = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
                let value = operation
                    .get("value")
                    .map(|value| format!(" = {}", scalar(value)))
                    .unwrap_or_default();
                found.push(format!("{} {}{value}", part("op"), part("path")));
            }
        }
        body => leaves(body, &mut Vec::new(), &mut found),
    }
    let more = found.len().saturating_sub(MOST_FIELDS);
    found.truncate(MOST_FIELDS);
    let mut said = found.join(", ");
    if more > 0 {
        let _ = write!(said, " and {more} more");
    }
    said
}

fn leaves<'v>(value: &'v Value, path: &mut Vec<&'v str>, found: &mut Vec<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let noise = key.starts_with('$')
                    || matches!(key.as_str(), "apiVersion" | "kind")
                    || key == "kubectl.kubernetes.io/last-applied-configuration"
                    || key == "name" && map.len() > 1;
                if !noise {
                    path.push(key);
                    leaves(value, path, found);
                    path.pop();
                }
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                // An environment variable: its name says more than "value".
                if let (Some(Value::String(name)), Some(value)) = (item.get("name"), item.get("value")) {
                    let list = path.last().copied().unwrap_or_default();
                    found.push(format!("{list}.{name} = {}", scalar(value)));
                    continue;
                }
                leaves(item, path, found);
            }
        }
        leaf => {
            let shown = path[path.len().saturating_sub(2)..].join(".");
            found.push(if leaf.is_null() {
                format!("{shown} removed")
            } else {
                format!("{shown} = {}", scalar(leaf))
            });
        }
    }
}

fn scalar(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    cut(&text, 60)
}

fn join(parts: &[&str]) -> String {
    parts
        .iter()
        .filter(|part| !part.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn piece(text: &str) -> String {
    shown(text, LONGEST)
}

/// At most `longest` characters, none of them hidden.
pub(super) fn shown(text: &str, longest: usize) -> String {
    cut(&visible(&cut(text, longest)), longest)
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest - 1).chain(['…']).collect(),
    }
}

/// Whether a reader would not see `c`, or `c` moves others about: controls, line and direction marks,
/// zero widths, fillers, variation selectors, tags, and what is no character at all (XML cannot hold
/// U+FFFE and U+FFFF). Every surface asks this one list.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control()
        || code & 0xFFFE == 0xFFFE
        || matches!(code,
            0xAD | 0x34F | 0x61C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
            | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFDD0..=0xFDEF | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0
            | 0xFFF0..=0xFFFB | 0xE0000..=0xE0FFF)
}

/// Writes out every character that a reader would not see or that moves others about: controls,
/// line and direction marks, zero widths, tags. An object's name could otherwise hide or reverse
/// part of a sentence in a notice or a terminal.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ if is_hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}
