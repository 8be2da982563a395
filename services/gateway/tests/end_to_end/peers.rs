//! Several gateways behind a load balancer without affinity: requests of one session reach any of them.

use crate::{
    clients::Clients,
    recovery::Key,
    support::{Broker, Kind, SHARED, SOON, Socket, is_full, publish_numbers, until},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::TcpListener};
use tokio_tungstenite::tungstenite::Message;
use weft_testkit::process::Process;

/// As many gateways that pass requests on to each other.
async fn fleet(broker: &Broker, key: &Key, count: usize) -> Vec<Process> {
    let mut gateways = Vec::new();
    for _ in 0..count {
        // Taken again by the gateway a moment later.
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
        let env = [("WEFT_FLEET_KEY_FILE", key.path()), ("WEFT_PEER_LISTEN", &free)];
        gateways.push(broker.gateway(&env).await);
    }
    gateways
}

async fn balanced(clients: &mut Clients, gateways: &[Process]) -> String {
    let urls: Vec<String> = gateways.iter().map(Process::url).collect();
    clients.tell(json!({"op": "proxy", "id": "proxy", "urls": urls})).await;
    format!("http://127.0.0.1:{}", clients.next("proxy").await["port"])
}

/// How often a gateway has passed requests on, by outcome; those that have not occurred are left out.
async fn passed_on(gateway: &Process) -> BTreeMap<String, f64> {
    let metrics = gateway.metrics().await.expect("metrics");
    let of = |line: &str| {
        let (outcome, times) = line.strip_prefix("weft_gateway_passed_on_total{outcome=\"")?.split_once("\"} ")?;
        Some((outcome.to_owned(), times.parse::<f64>().ok().filter(|times| *times > 0.0)?))
    };
    metrics.lines().filter_map(of).collect()
}

#[tokio::test]
async fn polls_of_one_session_reach_any_of_three_gateways() {
    let key = Key::new();
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let gateways = fleet(&broker, &key, 3).await;
        let mut clients = Clients::start();
        let url = balanced(&mut clients, &gateways).await;
        for gateway in &gateways {
            assert_eq!(passed_on(gateway).await, BTreeMap::new(), "{kind:?}: nobody has asked yet");
        }
        for id in ["p1", "p2", "p3"] {
            clients.connected(id, &url, json!({"transports": ["polling"]})).await;
            assert_eq!(clients.ask(id, "subscribe", json!(["execution:run"])).await["ok"], true);
        }
        // Ten thousand among them, or to each.
        let count = if is_full() { 10_000 } else { 3400 };
        publish_numbers(&gateways[0], "run", 1..=count).await;
        for id in ["p1", "p2", "p3"] {
            clients.numbers(id, 1..=count).await;
            let answer = clients.ask(id, "cancel", json!([{"executionId": "run"}])).await;
            assert_eq!(answer["code"], "no_executor", "{kind:?}");
        }
        // Everybody has had its answer: what had gone wrong before it would have been told by now.
        ["p1", "p2", "p3", "proxy"].iter().for_each(|id| clients.nothing_else(id));
        // No gateway answered for sessions of its own alone, and none was asked for one that was not there.
        for gateway in &gateways {
            let passed = passed_on(gateway).await;
            assert!(passed.get("answered").is_some_and(|times| *times >= 3.0) && passed.len() == 1, "{kind:?}: {passed:?}");
        }
    }
}

