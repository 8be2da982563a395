//! A fleet from beginning to end, small; and one that is stopped on its way up.

use serde_json::Value;
use std::{path::PathBuf, process::Stdio};
use tokio::process::Command;

async fn fleet(name: &str, arguments: &[&str]) -> (Value, Option<i32>) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (json, html) = (directory.join(format!("{name}.json")), directory.join(format!("{name}.html")));
    let mut fleet = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    fleet.args(["fleet", "--connections", "60", "--gateways", "3", "--rooms", "6", "--hold", "1", "--regardless"]);
    fleet.arg("--gateway").arg(weft_testkit::process::binary("gateway").expect("a gateway"));
    fleet.args(arguments).arg("--json").arg(&json).arg("--html").arg(&html);
    let output = fleet.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(std::fs::read_to_string(&html).expect(&said).contains("<svg"));
    let outcome = serde_json::from_slice(&std::fs::read(&json).expect(&said)).expect("json");
    (outcome, output.status.code())
}

#[tokio::test]
async fn everybody_gets_an_event() {
    let (outcome, code) = fleet("fleet", &[]).await;
    for (what, expected) in [("connected", 60), ("held", 60), ("delivered", 60), ("lost", 0), ("gateways", 3)] {
        assert_eq!(outcome[what], expected, "{what}: {outcome}");
    }
    assert!(code == Some(0) && outcome["stopped"].is_null(), "{outcome}");
    assert_eq!(outcome["steps"].as_array().map(Vec::len), Some(5), "one a gateway, one idle, one loaded");
}

#[tokio::test]
async fn what_stops_it_is_told() {
    // Each gateway takes fewer rooms than its clients want to follow.
    let (outcome, code) = fleet("fleet-stopped", &["--env", "WEFT_ROOMS_MAX=3", "--patience", "1"]).await;
    let stopped = outcome["stopped"].as_str().unwrap_or_else(|| panic!("nothing stopped it: {outcome}"));
    assert!(stopped.contains("errors were told") && code == Some(1), "{outcome}");
}
