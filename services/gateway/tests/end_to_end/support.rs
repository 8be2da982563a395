//! What the tests share: brokers, gateways on them, publishing, and a WebSocket that does as it is told.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig},
};
use weft_testkit::{
    process::{Process, ProcessOptions},
    servers::{NatsOptions, NatsServer, NatsVersion, RedisServer},
};

/// Nothing here takes nearly as long; it only bounds a hang.
pub const SOON: Duration = Duration::from_secs(30);

/// Whether the long forms are wanted.
pub fn is_full() -> bool {
    std::env::var_os("WEFT_TEST_FULL").is_some_and(|value| value == "1")
}

/// Which bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Memory,
    JetStream,
    JetStreamOfDebian,
    NatsCore,
    Redis,
    RedisPubSub,
}

/// The buses that keep events.
pub const DURABLE: [Kind; 3] = [Kind::Memory, Kind::JetStream, Kind::Redis];
/// The buses that keep events and join several gateways.
pub const SHARED: [Kind; 2] = [Kind::JetStream, Kind::Redis];

/// A bus for gateways.
pub struct Broker {
    pub kind: Kind,
    nats: Option<NatsServer>,
    redis: Option<RedisServer>,
}

impl Broker {
    pub async fn start(kind: Kind) -> Self {
        let (mut nats, mut redis) = (None, None);
        match kind {
            Kind::Memory => {}
            Kind::JetStream | Kind::NatsCore => nats = Some(NatsServer::start(NatsVersion::Current).await.expect("NATS")),
            Kind::JetStreamOfDebian => {
                let options = NatsOptions::new(NatsVersion::Debian);
                nats = Some(NatsServer::start_with(options).await.expect("Debian's NATS"));
            }
            Kind::Redis | Kind::RedisPubSub => redis = Some(RedisServer::start().await.expect("Redis")),
        }
        Self { kind, nats, redis }
    }

    /// A NATS that was set up by the test.
    pub fn of_nats(nats: NatsServer) -> Self {
        Self { kind: Kind::JetStream, nats: Some(nats), redis: None }
    }

    /// A Redis that was set up by the test.
    pub fn of_redis(redis: RedisServer) -> Self {
        Self { kind: Kind::Redis, nats: None, redis: Some(redis) }
    }

    pub fn url(&self) -> String {
        match (self.kind, &self.nats, &self.redis) {
            (Kind::NatsCore, Some(nats), _) => nats.url().replace("nats://", "nats+core://"),
            (Kind::RedisPubSub, _, Some(redis)) => redis.url().replace("redis://", "redis+pubsub://"),
            (_, Some(nats), _) => nats.url(),
            (_, _, Some(redis)) => redis.url(),
            _ => "memory:".into(),
        }
    }

    pub fn nats(&self) -> &NatsServer {
        self.nats.as_ref().expect("a NATS")
    }

    pub fn redis(&self) -> &RedisServer {
        self.redis.as_ref().expect("a Redis")
    }

    pub fn kill(&mut self) {
        self.nats.iter_mut().for_each(NatsServer::kill);
        self.redis.iter_mut().for_each(RedisServer::kill);
    }

    pub async fn restart(&mut self) {
        if let Some(nats) = &mut self.nats {
            nats.restart().await.expect("NATS comes back");
        }
        if let Some(redis) = &mut self.redis {
            redis.restart().await.expect("Redis comes back");
        }
    }

    pub fn pause(&mut self) {
        self.nats.iter_mut().for_each(|nats| nats.pause().expect("paused"));
        self.redis.iter_mut().for_each(|redis| redis.pause().expect("paused"));
    }

    pub fn resume(&mut self) {
        self.nats.iter_mut().for_each(|nats| nats.resume().expect("resumed"));
        self.redis.iter_mut().for_each(|redis| redis.resume().expect("resumed"));
    }

