//! The fuzz targets' properties over the kept corpora (`fuzz/corpus`) and a few thousand mutations of them. The
//! seed is printed; `BREAKGLASS_SEED=N` plays one again. `./x fuzz TARGET` runs the same functions under the
//! fuzzer, which finds what this does not.

mod mutate;
mod properties;

use std::path::Path;
use std::time::{Duration, Instant};

/// How many mutations of its corpus a target is given, if it is done in time.
const MUTATIONS: usize = 2_000;
const TIME: Duration = Duration::from_secs(6);

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut all: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    all.sort();
    assert!(all.len() >= 5, "{target} has a corpus of {} only", all.len());
    all
}

fn seed() -> u64 {
    std::env::var("BREAKGLASS_SEED").map_or_else(
        |_| u64::from_be_bytes(breakglass::ids::random_bytes()),
        |text| text.parse().expect("BREAKGLASS_SEED is a number"),
    )
}

/// Runs `holds` over the corpus and its mutations; what broke it is printed so that it can be played again.
fn run(target: &str, holds: fn(&[u8])) {
    let seed = seed();
    let corpus = corpus(target);
    let tried = |name: &str, bytes: &[u8]| {
        let began = Instant::now();
        let done = std::panic::catch_unwind(|| holds(bytes));
        let took = began.elapsed();
        assert!(
            done.is_ok(),
            "{target} does not hold for {name} (BREAKGLASS_SEED={seed}): {:?}",
            String::from_utf8_lossy(bytes)
        );
        assert!(
            took < Duration::from_secs(30),
            "{target} takes {took:?} for {name} (BREAKGLASS_SEED={seed})"
        );
    };
    for (name, bytes) in &corpus {
        tried(name, bytes);
    }
    let mut chance = mutate::Chance::new(seed);
    let began = Instant::now();
    let mut done = 0;
    while done < MUTATIONS && began.elapsed() < TIME {
        let bytes = mutate::mutated(&corpus, &mut chance);
        tried(&format!("mutation {done}"), &bytes);
        done += 1;
    }
    println!("{target}: {} kept, {done} mutations, seed {seed}", corpus.len());
}

macro_rules! targets {
    ($($name:ident: $says:ident),* $(,)?) => {
        $(#[test]
        fn $says() {
            run(stringify!($name), properties::$name::holds);
        })*

        const TARGETS: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    config: a_configuration_is_whole_or_refused_with_its_place,
    audit: no_event_is_lost_and_no_token_kept,
    import: no_line_of_a_log_is_passed_over,
    drift: what_goes_to_git_is_what_is_live,
    yaml: an_edit_of_yaml_is_the_wanted_one_or_none,
    web: nothing_a_browser_carries_leads_elsewhere,
    segment: a_segment_reads_as_it_was_written,
    figures: an_api_servers_figures_are_those_of_its_page,
    note: a_note_verifies_only_as_it_was_signed,
    proof: nothing_but_a_proof_of_the_very_tree_proves_anything,
}

#[test]
fn every_target_is_run_by_the_fuzzer_and_by_this() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut files: Vec<String> = std::fs::read_dir(root.join("targets"))
        .unwrap()
        .map(|file| file.unwrap().file_name().to_string_lossy().replace(".rs", ""))
        .collect();
    files.sort();
    let mut own: Vec<&str> = TARGETS.to_vec();
    own.sort_unstable();
    assert_eq!(files, own);
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for target in TARGETS {
        assert!(
            manifest.contains(&format!("path = \"targets/{target}.rs\"")),
            "{target}"
        );
        let bytes: usize = corpus(target).iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes < 60_000, "the corpus of {target} has {bytes} bytes");
    }
}
