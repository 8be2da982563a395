//! Server-Sent Events: a room as a stream, on any gateway, and how it ends.

use crate::support::{Broker, DURABLE, Kind, SOON, get, number, publish, publish_numbers, until};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::process::Process;

/// One event of a stream, or what else stands between two empty lines.
#[derive(Debug, Default, PartialEq)]
struct Told {
    id: Option<String>,
    event: Option<String>,
    data: Option<Value>,
    retry: Option<u64>,
    is_comment: bool,
}

pub struct Stream {
    answer: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(gateway: &Process, path: &str, last_event_id: Option<&str>) -> Self {
        Self::open_at(&gateway.url(), path, last_event_id).await
    }

    /// At a gateway, or at what stands before some.
    pub async fn open_at(base: &str, path: &str, last_event_id: Option<&str>) -> Self {
        let url = format!("{base}{path}");
        let request = weft_testkit::http::client().get(url).header("accept", "text/event-stream").timeout(SOON * 4);
        let request = last_event_id.iter().fold(request, |request, id| request.header("last-event-id", *id));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream", "{path}");
        let mut stream = Self { answer, text: String::new() };
        let first = stream.next().await.expect("a first line");
        assert!(first.retry.is_some(), "{first:?}");
        stream
    }

    /// Whether it ends, well or badly, and says nothing more but comments.
    pub async fn ends(&mut self) -> bool {
        loop {
            match tokio::time::timeout(SOON, self.answer.chunk()).await {
                Ok(Ok(Some(bytes))) if bytes.iter().all(|byte| b":\n".contains(byte)) => {}
                Ok(Ok(None) | Err(_)) => return true,
                _ => return false,
            }
        }
    }

    /// What comes next; `None` at the end.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                return Some(read(&block));
            }
            let bytes = tokio::time::timeout(SOON, self.answer.chunk()).await.expect("more, in time").expect("a stream")?;
            self.text.push_str(std::str::from_utf8(&bytes).expect("whole characters"));
        }
    }

    /// The next event, whose id is also its offset.
    async fn event(&mut self) -> Told {
        loop {
            let told = self.next().await.expect("the stream goes on");
            if told.event.is_some() {
                return told;
            }
        }
    }

    /// Hears exactly these numbers next; the last one's id.
    pub async fn numbers(&mut self, numbers: std::ops::RangeInclusive<u64>) -> String {
        let mut id = None;
        for n in numbers {
            let told = self.event().await;
            let data = told.data.expect("data");
            assert_eq!((told.event.as_deref(), number(&data)), (Some("log"), Some(n)), "{data}");
            assert_eq!(told.id.as_deref(), data["offset"].as_str(), "{data}");
            id = told.id;
        }
        id.expect("an id")
    }
}

fn read(block: &str) -> Told {
    let mut told = Told::default();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => told.is_comment |= !line.is_empty(),
            "id" => told.id = Some(value),
            "event" => told.event = Some(value),
            "data" => told.data = Some(serde_json::from_str(&value).expect("json")),
            "retry" => told.retry = value.parse().ok(),
            _ => panic!("no such field: {line}"),
        }
    }
    told
}

