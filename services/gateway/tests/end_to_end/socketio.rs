//! Socket.IO with the client that people have: A in `/executions`, D in `/`.

use crate::{
    clients::Clients,
    commands::FakeExecutor,
    support::{Broker, DURABLE, Kind, publish, publish_numbers},
};
use serde_json::{Value, json};

const WEBSOCKET: &str = r#"{"transports": ["websocket"]}"#;

fn websocket() -> Value {
    serde_json::from_str(WEBSOCKET).expect("JSON")
}

fn event(kind: &str, data: Value) -> Value {
    json!({"type": kind, "executionId": "run", "timestamp": "2026-01-02T03:04:05.678Z", "data": data})
}

/// Without the trailing offset.
fn payload(args: &[Value]) -> &Value {
    assert!(args.len() == 2 && args[1].is_string(), "one payload and one offset: {args:?}");
    &args[0]
}

#[tokio::test]
async fn d_follows_a_room_and_hears_its_events_as_published() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let mut clients = Clients::start();
        let connect = clients.connected("d", &gateways[0].url(), websocket()).await;
        assert_eq!((&connect["recovered"], &connect["transport"]), (&json!(false), &json!("websocket")));
        let answer = clients.ask("d", "subscribe", json!(["execution:run"])).await;
        assert_eq!((&answer["ok"], &answer["outcome"]), (&json!(true), &json!("live")), "{kind:?}: {answer}");
        let publisher = gateways.last().expect("a gateway");
        publish(publisher, event("execution:started", json!({"status": "running"}))).await;
        let (name, args) = clients.event("d").await;
        assert_eq!(name, "execution:started");
        let told = payload(&args);
        assert_eq!((&told["executionId"], &told["data"]), (&json!("run"), &json!({"status": "running"})), "{told}");
        // Again is as once.
        let again = clients.ask("d", "subscribe", json!([{"executionId": "run"}])).await;
        assert_eq!((&again["ok"], &again["outcome"]), (&json!(true), &json!("live")));
        let left = clients.ask("d", "unsubscribe", json!([{"channel": "execution:run"}])).await;
        assert_eq!(left, json!({"ok": true}));
        publish_numbers(publisher, "run", 1..=3).await;
        // Late, it begins with the present state.
        let late = clients.ask("d", "subscribe", json!(["execution:run"])).await;
        assert_eq!(late["outcome"], "snapshot", "{late}");
        let (name, args) = clients.event("d").await;
        assert_eq!((name.as_str(), &payload(&args)["snapshot"]["status"]), ("snapshot", &json!("running")));
    }
}

#[tokio::test]
async fn a_hears_five_events_and_the_state_of_what_it_opens_late() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut clients = Clients::start();
    let url = format!("{}/executions", gateway.url());
    clients.connected("a", &url, websocket()).await;
    assert_eq!(clients.ask("a", "subscribe", json!(["run"])).await["outcome"], "live");
    let events = [
        event("execution:started", json!({})),
        json!({"type": "node:completed", "executionId": "run", "nodeId": "n1", "data": {"output": {"x": 1}}}),
        event("log", json!({"id": "l1", "level": "debug", "message": "hello"})),
        event("execution:completed", json!({"result": 42})),
    ];
    for one in events {
        publish(&gateway, one).await;
    }
    let mut heard = Vec::new();
    for _ in 0..5 {
        let (name, args) = clients.event("a").await;
        heard.push((name, payload(&args).clone()));
    }
    let names: Vec<&str> = heard.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["status", "nodeStatus", "log", "status", "result"]);
    assert_eq!(heard[1].1, json!({"executionId": "run", "nodeId": "n1", "status": "completed", "output": {"x": 1}}));
    assert_eq!(heard[2].1["log"]["level"], "info");
    assert_eq!(heard[4].1, json!({"executionId": "run", "result": 42}));

    clients.connected("late", &url, websocket()).await;
    assert_eq!(clients.ask("late", "subscribe", json!(["run"])).await["outcome"], "snapshot");
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(clients.event("late").await);
    }
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["status", "nodeStatus", "result"]);
    // Only with the last of them has the state been told.
    assert_eq!(told.iter().map(|(_, args)| args.len()).collect::<Vec<_>>(), [1, 1, 2]);
}

