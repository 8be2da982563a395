//! A bus over a real broker, and an inlet that remembers.
#![allow(dead_code, missing_docs, unreachable_pub)] // shared by test programs that each use a part

use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use weft_bus::{Ack, Bus, BusConfig, Delivery, Inlet, PageLimit, Publication, ReadFrom, Retention, Signal, Stamp};
use weft_event::{Position, Room};
use weft_testkit::servers::{NatsServer, NatsVersion, RedisServer};

/// Bounds a hang on a loaded machine; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    Memory,
    JetStream(NatsVersion),
    NatsCore(NatsVersion),
    RedisStreams,
    RedisPubSub,
}

pub enum Server {
    None,
    Nats(NatsServer),
    Redis(RedisServer),
}

/// One broker of its own and the setting of the buses on it.
pub struct World {
    pub setup: Setup,
    pub server: Server,
    pub config: BusConfig,
    /// The in-process bus has no second connection.
    memory: Option<Bus>,
}

impl World {
    pub async fn start(setup: Setup) -> Self {
        let server = match setup {
            Setup::Memory => Server::None,
            Setup::JetStream(version) | Setup::NatsCore(version) => {
                Server::Nats(NatsServer::start(version).await.expect("nats-server starts"))
            }
            Setup::RedisStreams | Setup::RedisPubSub => Server::Redis(RedisServer::start().await.expect("redis-server starts")),
        };
        let url = match (setup, &server) {
            (Setup::NatsCore(_), Server::Nats(server)) => server.url().replace("nats://", "nats+core://"),
            (Setup::RedisPubSub, Server::Redis(server)) => server.url().replace("redis://", "redis+pubsub://"),
            (_, Server::Nats(server)) => server.url(),
            (_, Server::Redis(server)) => server.url(),
            (_, Server::None) => "memory:".into(),
        };
        let config = BusConfig::parse(&url).expect("a bus URL");
        Self { setup, server, config, memory: None }
    }

    pub fn is_durable(&self) -> bool {
        self.config.mode().is_durable()
    }

    pub fn keep(&mut self, retention: Retention) {
        self.config.retention = retention;
    }

    /// A bus; each call is another process, but in memory, where there is only one.
    pub async fn bus(&mut self) -> Bus {
        if let Some(bus) = &self.memory {
            return bus.clone();
        }
        let bus = Bus::connect(self.config.clone()).await.expect("connects");
        if self.setup == Setup::Memory {
            self.memory = Some(bus.clone());
        }
        bus
    }

    pub fn kill(&mut self) {
        match &mut self.server {
            Server::None => {}
            Server::Nats(server) => server.kill(),
            Server::Redis(server) => server.kill(),
        }
    }

    pub async fn restart(&mut self) {
        match &mut self.server {
            Server::None => {}
            Server::Nats(server) => server.restart().await.expect("restarts"),
            Server::Redis(server) => server.restart().await.expect("restarts"),
        }
    }

    pub fn wipe(&mut self) {
        match &mut self.server {
            Server::None => {}
            Server::Nats(server) => server.wipe().expect("wiped"),
            Server::Redis(server) => server.wipe().expect("wiped"),
        }
    }

    pub fn pause(&mut self) {
        match &mut self.server {
            Server::None => {}
            Server::Nats(server) => server.pause().expect("paused"),
            Server::Redis(server) => server.pause().expect("paused"),
        }
    }

    pub fn resume(&mut self) {
        match &mut self.server {
            Server::None => {}
            Server::Nats(server) => server.resume().expect("resumed"),
            Server::Redis(server) => server.resume().expect("resumed"),
        }
    }

    /// Publishes as a client that knows nothing of us.
    pub async fn publish_raw(&self, room: &Room, payload: &str) {
        match &self.server {
            Server::None => {}
            Server::Nats(server) => {
                let mut raw = server.raw().await.expect("connects");
                let subject = format!("{}.{}", self.config.prefix, room.nats_token());
                raw.publish(&subject, payload.as_bytes()).await.expect("published");
                raw.flush().await.expect("flushed");
            }
            Server::Redis(server) => {
                let mut raw = server.raw().await.expect("connects");
                raw.publish(room.broker_name(), payload.as_bytes()).await.expect("published");
            }
        }
    }
}

