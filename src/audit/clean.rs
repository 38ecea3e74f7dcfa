//! Whether an event can be kept as it came: a walk through its bytes that builds nothing, and says yes only where
//! [`redact`](super::redact) would take nothing out. Where it is in doubt it says no, and the event is redacted.

use memchr::memchr2;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::{
    event::Event,
    redact::{self, Context, Redactor},
    scrub::{P, is_opaque, is_sensitive},
};
use crate::domain::canonical;

/// Longer events are built and redacted: few are, and most of those have something to be looked at.
const LONGEST: usize = 1 << 20;
/// Deeper is nobody's object.
const DEEPEST: u32 = 64;
/// How much text is remembered as clean, in bytes.
const REMEMBERED: usize = 1 << 20;
/// The longest text that is remembered.
const LONGEST_REMEMBERED: usize = 4 << 10;
/// Memories that wait for the next batch.
const SPARE: usize = 8;

static SPARES: Mutex<Vec<Fit>> = Mutex::new(Vec::new());

/// Makes events fit to be stored, and remembers which names and texts were looked at before: events are much alike.
#[derive(Debug, Default)]
pub struct Fit {
    keys: HashMap<Box<str>, Key>,
    texts: HashSet<Box<str>>,
    uris: HashSet<Box<str>>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    /// A value under it is a secret.
    sensitive: bool,
    /// It holds a token itself.
    token: bool,
}

impl Fit {
    /// One that an earlier batch left, or an empty one.
    pub(super) fn taken() -> Self {
        let mut spare = SPARES.lock().unwrap_or_else(PoisonError::into_inner);
        spare.pop().unwrap_or_default()
    }

    /// Leaves it to a later batch.
    pub(super) fn give_back(mut self) {
        if self.bytes > REMEMBERED {
            self = Self::default();
        }
        let mut spare = SPARES.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(self);
        }
    }

    /// What is stored of `raw`, which was read as `event`; `None` where that is `raw` itself.
    #[must_use]
    pub fn to_store(&mut self, raw: &[u8], event: &Event<'_>) -> Option<Vec<u8>> {
        (!self.is_clean(raw, event)).then(|| canonical::bytes(&redact::event(raw, event).event))
    }

    /// Whether `raw`, which was read as `event`, holds nothing that would be taken out.
    fn is_clean(&mut self, raw: &[u8], event: &Event<'_>) -> bool {
        let core = event.object_ref.as_ref().filter(|of| of.api_group.is_empty());
        let has_body = event.request_object.is_some() || event.response_object.is_some();
        let of_secrets = core.is_some_and(|of| matches!(&*of.resource, "secrets" | "configmaps"));
        if raw.len() > LONGEST || of_secrets && has_body || !self.is_clean_uri(&event.uri) {
            return false;
        }
        let Ok(text) = std::str::from_utf8(raw) else {
            return false;
        };
        let mut walk = Walk {
            text,
            at: 0,
            memory: self,
        };
        walk.object(0).is_some()
    }

    fn key(&mut self, name: &str) -> Key {
        if let Some(known) = self.keys.get(name) {
            return *known;
        }
        let key = Key {
            sensitive: is_sensitive(name),
            token: P.token.is_match(name),
        };
        if self.remember(name) {
            self.keys.insert(name.into(), key);
        }
        key
    }

    /// Whether a text stays as it is. `raw` is as it stands between its quotes.
    fn is_clean_text(&mut self, raw: &str) -> bool {
        if is_plain(raw) || self.texts.contains(raw) {
            return true;
        }
        let mut redactor = Redactor::default();
        match unescaped(raw) {
            Some(text) => redactor.string(&text, Context::default()),
            None => return false,
        };
        let clean = redactor.count == 0;
        if clean && self.remember(raw) {
            self.texts.insert(raw.into());
        }
        clean
    }

    fn is_clean_uri(&mut self, uri: &str) -> bool {
        if self.uris.contains(uri) {
            return true;
        }
        let mut redactor = Redactor::default();
        let clean = redactor.uri(uri) == uri && redactor.count == 0;
        if clean && self.remember(uri) {
            self.uris.insert(uri.into());
        }
        clean
    }

    fn remember(&mut self, text: &str) -> bool {
        if text.len() > LONGEST_REMEMBERED || self.bytes > REMEMBERED {
            return false;
        }
        self.bytes += text.len() + 64;
        true
    }
}

