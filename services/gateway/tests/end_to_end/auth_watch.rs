//! A gateway whose log, metrics and spans are searched for every secret of the tests when it ends.
//!
//! It runs at the most talkative level, with every execution traced. Nothing of a token may stand anywhere, each event of
//! the log has one line, and no line is one that a client has made up.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::{Read, Write},
    net::TcpStream,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};
use weft_testkit::{collector::Collector, process::Process};

/// What a part of a token has at least; shorter pieces are words that stand elsewhere too.
const PIECE: usize = 16;

/// Pieces of all secrets that were made here, by how they begin.
static SECRETS: Mutex<Option<HashMap<[u8; PIECE], Vec<String>>>> = Mutex::new(None);

/// From now on no gateway may show this.
pub fn keep_secret(text: &str) {
    let Some(beginning) = text.as_bytes().first_chunk::<PIECE>() else { return };
    let mut secrets = SECRETS.lock();
    let alike = secrets.get_or_insert_default().entry(*beginning).or_default();
    if !alike.iter().any(|known| known == text) {
        alike.push(text.to_owned());
        if let Some(folder) = kept_in() {
            append(&folder.join("secrets"), format!("{text}\n").as_bytes());
        }
    }
}

/// The folder that all logs of a run are kept in, with the secrets that must not be in them (`tests/logs.sh`).
fn kept_in() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::var_os("WEFT_TEST_LOGS").map(PathBuf::from)).as_deref()
}

fn append(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(bytes)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// What holds for the log of every gateway of these tests, whoever started it: no secret, no panic, one line for each event.
pub fn look_at_log(path: &Path) {
    // Some are looked at after a test has taken their folder away.
    let Ok(log) = std::fs::read(path) else { return };
    if let Some(folder) = kept_in() {
        append(&folder.join(format!("{}.log", uuid::Uuid::new_v4())), &log);
    }
    let log = String::from_utf8(log).expect("UTF-8");
    assert_eq!(leaks(&log), Vec::<String>::new(), "secrets in a log");
    let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
    assert_eq!(panics, Vec::<&str>::new(), "a gateway has panicked");
    assert_eq!(forged(&log), Vec::<&str>::new(), "one line for each event");
}

/// The claims and the signature of a token; its head is no secret.
pub fn keep_token_secret(token: &str) {
    token.split('.').skip(1).for_each(keep_secret);
}

/// Lines that hold a secret.
fn leaks(text: &str) -> Vec<String> {
    let secrets = SECRETS.lock();
    let Some(secrets) = secrets.as_ref() else { return Vec::new() };
    let holds = |line: &str| {
        let pieces = line.as_bytes().windows(PIECE).enumerate();
        pieces
            .filter_map(|(at, piece)| Some((at, secrets.get(piece)?)))
            .any(|(at, alike)| alike.iter().any(|secret| line.as_bytes()[at..].starts_with(secret.as_bytes())))
    };
    // Most lines have nothing as long and unbroken as a secret.
    let is_broken = |line: &str| line.split(|char: char| " {}[]()\"=,;".contains(char)).all(|word| word.len() < PIECE);
    text.lines().filter(|line| !is_broken(line) && holds(line)).map(str::to_owned).collect()
}

/// What the tests write, as text of a client, where it could pass for a line of the log.
pub const FORGED: &str = "2026-01-01T00:00:00.000000Z  INFO weft::audit: forged from=192.0.2.99 action=\"revoke\"";

/// Lines that the log has not written: those that do not begin as its own do, those of before it began, or whose event is what
/// a client has said; and those that a terminal would show as something else.
fn forged(log: &str) -> Vec<&str> {
    let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];
    let moment = |line: &'_ str| line.split(' ').next().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    // Threads write their lines in turn, and not always in the order in which they took the time.
    let began = log.lines().find_map(moment).map(|began| began - jiff::SignedDuration::from_secs(1));
    let is_own = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let has_level = words.next().is_some_and(|level| levels.contains(&level));
        let is_said = words.next() == Some("weft::audit:") && words.next() != Some("control");
        // What is cut off ends in dots.
        let is_shown = line.chars().all(|character| matches!(character, ' '..='~' | '…'));
        has_level && !is_said && is_shown && moment(line) >= began
    };
    let is_json = |line: &str| {
        let object: Option<serde_json::Value> = serde_json::from_str(line).ok();
        object.is_some_and(|object| levels.iter().any(|level| object["level"] == *level) && object["timestamp"].is_string())
    };
    // Why it does not start, it says without the log.
    log.lines().filter(|line| !is_own(line) && !is_json(line) && !line.starts_with("gateway: ")).collect()
}

