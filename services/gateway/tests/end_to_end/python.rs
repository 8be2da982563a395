//! Socket.IO with Python's client: an extra argument of ours would break the functions that people write for it.

use crate::support::{Broker, Kind, SOON, publish_numbers};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command as Blocking, Stdio},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// A Python that has the pinned packages.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let pins = fs::read(Path::new(SOURCES).join("requirements.txt")).expect("the pins");
    let (python, stamp) = (folder.join("bin/python"), folder.join("installed"));
    // Written last: what is there with other pins, or without any, is installed again.
    if fs::read(&stamp).ok().as_ref() != Some(&pins) {
        run(Blocking::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        run(Blocking::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(format!("{SOURCES}/requirements.txt")));
        fs::write(&stamp, &pins).expect("the stamp");
    }
    python
}

fn run(command: &mut Blocking) {
    let output = command.output().expect("Python 3 with venv is needed for its client");
    assert!(output.status.success(), "{command:?} has failed:\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_client_of_python_hears_events_with_one_argument() {
    let python = python();
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    for transports in ["websocket", "polling", "polling,websocket"] {
        let room = format!("run-{}", transports.replace(',', "-"));
        let client = Command::new(&python)
            .arg(Path::new(SOURCES).join("driver.py"))
            .args([&gateway.url(), transports, &format!("execution:{room}"), "200"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut client = client.expect("a client");
        let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines();
        let mut hear = async || {
            let line = timeout(SOON, lines.next_line()).await.expect("a line, in time").expect("lines").expect("it lives");
            serde_json::from_str::<Value>(&line).expect("JSON")
        };
        let subscribed = hear().await;
        assert_eq!(subscribed["subscribed"]["outcome"], "live", "{transports}: {subscribed}");
        publish_numbers(&gateway, &room, 1..=200).await;
        assert_eq!(hear().await["heard"], json!((1..=200).collect::<Vec<u64>>()), "{transports}");
    }
}
