//! What the adapter has to be told.

use std::fmt;
use thiserror::Error;
use url::{Host, Url};

/// A secret text: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// How to reach the sign-in provider and read its claims.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The provider, exactly as it names itself (`OpenID` Connect compares issuers as text).
    pub issuer: String,
    /// Our name at the provider.
    pub client_id: String,
    /// Our secret at the provider.
    pub client_secret: Secret,
    /// Where the provider sends the browser back to; registered there, letter for letter.
    pub redirect_url: String,
    /// Scopes to ask for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim with the stable id of the person behind the account, such as an employee id.
    pub person_claim: String,
    /// The claim with the groups.
    pub groups_claim: String,
    /// The claim with the login at the forge, if there is one.
    pub forge_login_claim: Option<String>,
    /// Certificate authorities to trust besides the public ones, PEM.
    pub extra_ca_pem: Option<Vec<u8>>,
    /// Levels of authentication, any of which is enough for a step-up or an approval.
    pub acr_values: Option<Vec<String>>,
}

/// Settings that cannot work.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    /// An address that does not parse.
    #[error("{field}: `{value}` is not an address: {why}")]
    NotAnAddress {
        /// Which setting.
        field: &'static str,
        /// What it says.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// Plain HTTP beyond this machine: the client secret and the tokens would travel readable.
    #[error("{field}: `{value}` must use https (plain http is allowed to this machine only)")]
    NotEncrypted {
        /// Which setting.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// A setting that must not be empty.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// The extra certificate authorities are not PEM certificates.
    #[error("extra_ca_pem: not a PEM certificate: {0}")]
    Certificate(String),
    /// The HTTP client cannot be made.
    #[error("the HTTP client for the sign-in provider cannot be made: {0}")]
    Client(String),
}

impl Settings {
    /// Refuses what could never work or would be unsafe.
    pub fn check(&self) -> Result<(), SettingsError> {
        for (field, value) in [
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.reveal()),
            ("person_claim", &self.person_claim),
            ("groups_claim", &self.groups_claim),
        ] {
            if value.trim().is_empty() {
                return Err(SettingsError::Empty(field));
            }
        }
        for (field, value) in [("issuer", &self.issuer), ("redirect_url", &self.redirect_url)] {
            let url = Url::parse(value).map_err(|error| SettingsError::NotAnAddress {
                field,
                value: value.clone(),
                why: error.to_string(),
            })?;
            if !is_private(&url) {
                return Err(SettingsError::NotEncrypted {
                    field,
                    value: value.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Whether nobody on the way can read what is sent to `url`: TLS, or this machine itself.
pub(super) fn is_private(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        },
        _ => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::identity) fn settings() -> Settings {
        Settings {
            issuer: "https://sign-in.example.test".to_owned(),
            client_id: "breakglass".to_owned(),
            client_secret: Secret::new("hunter2"),
            redirect_url: "https://breakglass.example.test/sign-in/back".to_owned(),
            scopes: vec![],
            person_claim: "employee_id".to_owned(),
            groups_claim: "groups".to_owned(),
            forge_login_claim: None,
            extra_ca_pem: None,
            acr_values: None,
        }
    }

    #[test]
    fn the_secret_is_never_printed() {
        assert!(!format!("{:?}", settings()).contains("hunter2"));
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        assert_eq!(settings().check(), Ok(()));
        for (issuer, fine) in [
            ("http://127.0.0.1:9400", true),
            ("http://[::1]:9400", true),
            ("http://localhost:9400", true),
            ("http://sign-in.example.test", false),
            ("http://127.0.0.1.example.test", false),
            ("file:///etc/passwd", false),
            ("sign-in", false),
        ] {
            let found = Settings {
                issuer: issuer.to_owned(),
                ..settings()
            }
            .check();
            assert_eq!(found.is_ok(), fine, "{issuer}: {found:?}");
        }
    }

    #[test]
    fn an_empty_person_claim_is_refused() {
        let found = Settings {
            person_claim: " ".to_owned(),
            ..settings()
        }
        .check();
        assert_eq!(found, Err(SettingsError::Empty("person_claim")));
    }
}
