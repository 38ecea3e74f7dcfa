//! The configuration: one YAML file, validated whole at start, secrets redacted. A file of this room
//! is a section of that file.
//!
//! Reading goes in three steps, each of which finds as many problems as it can: `tree` parses the
//! YAML and remembers where everything stands, `shape` holds it against the JSON Schema that the
//! sections' own types give, and `validate` asks whether what the sections say of each other is true.

mod approvers;
mod authority;
mod automation;
mod canonical;
mod cluster_roles;
mod clusters;
pub mod command;
#[cfg(test)]
pub(crate) mod fixture;
mod forge;
mod ledger;
mod load;
mod notices;
mod problem;
mod profiles;
mod roles;
mod scalar;
mod secret;
mod server;
mod shape;
mod sign_in;
mod sla;
mod store;
mod teams;
mod tree;
mod validate;

pub use approvers::Approvers;
pub use authority::{AuthorityError, authority};
pub use automation::Automation;
pub use cluster_roles::{ClusterRole, Rule, SHIPPED as SHIPPED_CLUSTER_ROLE, Scope, is_change};
pub use clusters::{
    ALWAYS_PROTECTED, Access, ApiServer, AuditSender, BROKER_ACCOUNT, BROKER_NAMESPACE, BROKER_USER, Canary,
    Cluster, GRANT_LABEL, GRANTS_GROUP, GRANTS_NAMESPACE, Keep, Kubeconfig, NAME_ID_DIGITS, NAME_PREFIX,
    PROBE_ACCOUNT, PROBE_PARAMETER, REVEAL_SECRET_TYPE, SCOPE_LABEL, grant_name,
};
pub use forge::{DeployedPath, Forge, ForgeApp, ForgeCredentials, ForgeKind, Repository};
pub use ledger::{Ledger, LogReader, LogWitness};
pub use notices::{Notices, Smtp, SmtpTls, Webhook};
pub use problem::Problem;
pub use profiles::{LONGEST_PATIENCE, Profile, WhenSilent};
pub use roles::Roles;
pub use scalar::{Cidr, Duration, HttpUrl, Listen, Pattern, Scalar};
pub use secret::{Env, Secret};
pub use server::{Limits, Server, Tls};
pub use shape::schema;
pub use sign_in::{Session, SignIn};
pub use sla::{Deadlines, Sla};
pub use store::Store;
pub use teams::Team;

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::LazyLock};

/// The whole configuration. Names that are keys (`teams`, `clusters`, `profiles`, `approvers`,
/// repositories) are chosen by whoever writes it: lower-case letters, digits and `-`.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the service listens and how people reach it.
    pub server: Server,
    /// The database.
    pub store: Store,
    /// The OpenID provider.
    pub sign_in: SignIn,
    /// Who works together, and who leads them.
    pub teams: BTreeMap<String, Team>,
    /// Which groups may do what in the service.
    pub roles: Roles,
    /// The clusters that access is lent to.
    pub clusters: BTreeMap<String, Cluster>,
    /// What profiles allow, besides the shipped `breakglass-workloads`.
    #[serde(default)]
    pub cluster_roles: BTreeMap<String, ClusterRole>,
    /// What can be asked for.
    pub profiles: BTreeMap<String, Profile>,
    /// Named circles of people who may approve.
    pub approvers: BTreeMap<String, Approvers>,
    /// Where git lives.
    pub forge: Forge,
    /// Who is told, and how.
    #[serde(default)]
    pub notices: Notices,
    /// The deadlines of what is owed afterwards.
    #[serde(default)]
    pub sla: Sla,
    /// The name and the key of the log.
    pub ledger: Ledger,
}

impl Config {
    /// SHA-256 over the whole configuration in canonical JSON, hex: defaults filled in, secrets as
    /// `[redacted]`, so that it tells one policy from another and nothing about a secret.
    #[must_use]
    pub fn digest(&self) -> String {
        canonical::digest(self)
    }

    /// The ClusterRole of that name: a configured one, or the shipped one.
    #[must_use]
    pub fn cluster_role(&self, name: &str) -> Option<&ClusterRole> {
        static SHIPPED: LazyLock<ClusterRole> = LazyLock::new(ClusterRole::shipped);
        self.cluster_roles
            .get(name)
            .or_else(|| (name == SHIPPED_CLUSTER_ROLE).then(|| &*SHIPPED))
    }

