//! Editing a YAML file in place: comments, layout and quoting stay.

use super::prove::{Refused, prove, prove_removed};
use super::read;
use serde_json::Value;
use std::str::FromStr;
use yaml_edit::{Document, Mapping, ScalarStyle, ScalarValue, Sequence, YamlFile};

/// A step to a place in one concrete document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// A key of a mapping.
    Key(String),
    /// An item of a list.
    Index(usize),
}

/// One edit of one document.
#[derive(Clone, PartialEq)]
pub enum Op {
    /// Set what stands there, or add the key at the end of its mapping.
    Set {
        /// The place.
        at: Vec<At>,
        /// The value it gets.
        value: Value,
    },
    /// Insert an item into a list before the one at this index, or at its end.
    Insert {
        /// The list and the index.
        at: Vec<At>,
        /// The item.
        value: Value,
    },
    /// Remove a key or an item.
    Remove {
        /// The place.
        at: Vec<At>,
    },
}

/// Does `op` in document `index` (empty ones not counted) and returns the proven new text.
pub fn apply(text: &str, index: usize, op: &Op) -> Result<String, Refused> {
    apply_with(text, index, op, edited)
}

/// [`apply`] with the editor as a parameter, so that tests can break it.
fn apply_with(
    text: &str,
    index: usize,
    op: &Op,
    editor: impl Fn(&str, usize, &Op) -> Result<String, Refused>,
) -> Result<String, Refused> {
    let crlf = text.contains("\r\n");
    if crlf && text.matches('\n').count() != text.matches("\r\n").count() {
        return Err(Refused::because("the file mixes two kinds of line ends"));
    }
    let plain = if crlf {
        text.replace("\r\n", "\n")
    } else {
        text.to_owned()
    };
    let ends = plain.ends_with('\n');
    let whole = if ends { plain.clone() } else { format!("{plain}\n") };
    let mut new = editor(&whole, index, op)?;
    if !ends && new.ends_with('\n') {
        new.pop();
    }
    prove(&plain, &new, index, op)?;
    Ok(if crlf { new.replace('\n', "\r\n") } else { new })
}

fn parse(text: &str) -> Result<YamlFile, Refused> {
    let file = YamlFile::from_str(text).map_err(|_| Refused::because("the editor cannot read the file"))?;
    if file.to_string() == text {
        Ok(file)
    } else {
        Err(Refused::because("the editor cannot keep the file as it is"))
    }
}

/// The document with this index, empty ones not counted, as the other parser counts them.
fn nth(file: &YamlFile, index: usize) -> Result<Document, Refused> {
    file.documents()
        .filter(|document| {
            document.as_mapping().is_some()
                || document.as_sequence().is_some()
                || document.as_scalar().is_some()
        })
        .nth(index)
        .ok_or_else(|| Refused::because("the editor counts other documents"))
}

enum Node {
    Mapping(Mapping),
    Sequence(Sequence),
}

