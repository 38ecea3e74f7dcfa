//! The house holds: imports run one way, pure rooms stay pure, one door writes, files stay small.
//!
//! Each rule is a function from a source to its breaches, so that the last test can show every one of
//! them a breach that it must find.

use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

/// The rooms by floor: a room may use those on lower floors, and on the ground floor its neighbours.
const FLOORS: [&[&str]; 6] = [
    &["causes", "clock", "cores", "ids", "config"],
    &["domain"],
    &["ledger", "audit", "drift"],
    &["store", "cluster", "forge", "notify", "identity", "witness"],
    &["broker"],
    &["worker", "web", "verify", "drill", "import"],
];
const PURE: [&str; 4] = ["domain", "ledger", "audit", "drift"];
const LONGEST: usize = 400;

/// Files that may be longer, and why.
const LONGER: &[(&str, &str)] = &[
    (
        "broker/reveal.rs",
        "one stage of an emergency, read from top to bottom",
    ),
    (
        "broker/verify.rs",
        "one stage of an emergency, read from top to bottom",
    ),
    (
        "domain/follow_up.rs",
        "one state machine: the type and all of its transitions are read together",
    ),
    (
        "domain/grant.rs",
        "one state machine: the type and all of its transitions are read together",
    ),
    ("web/lists/sla.rs", "one page: its figures, its chart, its table"),
    (
        "web/requests.rs",
        "the handlers of one page's forms; to be parted with its growth",
    ),
    (
        "web/pages/parts.rs",
        "every part that pages are made of, a short type each",
    ),
];

/// The files of the two crates' roots and of the binary: above every room.
static BINARY: LazyLock<Vec<String>> = LazyLock::new(|| {
    let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs");
    let main = std::fs::read_to_string(main).unwrap();
    let own = main
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    ["lib", "main"]
        .into_iter()
        .chain(own)
        .map(|name| format!("{name}.rs"))
        .collect()
});

/// Compiled for tests alone.
const OF_TESTS: [&str; 3] = ["tests.rs", "fixture.rs", "samples"];

struct Source {
    /// Below `src`, with `/`.
    path: String,
    /// Without tests and comments; as many lines as before them.
    code: String,
    /// Lines, tests aside.
    lines: usize,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        static TESTS: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"(?m)^#\[cfg\(test\)\]\n(?:#\[[^\n]*\]\n)*(?:pub(?:\([a-z]+\))? )?mod \w+ \{")
                .unwrap()
        });
        let text = TESTS.find(text).map_or(text, |found| &text[..found.start()]);
        let code = text.lines().map(|line| {
            if line.trim_start().starts_with("//") {
                ""
            } else {
                line
            }
        });
        Self {
            path: path.to_owned(),
            lines: text.lines().count(),
            code: code.collect::<Vec<_>>().join("\n"),
        }
    }

    fn room(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// How many `super` lead out of the room, into the root of the crate.
    fn depth(&self) -> usize {
        let parts = self
            .path
            .trim_end_matches(".rs")
            .split('/')
            .filter(|part| *part != "mod");
        parts.count()
    }

    /// The rooms this file names, by any spelling of a path.
    fn rooms_used(&self) -> BTreeSet<String> {
        static PATHS: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\b(crate|breakglass|super(?:::super)*)::(\{|\w+)").unwrap());
        let mut used = BTreeSet::new();
        for found in PATHS.captures_iter(&self.code) {
            let root = &found[1];
            if root.starts_with("super") && root.split("::").count() < self.depth() {
                continue;
            }
            if &found[2] != "{" {
                used.insert(found[2].to_owned());
                continue;
            }
            let mut depth = 0;
            let mut item = String::new();
            for c in self.code[found.get(2).unwrap().start()..].chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 || (depth == 1 && c == ',') {
                    used.extend(item.trim().split("::").next().map(str::to_owned));
                    item.clear();
                } else if depth > 1 || c != '{' {
                    item.push(c);
                }
                if depth == 0 {
                    break;
                }
            }
        }
        used
    }
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, below: &str, into: &mut Vec<Source>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if OF_TESTS.contains(&&*name) {
                continue;
            }
            let below = if below.is_empty() {
                name.clone()
            } else {
                format!("{below}/{name}")
            };
            if path.is_dir() {
                walk(&path, &below, into);
            } else if path.extension().is_some_and(|end| end == "rs") {
                into.push(Source::new(&below, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut all = vec![];
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut all);
    assert!(all.len() > 50, "only {} files were found", all.len());
    all
}

fn against_the_direction(source: &Source) -> Vec<String> {
    let floors: BTreeMap<_, _> = (0..)
        .zip(FLOORS)
        .flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor)))
        .collect();
    if BINARY.contains(&source.path) {
        return vec![];
    }
    let room = source.room();
    let Some(own) = floors.get(room) else {
        return vec![format!("{}: room {room} has no floor in this test", source.path)];
    };
    let wrong = |used: &String| match floors.get(&**used) {
        Some(floor) => used != room && (floor > own || (floor == own && *own > 0)),
        None => false,
    };
    source
        .rooms_used()
        .into_iter()
        .filter(wrong)
        .map(|used| format!("{} uses {used}", source.path))
        .collect()
}

