//! Who is let in, by whichever way a token comes, and what it may do.

use crate::{
    auth_rig::{self, Polling, SECRET, Ws, ask, log, now, of, publish, service, signed, token},
    support::{Broker, Kind},
};
use serde_json::{Value, json};
use std::time::Duration;
use weft_testkit::process::Process;

/// Tokens that must not be accepted, each with its fault.
pub fn bad_tokens() -> Vec<(&'static str, String)> {
    let header = json!({"alg": "HS256"});
    let with = |claims: Value| signed(&header, &claims, SECRET);
    let good = json!({"sub": "ada", "iat": now() - 5, "exp": now() + 600});
    let whole = with(good.clone());
    let (head, rest) = whole.split_once('.').expect("three parts");
    let (body, signature) = rest.split_once('.').expect("three parts");
    let none = signed(&json!({"alg": "none"}), &good, SECRET);
    vec![
        ("no token at all", "x".into()),
        ("two parts", format!("{head}.{body}")),
        ("alg none", format!("{}.", none.rsplit_once('.').expect("parts").0)),
        ("alg none, signed", none),
        ("another algorithm", signed(&json!({"alg": "RS256"}), &good, SECRET)),
        ("another secret", signed(&header, &good, "another secret that is long enough for HS256")),
        (
            "another body",
            format!("{head}.{}.{signature}", &with(json!({"sub": "bob", "exp": now() + 60})).split('.').nth(1).expect("a body")),
        ),
        ("cut signature", format!("{head}.{body}.{}", &signature[..20])),
        ("expired", with(json!({"sub": "ada", "iat": now() - 100, "exp": now() - 1}))),
        ("not yet", with(json!({"sub": "ada", "iat": now(), "nbf": now() + 100, "exp": now() + 600}))),
        ("issued later", with(json!({"sub": "ada", "iat": now() + 100, "exp": now() + 600}))),
        ("no exp", with(json!({"sub": "ada", "iat": now()}))),
        ("no iat", with(json!({"sub": "ada", "exp": now() + 600}))),
        ("no sub", with(json!({"iat": now(), "exp": now() + 600}))),
        ("a sub that is no id", with(json!({"sub": "a b", "iat": now(), "exp": now() + 600}))),
        ("a tenant that is none", with(json!({"sub": "ada", "tenant": "a/b", "iat": now(), "exp": now() + 600}))),
        ("crit", signed(&json!({"alg": "HS256", "crit": ["x"]}), &good, SECRET)),
        ("too long a life", with(json!({"sub": "ada", "iat": now(), "exp": now() + 1_000_000}))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_refused_by_whichever_way_it_comes() {
    let broker = Broker::start(Kind::Memory).await;
    let env = [("WEFT_AUTH_COOKIE", "weft"), ("WEFT_ORIGINS", "https://app.example")];
    let gateway = auth_rig::gateway(&broker, &env).await;
    let mut accepted = Vec::new();
    let bad = bad_tokens();
    let (ways, count) = (8, bad.len());
    for (fault, token) in bad {
        let bearer = ("authorization", format!("Bearer {token}"));
        let cookie = [("cookie", format!("weft={token}")), ("origin", "https://app.example".into())];
        let protocol = ("sec-websocket-protocol", format!("weft.v1.json, weft.token.{token}"));
        let query = format!("/api/ws/executions/e?token={token}");
        for (way, path, headers) in [
            ("header", "/api/ws", &[bearer.clone()][..]),
            ("subprotocol", "/api/ws", &[protocol]),
            ("cookie", "/api/ws", &cookie),
            ("query", &query, &[]),
            ("header of E", "/ws/executions/e/logs", &[bearer]),
        ] {
            let closed = Ws::open(&gateway, path, headers).await.closes().await;
            if closed != Some(4401) {
                accepted.push(format!("{fault} by {way}: {closed:?}"));
            }
        }
        let mut first = Ws::open(&gateway, "/api/ws", &[]).await;
        first.say(json!({"type": "auth", "token": token})).await;
        let closed = first.closes().await;
        if closed != Some(4401) {
            accepted.push(format!("{fault} by the first message: {closed:?}"));
        }
        let (_, answer) = Ws::socketio(&gateway, &json!({"token": token})).await;
        if !answer.contains("\"code\":\"unauthenticated\"") {
            accepted.push(format!("{fault} by Socket.IO: {answer}"));
        }
        for path in ["/api/executions", "/api/executions/e/events"] {
            let (status, body) = ask(&gateway, "GET", path, Some(&token), None).await;
            if status != 401 {
                accepted.push(format!("{fault} by {path}: {status} {body}"));
            }
        }
    }
    assert_eq!(accepted, Vec::<String>::new(), "of {count} tokens by {ways} ways");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_is_accepted_by_every_way() {
    let broker = Broker::start(Kind::Memory).await;
    let env = [("WEFT_AUTH_COOKIE", "weft"), ("WEFT_ORIGINS", "https://app.example")];
    let gateway = auth_rig::gateway(&broker, &env).await;
    publish(&gateway, None, log("e", Some("ada"), "first")).await;
    let token = of("ada");
    let subscribe = json!({"type": "subscribe", "room": "execution:e", "offset": "0"});
    for headers in [
        vec![("authorization", format!("Bearer {token}"))],
        vec![("sec-websocket-protocol", format!("weft.v1.json, weft.token.{token}"))],
        vec![("cookie", format!("weft={token}")), ("origin", "https://app.example".into())],
        vec![],
    ] {
        let mut socket = Ws::open(&gateway, "/api/ws", &headers).await;
        socket.hear("connected").await;
        if headers.is_empty() {
            // Both at once: the second waits until the first is done.
            socket.say(json!({"type": "auth", "token": token, "ref": "a"})).await;
        }
        socket.say(subscribe.clone()).await;
        socket.hear("first").await;
    }
    for path in [format!("/api/ws/executions/e?offset=0&token={token}"), format!("/ws/executions/e/logs?token={token}")] {
        Ws::open(&gateway, &path, &[]).await.hear("first").await;
    }
    let (mut socket, answer) = Ws::socketio(&gateway, &json!({"token": format!("Bearer {token}")})).await;
    assert!(answer.starts_with("40{"), "{answer}");
    socket.text(r#"420["subscribe","execution:e"]"#.into()).await;
    let ack = socket.hear("430[").await;
    assert!(ack.contains(r#""ok":true"#), "{ack}");
    // Its own room it is in without asking.
    publish(&gateway, None, log("other", Some("ada"), "by the user's room")).await;
    socket.hear("by the user's room").await;
    let polling = Polling::open(&gateway).await;
    polling.say(format!("40{}", json!({"token": token}))).await;
    let answer = polling.poll(crate::support::SOON).await.expect("an answer");
    assert!(answer.contains("40{"), "{answer}");
    let (status, body) = ask(&gateway, "GET", "/api/executions", Some(&token), None).await;
    assert!(status == 200 && body.contains(r#""executionId":"e""#), "{status} {body}");
    let (_, others) = ask(&gateway, "GET", "/api/executions", Some(&of("bob")), None).await;
    assert!(!others.contains(r#""executionId""#), "{others}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_or_something_else_first_is_closed() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_AUTH_SECS", "1"), ("WEFT_AUTH_BYTES_MAX", "1024")]).await;
    let files = || std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("descriptors").count();
    let before = files();
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(Ws::open(&gateway, "/api/ws", &[]).await);
    }
    let mut eager = Ws::open(&gateway, "/api/ws", &[]).await;
    eager.say(json!({"type": "subscribe", "room": "execution:e"})).await;
    eager.hear("unauthenticated").await;
    assert_eq!(eager.closes().await, Some(4401));
    let mut large = Ws::open(&gateway, "/api/ws", &[]).await;
    large.say(json!({"type": "auth", "token": "x".repeat(5000)})).await;
    assert_eq!(large.closes().await, Some(1009));
    let mut packets = Ws::open(&gateway, "/socket.io/?EIO=4&transport=websocket", &[]).await;
    packets.text(format!("40{}", json!({"token": "x".repeat(5000)}))).await;
    assert_eq!(packets.closes().await, Some(1009));
    let (mut packets, _) = Ws::socketio(&gateway, &json!({"token": of("ada")})).await;
    packets.text(format!("420{}", json!(["subscribe", "user:ada", "x".repeat(5000)]))).await;
    packets.hear("430[").await;
    too_large_by_polling(&gateway).await;
    for socket in &mut silent {
        assert_eq!(socket.closes().await, Some(4401));
    }
    drop((silent, eager, large));
    crate::support::until("descriptors return", async || files() <= before + 2).await;
    // A large message is no matter once it is known who sends it.
    let mut known = Ws::open(&gateway, "/api/ws", &[]).await;
    known.say(json!({"type": "auth", "token": of("ada")})).await;
    known.hear("ack").await;
    known.say(json!({"type": "ping", "x": "x".repeat(5000)})).await;
    known.hear("pong").await;
}

/// Before a token is shown a poll may post no more than a WebSocket may say, nor may the WebSocket that it becomes.
async fn too_large_by_polling(gateway: &Process) {
    let large = format!("40{}", json!({"token": "x".repeat(5000)}));
    assert_eq!(Polling::open(gateway).await.post(large.clone()).await, 413);
    let upgrading = Polling::open(gateway).await;
    let mut socket = Ws::open(gateway, &upgrading.upgrade_path(), &[]).await;
    socket.text("2probe".into()).await;
    socket.hear("3probe").await;
    socket.text("5".into()).await;
    socket.text(large.clone()).await;
    assert_eq!(socket.closes().await, Some(1009));
    let known = Polling::open(gateway).await;
    assert_eq!(known.post(format!("40{}", json!({"token": of("ada")}))).await, 200);
    known.poll(crate::support::SOON).await.expect("an answer to CONNECT");
    assert_eq!(known.post(format!("420{}", json!(["subscribe", "user:ada", "x".repeat(5000)]))).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_and_acting_need_their_scopes() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[]).await;
    publish(&gateway, None, log("e", Some("ada"), "first")).await;
    let own = token(json!({"sub": "ada", "scope": "events:publish:own"}));
    let narrowed = token(json!({"sub": "s", "scope": "events:publish", "publish": ["execution:a-*"]}));
    let wide = token(json!({"sub": "s", "scope": "events:publish", "publish": ["execution:a-*", "user:*"]}));
    for (bearer, event, expected) in [
        (None, log("e", None, "x"), 401),
        (Some(of("ada")), log("e", Some("ada"), "x"), 403),
        (Some(own.clone()), log("e", Some("ada"), "x"), 202),
        (Some(own.clone()), log("e", Some("bob"), "x"), 403),
        (Some(own), log("e", None, "x"), 403),
        (Some(narrowed.clone()), log("a-1", None, "x"), 202),
        (Some(narrowed.clone()), log("b-1", None, "x"), 403),
        // Each room that it reaches counts, not the first alone.
        (Some(narrowed.clone()), log("a-1", Some("victim"), "x"), 403),
        (Some(narrowed.clone()), json!({"type": "kb:processing", "executionId": "a-1", "knowledgeBaseId": "k"}), 403),
        (Some(narrowed), json!({"type": "agent:token", "executionId": "a-1", "agentId": "x", "data": {"token": "t"}}), 202),
        (Some(wide), log("a-2", Some("ada"), "x"), 202),
        (Some(service(None)), log("e", Some("bob"), "x"), 409),
    ] {
        let shown = event.to_string();
        let (status, body) = ask(&gateway, "POST", "/api/events", bearer.as_deref(), Some(event)).await;
        assert_eq!(status, expected, "{shown}: {body}");
    }
    let reader = token(json!({"sub": "r", "rooms": ["execution:e"]}));
    let actor = token(json!({"sub": "r", "rooms": ["execution:e"], "scope": "executions:act"}));
    let admin = token(json!({"sub": "root", "scope": "admin"}));
    for (bearer, execution, expected) in [
        (of("ada"), "e", 503),
        (of("bob"), "e", 403),
        (of("bob"), "nowhere", 403),
        (reader, "e", 403),
        (actor, "e", 503),
        (admin.clone(), "e", 503),
    ] {
        let (status, body) = ask(&gateway, "POST", &format!("/api/executions/{execution}/cancel"), Some(&bearer), None).await;
        assert_eq!(status, expected, "{execution}: {body}");
    }
    for (path, bearer, expected) in [
        ("/api/fleet", of("ada"), 403),
        ("/api/fleet", admin, 200),
        ("/api/commands?executor=x", of("ada"), 403),
        ("/api/executions/e", of("ada"), 200),
        ("/api/executions/e", of("bob"), 404),
        ("/api/executions/nowhere", of("bob"), 404),
        ("/api/rooms/user:ada/events", of("bob"), 403),
    ] {
        let (status, body) = ask(&gateway, "GET", path, Some(&bearer), None).await;
        assert_eq!(status, expected, "{path}: {body}");
    }
}

/// What does not exist and what is somebody else's are answered in the same words.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_what_exists() {
    for kind in [Kind::Memory, Kind::JetStream, Kind::Redis] {
        let broker = Broker::start(kind).await;
        let gateway = auth_rig::gateway(&broker, &[]).await;
        publish(&gateway, None, log("hers", Some("ada"), "x")).await;
        publish(&gateway, None, log("nobodys", None, "x")).await;
        for path in
            ["/api/executions/@", "/api/executions/@/events", "/api/rooms/execution:@/events", "/api/rooms/agent:a:@/events"]
        {
            let mut answers = Vec::new();
            for execution in ["hers", "nobodys", "none"] {
                answers.push(ask(&gateway, "GET", &path.replace('@', execution), Some(&of("bob")), None).await);
            }
            assert_eq!(answers[0].0, 404, "{kind:?} {path}: {answers:?}");
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{kind:?} {path}: {answers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_public_needs_no_token() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_ANONYMOUS_ROOMS", "execution:demo-*")]).await;
    publish(&gateway, None, json!([log("demo-1", Some("ada"), "shown"), log("e", Some("ada"), "hidden")])).await;
    Ws::open(&gateway, "/ws/executions/demo-1/logs", &[]).await.hear("shown").await;
    assert_eq!(Ws::open(&gateway, "/ws/executions/e/logs", &[]).await.closes().await, Some(4403));
    let mut socket = Ws::open(&gateway, "/api/ws", &[]).await;
    socket.say(json!({"type": "subscribe", "room": "execution:e", "offset": "0"})).await;
    socket.hear("forbidden").await;
    socket.say(json!({"type": "subscribe", "room": "execution:demo-1", "offset": "0"})).await;
    socket.hear("shown").await;
    // A guest may show a token later.
    socket.say(json!({"type": "auth", "token": of("ada")})).await;
    socket.hear("ack").await;
    socket.say(json!({"type": "subscribe", "room": "execution:e", "offset": "0"})).await;
    socket.hear("hidden").await;
}

/// What an executor by HTTP is asked next, and its answer to it.
async fn serve_one(gateway: &Process, executor: &str, bearer: &str, stream: &mut reqwest::Response) -> Value {
    let mut text = String::new();
    while !text.contains("\n\n") || !text.contains("data:") {
        let more = tokio::time::timeout(crate::support::SOON, stream.chunk()).await.expect("in time").expect("a stream");
        text.push_str(&String::from_utf8_lossy(&more.unwrap_or_else(|| panic!("{executor} is listened to"))));
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data:")).expect("a command");
    let command: Value = serde_json::from_str(data).expect("JSON");
    let path = format!("/api/commands/{}/reply", command["ref"].as_str().expect("a ref"));
    let reply = json!({"outcome": "accepted", "status": "accepted"});
    let _ = ask(gateway, "POST", &path, Some(bearer), Some(reply)).await;
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_of_a_tenant_take_commands_of_that_tenant_alone() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[]).await;
    let runner = |tenant: &str| token(json!({"sub": "runner", "tenant": tenant, "scope": "executions:run"}));
    let ada = |tenant: &str| token(json!({"sub": "ada", "tenant": tenant}));
    let mut streams = Vec::new();
    for tenant in ["acme", "umbra"] {
        // The same name in both.
        let url = format!("{}/api/commands?executor=x", gateway.url());
        let request = weft_testkit::http::client().get(url).bearer_auth(runner(tenant)).timeout(crate::support::SOON * 4);
        streams.push(request.send().await.expect("a stream"));
        assert_eq!(streams.last().expect("one").status().as_u16(), 200);
        let workflow = format!("of-{tenant}");
        let body = json!({"executions": ["e"], "workflows": [{"name": workflow}]});
        let (status, answer) = ask(&gateway, "PUT", "/api/commands/x", Some(&runner(tenant)), Some(body)).await;
        assert_eq!(status, 204, "{answer}");
    }
    let (_, listed) = ask(&gateway, "GET", "/api/workflows", Some(&ada("acme")), None).await;
    assert!(listed.contains("of-acme") && !listed.contains("of-umbra"), "{listed}");
    let (status, _) = ask(&gateway, "POST", "/api/workflows/of-umbra/execute", Some(&ada("acme")), None).await;
    assert_eq!(status, 503, "nobody of acme runs it");
    let (_, none) = ask(&gateway, "GET", "/api/workflows", Some(&of("ada")), None).await;
    assert!(!none.contains("of-"), "{none}");
    publish(&gateway, Some("acme"), log("e", Some("ada"), "x")).await;
    let acme = runner("acme");
    let (asker, body) = (ada("acme"), json!({"inputs": {}, "userId": "bob"}));
    let asked = ask(&gateway, "POST", "/api/workflows/of-acme/execute", Some(&asker), Some(body));
    let (_, command) = tokio::join!(asked, serve_one(&gateway, "x", &acme, &mut streams[0]));
    assert_eq!(
        (&command["kind"], &command["subject"], &command["body"]["userId"]),
        (&json!("execute"), &json!("ada"), &Value::Null)
    );
    let asked = ask(&gateway, "POST", "/api/executions/e/cancel", Some(&asker), None);
    let (_, command) = tokio::join!(asked, serve_one(&gateway, "x", &acme, &mut streams[0]));
    assert_eq!((&command["kind"], &command["subject"]), (&json!("cancel"), &json!("ada")));
    // Nothing of it has reached the namesake.
    let nothing = tokio::time::timeout(Duration::from_millis(500), streams[1].chunk()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

/// The console is a page of the gateway's own host; others are listed. A cookie comes along from any page.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_its_own_host_come_in_unlisted_where_tokens_are_shown() {
    let broker = Broker::start(Kind::Memory).await;
    let bearing = auth_rig::gateway(&broker, &[]).await;
    let cookies = [("WEFT_AUTH_COOKIE", "weft"), ("WEFT_ORIGINS", "https://app.example")];
    let cookie = auth_rig::gateway(&broker, &cookies).await;
    for (gateway, own_status) in [(&bearing, 200), (&cookie, 403)] {
        for (origin, expected) in [(gateway.url(), own_status), ("https://evil.example".to_owned(), 403)] {
            let request = weft_testkit::http::client().get(format!("{}/api/executions", gateway.url()));
            let answer = request.bearer_auth(of("ada")).header("origin", &origin).send().await.expect("an answer");
            assert_eq!(answer.status().as_u16(), expected, "{origin}");
        }
    }
}
