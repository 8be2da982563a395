//! The scripts that drive clients of Node.js, and the packages they need.

use weft_testkit::npm::Packages;

pub static CLIENTS: Packages =
    Packages::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients"), concat!(env!("CARGO_TARGET_TMPDIR"), "/clients"));
