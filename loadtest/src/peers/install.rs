//! Getting the peers: Node's packages by the lockfile beside their scripts, nginx and nchan from Debian unpacked into a
//! directory. Nothing of it becomes part of the system, and no service is started by it.

use crate::{error::Failure, report::say};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the scripts, configurations and lockfile of the peers are.
pub(crate) fn peers_directory(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let directory = given.map_or(built, Path::to_path_buf);
    if directory.join("package-lock.json").is_file() {
        return Ok(directory);
    }
    Err(Failure::Options(format!("no peers in {}: name loadtest/peers with --peers-directory", directory.display())))
}

/// Node's packages, if they are not there yet.
pub(crate) fn node_packages(directory: &Path) -> Result<(), Failure> {
    if directory.join("node_modules/.package-lock.json").is_file() {
        return Ok(());
    }
    say::progress(&format!("installing Node packages into {}", directory.join("node_modules").display()));
    let mut npm = Command::new("npm");
    npm.args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(directory);
    run(&mut npm)
}

/// The version of an installed package.
pub(crate) fn node_version(directory: &Path, package: &str) -> String {
    let text = std::fs::read(directory.join("node_modules").join(package).join("package.json")).unwrap_or_default();
    let read = serde_json::from_slice::<serde_json::Value>(&text).ok();
    read.and_then(|package| Some(package["version"].as_str()?.to_owned())).unwrap_or_else(|| "?".into())
}

/// nginx's program and nchan's module.
pub(crate) struct Nginx {
    pub(crate) program: PathBuf,
    pub(crate) module: PathBuf,
}

const PROGRAM: &str = "usr/sbin/nginx";
const MODULE: &str = "usr/lib/nginx/modules/ngx_nchan_module.so";

/// The system's own where it has both, else Debian's packages unpacked.
pub(crate) fn nginx(directory: &Path) -> Result<Nginx, Failure> {
    let there = |root: &Path| {
        let nginx = Nginx { program: root.join(PROGRAM), module: root.join(MODULE) };
        (nginx.program.is_file() && nginx.module.is_file()).then_some(nginx)
    };
    let unpacked = directory.join("node_modules/.nginx");
    if let Some(nginx) = there(Path::new("/")).or_else(|| there(&unpacked)) {
        return Ok(nginx);
    }
    say::progress(&format!("fetching nginx and libnginx-mod-nchan from Debian, unpacked into {}", unpacked.display()));
    std::fs::create_dir_all(&unpacked).map_err(Failure::io("unpack nginx"))?;
    let mut download = Command::new("apt-get");
    download.args(["download", "-o", "APT::Sandbox::User=root", "nginx", "libnginx-mod-nchan"]).current_dir(&unpacked);
    run(&mut download)?;
    let entries = std::fs::read_dir(&unpacked).map_err(Failure::io("unpack nginx"))?;
    for package in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "deb")) {
        run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&unpacked))?;
    }
    there(&unpacked).ok_or_else(|| Failure::Options("Debian's packages hold no nginx or no nchan".into()))
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(Failure::io(format!("start {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::Options(format!("{program} failed ({}): {said}", output.status)))
}
