//! The key that gateways of a run share, by which a session of one is known to the others.

use super::child::scratch_path;
use crate::error::Failure;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{io, path::PathBuf};

/// The setting that names the file.
pub(crate) const SETTING: &str = "WEFT_FLEET_KEY_FILE";
const KEY_BYTES: usize = 32;

/// A file that is there for as long as this is.
pub(crate) struct FleetKey(PathBuf);

impl FleetKey {
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut key = [0; KEY_BYTES];
        let filled = SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("no random bytes"));
        let path = scratch_path("fleet", "key");
        let written = filled.and_then(|()| std::fs::write(&path, STANDARD_NO_PAD.encode(key)));
        written.map_err(Failure::io(format!("write {}", path.display())))?;
        Ok(Self(path))
    }

    /// As a setting of a gateway.
    pub(crate) fn setting(&self) -> (String, String) {
        (SETTING.into(), self.0.display().to_string())
    }
}

impl Drop for FleetKey {
    fn drop(&mut self) {
        // A file of no use is all that is left where this fails.
        let _ = std::fs::remove_file(&self.0);
    }
}
