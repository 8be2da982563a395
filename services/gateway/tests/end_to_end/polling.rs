//! Engine.IO beneath Socket.IO: long polling, the upgrade, and what is refused.

use crate::{
    clients::Clients,
    packets::Packets,
    support::{Broker, Heard, Kind, SOON, Socket, publish_numbers, until},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use weft_testkit::process::Process;

#[tokio::test]
async fn a_client_that_only_polls_hears_everything_once() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut clients = Clients::start();
    let connect = clients.connected("d", &gateway.url(), json!({"transports": ["polling"]})).await;
    assert_eq!(connect["transport"], "polling");
    assert_eq!(clients.ask("d", "subscribe", json!(["execution:run"])).await["ok"], true);
    publish_numbers(&gateway, "run", 1..=2000).await;
    clients.numbers("d", 1..=2000).await;
    let answer = clients.ask("d", "cancel", json!([{"executionId": "run"}])).await;
    assert_eq!(answer["code"], "no_executor");
    clients.tell(json!({"op": "close", "id": "d"})).await;
    until("the session is over", async || crate::support::get(&gateway, "/api/ws/health").await.1["connections"] == 0).await;
}

#[tokio::test]
async fn a_client_upgrades_while_it_is_told() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut clients = Clients::start();
    for round in 0..5 {
        let id = format!("d{round}");
        let room = format!("run{round}");
        clients.connected(&id, &gateway.url(), json!({})).await;
        clients.ask(&id, "subscribe", json!([{"executionId": room}])).await;
        publish_numbers(&gateway, &room, 1..=300).await;
        clients.numbers(&id, 1..=300).await;
        publish_numbers(&gateway, &room, 301..=310).await;
        clients.numbers(&id, 301..=310).await;
        until("it has upgraded", async || clients.transport(&id).await == "websocket").await;
        publish_numbers(&gateway, &room, 311..=320).await;
        clients.numbers(&id, 311..=320).await;
    }
}

#[tokio::test]
async fn pings_keep_clients_of_both_transports() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_PING_SECS", "1"), ("WEFT_PONG_SECS", "2")]).await;
    let mut clients = Clients::start();
    for transport in ["polling", "websocket"] {
        clients.connected(transport, &gateway.url(), json!({"transports": [transport]})).await;
    }
    for transport in ["polling", "websocket"] {
        for _ in 0..4 {
            clients.happens(transport, "ping").await;
        }
    }
    // Who does not answer is dead.
    let mut silent = Packets::open(&gateway).await;
    silent.send(Message::text("40")).await;
    assert_eq!(silent.closes_after_texts().await, Some(4408));
}

/// What Engine.IO says of a session that is not there.
const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

struct Http<'g> {
    gateway: &'g Process,
    sid: String,
}

impl<'g> Http<'g> {
    async fn open(gateway: &'g Process) -> Self {
        let (status, body) = ask(gateway, "GET", "EIO=4&transport=polling", None).await;
        assert_eq!(status, 200, "{body}");
        let open: Value = serde_json::from_str(body.strip_prefix('0').expect("a handshake")).expect("JSON");
        let keys: Vec<&String> = open.as_object().expect("an object").keys().collect();
        assert_eq!(keys.len(), 5, "{keys:?}");
        assert_eq!(open["upgrades"], json!(["websocket"]));
        Self { gateway, sid: open["sid"].as_str().expect("a sid").to_owned() }
    }

    fn query(&self) -> String {
        format!("EIO=4&transport=polling&sid={}", self.sid)
    }

    async fn poll(&self) -> (u16, String) {
        ask(self.gateway, "GET", &self.query(), None).await
    }

    async fn post(&self, body: &str) -> (u16, String) {
        ask(self.gateway, "POST", &self.query(), Some(body)).await
    }
}

