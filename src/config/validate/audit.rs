//! Who may write a cluster's record: each cluster's API servers, and those of no other.

use super::{Finding, Findings};
use crate::config::tree::Step;
use crate::config::{Automation, Config, authority};
use std::collections::BTreeMap;

pub(super) fn senders(config: &Config, found: &mut Findings) {
    let mut tokens: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, cluster) in &config.clusters {
        let sender = &cluster.audit;
        if sender.token.is_none() && sender.client_ca_file.is_none() {
            found.help(
                path!["clusters", name, "audit"],
                "neither `token` nor `client_ca_file` is given: anybody could write this cluster's record",
                "give one of them, or both",
            );
        }
        for (own, server) in &cluster.api_servers {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_');
            let steps = path!["clusters", name, "api_servers", own];
            if own.is_empty() || own.len() > 63 || !own.chars().all(plain) {
                found.say(
                    steps.clone(),
                    "the name is part of a path: letters, digits, `-`, `.` and `_`, 63 at most",
                );
            }
            if !server.address.is_https() {
                let steps = steps.into_iter().chain([Step::from("address")]).collect();
                found.say(
                    steps,
                    "expected an https address: the broker's token is sent there",
                );
            }
        }
        if sender.client_ca_file.is_some() && config.server.tls.is_none() {
            found.help(
                path!["clusters", name, "audit", "client_ca_file"],
                "a client certificate is seen only where TLS ends, and without `server.tls` that is in front of \
                 this service: what a proxy says about a certificate in a header is not believed",
                "give `server.tls` and let the proxy pass TLS through, or use `token`",
            );
        }
        automation(name, &sender.automation, found);
        let Some(token) = sender.token.as_ref().filter(|token| token.is_read()) else {
            continue;
        };
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

fn automation(name: &str, automation: &Automation, found: &mut Findings) {
    let users = automation.users.iter().enumerate();
    let users = users.map(|(at, named)| ("users", at, named, Automation::refuses_user(named)));
    let groups = automation.groups.iter().enumerate();
    let groups = groups.map(|(at, named)| ("groups", at, named, Automation::refuses_group(named)));
    for (list, at, named, refused) in users.chain(groups) {
        if let Some(why) = refused {
            found.help(
                path!["clusters", name, "audit", "automation", list, at],
                format!("'{named}' cannot be automation: {why}"),
                "name what is no person: by its user name, by a beginning that no person's name has, or by a group of its own",
            );
        }
    }
}

/// What only the files themselves show: that they hold authorities, and that none of them opens two
/// clusters. A file that cannot be opened at all is somebody else's finding.
pub(in crate::config) fn of_files(config: &Config) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    let mut owners: BTreeMap<Vec<u8>, Vec<&String>> = BTreeMap::new();
    for (name, cluster) in &config.clusters {
        let Some(file) = cluster
            .audit
            .client_ca_file
            .as_deref()
            .filter(|file| file.exists())
        else {
            continue;
        };
        match authority(file) {
            Ok(store) => {
                for anchor in store.roots {
                    let names = owners.entry(anchor.subject_public_key_info.to_vec()).or_default();
                    if names.last() != Some(&name) {
                        names.push(name);
                    }
                }
            }
            Err(error) => found.say(
                path!["clusters", name, "audit", "client_ca_file"],
                error.to_string(),
            ),
        }
    }
    for names in owners.values().filter(|names| names.len() > 1) {
        // With a token of its own a cluster stays closed to the others' senders.
        for &name in names {
            let other = names.iter().find(|other| **other != name);
            let Some(other) = other.filter(|_| config.clusters[name].audit.token.is_none()) else {
                continue;
            };
            found.help(
                path!["clusters", name, "audit", "client_ca_file"],
                format!("an authority in it is that of '{other}' too: the API servers of '{other}' could write events of '{name}'"),
                "make an authority for each cluster, or give each a `token` as well",
            );
        }
    }
    found.0
}

#[cfg(test)]
mod tests {
    use super::of_files;
    use crate::config::fixture::Authority;
    use crate::config::{Config, Secret, command};
    use std::path::Path;

    const EXAMPLE: &str = include_str!("../../../breakglass.example.yaml");
    const TOKEN: &str = "audit:\n      token: {file: /run/secrets/audit-token-production}\n";