    /// A gateway on this bus.
    pub async fn gateway(&self, env: &[(&str, &str)]) -> Process {
        weft_testkit::process::at_end(crate::auth_watch::look_at_log);
        let options = ProcessOptions::gateway(&self.url()).env("WEFT_LOG", "info,weft_gateway=debug");
        let options = env.iter().fold(options, |options, (name, value)| options.env(name, value));
        Process::start(options).await.expect("a gateway")
    }

    /// As many gateways as this bus can join: one in memory, else two.
    pub async fn gateways(&self, env: &[(&str, &str)]) -> Vec<Process> {
        let mut gateways = vec![self.gateway(env).await];
        if self.kind != Kind::Memory {
            gateways.push(self.gateway(env).await);
        }
        gateways
    }
}

pub fn addresses(gateways: &[Process]) -> Vec<String> {
    gateways.iter().map(Process::address).collect()
}

pub fn urls(gateways: &[Process]) -> Vec<String> {
    gateways.iter().map(Process::url).collect()
}

/// A `log` event with a number.
pub fn numbered(execution: &str, n: u64) -> Value {
    json!({"type": "log", "executionId": execution, "data": {"level": "info", "message": "m", "n": n}})
}

/// `POST /api/events`.
pub async fn post(gateway: &Process, body: impl Into<String>) -> (u16, Value) {
    request(gateway, "POST", "/api/events", Some(body.into())).await
}

/// Publishes and is told that everything is stored.
pub async fn publish(gateway: &Process, events: Value) -> Value {
    let (status, body) = post(gateway, events.to_string()).await;
    assert_eq!(status, 202, "{body}");
    body
}

/// Publishes `log` events with these numbers, in order.
pub async fn publish_numbers(gateway: &Process, execution: &str, numbers: std::ops::RangeInclusive<u64>) {
    let all: Vec<u64> = numbers.collect();
    for some in all.chunks(500) {
        publish(gateway, some.iter().map(|n| numbered(execution, *n)).collect()).await;
    }
}

/// A request and its answer, as JSON where it is.
pub async fn request(gateway: &Process, method: &str, path: &str, body: Option<String>) -> (u16, Value) {
    let client = weft_testkit::http::client();
    let method = method.parse().expect("a method");
    let mut request = client.request(method, format!("{}{path}", gateway.url())).header("content-type", "application/json");
    if let Some(body) = body {
        request = request.body(body);
    }
    let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}\n{}", gateway.log_tail()));
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub async fn get(gateway: &Process, path: &str) -> (u16, Value) {
    request(gateway, "GET", path, None).await
}

/// Asks again and again until it holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + SOON;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What comes by a [`Socket`].
#[derive(Debug)]
pub enum Heard {
    Frame(Value),
    Binary(Vec<u8>),
    Closed(Option<u16>),
}

/// A WebSocket that does as it is told. It knows nothing of rooms.
pub struct Socket {
    socket: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Connects, and is greeted.
    pub async fn open(gateway: &Process) -> Self {
        let mut socket = Self::open_with(&gateway.address(), None, 0).await.expect("an upgrade");
        let hello = socket.hear().await;
        assert_eq!(hello["type"], "connected", "{hello}");
        socket
    }

    /// Connects with a subprotocol, and with a receive buffer of this many bytes unless 0.
    pub async fn open_with(address: &str, subprotocol: Option<&str>, receive_buffer: u32) -> Result<Self, String> {
        Self::open_path(address, "/api/ws", subprotocol, receive_buffer).await
    }

    /// Connects where the path says what to follow.
    pub async fn open_at(gateway: &Process, path: &str) -> Result<Self, String> {
        Self::open_path(&gateway.address(), path, None, 0).await
    }