/// Ids, times, addresses and numbers: of these letters alone no name and no token can be made.
fn is_plain(raw: &str) -> bool {
    raw.bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-' | b':' | b'.' | b'T' | b'Z'))
}

/// The text that stands escaped between two quotes.
fn unescaped(raw: &str) -> Option<std::borrow::Cow<'_, str>> {
    if raw.contains('\\') {
        serde_json::from_str(&format!("\"{raw}\""))
            .ok()
            .map(std::borrow::Cow::Owned)
    } else {
        Some(raw.into())
    }
}

/// A walk through JSON that is known to be JSON. `None`: something is not clean.
struct Walk<'t, 'm> {
    text: &'t str,
    at: usize,
    memory: &'m mut Fit,
}

/// What was met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Met<'t> {
    /// A text, as it stands between its quotes.
    Text(&'t str),
    Object,
    Array,
    Boolean,
    /// A number, or nothing.
    Scalar,
}

impl<'t> Walk<'t, '_> {
    fn object(&mut self, depth: u32) -> Option<()> {
        let (mut value, mut op, mut path) = (false, false, false);
        let mut names = [""; 4];
        let mut count = 0;
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.blank();
            let name = self.quoted()?;
            if name.contains('\\') || name == "binaryData" {
                return None;
            }
            let key = self.memory.key(name);
            if key.token {
                return None;
            }
            self.expect(b':')?;
            let met = if depth == 0 && name == "requestURI" {
                // By rules of its own, above.
                self.blank();
                Met::Text(self.quoted()?)
            } else {
                self.value(depth + 1)?
            };
            if key.sensitive && !matches!(met, Met::Object | Met::Boolean) {
                return None;
            }
            match (name, met) {
                ("kind", Met::Text(kind)) if is_secretive(kind) => return None,
                ("name" | "key" | "header", Met::Text(text)) => {
                    *names.get_mut(count)? = text;
                    count += 1;
                }
                ("value", Met::Text(text)) => {
                    if is_opaque(&unescaped(text)?) {
                        return None;
                    }
                    value = true;
                }
                ("value", _) => value = true,
                ("op", _) => op = true,
                ("path", _) => path = true,
                _ => {}
            }
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        if value && op && path {
            return None;
        }
        for name in names.iter().take(if value { count } else { 0 }) {
            if is_sensitive(&unescaped(name)?) {
                return None;
            }
        }
        Some(())
    }

    /// A list of texts may be a command line.
    fn array(&mut self, depth: u32) -> Option<()> {
        self.expect(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        let mut first = None;
        loop {
            if let Met::Text(raw) = self.value(depth + 1)? {
                let text = unescaped(raw)?;
                if let Some(option) = text.strip_prefix('-') {
                    let short = first.is_some_and(|first: &str| {
                        let name = first.rsplit('/').next().unwrap_or_default();
                        first.contains('\\') || P.program_name.is_match(name)
                    });
                    if short || self.memory.key(option.trim_start_matches('-')).sensitive {
                        return None;
                    }
                }
                first = first.or(Some(raw));
            }
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    fn value(&mut self, depth: u32) -> Option<Met<'t>> {
        if depth > DEEPEST {
            return None;
        }
        match self.peek()? {
            b'{' => self.object(depth).map(|()| Met::Object),
            b'[' => self.array(depth).map(|()| Met::Array),
            b'"' => {
                let text = self.quoted()?;
                self.memory.is_clean_text(text).then_some(Met::Text(text))
            }
            first => {
                let rest = &self.text.as_bytes()[self.at..];
                let end = rest
                    .iter()
                    .position(|b| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace());
                self.at += end.unwrap_or(rest.len());
                Some(if matches!(first, b't' | b'f') {
                    Met::Boolean
                } else {
                    Met::Scalar
                })
            }
        }
    }

    /// What stands between quotes, escapes and all.
    fn quoted(&mut self) -> Option<&'t str> {
        self.expect(b'"')?;
        let from = self.at;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let stop = memchr2(b'"', b'\\', rest)?;
            if rest[stop] == b'"' {
                self.at += stop + 1;
                return self.text.get(from..self.at - 1);
            }
            self.at += stop + 2;
        }
    }

    fn blank(&mut self) {
        while self
            .text
            .as_bytes()
            .get(self.at)
            .is_some_and(u8::is_ascii_whitespace)
        {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.blank();
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }
}

