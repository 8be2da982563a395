//! The duty to keep heads: an execution's durable record exists before its first event is stored, an event with
//! another owner is refused, and the record is moved forward often enough that retention never passes it.

use crate::pace::LogPace;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Notify, Semaphore};
use weft_bus::{Bus, BusError, Retention, heads};
use weft_event::{Limits, Prepared, Room, RoomKind};

/// How heads are kept.
#[derive(Clone, Copy, Debug)]
pub struct HeadConfig {
    /// A head is moved forward at least every so many events of its room; a quarter of what the bus retains.
    pub every_events: u64,
    /// And at least every so many payload bytes; 0 is no bound.
    pub every_bytes: u64,
    /// How long changes of state are gathered before the head is written.
    pub debounce: Duration,
    /// Longest wait of a room's events for a head that is more than twice `every_events` behind.
    pub wait_max: Duration,
    /// Executions whose owner is remembered; the least recently used are looked up again.
    pub executions_max: usize,
    /// Bounds by which stored events are read.
    pub limits: Limits,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self {
            every_events: 250,
            every_bytes: 0,
            debounce: Duration::from_millis(300),
            wait_max: Duration::from_secs(2),
            executions_max: 50_000,
            limits: Limits::default(),
        }
    }
}

impl HeadConfig {
    /// Fits the retention of the bus: a head is never more than three quarters of it behind.
    #[must_use]
    pub fn for_retention(retention: &Retention) -> Self {
        let quarter = u64::try_from(retention.events / 4).unwrap_or(u64::MAX).max(1);
        let usual = Self::default();
        Self { every_events: usual.every_events.min(quarter), every_bytes: retention.bytes / 4, ..usual }
    }
}

/// Why an event may not be stored, or not yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Its `userId` is not the recorded owner.
    #[error("userId: is not the recorded owner of the execution")]
    OwnerMismatch,
    /// The head could not be read or made.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Whether an event of `user` may be stored in an execution of `owner`: an execution without a recorded owner takes
/// events of any user, and an event without a user belongs to any execution.
#[must_use]
pub fn owner_admits(owner: Option<&str>, user: Option<&str>) -> bool {
    match (owner, user) {
        (Some(owner), Some(user)) => owner == user,
        (None, _) | (_, None) => true,
    }
}

/// Keeps the heads of all executions that this process publishes to. One a process; cheap to clone.
#[derive(Clone)]
pub struct HeadKeeper(Arc<Keeper>);

struct Keeper {
    bus: Bus,
    config: HeadConfig,
    known: Mutex<Known>,
    /// Advances under way at once; each reads a page and writes a record.
    permits: Semaphore,
    working: AtomicUsize,
    settled: Notify,
    log_pace: LogPace,
}

#[derive(Default)]
struct Known {
    executions: HashMap<Room, (Arc<Execution>, u64)>,
    tick: u64,
}

struct Execution {
    room: Room,
    owner: Option<String>,
    duty: Mutex<Duty>,
    /// Told whenever the head has moved.
    moved: Notify,
    /// Ends the gathering at once.
    urgent: Notify,
    /// The last advance failed; then nobody waits for the next, because events matter more than their fold.
    failing: AtomicBool,
}

impl Execution {
    fn new(room: Room, owner: Option<String>) -> Self {
        Self { room, owner, duty: Mutex::default(), moved: Notify::new(), urgent: Notify::new(), failing: AtomicBool::new(false) }
    }
}

#[derive(Default)]
struct Duty {
    /// Events and bytes that this process has stored since the last advance began.
    events: u64,
    bytes: u64,
    /// An advance is wanted.
    wanted: bool,
    /// A task is at it.
    tasked: bool,
}

/// After so long without success an advance is given up until the next event of its room asks again.
const GIVE_UP: Duration = Duration::from_secs(60);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
const ADVANCES_AT_ONCE: usize = 8;

impl HeadKeeper {
    /// Keeps heads on this bus.
    #[must_use]
    pub fn new(bus: Bus, config: HeadConfig) -> Self {
        Self(Arc::new(Keeper {
            bus,
            config,
            known: Mutex::default(),
            permits: Semaphore::new(ADVANCES_AT_ONCE),
            working: AtomicUsize::new(0),
            settled: Notify::new(),
            log_pace: LogPace::default(),
        }))
    }

    /// How it keeps them.
    #[must_use]
    pub fn config(&self) -> &HeadConfig {
        &self.0.config
    }

