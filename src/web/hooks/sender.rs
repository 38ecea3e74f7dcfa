//! Who sends a cluster's audit: its own API servers, by its token, by its certificate, or by both.

use super::intake::only;
use crate::clock::Time;
use crate::config::Config;
use crate::web::authorities::{Authorities, CertificateRefusal, Presented};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Why a sender is not the cluster's. For the log: all of them are answered alike.
#[derive(Debug, thiserror::Error)]
pub enum Stranger {
    /// The cluster is not configured, or nothing proves a sender of it.
    #[error("there is no such cluster")]
    NoCluster,
    /// No token came.
    #[error("no token came; an API server sends none to an address of plain http://")]
    NoToken,
    /// Another one came.
    #[error("the token is wrong")]
    Token,
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateRefusal),
}

/// Whether a request comes from the cluster's own API servers: everything that is configured for it fits.
///
/// # Errors
/// What does not. An unknown cluster and a wrong token cost the same.
pub fn prove(
    config: &Config,
    authorities: &Authorities,
    cluster: &str,
    headers: &HeaderMap,
    presented: &Presented,
    now: Time,
) -> Result<(), Stranger> {
    let sender = config.clusters.get(cluster).map(|cluster| &cluster.audit);
    let token = sender.and_then(|sender| sender.token.as_ref());
    let expected = token.map_or("", |token| token.expose());
    // Digests are compared, so that neither the place of a difference nor a length shows in the time.
    let shown = bearer(headers);
    let same: bool = Sha256::digest(shown).ct_eq(&Sha256::digest(expected)).into();
    let sender = sender.ok_or(Stranger::NoCluster)?;
    if token.is_none() && sender.client_ca_file.is_none() {
        return Err(Stranger::NoCluster);
    }
    if token.is_some() && !(same & !expected.is_empty()) {
        return Err(if shown.is_empty() {
            Stranger::NoToken
        } else {
            Stranger::Token
        });
    }
    if sender.client_ca_file.is_some() {
        authorities.judge(cluster, presented, now)?;
    }
    Ok(())
}

/// The token of an `Authorization: Bearer` header; empty without one.
pub(in crate::web) fn bearer(headers: &HeaderMap) -> &str {
    only(headers, "authorization")
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map_or("", |(_, token)| token.trim())
}
