//! Holds the file against the JSON Schema of the sections' types: every unknown field, missing
//! field and wrong value is found in one go, where deserializing stops at the first.

use super::problem::nearest;
use super::tree::{Key, Node, Place, Step, Value, field_path};
use super::{Config, Problem, Secret};
use schemars::JsonSchema;
use serde_json::Value as Json;

/// The JSON Schema of the configuration, pretty, with a line end: what `breakglass.schema.json` holds.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(Config);
    // A schema is made of strings, numbers and lists alone; writing it cannot fail.
    format!("{:#}\n", schema.as_value())
}

/// The file's text, for the lines that problems show.
pub(super) struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

impl Source<'_> {
    /// A problem at a place. `keep` says whether the line may be shown: not where nothing is known of
    /// it, since somebody may have written a secret there.
    pub(super) fn problem(&self, place: Place, steps: &[Step], message: String, keep: Keep) -> Problem {
        let line = usize::try_from(place.line)
            .ok()
            .and_then(|line| self.text.lines().nth(line.checked_sub(1)?));
        let shown = match (keep, line) {
            (Keep::Line, Some(line)) => line,
            (Keep::Nothing, _) | (_, None) => "",
        };
        Problem {
            file: self.name.to_owned(),
            line: place.line,
            column: place.column,
            field: field_path(steps),
            message,
            help: None,
            source_line: shown.trim_end().to_owned(),
        }
    }
}

/// Whether a problem may show its line.
#[derive(Clone, Copy)]
pub(super) enum Keep {
    Line,
    Nothing,
}

/// Every way in which `node` is not a configuration.
pub(super) fn check(source: &Source<'_>, node: &Node) -> Vec<Problem> {
    let schema = schemars::schema_for!(Config);
    let mut walk = Walk {
        source,
        definitions: schema.get("$defs"),
        problems: Vec::new(),
        steps: Vec::new(),
        in_secret: false,
        key: node.place,
        guarded: Vec::new(),
    };
    walk.value(schema.as_value(), node);
    let Walk {
        mut problems,
        guarded,
        ..
    } = walk;
    for problem in problems
        .iter_mut()
        .filter(|problem| guarded.contains(&problem.line))
    {
        let key = problem.source_line.find(':').map_or(0, |colon| colon + 1);
        problem.source_line.truncate(key);
    }
    problems
}

struct Walk<'a> {
    source: &'a Source<'a>,
    definitions: Option<&'a Json>,
    problems: Vec<Problem>,
    steps: Vec<Step>,
    in_secret: bool,
    /// The key that led to where the walk is: the place of what is missing there.
    key: Place,
    /// Lines of which only the key may be shown, since a secret may stand in them.
    guarded: Vec<u64>,
}

impl<'a> Walk<'a> {
    fn report(&mut self, place: Place, message: String, help: Option<String>) {
        if self.in_secret {
            self.guarded.push(place.line);
        }
        let problem = self.source.problem(place, &self.steps, message, Keep::Line);
        self.problems.push(Problem { help, ..problem });
    }

    fn value(&mut self, schema: &'a Json, node: &Node) {
        if let Some(name) = schema
            .get("$ref")
            .and_then(Json::as_str)
            .and_then(|name| name.rsplit('/').next())
        {
            let was_in_secret = self.in_secret;
            self.in_secret |= name == Secret::schema_name();
            if let Some(definition) = self.definitions.and_then(|all| all.get(name)) {
                self.value(definition, node);
            }
            self.in_secret = was_in_secret;
        } else if let Some(choices) = schema.get("anyOf").and_then(Json::as_array) {
            // How an optional section is written: the section, or null.
            let null_allowed = choices.iter().any(|choice| has_type(choice, "null"));
            if !(null_allowed && matches!(node.value, Value::Null)) {
                for choice in choices.iter().filter(|choice| !has_type(choice, "null")) {
                    self.value(choice, node);
                }
            }
        } else if let Some(choices) = schema.get("oneOf").and_then(Json::as_array) {
            self.choice(choices, node);
        } else if has_type(schema, "null") && matches!(node.value, Value::Null) {
        } else if has_type(schema, "object") {
            self.mapping(schema, node);
        } else if has_type(schema, "array") {
            let Value::List(items) = &node.value else {
                return self.wrong("a list", node);
            };
            for (at, item) in items.iter().enumerate() {
                self.steps.push(at.into());
                if let Some(schema) = schema.get("items") {
                    self.value(schema, item);
                }
                self.steps.pop();
            }
        } else {
            self.scalar(schema, node);
        }
    }

    fn wrong(&mut self, expected: &str, node: &Node) {
        self.report(
            node.place,
            format!("expected {expected}, found {}", node.kind()),
            None,
        );
    }

