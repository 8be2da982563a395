//! Checks the tails of followed rooms again: the only way to notice that the last events of a room never came.

use super::Feed;
use crate::hub::Room;
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use weft_bus::Health;
use weft_event::Position;

/// Most rooms asked about in one call.
const BATCH: usize = 500;
/// When a room is checked after it was opened: a broker cluster may take this long to spread the interest.
const AFTER_OPENING: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];
/// How often a room is checked for as long as it is followed, give or take a quarter.
const PERIOD: Duration = Duration::from_secs(20);
/// Over this time the checks of all rooms are spread after a reconnect.
const AFTER_RESTORE: Duration = Duration::from_millis(300);

/// Which rooms to check.
pub(super) enum Suspect {
    /// It was opened just now.
    Opened(Arc<Room>),
    /// Something is odd about this one.
    One(Arc<Room>),
    /// The live path was interrupted.
    All,
}

struct Due {
    at: Instant,
    room: Weak<Room>,
    /// Whether to check again for as long as the room is followed.
    again: bool,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// Checks rooms when they are due, for as long as the process lives.
pub(super) async fn run(feed: Arc<Feed>, mut suspected: mpsc::UnboundedReceiver<Suspect>) {
    let mut due: BinaryHeap<Reverse<Due>> = BinaryHeap::new();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut restoring: Option<Instant> = None;
    loop {
        tokio::select! {
            suspect = suspected.recv() => match suspect {
                Some(suspect) => restoring = schedule(&feed, &mut due, suspect).or(restoring),
                None => return,
            },
            _ = tick.tick() => {
                check_due(&feed, &mut due).await;
                feed.hub.metrics.checks_due.set(due.len() as f64);
                if restoring.is_some_and(|at| at <= Instant::now()) {
                    restoring = None;
                    // It may have gone again meanwhile; then it will be restored again.
                    if *feed.hub.bus.health().borrow() == Health::Up {
                        feed.hub.set_degraded(false);
                        tracing::info!("the broker is back and all rooms are reconciled");
                    }
                }
            }
        }
    }
}

/// Queues the checks; answers when a restore will have been worked through.
fn schedule(feed: &Feed, due: &mut BinaryHeap<Reverse<Due>>, suspect: Suspect) -> Option<Instant> {
    let now = Instant::now();
    let mut add = |room: &Arc<Room>, after: Duration, again| {
        due.push(Reverse(Due { at: now + after, room: Arc::downgrade(room), again }));
    };
    match suspect {
        // Queued by whoever suspects it.
        Suspect::One(room) => add(&room, Duration::ZERO, false),
        Suspect::Opened(room) => {
            AFTER_OPENING.iter().for_each(|after| add(&room, *after, false));
            add(&room, jittered(PERIOD), true);
        }
        Suspect::All => {
            for room in feed.hub.all_rooms().iter().filter(|room| room.queue_check()) {
                add(room, AFTER_RESTORE.mul_f64(rand::random()), false);
            }
            return Some(now + AFTER_RESTORE);
        }
    }
    None
}

async fn check_due(feed: &Arc<Feed>, due: &mut BinaryHeap<Reverse<Due>>) {
    loop {
        let now = Instant::now();
        let mut rooms: Vec<(Arc<Room>, Position)> = Vec::new();
        while rooms.len() < BATCH
            && let Some(Reverse(next)) = due.peek()
            && next.at <= now
        {
            let Some(Reverse(next)) = due.pop() else { break };
            let Some(room) = next.room.upgrade() else { continue };
            room.check_begins();
            if next.again {
                due.push(Reverse(Due { at: now + jittered(PERIOD), ..next }));
            }
            if let Some(last) = room.last() {
                rooms.push((room, last));
            }
        }
        if rooms.is_empty() || !feed.hub.bus.is_durable() {
            return;
        }
        check(feed, rooms, due).await;
    }
}

async fn check(feed: &Arc<Feed>, rooms: Vec<(Arc<Room>, Position)>, due: &mut BinaryHeap<Reverse<Due>>) {
    let names: Vec<_> = rooms.iter().map(|(room, _)| room.name.clone()).collect();
    match feed.hub.bus.tails(&names).await {
        Ok(tails) => {
            for ((room, last), tail) in rooms.iter().zip(tails) {
                let todo = room.verify(&feed.hub, tail, *last);
                feed.carry_out(room, todo);
            }
        }
        Err(error) => {
            // A check that could not be made is not a check: it stays due.
            tracing::debug!(%error, rooms = rooms.len(), "tails could not be read; trying again");
            let at = Instant::now() + Duration::from_millis(500);
            let queued = rooms.iter().filter(|(room, _)| room.queue_check());
            due.extend(queued.map(|(room, _)| Reverse(Due { at, room: Arc::downgrade(room), again: false })));
        }
    }
}

fn jittered(period: Duration) -> Duration {
    period.mul_f64(0.75 + rand::random::<f64>() / 2.0)
}