fn edited(text: &str, index: usize, op: &Op) -> Result<String, Refused> {
    let file = parse(text)?;
    let document = nth(&file, index)?;
    let nowhere =
        || Refused::because("the editor cannot find the place (an alias or a merged key stands there)");
    let (Op::Set { at, .. } | Op::Insert { at, .. } | Op::Remove { at }) = op;
    let (last, above) = at.split_last().ok_or_else(nowhere)?;
    let mut node = Node::Mapping(document.as_mapping().ok_or_else(nowhere)?);
    for step in above {
        let below = match (&node, step) {
            (Node::Mapping(mapping), At::Key(key)) => mapping.get(key.as_str()),
            (Node::Sequence(sequence), At::Index(index)) => sequence.get(*index),
            _ => None,
        }
        .ok_or_else(nowhere)?;
        node = match (below.as_mapping(), below.as_sequence()) {
            (Some(mapping), _) => Node::Mapping(mapping.clone()),
            (_, Some(sequence)) => Node::Sequence(sequence.clone()),
            _ => return Err(nowhere()),
        };
    }
    match (op, node, last) {
        (Op::Set { value, .. }, Node::Mapping(mapping), At::Key(key)) => {
            let style = mapping
                .get(key.as_str())
                .as_ref()
                .and_then(|old| old.as_scalar().map(ScalarValue::from_scalar))
                .map(|old| old.style());
            match built(value, style)? {
                Built::Scalar(scalar) => mapping.set(key.as_str(), scalar),
                Built::Tree(tree) => match (tree.as_mapping(), tree.as_sequence()) {
                    (Some(below), _) => mapping.set(key.as_str(), below),
                    (_, Some(below)) => mapping.set(key.as_str(), below),
                    _ => return Err(nowhere()),
                },
            }
        }
        (Op::Set { value, .. }, Node::Sequence(sequence), At::Index(index)) => {
            let style = sequence
                .get(*index)
                .as_ref()
                .and_then(|old| old.as_scalar().map(ScalarValue::from_scalar))
                .map(|old| old.style());
            let done = match built(value, style)? {
                Built::Scalar(scalar) => sequence.set(*index, scalar),
                Built::Tree(_) => false,
            };
            if !done {
                return Err(nowhere());
            }
        }
        (Op::Insert { value, .. }, Node::Sequence(sequence), At::Index(index)) => {
            let style = sequence
                .last()
                .as_ref()
                .and_then(|old| old.as_scalar().map(ScalarValue::from_scalar))
                .map(|old| old.style());
            match built(value, style)? {
                Built::Scalar(scalar) => sequence.insert(*index, scalar),
                Built::Tree(tree) => match (tree.as_mapping(), tree.as_sequence()) {
                    (Some(below), _) => sequence.insert(*index, below),
                    (_, Some(below)) => sequence.insert(*index, below),
                    _ => return Err(nowhere()),
                },
            }
        }
        (Op::Remove { .. }, Node::Mapping(mapping), At::Key(key)) => {
            let entry = mapping.find_entry_by_key(key.as_str()).ok_or_else(nowhere)?;
            let start = entry.key_node().ok_or_else(nowhere)?.byte_range().start;
            mapping.remove(key.as_str()).ok_or_else(nowhere)?;
            return Ok(without_head_comment(text, &file.to_string(), start as usize));
        }
        (Op::Remove { .. }, Node::Sequence(sequence), At::Index(index)) => {
            let start = sequence.get(*index).ok_or_else(nowhere)?.byte_range().start;
            sequence.remove(*index).ok_or_else(nowhere)?;
            return Ok(without_head_comment(text, &file.to_string(), start as usize));
        }
        _ => return Err(nowhere()),
    }
    Ok(file.to_string())
}

/// Takes away the comment lines directly above what was removed: left behind they would speak of
/// the next key. Nothing is taken if the editor itself already moved the lines above.
fn without_head_comment(old: &str, new: &str, start: usize) -> String {
    let Some(line) = old
        .get(..start)
        .map(|head| head.rfind('\n').map_or(0, |at| at + 1))
    else {
        return new.to_owned();
    };
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = old
        .get(line..)
        .and_then(|rest| rest.lines().next())
        .map_or(0, indent);
    let mut from = line;
    while from > 0 {
        let above = old[..from - 1].rfind('\n').map_or(0, |at| at + 1);
        let text = &old[above..from];
        if !(text.trim_start().starts_with('#') && indent(text) == own) {
            break;
        }
        from = above;
    }
    match (new.get(..line), new.get(line..)) {
        (Some(head), Some(rest)) if head == &old[..line] => format!("{}{rest}", &head[..from]),
        _ => new.to_owned(),
    }
}

enum Built {
    Scalar(ScalarValue),
    Tree(Box<Document>),
}

/// The value as the editor takes it: in the quotes the old one had, otherwise plain where a plain
/// scalar is read back as the same value by `kubectl`.
fn built(value: &Value, style: Option<ScalarStyle>) -> Result<Built, Refused> {
    let unwritable = || Refused::because("the value cannot be written in place");
    Ok(match value {
        Value::String(text) => Built::Scalar(match style {
            Some(ScalarStyle::SingleQuoted) if !text.contains('\n') => {
                ScalarValue::single_quoted(text.as_str())
            }
            Some(ScalarStyle::Literal) if text.ends_with('\n') => ScalarValue::literal(text.as_str()),
            Some(ScalarStyle::Plain) | None if reads_as(text, value) => ScalarValue::plain(text.as_str()),
            None if text.contains('\n') => ScalarValue::literal(text.as_str()),
            Some(ScalarStyle::Folded) => return Err(Refused::because("a folded text stands there")),
            _ => ScalarValue::double_quoted(text.as_str()),
        }),
        Value::Null => Built::Scalar(ScalarValue::null()),
        Value::Bool(_) | Value::Number(_) => Built::Scalar(ScalarValue::parse(value.to_string())),
        Value::Array(_) | Value::Object(_) => {
            let text = read::write(value).map_err(Refused::because)?;
            Built::Tree(Box::new(Document::from_str(&text).map_err(|_| unwritable())?))
        }
    })
}

