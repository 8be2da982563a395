//! The broker goes away and comes back, a gateway stands still, a store is full: what was acknowledged is there, once.

use crate::support::{
    Broker, Kind, SHARED, SOON, Socket, addresses, get, is_full, numbered, offset, post, publish_numbers, until, urls,
};
use serde_json::{Value, json};
use std::time::Duration;
use weft_testkit::{
    client::{Client, ClientPlan},
    history::History,
    process::Process,
    record::{Follow, Record, Seen},
    seed::Seed,
    servers::{NatsOptions, NatsServer, NatsVersion},
    source::Source,
};

fn outage() -> Duration {
    Duration::from_secs(if is_full() { 30 } else { 5 })
}

/// How the broker goes away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Killed,
    Stopped,
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_is_killed_and_restarted_and_nobody_is_disconnected() {
    outlive(Kind::JetStream, Away::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_stands_still_and_goes_on_and_nobody_is_disconnected() {
    outlive(Kind::JetStream, Away::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_and_restarted_and_nobody_is_disconnected() {
    outlive(Kind::Redis, Away::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_stands_still_and_goes_on_and_nobody_is_disconnected() {
    outlive(Kind::Redis, Away::Stopped).await;
}

async fn outlive(kind: Kind, away: Away) {
    let seed = Seed::from_env();
    let mut broker = Broker::start(kind).await;
    let gateways = broker.gateways(&[]).await;
    let rooms = ["execution:a", "execution:b", "user:ada"].map(Follow::start).to_vec();
    let mut clients = Vec::new();
    for index in 0..8 {
        let plan = ClientPlan {
            first_gateway: index,
            ..ClientPlan::new(&format!("client {index}"), &addresses(&gateways), rooms.clone())
        };
        clients.push(Client::started(plan, SOON).await.expect("a client"));
    }
    let mut sources: Vec<Source> = ["p", "q"].map(|name| Source::new(name, &urls(&gateways), seed.rng(name))).into();
    for source in &mut sources {
        assert!(source.publish("a", Some("ada"), 30).await.expect("published"));
    }
    // AOF is synced once a second; what a killed Redis may lose is another test's matter.
    tokio::time::sleep(Duration::from_millis(1500)).await;

    match away {
        Away::Killed => broker.kill(),
        Away::Stopped => broker.pause(),
    }
    let publishing: Vec<_> = sources
        .into_iter()
        .map(|mut source| {
            tokio::spawn(async move {
                for batch in 0..10 {
                    let execution = if batch % 2 == 0 { "a" } else { "b" };
                    assert!(source.publish(execution, Some("ada"), 5).await.expect("published"), "acknowledged in the end");
                }
                source.finish().0
            })
        })
        .collect();
    for client in &clients {
        let told = |record: &Record| degraded(record).last() == Some(&true);
        client.wait_for("the notice that the broker is away", SOON, told).await.unwrap_or_else(|fault| panic!("{fault}"));
    }
    let mut late = Socket::open(&gateways[1]).await;
    assert_eq!(late.hear().await, json!({"type": "degraded", "active": true}), "who comes now is told as well");
    late.say(json!({"type": "subscribe", "executionId": "c", "ref": "late"})).await;
    let end = tokio::time::Instant::now() + outage();
    while tokio::time::Instant::now() < end {
        for gateway in &gateways {
            for path in ["/readyz", "/livez"] {
                let answer = weft_testkit::http::client().get(format!("{}{path}", gateway.admin_url())).send().await.expect(path);
                assert_eq!(answer.status().as_u16(), 200, "{kind:?}: {path} while the broker is away");
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (status, answer) = post(&gateways[0], numbered("d", 1).to_string()).await;
    assert_eq!(status, 503, "{kind:?}: nothing is acknowledged while the broker is away: {answer}");

    match away {
        Away::Killed => broker.restart().await,
        Away::Stopped => broker.resume(),
    }
    let mut history = History::new();
    let mut events = 60;
    for source in publishing {
        let published = source.await.expect("a source");
        events += 50;
        history.published(published);
    }
    let answer = late.hear_a("subscribed").await;
    assert_eq!((&answer["outcome"], &answer["ref"]), (&json!("live"), &json!("late")), "{kind:?}: {answer}");
    // The sources may have been served by the other one.
    until("an event is taken here as well", async || post(&gateways[0], numbered("c", 1).to_string()).await.0 == 202).await;
    while crate::support::number(&late.hear().await) != Some(1) {}
    for client in clients {
        let back = |record: &Record| degraded(record).last() == Some(&false) && record.events >= events;
        client
            .wait_for("everything, and the notice that the broker is back", SOON, back)
            .await
            .unwrap_or_else(|fault| panic!("{kind:?}: {fault}"));
        let record = client.finish().await;
        assert_eq!(record.disconnects, 0, "{kind:?}, {away:?}: {}", record.client);
        assert_eq!(degraded(&record), [true, false], "{kind:?}, {away:?}: {}", record.client);
        history.record(record);
    }
    let verdict = history.check();
    assert!(verdict.is_whole(), "{kind:?}, {away:?}: {verdict}");
}

fn degraded(record: &Record) -> Vec<bool> {
    let told = |entry: &weft_testkit::record::Entry| match entry.seen {
        Seen::Degraded { active } => Some(active),
        _ => None,
    };
    record.entries.iter().filter_map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_publishers_into_one_room_are_seen_in_one_order_by_all() {
    for kind in SHARED {
        let seed = Seed::from_env();
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[("WEFT_LOG_EVENTS_MAX", "100"), ("WEFT_RETENTION_EVENTS", "50000")]).await;
        let mut clients = Vec::new();
        for index in 0..6 {
            let follows = vec![Follow::start("execution:both")];
            let plan = ClientPlan {
                first_gateway: index,
                ..ClientPlan::new(&format!("client {index}"), &addresses(&gateways), follows)
            };
            clients.push(Client::started(plan, SOON).await.expect("a client"));
        }
        let batches = if is_full() { 1000 } else { 100 };
        let sources = [0, 1].map(|index| {
            let name = format!("source-{index}");
            let mut source = Source::new(&name, &[gateways[index].url()], seed.rng(&name));
            tokio::spawn(async move {
                for batch in 0..batches {
                    assert!(source.publish("both", None, 1 + batch % 10).await.expect("published"));
                }
                source.finish().0
            })
        });
        let mut history = History::new();
        let mut due = 0;
        for source in sources {
            let published = source.await.expect("a source");
            due += published.len() as u64;
            history.published(published);
        }
        for client in clients {
            client.wait_for_events(due, SOON).await.unwrap_or_else(|fault| panic!("{kind:?}: {fault}"));
            history.record(client.finish().await);
        }
        history.stored("execution:both", stored_ids(&gateways[0], "both").await);
        let verdict = history.check();
        assert!(verdict.is_whole(), "{kind:?}: {verdict}");
    }
}

async fn stored_ids(gateway: &Process, execution: &str) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let (status, page) = get(gateway, &format!("/api/executions/{execution}/events?after={after}&limit=1000")).await;
        assert_eq!(status, 200, "{page}");
        ids.extend(
            page["events"].as_array().expect("events").iter().map(|event| event["id"].as_str().expect("an id").to_owned()),
        );
        after = offset(&json!({"offset": page["next"]}));
        if page["complete"] == true {
            return ids;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stood_still_delivers_nothing_old_and_nothing_twice() {
    for kind in SHARED {
        let seed = Seed::from_env();
        let broker = Broker::start(kind).await;
        let mut gateways = broker.gateways(&[("WEFT_LOG_EVENTS_MAX", "50")]).await;
        let follows = vec![Follow::start("execution:still"), Follow::start("user:ada")];
        // One stays with the gateway that stands still; the other gives up on it and goes on at the other one.
        let stays = ClientPlan { gateways: vec![gateways[0].address()], ..ClientPlan::new("stays", &[], follows.clone()) };
        let stays = Client::started(stays, SOON).await.expect("a client");
        let leaves = Client::started(ClientPlan::new("leaves", &addresses(&gateways), follows), SOON).await.expect("a client");
        let mut source = Source::new("p", &[gateways[1].url()], seed.rng("p"));
        assert!(source.publish("still", Some("ada"), 40).await.expect("published"));
        gateways[0].pause().expect("stopped");
        tokio::time::sleep(Duration::from_millis(200)).await;
        leaves.cut();
        let until = tokio::time::Instant::now() + outage();
        let mut due = 40;
        while tokio::time::Instant::now() < until {
            assert!(source.publish("still", Some("ada"), 20).await.expect("published"));
            due += 20;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        gateways[0].resume().expect("goes on");
        assert!(source.publish("still", Some("ada"), 20).await.expect("published"));
        due += 20;
        let mut history = History::new();
        for client in [stays, leaves] {
            client.wait_for_events(due, SOON).await.unwrap_or_else(|fault| panic!("{kind:?}: {fault}"));
            // Whatever came twice would come now.
            client.send(r#"{"type":"ping","ref":"end"}"#);
            client.wait_for("a pong", SOON, |record| record.frames("pong").next().is_some()).await.expect("a pong");
            history.record(client.finish().await);
        }
        history.published(source.finish().0);
        let verdict = history.check();
        assert!(verdict.is_whole(), "{kind:?}: {verdict}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_acknowledges_nothing_that_it_has_not_stored() {
    let broker = Broker::start(Kind::Redis).await;
    let gateway = broker.gateway(&[]).await;
    publish_numbers(&gateway, "full", 1..=100).await;
    let mut redis = broker.redis().raw().await.expect("a connection");
    redis.say(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await.expect("set");
    redis.say(&["CONFIG", "SET", "maxmemory", "3mb"]).await.expect("set");
    let acked = fill(&gateway, 3_000).await;
    redis.say(&["CONFIG", "SET", "maxmemory", "0"]).await.expect("set");
    check_acked(&gateway, &acked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_jetstream_acknowledges_nothing_that_it_has_not_stored() {
    let mut options = NatsOptions::new(NatsVersion::Current);
    options.jetstream = false;
    let directory = std::env::temp_dir().join(format!("weft-full-{}", uuid::Uuid::new_v4().simple()));
    options.config = format!("jetstream {{ store_dir: {directory:?}, max_memory_store: 16MB, max_file_store: 6MB }}\n");
    let nats = NatsServer::start_with(options).await.expect("NATS");
    let options = weft_testkit::process::ProcessOptions::gateway(&nats.url());
    let started = Process::start(options).await;
    let gateway = started.unwrap_or_else(|fault| panic!("{fault}"));
    publish_numbers(&gateway, "full", 1..=100).await;
    let acked = fill(&gateway, 12_000).await;
    check_acked(&gateway, &acked).await;
    drop(nats);
    let _ = std::fs::remove_dir_all(directory);
}

/// Publishes until the store refuses, and some more; answers what was acknowledged.
async fn fill(gateway: &Process, most: u64) -> Vec<u64> {
    let (mut acked, mut refused) = ((1..=100).collect::<Vec<u64>>(), 0);
    for n in 101..=most {
        let event =
            json!({"type": "log", "id": format!("id-{n}"), "executionId": "full", "data": {"n": n, "message": "x".repeat(1000)}});
        match post(gateway, event.to_string()).await {
            (202, _) => acked.push(n),
            (503, body) => {
                assert_eq!(body["error"]["code"], "unavailable", "{body}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
        if refused >= 20 {
            return acked;
        }
    }
    panic!("the store was never full: {} acknowledged", acked.len());
}

async fn check_acked(gateway: &Process, acked: &[u64]) {
    let mut socket = Socket::open(gateway).await;
    socket.subscribe(json!({"executionId": "full", "offset": "0"})).await;
    let mut seen = Vec::new();
    while seen.len() < acked.len() {
        seen.push(socket.hear_number().await);
    }
    assert_eq!(seen, acked);
    socket.hears_nothing_more().await;
}

/// A subscribe to many rooms at once, and publishing into all, while the broker comes back.
#[tokio::test(flavor = "multi_thread")]
async fn rooms_opened_while_the_broker_is_away_are_whole_afterwards() {
    for kind in SHARED {
        let mut broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        publish_numbers(&gateways[0], "r3", 1..=5).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        broker.kill();
        let mut socket = Socket::open(&gateways[1]).await;
        let rooms: Vec<Value> = (0..20).map(|index| json!({"room": format!("execution:r{index}"), "offset": "0"})).collect();
        socket.say(json!({"type": "subscribe", "rooms": rooms})).await;
        socket.say(json!({"type": "unsubscribe", "room": "execution:r7"})).await;
        socket.hear_a("unsubscribed").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        broker.restart().await;
        until("publishing", async || post(&gateways[0], numbered("r0", 1).to_string()).await.0 == 202).await;
        let (mut answered, mut events) = (0, 0);
        while answered < 19 || events < 6 {
            let frame = socket.hear().await;
            answered += usize::from(frame["type"] == "subscribed");
            events += usize::from(frame["type"] == "log");
        }
        assert_eq!((answered, events), (19, 6), "{kind:?}");
    }
}

/// Processes of a cluster start in any order: a gateway without its broker lives, is not ready, and becomes so.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_started_before_its_broker_waits_for_it() {
    for kind in SHARED {
        let mut broker = Broker::start(kind).await;
        let mut gateway = broker.gateway(&[]).await;
        broker.kill();
        gateway.launch().expect("started");
        let (live, ready) = (format!("{}/livez", gateway.admin_url()), format!("{}/readyz", gateway.admin_url()));
        let http = weft_testkit::http::client();
        let status = async |url: &str| http.get(url).send().await.map_or(0, |answer| answer.status().as_u16());
        until("being alive", async || status(&live).await == 200).await;
        // Long enough for several tries.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((status(&live).await, status(&ready).await), (200, 503), "{kind:?}: {}", gateway.log_tail());
        broker.restart().await;
        until("being ready", async || status(&ready).await == 200).await;
        publish_numbers(&gateway, "e", 1..=3).await;
        let mut socket = Socket::open(&gateway).await;
        socket.subscribe(json!({"executionId": "e", "offset": "0"})).await;
        assert_eq!([socket.hear_number().await, socket.hear_number().await, socket.hear_number().await], [1, 2, 3]);
        broker.kill();
        gateway.launch().expect("started again");
        until("being alive again", async || status(&live).await == 200).await;
        assert_eq!(gateway.terminate(SOON).await.expect("it leaves").code(), Some(0), "{kind:?}: told to leave while it waits");
    }
}
