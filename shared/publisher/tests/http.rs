//! Publishing through a gateway that is full, away, slow to accept, or refuses one event of a batch.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::TcpListener;
use weft_publisher::{EventDraft, PublishError, Publisher, PublisherConfig, data};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the gateway does with the next request.
enum Answer {
    /// Refuses with this status and body.
    Refuse(u16, Value),
    /// Asks to come back after so many seconds.
    Busy(u16, u32),
    /// Stores, but the acknowledgement is lost.
    StoreAndFail,
}

/// A gateway as the wire contract describes it, with a script.
#[derive(Default)]
struct Gateway {
    script: VecDeque<Answer>,
    /// Messages that are refused wherever they occur, and whether the refusal names the item.
    refused: Option<(&'static str, bool)>,
    /// Largest body that is taken.
    bytes_max: Option<usize>,
    /// Ids by room, each once, in order of storing.
    stored: HashMap<String, Vec<String>>,
    requests: usize,
    tokens: Vec<String>,
}

type Shared = Arc<Mutex<Gateway>>;

async fn events(State(gateway): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let mut gateway = gateway.lock().expect("no panic");
    gateway.requests += 1;
    gateway.tokens.extend(headers.get("authorization").map(|token| token.to_str().expect("text").to_owned()));
    let answer = gateway.script.pop_front();
    match answer {
        Some(Answer::Refuse(status, body)) => return (code(status), axum::Json(body)).into_response(),
        Some(Answer::Busy(status, seconds)) => return (code(status), [("retry-after", seconds.to_string())]).into_response(),
        Some(Answer::StoreAndFail) | None => {}
    }
    if gateway.bytes_max.is_some_and(|max| body.len() > max) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let events: Vec<Value> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("json"))
        .collect();
    if let Some((word, named)) = gateway.refused
        && let Some(item) = events.iter().position(|event| event["data"]["message"] == word)
    {
        let error = json!({"error": {"code": "invalid", "message": "data: is wrong", "item": named.then_some(item)}});
        return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
    }
    let ids: Vec<String> = events.iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect();
    for (event, id) in events.iter().zip(&ids) {
        let room = gateway.stored.entry(event["executionId"].as_str().expect("execution").to_owned()).or_default();
        if !room.contains(id) {
            room.push(id.clone());
        }
    }
    if matches!(answer, Some(Answer::StoreAndFail)) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    (StatusCode::ACCEPTED, axum::Json(json!({"accepted": ids.len(), "ids": ids}))).into_response()
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status")
}

async fn serve(gateway: Gateway) -> (Shared, String) {
    let shared = Arc::new(Mutex::new(gateway));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(start(listener, shared.clone()));
    (shared, url)
}

async fn start(listener: TcpListener, gateway: Shared) {
    let router = Router::new().route("/api/events", post(events)).with_state(gateway);
    axum::serve(listener, router).await.expect("serves");
}

fn publisher(url: &str, config: PublisherConfig) -> Publisher {
    Publisher::over_http(url, Some("secret".into()), config).expect("a URL")
}

fn quick() -> PublisherConfig {
    PublisherConfig { pause_min: Duration::from_millis(5), pause_max: Duration::from_millis(50), ..PublisherConfig::default() }
}

fn log(id: usize, message: &str) -> EventDraft {
    EventDraft::new("log").execution(format!("e{}", id % 3)).user("u").id(id.to_string()).data(data::Log::info(message))
}

