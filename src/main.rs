//! The command line.

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
}

fn main() -> ExitCode {
    let said = match Arguments::parse().command {
        Command::Check {
            file,
            without_secrets,
        } => config::command::check(&file, !without_secrets),
        Command::Schema => Ok(config::schema()),
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
