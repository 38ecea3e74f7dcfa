//! The log: its name, its keys, its readers' tokens and its witnesses.

use super::{Config, Findings, encrypted};
use crate::config::tree::Step;
use std::collections::BTreeMap;

pub(super) fn ledger(config: &Config, found: &mut Findings) {
    let ledger = &config.ledger;
    let origin = &ledger.origin;
    if origin.is_empty() || origin.contains("://") || origin.chars().any(|c| c.is_whitespace() || c == '+') {
        found.say(
            path!["ledger", "origin"],
            "expected a name such as breakglass.example.org/ledger: no scheme, no white space, no '+'",
        );
    }
    let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, key) in ledger.keys().filter(|(_, key)| key.is_read()) {
        if hex::decode(key.expose()).map_or(0, |bytes| bytes.len()) != 32 {
            found.help(
                path!["ledger", name],
                "expected 32 bytes in hex",
                "openssl rand -hex 32",
            );
        }
        if let Some(other) = keys.insert(key.expose(), name) {
            found.say(
                path!["ledger", name],
                format!("it is the same key as `{other}`: nothing would be replaced"),
            );
        }
    }
    readers(config, found);
    for (name, witness) in &ledger.witnesses {
        encrypted(found, path!["ledger", "witnesses", name, "url"], &witness.url);
        let parts: Vec<&str> = witness.key.splitn(3, '+').collect();
        let is_hash = |part: &str| part.len() == 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
        if !matches!(parts[..], [own, hash, _] if !own.is_empty() && is_hash(hash)) {
            found.say(
                path!["ledger", "witnesses", name, "key"],
                "expected the witness's public key, written name+hash+base64",
            );
        }
    }
}

/// A token that could be guessed, or that opens two doors, is refused.
fn readers(config: &Config, found: &mut Findings) {
    let mut tokens: BTreeMap<&str, String> = BTreeMap::new();
    for (name, cluster) in &config.clusters {
        if let Some(token) = cluster.audit.token.as_ref().filter(|token| token.is_read()) {
            tokens.insert(token.expose(), format!("the audit token of '{name}'"));
        }
    }
    for (name, reader) in config
        .ledger
        .readers
        .iter()
        .filter(|(_, reader)| reader.token.is_read())
    {
        let steps = path!["ledger", "readers", name, "token"];
        let token = reader.token.expose();
        if token.len() < 32 {
            found.help(
                steps.clone(),
                "the token has fewer than 32 characters and could be guessed",
                "openssl rand -hex 32",
            );
        }
        if let Some(other) = tokens.insert(token, format!("the token of reader '{name}'")) {
            found.say(
                steps,
                format!("it is {other} too: one that leaks would open both"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, LogReader, LogWitness, Secret, command};
    use std::path::Path;

    const EXAMPLE: &str = include_str!("../../../breakglass.example.yaml");

    fn said(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::from_text("test.yaml", EXAMPLE, Path::new("/"), None)
            .map_err(|problems| command::report(&problems))
            .unwrap();
        config.ledger.signing_key = Secret::for_test(&"07".repeat(32));
        change(&mut config);
        let found = super::super::findings(&config);
        found
            .into_iter()
            .map(|finding| format!("{:?} {}", finding.steps, finding.message))
            .collect()
    }

    #[test]
    fn a_reader_has_a_token_of_its_own_that_cannot_be_guessed() {
        let reader = |token: &str| LogReader {
            token: Secret::for_test(token),
        };
        let good = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            said(|config| {
                config.ledger.readers.insert("audit".into(), reader(good));
            }),
            [""; 0]
        );
        let short = said(|config| {
            config.ledger.readers.insert("audit".into(), reader("short"));
        });
        assert!(
            short[0].contains("could be guessed") && !short[0].contains("short"),
            "{short:?}"
        );
        let shared = said(|config| {
            config.ledger.readers.insert("audit".into(), reader(good));
            config.ledger.readers.insert("other".into(), reader(good));
        });
        assert!(
            shared[0].contains("the token of reader 'audit' too"),
            "{shared:?}"
        );
        let audit = said(|config| {
            config.ledger.readers.insert("audit".into(), reader(good));
            let production = config.clusters.get_mut("production").unwrap();
            production.audit.token = Some(Secret::for_test(good));
        });
        assert!(
            audit[0].contains("the audit token of 'production' too"),
            "{audit:?}"
        );
    }

    #[test]
    fn a_key_is_replaced_by_another_one() {
        let same = said(|config| config.ledger.next_key = Some(Secret::for_test(&"07".repeat(32))));
        assert!(same[0].contains("same key as `signing_key`"), "{same:?}");
        let bad = said(|config| config.ledger.previous_key = Some(Secret::for_test("0011")));
        assert!(bad[0].contains("32 bytes in hex"), "{bad:?}");
        assert_eq!(
            said(|config| config.ledger.next_key = Some(Secret::for_test(&"08".repeat(32)))),
            [""; 0]
        );
    }

    #[test]
    fn a_witness_is_reached_encrypted_and_known_by_its_key() {
        let said = said(|config| {
            let witness = LogWitness {
                url: "http://witness.example.org".parse().unwrap(),
                key: "no key".into(),
            };
            config.ledger.witnesses.insert("one".into(), witness);
        });
        assert!(said.iter().any(|line| line.contains("not encrypted")), "{said:?}");
        assert!(
            said.iter().any(|line| line.contains("name+hash+base64")),
            "{said:?}"
        );
    }
}
