//! Takes out what must never be stored. Over-redaction costs a reader a word; a miss costs a
//! rotation, so where a rule is in doubt it redacts. What no rule can know (a password echoed as
//! a bare word inside a shell command) stays: the reveal page says so.

use serde_json::{Map, Value, value::RawValue};
use std::{borrow::Cow, collections::BTreeMap};

use super::{
    event::Event,
    object::Object,
    scrub::{P, is_opaque, is_sensitive},
};

/// What stands where something was taken out.
pub const MARK: &str = "[redacted]";
/// What stands for a body that is too large, too deep or no JSON.
const UNREADABLE: &str = "[not kept: unreadable]";
/// Larger than anything the API server stores (etcd: 1.5 MiB); lists beyond it lose their body only.
const MAX_OBJECT: usize = 4 << 20;
/// JSON inside a string inside JSON …: deeper nesting is nobody's manifest.
const MAX_NESTING: u8 = 4;

/// An event fit to be stored.
#[derive(Debug)]
pub struct Redacted {
    /// The event, structure kept.
    pub event: Value,
    /// Its URI, for words and keys.
    pub uri: String,
    /// How many values were taken out.
    pub count: u32,
    /// A body could not be read and was left out.
    pub unreadable: bool,
}

impl Redacted {
    /// What was asked: the request's body.
    pub(super) fn body(&self) -> Option<&Value> {
        self.event.get("requestObject")
    }

    /// What was answered.
    pub(super) fn answer(&self) -> Option<&Value> {
        self.event.get("responseObject")
    }

    /// What `head`, whose event this is, is about: by the name that the answer gave it, where it had none.
    pub(super) fn object(&self, head: &Event<'_>) -> Option<Object> {
        let generated = self
            .answer()
            .and_then(|answer| answer.pointer("/metadata/name")?.as_str());
        Object::of(head, generated).map(Object::scrubbed)
    }
}

