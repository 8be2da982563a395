//! Coming back: every outcome of a resume, and what a client may bring.

use crate::support::{Broker, DURABLE, Kind, SHARED, Socket, get, numbered, offset, publish, publish_numbers, until};
use serde_json::{Value, json};

const ROOM: &str = "execution:back";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_gets_what_it_missed_and_then_what_happens() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[("WEFT_LOG_EVENTS_MAX", "10")]).await;
        let there = &gateways[gateways.len() - 1];
        publish_numbers(&gateways[0], "back", 1..=700).await;
        let mut socket = Socket::open(&gateways[0]).await;
        let answer = socket.subscribe(json!({"room": ROOM, "offset": "0"})).await;
        assert_eq!((&answer["outcome"], &answer["recovered"]), (&json!("resumed"), &json!(true)), "{kind:?}: {answer}");
        let fifth = offset(&socket.hear_numbers(1..=5).await);
        socket.cut();
        let mut socket = Socket::open(there).await;
        let answer = socket.subscribe(json!({"room": ROOM, "offset": fifth})).await;
        assert_eq!((&answer["outcome"], &answer["offset"]), (&json!("resumed"), &json!(fifth)), "{kind:?}: {answer}");
        let last = offset(&socket.hear_numbers(6..=700).await);
        socket.hears_nothing_more().await;
        publish_numbers(there, "back", 701..=702).await;
        socket.hear_numbers(701..=702).await;
        // At the very end of the room there is nothing to catch up.
        let mut socket = Socket::open(&gateways[0]).await;
        let answer = socket.subscribe(json!({"room": ROOM, "offset": last})).await;
        assert_eq!(answer["outcome"], "resumed", "{kind:?}: {answer}");
        socket.hear_numbers(701..=702).await;
        socket.hears_nothing_more().await;
    }
}

