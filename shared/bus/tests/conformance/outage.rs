//! The broker goes away, stops, comes back, forgets, is full.

use crate::common::*;
use std::time::Duration;
use weft_bus::{Anchor, Health, PublishError, ReadFrom, RequestError, Retention, Signal};

/// Waits for a loss and the restoration after it.
async fn until_restored(seen: &Recorder) {
    seen.until("Lost, then Restored", |seen| {
        let signals = seen.signals();
        let lost = signals.iter().position(|signal| *signal == Signal::Lost);
        lost.is_some_and(|lost| signals[lost..].contains(&Signal::Restored))
    })
    .await;
}

async fn until_lost(seen: &Recorder) {
    seen.until("Lost", |seen| seen.signals().contains(&Signal::Lost)).await;
}

pub async fn a_killed_broker_comes_back(mut world: World) {
    let (publisher, follower) = (world.bus().await, world.bus().await);
    let seen = Recorder::on(&follower);
    let rooms: Vec<_> = (0..700).map(|n| room(&format!("execution:e{n}"))).collect();
    follower.follow(&rooms).await.expect("follows");
    let before = publish(&publisher, &rooms[1], "{\"n\":0}").await;
    seen.until_events(1).await;
    assert_eq!(*follower.health().borrow(), Health::Up);
    world.kill();
    until_lost(&seen).await;
    assert_eq!(*follower.health().borrow(), Health::Down);
    publisher.health().wait_for(|health| *health == Health::Down).await.expect("it notices too");
    let late = publisher.publish(publication(&rooms[1], "{\"late\":1}")).await;
    assert!(matches!(late, Err(PublishError::Unavailable(_))), "{late:?}");
    let more = room("execution:more");
    assert!(follower.follow(std::slice::from_ref(&more)).await.is_err(), "not confirmed by anybody");
    let address = weft_bus::Address::Executor("x".into());
    let body = serde_json::value::RawValue::from_string("{}".into()).expect("json");
    let command = weft_bus::Command { reference: "r".into(), kind: "cancel".into(), subject: None, body };
    let asked = publisher.request(&address, command, Duration::from_secs(1)).await;
    assert!(matches!(asked, Err(RequestError::Bus(_))), "{asked:?}");
    world.restart().await;
    until_restored(&seen).await;
    follower.health().wait_for(|health| *health == Health::Up).await.expect("up again");
    // Every room is followed again, without anybody's doing.
    for room in &rooms {
        eventually("published again", async || publisher.publish(with_id(room, "again", "{\"n\":1}")).await).await;
    }
    seen.until("an event in each room", |seen| {
        let events = seen.events();
        let heard = events.iter().filter(|event| text(&event.payload) == "{\"n\":1}");
        heard.map(|event| &event.room).collect::<std::collections::HashSet<_>>().len() == rooms.len()
    })
    .await;
    assert!(seen.payloads(&more).is_empty());
    if world.is_durable() {
        let at = before.position.expect("a position");
        let page = follower.read(&rooms[1], ReadFrom::After(at), STEP).await.expect("reads");
        assert_eq!(page.anchor, Anchor::Held, "its data survived the kill");
    }
}

pub async fn a_stopped_broker_is_noticed(mut world: World) {
    let follower = world.bus().await;
    let seen = Recorder::on(&follower);
    let room = room("execution:e");
    follower.follow(std::slice::from_ref(&room)).await.expect("follows");
    world.pause();
    until_lost(&seen).await;
    assert!(follower.probe().await.is_err(), "a stopped broker does not answer");
    world.resume();
    until_restored(&seen).await;
    eventually("published again", async || follower.publish(with_id(&room, "id", "{\"n\":1}")).await).await;
    seen.until_events(1).await;
    follower.probe().await.expect("answers again");
}

/// The server drops the subscriptions, forgets the scripts, drops the other connection: everything goes on.
pub async fn redis_drops_connections_and_scripts(mut world: World) {
    let bus = world.bus().await;
    let seen = Recorder::on(&bus);
    let room = room("execution:e");
    bus.follow(std::slice::from_ref(&room)).await.expect("follows");
    let Server::Redis(server) = &world.server else { panic!("not Redis") };
    let mut raw = server.raw().await.expect("connects");
    for (round, words) in
        [&["CLIENT", "KILL", "TYPE", "pubsub"][..], &["SCRIPT", "FLUSH"], &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]]
            .into_iter()
            .enumerate()
    {
        raw.say(words).await.expect("said");
        if words.contains(&"pubsub") {
            until_restored(&seen).await;
        }
        let payload = format!("{{\"round\":{round}}}");
        let publish = async || bus.publish(with_id(&room, &format!("id-{round}"), payload.clone())).await;
        eventually("published", publish).await;
        seen.until("heard", |seen| seen.payloads(&room).contains(&payload)).await;
    }
    assert_eq!(read_all(&bus, &room).await.len(), 3);
}

