//! Whether what the sections say of each other is true: names that exist, walls that stand,
//! secrets that can do their work.

use super::problem::nearest;
use super::tree::Step;
use super::{
    ALWAYS_PROTECTED, AuditSender, Config, Deadlines, Duration, HttpUrl, LONGEST_PATIENCE, NAME_PREFIX,
    Profile, SHIPPED_CLUSTER_ROLE, Scope, SmtpTls, Store,
};
use base64::Engine;
use std::collections::BTreeMap;

/// Something the shape cannot show.
pub(super) struct Finding {
    pub steps: Vec<Step>,
    pub message: String,
    pub help: Option<String>,
}

macro_rules! path {
    ($($step:expr),* $(,)?) => { vec![$(Step::from($step)),*] };
}

struct Findings(Vec<Finding>);

impl Findings {
    fn say(&mut self, steps: Vec<Step>, message: impl Into<String>) {
        self.0.push(Finding {
            steps,
            message: message.into(),
            help: None,
        });
    }

    fn help(&mut self, steps: Vec<Step>, message: impl Into<String>, help: impl Into<String>) {
        self.0.push(Finding {
            steps,
            message: message.into(),
            help: Some(help.into()),
        });
    }

    /// Each of `wanted` must be a key of `known`.
    fn known<T>(&mut self, steps: &[Step], kind: &str, wanted: &[String], known: &BTreeMap<String, T>) {
        for (at, name) in wanted
            .iter()
            .enumerate()
            .filter(|(_, name)| !known.contains_key(*name))
        {
            let help = match nearest(name, known.keys().map(String::as_str)) {
                Some(near) => format!("did you mean '{near}'?"),
                None if known.is_empty() => format!("`{kind}` names none"),
                None => format!(
                    "`{kind}` has {}",
                    known.keys().cloned().collect::<Vec<_>>().join(", ")
                ),
            };
            let steps = steps.iter().cloned().chain([Step::Index(at)]).collect();
            self.help(steps, format!("'{name}' is not one of `{kind}`"), help);
        }
    }

    fn not_empty<T>(&mut self, steps: Vec<Step>, list: &[T], why: &str) {
        if list.is_empty() {
            self.say(steps, format!("the list is empty: {why}"));
        }
    }
}

/// Everything that is wrong with a configuration whose shape is right.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    server(config, &mut found);
    sign_in(config, &mut found);
    people(config, &mut found);
    clusters(config, &mut found);
    cluster_roles(config, &mut found);
    for (name, profile) in &config.profiles {
        self::profile(config, name, profile, &mut found);
    }
    forge(config, &mut found);
    notices(config, &mut found);
    ledger(config, &mut found);
    found.0
}

/// People's tokens and the broker's secrets go there: never over the open network.
fn encrypted(found: &mut Findings, steps: Vec<Step>, url: &HttpUrl) {
    if !url.is_https() && !url.is_loopback() {
        found.say(
            steps,
            format!("expected an https address: {url} is not encrypted and not this machine"),
        );
    }
}

fn server(config: &Config, found: &mut Findings) {
    let server = &config.server;
    let loopback = server.listen.address().ip().is_loopback();
    if server.tls.is_none() && server.trusted_proxies.is_empty() && !loopback {
        found.help(
            path!["server"],
            format!("{} is open to the network without encryption", server.listen),
            "give `tls`, or name the proxy in front of it in `trusted_proxies`, or listen on 127.0.0.1",
        );
    }
    for (at, network) in server
        .trusted_proxies
        .iter()
        .enumerate()
        .filter(|(_, network)| network.prefix_len() == 0)
    {
        found.say(
            path!["server", "trusted_proxies", at],
            format!("{network} is everybody: name the proxy's own address"),
        );
    }
    encrypted(found, path!["server", "public_url"], &server.public_url);
    if server.public_url.url().path() != "/" || server.public_url.url().query().is_some() {
        found.say(
            path!["server", "public_url"],
            "expected an address without a path: cookies and the origin check are for a host",
        );
    }
}

