//! What becomes of who is in: subscriptions that wait, tokens that are renewed, expire and are taken back.

use crate::{
    auth_rig::{self, CONTROL, Polling, Ws, ask, ask_at, controlled, log, now, of, publish, token},
    clients::Clients,
    support::{Broker, Kind, SHARED, SOON},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What is told of a room, without the time at which.
fn without_time(text: &str) -> Value {
    let mut frame: Value = serde_json::from_str(text).expect("JSON");
    frame.as_object_mut().expect("an object").remove("timestamp");
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unknown_and_what_is_anothers_wait_alike_and_ones_own_begins() {
    for kind in [Kind::Memory, Kind::Redis] {
        let broker = Broker::start(kind).await;
        let gateway = auth_rig::gateway(&broker, &[("WEFT_PENDING_TIMEOUT", "4")]).await;
        publish(&gateway, None, log("hers", Some("ada"), "secret")).await;
        let mut socket = Ws::bearing(&gateway, "/api/ws", &of("bob")).await;
        socket.hear("connected").await;
        let asked = Instant::now();
        for execution in ["hers", "none", "his"] {
            socket.say(json!({"type": "subscribe", "room": format!("execution:{execution}"), "ref": "r"})).await;
        }
        socket.say(json!({"type": "subscribe", "room": "user:bob"})).await;
        // His own room waits for none of these.
        socket.hear("user:bob").await;
        assert_eq!(socket.next_within(Duration::from_millis(500)).await, None, "nothing is told while it waits");
        publish(
            &gateway,
            None,
            json!([log("his", Some("bob"), "one"), log("hers", Some("ada"), "secret"), log("his", None, "two")]),
        )
        .await;
        let (mut told, mut refused) = (Vec::new(), Vec::new());
        while refused.len() < 2 {
            let text = socket.next().await.expect("a frame");
            match text {
                text if text.contains(r#""type":"error""#) => refused.push((asked.elapsed(), without_time(&text))),
                text => told.push(text),
            }
        }
        assert!(refused.iter().all(|(after, _)| *after >= Duration::from_secs(4)), "{kind:?}: not before the time: {refused:?}");
        let alike = |frame: &Value| frame.to_string().replace("execution:hers", "").replace("execution:none", "");
        assert_eq!(alike(&refused[0].1), alike(&refused[1].1), "{kind:?}");
        assert_eq!(refused[0].1["code"], "forbidden");
        let counted = |part: &str| told.iter().filter(|text| text.contains(part)).count();
        assert_eq!((counted("\"one\""), counted("\"two\""), counted("secret")), (1, 1, 0), "{kind:?}: each once: {told:?}");
        assert_eq!(counted("execution:his"), 1, "{kind:?}: answered: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_may_wait_and_those_of_c_and_e_are_closed() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_PENDING_TIMEOUT", "1")]).await;
    let mut socket = Ws::bearing(&gateway, "/api/ws", &of("bob")).await;
    for n in 0..17 {
        socket.say(json!({"type": "subscribe", "room": format!("execution:e{n}")})).await;
    }
    let mut codes = Vec::new();
    for _ in 0..17 {
        let frame: Value = serde_json::from_str(&socket.hear(r#""type":"error""#).await).expect("JSON");
        codes.push(frame["code"].as_str().expect("a code").to_owned());
    }
    assert_eq!(codes.iter().filter(|code| *code == "too_many_pending").count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| *code == "forbidden").count(), 16, "{codes:?}");
    for path in ["/api/ws/executions/none", "/ws/executions/none/logs"] {
        assert_eq!(Ws::bearing(&gateway, path, &of("bob")).await.closes().await, Some(4403), "{path}");
    }
}

fn for_secs(subject: &str, secs: u64) -> String {
    token(json!({"sub": subject, "exp": now() + secs}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_token_on_every_transport() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[]).await;
    publish(&gateway, None, log("e", Some("ada"), "first")).await;
    let short = for_secs("ada", 4);
    let mut native = Ws::bearing(&gateway, "/api/ws", &short).await;
    let mut c = Ws::bearing(&gateway, "/api/ws/executions/e", &short).await;
    let mut e = Ws::bearing(&gateway, "/ws/executions/e/logs", &short).await;
    let (mut d, answer) = Ws::socketio(&gateway, &json!({"token": short})).await;
    assert!(answer.starts_with("40{"), "{answer}");
    let polling = Polling::open(&gateway).await;
    polling.say(format!("40{}", json!({"token": short}))).await;
    let url = format!("{}/api/executions/e/events", gateway.url());
    let stream = weft_testkit::http::client().get(url).header("accept", "text/event-stream").bearer_auth(&short);
    let stream = stream.timeout(SOON).send().await.expect("a stream");
    assert_eq!(stream.status().as_u16(), 200);
    native.hear("token_expired").await;
    d.hear("token_expired").await;
    assert_eq!(native.closes().await, Some(4401));
    assert_eq!(c.closes().await, Some(4401));
    assert_eq!(e.closes().await, Some(4401));
    assert_eq!(d.closes().await, Some(4401));
    assert!(stream.text().await.is_ok(), "the stream ends, and is not cut off");
    while polling.poll(SOON).await.is_some() {}
    let (status, _) = ask(&gateway, "GET", "/api/executions/e", Some(&short), None).await;
    assert_eq!(status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_and_may_then_allow_less() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_PENDING_TIMEOUT", "1")]).await;
    publish(&gateway, None, json!([log("hers", Some("ada"), "x"), log("his", Some("bob"), "x")])).await;
    let short = token(json!({"sub": "ada", "exp": now() + 4, "rooms": ["execution:his"]}));
    let mut socket = Ws::bearing(&gateway, "/api/ws", &short).await;
    for room in ["execution:hers", "execution:his"] {
        socket.say(json!({"type": "subscribe", "room": room})).await;
        socket.hear("subscribed").await;
    }
    socket.say(json!({"type": "auth", "token": of("bob"), "ref": "another"})).await;
    let refused = socket.hear("another").await;
    assert!(refused.contains("unauthenticated"), "somebody else's: {refused}");
    socket.say(json!({"type": "auth", "token": of("ada"), "ref": "good"})).await;
    let ack = socket.hear("good").await;
    assert!(ack.contains("ack"), "{ack}");
    let lost = socket.hear("forbidden").await;
    assert!(lost.contains("execution:his"), "{lost}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    publish(&gateway, None, json!([log("his", None, "not hers"), log("hers", None, "hers still")])).await;
    let next = socket.next().await.expect("it lives on");
    assert!(next.contains("hers still"), "{next}");
}

/// What it does to every transport, and how soon, is in `auth_ends.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_takes_an_operators_token_and_spares_later_ones() {
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        // The issuer's clock may be a second ahead.
        let (first, control) = controlled(&broker, &[("WEFT_JWT_LEEWAY_SECS", "1")]).await;
        let (ada, url) = (of("ada"), format!("http://{control}"));
        let mut socket = Ws::bearing(&first, "/api/ws", &ada).await;
        socket.hear("connected").await;
        for (shown, expected) in [(None, 401), (Some("a wrong token of some length"), 401), (Some(ada.as_str()), 401)] {
            let (status, _) = ask_at(&url, "POST", "/admin/revoke", shown, Some(json!({"subject": "ada"}))).await;
            assert_eq!(status, expected);
        }
        let (status, listed) = ask_at(&url, "GET", "/admin/connections?subject=ada", Some(CONTROL), None).await;
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        assert_eq!((status, listed["connections"].as_array().map(Vec::len)), (200, Some(1)), "{listed}");
        let ahead = token(json!({"sub": "ada", "iat": now() + 1}));
        let (status, _) = ask_at(&url, "POST", "/admin/revoke", Some(CONTROL), Some(json!({"subject": "ada"}))).await;
        assert_eq!(status, 204);
        assert_eq!(socket.closes().await, Some(4401), "{kind:?}");
        let later_gateway = auth_rig::gateway(&broker, &[]).await;
        for token in [&ada, &ahead] {
            assert_eq!(Ws::bearing(&later_gateway, "/api/ws", token).await.closes().await, Some(4401), "{kind:?}");
        }
        let written = std::fs::read_to_string(first.log()).expect("the log");
        assert!(written.contains("weft::audit"), "a line of each request");
        // A later token of the same user is good.
        tokio::time::sleep(Duration::from_millis(2100)).await;
        let later = token(json!({"sub": "ada", "iat": now()}));
        Ws::bearing(&later_gateway, "/api/ws", &later).await.hear("connected").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_and_disconnects_connections() {
    let broker = Broker::start(Kind::NatsCore).await;
    let (gateway, control) = controlled(&broker, &[]).await;
    let url = format!("http://{control}");
    let mut socket = Ws::bearing(&gateway, "/api/ws", &of("ada")).await;
    let hello: Value = serde_json::from_str(&socket.hear("connected").await).expect("JSON");
    socket.say(json!({"type": "subscribe", "room": "user:ada"})).await;
    socket.hear("subscribed").await;
    let path = format!("/admin/connections/{}", hello["connectionId"].as_str().expect("an id"));
    let (status, seen) = ask_at(&url, "GET", &path, Some(CONTROL), None).await;
    assert!(status == 200 && seen.contains("user:ada") && seen.contains("native"), "{status} {seen}");
    let (_, rooms) = ask_at(&url, "GET", "/admin/rooms", Some(CONTROL), None).await;
    assert!(rooms.contains("user:ada"), "{rooms}");
    assert_eq!(ask_at(&url, "DELETE", &path, Some(CONTROL), None).await.0, 204);
    assert_eq!(socket.closes().await, Some(1012));
    assert_eq!(ask_at(&url, "DELETE", &path, Some(CONTROL), None).await.0, 404);
    // A bus that stores nothing remembers no revocation.
    assert_eq!(ask_at(&url, "POST", "/admin/revoke", Some(CONTROL), Some(json!({"subject": "ada"}))).await.0, 501);
    assert_eq!(ask_at(&gateway.url(), "GET", "/admin/rooms", Some(CONTROL), None).await.0, 404, "not where clients are");
    for (method, path, status) in [
        ("GET", "/admin/nothing", 404),
        ("PUT", "/admin/rooms", 405),
        ("GET", "/admin/connections/x", 404),
        ("GET", "/admin/connections/%ff", 400),
        ("GET", "/admin/connections?subject=a&subject=b", 400),
        ("POST", "/admin/shed?percent=1&percent=2", 400),
    ] {
        assert_eq!(ask_at(&url, method, path, Some(CONTROL), None).await.0, status, "{method} {path}");
    }
    let written = std::fs::read_to_string(gateway.log()).expect("the log");
    for target in
        ["/admin/nothing", "/admin/rooms", "target=x", "/admin/connections/%ff", "target=/admin/connections ", "/admin/shed"]
    {
        let is_line = |line: &&str| line.contains("weft::audit") && line.contains(target);
        assert!(written.lines().any(|line| is_line(&line)), "no line of {target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_talks_too_fast_or_comes_too_often_is_closed() {
    let broker = Broker::start(Kind::Memory).await;
    let env = [("WEFT_MESSAGES_PER_CONNECTION", "5"), ("WEFT_CONNECTIONS_PER_USER_MAX", "2")];
    let gateway = auth_rig::gateway(&broker, &env).await;
    let mut fast = Ws::bearing(&gateway, "/api/ws", &of("ada")).await;
    for _ in 0..40 {
        fast.say(json!({"type": "ping"})).await;
    }
    assert_eq!(fast.closes().await, Some(1008));
    drop(fast);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut socket = Ws::bearing(&gateway, "/api/ws", &of("bob")).await;
        socket.hear("connected").await;
        kept.push(socket);
    }
    assert_eq!(Ws::bearing(&gateway, "/api/ws", &of("bob")).await.closes().await, Some(1008));
    // Without a word of Socket.IO: its client would not come back.
    let (_, answer) = Ws::socketio(&gateway, &json!({"token": of("bob")})).await;
    assert_eq!(answer, "closed Some(1008)");
    // One that is in a namespace already stays there.
    let (mut two, answer) = Ws::socketio(&gateway, &json!({"token": of("dee")})).await;
    assert!(answer.starts_with("40{"), "{answer}");
    let mut taken = Ws::bearing(&gateway, "/api/ws", &of("dee")).await;
    taken.hear("connected").await;
    two.text(format!("40/executions,{}", json!({"token": of("dee")}))).await;
    let refused = two.hear("44/executions,").await;
    assert!(refused.contains("rate_limited"), "{refused}");
    two.text(r#"421["subscribe","user:dee"]"#.into()).await;
    two.hear("431[").await;
    Ws::bearing(&gateway, "/api/ws", &of("cy")).await.hear("connected").await;
    drop(kept.pop());
    crate::support::until("a place is given back", async || {
        let next = Ws::bearing(&gateway, "/api/ws", &of("bob")).await.next().await;
        next.is_ok_and(|text| text.contains("connected"))
    })
    .await;
}

/// `socket.io-client` as npm has it, over a WebSocket and by polling.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_socketio_that_was_one_too_many_comes_in_when_there_is_a_place() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_CONNECTIONS_PER_USER_MAX", "1")]).await;
    let mut clients = Clients::start();
    for transport in ["websocket", "polling"] {
        let user = format!("user-of-{transport}");
        let mut only = Ws::bearing(&gateway, "/api/ws", &of(&user)).await;
        only.hear("connected").await;
        let options = json!({"auth": {"token": of(&user)}, "transports": [transport]});
        clients.open(transport, &gateway.url(), options).await;
        let first = clients.next(transport).await;
        assert_eq!((&first["happened"], first["data"].is_null()), (&json!("disconnect"), true), "{transport}: {first}");
        drop(only);
        while clients.next(transport).await["happened"] != "connect" {}
    }
}

/// Whether a room may be followed takes a broker's round trip; a token that comes meanwhile must not be asked in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_renewed_while_a_room_is_asked_about_refuses_nobody() {
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let gateway = auth_rig::gateway(&broker, &[]).await;
        let mut socket = Ws::bearing(&gateway, "/api/ws", &of("ada")).await;
        socket.hear("connected").await;
        let rooms: Vec<String> = (0..8).map(|n| format!("soon-{n}")).collect();
        for room in &rooms {
            socket.say(json!({"type": "subscribe", "room": format!("execution:{room}")})).await;
            socket.say(json!({"type": "auth", "token": of("ada"), "ref": room})).await;
        }
        socket.hear(r#""ref":"soon-7""#).await;
        let events = rooms.iter().map(|room| log(room, Some("ada"), &format!("first of {room}"))).collect();
        publish(&gateway, None, events).await;
        let mut left = rooms.len();
        while left > 0 {
            let text = socket.next().await.expect("a frame");
            assert!(!text.contains("forbidden"), "{kind:?}: {text}");
            left -= usize::from(text.contains("first of"));
        }
    }
}

/// A client that shows again what it has is not warned again at once, or the two would go on for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_token_shown_again_is_warned_of_once() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[]).await;
    let short = token(json!({"sub": "ada", "exp": now() + 12}));
    let mut socket = Ws::bearing(&gateway, "/api/ws", &short).await;
    socket.hear("token_expir").await;
    for n in 0..3 {
        socket.say(json!({"type": "auth", "token": short, "ref": format!("again-{n}")})).await;
        socket.hear(&format!("again-{n}")).await;
    }
    let said = socket.next_within(Duration::from_millis(1500)).await;
    assert!(said.as_ref().is_none_or(|said| !said.contains("token_expir")), "{said:?}");
    // A newer one will be warned of in its time.
    socket.say(json!({"type": "auth", "token": token(json!({"sub": "ada", "exp": now() + 20})), "ref": "newer"})).await;
    socket.hear("newer").await;
    socket.hear("token_expir").await;
}
