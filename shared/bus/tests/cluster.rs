//! Clusters and sentinels: several brokers, their failures and their moves. Takes minutes and several processes, so it
//! runs only with `--include-ignored`.

mod common;

use common::*;
use std::time::Duration;
use weft_bus::{Address, Anchor, Bus, BusConfig, Expect, HeadQuery, Presence, ReadFrom, Signal, Stamp};
use weft_event::{Head, Position, Room};
use weft_testkit::servers::{NatsCluster, RedisCluster, RedisSentinel, RedisServer};

async fn connect(config: &BusConfig) -> Bus {
    eventually("connected", async || Bus::connect(config.clone()).await).await
}

fn rooms(count: usize) -> Vec<Room> {
    (0..count).map(|n| room(&format!("execution:e{n}"))).collect()
}

/// The semantics that many nodes could break: order, history, heads, announcements and commands over many slots.
async fn works_as_one(config: &BusConfig) {
    let (publisher, follower) = (connect(config).await, connect(config).await);
    let seen = Recorder::on(&follower);
    let rooms = rooms(60);
    follower.follow(&rooms).await.expect("follows");
    let batch = (0..600).map(|n| with_id(&rooms[n % 60], &format!("id-{n}"), format!("{{\"n\":{n}}}"))).collect();
    for ack in publisher.publish_batch(batch).await {
        assert!(!ack.expect("stored").duplicate);
    }
    seen.until_events(600).await;
    for (index, room) in rooms.iter().enumerate() {
        let expected: Vec<_> = (0..600).filter(|n| n % 60 == index).map(|n| format!("{{\"n\":{n}}}")).collect();
        assert_eq!(seen.payloads(room), expected);
        let held = read_all(&follower, room).await;
        assert_eq!(held.iter().map(|event| text(&event.payload)).collect::<Vec<_>>(), expected);
    }
    let tails = follower.tails(&rooms).await.expect("tails");
    assert!(tails.iter().all(|tail| tail.at.check != 0));
    let again = publisher.publish(with_id(&rooms[0], "id-0", "{\"n\":0}")).await.expect("known");
    assert!(again.duplicate);
    for n in 0..5 {
        let head = Head::new(None, &format!("e{n}"), Some("u"), 1_760_000_000_000 + n);
        publisher.store_head(&head, Expect::Absent).await.expect("stored");
    }
    let query = HeadQuery { owner: Some("u".into()), limit: 10, ..HeadQuery::default() };
    let listed = follower.list_heads(&query).await.expect("lists");
    assert_eq!(listed.iter().map(|head| head.execution_id.as_str()).collect::<Vec<_>>(), ["e4", "e3", "e2", "e1", "e0"]);
    publisher.announce(Presence::Gateway, "gw", bytes::Bytes::from_static(b"1")).await.expect("announced");
    assert_eq!(follower.present(Presence::Gateway).await.expect("lists").len(), 1);
    commands_arrive(&publisher, &follower).await;
}

