//! One lane a room: events wait there in the order of enqueueing, and at most one batch is unacknowledged.
//!
//! An event stands in the lanes of all of its rooms from the start, so that every room sees the order of enqueueing;
//! a copy is not sent before the event's first room has answered. Lanes of first rooms never wait for another lane,
//! so no circle can close.

use crate::{
    PublishError,
    item::Item,
    pace::LogPace,
    sink::{Entry, Fate, Sink},
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::Semaphore};
use weft_event::Room;

/// How lanes send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneConfig {
    /// Most events of a batch.
    pub(crate) batch_events: usize,
    /// Most payload bytes of a batch, passed by at most one event.
    pub(crate) batch_bytes: usize,
    /// Events older than this are given up.
    pub(crate) retry_age: Duration,
    /// The pause after a first failure, doubled up to `pause_max`.
    pub(crate) pause_min: Duration,
    /// Longest pause.
    pub(crate) pause_max: Duration,
    /// Batches under way at once, of all lanes.
    pub(crate) batches_at_once: usize,
}

/// Without an answer for so long, a batch is sent again: a bound on what drivers promise to bound themselves.
const ATTEMPT_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Lanes {
    sink: Sink,
    config: LaneConfig,
    lanes: Mutex<HashMap<Room, Lane>>,
    permits: Semaphore,
    runtime: Handle,
    /// Nothing is sent again any more.
    ended: AtomicBool,
    log_pace: LogPace,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<Entry>,
    /// A task is sending.
    running: bool,
    /// What the last attempt met, to be told with an event that has become too old.
    met: Option<String>,
}

impl Lanes {
    pub(crate) fn new(sink: Sink, config: LaneConfig, runtime: Handle) -> Arc<Self> {
        let permits = Semaphore::new(config.batches_at_once);
        Arc::new(Self {
            sink,
            config,
            lanes: Mutex::default(),
            permits,
            runtime,
            ended: AtomicBool::new(false),
            log_pace: LogPace::default(),
        })
    }

    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Puts an event into its lanes.
    pub(crate) fn push(self: &Arc<Self>, item: Arc<Item>) {
        let mut lanes = self.lanes.lock();
        for index in 0..self.sink.lanes(item.rooms.len()) {
            let room = &item.rooms[index];
            let lane = lanes.entry(room.clone()).or_default();
            lane.queue.push_back(Entry { item: item.clone(), index });
            if index == 0 {
                self.start(room, lane);
            }
        }
    }