/// An inlet that remembers everything.
#[derive(Default)]
pub struct Recorder {
    events: Mutex<Vec<Delivery>>,
    signals: Mutex<Vec<Signal>>,
    changed: Notify,
}

impl Inlet for Recorder {
    fn event(&self, delivery: Delivery) {
        self.events.lock().push(delivery);
        self.changed.notify_one();
    }

    fn signal(&self, signal: Signal) {
        self.signals.lock().push(signal);
        self.changed.notify_one();
    }
}

impl Recorder {
    pub fn on(bus: &Bus) -> Arc<Self> {
        let recorder = Arc::new(Self::default());
        bus.attach(recorder.clone());
        recorder
    }

    pub fn events(&self) -> Vec<Delivery> {
        self.events.lock().clone()
    }

    pub fn payloads(&self, room: &Room) -> Vec<String> {
        let events = self.events.lock();
        events.iter().filter(|event| event.room == *room).map(|event| text(&event.payload)).collect()
    }

    pub fn signals(&self) -> Vec<Signal> {
        self.signals.lock().clone()
    }

    pub fn forget(&self) {
        self.events.lock().clear();
        self.signals.lock().clear();
    }

    /// Waits until it holds; `what` is said if it never does.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let woken = tokio::time::timeout(left.min(Duration::from_millis(200)), self.changed.notified()).await;
            assert!(
                woken.is_ok() || Instant::now() < deadline,
                "never: {what}; {} events, signals {:?}",
                self.events.lock().len(),
                self.signals.lock()
            );
        }
    }

    pub async fn until_events(&self, count: usize) {
        self.until(&format!("{count} events"), |seen| seen.events.lock().len() >= count).await;
    }
}

pub fn room(name: &str) -> Room {
    Room::parse(name).expect("a room")
}

pub fn text(payload: &Bytes) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

pub fn publication(room: &Room, payload: impl Into<String>) -> Publication {
    Publication { room: room.clone(), payload: payload.into().into(), id: None, first: None, traceparent: None }
}

pub fn with_id(room: &Room, id: &str, payload: impl Into<String>) -> Publication {
    Publication { id: Some(id.to_owned()), ..publication(room, payload) }
}

pub async fn publish(bus: &Bus, room: &Room, payload: impl Into<String>) -> Ack {
    bus.publish(publication(room, payload)).await.expect("stored")
}

/// Publishes `n` events `{"n":<i>}` and answers their positions.
pub async fn publish_numbers(bus: &Bus, room: &Room, numbers: std::ops::Range<usize>) -> Vec<Position> {
    let batch = numbers.map(|n| publication(room, format!("{{\"n\":{n}}}"))).collect();
    let acks = bus.publish_batch(batch).await;
    acks.into_iter().map(|ack| ack.expect("stored").position.expect("a position")).collect()
}

pub const LARGE: PageLimit = PageLimit { events: 1_000_000, bytes: 1 << 40 };
pub const STEP: PageLimit = PageLimit { events: 500, bytes: 1 << 20 };

/// Everything a room holds.
pub async fn read_all(bus: &Bus, room: &Room) -> Vec<Delivery> {
    let (mut found, mut from) = (Vec::new(), ReadFrom::Start);
    loop {
        let page = bus.read(room, from, STEP).await.expect("reads");
        if let Some(at) = page.last() {
            from = ReadFrom::After(at);
        }
        found.extend(page.events);
        if !page.more {
            return found;
        }
    }
}

pub fn positions(events: &[Delivery]) -> Vec<Position> {
    events.iter().map(|event| event.position().expect("a position")).collect()
}

/// Checks that each event's `prev` is the one before it.
pub fn assert_linked(events: &[Delivery]) {
    let mut last: Option<u64> = None;
    for event in events {
        let Stamp::Stored { at, prev } = event.stamp else { panic!("not stored: {event:?}") };
        if let Some(last) = last {
            assert_eq!(prev, last, "a gap before {at:?}");
        }
        last = Some(at.seq);
    }
}

/// Repeats until it succeeds: for what comes back after a broker does.
pub async fn eventually<T, E: std::fmt::Debug>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) if Instant::now() > deadline => panic!("never: {what}: {error:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
