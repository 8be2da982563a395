//! Everything hostile at once, against one real gateway: tokens, ids, origins, frames and requests, each with the answer that
//! the documents promise. Then all of it again and again: nothing crashes, and memory does not grow with it.

use crate::{
    auth_rig::{SECRET, Ws, gateway, now, of, signed, token},
    auth_watch::Watched,
    support::{Broker, Kind, SOON},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::process::Process;

/// Where pages may come from.
const ORIGIN: &str = "https://app.example";
/// Rounds whose memory is compared: the first ones fill what is bounded.
const ROUNDS: usize = 12;
/// What a gateway may have grown by from the middle of them to the end.
const GROWTH_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// One hostile thing.
enum Hostile {
    /// A token, shown in the header of a request, in the query of an upgrade and in a CONNECT of Socket.IO.
    Token(String),
    /// Text in the place of an id, in a subscription by a WebSocket.
    Id(String),
    /// Bytes on a WebSocket of the native protocol, after its handshake.
    Frames(Vec<u8>),
    /// Bytes in place of a request.
    Request(Vec<u8>),
}

struct Row {
    name: String,
    hostile: Hostile,
    /// What is documented: a status, a close code or the code of an error, as text.
    expected: &'static str,
}

fn rows(bearer: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |name: &str, hostile: Hostile, expected| rows.push(Row { name: name.to_owned(), hostile, expected });
    tokens().into_iter().for_each(|(name, token)| add(name, Hostile::Token(token), "unauthenticated"));
    ids().into_iter().for_each(|(name, id)| add(name, Hostile::Id(id), "invalid"));
    origins(bearer).into_iter().for_each(|(name, request)| add(&name, Hostile::Request(request.into()), "403 forbidden"));
    frames().into_iter().for_each(|(name, frames, expected)| add(name, Hostile::Frames(frames), expected));
    requests(bearer).into_iter().for_each(|(name, request, expected)| add(name, Hostile::Request(request), expected));
    rows
}

/// Each refused, though all but a few are signed with the right secret.
fn tokens() -> Vec<(&'static str, String)> {
    let good = || json!({"sub": "ada", "iat": now() - 5, "exp": now() + 3600});
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        signed(&header, &claims, SECRET)
    };
    let headed = |header: Value| signed(&header, &good(), SECRET);
    let (honest, unsigned) = (of("ada"), headed(json!({"alg": "none"})));
    let parts: Vec<&str> = honest.split('.').collect();
    let admin = BASE64.encode(json!({"sub": "ada", "iat": now() - 5, "exp": now() + 3600, "scope": "admin"}).to_string());
    vec![
        ("token: no token at all", "x".into()),
        ("token: two dots", "..".into()),
        ("token: alg none", unsigned.clone()),
        ("token: alg none, no signature", format!("{}.", unsigned.rsplit_once('.').expect("dots").0)),
        ("token: alg HS512", headed(json!({"alg": "HS512"}))),
        ("token: alg RS256 under our secret", headed(json!({"alg": "RS256"}))),
        ("token: crit", headed(json!({"alg": "HS256", "crit": ["exp"]}))),
        ("token: compressed", headed(json!({"alg": "HS256", "zip": "DEF"}))),
        ("token: nested", headed(json!({"alg": "HS256", "cty": "JWT"}))),
        ("token: of another type", headed(json!({"alg": "HS256", "typ": "logout+jwt"}))),
        ("token: another secret", signed(&header, &good(), "another secret that is long enough for HS256")),
        ("token: others' claims under a good signature", format!("{}.{admin}.{}", parts[0], parts[2])),
        ("token: a signature cut off", honest[..honest.len() - 4].to_owned()),
        ("token: padded", format!("{honest}=")),
        ("token: a fourth part", format!("{honest}.x")),
        ("token: expired", with("exp", (now() - 1).into())),
        ("token: without an end", with("exp", Value::Null)),
        ("token: an end in words", with("exp", "tomorrow".into())),
        ("token: longer than tokens live", with("exp", (now() + 10_000_000).into())),
        ("token: not yet good", with("nbf", (now() + 600).into())),
        ("token: issued tomorrow", with("iat", (now() + 86_400).into())),
        ("token: nobody's", with("sub", "".into())),
        ("token: a user that is no id", with("sub", "ada\r\nPUB x".into())),
        ("token: a user of 200 bytes", with("sub", "a".repeat(200).into())),
        ("token: a tenant with a slash", with("tenant", "acme/umbra".into())),
        ("token: rooms that are no list", with("rooms", "execution:*".into())),
        ("token: a scope that is no text", with("scope", json!(["admin"]))),
        ("token: 9 KiB", with("x", "x".repeat(9 * 1024).into())),
    ]
}

