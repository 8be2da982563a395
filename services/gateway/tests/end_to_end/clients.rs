//! The clients that people have: `socket.io-client` as npm has it, driven from here.

use crate::{npm::CLIENTS, support::SOON};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    process::Stdio,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A process of Node.js with as many clients as one likes, each by a name.
pub struct Clients {
    _process: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What was read for others than the one waited for.
    heard: HashMap<String, VecDeque<Value>>,
    acks: u64,
}

impl Clients {
    pub fn start() -> Self {
        let node = Command::new("node")
            .arg(CLIENTS.script("driver.cjs"))
            .env("NODE_PATH", CLIENTS.modules())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut process = node.expect("node is needed for the clients: install Node.js 20 or later");
        let stdin = process.stdin.take().expect("piped");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { _process: process, stdin, lines, heard: HashMap::new(), acks: 0 }
    }

    pub async fn tell(&mut self, command: Value) {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.expect("node listens");
    }

    /// Opens a client, without waiting for it. `url` ends with the namespace.
    pub async fn open(&mut self, id: &str, url: &str, options: Value) {
        self.tell(json!({"op": "open", "id": id, "url": url, "options": options})).await;
    }

    /// Opens a client that is connected when this returns; what it said of that.
    pub async fn connected(&mut self, id: &str, url: &str, options: Value) -> Value {
        self.open(id, url, options).await;
        self.happens(id, "connect").await
    }

    /// The next line about this client.
    pub async fn next(&mut self, id: &str) -> Value {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            if let Some(line) = self.heard.get_mut(id).and_then(VecDeque::pop_front) {
                return line;
            }
            let line = tokio::time::timeout_at(end, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{id} heard nothing within {SOON:?}")).expect("lines").expect("node lives");
            let line: Value = serde_json::from_str(&line).expect("JSON");
            let of = line["id"].as_str().expect("an id").to_owned();
            self.heard.entry(of).or_default().push_back(line);
        }
    }

    /// Waits until this happens. Before it there may be pings and upgrades, and nothing else: a client that cannot connect,
    /// or has to try again, fails the test.
    pub async fn happens(&mut self, id: &str, what: &str) -> Value {
        loop {
            let line = self.next(id).await;
            if line["happened"] == what {
                return line;
            }
            assert!(is_routine(&line), "{what} of {id} was due, not {line}");
        }
    }

    /// That nothing else was told of this client than what the test has heard, up to the last line that it has read.
    pub fn nothing_else(&self, id: &str) {
        let unheard: Vec<&Value> = self.heard.get(id).into_iter().flatten().filter(|line| !is_routine(line)).collect();
        assert!(unheard.is_empty(), "{id} was told more: {unheard:?}");
    }

    /// The next event: its name and arguments. Nothing but pings and upgrades may come before it.
    pub async fn event(&mut self, id: &str) -> (String, Vec<Value>) {
        loop {
            let line = self.next(id).await;
            if let Some(event) = line["event"].as_str() {
                return (event.to_owned(), line["args"].as_array().expect("arguments").clone());
            }
            assert!(is_routine(&line), "an event of {id} was due, not {line}");
        }
    }

    /// Hears the `log` events with these numbers next.
    pub async fn numbers(&mut self, id: &str, expected: impl IntoIterator<Item = u64>) {
        for n in expected {
            let (name, args) = self.event(id).await;
            assert_eq!((name.as_str(), &args[0]["data"]["n"]), ("log", &json!(n)), "{id}: {args:?}");
        }
    }

    /// Emits, and waits for the ack; events that come before it are kept for later.
    pub async fn ask(&mut self, id: &str, event: &str, args: Value) -> Value {
        self.acks += 1;
        let ack = self.acks;
        self.tell(json!({"op": "emit", "id": id, "event": event, "args": args, "ack": ack})).await;
        let mut others = VecDeque::new();
        loop {
            let line = self.next(id).await;
            if line["ack"] == ack {
                let later = self.heard.entry(id.to_owned()).or_default();
                others.into_iter().rev().for_each(|line| later.push_front(line));
                return line["args"][0].clone();
            }
            others.push_back(line);
        }
    }

    /// What carries it now. Nothing else may be due to be heard but upgrades and pings.
    pub async fn transport(&mut self, id: &str) -> String {
        self.tell(json!({"op": "transport", "id": id})).await;
        loop {
            let line = self.next(id).await;
            if line["happened"].is_null() {
                return line["transport"].as_str().unwrap_or_else(|| panic!("a transport was due, not {line}")).to_owned();
            }
        }
    }

    pub async fn emit(&mut self, id: &str, event: &str, args: Value) {
        self.tell(json!({"op": "emit", "id": id, "event": event, "args": args})).await;
    }
}

/// What happens to any client, however well it fares.
fn is_routine(line: &Value) -> bool {
    line["happened"] == "ping" || line["happened"] == "upgrade"
}
