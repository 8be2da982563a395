//! One followed room: its log, the state machine that keeps the log true, its followers, its folded state.

use super::{
    Hub,
    entry::Entry,
    fold::Fold,
    follower::Followers,
    gather::Rate,
    history::SharedHistory,
    log::{Found, Gap, Log, Most, Slot},
    opening::Opening,
    watched::with_context,
};
use crate::{
    feed::sync::{RoomSync, Step},
    metrics::Failed,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use weft_bus::{BusError, Delivery, Mode, Page, ReadFrom, Tail};
use weft_event::{Epoch, Position, Room as RoomName};

pub(super) struct Inner {
    sync: RoomSync,
    pub(super) log: Log,
    /// The execution's state as of the log's end, once somebody has asked for it.
    pub(super) fold: Option<Fold>,
    /// How often events come.
    rate: Rate,
    /// The log's next index a sweep ago: what is older has been read by those who keep up.
    swept_to: u64,
    /// Before this index frames have been let go.
    bare_to: u64,
    /// The hub follows it no more; what still arrives must not be counted.
    closed: bool,
}

/// A followed room.
pub struct Room {
    /// Its name.
    pub name: RoomName,
    /// History reads, shared by all who read the same range.
    pub history: SharedHistory,
    pub(super) durable: bool,
    pub(super) inner: Mutex<Inner>,
    /// The log's next index, readable without the lock.
    next: AtomicU64,
    pub(super) followers: Mutex<Followers>,
    opening: Opening,
    /// One fold of the history at a time.
    pub(super) folding: tokio::sync::Mutex<()>,
    /// Whether a check of the tail is queued, so that trouble without end queues no more than one.
    check_queued: AtomicBool,
    /// Whether its followers wait to be woken.
    gathering: AtomicBool,
    /// Events since the execution's head was last asked to move.
    since_head: AtomicU64,
    /// Somebody who may has followed it.
    is_wanted: AtomicBool,
}

/// What must be done after the lock is released.
pub enum Todo {
    /// Read the history from here on.
    Read(ReadFrom),
    /// The same after a pause.
    ReadLater(ReadFrom),
    /// Ask for a new epoch.
    RenewEpoch(Epoch),
}

impl Room {
    pub(super) fn new(name: RoomName, durable: bool) -> Arc<Self> {
        let is_seen_here = !durable && name.kind() == weft_event::RoomKind::Execution;
        let fold = is_seen_here.then(|| Fold::seen_here(&name));
        Arc::new(Self {
            name,
            history: SharedHistory::default(),
            durable,
            inner: Mutex::new(Inner {
                sync: RoomSync::default(),
                log: Log::new(None),
                fold,
                rate: Rate::default(),
                swept_to: 0,
                bare_to: 0,
                closed: false,
            }),
            next: AtomicU64::new(0),
            followers: Mutex::default(),
            opening: Opening::default(),
            folding: tokio::sync::Mutex::default(),
            check_queued: AtomicBool::new(false),
            gathering: AtomicBool::new(false),
            since_head: AtomicU64::new(0),
            is_wanted: AtomicBool::new(false),
        })
    }

    /// How many sessions follow it.
    pub fn follower_count(&self) -> u64 {
        self.followers.lock().count()
    }

    /// The log's next index: a cursor below it has something to read.
    pub fn next_index(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Waits until the bus has confirmed that this room is followed.
    pub async fn wait_open(&self) -> Result<(), BusError> {
        self.opening.wait().await
    }

    /// Whether the bus has confirmed that this room is followed.
    pub fn is_open(&self) -> bool {
        self.opening.is_done()
    }

    /// The broker will not have this room followed.
    pub fn refused(&self, error: BusError) {
        self.opening.end(Err(error));
    }

    /// Copies slots from `cursor` on; `None` if the cursor has left the log.
    pub fn read(&self, cursor: u64, most: Most, into: &mut Vec<Slot>) -> Option<()> {
        self.inner.lock().log.read(cursor, most, into)
    }

    /// Where reading goes on after a position.
    pub fn find(&self, at: Position) -> Found {
        self.inner.lock().log.find(at)
    }

    /// Where reading goes on after a position, if the log has all that followed it.
    pub fn find_unbroken(&self, at: Position) -> Option<u64> {
        let inner = self.inner.lock();
        match inner.log.find(at) {
            Found::At(index) if !inner.log.has_gap_from(index) => Some(index),
            _ => None,
        }
    }

    /// The log's end: its next index, and the last position.
    pub fn end(&self) -> (u64, Option<Position>) {
        let inner = self.inner.lock();
        (inner.log.next_index(), inner.log.end())
    }

    /// The oldest index still in the log.
    pub fn base(&self) -> u64 {
        self.inner.lock().log.base()
    }

    /// Whether the log has begun at the end of a room that held nothing, and still has all since.
    pub fn is_bare(&self) -> bool {
        self.inner.lock().log.is_bare()
    }

    /// The last position that the feed knows, once open.
    pub fn last(&self) -> Option<Position> {
        self.inner.lock().sync.last()
    }

    /// Somebody who may follows it: it is kept for a while when nobody does any more.
    pub fn want(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
    }

    /// Whether only those have followed it who may not, or have asked whether they may.
    pub(super) fn is_of_nobody(&self) -> bool {
        !self.is_wanted.load(Ordering::Relaxed) && self.follower_count() == 0
    }

    /// How long nobody has followed this room.
    pub fn idle_for(&self) -> Duration {
        self.followers.lock().idle_for()
    }

    /// The hub follows it no more; answers the bytes that its log held.
    pub(super) fn close(&self) -> usize {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.log.bytes()
    }

    /// Bytes of live events that wait for a read.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.inner.lock().sync.buffered_bytes()
    }

    /// Lets the frames go that were there a sweep ago: a room that is quiet holds what was published, and no more.
    pub(super) fn let_go_of_frames(&self) {
        let mut inner = self.inner.lock();
        if inner.bare_to < inner.swept_to {
            inner.log.entries(inner.bare_to, inner.swept_to).for_each(|entry| entry.let_frames_go());
            inner.bare_to = inner.swept_to;
        }
        inner.swept_to = inner.log.next_index();
    }

    pub(super) fn shrink_to_half(&self) -> usize {
        let mut inner = self.inner.lock();
        let half = inner.log.bytes() / 2;
        inner.log.shrink(half)
    }

    // ── what the feed does ────────────────────────────────────────────────────────────────────────────────────

    /// The bus has confirmed the follow; the room ends at `tail` (`None` in fire-and-forget modes).
    pub fn opened(self: &Arc<Self>, hub: &Hub, tail: Option<Tail>) -> Vec<Todo> {
        let todo = self.with_sync(hub, |inner| match tail {
            Some(tail) => {
                inner.log.begin(tail.at);
                inner.sync.opened(tail.at)
            }
            None => Vec::new(),
        });
        self.opening.end(Ok(()));
        todo
    }

    /// A live event arrived.
    pub fn live(self: &Arc<Self>, hub: &Hub, delivery: Delivery) -> Vec<Todo> {
        self.with_sync(hub, |inner| inner.sync.live(delivery))
    }

    /// A page that the state machine asked for.
    pub fn page(self: &Arc<Self>, hub: &Hub, page: Page) -> Vec<Todo> {
        self.with_sync(hub, |inner| inner.sync.page(page))
    }

    /// The epoch in force after a reset.
    pub fn renewed(self: &Arc<Self>, hub: &Hub, epoch: Epoch) -> Vec<Todo> {
        self.with_sync(hub, |inner| inner.sync.renewed(epoch))
    }

    /// The live path was interrupted; the tail must be verified before live events are taken again.
    pub fn interrupted(&self, hub: &Hub) {
        let mut inner = self.inner.lock();
        let buffered = inner.sync.buffered_bytes();
        inner.sync.interrupted();
        hub.add_buffered_bytes(inner.sync.buffered_bytes() as isize - buffered as isize);
    }

    /// The room's tail on the broker, and what was the last event here when that was asked.
    pub fn verify(self: &Arc<Self>, hub: &Hub, tail: Tail, last_when_asked: Position) -> Vec<Todo> {
        self.with_sync(hub, |inner| inner.sync.verify(tail, last_when_asked))
    }

    /// The read or renewal that was asked for failed.
    pub fn read_failed(self: &Arc<Self>, hub: &Hub) -> Vec<Todo> {
        self.with_sync(hub, |inner| inner.sync.read_failed())
    }

    #[cfg(feature = "mutants")]
    pub(super) fn leave_out(&self, mutant: crate::feed::sync::Mutant) {
        self.inner.lock().sync.without = mutant;
    }

    /// Test builds only: whether repeats are let through.
    #[cfg(feature = "mutants")]
    pub fn is_without_dedup(&self) -> bool {
        self.inner.lock().sync.without == crate::feed::sync::Mutant::Dedup
    }

    /// Runs the state machine and carries its steps out in order, under one lock; wakes the followers after it.
    fn with_sync(self: &Arc<Self>, hub: &Hub, run: impl FnOnce(&mut Inner) -> Vec<Step>) -> Vec<Todo> {
        let mut todo = Vec::new();
        let (mut bytes, mut head_events, mut terminal, mut hot) = (0, 0, false, false);
        let grew = {
            let mut inner = self.inner.lock();
            if inner.closed {
                return todo;
            }
            let before_counts = inner.sync.counts;
            let before = inner.log.next_index();
            let buffered = inner.sync.buffered_bytes();
            for step in run(&mut inner) {
                match step {
                    Step::Append(mut delivery) => {
                        if hub.bus.mode() != Mode::Memory {
                            // It is a piece of what was read from the broker's socket, and would keep all of it alive.
                            delivery.payload = Bytes::copy_from_slice(&delivery.payload);
                        }
                        let (change, ended) = self.append(hub, &mut inner, &mut delivery);
                        bytes += change;
                        head_events += 1;
                        terminal |= ended;
                        hot = hub.limits.gather.is_some_and(|wait| inner.rate.is_hot(Instant::now(), wait));
                    }
                    Step::Gap { from, to, reason } => {
                        hub.metrics.gap(reason);
                        let gap = Gap { from: Some(from), to, reason };
                        bytes += inner.log.push(Slot::Gap(Arc::new(gap)), hub.limits.log);
                        // What was folded before is not the past of what follows; fold again when asked.
                        inner.fold = None;
                    }
                    Step::Read(at) => todo.push(Todo::Read(ReadFrom::After(at))),
                    Step::ReadLater(at) => todo.push(Todo::ReadLater(ReadFrom::After(at))),
                    Step::ReadAll => todo.push(Todo::Read(ReadFrom::Start)),
                    Step::RenewEpoch(epoch) => todo.push(Todo::RenewEpoch(epoch)),
                }
            }
            hub.metrics.room_counts(before_counts, inner.sync.counts);
            hub.add_buffered_bytes(inner.sync.buffered_bytes() as isize - buffered as isize);
            let next = inner.log.next_index();
            self.next.store(next, Ordering::Release);
            next != before
        };
        if bytes != 0 {
            hub.add_log_bytes(bytes);
        }
        if grew {
            // What ends an execution is not kept waiting: nothing follows it.
            if hot && !terminal { self.wake_soon(hub) } else { self.wake_followers() }
        }
        self.note_head(hub, head_events, terminal);
        todo
    }

    fn append(&self, hub: &Hub, inner: &mut Inner, delivery: &mut Delivery) -> (isize, bool) {
        let mut limits = hub.limits.log;
        if hub.is_over_budget() {
            limits.bytes = limits.bytes.min(inner.log.bytes());
        }
        let number = hub.metrics.received();
        if let Some(payload) = with_context(delivery) {
            delivery.payload = payload;
        }
        let entry = match Entry::new(delivery, &hub.limits.event, &hub.weight) {
            Ok(entry) => entry.watched(hub.watch(delivery, number)),
            Err(invalid) => {
                hub.metrics.invalid_event(delivery, &invalid);
                if delivery.payload.len() > hub.limits.event.event_bytes_max {
                    hub.metrics.failed(Failed::TooLarge, self.followers.lock().count());
                }
                let change = delivery.position().map_or(0, |at| inner.log.push(Slot::Skipped(at), limits));
                return (change, false);
            }
        };
        if let Some(fold) = inner.fold.as_mut().filter(|_| self.folds(&entry)) {
            fold.apply(&entry);
        }
        let terminal = entry.event.kind().is_terminal();
        (inner.log.push(Slot::Event(Arc::new(entry)), limits), terminal)
    }

    fn note_head(self: &Arc<Self>, hub: &Hub, events: u64, terminal: bool) {
        if events == 0 || !self.durable || self.name.kind() != weft_event::RoomKind::Execution {
            return;
        }
        let since = self.since_head.fetch_add(events, Ordering::Relaxed) + events;
        // The first event ever seen may be that of an execution that has no head yet.
        let due = terminal || since == events || since >= u64::from(hub.limits.head_every);
        if due && hub.head_is_due(self) {
            self.since_head.store(1, Ordering::Relaxed);
        }
    }

    fn wake_soon(self: &Arc<Self>, hub: &Hub) {
        if !self.gathering.swap(true, Ordering::AcqRel) {
            hub.gathering.add(self);
        }
    }

    /// Its followers have waited long enough.
    pub(super) fn gathered(&self) {
        self.gathering.store(false, Ordering::Release);
        self.wake_followers();
    }

    fn wake_followers(&self) {
        self.followers.lock().wake();
    }

    /// Claims the one place that this room has among the checks to be made; false if it is taken.
    pub fn queue_check(&self) -> bool {
        !self.check_queued.swap(true, Ordering::Relaxed)
    }

    /// The check is made now.
    pub fn check_begins(&self) {
        self.check_queued.store(false, Ordering::Relaxed);
    }
}
