//! Revocations that cannot be read: once they are too old nobody new is let in, whoever is there stays, and a gateway that was
//! cut off learns what was taken back meanwhile before it lets anybody in again.

use crate::{
    auth_ends::refused_everywhere,
    auth_rig::{self, CONTROL, Polling, Ws, ask, ask_at, controlled, log, of, pid, publish, service, token},
    auth_watch::Watched,
    support::{Broker, Kind, SHARED, SOON, until},
};
use futures_util::future::join_all;
use serde_json::json;
use weft_testkit::proxy::Proxy;

/// Longer than a busy machine holds a gateway up, so that revocations are too old only where they cannot be read. Clients that
/// a test does not read for a while answer no pings.
const ENV: [(&str, &str); 3] =
    [("WEFT_REVOCATION_CHECK_SECS", "1"), ("WEFT_REVOCATION_STALE_SECS", "10"), ("WEFT_PING_SECS", "600")];

/// One user's connections, following one execution.
struct There {
    native: Ws,
    packets: Ws,
    stream: reqwest::Response,
    /// How its session of Socket.IO is gone on with.
    pid: String,
}

impl There {
    async fn come(gateway: &Watched, execution: &str, bearer: &str) -> Self {
        let mut native = Ws::bearing(gateway, "/api/ws", bearer).await;
        native.say(json!({"type": "subscribe", "executionId": execution})).await;
        native.hear("subscribed").await;
        let (mut packets, answer) = Ws::socketio(gateway, &json!({"token": bearer})).await;
        packets.text(format!("420{}", json!(["subscribe", format!("execution:{execution}")]))).await;
        packets.hear("430[").await;
        let stream = stream(gateway, execution, bearer).await;
        assert_eq!(stream.status().as_u16(), 200);
        Self { native, packets, stream, pid: pid(&answer) }
    }

    /// Every one of them hears of an event.
    async fn hear(&mut self, mark: &str) {
        self.native.hear(mark).await;
        self.packets.hear(mark).await;
        let mut told = String::new();
        while !told.contains(mark) {
            told.push_str(&self.chunk().await.unwrap_or_else(|| panic!("{mark} was due, not the end after {told}")));
        }
    }

