//! One TLS configuration for both brokers.

use crate::{BusConfig, ConnectError};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::path::Path;

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
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            builder
                .with_client_auth_cert(chain, self::key(key)?)
                .map_err(|error| ConnectError::new(format!("the bus client certificate cannot be used: {error}")))
        }
    }
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
