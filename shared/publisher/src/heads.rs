//! The duty to keep heads: an execution's durable record exists before its first event is stored, an event with
//! another owner is refused, and the record is moved forward often enough that retention never passes it.

mod advance;

use crate::pace::LogPace;
use advance::Working;
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
    /// How often the owner of a knowledge base is claimed again, so that its record lives on; a quarter of its age.
    pub claim_every: Duration,
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
            claim_every: Duration::from_secs(6 * 3600),
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
        Self {
            every_events: usual.every_events.min(quarter),
            every_bytes: retention.bytes / 4,
            claim_every: retention.head_age / 4,
            ..usual
        }
    }
}

/// Why an event may not be stored, or not yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Its `userId` is not the recorded owner.
    #[error("userId: is not the recorded owner of the execution or knowledge base")]
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

/// An execution, or a knowledge base, of which only the owner is kept.
struct Execution {
    room: Room,
    owner: Option<String>,
    /// When its owner was read.
    known_at: Instant,
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
        Self {
            room,
            owner,
            known_at: Instant::now(),
            duty: Mutex::default(),
            moved: Notify::new(),
            urgent: Notify::new(),
            failing: AtomicBool::new(false),
        }
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

const ADVANCES_AT_ONCE: usize = 8;

impl HeadKeeper {
    /// Keeps heads on this bus.
    #[must_use]
    pub fn new(bus: Bus, config: HeadConfig) -> Self {
        crate::meters::begin_heads();
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
    /// event's user is its owner; likewise the owner of its knowledge base. Bus modes that store nothing admit all.
    pub async fn admit(&self, tenant: Option<&str>, event: &Prepared) -> Result<(), NotAdmitted> {
        self.admit_to_execution(tenant, event).await?;
        self.admit_to_kb(tenant, event).await
    }

    async fn admit_to_kb(&self, tenant: Option<&str>, event: &Prepared) -> Result<(), NotAdmitted> {
        let Some(id) = event.knowledge_base_id.as_deref().filter(|_| self.0.bus.is_durable()) else { return Ok(()) };
        let room = Room::kb(id).and_then(|room| room.in_tenant(tenant));
        let room = room.map_err(|invalid| BusError::Refused(invalid.to_string()))?;
        let user = event.user_id.as_deref();
        let known = self.0.find(&room).filter(|kb| kb.known_at.elapsed() < self.0.config.claim_every);
        let owned = match known {
            Some(kb) => owner_admits(kb.owner.as_deref(), user),
            None => {
                let owner = self.0.bus.claim(&room, user).await?;
                let owned = owner_admits(owner.as_deref(), user);
                self.0.forget(&room);
                self.0.remember(room, owner);
                owned
            }
        };
        if owned { Ok(()) } else { Err(NotAdmitted::OwnerMismatch) }
    }

    async fn admit_to_execution(&self, tenant: Option<&str>, event: &Prepared) -> Result<(), NotAdmitted> {
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
            crate::meters::head_wait_exceeded();
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
        crate::meters::heads_known(known.executions.len());
        drop(known);
        // Whoever is forgotten forgets its count too, so its head is brought up first.
        for execution in evicted.iter().filter(|execution| execution.duty.lock().events > 0) {
            self.want(execution, true);
        }
    }

    fn forget(&self, room: &Room) {
        let mut known = self.known.lock();
        known.executions.remove(room);
        crate::meters::heads_known(known.executions.len());
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
            tokio::spawn(advance::advance(Working(self.clone()), execution.clone()));
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
        crate::meters::head_advanced("failed");
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

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