async fn ask(gateway: &Process, method: &str, query: &str, body: Option<&str>) -> (u16, String) {
    let url = format!("{}/socket.io/?{query}", gateway.url());
    let request = weft_testkit::http::client().request(method.parse().expect("a method"), url).timeout(SOON);
    let request = body
        .iter()
        .fold(request, |request, body| request.header("content-type", "text/plain;charset=UTF-8").body((*body).to_owned()));
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

/// Answers pings until the connection is closed, with which code.
async fn answering_pings(socket: &mut Socket) -> Option<u16> {
    loop {
        match socket.next().await {
            Heard::Closed(code) => return code,
            Heard::Frame(ping) if ping == 2 => socket.send(Message::text("3")).await,
            other => panic!("a ping or the end was due, not {other:?}"),
        }
    }
}

/// Answers pings by polling until the session is ended, and how.
async fn answering_polled_pings(session: &Http<'_>) -> (u16, String) {
    loop {
        match session.poll().await {
            (200, ping) if ping == "2" => assert_eq!(session.post("3").await.0, 200),
            other => return other,
        }
    }
}

/// Three that join no namespace: one is never heard of again, two are as alive as can be.
async fn are_closed_in_time(gateway: &Process) {
    let silent = Http::open(gateway).await;
    let polls = Http::open(gateway).await;
    let mut socket = Packets::open(gateway).await;
    let (polled, code) = tokio::join!(answering_polled_pings(&polls), answering_pings(&mut socket));
    assert_eq!((polled, code), ((200, "1".to_owned()), Some(1008)));
    for gone in [&silent, &polls] {
        until("the session is unknown", async || gone.post("3").await == (400, UNKNOWN.to_owned())).await;
    }
    let policy = "weft_gateway_closes_total{code=\"1008\",reason=\"policy\"}";
    until("all three are over", async || gateway.metric(policy).await.expect("metrics") as u64 == 3).await;
}

/// Whoever opens a connection and joins no namespace holds a place for nothing; clients ask for one at once. How long it may
/// take is fixed without authentication, and a setting where a token is to be shown by then.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_no_namespace_is_closed_in_time_and_who_has_joined_one_stays() {
    let broker = Broker::start(Kind::Memory).await;
    let anybody = broker.gateway(&[]).await;
    let bearing = crate::auth_rig::gateway(&broker, &[("WEFT_AUTH_SECS", "3")]).await;
    let mut joined = Packets::connect(&anybody, "/", json!({})).await;
    tokio::select! {
        code = answering_pings(&mut joined.socket) => panic!("who has joined a namespace was closed with {code:?}"),
        _ = async { tokio::join!(are_closed_in_time(&anybody), are_closed_in_time(&bearing)) } => {}
        () = tokio::time::sleep(SOON * 3) => panic!("who has joined no namespace is still there"),
    }
    joined.say("421[\"subscribe\",\"execution:run\"]").await;
    while !joined.next().await.starts_with("431[{\"ok\":true") {}
}

#[tokio::test]
async fn what_is_no_request_of_a_session_is_refused_in_the_words_of_engine_io() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    for (method, query, code) in [
        ("GET", "", 0),
        ("GET", "EIO=4", 0),
        ("GET", "EIO=4&transport=carrier-pigeon", 0),
        ("GET", "EIO=4&transport=polling&sid=abc", 1),
        ("GET", "EIO=4&transport=polling&sid=__proto__", 1),
        ("GET", "EIO=4&transport=polling&sid=constructor", 1),
        ("POST", "EIO=4&transport=polling&sid=abc", 1),
        ("POST", "EIO=4&transport=polling", 2),
        ("PUT", "EIO=4&transport=polling", 2),
        ("GET", "EIO=4&transport=websocket", 3),
        ("GET", "EIO=3&transport=polling", 5),
        ("GET", "transport=polling", 5),
    ] {
        let (status, body) = ask(&gateway, method, query, None).await;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, &body["code"]), (400, &json!(code)), "{method} {query}: {body}");
    }
}

#[tokio::test]
async fn a_bad_packet_and_a_second_poll_end_a_session() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    for bad in ["abc", "", "4", "40\u{1e}x", "2", "5", "b!", "451000000-[\"m\"]", "450-[\"m\"]", "42[\"m\"]"] {
        let session = Http::open(&gateway).await;
        let (status, _) = session.post(bad).await;
        assert_eq!(status, 400, "{bad:?}");
        assert_eq!(session.poll().await.0, 400, "{bad:?}");
    }
    let session = Http::open(&gateway).await;
    let (one, other) = tokio::join!(session.poll(), session.poll());
    let mut both = [one, other];
    both.sort();
    assert_eq!(both[0], (200, "1".to_owned()));
    assert_eq!(both[1].0, 400);
    assert_eq!(session.poll().await.0, 400);
    // Who leaves needs no goodbye.
    let session = Http::open(&gateway).await;
    let (polled, posted) = tokio::join!(session.poll(), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        session.post("1").await
    });
    assert_eq!((polled, posted), ((200, "6".to_owned()), (200, "ok".to_owned())));
    assert_eq!(session.post("40").await.0, 400);
}

#[tokio::test]
async fn a_body_that_is_too_large_or_binary_is_refused() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_MESSAGE_BYTES_MAX", "4096")]).await;
    let session = Http::open(&gateway).await;
    let large = format!("4{}", "x".repeat(10_000));
    assert_eq!(session.post(&large).await.0, 413);
    let url = format!("{}/socket.io/?{}", gateway.url(), session.query());
    let binary = weft_testkit::http::client().post(url).header("content-type", "application/octet-stream").body(vec![1, 2, 3]);
    assert_eq!(binary.send().await.expect("an answer").status().as_u16(), 400);
    assert_eq!(session.post("40\u{1e}42[\"subscribe\",\"execution:run\"]").await, (200, "ok".to_owned()));
    // A namespace is joined once.
    assert_eq!(session.post("40").await.0, 400);
}

