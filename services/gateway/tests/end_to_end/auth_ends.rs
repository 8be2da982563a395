//! How soon it is over: from a revocation, and from the end of a token, to the last event and the last close, on three
//! gateways and every transport. The times are figures, for docs/SECURITY.md; what is asserted is that it ends, everywhere.

use crate::{
    auth_rig::{self, CONTROL, Polling, Ws, ask, ask_at, controlled, log, now, of, pid, service, token},
    auth_watch::Watched,
    support::{Broker, Kind, SHARED, SOON},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::task::{JoinHandle, JoinSet};

const GATEWAYS: usize = 3;
const WAYS: [&str; 7] = ["native", "C", "E", "SSE", "Socket.IO by WebSocket", "Socket.IO, /executions", "Socket.IO by polling"];

/// One who follows an execution.
enum Client {
    Socket(Box<Ws>),
    Polling(Polling),
    Stream(Box<reqwest::Response>),
}

impl Client {
    async fn follow(gateway: &Watched, way: &str, execution: &str, token: &str) -> Self {
        let subscribe = json!(["subscribe", format!("execution:{execution}")]);
        match way {
            "native" => {
                let mut socket = Ws::bearing(gateway, "/api/ws", token).await;
                socket.say(json!({"type": "subscribe", "executionId": execution})).await;
                Self::Socket(Box::new(socket))
            }
            "C" => Self::Socket(Box::new(Ws::bearing(gateway, &format!("/api/ws/executions/{execution}"), token).await)),
            "E" => Self::Socket(Box::new(Ws::bearing(gateway, &format!("/ws/executions/{execution}/logs"), token).await)),
            "SSE" => {
                let url = format!("{}/api/executions/{execution}/events", gateway.url());
                let request = weft_testkit::http::client().get(url).header("accept", "text/event-stream").bearer_auth(token);
                Self::Stream(Box::new(request.timeout(SOON * 2).send().await.expect("a stream")))
            }
            "Socket.IO by WebSocket" => {
                let (mut socket, answer) = Ws::socketio(gateway, &json!({"token": token})).await;
                assert!(answer.starts_with("40{"), "{answer}");
                socket.text(format!("42{subscribe}")).await;
                Self::Socket(Box::new(socket))
            }
            "Socket.IO, /executions" => {
                let (mut socket, answer) = Ws::socketio_in(gateway, "/executions,", &json!({"token": token})).await;
                assert!(answer.starts_with("40/executions,{"), "{answer}");
                socket.text(format!("42/executions,{}", json!(["subscribe", execution]))).await;
                Self::Socket(Box::new(socket))
            }
            _ => {
                let polling = Polling::open(gateway).await;
                polling.say(format!("40{}", json!({"token": token}))).await;
                assert!(polling.poll(SOON).await.expect("an answer").contains("40{"));
                polling.say(format!("42{subscribe}")).await;
                Self::Polling(polling)
            }
        }
    }

    /// What comes next; `None` is the end.
    async fn next(&mut self) -> Option<String> {
        match self {
            Self::Polling(polling) => polling.poll(SOON).await,
            Self::Stream(response) => {
                let some = tokio::time::timeout(SOON, response.chunk()).await.expect("in time").expect("not cut off");
                some.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            }
            Self::Socket(socket) => match socket.next().await {
                Ok(text) => {
                    if text == "2" {
                        socket.text("3".into()).await;
                    }
                    Some(text)
                }
                Err(code) => {
                    assert_eq!(code, Some(4401));
                    None
                }
            },
        }
    }

    /// Hears an event, so that it is known to follow.
    async fn hear(&mut self, mark: &str) {
        while !self.next().await.expect("it lives").contains(mark) {}
    }

    /// When the last event came, and when it was over.
    async fn until_the_end(mut self, mark: &str) -> (Option<Instant>, Instant) {
        let mut last = None;
        while let Some(text) = self.next().await {
            if text.contains(mark) {
                last = Some(Instant::now());
            }
        }
        (last, Instant::now())
    }
}

/// Events for `ada` and `bob`, one after the other, until it is dropped.
struct Publishing(JoinHandle<()>);

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn both() -> Value {
    json!([log("hers", Some("ada"), "for-ada"), log("his", Some("bob"), "for-bob")])
}

/// The first are there when this returns, and with them whose the executions are.
async fn keep_publishing(gateway: &Watched) -> Publishing {
    auth_rig::publish(gateway, None, both()).await;
    // Not the gateway itself: what is found out at its end is the test's to say.
    let url = gateway.url();
    Publishing(tokio::spawn(async move {
        loop {
            let (status, body) = ask_at(&url, "POST", "/api/events", Some(&service(None)), Some(both())).await;
            assert_eq!(status, 202, "{body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }))
}

/// Signed milliseconds from one moment to another.
fn millis(from: Instant, to: Instant) -> i128 {
    to.saturating_duration_since(from).as_millis() as i128 - from.saturating_duration_since(to).as_millis() as i128
}

type Ends = JoinSet<(&'static str, Option<Instant>, Instant)>;

/// `ada` on every gateway by every transport, each following by now.
async fn everywhere(gateways: &[Arc<Watched>], token: &str) -> Ends {
    let mut clients = JoinSet::new();
    for gateway in gateways {
        for way in WAYS {
            let (gateway, token) = (gateway.clone(), token.to_owned());
            clients.spawn(async move {
                let mut client = Client::follow(&gateway, way, "hers", &token).await;
                client.hear("for-ada").await;
                (way, client)
            });
        }
    }
    let mut ends = JoinSet::new();
    while let Some(client) = clients.join_next().await {
        let (way, client) = client.expect("it follows");
        ends.spawn(async move {
            let (last, end) = client.until_the_end("for-ada").await;
            (way, last, end)
        });
    }
    ends
}

/// Waits for all ends; of each transport, in milliseconds after `from`, the last event and the last close.
async fn figures(mut ends: Ends, from: Instant) -> BTreeMap<&'static str, (i128, i128)> {
    let mut worst: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    while let Some(ended) = ends.join_next().await {
        let (way, last, end) = ended.expect("it ended as it should");
        let figures = (last.map_or(i128::MIN, |last| millis(from, last)), millis(from, end));
        let of = worst.entry(way).or_insert(figures);
        *of = (of.0.max(figures.0), of.1.max(figures.1));
    }
    assert_eq!(worst.len(), WAYS.len());
    worst
}

fn show(what: &str, kind: Kind, figures: &BTreeMap<&str, (i128, i128)>) {
    for (way, (event, close)) in figures {
        eprintln!("| {kind:?} | {what} | {way} | last event {event} ms | last close {close} ms |");
    }
    let all = figures.values().fold((i128::MIN, i128::MIN), |all, of| (all.0.max(of.0), all.1.max(of.1)));
    eprintln!("| {kind:?} | {what} | all of {} connections | {} ms | {} ms |", WAYS.len() * GATEWAYS, all.0, all.1);
}

async fn gateways(broker: &Broker) -> (Vec<Arc<Watched>>, String) {
    let (first, control) = controlled(broker, &[]).await;
    let mut gateways = vec![Arc::new(first)];
    while gateways.len() < GATEWAYS {
        gateways.push(Arc::new(auth_rig::gateway(broker, &[]).await));
    }
    (gateways, control)
}

/// Somebody else on every gateway, who must notice nothing.
async fn others(gateways: &[Arc<Watched>]) -> Vec<Client> {
    let mut others = Vec::new();
    for gateway in gateways {
        let mut other = Client::follow(gateway, "native", "his", &of("bob")).await;
        other.hear("for-bob").await;
        others.push(other);
    }
    others
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_everything_everywhere() {
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let (gateways, control) = gateways(&broker).await;
        let publishing = keep_publishing(&gateways[0]).await;
        let ada = of("ada");
        // What she could go on from elsewhere.
        let (mut session, answer) = Ws::socketio(&gateways[1], &json!({"token": ada})).await;
        session.text(r#"420["subscribe","execution:hers"]"#.into()).await;
        session.hear("for-ada").await;
        let ends = everywhere(&gateways, &ada).await;
        let mut others = others(&gateways).await;
        let asked = Instant::now();
        let url = format!("http://{control}");
        let (status, _) = ask_at(&url, "POST", "/admin/revoke", Some(CONTROL), Some(json!({"subject": "ada"}))).await;
        assert_eq!(status, 204);
        show("revoked", kind, &figures(ends, asked).await);
        assert_eq!(session.closes().await, Some(4401), "{kind:?}");
        for other in &mut others {
            other.hear("for-bob").await;
        }
        drop(publishing);
        let fourth = auth_rig::gateway(&broker, &[]).await;
        refused_everywhere(&fourth, kind, &ada, &pid(&answer)).await;
    }
}

/// A gateway lets nobody in, or go on, by a token that it has learnt to be taken back.
pub async fn refused_everywhere(gateway: &Watched, kind: Kind, ada: &str, pid: &str) {
    for path in ["/api/ws", "/api/ws/executions/hers?offset=0", "/ws/executions/hers/logs"] {
        assert_eq!(Ws::bearing(gateway, path, ada).await.closes().await, Some(4401), "{kind:?} {path}");
    }
    let mut first = Ws::open(gateway, "/api/ws", &[]).await;
    first.say(json!({"type": "auth", "token": ada})).await;
    assert_eq!(first.closes().await, Some(4401), "{kind:?}: as the first message");
    for path in ["/api/executions/hers", "/api/executions/hers/events?after=0"] {
        assert_eq!(ask(gateway, "GET", path, Some(ada), None).await.0, 401, "{kind:?} {path}");
    }
    let stream = weft_testkit::http::client().get(format!("{}/api/executions/hers/events", gateway.url()));
    let stream = stream.header("accept", "text/event-stream").header("last-event-id", "0").bearer_auth(ada);
    assert_eq!(stream.send().await.expect("an answer").status().as_u16(), 401, "{kind:?}: an event stream that goes on");
    let resume = json!({"token": ada, "pid": pid, "offset": "0"});
    for namespace in ["", "/executions,"] {
        let (_, refused) = Ws::socketio_in(gateway, namespace, &resume).await;
        assert!(refused.contains("unauthenticated"), "{kind:?} {namespace}: {refused}");
    }
    let polling = Polling::open(gateway).await;
    polling.say(format!("40{resume}")).await;
    let refused = polling.poll(SOON).await.expect("an answer");
    assert!(refused.contains("unauthenticated"), "{kind:?}: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_token_ends_everything_everywhere() {
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let (gateways, _) = gateways(&broker).await;
        let _publishing = keep_publishing(&gateways[0]).await;
        // Long enough for all to be there, on a machine that is busy: twice as long as it takes just now.
        let began = Instant::now();
        drop(everywhere(&gateways, &of("ada")).await);
        let expires = now() + began.elapsed().as_secs() * 2 + 10;
        let ends = everywhere(&gateways, &token(json!({"sub": "ada", "exp": expires}))).await;
        let mut others = others(&gateways).await;
        let left = (UNIX_EPOCH + Duration::from_secs(expires)).duration_since(SystemTime::now()).expect("all are there in time");
        show("expired", kind, &figures(ends, Instant::now() + left).await);
        for other in &mut others {
            other.hear("for-bob").await;
        }
    }
}
