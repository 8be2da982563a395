//! The reference packages as functions, each call one run of node.

use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};
use weft_testkit::npm::Packages;

static PARSERS: Packages =
    Packages::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parsers"), concat!(env!("CARGO_TARGET_TMPDIR"), "/parsers"));

/// What the reference makes of each case.
pub fn answers(cases: &[Value]) -> Vec<Value> {
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let text = node("reference.cjs", &lines);
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(answers.len(), cases.len(), "one answer for each case");
    answers
}

/// What `socket.io-client` has to say of these connections, which follow each other.
pub fn client(namespace: &str, connections: &[Value]) -> Value {
    let script = json!({ "namespace": namespace, "connections": connections });
    serde_json::from_str(&node("client.cjs", &script.to_string())).expect("JSON")
}

/// Runs one of our scripts to its end.
fn node(script: &str, input: &str) -> String {
    let node = Command::new("node")
        .arg(PARSERS.script(script))
        .env("NODE_PATH", PARSERS.modules())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut node = node.expect("node is needed to compare with the reference packages: install Node.js 20 or later");
    let mut stdin = node.stdin.take().expect("piped");
    // It reads everything before it answers, so that neither end waits for the other.
    stdin.write_all(input.as_bytes()).expect("node reads");
    drop(stdin);
    let output = node.wait_with_output().expect("node answers");
    assert!(output.status.success(), "{script} has failed; it said why above");
    String::from_utf8(output.stdout).expect("UTF-8")
}
