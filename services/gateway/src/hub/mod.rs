//! The rooms of this process: who follows what, and how much all logs together may hold.
//!
//! Data path: the feed appends to a [`Room`]'s [`log`]; the room wakes its followers; each session reads on from
//! its own cursor. The feed never waits for a reader, and a reader never holds a lock while it writes.

mod cells;
mod departures;
pub mod entry;
mod fold;
mod follower;
pub mod frames;
mod gather;
pub mod history;
pub mod log;
mod opening;
mod passage;
mod place;
mod room;
mod turns;
mod wake;
mod watched;
pub mod wheel;

pub use departures::Departure;
pub use fold::{Snapped, fold_history};
pub use follower::Follower;
pub use place::{Heeds, Joined, Place};
pub use room::{Room, Todo};
pub use turns::{Reader, Turns};
pub use wake::SessionCell;

use crate::metrics::Metrics;
use cells::Cells;
use departures::Departures;
use log::LogLimits;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use weft_bus::{Address, Bus, BusError, Command, Delivery, Reply, RequestError};
use weft_event::{Limits, Room as RoomName};

/// Of one event in so many it is noted when the last client had it; of the first always.
const FANOUT_EACH: u64 = 64;
/// Reads and writes of records of sessions under way at once.
const RECORDS_AT_ONCE: usize = 256;

/// Bounds of the hub.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// Bounds of one room's log.
    pub log: LogLimits,
    /// Bytes of all logs together.
    pub logs_bytes: usize,
    /// Most rooms followed at once.
    pub rooms: usize,
    /// Most connections at once.
    pub connections: usize,
    /// How long the followers of a hot room may wait for further events; `None`: not at all.
    pub gather: Option<Duration>,
    /// How long a room stays followed after its last follower left.
    pub linger: Duration,
    /// Most history reads under way at once.
    pub reads: usize,
    /// Bounds of an event.
    pub event: Limits,
    /// Events of a room between two moves of its execution's head.
    pub head_every: u32,
    /// Whether spans are made of events that their publishers trace.
    pub traced: bool,
}

/// A room could not be followed because this process follows as many as it may.
#[derive(Debug, thiserror::Error)]
#[error("this gateway follows as many rooms as it may")]
pub struct TooManyRooms;

/// All rooms and sessions of this process.
pub struct Hub {
    /// The bus.
    pub bus: Bus,
    /// Bounds.
    pub limits: HubLimits,
    /// Counters.
    pub metrics: Metrics,
    /// Pings and deadlines of all sessions.
    pub wheel: wheel::Wheel,
    /// What the frames of all entries weigh.
    pub weight: Arc<frames::Weight>,
    /// Turns to read history.
    pub reads: Arc<Turns>,
    /// Permits for reading and writing records of sessions. What is under way takes kilobytes, what waits hardly any:
    /// thousands come at once when a gateway has died.
    pub records: Semaphore,
    /// Test builds only.
    #[cfg(feature = "mutants")]
    pub mischief: crate::feed::mischief::Mischief,
    rooms: RwLock<FxHashMap<RoomName, Arc<Room>>>,
    sessions: Mutex<Cells>,
    log_bytes: AtomicIsize,
    buffered_bytes: AtomicIsize,
    gathering: gather::Gathering,
    open: place::Open,
    degraded: AtomicBool,
    /// Set when the process leaves.
    departures: OnceLock<Departures>,
    /// Cancelled when there are departures.
    leaving: CancellationToken,
    /// WebSockets that are only passed through.
    passages: AtomicUsize,
    /// Nobody is waited for any more.
    closing: CancellationToken,
    /// Rooms to open, to the feed.
    opening: mpsc::UnboundedSender<Arc<Room>>,
    /// Executions whose head should move, to the upkeep; when full, a later event asks again.
    heads_due: mpsc::Sender<Arc<Room>>,
}

impl Hub {
    /// An empty hub. The receivers go to the feed, which opens rooms, and to the upkeep of heads.
    pub fn new(
        bus: Bus,
        limits: HubLimits,
        metrics: Metrics,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Arc<Room>>, mpsc::Receiver<Arc<Room>>) {
        // Unbounded, but each room enters once and `limits.rooms` bounds the rooms.
        let (opening, to_open) = mpsc::unbounded_channel();
        let (heads_due, due_heads) = mpsc::channel(4096);
        metrics.bound(&limits);
        let hub = Self {
            reads: Turns::new(limits.reads, metrics.history_waiting.clone()),
            bus,
            limits,
            metrics,
            wheel: wheel::Wheel::default(),
            weight: Arc::default(),
            records: Semaphore::new(RECORDS_AT_ONCE),
            #[cfg(feature = "mutants")]
            mischief: crate::feed::mischief::Mischief::from_env(),
            rooms: RwLock::default(),
            sessions: Mutex::default(),
            log_bytes: AtomicIsize::new(0),
            buffered_bytes: AtomicIsize::new(0),
            gathering: gather::Gathering::default(),
            open: place::Open::default(),
            degraded: AtomicBool::new(false),
            departures: OnceLock::new(),
            leaving: CancellationToken::new(),
            passages: AtomicUsize::new(0),
            closing: CancellationToken::new(),
            opening,
            heads_due,
        };
        (Arc::new(hub), to_open, due_heads)
    }

