//! Taking back one token, or all of a tenant, over HTTP: on every gateway, and nobody else's. What executors without a broker
//! send and hear ends with their tokens as well.

use crate::{
    auth_rig::{self, CONTROL, Ws, ask, ask_at, controlled, now, token},
    auth_watch::Watched,
    support::{Broker, Kind, SHARED, SOON},
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn revoke(control: &str, what: Value) -> u16 {
    ask_at(&format!("http://{control}"), "POST", "/admin/revoke", Some(CONTROL), Some(what)).await.0
}

async fn two(broker: &Broker) -> ([Watched; 2], String) {
    let (first, control) = controlled(broker, &[]).await;
    ([first, auth_rig::gateway(broker, &[]).await], control)
}

/// Somebody on one of the gateways.
struct There {
    name: &'static str,
    bearer: String,
    gateway: usize,
    socket: Ws,
}

/// Users of two tenants and of none, and what tells their tokens apart.
fn tokens() -> [(&'static str, String); 5] {
    [
        ("the stolen one", json!({"sub": "ada", "tenant": "acme", "jti": "stolen"})),
        ("her other one", json!({"sub": "ada", "tenant": "acme", "jti": "kept"})),
        ("a colleague's", json!({"sub": "bob", "tenant": "acme"})),
        ("a namesake's", json!({"sub": "ada", "tenant": "umbra", "jti": "stolen"})),
        ("one without a tenant", json!({"sub": "ada", "jti": "stolen"})),
    ]
    .map(|(name, claims)| (name, token(claims)))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_and_then_its_tenant_are_taken_back_everywhere_and_nobody_elses() {
    join_all(SHARED.map(taken_back)).await;
}

async fn taken_back(kind: Kind) {
    let broker = Broker::start(kind).await;
    let (gateways, control) = two(&broker).await;
    let mut there = Vec::new();
    for (name, bearer) in tokens() {
        for (gateway, process) in gateways.iter().enumerate() {
            let mut socket = Ws::bearing(process, "/api/ws", &bearer).await;
            socket.hear("connected").await;
            there.push(There { name, bearer: bearer.clone(), gateway, socket });
        }
    }
    for wrong in [json!({}), json!({"token": "stolen", "subject": "ada"}), json!({"token": ""}), json!({"jti": "stolen"})] {
        assert_eq!(revoke(&control, wrong.clone()).await, 400, "{kind:?}: {wrong}");
    }
    for (what, whose) in [
        (json!({"tenant": "acme", "token": "stolen"}), &["the stolen one"][..]),
        (json!({"tenant": "acme"}), &["her other one", "a colleague's"]),
    ] {
        assert_eq!(revoke(&control, what.clone()).await, 204, "{kind:?}");
        let (gone, left): (Vec<_>, Vec<_>) = there.into_iter().partition(|one| whose.contains(&one.name));
        assert_eq!(gone.len(), whose.len() * gateways.len());
        for mut one in gone {
            assert_eq!(one.socket.closes().await, Some(4401), "{kind:?}: {} by {what}", one.name);
            // The gateway has heard of it, so that what comes from now on is refused for good.
            let again = Ws::bearing(&gateways[one.gateway], "/api/ws", &one.bearer).await.closes().await;
            assert_eq!(again, Some(4401), "{kind:?}: {} by {what}", one.name);
            let listed = ask(&gateways[one.gateway], "GET", "/api/executions", Some(&one.bearer), None).await;
            assert_eq!(listed.0, 401, "{kind:?}: {} by {what}", one.name);
        }
        there = left;
        for one in &mut there {
            one.socket.say(json!({"type": "ping", "ref": "there"})).await;
            one.socket.hear(r#""ref":"there""#).await;
            let listed = ask(&gateways[one.gateway], "GET", "/api/executions", Some(&one.bearer), None).await;
            assert_eq!(listed.0, 200, "{kind:?}: {} is spared by {what}", one.name);
        }
    }
    let left: Vec<_> = there.iter().map(|one| one.name).collect();
    assert_eq!(left, ["a namesake's", "a namesake's", "one without a tenant", "one without a tenant"], "{kind:?}");
}

/// A publication of which half has come.
struct Slow {
    socket: TcpStream,
    rest: String,
}

impl Slow {
    async fn begin(gateway: &Watched, bearer: &str, execution: &str) -> Self {
        let body = auth_rig::log(execution, Some("ada"), "too late").to_string();
        let (half, rest) = body.split_at(body.len() / 2);
        let head = format!(
            "POST /api/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {bearer}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{half}",
            body.len()
        );
        let mut socket = TcpStream::connect(gateway.address()).await.expect("connected");
        socket.write_all(head.as_bytes()).await.expect("written");
        Self { socket, rest: rest.to_owned() }
    }

    /// What the whole of it is answered.
    async fn finish(mut self) -> String {
        self.socket.write_all(self.rest.as_bytes()).await.expect("written");
        let mut answer = String::new();
        let read = tokio::time::timeout(SOON, self.socket.read_to_string(&mut answer)).await;
        read.expect("an answer, in time").expect("an answer");
        answer
    }
}

async fn listen(gateway: &Watched, bearer: &str, executor: &str) -> reqwest::Response {
    let url = format!("{}/api/commands?executor={executor}", gateway.url());
    let request = weft_testkit::http::client().get(url).bearer_auth(bearer).timeout(SOON * 4);
    request.send().await.expect("an answer")
}

/// How a token ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Expired,
    Revoked,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_executors_without_a_broker_hear_and_publish_ends_with_their_tokens() {
    for end in [End::Expired, End::Revoked] {
        join_all(SHARED.map(|kind| executors_end(kind, end))).await;
    }
}

async fn executors_end(kind: Kind, end: End) {
    let broker = Broker::start(kind).await;
    let (gateways, control) = two(&broker).await;
    let scope = "executions:run events:publish";
    // Long enough to be there, on a machine that is busy.
    let life = if matches!(end, End::Expired) { 12 } else { 3600 };
    let runner = token(json!({"sub": "runner", "scope": scope, "jti": "runner", "exp": now() + life}));
    let other = token(json!({"sub": "other", "scope": scope}));
    let (mut streams, mut publications, mut spared) = (Vec::new(), Vec::new(), Vec::new());
    for (index, gateway) in gateways.iter().enumerate() {
        for (bearer, executor, streams) in [(&runner, "r", &mut streams), (&other, "o", &mut spared)] {
            let stream = listen(gateway, bearer, &format!("{executor}{index}")).await;
            assert_eq!(stream.status().as_u16(), 200, "{kind:?} {end:?}");
            streams.push(stream);
        }
        let event = auth_rig::log(&format!("in-time-{index}"), None, "in time");
        assert_eq!(ask(gateway, "POST", "/api/events", Some(&runner), Some(event)).await.0, 202, "{kind:?} {end:?}");
        publications.push(Slow::begin(gateway, &runner, &format!("late-{index}")).await);
    }
    if matches!(end, End::Revoked) {
        assert_eq!(revoke(&control, json!({"token": "runner"})).await, 204, "{kind:?}");
    }
    for mut stream in streams {
        let to_the_end = async { while stream.chunk().await.expect("not cut off").is_some() {} };
        tokio::time::timeout(SOON, to_the_end).await.expect("the stream ends with the token");
    }
    let admin = token(json!({"sub": "root", "scope": "admin"}));
    for (index, (gateway, publication)) in gateways.iter().zip(publications).enumerate() {
        let answer = publication.finish().await;
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("unauthenticated"), "{kind:?} {end:?}: {answer}");
        let (status, told) = ask(gateway, "GET", &format!("/api/executions/late-{index}/events"), Some(&admin), None).await;
        assert!(status == 404 || !told.contains("too late"), "{kind:?} {end:?}: nothing of it is stored: {told}");
        let event = auth_rig::log("later", None, "later");
        let registered = json!({"executions": [], "workflows": []});
        for (method, path, body) in [
            ("POST", "/api/events", Some(event)),
            ("PUT", "/api/commands/r0", Some(registered)),
            ("POST", "/api/commands/r/reply", Some(json!({"ok": true}))),
            ("GET", "/api/commands?executor=r0", None),
        ] {
            let (status, answer) = ask(gateway, method, path, Some(&runner), body).await;
            assert_eq!(status, 401, "{kind:?} {end:?} {method} {path}: {answer}");
        }
        let event = auth_rig::log(&format!("others-{index}"), None, "in time");
        assert_eq!(ask(gateway, "POST", "/api/events", Some(&other), Some(event)).await.0, 202, "{kind:?} {end:?}");
    }
    for mut stream in spared {
        // It says that it is there every 10 s.
        let next = tokio::time::timeout(SOON, stream.chunk()).await.expect("a sign of life, in time");
        assert!(next.expect("not cut off").is_some(), "{kind:?} {end:?}: another's goes on");
    }
}
