//! Fills the rooms' logs from the bus, and keeps them true to the stored history.
//!
//! Live events come in on the bus driver's reader task and go straight into a room's state machine ([`sync`]).
//! What the state machine asks for (reads, epochs) is done by short tasks here; tails are checked again a moment
//! after a room opens, on every signal of trouble, and by a timer for as long as it is followed ([`reconcile`]).

pub mod heads;
#[cfg(feature = "mutants")]
pub mod mischief;
mod reconcile;
pub mod sync;

use crate::hub::{Hub, Reader, Room, Todo};
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::mpsc};
use weft_bus::{BusError, Delivery, Inlet, PageLimit, ReadFrom, Signal};

/// One read of the state machine.
const PAGE: PageLimit = PageLimit { events: 512, bytes: 1024 * 1024 };
/// Most rooms opened in one go.
const OPEN_BATCH: usize = 256;
/// Pause before a failed or stale read is tried again.
const READ_PAUSE: Duration = Duration::from_millis(100);
/// Refusals of the broker until its word about one room is taken for final.
const REFUSALS_MAX: usize = 6;

/// The inlet of this process.
pub struct Feed {
    hub: Arc<Hub>,
    runtime: Handle,
    /// Rooms whose tail must be checked soon.
    suspects: mpsc::UnboundedSender<reconcile::Suspect>,
}

/// Attaches the feed to the bus and starts its tasks.
pub fn start(hub: &Arc<Hub>, to_open: mpsc::UnboundedReceiver<Arc<Room>>) -> Arc<Feed> {
    // Unbounded, but each followed room stands in it once, and drivers signal no more than once a second.
    let (suspects, suspected) = mpsc::unbounded_channel();
    let feed = Arc::new(Feed { hub: hub.clone(), runtime: Handle::current(), suspects });
    hub.bus.attach(feed.clone());
    tokio::spawn(open_rooms(feed.clone(), to_open));
    tokio::spawn(reconcile::run(feed.clone(), suspected));
    feed
}

impl Inlet for Feed {
    #[cfg(feature = "mutants")]
    fn event(&self, delivery: Delivery) {
        self.hub.mischief.disturb(delivery).into_iter().for_each(|delivery| self.take(delivery));
    }

    #[cfg(not(feature = "mutants"))]
    fn event(&self, delivery: Delivery) {
        self.take(delivery);
    }

    fn signal(&self, signal: Signal) {
        match signal {
            Signal::Lost => {
                tracing::warn!("the broker is away; connections stay, events will be caught up");
                self.hub.set_degraded(true);
                self.hub.all_rooms().iter().for_each(|room| room.interrupted(&self.hub));
            }
            Signal::Restored => {
                self.hub.all_rooms().iter().for_each(|room| room.interrupted(&self.hub));
                let _ = self.suspects.send(reconcile::Suspect::All);
            }
            Signal::Lagged(name) => {
                if let Some(room) = self.hub.room(&name) {
                    self.suspect(room);
                }
            }
        }
    }
}

impl Feed {
    fn take(&self, mut delivery: Delivery) {
        if self.hub.is_traced_elsewhere(&delivery) {
            delivery.traceparent = None;
        }
        if let Some(room) = self.hub.room(&delivery.room) {
            let todo = room.live(&self.hub, delivery);
            self.carry_out(&room, todo);
        } else {
            // Nobody follows it any more; the broker has not heard of that yet.
            self.hub.metrics.events_unfollowed.increment(1);
        }
    }

    /// Checks a room's tail soon.
    pub fn suspect(&self, room: Arc<Room>) {
        if room.queue_check() {
            let _ = self.suspects.send(reconcile::Suspect::One(room));
        }
    }

    fn carry_out(&self, room: &Arc<Room>, todo: Vec<Todo>) {
        for todo in todo {
            self.runtime.spawn(carry_out(self.hub.clone(), room.clone(), todo));
        }
    }
}

/// Does what the state machine asked for, and what it asks for next, until it is content.
async fn carry_out(hub: Arc<Hub>, room: Arc<Room>, todo: Todo) {
    let mut next = vec![todo];
    let mut pause = READ_PAUSE;
    while let Some(todo) = next.pop() {
        if matches!(todo, Todo::ReadLater(_)) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        if hub.room(&room.name).is_none_or(|current| !Arc::ptr_eq(&current, &room)) {
            return;
        }
        let more = match todo {
            Todo::Read(from) | Todo::ReadLater(from) => read(&hub, &room, from).await,
            Todo::RenewEpoch(old) => hub.bus.renew_epoch(&room.name, old).await.map(|epoch| room.renewed(&hub, epoch)),
        };
        next.extend(more.unwrap_or_else(|error| {
            tracing::debug!(room = %room.name, %error, "reading a room failed; trying again");
            room.read_failed(&hub)
        }));
    }
}

async fn read(hub: &Hub, room: &Arc<Room>, from: ReadFrom) -> Result<Vec<Todo>, BusError> {
    let _turn = hub.reads.take(Reader::Feed).await;
    hub.metrics.feed_reads.increment(1);
    let page = hub.bus.read(&room.name, from, PAGE).await?;
    Ok(room.page(hub, page))
}

/// Opens rooms in batches: follow, know that it is active, read the tail, only then say so.
async fn open_rooms(feed: Arc<Feed>, mut to_open: mpsc::UnboundedReceiver<Arc<Room>>) {
    let mut batch = Vec::with_capacity(OPEN_BATCH);
    while to_open.recv_many(&mut batch, OPEN_BATCH).await > 0 {
        if let Err(error) = open_patiently(&feed, &batch).await {
            tracing::error!(rooms = batch.len(), %error, "the broker refused to open rooms; trying each alone");
            for room in batch.drain(..) {
                tokio::spawn(open_alone(feed.clone(), room));
            }
        }
        batch.clear();
    }
}

/// Opens a room that was refused in a batch; once may be the moment in which the broker is set up anew.
async fn open_alone(feed: Arc<Feed>, room: Arc<Room>) {
    let mut pause = READ_PAUSE;
    for _ in 0..REFUSALS_MAX {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
        if open_patiently(&feed, std::slice::from_ref(&room)).await.is_ok() {
            return;
        }
    }
    if let Err(error) = open_patiently(&feed, std::slice::from_ref(&room)).await {
        tracing::error!(room = %room.name, %error, "the broker refused to open a room");
        feed.hub.refuse(&room, error);
    }
}

/// Opens rooms, waiting for as long as the broker is away; an error is one that stays.
async fn open_patiently(feed: &Feed, batch: &[Arc<Room>]) -> Result<(), BusError> {
    let mut pause = READ_PAUSE;
    loop {
        match open_batch(feed, batch).await {
            Err(error @ BusError::Unavailable(_)) => {
                tracing::warn!(rooms = batch.len(), %error, "rooms could not be opened; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            other => return other,
        }
    }
}

async fn open_batch(feed: &Feed, batch: &[Arc<Room>]) -> Result<(), BusError> {
    let names: Vec<_> = batch.iter().map(|room| room.name.clone()).collect();
    feed.hub.bus.follow(&names).await?;
    if !feed.hub.bus.is_durable() {
        for room in batch {
            let todo = room.opened(&feed.hub, None);
            feed.carry_out(room, todo);
        }
        return Ok(());
    }
    let tails = feed.hub.bus.tails(&names).await?;
    for (room, tail) in batch.iter().zip(tails) {
        let todo = room.opened(&feed.hub, Some(tail));
        feed.carry_out(room, todo);
        let _ = feed.suspects.send(reconcile::Suspect::Opened(room.clone()));
    }
    Ok(())
}
