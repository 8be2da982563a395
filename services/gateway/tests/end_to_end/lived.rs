//! What a gateway measures of connections: which are open, how long, how far behind, how far back.

use crate::{
    clients::Clients,
    support::{Broker, Kind, Socket, publish, publish_numbers, until},
};
use serde_json::{Value, json};
use weft_testkit::process::Process;

async fn metric(gateway: &Process, series: &str) -> u64 {
    gateway.metric(series).await.expect("metrics") as u64
}

async fn open(gateway: &Process, transport: &str, dialect: &str) -> u64 {
    metric(gateway, &format!("weft_gateway_connections{{transport=\"{transport}\",dialect=\"{dialect}\"}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_connection_is_counted_for_as_long_as_it_is_open() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut clients = Clients::start();
    let native = Socket::open(&gateway).await;
    let c = Socket::open_at(&gateway, "/api/ws/executions/e").await.expect("an upgrade");
    let e = [0, 1].map(|_| Socket::open_at(&gateway, "/ws/executions/e/logs"));
    let e = futures_util::future::try_join_all(e).await.expect("upgrades");
    let stream = weft_testkit::http::client().get(format!("{}/api/executions/e/events", gateway.url()));
    let stream = stream.header("accept", "text/event-stream").send().await.expect("a stream");
    clients.connected("polls", &gateway.url(), json!({"transports": ["polling"]})).await;
    clients.connected("socket", &gateway.url(), json!({"transports": ["websocket"]})).await;
    let kinds = [("websocket", "native", 1), ("websocket", "c", 1), ("websocket", "e", 2), ("sse", "sse", 1)];
    for (transport, dialect, count) in kinds.into_iter().chain([("polling", "socketio", 1), ("websocket", "socketio", 1)]) {
        until(&format!("{dialect} by {transport}"), async || open(&gateway, transport, dialect).await == count).await;
    }
    // One that polls first goes over.
    clients.connected("goes over", &gateway.url(), json!({})).await;
    until("its WebSocket", async || open(&gateway, "websocket", "socketio").await == 2).await;
    assert_eq!(open(&gateway, "polling", "socketio").await, 1);
    assert_eq!(metric(&gateway, "weft_gateway_connections").await, 8);
    drop((native, c, e, stream));
    for id in ["polls", "socket", "goes over"] {
        clients.tell(json!({"op": "close", "id": id})).await;
    }
    until("all are gone", async || metric(&gateway, "weft_gateway_connections").await == 0).await;
    for (transport, dialect, _) in kinds {
        assert_eq!(open(&gateway, transport, dialect).await, 0, "{dialect} by {transport}");
    }
    assert_eq!(metric(&gateway, "weft_gateway_connections_opened_total").await, 8);
    until("their lives", async || metric(&gateway, "weft_gateway_connection_seconds_count").await == 8).await;
    assert_eq!(metric(&gateway, "weft_gateway_closes_total").await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_behind_show_it_also_while_nothing_can_be_written() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_PING_SECS", "1"), ("WEFT_PONG_SECS", "600"), ("WEFT_STALL_SECS", "600")]).await;
    let (count, sum) = ("weft_gateway_cursor_lag_events_count", "weft_gateway_cursor_lag_events_sum");
    let mut stalled = Socket::open_with(&gateway.address(), None, 4096).await.expect("an upgrade");
    stalled.hear_a("connected").await;
    stalled.subscribe(json!({"executionId": "flood"})).await;
    until("it was looked at", async || metric(&gateway, count).await > 0).await;
    assert_eq!(metric(&gateway, sum).await, 0, "nothing to be told");
    let event = |n: u64| json!({"type": "log", "executionId": "flood", "data": {"n": n, "message": "x".repeat(20_000)}});
    for first in (0..600).step_by(30) {
        publish(&gateway, (first..first + 30).map(event).collect()).await;
    }
    until("it is behind", async || metric(&gateway, sum).await > 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_again_is_counted() {
    let broker = Broker::start(Kind::Redis).await;
    let gateway = broker.gateway(&[]).await;
    let replayed = async || metric(&gateway, "weft_gateway_replayed_events_total").await;
    publish_numbers(&gateway, "e", 1..=50).await;
    let mut socket = Socket::open(&gateway).await;
    socket.subscribe(json!({"executionId": "e", "offset": "0"})).await;
    let tenth = socket.hear_numbers(1..=10).await["offset"].clone();
    socket.hear_numbers(11..=50).await;
    assert_eq!(replayed().await, 50, "of history");
    publish_numbers(&gateway, "e", 51..=60).await;
    socket.hear_numbers(51..=60).await;
    assert_eq!(replayed().await, 50, "what is live is none");
    let last = {
        let mut socket = Socket::open(&gateway).await;
        socket.subscribe(json!({"executionId": "e", "offset": tenth})).await;
        socket.hear_numbers(11..=60).await["offset"].clone()
    };
    until("the rest", async || replayed().await >= 100).await;
    let mut socket = Socket::open(&gateway).await;
    socket.subscribe(json!({"executionId": "e", "offset": last})).await;
    socket.hears_nothing_more().await;
    assert_eq!(replayed().await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_counts_the_events_that_are_missing_where_that_is_known() {
    for (kind, missing) in [(Kind::Redis, 30), (Kind::JetStream, 1)] {
        let broker = Broker::start(kind).await;
        let env = [("WEFT_RETENTION_EVENTS", "1000"), ("WEFT_LINGER_SECS", "0")];
        let gateway = broker.gateway(&env).await;
        let failed =
            async |reason: &str| metric(&gateway, &format!("weft_gateway_failed_deliveries_total{{reason=\"{reason}\"}}")).await;
        publish_numbers(&gateway, "e", 1..=20).await;
        let at_twenty = {
            let mut socket = Socket::open(&gateway).await;
            socket.subscribe(json!({"executionId": "e", "offset": "0"})).await;
            socket.hear_numbers(1..=20).await["offset"].clone()
        };
        until("nobody follows it", async || metric(&gateway, "weft_gateway_rooms").await == 0).await;
        publish_numbers(&gateway, "e", 21..=1050).await;
        let mut socket = Socket::open(&gateway).await;
        socket.subscribe(json!({"executionId": "e", "offset": at_twenty})).await;
        let gap = socket.hear_a("gap").await;
        assert_eq!((failed("retention").await, failed("limit").await), (missing, 0), "{kind:?}: {gap}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_all_clients_is_timed_for_one_event_in_64() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let count = async || metric(&gateway, "weft_gateway_fanout_seconds_count").await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        let mut socket = Socket::open(&gateway).await;
        socket.subscribe(json!({"executionId": "e"})).await;
        sockets.push(socket);
    }
    publish_numbers(&gateway, "e", 1..=129).await;
    for socket in &mut sockets {
        socket.hear_numbers(1..=129).await;
    }
    until("they are told", async || count().await >= 3).await;
    assert_eq!(count().await, 3, "of the first, the 65th and the 129th that came here");
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_told_beside_what_they_bound() {
    let broker = Broker::start(Kind::Memory).await;
    let env = [("WEFT_CONNECTIONS_MAX", "77"), ("WEFT_ROOMS_MAX", "88"), ("WEFT_LOGS_BYTES_MAX", "99000000")];
    let gateway = broker.gateway(&env).await;
    for (name, bound) in
        [("weft_gateway_connections_max", 77), ("weft_gateway_rooms_max", 88), ("weft_gateway_logs_bytes_max", 99_000_000)]
    {
        assert_eq!(metric(&gateway, name).await, bound, "{name}");
    }
}

/// What a process wrote, each line an object.
fn log_of(gateway: &Process) -> Vec<Value> {
    let text = std::fs::read_to_string(gateway.log()).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_connections_together_and_of_none_alone() {
    let broker = Broker::start(Kind::Memory).await;
    let mut gateway = broker.gateway(&[("WEFT_LOG", "info"), ("WEFT_LOG_FORMAT", "json"), ("WEFT_DRAIN_SECS", "0")]).await;
    let before = log_of(&gateway).len();
    for _ in 0..20 {
        let mut socket = Socket::open(&gateway).await;
        socket.subscribe(json!({"executionId": "e"})).await;
        publish_numbers(&gateway, "e", 1..=1).await;
        socket.hear_number().await;
    }
    until("they are gone", async || metric(&gateway, "weft_gateway_closes_total").await == 20).await;
    let mut stays = Socket::open(&gateway).await;
    let (status, code) = tokio::join!(gateway.terminate(crate::support::SOON), stays.hear_close());
    assert_eq!((status.expect("it leaves").code(), code), (Some(0), Some(1012)));
    let lines = log_of(&gateway);
    let summaries: Vec<_> = lines.iter().filter(|line| line["message"] == "summary").collect();
    let sum = |field: &str| summaries.iter().filter_map(|line| line[field].as_u64()).sum::<u64>();
    assert_eq!((sum("opened"), sum("closed")), (21, 21), "{summaries:#?}");
    assert_eq!((sum("events"), sum("deliveries"), sum("failed_deliveries")), (20, 20, 0), "{summaries:#?}");
    let ends: String = summaries.iter().filter_map(|line| line["ends"].as_str()).collect::<Vec<_>>().join(", ");
    assert!(ends.contains("1012 drain: 1") && ends.contains(" lost: "), "{ends}");
    // Of which a slow machine may need a further one each half minute.
    let further = lines.len() - before - summaries.len();
    assert!(further <= 5, "{lines:#?}");
}