async fn commands_arrive(gateway: &Bus, executor: &Bus) {
    let address = Address::Execution(room("execution:e1"));
    let command = || weft_bus::Command {
        reference: "r".into(),
        kind: "cancel".into(),
        subject: None,
        body: serde_json::value::RawValue::from_string("{}".into()).expect("json"),
    };
    let nobody = gateway.request(&address, command(), PATIENCE).await;
    assert_eq!(nobody.map(|_| ()), Err(weft_bus::RequestError::NoExecutor));
    let (inbox, mut commands) = tokio::sync::mpsc::channel(4);
    let _serving = executor.serve(&address, inbox).await.expect("serves");
    tokio::spawn(async move {
        while let Some(incoming) = commands.recv().await {
            let _ = incoming.reply.send(weft_bus::Reply::Accepted { body: None });
        }
    });
    eventually("a reply", async || gateway.request(&address, command(), PATIENCE).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts clusters and takes minutes: part of the full run"]
async fn a_redis_cluster_works_as_one() {
    let cluster = RedisCluster::start().await.expect("starts");
    let config = BusConfig::parse(&cluster.url()).expect("a bus URL");
    works_as_one(&config).await;
    // A raw publish to any node reaches a follower, once.
    let follower = connect(&config).await;
    let seen = Recorder::on(&follower);
    let room = room("execution:raw");
    follower.follow(std::slice::from_ref(&room)).await.expect("follows");
    for (n, node) in cluster.nodes.iter().enumerate() {
        let payload = format!("{{\"n\":{n}}}");
        node.raw().await.expect("connects").publish(room.broker_name(), payload.as_bytes()).await.expect("published");
        seen.until_events(n + 1).await;
    }
    assert!(seen.events().iter().all(|event| event.stamp == Stamp::Volatile));
}

async fn say(node: &RedisServer, words: &[&str]) -> String {
    node.raw().await.expect("connects").say(words).await.expect("said").to_string()
}

/// Moves the slot of a key to another node, as resharding does; answers from where to where.
async fn move_slot(nodes: &[RedisServer], key: &str) -> (usize, usize) {
    let slot = say(&nodes[0], &["CLUSTER", "KEYSLOT", key]).await;
    let slot = slot.trim();
    let number: u32 = slot.parse().expect("a slot");
    let from = (number / 5461).min(2) as usize;
    let to = (from + 1) % 3;
    let id = async |node: usize| say(&nodes[node], &["CLUSTER", "MYID"]).await.trim().to_owned();
    let (from_id, to_id) = (id(from).await, id(to).await);
    say(&nodes[to], &["CLUSTER", "SETSLOT", slot, "IMPORTING", &from_id]).await;
    say(&nodes[from], &["CLUSTER", "SETSLOT", slot, "MIGRATING", &to_id]).await;
    let keys = say(&nodes[from], &["CLUSTER", "GETKEYSINSLOT", slot, "100"]).await;
    let port = nodes[to].port().to_string();
    for key in keys.lines().map(str::trim).filter(|key| !key.is_empty()) {
        say(&nodes[from], &["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await;
    }
    for node in [to, from, 3 - to - from] {
        say(&nodes[node], &["CLUSTER", "SETSLOT", slot, "NODE", &to_id]).await;
    }
    (from, to)
}

/// The server takes sharded subscriptions of a moved slot away without the crate noticing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts clusters and takes minutes: part of the full run"]
async fn a_moved_slot_is_followed() {
    let cluster = RedisCluster::start().await.expect("starts");
    let config = BusConfig::parse(&cluster.url()).expect("a bus URL");
    let (publisher, follower) = (connect(&config).await, connect(&config).await);
    let seen = Recorder::on(&follower);
    let room = room("execution:moving");
    follower.follow(std::slice::from_ref(&room)).await.expect("follows");
    let before = publish(&publisher, &room, "{\"n\":0}").await.position.expect("a position");
    seen.until_events(1).await;
    move_slot(&cluster.nodes, room.broker_name()).await;
    eventually("published to the new owner", async || publisher.publish(with_id(&room, "1", "{\"n\":1}")).await).await;
    seen.until("Restored", |seen| seen.signals().contains(&Signal::Restored)).await;
    let page = follower.read(&room, ReadFrom::After(before), STEP).await.expect("reads");
    assert_eq!((page.anchor, page.events.len()), (Anchor::Held, 1), "the history has moved with the slot");
    seen.forget();
    publish(&publisher, &room, "{\"n\":2}").await;
    seen.until_events(1).await;
    assert_eq!(seen.payloads(&room), ["{\"n\":2}"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts clusters and takes minutes: part of the full run"]
async fn a_redis_failover_is_survived() {
    let mut group = RedisSentinel::start().await.expect("starts");
    let config = BusConfig::parse(&group.url()).expect("a bus URL");
    works_as_one(&config).await;
    let (publisher, follower) = (connect(&config).await, connect(&config).await);
    let seen = Recorder::on(&follower);
    let room = room("execution:failover");
    follower.follow(std::slice::from_ref(&room)).await.expect("follows");
    let acked = publish_numbers(&publisher, &room, 0..20).await;
    seen.until_events(20).await;
    let primary = group.primary_port().await.expect("a primary");
    // Replication is asynchronous; this test is about coming back, so the replicas get the time they need.
    tokio::time::sleep(Duration::from_secs(1)).await;
    group.servers.iter_mut().find(|server| server.port() == primary).expect("is ours").kill();
    seen.until("Lost, then Restored", |seen| {
        let signals = seen.signals();
        signals.iter().position(|signal| *signal == Signal::Lost).is_some_and(|at| signals[at..].contains(&Signal::Restored))
    })
    .await;
    let page = eventually("read", async || follower.read(&room, ReadFrom::After(acked[9]), STEP).await).await;
    assert_eq!((page.anchor, positions(&page.events)), (Anchor::Held, acked[10..].to_vec()));
    eventually("published", async || publisher.publish(with_id(&room, "after", "{\"after\":1}")).await).await;
    seen.until("the event after the failover", |seen| seen.payloads(&room).contains(&"{\"after\":1}".to_owned())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts clusters and takes minutes: part of the full run"]
async fn a_jetstream_leader_is_lost_without_a_loss() {
    let mut cluster = NatsCluster::start().await.expect("starts");
    let mut config = BusConfig::parse(&cluster.url()).expect("a bus URL");
    config.replicas = 3;
    works_as_one(&config).await;
    let (publisher, follower) = (connect(&config).await, connect(&config).await);
    let seen = Recorder::on(&follower);
    let room = room("execution:leader");
    follower.follow(std::slice::from_ref(&room)).await.expect("follows");
    let mut acked: Vec<Position> = Vec::new();
    for n in 0..300 {
        if n == 100 || n == 200 {
            let leader = cluster.leader("WEFT_EVENTS").await.expect("is asked").expect("is known");
            cluster.nodes[leader].kill();
        }
        if n == 150 {
            for node in cluster.nodes.iter_mut().filter(|node| node.pid() == 0) {
                node.restart().await.expect("restarts");
            }
        }
        let again = async || publisher.publish(with_id(&room, &format!("id-{n}"), format!("{{\"n\":{n}}}"))).await;
        acked.push(eventually("stored", again).await.position.expect("a position"));
    }
    assert!(acked.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let seqs = |events: &[Position]| events.iter().map(|at| at.seq).collect::<Vec<_>>();
    let held = eventually("everything is read", async || {
        let held = positions(&read_all(&follower, &room).await);
        if held.len() == 300 { Ok(held) } else { Err(held.len()) }
    })
    .await;
    assert_eq!(seqs(&held), seqs(&acked));
    seen.until("Restored", |seen| seen.signals().contains(&Signal::Restored)).await;
    eventually("live again", async || {
        let last = publish(&publisher, &room, "{\"last\":1}").await.position;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if seen.events().iter().any(|event| event.position() == last) { Ok(()) } else { Err("not heard") }
    })
    .await;
}
