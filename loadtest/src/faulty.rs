//! A gateway with one fault, to show that the load finds it.

use crate::{
    client::COUNTER_KEY,
    measure::Process,
    options::{Command, Options},
    report::Outcome,
    scenario::{Scenario, Target, load},
};
use axum::{
    Json, Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    routing::{get, post},
};
use clap::Parser as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::broadcast};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Loses,
    Doubles,
    Swaps,
    Gap,
    Closes,
}

/// The event at which the fault shows; past the warm-up.
const AT: u64 = 4;

type Events = broadcast::Sender<Value>;

async fn publish(State((events, _)): State<(Events, Fault)>, body: String) -> (axum::http::StatusCode, Json<Value>) {
    let lines = body.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event")).collect::<Vec<_>>();
    let accepted = lines.len();
    for event in lines {
        // Where all have closed, nobody is left to be sent to.
        let _ = events.send(event);
    }
    (axum::http::StatusCode::ACCEPTED, Json(json!({"accepted": accepted})))
}

async fn follow(socket: WebSocketUpgrade, State((events, fault)): State<(Events, Fault)>) -> axum::response::Response {
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
        if event["executionId"] != execution.as_str() {
            continue;
        }
        let at_fault = event["data"][COUNTER_KEY.trim_matches([':', '"'])] == AT;
        let frame = Message::text(event.to_string());
        match (fault, at_fault) {
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

async fn outcome(fault: Fault) -> Outcome {
    let events = broadcast::channel(1024).0;
    let router = Router::new().route("/api/events", post(publish)).route("/api/ws", get(follow)).with_state((events, fault));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    let words = ["loadtest", "bench", "--deliveries", "120", "--burst", "2"];
    let Command::Bench(options) = Options::parse_from(words).command;
    let scenario = Scenario { name: "faulty".into(), clients: 6, rooms: 3 };
    let target = Target { process: Process(std::process::id()), address };
    load(&scenario, &options, target).await.expect("the load runs")
}

#[tokio::test]
async fn faults_are_found() {
    let mut loads = tokio::task::JoinSet::new();
    for (fault, lost, duplicated, misordered, gaps) in [
        (Fault::None, 0, 0, 0, 0),
        (Fault::Loses, 6, 0, 0, 0),
        (Fault::Doubles, 0, 6, 0, 0),
        (Fault::Swaps, 0, 0, 6, 0),
        (Fault::Gap, 0, 0, 0, 6),
    ] {
        loads.spawn(async move {
            let found = outcome(fault).await;
            let counted = (found.lost, found.duplicated, found.misordered, found.gaps, found.connections_ended);
            assert_eq!(counted, (lost, duplicated, misordered, gaps, 0), "{fault:?}: {found:?}");
            assert_eq!(found.is_sound(), fault == Fault::None, "{fault:?}: {found:?}");
            assert_eq!(found.events_published, found.rooms * 26, "{fault:?}: 3 rounds to warm up and 10, of 2 events");
        });
    }
    loads.spawn(async {
        let found = outcome(Fault::Closes).await;
        assert!(found.connections_ended == 6 && found.lost >= 6 * 2 && !found.is_sound(), "{found:?}");
    });
    while let Some(load) = loads.join_next().await {
        load.expect("as expected");
    }
}
