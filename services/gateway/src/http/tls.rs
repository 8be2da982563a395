//! TLS towards clients: who this process is, and handshakes that have an end.
//!
//! The certificate is read again when its files change: a mounted secret does so by itself, without a signal. Connections
//! go on as they are, new ones are shown the new certificate, and one that cannot be used changes nothing.

use super::certificate;
use crate::{config::BadSetting, transport::UNSENT_BYTES_MAX};
use clap::Args;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use parking_lot::RwLock;
use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How often the files are looked at.
const FILES_EVERY: Duration = Duration::from_secs(5);
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// What is agreed on inside: WebSockets begin as HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

const HANDSHAKES: &str = "weft_gateway_tls_handshakes_total";
const RELOADS: &str = "weft_gateway_tls_reloads_total";
const EXPIRES: &str = "weft_gateway_tls_expires_timestamp_seconds";

/// TLS towards clients and operators.
#[derive(Clone, Debug, Default, Args)]
#[allow(missing_docs)] // the help texts are the documentation
pub struct TlsSettings {
    /// PEM file with the certificate that clients and operators are shown, and those that lead to its authority. Without one
    /// there is no TLS; with one there is nothing else. Read again when it changes.
    #[arg(long, env = "WEFT_TLS_CERT_FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file with its key.
    #[arg(long, env = "WEFT_TLS_KEY_FILE")]
    pub tls_key_file: Option<PathBuf>,
}

impl TlsSettings {
    /// TLS by these files; `None` without any.
    ///
    /// # Errors
    /// The setting whose file cannot be used, and why; never what is in it.
    pub fn open(&self) -> Result<Option<Tls>, BadSetting> {
        let (certificate, key) = match (self.tls_cert_file.clone(), self.tls_key_file.clone()) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(BadSetting("WEFT_TLS_KEY_FILE: must be set where WEFT_TLS_CERT_FILE is".into())),
            (None, Some(_)) => return Err(BadSetting("WEFT_TLS_CERT_FILE: must be set where WEFT_TLS_KEY_FILE is".into())),
        };
        Tls::open(Files { certificate, key }).map(Some).map_err(|unusable| BadSetting(unusable.to_string()))
    }
}

/// Why files make no identity. Says which file, and nothing of its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {}: {reason}", path.display())]
pub struct Unusable {
    setting: &'static str,
    path: PathBuf,
    reason: String,
}

/// TLS as this process speaks it; all clones show the same certificate.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    identity: Arc<Identity>,
}

/// Where the identity is kept.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What is shown to whoever connects.
#[derive(Debug)]
struct Identity {
    files: Files,
    /// Tells whether the files have changed, without keeping what was in them.
    hasher: RandomState,
    current: RwLock<Read>,
}

/// What was read, and its hash.
#[derive(Clone, Debug)]
struct Read {
    shown: Arc<CertifiedKey>,
    hash: u64,
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().shown.clone())
    }
}