    /// The example with another way for the API servers to prove themselves.
    fn with(sender: &str) -> String {
        assert_eq!(EXAMPLE.matches(TOKEN).count(), 1);
        EXAMPLE.replace(TOKEN, sender)
    }

    fn read(text: &str) -> Result<Config, String> {
        Config::from_text("test.yaml", text, Path::new("/"), None)
            .map_err(|problems| command::report(&problems))
    }

    #[test]
    fn people_cannot_be_named_as_automation() {
        let of = |list: &str| with(&format!("audit: {{client_ca_file: a.crt, automation: {list}}}\n"));
        let config = read(&of("{users: [pipeline, 'eks:*'], groups: [robots]}")).unwrap();
        let automation = &config.clusters["production"].audit.automation;
        assert!(automation.names("eks:x", std::iter::empty()));
        for wide in [
            "{users: ['*']}",
            "{users: ['system:*']}",
            "{groups: ['system:masters']}",
        ] {
            let said = read(&of(wide)).unwrap_err();
            assert!(said.contains("cannot be automation"), "{said}");
        }
    }

    #[test]
    fn a_cluster_has_a_token_or_an_authority_or_both() {
        let config = read(&with("audit: {client_ca_file: /etc/ca.crt}\n")).unwrap();
        let sender = &config.clusters["production"].audit;
        assert!(sender.token.is_none());
        assert_eq!(sender.client_ca_file.as_deref(), Some(Path::new("/etc/ca.crt")));
        assert!(read(&with("audit: {client_ca_file: a.crt, token: {env: T}}\n")).is_ok());
        let said = read(&with("audit: {}\n")).unwrap_err();
        assert!(said.contains("anybody could write"), "{said}");
    }

    #[test]
    fn behind_a_proxy_that_ends_tls_no_certificate_is_believed() {
        let text = with("audit: {client_ca_file: /etc/ca.crt}\n");
        let (before, after) = text.split_once("  tls:\n").unwrap();
        let (_, after) = after.split_once("tls.key\n").unwrap();
        let said = read(&format!("{before}  trusted_proxies: [10.0.0.7]\n{after}")).unwrap_err();
        for words in [
            "(clusters.production.audit.client_ca_file)",
            "in a header is not believed",
            "or use `token`",
        ] {
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn an_authority_opens_one_cluster_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = read(&with("audit: {client_ca_file: /etc/ca.crt}\n")).unwrap();
        let (one, two) = (Authority::new("one"), Authority::new("two"));
        let mut add = |name: &str, pem: String, token: Option<Secret>| {
            let file = folder.path().join(format!("{name}.crt"));
            std::fs::write(&file, pem).unwrap();
            let mut cluster = config.clusters["production"].clone();
            cluster.audit.client_ca_file = Some(file);
            cluster.audit.token = token;
            config.clusters.insert(name.to_owned(), cluster);
            let said = of_files(&config);
            said.into_iter()
                .map(|finding| (format!("{:?}", finding.steps), finding.message))
                .collect::<Vec<_>>()
        };
        assert!(add("production", one.pem(), None).is_empty());
        assert!(add("staging", two.pem(), None).is_empty());
        let shared = add("staging", format!("{}{}", two.pem(), one.pem()), None);
        assert_eq!(shared.len(), 2, "{shared:?}");
        assert!(shared[0].0.contains("production") && shared[0].1.contains("that of 'staging' too"));
        let token = || Some(Secret::for_test("0123456789abcdef0123456789abcdef"));
        let half = add("staging", one.pem(), token());
        assert_eq!(half.len(), 1, "staging is closed by its token, production is not");
        assert!(half[0].0.contains("production"), "{half:?}");
        assert!(add("production", one.pem(), token()).is_empty());
    }

    #[test]
    fn a_file_that_holds_no_authority_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let mut config = read(EXAMPLE).unwrap();
        config
            .clusters
            .get_mut("production")
            .unwrap()
            .audit
            .client_ca_file = Some(file.clone());
        for (text, words) in [
            ("no PEM at all", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nhalf", "cannot be read as PEM"),
            (
                "-----BEGIN CERTIFICATE-----\naGFsZg==\n-----END CERTIFICATE-----\n",
                "holds a certificate that cannot be read",
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let found = of_files(&config);
            assert_eq!(found.len(), 1);
            assert!(
                found[0].message.contains("ca.crt") && found[0].message.contains(words),
                "{}",
                found[0].message
            );
        }
    }
}
