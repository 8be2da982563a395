//! A gateway whose log, metrics and spans are searched for every secret of the tests when it ends.
//!
//! It runs at the most talkative level, with every execution traced. Nothing of a token may stand anywhere, each event of
//! the log has one line, and no line is one that a client has made up.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpStream,
    ops::{Deref, DerefMut},
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
    }
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

/// Lines that do not begin as the log begins its own.
fn forged(log: &str) -> Vec<&str> {
    let begins =
        |line: &str| line.len() > 20 && line.as_bytes()[4] == b'-' && line.as_bytes()[10] == b'T' && line.starts_with("20");
    log.lines().filter(|line| !begins(line)).collect()
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
        assert!(log.contains("TRACE"), "the log is at its most talkative level");
        assert_eq!(leaks(&log), Vec::<String>::new(), "in the log");
        assert_eq!(forged(&log), Vec::<&str>::new(), "one line for each event");
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
    assert_eq!(forged("2026-01-01T00:00:00.000000Z  INFO x\nINFO forged\n"), ["INFO forged"]);
}