#[tokio::test]
async fn an_upgrade_reaches_the_gateway_that_holds_the_session() {
    let (key, broker) = (Key::new(), Broker::start(Kind::JetStream).await);
    let gateways = fleet(&broker, &key, 2).await;
    let mut clients = Clients::start();
    let url = balanced(&mut clients, &gateways).await;
    for id in ["u1", "u2", "u3"] {
        clients.connected(id, &url, json!({})).await;
        clients.ask(id, "subscribe", json!(["execution:run"])).await;
    }
    publish_numbers(&gateways[0], "run", 1..=100).await;
    for id in ["u1", "u2", "u3"] {
        clients.numbers(id, 1..=100).await;
        until("it has upgraded", async || clients.transport(id).await == "websocket").await;
    }
    publish_numbers(&gateways[1], "run", 101..=200).await;
    for id in ["u1", "u2", "u3"] {
        clients.numbers(id, 101..=200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_is_passed_through_ends_with_a_code_when_that_gateway_leaves() {
    let (key, broker) = (Key::new(), Broker::start(Kind::Redis).await);
    let mut gateways = fleet(&broker, &key, 2).await;
    let (mut passes, holds) = (gateways.remove(1), gateways.remove(0));
    let open = format!("{}/socket.io/?EIO=4&transport=polling", holds.url());
    let open = weft_testkit::http::get_text(&open).await.expect("an answer");
    let open: Value = serde_json::from_str(&open[1..]).expect("JSON");
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={}", open["sid"].as_str().expect("a sid"));
    let mut socket = Socket::open_at(&passes, &path).await.expect("an upgrade");
    socket.send(Message::text("2probe")).await;
    assert_eq!(socket.next_text().await, "3probe");
    socket.send(Message::text("5")).await;
    let upgraded = "weft_gateway_connections{transport=\"websocket\",dialect=\"socketio\"}";
    until("it has upgraded", async || holds.metric(upgraded).await.expect("metrics") as u64 == 1).await;
    assert_eq!(passes.metric("weft_gateway_passages").await.expect("metrics") as u64, 1);
    assert_eq!(passes.metric("weft_gateway_connections").await.expect("metrics") as u64, 0);
    let (status, goodbye) = tokio::join!(passes.terminate(SOON), async {
        let code = socket.hear_close().await;
        // Reading on sends the answer.
        (code, socket.hear_close().await)
    });
    assert_eq!(goodbye, (Some(1012), None));
    assert_eq!(status.expect("it leaves").code(), Some(0), "{}", passes.log_tail());
    let told = "weft_gateway_closes_total{code=\"1012\",reason=\"client\"}";
    until("the other has heard of it", async || holds.metric(told).await.expect("metrics") as u64 == 1).await;
    assert_eq!(holds.metric("weft_gateway_failed_deliveries_total").await.expect("metrics") as u64, 0);
}

#[tokio::test]
async fn a_client_whose_gateway_dies_while_it_polls_elsewhere_is_recovered_at_once() {
    let (key, broker) = (Key::new(), Broker::start(Kind::Redis).await);
    let mut gateways = fleet(&broker, &key, 3).await;
    let mut clients = Clients::start();
    let url = balanced(&mut clients, &gateways[1..]).await;
    // Opened at the first, polled at the others.
    clients.connected("p", &gateways[0].url(), json!({"transports": ["polling"]})).await;
    clients.ask("p", "subscribe", json!(["execution:run"])).await;
    clients.tell(json!({"op": "move", "id": "p", "url": url})).await;
    publish_numbers(&gateways[1], "run", 1..=5).await;
    clients.numbers("p", 1..=5).await;
    clients.tell(json!({"op": "cut", "id": "p"})).await;
    clients.happens("p", "disconnect").await;
    assert_eq!(clients.happens("p", "connect").await["recovered"], true);
    // Which of the two holds it now is not known: both die, one after the other, and the first comes to answer for them.
    let first = gateways.remove(0);
    clients.tell(json!({"op": "move", "id": "p", "url": first.url()})).await;
    gateways.iter_mut().for_each(Process::kill);
    clients.happens("p", "disconnect").await;
    publish_numbers(&first, "run", 6..=9).await;
    assert_eq!(clients.happens("p", "connect").await["recovered"], true);
    clients.numbers("p", 6..=9).await;
}

#[tokio::test]
async fn a_session_of_a_dead_gateway_is_unknown_at_once_and_a_forged_one_reaches_nothing() {
    let (key, broker) = (Key::new(), Broker::start(Kind::Redis).await);
    let mut gateways = fleet(&broker, &key, 2).await;
    let client = weft_testkit::http::client();
    let ask = async |url: String| {
        let answer = client.get(url).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    let open = ask(format!("{}/socket.io/?EIO=4&transport=polling", gateways[0].url())).await.1;
    let open: Value = serde_json::from_str(&open[1..]).expect("JSON");
    let sid = open["sid"].as_str().expect("a sid").to_owned();
    let other = gateways.remove(1);
    let poll = |sid: &str| format!("{}/socket.io/?EIO=4&transport=polling&sid={sid}", other.url());
    let post = client.post(poll(&sid)).body("40").send().await.expect("an answer");
    assert_eq!((post.status().as_u16(), post.text().await.expect("a body").as_str()), (200, "ok"));
    let (status, body) = ask(poll(&sid)).await;
    assert!(status == 200 && body.starts_with("40{"), "{status} {body}");
    let before = passed_on(&other).await;
    let forged = sid.replacen(&sid[..1], if sid.starts_with('A') { "B" } else { "A" }, 1);
    for sid in [forged.as_str(), "__proto__", &sid[..44]] {
        assert_eq!(ask(poll(sid)).await.0, 400, "{sid}");
    }
    assert_eq!(passed_on(&other).await, before, "a forged id asks nobody");
    gateways[0].kill();
    let (status, body) = ask(poll(&sid)).await;
    assert_eq!((status, body.as_str()), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
}

#[tokio::test]
async fn a_peer_without_the_key_is_refused() {
    let (key, broker) = (Key::new(), Broker::start(Kind::Memory).await);
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let _gateway = broker.gateway(&[("WEFT_FLEET_KEY_FILE", key.path()), ("WEFT_PEER_LISTEN", &free)]).await;
    for (path, sign, status) in [
        ("/socket.io/?EIO=4&transport=polling&sid=x", None, 403),
        ("/socket.io/?EIO=4&transport=polling&sid=x", Some("x"), 403),
        ("/socket.io/?EIO=4&transport=polling", None, 403),
        ("/api/executions", None, 404),
    ] {
        let request = weft_testkit::http::client().get(format!("http://{free}{path}"));
        let request = sign.iter().fold(request, |request, sign| request.header("weft-peer", *sign));
        assert_eq!(request.send().await.expect("an answer").status().as_u16(), status, "{path} {sign:?}");
    }
}
