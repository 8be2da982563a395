//! A gateway with one fault each, in each way to talk, to show that the load finds it.

mod faulty {
    pub mod gateway;
    pub mod wires;
}

use faulty::{gateway::Fault, wires::Wire};
use serde_json::Value;
use std::{path::PathBuf, process::Stdio};
use tokio::process::Command;

/// What the load found, and how it ended.
async fn outcome(wire: Wire, fault: Fault) -> (Value, Option<i32>) {
    let address = faulty::wires::start(fault).await;
    let json = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faulty-{wire:?}-{fault:?}.json"));
    let mut load = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    load.args(["run", "rooms", "--rate", "0", "--clients", "6", "--rooms", "3", "--deliveries", "120", "--burst", "2"]);
    load.args(["--protocol", wire.protocol(), "--rest", "0", "--patience", "3"]);
    load.args(["--against", &address, "--pid", &std::process::id().to_string(), "--json"]).arg(&json);
    let output = load.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("the load runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let outcomes: Value = serde_json::from_slice(&std::fs::read(&json).expect(&said)).expect("json");
    (outcomes[0].clone(), output.status.code())
}

async fn faults_are_found(wire: Wire) {
    let mut loads = tokio::task::JoinSet::new();
    for (fault, lost, duplicated, misordered, gaps, errors) in [
        (Fault::None, 0, 0, 0, 0, 0),
        (Fault::Loses, 6, 0, 0, 0, 0),
        (Fault::Doubles, 0, 6, 0, 0, 0),
        (Fault::Swaps, 0, 0, 6, 0, 0),
        // To each client come the events of two rooms that it does not follow.
        (Fault::Strays, 0, 0, 0, 0, 12),
        (Fault::Gap, 0, 0, 0, 6, 0),
        (Fault::Refuses, 0, 0, 0, 0, 6),
    ] {
        loads.spawn(async move {
            let (found, code) = outcome(wire, fault).await;
            for (what, expected) in [
                ("lost", lost),
                ("duplicated", duplicated),
                ("misordered", misordered),
                ("gaps", gaps),
                ("errors", errors),
                ("connections_ended", 0),
            ] {
                assert_eq!(found[what], expected, "{wire:?}, {fault:?}: {what} of {found}");
            }
            assert_eq!(code, Some(i32::from(fault != Fault::None)), "{wire:?}, {fault:?}: {found}");
            assert_eq!(found["events_published"], 3 * 26, "3 rounds to warm up and 10, of 2 events in 3 rooms");
        });
    }
    loads.spawn(async move {
        let (found, code) = outcome(wire, Fault::Closes).await;
        let lost = found["lost"].as_u64().expect("a number");
        assert!(found["connections_ended"] == 6 && lost >= 6 * 2 && code == Some(1), "{wire:?}: {found}");
    });
    while let Some(load) = loads.join_next().await {
        load.expect("as expected");
    }
}

#[tokio::test]
async fn in_the_native_protocol() {
    faults_are_found(Wire::Native).await;
}

#[tokio::test]
async fn in_socket_io() {
    faults_are_found(Wire::D).await;
}

/// Its messages are cut across chunks, as a proxy may do.
#[tokio::test]
async fn in_an_event_stream() {
    faults_are_found(Wire::Stream).await;
}
