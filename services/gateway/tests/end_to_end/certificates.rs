//! An authority of the tests, and certificates as a mounted secret has them: a link that is swapped as a whole.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// A directory with `tls.crt` and `tls.key`, which lead through a link to the files that count now.
pub struct Certificates {
    directory: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
    versions: usize,
}

impl Certificates {
    pub fn new() -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir_all(&directory).expect("a directory");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A certificate whose issuer has its own name would pass for self-signed.
        params.distinguished_name.push(DnType::CommonName, "authority of the tests");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let mut made = Self { directory, authority, versions: 0 };
        made.renew();
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), made.directory.join(name)).expect("a link");
        }
        made
    }

    /// Puts a new certificate, with a new key, in place of the last one; its bytes.
    pub fn renew(&mut self) -> Vec<u8> {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate =
            CertificateParams::new(names).and_then(|params| params.signed_by(&key, &self.authority)).expect("signed");
        self.swap(&certificate.pem(), &key.serialize_pem());
        certificate.der().to_vec()
    }

    /// Puts these in place of the last ones, both in one moment.
    pub fn swap(&mut self, certificate: &str, key: &str) {
        self.versions += 1;
        let name = format!("..{}", self.versions);
        let version = self.directory.join(&name);
        fs::create_dir(&version).expect("a directory");
        fs::write(version.join("tls.crt"), certificate).expect("written");
        fs::write(version.join("tls.key"), key).expect("written");
        let link = self.directory.join("..data_tmp");
        symlink(&name, &link).expect("a link");
        fs::rename(&link, self.directory.join("..data")).expect("swapped");
    }

    /// The authority, in PEM.
    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    /// The settings of a gateway.
    pub fn env(&self) -> [(&'static str, String); 2] {
        let path = |name: &str| self.directory.join(name).display().to_string();
        [("WEFT_TLS_CERT_FILE", path("tls.crt")), ("WEFT_TLS_KEY_FILE", path("tls.key"))]
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // A leftover fails no test.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
