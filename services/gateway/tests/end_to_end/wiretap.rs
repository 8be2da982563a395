//! Taps on the broker while ids that must never reach it are tried on every way in.
//!
//! Each illegal id holds a word that no legal one does, so that whatever comes of it is found wherever it stands. On NATS
//! three things are heard: what a real subscriber to `>` gets, what stands in requests to JetStream, and, from the server's
//! own trace, what is subscribed to. On Redis it is MONITOR, and in the end every key and channel that there is.

use crate::{
    illicit::{LEGAL, STRANGE, WORD, try_everything},
    support::{Broker, until},
};
use parking_lot::Mutex;
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use weft_testkit::servers::{NatsOptions, NatsServer, NatsVersion, RedisServer};

/// What a subscriber to everything gets.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    subjects: BTreeSet<Vec<u8>>,
    /// Of requests to JetStream, whose bodies name subjects.
    requests: Vec<Vec<u8>>,
    messages: usize,
}

impl Tap {
    async fn on(port: u16) -> Self {
        let tap = Self::default();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let mut stream = BufReader::new(stream);
        let greeting =
            "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\nSUB > 1\r\nPING\r\n";
        stream.get_mut().write_all(greeting.as_bytes()).await.expect("written");
        let heard = tap.clone();
        let (listening, listens) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut listening = Some(listening);
            loop {
                let mut line = Vec::new();
                if stream.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                if line.starts_with(b"PONG")
                    && let Some(listening) = listening.take()
                {
                    let _ = listening.send(());
                }
                if line.starts_with(b"PING") {
                    stream.get_mut().write_all(b"PONG\r\n").await.expect("written");
                }
                if line.starts_with(b"MSG ") || line.starts_with(b"HMSG ") {
                    // `MSG <subject> <sid> [reply] <bytes>`: what stands between the first space and " 1 " is the subject.
                    let words: Vec<&[u8]> = line.trim_ascii_end().split(|byte| *byte == b' ').collect();
                    let bytes: usize = String::from_utf8_lossy(words.last().expect("a length")).parse().expect("a length");
                    let mut payload = vec![0; bytes + 2];
                    stream.read_exact(&mut payload).await.expect("a payload");
                    let mut heard = heard.0.lock();
                    heard.messages += 1;
                    if words[1].starts_with(b"$JS.API.") {
                        heard.requests.push(payload);
                    }
                    heard.subjects.insert(words[1].to_vec());
                }
            }
        });
        listens.await.expect("it listens");
        tap
    }
}

/// Why a subject is none that this service may use.
fn fault_of_subject(subject: &str) -> Option<&'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:~@%/$".contains(&byte);
    let tokens: Vec<&str> = subject.split('.').collect();
    let inner: &[&str] = match tokens.iter().position(|token| *token == "weft") {
        Some(at) => &tokens[at..],
        None => &[],
    };
    let expected = match inner.get(1).copied() {
        _ if inner.is_empty() => None,
        Some("live" | "head" | "cmd" | "epoch" | "journal" | "canary") => Some(3),
        Some("present" | "record") => Some(4),
        Some("own") => Some(5),
        _ => Some(2),
    };
    let is_ours = ["weft", "$JS", "_INBOX"].contains(&tokens[0]);
    match () {
        () if subject.contains(WORD) => Some("holds an illegal id"),
        () if !is_ours => Some("is none of ours"),
        () if tokens.iter().any(|token| token.is_empty()) => Some("has an empty token"),
        () if expected.is_some_and(|count| inner.len() != count) => Some("has another number of tokens"),
        () if !tokens.iter().all(|token| token.bytes().all(legal)) => Some("holds what no name of ours holds"),
        () => None,
    }
}

