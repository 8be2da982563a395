//! What has brought other servers of these protocols down, replayed as it was published. docs/TESTING.md says where each
//! advisory is replayed; here are those that no other test covers.

use crate::{
    packets::Packets,
    support::{Broker, Kind, SOON, get, until},
};
use serde_json::json;
use socket2::SockRef;
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::process::Process;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn connect(gateway: &Process) -> TcpStream {
    TcpStream::connect(gateway.address()).await.expect("a connection")
}

/// The first line of the answer to a request; empty where the connection was closed without one.
async fn ask(gateway: &Process, request: &[u8]) -> String {
    let mut stream = connect(gateway).await;
    // Who has refused may have closed before it had everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut bytes = [0; 1024];
    while !answer.contains(&b'\n') {
        match tokio::time::timeout(SOON, stream.read(&mut bytes)).await.expect("an answer in time") {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&bytes[..read]),
        }
    }
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

/// The path and query of a session that polls.
async fn session(gateway: &Process) -> String {
    let path = "/socket.io/?EIO=4&transport=polling";
    let answer = weft_testkit::http::client().get(format!("{}{path}", gateway.url())).send().await.expect("an answer");
    let open = answer.text().await.expect("a handshake");
    let open: serde_json::Value = serde_json::from_str(&open[1..]).expect("JSON");
    format!("{path}&sid={}", open["sid"].as_str().expect("a sid"))
}

/// Files and sockets that it holds open.
fn descriptors(gateway: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("Linux").count()
}

async fn serves(gateway: &mut Process, what: &str) {
    assert!(gateway.is_running(), "{what}: {}", gateway.log_tail());
    assert_eq!(gateway.panics(), Vec::<String>::new(), "{what}");
    assert_eq!(get(gateway, "/api/ws/health").await.0, 200, "{what}");
}

/// CVE-2017-16031: ids that can be guessed. The first 22 characters are the random part, six bits each but for the last.
#[tokio::test]
async fn ids_of_sessions_are_random() {
    const SESSIONS: usize = 256;
    let gateway = Broker::start(Kind::Memory).await.gateway(&[]).await;
    let mut parts = BTreeSet::new();
    for _ in 0..SESSIONS {
        let path = session(&gateway).await;
        let sid = path.split_once("sid=").expect("a sid").1;
        parts.insert(sid[..22].to_owned());
    }
    assert_eq!(parts.len(), SESSIONS, "none comes twice");
    for at in 0..21 {
        let seen: BTreeSet<u8> = parts.iter().map(|part| part.as_bytes()[at]).collect();
        // Of 64 characters all but one or two turn up among so many.
        assert!(seen.len() >= 48, "character {at} is one of {} only", seen.len());
    }
}

