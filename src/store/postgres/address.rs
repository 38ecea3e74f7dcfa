//! The database's address: `postgres://user:password@host/database`, and how much of the way there is protected.

use crate::store::contract::StoreError;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::str::FromStr;
use url::Url;

/// How to connect. To another machine it is TLS with the server's name and authority verified, unless the address
/// itself says something else (`sslmode`).
pub(super) fn options(address: &str) -> Result<PgConnectOptions, StoreError> {
    // The address is a secret: what is wrong with it is said without it.
    let wrong = |why: &str| StoreError::Refused(format!("store.postgres: the address {why}"));
    let url = Url::parse(address).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if !["postgres", "postgresql"].contains(&url.scheme()) {
        return Err(wrong("does not begin with postgres://"));
    }
    let options =
        PgConnectOptions::from_str(address).map_err(|error| wrong(&format!("cannot be used: {error}")))?;
    if options.get_database().is_none() {
        return Err(wrong("names no database"));
    }
    let says = |names: [&str; 2]| url.query_pairs().any(|(key, _)| names.contains(&&*key));
    let is_here = options.get_socket().is_some() || is_this_machine(options.get_host());
    let options = if is_here || says(["sslmode", "ssl-mode"]) {
        options
    } else {
        options.ssl_mode(PgSslMode::VerifyFull)
    };
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name(&name()),
    })
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.starts_with('/')
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Who asks, for whoever looks at the server's sessions.
fn name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // The server cuts names at 63 bytes: the process comes first.
    format!("breakglass {} on {}", std::process::id(), machine.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(address: &str) -> String {
        format!("{:?}", options(address).unwrap().get_ssl_mode())
    }

    #[test]
    fn another_machine_is_reached_by_verified_tls_unless_the_address_says_otherwise() {
        assert_eq!(mode("postgres://u:p@db.example.test/b"), "VerifyFull");
        assert_eq!(mode("postgres://u:p@192.0.2.7:5433/b"), "VerifyFull");
        assert_eq!(
            mode("postgres://u:p@db.example.test/b?sslmode=disable"),
            "Disable"
        );
        assert_eq!(
            mode("postgresql://u@db/b?sslmode=verify-full&sslrootcert=/ca.pem"),
            "VerifyFull"
        );
        for here in [
            "postgres://u@localhost/b",
            "postgres://u@127.0.0.1/b",
            "postgres://u@[::1]/b",
            "postgres://u@%2Frun%2Fpg/b",
        ] {
            assert_eq!(mode(here), "Prefer", "{here}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_its_password() {
        for address in [
            "postgres://user:s3cr3t@db",
            "mysql://user:s3cr3t@db/b",
            "postgres://user:s3cr3t@db:port/b",
            "postgres://user:s3cr3t@db/b?sslmode=s3cr3t-mode",
        ] {
            let said = crate::causes::chain(&options(address).unwrap_err());
            assert!(said.contains("store.postgres"), "{said}");
            assert!(!said.contains("s3cr3t@"), "{said}");
        }
    }

    #[test]
    fn the_server_is_told_who_asks() {
        let named = options("postgres://u@localhost/b").unwrap();
        let name = named.get_application_name().unwrap();
        assert!(
            name.starts_with(&format!("breakglass {} on ", std::process::id())),
            "{name}"
        );
        let own = options("postgres://u@localhost/b?application_name=mine").unwrap();
        assert_eq!(own.get_application_name(), Some("mine"));
    }
}
