//! The recording client against a gateway of a few lines: it resumes where it stopped reading, and a gateway that
//! loses or repeats is found out.

use futures_util::{SinkExt, StreamExt, stream::FusedStream};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tokio_tungstenite::tungstenite::Message;
use weft_testkit::{
    client::{Client, ClientPlan},
    history::{History, Published, Verdict},
    record::{Follow, Seen, Wishes},
};

const ROOM: &str = "execution:e";
const PATIENCE: Duration = Duration::from_secs(30);

/// Delivers events `1..=head` of the one room; the offset of an event is its number. `skip` is never delivered.
async fn gateway(head: watch::Receiver<u64>, skip: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let head = head.clone();
            tokio::spawn(async move {
                let socket = tokio_tungstenite::accept_async(stream).await.expect("a WebSocket");
                deliver(socket, head, skip).await;
            });
        }
    });
    address
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

async fn deliver(mut socket: Socket, mut head: watch::Receiver<u64>, skip: u64) {
    let Some(Ok(Message::Text(asked))) = socket.next().await else { return };
    let asked: Value = serde_json::from_str(&asked).expect("json");
    let mut at: u64 = asked["rooms"][0]["offset"].as_str().expect("an offset").parse().expect("a number");
    let outcome = json!({"type":"subscribed","room":ROOM,"outcome":"resumed","offset":head.borrow().to_string()});
    if socket.send(Message::text(outcome.to_string())).await.is_err() {
        return;
    }
    while !socket.is_terminated() {
        while at < *head.borrow_and_update() {
            at += 1;
            let event = json!({"type":"log","executionId":"e","id":format!("id-{at}"),"offset":at.to_string(),
                "data":{"n":at,"source":"p","message":"x".repeat(200)}});
            if at != skip && socket.send(Message::text(event.to_string())).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            // A close, which the library answers.
            _ = socket.next() => {}
        }
    }
}

fn verdict(client: weft_testkit::record::Record, events: u64) -> Verdict {
    let rooms: Arc<[Arc<str>]> = [ROOM.into()].into();
    let event = |counter: u64| Published {
        id: format!("id-{counter}").into(),
        rooms: Arc::clone(&rooms),
        source: "p".into(),
        kind: Some("log".into()),
        counter,
        began: Instant::now(),
        acked: true,
    };
    let mut history = History::new();
    history.published((1..=events).map(event));
    history.record(client);
    history.check()
}

#[tokio::test]
async fn a_client_that_is_cut_off_again_and_again_sees_everything_once() {
    let (head, follow) = watch::channel(0);
    let gateways = [gateway(follow.clone(), 0).await, gateway(follow, 0).await];
    let plan =
        ClientPlan { reconnect_within: Duration::from_millis(5), ..ClientPlan::new("c", &gateways, vec![Follow::start(ROOM)]) };
    let client = Client::started(plan, PATIENCE).await.expect("started");
    for round in 1..=5_u64 {
        head.send_replace(round * 400);
        client.wait_for_events(round * 400 - 390, PATIENCE).await.expect("some events");
        client.cut();
        client.wait_for("a resume", PATIENCE, |record| u64::from(record.resumes) >= round).await.expect("resumed");
    }
    client.wait_for_events(2000, PATIENCE).await.expect("all events");
    let record = client.finish().await;
    let used: Vec<usize> = record
        .entries
        .iter()
        .filter_map(|entry| if let Seen::Connected { gateway } = entry.seen { Some(gateway) } else { None })
        .collect();
    assert_eq!(used, [0, 1, 0, 1, 0, 1]);
    let verdict = verdict(record, 2000);
    assert!(verdict.is_whole() && verdict.resumes_min == 5, "{verdict}");
}

#[tokio::test]
async fn a_gateway_that_skips_one_is_found_out() {
    let (head, follow) = watch::channel(100);
    let client = Client::start(ClientPlan::new("c", &[gateway(follow, 42).await], vec![Follow::start(ROOM)]));
    client.wait_for_events(99, PATIENCE).await.expect("all but one");
    let verdict = verdict(client.finish().await, 100);
    assert_eq!((verdict.clients.lost, verdict.clients.duplicated), (1, 0), "{verdict}");
    drop(head);
}

#[tokio::test]
async fn a_stalled_client_reads_nothing_until_it_reads_again() {
    let (head, follow) = watch::channel(0);
    let plan =
        ClientPlan { receive_buffer: 32_768, ..ClientPlan::new("c", &[gateway(follow, 0).await], vec![Follow::start(ROOM)]) };
    let client = Client::started(plan, PATIENCE).await.expect("started");
    client.stall();
    // The order is taken before the next frame is read, because orders come first.
    head.send_replace(4_000);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(client.record().events <= 1, "it read {} events while stalled", client.record().events);
    client.read();
    client.wait_for_events(4_000, PATIENCE).await.expect("all events");
    let verdict = verdict(client.finish().await, 4_000);
    assert!(verdict.is_whole(), "{verdict}");
}

