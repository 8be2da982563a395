//! Connections do not grow older than they may.

use crate::{
    clients::Clients,
    drain::OURS,
    support::{Broker, Kind, Socket, publish_numbers, until},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_old_is_asked_to_come_back_but_for_clients_that_never_would() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_CONNECTION_AGE_MAX_SECS", "2")]).await;
    let mut clients = Clients::start();
    for transport in ["websocket", "polling"] {
        clients.connected(transport, &gateway.url(), json!({"transports": [transport]})).await;
        assert_eq!(clients.ask(transport, "subscribe", json!(["execution:e"])).await["ok"], true);
    }
    let mut c = Socket::open_at(&gateway, "/api/ws/executions/e").await.expect("an upgrade");
    let mut native = Socket::open_with(&gateway.address(), OURS, 0).await.expect("an upgrade");
    native.hear_a("connected").await;
    let hint = native.hear_a("reconnect").await["afterMs"].as_u64().expect("a hint");
    let (code, reason) = native.hear_or_goodbye().await.expect_err("the close");
    assert_eq!((code, reason), (1012, format!("max_age: come back after {hint} ms")));
    for transport in ["websocket", "polling"] {
        let reason = clients.happens(transport, "disconnect").await["reason"].clone();
        assert!(["transport close", "transport error"].contains(&reason.as_str().expect("a reason")), "{transport}: {reason}");
        assert_eq!(clients.happens(transport, "connect").await["recovered"], true, "{transport}");
    }
    // Twice as old as anybody else has become.
    let aged = "weft_gateway_closes_total{code=\"1012\",reason=\"max_age\"}";
    until("those who came back are old again", async || gateway.metric(aged).await.expect("metrics") >= 5.0).await;
    publish_numbers(&gateway, "e", 1..=1).await;
    assert_eq!(c.hear_a("log").await["type"], "log");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_maximum_nobody_is_asked() {
    let broker = Broker::start(Kind::Memory).await;
    let [bounded, unbounded] = [
        broker.gateway(&[("WEFT_CONNECTION_AGE_MAX_SECS", "1")]).await,
        broker.gateway(&[("WEFT_CONNECTION_AGE_MAX_SECS", "0")]).await,
    ];
    let mut stays = Socket::open(&unbounded).await;
    // As long as three generations live where there is one.
    for _ in 0..3 {
        assert_eq!(Socket::open(&bounded).await.hear_close().await, Some(1012));
    }
    stays.hears_nothing_more().await;
}