fn impure(source: &Source) -> Vec<String> {
    static FORBIDDEN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\b(tokio|sqlx|reqwest|kube|axum|hyper|octocrab|lettre)\b\s*(::|;)|\basync\s+(fn|move|\{)|\.await\b").unwrap()
    });
    if !PURE.contains(&source.room()) {
        return vec![];
    }
    FORBIDDEN
        .find_iter(&source.code)
        .map(|found| format!("{}: {}", source.path, found.as_str()))
        .collect()
}

fn writes_beside_the_door(source: &Source) -> Vec<String> {
    static DOOR: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^store/\w+/commit(\.rs|/\w+\.rs)$").unwrap());
    static WRITES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?i)\b(insert\s+(or\s+\w+\s+)?into|replace\s+into|update(\s+or\s+\w+)?|delete\s+from)\s+["`\[]?(requests|grants|follow_ups|findings|entries|segments|ledger_head|tree_nodes|deliveries|actions)\b"#).unwrap()
    });
    if DOOR.is_match(&source.path) {
        return vec![];
    }
    WRITES
        .find_iter(&source.code)
        .map(|found| format!("{}: {}", source.path, found.as_str()))
        .collect()
}

/// A database transaction's own `commit()` has no argument. The forge's commits are git's: it cannot
/// reach the store, since no adapter imports another.
fn commits_outside_the_broker(source: &Source) -> Vec<String> {
    static COMMITS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(\.|Store::)commit\(\s*[^)\s][^\n]*").unwrap());
    if ["broker", "forge"].contains(&source.room()) {
        return vec![];
    }
    COMMITS
        .find_iter(&source.code)
        .map(|found| format!("{}: {}", source.path, found.as_str()))
        .collect()
}

fn too_long(source: &Source) -> Vec<String> {
    let excepted = LONGER.iter().any(|(path, _)| *path == source.path);
    match (source.lines > LONGEST, excepted) {
        (true, false) => vec![format!("{} has {} lines", source.path, source.lines)],
        (false, true) => vec![format!("{} needs no exception any more", source.path)],
        _ => vec![],
    }
}

fn hold(rule: fn(&Source) -> Vec<String>) {
    let breaches: Vec<_> = sources().iter().flat_map(rule).collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn imports_run_one_way() {
    hold(against_the_direction);
}

#[test]
fn pure_rooms_know_no_service() {
    hold(impure);
}

#[test]
fn one_door_writes_what_is_in_the_ledger() {
    hold(writes_beside_the_door);
}

#[test]
fn only_the_broker_commits() {
    hold(commits_outside_the_broker);
}

#[test]
fn files_stay_small() {
    hold(too_long);
}

/// A contract's own calls cannot be forgotten (`src/failpoints.rs` would not compile); a whole contract could.
#[test]
fn every_outside_contract_has_its_failpoints() {
    let contract = Regex::new(r"#\[(?:async_trait::)?async_trait\]\s*pub trait (\w+)").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let points = std::fs::read_to_string(root.join("src/failpoints.rs")).unwrap();
    let start = std::fs::read_to_string(root.join("src/start.rs")).unwrap();
    let mut found = 0;
    // What the engines of the store give is inside of one that has them.
    let is_outside = |source: &Source| source.path != "store/sql/database.rs";
    for source in sources().into_iter().filter(is_outside) {
        for contract in contract.captures_iter(&source.code) {
            found += 1;
            let name = &contract[1];
            assert!(
                points.contains(&format!(": {name}, \"")),
                "{name} has no failpoints"
            );
            assert!(
                start.contains(&format!("Arc<dyn {name}>")),
                "{name} does not pass through them"
            );
        }
    }
    assert!(found >= 5, "the contracts were not found");
}

#[test]
fn a_release_has_no_failpoints() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let features = manifest
        .split("[features]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    assert!(features.contains("failpoints = ["), "{features}");
    assert!(!features.contains("default"), "{features}");
    let main = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    assert!(main.contains("#[cfg(feature = \"failpoints\")]\nmod failpoints;"));
}

/// An engine that a case forgets can drift from the others.
#[test]
fn every_method_of_the_store_is_in_its_contract_suite() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let contract = std::fs::read_to_string(root.join("src/store/contract.rs")).unwrap();
    let methods = Regex::new(r"async fn (\w+)").unwrap();
    let mut suite = String::new();
    for file in ["suite", "writes", "jobs", "look_ups", "ledger"] {
        suite += &std::fs::read_to_string(root.join(format!("tests/store/{file}.rs"))).unwrap();
    }
    let mut found = 0;
    for method in methods.captures_iter(&contract) {
        found += 1;
        let call = Regex::new(&format!(r"store\s*\.{}\(", &method[1])).unwrap();
        assert!(call.is_match(&suite), "no case of the suite calls {}", &method[1]);
    }
    assert!(found > 30, "the contract was not read");
}

/// Every case that is written is run on every engine.
#[test]
fn every_case_of_the_contract_suite_is_in_its_list() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store");
    let list = std::fs::read_to_string(root.join("suite.rs")).unwrap();
    let cases = Regex::new(r"pub async fn (\w+)<E: Engine>\(\) \{").unwrap();
    let mut found = 0;
    for room in ["writes", "jobs", "look_ups", "ledger"] {
        let text = std::fs::read_to_string(root.join(format!("{room}.rs"))).unwrap();
        for case in cases.captures_iter(&text) {
            found += 1;
            assert!(
                list.contains(&format!("{room}::{},", &case[1])),
                "{room}::{} is not run",
                &case[1]
            );
        }
    }
    assert!(found > 20, "the cases were not read");
}

