//! A crowd that comes at once: who gets in when, and what the others are told.

use crate::{
    auth_rig::Ws,
    clients::Clients,
    drain::OURS,
    support::{Broker, Kind, SOON, Socket, get, until},
};
use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;
use weft_testkit::{
    process::{Process, ProcessOptions},
    proxy::Proxy,
};

/// How one that heeds hints got in: how often it was turned away, and by what hints.
async fn come_in(gateway: &Process) -> (Socket, Vec<u64>) {
    let mut hints = Vec::new();
    let end = tokio::time::Instant::now() + SOON;
    while tokio::time::Instant::now() < end {
        let mut socket = match Socket::open_with(&gateway.address(), OURS, 0).await {
            Ok(socket) => socket,
            Err(refused) => {
                assert!(refused.contains("503"), "{refused}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let first = socket.hear().await;
        if first["type"] == "connected" {
            return (socket, hints);
        }
        let hint = first["afterMs"].as_u64().unwrap_or_else(|| panic!("a hint was due, not {first}"));
        let (code, reason) = socket.hear_or_goodbye().await.expect_err("the close");
        assert_eq!((code, reason), (1013, format!("overloaded: come back after {hint} ms")));
        hints.push(hint);
        sleep(Duration::from_millis(hint)).await;
    }
    panic!("it did not get in within {SOON:?}; told {hints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_gets_in_one_after_the_other_and_nobody_starves() {
    let broker = Broker::start(Kind::Memory).await;
    // 40 at once, then ten a second.
    let gateway = broker.gateway(&[("WEFT_CONNECTS_PER_SEC", "10")]).await;
    let came = join_all((0..100).map(|_| come_in(&gateway))).await;
    let at_once = came.iter().filter(|(_, hints)| hints.is_empty()).count();
    let told = came.iter().filter(|(_, hints)| !hints.is_empty());
    assert!((40..100).contains(&at_once), "{at_once}");
    for (_, hints) in told {
        // It may be a moment early by its own clock, or have been overtaken; never again and again.
        assert!(hints.len() <= 5 && hints.iter().all(|hint| *hint <= 10_000), "{hints:?}");
    }
    assert_eq!(gateway.metric("weft_gateway_connections").await.expect("metrics") as usize, 100);
    let metrics = gateway.metrics().await.expect("metrics");
    let told: usize = came.iter().map(|(_, hints)| hints.len()).sum();
    assert!(metrics.contains(&format!("weft_gateway_closes_total{{code=\"1013\",reason=\"overloaded\"}} {told}")), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_told_waits_and_is_let_in_before_those_who_can() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_CONNECTS_PER_SEC", "10")]).await;
    // The budget is used up.
    let _first = join_all((0..40).map(|_| come_in(&gateway))).await;
    let mut clients = Clients::start();
    let ids: Vec<String> = (0..20).map(|n| format!("d{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        let transport = if n % 2 == 0 { "websocket" } else { "polling" };
        clients.open(id, &gateway.url(), json!({"transports": [transport], "reconnectionAttempts": 5})).await;
    }
    for id in &ids {
        let first = clients.next(id).await;
        assert_eq!(first["happened"], "connect", "{id} was not refused once: {first}");
    }
    let metrics = gateway.metrics().await.expect("metrics");
    assert!(metrics.contains("weft_gateway_turned_away_total{reason=\"rate\"} 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn far_beyond_the_budget_upgrades_are_refused_and_event_streams_are_told() {
    let broker = Broker::start(Kind::Memory).await;
    // Four at once; ten more are promised a moment.
    let gateway = broker.gateway(&[("WEFT_CONNECTS_PER_SEC", "1")]).await;
    let mut open = Vec::new();
    let refused = loop {
        assert!(open.len() < 200, "nobody is ever refused");
        match Socket::open_with(&gateway.address(), OURS, 0).await {
            Ok(socket) => open.push(socket),
            Err(refused) => break refused,
        }
    };
    assert!(refused.contains("503") && open.len() >= 14, "{}: {refused}", open.len());
    let client = weft_testkit::http::client();
    let upgrade = client.get(format!("{}/api/ws", gateway.url())).header("connection", "upgrade").header("upgrade", "websocket");
    let upgrade = upgrade.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer = upgrade.header("sec-websocket-protocol", "weft.v1.json").send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 503);
    let retry_after = answer.headers()["retry-after"].to_str().expect("text").parse::<u64>().expect("seconds");
    assert!((1..=20).contains(&retry_after), "{retry_after}");
    let stream = client.get(format!("{}/api/executions/e/events", gateway.url())).header("accept", "text/event-stream");
    let stream = stream.send().await.expect("an answer");
    assert_eq!(stream.status().as_u16(), 200, "an EventSource would take anything else for final");
    let told = stream.text().await.expect("it ends");
    assert!(told.starts_with("retry: ") && told.trim().lines().count() == 1, "{told}");
    assert_eq!(get(&gateway, "/api/ws/health").await.0, 200, "requests are not connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_one_room_does_not_wait_for_who_reads_a_hundred() {
    let broker = Broker::start(Kind::Redis).await;
    let url = broker.redis().url();
    let proxy = Proxy::start(url.trim_start_matches("redis://").trim_end_matches('/')).await.expect("a proxy");
    let options = ProcessOptions::gateway(&format!("redis://{}", proxy.address())).env("WEFT_READS_MAX", "1");
    let gateway = Process::start(options).await.expect("a gateway");
    let (mut many, mut one) = (Socket::open(&gateway).await, Socket::open(&gateway).await);
    proxy.latency(Duration::from_millis(50));
    let rooms: Vec<_> = (0..120).map(|n| json!({"room": format!("execution:r{n}"), "offset": "0"})).collect();
    many.say(json!({"type": "subscribe", "rooms": rooms})).await;
    let waiting = async || gateway.metric("weft_gateway_history_waiting").await.expect("metrics") as u64;
    until("most of them wait", async || waiting().await > 100).await;
    one.subscribe(json!({"executionId": "one", "offset": "0"})).await;
    assert!(waiting().await > 50, "by turns; else all of the others' reads would have come before");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_use_up_what_there_is_for_all() {
    let broker = Broker::start(Kind::Memory).await;
    // 20 at once for all; five of one address.
    let env = [("WEFT_CONNECTS_PER_SEC", "5"), ("WEFT_CONNECTS_PER_ADDRESS", "1"), ("WEFT_TRUSTED_PROXIES", "127.0.0.1/32")];
    let gateway = broker.gateway(&env).await;
    let from = |address: &str| {
        let headers = [("x-forwarded-for", address.to_owned()), ("sec-websocket-protocol", "weft.v1.json".to_owned())];
        let gateway = &gateway;
        async move { Ws::open(gateway, "/api/ws", &headers).await }
    };
    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(from("192.0.2.1").await);
    }
    let mut other = from("192.0.2.2").await;
    assert!(other.next().await.is_ok_and(|first| first.contains("connected")));
    let metrics = gateway.metrics().await.expect("metrics");
    assert!(metrics.contains("weft_gateway_turned_away_total{reason=\"rate\"} 0"), "{metrics}");
}
