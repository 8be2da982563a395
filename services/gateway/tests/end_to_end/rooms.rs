//! One event, once: for clients that follow several rooms which hold it.

use crate::support::{Broker, DURABLE, Kind, SHARED, SOON, Socket, addresses, is_full, number, publish, urls};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};
use weft_testkit::{
    client::{Client, ClientPlan},
    history::History,
    process::Process,
    record::Follow,
    seed::Seed,
    source::Source,
};

/// An event of an execution, its owner and an agent.
fn event(execution: &str, n: u64) -> Value {
    let id = format!("{execution}-{n}");
    json!({"type": "agent:token", "id": id, "executionId": execution, "userId": "ada", "agentId": "writer", "data": {"n": n}})
}

async fn publish_each(gateway: &Process, execution: &str, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        publish(gateway, event(execution, n)).await;
    }
}

/// What a client keeps: the last offset of each room, wherever it came from.
#[derive(Default)]
struct Offsets {
    of: HashMap<String, String>,
    /// Events of one room that came before the answer for another.
    early: VecDeque<Value>,
}

impl Offsets {
    fn keep(&mut self, frame: &Value) {
        for (room, offset) in frame["offsets"].as_object().into_iter().flatten() {
            self.of.insert(room.clone(), offset.as_str().expect("an offset").to_owned());
        }
        let is_place = frame["type"] != "subscribed" || frame["outcome"] == "live";
        if let (true, Some(offset)) = (is_place, frame["offset"].as_str()) {
            let room = frame["room"].as_str().map(str::to_owned);
            let room = room.unwrap_or_else(|| format!("execution:{}", frame["executionId"].as_str().expect("an execution")));
            self.of.insert(room, offset.to_owned());
        }
    }

    /// Resumes every room in one message, and hears that nothing is missing.
    async fn resume(&mut self, gateway: &Process) -> Socket {
        let mut socket = Socket::open(gateway).await;
        let rooms: Vec<Value> = self.of.iter().map(|(room, offset)| json!({"room": room, "offset": offset})).collect();
        let count = rooms.len();
        socket.say(json!({"type": "subscribe", "rooms": rooms})).await;
        let mut answers = 0;
        while answers < count {
            let frame = socket.hear().await;
            if frame["type"] == "subscribed" {
                assert_eq!(frame["outcome"], "resumed", "{frame}");
                answers += 1;
            } else {
                self.early.push_back(frame);
            }
        }
        socket
    }

