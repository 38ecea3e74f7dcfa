//! The file as a tree that remembers where everything stands, so that a problem found late can
//! still point at its line.

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// A place in the file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub line: u64,
    pub column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool,
    Integer(i128),
    Fraction,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub place: Place,
    pub name: String,
}

/// One step from a value into it.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<&String> for Step {
    fn from(key: &String) -> Self {
        Self::Key(key.clone())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// `profiles.payments.approvers[0]`.
pub(super) fn field_path(steps: &[Step]) -> String {
    use fmt::Write;
    let mut path = String::new();
    for step in steps {
        let _ = match step {
            Step::Key(key) if path.is_empty() => write!(path, "{key}"),
            Step::Key(key) => write!(path, ".{key}"),
            Step::Index(index) => write!(path, "[{index}]"),
        };
    }
    path
}

impl Node {
    /// Parses `text`. The error is the parser's, without any of the text in it, which may hold what
    /// should have been a secret.
    pub(super) fn parse(text: &str) -> Result<Self, (String, Place)> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let error = error.without_snippet();
            let place = error.location().map_or(Place { line: 0, column: 0 }, Place::from);
            (error.to_string(), place)
        })
    }

    /// What kind of thing it is, to stand after "found".
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool => "a boolean",
            Value::Integer(_) => "a whole number",
            Value::Fraction => "a number with a fraction",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Where `steps` leads; where it ends early (a default stands in the program alone), the last
    /// place on the way.
    pub(super) fn place(&self, steps: &[Step]) -> Place {
        let (mut node, mut place) = (self, self.place);
        for step in steps {
            let next = match (step, &node.value) {
                (Step::Key(name), Value::Map(fields)) => fields
                    .iter()
                    .find(|(key, _)| key.name == *name)
                    .map(|(key, child)| (child, if child.is_block() { key.place } else { child.place })),
                (Step::Index(index), Value::List(items)) => {
                    items.get(*index).map(|child| (child, child.place))
                }
                _ => None,
            };
            let Some((child, at)) = next else { break };
            (node, place) = (child, at);
        }
        place
    }

    /// Whether it spans lines, so that its key is the better place to point at.
    const fn is_block(&self) -> bool {
        matches!(self.value, Value::Map(_) | Value::List(_))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            place: spanned.referenced.into(),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> de::Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Bool)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Fraction)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Node>()? {
            fields.push((
                Key {
                    place: key.referenced.into(),
                    name: key.value,
                },
                value,
            ));
        }
        Ok(Value::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let tree = Node::parse("a:\n  - x: 1\n    y: [two, true]\nb: {c: ~}\n").unwrap();
        let at = |steps: &[Step]| (tree.place(steps).line, tree.place(steps).column);
        assert_eq!(at(&["a".into(), 0.into(), "x".into()]), (2, 8));
        assert_eq!(at(&["a".into(), 0.into(), "y".into(), 1.into()]), (3, 14));
        assert_eq!(at(&["b".into()]), (4, 1));
        assert_eq!(at(&["b".into(), "missing".into()]), (4, 1));
        assert_eq!(field_path(&["a".into(), 0.into(), "x".into()]), "a[0].x");
    }

    #[test]
    fn a_syntax_error_has_a_place_and_repeats_nothing() {
        let (why, place) = Node::parse("a: 1\nb: 'hunter2\nc: 3\n").unwrap_err();
        assert!(place.line >= 2, "{why}");
        assert!(!why.contains("hunter2"), "{why}");
        let (why, place) = Node::parse("a: 1\na: 2\n").unwrap_err();
        assert_eq!(place.line, 2, "{why}");
    }
}
