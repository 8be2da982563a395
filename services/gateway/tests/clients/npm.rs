//! The pinned packages of Node.js, installed once for all suites.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Where the lock file and the scripts are.
pub const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// A folder in which the pinned packages are installed.
pub fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
        fs::create_dir_all(&folder).expect("a folder for the packages");
        let lock = fs::read(Path::new(SOURCES).join("package-lock.json")).expect("the lock file");
        // Written last: what is there with another lock, or without one, is installed again.
        let stamp = folder.join("installed");
        if fs::read(&stamp).ok().as_ref() != Some(&lock) {
            for file in ["package.json", "package-lock.json"] {
                fs::copy(Path::new(SOURCES).join(file), folder.join(file)).expect("copies");
            }
            let npm =
                Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder).output();
            let npm = npm.expect("npm is needed for the clients: install Node.js 20 or later");
            assert!(npm.status.success(), "npm ci has failed:\n{}", String::from_utf8_lossy(&npm.stderr));
            fs::write(&stamp, &lock).expect("the stamp");
        }
        folder
    })
}
