//! Certificate authorities, as PEM files hold them.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use std::path::{Path, PathBuf};

/// Why a file cannot be trusted as an authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be read, or a part of it is no PEM.
    #[error("{} cannot be read as PEM: {why}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why; of the parser, which names no content.
        why: String,
    },
    /// It holds no certificate.
    #[error("{} holds no certificate", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// A certificate in it cannot be an authority.
    #[error("{} holds a certificate that cannot be read: {source}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// Every authority in the PEM file.
///
/// # Errors
/// The file cannot be read, holds none, or one that is no certificate.
pub fn authority(file: &Path) -> Result<RootCertStore, AuthorityError> {
    let read = |error: pem::Error| AuthorityError::Read {
        file: file.to_owned(),
        why: match error {
            pem::Error::Io(error) => error.to_string(),
            _ => "a section is cut or no base64".to_owned(),
        },
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(read)? {
        store
            .add(certificate.map_err(read)?)
            .map_err(|source| AuthorityError::Certificate {
                file: file.to_owned(),
                source,
            })?;
    }
    if store.is_empty() {
        return Err(AuthorityError::Empty {
            file: file.to_owned(),
        });
    }
    Ok(store)
}