/// Redacts the event whose bytes are `raw` and whose head is `head`.
#[must_use]
pub(super) fn event(raw: &[u8], head: &Event<'_>) -> Redacted {
    let mut redactor = Redactor::default();
    let uri = redactor.uri(&head.uri);
    let mut unreadable = false;
    let mut members = Map::new();
    let fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(raw).unwrap_or_default();
    let core = head.object_ref.as_ref().filter(|of| of.api_group.is_empty());
    let about = Context {
        secret: core.is_some_and(|of| *of.resource == *"secrets"),
        config: core.is_some_and(|of| *of.resource == *"configmaps"),
        nesting: 0,
    };
    for (name, value) in fields {
        if name == "requestURI" {
            members.insert(name.into_owned(), Value::String(uri.clone()));
            continue;
        }
        let is_body = matches!(&*name, "requestObject" | "responseObject");
        let text = value.get();
        let parsed = if text.len() > MAX_OBJECT {
            None
        } else {
            serde_json::from_str(text).ok()
        };
        let value = if let Some(mut value) = parsed {
            redactor.walk(&mut value, if is_body { about } else { Context::default() });
            value
        } else {
            unreadable = true;
            Value::String(UNREADABLE.to_owned())
        };
        members.insert(name.into_owned(), value);
    }
    Redacted {
        event: Value::Object(members),
        uri,
        count: redactor.count,
        unreadable,
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Context {
    secret: bool,
    config: bool,
    nesting: u8,
}

#[derive(Default)]
pub(super) struct Redactor {
    pub(super) count: u32,
}

impl Redactor {
    pub(super) fn mark(&mut self) -> String {
        self.count = self.count.saturating_add(1);
        MARK.to_owned()
    }

    /// Every scalar below `value` goes; keys and shape stay.
    fn blank(&mut self, value: &mut Value) {
        match value {
            Value::Null => {}
            Value::Object(map) => map.values_mut().for_each(|value| self.blank(value)),
            Value::Array(items) => items.iter_mut().for_each(|value| self.blank(value)),
            scalar => *scalar = Value::String(self.mark()),
        }
    }

    fn walk(&mut self, value: &mut Value, context: Context) {
        match value {
            Value::Object(map) => self.object(map, context),
            Value::Array(items) => {
                if items.iter().all(Value::is_string) {
                    let words = items.iter().filter_map(Value::as_str);
                    let clean = self.command(&words.collect::<Vec<_>>(), context);
                    *items = clean.into_iter().map(Value::String).collect();
                } else {
                    for item in items {
                        self.walk(item, context);
                    }
                }
            }
            Value::String(text) => *text = self.string(text, context),
            _ => {}
        }
    }

    fn object(&mut self, map: &mut Map<String, Value>, mut context: Context) {
        let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
        context.secret |= kind.eq_ignore_ascii_case("Secret") || kind.eq_ignore_ascii_case("SecretList");
        context.config |=
            kind.eq_ignore_ascii_case("ConfigMap") || kind.eq_ignore_ascii_case("ConfigMapList");
        let named = ["name", "key", "header"]
            .iter()
            .filter_map(|key| map.get(*key)?.as_str())
            .any(is_sensitive);
        let pointer = match (map.get("op"), map.get("path")) {
            (Some(Value::String(_)), Some(Value::String(path))) => Some(path.clone()),
            _ => None,
        };
        let mut keys_changed = false;
        for (key, value) in map.iter_mut() {
            let holds_data = matches!(key.as_str(), "data" | "stringData" | "binaryData");
            let leaf = !value.is_object() && !value.is_boolean();
            keys_changed |= P.token.is_match(key);
            if key == "binaryData" || context.secret && holds_data {
                self.blank(value);
            } else if let (Some(pointer), "value") = (&pointer, key.as_str()) {
                self.patched(value, pointer, context);
            } else if leaf && !value.is_array() && (is_sensitive(key) || named && key == "value")
                || value.is_array() && is_sensitive(key) && key != "secrets"
            {
                self.blank(value);
            } else if context.config && key == "data" {
                if let Value::Object(data) = value {
                    data.iter_mut()
                        .for_each(|(name, value)| self.config_value(name, value, context));
                }
            } else if key == "value" && value.as_str().is_some_and(is_opaque) {
                self.blank(value);
            } else {
                self.walk(value, context);
            }
        }
        if keys_changed {
            let old = std::mem::take(map);
            for (key, value) in old {
                let key = self.text(&key).into_owned();
                map.insert(key, value);
            }
        }
    }

    /// The value of a JSON patch operation at `pointer`.
    fn patched(&mut self, value: &mut Value, pointer: &str, context: Context) {
        let top = pointer.split('/').nth(1).unwrap_or_default();
        let last = pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/");
        let in_data = matches!(top, "data" | "stringData" | "binaryData");
        let scalar = !value.is_object() && !value.is_array() && !value.is_boolean();
        if context.secret && in_data || top == "binaryData" || scalar && is_sensitive(&last) {
            self.blank(value);
        } else if context.config && in_data {
            match value {
                Value::Object(data) => {
                    data.iter_mut()
                        .for_each(|(name, value)| self.config_value(name, value, context));
                }
                value => self.config_value(&last, value, context),
            }
        } else if value.as_str().is_some_and(is_opaque) {
            self.blank(value);
        } else {
            self.walk(value, context);
        }
    }

    fn config_value(&mut self, name: &str, value: &mut Value, context: Context) {
        if is_sensitive(name) || value.as_str().is_some_and(is_opaque) {
            self.blank(value);
        } else {
            self.walk(value, context);
        }
    }

    pub(super) fn string(&mut self, text: &str, mut context: Context) -> String {
        let trimmed = text.trim_start();
        if trimmed.starts_with(['{', '[']) {
            context.nesting += 1;
            let before = self.count;
            match serde_json::from_str::<Value>(trimmed) {
                _ if context.nesting > MAX_NESTING => return self.mark(),
                Ok(mut value) => {
                    self.walk(&mut value, context);
                    return if self.count == before {
                        text.to_owned()
                    } else {
                        value.to_string()
                    };
                }
                Err(_) if context.secret || trimmed.contains("Secret") => return self.mark(),
                Err(_) => {}
            }
        }
        if P.manifest.is_match(text) {
            return self.mark();
        }
        self.text(text).into_owned()
    }
}
