//! Flags, variables and the tables that document them name the same things.

use clap::CommandFactory;
use weft_gateway::Settings;
use weft_testkit::settings::{misdocumented, misnamed};

#[test]
fn every_flag_is_named_as_its_variable() {
    assert_eq!(misnamed(&Settings::command(), &[]), [""; 0]);
}

const AWAITED: [&str; 2] = ["WEFT_FLEET_KEY_FILE has no row", "WEFT_PEER_LISTEN has no row"];

#[test]
fn the_readme_tells_every_setting_and_its_default() {
    let readme = include_str!("../../../README.md");
    let mut faults = misdocumented(&Settings::command(), readme, &["Both programs", "Gateway"]);
    // The table gets these two with the chapter on gateways that pass requests on to each other.
    faults.retain(|fault| !AWAITED.contains(&fault.as_str()));
    assert_eq!(faults, [""; 0]);
}
