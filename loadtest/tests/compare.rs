//! The comparison from beginning to end, small.

use serde_json::Value;
use std::{path::PathBuf, process::Stdio};
use tokio::process::Command;

/// What stands in its JSON; everybody must have got everything.
async fn compare(name: &str, peers: &[&str]) -> Value {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (json, html) = (directory.join(format!("{name}.json")), directory.join(format!("{name}.html")));
    let mut compare = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    compare.args(["compare", "--clients", "20", "--deliveries", "200", "--runs", "2", "--rest", "300", "--burst", "5"]);
    compare.arg("--gateway").arg(weft_testkit::process::binary("gateway").expect("a gateway"));
    compare.args(peers).arg("--json").arg(&json).arg("--html").arg(&html);
    let output = compare.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("it runs");
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{table}\n{said}");
    assert!(!table.contains("NOT SOUND"), "{table}");
    let html = std::fs::read_to_string(&html).expect("written");
    assert!(html.matches("<svg").count() == 4 && !html.contains("<script"));
    serde_json::from_slice(&std::fs::read(&json).expect("written")).expect("json")
}

fn names(comparison: &Value) -> Vec<&str> {
    let standings = comparison["standings"].as_array().expect("a list");
    for standing in standings {
        assert!(standing["single"]["times_floor"].as_f64().is_some_and(|times| times > 0.0), "{standing}");
        for wrong in ["lost", "duplicated", "misordered", "rounds_late", "connections_ended"] {
            assert_eq!(standing[wrong], 0, "{wrong}: {standing}");
        }
    }
    standings.iter().map(|standing| standing["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn with_a_nats_server() {
    assert_eq!(
        names(&compare("compare-nats", &["--peer", "nats", "--bus", "memory"]).await),
        ["Weft", "Weft, Socket.IO (D)", "Weft, SSE", "NATS WebSocket"]
    );
}

#[tokio::test]
#[ignore = "fetches packages from npm and Debian"]
async fn with_all_that_can_be_fetched() {
    let comparison = compare("compare-all", &[]).await;
    assert_eq!(
        names(&comparison),
        ["Weft", "Weft, Socket.IO (D)", "Weft, SSE", "nginx + nchan", "Node ws", "NATS WebSocket", "Socket.IO"]
    );
}