fn expected(events: usize, room: usize, without: &[usize]) -> Vec<String> {
    (0..events).filter(|id| id % 3 == room && !without.contains(id)).map(|id| id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_survive_a_gateway_that_is_busy_or_loses_its_answers() {
    let script = [
        Answer::Busy(503, 0),
        Answer::StoreAndFail,
        Answer::Busy(429, 0),
        Answer::Refuse(500, json!({})),
        Answer::StoreAndFail,
        Answer::Refuse(202, json!({"accepted": 0, "ids": []})),
        Answer::Refuse(202, json!("what")),
    ];
    let (gateway, url) = serve(Gateway { script: script.into(), ..Gateway::default() }).await;
    let publisher = publisher(&url, PublisherConfig { batch_events: 20, ..quick() });
    let mut last = None;
    for id in 0..900 {
        last = Some(publisher.enqueue(log(id, "x")).expect("room"));
    }
    let stored = last.expect("some").await.expect("stored");
    assert_eq!((stored.id.as_str(), stored.positions.len()), ("899", 2));
    publisher.close().await.expect("all stored");
    let gateway = gateway.lock().expect("no panic");
    for room in 0..3 {
        assert_eq!(gateway.stored[&format!("e{room}")], expected(900, room, &[]), "each once, in order");
    }
    assert!(gateway.script.is_empty() && gateway.tokens.iter().all(|token| token == "Bearer secret"));
    assert_eq!(publisher.losses().borrow().total(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refused_event_does_not_take_others_along() {
    for named in [true, false] {
        let (gateway, url) = serve(Gateway { refused: Some(("bad", named)), ..Gateway::default() }).await;
        let publisher = publisher(&url, quick());
        let pending: Vec<_> =
            (0..90).map(|id| publisher.enqueue(log(id, if id == 31 { "bad" } else { "x" })).expect("room")).collect();
        for (id, pending) in pending.into_iter().enumerate() {
            let outcome = pending.await;
            match outcome {
                Err(PublishError::Refused(reason)) if id == 31 => assert!(reason.contains("data: is wrong"), "{reason}"),
                outcome => assert_eq!(outcome.map(|stored| stored.id), Ok(id.to_string()), "named: {named}"),
            }
        }
        for room in 0..3 {
            assert_eq!(gateway.lock().expect("no panic").stored[&format!("e{room}")], expected(90, room, &[31]));
        }
        assert_eq!((publisher.losses().borrow().refused, publisher.losses().borrow().total()), (1, 1));
    }
}

#[tokio::test]
async fn a_wrong_owner_and_a_wrong_token_are_told() {
    let mismatch = json!({"error": {"code": "owner_mismatch", "item": 0, "message": "userId"}});
    let script = [Answer::Refuse(409, mismatch), Answer::Refuse(401, json!({"error": "unauthorized"}))];
    let (_gateway, url) = serve(Gateway { script: script.into(), ..Gateway::default() }).await;
    let publisher = publisher(&url, quick());
    assert_eq!(publisher.publish(log(0, "x")).await, Err(PublishError::OwnerMismatch));
    let refused = publisher.publish(log(0, "x")).await;
    assert_eq!(refused, Err(PublishError::Refused("the gateway answered 401: unauthorized".into())));
}

#[tokio::test]
async fn a_batch_too_large_goes_in_pieces_and_an_event_too_large_is_told() {
    let (gateway, url) = serve(Gateway { bytes_max: Some(1000), ..Gateway::default() }).await;
    let publisher = publisher(&url, quick());
    let large = "x".repeat(2000);
    let pending: Vec<_> =
        (0..30).map(|id| publisher.enqueue(log(id, if id == 15 { &large } else { "x" })).expect("room")).collect();
    for (id, pending) in pending.into_iter().enumerate() {
        match pending.await {
            Err(PublishError::TooLarge(_)) if id == 15 => {}
            outcome => assert_eq!(outcome.map(|stored| stored.id), Ok(id.to_string())),
        }
    }
    assert_eq!(gateway.lock().expect("no panic").stored["e0"], expected(30, 0, &[15]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_comes_back_gets_everything_and_one_that_does_not_costs_a_stated_loss() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let url = format!("http://{address}");
    let patient = publisher(&url, quick());
    let hasty = publisher(&url, PublisherConfig { retry_age: Duration::from_millis(200), ..quick() });
    let lost: Vec<_> = (0..30).map(|id| hasty.enqueue(log(id, "x")).expect("room")).collect();
    let kept: Vec<_> = (0..30).map(|id| patient.enqueue(log(id, "x")).expect("room")).collect();
    for pending in lost {
        assert!(matches!(pending.await, Err(PublishError::Expired { .. })));
    }
    assert_eq!((hasty.losses().borrow().expired, hasty.losses().borrow().total(), hasty.pending()), (30, 30, 0));
    let unfinished = patient.flush(Duration::from_millis(10)).await.expect_err("the gateway is away");
    assert_eq!(unfinished.events, 30);
    let gateway = Shared::default();
    tokio::spawn(start(TcpListener::bind(address).await.expect("the port again"), gateway.clone()));
    patient.flush(PATIENCE).await.expect("all stored");
    for pending in kept {
        pending.await.expect("stored");
    }
    assert_eq!(gateway.lock().expect("no panic").stored["e1"], expected(30, 1, &[]));
}

#[tokio::test]
async fn closing_in_a_hurry_tells_what_was_not_stored() {
    let script = (0..1000).map(|_| Answer::Busy(503, 0)).collect();
    let (_gateway, url) = serve(Gateway { script, ..Gateway::default() }).await;
    let publisher = publisher(&url, PublisherConfig { pause_min: Duration::from_millis(100), ..quick() });
    let pending = publisher.enqueue(log(0, "x")).expect("room");
    let unfinished = publisher.close_within(Duration::from_millis(50)).await.expect_err("not stored");
    assert_eq!(unfinished.events, 1);
    let outcome = tokio::time::timeout(PATIENCE, pending).await.expect("told");
    assert_eq!(outcome, Err(PublishError::Closed));
    assert_eq!(publisher.losses().borrow().abandoned, 1);
}

#[test]
fn urls() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    for (url, good) in [("http://a:1", true), ("https://a/prefix/", true), ("a:1", false), ("ftp://a", false), ("", false)] {
        assert_eq!(Publisher::over_http(url, None, PublisherConfig::default()).is_ok(), good, "{url}");
    }
}