/// Kinds whose values are looked at by rules of their own. One that is written with escapes could be any.
fn is_secretive(kind: &str) -> bool {
    let kinds = ["Secret", "SecretList", "ConfigMap", "ConfigMapList"];
    kind.contains('\\') || kinds.iter().any(|one| one.eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    use super::super::event;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const REAL: &[u8] = include_bytes!("../../tests/fixtures/audit/kubectl-1.36.json");

    fn real() -> Vec<Value> {
        let list: Value = serde_json::from_slice(REAL).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// Clean, and then what is redacted of it is the same; or not clean.
    fn judged(event: &Value) -> bool {
        let raw = event.to_string();
        let Ok(head) = event::parse(raw.as_bytes()) else {
            return false;
        };
        let clean = Fit::default().is_clean(raw.as_bytes(), &head);
        let redacted = redact::event(raw.as_bytes(), &head);
        if clean {
            assert!(redacted.count == 0 && !redacted.unreadable, "{raw}");
            assert_eq!(
                canonical::bytes(&redacted.event),
                canonical::bytes(event),
                "{raw}"
            );
        }
        clean
    }

    #[test]
    fn most_of_what_happens_is_clean_and_stays_as_it_is() {
        let events = real();
        let clean = events.iter().filter(|event| judged(event)).count();
        assert!(clean * 3 > events.len(), "{clean} of {}", events.len());
    }

    fn hostile() -> impl Strategy<Value = Value> {
        let word = prop_oneof![
            Just("password".to_owned()),
            Just("apiKey".to_owned()),
            Just("name".to_owned()),
            Just("value".to_owned()),
            Just("kind".to_owned()),
            Just("Secret".to_owned()),
            Just("ConfigMap".to_owned()),
            Just("data".to_owned()),
            Just("binaryData".to_owned()),
            Just("op".to_owned()),
            Just("path".to_owned()),
            Just("/data/token".to_owned()),
            Just("--token".to_owned()),
            Just("-pX".to_owned()),
            Just("mysql".to_owned()),
            Just("mysql -phunter2".to_owned()),
            Just("password: hunter2".to_owned()),
            Just("postgres://a:hunter2@db".to_owned()),
            Just("ghp_0123456789abcdef0123".to_owned()),
            Just("0123456789abcdef0123456789abcdef".to_owned()),
            Just("{\"password\":\"hunter2\"}".to_owned()),
            Just("{\"replicas\":\"2\"}".to_owned()),
            Just("kind: Secret\ndata: x".to_owned()),
            Just("line\nline \"quoted\" \u{1f600}".to_owned()),
            "[a-zA-Z0-9_./:= -]{0,12}",
        ];
        let leaf = prop_oneof![
            word.clone().prop_map(Value::from),
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((word.clone(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]
        /// Whatever stands in it: what passes as clean is what redaction leaves alone.
        #[test]
        fn nothing_that_redaction_takes_out_passes_as_clean(
            body in hostile(), extra in hostile(), uri in "/api/v1/[a-z]{0,5}(\\?[a-zA-Z=&%0-9]{0,20})?",
            resource in prop_oneof![Just("pods"), Just("secrets"), Just("configmaps")],
        ) {
            let mut event = json!({
                "level": "RequestResponse", "auditID": "a", "stage": "ResponseComplete", "requestURI": uri,
                "verb": "update", "user": {"username": "system:node:one", "groups": ["a", "b"]},
                "objectRef": {"resource": resource, "namespace": "shop", "name": "web"},
                "requestReceivedTimestamp": "2026-03-01T10:00:00.123456Z",
                "stageTimestamp": "2026-03-01T10:00:00.130000Z", "other": extra,
            });
            judged(&event);
            event["requestObject"] = body;
            judged(&event);
        }
    }

    #[test]
    fn a_whole_list_of_one_secret_in_many_is_not_clean() {
        let mut event = real().into_iter().find(judged).unwrap();
        event["responseObject"] =
            json!({"kind": "List", "items": [{"kind": "Pod"}, {"kind": "secret", "data": {"a": "b"}}]});
        assert!(!judged(&event));
    }
}
