//! Packages of Node.js that a suite pins, installed once for all of its tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// What a suite has beside its tests: scripts, and the packages that these need.
pub struct Packages {
    sources: &'static str,
    folder: &'static str,
    installed: OnceLock<()>,
}

impl Packages {
    /// `sources` holds the scripts, `package.json` and `package-lock.json`; in `folder` the packages are installed when they
    /// are first asked for.
    #[must_use]
    pub const fn new(sources: &'static str, folder: &'static str) -> Self {
        Self { sources, folder, installed: OnceLock::new() }
    }

    /// One of the scripts.
    #[must_use]
    pub fn script(&self, name: &str) -> PathBuf {
        Path::new(self.sources).join(name)
    }

    /// The `node_modules` with the pinned packages, for `NODE_PATH`.
    ///
    /// # Panics
    /// npm is not there, or has failed.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.installed.get_or_init(|| self.install());
        Path::new(self.folder).join("node_modules")
    }

    fn install(&self) {
        let folder = Path::new(self.folder);
        fs::create_dir_all(folder).expect("a folder for the packages");
        let lock = fs::read(self.script("package-lock.json")).expect("the lock file");
        // Written last: what is there with another lock, or without one, is installed again.
        let stamp = folder.join("installed");
        if fs::read(&stamp).ok().as_ref() == Some(&lock) {
            return;
        }
        for file in ["package.json", "package-lock.json"] {
            fs::copy(self.script(file), folder.join(file)).expect("copies");
        }
        let npm = Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder).output();
        let npm = npm.expect("npm is needed for packages of others: install Node.js 20 or later");
        assert!(npm.status.success(), "npm ci has failed:\n{}", String::from_utf8_lossy(&npm.stderr));
        fs::write(&stamp, &lock).expect("the stamp");
    }
}
