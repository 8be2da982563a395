//! Executors on real brokers: ids are claimed once, commands arrive, and a broker that dies loses nothing.

mod rig;

use rig::{Rig, SOON, directory, find, kind, messages, outline};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tokio::time::timeout;
use weft_bus::{Address, Bus, BusConfig, Reply};
use weft_event::Room;
use weft_testkit::servers::{NatsServer, NatsVersion, RedisServer};

const ASK: &str = "name: ask\nnodes:\n  - {id: ask, prompt: {text: Well?, timeout: 5m}}";
const COUNT: &str = "name: count
nodes:
  - id: count
    command: |
      for number in $(seq 1 60); do echo \"$number\"; sleep 0.1; done
";

async fn connect(url: &str) -> Bus {
    Bus::connect(BusConfig::parse(url).expect("a bus")).await.expect("connected")
}

async fn start(url: &str, dir: &Path, id: &str) -> Rig {
    Rig::start_on(connect(url).await, dir, &["--executor-id", id]).await
}

/// Two executors on one broker, and a third connection that asks them.
async fn serves_commands(url: &str) {
    let dir = directory(&[ASK]);
    let (one, two) = (start(url, &dir, "one").await, start(url, &dir, "two").await);
    let present = timeout(SOON, async {
        while one.bus.present(weft_bus::Presence::Executor).await.expect("bus").len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    present.await.expect("both are announced");
    let order = || json!({"workflow": "ask", "executionId": "taken"});
    let (at_one, at_two) = (Address::Executor("one".into()), Address::Executor("two".into()));
    let (first, second) =
        tokio::join!(one.command(&at_one, "1", "execute", order()), two.command(&at_two, "2", "execute", order()));
    let replies = [first.expect("a reply"), second.expect("a reply")];
    let accepted = replies.iter().filter(|reply| matches!(reply, Reply::Accepted { .. })).count();
    assert_eq!(accepted, 1, "{replies:?}");
    assert!(replies.iter().any(|reply| matches!(reply, Reply::Rejected { code, .. } if code == "exists")), "{replies:?}");

    let events = one.until("taken", |event| kind(event) == "user_input:required").await;
    let request = &find(&events, "user_input:required")["data"]["requestId"];
    let (address, answer) =
        (Address::Execution(Room::execution("taken").expect("room")), json!({"requestId": request, "value": "fine"}));
    let mut told: Vec<Value> = Vec::new();
    for (rig, reference) in [(&one, "3"), (&two, "3"), (&two, "4")] {
        let reply = rig.command(&address, reference, "user_input:provide", answer.clone()).await.expect("a reply");
        told.push(serde_json::to_value(reply).expect("json"));
    }
    assert_eq!(told[0], json!({"outcome": "accepted", "body": answer}));
    assert!(told.iter().all(|reply| *reply == told[0]), "{told:?}");
    let events = two.until_ended("taken").await;
    assert_eq!(outline(&events).iter().filter(|event| event.starts_with("user_input:provided")).count(), 1);
    std::fs::remove_dir_all(dir).expect("removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_nats() {
    let server = NatsServer::start(NatsVersion::Debian).await.expect("nats-server");
    serves_commands(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_redis() {
    let server = RedisServer::start().await.expect("redis-server");
    serves_commands(&server.url()).await;
}

/// Sixty lines in six seconds, two of which the broker is dead.
macro_rules! outlives_its_death {
    ($server:expr) => {{
        let mut server = $server;
        let dir = directory(&[COUNT, ASK]);
        let rig = start(&server.url(), &dir, "one").await;
        let id = rig.execute("count", json!({})).await;
        rig.until(&id, |event| event["data"]["message"] == "5").await;
        server.kill();
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.restart().await.expect("comes back");
        let ended = timeout(SOON * 2, async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let (_, report) = rig.get(&format!("/executions/{id}")).await;
                if report["status"] == "completed" {
                    return;
                }
            }
        });
        ended.await.expect("the execution ends");
        // A connection of its own: the rig's may still be on its way back.
        let observer = connect(&server.url()).await;
        let room = Room::execution(&id).expect("room");
        let told = timeout(SOON, async {
            loop {
                let events = rig::events_of(&observer, &room).await;
                if events.iter().any(|event| kind(event) == "execution:completed") {
                    return events;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let events = told.await.expect("its end is stored");
        let expected: Vec<String> = (1..=60).map(|number| number.to_string()).collect();
        assert_eq!(messages(&events, "count"), expected);
        assert_eq!(kind(events.last().expect("events")), "execution:completed");
        // Commands reach it again.
        let order = timeout(SOON, async {
            loop {
                let body = serde_json::value::to_raw_value(&json!({"workflow": "ask"})).expect("json");
                let command = weft_bus::Command { reference: "1".into(), kind: "execute".into(), subject: None, body };
                match observer.request(&Address::Executor("one".into()), command, Duration::from_secs(5)).await {
                    Ok(reply) => return reply,
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        let reply = order.await.expect("an order is answered");
        assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
        std::fs::remove_dir_all(dir).expect("removed");
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_outlives_the_death_of_nats() {
    outlives_its_death!(NatsServer::start(NatsVersion::Debian).await.expect("nats-server"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_outlives_the_death_of_redis() {
    outlives_its_death!(RedisServer::start().await.expect("redis-server"));
}