#[test]
fn each_rule_finds_a_breach() {
    type Rule = fn(&Source) -> Vec<String>;
    let breaches: [(Rule, &str, &str); 22] = [
        (
            against_the_direction,
            "domain/grant.rs",
            "use crate::store::Store;",
        ),
        (
            against_the_direction,
            "domain/grant.rs",
            "fn f() { crate::ledger::open(&[]); }",
        ),
        (
            against_the_direction,
            "domain/grant.rs",
            "use super::super::broker::Broker;",
        ),
        (
            against_the_direction,
            "domain/mod.rs",
            "use super::broker::Broker;",
        ),
        (
            against_the_direction,
            "ledger/tree.rs",
            "use crate::{ids::GrantId, audit::{self, Intake}};",
        ),
        (
            against_the_direction,
            "store/sqlite/mod.rs",
            "use crate::forge::Forge;",
        ),
        (against_the_direction, "broker/end.rs", "use crate::web::Page;"),
        (against_the_direction, "web/mod.rs", "use crate::worker::jobs;"),
        (
            against_the_direction,
            "clock.rs",
            "use crate::domain::person::Person;",
        ),
        (against_the_direction, "attic/mod.rs", ""),
        (impure, "domain/grant.rs", "use tokio::sync::Mutex;"),
        (impure, "ledger/tree.rs", "pub async fn root() {}"),
        (impure, "audit/event.rs", "let x = sqlx::query(\"\");"),
        (impure, "drift/plan.rs", "use kube::Client;"),
        (
            writes_beside_the_door,
            "store/sqlite/jobs.rs",
            "\"UPDATE requests SET state = ?\"",
        ),
        (
            writes_beside_the_door,
            "web/mod.rs",
            "\"insert into\n  grants (id) VALUES (?)\"",
        ),
        (
            writes_beside_the_door,
            "worker/jobs.rs",
            "\"INSERT OR REPLACE INTO actions VALUES (?)\"",
        ),
        (
            writes_beside_the_door,
            "store/sqlite/ledger.rs",
            "\"DELETE FROM segments\"",
        ),
        (
            commits_outside_the_broker,
            "web/mod.rs",
            "store.commit(transition).await?;",
        ),
        (
            commits_outside_the_broker,
            "worker/jobs.rs",
            "broker.store\n    .commit(\n    Transition::new(record))",
        ),
        (
            commits_outside_the_broker,
            "worker/jobs.rs",
            "Store::commit(&*store, transition)",
        ),
        (too_long, "web/mod.rs", "x"),
    ];
    for (rule, path, text) in breaches {
        let text = if text == "x" {
            "fn f() {}\n".repeat(LONGEST + 1)
        } else {
            text.to_owned()
        };
        assert_eq!(rule(&Source::new(path, &text)).len(), 1, "{path}: {text:.80}");
    }
}

#[test]
fn what_is_right_is_no_breach() {
    let fine = [
        (
            "broker/end.rs",
            "use crate::{store::Store, domain::grant::Grant};\nself.store.commit(transition).await?;",
        ),
        (
            "store/sqlite/commit.rs",
            "use super::jobs;\n\"UPDATE requests SET state = ?\"\ntransaction.commit().await",
        ),
        (
            "store/sqlite/commit/documents.rs",
            "use super::super::index;\n\"INSERT INTO grants (id) VALUES (?)\"",
        ),
        (
            "domain/person.rs",
            "// crate::store is not used here\nuse super::person::Person;\n#[cfg(test)]\nmod tests {\nuse crate::store::Store;\n}",
        ),
        ("config/mod.rs", "use crate::ids::GrantId;"),
    ];
    for (path, text) in fine {
        let source = Source::new(path, text);
        for rule in [
            against_the_direction,
            impure,
            writes_beside_the_door,
            commits_outside_the_broker,
            too_long,
        ] {
            assert_eq!(rule(&source), [""; 0], "{path}");
        }
    }
}
