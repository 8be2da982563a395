//! Ids that must never reach a broker, and all the ways on which a client, an executor or a token may bring one.

use crate::{
    auth_rig::{self, token},
    support::{Broker, publish, request},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_bus::{Bus, BusConfig};
use weft_publisher::{EventDraft, Publisher, PublisherConfig};
use weft_testkit::process::{Process, ProcessOptions};

/// Ids that are tried at once.
const AT_ONCE: usize = 6;
/// In every illegal id.
pub const WORD: &str = "illicit";
/// In every legal one that is strange.
pub const STRANGE: &str = "strange";

/// Ids that the grammar refuses.
fn illegal() -> Vec<String> {
    let pieces = [
        "*",
        ">",
        " ",
        "\t",
        "\r",
        "\n",
        "\r\n",
        "\0",
        "ü",
        "{}",
        "[a]",
        "/",
        "%",
        "%2E",
        "?",
        "$",
        "+OK",
        "\u{202e}",
        "\r\nPUB weft.user:ADMIN 1\r\nx\r\n",
        "\r\nSUB > 1\r\n",
        "\r\n*1\r\n$7\r\nFLUSHALL\r\n",
        " _INBOX.x 5",
        "a:b",
    ];
    let mut ids = vec![WORD.repeat(1024 * 1024 / WORD.len()), format!("{WORD}{}", "x".repeat(128))];
    for piece in pieces {
        ids.extend([format!("{WORD}{piece}x"), format!("{piece}{WORD}"), format!("{WORD}{piece}")]);
    }
    // Without the word: what would come of these shows by itself.
    ids.extend(["*", ">", "{}", "[a]", "?"].map(str::to_owned));
    // A colon may stand in ids, but parts the names of rooms; here it follows what is illegal.
    ids.into_iter().map(|id| if id.contains("a:b") { id.replace("a:b", ":*") } else { id }).collect()
}

/// Ids that are legal, and hold what means something to a broker.
pub const LEGAL: [&str; 5] = ["strange.x", "strange:x", "strange..x.", "~strange@x", "-strange_x"];

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Sends bytes and reads whatever is answered in a moment.
async fn say(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    // It may be closed before all is written.
    let _ = stream.write_all(bytes).await;
    let mut scrap = [0; 16 * 1024];
    while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_millis(80), stream.read(&mut scrap)).await {}
}