    async fn hear(&mut self, socket: &mut Socket, n: u64) -> Value {
        let frame = match self.early.pop_front() {
            Some(frame) => frame,
            None => socket.hear().await,
        };
        assert_eq!(number(&frame), Some(n), "{frame}");
        self.keep(&frame);
        frame
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_both_rooms_gets_each_event_once_even_on_the_other_gateway() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let (here, there) = (&gateways[0], &gateways[gateways.len() - 1]);
        let mut offsets = Offsets::default();
        let mut socket = Socket::open(here).await;
        socket.say(json!({"type": "subscribe", "rooms": [{"room": "user:ada"}, {"room": "execution:both"}]})).await;
        for _ in 0..2 {
            offsets.keep(&socket.hear_a("subscribed").await);
        }
        publish_each(here, "both", 1..=5).await;
        for n in 1..=5 {
            offsets.hear(&mut socket, n).await;
        }
        socket.hears_nothing_more().await;
        socket.cut();

        publish_each(here, "both", 6..=8).await;
        let mut socket = offsets.resume(there).await;
        for n in 6..=8 {
            offsets.hear(&mut socket, n).await;
        }
        publish_each(there, "both", 9..=9).await;
        offsets.hear(&mut socket, 9).await;
        socket.hears_nothing_more().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_room_may_come_later_and_the_answer_refreshes_the_first_ones_offset() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let (here, there) = (&gateways[0], &gateways[gateways.len() - 1]);
        let mut offsets = Offsets::default();
        let mut socket = Socket::open(here).await;
        offsets.keep(&socket.subscribe(json!({"executionId": "later"})).await);
        publish_each(here, "later", 1..=3).await;
        for n in 1..=3 {
            offsets.hear(&mut socket, n).await;
        }
        // From the start: the user's room holds copies of events that have been delivered already.
        let answer = socket.subscribe(json!({"room": "user:ada", "offset": "0"})).await;
        assert!(answer["offsets"]["execution:later"].is_string(), "{kind:?}: {answer}");
        offsets.keep(&answer);
        publish_each(here, "later", 4..=4).await;
        let frame = offsets.hear(&mut socket, 4).await;
        assert_eq!(frame["room"], Value::Null, "{kind:?}: its own room delivers it: {frame}");
        socket.hears_nothing_more().await;
        socket.cut();

        // The client has heard of the user's room by an answer only, so it asks for all of it again.
        offsets.of.entry("user:ada".into()).or_insert_with(|| "0".into());
        let mut socket = offsets.resume(there).await;
        publish_each(there, "later", 5..=5).await;
        offsets.hear(&mut socket, 5).await;
        socket.hears_nothing_more().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_followed_after_its_owner_goes_on_where_the_owners_room_was() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let (here, there) = (&gateways[0], &gateways[gateways.len() - 1]);
        let mut offsets = Offsets::default();
        let mut socket = Socket::open(here).await;
        offsets.keep(&socket.subscribe(json!({"room": "user:ada"})).await);
        publish_each(here, "owned", 1..=3).await;
        for n in 1..=3 {
            let frame = offsets.hear(&mut socket, n).await;
            assert_eq!(frame["room"], "user:ada", "{kind:?}: {frame}");
        }
        offsets.keep(&socket.subscribe(json!({"executionId": "owned"})).await);
        offsets.keep(&socket.subscribe(json!({"room": "agent:writer:owned"})).await);
        publish_each(here, "owned", 4..=6).await;
        for n in 4..=6 {
            let frame = offsets.hear(&mut socket, n).await;
            assert_eq!(frame["room"], Value::Null, "{kind:?}: {frame}");
        }
        socket.hears_nothing_more().await;
        socket.cut();
        // The owner's room has not moved since number 3: its copies of 4 to 6 are left out on the other gateway too.
        let mut socket = offsets.resume(there).await;
        assert!(offsets.early.is_empty(), "{kind:?}: {:?}", offsets.early);
        socket.hears_nothing_more().await;
        publish_each(there, "owned", 7..=7).await;
        offsets.hear(&mut socket, 7).await;
        socket.hears_nothing_more().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_room_has_the_agents_events_and_no_others() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[]).await;
        let mut socket = Socket::open(&gateway).await;
        socket.subscribe(json!({"room": "agent:writer:crew"})).await;
        publish(&gateway, json!([event("crew", 1), crate::support::numbered("crew", 2), event("crew", 3)])).await;
        for n in [1, 3] {
            let frame = socket.hear().await;
            assert_eq!((number(&frame), &frame["room"]), (Some(n), &json!("agent:writer:crew")), "{kind:?}: {frame}");
        }
        socket.hears_nothing_more().await;
    }
}

/// A client that is behind in the execution's room leaves it: what the owner's room had left to it still comes, and what
/// is published afterwards comes by the owner's room.
#[tokio::test(flavor = "multi_thread")]
async fn leaving_a_room_while_behind_loses_and_doubles_nothing_in_the_other() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[("WEFT_LOG_EVENTS_MAX", "16")]).await;
        let gateway = &gateways[0];
        let total = 2_000;
        let mut socket = Socket::open_with(&gateway.address(), None, 4096).await.expect("an upgrade");
        socket.hear_a("connected").await;
        socket.say(json!({"type": "subscribe", "rooms": [{"room": "execution:left"}, {"room": "user:ada"}]})).await;
        for _ in 0..2 {
            socket.hear_a("subscribed").await;
        }
        // It does not read meanwhile, so most of this waits in history.
        for first in (1..=total).step_by(200) {
            publish(gateway, (first..first + 200).map(|n| padded("left", n)).collect()).await;
        }
        socket.say(json!({"type": "unsubscribe", "executionId": "left"})).await;
        publish(gateway, (total + 1..=total + 50).map(|n| padded("left", n)).collect()).await;
        let (mut seen, mut left) = (Vec::new(), false);
        while seen.len() < (total + 50) as usize {
            let frame = socket.hear().await;
            match number(&frame) {
                Some(n) => {
                    assert!(
                        !left || frame["room"] == "user:ada",
                        "{kind:?}: after the answer, by the room that was left: {frame}"
                    );
                    seen.push(n);
                }
                None => {
                    assert_eq!(frame["type"], "unsubscribed", "{kind:?}: {frame}");
                    left = true;
                }
            }
        }
        if !left {
            socket.hear_a("unsubscribed").await;
        }
        socket.hears_nothing_more().await;
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=total + 50).collect::<Vec<_>>(), "{kind:?}");
    }
}

