//! What one client may take, and what it is told beyond that.

use crate::{
    auth_rig::{self, CONTROL, Ws, ask, controlled, of, publish, token},
    support::{Broker, Kind, Socket, get, number, numbered, offset, publish_numbers, until},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::process::Process;

async fn limited(gateway: &Process, limit: &str) -> f64 {
    let text = gateway.metrics().await.expect("metrics");
    let series = format!("weft_guard_limited_total{{limit=\"{limit}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).expect("a series")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_too_fast_is_told_when_to_come_back() {
    let broker = Broker::start(Kind::Memory).await;
    // Three a second, fifteen at once.
    let gateway = auth_rig::gateway(&broker, &[("WEFT_READS_PER_USER", "3")]).await;
    publish(&gateway, None, auth_rig::log("e", Some("ada"), "x")).await;
    let read = async |subject: &str| {
        let url = format!("{}/api/executions/e/events", gateway.url());
        let answer = weft_testkit::http::client().get(url).bearer_auth(of(subject)).send().await.expect("an answer");
        let after = answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
        (answer.status().as_u16(), after, answer.text().await.expect("a body"))
    };
    let mut answers = Vec::new();
    for _ in 0..60 {
        answers.push(read("ada").await);
    }
    let refused: Vec<_> = answers.iter().filter(|(status, ..)| *status != 200).collect();
    assert!(answers[..10].iter().all(|(status, ..)| *status == 200), "{answers:?}");
    assert!(!refused.is_empty(), "60 at once are too many");
    for (status, after, body) in &refused {
        assert!(*status == 429 && *after >= Some(1) && body.contains("rate_limited"), "{status} {after:?} {body}");
    }
    assert_eq!(limited(&gateway, "reads").await, refused.len() as f64);
    assert_eq!(read("bob").await.0, 404, "another's rate is another's");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(read("ada").await.0, 200, "it is served again");
}

/// Over a WebSocket commands are messages, which have a rate of their own.
#[tokio::test(flavor = "multi_thread")]
async fn who_commands_too_fast_by_http_is_refused_before_anything_is_asked() {
    let broker = Broker::start(Kind::Memory).await;
    for path in ["executions/none/cancel", "executions/none/input", "workflows/none/execute", "workflows"] {
        let gateway = auth_rig::gateway(&broker, &[("WEFT_READS_PER_USER", "2")]).await;
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(auth_rig::ask(&gateway, "POST", &format!("/api/{path}"), Some(&of("ada")), None).await.0);
        }
        assert_ne!(statuses[0], 429, "{path}");
        let refused = statuses.iter().filter(|status| **status == 429).count();
        assert!(refused > 0, "{path}: {statuses:?}");
        assert_eq!(limited(&gateway, "reads").await, refused as f64, "{path}");
        assert_ne!(auth_rig::ask(&gateway, "POST", &format!("/api/{path}"), Some(&of("bob")), None).await.0, 429, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_ends_in_a_gap_that_says_what_is_left_to_be_paged() {
    let broker = Broker::start(Kind::Memory).await;
    let env = [("WEFT_REPLAY_EVENTS_MAX", "600"), ("WEFT_LOG_EVENTS_MAX", "100")];
    let gateway = broker.gateway(&env).await;
    publish_numbers(&gateway, "e", 1..=2000).await;
    let mut socket = Socket::open(&gateway).await;
    let answer = socket.subscribe(json!({"executionId": "e", "offset": "0"})).await;
    assert_eq!(answer["outcome"], "resumed", "{answer}");
    let (mut last, mut gap) = (0, Value::Null);
    while gap.is_null() {
        let frame = socket.hear().await;
        match number(&frame) {
            Some(n) => {
                assert_eq!(n, last + 1, "in order");
                last = n;
            }
            None => gap = frame,
        }
    }
    assert_eq!((&gap["type"], &gap["reason"]), (&json!("gap"), &json!("limit")), "{gap}");
    assert!((600..2000).contains(&last), "{last}");
    for (reason, events) in [("limit", 2000 - last), ("retention", 0)] {
        let series = format!("weft_gateway_failed_deliveries_total{{reason=\"{reason}\"}}");
        assert_eq!(gateway.metric(&series).await.expect("metrics") as u64, events, "{reason}");
    }
    assert_eq!(socket.hear_a("snapshot").await["room"], "execution:e");
    publish_numbers(&gateway, "e", 2001..=2003).await;
    socket.hear_numbers(2001..=2003).await;
    socket.hears_nothing_more().await;
    // What was left out is there, page by page.
    let (mut after, mut paged) = (gap["missedFrom"].as_str().expect("an offset").to_owned(), Vec::new());
    let end = gap["missedTo"].as_str().expect("an offset").to_owned();
    while paged.last() != Some(&2000) {
        let (status, page) = get(&gateway, &format!("/api/executions/e/events?after={after}&limit=500")).await;
        assert_eq!(status, 200, "{page}");
        let events = page["events"].as_array().expect("events");
        paged.extend(events.iter().filter_map(number).take_while(|n| *n <= 2000));
        if let Some(event) = events.iter().find(|event| number(event) == Some(2000)) {
            assert_eq!(offset(event).split('/').next(), end.split('/').next(), "where the gap ends");
        }
        after = page["next"].as_str().expect("an offset").to_owned();
    }
    assert_eq!(paged, (last + 1..=2000).collect::<Vec<_>>());
    // Who asks for less is told all of it.
    let mut near = Socket::open(&gateway).await;
    near.subscribe(json!({"executionId": "e", "offset": end})).await;
    near.hear_numbers(2001..=2003).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_reads_much_is_held_to_its_rate_and_gets_all() {
    let broker = Broker::start(Kind::Memory).await;
    let env = [("WEFT_PAGES_PER_USER", "2"), ("WEFT_LOG_EVENTS_MAX", "100")];
    let gateway = auth_rig::gateway(&broker, &env).await;
    for some in (1..=3000).collect::<Vec<u64>>().chunks(500) {
        let owned = |n: &u64| {
            let mut event = numbered("e", *n);
            event["userId"] = "ada".into();
            event
        };
        publish(&gateway, None, some.iter().map(owned).collect()).await;
    }
    let mut socket = Ws::bearing(&gateway, "/api/ws", &of("ada")).await;
    socket.hear("connected").await;
    socket.say(json!({"type": "subscribe", "executionId": "e", "offset": "0"})).await;
    socket.hear("subscribed").await;
    for n in 1..=3000 {
        let frame: Value = serde_json::from_str(&socket.next().await.expect("an event")).expect("JSON");
        assert_eq!(number(&frame), Some(n));
    }
    assert!(limited(&gateway, "pages").await > 0.0, "it has waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_over_its_rate_publishes_nothing_more_and_its_body_is_not_read() {
    let broker = Broker::start(Kind::Memory).await;
    // One a second: there is nothing left for long enough, also on a machine that is busy.
    let gateway = auth_rig::gateway(&broker, &[("WEFT_PUBLISHES_PER_USER", "1")]).await;
    let service = token(json!({"sub": "service", "scope": "events:publish"}));
    let events: Value = (1..=100).map(|n| numbered("e", n)).collect();
    assert_eq!(ask(&gateway, "POST", "/api/events", Some(&service), Some(events)).await.0, 202, "more than a burst is a burst");
    let mut stream = TcpStream::connect(gateway.address()).await.expect("connected");
    let head =
        format!("POST /api/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {service}\r\ncontent-length: 1000000\r\n\r\n[",);
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(crate::support::SOON, stream.read(&mut answer)).await.expect("an answer").expect("bytes");
    let answer = String::from_utf8_lossy(&answer[..read]).to_lowercase();
    assert!(answer.starts_with("http/1.1 429") && answer.contains("retry-after: "), "without a body: {answer}");
    assert!(limited(&gateway, "publish").await >= 1.0);
}

/// A body that is too large, too late or of no type is answered as everything else is.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_refused_in_one_form() {
    let broker = Broker::start(Kind::Memory).await;
    let (gateway, control) = controlled(&broker, &[("WEFT_BODY_SECS", "1")]).await;
    let admin = token(json!({"sub": "root", "scope": "admin events:publish executions:run executions:act"}));
    let large = "x".repeat(9 * 1024 * 1024);
    let ways = [
        ("POST", "/api/events"),
        ("POST", "/api/executions/e/cancel"),
        ("POST", "/api/executions/e/input"),
        ("POST", "/api/workflows/w/execute"),
        ("POST", "/api/workflows"),
        ("PUT", "/api/commands/x"),
        ("POST", "/api/commands/x/reply"),
        ("POST", "/admin/revoke"),
    ];
    for (method, path) in ways {
        let (address, bearer) = match path.starts_with("/admin") {
            true => (control.clone(), CONTROL),
            false => (gateway.address(), admin.as_str()),
        };
        for (length, body, expected) in [(large.len(), &large[..64], ("413", "too_large")), (100, "{", ("400", "malformed"))] {
            let mut stream = TcpStream::connect(&address).await.expect("connected");
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {bearer}\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await.expect("written");
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(crate::support::SOON, stream.read_to_end(&mut answer)).await;
            ended.expect("closed").expect("an answer");
            let answer = String::from_utf8_lossy(&answer);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer}"));
            assert!(head.starts_with(&format!("HTTP/1.1 {}", expected.0)), "{path}: {answer}");
            assert!(head.to_lowercase().contains("content-type: application/json"), "{path}: {answer}");
            let error: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {answer}"));
            assert_eq!(error["error"]["code"], expected.1, "{path}: {answer}");
        }
    }
    let metrics = gateway.metrics().await.expect("metrics");
    assert!(metrics.contains(&format!("weft_gateway_late_bodies_total {}", ways.len())), "{metrics}");
    let (status, body) = ask(&gateway, "GET", "/assets/none.js", None, None).await;
    assert!(status == 404 && body.contains(r#""code":"not_found""#), "{status} {body}");
    // What it is called is nobody's concern; that it is JSON is.
    let put = |content_type: Option<&str>| {
        let url = format!("{}/api/commands/x", gateway.url());
        let request = weft_testkit::http::client().put(url).bearer_auth(&admin).body(r#"{"executions":[],"workflows":[]}"#);
        let request = content_type.into_iter().fold(request, |request, kind| request.header("content-type", kind));
        async move { request.send().await.expect("an answer").status().as_u16() }
    };
    for content_type in
        [None, Some("text/plain"), Some("application/json; charset=utf-8"), Some("application/x-www-form-urlencoded")]
    {
        assert_eq!(put(content_type).await, 204, "{content_type:?}");
    }
    until("it lives", async || get(&gateway, "/api/ws/health").await.0 == 200).await;
}

async fn large(gateway: &Process, part: &str) -> f64 {
    gateway.metric(&format!("weft_gateway_large_requests_total{{part=\"{part}\"}}")).await.expect("metrics")
}

/// Heads and bodies up to the bytes of their settings, and no larger; each refusal is counted.
#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_may_be_as_large_as_their_settings_say() {
    let broker = Broker::start(Kind::Memory).await;
    let small = [("WEFT_HEADER_BYTES_MAX", "16384"), ("WEFT_BODY_BYTES_MAX", "2048"), ("WEFT_MESSAGE_BYTES_MAX", "4096")];
    let wide = [("WEFT_HEADER_BYTES_MAX", "65536"), ("WEFT_BODY_BYTES_MAX", "8192"), ("WEFT_MESSAGE_BYTES_MAX", "8192")];
    let admin = token(json!({"sub": "root", "scope": "admin events:publish"}));
    for (env, is_small) in [(small, true), (wide, false)] {
        let gateway = auth_rig::gateway(&broker, &env).await;
        let status = async |method: &str, path: &str, head: usize, body: Option<String>| {
            let request = weft_testkit::http::client().request(method.parse().expect("a method"), gateway.url() + path);
            let request = request.bearer_auth(&admin).header("x-padding", "x".repeat(head));
            body.into_iter().fold(request, reqwest::RequestBuilder::body).send().await.expect("an answer").status().as_u16()
        };
        assert_eq!(status("GET", "/api/executions", 12_000, None).await, 200);
        assert_eq!(status("GET", "/api/executions", 30_000, None).await, if is_small { 431 } else { 200 });
        let padded = |bytes: usize| Some(format!(r#"{{"inputs":{{"x":"{}"}}}}"#, "x".repeat(bytes)));
        // Nobody runs it.
        assert_eq!(status("POST", "/api/workflows/w/execute", 0, padded(1900)).await, 503);
        assert_eq!(status("POST", "/api/workflows/w/execute", 0, padded(3000)).await, if is_small { 413 } else { 503 });
        let events = json!(auth_rig::log("e", None, &"x".repeat(3000))).to_string();
        assert_eq!(status("POST", "/api/events", 0, Some(events)).await, 202, "these have a bound of their own");
        let polling = auth_rig::Polling::open(&gateway).await;
        assert_eq!(polling.post("x".repeat(5000)).await, if is_small { 413 } else { 400 });
        let counted = if is_small { (1.0, 2.0) } else { (0.0, 0.0) };
        assert_eq!((large(&gateway, "head").await, large(&gateway, "body").await), counted);
    }
}

/// Who asks for rooms that are none of its own takes no room's place, not even for a while.
#[tokio::test(flavor = "multi_thread")]
async fn asking_for_what_is_anothers_fills_nothing() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_ROOMS_MAX", "300")]).await;
    let mut bob = Ws::bearing(&gateway, "/api/ws", &of("bob")).await;
    for round in 0..20 {
        let rooms: Vec<_> = (0..64).map(|n| json!({"room": format!("execution:no-{round}-{n}")})).collect();
        bob.say(json!({"type": "subscribe", "rooms": rooms})).await;
        // All of it has been read when this is answered.
        bob.say(json!({"type": "ping", "ref": round.to_string()})).await;
        bob.hear("pong").await;
    }
    // Those that wait hold their places, no more than a connection may have waiting.
    until("the others are gone", async || gateway.metric("weft_gateway_rooms").await.is_ok_and(|rooms| rooms <= 17.0)).await;
    let mut ada = Ws::bearing(&gateway, "/api/ws", &of("ada")).await;
    ada.say(json!({"type": "subscribe", "room": "user:ada"})).await;
    ada.hear("subscribed").await;
}
