//! Every scenario from beginning to end, short and small, on real gateways.

use serde_json::Value;
use std::{path::PathBuf, process::Stdio};
use tokio::process::Command;

struct Found {
    outcome: Value,
    table: String,
    html: String,
}

/// Runs a scenario that must be sound.
async fn run(scenario: &str, arguments: &str) -> Found {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let name = format!("{scenario}{}", arguments.replace([' ', '-'], ""));
    let (json, html) = (directory.join(format!("{name}.json")), directory.join(format!("{name}.html")));
    let gateway = weft_testkit::process::binary("gateway").expect("a gateway");
    let mut load = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    load.args(["run", scenario, "--rest", "10"]).arg("--gateway").arg(gateway).args(arguments.split_whitespace());
    load.arg("--json").arg(&json).arg("--html").arg(&html);
    let output = load.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("the load runs");
    let (table, said) =
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(0), "{scenario} {arguments}:\n{table}\n{said}");
    let outcomes: Value = serde_json::from_slice(&std::fs::read(&json).expect("written")).expect("json");
    let html = std::fs::read_to_string(&html).expect("written");
    Found { outcome: outcomes[0].clone(), table, html }
}

fn number(found: &Found, what: &str) -> f64 {
    found.outcome[what].as_f64().unwrap_or_else(|| panic!("no {what} in {}", found.outcome))
}

#[tokio::test]
async fn idle() {
    let found = run("idle", "--bus memory --clients 40 --rooms 40 --rooms-each 4 --duration 1 --event-bytes 2000").await;
    assert_eq!(number(&found, "deliveries"), 160.0, "each client follows four rooms");
    assert!(number(&found, "connects_per_second") > 0.0 && number(&found, "bytes_per_idle_follower") > 0.0);
    assert!(found.table.contains("connects/s"), "{}", found.table);
}

#[tokio::test]
async fn fanout_in_turns_with_the_floor() {
    let found = run("fanout", "--bus memory --clients 30 --deliveries 600 --runs 3 --burst 2").await;
    assert_eq!(found.outcome["runs"].as_array().map(Vec::len), Some(3));
    assert!(number(&found, "floor_us_per_delivery") > 0.0);
    assert_eq!(number(&found, "deliveries"), 3.0 * 600.0);
}

#[tokio::test]
async fn fanout_at_a_rate_in_messagepack() {
    let found = run("fanout", "--bus memory --clients 20 --rate 50 --duration 2 --protocol msgpack --deflate").await;
    assert_eq!(number(&found, "deliveries"), 20.0 * 100.0);
    assert!(found.outcome["latency"]["p99_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{}", found.outcome);
    assert!(found.html.matches("<svg").count() == 4 && !found.html.contains("<script"));
}

#[tokio::test]
async fn rooms() {
    let found = run("rooms", "--bus memory --clients 20 --rooms 10 --rate 100 --duration 2").await;
    assert_eq!(number(&found, "deliveries"), 2.0 * 200.0, "two clients a room");
    assert!(found.outcome["series"].as_array().is_some_and(|series| !series.is_empty()));
}

#[tokio::test]
async fn rooms_in_each_protocol() {
    for (protocol, each) in [("a", 3), ("d", 3), ("sse", 1)] {
        let arguments = format!("--clients 20 --rooms 5 --rooms-each {each} --rate 50 --duration 2 --protocol {protocol}");
        let found = run("rooms", &format!("{arguments} --bus redis")).await;
        assert_eq!(number(&found, "deliveries"), 100.0 * 4.0 * f64::from(each), "{protocol}");
        assert_eq!(found.outcome["protocol"], protocol);
    }
}

/// Each protocol brings its token in a place of its own; a gateway that reads none refuses.
#[tokio::test]
async fn tokens_are_brought_in_each_protocol() {
    for protocol in ["json", "msgpack", "a", "d", "sse"] {
        let key = "--token-key 0123456789abcdef0123456789abcdef";
        let arguments = format!("--bus memory --clients 10 --rooms 2 --rate 20 --duration 1 --protocol {protocol} {key}");
        assert_eq!(number(&run("rooms", &arguments).await, "deliveries"), 20.0 * 5.0, "{protocol}");
    }
}

#[tokio::test]
async fn idle_in_each_protocol() {
    for protocol in ["a", "d", "sse"] {
        let arguments = format!("--bus memory --clients 20 --rooms 5 --duration 1 --event-bytes 2000 --protocol {protocol}");
        let found = run("idle", &arguments).await;
        assert_eq!(number(&found, "deliveries"), 20.0, "{protocol}");
        assert!(number(&found, "bytes_per_idle_follower") > 0.0, "{protocol}: {}", found.outcome);
    }
}

#[tokio::test]
async fn tokens() {
    let found = run("tokens", "--bus memory --clients 5 --duration 1").await;
    assert_eq!(number(&found, "deliveries"), 250.0);
}

#[tokio::test]
async fn slow_readers_get_everything_in_the_end() {
    let found = run("slow-readers", "--bus memory --clients 20 --rooms 2 --rate 100 --duration 2").await;
    assert!(
        found.outcome["further"]["behind before the slow hurry"].as_f64().is_some_and(|events| events > 0.0),
        "{}",
        found.outcome
    );
}

#[tokio::test]
async fn a_killed_gateways_clients_return() {
    let found = run("resume-storm", "--bus nats --clients 38 --rooms 4 --rate 40 --duration 3").await;
    assert_eq!(found.outcome["further"]["clients returned"], 30.0, "{}", found.outcome);
    assert_eq!(found.outcome["further"]["caught up again"], 30.0, "{}", found.outcome);
    assert!(number(&found, "broker_bytes") > 0.0);
}

#[tokio::test]
async fn of_three_gateways_two_take_the_clients_of_the_third() {
    let found = run("resume-storm", "--bus nats --gateways 3 --clients 39 --rooms 3 --rate 30 --duration 3").await;
    assert_eq!(found.outcome["further"]["clients returned"], 13.0, "{}", found.outcome);
    for what in ["p99 ms before, of all", "p99 ms after, of those who stayed"] {
        assert!(found.outcome["further"][what].as_f64().is_some_and(|ms| ms > 0.0), "{what}: {}", found.outcome);
    }
}

#[tokio::test]
async fn a_killed_gateways_clients_return_in_each_protocol() {
    for (protocol, each) in [("a", 1), ("d", 2), ("sse", 1)] {
        let arguments = format!("--bus nats --clients 38 --rooms 4 --rooms-each {each} --rate 40 --duration 3");
        let found = run("resume-storm", &format!("{arguments} --protocol {protocol}")).await;
        assert_eq!(found.outcome["further"]["clients returned"], 30.0, "{protocol}: {}", found.outcome);
        let recovered = if protocol == "sse" { Value::Null } else { 30.0.into() };
        assert_eq!(found.outcome["further"]["sessions recovered"], recovered, "{protocol}: {}", found.outcome);
    }
}

#[tokio::test]
async fn a_mixed_day() {
    let found = run("mixed", "--bus nats --gateways 2 --clients 24 --rooms 6 --duration 3").await;
    assert_eq!(number(&found, "events_published"), 6.0 * 25.0);
    assert_eq!(number(&found, "deliveries"), 24.0 * 25.0, "those who came late have everything too");
}

#[tokio::test]
async fn tokens_in_all_their_rooms() {
    let found = run("tokens", "--bus redis --clients 4 --rate 40 --duration 1 --all-rooms").await;
    assert_eq!(number(&found, "deliveries"), 40.0);
}
