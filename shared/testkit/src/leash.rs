//! Ends a started process even when the test that started it is killed.

use crate::{Fault, Result};
use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Waits for a word on its standard input. Without one (the pipe closed because the test died) it kills and cleans up.
const SCRIPT: &str = r#"trap '' INT TERM HUP; if read -r _; then exit 0; fi; kill -9 "$1" 2>/dev/null; rm -rf -- "$2""#;

/// A shell that outlives this process for as long as it takes to end another.
#[derive(Debug)]
pub(crate) struct Leash {
    shell: Child,
}

impl Leash {
    /// `scratch` is removed as well.
    pub(crate) fn hold(pid: u32, scratch: &Path) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "leash", &pid.to_string()])
            .arg(scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Fault::io("start sh"))?;
        Ok(Self { shell })
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // The process has been waited for by now; killing its number again could hit another.
        if let Some(mut stdin) = self.shell.stdin.take() {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}
