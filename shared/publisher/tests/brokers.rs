//! Publishing to a real broker that is killed and comes back: everything is stored, once and in order.

use std::time::Duration;
use weft_bus::{Bus, BusConfig, PageLimit, ReadFrom};
use weft_event::{Room, Status};
use weft_publisher::{EventDraft, Publisher, PublisherConfig, data};
use weft_testkit::servers::{NatsServer, NatsVersion, RedisServer};

/// Long enough for the slowest machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(120);
const EVENTS: usize = 3000;

async fn ids(bus: &Bus, room: &str) -> Vec<usize> {
    let room = Room::parse(room).expect(room);
    let (mut from, mut ids) = (ReadFrom::Start, Vec::new());
    loop {
        let page = bus.read(&room, from, PageLimit { events: 500, bytes: 1 << 20 }).await.expect("readable");
        for delivery in &page.events {
            let event: serde_json::Value = serde_json::from_slice(&delivery.payload).expect("json");
            ids.extend(event["id"].as_str().and_then(|id| id.parse::<usize>().ok()));
        }
        match page.last() {
            Some(last) if page.more => from = ReadFrom::After(last),
            _ => return ids,
        }
    }
}

fn event(id: usize) -> EventDraft {
    EventDraft::new("log").execution(format!("e{}", id % 3)).user("u").id(id.to_string()).data(data::Log::info("x"))
}

/// What a test does to a broker.
trait Broker {
    fn url(&self) -> String;
    fn kill(&mut self);
    async fn restart(&mut self);
}

impl Broker for RedisServer {
    fn url(&self) -> String {
        RedisServer::url(self)
    }
    fn kill(&mut self) {
        RedisServer::kill(self);
    }
    async fn restart(&mut self) {
        RedisServer::restart(self).await.expect("comes back");
    }
}

impl Broker for NatsServer {
    fn url(&self) -> String {
        NatsServer::url(self)
    }
    fn kill(&mut self) {
        NatsServer::kill(self);
    }
    async fn restart(&mut self) {
        NatsServer::restart(self).await.expect("comes back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_comes_back() {
    outlives(RedisServer::start().await.expect("redis-server")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_killed_and_comes_back() {
    outlives(NatsServer::start(NatsVersion::Debian).await.expect("nats-server")).await;
}

async fn outlives(mut broker: impl Broker) {
    let bus = Bus::connect(BusConfig::parse(&broker.url()).expect("a URL")).await.expect("connects");
    let publisher = Publisher::over_bus(bus.clone(), PublisherConfig::default());
    let mut pending = Vec::new();
    for id in 0..EVENTS {
        if id == EVENTS / 2 {
            // In the middle of a burst: some events are stored, but their acknowledgement is never heard. What was
            // acknowledged is in files by then; killing a process does not take it back, as a power cut could.
            while publisher.pending() > EVENTS as u64 / 4 {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            broker.kill();
        }
        pending.push(publisher.enqueue(event(id)).expect("room in the buffer"));
    }
    assert!(publisher.flush(Duration::from_millis(300)).await.is_err(), "nothing is stored without a broker");
    broker.restart().await;
    for (id, pending) in pending.into_iter().enumerate() {
        let stored = tokio::time::timeout(PATIENCE, pending).await.expect("in time").expect("stored");
        assert!(stored.positions.len() == 2 && stored.positions.iter().all(|(_, at)| at.is_some()), "{id}: {stored:?}");
    }
    publisher.run("e0").execution_completed(data::ExecutionCompleted::default()).expect("room");
    publisher.close().await.expect("all stored, heads moved");
    for room in 0..3 {
        let expected: Vec<usize> = (0..EVENTS).filter(|id| id % 3 == room).collect();
        assert_eq!(ids(&bus, &format!("execution:e{room}")).await, expected, "each once, in order");
    }
    assert_eq!(ids(&bus, "user:u").await, (0..EVENTS).collect::<Vec<_>>(), "copies too");
    let (head, _) = bus.load_head(&Room::parse("execution:e0").expect("a room")).await.expect("heads").expect("a head");
    assert_eq!((head.status(), head.owner.as_deref(), head.incomplete), (Status::Completed, Some("u"), false));
    assert_eq!(publisher.losses().borrow().total(), 0);
}

#[tokio::test]
async fn fire_and_forget_gives_no_positions_and_keeps_no_heads() {
    let redis = RedisServer::start().await.expect("redis-server");
    let url = redis.url().replace("redis://", "redis+pubsub://");
    let bus = Bus::connect(BusConfig::parse(&url).expect("a URL")).await.expect("connects");
    let publisher = Publisher::over_bus(bus, PublisherConfig::default());
    let stored = publisher.publish(event(1)).await.expect("sent");
    let positions: Vec<_> = stored.positions.iter().map(|(room, at)| (room.to_string(), at.is_some())).collect();
    assert_eq!(positions, [("execution:e1".into(), false), ("user:u".into(), false)]);
    publisher.publish(event(4).user("somebody else")).await.expect_err("a space is no id");
    publisher.publish(event(4).user("v")).await.expect("without a head nobody owns it");
    publisher.close().await.expect("sent");
}
