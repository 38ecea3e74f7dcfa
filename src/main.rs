//! The command line.

#[cfg(feature = "failpoints")]
mod failpoints;
mod harden;
mod log;
mod start;
#[cfg(feature = "failpoints")]
mod stepped_clock;

use breakglass::{config, drill, import, verify};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Gives memory back: the C library's keeps what bodies of megabytes leave free between them.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    /// Check a store, an export or a log by its address: nothing altered, nothing missing. With the log's public key.
    Verify {
        /// A store (a `SQLite` file or a PostgreSQL address), the export of a log (.bgl), of a grant or of an entry
        /// (.bgx), or a log's address (`https://HOST/log`); for the last, the bearer token is read from
        /// `BREAKGLASS_LOG_TOKEN`.
        path: PathBuf,
        /// The log's public key (name+hash+base64), or a file that holds it; may be given several times.
        #[arg(long)]
        key: Vec<String>,
        /// Checkpoints held elsewhere (a pull request's, a mail's): a file that holds one or more, one itself, or `-` to
        /// paste them in; may be given several times.
        #[arg(long)]
        against: Vec<PathBuf>,
        /// An API server's own audit log (a line an event, gzip or plain), had from where the broker's operator cannot
        /// write; may be given several times. What canaries carried into it is held against the log, and each event of
        /// a grant in it must be in the store.
        #[arg(long)]
        audit_log: Vec<PathBuf>,
        /// Further certificate authorities for a log's address, PEM.
        #[arg(long)]
        ca_file: Option<PathBuf>,
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
    /// Bring events of the past into the running broker: from an API server's log files, or what a managed cloud kept.
    /// What is known is not entered again; what cannot be read is said, line by line.
    Import(Box<import::Options>),
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
        Command::Import(options) => return imported(&options),
        Command::Verify {
            path,
            key,
            against,
            audit_log,
            ca_file,
        } => {
            let token = std::env::var("BREAKGLASS_LOG_TOKEN").ok();
            let how = verify::How {
                keys: key,
                against,
                token: token.filter(|token| !token.is_empty()),
                ca_file,
                audit_logs: audit_log,
            };
            return verified(&path, &how);
        }
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

/// A line a key: while one is being replaced there are two.
fn key(file: &Path) -> Result<String, String> {
    let config = config::command::load(file, true)?;
    let signers = start::signers(&config).map_err(|error| format!("error: {error}"))?;
    Ok(signers
        .iter()
        .map(|signer| signer.verifier_key().to_string() + "\n")
        .collect())
}

/// 0 everything was read, 1 some lines were not, 2 the import ended early.
fn imported(options: &import::Options) -> ExitCode {
    let ran = tokio::runtime::Runtime::new()
        .map_err(|error| format!("the runtime did not start: {error}"))
        .and_then(|runtime| runtime.block_on(import::run(options)));
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{}", why.trim_end());
            ExitCode::from(2)
        }
    }
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
fn verified(path: &Path, how: &verify::How) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime did not start: {error}");
            return ExitCode::from(2);
        }
    };
    let said = runtime.block_on(verify::verify(path, how));
    print!("{}", said.text);
    ExitCode::from(said.code)
}
