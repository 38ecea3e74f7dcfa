//! What the service talks to: the forge, the mail server, receivers of webhooks.

use super::{Findings, encrypted};
use crate::config::problem::nearest;
use crate::config::tree::Step;
use crate::config::{Config, SmtpTls};
use base64::Engine;
use std::collections::BTreeMap;

pub(super) fn forge(config: &Config, found: &mut Findings) {
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

pub(super) fn notices(config: &Config, found: &mut Findings) {
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
