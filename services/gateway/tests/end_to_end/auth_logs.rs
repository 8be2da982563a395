//! What clients say, in logs: nothing of a token, and nothing that could pass for a line of the log's own. That none stands
//! there, in the log of this gateway or any other, is looked at when it ends (`auth_watch.rs`); here everything is said.

use crate::{
    auth::bad_tokens,
    auth_rig::{self, CONTROL, Ws, ask, ask_at, controlled, of, token},
    auth_watch::{FORGED, Watched},
    support::{Broker, Kind, until},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::process::Process;

/// Tokens, good and bad, in every place that takes one.
async fn show_everywhere(gateway: &Process, tokens: &[String]) {
    for token in tokens {
        for path in [format!("/api/ws?token={token}"), format!("/api/ws/executions/e?access_token={token}")] {
            let _ = Ws::open(gateway, &path, &[]).await.next_within(Duration::from_millis(200)).await;
        }
        let protocol = [("sec-websocket-protocol", format!("weft.v1.json, weft.token.{token}"))];
        let _ = Ws::open(gateway, "/api/ws", &protocol).await.next_within(Duration::from_millis(200)).await;
        let mut first = Ws::open(gateway, "/api/ws", &[]).await;
        first.say(json!({"type": "auth", "token": token})).await;
        let _ = first.next_within(Duration::from_millis(200)).await;
        let _ = Ws::socketio(gateway, &json!({"token": token})).await;
        let _ = ask(gateway, "GET", &format!("/api/executions?token={token}"), Some(token), None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_in_any_log() {
    for (level, format) in [("trace", "text"), ("debug", "text"), ("debug", "json")] {
        let broker = Broker::start(Kind::Memory).await;
        let gateway = auth_rig::quiet(&broker, &[("WEFT_LOG_FORMAT", format), ("WEFT_LOG", level)]).await;
        let long = bad_tokens().into_iter().map(|(_, token)| token).filter(|token| token.len() > 40);
        let tokens: Vec<String> = long.chain([of("ada")]).collect();
        show_everywhere(&gateway, &tokens).await;
        let written = std::fs::read_to_string(gateway.log()).expect("the log");
        for due in ["a token was not accepted", "token=***", "access_token=***"] {
            let is_told = written.lines().any(|line| line.contains(due) && line.contains("DEBUG"));
            assert!(is_told, "{level} {format}, {due}: there was something to leave out");
        }
    }
}

/// What a client might write in place of a name, so that the log would have a line more.
fn texts() -> Vec<String> {
    let ends = ["\n", "\r\n", "\r", "\u{2028}", "\u{85}", "\0\n", "\u{1b}[2K\u{1b}[1G", "\u{202e}", "\"\n", "\\n", "\"}\n"];
    let own = jiff::Timestamp::now();
    let now = format!("{own:.6}  INFO weft::audit: forged from=192.0.2.99");
    let json = format!(r#"{{"timestamp":"{own:.6}","level":"INFO","fields":{{"message":"forged"}}}}"#);
    ends.iter().flat_map(|end| [FORGED, &now, &json].map(|line| format!("x{end}{line}"))).collect()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// In every place of a request.
async fn by_http(gateway: &Watched, control: &str, bearer: &str, text: &str) -> usize {
    let escaped = escaped(text);
    for path in [
        format!("/api/executions/{escaped}/events"),
        format!("/api/rooms/execution:{escaped}/events?after={escaped}"),
        format!("/{escaped}?token={escaped}"),
        format!("/api/commands?executor={escaped}"),
        format!("/socket.io/?EIO=4&transport={escaped}&sid={escaped}"),
    ] {
        let _ = ask(gateway, "GET", &path, Some("no token"), None).await;
        let _ = ask(gateway, "GET", &path, Some(bearer), None).await;
    }
    let event = json!({"type": text, "executionId": text, "userId": text, "data": {"level": text, "message": text}});
    let _ = ask(gateway, "POST", "/api/events", Some(bearer), Some(event)).await;
    let workflow = json!({"name": text, "executionId": text, "nodes": [{"id": text}]});
    let _ = ask(gateway, "POST", "/api/workflows", Some(bearer), Some(workflow)).await;
    let _ = ask(gateway, "GET", "/api/executions", Some(&token(json!({"sub": text, "tenant": text}))), None).await;
    // Operators' words too; each request leaves one line.
    let mut asked = 0;
    for (method, path, body) in [
        ("GET", format!("/admin/connections?subject={escaped}"), None),
        ("GET", format!("/admin/connections/{escaped}"), None),
        ("GET", format!("/admin/{escaped}"), None),
        ("POST", format!("/admin/shed?percent={escaped}"), None),
        ("POST", "/admin/revoke".to_owned(), Some(json!({"subject": text}))),
    ] {
        let _ = ask_at(&format!("http://{control}"), method, &path, Some(CONTROL), body).await;
        asked += 1;
    }
    asked
}

/// Bytes that no client's library would send.
async fn by_hand(gateway: &Watched, text: &str) {
    let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
    for head in [
        format!("GET /{text} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: {text}\r\norigin: {text}\r\nuser-agent: {text}\r\nx-forwarded-for: {text}\r\n\r\n"),
        format!(
            "GET /api/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: {key}\r\nsec-websocket-protocol: {text}\r\n\r\n"
        ),
        format!("{text}\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(gateway.address()).await.expect("connected");
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_millis(500), stream.read_to_end(&mut answer)).await;
    }
}

/// In every place of a message, and of a goodbye.
async fn by_socket(gateway: &Watched, bearer: &str, text: &str) {
    let mut socket = Ws::bearing(gateway, "/api/ws", bearer).await;
    for message in [
        json!({"type": "subscribe", "room": text, "ref": text, "types": [text]}),
        json!({"type": "subscribe", "executionId": "e", "offset": text, "ref": text}),
        json!({"type": text}),
        json!({"type": "cancel", "executionId": "e", "ref": text, "reason": text}),
        json!({"type": "user_input:provide", "executionId": text, "requestId": text, "value": text}),
        json!({"type": "auth", "token": text}),
        Value::String(text.to_owned()),
    ] {
        socket.say(message).await;
    }
    let reason = &text.as_bytes()[..text.len().min(100)];
    let close = [&[0x88, 0x80 | (reason.len() + 2) as u8, 0, 0, 0, 0, 0x0f, 0xa0][..], reason].concat();
    socket.raw(&close).await;
    let _ = socket.closes().await;
    let (mut packets, _) = Ws::socketio(gateway, &json!({"token": bearer, "pid": text, "offset": text})).await;
    packets.text(format!("420{}", json!(["subscribe", text]))).await;
    packets.text(format!("421{}", json!([text, {"channel": text}]))).await;
    packets.text(format!("41/{text},")).await;
    let _ = packets.next_within(Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_lines_of_its_own() {
    for format in ["text", "json"] {
        let broker = Broker::start(Kind::Memory).await;
        let (gateway, control) = controlled(&broker, &[("WEFT_LOG_FORMAT", format), ("WEFT_READS_PER_USER", "0")]).await;
        let bearer = token(json!({"sub": "ada", "scope": "admin events:publish executions:run"}));
        let mut asked = 0;
        for text in texts() {
            asked += by_http(&gateway, &control, &bearer, &text).await;
            by_hand(&gateway, &text).await;
            by_socket(&gateway, &bearer, &text).await;
        }
        let written = || std::fs::read_to_string(gateway.log()).expect("the log");
        let audited = || written().lines().filter(|line| line.contains("weft::audit") && line.contains("control")).count();
        // The log is written a moment after what it tells.
        until(&format!("{format}: a line for each of {asked} requests"), async || audited() >= asked).await;
        let (written, audited) = (written(), audited());
        let said = written.lines().filter(|line| line.contains("forged")).count();
        assert!(said > 0, "{format}: there was something to be kept on one line");
        eprintln!(
            "{format}: {} lines, {said} of them hold what clients made up; {audited} of operators",
            written.lines().count()
        );
    }
}
