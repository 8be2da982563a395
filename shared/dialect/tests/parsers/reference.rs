//! The reference packages as functions, each call one run of node.

use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parsers");

/// A folder in which the pinned packages are installed.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parsers");
        fs::create_dir_all(&folder).expect("a folder for the packages");
        let lock = fs::read(Path::new(SOURCES).join("package-lock.json")).expect("the lock file");
        // Written last: what is there with another lock, or without one, is installed again.
        let stamp = folder.join("installed");
        if fs::read(&stamp).ok().as_ref() != Some(&lock) {
            for file in ["package.json", "package-lock.json"] {
                fs::copy(Path::new(SOURCES).join(file), folder.join(file)).expect("copies");
            }
            let npm =
                Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder).output();
            let npm = npm.expect("npm is needed to compare with the reference packages: install Node.js 20 or later");
            assert!(npm.status.success(), "npm ci has failed:\n{}", String::from_utf8_lossy(&npm.stderr));
            fs::write(&stamp, &lock).expect("the stamp");
        }
        folder
    })
}

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
    let folder = installed();
    let node = Command::new("node")
        .arg(Path::new(SOURCES).join(script))
        .env("NODE_PATH", folder.join("node_modules"))
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
