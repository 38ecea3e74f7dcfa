//! The command line.

mod start;

use breakglass::config;
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

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
}

fn main() -> ExitCode {
    let said = match Arguments::parse().command {
        Command::Serve { config } => start::serve(&config).map(|()| String::new()),
        Command::Check {
            file,
            without_secrets,
        } => config::command::check(&file, !without_secrets),
        Command::Schema => Ok(config::schema()),
        Command::Manifests {
            file,
            cluster,
            audit_policy,
        } => breakglass::cluster::command::manifests(&file, cluster.as_deref(), audit_policy),
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