    /// Gives up everything that waits; a batch under way gets its answer, but is not sent again.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        for lane in self.lanes.lock().values() {
            lane.queue.iter().for_each(|entry| entry.item.abandon());
        }
    }

    fn start(self: &Arc<Self>, room: &Room, lane: &mut Lane) {
        if !lane.running {
            lane.running = true;
            self.runtime.spawn(run(self.clone(), room.clone()));
        }
    }

    /// The first room of `item` has answered: its copies may go, or need not.
    fn wake_copies(self: &Arc<Self>, item: &Item) {
        for room in item.rooms.iter().take(self.sink.lanes(item.rooms.len())).skip(1) {
            if let Some(lane) = self.lanes.lock().get_mut(room) {
                self.start(room, lane);
            }
        }
    }

    /// The next batch, or `None` after the lane was put to rest, until somebody starts it again.
    fn take(self: &Arc<Self>, room: &Room) -> Option<Vec<Entry>> {
        loop {
            let mut expired = Vec::new();
            let mut reason = None;
            let batch = {
                let mut lanes = self.lanes.lock();
                let lane = lanes.get_mut(room)?;
                let batch = self.gather(lane, &mut expired);
                if batch.is_empty() && expired.is_empty() {
                    lane.running = false;
                    if lane.queue.is_empty() {
                        lanes.remove(room);
                    }
                    return None;
                }
                if !expired.is_empty() {
                    reason.clone_from(&lane.met);
                }
                batch
            };
            for entry in expired {
                let reason = reason.clone().unwrap_or_else(|| "waited behind earlier events".into());
                let failure = PublishError::Expired { waited: entry.item.enqueued.elapsed(), reason };
                self.give_up(&entry, failure);
            }
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    fn gather(&self, lane: &mut Lane, expired: &mut Vec<Entry>) -> Vec<Entry> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = lane.queue.front() {
            let item = &entry.item;
            let over = item.is_over();
            let old = item.enqueued.elapsed() > self.config.retry_age;
            if !over && !old {
                bytes += item.event.body.len();
                let full = batch.len() >= self.config.batch_events || (bytes > self.config.batch_bytes && !batch.is_empty());
                if full || !item.is_ready(entry.index) {
                    break;
                }
            }
            let Some(entry) = lane.queue.pop_front() else { break };
            match (over, old) {
                (true, _) => {}
                (false, true) => expired.push(entry),
                (false, false) => batch.push(entry),
            }
        }
        batch
    }

    fn give_up(self: &Arc<Self>, entry: &Entry, failure: PublishError) {
        entry.item.failed(entry.index, failure);
        if entry.index == 0 {
            self.wake_copies(&entry.item);
        }
    }

    /// Takes the answers to a batch. What must be sent again goes back to the front; then the pause before that.
    fn settle(self: &Arc<Self>, room: &Room, batch: Vec<Entry>, fates: Vec<Fate>) -> Option<Pause> {
        let (mut again, mut pause, mut refused) = (Vec::new(), None, false);
        for (entry, fate) in batch.into_iter().zip(fates) {
            match fate {
                Fate::Stored(ack) => {
                    entry.item.stored(entry.index, ack);
                    if entry.index == 0 {
                        self.wake_copies(&entry.item);
                    }
                }
                Fate::Refused(failure) => {
                    refused = true;
                    self.give_up(&entry, failure);
                }
                Fate::Again { reason, after } => {
                    pause.get_or_insert(Pause { reason, after });
                    again.push(entry);
                }
                Fate::HeldBack => again.push(entry),
            }
        }
        if self.ended.load(Ordering::Acquire) {
            again.drain(..).for_each(|entry: Entry| entry.item.abandon());
        }
        if again.is_empty() {
            return None;
        }
        if pause.is_none() && !refused {
            // Held back without a cause: treated as a failure of its own, or this would spin.
            pause = Some(Pause { reason: "not stored, and nobody said why".into(), after: None });
        }
        crate::meters::retried(again.len());
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(room.clone()).or_default();
        again.into_iter().rev().for_each(|entry| lane.queue.push_front(entry));
        if let Some(pause) = &pause {
            lane.met = Some(pause.reason.clone());
        }
        pause
    }

    async fn attempt(&self, room: &Room, batch: &[Entry]) -> Vec<Fate> {
        let Ok(_permit) = self.permits.acquire().await else { return Vec::new() };
        match tokio::time::timeout(ATTEMPT_MAX, self.sink.send(room, batch)).await {
            Ok(fates) => fates,
            Err(_) => {
                let reason = || format!("no answer within {} s", ATTEMPT_MAX.as_secs());
                batch.iter().map(|_| Fate::Again { reason: reason(), after: None }).collect()
            }
        }
    }
}

/// Why and how long a lane waits before it sends again.
struct Pause {
    reason: String,
    after: Option<Duration>,
}

/// Sends the lane of `room` until nothing in it can be sent.
async fn run(lanes: Arc<Lanes>, room: Room) {
    let mut failures = 0;
    while let Some(batch) = lanes.take(&room) {
        let fates = lanes.attempt(&room, &batch).await;
        let progress = fates.iter().any(|fate| matches!(fate, Fate::Stored(_) | Fate::Refused(_)));
        let Some(pause) = lanes.settle(&room, batch, fates) else {
            failures = 0;
            continue;
        };
        failures = if progress { 1 } else { failures + 1 };
        if lanes.log_pace.is_due() {
            tracing::warn!(%room, reason = %pause.reason, failures, "events are not stored; they are sent again");
        }
        let wait = pause.after.unwrap_or_else(|| backoff(&lanes.config, failures)).min(lanes.config.retry_age);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = lanes.sink.reopened(), if pause.after.is_none() => {}
        }
    }
}

/// Doubles with each failure; spread over its upper half so that lanes do not come back together.
fn backoff(config: &LaneConfig, failures: u32) -> Duration {
    let full = config.pause_min.saturating_mul(1 << (failures - 1).min(16)).min(config.pause_max);
    full.mul_f64(rand::random_range(0.5..=1.0))
}
