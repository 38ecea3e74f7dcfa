//! The command line.

#[cfg(feature = "failpoints")]
mod failpoints;
mod harden;
mod log;
mod start;
#[cfg(feature = "failpoints")]
mod stepped_clock;

use breakglass::{config, drill, ledger, verify};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Lends time-boxed access to Kubernetes in an emergency, records what is done with it, and brings
/// git up to date afterwards.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service.
    Serve {
        /// The configuration.
        #[arg(long)]
        config: PathBuf,
    },
    /// Check a configuration and list everything that is wrong with it.
    Check {
        /// The configuration.
        file: PathBuf,
        /// Read neither secrets nor the files it names: for a machine that has none of them.
        #[arg(long)]
        without_secrets: bool,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Check a store or an export: nothing altered, nothing missing. Offline, with the log's public key.
    Verify {
        /// A SQLite store, or an exported grant (.bgx).
        path: PathBuf,
        /// The log's public key (name+hash+base64), or a file that holds it; may be given several times.
        #[arg(long)]
        key: Vec<String>,
        /// A checkpoint held elsewhere (a pull request's, a mail's), in a file.
        #[arg(long)]
        against: Vec<PathBuf>,
    },
    /// Print the public key of the ledger: what `verify --key` wants, to be kept where the service cannot reach.
    Key {
        /// The configuration.
        file: PathBuf,
    },
    /// Print what has to be applied to a cluster: namespaces, roles and admission policies.
    Manifests {
        /// The configuration.
        file: PathBuf,
        /// The cluster's name in it; may be left out where there is only one.
        #[arg(long)]
        cluster: Option<String>,
        /// Print the audit policy for its API servers instead.
        #[arg(long)]
        audit_policy: bool,
    },
    /// List the points at which the process can be made to end itself, one a line.
    #[cfg(feature = "failpoints")]
    Failpoints,
    /// Go through a whole emergency against the running broker and its cluster, a line per stage.
    Drill(Box<drill::Options>),
}

fn main() -> ExitCode {
    let said = match Arguments::parse().command {
        Command::Serve { config } => start::serve(&config).map(|()| String::new()),
        Command::Check {
            file,
            without_secrets,
        } => config::command::check(&file, !without_secrets),
        Command::Schema => Ok(config::schema()),
        Command::Key { file } => key(&file),
        Command::Manifests {
            file,
            cluster,
            audit_policy,
        } => breakglass::cluster::command::manifests(&file, cluster.as_deref(), audit_policy),
        #[cfg(feature = "failpoints")]
        Command::Failpoints => Ok(failpoints::list().join("\n") + "\n"),
        Command::Drill(options) => return drilled(&options),
        Command::Verify { path, key, against } => return verified(&path, &key, &against),
    };
    match said {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{}", text.trim_end());
            ExitCode::FAILURE
        }
    }
}

fn key(file: &Path) -> Result<String, String> {
    let config = config::command::load(file, true)?;
    ledger::Signer::from_text(&config.ledger.origin, config.ledger.signing_key.expose())
        .map(|signer| format!("{}\n", signer.verifier_key()))
        .map_err(|error| format!("error: ledger.signing_key: {error}"))
}

fn drilled(options: &drill::Options) -> ExitCode {
    let ran = tokio::runtime::Runtime::new()
        .map_err(|error| format!("the runtime did not start: {error}"))
        .and_then(|runtime| runtime.block_on(drill::run(options)));
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// 0 nothing altered, 1 something altered or missing, 2 it could not be checked.
fn verified(path: &Path, keys: &[String], against: &[PathBuf]) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime did not start: {error}");
            return ExitCode::from(2);
        }
    };
    let said = runtime.block_on(verify::verify(path, keys, against));
    print!("{}", said.text);
    ExitCode::from(said.code)
}