    /// An enum: a word, or a mapping with one of several fields.
    fn choice(&mut self, choices: &'a [Json], node: &Node) {
        let words: Vec<&str> = choices.iter().flat_map(words).collect();
        let fields: Vec<&str> = choices
            .iter()
            .flat_map(fields)
            .map(|(name, _)| name.as_str())
            .collect();
        match &node.value {
            Value::Map(found) if found.len() == 1 && !fields.is_empty() => {
                let (key, child) = &found[0];
                match choices.iter().find_map(|choice| fields_of(choice, &key.name)) {
                    Some(schema) => self.field(key, schema, child),
                    None => self.unknown(key, &fields),
                }
            }
            Value::Text(word) if words.contains(&word.as_str()) => {}
            Value::Text(_) if self.in_secret => self.report(
                node.place,
                "a secret is never written in the configuration".into(),
                Some("write {env: NAME_OF_A_VARIABLE} or {file: PATH}".into()),
            ),
            found => {
                let near = match found {
                    Value::Text(word) => nearest(word, words.iter().copied()),
                    _ => None,
                };
                let near = near.map(|near| format!("did you mean '{near}'?"));
                let expected = match (words.is_empty(), fields.is_empty()) {
                    (false, true) => format!("one of {}", list(&words)),
                    (true, _) => format!("a mapping with one of the fields {}", list(&fields)),
                    (false, false) => format!("{}, or a mapping with {}", list(&words), list(&fields)),
                };
                let found = match found {
                    Value::Text(word) => format!("'{word}'"),
                    Value::Map(several) if several.len() > 1 => "a mapping with several".into(),
                    _ => node.kind().to_owned(),
                };
                self.report(node.place, format!("expected {expected}, found {found}"), near);
            }
        }
    }

    fn mapping(&mut self, schema: &'a Json, node: &Node) {
        let Value::Map(found) = &node.value else {
            return self.wrong("a mapping", node);
        };
        let known: Vec<(&String, &Json)> = fields(schema).collect();
        let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        for (key, child) in found {
            match known.iter().find(|(name, _)| **name == key.name) {
                Some((_, schema)) => self.field(key, schema, child),
                None => match schema.get("additionalProperties") {
                    Some(values @ Json::Object(_)) => {
                        self.name(key);
                        self.field(key, values, child);
                    }
                    _ => self.unknown(key, &names),
                },
            }
        }
        for name in schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
        {
            if !found.iter().any(|(key, _)| key.name == name) {
                let help = known
                    .iter()
                    .find(|(known, _)| *known == name)
                    .and_then(|(_, schema)| describe(schema));
                self.report(self.key, format!("the field `{name}` is missing"), help);
            }
        }
    }

    /// A key that somebody chose. Names become parts of Kubernetes names, paths and links, and may
    /// not hold anything that would need escaping there. Logins are keyed by a person claim.
    fn name(&mut self, key: &Key) {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fine = key.name.len() <= 40
            && key.name.chars().all(allowed)
            && key.name.starts_with(|c: char| c.is_ascii_lowercase())
            && !key.name.ends_with('-');
        let of_people = self
            .steps
            .last()
            .is_some_and(|step| matches!(step, Step::Key(key) if key == "logins"));
        if !fine && !of_people {
            let message = format!(
                "'{}' is no name: expected 1 to 40 lower-case letters, digits and '-', a letter first",
                key.name
            );
            self.steps.push(key.name.as_str().into());
            self.report(key.place, message, None);
            self.steps.pop();
        }
    }

    fn field(&mut self, key: &Key, schema: &'a Json, child: &Node) {
        let outer = std::mem::replace(&mut self.key, key.place);
        self.steps.push(key.name.as_str().into());
        self.value(schema, child);
        self.steps.pop();
        self.key = outer;
    }

    fn unknown(&mut self, key: &Key, names: &[&str]) {
        let help = match nearest(&key.name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the fields here are {}", list(names)),
        };
        // What follows an unknown key may be a secret under a mistyped name.
        self.steps.push(key.name.as_str().into());
        let message = format!("there is no field `{}` here", key.name);
        self.guarded.push(key.place.line);
        let problem = self.source.problem(key.place, &self.steps, message, Keep::Line);
        self.problems.push(Problem {
            help: Some(help),
            ..problem
        });
        self.steps.pop();
    }

