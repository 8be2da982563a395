//! A `.creds` file: a user's token and the key that proves it. It is read for each connection, because tokens are renewed.

use crate::ConnectError;
use std::path::Path;

/// A user's token, and the key that proves it.
pub(super) struct Credentials {
    jwt: String,
    key: nkeys::KeyPair,
}

/// What is shown to a server that asks with a nonce.
pub(super) struct Shown {
    pub(super) jwt: String,
    pub(super) signature: Vec<u8>,
}

impl Credentials {
    /// Reads a token and a seed, each between lines of dashes.
    pub(super) fn read(path: &Path) -> Result<Self, ConnectError> {
        let unusable = |reason: &dyn std::fmt::Display| ConnectError::new(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
        let part = |name: &str| {
            let mut lines = text.lines().skip_while(|line| !line.contains(&format!("BEGIN {name}")));
            lines.nth(1).map(|line| line.trim().to_owned()).filter(|line| !line.is_empty() && !line.starts_with('-'))
        };
        let jwt = part("NATS USER JWT").ok_or_else(|| unusable(&"holds no NATS USER JWT"))?;
        let seed = part("USER NKEY SEED").ok_or_else(|| unusable(&"holds no USER NKEY SEED"))?;
        let key = nkeys::KeyPair::from_seed(&seed).map_err(|error| unusable(&error))?;
        Ok(Self { jwt, key })
    }

    /// Proves to a server who we are.
    pub(super) fn show(self, nonce: &[u8]) -> Result<Shown, ConnectError> {
        let signature = self.key.sign(nonce).map_err(|error| ConnectError::new(error.to_string()))?;
        Ok(Shown { jwt: self.jwt, signature })
    }
}