impl Tls {
    fn open(files: Files) -> Result<Self, Unusable> {
        let hasher = RandomState::new();
        let current = RwLock::new(files.read(&hasher)?);
        let identity = Arc::new(Identity { files, hasher, current });
        identity.tell();
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| identity.files.unusable_certificate(&error))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(identity.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { acceptor: Arc::new(config).into(), identity })
    }

    /// The handshake with who has just connected. `None`: it failed, or took longer than `time`.
    pub async fn greet(&self, stream: TcpStream, time: Duration) -> Option<TlsStream<TcpStream>> {
        // What it holds back is written already as far as its session knows, and cannot be left to a cursor any more.
        let narrow = |connection: &mut ServerConnection| connection.set_buffer_limit(Some(UNSENT_BYTES_MAX as usize));
        let greeted = tokio::time::timeout(time, self.acceptor.accept_with(stream, narrow)).await;
        let (outcome, stream) = match greeted {
            Ok(Ok(stream)) => ("done", Some(stream)),
            Ok(Err(error)) => {
                tracing::debug!(error = %weft_guard::Shown(&error.to_string()), "a TLS handshake failed");
                ("failed", None)
            }
            Err(_) => ("late", None),
        };
        counter!(HANDSHAKES, "outcome" => outcome).increment(1);
        stream
    }

    /// Reads the files again every few seconds, for the life of the process.
    pub async fn keep(&self) {
        let mut last_error = None;
        loop {
            tokio::time::sleep(FILES_EVERY).await;
            let identity = self.identity.clone();
            match tokio::task::spawn_blocking(move || identity.look_again()).await {
                Ok(Ok(has_changed)) => {
                    if has_changed {
                        counter!(RELOADS, "outcome" => "read").increment(1);
                        self.identity.tell();
                    }
                    last_error = None;
                }
                Ok(Err(error)) if last_error.as_ref() != Some(&error) => {
                    counter!(RELOADS, "outcome" => "unusable").increment(1);
                    tracing::warn!(%error, "the certificate that is there now cannot be used; the last one is shown on");
                    last_error = Some(error);
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

impl Identity {
    /// Reads the files again; whether they have changed. Files that cannot be used change nothing.
    fn look_again(&self) -> Result<bool, Unusable> {
        let read = self.files.read(&self.hasher)?;
        let mut current = self.current.write();
        let has_changed = current.hash != read.hash;
        if has_changed {
            *current = read;
        }
        Ok(has_changed)
    }

    /// Says until when the certificate holds.
    fn tell(&self) {
        let shown = self.current.read().shown.clone();
        let expires = shown.cert.first().and_then(|first| certificate::expires_at(first));
        gauge!(EXPIRES).set(expires.unwrap_or_default() as f64);
        let now = crate::feed::heads::now_ms() / 1000;
        let until = expires.and_then(|at| weft_bus::heads::rfc3339(at * 1000)).unwrap_or_else(|| "?".into());
        match expires.is_some_and(|at| at <= now) {
            true => tracing::warn!(until, "the certificate for TLS has expired"),
            false => tracing::info!(until, "the certificate for TLS was read"),
        }
    }
}

impl Files {
    fn read(&self, hasher: &RandomState) -> Result<Read, Unusable> {
        let (chain, key) = (content(&self.certificate), content(&self.key));
        let chain = chain.map_err(|reason| self.unusable_certificate(&reason))?;
        let key = key.map_err(|reason| self.unusable_key(&reason))?;
        let hash = hasher.hash_one((&chain, &key));
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
        let found = found.map_err(|error| self.unusable_certificate(&error))?;
        if found.is_empty() {
            return Err(self.unusable_certificate(&"holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| self.unusable_key(&error))?;
        let shown = CertifiedKey::from_der(found, key, &ring::default_provider());
        let shown = shown.map_err(|error| self.unusable_key(&format_args!("does not fit the certificate: {error}")))?;
        Ok(Read { shown: Arc::new(shown), hash })
    }

    fn unusable_certificate(&self, reason: &dyn std::fmt::Display) -> Unusable {
        Unusable { setting: "WEFT_TLS_CERT_FILE", path: self.certificate.clone(), reason: reason.to_string() }
    }

    fn unusable_key(&self, reason: &dyn std::fmt::Display) -> Unusable {
        Unusable { setting: "WEFT_TLS_KEY_FILE", path: self.key.clone(), reason: reason.to_string() }
    }
}

/// A small file's content.
fn content(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut content = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content));
    read.map_err(|error| error.to_string())?;
    match content.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!("is larger than {FILE_BYTES_MAX} bytes")),
        false => Ok(content),
    }
}

/// Begins all series, so that each exists from the start, with or without TLS.
pub fn begin_counting() {
    describe_counter!(HANDSHAKES, Unit::Count, "TLS handshakes with clients, by outcome");
    describe_counter!(RELOADS, Unit::Count, "Times that the certificate's files had changed, by outcome");
    describe_gauge!(EXPIRES, Unit::Seconds, "When the certificate expires that clients are shown, in seconds since 1970");
    // The certificate may have been read already.
    gauge!(EXPIRES).increment(0.0);
    ["done", "failed", "late"].iter().for_each(|outcome| counter!(HANDSHAKES, "outcome" => *outcome).absolute(0));
    ["read", "unusable"].iter().for_each(|outcome| counter!(RELOADS, "outcome" => *outcome).absolute(0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    /// A certificate and its key, in PEM.
    fn pair() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).expect("params").self_signed(&key).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_used_says_which_file_and_changes_nothing() {
        let directory = std::env::temp_dir().join(format!("weft-tls-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let (certificate, key) = (directory.join("tls.crt"), directory.join("tls.key"));
        let write = |(chain, secret): (&str, &str)| {
            std::fs::write(&certificate, chain).expect("written");
            std::fs::write(&key, secret).expect("written");
        };
        let (one, two) = (pair(), pair());
        let open = || Tls::open(Files { certificate: certificate.clone(), key: key.clone() });
        assert!(open().err().expect("no file").to_string().starts_with("WEFT_TLS_CERT_FILE: "));
        write((&one.0, &one.1));
        let tls = open().map_err(|unusable| unusable.to_string()).expect("usable");
        let shown = || tls.identity.current.read().shown.cert[0].clone();
        let first = shown();
        assert_eq!(tls.identity.look_again(), Ok(false));
        for (bad, setting) in [
            ((two.0.as_str(), one.1.as_str()), "WEFT_TLS_KEY_FILE"),
            (("", &one.1), "WEFT_TLS_CERT_FILE"),
            ((&two.0, "no key"), "WEFT_TLS_KEY_FILE"),
            (("-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n", &two.1), "WEFT_TLS_CERT_FILE"),
        ] {
            write(bad);
            let told = tls.identity.look_again().expect_err(setting).to_string();
            assert!(told.starts_with(setting) && !told.contains("PRIVATE"), "{told}");
            assert_eq!(shown(), first);
        }
        write((&two.0, &two.1));
        assert_eq!(tls.identity.look_again(), Ok(true));
        assert_ne!(shown(), first);
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