#[tokio::test]
async fn an_upgrade_is_probed_and_then_final() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let session = Http::open(&gateway).await;
    assert_eq!(session.post("40").await, (200, "ok".to_owned()));
    let (_, connect) = session.poll().await;
    assert!(connect.starts_with("40{\"sid\""), "{connect}");
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={}", session.sid);
    for other in [path.replace("EIO=4", "EIO=3"), path.replace("EIO=4&", "")] {
        let refused = Socket::open_at(&gateway, &other).await.err().expect("another version");
        assert!(refused.contains("400"), "{refused}");
    }
    let mut probe = Socket::open_at(&gateway, &path).await.expect("an upgrade");
    let polled = session.poll();
    probe.send(Message::text("2probe")).await;
    assert_eq!(probe.next_text().await, "3probe");
    assert_eq!(polled.await, (200, "6".to_owned()));
    probe.send(Message::text("5")).await;
    probe.send(Message::text("42[\"subscribe\",\"execution:run\"]")).await;
    probe.send(Message::text("427[\"unsubscribe\",\"execution:run\"]")).await;
    assert_eq!(probe.next_text().await, "437[{\"ok\":true}]");
    assert_eq!(session.poll().await.0, 400);
    match Socket::open_at(&gateway, &path).await {
        Ok(mut second) => assert!(matches!(second.next().await, Heard::Closed(_))),
        Err(refused) => assert!(refused.contains("400"), "{refused}"),
    }
    probe.send(Message::text("428[\"unsubscribe\",\"execution:run\"]")).await;
    assert_eq!(probe.next_text().await, "438[{\"ok\":true}]");
}

#[tokio::test]
async fn pages_of_admitted_origins_may_poll_and_others_not() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_ORIGINS", "https://app.example")]).await;
    let url = format!("{}/socket.io/?EIO=4&transport=polling", gateway.url());
    for (origin, admitted) in
        [("https://app.example", true), ("https://app.example.evil.com", false), ("null", false), ("http://localhost:5173", true)]
    {
        let request = weft_testkit::http::client().get(&url).header("origin", origin);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), if admitted { 200 } else { 403 }, "{origin}");
        let allowed = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().expect("text"));
        assert_eq!(allowed, admitted.then_some(origin), "{origin}");
    }
}

/// What has brought down or filled other servers, before any token was shown.
#[tokio::test]
async fn a_packet_that_breaks_the_protocol_ends_its_connection_and_no_other() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut witness = Packets::connect(&gateway, "/", json!({})).await;
    for bad in [
        "451000000-[\"m\"]",
        "4511-[\"m\",{\"_placeholder\":true,\"num\":0}]",
        "450-[\"m\"]",
        "451-[\"m\",{\"_placeholder\":true,\"num\":\"splice\"}]",
        "42[\"m\"]",
        "42[{\"toString\":1}]",
        "42[]",
        "43[]",
        "44{\"message\":\"no\"}",
        "40[]",
        "4",
        "49",
        "2probe",
        "5",
        "x",
    ] {
        for joined in [false, true] {
            let mut socket = Packets::open(&gateway).await;
            if joined {
                socket.send(Message::text("40")).await;
            }
            socket.send(Message::text(bad)).await;
            let is_legal_once_joined = joined && bad == "42[\"m\"]";
            if !is_legal_once_joined {
                assert_eq!(socket.closes_after_texts().await, Some(1002), "{bad} {joined}");
            }
        }
    }
    let mut socket = Packets::open(&gateway).await;
    socket.send(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(socket.closes_after_texts().await, Some(1002), "bytes that nobody announced");
    witness.say("421[\"subscribe\",\"execution:run\"]").await;
    assert!(witness.next().await.starts_with("431[{\"ok\":true"));
    // Who leaves a namespace may join it again.
    witness.say("41").await;
    witness.say("40").await;
    assert!(witness.next().await.starts_with("40{"));
}

/// Posts that never end hold up other posts at most, and nobody who publishes.
#[tokio::test(flavor = "multi_thread")]
async fn slow_posts_of_clients_hold_up_no_publication() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_INGRESS_BYTES_AT_ONCE", "1048576")]).await;
    let session = Http::open(&gateway).await;
    let mut slow = tokio::net::TcpStream::connect(gateway.address()).await.expect("connected");
    let head = format!("POST /socket.io/?{} HTTP/1.1\r\nhost: h\r\ncontent-length: 1048576\r\n\r\n4", session.query());
    slow.write_all(head.as_bytes()).await.expect("written");
    // All that such posts may have is taken by now, or is within a moment.
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Waiting would end in a refusal.
    publish_numbers(&gateway, "e", 1..=3).await;
    drop(slow);
}
