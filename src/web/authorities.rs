//! The authorities of the API servers' client certificates: one set a cluster, and no certificate of one
//! cluster's opens another's hook.

use crate::clock::Time;
use crate::config::{AuthorityError, Config, authority};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};

/// `id-kp-clientAuth` (RFC 5280, 4.2.1.12), 1.3.6.1.5.5.7.3.2.
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// The chain a client presented on this connection, its own certificate first; empty when it presented
/// none. The listener sets it; that it verified against some cluster's authority at the handshake says
/// nothing about which, nor about now.
#[derive(Debug, Clone, Default)]
pub struct Presented(pub Arc<[CertificateDer<'static>]>);

/// By cluster, who may sign its API servers' certificates.
pub type ByCluster = BTreeMap<String, RootCertStore>;

/// The authorities in force. The listener exchanges them whole when a file changes, the hook judges by
/// them each time: a certificate whose authority was taken out is refused on open connections too.
#[derive(Debug, Clone, Default)]
pub struct Authorities(Arc<RwLock<Arc<ByCluster>>>);

/// Why a certificate does not open a cluster's hook.
#[derive(Debug, thiserror::Error)]
pub enum CertificateRefusal {
    /// None was presented.
    #[error("no client certificate was presented")]
    None,
    /// Nobody can sign one for this cluster.
    #[error("no authority is known for this cluster")]
    NoAuthority,
    /// It does not hold: of another authority, not valid now, not for clients.
    #[error("the client certificate does not hold: {0}")]
    Invalid(webpki::Error),
}

/// Reads the authorities that the configuration names.
///
/// # Errors
/// A file cannot be used.
pub fn read(config: &Config) -> Result<ByCluster, AuthorityError> {
    config
        .clusters
        .iter()
        .filter_map(|(name, cluster)| Some((name, cluster.audit.client_ca_file.as_deref()?)))
        .map(|(name, file)| Ok((name.clone(), authority(file)?)))
        .collect()
}

/// The authorities of all clusters: what the listener asks certificates of.
#[must_use]
pub fn union(authorities: &ByCluster) -> RootCertStore {
    let roots = authorities.values().flat_map(|store| store.roots.clone());
    RootCertStore {
        roots: roots.collect(),
    }
}

impl Authorities {
    /// These hold from now on.
    pub fn replace(&self, authorities: ByCluster) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authorities);
    }

    /// Whether what was presented is a certificate for clients, valid `now`, signed by this cluster's
    /// own authority.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, cluster: &str, presented: &Presented, now: Time) -> Result<(), CertificateRefusal> {
        let authorities = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let store = authorities.get(cluster).ok_or(CertificateRefusal::NoAuthority)?;
        let (own, between) = presented.0.split_first().ok_or(CertificateRefusal::None)?;
        verify(own, between, store, now).map_err(CertificateRefusal::Invalid)
    }
}

fn verify(
    own: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    store: &RootCertStore,
    now: Time,
) -> Result<(), webpki::Error> {
    let algorithms = rustls::crypto::ring::default_provider()
        .signature_verification_algorithms
        .all;
    let since = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_millis(since));
    let own = EndEntityCert::try_from(own)?;
    let chain = |roots: &[_], between, usage| {
        own.verify_for_usage(algorithms, roots, between, now, usage, None, None)
            .map(|_| ())
    };
    chain(&store.roots, between, KeyUsage::client_auth())?;
    // That passes a certificate which names no usage at all. Requiring it on the way up would refuse
    // authorities between, which rarely name one; so the certificate alone is held to it, below whichever
    // of them signed it.
    let mut signers = store.roots.clone();
    for signer in between {
        signers.push(webpki::anchor_from_trusted_cert(signer)?.to_owned());
    }
    chain(&signers, &[], KeyUsage::required(CLIENT_AUTH))
}
