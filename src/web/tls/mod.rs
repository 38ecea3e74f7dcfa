//! The listener's TLS: its certificate, the client certificates it asks for, and reading them all again
//! when a file changes.
//!
//! A client certificate is asked for only where a cluster has `client_ca_file`, and is optional: people's
//! browsers are answered without one. The request names the authorities, and a browser asks its user only
//! where it holds a certificate of one of them; such an authority is for API servers alone.

use super::authorities::{self, Authorities, ByCluster, Presented};
use crate::config::{AuthorityError, Config, Tls};
use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::future::BoxFuture;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tower::Layer;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate or its key cannot be used.
    #[error("the certificate {} with the key {} cannot be used: {why}", cert.display(), key.display())]
    Certificate {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        why: String,
    },
    /// A cluster's authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Client certificates cannot be verified against the authorities.
    #[error("client certificates cannot be asked for: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// What TLS is spoken with, as it was read last.
pub(super) struct Keys {
    config: Arc<Config>,
    tls: Tls,
    authorities: Authorities,
    spoken: RustlsConfig,
    known: Vec<Option<SystemTime>>,
}

impl Keys {
    /// Reads the files of `config` for the first time and puts its `authorities` in force.
    pub(super) fn read(config: &Arc<Config>, tls: &Tls, authorities: &Authorities) -> Result<Self, TlsError> {
        let known = changed_at(config, tls);
        let (spoken, by_cluster) = load(config, tls)?;
        authorities.replace(by_cluster);
        Ok(Self {
            config: Arc::clone(config),
            tls: tls.clone(),
            authorities: authorities.clone(),
            spoken: RustlsConfig::from_config(Arc::new(spoken)),
            known,
        })
    }

    pub(super) fn acceptor(&self) -> Acceptor {
        Acceptor(RustlsAcceptor::new(self.spoken.clone()))
    }

    /// Looks at the files for ever.
    pub(super) async fn watch(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // Small files, read in a moment: not worth a thread of their own.
            self.look();
        }
    }

    /// Reads the files again when one changed. What is half-written is tried again, and until all of it
    /// can be used all of the old stays.
    pub(super) fn look(&mut self) {
        let now = changed_at(&self.config, &self.tls);
        if now == self.known {
            return;
        }
        match load(&self.config, &self.tls) {
            Ok((spoken, by_cluster)) => {
                self.spoken.reload_from_config(Arc::new(spoken));
                self.authorities.replace(by_cluster);
                self.known = now;
                tracing::info!(cert = %self.tls.cert_file.display(), "the certificates were read again");
            }
            Err(error) => {
                tracing::error!(%error, "the new certificates cannot be used; the old ones stay");
            }
        }
    }
}

fn changed_at(config: &Config, tls: &Tls) -> Vec<Option<SystemTime>> {
    let authorities = config
        .clusters
        .values()
        .filter_map(|cluster| cluster.audit.client_ca_file.as_ref());
    [&tls.cert_file, &tls.key_file]
        .into_iter()
        .chain(authorities)
        .map(|file| std::fs::metadata(file).and_then(|facts| facts.modified()).ok())
        .collect()
}

fn load(config: &Config, tls: &Tls) -> Result<(ServerConfig, ByCluster), TlsError> {
    let unusable = |why: String| TlsError::Certificate {
        cert: tls.cert_file.clone(),
        key: tls.key_file.clone(),
        why,
    };
    let chain = CertificateDer::pem_file_iter(&tls.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(error.to_string()))?;
    // A parser's error may quote what it stumbled over, and here that is a key.
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)
        .map_err(|_| unusable("the key's file cannot be read or holds no PEM key".to_owned()))?;
    let by_cluster = authorities::read(config)?;
    // The same cryptography as everywhere else here, whoever else installed one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let builder = if by_cluster.is_empty() {
        builder.with_no_client_auth()
    } else {
        let union = Arc::new(authorities::union(&by_cluster));
        builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(union, provider)
                .allow_unauthenticated()
                .build()?,
        )
    };
    let mut spoken = builder
        .with_single_cert(chain, key)
        .map_err(|error| unusable(error.to_string()))?;
    spoken.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((spoken, by_cluster))
}

/// Ends TLS, and tells the service what certificate the client presented.
#[derive(Debug, Clone)]
pub(super) struct Acceptor(RustlsAcceptor);

impl<I, S> Accept<I, S> for Acceptor
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Send + 'static,
{
    type Stream = TlsStream<I>;
    type Service = AddExtension<S, Presented>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let accepted = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let presented = Presented(chain.iter().map(|one| one.clone().into_owned()).collect());
            Ok((stream, Extension(presented).layer(service)))
        })
    }
}

#[cfg(test)]
mod tests;
