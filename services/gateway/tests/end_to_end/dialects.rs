//! C and E: clients whose address says what to follow, and that know nothing of offsets unless they want to.

use crate::{
    commands::FakeExecutor,
    support::{Broker, DURABLE, Kind, Socket, offset, publish, request},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use weft_testkit::process::Process;

fn event(kind: &str, data: Value) -> Value {
    json!({"type": kind, "executionId": "run", "nodeId": "n1", "timestamp": "2026-01-01T00:00:00.250Z", "data": data})
}

async fn c(gateway: &Process, query: &str) -> Socket {
    Socket::open_at(gateway, &format!("/api/ws/executions/run{query}")).await.expect("an upgrade")
}

async fn e(gateway: &Process, query: &str) -> Socket {
    Socket::open_at(gateway, &format!("/ws/executions/run/logs{query}")).await.expect("an upgrade")
}

/// Says `ping` and hears its pong next: nothing else was on its way.
async fn hears_no_more(socket: &mut Socket) {
    socket.send(Message::text("ping")).await;
    let pong = socket.hear().await;
    assert_eq!(pong, json!({"type": "pong"}), "nothing else was due");
}

async fn types(socket: &mut Socket, count: usize) -> Vec<Value> {
    let mut types = Vec::new();
    for _ in 0..count {
        types.push(socket.hear().await["type"].take());
    }
    types
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_c_sees_the_state_then_what_happens_and_each_frame_once_wherever_it_is_cut() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let there = &gateways[gateways.len() - 1];
        publish(&gateways[0], json!([event("execution:started", json!({})), event("node:started", json!({}))])).await;
        let mut socket = c(&gateways[0], "").await;
        let (status, node) = (socket.hear().await, socket.hear().await);
        assert_eq!((&status["type"], &status["status"]), (&json!("status"), &json!("running")), "{kind:?}: {status}");
        assert_eq!((&node["node_id"], &node["node_state"]["status"]), (&json!("n1"), &json!("running")), "{kind:?}: {node}");
        assert!(status["offset"].is_null() && node["offset"].is_string(), "{kind:?}: {status} {node}");
        publish(
            &gateways[0],
            json!([
                event("log", json!({"level": "info", "message": "m"})),
                event("execution:completed", json!({"result": {"n": 1}})),
            ]),
        )
        .await;
        let (log, ended, completion) = (socket.hear().await, socket.hear().await, socket.hear().await);
        assert_eq!((&log["log"]["message"], &log["timestamp"]), (&json!("m"), &json!("1767225600.250")), "{kind:?}: {log}");
        assert_eq!((&ended["type"], &ended["status"]), (&json!("status"), &json!("completed")), "{kind:?}: {ended}");
        assert_eq!((&completion["type"], &completion["result"]["output"]), (&json!("completion"), &json!({"n": 1})), "{kind:?}");
        assert_eq!(offset(&ended), format!("{}/1", offset(&completion)), "{kind:?}");
        hears_no_more(&mut socket).await;
        socket.cut();
        // Cut between the two frames of one event, and at the other gateway after each of the frames.
        for gateway in [&gateways[0], there] {
            for (from, expected) in [
                (offset(&node), &["log", "status", "completion"][..]),
                (offset(&log), &["status", "completion"]),
                (offset(&ended), &["completion"]),
                (offset(&completion), &[]),
                ("0".into(), &["status", "node_update", "log", "status", "completion"]),
            ] {
                let mut socket = c(gateway, &format!("?offset={from}")).await;
                assert_eq!(types(&mut socket, expected.len()).await, expected, "{kind:?}: after {from}");
                hears_no_more(&mut socket).await;
            }
            let mut late = c(gateway, "").await;
            assert_eq!(types(&mut late, 3).await, ["status", "node_update", "completion"], "{kind:?}: who comes late");
            hears_no_more(&mut late).await;
        }
    }
}

