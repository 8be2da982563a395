//! When a gateway says that it may be sent clients.

use crate::support::{Broker, Kind, SHARED, Socket, until};
use std::process::Stdio;
use weft_testkit::process::binary;

async fn readiness(admin_url: &str) -> (u16, String) {
    let answer = weft_testkit::http::client().get(format!("{admin_url}/readyz")).send().await;
    match answer {
        Ok(answer) => (answer.status().as_u16(), answer.text().await.expect("a body")),
        Err(_) => (0, String::new()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn not_before_its_broker_was_there_once_and_not_less_when_that_is_lost() {
    for kind in SHARED {
        let mut broker = Broker::start(kind).await;
        let mut gateway = broker.gateway(&[]).await;
        broker.kill();
        assert_eq!(readiness(&gateway.admin_url()).await.0, 200, "{kind:?}: an outage is the same for all gateways");
        gateway.launch().expect("started again");
        until("it answers", async || readiness(&gateway.admin_url()).await == (503, "bus".into())).await;
        broker.restart().await;
        until("it is ready", async || readiness(&gateway.admin_url()).await.0 == 200).await;
        let mut socket = Socket::open(&gateway).await;
        socket.hears_nothing_more().await;
    }
}

/// Keys and revocations are one condition: without either nobody with a token could be let in.
#[tokio::test(flavor = "multi_thread")]
async fn not_before_somebody_could_be_let_in() {
    let [nobody, admin] = [free_port(), free_port()];
    let mut command = tokio::process::Command::new(binary("gateway").expect("a gateway"));
    command
        .env_clear()
        .env("WEFT_BUS", "memory:")
        .env("WEFT_LISTEN", "127.0.0.1:0")
        .env("WEFT_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
        .env("WEFT_AUTH", "jwt")
        .env("WEFT_JWKS_URL", format!("http://127.0.0.1:{nobody}/keys"));
    let mut gateway = command.stderr(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn().expect("started");
    let url = format!("http://127.0.0.1:{admin}");
    until("everything else is there", async || readiness(&url).await == (503, "guard".into())).await;
    gateway.kill().await.expect("ended");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn also_with_as_many_connections_as_it_may_have() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_CONNECTIONS_MAX", "1")]).await;
    let _only = Socket::open(&gateway).await;
    let mut second = Socket::open_with(&gateway.address(), None, 0).await.expect("an upgrade");
    assert_eq!(second.hear_close().await, Some(1013));
    assert_eq!(readiness(&gateway.admin_url()).await, (200, "ready".into()), "a full fleet would leave its service together");
}
