//! A directory that lasts as long as the test.

use crate::{Fault, Result};
use std::path::{Path, PathBuf};

/// A fresh directory under the system's temporary one; removed with everything in it when dropped, unless
/// `WEFT_TEST_KEEP` is set.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("weft-test-{name}-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).map_err(Fault::io(format!("create {}", path.display())))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whoever looks into a failure wants the logs.
        if std::env::var_os("WEFT_TEST_KEEP").is_some() {
            eprintln!("kept: {}", self.path.display());
            return;
        }
        // A leftover in the temporary directory fails no test.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
