//! The drill: the whole emergency against a running broker and its cluster, a line per stage with its
//! measured time and its proof. It has no way in that people do not have: it talks to the broker over
//! HTTP, signs in as they do, and believes the cluster rather than the broker where both can be asked.
//!
//! On a demo it goes through alone ([`Options::demo`]); elsewhere two people sign in for real and the
//! drill watches what can be seen without their sessions.

mod attended;
mod end;
mod evidence;
mod failure;
mod follow_up;
mod forge;
mod form;
mod grant;
mod html;
mod jar;
mod kubectl;
mod options;
mod probe;
mod request;
mod score;
mod unattended;
mod visitor;
mod wait;

pub use options::Options;

use crate::config::{Config, Env, command};
use crate::ledger::{Signer, VerifierKey};
use failure::Failure;
use options::{Target, World};
use std::time::Duration;
use visitor::Visitor;
use wait::until;

/// Runs a drill and prints its lines; whether nothing failed.
///
/// # Errors
/// Why it could not begin, in words: the configuration, the demo's file, no `kubectl`.
pub async fn run(options: &Options) -> Result<bool, String> {
    let config = if options.key.is_some() {
        Config::load_without_secrets(&options.config)
    } else {
        Config::load(&options.config, &Env::of_process())
    };
    let config = config.map_err(|problems| command::report(&problems))?;
    begin(options, &config)
        .await
        .map_err(|failure| failure.to_string())
}

async fn begin(options: &Options, config: &Config) -> Result<bool, Failure> {
    let target = Target::of(options, config)?;
    let key = public_key(options, config)?;
    // Asked for or set by whoever runs the demo, never guessed: it is the only way past real sign-ins.
    let demo = options
        .demo
        .clone()
        .or_else(|| std::env::var_os("BREAKGLASS_WORLD").map(Into::into));
    match &demo {
        Some(path) => Ok(
            unattended::Course::new(options, config, World::read(path)?, target, key)?
                .run()
                .await,
        ),
        None => attended::run(options, config, &target, &key).await,
    }
}

fn public_key(options: &Options, config: &Config) -> Result<VerifierKey, Failure> {
    let wrong = |error| Failure::Wrong(format!("the log's key: {error}"));
    match &options.key {
        Some(text) => text.trim().parse().map_err(wrong),
        None => Signer::from_text(&config.ledger.origin, config.ledger.signing_key.expose())
            .map(|signer| signer.verifier_key())
            .map_err(wrong),
    }
}

/// How long a broker that is just being started may take.
const STARTED: Duration = Duration::from_mins(1);

/// The broker says that it is ready.
async fn ready(visitor: &mut Visitor) -> Result<((), String), Failure> {
    let said = until("the broker", STARTED, async || {
        Ok(match visitor.open("/readyz").await {
            Ok(answer) if answer.status == 200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
            Ok(answer) => Err(answer.failure().to_string()),
            Err(failure) => Err(failure.to_string()),
        })
    });
    Ok(((), format!("it says: {}", said.await?.trim())))
}
