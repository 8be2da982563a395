//! The client's life: connect, resume, read, and again.

use super::{
    ClientPlan, Shared, Speech,
    connection::{Came, Connection, Target},
    frames::{self, Reader},
};
use crate::record::{Entry, Follow, Seen};
use rand::Rng;
use rustc_hash::{FxHashMap, FxHashSet};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};

/// What a test tells its client.
pub(super) enum Order {
    Send(String),
    Follow(Follow),
    Unfollow(Arc<str>),
    Stall,
    Read,
    Cut,
    Away(Duration),
    Finish,
}

/// Why a connection is over.
enum Over {
    Lost { code: Option<u16>, why: String, pause: Duration },
    Finished,
}

pub(super) async fn run(plan: ClientPlan, shared: Arc<Shared>, orders: mpsc::UnboundedReceiver<Order>) {
    let reader = Reader::new(plan.keep_bodies);
    let follows = plan.follows.clone();
    let gateway = plan.first_gateway % plan.gateways.len().max(1);
    let mut task = Task {
        plan,
        shared,
        orders,
        reader,
        gateway,
        follows,
        offsets: FxHashMap::default(),
        answered: FxHashSet::default(),
        awaited: FxHashSet::default(),
        connections: 0,
        stalled: false,
        asked_back_after: Duration::ZERO,
    };
    while task.live().await {}
}

struct Task {
    plan: ClientPlan,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedReceiver<Order>,
    reader: Reader,
    /// Index of the gateway in use.
    gateway: usize,
    follows: Vec<Follow>,
    /// The last event read of each room, or where an answer put the client since.
    offsets: FxHashMap<Arc<str>, Box<str>>,
    /// Rooms that have been answered on any connection.
    answered: FxHashSet<Arc<str>>,
    /// Rooms whose resume on this connection has not been answered yet.
    awaited: FxHashSet<Arc<str>>,
    connections: u32,
    stalled: bool,
    /// The gateway's hint before it leaves.
    asked_back_after: Duration,
}

impl Task {
    /// One connection; false when the client has finished.
    async fn live(&mut self) -> bool {
        let gateway = self.plan.gateways[self.gateway].clone();
        let over = match self.open(&gateway).await {
            Ok(connection) => {
                self.connections += 1;
                self.see(Seen::Connected { gateway: self.gateway });
                self.begin();
                let (code, why, pause) = match self.converse(connection).await {
                    Over::Finished => return false,
                    Over::Lost { code, why, pause } => (code, why, pause),
                };
                self.see(Seen::Disconnected { code, why });
                self.plan.reconnects.then_some(pause)
            }
            // A gateway that is not there is no event in the client's life: it tries the next.
            Err(_) => Some(Duration::ZERO),
        };
        let Some(pause) = over else { return false };
        self.gateway = (self.gateway + 1) % self.plan.gateways.len();
        self.stalled = false;
        let jitter = self.plan.reconnect_within.mul_f64(rand::rng().random());
        let hint = std::mem::take(&mut self.asked_back_after);
        self.rest(pause + jitter + hint).await
    }

    async fn open(&self, gateway: &str) -> Result<Connection, String> {
        let only = self.follows.first();
        let held = only.and_then(|follow| self.offsets.get(&follow.room)).map(|offset| &**offset);
        let path = self.plan.speech.path(only, held);
        Connection::open(&self.plan, &Target { gateway, path: &path, last_event_id: held }).await
    }

    /// Where the address says what is followed, the connection is the answer.
    fn begin(&mut self) {
        if self.plan.speech == Speech::Native {
            return;
        }
        for room in self.follows.iter().map(|follow| Arc::clone(&follow.room)).collect::<Vec<_>>() {
            let again = !self.answered.insert(Arc::clone(&room));
            self.see(Seen::Subscribed { room, outcome: "resumed".into(), offset: None, again, refreshed: Vec::new() });
        }
        self.shared.record.lock().resumes += u32::from(self.connections > 1);
    }

