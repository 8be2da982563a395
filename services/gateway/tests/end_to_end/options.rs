//! What a subscription may ask for: several events in a frame, some types only, less while it is behind.

use crate::support::{Broker, Heard, Kind, Socket, is_full, number, offset, publish, publish_numbers};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use weft_testkit::process::Process;

fn progress(n: u64, node: &str) -> Value {
    json!({"type": "node:progress", "executionId": "busy", "nodeId": node, "data": {"progress": n % 101, "n": n}})
}

fn token(n: u64) -> Value {
    json!({"type": "agent:token", "executionId": "busy", "agentId": "a", "data": {"token": format!("{n} "), "index": n}})
}

/// A client whose socket is full before anything of interest is published.
async fn stuck(gateway: &Process, subscribe: Value) -> (Socket, usize) {
    let mut socket = Socket::open_with(&gateway.address(), None, 4096).await.expect("an upgrade");
    socket.hear_a("connected").await;
    socket.subscribe(subscribe).await;
    let padding = 600;
    let filler = json!({"type": "log", "executionId": "busy", "data": {"level": "info", "message": "x".repeat(10_000)}});
    for _ in 0..padding / 50 {
        publish(gateway, vec![filler.clone(); 50].into()).await;
    }
    (socket, padding)
}

#[tokio::test(flavor = "multi_thread")]
async fn conflation_spares_a_client_that_is_behind_what_later_events_say_and_nothing_else() {
    for kind in [Kind::Memory, Kind::JetStream, Kind::NatsCore] {
        let broker = Broker::start(kind).await;
        let env = [("WEFT_STALL_SECS", "600"), ("WEFT_LOG_BYTES_MAX", "64000000"), ("WEFT_LOG_EVENTS_MAX", "100000")];
        let gateway = broker.gateway(&env).await;
        let mut all = Socket::open(&gateway).await;
        all.subscribe(json!({"executionId": "busy", "types": ["node:*", "agent:*", "execution:*"]})).await;
        let (mut behind, padding) = stuck(&gateway, json!({"executionId": "busy", "conflate": true})).await;
        let rounds = if is_full() { 50 } else { 10 };
        let mut text = String::new();
        for round in 0..rounds {
            let first = round * 40;
            let mut events: Vec<Value> = (first..first + 20).map(|n| progress(n, "node-1")).collect();
            events.extend((first + 20..first + 39).map(token));
            events.push(json!({"type": "node:completed", "executionId": "busy", "nodeId": "node-1", "data": {"n": first + 39}}));
            text.extend((first + 20..first + 39).map(|n| format!("{n} ")));
            publish(&gateway, events.into()).await;
        }
        publish(&gateway, json!({"type": "execution:completed", "executionId": "busy", "data": {"n": rounds * 40}})).await;
        // By default everybody gets everything; `types` lets through what it names.
        for n in 0..=rounds * 40 {
            let frame = all.hear().await;
            let is_token = frame["type"] == "agent:token";
            let told = if is_token { &frame["data"]["index"] } else { &frame["data"]["n"] };
            assert_eq!((told, &frame["skipped"]), (&json!(n), &Value::Null), "{kind:?}: {frame}");
        }
        let (mut logs, mut completed, mut skipped, mut heard, mut joined) = (0, 0, 0, 0, String::new());
        loop {
            let frame = behind.hear().await;
            heard += 1;
            skipped += frame["skipped"].as_u64().unwrap_or(0);
            match frame["type"].as_str().expect("a type") {
                "log" => logs += 1,
                "node:completed" => completed += 1,
                "agent:token" => joined.push_str(frame["data"]["token"].as_str().expect("text")),
                "execution:completed" => break,
                _ => {}
            }
        }
        assert_eq!((logs, completed), (padding, rounds), "{kind:?}: what is lossless came, all of it");
        assert_eq!(joined, text, "{kind:?}: all text, in order");
        assert_eq!(heard + skipped, padding as u64 + rounds * 40 + 1, "{kind:?}: each is told or stood for");
        assert!(skipped > 0, "{kind:?}: it was never behind");
        let counted = gateway.metric("weft_gateway_conflated_total").await.expect("metrics");
        assert_eq!(counted as u64, skipped, "{kind:?}");
        behind.hears_nothing_more().await;
        // Once it keeps up it gets everything.
        for n in 1..=20 {
            publish(&gateway, progress(n, "late")).await;
            assert_eq!(behind.hear_number().await, n, "{kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_events_at_once_are_no_reason_to_leave_any_out() {
    let broker = Broker::start(Kind::Memory).await;
    for gather in ["0", "10"] {
        let gateway = broker.gateway(&[("WEFT_GATHER_MS", gather)]).await;
        let mut reading = Socket::open(&gateway).await;
        reading.subscribe(json!({"executionId": "busy", "conflate": true})).await;
        publish(&gateway, (1..=200).map(|n| progress(n, "x")).collect()).await;
        reading.hear_numbers(1..=200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_from_a_conflated_frame_goes_on_after_all_that_it_stands_for() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_STALL_SECS", "600"), ("WEFT_LOG_BYTES_MAX", "64000000")]).await;
    let (mut behind, _) = stuck(&gateway, json!({"executionId": "busy", "conflate": true})).await;
    publish(&gateway, (1..=100).map(|n| progress(n, "x")).collect()).await;
    publish_numbers(&gateway, "busy", 101..=103).await;
    let frame = loop {
        let frame = behind.hear().await;
        if frame["skipped"].is_u64() {
            break frame;
        }
    };
    let last = number(&frame).expect("a number");
    let mut back = Socket::open(&gateway).await;
    let answer = back.subscribe(json!({"executionId": "busy", "offset": offset(&frame)})).await;
    assert_eq!(answer["outcome"], "resumed", "{answer}");
    back.hear_numbers(last + 1..=103).await;
    back.hears_nothing_more().await;
}

/// The events of one text frame, one on a line.
fn lines(text: &str) -> Vec<Value> {
    text.split('\n').map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_several_events_in_a_frame_and_only_for_who_asked() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut plain = Socket::open(&gateway).await;
    plain.subscribe(json!({"executionId": "e"})).await;
    publish_numbers(&gateway, "e", 1..=100).await;
    plain.hear_numbers(1..=100).await;

    let mut batched = Socket::open(&gateway).await;
    let resume = json!({"type": "subscribe", "executionId": "e", "offset": "0", "batch": true});
    batched.say(resume.clone()).await;
    let (mut next, mut largest) = (1, 0);
    while next <= 100 {
        let text = batched.next_text().await;
        let frames: Vec<Value> = lines(&text).into_iter().filter(|frame| frame["type"] != "subscribed").collect();
        largest = largest.max(frames.len());
        for frame in frames {
            assert_eq!(number(&frame), Some(next), "{frame}");
            assert!(frame["offset"].is_string(), "{frame}");
            next += 1;
        }
    }
    assert!(largest > 1, "no frame had several events");

    let mut packed = Socket::open_with(&gateway.address(), Some("weft.v1.msgpack"), 0).await.expect("an upgrade");
    packed.send(Message::binary(rmp_serde::to_vec_named(&resume).expect("MessagePack"))).await;
    let (mut numbers, mut largest) = (Vec::new(), 0);
    while numbers.len() < 100 {
        let Heard::Binary(bytes) = packed.next().await else { panic!("a binary frame") };
        let mut rest = &bytes[..];
        let before = numbers.len();
        while !rest.is_empty() {
            // Objects of MessagePack say themselves where they end.
            let frame: Value = rmp_serde::from_read(&mut rest).expect("an object");
            numbers.extend(number(&frame));
        }
        largest = largest.max(numbers.len() - before);
    }
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
    assert!(largest > 1, "no frame had several events");
}