    /// Follows a room for a session: the room is opened on the bus if it is not.
    pub fn follow(self: &Arc<Self>, name: &RoomName, cell: &Arc<SessionCell>) -> Result<Follower, TooManyRooms> {
        if let Some(room) = self.rooms.read().get(name) {
            return Ok(Follower::register(room, cell));
        }
        let mut rooms = self.rooms.write();
        if let Some(room) = rooms.get(name) {
            return Ok(Follower::register(room, cell));
        }
        if rooms.len() >= self.limits.rooms {
            return Err(TooManyRooms);
        }
        let room = Room::new(name.clone(), self.bus.is_durable());
        #[cfg(feature = "mutants")]
        room.leave_out(self.mischief.mutant());
        rooms.insert(name.clone(), room.clone());
        self.metrics.rooms.set(rooms.len() as f64);
        let follower = Follower::register(&room, cell);
        let _ = self.opening.send(room);
        Ok(follower)
    }

    /// The room, if this process follows it.
    pub fn room(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.rooms.read().get(name).cloned()
    }

    /// Every room followed now.
    pub fn all_rooms(&self) -> Vec<Arc<Room>> {
        self.rooms.read().values().cloned().collect()
    }

    /// How many rooms are followed.
    pub fn room_count(&self) -> usize {
        self.rooms.read().len()
    }

    /// Stops following rooms that nobody has followed for the linger time, and keeps all logs within the budget.
    pub fn sweep(&self) {
        let idle: Vec<RoomName> = self
            .rooms
            .read()
            .values()
            .filter(|room| room.idle_for() > self.limits.linger)
            .map(|room| room.name.clone())
            .collect();
        for name in idle {
            let mut rooms = self.rooms.write();
            if rooms.get(&name).is_some_and(|room| room.idle_for() > self.limits.linger)
                && let Some(room) = rooms.remove(&name)
            {
                self.let_go(&room);
            }
        }
        self.metrics.rooms.set(self.room_count() as f64);
        self.rooms.read().values().for_each(|room| room.let_go_of_frames());
        let pages: usize = self.rooms.read().values().map(|room| room.history.forget_old()).sum();
        self.metrics.history_bytes.set(pages as f64);
        self.keep_budget();
    }

    /// Takes out a room at once whose last follower was turned down, so that asking for rooms of others takes no place of theirs.
    /// One that is still being opened is left to the sweep: the bus would be told to follow it after all.
    pub fn leave(&self, follower: Follower) {
        let name = follower.room.name.clone();
        drop(follower);
        let mut rooms = self.rooms.write();
        if rooms.get(&name).is_some_and(|room| room.is_of_nobody() && room.is_open())
            && let Some(room) = rooms.remove(&name)
        {
            self.let_go(&room);
        }
    }

    /// Takes out a room that the broker will not have followed; its followers are told.
    pub fn refuse(&self, room: &Arc<Room>, error: BusError) {
        let mut rooms = self.rooms.write();
        if rooms.get(&room.name).is_some_and(|current| Arc::ptr_eq(current, room)) {
            rooms.remove(&room.name);
            self.let_go(room);
        }
        drop(rooms);
        room.refused(error);
    }

    /// Under the lock of the rooms, so that a room followed anew is followed after this.
    fn let_go(&self, room: &Room) {
        self.add_log_bytes(-(room.close() as isize));
        self.add_buffered_bytes(-(room.buffered_bytes() as isize));
        self.bus.unfollow(&room.name);
    }

