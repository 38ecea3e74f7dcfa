//! Whether what the sections say of each other is true: names that exist, walls that stand,
//! secrets that can do their work.

/// The way to a field, from the top.
macro_rules! path {
    ($($step:expr),* $(,)?) => { vec![$(Step::from($step)),*] };
}

mod audit;
mod ledger;
mod outside;
mod profiles;

pub(super) use audit::of_files;

use super::problem::nearest;
use super::tree::Step;
use super::{Config, Deadlines, HttpUrl, NAME_PREFIX, SHIPPED_CLUSTER_ROLE, Store};
use std::collections::BTreeMap;

/// Something the shape cannot show.
pub(super) struct Finding {
    pub steps: Vec<Step>,
    pub message: String,
    pub help: Option<String>,
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
    audit::senders(config, &mut found);
    cluster_roles(config, &mut found);
    for (name, profile) in &config.profiles {
        profiles::profile(config, name, profile, &mut found);
    }
    outside::forge(config, &mut found);
    outside::notices(config, &mut found);
    sla_and_store(config, &mut found);
    ledger::ledger(config, &mut found);
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

fn sla_and_store(config: &Config, found: &mut Findings) {
    deadlines(
        found,
        &[Step::from("sla"), Step::from("deadlines")],
        &config.sla.deadlines,
    );
    if !(1..=99).contains(&config.sla.due_soon_percent) {
        found.say(path!["sla", "due_soon_percent"], "expected 1 to 99");
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