    async fn chunk(&mut self) -> Option<String> {
        let chunk = tokio::time::timeout(SOON * 2, self.stream.chunk()).await.expect("in time").expect("not cut off");
        chunk.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Nothing was said that closes one.
    async fn is_there(&mut self) {
        self.native.say(json!({"type": "ping", "ref": "there"})).await;
        self.native.hear(r#""ref":"there""#).await;
        // Answered without the broker.
        self.packets.text("421[\"nothing\"]".into()).await;
        self.packets.hear("431[").await;
    }

    async fn end(mut self) {
        assert_eq!(self.native.closes().await, Some(4401));
        assert_eq!(self.packets.closes().await, Some(4401));
        while self.chunk().await.is_some() {}
    }
}

async fn stream(gateway: &Watched, execution: &str, bearer: &str) -> reqwest::Response {
    let url = format!("{}/api/executions/{execution}/events", gateway.url());
    let request = weft_testkit::http::client().get(url).header("accept", "text/event-stream").bearer_auth(bearer);
    request.timeout(SOON * 4).send().await.expect("an answer")
}

/// Whether somebody who comes now is let in; if not, by which code it is closed.
async fn comes_in(gateway: &Watched, bearer: &str) -> Result<(), Option<u16>> {
    let mut socket = Ws::bearing(gateway, "/api/ws", bearer).await;
    match socket.next().await {
        Ok(text) if text.contains("connected") => Ok(()),
        Ok(_) => Err(socket.closes().await),
        Err(code) => Err(code),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_revocations_are_too_old_nobody_comes_in_and_whoever_is_there_stays() {
    join_all(SHARED.map(without_broker)).await;
}

async fn without_broker(kind: Kind) {
    let mut broker = Broker::start(kind).await;
    let gateway = auth_rig::gateway(&broker, &ENV).await;
    publish(&gateway, None, log("e", Some("ada"), "first")).await;
    let ada = of("ada");
    let mut there = There::come(&gateway, "e", &ada).await;
    everybody_comes_in(&gateway, kind, &ada).await;
    broker.kill();
    until("revocations are too old", async || comes_in(&gateway, &ada).await.is_err()).await;
    sockets_are_told_to_come_later(&gateway, kind, &ada).await;
    requests_are_told_to_come_later(&gateway, kind).await;
    renewals_wait(&mut there, kind).await;
    there.is_there().await;
    let metrics = gateway.metrics().await.expect("metrics");
    assert!(!metrics.contains("weft_guard_tokens_total{outcome=\"stale\"} 0"), "{metrics}");
    broker.restart().await;
    until("somebody comes in again", async || comes_in(&gateway, &ada).await.is_ok()).await;
    everybody_comes_in(&gateway, kind, &ada).await;
    until("events are stored again", async || {
        let event = log("e", Some("ada"), "after all");
        ask(&gateway, "POST", "/api/events", Some(&service(None)), Some(event)).await.0 == 202
    })
    .await;
    there.hear("after all").await;
}

async fn everybody_comes_in(gateway: &Watched, kind: Kind, ada: &str) {
    assert_eq!(comes_in(gateway, ada).await, Ok(()), "{kind:?}");
    for path in ["/api/ws/executions/e", "/ws/executions/e/logs"] {
        let first = Ws::bearing(gateway, path, ada).await.next().await;
        assert!(first.is_ok(), "{kind:?} {path}: {first:?}");
    }
    for namespace in ["", "/executions,"] {
        let (_, answer) = Ws::socketio_in(gateway, namespace, &json!({"token": ada})).await;
        assert!(answer.starts_with(&format!("40{namespace}{{")), "{kind:?}: {answer}");
    }
    assert_eq!(stream(gateway, "e", ada).await.status().as_u16(), 200, "{kind:?}");
    until("its history is read", async || ask(gateway, "GET", "/api/executions/e/events", Some(ada), None).await.0 == 200).await;
}

/// 1013: with the same token, at another moment.
async fn sockets_are_told_to_come_later(gateway: &Watched, kind: Kind, ada: &str) {
    for path in ["/api/ws", "/api/ws/executions/e?offset=0", "/ws/executions/e/logs"] {
        assert_eq!(Ws::bearing(gateway, path, ada).await.closes().await, Some(1013), "{kind:?} {path}");
    }
    let mut first = Ws::open(gateway, "/api/ws", &[]).await;
    first.say(json!({"type": "auth", "token": ada})).await;
    assert_eq!(first.closes().await, Some(1013), "{kind:?}: as the first message");
    // A word of Socket.IO would keep its client away for good.
    for namespace in ["", "/executions,"] {
        let (_, answer) = Ws::socketio_in(gateway, namespace, &json!({"token": ada})).await;
        assert_eq!(answer, "closed Some(1013)", "{kind:?} {namespace}");
        let mut query = Ws::open(gateway, &format!("/socket.io/?EIO=4&transport=websocket&token={ada}"), &[]).await;
        query.hear("0{").await;
        query.text(format!("40{namespace}")).await;
        assert_eq!(query.closes().await, Some(1013), "{kind:?} {namespace}: in the query");
    }
    let polling = Polling::open(gateway).await;
    polling.say(format!("40{}", json!({"token": ada}))).await;
    let mut told = String::new();
    while let Some(text) = polling.poll(SOON).await {
        told.push_str(&text);
    }
    assert!(!told.contains("40{") && !told.contains("44{"), "{kind:?}: its session ends: {told}");
}

/// 503 with `Retry-After`; event streams by the end of one.
async fn requests_are_told_to_come_later(gateway: &Watched, kind: Kind) {
    let bearer = token(json!({"sub": "ada", "scope": "events:publish executions:run"}));
    for (method, path) in [
        ("GET", "/api/executions/e"),
        ("GET", "/api/executions/e/events?after=0"),
        ("GET", "/api/rooms/user:ada/events"),
        ("GET", "/api/executions"),
        ("POST", "/api/executions/e/cancel"),
        ("POST", "/api/events"),
        ("GET", "/api/commands?executor=x"),
        ("POST", "/api/commands/r/reply"),
        ("GET", "/socket.io/?EIO=4&transport=polling"),
    ] {
        let request = weft_testkit::http::client().request(method.parse().expect("a method"), gateway.url() + path);
        let answer = request.bearer_auth(&bearer).send().await.expect("an answer");
        let after = answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
        let (status, body) = (answer.status().as_u16(), answer.text().await.expect("a body"));
        assert!(status == 503 && after >= Some(1), "{kind:?} {method} {path}: {status} {after:?} {body}");
        assert!(body.contains(r#""code":"overloaded""#), "{kind:?} {method} {path}: not for want of the broker: {body}");
    }
    let streamed = stream(gateway, "e", &bearer).await;
    assert_eq!(streamed.status().as_u16(), 200, "{kind:?}: an EventSource would take anything else for final");
    let told = streamed.text().await.expect("it ends");
    assert!(told.starts_with("retry: ") && told.trim().lines().count() == 1, "{kind:?}: {told}");
}

/// A new token of who is there cannot be looked at either; the old one goes on to serve.
async fn renewals_wait(there: &mut There, kind: Kind) {
    there.native.say(json!({"type": "auth", "token": of("ada"), "ref": "newer"})).await;
    let refused = there.native.hear(r#""ref":"newer""#).await;
    assert!(refused.contains("overloaded"), "{kind:?}: {refused}");
    there.packets.text(format!("422{}", json!(["auth", {"token": of("ada")}]))).await;
    let refused = there.packets.hear("432[").await;
    assert!(refused.contains("overloaded"), "{kind:?}: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_while_a_gateway_was_cut_off_it_learns_before_it_lets_anybody_in() {
    join_all(SHARED.map(cut_off)).await;
}

async fn cut_off(kind: Kind) {
    let broker = Broker::start(kind).await;
    let (near, control) = controlled(&broker, &ENV).await;
    let (scheme, server) =
        broker.url().split_once("://").map(|(scheme, server)| (scheme.to_owned(), server.to_owned())).expect("a URL");
    let proxy = Proxy::start(server.trim_end_matches('/')).await.expect("a proxy");
    let bus = format!("{scheme}://{}", proxy.address());
    let env: Vec<_> = ENV.into_iter().chain([("WEFT_BUS", bus.as_str())]).collect();
    let far = auth_rig::gateway(&broker, &env).await;
    publish(&near, None, json!([log("hers", Some("ada"), "first"), log("his", Some("bob"), "first")])).await;
    let (ada, bob) = (of("ada"), of("bob"));
    let (mut hers, mut his) = (There::come(&far, "hers", &ada).await, There::come(&far, "his", &bob).await);
    proxy.stall();
    let control = format!("http://{control}");
    let revoked = ask_at(&control, "POST", "/admin/revoke", Some(CONTROL), Some(json!({"subject": "ada"})));
    assert_eq!(revoked.await.0, 204, "{kind:?}");
    assert_eq!(comes_in(&near, &ada).await, Err(Some(4401)), "{kind:?}");
    // What it cannot know it cannot act upon.
    hers.is_there().await;
    until("it knows too little", async || comes_in(&far, &bob).await == Err(Some(1013))).await;
    assert_eq!(comes_in(&far, &ada).await, Err(Some(1013)), "{kind:?}");
    hers.is_there().await;
    proxy.heal();
    let pid = hers.pid.clone();
    // There is no moment at which she is let in.
    until("it knows", async || match comes_in(&far, &ada).await {
        Err(Some(1013)) => false,
        outcome => {
            assert_eq!(outcome, Err(Some(4401)), "{kind:?}");
            true
        }
    })
    .await;
    hers.end().await;
    refused_everywhere(&far, kind, &ada, &pid).await;
    until("others come in", async || comes_in(&far, &bob).await.is_ok()).await;
    publish(&near, None, log("his", Some("bob"), "after all")).await;
    his.hear("after all").await;
}