    /// Counts a change of what waits for reads.
    pub(crate) fn add_buffered_bytes(&self, change: isize) {
        if change != 0 {
            self.buffered_bytes.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Wakes the followers of hot rooms when they have waited, for as long as the process lives.
    pub async fn gather(&self) {
        if let Some(wait) = self.limits.gather {
            self.gathering.run(wait).await;
        }
    }

    /// Past the budget every log gives up half of what it holds; readers left behind read the bus's history.
    fn keep_budget(&self) {
        self.metrics.log_bytes.set(self.log_bytes.load(Ordering::Relaxed) as f64);
        self.metrics.buffered_bytes.set(self.buffered_bytes.load(Ordering::Relaxed) as f64);
        self.metrics.frame_bytes.set(self.weight.frames() as f64);
        if !self.is_over_budget() {
            return;
        }
        for room in self.all_rooms() {
            let freed = room.shrink_to_half();
            self.add_log_bytes(-(freed as isize));
        }
    }

    /// Counts a change of what logs hold.
    pub(crate) fn add_log_bytes(&self, change: isize) {
        let now = self.log_bytes.fetch_add(change, Ordering::Relaxed) + change + self.weight.frames() as isize;
        if now > self.limits.logs_bytes as isize * 5 / 4 {
            self.metrics.log_over_budget.increment(1);
        }
    }

    /// Whether all logs together, with the frames made of their events, hold more than they may: new events then push
    /// old ones out at once.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.log_bytes.load(Ordering::Relaxed) + self.weight.frames() as isize > self.limits.logs_bytes as isize
    }

    /// Sends a command to whoever serves the address, and counts its answer.
    pub async fn request(&self, address: &Address, command: Command, timeout: Duration) -> Result<Reply, RequestError> {
        let reply = self.bus.request(address, command, timeout).await;
        self.metrics.command(match &reply {
            Ok(Reply::Accepted { .. }) => "accepted",
            Ok(Reply::Rejected { .. }) => "rejected",
            Err(RequestError::NoExecutor) => "no_executor",
            Err(RequestError::Timeout) => "timeout",
            Err(RequestError::Busy) => "busy",
            Err(RequestError::Bus(_)) => "unavailable",
        });
        reply
    }

    /// What is noted of an event on its way to its clients, if anything is: of one that is traced, and of one in so many.
    /// `number` counts those before it.
    pub(super) fn watch(&self, delivery: &Delivery, number: u64) -> Option<Box<watched::Watched>> {
        let system = self.limits.traced.then(|| weft_publisher::trace::system(self.bus.mode()));
        let fanout = number.is_multiple_of(FANOUT_EACH).then(|| self.metrics.fanout_seconds.clone());
        watched::Watched::begin(delivery, system, fanout)
    }

    /// Whether another followed room has this event as its own: then that one's span is enough.
    pub(crate) fn is_traced_elsewhere(&self, delivery: &Delivery) -> bool {
        let first = delivery.first.as_ref().filter(|_| self.limits.traced && delivery.traceparent.is_some());
        first.is_some_and(|first| first.room != delivery.room && self.room(&first.room).is_some())
    }

    /// Asks the upkeep to move the head of a room's execution.
    pub(crate) fn head_is_due(&self, room: &Arc<Room>) -> bool {
        let is_asked = self.heads_due.try_send(room.clone()).is_ok();
        if !is_asked {
            self.metrics.heads_put_off.increment(1);
        }
        is_asked
    }

    /// Wakes every session, to tell it of something that concerns all.
    pub fn wake_all(&self) {
        for cell in self.sessions.lock().iter() {
            cell.wake();
        }
    }

    /// Whether the broker is away.
    pub fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Says whether the broker is away; sessions tell their clients.
    pub fn set_degraded(&self, degraded: bool) {
        if self.degraded.swap(degraded, Ordering::Relaxed) != degraded {
            self.metrics.bus_degraded.set(f64::from(u8::from(degraded)));
            self.wake_all();
        }
    }

    /// Whether the process is leaving.
    pub fn is_draining(&self) -> bool {
        self.departures.get().is_some()
    }

    /// When the connection that asks is to be closed, if the process is leaving; each asks once.
    pub fn departure(&self, heeds: Heeds) -> Option<Departure> {
        self.departures.get().map(|departures| departures.draw(heeds))
    }

    /// The process is leaving: sessions tell their clients and close over so many seconds.
    pub fn begin_draining(&self, window_secs: u32) {
        let [unhinted, hinted] = self.leaving_counts();
        let unhinted = unhinted + self.passage_count();
        let _ = self.departures.set(Departures::plan(self.wheel.now(), window_secs, [unhinted, hinted]));
        self.leaving.cancel();
        self.wake_all();
    }

    /// Connections that heed no hint, and those that do.
    pub fn leaving_counts(&self) -> [usize; 2] {
        [self.open.of(Heeds::Nothing) + self.open.of(Heeds::Never), self.open.of(Heeds::Hints)]
    }

    /// Whether a process that leaves waits for nobody any more.
    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// The window is over: everybody who is still here is closed now.
    pub fn close_all(&self) {
        self.closing.cancel();
        self.wake_all();
    }
}