fn sign_in(config: &Config, found: &mut Findings) {
    let sign_in = &config.sign_in;
    encrypted(found, path!["sign_in", "issuer"], &sign_in.issuer);
    if !sign_in.scopes.iter().any(|scope| scope == "openid") {
        found.say(
            path!["sign_in", "scopes"],
            "`openid` is missing: without it there is no ID token",
        );
    }
    for (name, value) in [
        ("idle", sign_in.session.idle),
        ("absolute", sign_in.session.absolute),
    ] {
        if value.seconds() == 0 {
            found.say(
                path!["sign_in", "session", name],
                "a session of no length lets nobody in",
            );
        }
    }
    if sign_in.session.idle > sign_in.session.absolute {
        found.say(
            path!["sign_in", "session", "idle"],
            "it is longer than `absolute`",
        );
    }
}

fn people(config: &Config, found: &mut Findings) {
    for (name, team) in &config.teams {
        found.not_empty(
            path!["teams", name, "groups"],
            &team.groups,
            "nobody would be in the team",
        );
    }
    let roles = &config.roles;
    for (role, groups) in [
        ("engineer", &roles.engineer),
        ("approver", &roles.approver),
        ("compliance", &roles.compliance),
    ] {
        found.not_empty(path!["roles", role], groups, "nobody would hold the role");
    }
    for (name, circle) in &config.approvers {
        if circle.groups.is_empty() && circle.people.is_empty() {
            found.say(
                path!["approvers", name],
                "it has neither `groups` nor `people`: nobody could approve",
            );
        }
    }
}

fn clusters(config: &Config, found: &mut Findings) {
    if config.clusters.is_empty() {
        found.say(path!["clusters"], "no cluster is configured");
    }
    let mut tokens: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, cluster) in &config.clusters {
        if let Some(url) = &cluster.engineer_server {
            encrypted(found, path!["clusters", name, "engineer_server"], url);
        }
        let canary = &cluster.canary;
        if canary.every.seconds() == 0 {
            found.say(path!["clusters", name, "canary", "every"], "expected at least 1s");
        }
        if canary.alarm_after <= canary.every {
            found.say(
                path!["clusters", name, "canary", "alarm_after"],
                "it must be longer than `every`",
            );
        }
        if canary.end_after < canary.alarm_after {
            found.say(
                path!["clusters", name, "canary", "end_after"],
                "it is shorter than `alarm_after`",
            );
        }
        if let AuditSender::Token(token) = &cluster.audit
            && token.is_read()
        {
            let steps = path!["clusters", name, "audit", "token"];
            if token.expose().len() < 32 {
                found.help(
                    steps.clone(),
                    "the token has fewer than 32 characters and could be guessed",
                    "openssl rand -hex 32",
                );
            }
            if let Some(other) = tokens.insert(token.expose(), name) {
                found.say(
                    steps,
                    format!("it is the token of '{other}' too: each cluster could write the other's events"),
                );
            }
        }
    }
}

fn cluster_roles(config: &Config, found: &mut Findings) {
    for (name, role) in &config.cluster_roles {
        let reserved = [SHIPPED_CLUSTER_ROLE, "breakglass-broker"].contains(&name.as_str());
        if reserved || !name.starts_with(NAME_PREFIX) {
            let message = if reserved {
                "this name is taken by a shipped role"
            } else {
                "it must begin with 'breakglass-'"
            };
            found.help(
                path!["cluster_roles", name],
                format!("'{name}' cannot be the name of a role: {message}"),
                "applying the manifests must never overwrite a ClusterRole that is somebody else's",
            );
        }
        found.not_empty(
            path!["cluster_roles", name, "rules"],
            &role.rules,
            "it would allow nothing",
        );
        for (at, why) in role.dangers() {
            found.say(path!["cluster_roles", name, "rules", at], why);
        }
    }
}

