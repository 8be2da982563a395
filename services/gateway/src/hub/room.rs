//! One followed room: its log, the state machine that keeps the log true, its followers, its folded state.

use super::{
    Hub, SessionCell,
    entry::Entry,
    history::SharedHistory,
    log::{Found, Gap, Log, Most, Slot},
};
use crate::feed::sync::{RoomSync, Step};
use parking_lot::Mutex;
use slab::Slab;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;
use weft_bus::{BusError, Delivery, Page, PageLimit, ReadFrom, Tail, heads};
use weft_event::{Epoch, Position, Room as RoomName, Snapshot};

/// Whether a room can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The bus has not confirmed yet.
    NotYet,
    /// Every event from here on will be in the log.
    Yes,
    /// The broker refused, and will again; the room has been taken out of the hub.
    Refused(BusError),
}

/// The folded state at a place of the log.
pub struct Snapped {
    /// The state.
    pub snapshot: Snapshot,
    /// The last event folded in; `None` in fire-and-forget modes.
    pub at: Option<Position>,
    /// The log's next index at that moment.
    pub cursor: u64,
}

struct Inner {
    sync: RoomSync,
    log: Log,
    /// The execution's state as of the log's end, once somebody has asked for it.
    fold: Option<Fold>,
    /// The hub follows it no more; what still arrives must not be counted.
    closed: bool,
}

struct Fold {
    snapshot: Snapshot,
    at: Option<Position>,
    /// Whether there is a head or an event.
    known: bool,
}

/// Reads of a history that may end before the log begins, until what they answer is taken for all there is.
const READS_MAX: u32 = 5;

/// A followed room.
pub struct Room {
    /// Its name.
    pub name: RoomName,
    /// History reads, shared by all who read the same range.
    pub history: SharedHistory,
    durable: bool,
    inner: Mutex<Inner>,
    /// The log's next index, readable without the lock.
    next: AtomicU64,
    followers: Mutex<Followers>,
    opened: watch::Sender<Opened>,
    /// One fold of the history at a time.
    folding: tokio::sync::Mutex<()>,
    /// Whether a check of the tail is queued, so that trouble without end queues no more than one.
    check_queued: AtomicBool,
    /// Events since the execution's head was last asked to move.
    since_head: AtomicU64,
}

