//! Sockets are counted, whatever is said over them, and there is always one for operators.

use crate::{
    auth_rig::{self, CONTROL, ask_at, controlled, of, token},
    certificates::Certificates,
    support::{Broker, Kind, SOON, until},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::process::Process;

const MOST: usize = 40;
/// Those that are told that there is no place, and what else a process opens now and then.
const BESIDE: usize = 64 + 16;

fn files(gateway: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("descriptors").count()
}

/// A socket that has said this.
async fn saying(address: &str, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a place in the backlog");
    let _ = stream.write_all(text.as_bytes()).await;
    stream
}

/// What came first.
async fn first(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let read = tokio::time::timeout(SOON, stream.read(&mut bytes)).await.expect("in time").unwrap_or_default();
    String::from_utf8_lossy(&bytes[..read]).to_lowercase()
}

/// What a request is answered on a socket of its own, to the end.
async fn whole(address: &str, text: &str) -> String {
    let mut stream = saying(address, text).await;
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("closed");
    String::from_utf8_lossy(&bytes).to_lowercase()
}

const HEALTH: &str = "GET /api/ws/health HTTP/1.1\r\nhost: localhost\r\n\r\n";
const CLOSING: &str = "GET /api/ws/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn stream_of_events(bearer: &str) -> String {
    format!(
        "GET /api/rooms/user:ada/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\
         authorization: Bearer {bearer}\r\n\r\n"
    )
}

fn upgrade() -> String {
    let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
    format!(
        "GET /api/ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_said_over_them_sockets_are_counted() {
    let broker = Broker::start(Kind::Memory).await;
    let most = MOST.to_string();
    let env = [("WEFT_SOCKETS_MAX", most.as_str()), ("WEFT_HEADER_SECS", "60"), ("WEFT_AUTH_SECS", "60")];
    let (gateway, control) = controlled(&broker, &env).await;
    let (address, bearer) = (gateway.address(), of("ada"));
    let before = files(&gateway);
    let mut kept = Vec::new();
    for (text, answer) in [
        (String::new(), ""),
        ("GET /api/executions HTTP/1.1\r\nhost: localhost\r\nx-slow:".to_owned(), ""),
        (HEALTH.to_owned(), "http/1.1 200"),
        (upgrade(), "http/1.1 101"),
        (stream_of_events(&bearer), "http/1.1 200"),
    ] {
        for _ in 0..MOST / 5 {
            let mut stream = saying(&address, &text).await;
            if !answer.is_empty() {
                let heard = first(&mut stream).await;
                assert!(heard.starts_with(answer), "{} of {MOST} are there: {heard}", kept.len());
            }
            kept.push(stream);
        }
    }
    // The last of them is accepted a moment after it has connected.
    until("all are taken", async || whole(&address, CLOSING).await.starts_with("http/1.1 503")).await;
    let turned_away = async || gateway.metric("weft_gateway_turned_away_total").await.expect("metrics");
    let refused_before = turned_away().await;

    let refused = whole(&address, CLOSING).await;
    assert!(refused.starts_with("http/1.1 503") && refused.contains("retry-after: "), "{refused}");
    assert!(refused.contains(r#""code":"overloaded""#), "{refused}");
    let refused = whole(&address, &upgrade()).await;
    assert!(refused.starts_with("http/1.1 503") && refused.contains("retry-after: "), "{refused}");
    // To an EventSource a 503 would be final.
    let sent_away = whole(&address, &stream_of_events(&bearer)).await;
    assert!(sent_away.starts_with("http/1.1 200") && sent_away.contains("retry: "), "{sent_away}");

    let mut crowd = Vec::new();
    for _ in 0..500 {
        crowd.push(saying(&address, "").await);
    }
    let operators = async || {
        assert_eq!(ask_at(&format!("http://{control}"), "GET", "/admin/rooms", Some(CONTROL), None).await.0, 200);
        gateway.metrics().await.expect("the admin port answers")
    };
    for _ in 0..5 {
        assert!(files(&gateway) <= before + MOST + BESIDE, "{} descriptors after {before}", files(&gateway));
        let metrics = operators().await;
        assert!(metrics.contains(r#"weft_gateway_turned_away_total{reason="capacity"} "#), "{metrics}");
    }
    for stream in &mut crowd {
        let mut scrap = [0; 64];
        let _ = tokio::time::timeout(SOON, stream.read(&mut scrap)).await.expect("closed");
    }
    assert_eq!(turned_away().await - refused_before, 503.0, "each of them, and nobody else");
    // Whoever was there still is.
    for stream in &mut kept {
        let mut scrap = [0; 4096];
        let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut scrap)).await;
        assert!(!matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    }
    drop(kept);
    until("places are given back", async || whole(&address, CLOSING).await.starts_with("http/1.1 200")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_handshake_of_tls_has_a_place_like_another() {
    let broker = Broker::start(Kind::Memory).await;
    let certificates = Certificates::new();
    let most = MOST.to_string();
    let paths = certificates.env();
    let env: Vec<_> = paths.iter().map(|(name, path)| (*name, path.as_str())).collect();
    let more = [("WEFT_SOCKETS_MAX", most.as_str()), ("WEFT_HEADER_SECS", "60")];
    let env: Vec<_> = env.into_iter().chain(more).collect();
    let gateway = auth_rig::quiet(&broker, &env).await;
    let mut kept = Vec::new();
    for _ in 0..MOST {
        kept.push(saying(&gateway.address(), "\u{16}\u{3}\u{1}\u{2}").await);
    }
    let url = format!("{}/api/ws/health", gateway.url().replace("http://", "https://"));
    let ask = async || crate::tls::https(&certificates).get(&url).send().await.expect("an answer");
    until("all are taken", async || ask().await.status().as_u16() == 503).await;
    let refused = ask().await;
    assert!(refused.status().as_u16() == 503 && refused.headers().contains_key("retry-after"), "{refused:?}");
    drop(kept);
    until("places are given back", async || ask().await.status().is_success()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_commands_are_connections_of_their_user() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_CONNECTIONS_PER_USER_MAX", "2")]).await;
    let listen = async |subject: &str, executor: &str| {
        let bearer = token(json!({"sub": subject, "scope": "executions:run"}));
        let url = format!("{}/api/commands?executor={executor}", gateway.url());
        weft_testkit::http::client().get(url).bearer_auth(bearer).send().await.expect("an answer")
    };
    let kept = [listen("runner", "a").await, listen("runner", "b").await];
    assert!(kept.iter().all(|answer| answer.status().as_u16() == 200));
    let refused = listen("runner", "c").await;
    assert!(refused.status().as_u16() == 429 && refused.headers().contains_key("retry-after"), "{refused:?}");
    assert_eq!(listen("other", "d").await.status().as_u16(), 200, "another user");
    drop(kept);
    until("places are given back", async || listen("runner", "c").await.status().is_success()).await;
}
