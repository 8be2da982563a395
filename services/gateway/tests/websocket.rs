//! The gateway's WebSocket from outside, byte by byte: what the rules allow works in whatever pieces it comes, what they
//! forbid is closed with its code, and nobody else notices. The frames and limits themselves are tried in the dialect's
//! own tests.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use weft_testkit::process::{Process, ProcessOptions};

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
/// Nothing here takes nearly as long; it only bounds a hang.
const SOON: Duration = Duration::from_secs(30);

/// A frame as a client sends it.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x1B, 0xAD, 0xF0, 0x0D];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A connection of bytes.
struct Raw {
    stream: TcpStream,
    head: String,
    heard: Vec<u8>,
}

/// A frame of the gateway.
#[derive(Debug, PartialEq)]
struct Frame {
    first: u8,
    payload: Vec<u8>,
}

impl Raw {
    /// Upgrades, with these header lines besides.
    async fn upgrade(address: &str, more: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!(
            "GET /api/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut raw = Self { stream, head: String::new(), heard: Vec::new() };
        let end = loop {
            if let Some(at) = raw.heard.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(raw.more().await, "{}", String::from_utf8_lossy(&raw.heard));
        };
        raw.head = String::from_utf8(raw.heard.drain(..end).collect()).expect("a head");
        raw
    }

    /// The same, and is greeted.
    async fn open(address: &str, more: &str) -> Self {
        let mut raw = Self::upgrade(address, more).await;
        assert!(raw.head.starts_with("HTTP/1.1 101"), "{}", raw.head);
        assert!(raw.head.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{}", raw.head);
        assert_eq!(raw.hear().await["type"], "connected");
        raw
    }

    async fn more(&mut self) -> bool {
        let mut some = [0; 16 * 1024];
        let read = timeout(SOON, self.stream.read(&mut some)).await.expect("bytes, in time").unwrap_or(0);
        self.heard.extend_from_slice(&some[..read]);
        read > 0
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A gateway that closes meanwhile is heard of by what comes next.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame; `None` at the end of the stream.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, len)) = parse(&self.heard) {
                self.heard.drain(..len);
                return Some(frame);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next message, inflated where it is compressed.
    async fn hear(&mut self) -> Value {
        let frame = self.frame().await.expect("a frame");
        let payload = match frame.first {
            first if first == FIN | TEXT => frame.payload,
            first if first == FIN | RSV1 | TEXT => inflated(&frame.payload),
            _ => panic!("a message was due, not {frame:?}"),
        };
        serde_json::from_slice(&payload).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&payload)))
    }

    /// The close code, after whatever else comes, and that the end of the stream follows.
    async fn hear_close(&mut self) -> Option<u16> {
        loop {
            let frame = self.frame().await?;
            if frame.first == FIN | CLOSE {
                assert_eq!(self.frame().await, None, "nothing follows a close frame");
                return frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, short) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(short & 0x80, 0, "a server masks nothing");
    let (len, at) = match short {
        126 => (usize::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes[2..].first_chunk()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(at..at + len)?.to_vec();
    Some((Frame { first, payload }, at + len))
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 << 20);
    let whole = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    Decompress::new(false).decompress_vec(&whole, &mut bytes, FlushDecompress::Sync).expect("deflate");
    bytes
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 1024);
    Compress::new(Compression::new(9), false).compress_vec(payload, &mut bytes, FlushCompress::Sync).expect("deflate");
    bytes.truncate(bytes.len() - 4);
    bytes
}

async fn gateway(env: &[(&str, &str)]) -> Process {
    let options = env.iter().fold(ProcessOptions::gateway("memory:"), |options, (name, value)| options.env(name, value));
    Process::start(options).await.expect("a gateway")
}

async fn publish(gateway: &Process, events: Value) {
    let answer = weft_testkit::http::client()
        .post(format!("{}/api/events", gateway.url()))
        .header("content-type", "application/json")
        .body(events.to_string())
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 202);
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const PING_TEXT: &[u8] = br#"{"type":"ping","ref":"r"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_may_come_in_any_pieces_with_control_frames_between() {
    let gateway = gateway(&[]).await;
    let mut raw = Raw::open(&gateway.address(), "").await;
    let (head, tail) = PING_TEXT.split_at(7);
    let (middle, tail) = tail.split_at(5);
    let pieces = [masked(TEXT, head), masked(FIN | PING, b"one"), masked(CONTINUATION, middle), masked(FIN | CONTINUATION, tail)];
    // In one write, byte by byte, and the same with nothing in the first fragment.
    for repeat in 0..3 {
        let bytes = match repeat {
            2 => [&masked(TEXT, b"")[..], &masked(FIN | PING, b"one"), &masked(FIN | CONTINUATION, PING_TEXT)].concat(),
            _ => pieces.concat(),
        };
        for chunk in bytes.chunks(if repeat == 1 { 1 } else { bytes.len() }) {
            raw.send(chunk).await;
        }
        assert_eq!(raw.frame().await, Some(Frame { first: FIN | PONG, payload: b"one".to_vec() }));
        assert_eq!(raw.hear().await["ref"], "r");
    }
    // Many messages in one write: each is answered, in order.
    let many: Vec<u8> =
        (0..500).flat_map(|n| masked(FIN | TEXT, json!({"type":"ping","ref":n.to_string()}).to_string().as_bytes())).collect();
    raw.send(&many).await;
    for n in 0..500 {
        assert_eq!(raw.hear().await["ref"], n.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_forbid_is_closed_with_its_code() {
    let gateway = gateway(&[("WEFT_MESSAGE_BYTES_MAX", "20000")]).await;
    let piece = masked(TEXT, b"x");
    for (what, bytes, code) in [
        ("a frame without a mask", vec![FIN | TEXT, 1, b'x'], 1002),
        ("a reserved bit", masked(FIN | 0x20 | TEXT, b"x"), 1002),
        ("compressed though nobody offered it", masked(FIN | RSV1 | TEXT, &deflated(PING_TEXT)), 1002),
        ("a reserved opcode", masked(FIN | 0x3, b""), 1002),
        ("a continuation of nothing", masked(FIN | CONTINUATION, b"x"), 1002),
        ("a message within a message", [&piece[..], &piece].concat(), 1002),
        ("a control frame in pieces", masked(PING, b"x"), 1002),
        ("a control frame of 126 bytes", masked(FIN | PING, &[b'x'; 126]), 1002),
        ("a close frame of one byte", masked(FIN | CLOSE, &[3]), 1002),
        ("a close code that is reserved", masked(FIN | CLOSE, &1005u16.to_be_bytes()), 1002),
        ("a close reason that is not UTF-8", masked(FIN | CLOSE, &[0x03, 0xE8, 0xFF]), 1007),
        ("text that is not UTF-8", masked(FIN | TEXT, b"\xC3\x28"), 1007),
        (
            "text that stops being UTF-8 in its second piece",
            [masked(TEXT, b"\xC3"), masked(CONTINUATION, b"\x28")].concat(),
            1007,
        ),
        ("a frame that is too large", masked(FIN | TEXT, &[b'x'; 20_001]), 1009),
        ("a message that is too large", [masked(TEXT, &[b'x'; 15_000]), masked(CONTINUATION, &[b'x'; 15_000])].concat(), 1009),
        (
            "8,000 fragments of one byte",
            (0..8000).flat_map(|n| masked(if n == 0 { TEXT } else { CONTINUATION }, b"x")).collect(),
            1009,
        ),
        ("fragments of nothing", (0..100).flat_map(|n| masked(if n == 0 { TEXT } else { CONTINUATION }, b"")).collect(), 1009),
        ("a flood of pings", (0..5000).flat_map(|_| masked(FIN | PING, b"")).collect(), 1008),
        ("ours to echo", masked(FIN | CLOSE, &4321u16.to_be_bytes()), 4321),
    ] {
        let mut raw = Raw::open(&gateway.address(), "").await;
        raw.send(&bytes).await;
        let heard = raw.hear_close().await;
        let too_many = what.contains("fragments");
        assert!(heard == Some(code) || too_many && heard == Some(1008), "{what}: {heard:?}, not {code}");
    }
    let mut raw = Raw::open(&gateway.address(), "").await;
    raw.send(&masked(FIN | CLOSE, b"")).await;
    assert_eq!(raw.frame().await, Some(Frame { first: FIN | CLOSE, payload: Vec::new() }), "an empty close is answered as it is");
    let mut raw = Raw::open(&gateway.address(), "").await;
    raw.send(&masked(FIN | TEXT, PING_TEXT)).await;
    assert_eq!(raw.hear().await["type"], "pong", "nobody else has noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_end_is_closed_in_time() {
    let gateway = gateway(&[("WEFT_MESSAGE_SECS", "2"), ("WEFT_PING_SECS", "600")]).await;
    let mut slow = Raw::open(&gateway.address(), "").await;
    let mut half = Raw::open(&gateway.address(), "").await;
    let mut lively = Raw::open(&gateway.address(), "").await;
    slow.send(&masked(TEXT, b"{\"type\":")).await;
    half.send(&masked(FIN | TEXT, PING_TEXT)[..9]).await;
    // Drop by drop, with a sign of life each time: the message is as late as if nothing came.
    let dripping = async {
        for _ in 0..40 {
            slow.send(&[masked(CONTINUATION, b" "), masked(FIN | PING, b"")].concat()).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        slow
    };
    let closed = async {
        assert_eq!(half.hear_close().await, Some(1008));
    };
    let (mut slow, ()) = tokio::join!(dripping, closed);
    assert!(matches!(slow.hear_close().await, Some(1008) | None));
    lively.send(&masked(FIN | TEXT, PING_TEXT)).await;
    assert_eq!(lively.hear().await["type"], "pong");
    let metrics = gateway.metrics().await.expect("metrics");
    assert!(metrics.contains("weft_gateway_closes_total{code=\"1008\",reason=\"policy\"} 2"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_sessions_are_told_the_same_in_fewer_bytes() {
    let gateway = gateway(&[]).await;
    let address = gateway.address();
    let mut plain = Raw::open(&address, "").await;
    let mut deflate = Raw::open(&address, OFFER).await;
    assert!(deflate.head.contains("server_no_context_takeover; client_no_context_takeover"), "{}", deflate.head);
    // A second room makes a session append tails of its own to the shared body.
    let mut spliced = Raw::open(&address, OFFER).await;
    let mut batched = Raw::open(&address, OFFER).await;
    let subscribe = |rooms: &[&str]| {
        let rooms: Vec<Value> = rooms.iter().map(|room| json!({"room": room})).collect();
        json!({"type": "subscribe", "rooms": rooms, "batch": rooms.len() == 3}).to_string()
    };
    plain.send(&masked(FIN | TEXT, subscribe(&["execution:e"]).as_bytes())).await;
    deflate.send(&masked(FIN | RSV1 | TEXT, &deflated(subscribe(&["execution:e"]).as_bytes()))).await;
    spliced.send(&masked(FIN | TEXT, subscribe(&["execution:e", "user:u"]).as_bytes())).await;
    batched.send(&masked(FIN | TEXT, subscribe(&["execution:e", "user:u", "kb:k"]).as_bytes())).await;
    for (raw, answers) in [(&mut plain, 1), (&mut deflate, 1), (&mut spliced, 2), (&mut batched, 3)] {
        for _ in 0..answers {
            assert_eq!(raw.hear().await["type"], "subscribed");
        }
    }
    let events: Vec<Value> = (0..40)
        .map(|n| {
            let message = if n % 4 == 0 { "short".to_owned() } else { format!("{n} says the same again and again ").repeat(40) };
            json!({"type": "log", "executionId": "e", "data": {"level": "info", "message": message, "n": n}})
        })
        .collect();
    publish(&gateway, events.clone().into()).await;
    let (mut plain_bytes, mut deflated_bytes) = (0, 0);
    for (n, event) in events.iter().enumerate() {
        let frame = plain.frame().await.expect("a frame");
        plain_bytes += frame.payload.len();
        let expected: Value = serde_json::from_slice(&frame.payload).expect("JSON");
        assert_eq!(expected["data"], event["data"]);
        let frame = deflate.frame().await.expect("a frame");
        assert!(frame.first & RSV1 != 0 || n % 4 == 0, "{n}");
        deflated_bytes += frame.payload.len();
        let payload = if frame.first & RSV1 == 0 { frame.payload } else { inflated(&frame.payload) };
        assert_eq!(serde_json::from_slice::<Value>(&payload).expect("JSON"), expected);
        let mut told = spliced.hear().await;
        let own = told["offset"].take();
        assert!(own.as_str().is_some_and(|own| own.starts_with(expected["offset"].as_str().expect("an offset"))), "{own}");
        assert_eq!(told["data"], expected["data"]);
    }
    assert!(deflated_bytes * 3 < plain_bytes, "{deflated_bytes} of {plain_bytes} bytes");
    deflate.send(&masked(FIN | TEXT, PING_TEXT)).await;
    assert_eq!(deflate.frame().await.expect("a frame").first, FIN | TEXT, "what is short is not worth it");
    let mut next = 0;
    while next < events.len() {
        let frame = batched.frame().await.expect("a frame");
        let payload = if frame.first & RSV1 == 0 { frame.payload } else { inflated(&frame.payload) };
        for line in payload.split(|byte| *byte == b'\n') {
            let told: Value =
                serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(line)));
            assert_eq!(told["data"], events[next]["data"]);
            next += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_cut_at_the_limit_and_compression_can_be_switched_off() {
    let gateway = gateway(&[]).await;
    let before = gateway.rss_bytes().expect("its memory");
    let bomb = deflated(&vec![b'x'; 64 << 20]);
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    for _ in 0..20 {
        let mut raw = Raw::open(&gateway.address(), OFFER).await;
        raw.send(&masked(FIN | RSV1 | TEXT, &bomb)).await;
        assert_eq!(raw.hear_close().await, Some(1009));
    }
    let grown = gateway.rss_bytes().expect("its memory").saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes");
    let mut raw = Raw::open(&gateway.address(), OFFER).await;
    raw.send(&masked(FIN | RSV1 | TEXT, b"\x06\x01\x02\x03")).await;
    assert_eq!(raw.hear_close().await, Some(1007), "what does not inflate");

    let gateway = self::gateway(&[("WEFT_COMPRESSION", "false")]).await;
    let raw = Raw::open(&gateway.address(), OFFER).await;
    assert!(!raw.head.to_ascii_lowercase().contains("sec-websocket-extensions"), "{}", raw.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_upgraded_are_refused() {
    let gateway = gateway(&[]).await;
    for (request, status) in [
        (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "426",
        ),
        (
            "Connection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "426",
        ),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n", "400"),
        ("", "400"),
    ] {
        let mut stream = TcpStream::connect(gateway.address()).await.expect("connected");
        let request = format!("GET /api/ws HTTP/1.1\r\nHost: localhost\r\n{request}\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = vec![0; 4096];
        let read = timeout(SOON, stream.read(&mut answer)).await.expect("in time").expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..read]).to_ascii_lowercase();
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{request}\n{answer}");
        assert!(answer.contains("sec-websocket-version: 13"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_place_is_told_to_come_back_later() {
    let gateway = gateway(&[("WEFT_CONNECTIONS_MAX", "3")]).await;
    let mut inside = Vec::new();
    for _ in 0..3 {
        inside.push(Raw::open(&gateway.address(), "").await);
    }
    let mut raw = Raw::upgrade(&gateway.address(), "").await;
    assert_eq!(raw.hear_close().await, Some(1013));
    assert_eq!(gateway.metric("weft_gateway_turned_away_total").await.expect("metrics") as u64, 1);
    inside[0].send(&masked(FIN | TEXT, PING_TEXT)).await;
    assert_eq!(inside[0].hear().await["type"], "pong");
    // A place that is given back is free again.
    inside[1].send(&masked(FIN | CLOSE, &1000u16.to_be_bytes())).await;
    assert_eq!(inside[1].hear_close().await, Some(1000));
    let end = tokio::time::Instant::now() + SOON;
    loop {
        let mut raw = Raw::upgrade(&gateway.address(), "").await;
        if raw.frame().await.is_some_and(|frame| frame.first == FIN | TEXT) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "the place was not given back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
