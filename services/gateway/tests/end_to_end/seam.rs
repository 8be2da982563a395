//! The seam between history and live: subscribing while a publisher writes at full speed loses and doubles nothing.

use crate::support::{Broker, Heard, Kind, Socket, is_full, number, numbered, publish};
use rand::{Rng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use weft_testkit::{process::Process, seed::Seed};

const ROOM: &str = "execution:seam";
const CLIENTS: u64 = 8;

/// How far the publisher is.
#[derive(Default)]
struct Published {
    /// The highest number whose publishing may have begun.
    begun: AtomicU64,
    stop: AtomicBool,
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_against_subscribing_in_memory() {
    interleave(Kind::Memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_against_subscribing_on_jetstream() {
    interleave(Kind::JetStream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_against_subscribing_on_redis() {
    interleave(Kind::Redis).await;
}

async fn interleave(kind: Kind) {
    let rounds = if is_full() { 10_000 } else { 1_000 } / CLIENTS;
    let seed = Seed::from_env();
    let broker = Broker::start(kind).await;
    // Short logs and no linger: rooms are opened anew all the time, and most resumes begin in the stored history.
    let env = [("WEFT_LOG_EVENTS_MAX", "64"), ("WEFT_LINGER_SECS", "0"), ("WEFT_RETENTION_EVENTS", "1500")];
    let gateways = Arc::new(broker.gateways(&env).await);
    let published = Arc::new(Published::default());
    let publisher = tokio::spawn(publish_on_and_on(gateways.clone(), published.clone(), seed.rng("publisher")));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let rng = seed.rng(&format!("client {index}"));
            tokio::spawn(follow_and_leave(index, rounds, gateways.clone(), published.clone(), rng))
        })
        .collect();
    let mut sum = Tally::default();
    for client in clients {
        sum.add(&client.await.expect("a client"));
    }
    published.stop.store(true, Ordering::Relaxed);
    publisher.await.expect("the publisher");
    eprintln!("{kind:?}: {sum:?}");
    assert_eq!(sum.rounds, rounds * CLIENTS);
    assert!(sum.gaps * 10 < sum.rounds, "gaps are for what retention has taken: {sum:?}");
    assert!(sum.begun_late <= sum.from_start, "only who asks for all hears that the beginning is gone: {sum:?}");
}

async fn publish_on_and_on(gateways: Arc<Vec<Process>>, published: Arc<Published>, mut rng: StdRng) {
    let mut next = 1;
    while !published.stop.load(Ordering::Relaxed) {
        let count = rng.random_range(1..20);
        published.begun.store(next + count - 1, Ordering::SeqCst);
        publish(&gateways[0], (next..next + count).map(|n| numbered("seam", n)).collect()).await;
        next += count;
        if rng.random_bool(0.3) {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..4))).await;
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    events: u64,
    gaps: u64,
    /// Gaps before the first event, told to who asked for all from the start.
    begun_late: u64,
    from_start: u64,
    from_offset: u64,
    live: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.events += other.events;
        self.gaps += other.gaps;
        self.begun_late += other.begun_late;
        self.from_start += other.from_start;
        self.from_offset += other.from_offset;
        self.live += other.live;
    }
}

/// The last event read: its number and offset.
type Held = Option<(u64, String)>;

async fn follow_and_leave(
    client: u64,
    rounds: u64,
    gateways: Arc<Vec<Process>>,
    published: Arc<Published>,
    mut rng: StdRng,
) -> Tally {
    let (mut tally, mut held, mut socket): (Tally, Held, Option<Socket>) = Default::default();
    for round in 0..rounds {
        let mut open = match socket.take() {
            Some(socket) => socket,
            None => Socket::open(&gateways[rng.random_range(0..gateways.len())]).await,
        };
        let mut round =
            Round { what: format!("client {client}, round {round}"), next: None, first_at_most: u64::MAX, last: held.take() };
        let message = round.begin(&mut tally, &mut rng);
        open.say(message).await;
        let answer = open.hear().await;
        assert_eq!(answer["type"], "subscribed", "{}: {answer}", round.what);
        let begun = published.begun.load(Ordering::SeqCst);
        round.answered(&answer, begun);
        let target = begun + rng.random_range(1..30);
        while round.last.as_ref().is_none_or(|(n, _)| *n < target) {
            round.hear(&open.hear().await, &mut tally);
        }
        tally.rounds += 1;
        if rng.random_bool(0.5) {
            open.say(json!({"type": "unsubscribe", "room": ROOM})).await;
            open.say(json!({"type": "ping"})).await;
            round.hear_the_rest(&mut open, &mut tally).await;
            assert_eq!(open.hear().await["type"], "pong", "{}: after the answer no event comes", round.what);
            socket = Some(open);
        } else {
            open.cut();
        }
        held = round.last;
    }
    tally
}

struct Round {
    what: String,
    /// The number that must come next; `None` where that is open.
    next: Option<u64>,
    /// The first number that comes must not be greater.
    first_at_most: u64,
    last: Held,
}

impl Round {
    fn begin(&mut self, tally: &mut Tally, rng: &mut StdRng) -> Value {
        let kept = self.last.take();
        match (rng.random_range(0..4), kept) {
            (0, _) => {
                tally.from_start += 1;
                // All or a gap.
                self.next = Some(1);
                json!({"type": "subscribe", "room": ROOM, "offset": "0"})
            }
            (1 | 2, Some((n, offset))) => {
                tally.from_offset += 1;
                self.next = Some(n + 1);
                json!({"type": "subscribe", "room": ROOM, "offset": offset})
            }
            _ => {
                tally.live += 1;
                json!({"type": "subscribe", "executionId": "seam"})
            }
        }
    }

    fn answered(&mut self, answer: &Value, begun: u64) {
        match answer["outcome"].as_str() {
            // Whatever is published after the answer must come, so that the first cannot be later than this.
            Some("live") => (self.next, self.first_at_most) = (None, begun + 1),
            Some("resumed") => {}
            Some("gap") => self.next = None,
            _ => panic!("{}: {answer}", self.what),
        }
    }

    fn hear(&mut self, frame: &Value, tally: &mut Tally) {
        match frame["type"].as_str() {
            Some("gap") => {
                let is_at_the_start = frame["missedFrom"].is_null();
                if is_at_the_start {
                    tally.begun_late += 1
                } else {
                    tally.gaps += 1
                }
                self.next = None;
            }
            Some("snapshot") => {}
            Some("log") => {
                let n = number(frame).expect("a number");
                assert!(n <= self.first_at_most, "{}: begins at {n}, not {} at most", self.what, self.first_at_most);
                self.first_at_most = u64::MAX;
                if let Some(next) = self.next {
                    assert_eq!(n, next, "{}: the number after {} is {n}: {frame}", self.what, next - 1);
                }
                tally.events += 1;
                self.next = Some(n + 1);
                self.last = Some((n, frame["offset"].as_str().expect("an offset").to_owned()));
            }
            _ => panic!("{}: {frame}", self.what),
        }
    }

    async fn hear_the_rest(&mut self, socket: &mut Socket, tally: &mut Tally) {
        loop {
            match socket.next().await {
                Heard::Frame(frame) if frame["type"] == "unsubscribed" => return,
                Heard::Frame(frame) => self.hear(&frame, tally),
                other => panic!("{}: {other:?}", self.what),
            }
        }
    }
}