/// `?history=logs`: the logs first, whose offsets are the earlier ones, then the state; cut anywhere, nothing is missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_c_that_asks_for_the_logs_gets_them_before_the_state() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[("WEFT_LOG_EVENTS_MAX", "20")]).await;
        let (first, last) = (&gateways[0], &gateways[gateways.len() - 1]);
        let log = |n: u64| event("log", json!({"level": "info", "message": n.to_string()}));
        publish(first, json!([event("execution:started", json!({})), event("node:started", json!({}))])).await;
        publish(first, (1..=30).map(log).collect()).await;
        publish(first, event("execution:completed", json!({"result": 1}))).await;
        for gateway in [first, last] {
            let mut socket = c(gateway, "?history=logs").await;
            let mut cut = String::new();
            for n in 1..=30 {
                let frame = socket.hear().await;
                assert_eq!(frame["log"]["message"], n.to_string(), "{kind:?}: {frame}");
                cut = if n == 29 { offset(&frame) } else { cut };
            }
            assert_eq!(types(&mut socket, 3).await, ["status", "node_update", "completion"], "{kind:?}");
            hears_no_more(&mut socket).await;
            // Who has an offset asks for nothing else.
            let mut socket = c(gateway, &format!("?history=logs&offset={cut}")).await;
            assert_eq!(types(&mut socket, 3).await, ["log", "status", "completion"], "{kind:?}");
            hears_no_more(&mut socket).await;
        }
        let mut unknown = Socket::open_at(first, "/api/ws/executions/none?history=logs").await.expect("an upgrade");
        hears_no_more(&mut unknown).await;
        let refused = Socket::open_at(first, "/api/ws/executions/run?history=all").await.err().expect("no such history");
        assert!(refused.contains("400"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_c_does_not_understand_is_answered_in_its_own_shape_and_ten_times_at_most() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut socket = c(&gateway, "").await;
    for text in ["{}", "hello", "{\"type\":\"ping\"}"] {
        socket.send(Message::text(text)).await;
        let error = socket.hear().await;
        assert_eq!((&error["type"], &error["execution_id"]), (&json!("error"), &json!("run")), "{text}: {error}");
    }
    hears_no_more(&mut socket).await;
    for _ in 0..10 {
        socket.send(Message::text("?")).await;
    }
    assert_eq!(socket.hear_close().await, Some(4400));
    let mut socket = c(&gateway, "").await;
    socket.send(Message::binary(vec![1])).await;
    assert_eq!(socket.hear_close().await, Some(1003));
    for path in ["/api/ws/executions/run?offset=x", "/api/ws/executions/a%20b", "/ws/executions/run/logs?after=x"] {
        let refused = Socket::open_at(&gateway, path).await.err().expect(path);
        assert!(refused.contains("400"), "{path}: {refused}");
    }
}

fn entry(n: u64) -> Value {
    event("log", json!({"id": format!("l{n}"), "level": "debug", "message": n.to_string()}))
}

async fn hear_entries(socket: &mut Socket, ids: std::ops::RangeInclusive<u64>) -> Value {
    let mut last = Value::Null;
    for n in ids {
        last = socket.hear().await;
        let told = (&last["id"], &last["message"], &last["level"]);
        assert_eq!(told, (&json!(format!("l{n}")), &json!(n.to_string()), &json!("info")), "{last}");
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_of_e_gets_what_is_retained_then_what_happens_and_no_entry_twice() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let there = &gateways[gateways.len() - 1];
        publish(&gateways[0], event("execution:started", json!({}))).await;
        publish(&gateways[0], (1..=300).map(entry).collect()).await;
        let mut socket = e(there, "").await;
        socket.send(Message::text("ping")).await;
        let hundredth = offset(&hear_entries(&mut socket, 1..=100).await);
        let last = offset(&hear_entries(&mut socket, 101..=300).await);
        publish(&gateways[0], json!([event("node:started", json!({})), event("node:failed", json!({"error": "why"}))])).await;
        let failed = socket.hear().await;
        let told = (&failed["level"], &failed["error_message"], &failed["step_name"]);
        assert_eq!(told, (&json!("error"), &json!("why"), &json!("n1")), "{kind:?}: {failed}");
        publish(&gateways[0], entry(301)).await;
        hear_entries(&mut socket, 301..=301).await;
        let mut back = e(&gateways[0], &format!("?after={hundredth}")).await;
        hear_entries(&mut back, 101..=300).await;
        let mut back = e(there, &format!("?after={last}")).await;
        assert_eq!(back.hear().await["error_message"], "why", "{kind:?}");
        hear_entries(&mut back, 301..=301).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_a_warning_among_the_entries() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[("WEFT_RETENTION_EVENTS", "100"), ("WEFT_LOG_EVENTS_MAX", "10")]).await;
        let mut socket = e(&gateway, "").await;
        publish(&gateway, entry(1)).await;
        let first = offset(&hear_entries(&mut socket, 1..=1).await);
        socket.cut();
        for first in (2..=1000_u64).step_by(50) {
            publish(&gateway, (first..=(first + 49).min(1000)).map(entry).collect()).await;
        }
        for query in [format!("?after={first}"), "?after=0".into(), String::new()] {
            let mut socket = e(&gateway, &query).await;
            let warning = socket.hear().await;
            assert_eq!((&warning["level"], &warning["step_name"]), (&json!("warning"), &json!("gap")), "{kind:?}: {warning}");
            let begins: u64 = socket.hear().await["message"].as_str().and_then(|n| n.parse().ok()).expect("a number");
            assert!((700..=901).contains(&begins), "{kind:?}: {begins}");
            hear_entries(&mut socket, begins + 1..=1000).await;
        }
        let mut socket = c(&gateway, &format!("?offset={first}")).await;
        let warning = socket.hear().await;
        assert_eq!((&warning["type"], &warning["log"]["level"]), (&json!("log"), &json!("warning")), "{kind:?}: {warning}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_is_started_by_an_executor_and_an_existing_one_is_a_conflict() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let path = "/executions/run/start-streaming";
    let (status, answer) = request(&gateway, "POST", path, None).await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("no_executor")), "{answer}");
    let mut executor = FakeExecutor::start("x", &gateway, &[]).await;
    for (reply, expected) in [
        (json!({"outcome": "accepted", "body": {"executionId": "run"}}), 202),
        (json!({"outcome": "rejected", "code": "exists", "message": "it exists"}), 409),
    ] {
        let command = async {
            let command = executor.next().await;
            assert_eq!(
                (&command["kind"], &command["body"]),
                (&json!("start-streaming"), &json!({"executionId": "run"})),
                "{command}"
            );
            assert_eq!(executor.reply(&command, reply.clone()).await, 204);
        };
        let ((status, answer), ()) = tokio::join!(request(&gateway, "POST", path, None), command);
        assert_eq!(status, expected, "{answer}");
    }
}
