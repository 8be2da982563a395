//! Publishers that know nothing of us: what `redis-cli PUBLISH` and `nats pub` send reaches clients, and what must not
//! reach them is counted and skipped.

use crate::support::{Broker, Kind, Socket, number, until};
use serde_json::json;
use weft_testkit::process::Process;

/// Publishes bytes to a room with a client of the broker's own.
async fn publish_raw(broker: &Broker, room: &str, payload: &[u8]) {
    match broker.kind {
        Kind::Redis | Kind::RedisPubSub => {
            let reached = broker.redis().raw().await.expect("a connection").publish(room, payload).await.expect("published");
            assert!(reached > 0, "{:?}: somebody follows {room}", broker.kind);
        }
        _ => {
            let mut nats = broker.nats().raw().await.expect("a connection");
            nats.publish(&format!("weft.{room}"), payload).await.expect("published");
            nats.flush().await.expect("flushed");
        }
    }
}

const BROKERS: [Kind; 5] = [Kind::JetStream, Kind::NatsCore, Kind::Redis, Kind::RedisPubSub, Kind::JetStreamOfDebian];

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_publish_reaches_the_clients_of_its_room_in_every_mode() {
    for kind in BROKERS {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[]).await;
        let mut socket = Socket::open(&gateway).await;
        let answer = socket.subscribe(json!({"room": "execution:exec-1"})).await;
        assert_eq!(answer["outcome"], "live", "{kind:?}: {answer}");
        // Key order, spaces and numbers of `data` must come through; a missing executionId is the room's.
        publish_raw(&broker, "execution:exec-1", br#"{"type":"log", "data":{"z":1.00,"a":[1, 2],"n":1}}"#).await;
        let frame = socket.hear().await;
        assert_eq!((number(&frame), &frame["executionId"]), (Some(1), &json!("exec-1")), "{kind:?}: {frame}");
        let stored = matches!(kind, Kind::JetStream | Kind::JetStreamOfDebian);
        assert_eq!(frame["offset"].is_string(), stored, "{kind:?}: {frame}");
        if stored {
            assert_eq!(frame["id"], frame["offset"], "{kind:?}: without an id its offset is its id: {frame}");
            let (_, page) = crate::support::get(&gateway, "/api/executions/exec-1/events").await;
            assert_eq!(page["events"][0]["id"], frame["id"], "{kind:?}: {page}");
        }
        socket.hears_nothing_more().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_events_on_the_bus_are_counted_and_skipped_and_the_room_goes_on() {
    for kind in BROKERS {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[]).await;
        let mut socket = Socket::open(&gateway).await;
        socket.subscribe(json!({"room": "execution:strict"})).await;
        let deep = format!(r#"{{"type":"log","data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let invalid: [&[u8]; 14] = [
            b"",
            b"no json",
            b"[1,2]",
            b"{\"type\":\"log\"",
            b"{\"type\":\"log\",\"data\":\"\xff\xfe\"}",
            br#"{"type":"connected"}"#,
            br#"{"data":{}}"#,
            br#"{"type":"log","executionId":"other"}"#,
            br#"{"type":"log","offset":"1"}"#,
            br#"{"type":"log","room":"user:x"}"#,
            br#"{"type":"log","first":{}}"#,
            br#"{"type":"log","executionId":"strict","userId":"a b"}"#,
            br#"{"type":"agent:token","agentId":"a","data":{"agentId":"b"}}"#,
            deep.as_bytes(),
        ];
        for payload in invalid {
            publish_raw(&broker, "execution:strict", payload).await;
        }
        publish_raw(&broker, "execution:strict", br#"{"type":"log","data":{"n":7}}"#).await;
        let frame = socket.hear().await;
        assert_eq!(number(&frame), Some(7), "{kind:?}: {frame}");
        socket.hears_nothing_more().await;
        counted(&gateway, invalid.len() as f64, kind).await;
        // A resume passes over them too.
        if kind == Kind::JetStream {
            let mut late = Socket::open(&gateway).await;
            late.subscribe(json!({"room": "execution:strict", "offset": "0"})).await;
            assert_eq!(late.hear_number().await, 7);
            late.hears_nothing_more().await;
        }
    }
}

async fn counted(gateway: &Process, due: f64, kind: Kind) {
    let name = "weft_gateway_invalid_events_total";
    until("the count of invalid events", async || gateway.metric(name).await.expect("metrics") >= due).await;
    let count = gateway.metric(name).await.expect("metrics");
    assert!((count - due).abs() < 0.5, "{kind:?}: {count} of {due}");
}

/// What is not stored is live only: it is never told again, whatever the log still holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_raw_redis_publish_between_stored_events_is_not_repeated_by_a_resume() {
    let broker = Broker::start(Kind::Redis).await;
    let gateway = broker.gateway(&[]).await;
    let mut socket = Socket::open(&gateway).await;
    socket.subscribe(json!({"executionId": "mixed"})).await;
    crate::support::publish_numbers(&gateway, "mixed", 1..=2).await;
    publish_raw(&broker, "execution:mixed", br#"{"type":"execution:failed","data":{"n":3,"error":"raw"}}"#).await;
    let last = socket.hear_numbers(1..=2).await;
    assert_eq!(socket.hear_number().await, 3);
    socket.cut();
    let mut socket = Socket::open(&gateway).await;
    let answer = socket.subscribe(json!({"executionId": "mixed", "offset": last["offset"]})).await;
    assert_eq!(answer["outcome"], "resumed", "{answer}");
    socket.hears_nothing_more().await;
    publish_raw(&broker, "execution:mixed", br#"{"type":"log","data":{"n":4}}"#).await;
    crate::support::publish_numbers(&gateway, "mixed", 5..=5).await;
    socket.hear_numbers(4..=5).await;
    // Nor does it change the state that every gateway must fold alike.
    let (_, state) = crate::support::get(&gateway, "/api/executions/mixed").await;
    assert_eq!(state["status"], "pending", "{state}");
}
