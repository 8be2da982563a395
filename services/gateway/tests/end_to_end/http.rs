//! HTTP: publishing, catching up, lists, the page, and who may come in.

use crate::support::{Broker, DURABLE, Kind, Socket, get, numbered, post, publish, publish_numbers, request};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn events_are_taken_one_at_a_time_as_an_array_as_lines_and_however_they_are_printed() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[]).await;
        let mut socket = Socket::open(&gateway).await;
        socket.subscribe(json!({"executionId": "e"})).await;
        let lines = format!("{}\n\n{}\r\n", numbered("e", 4), numbered("e", 5));
        let pretty =
            "{\n  \"type\": \"log\",\n\t\"executionId\": \"e\",\r\n  \"data\": {\n    \"z\": 1.00,\n    \"n\": 6\n  }\n}";
        for (body, count) in [
            (numbered("e", 1).to_string(), 1),
            (json!([numbered("e", 2), numbered("e", 3)]).to_string(), 2),
            (lines, 2),
            (pretty.to_owned(), 1),
        ] {
            let (status, answer) = post(&gateway, body).await;
            assert_eq!((status, &answer["accepted"]), (202, &json!(count)), "{kind:?}: {answer}");
            assert_eq!(answer["ids"].as_array().map(Vec::len), Some(count), "{kind:?}: {answer}");
        }
        let last = socket.hear_numbers(1..=6).await;
        assert_eq!(last["data"].to_string(), r#"{"n":6,"z":1.0}"#, "{kind:?}");
        assert!(last["id"].is_string() && last["timestamp"].is_string(), "{kind:?}: {last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_is_named_and_nothing_of_its_request_is_stored() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_EVENT_BYTES_MAX", "2000"), ("WEFT_INGRESS_BYTES_MAX", "10000")]).await;
    let good = numbered("e", 1);
    for (bad, field) in [
        (json!({"executionId": "e"}), "type"),
        (json!({"type": "nonsense", "executionId": "e"}), "type"),
        (json!({"type": "log"}), "executionId"),
        (json!({"type": "log", "executionId": "a b"}), "executionId"),
        (json!({"type": "log", "executionId": "e", "offset": "1"}), "offset"),
        (json!({"type": "log", "executionId": "e", "userId": 7}), "userId"),
        (json!({"type": "node:started", "executionId": "e"}), "nodeId"),
        (json!({"type": "log", "executionId": "e", "data": []}), "data"),
        (json!({"type": "kb:processing"}), "knowledgeBaseId"),
    ] {
        let (status, answer) = post(&gateway, json!([good, good, bad]).to_string()).await;
        let named = (status, &answer["error"]["code"], &answer["error"]["index"], &answer["error"]["field"]);
        assert_eq!(named, (400, &json!("invalid"), &json!(2), &json!(field)), "{bad}: {answer}");
    }
    for body in ["", " ", "[]", "{", "7", "null", "[1]", "\"x\"", "{}{"] {
        let (status, answer) = post(&gateway, body).await;
        assert_eq!(status, 400, "{body:?}: {answer}");
    }
    let large = json!({"type": "log", "executionId": "e", "data": {"x": "x".repeat(3000)}}).to_string();
    let (status, answer) = post(&gateway, large).await;
    assert!(status == 400 || status == 413, "one event is too large: {status} {answer}");
    let (status, answer) = post(&gateway, format!("[{}]", vec![good.to_string(); 500].join(","))).await;
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("too_large")), "{answer}");
    let (status, _) = get(&gateway, "/api/executions/e").await;
    assert_eq!(status, 404, "nothing of all that was stored");
    let (status, _) = get(&gateway, "/api/executions/e/events").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_is_stored_once_and_an_owner_never_changes() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let there = &gateways[gateways.len() - 1];
        let mut socket = Socket::open(&gateways[0]).await;
        socket.say(json!({"type": "subscribe", "rooms": [{"room": "execution:e"}, {"room": "user:ada"}]})).await;
        socket.hear_a("subscribed").await;
        socket.hear_a("subscribed").await;
        let event = json!({"type": "log", "id": "once", "executionId": "e", "userId": "ada", "data": {"n": 1}});
        for gateway in [&gateways[0], there, there] {
            let answer = publish(gateway, event.clone()).await;
            assert_eq!(answer["ids"], json!(["once"]), "{kind:?}");
        }
        publish(there, json!([event, {"type": "log", "executionId": "e", "userId": "ada", "data": {"n": 2}}])).await;
        socket.hear_numbers(1..=2).await;
        socket.hears_nothing_more().await;
        for room in ["execution:e", "user:ada"] {
            let (_, page) = get(there, &format!("/api/rooms/{room}/events")).await;
            assert_eq!(page["events"].as_array().map(Vec::len), Some(2), "{kind:?}: {room}: {page}");
        }
        let stranger = json!({"type": "log", "executionId": "e", "userId": "eve", "data": {"n": 3}});
        let (status, answer) = post(there, stranger.to_string()).await;
        assert_eq!((status, &answer["error"]["code"]), (409, &json!("owner_mismatch")), "{kind:?}: {answer}");
        let (_, page) = get(there, "/api/executions/e/events").await;
        assert_eq!(page["events"].as_array().map(Vec::len), Some(2), "{kind:?}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn catching_up_by_next_reads_every_event_once_in_the_published_bytes() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[]).await;
        let raw = r#"{"type":"log","executionId":"e","data":{"z":1.000,"n":0,"a":1e400}}"#;
        assert_eq!(post(&gateway, raw).await.0, 202);
        publish_numbers(&gateway, "e", 1..=1234).await;
        let client = weft_testkit::http::client();
        let first = client.get(format!("{}/api/executions/e/events?limit=1", gateway.url())).send().await.expect("a page");
        let first = first.text().await.expect("text");
        assert!(first.contains(r#""data":{"z":1.000,"n":0,"a":1e400}"#), "{kind:?}: {first}");
        let next = first.split("\"next\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an offset");
        let (mut after, mut numbers) = (next.to_owned(), Vec::new());
        loop {
            let (status, page) = get(&gateway, &format!("/api/executions/e/events?after={after}&limit=100")).await;
            assert_eq!(status, 200, "{kind:?}: {page}");
            let events = page["events"].as_array().expect("events");
            numbers.extend(events.iter().filter_map(crate::support::number));
            after = page["next"].as_str().expect("an offset").to_owned();
            if page["complete"] == true {
                break;
            }
            assert_eq!(events.len(), 100, "{kind:?}");
        }
        assert_eq!(numbers, (1..=1234).collect::<Vec<_>>(), "{kind:?}");
        let (_, page) = get(&gateway, &format!("/api/executions/e/events?after={after}")).await;
        assert_eq!((&page["events"], &page["complete"], &page["next"]), (&json!([]), &json!(true), &json!(after)), "{kind:?}");
        // What REST answers is a place for a WebSocket to go on from.
        let mut socket = Socket::open(&gateway).await;
        let answer = socket.subscribe(json!({"executionId": "e", "offset": after})).await;
        assert_eq!(answer["outcome"], "resumed", "{kind:?}");
        socket.hears_nothing_more().await;
        for (query, field) in [("limit=0", "limit"), ("limit=1001", "limit"), ("after=zzz", "after"), ("limit=many", "query")] {
            let (status, answer) = get(&gateway, &format!("/api/executions/e/events?{query}")).await;
            assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{kind:?}: {answer}");
        }
        for path in ["/api/executions/a%20b/events", "/api/rooms/nothing/events", "/api/rooms/user:/events"] {
            assert_eq!(get(&gateway, path).await.0, 400, "{kind:?}: {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_are_listed_newest_first_by_status_and_page_by_page() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        for index in 0..25 {
            let id = format!("run-{index:02}");
            publish(&gateways[0], json!({"type": "execution:started", "executionId": id, "userId": "ada", "workflowId": "w"}))
                .await;
            if index % 5 == 0 {
                publish(&gateways[0], json!({"type": "execution:failed", "executionId": id, "data": {"error": "x"}})).await;
            }
        }
        let list = async |query: &str| get(&gateways[gateways.len() - 1], &format!("/api/executions?{query}")).await;
        crate::support::until("every state in its head", async || {
            list("status=failed").await.1["executions"].as_array().is_some_and(|found| found.len() == 5)
                && list("status=running").await.1["executions"].as_array().is_some_and(|found| found.len() == 20)
        })
        .await;
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, page) = list(&format!("limit=10{cursor}")).await;
            assert_eq!(status, 200, "{kind:?}: {page}");
            ids.extend(page["executions"].as_array().expect("a list").iter().map(|one| one["executionId"].clone()));
            match page["cursor"].as_str() {
                Some(text) => cursor = format!("&cursor={text}"),
                None => break,
            }
        }
        let expected: Vec<Value> = (0..25).rev().map(|index| json!(format!("run-{index:02}"))).collect();
        assert_eq!(ids, expected, "{kind:?}");
        for query in ["status=odd", "cursor=x", "limit=0", "limit=201"] {
            assert_eq!(list(query).await.0, 400, "{kind:?}: {query}");
        }
        let (_, page) = list("status=failed&limit=2").await;
        let cursor = page["cursor"].as_str().expect("more");
        let (_, rest) = list(&format!("status=failed&limit=3&cursor={cursor}")).await;
        assert_eq!(rest["executions"].as_array().map(Vec::len), Some(3), "{kind:?}: {rest}");
        assert_eq!(rest["executions"][2]["executionId"], "run-00", "{kind:?}: {rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_knows_its_gateways_and_health_its_connections() {
    for kind in [Kind::Memory, Kind::JetStream, Kind::RedisPubSub] {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let last = &gateways[gateways.len() - 1];
        crate::support::until("the whole fleet", async || {
            get(last, "/api/fleet").await.1["gateways"].as_array().is_some_and(|fleet| fleet.len() == gateways.len())
        })
        .await;
        let (_, fleet) = get(last, "/api/fleet").await;
        for gateway in &gateways {
            let addresses: Vec<&str> =
                fleet["gateways"].as_array().expect("a list").iter().filter_map(|one| one["address"].as_str()).collect();
            assert!(addresses.contains(&gateway.address().as_str()), "{kind:?}: {fleet}");
        }
        let mut socket = Socket::open(last).await;
        if kind == Kind::Memory {
            socket.subscribe(json!({"executionId": "e"})).await;
            crate::support::until("rates", async || {
                publish_numbers(last, "e", 1..=100).await;
                let (_, fleet) = get(last, "/api/fleet").await;
                let rate = |name: &str| fleet["gateways"][0][name].as_f64().unwrap_or(0.0) > 0.0;
                rate("eventsPerSecond") && rate("deliveriesPerSecond")
            })
            .await;
        }
        let (status, health) = get(last, "/api/ws/health").await;
        assert_eq!((status, &health["status"], &health["connections"]), (200, &json!("ok"), &json!(1)), "{kind:?}: {health}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_stores_nothing_says_so() {
    for kind in [Kind::NatsCore, Kind::RedisPubSub] {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[]).await;
        publish(&gateway, numbered("e", 1)).await;
        for path in ["/api/executions/e/events", "/api/rooms/user:ada/events", "/api/executions"] {
            let (status, answer) = get(&gateway, path).await;
            assert_eq!((status, &answer["error"]["code"]), (409, &json!("not_durable")), "{kind:?}: {path}: {answer}");
        }
        assert_eq!(get(&gateway, "/api/executions/e").await.0, 404, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_lets_in_loopback_and_listed_origins_only() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_ORIGINS", "https://app.example")]).await;
    let client = weft_testkit::http::client();
    let url = format!("{}/api/ws/health", gateway.url());
    for (origin, host, admitted) in [
        (None, None, true),
        (Some("http://localhost:5173"), None, true),
        (Some("https://app.example"), None, true),
        (Some("https://app.example.evil.com"), None, false),
        (Some("https://evil.example"), None, false),
        (Some("null"), None, false),
        (None, Some("evil.example"), false),
        (None, Some("127.0.0.1.evil.example:3001"), false),
    ] {
        let mut ask = client.get(&url);
        if let Some(origin) = origin {
            ask = ask.header("origin", origin);
        }
        if let Some(host) = host {
            ask = ask.header("host", host);
        }
        let answer = ask.send().await.expect("an answer");
        assert_eq!(answer.status().is_success(), admitted, "{origin:?} {host:?}");
        let allowed = answer.headers().get("access-control-allow-origin").and_then(|value| value.to_str().ok());
        assert_eq!(allowed, origin.filter(|_| admitted), "{origin:?}");
    }
    let preflight = client.request(reqwest::Method::OPTIONS, format!("{}/api/events", gateway.url()));
    let preflight = preflight.header("origin", "https://app.example").header("access-control-request-method", "POST");
    assert_eq!(preflight.send().await.expect("an answer").status().as_u16(), 204);
    for path in ["/metrics", "/readyz", "/livez"] {
        assert_eq!(get(&gateway, path).await.0, 404, "{path} is for the admin port");
    }
    assert_eq!(request(&gateway, "DELETE", "/api/events", None).await.0, 405);
}

/// What `EventSource` and `socket.io-client` with `withCredentials`, and `fetch` with `credentials: 'include'`, need to be
/// told; a browser with a cookie is in the tests of the example front ends.
#[tokio::test(flavor = "multi_thread")]
async fn only_pages_of_listed_origins_may_send_cookies_along() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_ORIGINS", "https://app.example")]).await;
    let client = weft_testkit::http::client();
    for (method, path, accept, status) in [
        ("GET", "/api/executions/e/events", "text/event-stream", 200),
        ("GET", "/api/executions/e/events", "application/json", 404),
        ("GET", "/socket.io/?EIO=4&transport=polling", "*/*", 200),
        ("POST", "/socket.io/?EIO=4&transport=polling&sid=none", "*/*", 400),
        ("OPTIONS", "/api/events", "*/*", 204),
        ("OPTIONS", "/socket.io/?EIO=4&transport=polling&sid=none", "*/*", 204),
    ] {
        for (origin, admitted, listed) in [
            (None, true, false),
            (Some("https://app.example"), true, true),
            (Some("http://localhost:5173"), true, false),
            (Some("https://evil.example"), false, false),
            (Some("null"), false, false),
        ] {
            let what = format!("{method} {path} {origin:?}");
            let ask = client.request(method.parse().expect("a method"), format!("{}{path}", gateway.url()));
            let ask = ask.header("accept", accept).header("access-control-request-method", "POST");
            let ask = origin.iter().fold(ask, |ask, origin| ask.header("origin", *origin));
            // The head alone: a stream does not end.
            let answer = ask.send().await.expect("an answer");
            let header = |name: &str| {
                let values: Vec<_> = answer.headers().get_all(name).iter().map(|value| value.to_str().expect("text")).collect();
                values.join(", ")
            };
            assert_eq!(answer.status().as_u16(), if admitted { status } else { 403 }, "{what}");
            assert_eq!(header("access-control-allow-origin"), origin.filter(|_| admitted).unwrap_or_default(), "{what}");
            assert_eq!(header("access-control-allow-credentials"), if listed { "true" } else { "" }, "{what}");
            assert!(header("vary").contains("Origin"), "{what}: {}", header("vary"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_may_load_nothing_from_elsewhere() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let client = weft_testkit::http::client();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
    ] {
        let answer = client.get(format!("{}{path}", gateway.url())).send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().ok()), (200, Some(kind)), "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().expect("a policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        let text = answer.text().await.expect("text");
        assert!(!text.is_empty() && !text.contains("https://"), "{path} loads nothing from elsewhere");
    }
}