fn reads_as(text: &str, value: &Value) -> bool {
    !text.contains(['\n', ',', '[', ']', '{', '}', '#'])
        && read::documents(&format!("k: {text}\n"))
            .is_ok_and(|documents| documents.len() == 1 && documents[0].get("k") == Some(value))
}

/// The text without document `index`; none if no document is left, so that the file goes.
pub fn remove_document(text: &str, index: usize) -> Result<Option<String>, Refused> {
    let file = parse(text)?;
    if read::documents(text).map_err(Refused::because)?.len() == 1 {
        return Ok(None);
    }
    let range = nth(&file, index)?.byte_range();
    let (start, end) = (range.start as usize, range.end as usize);
    let (Some(head), Some(tail)) = (text.get(..start), text.get(end..)) else {
        return Err(Refused::because("the editor cannot find the document"));
    };
    let new = format!("{head}{tail}");
    prove_removed(text, &new, index)?;
    Ok(Some(new))
}

/// The text of a new file: `apiVersion`, `kind`, `metadata`, `spec`, then the rest as it comes.
pub fn new_file(value: &Value) -> Result<String, Refused> {
    let Some(map) = value.as_object() else {
        return Err(Refused::because("it is no object"));
    };
    let mut ordered = serde_json::Map::new();
    for key in ["apiVersion", "kind", "metadata", "spec"] {
        if let Some(below) = map.get(key) {
            ordered.insert(key.to_owned(), below.clone());
        }
    }
    for (key, below) in map {
        ordered.entry(key.clone()).or_insert_with(|| below.clone());
    }
    let text = read::write(&Value::Object(ordered)).map_err(Refused::because)?;
    let text = format!("{}\n", text.trim_end_matches('\n'));
    match read::documents(&text) {
        Ok(back) if back.len() == 1 && back[0] == *value => Ok(text),
        _ => Err(Refused::because(
            "the new file would not say exactly what is wanted",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::prove::expected;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const CORPUS: &[&str] = &[
        "---\n# c\na: 1\nb: {x: 'no', y: [1, \"two\"]}\n---\n# second\nm:\n  # head\n  k: \"q\"  # tail\n  l:\n  - n: a\n    v: 0755\n  # about b\n  - n: b\n    v: y\nz: |\n  t\n  u\n",
        "a: &x 1\nb: *x\nc:\n  d: &y {e: 1}\n  f: *y\n  g:\n    <<: *y\n    h: 2\n",
        "a:\n    - one\n    - 'two'\n\n    - three # t\nb: >-\n  folded\n  text\nc: plain\n  continued\nd: ~\ne:\n",
        "a: 1\t# tab\r\nb:\r\n  c: \"x\"\r\n  d: |\r\n    l\r\ne: []\r\nf: {}\r\n",
        "k: |\n  a\n  b",
        "\"quoted key\": 1\n? b\n: 2\nc: {d: [ {e: 1}, {e: 2} ]}\n",
    ];

    fn places(value: &Value, at: &[At], out: &mut Vec<Vec<At>>) {
        let mut below = |step: At, value: &Value| {
            let mut at = at.to_vec();
            at.push(step);
            out.push(at.clone());
            places(value, &at, out);
        };
        match value {
            Value::Object(map) => map
                .iter()
                .for_each(|(key, value)| below(At::Key(key.clone()), value)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(index, value)| below(At::Index(index), value)),
            _ => {}
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i32>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            prop::sample::select(vec![
                "y",
                "n",
                "no",
                "0755",
                "1_000",
                "0x_1",
                "",
                " lead",
                "a: b",
                "# c",
                "x # y",
                "- z",
                "*a",
                "&a",
                "{",
                "multi\nline\n",
                "no end\nhere",
                "1e3",
                "~",
                "null",
                "it's \"both\"",
                "tab\tin",
                "\u{7f}\u{85}",
                "été",
                "'",
                "\\",
                "---",
                "...",
                "=",
                "!t",
                "%d",
                "@",
                "`",
                "? k",
                "end:"
            ])
            .prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!({"n":"c","v":"off","deep":{"k":[1,"2",{"x":null}]}})),
            Just(json!({})),
            Just(json!(["a", "y"])),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn no_wrong_tree_ever_passes(
            file in prop::sample::select(CORPUS.to_vec()), document in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(), value in values(), kind in 0..4_u8,
        ) {
            let before = read::documents(file).unwrap();
            let index = document.index(before.len());
            let mut all = Vec::new();
            places(&before[index], &[], &mut all);
            let mut at = all[place.index(all.len())].clone();
            let op = match (kind, at.last()) {
                (0, _) => Op::Remove { at },
                (1, Some(At::Index(_))) => Op::Insert { at, value },
                (2, Some(At::Key(_))) => { at.pop(); at.push(At::Key("new".to_owned())); Op::Set { at, value } }
                _ => Op::Set { at, value },
            };
            if let Ok(new) = apply(file, index, &op) {
                let mut wanted = before.clone();
                wanted[index] = expected(&before[index], &op).unwrap();
                prop_assert_eq!(read::documents(&new).unwrap(), wanted, "{}", new);
            }
        }
    }

    #[test]
    fn most_edits_of_scalars_are_made_and_not_refused() {
        let (mut done, mut refused) = (0, Vec::new());
        for file in CORPUS.iter().filter(|file| !file.contains('&')) {
            for (index, document) in read::documents(file).unwrap().iter().enumerate() {
                let mut all = Vec::new();
                places(document, &[], &mut all);
                for at in all {
                    match apply(
                        file,
                        index,
                        &Op::Set {
                            at: at.clone(),
                            value: json!("changed"),
                        },
                    ) {
                        Ok(_) => done += 1,
                        Err(why) => refused.push((at, why.why)),
                    }
                }
            }
        }
        assert!(done > 3 * refused.len(), "{done} done, refused: {refused:#?}");
    }

    type Editor = fn(&str, usize, &Op) -> Result<String, Refused>;

    #[test]
    fn a_broken_editor_is_caught() {
        let file = CORPUS[0];
        let op = Op::Set {
            at: vec![At::Key("m".into()), At::Key("k".into())],
            value: json!("r"),
        };
        assert!(apply(file, 1, &op).is_ok());
        let broken: [(&str, Editor); 7] = [
            ("does nothing", |text, _, _| Ok(text.to_owned())),
            ("writes elsewhere", |text, _, _| Ok(text.replace("a: 1", "a: r"))),
            ("changes another document too", |text, i, op| {
                Ok(edited(text, i, op)?.replace("a: 1", "a: 2"))
            }),
            ("changes a type", |text, i, op| {
                Ok(edited(text, i, op)?.replace("v: y", "v: \"y\""))
            }),
            ("loses a comment", |text, i, op| {
                Ok(edited(text, i, op)?.replace("# second\n", ""))
            }),
            ("lays out anew", |text, i, op| {
                Ok(edited(text, i, op)?.replace("{x: 'no'", "{ x: 'no'"))
            }),
            ("breaks the file", |text, i, op| {
                Ok(edited(text, i, op)?.replace("z: |", "a: 1\na: |"))
            }),
        ];
        for (how, editor) in broken {
            assert!(apply_with(file, 1, &op, editor).is_err(), "{how}");
        }
    }

    #[test]
    fn an_anchored_value_is_refused_because_its_aliases_would_change() {
        let set = |key: &str| Op::Set {
            at: vec![At::Key(key.into())],
            value: json!(2),
        };
        assert!(apply(CORPUS[1], 0, &set("a")).is_err());
        assert!(apply("a: 1\na: 2\n", 0, &set("a")).is_err());
        assert!(apply("a: 1\r\nb: 2\n", 0, &set("a")).is_err());
    }
}