/// Publishes through three kills; whatever was acknowledged is there afterwards, in order, once.
pub async fn nothing_is_acknowledged_falsely(mut world: World) {
    let publisher = world.bus().await;
    let room = room("execution:e");
    let publishing = {
        let (publisher, room) = (publisher.clone(), room.clone());
        tokio::spawn(async move {
            let mut acked = Vec::new();
            for n in 0..400 {
                let payload = format!("{{\"n\":{n}}}");
                let deadline = std::time::Instant::now() + PATIENCE;
                while let Err(error) = publisher.publish(with_id(&room, &format!("id-{n}"), payload.clone())).await {
                    assert!(std::time::Instant::now() < deadline, "never stored: {error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                acked.push(payload);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            acked
        })
    };
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        world.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.restart().await;
    }
    let acked = publishing.await.expect("publishes");
    let reader = world.bus().await;
    let held: Vec<_> = read_all(&reader, &room).await.iter().map(|event| text(&event.payload)).collect();
    assert_eq!(held, acked);
}

pub async fn a_wiped_broker_is_another_history(mut world: World) {
    let bus = world.bus().await;
    let seen = Recorder::on(&bus);
    let room = room("execution:e");
    bus.follow(std::slice::from_ref(&room)).await.expect("follows");
    let old = publish_numbers(&bus, &room, 0..5).await;
    seen.until_events(5).await;
    world.kill();
    until_lost(&seen).await;
    world.wipe();
    world.restart().await;
    until_restored(&seen).await;
    let tail = bus.tails(std::slice::from_ref(&room)).await.expect("tails")[0].at;
    assert_ne!(tail.epoch, old[0].epoch);
    let page = bus.read(&room, ReadFrom::After(old[4]), STEP).await.expect("reads");
    assert_eq!((page.anchor, page.events.len()), (Anchor::Changed, 0));
    seen.forget();
    let new = publish_numbers(&bus, &room, 0..2).await;
    seen.until_events(2).await;
    assert_eq!(positions(&seen.events()), new);
    assert_eq!(new[0].epoch, tail.epoch);
}

pub async fn history_removed_while_running_is_noticed(mut world: World) {
    let (bus, other) = (world.bus().await, world.bus().await);
    let room = room("execution:e");
    let old = publish_numbers(&bus, &room, 0..5).await;
    match &world.server {
        Server::Nats(server) => {
            let mut raw = server.raw().await.expect("connects");
            let answer = raw.request("$JS.API.STREAM.DELETE.WEFT_EVENTS", b"", PATIENCE).await.expect("answers");
            assert!(String::from_utf8_lossy(&answer).contains("true"));
        }
        Server::Redis(server) => {
            server.raw().await.expect("connects").say(&["FLUSHALL"]).await.expect("flushed");
        }
        Server::None => {}
    }
    let again = async || other.publish(with_id(&room, "again", "{\"n\":9}")).await;
    let ack = eventually("stored again", again).await;
    let at = ack.position.expect("a position");
    assert_ne!(at.epoch, old[0].epoch, "a new history has a new epoch");
    let page = bus.read(&room, ReadFrom::After(old[0]), STEP).await.expect("reads");
    assert_eq!((page.anchor, page.epoch), (Anchor::Changed, at.epoch));
    assert_eq!(positions(&read_all(&bus, &room).await), [at]);
}

pub async fn a_full_broker_says_so(mut world: World) {
    world.keep(Retention { events: 1_000_000, ..Retention::default() });
    let bus = world.bus().await;
    let room = room("execution:e");
    match &world.server {
        Server::Redis(server) => {
            let mut raw = server.raw().await.expect("connects");
            raw.say(&["CONFIG", "SET", "maxmemory", "5mb"]).await.expect("set");
        }
        Server::Nats(server) => {
            // A stream that refuses new events instead of dropping old ones.
            let mut raw = server.raw().await.expect("connects");
            let info = raw.request("$JS.API.STREAM.INFO.WEFT_EVENTS", b"", PATIENCE).await.expect("answers");
            let info: serde_json::Value = serde_json::from_slice(&info).expect("json");
            let mut config = info["config"].clone();
            (config["discard"], config["max_bytes"]) = ("new".into(), 2_000_000.into());
            let body = config.to_string();
            raw.request("$JS.API.STREAM.UPDATE.WEFT_EVENTS", body.as_bytes(), PATIENCE).await.expect("answers");
        }
        Server::None => {}
    }
    let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(50_000));
    let mut acked = Vec::new();
    let full = loop {
        match bus.publish(publication(&room, payload.clone())).await {
            Ok(ack) => acked.push(ack.position.expect("a position")),
            Err(error) => break error,
        }
        assert!(acked.len() < 2_000, "never full");
    };
    assert!(matches!(full, PublishError::Full(_)), "{full:?}");
    assert_eq!(positions(&read_all(&bus, &room).await), acked, "all that was acknowledged, and nothing else");
}
