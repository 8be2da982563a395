//! One TLS configuration for both brokers.

use crate::{BusConfig, ConnectError};
use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Makes ring the process's crypto provider unless the process has chosen one already.
pub(crate) fn install_provider() {
    // An error means that somebody was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Trusts the given authority, or the system's; shows the client certificate if there is one.
pub(crate) fn client_config(config: &BusConfig) -> Result<ClientConfig, ConnectError> {
    install_provider();
    let builder = ClientConfig::builder().with_root_certificates(roots(config)?);
    match &config.tls_client {
        None => Ok(builder.with_no_client_auth()),
        Some(files) => Ok(builder.with_client_cert_resolver(Arc::new(Client::open(files)?))),
    }
}

/// Who we are: read for each handshake, because certificates are renewed.
#[derive(Debug)]
struct Client {
    files: (PathBuf, PathBuf),
    /// Shown where the files cannot be used at the moment.
    last: Mutex<Arc<CertifiedKey>>,
}

impl Client {
    fn open(files: &(PathBuf, PathBuf)) -> Result<Self, ConnectError> {
        Ok(Self { files: files.clone(), last: Mutex::new(Arc::new(identity(files)?)) })
    }
}

impl ResolvesClientCert for Client {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut last = self.last.lock();
        match identity(&self.files) {
            Ok(identity) => *last = Arc::new(identity),
            Err(error) => tracing::warn!(%error, "the bus client certificate cannot be used; the last one is shown"),
        }
        Some(last.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn identity((certificate, key): &(PathBuf, PathBuf)) -> Result<CertifiedKey, ConnectError> {
    CertifiedKey::from_der(certificates(certificate)?, self::key(key)?, &rustls::crypto::ring::default_provider())
        .map_err(|error| unreadable(key, &format_args!("does not fit the certificate: {error}")))
}

fn roots(config: &BusConfig) -> Result<RootCertStore, ConnectError> {
    if let Some(path) = &config.tls_ca_file {
        return authorities(path);
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        return Err(ConnectError::new("no authority to check the broker's certificate against: set the CA file"));
    }
    Ok(store)
}

/// The authorities in a PEM file, at least one.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, ConnectError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates(path)?);
    if store.is_empty() { Err(unreadable(path, &"holds no certificate that can be used")) } else { Ok(store) }
}

/// The first private key in a PEM file.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable(path, &error))
}

/// Whether a key, read from `path`, belongs to the first certificate of a chain.
pub(crate) fn fits(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>, path: &Path) -> Result<(), ConnectError> {
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map(|_| ())
        .map_err(|error| unreadable(path, &format_args!("does not fit the certificate: {error}")))
}

/// The certificates in a PEM file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, &error))
        .and_then(|found: Vec<_>| if found.is_empty() { Err(unreadable(path, &"holds no certificate")) } else { Ok(found) })
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> ConnectError {
    ConnectError::new(format!("{}: {error}", path.display()))
}