    /// Makes sure that the event's execution has a head, made from this event if it is the first, and that the
    /// event's user is its owner. Events without an execution, and bus modes that store nothing, are admitted.
    pub async fn admit(&self, tenant: Option<&str>, event: &Prepared) -> Result<(), NotAdmitted> {
        let Some(room) = self.room_of(tenant, event)? else { return Ok(()) };
        let user = event.user_id.as_deref();
        let owned = match self.0.find(&room) {
            Some(execution) => owner_admits(execution.owner.as_deref(), user),
            None => {
                let Some((head, _)) = heads::ensure(&self.0.bus, event, tenant, now_ms()).await? else { return Ok(()) };
                let owned = owner_admits(head.owner.as_deref(), user);
                self.0.remember(room, head.owner);
                owned
            }
        };
        if owned { Ok(()) } else { Err(NotAdmitted::OwnerMismatch) }
    }

    fn room_of(&self, tenant: Option<&str>, event: &Prepared) -> Result<Option<Room>, BusError> {
        let Some(execution) = event.execution_id.as_deref().filter(|_| self.0.bus.is_durable()) else { return Ok(None) };
        let room = Room::execution(execution).and_then(|room| room.in_tenant(tenant));
        room.map(Some).map_err(|invalid| BusError::Refused(invalid.to_string()))
    }

    /// Takes note that an event was stored in its first room, and sees to the head's advance where one is due.
    pub fn stored(&self, room: &Room, event: &Prepared) {
        if room.kind() != RoomKind::Execution || !self.0.bus.is_durable() {
            return;
        }
        // Forgotten between being admitted and stored: its end must reach the head all the same.
        let execution = self.0.find(room).unwrap_or_else(|| Arc::new(Execution::new(room.clone(), None)));
        let config = &self.0.config;
        let (enough, behind) = {
            let mut duty = execution.duty.lock();
            duty.events += 1;
            duty.bytes += event.body.len() as u64;
            let many = duty.events >= config.every_events;
            (many || (config.every_bytes > 0 && duty.bytes >= config.every_bytes), duty.events)
        };
        let ends = event.kind().is_terminal();
        let changes = matches!(event.kind().as_str(), "execution:started" | "execution:updated");
        if ends || enough || changes {
            // Far behind, the gathering time would itself be too long.
            self.0.want(&execution, ends || behind >= config.every_events);
        }
    }

    /// Waits, for a bounded time, while the head of `room` is more than twice the allowed distance behind.
    pub async fn near(&self, room: &Room) {
        if room.kind() != RoomKind::Execution {
            return;
        }
        let Some(execution) = self.0.find(room) else { return };
        let limit = self.0.config.every_events.saturating_mul(2);
        let near = async {
            loop {
                let moved = execution.moved.notified();
                if execution.duty.lock().events <= limit || execution.failing.load(Ordering::Relaxed) {
                    return;
                }
                self.0.want(&execution, true);
                moved.await;
            }
        };
        if tokio::time::timeout(self.0.config.wait_max, near).await.is_err() {
            metrics::counter!("weft_head_waits_exceeded_total").increment(1);
            tracing::warn!(%room, "the execution's head falls behind; events go on");
        }
    }

    /// Waits until all advances that are due have been made; how many were not, after `timeout`.
    pub async fn settle(&self, timeout: Duration) -> usize {
        self.0.hurry();
        let settled = async {
            loop {
                let settled = self.0.settled.notified();
                if self.0.working.load(Ordering::Acquire) == 0 {
                    return;
                }
                settled.await;
            }
        };
        let _ = tokio::time::timeout(timeout, settled).await;
        self.0.working.load(Ordering::Acquire)
    }
}

impl Keeper {
    fn find(&self, room: &Room) -> Option<Arc<Execution>> {
        let mut known = self.known.lock();
        known.tick += 1;
        let tick = known.tick;
        let (execution, used) = known.executions.get_mut(room)?;
        *used = tick;
        Some(execution.clone())
    }

    fn remember(self: &Arc<Self>, room: Room, owner: Option<String>) {
        let execution = Execution::new(room.clone(), owner);
        let mut known = self.known.lock();
        known.tick += 1;
        let tick = known.tick;
        known.executions.entry(room).or_insert((Arc::new(execution), tick));
        let evicted = if known.executions.len() > self.config.executions_max { evict(&mut known) } else { Vec::new() };
        metrics::gauge!("weft_heads_known").set(known.executions.len() as f64);
        drop(known);
        // Whoever is forgotten forgets its count too, so its head is brought up first.
        for execution in evicted.iter().filter(|execution| execution.duty.lock().events > 0) {
            self.want(execution, true);
        }
    }

