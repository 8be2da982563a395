//! What one address may have behind a proxy that is trusted: the right-most address of `X-Forwarded-For` that is no such proxy
//! counts, over every transport together, and what a client writes there itself counts for nothing.

use crate::{
    auth_rig::{self, Ws, log, of, publish},
    auth_watch::Watched,
    support::{Broker, Kind, until},
};
use std::net::Ipv6Addr;

const MOST: usize = 3;
const LIMIT: (&str, &str) = ("WEFT_CONNECTIONS_PER_ADDRESS_MAX", "3");
/// Of connections that a test keeps without a word.
const PATIENT: [(&str, &str); 3] = [("WEFT_CONNECTS_PER_ADDRESS", "0"), ("WEFT_PING_SECS", "600"), ("WEFT_AUTH_SECS", "300")];
/// The tests are the outer proxy; an inner one is trusted besides.
const PROXIES: (&str, &str) = ("WEFT_TRUSTED_PROXIES", "127.0.0.1/32,10.0.0.0/8");

const WAYS: [&str; 6] = ["native", "C", "E", "Socket.IO by WebSocket", "Socket.IO by polling", "SSE"];

/// A connection that was let in. A session that polls is there until it answers no ping.
#[allow(dead_code)] // kept, and never looked at
enum Kept {
    Socket(Box<Ws>),
    Answer(reqwest::Response),
}

/// Comes with this in `X-Forwarded-For`; else how it is refused.
async fn come(gateway: &Watched, way: &str, forwarded: &str) -> Result<Kept, String> {
    match way {
        "native" => socket(gateway, "/api/ws", forwarded).await,
        "C" => socket(gateway, "/api/ws/executions/e", forwarded).await,
        "E" => socket(gateway, "/ws/executions/e/logs", forwarded).await,
        "Socket.IO by WebSocket" => socket(gateway, "/socket.io/?EIO=4&transport=websocket", forwarded).await,
        "Socket.IO by polling" => request(gateway, "/socket.io/?EIO=4&transport=polling", forwarded).await,
        _ => request(gateway, "/api/executions/e/events", forwarded).await,
    }
}

async fn socket(gateway: &Watched, path: &str, forwarded: &str) -> Result<Kept, String> {
    let headers = [("authorization", format!("Bearer {}", of("ada"))), ("x-forwarded-for", forwarded.to_owned())];
    let mut socket = Ws::try_open(gateway, path, &headers).await.map_err(|status| status.to_string())?;
    // Each is told something at once.
    match socket.next().await {
        Ok(_) => Ok(Kept::Socket(Box::new(socket))),
        Err(code) => Err(format!("close {}", code.unwrap_or_default())),
    }
}

async fn request(gateway: &Watched, path: &str, forwarded: &str) -> Result<Kept, String> {
    let request = weft_testkit::http::client().get(gateway.url() + path).bearer_auth(of("ada"));
    let request = request.header("accept", "text/event-stream").header("x-forwarded-for", forwarded);
    let answer = request.send().await.expect("an answer");
    if answer.status().is_success() {
        return Ok(Kept::Answer(answer));
    }
    let retries = answer.headers().contains_key("retry-after");
    Err(format!("{}{}", answer.status().as_u16(), if retries { ", come again" } else { "" }))
}

/// How one too many is told so.
fn refusal(way: &str) -> &'static str {
    match way {
        "native" | "C" | "E" => "close 1008",
        // Before the upgrade: its client comes again by itself, later and later.
        "Socket.IO by WebSocket" => "429",
        _ => "429, come again",
    }
}

async fn gateway(broker: &Broker, proxies: Option<(&str, &str)>) -> Watched {
    let env: Vec<_> = PATIENT.into_iter().chain([LIMIT]).chain(proxies).collect();
    let gateway = auth_rig::gateway(broker, &env).await;
    publish(&gateway, None, log("e", Some("ada"), "first")).await;
    gateway
}

async fn refused_so_far(gateway: &Watched) -> f64 {
    let text = gateway.metrics().await.expect("metrics");
    let series = "weft_guard_limited_total{limit=\"address\"} ";
    text.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).expect("a series")
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_one_address_has_its_share_of_all_transports_together() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = gateway(&broker, Some(PROXIES)).await;
    // A connection of each sort.
    let mut kept = Vec::new();
    for way in ["native", "SSE", "Socket.IO by polling"] {
        kept.push(come(&gateway, way, "192.0.2.1").await.unwrap_or_else(|refused| panic!("{way}: {refused}")));
    }
    assert_eq!(kept.len(), MOST);
    let mut refused = 0;
    for forwarded in [
        "192.0.2.1",
        // What stands to the left the client has made up.
        "198.51.100.9, 192.0.2.1",
        "127.0.0.1,192.0.2.1",
        // It came through the inner proxy too.
        "192.0.2.1, 10.1.2.3",
        "198.51.100.9, 192.0.2.1, 10.1.2.3, 10.4.5.6",
    ] {
        for way in WAYS {
            let outcome = come(&gateway, way, forwarded).await.err();
            assert_eq!(outcome.as_deref(), Some(refusal(way)), "{way}, {forwarded}");
            refused += 1;
        }
    }
    assert_eq!(refused_so_far(&gateway).await, f64::from(refused), "each of them, and nobody else");
    for (way, forwarded) in WAYS.into_iter().zip(2..).map(|(way, last)| (way, format!("192.0.2.1, 198.51.100.{last}"))) {
        assert!(come(&gateway, way, &forwarded).await.is_ok(), "{way}: another is right-most: {forwarded}");
    }
    // A place is given back with what had it.
    kept.remove(0);
    until("a place is given back", async || come(&gateway, "native", "192.0.2.1").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_of_ipv6_is_one_address() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = gateway(&broker, Some(PROXIES)).await;
    let address = |network: u16, host: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host).to_string();
    let mut kept = Vec::new();
    for (host, way) in (1..).zip(["E", "Socket.IO by WebSocket", "SSE"]) {
        kept.push(come(&gateway, way, &address(7, host)).await.unwrap_or_else(|refused| panic!("{way}: {refused}")));
    }
    assert_eq!(kept.len(), MOST);
    for (host, way) in (100..).zip(WAYS) {
        assert_eq!(come(&gateway, way, &address(7, host)).await.err().as_deref(), Some(refusal(way)), "{way}");
        assert!(come(&gateway, way, &address(host, 1)).await.is_ok(), "{way}: another network");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_else_says_of_addresses_is_not_believed() {
    let broker = Broker::start(Kind::Memory).await;
    // Connections come from this machine, whose own are not counted.
    let gateway = gateway(&broker, None).await;
    let mut kept = Vec::new();
    for way in WAYS.into_iter().chain(WAYS) {
        kept.push(come(&gateway, way, "192.0.2.1").await.unwrap_or_else(|refused| panic!("{way}: {refused}")));
    }
    assert_eq!(refused_so_far(&gateway).await, 0.0);
}
