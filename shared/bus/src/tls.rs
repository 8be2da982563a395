//! One TLS configuration for both brokers.

use crate::{BusConfig, ConnectError};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
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
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| ConnectError::new(format!("the bus client certificate cannot be used: {error}")))
        }
    }
}

fn roots(config: &BusConfig) -> Result<RootCertStore, ConnectError> {
    let mut store = RootCertStore::empty();
    let authorities = match &config.tls_ca_file {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    store.add_parsable_certificates(authorities);
    if store.is_empty() {
        return Err(ConnectError::new("no authority to check the broker's certificate against: set the CA file"));
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, &error))
        .and_then(|found: Vec<_>| if found.is_empty() { Err(unreadable(path, &"holds no certificate")) } else { Ok(found) })
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> ConnectError {
    ConnectError::new(format!("{}: {error}", path.display()))
}