    fn forget(&self, room: &Room) {
        self.known.lock().executions.remove(room);
    }

    /// Has the head moved forward soon, or now; one task an execution.
    fn want(self: &Arc<Self>, execution: &Arc<Execution>, urgent: bool) {
        let mut duty = execution.duty.lock();
        duty.wanted = true;
        if urgent {
            execution.urgent.notify_one();
        }
        if !duty.tasked {
            duty.tasked = true;
            self.working.fetch_add(1, Ordering::AcqRel);
            tokio::spawn(advance(Working(self.clone()), execution.clone()));
        }
    }

    fn hurry(&self) {
        for (execution, _) in self.known.lock().executions.values() {
            if execution.duty.lock().tasked {
                execution.urgent.notify_one();
            }
        }
    }

    fn failed(&self, room: &Room, error: &BusError) {
        metrics::counter!("weft_head_advances_total", "result" => "failed").increment(1);
        if self.log_pace.is_due() {
            tracing::warn!(%room, %error, "an execution's head could not be moved forward; it is tried again");
        }
    }
}

/// Takes out the eighth that was used longest ago.
fn evict(known: &mut Known) -> Vec<Arc<Execution>> {
    let mut by_use: Vec<(u64, Room)> = known.executions.iter().map(|(room, (_, used))| (*used, room.clone())).collect();
    let count = (by_use.len() / 8).max(1);
    if count < by_use.len() {
        by_use.select_nth_unstable(count);
        by_use.truncate(count);
    }
    by_use.iter().filter_map(|(_, room)| known.executions.remove(room)).map(|(execution, _)| execution).collect()
}

/// Counts a task as long as it lives.
struct Working(Arc<Keeper>);

impl Drop for Working {
    fn drop(&mut self) {
        if self.0.working.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.settled.notify_waiters();
        }
    }
}

/// Moves one head forward until nothing more is wanted.
async fn advance(working: Working, execution: Arc<Execution>) {
    let keeper = &working.0;
    let (mut retry, mut failing_since) = (RETRY_MIN, None::<Instant>);
    loop {
        let pause = if failing_since.is_some() { retry } else { keeper.config.debounce };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // A failing bus is not asked more often because more is wanted of it.
            () = execution.urgent.notified(), if failing_since.is_none() => {}
        }
        let Ok(_permit) = keeper.permits.acquire().await else { return };
        let (events, bytes) = {
            let mut duty = execution.duty.lock();
            duty.wanted = false;
            (duty.events, duty.bytes)
        };
        match heads::advance(&keeper.bus, &execution.room, &keeper.config.limits, now_ms()).await {
            Ok(head) => {
                metrics::counter!("weft_head_advances_total", "result" => "moved").increment(1);
                failing_since = None;
                if head.is_none() {
                    // It has expired or was lost; the next event makes it again.
                    keeper.forget(&execution.room);
                }
                if has_caught_up(&execution, events, bytes) {
                    return;
                }
            }
            Err(error) => {
                keeper.failed(&execution.room, &error);
                retry = if failing_since.is_some() { (retry * 2).min(RETRY_MAX) } else { RETRY_MIN };
                let since = *failing_since.get_or_insert_with(Instant::now);
                if has_given_up(&execution, since, &error) {
                    return;
                }
            }
        }
    }
}

/// Notes an advance over what was stored before it began; whether nothing more is wanted.
fn has_caught_up(execution: &Execution, events: u64, bytes: u64) -> bool {
    let mut duty = execution.duty.lock();
    duty.events -= events;
    duty.bytes -= bytes;
    duty.tasked = duty.wanted;
    execution.failing.store(false, Ordering::Relaxed);
    execution.moved.notify_waiters();
    !duty.tasked
}

fn has_given_up(execution: &Execution, since: Instant, error: &BusError) -> bool {
    let mut duty = execution.duty.lock();
    duty.wanted = true;
    execution.failing.store(true, Ordering::Relaxed);
    execution.moved.notify_waiters();
    if since.elapsed() < GIVE_UP {
        return false;
    }
    duty.tasked = false;
    tracing::error!(room = %execution.room, %error, "an execution's head stays behind until its next event");
    true
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