#[tokio::test]
async fn a_client_can_go_away_and_come_back() {
    let (head, follow) = watch::channel(10);
    let client = Client::started(ClientPlan::new("c", &[gateway(follow, 0).await], vec![Follow::start(ROOM)]), PATIENCE)
        .await
        .expect("started");
    client.wait_for_events(10, PATIENCE).await.expect("the first ten");
    client.go_away(Duration::from_millis(300));
    client.wait_for("the disconnect", PATIENCE, |record| record.disconnects == 1).await.expect("away");
    head.send_replace(20);
    client.wait_for_events(20, PATIENCE).await.expect("the rest");
    let verdict = verdict(client.finish().await, 20);
    assert!(verdict.is_whole(), "{verdict}");
}

/// Answers each connection's subscribe with the next of these scripts, one frame each, and tells what was asked. The
/// connection is reset after its frames, the last one stays.
async fn scripted(scripts: Vec<Vec<String>>) -> (String, tokio::sync::mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let (asked, heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let last = scripts.len();
        for (number, frames) in (1..).zip(scripts) {
            let (stream, _) = listener.accept().await.expect("a client");
            let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a WebSocket");
            let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no subscribe") };
            let _ = asked.send(serde_json::from_str(&text).expect("json"));
            for frame in frames {
                socket.send(Message::text(frame)).await.expect("sent");
            }
            if number == last {
                while let Some(Ok(_)) = socket.next().await {}
            }
            let _ = socket.close(None).await;
        }
    });
    (address, heard)
}

fn line(n: u64, more: Value) -> String {
    let mut event = json!({"type":"node:progress","executionId":"e","id":format!("id-{n}"),"offset":n.to_string(),
        "data":{"n":n,"source":"p"}});
    for (key, value) in more.as_object().into_iter().flatten() {
        event[key] = value.clone();
    }
    event.to_string()
}

#[tokio::test]
async fn a_client_goes_on_after_the_offsets_that_a_later_answer_brings() {
    let first = json!({"type":"subscribed","room":ROOM,"outcome":"resumed","offset":"1"}).to_string();
    let second = json!({"type":"subscribed","room":"user:u","outcome":"live","offset":"7","offsets":{ROOM:"1.since",
        "execution:other":"never followed"}});
    let scripts = vec![vec![first, line(1, json!({})), second.to_string()], vec![]];
    let (gateway, mut asked) = scripted(scripts).await;
    let follows = vec![Follow::start(ROOM), Follow::live("user:u")];
    let client = Client::start(ClientPlan::new("c", &[gateway], follows));
    let rooms = asked.recv().await.expect("asked")["rooms"].clone();
    assert_eq!(rooms, json!([{"room":ROOM,"offset":"0"},{"room":"user:u"}]));
    let rooms = asked.recv().await.expect("asked again")["rooms"].clone();
    assert_eq!(rooms, json!([{"room":ROOM,"offset":"1.since"},{"room":"user:u","offset":"7"}]));
    drop(client);
}

#[tokio::test]
async fn a_batch_is_read_line_by_line_where_it_was_asked_for() {
    let batch = [line(1, json!({})), line(5, json!({"skipped": 3}))].join("\n");
    for wished in [true, false] {
        let (gateway, mut asked) = scripted(vec![vec![batch.clone()]]).await;
        let wishes = Wishes { batch: wished, conflate: true, types: vec!["node:*".into()] };
        let plan = ClientPlan { wishes, ..ClientPlan::new("c", &[gateway], vec![Follow::start(ROOM)]) };
        let client = Client::start(plan);
        let message = asked.recv().await.expect("asked");
        assert_eq!((message["batch"].as_bool(), message["conflate"].as_bool()), (wished.then_some(true), Some(true)));
        assert_eq!(message["types"], json!(["node:*"]));
        let told = |seen: &Seen| matches!(seen, Seen::Event(_) | Seen::Malformed { .. });
        let expected = if wished { 2 } else { 1 };
        let has_all =
            |record: &weft_testkit::record::Record| record.entries.iter().filter(|entry| told(&entry.seen)).count() == expected;
        client.wait_for("the frame", PATIENCE, has_all).await.expect("came");
        let record = client.finish().await;
        let skipped: Vec<u64> = record.events().map(|event| event.skipped).collect();
        assert_eq!(skipped, if wished { vec![0, 3] } else { vec![] });
    }
}

#[tokio::test]
async fn a_paced_client_reads_a_little_at_a_time_also_within_a_frame() {
    let long = line(1, json!({"data": {"n": 1, "source": "p", "text": "x".repeat(300_000)}}));
    let (gateway, _asked) = scripted(vec![vec![long]]).await;
    let plan = ClientPlan {
        receive_buffer: 4096,
        read_bytes_per_second: 300_000,
        ..ClientPlan::new("c", &[gateway], vec![Follow::start(ROOM)])
    };
    let began = Instant::now();
    let client = Client::start(plan);
    client.wait_for_events(1, PATIENCE).await.expect("the event");
    // It can be late for any reason, early for none.
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}
