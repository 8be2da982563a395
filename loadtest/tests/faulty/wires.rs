//! The ways to talk of that gateway: as little of each as a load needs.

use super::gateway::{Fault, Follow, Tell};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::Response,
    routing::{get, post},
};
use futures_util::{SinkExt, StreamExt, stream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::{
    net::TcpListener,
    sync::{broadcast, mpsc},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, handshake::derive_accept_key, protocol::Role},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Native,
    D,
    Stream,
}

impl Wire {
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Native => "json",
            Self::D => "d",
            Self::Stream => "sse",
        }
    }
}

type Faulty = (broadcast::Sender<Value>, Fault);
type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// Serves all of them until the test is over; where.
pub async fn start(fault: Fault) -> String {
    let router = Router::new()
        .route("/api/events", post(publish))
        .route("/api/ws", get(native))
        .route("/socket.io/", get(packets))
        .route("/api/executions/{execution}/events", get(event_stream))
        .with_state((broadcast::channel(1024).0, fault));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    address
}

async fn publish(State((events, _)): State<Faulty>, body: String) -> (StatusCode, Json<Value>) {
    let lines = body.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event")).collect::<Vec<_>>();
    let accepted = lines.len();
    for event in lines {
        // Where all have closed, nobody is left to be sent to.
        let _ = events.send(event);
    }
    (StatusCode::ACCEPTED, Json(json!({"accepted": accepted})))
}

/// Answers a handshake; `serve` gets the socket.
fn upgrade<F: Future<Output = ()> + Send>(mut request: Request, serve: impl FnOnce(WebSocket) -> F + Send + 'static) -> Response {
    let accept = derive_accept_key(request.headers()[header::SEC_WEBSOCKET_KEY].as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = TokioIo::new(upgrade.await.expect("an upgrade"));
        serve(WebSocket::from_raw_socket(upgraded, Role::Server, None).await).await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Body::empty())
        .expect("an answer")
}

async fn native(State((events, fault)): State<Faulty>, request: Request) -> Response {
    let mut events = events.subscribe();
    upgrade(request, async move |mut socket| {
        // The other end is gone when the test is over, here as below.
        let _ = async {
            socket.send(json!({"type": "connected"}).to_string().into()).await?;
            let asked: Value = serde_json::from_str(&next(&mut socket).await?).expect("json");
            let room = asked["room"].as_str().expect("a room");
            socket.send(json!({"type": "subscribed", "room": room}).to_string().into()).await?;
            let mut follow = Follow::new(fault, execution(room));
            let written = |tell| match tell {
                Tell::Event(event) => event.to_string().into(),
                Tell::Ping => Message::Ping("are you there".into()),
                Tell::Gap => json!({"type": "gap"}).to_string().into(),
                Tell::Refusal => json!({"type": "error", "code": "internal"}).to_string().into(),
                Tell::End => Message::Close(None),
            };
            tell_all(&mut socket, &mut events, &mut follow, written).await
        }
        .await;
    })
}

async fn packets(State((events, fault)): State<Faulty>, request: Request) -> Response {
    let mut events = events.subscribe();
    upgrade(request, async move |mut socket| {
        let _ = async {
            socket.send("0{\"sid\":\"s\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}".into()).await?;
            assert_eq!(next(&mut socket).await?, "40", "nothing before it is let in");
            socket.send("40{\"sid\":\"n\"}".into()).await?;
            let asked = next(&mut socket).await?;
            let asked: Value = serde_json::from_str(asked.strip_prefix("420").expect("an event with an ack")).expect("json");
            socket.send("430[{\"ok\":true,\"outcome\":\"live\"}]".into()).await?;
            let mut follow = Follow::new(fault, execution(asked[1].as_str().expect("a room")));
            let written = |tell| match tell {
                Tell::Event(event) => format!("42{}", json!(["log", event, "1AA"])).into(),
                Tell::Ping => "2".into(),
                Tell::Gap => "42[\"gap\",{}]".into(),
                Tell::Refusal => "42[\"error\",{\"code\":\"internal\"}]".into(),
                Tell::End => Message::Close(None),
            };
            tell_all(&mut socket, &mut events, &mut follow, written).await
        }
        .await;
    })
}

/// Tells a client of events, and hears whatever it says, until either end has enough.
async fn tell_all(
    socket: &mut WebSocket,
    events: &mut broadcast::Receiver<Value>,
    follow: &mut Follow,
    written: impl Fn(Tell) -> Message,
) -> Result<(), Error> {
    loop {
        let event = tokio::select! {
            Ok(event) = events.recv() => event,
            Some(heard) = socket.next() => {
                heard?;
                continue;
            }
            else => return Ok(()),
        };
        for tell in follow.told(&event) {
            let ends = matches!(tell, Tell::End);
            socket.send(written(tell)).await?;
            if ends {
                return Ok(());
            }
        }
    }
}

async fn next(socket: &mut WebSocket) -> Result<String, Error> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
            Some(heard) => drop(heard?),
            None => return Err(Error::ConnectionClosed),
        }
    }
}

async fn event_stream(Path(execution): Path<String>, State((events, fault)): State<Faulty>) -> Response {
    let (mut events, (body, chunks)) = (events.subscribe(), mpsc::channel::<String>(64));
    tokio::spawn(async move {
        let mut follow = Follow::new(fault, &execution);
        let mut told = vec!["retry: 1000\n\n".to_owned(), "id: 1.2.3\n\n".to_owned()];
        loop {
            for text in told.drain(..) {
                // In two chunks, the first of which ends nothing.
                let (one, other) = text.split_at(text.len() - 1);
                if body.send(one.into()).await.and(body.send(other.into()).await).is_err() {
                    return;
                }
            }
            let Ok(event) = events.recv().await else { return };
            for tell in follow.told(&event) {
                told.push(match tell {
                    Tell::Event(event) => format!("id: 1.2.4\nevent: log\ndata: {event}\n\n"),
                    Tell::Ping => ":\n\n".into(),
                    Tell::Gap => "event: gap\ndata: {}\n\n".into(),
                    Tell::Refusal => "event: error\ndata: {}\n\n".into(),
                    Tell::End => return,
                });
            }
        }
    });
    let body = stream::unfold(chunks, async |mut chunks| {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, Infallible>(chunk), chunks))
    });
    Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(body)).expect("an answer")
}

fn execution(room: &str) -> &str {
    room.strip_prefix("execution:").expect("an execution's room")
}
