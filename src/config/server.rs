//! `server`: where the service listens and how people reach it.

use super::scalar::{Cidr, HttpUrl, Listen};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// Where the service listens. Unless it listens on loopback alone, one of `tls` and
/// `trusted_proxies` must be given: a credential is shown over this connection.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The address and port to listen on.
    pub listen: Listen,
    /// The address people type: the base of every link, and the only origin that forms are taken from.
    pub public_url: HttpUrl,
    /// Certificate and key; read again when the files change.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, and, without `tls`,
    /// the only senders that are answered.
    #[serde(default)]
    pub trusted_proxies: Vec<Cidr>,
    /// How often somebody may ask.
    #[serde(default)]
    pub limits: Limits,
}

/// How often somebody may ask before they are told to wait. Ending, shortening and withdrawing are never
/// limited, nor is the audit of a cluster's own API servers.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests that one person may file within an hour, extensions included.
    #[serde(default = "requests_per_hour")]
    pub requests_per_hour: NonZeroU32,
    /// How often the request form answers one person within a minute; with a script it does while they type.
    #[serde(default = "previews_per_minute")]
    pub previews_per_minute: NonZeroU32,
    /// Sign-ins begun from one address within a minute (many people may share one), and round trips to the
    /// provider of one person for approvals and reveals.
    #[serde(default = "sign_ins_per_minute")]
    pub sign_ins_per_minute: NonZeroU32,
    /// Audit senders of one address that could not prove themselves, within a minute; above it compliance
    /// is told.
    #[serde(default = "strangers_per_minute")]
    pub strangers_per_minute: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_hour: requests_per_hour(),
            previews_per_minute: previews_per_minute(),
            sign_ins_per_minute: sign_ins_per_minute(),
            strangers_per_minute: strangers_per_minute(),
        }
    }
}

const fn requests_per_hour() -> NonZeroU32 {
    NonZeroU32::new(20).unwrap()
}

const fn previews_per_minute() -> NonZeroU32 {
    NonZeroU32::new(120).unwrap()
}

const fn sign_ins_per_minute() -> NonZeroU32 {
    NonZeroU32::new(60).unwrap()
}

const fn strangers_per_minute() -> NonZeroU32 {
    NonZeroU32::new(30).unwrap()
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and its chain. A relative path begins at the configuration's folder.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}