fn profile(config: &Config, name: &String, profile: &Profile, found: &mut Findings) {
    let at = |field: &str| path!["profiles", name, field];
    found.known(&at("clusters"), "clusters", &profile.clusters, &config.clusters);
    found.known(&at("teams"), "teams", &profile.teams, &config.teams);
    found.known(
        &at("approvers"),
        "approvers",
        &profile.approvers,
        &config.approvers,
    );
    found.not_empty(at("clusters"), &profile.clusters, "it could be used nowhere");
    found.not_empty(at("teams"), &profile.teams, "nobody could ask for it");
    found.not_empty(at("approvers"), &profile.approvers, "nobody could approve");
    found.not_empty(
        at("durations"),
        &profile.durations,
        "the form would have nothing to offer",
    );
    if profile.description.trim().is_empty() {
        found.say(at("description"), "it is empty: the approver reads it");
    }
    if profile.approvals == 0 {
        found.say(
            at("approvals"),
            "expected at least 1: nobody approves their own access",
        );
    }
    namespaces(config, name, profile, found);
    durations(name, profile, found);
    for (at, account) in profile.service_account_names.iter().enumerate() {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if account.is_empty() || account.len() > 253 || !account.chars().all(allowed) {
            let steps = path!["profiles", name, "service_account_names", at];
            found.say(
                steps,
                format!("'{account}' is no name of a ServiceAccount; patterns are not allowed here"),
            );
        }
    }
}

fn namespaces(config: &Config, name: &String, profile: &Profile, found: &mut Findings) {
    let at = |field: &str| path!["profiles", name, field];
    let Some(role) = config.cluster_role(&profile.cluster_role) else {
        let names = config
            .cluster_roles
            .keys()
            .map(String::as_str)
            .chain([SHIPPED_CLUSTER_ROLE]);
        let help = match nearest(&profile.cluster_role, names) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("describe it in `cluster_roles`, or use the shipped '{SHIPPED_CLUSTER_ROLE}'"),
        };
        found.help(
            at("cluster_role"),
            format!("'{}' is not one of `cluster_roles`", profile.cluster_role),
            help,
        );
        return;
    };
    match role.scope {
        Scope::Cluster if !profile.namespaces.is_empty() => {
            found.say(
                at("namespaces"),
                format!(
                    "'{}' is bound in the whole cluster and takes no namespaces",
                    profile.cluster_role
                ),
            );
        }
        Scope::Namespaces if profile.namespaces.is_empty() => {
            found.help(
                at("namespaces"),
                "it names no namespaces: the profile could be used nowhere",
                "'*' is every namespace but the protected ones",
            );
        }
        _ => {}
    }
    for (index, pattern) in profile.namespaces.iter().enumerate() {
        let steps = path!["profiles", name, "namespaces", index];
        let Some(namespace) = pattern.exact() else {
            continue;
        };
        let clusters = profile.clusters.iter().filter(|cluster| {
            config
                .clusters
                .get(*cluster)
                .is_some_and(|c| c.protects(namespace))
        });
        if let Some(cluster) = clusters.into_iter().next() {
            let why = if ALWAYS_PROTECTED.contains(&namespace) {
                "is always protected"
            } else {
                "is protected"
            };
            found.say(steps, format!("the namespace '{namespace}' {why} on '{cluster}': whoever writes there can take the cluster"));
        }
    }
    let default = profile.allows_namespace("default");
    let endpoints = role.rules.iter().any(|rule| {
        rule.changes()
            && rule
                .pairs()
                .any(|pair| matches!(pair, ("", "endpoints") | ("discovery.k8s.io", "endpointslices")))
    });
    if default && endpoints {
        found.say(
            at("namespaces"),
            "it reaches 'default' with a role that changes endpoints: the API server's own address stands there",
        );
    }
}