    /// Waits before the next connection, still taking orders; false when the client has finished.
    async fn rest(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return true,
                order = self.orders.recv() => match order {
                    Some(Order::Finish) | None => return false,
                    Some(Order::Follow(follow)) => self.add(follow),
                    Some(Order::Unfollow(room)) => self.remove(&room),
                    // There is no connection to stall, cut or write to.
                    Some(_) => {}
                },
            }
        }
    }

    async fn converse(&mut self, mut connection: Connection) -> Over {
        let lost = |why| Over::Lost { code: None, why, pause: Duration::ZERO };
        let asks = self.plan.speech == Speech::Native && !self.follows.is_empty();
        self.awaited = self.follows.iter().filter(|_| asks).map(|follow| Arc::clone(&follow.room)).collect();
        if asks && let Err(why) = connection.send(self.subscribe_all()).await {
            return lost(why);
        }
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Send(text)) => if let Err(why) = connection.send(text).await { return lost(why) },
                    Some(Order::Follow(follow)) => {
                        self.awaited.insert(Arc::clone(&follow.room));
                        let text = frames::subscribe([(&follow, None)].into_iter(), &self.plan.wishes);
                        self.add(follow);
                        if let Err(why) = connection.send(text).await { return lost(why) }
                    }
                    Some(Order::Unfollow(room)) => {
                        self.remove(&room);
                        if let Err(why) = connection.send(frames::unsubscribe(&room)).await { return lost(why) }
                    }
                    Some(Order::Stall) => self.stalled = true,
                    Some(Order::Read) => self.stalled = false,
                    Some(Order::Cut) => { connection.cut(); return lost("cut by the client".into()) }
                    Some(Order::Away(pause)) => {
                        connection.cut();
                        return Over::Lost { code: None, why: "the client went away".into(), pause };
                    }
                    Some(Order::Finish) | None => {
                        for text in connection.close().await { self.read(&text) }
                        return Over::Finished;
                    }
                },
                came = connection.receive(), if !self.stalled => match came {
                    Came::Text(text) => self.read(&text),
                    Came::End { code, why } => return Over::Lost { code, why, pause: Duration::ZERO },
                },
            }
        }
    }

    fn subscribe_all(&self) -> String {
        let held = |follow: &Follow| self.offsets.get(&follow.room).map(|offset| &**offset);
        frames::subscribe(self.follows.iter().map(|follow| (follow, held(follow))), &self.plan.wishes)
    }

    fn add(&mut self, follow: Follow) {
        let mut record = self.shared.record.lock();
        if !record.follows.contains(&follow) {
            record.follows.push(follow.clone());
        }
        if self.follows.iter().all(|other| other.room != follow.room) {
            self.follows.push(follow);
        }
    }

    fn remove(&mut self, room: &str) {
        self.follows.retain(|follow| &*follow.room != room);
        self.offsets.remove(room);
        self.awaited.remove(room);
    }

    /// A frame may hold several objects, one a line, if that was asked for.
    fn read(&mut self, text: &str) {
        if let (true, Some(only)) = (self.plan.speech != Speech::Native, self.follows.first()) {
            let room = Arc::clone(&only.room);
            let said = self.plan.speech.read(text, &room, &mut self.reader);
            said.offset.iter().for_each(|offset| self.hold(&room, offset));
            return self.see(said.seen);
        }
        if !self.plan.wishes.batch && text.lines().count() != 1 {
            return self.see(frames::malformed(text, "not one message, and nobody asked for a batch"));
        }
        for line in text.lines() {
            let answered = &self.answered;
            let seen = self.reader.read(line, |room| answered.contains(room));
            self.advance(&seen);
            self.see(seen);
        }
    }

    /// Keeps, for each room, the offset after which a resume must go on.
    fn advance(&mut self, seen: &Seen) {
        match seen {
            Seen::Event(event) => {
                if let Some(offset) = &event.offset {
                    self.hold(&event.room, offset);
                }
            }
            Seen::Snapshot { room, offset: Some(offset), .. } => self.hold(room, offset),
            Seen::Subscribed { room, outcome, offset, refreshed, .. } => {
                // The tail is a place to go on from only where nothing before it is still to come.
                if let (Some(offset), "live" | "gap") = (offset, &**outcome) {
                    self.hold(room, offset);
                }
                for (room, offset) in refreshed {
                    self.hold(room, offset);
                }
                self.answered.insert(Arc::clone(room));
                if self.awaited.remove(room) && self.awaited.is_empty() && self.connections > 1 {
                    self.shared.record.lock().resumes += 1;
                }
            }
            Seen::Frame { kind, body } if &**kind == "reconnect" => {
                self.asked_back_after = Duration::from_millis(body["afterMs"].as_u64().unwrap_or(0));
            }
            _ => {}
        }
    }

    fn hold(&mut self, room: &Arc<str>, offset: &str) {
        if self.follows.iter().any(|follow| follow.room == *room) {
            self.offsets.insert(Arc::clone(room), offset.into());
        }
    }

    fn see(&self, seen: Seen) {
        {
            let mut record = self.shared.record.lock();
            record.events += u64::from(matches!(seen, Seen::Event(_)));
            record.disconnects += u32::from(matches!(seen, Seen::Disconnected { .. }));
            record.entries.push(Entry { at: Instant::now(), seen });
        }
        self.shared.changes.send_modify(|changes| *changes += 1);
    }
}