    fn scalar(&mut self, schema: &Json, node: &Node) {
        if has_type(schema, "string") {
            match &node.value {
                Value::Text(text) => self.text(schema, text, node),
                // A bare number or `yes` where a word is wanted is read as it is written.
                Value::Integer(_) | Value::Bool | Value::Fraction if schema.get("format").is_none() => {}
                Value::Integer(number) => self.text(schema, &number.to_string(), node),
                _ => self.wrong("text", node),
            }
        } else if has_type(schema, "integer") {
            let bound = |name| schema.get(name).and_then(Json::as_i64).map(i128::from);
            // The schema's bounds where it has some, otherwise those of the type it names.
            let most = match schema.get("format").and_then(Json::as_str) {
                Some("uint32") => i128::from(u32::MAX),
                _ => i128::from(u64::MAX),
            };
            let (least, most) = (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(most));
            match node.value {
                Value::Integer(number) if (least..=most).contains(&number) => {}
                Value::Integer(number) => {
                    let message = format!("expected a whole number from {least} to {most}, found {number}");
                    self.report(node.place, message, None);
                }
                _ => self.wrong("a whole number", node),
            }
        } else if has_type(schema, "boolean") && !matches!(node.value, Value::Bool) {
            self.wrong("true or false", node);
        }
    }

    fn text(&mut self, schema: &Json, text: &str, node: &Node) {
        let words: Vec<&str> = words(schema).collect();
        if !words.is_empty() && !words.contains(&text) {
            let near = nearest(text, words.iter().copied()).map(|near| format!("did you mean '{near}'?"));
            self.report(
                node.place,
                format!("expected one of {}, found '{text}'", list(&words)),
                near,
            );
        }
        let format = schema.get("format").and_then(Json::as_str).unwrap_or_default();
        if let Some(Err((expected, why))) = super::scalar::check(format, text) {
            self.report(node.place, format!("expected {expected}: {why}"), None);
        }
    }
}

fn has_type(schema: &Json, name: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(one)) => one == name,
        Some(Json::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}

fn fields(schema: &Json) -> impl Iterator<Item = (&String, &Json)> {
    schema
        .get("properties")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
}

fn fields_of<'a>(schema: &'a Json, name: &str) -> Option<&'a Json> {
    schema.get("properties").and_then(|fields| fields.get(name))
}

/// The words an enum's schema allows: one `const`, or an `enum` of several.
fn words(schema: &Json) -> impl Iterator<Item = &str> {
    let several = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
    schema
        .get("const")
        .into_iter()
        .chain(several)
        .filter_map(Json::as_str)
}

fn describe(schema: &Json) -> Option<String> {
    let text = schema.get("description").and_then(Json::as_str)?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn list(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let tree = Node::parse(text).unwrap();
        let found = check(
            &Source {
                name: "test.yaml",
                text,
            },
            &tree,
        );
        found
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn every_problem_is_found_at_once_with_its_place_and_what_was_meant() {
        let said = problems(
            "server:\n  listen: 0.0.0.0\n  public_ur: https://x\nstore: {sqlit: a.db}\nteams: [a]\nclusters:\n  \
             Prod: {access: incluster, audit: {token: {env: A}}}\nprofiles:\n  p: {approvals: -1, clusters: x}\n",
        );
        for words in [
            "expected an IP address and a port such as 127.0.0.1:8080 or [::]:8443: '0.0.0.0' is not one\n \
             --> test.yaml:2:11  (server.listen)",
            "the field `public_url` is missing\n --> test.yaml:1:1  (server)",
            "test.yaml:3:3  (server.public_ur)",
            "did you mean `public_url`?",
            "did you mean `sqlite`?",
            "expected a mapping, found a list\n --> test.yaml:5:8  (teams)",
            "'Prod' is no name",
            "did you mean 'in_cluster'?",
            "expected a whole number from 0 to 4294967295, found -1",
            "expected a list, found text\n --> test.yaml:9:32  (profiles.p.clusters)",
            "the field `ledger` is missing",
        ] {
            assert!(said.contains(words), "no {words:?} in\n{said}");
        }
    }

    #[test]
    fn a_secret_written_into_the_file_is_refused_and_not_repeated() {
        for text in [
            "sign_in:\n  client_secret: hunter2\n",
            "sign_in: {client_secrets: hunter2, step_up_window: 5}\n",
            "ledger: {signing_key: {value: hunter2}, origin: [a]}\n",
            "ledger: {signing_key: [hunter2], origin: [a]}\n",
            "notices: {smtp: {port: 99999, passwrd: hunter2}}\n",
        ] {
            let said = problems(text);
            assert!(!said.contains("hunter2"), "{said}");
        }
        let said = problems("sign_in:\n  client_secret: hunter2\n");
        assert!(
            said.contains("never written in the configuration") && said.contains("{env: NAME"),
            "{said}"
        );
    }

    #[test]
    fn the_schema_in_the_repository_is_the_one_the_types_give() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/breakglass.schema.json");
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == schema(),
            "breakglass.schema.json has drifted; renew it: cargo run -q -- schema > breakglass.schema.json"
        );
    }
}