fn durations(name: &String, profile: &Profile, found: &mut Findings) {
    let at = |field: &str| path!["profiles", name, field];
    for (index, duration) in profile.durations.iter().enumerate() {
        let steps = path!["profiles", name, "durations", index];
        if *duration > profile.max_duration {
            found.say(
                steps,
                format!(
                    "{duration} is longer than `max_duration` ({})",
                    profile.max_duration
                ),
            );
        } else if duration.seconds() < 60 {
            found.say(steps, "expected at least 1m");
        }
    }
    if profile.max_duration > Duration::from_seconds(24 * 3600) {
        found.say(
            at("max_duration"),
            "expected at most 24h: longer access is no emergency",
        );
    }
    if profile.patience > LONGEST_PATIENCE || profile.patience.seconds() == 0 {
        found.say(at("patience"), "expected more than nothing and at most 24h");
    }
    if profile.ready_shelf_life.seconds() == 0 {
        found.say(
            at("ready_shelf_life"),
            "expected more than nothing: nobody could reveal in time",
        );
    }
    if let Some(deadlines) = &profile.deadlines {
        self::deadlines(found, &at("deadlines"), deadlines);
    }
}

fn deadlines(found: &mut Findings, steps: &[Step], deadlines: &Deadlines) {
    let under = |field: &str| {
        steps
            .iter()
            .cloned()
            .chain([Step::from(field)])
            .collect::<Vec<_>>()
    };
    if deadlines.opened.seconds() == 0 {
        found.say(under("opened"), "a deadline of no length is missed at once");
    }
    if deadlines.merged < deadlines.opened {
        found.say(under("merged"), "it is earlier than `opened`");
    }
    if deadlines.converged < deadlines.merged {
        found.say(under("converged"), "it is earlier than `merged`");
    }
}

fn forge(config: &Config, found: &mut Findings) {
    let forge = &config.forge;
    encrypted(found, path!["forge", "api_url"], &forge.api_url);
    encrypted(found, path!["forge", "web_url"], &forge.web_url);
    if forge.webhook_secret.is_read() && forge.webhook_secret.expose().len() < 16 {
        found.help(
            path!["forge", "webhook_secret"],
            "it has fewer than 16 characters and could be guessed",
            "openssl rand -hex 32",
        );
    }
    let mut folders: BTreeMap<(&str, &str, &str), &str> = BTreeMap::new();
    for (name, repository) in &forge.repositories {
        if repository.owner_and_name().is_none() {
            let steps = path!["forge", "repositories", name, "repository"];
            found.say(
                steps,
                format!("expected owner/name, found '{}'", repository.repository),
            );
        }
        found.not_empty(
            path!["forge", "repositories", name, "paths"],
            &repository.paths,
            "it would deploy nothing",
        );
        for (at, deployed) in repository.paths.iter().enumerate() {
            let under = |field: &str| path!["forge", "repositories", name, "paths", at, field];
            if !config.clusters.contains_key(&deployed.cluster) {
                let help = nearest(&deployed.cluster, config.clusters.keys().map(String::as_str))
                    .map_or("name one of `clusters`".to_owned(), |near| {
                        format!("did you mean '{near}'?")
                    });
                found.help(
                    under("cluster"),
                    format!("'{}' is not one of `clusters`", deployed.cluster),
                    help,
                );
            }
            let path = deployed.path.as_str();
            if path.starts_with('/')
                || path.ends_with('/')
                || path.split('/').any(|part| matches!(part, "." | ".."))
            {
                found.say(under("path"), format!("expected a folder inside the repository without a slash at either end, found '{path}'"));
            }
            let key = (repository.repository.as_str(), path, deployed.cluster.as_str());
            if let Some(other) = folders.insert(key, name) {
                found.say(
                    under("path"),
                    format!("'{other}' names this folder for this cluster already"),
                );
            }
        }
    }
    if config.sign_in.forge_login_claim.is_none() && forge.logins.is_empty() {
        found.help(
            path!["forge", "logins"],
            "nobody's review could ever count: no forge login can be told from a person",
            "set `sign_in.forge_login_claim`, or list people in `forge.logins`",
        );
    }
}

