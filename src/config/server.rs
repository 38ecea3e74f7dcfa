//! `server`: where the service listens and how people reach it.

use super::scalar::{Cidr, HttpUrl, Listen};
use serde::{Deserialize, Serialize};
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
