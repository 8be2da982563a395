//! Where the brokers' programs are. One that is missing is an error, never a test that passes by doing nothing.

use super::NatsVersion;
use crate::{Fault, Result};
use std::path::{Path, PathBuf};

const REMEDY: &str = "`make fetch` gets it";

/// `WEFT_TEST_REDIS_SERVER`, else `redis-server` in the path.
pub(super) fn redis() -> Result<PathBuf> {
    find("redis-server", "WEFT_TEST_REDIS_SERVER", on_path("redis-server"))
}

/// `WEFT_TEST_NATS_SERVER_DEBIAN`, else `nats-server` in the path; `WEFT_TEST_NATS_SERVER`, else the one that
/// `make fetch` puts into `.cache`, else a prepared one under `/opt`.
pub(super) fn nats(version: NatsVersion) -> Result<PathBuf> {
    match version {
        NatsVersion::Debian => find("nats-server (Debian's)", "WEFT_TEST_NATS_SERVER_DEBIAN", on_path("nats-server")),
        NatsVersion::Current => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            let fetched = root.join(".cache/natsvenv/bin/nats-server");
            find("nats-server (current)", "WEFT_TEST_NATS_SERVER", vec![fetched, "/opt/natsvenv/bin/nats-server".into()])
        }
    }
}

fn find(what: &'static str, variable: &str, places: Vec<PathBuf>) -> Result<PathBuf> {
    // A variable that is set is meant: no falling back to another program.
    let places = std::env::var_os(variable).map_or(places, |path| vec![path.into()]);
    let found = places.iter().find(|path| path.is_file());
    found.cloned().ok_or_else(|| {
        let looked: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
        Fault::Missing { what, looked: format!("{variable}, {}", looked.join(", ")), remedy: REMEDY }
    })
}

/// Debian puts servers into directories that are not in every user's path.
fn on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&path).map(|directory| directory.join(name)).collect();
    places.extend(["/usr/sbin", "/usr/local/sbin"].map(|directory| Path::new(directory).join(name)));
    places
}