/// Everything in a request's body that is a subject, or a filter of subjects.
fn subjects_in(body: &[u8]) -> Vec<String> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let named = |name: &str| name.contains("subj") || name.contains("filter") || name.contains("multi");
    let fields = body.as_object().into_iter().flatten().filter(|(name, _)| named(name));
    let texts = fields.flat_map(|(_, value)| match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    });
    texts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_illegal_reaches_nats() {
    let mut options = NatsOptions::new(NatsVersion::Current);
    options.config = "trace: true\nmax_traced_msg_len: 64\n".into();
    let broker = Broker::of_nats(NatsServer::start_with(options).await.expect("NATS"));
    let tap = Tap::on(broker.nats().port()).await;
    let tries = try_everything(&broker, &broker.url()).await;
    let mut faults = Vec::new();
    let heard = tap.0.lock();
    for subject in &heard.subjects {
        let subject = String::from_utf8_lossy(subject);
        faults.extend(fault_of_subject(&subject).map(|fault| format!("published to {subject:?}: {fault}")));
    }
    let mut requested = 0;
    for subject in heard.requests.iter().flat_map(|body| subjects_in(body)) {
        requested += 1;
        // Lists are asked for with a star for their last token, or the last two.
        let asked = subject.replace(".*", ".x");
        faults.extend(fault_of_subject(&asked).map(|fault| format!("asked for {subject:?}: {fault}")));
    }
    let trace = std::fs::read_to_string(broker.nats().directory().join("log")).expect("the server's log");
    let mut subscribed = BTreeSet::new();
    for line in trace.lines() {
        // The tap's own is the only one to everything.
        if let Some((_, rest)) = line.split_once("<<- [SUB ")
            && !rest.starts_with("> ")
        {
            let subject = rest.split(' ').next().unwrap_or_default();
            subscribed.insert(subject.to_owned());
            let inbox = subject.starts_with("_INBOX").then(|| subject.replace(".*", ".x"));
            let fault = fault_of_subject(inbox.as_deref().unwrap_or(subject));
            faults.extend(fault.map(|fault| format!("subscribed to {subject:?}: {fault}")));
        }
        // Payloads of 64 bytes are shown as well; none of an illegal id gets so far.
        if line.contains(WORD) {
            faults.push(format!("in the server's trace: {line}"));
        }
    }
    let (messages, subjects) = (heard.messages, heard.subjects.len());
    let strange =
        |name: &&str| heard.subjects.iter().any(|subject| String::from_utf8_lossy(subject).contains(&name.replace('.', "%2E")));
    eprintln!(
        "{tries} tries; {messages} messages on {subjects} subjects, {requested} in requests, {} subscribed",
        subscribed.len()
    );
    assert!(LEGAL.iter().all(strange), "the tap hears what is legal: {:?}", heard.subjects);
    assert!(subscribed.iter().any(|subject| subject.contains(STRANGE)), "{subscribed:?}");
    assert_eq!(faults, Vec::<String>::new(), "of {tries} tries");
}

/// The words of a line of MONITOR.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = line.chars();
    while characters.by_ref().any(|character| character == '"') {
        let mut word = String::new();
        while let Some(character) = characters.next() {
            match character {
                '"' => break,
                '\\' => word.extend(std::iter::once('\\').chain(characters.next())),
                _ => word.push(character),
            }
        }
        words.push(word);
    }
    words
}