fn ids() -> Vec<(&'static str, String)> {
    vec![
        ("id: empty", String::new()),
        ("id: a space", "a b".into()),
        ("id: a line's end", "a\r\nPUB weft.user:ada 1\r\nx".into()),
        ("id: every subject", ">".into()),
        ("id: a wildcard", "*".into()),
        ("id: a pattern of Redis", "h?llo[ab]".into()),
        ("id: another tenant's", "acme/execution:e".into()),
        ("id: a path", "../../etc/passwd".into()),
        ("id: a NUL", "a\0b".into()),
        ("id: letters that look alike", "еxec-1".into()),
        ("id: a text that turns around", "a\u{202e}b".into()),
        ("id: a slot of a cluster", "{a}b".into()),
        ("id: 129 bytes", "a".repeat(129)),
        ("id: 10,000 bytes", "a".repeat(10_000)),
    ]
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Pages of others, by every transport that a page can use.
fn origins(bearer: &str) -> Vec<(String, String)> {
    let shown = format!("Authorization: Bearer {bearer}\r\n");
    let ways = [
        ("a request", "GET /api/executions", format!("{shown}Connection: close\r\n")),
        ("an event stream", "GET /api/rooms/user:ada/events", format!("{shown}Accept: text/event-stream\r\n")),
        ("a WebSocket", "GET /api/ws", format!("{shown}{UPGRADE}")),
        ("a WebSocket of C", "GET /api/ws/executions/e", format!("{shown}{UPGRADE}")),
        ("a WebSocket of E", "GET /ws/executions/e/logs", format!("{shown}{UPGRADE}")),
        ("Socket.IO by polling", "GET /socket.io/?EIO=4&transport=polling", "Connection: close\r\n".into()),
        ("Socket.IO by a WebSocket", "GET /socket.io/?EIO=4&transport=websocket", UPGRADE.into()),
        ("a preflight", "OPTIONS /api/events", "Access-Control-Request-Method: POST\r\nConnection: close\r\n".into()),
    ];
    let one = |(way, line, head): &(&str, &str, String), origin: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: weft.example\r\nOrigin: {origin}\r\n{head}\r\n");
        (format!("origin: {way} from {origin}"), request)
    };
    let mut all: Vec<_> = ways.iter().map(|way| one(way, "https://evil.example")).collect();
    for origin in [
        "null",
        "http://app.example",
        "https://app.example:444",
        "https://app.example.evil.example",
        "https://evilapp.example",
        "https://app.example, https://evil.example",
        "file://",
        "https://app.example/",
        "https://app.example\r\nOrigin: https://evil.example",
    ] {
        all.push(one(&ways[1], origin));
        all.push(one(&ways[2], origin));
    }
    all
}

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long @ 126..65_536 => frame.extend([&[0xfe][..], &(long as u16).to_be_bytes()].concat()),
        longer => frame.extend([&[0xff][..], &(longer as u64).to_be_bytes()].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn frames() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let text = |payload: &[u8]| frame(0x81, payload);
    let garbage: Vec<u8> = (0..10).flat_map(|_| text(b"noise")).collect();
    let flood: Vec<u8> = (0..400).flat_map(|_| text(br#"{"type":"ping"}"#)).collect();
    let deep = format!(r#"{{"type":"subscribe","room":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let endless: Vec<u8> = [frame(0x01, b"{")].into_iter().chain((0..2000).map(|_| frame(0x00, b""))).flatten().collect();
    vec![
        ("frame: an opcode that is none", frame(0x83, b""), "1002"),
        ("frame: a reserved bit", frame(0xc1, b"x"), "1002"),
        ("frame: no mask", vec![0x81, 0x02, b'{', b'}'], "1002"),
        ("frame: a ping in pieces", frame(0x09, b"x"), "1002"),
        ("frame: a ping of 126 bytes", frame(0x89, &[b'x'; 126]), "1002"),
        ("frame: the middle of nothing", frame(0x80, b"x"), "1002"),
        ("frame: a beginning within a message", [frame(0x01, b"{"), frame(0x01, b"{")].concat(), "1002"),
        ("frame: half a close code", frame(0x88, b"x"), "1002"),
        ("frame: a close code that nobody may send", frame(0x88, &1005_u16.to_be_bytes()), "1002"),
        ("frame: no UTF-8", text(&[0xff, 0xfe]), "1007"),
        ("frame: a reason that is no UTF-8", frame(0x88, &[0x03, 0xe8, 0xff]), "1007"),
        ("frame: bytes where text is spoken", frame(0x82, br#"{"type":"ping"}"#), "1003"),
        ("frame: larger than may be", [&[0x81, 0xff][..], &u64::from(u32::MAX).to_be_bytes(), &[0; 4]].concat(), "1009"),
        ("frame: a length beyond all", vec![0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], "1002"),
        ("frame: pieces without end", endless, "1008"),
        ("frame: ten messages of noise", garbage, "4400"),
        ("frame: more messages than may be", flood, "1008"),
        ("frame: 100,000 brackets", text(deep.as_bytes()), "invalid"),
        ("frame: no JSON", text(b"{"), "malformed"),
        ("frame: a list", text(b"[]"), "malformed"),
        ("frame: a type that is none", text(br#"{"type":"__proto__"}"#), "unknown_type"),
        ("frame: a type twice", text(br#"{"type":"ping","type":"subscribe"}"#), "malformed"),
        ("frame: a room that is a number", text(br#"{"type":"subscribe","room":1e999}"#), "invalid"),
        ("frame: an offset that is none", text(br#"{"type":"subscribe","executionId":"e","offset":"-1"}"#), "invalid"),
        ("frame: an action on what is another's", text(br#"{"type":"cancel","executionId":"hers"}"#), "forbidden"),
    ]
}

fn requests(bearer: &str) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let shown = format!("Host: weft.example\r\nAuthorization: Bearer {bearer}\r\nConnection: close\r\n");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{shown}\r\n").into_bytes();
    let post = |path: &str, head: &str, body: &str| format!("POST {path} HTTP/1.1\r\n{shown}{head}\r\n{body}").into_bytes();
    let sized = |path: &str, body: &str| post(path, &format!("Content-Length: {}\r\n", body.len()), body);
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let plain = |text: &str| text.as_bytes().to_vec();
    vec![
        ("request: no HTTP", plain("\u{16}\u{3}\u{1}\u{0}\r\n\r\n"), "400"),
        ("request: HTTP/2 without a word", plain("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "closed"),
        ("request: a version that is none", plain("GET / HTTP/9.9\r\nHost: x\r\n\r\n"), "400"),
        ("request: two lengths", post("/api/events", "Content-Length: 2\r\nContent-Length: 3\r\n", "[]"), "400"),
        (
            "request: a length and pieces",
            post("/api/events", "Content-Length: 2\r\nTransfer-Encoding: chunked, x\r\n", "[]"),
            "400",
        ),
        ("request: a length below nothing", post("/api/events", "Content-Length: -1\r\n", ""), "400"),
        ("request: pieces of no size", post("/api/events", "Transfer-Encoding: chunked\r\n", "zz\r\n"), "400"),
        ("request: a header with a NUL", plain("GET / HTTP/1.1\r\nHost: x\r\nx: a\0b\r\n\r\n"), "400"),
        ("request: a header that goes on", plain("GET / HTTP/1.1\r\nHost: x\r\nx: a\r\n b\r\n\r\n"), "400"),
        ("request: 40 KiB of header", get(&format!("/{}", "a".repeat(40_000))), "431"),
        ("request: 3,000 headers", format!("GET / HTTP/1.1\r\n{shown}{}\r\n", "x: y\r\n".repeat(3000)).into_bytes(), "431"),
        ("request: a path out of the house", get("/assets/../../../etc/passwd"), "404 not_found"),
        ("request: the same, hidden", get("/assets/%2e%2e%2f%2e%2e%2fetc%2fpasswd"), "404 not_found"),
        ("request: an id with a line's end", get("/api/executions/a%0d%0aPUB"), "400 invalid"),
        ("request: an id that is no text", get("/api/executions/%ff"), "400 invalid"),
        ("request: a room of everything", get("/api/rooms/execution:%3E/events"), "400 invalid"),
        ("request: another's execution", get("/api/executions/hers"), "404 not_found"),
        ("request: another's room", get("/api/rooms/user:eve/events"), "403 forbidden"),
        ("request: the fleet", get("/api/fleet"), "403 forbidden"),
        ("request: commands of executors", get("/api/commands?executor=x"), "403 forbidden"),
        ("request: events, without the right", sized("/api/events", r#"{"type":"log","executionId":"e"}"#), "403 forbidden"),
        (
            "request: an execution under another's id",
            sized("/api/workflows/w/execute", r#"{"executionId":"hers"}"#),
            "403 forbidden",
        ),
        ("request: 400,000 brackets", sized("/api/workflows", &deep), "400 invalid"),
        ("request: a body of 9 MiB", post("/api/events", "Content-Length: 9437184\r\n", "["), "413"),
        ("request: a method that is none", format!("BREW /api/events HTTP/1.1\r\n{shown}\r\n").into_bytes(), "405"),
        ("request: two tokens", get_with_two_tokens(bearer), "401 unauthenticated"),
        (
            "request: an upgrade without a key",
            plain(
                "GET /api/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
            ),
            "400",
        ),
        (
            "request: an upgrade of 1999",
            plain(
                "GET /api/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            ),
            "426",
        ),
        ("request: Engine.IO of another version", get("/socket.io/?EIO=3&transport=polling"), "400"),
        ("request: a session of nobody", get("/socket.io/?EIO=4&transport=polling&sid=__proto__"), "400"),
        ("request: a transport that is none", get("/socket.io/?EIO=4&transport=webtransport"), "400"),
    ]
}

fn get_with_two_tokens(bearer: &str) -> Vec<u8> {
    let line = format!("Authorization: Bearer {bearer}\r\n");
    format!("GET /api/executions HTTP/1.1\r\nHost: x\r\n{line}{line}Connection: close\r\n\r\n").into_bytes()
}

/// All that comes back; nothing where the connection is reset. What has no end, a stream that was let in, has had its time.
async fn answer(gateway: &Process, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway.address()).await.expect("connected");
    let _ = stream.write_all(request).await;
    let (mut bytes, mut some) = (Vec::new(), [0; 4096]);
    let end = tokio::time::Instant::now() + SOON;
    while !is_whole(&String::from_utf8_lossy(&bytes)) {
        match tokio::time::timeout_at(end, stream.read(&mut some)).await {
            Ok(Ok(0) | Err(_)) | Err(_) => break,
            Ok(Ok(read)) => bytes.extend_from_slice(&some[..read]),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether an answer has come to its end, as far as it says where that is; a WebSocket has none.
fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    head.contains(" 101 ") || length.is_some_and(|length| body.len() >= length) || body.ends_with("0\r\n\r\n")
}

/// `<status>`, and the code of an error.
fn status(answer: &str) -> String {
    let status = answer.split(' ').nth(1).unwrap_or("closed");
    match answer.split_once(r#""code":""#).and_then(|(_, rest)| rest.split('"').next()) {
        Some(code) => format!("{status} {code}"),
        None => status.to_owned(),
    }
}

/// The code of the first error or of the close that comes back.
async fn code(socket: &mut Ws) -> String {
    loop {
        match socket.next().await {
            Ok(text) => {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                if frame["type"] == "error" {
                    return frame["code"].as_str().expect("a code").to_owned();
                }
            }
            Err(code) => return code.map_or("closed".into(), |code| code.to_string()),
        }
    }
}

/// What a token is told in three places, which must say the same.
async fn token_refused(gateway: &Process, token: &str) -> String {
    let request =
        format!("GET /api/executions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    let by_header = status(&answer(gateway, request.as_bytes()).await);
    // As it is, for no escape is undone; what a query cannot hold is escaped.
    let escaped = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'=' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    let shown: String = token.bytes().map(escaped).collect();
    // One that is longer than a request line may be is not shown there.
    let by_query = match shown.len() > 20_000 {
        true => Some(4401),
        false => Ws::open(gateway, &format!("/api/ws?token={shown}"), &[]).await.closes().await,
    };
    let (_, by_auth) = Ws::socketio(gateway, &json!({"token": token})).await;
    match (by_header.as_str(), by_query, by_auth.starts_with("44{") && by_auth.contains("unauthenticated")) {
        ("401 unauthenticated", Some(4401), true) => "unauthenticated".into(),
        _ => format!("{by_header}, close {by_query:?}, {by_auth}"),
    }
}

async fn told(gateway: &Process, hostile: &Hostile, bearer: &str) -> String {
    match hostile {
        Hostile::Token(token) => token_refused(gateway, token).await,
        Hostile::Request(request) => status(&answer(gateway, request).await),
        Hostile::Id(id) => {
            let mut socket = Ws::bearing(gateway, "/api/ws", bearer).await;
            socket.say(json!({"type": "subscribe", "executionId": id})).await;
            code(&mut socket).await
        }
        Hostile::Frames(bytes) => {
            let mut socket = Ws::bearing(gateway, "/api/ws", bearer).await;
            socket.hear("connected").await;
            socket.raw(bytes).await;
            code(&mut socket).await
        }
    }
}

/// Rows whose answer is not the one that is documented. One that says only a status takes any error of it.
async fn wrong(gateway: &Process, rows: &[Row], bearer: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for row in rows {
        let told = told(gateway, &row.hostile, bearer).await;
        let is_it = told == row.expected || told.strip_prefix(row.expected).is_some_and(|rest| rest.starts_with(' '));
        if !is_it {
            wrong.push(format!("{}: {told}, not {}", row.name, row.expected));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_hostile_gets_its_answer_and_leaves_nothing_behind() {
    let broker = Broker::start(Kind::Memory).await;
    let env = [("WEFT_ORIGINS", ORIGIN), ("WEFT_CONNECTIONS_PER_USER_MAX", "0"), ("WEFT_READS_PER_USER", "0")];
    let mut gateway: Watched = gateway(&broker, &env).await;
    crate::auth_rig::publish(&gateway, None, crate::auth_rig::log("hers", Some("eve"), "x")).await;
    // Who may publish nothing is told so before any of a body is read.
    let bearer = token(json!({"sub": "ada", "rooms": [], "scope": "events:publish:own"}));
    let rows = rows(&bearer);
    assert!(rows.len() >= 60, "{}", rows.len());
    assert_eq!(wrong(&gateway, &rows, &bearer).await, Vec::<String>::new(), "of {} rows", rows.len());
    let mut sizes = Vec::new();
    for _ in 0..ROUNDS {
        assert_eq!(wrong(&gateway, &rows, &bearer).await, Vec::<String>::new());
        sizes.push(gateway.rss_bytes().expect("it lives"));
    }
    let grown = sizes[ROUNDS - 1].saturating_sub(sizes[ROUNDS / 2]);
    let shown: Vec<u64> = sizes.iter().map(|bytes| bytes / 1024).collect();
    eprintln!("{} hostile cases, {} times each, crashes 0; memory after each round, KiB: {shown:?}", rows.len(), ROUNDS + 1);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more in the second half: {shown:?}");
    assert!(gateway.is_running(), "{}", gateway.log_tail());
    Ws::bearing(&gateway, "/api/ws", &bearer).await.hear("connected").await;
}
