//! The commands that look at a configuration and change nothing: `check`, `schema`. (What is to
//! be applied to a cluster is printed by `cluster::command`.)

use super::{Config, Env, Problem};
use std::fmt::Write;
use std::path::Path;

/// Checks the file at `path`: `Ok` says in a few lines what it holds, `Err` lists every problem.
/// Without `secrets` neither secrets nor the files it names are read.
///
/// # Errors
/// What is wrong, to be printed as it is.
pub fn check(path: &Path, secrets: bool) -> Result<String, String> {
    let config = load(path, secrets)?;
    let mut said = String::new();
    let names = |names: Vec<&String>| {
        names
            .into_iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let _ = writeln!(said, "{} is valid.", path.display());
    let _ = writeln!(said, "  address     {}", config.server.public_url);
    let _ = writeln!(said, "  clusters    {}", names(config.clusters.keys().collect()));
    let _ = writeln!(said, "  profiles    {}", names(config.profiles.keys().collect()));
    let _ = writeln!(said, "  teams       {}", names(config.teams.keys().collect()));
    let _ = writeln!(said, "  digest      {}", config.digest());
    for (name, profile) in config
        .profiles
        .iter()
        .filter(|(_, profile)| profile.release_without_audit)
    {
        let _ = writeln!(
            said,
            "  warning     '{name}' shows credentials without audit: {}",
            profile.description
        );
    }
    if !secrets {
        let _ = writeln!(said, "  not read    secrets and the files it names");
    }
    Ok(said)
}

/// The configuration at `path`, or every problem in it, to be printed as it is.
///
/// # Errors
/// What is wrong, to be printed as it is.
pub fn load(path: &Path, secrets: bool) -> Result<Config, String> {
    let loaded = if secrets {
        Config::load(path, &Env::of_process())
    } else {
        Config::load_without_secrets(path)
    };
    loaded.map_err(|problems| report(&problems))
}

/// Every problem and how many there are, as `check` and the start-up print them.
#[must_use]
pub fn report(problems: &[Problem]) -> String {
    let mut said = String::new();
    for problem in problems {
        let _ = writeln!(said, "{problem}\n");
    }
    let count = problems.len();
    let _ = write!(
        said,
        "{count} problem{} found; nothing was started or changed",
        if count == 1 { "" } else { "s" }
    );
    said
}