fn fault_of_name(name: &str) -> Option<&'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:~@./{}".contains(&byte);
    // A brace is ours alone: it says which part of a key decides where it lives.
    let braces = name.matches(['{', '}']).count();
    let rooms = ["execution:", "user:", "agent:", "kb:"];
    let is_ours =
        name.starts_with("weft:") || rooms.iter().any(|kind| name.starts_with(kind) || name.contains(&format!("/{kind}")));
    match () {
        () if name.contains(WORD) => Some("holds an illegal id"),
        () if !is_ours => Some("is none of ours"),
        () if !name.bytes().all(legal) => Some("holds what no name of ours holds"),
        () if !matches!(braces, 0 | 2) => Some("has braces of others"),
        () => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_illegal_reaches_redis() {
    let broker = Broker::of_redis(RedisServer::start().await.expect("Redis"));
    let stream = TcpStream::connect(("127.0.0.1", broker.redis().port())).await.expect("connected");
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"MONITOR\r\n").await.expect("written");
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let heard = lines.clone();
    tokio::spawn(async move {
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).await.unwrap_or(0) > 0 {
            heard.lock().push(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
    });
    until("it monitors", async || !lines.lock().is_empty()).await;
    let tries = try_everything(&broker, &broker.url()).await;
    let mut raw = broker.redis().raw().await.expect("a connection");
    let keys = raw.say(&["KEYS", "*"]).await.expect("keys").to_string();
    let channels = raw.say(&["PUBSUB", "CHANNELS"]).await.expect("channels").to_string();
    let mut faults = Vec::new();
    for name in keys.lines().chain(channels.lines()).filter(|name| !name.is_empty()) {
        faults.extend(fault_of_name(name).map(|fault| format!("{name:?}: {fault}")));
    }
    let lines = lines.lock();
    let (mut commands, mut named) = (0, BTreeSet::new());
    for line in lines.iter() {
        let words = words(line);
        let Some(command) = words.first().map(|word| word.to_uppercase()) else { continue };
        commands += 1;
        if line.contains(WORD) {
            faults.push(format!("in MONITOR: {}", line.chars().take(300).collect::<String>()));
        }
        match command.as_str() {
            "SUBSCRIBE" | "SSUBSCRIBE" => named.extend(words[1..].iter().cloned()),
            "PUBLISH" | "SPUBLISH" => named.extend(words.get(1).cloned()),
            "EVALSHA" | "EVAL" => {
                let keys = words.get(2).and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
                named.extend(words.iter().skip(3).take(keys).cloned());
            }
            "PSUBSCRIBE" | "FLUSHALL" => faults.push(format!("{command}: {line}")),
            "GET" | "SET" | "DEL" | "HGET" | "HGETALL" | "HMGET" | "XADD" | "XRANGE" | "XLEN" | "PTTL" | "PEXPIRE" | "ZADD"
            | "ZREM" | "ZRANGEBYSCORE" => named.extend(words.get(1).cloned()),
            _ => {}
        }
    }
    faults.extend(named.iter().filter_map(|name| Some(format!("named {name:?}: {}", fault_of_name(name)?))));
    eprintln!("{tries} tries; {commands} commands with {} names; {} keys in the end", named.len(), keys.lines().count());
    assert!(LEGAL.iter().all(|name| named.iter().any(|named| named.contains(name))), "MONITOR shows what is legal: {named:?}");
    assert_eq!(faults, Vec::<String>::new(), "of {tries} tries");
}

#[test]
fn the_tap_knows_what_is_illegal() {
    for subject in [
        "weft.execution:a%2Eb",
        "weft.live.user:u",
        "weft.own.%.u.0000000000005-e",
        "$JS.API.DIRECT.GET.WEFT_EVENTS.weft.execution:e",
        "_INBOX.abc.1",
        "$JS.API.STREAM.MSG.GET.WEFT_HEADS",
        "weft.record.recovery.x",
    ] {
        assert_eq!(fault_of_subject(subject), None, "{subject}");
    }
    for subject in [
        "weft.execution:a.b",
        "weft.*",
        "weft.live.>",
        "weft.execution:ü",
        "weft..x",
        "other.x",
        "weft.execution:illicit",
        "weft.execution:a b",
        "$JS.API.DIRECT.GET.WEFT_EVENTS.weft.execution:a.b",
    ] {
        assert!(fault_of_subject(subject).is_some(), "{subject}");
    }
    for (name, is_legal) in [
        ("weft:{execution:a.b}:s", true),
        ("acme/user:u", true),
        ("execution:a*", false),
        ("weft:{execution:{}}:s", false),
        ("other", false),
        ("execution:illicit", false),
    ] {
        assert_eq!(fault_of_name(name).is_none(), is_legal, "{name}");
    }
    assert_eq!(words(r#"1.2 [0 127.0.0.1:1] "GET" "a\"b" "c d""#), ["GET", "a\\\"b", "c d"]);
}
