//! `notices`: who is told, and over which channel.

use super::{Secret, scalar::HttpUrl};
use serde::{Deserialize, Serialize};

/// Who is told, and how. The compliance feed is always there.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notices {
    /// The mail server; without it no mail is sent.
    #[serde(default)]
    pub smtp: Option<Smtp>,
    /// Where mail for compliance goes.
    #[serde(default)]
    pub compliance_mail: Vec<String>,
    /// Signed webhooks (Standard Webhooks, CloudEvents 1.0).
    #[serde(default)]
    pub webhooks: Vec<Webhook>,
}

/// A mail server.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: SmtpTls,
    /// The user name, where it wants one; `password` belongs to it.
    #[serde(default)]
    pub user: Option<String>,
    /// The password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// The sender: `breakglass <breakglass@example.org>`.
    pub from: String,
}

/// How a mail connection is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// From the first byte.
    Implicit,
    /// By STARTTLS, refused without it.
    #[default]
    Starttls,
    /// Not at all: for a server on this machine.
    None,
}

/// A receiver of signed notices.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The name that stands in the ledger and on the feed.
    pub name: String,
    /// Where it listens.
    pub url: HttpUrl,
    /// The signing secret, `whsec_` and base64.
    pub secret: Secret,
    /// Let it be an address of a private network or this machine. Link-local and metadata addresses
    /// are never called.
    #[serde(default)]
    pub allow_private: bool,
}
