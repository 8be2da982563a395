//! Flags, variables and the tables that document them name the same things.

use clap::CommandFactory;
use weft_gateway::Settings;
use weft_testkit::settings::{misdocumented, misnamed};

#[test]
fn every_flag_is_named_as_its_variable() {
    assert_eq!(misnamed(&Settings::command(), &[]), [""; 0]);
}

#[test]
fn the_readme_tells_every_setting_and_its_default() {
    let readme = include_str!("../../../README.md");
    assert_eq!(misdocumented(&Settings::command(), readme, &["Both programs", "Gateway"]), [""; 0]);
}