fn padded(execution: &str, n: u64) -> Value {
    let text = "x".repeat(500);
    json!({"type": "log", "executionId": execution, "userId": "ada", "data": {"n": n, "level": "info", "message": text}})
}

/// Clients of overlapping rooms are cut off again and again while several sources publish; the checker knows nothing of
/// rooms but what was published.
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_overlapping_rooms_that_are_cut_again_and_again_miss_and_repeat_nothing() {
    for kind in SHARED {
        let seed = Seed::from_env();
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[("WEFT_LOG_EVENTS_MAX", "64")]).await;
        let plan = |name: &str, follows| Client::started(ClientPlan::new(name, &addresses(&gateways), follows), SOON);
        let both = plan("both", vec![Follow::start("execution:x"), Follow::start("user:ada")]).await.expect("a client");
        let all = vec![Follow::start("user:ada"), Follow::start("agent:writer:x"), Follow::start("execution:x")];
        let all = plan("all", all).await.expect("a client");
        let rooms = ["execution:x", "execution:y", "user:ada", "agent:writer:y"];
        let four = plan("four", rooms.map(Follow::start).to_vec()).await.expect("a client");
        let batches = if is_full() { 600 } else { 80 };
        let sources = ["p", "q"].map(|name| {
            let mut source = Source::new(name, &urls(&gateways), seed.rng(name));
            tokio::spawn(async move {
                for batch in 0..batches {
                    let execution = if batch % 3 == 0 { "y" } else { "x" };
                    assert!(source.publish(execution, Some("ada"), 1 + batch % 9).await.expect("published"));
                }
                source.finish().0
            })
        });
        for round in 0..(if is_full() { 60 } else { 12 }) {
            tokio::time::sleep(Duration::from_millis(120)).await;
            [&both, &all, &four][round % 3].cut();
        }
        let mut history = History::new();
        let mut due = HashMap::from([("both", 0), ("all", 0), ("four", 0)]);
        for source in sources {
            let published = source.await.expect("a source");
            for event in &published {
                let of_x = &*event.rooms[0] == "execution:x";
                // Everything reaches the owner's room, and so each of these clients.
                due.values_mut().for_each(|count| *count += 1);
                assert!(of_x || &*event.rooms[0] == "execution:y");
            }
            history.published(published);
        }
        for (client, name) in [(both, "both"), (all, "all"), (four, "four")] {
            client.wait_for_events(due[name], SOON).await.unwrap_or_else(|fault| panic!("{kind:?}: {fault}"));
            history.record(client.finish().await);
        }
        let verdict = history.check();
        assert!(verdict.is_whole(), "{kind:?}: {verdict}");
        assert!(verdict.resumes > 0, "{kind:?}: {verdict}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_without_history_deliver_an_event_of_two_rooms_once() {
    for kind in [Kind::NatsCore, Kind::RedisPubSub] {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let mut socket = Socket::open(&gateways[1]).await;
        let answer = socket.subscribe(json!({"executionId": "fleeting", "offset": "0"})).await;
        assert_eq!((&answer["outcome"], &answer["recovered"]), (&json!("live"), &json!(false)), "{kind:?}: {answer}");
        socket.subscribe(json!({"room": "user:ada"})).await;
        publish_each(&gateways[0], "fleeting", 1..=20).await;
        let mut seen = Vec::new();
        while seen.len() < 20 {
            let frame = socket.hear().await;
            assert_eq!(frame["offset"], Value::Null, "{kind:?}: {frame}");
            seen.extend(number(&frame));
        }
        socket.hears_nothing_more().await;
        seen.sort_unstable();
        assert_eq!(seen, (1..=20).collect::<Vec<_>>(), "{kind:?}");
    }
}