/// A gateway, watched.
pub struct Watched {
    process: Process,
    collector: Collector,
}

impl Watched {
    pub fn new(process: Process, collector: Collector) -> Self {
        Self { process, collector }
    }

    /// What `/metrics` says, asked without a runtime.
    fn metrics(&self) -> std::io::Result<String> {
        let url = self.process.admin_url();
        let mut stream = TcpStream::connect(url.trim_start_matches("http://"))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Deref for Watched {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if self.process.is_running() {
            let metrics = self.metrics().expect("metrics");
            assert!(metrics.contains("weft_guard_tokens_total"), "{metrics}");
            assert_eq!(leaks(&metrics), Vec::<String>::new(), "in metrics");
        }
        self.process.kill();
        let spans = format!("{:#?}", self.collector.spans());
        assert_eq!(leaks(&spans), Vec::<String>::new(), "in spans");
        let log = std::fs::read(self.process.log()).expect("the log");
        let log = String::from_utf8(log).expect("UTF-8");
        // What stands there is looked at as that of every other.
        assert!(log.contains("TRACE"), "the log is at its most talkative level");
    }
}

#[test]
fn a_secret_is_found_wherever_it_stands() {
    keep_token_secret("aGVhZC1vZi1hLXRva2Vu.Y2xhaW1zLW9mLWEtdG9rZW4tb2YtdGVzdHM.c2lnbmF0dXJlLW9mLWEtdG9rZW4");
    for (line, found) in [
        ("2026-01-01T00:00:00Z INFO path=/api/ws?token=***", false),
        ("head aGVhZC1vZi1hLXRva2Vu", false),
        ("x Y2xhaW1zLW9mLWEtdG9rZW4tb2YtdGVzdHM", true),
        ("token=aGVhZC1vZi1hLXRva2Vu.Y2xhaW1zLW9mLWEtdG9rZW4tb2YtdGVzdHM.xx", true),
        ("%20c2lnbmF0dXJlLW9mLWEtdG9rZW4%20", true),
        ("c2lnbmF0dXJlLW9mLWE", false),
    ] {
        assert_eq!(!leaks(line).is_empty(), found, "{line}");
    }
}

#[test]
fn a_line_that_the_log_has_not_written_is_found() {
    let own = "2026-11-21T00:00:00.000001Z  INFO weft_gateway: a room=\"x\\n2026-01-01T00:00:00Z  INFO y\"";
    for line in [
        "INFO forged",
        "x",
        FORGED,
        "2026-11-21T00:00:00.000002Z  INFO weft::audit: forged from=192.0.2.99",
        "2026-11-20T23:59:00.000000Z  INFO weft::audit: control",
        "2026-11-21T00:00:00.000002Z  NOTE x",
        "2026-11-21T00:00:00.000002Z  INFO \u{1b}[2Kx",
        "2026-11-21T00:00:00.000002Z  INFO a\u{202e}b",
        "2026-11-21T00:00:00.000002Z  INFO a\rb",
        r#"{"level":"INFO"}"#,
        r#"{"timestamp":"2026-11-21T00:00:00Z","level":"NOTE"}"#,
    ] {
        assert_eq!(forged(&format!("{own}\n{line}\n{own}\n")), [line]);
    }
    assert_eq!(forged(&format!("{own}\n{own}\n")), Vec::<&str>::new());
}
