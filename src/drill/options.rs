//! What a drill is told.

use super::failure::Failure;
use crate::config::Config;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use url::Url;

/// How to run a drill.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The broker's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// The profile to drill; the first for namespaces that one approval is enough for when left out.
    #[arg(long)]
    pub profile: Option<String>,
    /// The cluster; the profile's first when left out.
    #[arg(long)]
    pub cluster: Option<String>,
    /// The namespace; the profile's first when left out.
    #[arg(long)]
    pub namespace: Option<String>,
    /// The Deployment to scale by one; the first of the namespace that is not recreated when left out.
    #[arg(long)]
    pub deployment: Option<String>,
    /// The `kubectl` to use; the one in `KUBEBUILDER_ASSETS` or `PATH` when left out.
    #[arg(long)]
    pub kubectl: Option<PathBuf>,
    /// More certificate authorities to trust, PEM.
    #[arg(long)]
    pub ca_file: Vec<PathBuf>,
    /// The log's public key (name+hash+base64); derived from the configured signing key when left out.
    #[arg(long)]
    pub key: Option<String>,
    /// The `world.json` of a running demo (or `BREAKGLASS_WORLD`): its sign-in and its forge need no
    /// people, so the drill goes through the whole emergency alone.
    #[arg(long)]
    pub demo: Option<PathBuf>,
    /// The demo sign-in's account of the requester.
    #[arg(long, default_value = "oncall")]
    pub requester: String,
    /// A second account of the requester at the demo sign-in, one that could approve for others.
    #[arg(long, default_value = "oncall-lead")]
    pub second_account: String,
    /// The demo sign-in's account of the approver.
    #[arg(long, default_value = "approver")]
    pub approver: String,
    /// The demo sign-in's account of compliance, who reads feed, SLA and ledger.
    #[arg(long, default_value = "compliance")]
    pub compliance: String,
    /// The requester's login at the demo forge.
    #[arg(long, default_value = "oncall-engineer")]
    pub requester_login: String,
    /// The login at the demo forge of the one who reviews and merges.
    #[arg(long, default_value = "first-approver")]
    pub reviewer_login: String,
    /// Where the engineer saves the kubeconfig, in a drill with people.
    #[arg(long, default_value = "drill.kubeconfig")]
    pub kubeconfig: PathBuf,
    /// Where compliance saves the export of the grant, in a drill with people.
    #[arg(long, default_value = "drill.bgx")]
    pub export: PathBuf,
}

/// The shortest approval that is asked for, in minutes.
pub(super) const SHORTEST: u32 = 5;

/// What is drilled.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) profile: String,
    pub(super) cluster: String,
    pub(super) namespace: String,
    /// What the form offers first.
    pub(super) minutes: i64,
    pub(super) deployment: Option<String>,
}

impl Target {
    /// What the options name, or the first that the configuration offers.
    pub(super) fn of(options: &Options, config: &Config) -> Result<Self, Failure> {
        let named = options.profile.as_ref().map(|name| {
            config
                .profiles
                .get(name)
                .ok_or_else(|| Failure::Missing(format!("there is no profile {name}")))
        });
        let first = config
            .profiles
            .values()
            .find(|profile| !profile.namespaces.is_empty() && profile.approvals == 1);
        let profile = match named {
            Some(named) => named?,
            None => first.ok_or_else(|| {
                Failure::Missing("no profile is for namespaces with one approval: a drill needs one".into())
            })?,
        };
        if profile.approvals != 1 {
            let words = format!(
                "the profile {} needs {} approvals: a drill gives one",
                profile.name, profile.approvals
            );
            return Err(Failure::Missing(words));
        }
        let cluster = options
            .cluster
            .clone()
            .or_else(|| profile.clusters.first().cloned());
        let namespace = options.namespace.clone().or_else(|| {
            let exact = profile.namespaces.iter().map(ToString::to_string);
            exact.into_iter().find(|name| !name.contains('*'))
        });
        let missing =
            |what: &str| Failure::Missing(format!("the profile {} names no {what}: name one", profile.name));
        Ok(Self {
            profile: profile.name.clone(),
            cluster: cluster.ok_or_else(|| missing("cluster"))?,
            namespace: namespace.ok_or_else(|| missing("exact namespace (--namespace)"))?,
            minutes: profile
                .durations
                .first()
                .map_or(15, |first| i64::from(first.seconds() / 60)),
            deployment: options.deployment.clone(),
        })
    }
}

/// What the drill reads of a running demo.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct World {
    pub(super) cluster: WorldCluster,
    pub(super) forge_address: WorldForge,
}

/// The demo's cluster.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorldCluster {
    /// The kubeconfig of its owner: the drill looks at the cluster with it after the grant is dead.
    pub(super) admin_kubeconfig: PathBuf,
}

/// The demo's forge.
#[derive(Debug, Deserialize)]
pub(super) struct WorldForge {
    /// Where its pages are.
    pub(super) url: Url,
}

impl World {
    /// Reads the `world.json` of a demo.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::machine(path.display().to_string(), error))?;
        // The parser's words are left out: the file holds tokens.
        serde_json::from_str(&text).map_err(|error| {
            Failure::Missing(format!(
                "{} is no demo's world.json (line {})",
                path.display(),
                error.line()
            ))
        })
    }
}