#[tokio::test]
async fn namespaces_share_a_connection_and_nothing_else() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut clients = Clients::start();
    clients.connected("d", &gateway.url(), websocket()).await;
    clients.tell(json!({"op": "join", "id": "a", "of": "d", "namespace": "/executions"})).await;
    clients.happens("a", "connect").await;
    clients.tell(json!({"op": "join", "id": "x", "of": "d", "namespace": "/nowhere"})).await;
    assert_eq!(clients.happens("x", "connect_error").await["message"], "Invalid namespace");
    clients.ask("d", "subscribe", json!(["execution:run"])).await;
    clients.ask("d", "subscribe", json!(["user:u"])).await;
    clients.ask("a", "subscribe", json!(["run"])).await;
    let mut started = event("execution:started", json!({}));
    started["userId"] = "u".into();
    publish(&gateway, started).await;
    publish_numbers(&gateway, "run", 1..=1).await;
    // In D once, though it follows two of its rooms; in A as well.
    assert_eq!(clients.event("d").await.0, "execution:started");
    assert_eq!(clients.event("d").await.0, "log");
    assert_eq!(clients.event("a").await.0, "status");
    assert_eq!(clients.event("a").await.0, "log");
    clients.tell(json!({"op": "close", "id": "a"})).await;
    publish_numbers(&gateway, "run", 2..=2).await;
    assert_eq!(payload(&clients.event("d").await.1)["data"]["n"], 2);
}

#[tokio::test]
async fn what_is_refused_is_said_in_the_words_of_the_dialect() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut clients = Clients::start();
    clients.connected("d", &gateway.url(), websocket()).await;
    for (name, args, code) in [
        ("subscribe", json!(["nowhere"]), "invalid"),
        ("subscribe", json!([{"executionId": "a b"}]), "invalid"),
        ("subscribe", json!([{"bytes": [1, 2]}]), "invalid"),
        ("shout", json!([1]), "unknown_type"),
        ("user_input:provide", json!([{"executionId": "run", "requestId": "r", "value": 1}]), "no_executor"),
        ("cancel", json!([{"executionId": "run", "reason": "enough"}]), "no_executor"),
    ] {
        let answer = clients.ask("d", name, args).await;
        assert_eq!((&answer["ok"], &answer["code"]), (&json!(false), &json!(code)), "{name}: {answer}");
        assert!(answer["message"].is_string());
    }
    clients.emit("d", "subscribe", json!(["nowhere"])).await;
    let (name, args) = clients.event("d").await;
    assert_eq!((name.as_str(), &args[0]["code"], args.len()), ("error", &json!("invalid"), 1));
    clients.connected("a", &format!("{}/executions", gateway.url()), websocket()).await;
    clients.emit("a", "subscribe", json!(["a b"])).await;
    let (name, args) = clients.event("a").await;
    assert_eq!((name.as_str(), args[0]["error"].is_string(), args.len()), ("error", true, 1));
}

#[tokio::test]
async fn who_declines_recovery_gets_no_offset() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut clients = Clients::start();
    let options = json!({"transports": ["websocket"], "query": {"recovery": "0"}});
    clients.connected("d", &gateway.url(), options).await;
    clients.ask("d", "subscribe", json!(["execution:run"])).await;
    publish_numbers(&gateway, "run", 1..=1).await;
    let (_, args) = clients.event("d").await;
    assert_eq!(args.len(), 1, "{args:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_answered_by_the_ack() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let mut executor = FakeExecutor::start("fake", &gateways[0], &["run"]).await;
        let mut clients = Clients::start();
        clients.connected("d", &gateways.last().expect("a gateway").url(), websocket()).await;
        let input = json!([{"executionId": "run", "requestId": "q", "value": {"a": [1, 2.5]}}]);
        let (answer, ()) = tokio::join!(clients.ask("d", "user_input:provide", input), async {
            let command = executor.next().await;
            assert_eq!(command["body"], json!({"requestId": "q", "value": {"a": [1, 2.5]}}), "{kind:?}");
            executor.reply(&command, json!({"outcome": "accepted"})).await;
        });
        assert_eq!(answer, json!({"ok": true}), "{kind:?}");
        let (answer, ()) = tokio::join!(clients.ask("d", "cancel", json!([{"executionId": "run"}])), async {
            let command = executor.next().await;
            executor.reply(&command, json!({"outcome": "rejected", "code": "ended", "message": "it has ended"})).await;
        });
        assert_eq!((&answer["ok"], &answer["code"]), (&json!(false), &json!("rejected")), "{kind:?}: {answer}");
    }
}
