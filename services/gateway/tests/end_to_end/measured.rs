//! What a gateway measures: all that is documented, nothing else, and as many series after a day as at its beginning.

use crate::{
    auth_rig::{self, CONTROL, ask_at, controlled},
    clients::Clients,
    drain::OURS,
    support::{Broker, Kind, Socket, post, publish_numbers, until},
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use weft_testkit::process::Process;

/// The metrics of each section of the document, with their types.
fn documented() -> BTreeMap<String, BTreeMap<String, String>> {
    let text = include_str!("../../../../docs/METRICS.md");
    let (mut sections, mut section) = (BTreeMap::<_, BTreeMap<_, _>>::new(), String::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            let cells: Vec<&str> = row.split(" | ").collect();
            let name = cells[0].trim_end_matches('`').to_owned();
            sections.entry(section.clone()).or_default().insert(name, cells[1].to_owned());
        }
    }
    sections
}

/// The metrics that are exposed, with their types.
async fn exposed(gateway: &Process) -> BTreeMap<String, String> {
    let text = gateway.metrics().await.expect("metrics");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Every series.
async fn series(gateway: &Process) -> BTreeSet<String> {
    let text = gateway.metrics().await.expect("metrics");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_documented_is_measured_and_what_is_measured_is_documented() {
    let mut broker = Broker::start(Kind::JetStream).await;
    let (guarded, control) = controlled(&broker, &[]).await;
    let memory = Broker::start(Kind::Memory).await;
    let alone = memory.gateway(&[]).await;
    assert_eq!(ask_at(&format!("http://{control}"), "GET", "/admin/rooms", Some(CONTROL), None).await.0, 200);
    let started = json!([{"type": "execution:started", "executionId": "e", "userId": "ada", "data": {}}]);
    auth_rig::publish(&guarded, None, started).await;
    publish_numbers(&alone, "e", 1..=1).await;
    broker.kill();
    broker.restart().await;
    for name in ["weft_bus_reads_total", "weft_bus_reconnects_total", "weft_head_advances_total"] {
        until(name, async || exposed(&guarded).await.contains_key(name)).await;
    }
    let mut live = exposed(&guarded).await;
    live.extend(exposed(&alone).await);

    let documented = documented();
    let all: BTreeMap<_, _> = documented.values().flatten().collect();
    let undocumented: Vec<_> = live.iter().filter(|(name, kind)| all.get(name) != Some(kind)).collect();
    assert!(undocumented.is_empty(), "measured, and not documented so: {undocumented:?}");
    let of_gateways = ["Gateway", "Guard", "Bus", "Every process"].iter().flat_map(|section| documented[*section].keys());
    let of_heads = documented["Publisher"].keys().filter(|name| name.starts_with("weft_head"));
    let missing: Vec<_> = of_gateways.chain(of_heads).filter(|name| !live.contains_key(*name)).collect();
    assert!(missing.is_empty(), "documented, and not measured: {missing:?}");
    assert!(live.values().all(|kind| kind != "summary"), "summaries of several gateways cannot be put together");
}

/// Clients of every kind come, are told something, and go in all the ways there are.
async fn load(gateway: &Process, clients: &mut Clients, round: usize) {
    for n in 0..30_u16 {
        let mut socket = Socket::open_with(&gateway.address(), OURS, 0).await.expect("an upgrade");
        socket.hear_a("connected").await;
        socket.subscribe(json!({"executionId": format!("e{round}-{n}"), "offset": "0"})).await;
        socket.say(json!({"type": "cancel", "executionId": "nobody", "ref": "r"})).await;
        let code = CloseCode::from(4000 + n + 100 * round as u16);
        match n % 3 {
            0 => socket.cut(),
            1 => socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await,
            _ => drop(socket),
        }
    }
    for transport in ["websocket", "polling"] {
        let id = format!("{transport}-{round}");
        clients.connected(&id, &gateway.url(), json!({"transports": [transport]})).await;
        assert_eq!(clients.ask(&id, "subscribe", json!(["execution:e"])).await["ok"], true);
        clients.tell(json!({"op": "close", "id": id})).await;
    }
    for path in ["/api/ws/executions/e", "/ws/executions/e/logs"] {
        let mut socket = Socket::open_at(gateway, path).await.expect("an upgrade");
        publish_numbers(gateway, "e", 1..=300).await;
        socket.hear().await;
    }
    assert_eq!(post(gateway, "no JSON").await.0, 400);
    until("all are gone", async || gateway.metric("weft_gateway_connections").await.expect("metrics") as u64 == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_events_make_no_series() {
    let broker = Broker::start(Kind::JetStream).await;
    let gateway = broker.gateway(&[("WEFT_PING_SECS", "1")]).await;
    let all = series(&gateway).await;
    let mut clients = Clients::start();
    for round in 0..3 {
        load(&gateway, &mut clients, round).await;
        assert_eq!(series(&gateway).await, all, "every series is there from the start, and none comes later");
    }
    assert!(all.len() <= 400, "{} series", all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn round_trips_to_clients_are_measured() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_PING_SECS", "1")]).await;
    let mut clients = Clients::start();
    let count = async || gateway.metric("weft_gateway_round_trip_seconds_count").await.expect("metrics") as u64;
    clients.connected("d", &gateway.url(), json!({"transports": ["websocket"]})).await;
    until("Engine.IO's pings", async || count().await >= 2).await;
    clients.tell(json!({"op": "close", "id": "d"})).await;
    let mut socket = Socket::open(&gateway).await;
    // What nobody asked for is no answer, but the one that is due perhaps.
    let before = count().await;
    for payload in [&b""[..], b"12345678", &[0; 8], &[0; 8], &[0; 8]] {
        socket.send(Message::Pong(payload.to_vec().into())).await;
    }
    socket.hears_nothing_more().await;
    assert!(count().await <= before + 1);
    let listening = tokio::spawn(async move { socket.hear_close().await });
    until("a WebSocket's pings", async || count().await >= before + 2).await;
    listening.abort();
}