    /// The profiles that can be used on a cluster, by name.
    pub fn profiles_on<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = &'a Profile> {
        self.profiles
            .values()
            .filter(move |profile| profile.clusters.iter().any(|name| name == cluster))
    }

    /// The deadlines that hold for a profile.
    #[must_use]
    pub fn deadlines(&self, profile: &Profile) -> Deadlines {
        profile.deadlines.unwrap_or(self.sla.deadlines)
    }

    /// The step-up window that holds for a profile.
    #[must_use]
    pub fn step_up_window(&self, profile: &Profile) -> Duration {
        profile.step_up_window.unwrap_or(self.sign_in.step_up_window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const EXAMPLE: &str = include_str!("../../breakglass.example.yaml");

    fn read(text: &str) -> Result<Config, String> {
        Config::from_text("test.yaml", text, Path::new("/nowhere"), None)
            .map_err(|problems| command::report(&problems))
    }

    /// The example with one piece of text replaced, and what is then said of it.
    fn refused(from: &str, to: &str) -> String {
        assert_eq!(
            EXAMPLE.matches(from).count(),
            1,
            "{from:?} must be in the example once"
        );
        read(&EXAMPLE.replace(from, to))
            .map(|_| panic!("{to:?} was taken"))
            .unwrap_err()
    }

    #[test]
    fn the_example_is_valid_and_says_what_it_says() {
        let config = read(EXAMPLE).unwrap();
        let profile = &config.profiles["payments-admin"];
        assert_eq!(profile.name, "payments-admin");
        assert_eq!(config.deadlines(profile).merged.to_string(), "24h");
        assert_eq!(
            config
                .deadlines(&config.profiles["node-repair"])
                .merged
                .to_string(),
            "8h"
        );
        assert_eq!(
            config.step_up_window(&config.profiles["node-repair"]).seconds(),
            0
        );
        assert!(profile.allows_namespace("payments-db") && !profile.allows_namespace("billing"));
        assert!(config.clusters["production"].protects("kube-system"));
        assert!(config.clusters["production"].protects("argocd"));
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of what is refused")]
    fn what_sections_say_of_each_other_must_be_true() {
        for (from, to, words) in [
            (
                "approvals: 1\n    approvers: [leads]",
                "approvers: [laeds]",
                "'laeds' is not one of `approvers`",
            ),
            (
                "approvals: 1\n    approvers: [leads]",
                "approvers: [laeds]",
                "did you mean 'leads'?",
            ),
            (
                "teams: [payments]",
                "teams: [payment]",
                "did you mean 'payments'?",
            ),
            (
                "max_duration: 1h",
                "max_duration: 20m",
                "30m is longer than `max_duration` (20m)",
            ),
            ("max_duration: 4h", "max_duration: 2d", "at most 24h"),
            (
                "approvals: 1\n",
                "approvals: 0\n",
                "nobody approves their own access",
            ),
            (
                "namespaces: [payments, payments-*]",
                "namespaces: [kube-system]",
                "is always protected on 'production'",
            ),
            (
                "namespaces: [payments, payments-*]",
                "namespaces: [argocd]",
                "'argocd' is protected on 'production'",
            ),
            (
                "namespaces: [payments, payments-*]",
                "namespaces: []",
                "could be used nowhere",
            ),
            (
                "cluster_role: breakglass-workloads",
                "cluster_role: breakglass-workload",
                "did you mean 'breakglass-workloads'?",
            ),
            (
                "cluster_role: breakglass-workloads",
                "cluster_role: cluster-admin",
                "describe it in `cluster_roles`",
            ),
            (
                "resources: [nodes], verbs",
                "resources: [secrets], verbs",
                "reach into the protected namespaces",
            ),
            ("verbs: [get, list, watch, patch]", "verbs: ['*']", "wildcard"),
            (
                "  breakglass-nodes:",
                "  breakglass-workloads:",
                "taken by a shipped role",
            ),
            (
                "public_url: https://breakglass",
                "public_url: http://breakglass",
                "not encrypted",
            ),
            ("issuer: https", "issuer: http", "not encrypted"),
            (
                "paths:\n        - {path: clusters/production",
                "paths:\n        - {path: ../production",
                "inside the repository",
            ),
            (
                "repository: example/deploy",
                "repository: example",
                "expected owner/name",
            ),
            (
                "forge_login_claim: github_login",
                "",
                "nobody's review could ever count",
            ),
            ("tls: starttls", "tls: none", "expected `implicit` or `starttls`"),
            (
                "from: breakglass <breakglass@example.org>",
                "from: nobody",
                "expected a mail address",
            ),
            (
                "origin: breakglass.example.org/ledger",
                "origin: https://x",
                "no scheme",
            ),
            ("merged: 24h", "merged: 1m", "earlier than `opened`"),
            (
                "due_soon_percent: 75",
                "due_soon_percent: 100",
                "expected 1 to 99",
            ),
        ] {
            let said = refused(from, to);
            assert!(said.contains(words), "no {words:?} in\n{said}");
        }
    }

    #[test]
    fn a_service_open_to_the_network_without_encryption_is_refused() {
        let tls = EXAMPLE
            .lines()
            .filter(|line| line.contains("tls:") || line.contains("_file: /etc/breakglass/tls"));
        let plain = tls.take(3).fold(EXAMPLE.to_owned(), |text, line| {
            text.replacen(&format!("{line}\n"), "", 1)
        });
        assert!(
            read(&plain).unwrap_err().contains("open to the network"),
            "{plain}"
        );
        assert!(read(&plain.replace("0.0.0.0:8443", "127.0.0.1:8443")).is_ok());
        let proxied =
            |network: &str| plain.replace("server:\n", &format!("server:\n  trusted_proxies: [{network}]\n"));
        assert!(read(&proxied("10.0.0.7")).is_ok());
        assert!(read(&proxied("0.0.0.0/0")).unwrap_err().contains("is everybody"));
    }

    #[test]
    fn a_problem_found_late_points_at_its_line() {
        let said = refused("teams: [payments]", "teams: [payment]");
        let line = EXAMPLE
            .lines()
            .position(|line| line.contains("teams: [payments]"))
            .unwrap()
            + 1;
        assert!(
            said.contains(&format!(
                "test.yaml:{line}:13  (profiles.payments-admin.teams[0])"
            )),
            "{said}"
        );
    }

    #[test]
    fn secrets_that_are_missing_weak_or_shared_are_each_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut text = EXAMPLE.to_owned();
        for path in [
            "/etc/breakglass/tls/tls.crt",
            "/etc/breakglass/tls/tls.key",
            "/etc/breakglass/production-ca.crt",
        ] {
            let name = path.rsplit('/').next().unwrap();
            std::fs::write(folder.path().join(name), "x").unwrap();
            text = text.replace(path, name);
        }
        let good = [
            ("oidc-client-secret", "a client secret"),
            ("audit-token-production", "0123456789abcdef0123456789abcdef"),
            ("github-app.pem", "key"),
            ("github-webhook-secret", "0123456789abcdef"),
            ("smtp-password", "p"),
            (
                "webhook-secret",
                "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            ),
            (
                "ledger-seed",
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            ),
        ];
        for (name, _) in good {
            text = text.replace(&format!("file: /run/secrets/{name}"), &format!("env: {name}"));
        }
        let load = |pairs: &[(&str, &str)]| {
            Config::from_text("test.yaml", &text, folder.path(), Some(&Env::of(pairs)))
                .map_err(|problems| command::report(&problems))
        };
        let config = load(&good).unwrap();
        assert_eq!(config.sign_in.client_secret.expose(), "a client secret");
        assert!(!format!("{config:?}{}", serde_json::to_string(&config).unwrap()).contains("0123456789"));
        assert_eq!(
            config.server.tls.unwrap().cert_file,
            folder.path().join("tls.crt")
        );
        assert!(
            load(&good[1..])
                .unwrap_err()
                .contains("oidc-client-secret is not set")
        );
        for (name, bad, words) in [
            ("audit-token-production", "short", "could be guessed"),
            ("webhook-secret", "whsec_abc", "24 to 64 bytes"),
            ("ledger-seed", "0011", "32 bytes in hex"),
        ] {
            let pairs = good.map(|(key, value)| (key, if key == name { bad } else { value }));
            let said = load(&pairs).unwrap_err();
            assert!(said.contains(words) && !said.contains(bad), "{said}");
        }
    }

    #[test]
    fn a_digest_changes_with_its_own_profile_alone() {
        let (one, two) = (
            read(EXAMPLE).unwrap(),
            read(&EXAMPLE.replace("max_duration: 1h", "max_duration: 2h")).unwrap(),
        );
        assert_ne!(one.digest(), two.digest());
        assert_ne!(
            one.profiles["node-repair"].digest(),
            two.profiles["node-repair"].digest()
        );
        assert_eq!(
            one.profiles["payments-admin"].digest(),
            two.profiles["payments-admin"].digest()
        );
    }

    #[test]
    fn a_grants_name_ends_in_digits_of_a_fixed_length() {
        let name = grant_name("payments-admin", crate::ids::GrantId::new());
        let (_, digits) = name.rsplit_once('-').unwrap();
        assert!(name.starts_with("breakglass-payments-admin-") && digits.len() == NAME_ID_DIGITS);
    }
}