/// An empty room's offset is the broker's end of all rooms, and another gateway finds that end further on.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_to_a_room_in_which_nothing_has_happened_waits_without_reading() {
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        publish_numbers(&gateways[0], "elsewhere", 1..=3).await;
        let mut socket = Socket::open(&gateways[0]).await;
        let empty = socket.subscribe(json!({"room": ROOM})).await["offset"].clone();
        socket.cut();
        publish_numbers(&gateways[0], "elsewhere", 4..=6).await;
        let mut socket = Socket::open(&gateways[1]).await;
        let answer = socket.subscribe(json!({"room": ROOM, "offset": empty})).await;
        assert_eq!((&answer["outcome"], &answer["recovered"]), (&json!("resumed"), &json!(true)), "{kind:?}: {answer}");
        let reads = async || gateways[1].metric("weft_bus_reads_total").await.expect("metrics");
        let before = reads().await;
        socket.hears_nothing_more().await;
        let read = reads().await - before;
        assert!(read <= 10.0, "{kind:?}: {read} reads while nothing happened");
        publish_numbers(&gateways[0], "back", 1..=2).await;
        socket.hear_numbers(1..=2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_again_is_answered_live_and_repeats_nothing() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut socket = Socket::open(&gateway).await;
    // Four at once: three of them come while the first is not answered yet.
    for reference in ["a", "b", "c", "d"] {
        socket.say(json!({"type": "subscribe", "executionId": "back", "ref": reference, "offset": "0"})).await;
    }
    let mut answers = Vec::new();
    for _ in 0..4 {
        let answer = socket.hear_a("subscribed").await;
        answers.push((answer["ref"].as_str().expect("a ref").to_owned(), answer["outcome"].clone()));
    }
    let expected = [("a", "resumed"), ("b", "live"), ("c", "live"), ("d", "live")];
    assert_eq!(answers, expected.map(|(reference, outcome)| (reference.to_owned(), json!(outcome))));
    publish_numbers(&gateway, "back", 1..=3).await;
    let last = socket.hear_numbers(1..=3).await;
    let answer = socket.subscribe(json!({"executionId": "back"})).await;
    assert_eq!((&answer["outcome"], &answer["offset"]), (&json!("live"), &last["offset"]), "{answer}");
    // Unsubscribe and subscribe without waiting: both are answered, and the second begins anew.
    socket.say(json!({"type": "unsubscribe", "executionId": "back"})).await;
    socket.say(json!({"type": "subscribe", "executionId": "back", "offset": "0"})).await;
    assert_eq!(socket.hear().await["type"], "unsubscribed");
    assert_eq!(socket.hear().await["outcome"], "resumed");
    socket.hear_numbers(1..=3).await;
    socket.hears_nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_has_taken_is_told_and_the_rest_follows() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[("WEFT_RETENTION_EVENTS", "100"), ("WEFT_LOG_EVENTS_MAX", "10")]).await;
        let there = &gateways[gateways.len() - 1];
        let mut socket = Socket::open(&gateways[0]).await;
        socket.subscribe(json!({"room": ROOM})).await;
        publish_numbers(&gateways[0], "back", 1..=5).await;
        let fifth = offset(&socket.hear_numbers(1..=5).await);
        socket.cut();
        for first in (6..=1000_u64).step_by(50) {
            publish_numbers(&gateways[0], "back", first..=(first + 49).min(1000)).await;
        }
        let mut socket = Socket::open(there).await;
        let answer = socket.subscribe(json!({"room": ROOM, "offset": fifth})).await;
        assert_eq!((&answer["outcome"], &answer["recovered"]), (&json!("gap"), &json!(false)), "{kind:?}: {answer}");
        let gap = socket.hear().await;
        assert_eq!((&gap["type"], &gap["reason"]), (&json!("gap"), &json!("retention")), "{kind:?}: {gap}");
        assert!(gap["missedFrom"].as_str().is_some_and(|from| fifth.starts_with(from)), "{kind:?}: {gap}");
        assert!(gap["missedTo"].is_string(), "{kind:?}: {gap}");
        let (mut numbers, mut snapshot_after) = (Vec::new(), None);
        while numbers.last() != Some(&1000) {
            let frame = socket.hear().await;
            match frame["type"].as_str() {
                Some("snapshot") => {
                    assert_eq!(snapshot_after, None, "{kind:?}: one snapshot");
                    snapshot_after = Some((numbers.last().copied(), offset(&frame)));
                }
                Some("log") => numbers.push(crate::support::number(&frame).expect("a number")),
                _ => panic!("{kind:?}: {frame}"),
            }
            if numbers.last() == Some(&1000) && snapshot_after.is_none() {
                let frame = socket.hear().await;
                assert_eq!(frame["type"], "snapshot", "{kind:?}: {frame}");
                snapshot_after = Some((numbers.last().copied(), offset(&frame)));
            }
        }
        // Redis trims whole nodes of its stream, so a few more than asked for may be left.
        let first = numbers[0];
        assert!((700..=901).contains(&first), "{kind:?}: begins at {first}");
        assert_eq!(numbers, (first..=1000).collect::<Vec<_>>(), "{kind:?}");
        let (after, at) = snapshot_after.expect("a snapshot");
        assert_eq!(after, Some(1000), "{kind:?}: the snapshot stands where it was folded, at {at}");
        publish_numbers(there, "back", 1001..=1001).await;
        socket.hear_numbers(1001..=1001).await;

        // Who asks for all from the start is told as well that the beginning is gone.
        let mut socket = Socket::open(there).await;
        let answer = socket.subscribe(json!({"room": ROOM, "offset": "0"})).await;
        assert_eq!((&answer["outcome"], &answer["recovered"]), (&json!("gap"), &json!(false)), "{kind:?}: {answer}");
        let gap = socket.hear().await;
        let told = (&gap["type"], &gap["reason"], &gap["missedFrom"]);
        assert_eq!(told, (&json!("gap"), &json!("retention"), &Value::Null), "{kind:?}: {gap}");
        let first = socket.hear().await;
        assert!(crate::support::number(&first).is_some_and(|n| n > 700), "{kind:?}: {first}");

        let (status, page) = get(there, &format!("/api/executions/back/events?after={fifth}&limit=10")).await;
        assert_eq!((status, &page["gap"]["reason"]), (200, &json!("retention")), "{kind:?}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_whose_events_have_all_expired_goes_on_for_who_comes_back() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[("WEFT_RETENTION_SECS", "2"), ("WEFT_LINGER_SECS", "0")]).await;
        let there = &gateways[gateways.len() - 1];
        let mut socket = Socket::open(&gateways[0]).await;
        socket.subscribe(json!({"room": ROOM})).await;
        publish_numbers(&gateways[0], "back", 1..=3).await;
        let last = offset(&socket.hear_numbers(1..=3).await);
        socket.cut();
        let path = "/api/executions/back/events";
        until("the end of retention", async || get(there, path).await.1["events"].as_array().is_some_and(Vec::is_empty)).await;
        // Followed a moment, so that the room is opened where nothing is left.
        let mut other = Socket::open(there).await;
        other.subscribe(json!({"room": ROOM})).await;
        let mut socket = Socket::open(there).await;
        let answer = socket.subscribe(json!({"room": ROOM, "offset": last})).await;
        assert!(answer["outcome"] == "resumed" || answer["outcome"] == "gap", "{kind:?}: {answer}");
        publish_numbers(there, "back", 4..=6).await;
        while crate::support::number(&socket.hear().await) != Some(4) {}
        socket.hear_numbers(5..=6).await;
        other.hear_numbers(4..=6).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_lost_is_told_to_who_is_there_and_to_who_comes_back() {
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let mut there = Socket::open(&gateways[0]).await;
        there.subscribe(json!({"room": ROOM})).await;
        publish_numbers(&gateways[0], "back", 1..=20).await;
        let old = offset(&there.hear_numbers(1..=20).await);
        lose_everything(&broker).await;
        until("publishing again", async || crate::support::post(&gateways[1], numbered("back", 21).to_string()).await.0 == 202)
            .await;
        let gap = there.hear_a("gap").await;
        assert_eq!(gap["reason"], "reset", "{kind:?}: {gap}");
        while crate::support::number(&there.hear().await) != Some(21) {}
        publish_numbers(&gateways[1], "back", 22..=23).await;
        let new = there.hear_numbers(22..=23).await;
        for gateway in &gateways {
            let mut back = Socket::open(gateway).await;
            let answer = back.subscribe(json!({"room": ROOM, "offset": old})).await;
            assert_eq!(answer["outcome"], "gap", "{kind:?}: {answer}");
            let gap = back.hear_a("gap").await;
            assert_eq!((&gap["reason"], &gap["missedTo"]), (&json!("reset"), &Value::Null), "{kind:?}: {gap}");
            let (status, body) = get(gateway, &format!("/api/executions/back/events?after={old}")).await;
            assert_eq!((status, &body["error"]["code"]), (410, &json!("gone")), "{kind:?}: {body}");
            let mut back = Socket::open(gateway).await;
            let answer = back.subscribe(json!({"room": ROOM, "offset": new["offset"]})).await;
            assert_eq!(answer["outcome"], "resumed", "{kind:?}: {answer}");
            back.hears_nothing_more().await;
        }
    }
}