    async fn open_path(address: &str, path: &str, subprotocol: Option<&str>, receive_buffer: u32) -> Result<Self, String> {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        if receive_buffer > 0 {
            socket.set_recv_buffer_size(receive_buffer).expect("a buffer");
        }
        let stream = socket.connect(address.parse().expect("an address")).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).expect("no delay");
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
        if let Some(name) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(name).expect("a name"));
        }
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(error) => Err(error.to_string()),
        }
    }

    pub async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub async fn send(&mut self, message: Message) {
        // A gateway that closes meanwhile is heard of by what comes next.
        let _ = self.socket.send(message).await;
    }

    /// What comes next.
    pub async fn next(&mut self) -> Heard {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            // Pings come all the time; they are no answer.
            let next = tokio::time::timeout_at(end, self.socket.next()).await.expect("a frame, in time");
            match next {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Frame(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")));
                }
                Some(Ok(Message::Binary(bytes))) => return Heard::Binary(bytes.to_vec()),
                Some(Ok(Message::Close(frame))) => return Heard::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }

    /// The next text frame as it came.
    pub async fn next_text(&mut self) -> String {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let next = tokio::time::timeout_at(end, self.socket.next()).await.expect("a frame, in time");
            match next {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a text frame was due, not {other:?}"),
            }
        }
    }

    /// What comes next, or the code and the reason of the close.
    pub async fn hear_or_goodbye(&mut self) -> Result<Value, (u16, String)> {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            match tokio::time::timeout_at(end, self.socket.next()).await.expect("a frame, in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(Some(frame)))) => return Err((frame.code.into(), frame.reason.to_string())),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a text frame or a close was due, not {other:?}"),
            }
        }
    }

    /// The close code, after whatever texts still come.
    pub async fn closes_after_texts(&mut self) -> Option<u16> {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            match tokio::time::timeout_at(end, self.socket.next()).await.expect("a close, in time") {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next JSON frame.
    pub async fn hear(&mut self) -> Value {
        match self.next().await {
            Heard::Frame(frame) => frame,
            other => panic!("a frame was due, not {other:?}"),
        }
    }

    /// Passes over frames until one of this type.
    pub async fn hear_a(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.hear().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// The close code, after whatever else still comes.
    pub async fn hear_close(&mut self) -> Option<u16> {
        loop {
            if let Heard::Closed(code) = self.next().await {
                return code;
            }
        }
    }

    /// Subscribes and hears the answer, which must be the next frame.
    pub async fn subscribe(&mut self, message: Value) -> Value {
        let mut message = message;
        message["type"] = "subscribe".into();
        self.say(message).await;
        let answer = self.hear().await;
        assert_eq!(answer["type"], "subscribed", "{answer}");
        answer
    }

    /// The next event's number.
    pub async fn hear_number(&mut self) -> u64 {
        let frame = self.hear().await;
        number(&frame).unwrap_or_else(|| panic!("a numbered event was due, not {frame}"))
    }

    /// Hears exactly these numbers next; answers the last frame.
    pub async fn hear_numbers(&mut self, numbers: std::ops::RangeInclusive<u64>) -> Value {
        let mut last = Value::Null;
        for n in numbers {
            last = self.hear().await;
            assert_eq!(number(&last), Some(n), "{last}");
        }
        last
    }

    /// Sends a ping and hears its pong next: nothing else was on its way.
    pub async fn hears_nothing_more(&mut self) {
        let reference = uuid::Uuid::new_v4().to_string();
        self.say(json!({"type": "ping", "ref": reference})).await;
        let pong = self.hear().await;
        assert_eq!((&pong["type"], &pong["ref"]), (&json!("pong"), &json!(reference)), "{pong}");
    }

    /// Resets the connection.
    pub fn cut(self) {
        let _ = self.socket.get_ref().set_zero_linger();
    }
}

pub fn number(frame: &Value) -> Option<u64> {
    frame["data"]["n"].as_u64()
}

pub fn offset(frame: &Value) -> String {
    frame["offset"].as_str().unwrap_or_else(|| panic!("an offset in {frame}")).to_owned()
}