/// CVE-2024-37890, CVE-2021-32640: more headers, and longer ones, than anybody needs.
#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let broker = Broker::start(Kind::Memory).await;
    let mut gateway = broker.gateway(&[]).await;
    let many: String = (0..3000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let protocols = format!("Sec-WebSocket-Protocol: {}\r\n", "a,".repeat(20_000));
    let spaces = format!("Sec-WebSocket-Protocol: a{}b\r\n", " ".repeat(50_000));
    for path in ["/api/ws", "/socket.io/?EIO=4&transport=websocket", "/socket.io/?EIO=4&transport=polling"] {
        for headers in [&many, &protocols, &spaces] {
            let first =
                ask(&gateway, format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{UPGRADE}{headers}\r\n").as_bytes()).await;
            assert!(first.is_empty() || first.contains(" 431 ") || first.contains(" 400 "), "{path}: {first}");
        }
    }
    serves(&mut gateway, "headers").await;
}

/// CVE-2024-38355: an event by a name that means something to servers of Node.js.
#[tokio::test]
async fn events_by_reserved_names_bring_nobody_down() {
    let broker = Broker::start(Kind::Memory).await;
    let mut gateway = broker.gateway(&[]).await;
    for name in ["error", "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener", "__proto__"]
    {
        let mut client = Packets::connect(&gateway, "/", json!({})).await;
        client.say(&format!("42[\"{name}\",{{\"message\":\"x\"}}]")).await;
        client.say("421[\"subscribe\",\"execution:run\"]").await;
        // Served on, or closed for it: either is an answer.
        let answered = tokio::spawn(async move { client.next().await });
        let answered = tokio::time::timeout(SOON, answered).await;
        assert!(answered.is_ok(), "{name}: neither served nor closed");
    }
    serves(&mut gateway, "names").await;
}

/// CVE-2022-41940, CVE-2022-21676, CVE-2023-31125: a connection that is reset, or speaks out of turn, at each step of the way.
#[tokio::test]
async fn resets_at_every_step_bring_nobody_down() {
    let broker = Broker::start(Kind::Memory).await;
    let mut gateway = broker.gateway(&[]).await;
    let head = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n");
    let packets = head("/socket.io/?EIO=4&transport=websocket", UPGRADE);
    let native = head("/api/ws", UPGRADE);
    let stream = head("/api/executions/run/events", "Accept: text/event-stream\r\n");
    let polling = head("/socket.io/?EIO=4&transport=polling", "");
    let webtransport = head("/socket.io/?EIO=4&transport=webtransport", UPGRADE);
    for bytes in [&packets, &native, &stream, &polling, &webtransport] {
        for (cut, pause_ms) in [(1, 0), (bytes.len() / 2, 0), (bytes.len(), 0), (bytes.len(), 30)] {
            let mut client = connect(&gateway).await;
            client.write_all(&bytes.as_bytes()[..cut]).await.expect("written");
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            // Frames with reserved bits, a control frame that is too long, a close with a code that may not be sent.
            for frame in [&[0xf1, 0x80, 0, 0, 0, 0][..], &[0x89, 0xff, 1], &[0x88, 0x82, 0, 0, 0, 0, 3, 0xed]] {
                let _ = client.write_all(frame).await;
            }
            // Closed with a reset rather than an end.
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a socket");
        }
    }
    serves(&mut gateway, "resets").await;
}

/// CVE-2020-36048, CVE-2020-36049: a body of 10 MB to a session that polls, with the usual bounds.
#[tokio::test]
async fn a_large_body_is_refused_before_it_is_read() {
    let broker = Broker::start(Kind::Memory).await;
    let mut gateway = broker.gateway(&[]).await;
    let path = session(&gateway).await;
    let head = format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10485760\r\n\r\n");
    // Nothing of the body has been sent, and none of it is waited for.
    let first = ask(&gateway, head.as_bytes()).await;
    assert!(first.contains(" 413 "), "{first}");
    serves(&mut gateway, "a large body").await;
}

/// The same without a length: nobody can know how long it is, so that it is read up to what is allowed and no further.
#[tokio::test]
async fn a_large_body_in_chunks_is_refused_where_the_bound_is() {
    let broker = Broker::start(Kind::Memory).await;
    let mut gateway = broker.gateway(&[("WEFT_MESSAGE_BYTES_MAX", "65536")]).await;
    let path = session(&gateway).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    // What lies in the kernel's buffers has been read by nobody.
    socket.set_send_buffer_size(64 * 1024).expect("a small buffer");
    let mut stream = socket.connect(gateway.address().parse().expect("an address")).await.expect("a connection");
    let head = format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("written");
    let chunk = [b"4000\r\n".as_slice(), &[b'4'; 0x4000], b"\r\n"].concat();
    let (mut reader, mut writer) = stream.into_split();
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = sent.clone();
    let sending = tokio::spawn(async move {
        // 10 MB; who is not read any more waits, or is reset.
        for _ in 0..640 {
            if writer.write_all(&chunk).await.is_err() {
                break;
            }
            counted.fetch_add(chunk.len(), std::sync::atomic::Ordering::Relaxed);
        }
    });
    let mut answer = Vec::new();
    let mut bytes = [0; 1024];
    while !answer.contains(&b'\n') {
        match tokio::time::timeout(SOON, reader.read(&mut bytes)).await.expect("an answer in time") {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&bytes[..read]),
        }
    }
    let first = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    let taken = sent.load(std::sync::atomic::Ordering::Relaxed);
    sending.abort();
    assert!(first.contains(" 413 "), "{first:?} after {taken} bytes");
    assert!(taken < 3_000_000, "{taken} bytes were taken for a body of 65,536 at most");
    serves(&mut gateway, "a large body in chunks").await;
}

/// CVE-2026-59725: a binary body to a session that polls. It is answered each time, and nothing stays open for it.
#[tokio::test]
async fn binary_bodies_are_answered_and_leave_no_descriptor_behind() {
    let broker = Broker::start(Kind::Memory).await;
    let mut gateway = broker.gateway(&[]).await;
    let path = session(&gateway).await;
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\nContent-Length: 3\r\n\r\n");
    let request = [head.as_bytes(), &[1, 2, 3]].concat();
    let first = ask(&gateway, &request).await;
    assert!(first.contains(" 400 "), "{first}");
    let before = descriptors(&gateway);
    // All at once, and each keeps its connection open until it has its answer.
    for _ in 0..4 {
        let all = (0..50).map(|_| ask(&gateway, &request));
        for first in futures_util::future::join_all(all).await {
            assert!(first.contains(" 400 "), "{first}");
        }
    }
    until("its descriptors are back", async || descriptors(&gateway) <= before).await;
    serves(&mut gateway, "binary bodies").await;
}
