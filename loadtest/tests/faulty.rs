//! A gateway with one fault each, to show that the load finds it.

use axum::{
    Json, Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Stdio};
use tokio::{net::TcpListener, process::Command, sync::broadcast};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Loses,
    Doubles,
    Swaps,
    Strays,
    Gap,
    Refuses,
    Closes,
}

/// The event at which the fault shows; past the warm-up.
const AT: &str = "~4~";

type Events = broadcast::Sender<Value>;

async fn publish(State((events, _)): State<(Events, Fault)>, body: String) -> (StatusCode, Json<Value>) {
    let lines = body.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event")).collect::<Vec<_>>();
    let accepted = lines.len();
    for event in lines {
        // Where all have closed, nobody is left to be sent to.
        let _ = events.send(event);
    }
    (StatusCode::ACCEPTED, Json(json!({"accepted": accepted})))
}

async fn follow(socket: WebSocketUpgrade, State((events, fault)): State<(Events, Fault)>) -> Response {
    let events = events.subscribe();
    socket.on_upgrade(move |socket| async move {
        // The other end is gone when the test is over.
        let _ = serve(socket, events, fault).await;
    })
}

async fn serve(mut socket: WebSocket, mut events: broadcast::Receiver<Value>, fault: Fault) -> Result<(), axum::Error> {
    socket.send(Message::text(json!({"type": "connected"}).to_string())).await?;
    let asked = loop {
        if let Some(Message::Text(text)) = socket.recv().await.transpose()? {
            break serde_json::from_str::<Value>(&text).expect("json");
        }
    };
    let execution = asked["room"].as_str().and_then(|room| room.strip_prefix("execution:")).expect("a room").to_owned();
    socket.send(Message::text(json!({"type": "subscribed", "room": asked["room"]}).to_string())).await?;
    let mut kept = None;
    while let Ok(event) = events.recv().await {
        let strays = fault == Fault::Strays && is_at_fault(&event);
        if event["executionId"] != execution.as_str() && !strays {
            continue;
        }
        let frame = Message::text(event.to_string());
        match (fault, is_at_fault(&event)) {
            (Fault::Loses, true) => {}
            (Fault::Doubles, true) => {
                socket.send(frame.clone()).await?;
                socket.send(frame).await?;
            }
            (Fault::Swaps, true) => kept = Some(frame),
            (Fault::Gap, true) => {
                socket.send(Message::text(json!({"type": "gap"}).to_string())).await?;
                socket.send(frame).await?;
            }
            (Fault::Refuses, true) => {
                socket.send(Message::text(json!({"type": "error", "code": "internal"}).to_string())).await?;
                socket.send(frame).await?;
            }
            (Fault::Closes, true) => return socket.send(Message::Close(None)).await,
            _ => {
                socket.send(Message::Ping("are you there".into())).await?;
                socket.send(frame).await?;
                if let Some(late) = kept.take() {
                    socket.send(late).await?;
                }
            }
        }
    }
    Ok(())
}

fn is_at_fault(event: &Value) -> bool {
    event["data"]["message"].as_str().expect("a message with its mark").contains(AT)
}

/// What the load found, and how it ended.
async fn outcome(fault: Fault) -> (Value, Option<i32>) {
    let events = broadcast::channel(1024).0;
    let router = Router::new().route("/api/events", post(publish)).route("/api/ws", get(follow)).with_state((events, fault));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    let json = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faulty-{fault:?}.json"));
    let mut load = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    load.args(["run", "rooms", "--rate", "0", "--clients", "6", "--rooms", "3", "--deliveries", "120", "--burst", "2"]);
    load.args(["--rest", "0", "--patience", "2", "--against", &address, "--pid", &std::process::id().to_string(), "--json"])
        .arg(&json);
    let output = load.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("the load runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let outcomes: Value = serde_json::from_slice(&std::fs::read(&json).expect(&said)).expect("json");
    (outcomes[0].clone(), output.status.code())
}

#[tokio::test]
async fn faults_are_found() {
    let mut loads = tokio::task::JoinSet::new();
    for (fault, lost, duplicated, misordered, gaps, errors) in [
        (Fault::None, 0, 0, 0, 0, 0),
        (Fault::Loses, 6, 0, 0, 0, 0),
        (Fault::Doubles, 0, 6, 0, 0, 0),
        (Fault::Swaps, 0, 0, 6, 0, 0),
        // To each client come the events of two rooms that it does not follow.
        (Fault::Strays, 0, 0, 0, 0, 12),
        (Fault::Gap, 0, 0, 0, 6, 0),
        (Fault::Refuses, 0, 0, 0, 0, 6),
    ] {
        loads.spawn(async move {
            let (found, code) = outcome(fault).await;
            for (what, expected) in [
                ("lost", lost),
                ("duplicated", duplicated),
                ("misordered", misordered),
                ("gaps", gaps),
                ("errors", errors),
                ("connections_ended", 0),
            ] {
                assert_eq!(found[what], expected, "{fault:?}: {what} of {found}");
            }
            assert_eq!(code, Some(i32::from(fault != Fault::None)), "{fault:?}: {found}");
            assert_eq!(found["events_published"], 3 * 26, "{fault:?}: 3 rounds to warm up and 10, of 2 events in 3 rooms");
        });
    }
    loads.spawn(async {
        let (found, code) = outcome(Fault::Closes).await;
        let lost = found["lost"].as_u64().expect("a number");
        assert!(found["connections_ended"] == 6 && lost >= 6 * 2 && code == Some(1), "{found}");
    });
    while let Some(load) = loads.join_next().await {
        load.expect("as expected");
    }
}