/// One masked text frame.
fn frame(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut frame = vec![0x81];
    match length {
        0..=125 => frame.push(0x80 | length as u8),
        126..=65_535 => {
            frame.push(0xfe);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// An upgrade at this path, and then these texts.
async fn upgrade(address: &str, path: &str, texts: &[String]) {
    let key = BASE64_STANDARD.encode([7; 16]);
    let mut bytes = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
    )
    .into_bytes();
    texts.iter().for_each(|text| bytes.extend(frame(text)));
    say(address, &bytes).await;
}

async fn http(address: &str, method: &str, path: &str, head: &str, body: Option<&Value>) {
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{head}connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    say(address, &[head.as_bytes(), body.as_bytes()].concat()).await;
}

/// Tries one id on every way into a gateway. How many there were.
async fn try_on(gateway: &Process, id: &str) -> usize {
    let address = &gateway.address();
    let rooms = ["execution", "user", "kb"].map(|kind| format!("{kind}:{id}"));
    let rooms: Vec<String> = rooms.into_iter().chain([format!("agent:{id}:e"), format!("agent:a:{id}"), id.to_owned()]).collect();
    let mut native = vec![
        json!({"type": "subscribe", "executionId": id, "offset": "0"}),
        json!({"type": "subscribe", "rooms": rooms.iter().map(|room| json!({"room": room})).collect::<Vec<_>>()}),
        json!({"type": "subscribe", "executionId": "e", "offset": id, "ref": id, "types": [id]}),
        json!({"type": "cancel", "executionId": id}),
        json!({"type": "cancel", "executionId": "nobodys", "ref": id, "reason": "r"}),
        json!({"type": "user_input:provide", "executionId": id, "requestId": "r", "value": 1}),
        json!({"type": "unsubscribe", "executionId": id}),
    ];
    native.extend(rooms.iter().map(|room| json!({"type": "subscribe", "room": room, "snapshot": true, "history": "logs"})));
    let mut ways = native.len();
    upgrade(address, "/api/ws", &native.iter().map(Value::to_string).collect::<Vec<_>>()).await;
    // Socket.IO, in both namespaces, as people call things there.
    let mut packets: Vec<String> = vec!["40".into(), "40/executions,".into()];
    for (prefix, namespace) in [("42", ""), ("42", "/executions,")] {
        for room in &rooms {
            packets.push(format!("{prefix}{namespace}1{}", json!(["subscribe", room])));
        }
        for said in [
            json!(["subscribe", {"channel": rooms[0]}]),
            json!(["subscribe", {"executionId": id}]),
            json!(["subscribe", id, "0"]),
            json!(["cancel", {"executionId": id}]),
            json!(["user_input:provide", {"executionId": id, "requestId": "r", "value": 1}]),
        ] {
            packets.push(format!("{prefix}{namespace}2{said}"));
        }
    }
    packets.push(format!("40{}", json!({"pid": id, "offset": id, "token": id})));
    ways += packets.len();
    upgrade(address, "/socket.io/?EIO=4&transport=websocket", &packets).await;
    // In paths, as they are and escaped. What is too large for a head is refused as such.
    // Some mean something in a path, and what is left of them there may be legal.
    let is_bare = !id.contains(['\r', '\n', ' ', '\0', '\t', '?', '%', '#']);
    let mut spelt = if id.len() > 30_000 { vec![id[..30_000].to_owned()] } else { vec![escaped(id)] };
    spelt.extend((is_bare && id.len() <= 30_000).then(|| id.to_owned()));
    for id in spelt {
        for path in [format!("/api/ws/executions/{id}?offset=0"), format!("/ws/executions/{id}/logs?after=0")] {
            upgrade(address, &path, &[]).await;
            ways += 1;
        }
        for path in [
            format!("/api/executions/{id}"),
            format!("/api/executions/{id}/events?after=0"),
            format!("/api/rooms/execution:{id}/events"),
            format!("/api/rooms/user:{id}/events?snapshot=true"),
            format!("/api/rooms/agent:{id}:{id}/events"),
            format!("/api/rooms/{id}/events"),
            format!("/api/executions?cursor=1-{id}"),
            format!("/api/commands?executor={id}"),
            format!("/socket.io/?EIO=4&transport=polling&sid={id}"),
        ] {
            for head in ["", "accept: text/event-stream\r\nlast-event-id: 0\r\n"] {
                http(address, "GET", &path, head, None).await;
                ways += 1;
            }
        }
        for (method, path) in [
            ("POST", format!("/api/executions/{id}/cancel")),
            ("POST", format!("/executions/{id}/start-streaming")),
            ("POST", format!("/api/workflows/{id}/execute")),
            ("PUT", format!("/api/commands/{id}")),
            ("POST", format!("/api/commands/{id}/reply")),
        ] {
            http(address, method, &path, "content-type: application/json\r\n", Some(&json!({}))).await;
            ways += 1;
        }
    }
    for (method, path, body) in [
        ("POST", "/api/workflows/demo/execute", json!({"executionId": id})),
        ("POST", "/api/workflows/demo/execute", json!({"userId": id})),
        ("POST", "/api/workflows", json!({"executionId": id, "steps": []})),
        ("PUT", "/api/commands/x", json!({"executions": [id], "workflows": [{"name": "w"}]})),
    ] {
        http(address, method, path, "content-type: application/json\r\n", Some(&body)).await;
        ways += 1;
    }
    // What names nodes and workflows is content, and may be anything.
    for field in ["executionId", "userId", "agentId", "knowledgeBaseId", "id", "type"] {
        for kind in ["log", "agent:started", "kb:processing", "execution:started"] {
            let mut event = json!({"type": kind, "executionId": "e", "agentId": "a", "knowledgeBaseId": "k", "nodeId": "n",
                "data": {"level": "info", "message": "m"}});
            event[field] = id.into();
            http(address, "POST", "/api/events", "content-type: application/json\r\n", Some(&event)).await;
            ways += 1;
        }
    }
    ways
}

/// Tries one id on the ways of an executor: its own door, and the library that it publishes with.
async fn try_publishing(executor: &Process, publisher: &Publisher, id: &str) -> usize {
    let address = &executor.address();
    let short = if id.len() > 30_000 { &id[..30_000] } else { id };
    for (path, body) in [
        ("/workflows/demo/execute".to_owned(), json!({"executionId": id, "inputs": {}})),
        ("/workflows/demo/execute".to_owned(), json!({"userId": id, "inputs": {}})),
        (format!("/workflows/{}/execute", escaped(short)), json!({"inputs": {}})),
        (format!("/executions/{}/start-streaming", escaped(short)), json!({})),
        (format!("/executions/{}/cancel", escaped(short)), json!({})),
        (format!("/executions/{}/input", escaped(short)), json!({"requestId": "r", "value": 1})),
    ] {
        http(address, "POST", &path, "content-type: application/json\r\n", Some(&body)).await;
    }
    for draft in [
        EventDraft::new("log").execution(id).data(json!({"level": "info", "message": "m"})),
        EventDraft::new("log").execution("e").user(id).data(json!({"level": "info", "message": "m"})),
        EventDraft::new("agent:started").execution("e").agent(id),
        EventDraft::new("kb:processing").knowledge_base(id).data(json!({})),
    ] {
        let _ = tokio::time::timeout(Duration::from_secs(5), publisher.publish(draft)).await;
    }
    10
}

/// Tries one id as what a token says; the gateway asks for tokens.
async fn try_claims(gateway: &Process, id: &str) -> usize {
    let bearing = |claims: Value| format!("authorization: Bearer {}\r\n", token(claims));
    for claims in [
        json!({"sub": id}),
        json!({"sub": "ada", "tenant": id}),
        json!({"sub": "ada", "rooms": [id, format!("execution:{id}"), format!("execution:{id}*")]}),
        json!({"sub": "ada", "jti": id}),
    ] {
        let head = bearing(claims);
        http(&gateway.address(), "GET", "/api/executions", &head, None).await;
        http(
            &gateway.address(),
            "GET",
            &format!("/api/rooms/execution:{}/events", escaped(&id[..id.len().min(9000)])),
            &head,
            None,
        )
        .await;
    }
    8
}

/// A few legal ones, so that it is known that the tap hears.
async fn use_strange(gateway: &Process) {
    for id in LEGAL {
        let log = json!({"type": "log", "executionId": id, "userId": id, "data": {"level": "info", "message": "m"}});
        publish(gateway, json!([log, {"type": "kb:processing", "knowledgeBaseId": id, "userId": id, "data": {}}])).await;
        let (status, page) = request(gateway, "GET", &format!("/api/executions/{id}/events"), None).await;
        assert_eq!((status, page["events"].as_array().map(Vec::len)), (200, Some(1)), "{id}: {page}");
        let subscribe = json!({"type": "subscribe", "executionId": id, "offset": "0"}).to_string();
        upgrade(&gateway.address(), "/api/ws", &[subscribe, json!({"type": "cancel", "executionId": id}).to_string()]).await;
    }
}

/// A gateway for all, one that asks for tokens, an executor and a publisher; everything is tried. How many tries.
pub async fn try_everything(broker: &Broker, url: &str) -> usize {
    let open = broker.gateway(&[("WEFT_MESSAGE_BYTES_MAX", "4194304"), ("WEFT_MESSAGES_PER_CONNECTION", "0")]).await;
    let asking = auth_rig::quiet(broker, &[]).await;
    let workflows = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../executor/workflows"));
    let executor = Process::start(ProcessOptions::executor(url, workflows)).await.expect("an executor");
    let bus = Bus::connect(BusConfig::parse(url).expect("a bus")).await.expect("connected");
    let publisher = Publisher::over_bus(bus, PublisherConfig::default());
    use_strange(&open).await;
    let tries = futures_util::stream::iter(illegal()).map(async |id| {
        let mut tries = try_on(&open, &id).await + try_publishing(&executor, &publisher, &id).await;
        if id.len() < 5000 {
            tries += try_claims(&asking, &id).await;
        }
        let (status, _) = request(&open, "GET", "/api/ws/health", None).await;
        assert_eq!(status, 200, "{:?}", id.chars().take(40).collect::<String>());
        tries
    });
    let tries = tries.buffer_unordered(AT_ONCE).fold(0, async |all, tries| all + tries).await;
    let _ = publisher.close_within(Duration::from_secs(10)).await;
    tries
}
