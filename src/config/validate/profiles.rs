//! Profiles: what they name exists, and none of them reaches past a wall.

use super::Findings;
use crate::config::problem::nearest;
use crate::config::tree::Step;
use crate::config::{
    ALWAYS_PROTECTED, Config, Duration, LONGEST_PATIENCE, Profile, SHIPPED_CLUSTER_ROLE, Scope,
};

pub(super) fn profile(config: &Config, name: &String, profile: &Profile, found: &mut Findings) {
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
        super::deadlines(found, &at("deadlines"), deadlines);
    }
}
