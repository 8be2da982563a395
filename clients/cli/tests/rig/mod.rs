//! What the tests share: the `weft` program as a process, and gateways and executors for it to talk to.
#![allow(dead_code)] // no test file uses all of it

pub mod terminal;

use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use weft_testkit::process::{Process, ProcessOptions};

/// Nothing here takes nearly as long; it only bounds a hang.
pub const SOON: Duration = Duration::from_secs(60);

/// The program, with no settings but these.
pub fn weft(gateways: &[&str], flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEFT_")) {
        command.env_remove(name);
    }
    command.env("TZ", "UTC").env("WEFT_GATEWAY_URL", gateways.join(",")).args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What a process has left behind.
#[derive(Debug)]
pub struct Left {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Left {
    pub fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    pub fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

/// Runs it to its end, with this on its standard input.
pub async fn run_with(mut command: Command, input: &[u8]) -> Left {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writing = tokio::spawn(async move {
        // A program that has seen enough reads no further.
        let _ = stdin.write_all(&input).await;
    });
    let output = timeout(SOON, child.wait_with_output()).await.expect("it ends").expect("waited for");
    writing.await.expect("written");
    left(output.status, &output.stdout, &output.stderr)
}

/// Runs it to its end.
pub async fn run(mut command: Command) -> Left {
    let output = timeout(SOON, command.output()).await.expect("it ends").expect("waited for");
    left(output.status, &output.stdout, &output.stderr)
}

fn left(status: ExitStatus, out: &[u8], err: &[u8]) -> Left {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Left { code: status.code().unwrap_or(-1), out: text(out), err: text(err) }
}

/// A program that runs on, read line by line.
pub struct Running {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("started");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    pub async fn line(&mut self) -> String {
        match timeout(SOON, self.lines.next_line()).await.expect("a line, in time").expect("read") {
            Some(line) => line,
            None => panic!("it ended: {}", self.errors().await),
        }
    }

    pub async fn json(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Its last line of standard error so far; the process must have ended.
    async fn errors(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = timeout(SOON, stderr.read_to_string(&mut text)).await;
        }
        text
    }

    /// The code that it leaves with, and everything it still writes.
    pub async fn end(mut self) -> Left {
        let mut out = String::new();
        while let Some(line) = timeout(SOON, self.lines.next_line()).await.expect("it ends").expect("read") {
            out.push_str(&line);
            out.push('\n');
        }
        let err = self.errors().await;
        let status = timeout(SOON, self.child.wait()).await.expect("it ends").expect("waited for");
        Left { code: status.code().unwrap_or(-1), out, err }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)).expect("it runs");
        rustix::process::kill_process(pid, signal).expect("signalled");
    }
}

pub async fn gateway(bus: &str) -> Process {
    Process::start(ProcessOptions::gateway(bus)).await.expect("a gateway")
}

/// Workflows in a directory of their own, removed when dropped.
pub struct Workflows(PathBuf);

impl Workflows {
    pub fn new(all: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("weft-cli-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&dir).expect("made");
        for (name, text) in all {
            std::fs::write(dir.join(format!("{name}.yaml")), text).expect("written");
        }
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workflows {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An executor behind a gateway, whose bus is in its memory.
pub async fn executor(gateway: &Process, workflows: &Workflows) -> Process {
    let options = ProcessOptions::executor("memory:", workflows.path()).env("WEFT_GATEWAY_URL", &gateway.url());
    let executor = Process::start(options).await.expect("an executor");
    // It has told the gateway what it runs.
    until("its workflows are known", async || {
        let left = run(weft(&[&gateway.url()], &["run", "none-such"])).await;
        left.err.contains("there are")
    })
    .await;
    executor
}

/// Asks again and again until it holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + SOON;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A numbered log event, as a line.
pub fn numbered(execution: &str, n: u64) -> String {
    json!({"type": "log", "executionId": execution, "data": {"level": "info", "message": format!("line {n}"), "n": n}})
        .to_string()
}

/// Publishes lines and sees that all are stored.
pub async fn publish(gateway: &str, lines: &[String]) {
    let left = run_with(weft(&[gateway], &["publish"]), lines.join("\n").as_bytes()).await;
    assert_eq!(left.code, 0, "{left:?}");
}

/// Ends an execution.
pub async fn end(gateway: &str, execution: &str, how: &str) {
    let left = run(weft(&[gateway], &["publish", &format!("execution:{how}"), "-e", execution, "-s", "error=boom"])).await;
    assert_eq!(left.code, 0, "{left:?}");
}
