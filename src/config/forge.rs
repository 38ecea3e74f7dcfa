//! `forge`: where git lives and which folders of it are which cluster.

use super::{Secret, scalar::HttpUrl};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The forge that pull requests are opened at.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forge {
    /// Which forge it is.
    pub kind: ForgeKind,
    /// The address of its API.
    #[serde(default = "github_api")]
    pub api_url: HttpUrl,
    /// The address of its pages.
    #[serde(default = "github_web")]
    pub web_url: HttpUrl,
    /// How the broker signs in there.
    pub credentials: ForgeCredentials,
    /// The secret its webhooks are signed with.
    pub webhook_secret: Secret,
    /// The name of the check that holds a pull request until somebody else approved it.
    #[serde(default = "check_name")]
    pub check_name: String,
    /// More certificate authorities to trust when talking to it, PEM.
    #[serde(default)]
    pub extra_ca_file: Option<PathBuf>,
    /// The forge login of a person, by person claim, where no claim carries it.
    #[serde(default)]
    pub logins: BTreeMap<String, String>,
    /// The repositories, by a name of your own.
    pub repositories: BTreeMap<String, Repository>,
}

/// Which forge it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForgeKind {
    /// GitHub, in the cloud or on your own servers.
    Github,
}

/// How the broker signs in at the forge.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ForgeCredentials {
    /// An access token.
    Token(Secret),
    /// A GitHub App: the one way to write checks.
    App(ForgeApp),
}

/// A GitHub App.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgeApp {
    /// The App's id.
    pub id: u64,
    /// Its private key, PEM.
    pub private_key: Secret,
}

/// A repository that clusters are deployed from.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// `owner/name` at the forge.
    pub repository: String,
    /// The branch that clusters follow.
    #[serde(default = "main")]
    pub base_branch: String,
    /// What its folders deploy.
    pub paths: Vec<DeployedPath>,
}

/// A folder and the cluster it deploys.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployedPath {
    /// The folder, without a slash at either end; empty is the whole repository.
    pub path: String,
    /// The cluster it deploys to.
    pub cluster: String,
    /// The namespace of objects that name none.
    #[serde(default)]
    pub default_namespace: Option<String>,
}

impl Repository {
    /// The owner and the name.
    #[must_use]
    pub fn owner_and_name(&self) -> Option<(&str, &str)> {
        self.repository
            .split_once('/')
            .filter(|(owner, name)| !owner.is_empty() && !name.is_empty() && !name.contains('/'))
    }
}

#[expect(clippy::expect_used, reason = "a constant, read by a test")]
fn github_api() -> HttpUrl {
    "https://api.github.com".parse().expect("an address")
}

#[expect(clippy::expect_used, reason = "a constant, read by a test")]
fn github_web() -> HttpUrl {
    "https://github.com".parse().expect("an address")
}

fn check_name() -> String {
    "breakglass/independent-approval".into()
}

fn main() -> String {
    "main".into()
}
