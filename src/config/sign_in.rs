//! `sign_in`: the OpenID provider and what of its claims is believed.

use super::{Secret, scalar::Duration, scalar::HttpUrl};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The OpenID provider that people sign in at.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The provider's issuer, exactly as it writes it into tokens.
    pub issuer: HttpUrl,
    /// The client id registered there.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Secret,
    /// The claim that names a person, the same through every account of theirs (an employee id):
    /// separation of duties is decided by it.
    #[serde(default = "person_claim")]
    pub person_claim: String,
    /// The claim that lists a person's groups.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
    /// The claim with a person's login at the forge. Without it (and without `forge.logins`)
    /// nobody's review of a pull request can count.
    #[serde(default)]
    pub forge_login_claim: Option<String>,
    /// The scopes asked for; `openid` must be among them.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// More certificate authorities to trust when talking to the provider, PEM.
    #[serde(default)]
    pub extra_ca_file: Option<PathBuf>,
    /// How long ago a login may be for approving and revealing; `0s` asks again every time. A
    /// profile may set its own.
    #[serde(default = "window")]
    pub step_up_window: Duration,
    /// The authentication contexts (`acr`) that a step-up must come back with, any of them; empty
    /// accepts every one.
    #[serde(default)]
    pub acr_values: Vec<String>,
    /// How long a session lasts.
    #[serde(default)]
    pub session: Session,
}

/// How long a session lasts.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Without any request.
    #[serde(default = "idle")]
    pub idle: Duration,
    /// In all.
    #[serde(default = "absolute")]
    pub absolute: Duration,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            idle: idle(),
            absolute: absolute(),
        }
    }
}

fn person_claim() -> String {
    "sub".into()
}

fn groups_claim() -> String {
    "groups".into()
}

fn scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(str::to_owned).into()
}

const fn window() -> Duration {
    Duration::from_seconds(5 * 60)
}

const fn idle() -> Duration {
    Duration::from_seconds(30 * 60)
}

const fn absolute() -> Duration {
    Duration::from_seconds(12 * 3600)
}