async fn lose_everything(broker: &Broker) {
    if broker.kind == Kind::Redis {
        broker.redis().raw().await.expect("a connection").say(&["FLUSHALL"]).await.expect("flushed");
        return;
    }
    let mut nats = broker.nats().raw().await.expect("a connection");
    let answer = nats.request("$JS.API.STREAM.NAMES", b"", crate::support::SOON).await.expect("streams");
    let names: Value = serde_json::from_slice(&answer).expect("json");
    for name in names["streams"].as_array().expect("streams").iter().filter_map(Value::as_str) {
        let deleted = nats.request(&format!("$JS.API.STREAM.DELETE.{name}"), b"", crate::support::SOON).await;
        deleted.expect("deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_offset_is_refused_by_name_and_one_beyond_the_end_is_a_gap() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[]).await;
        publish_numbers(&gateway, "back", 1..=3).await;
        let mut socket = Socket::open(&gateway).await;
        for forged in ["", "1", "x", "a.1", "a.-1.0", "a.1.2.3.4", "🦀", "a.1.fffffffff"] {
            socket.say(json!({"type": "subscribe", "room": ROOM, "offset": forged, "ref": "r"})).await;
            let error = socket.hear().await;
            let named = (&error["type"], &error["code"], &error["field"], &error["ref"]);
            assert_eq!(named, (&json!("error"), &json!("invalid"), &json!("offset"), &json!("r")), "{kind:?}: {forged}: {error}");
        }
        socket.say(json!({"type": "subscribe", "room": ROOM, "offset": 5})).await;
        assert_eq!(socket.hear().await["field"], "offset", "{kind:?}");
        let (_, page) = get(&gateway, "/api/executions/back/events").await;
        let next = page["next"].as_str().expect("an offset");
        let mut parts: Vec<String> = next.split('.').map(str::to_owned).collect();
        let seq: u64 = parts[1].parse().expect("a number");
        for beyond in [seq + 1, seq + 1_000_000, u64::MAX] {
            parts[1] = beyond.to_string();
            let mut socket = Socket::open(&gateway).await;
            let answer = socket.subscribe(json!({"room": ROOM, "offset": parts.join(".")})).await;
            assert_eq!(answer["outcome"], "gap", "{kind:?}: {beyond}: {answer}");
            publish_numbers(&gateway, "back", 4..=4).await;
            while crate::support::number(&socket.hear().await) != Some(4) {}
        }
        // The right number with another event's fingerprint is no place in this history.
        let (first, _) = next.split_once('.').expect("an epoch");
        let mut socket = Socket::open(&gateway).await;
        let answer = socket.subscribe(json!({"room": ROOM, "offset": format!("{first}.{seq}.0badbad1")})).await;
        assert_eq!(answer["outcome"], "gap", "{kind:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_types_asked_for_come_however_many_others_lie_between() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[("WEFT_LOG_EVENTS_MAX", "50")]).await;
        let node = |n: u64| json!({"type": "node:started", "executionId": "back", "nodeId": "a", "data": {"n": n}});
        publish(&gateway, node(1)).await;
        publish_numbers(&gateway, "back", 2..=400).await;
        publish(&gateway, node(401)).await;
        let mut socket = Socket::open(&gateway).await;
        let answer = socket.subscribe(json!({"room": ROOM, "offset": "0", "types": ["node:*"]})).await;
        assert_eq!(answer["outcome"], "resumed", "{kind:?}");
        assert_eq!(socket.hear_number().await, 1, "{kind:?}");
        assert_eq!(socket.hear_number().await, 401, "{kind:?}");
        publish_numbers(&gateway, "back", 402..=450).await;
        publish(&gateway, node(451)).await;
        assert_eq!(socket.hear_number().await, 451, "{kind:?}");
        socket.hears_nothing_more().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_logs_begins_with_the_logs_held_and_goes_on_with_everything() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[("WEFT_LOG_EVENTS_MAX", "20")]).await;
        let node = |n: u64| json!({"type": "node:started", "executionId": "back", "nodeId": "a", "data": {"n": n}});
        for n in 1..=60 {
            publish(&gateway, if n % 3 == 0 { numbered("back", n) } else { node(n) }).await;
        }
        let mut socket = Socket::open(&gateway).await;
        let answer = socket.subscribe(json!({"room": ROOM, "history": "logs"})).await;
        assert_eq!(answer["outcome"], "live", "{kind:?}: {answer}");
        for n in (3..=60).step_by(3) {
            assert_eq!(socket.hear_number().await, n, "{kind:?}");
        }
        publish(&gateway, node(61)).await;
        assert_eq!(socket.hear_number().await, 61, "{kind:?}");
        socket.hears_nothing_more().await;
        // Both at once: the state follows where it stands.
        let mut socket = Socket::open(&gateway).await;
        let answer = socket.subscribe(json!({"room": ROOM, "history": "logs", "snapshot": true})).await;
        assert_eq!(answer["outcome"], "snapshot", "{kind:?}: {answer}");
        for n in (3..=60).step_by(3) {
            assert_eq!(socket.hear_number().await, n, "{kind:?}");
        }
        assert_eq!(socket.hear().await["type"], "snapshot", "{kind:?}");
        socket.hears_nothing_more().await;
    }
}