fn notices(config: &Config, found: &mut Findings) {
    let notices = &config.notices;
    if let Some(smtp) = &notices.smtp {
        let loopback = smtp.host == "localhost"
            || smtp
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        if smtp.tls == SmtpTls::None && !loopback {
            found.say(
                path!["notices", "smtp", "tls"],
                "expected `implicit` or `starttls`: notices go to another machine",
            );
        }
        if smtp.user.is_some() != smtp.password.is_some() {
            found.say(path!["notices", "smtp"], "`user` and `password` belong together");
        }
        if let Err(error) = smtp.from.parse::<lettre::message::Mailbox>() {
            found.say(
                path!["notices", "smtp", "from"],
                format!("expected a mail address: {error}"),
            );
        }
    }
    let mut addresses: Vec<(Vec<Step>, &String)> = Vec::new();
    let list = |steps: Vec<Step>, mail: &'_ [String]| -> Vec<(Vec<Step>, String)> {
        mail.iter()
            .enumerate()
            .map(|(at, one)| (steps.iter().cloned().chain([at.into()]).collect(), one.clone()))
            .collect()
    };
    let mut all = list(path!["notices", "compliance_mail"], &notices.compliance_mail);
    for (name, team) in &config.teams {
        all.extend(list(path!["teams", name, "lead_mail"], &team.lead_mail));
    }
    for (name, circle) in &config.approvers {
        all.extend(list(path!["approvers", name, "mail"], &circle.mail));
    }
    addresses.extend(all.iter().map(|(steps, mail)| (steps.clone(), mail)));
    if !addresses.is_empty() && notices.smtp.is_none() {
        found.say(
            addresses[0].0.clone(),
            "mail cannot be sent: `notices.smtp` is missing",
        );
    }
    for (steps, mail) in addresses {
        if let Err(error) = mail.parse::<lettre::Address>() {
            found.say(steps, format!("expected a mail address: {error}"));
        }
    }
    for (at, webhook) in notices.webhooks.iter().enumerate() {
        let under = |field: &str| path!["notices", "webhooks", at, field];
        if !webhook.allow_private {
            encrypted(found, under("url"), &webhook.url);
        }
        if webhook.secret.is_read() {
            let key = webhook.secret.expose().strip_prefix("whsec_").unwrap_or_default();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(key)
                .map_or(0, |key| key.len());
            // Standard Webhooks: 24 to 64 random bytes.
            if !(24..=64).contains(&bytes) {
                found.help(
                    under("secret"),
                    "expected whsec_ and 24 to 64 bytes in base64",
                    "echo whsec_$(openssl rand -base64 32)",
                );
            }
        }
        if notices.webhooks[..at]
            .iter()
            .any(|other| other.name == webhook.name)
        {
            found.say(
                under("name"),
                format!("another webhook is called '{}' already", webhook.name),
            );
        }
    }
}

fn ledger(config: &Config, found: &mut Findings) {
    deadlines(found, &path!["sla", "deadlines"], &config.sla.deadlines);
    if !(1..=99).contains(&config.sla.due_soon_percent) {
        found.say(path!["sla", "due_soon_percent"], "expected 1 to 99");
    }
    let origin = &config.ledger.origin;
    if origin.is_empty() || origin.contains("://") || origin.chars().any(|c| c.is_whitespace() || c == '+') {
        found.say(
            path!["ledger", "origin"],
            "expected a name such as breakglass.example.org/ledger: no scheme, no white space, no '+'",
        );
    }
    let key = &config.ledger.signing_key;
    if key.is_read() && hex::decode(key.expose()).map_or(0, |bytes| bytes.len()) != 32 {
        found.help(
            path!["ledger", "signing_key"],
            "expected 32 bytes in hex",
            "openssl rand -hex 32",
        );
    }
    if let Store::Postgres(url) = &config.store
        && url.is_read()
        && !url.expose().starts_with("postgres")
    {
        found.say(
            path!["store", "postgres"],
            "expected an address that begins with postgres://",
        );
    }
}