/// The stream of one execution.
pub const PATH: &str = "/api/executions/e/events";

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_the_last_event_at_any_gateway() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let there = &gateways[gateways.len() - 1];
        let mut stream = Stream::open(&gateways[0], PATH, None).await;
        let begins = stream.next().await.expect("where it begins");
        assert!(begins.id.is_some() && begins.event.is_none() && begins.data.is_none(), "{kind:?}: {begins:?}");
        publish_numbers(there, "e", 1..=300).await;
        let hundredth = stream.numbers(1..=100).await;
        let last = stream.numbers(101..=300).await;
        drop(stream);
        // A browser repeats the address it was given; what it has heard since counts more.
        let mut back = Stream::open(there, &format!("{PATH}?offset=0&snapshot=true"), Some(&hundredth)).await;
        back.numbers(101..=300).await;
        let mut back = Stream::open(there, PATH, begins.id.as_deref()).await;
        back.numbers(1..=300).await;
        let mut back = Stream::open(&gateways[0], &format!("{PATH}?offset={last}"), None).await;
        publish_numbers(there, "e", 301..=301).await;
        back.numbers(301..=301).await;
        let mut all = Stream::open(&gateways[0], "/api/rooms/execution:e/events?offset=0", None).await;
        all.numbers(1..=301).await;
        until("nobody but who still reads", async || {
            let mut count = 0;
            for gateway in &gateways {
                count += get(gateway, "/api/ws/health").await.1["connections"].as_u64().expect("a count");
            }
            // The first was dropped; the three that came back and the one of all are there.
            count == 4
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_head_of_the_answer_hears_what_happens_from_then_on() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        for n in 1..=25 {
            let execution = format!("e{n}");
            let path = format!("/api/executions/{execution}/events?snapshot=true");
            let mut stream = Stream::open(&gateways[gateways.len() - 1], &path, None).await;
            publish_numbers(&gateways[0], &execution, 1..=1).await;
            stream.numbers(1..=1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_with_the_state_and_tells_a_gap() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[("WEFT_RETENTION_EVENTS", "100"), ("WEFT_LOG_EVENTS_MAX", "10")]).await;
        publish(&gateway, json!({"type": "execution:started", "executionId": "e"})).await;
        let mut stream = Stream::open(&gateway, &format!("{PATH}?snapshot=true"), None).await;
        let state = stream.event().await;
        let data = state.data.expect("data");
        assert_eq!((state.event.as_deref(), &data["snapshot"]["status"]), (Some("snapshot"), &json!("running")), "{kind:?}");
        assert_eq!(state.id.as_deref(), data["offset"].as_str(), "{kind:?}: {data}");
        publish_numbers(&gateway, "e", 1..=1).await;
        let first = stream.numbers(1..=1).await;
        drop(stream);
        let mut with_logs = Stream::open(&gateway, &format!("{PATH}?snapshot=true&history=logs"), None).await;
        assert_eq!(with_logs.numbers(1..=1).await, first, "{kind:?}");
        assert_eq!(with_logs.event().await.event.as_deref(), Some("snapshot"), "{kind:?}");
        drop(with_logs);
        for first in (2..=1000_u64).step_by(50) {
            publish_numbers(&gateway, "e", first..=(first + 49).min(1000)).await;
        }
        let mut stream = Stream::open(&gateway, PATH, Some(&first)).await;
        let gap = stream.event().await;
        assert_eq!((gap.event.as_deref(), gap.id.as_deref()), (Some("gap"), Some(&*first)), "{kind:?}");
        let next = stream.event().await.data.expect("data");
        assert!(number(&next).is_some_and(|n| n > 700), "{kind:?}: {next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_stream_has_a_heartbeat_and_a_bad_offset_is_refused() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut stream = Stream::open(&gateway, PATH, None).await;
    while !stream.next().await.expect("the stream goes on").is_comment {}
    let (status, _) = get(&gateway, PATH).await;
    assert_eq!(status, 404, "who asks for no stream gets a page");
    let client = weft_testkit::http::client();
    for (query, id) in [("?offset=x", ""), ("", "x")] {
        let request = client.get(format!("{}{PATH}{query}", gateway.url())).header("accept", "text/event-stream, */*;q=0.1");
        let answer = request.header("last-event-id", id).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 400, "{query} {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_and_a_leaving_gateway_end_streams_so_that_browsers_come_again() {
    let broker = Broker::start(Kind::Memory).await;
    let mut gateway = broker.gateway(&[("WEFT_CONNECTIONS_MAX", "1"), ("WEFT_DRAIN_SECS", "3")]).await;
    let mut stream = Stream::open(&gateway, PATH, None).await;
    let mut refused = Stream::open(&gateway, PATH, None).await;
    assert_eq!(refused.next().await, None, "there is no place");
    publish_numbers(&gateway, "e", 1..=1).await;
    stream.numbers(1..=1).await;
    gateway.ask_to_leave().expect("asked");
    let notice = stream.next().await.expect("a last word");
    assert!(notice.retry.is_some(), "{notice:?}");
    let mut late = Stream::open(&gateway, PATH, None).await;
    assert_eq!(late.next().await, None, "it is leaving");
    while let Some(told) = stream.next().await {
        assert!(told.is_comment, "{told:?}");
    }
    let status = gateway.terminate(SOON).await.expect("it ends by itself");
    assert_eq!(status.code(), Some(0), "{}", gateway.log_tail());
}

/// A body that is not taken is not asked for more, so that no clock of the session's own would notice.
#[tokio::test]
async fn who_stops_reading_a_stream_does_not_hold_its_session() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_STALL_SECS", "1")]).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(gateway.address().parse().expect("an address")).await.expect("a connection");
    let request = "GET /api/executions/run/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("a request");
    let connections = async || get(&gateway, "/api/ws/health").await.1["connections"].clone();
    until("the stream has begun", async || connections().await == 1).await;
    let large = json!({"type": "log", "executionId": "run", "data": {"level": "info", "message": "x".repeat(100_000)}});
    for _ in 0..100 {
        publish(&gateway, large.clone()).await;
    }
    until("its session is over", async || connections().await == 0).await;
    drop(stream);
}

/// What a raw connection has sent, up to a text that must come.
async fn read_until(socket: &mut TcpStream, so_far: &mut String, text: &str) {
    while !so_far.contains(text) {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(SOON, socket.read(&mut bytes)).await;
        let read = read.unwrap_or_else(|_| panic!("no {text:?} in time: {so_far}")).expect("an open connection");
        assert!(read > 0, "ended before {text:?}: {so_far}");
        so_far.push_str(std::str::from_utf8(&bytes[..read]).expect("whole characters"));
    }
}

/// The first request of a connection is served in another way than later ones, and than one that comes in pieces.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_the_same_wherever_in_its_connection_it_begins() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let head = format!("GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n");
    let page = "GET /api/ws/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let mut sockets = Vec::new();
    for before in [&[][..], &[page], &[&head[..20]]] {
        let mut socket = TcpStream::connect(gateway.address()).await.expect("a connection");
        socket.set_nodelay(true).expect("a socket");
        let mut rest = &head[..];
        for first in before {
            socket.write_all(first.as_bytes()).await.expect("written");
            if let Some(second) = head.strip_prefix(first) {
                // Long enough for the first half to be looked at by itself.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                rest = second;
            } else {
                read_until(&mut socket, &mut String::new(), "connections").await;
            }
        }
        socket.write_all(rest.as_bytes()).await.expect("written");
        let mut text = String::new();
        read_until(&mut socket, &mut text, "retry:").await;
        let lower = text.to_ascii_lowercase();
        for line in
            ["http/1.1 200 ok\r\n", "\r\ntransfer-encoding: chunked\r\n", "\r\ncontent-type: text/event-stream\r\n", "\r\ndate: "]
        {
            assert!(lower.contains(line), "no {line:?}: {text}");
        }
        sockets.push((socket, text));
    }
    publish_numbers(&gateway, "e", 1..=40).await;
    for (socket, text) in &mut sockets {
        read_until(socket, text, "\"n\":40").await;
        assert_eq!(text.matches("event: log").count(), 40, "{text}");
    }
    drop(sockets);
    let connections = async || get(&gateway, "/api/ws/health").await.1["connections"].clone();
    until("their sessions are over", async || connections().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_that_begins_its_connection_is_answered_and_closed() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    for (path, status) in [(format!("{PATH}?offset=x"), "400"), ("/api/nothing".to_owned(), "404")] {
        let mut socket = TcpStream::connect(gateway.address()).await.expect("a connection");
        // What follows is not served: the answer says that it closes.
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\nGET / HTTP/1.1\r\n");
        socket.write_all(head.as_bytes()).await.expect("written");
        let mut text = String::new();
        tokio::time::timeout(SOON, socket.read_to_string(&mut text)).await.expect("an end, in time").expect("an answer");
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(text.contains("connection: close") && text.contains("\"error\"") && text.ends_with("\r\n0\r\n\r\n"), "{text}");
    }
}