struct Followers {
    cells: Slab<Arc<SessionCell>>,
    idle_since: Option<Instant>,
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
        // Without stored events there is no past to fold: the state begins with the first event seen here.
        let seen_here = !durable && name.kind() == weft_event::RoomKind::Execution;
        let fold = seen_here.then(|| Fold { snapshot: Snapshot::new(name.id()), at: None, known: true });
        Arc::new(Self {
            name,
            history: SharedHistory::default(),
            durable,
            inner: Mutex::new(Inner { sync: RoomSync::default(), log: Log::new(None), fold, closed: false }),
            next: AtomicU64::new(0),
            followers: Mutex::new(Followers { cells: Slab::new(), idle_since: None }),
            opened: watch::channel(Opened::NotYet).0,
            folding: tokio::sync::Mutex::default(),
            check_queued: AtomicBool::new(false),
            since_head: AtomicU64::new(0),
        })
    }

    /// The log's next index: a cursor below it has something to read.
    pub fn next_index(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Waits until the bus has confirmed that this room is followed.
    pub async fn wait_open(&self) -> Result<(), BusError> {
        let mut opened = self.opened.subscribe();
        // The sender lives in this room, so waiting ends with the room at the latest.
        let opened = opened.wait_for(|opened| *opened != Opened::NotYet).await;
        match opened.as_deref() {
            Ok(Opened::Refused(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Whether the bus has confirmed that this room is followed.
    pub fn is_open(&self) -> bool {
        *self.opened.borrow() == Opened::Yes
    }

    /// The broker will not have this room followed.
    pub fn refused(&self, error: BusError) {
        self.opened.send_replace(Opened::Refused(error));
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

    /// The last position that the feed knows, once open.
    pub fn last(&self) -> Option<Position> {
        self.inner.lock().sync.last()
    }

    /// How long nobody has followed this room.
    pub fn idle_for(&self) -> Duration {
        self.followers.lock().idle_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The hub follows it no more; answers the bytes that its log held.
    pub(super) fn close(&self) -> usize {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.log.bytes()
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
        self.opened.send_replace(Opened::Yes);
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
    pub fn interrupted(&self) {
        self.inner.lock().sync.interrupted();
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
        let (mut bytes, mut head_events, mut terminal) = (0, 0, false);
        let grew = {
            let mut inner = self.inner.lock();
            if inner.closed {
                return todo;
            }
            let before_counts = inner.sync.counts;
            let before = inner.log.next_index();
            for step in run(&mut inner) {
                match step {
                    Step::Append(delivery) => {
                        let (change, ended) = self.append(hub, &mut inner, &delivery);
                        bytes += change;
                        head_events += 1;
                        terminal |= ended;
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
            let next = inner.log.next_index();
            self.next.store(next, Ordering::Release);
            next != before
        };
        if bytes != 0 {
            hub.add_log_bytes(bytes);
        }
        if grew {
            self.wake_followers();
        }
        self.note_head(hub, head_events, terminal);
        todo
    }

    fn append(&self, hub: &Hub, inner: &mut Inner, delivery: &Delivery) -> (isize, bool) {
        let mut limits = hub.limits.log;
        if hub.is_over_budget() {
            limits.bytes = limits.bytes.min(inner.log.bytes());
        }
        hub.metrics.events_received.increment(1);
        let entry = match Entry::new(delivery, &hub.limits.event, &hub.weight) {
            Ok(entry) => entry,
            Err(invalid) => {
                hub.metrics.invalid_event(&self.name, &invalid);
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

    fn wake_followers(&self) {
        for (_, cell) in self.followers.lock().cells.iter() {
            cell.wake();
        }
    }

    /// Claims the one place that this room has among the checks to be made; false if it is taken.
    pub fn queue_check(&self) -> bool {
        !self.check_queued.swap(true, Ordering::Relaxed)
    }

    /// The check is made now.
    pub fn check_begins(&self) {
        self.check_queued.store(false, Ordering::Relaxed);
    }

    // ── the folded state ──────────────────────────────────────────────────────────────────────────────────────

    /// The execution's state at the log's end; `None` if nothing is known of this execution.
    pub async fn snapshot(&self, hub: &Hub) -> Result<Option<Snapped>, BusError> {
        if let Some(ready) = self.folded() {
            return Ok(ready);
        }
        let _one = self.folding.lock().await;
        if let Some(ready) = self.folded() {
            return Ok(ready);
        }
        let Some(mut history) = Fold::of_head(hub, &self.name).await? else { return Ok(None) };
        let mut attempts = 0;
        loop {
            if !history.read_to_end(hub, &self.name).await? {
                return Ok(None);
            }
            attempts += 1;
            if let Some(snapped) = self.go_on_from(&history, attempts >= READS_MAX) {
                return Ok(Some(snapped));
            }
        }
    }

    /// Sets the fold to what was read of the history and what the log has after it; `None` if a further read must fill
    /// what lies between.
    fn go_on_from(&self, history: &Fold, is_last_attempt: bool) -> Option<Snapped> {
        let mut inner = self.inner.lock();
        let place = history.at.map_or(Found::Unknown, |at| inner.log.find(at));
        let from = match place {
            Found::At(index) => index,
            // The history was read further than the log has come; what the log gets up to there is folded already.
            Found::Newer => inner.log.next_index(),
            // What was read is older than the log's beginning: the rest has expired, or a replica answered.
            Found::Older | Found::Unknown if inner.log.is_bare() || is_last_attempt => inner.log.base(),
            Found::Older | Found::Unknown => return None,
        };
        let mut slots = Vec::new();
        inner.log.read(from, Most::ALL, &mut slots)?;
        // Without a position nothing is folded yet: all that the log has counts, not only what comes after its end.
        let mut fold = Fold { snapshot: history.snapshot.clone(), at: history.at, known: history.known };
        for slot in slots {
            match slot {
                Slot::Event(entry) if self.folds(&entry) => fold.apply(&entry),
                Slot::Skipped(at) => fold.at = Some(at),
                Slot::Event(_) | Slot::Gap(_) => {}
            }
        }
        fold.at = fold.at.or(inner.log.end());
        let snapped = Snapped { snapshot: fold.snapshot.clone(), at: fold.at, cursor: inner.log.next_index() };
        inner.fold = Some(fold);
        Some(snapped)
    }

    /// In a durable room only what is stored counts: every process must fold the same.
    fn folds(&self, entry: &Entry) -> bool {
        entry.at.is_some() || !self.durable
    }

    /// `Some(None)`: known to be nothing.
    fn folded(&self) -> Option<Option<Snapped>> {
        let inner = self.inner.lock();
        let fold = inner.fold.as_ref()?;
        if !self.durable && inner.log.next_index() == 0 {
            return Some(None);
        }
        Some(Some(Snapped { snapshot: fold.snapshot.clone(), at: fold.at, cursor: inner.log.next_index() }))
    }
}

/// An execution's state as of the end of what is stored: its head and everything after it. `None` if there is neither.
pub async fn fold_history(hub: &Hub, room: &RoomName) -> Result<Option<(Snapshot, Option<Position>)>, BusError> {
    let Some(mut fold) = Fold::of_head(hub, room).await? else { return Ok(None) };
    let is_known = fold.read_to_end(hub, room).await?;
    Ok(is_known.then_some((fold.snapshot, fold.at)))
}

impl Fold {
    /// Where the execution's head stands, or nothing yet. `None` where nothing is stored at all.
    async fn of_head(hub: &Hub, room: &RoomName) -> Result<Option<Self>, BusError> {
        if !hub.bus.is_durable() {
            return Ok(None);
        }
        let head = hub.bus.load_head(room).await?.map(|(head, _)| head);
        let (at, known) = (head.as_ref().and_then(weft_event::Head::position), head.is_some());
        let snapshot = head.map_or_else(|| Snapshot::new(room.id()), |head| head.snapshot);
        Ok(Some(Self { snapshot, at, known }))
    }

    /// Folds everything stored after where this stands; whether anything is known of the execution.
    async fn read_to_end(&mut self, hub: &Hub, room: &RoomName) -> Result<bool, BusError> {
        let mut from = self.at.map_or(ReadFrom::Start, ReadFrom::After);
        loop {
            let permit = hub.reads.acquire().await;
            let page = hub.bus.read(room, from, PageLimit { events: 512, bytes: 1024 * 1024 }).await?;
            drop(permit);
            if page.anchor == weft_bus::Anchor::Changed {
                (from, self.at) = (ReadFrom::Start, None);
                continue;
            }
            page.events.iter().for_each(|delivery| heads::fold(&mut self.snapshot, delivery, &hub.limits.event));
            if let Some(last) = page.last() {
                (self.at, self.known, from) = (Some(last), true, ReadFrom::After(last));
            }
            if !page.more {
                return Ok(self.known);
            }
        }
    }
}

impl Fold {
    fn apply(&mut self, entry: &Entry) {
        let folded_already = match (self.at, entry.at) {
            (Some(at), Some(here)) => here.epoch == at.epoch && here.seq <= at.seq,
            _ => false,
        };
        if !folded_already {
            heads::fold_prepared(&mut self.snapshot, &entry.event, entry.stored_ms);
            self.at = entry.at.or(self.at);
        }
    }
}

/// A session's registration in a room; dropping it takes the session out.
pub struct Follower {
    /// The room.
    pub room: Arc<Room>,
    key: u32,
}

impl Follower {
    pub(super) fn register(room: &Arc<Room>, cell: &Arc<SessionCell>) -> Self {
        let mut followers = room.followers.lock();
        followers.idle_since = None;
        let key = followers.cells.insert(cell.clone()) as u32;
        Self { room: room.clone(), key }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followers = self.room.followers.lock();
        followers.cells.try_remove(self.key as usize);
        if followers.cells.is_empty() {
            followers.idle_since = Some(Instant::now());
        }
    }
}
