//! The handle that an executor holds.

use crate::{
    EventDraft, HeadConfig, HeadKeeper, HttpTargetError, Losses, Pending, PublishError, Run, Stored, Unfinished,
    http::HttpSink,
    item::Item,
    lane::{LaneConfig, Lanes},
    ledger::Ledger,
    meters,
    sink::Sink,
    store::complete,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, watch},
};
use weft_bus::Bus;
use weft_event::{Limits, Prepared, Room};

/// How much a publisher keeps and for how long.
#[derive(Clone, Debug)]
pub struct PublisherConfig {
    /// The tenant whose rooms the events reach; over HTTP the token says it.
    pub tenant: Option<String>,
    /// How long an event is tried. Below the broker's deduplication window, or a late retry could store it twice.
    pub retry_age: Duration,
    /// Most bytes of events in the retry buffer, with a small overhead for each. When it is full, `enqueue` refuses
    /// and `enqueue_wait` waits.
    pub buffer_bytes: usize,
    /// An execution's head moves forward at least every so many of its events: at most a quarter of what the bus
    /// retains of a room. Over HTTP the gateway sees to it.
    pub head_every: u64,
    /// Bounds on an event.
    pub limits: Limits,
    /// Most events sent to a room at once.
    pub batch_events: usize,
    /// Most payload bytes sent to a room at once, passed by at most one event.
    pub batch_bytes: usize,
    /// The pause after a first failed attempt; doubled up to `pause_max`.
    pub pause_min: Duration,
    /// Longest pause between attempts.
    pub pause_max: Duration,
}

impl Default for PublisherConfig {
    fn default() -> Self {
        Self {
            tenant: None,
            retry_age: Duration::from_secs(60),
            buffer_bytes: 64 * 1024 * 1024,
            head_every: 250,
            limits: Limits::default(),
            batch_events: 128,
            batch_bytes: 512 * 1024,
            pause_min: Duration::from_millis(50),
            pause_max: Duration::from_secs(2),
        }
    }
}

/// What an event takes in the buffer beside its bytes: names, lane entries, bookkeeping.
const OVERHEAD_BYTES: usize = 512;
/// Rooms that are sent to at once over a bus, which multiplexes them.
const BUS_BATCHES_AT_ONCE: usize = 512;
/// Requests at once over HTTP.
const HTTP_BATCHES_AT_ONCE: usize = 16;

/// Publishes events and keeps them until they are stored. Cheap to clone; all clones share one buffer.
#[derive(Clone)]
pub struct Publisher(Arc<Shared>);

struct Shared {
    config: PublisherConfig,
    lanes: Arc<Lanes>,
    space: Arc<Semaphore>,
    ledger: Arc<Ledger>,
    closed: AtomicBool,
}

impl Publisher {
    /// Publishes over a bus. Must be called inside a Tokio runtime, which then also does the sending.
    #[must_use]
    pub fn over_bus(bus: Bus, config: PublisherConfig) -> Self {
        let heads = HeadConfig { every_events: config.head_every.max(1), limits: config.limits, ..HeadConfig::default() };
        let heads = HeadKeeper::new(bus.clone(), heads);
        Self::with_heads(bus, heads, config)
    }

    /// Publishes over a bus in a process that keeps heads already; `head_every` is then the keeper's.
    #[must_use]
    pub fn with_heads(bus: Bus, heads: HeadKeeper, config: PublisherConfig) -> Self {
        let tenant = config.tenant.clone();
        Self::new(Sink::Bus { bus, heads, tenant }, BUS_BATCHES_AT_ONCE, config)
    }

    /// Publishes through a gateway's `POST /api/events`. Must be called inside a Tokio runtime.
    pub fn over_http(base_url: &str, token: Option<String>, config: PublisherConfig) -> Result<Self, HttpTargetError> {
        let sink = Sink::Http(HttpSink::new(base_url, token)?);
        Ok(Self::new(sink, HTTP_BATCHES_AT_ONCE, config))
    }

    fn new(sink: Sink, batches_at_once: usize, config: PublisherConfig) -> Self {
        let lane = LaneConfig {
            batch_events: config.batch_events.max(1),
            batch_bytes: config.batch_bytes,
            retry_age: config.retry_age,
            pause_min: config.pause_min,
            pause_max: config.pause_max,
            batches_at_once,
        };
        meters::begin_publisher(config.buffer_bytes);
        let ledger = Arc::new(Ledger::new());
        let lanes = Lanes::new(sink, lane, Handle::current());
        let space = Arc::new(Semaphore::new(config.buffer_bytes.clamp(1, Semaphore::MAX_PERMITS)));
        Self(Arc::new(Shared { config, lanes, space, ledger, closed: AtomicBool::new(false) }))
    }

    /// Checks an event and puts it into the retry buffer. Refused with [`PublishError::Full`] when that is full.
    ///
    /// Events of one room are stored in the order of these calls. The answer may be awaited or dropped; what cannot
    /// be stored shows in the log, the metrics and [`Publisher::losses`] as well.
    pub fn enqueue(&self, draft: EventDraft) -> Result<Pending, PublishError> {
        let (event, rooms) = self.check(&draft)?;
        let space = self.0.space.clone().try_acquire_many_owned(self.share(&event)).map_err(|error| match error {
            TryAcquireError::Closed => PublishError::Closed,
            TryAcquireError::NoPermits => {
                self.0.ledger.lost(&event.kind, &PublishError::Full);
                PublishError::Full
            }
        })?;
        Ok(self.admit(event, rooms, space))
    }

    /// The same, but waits while the buffer is full.
    pub async fn enqueue_wait(&self, draft: EventDraft) -> Result<Pending, PublishError> {
        let (event, rooms) = self.check(&draft)?;
        let space = self.0.space.clone().acquire_many_owned(self.share(&event)).await.map_err(|_| PublishError::Closed)?;
        Ok(self.admit(event, rooms, space))
    }

    /// Enqueues and waits until the event is stored in every room it reaches.
    pub async fn publish(&self, draft: EventDraft) -> Result<Stored, PublishError> {
        self.enqueue(draft)?.await
    }

    /// A handle that writes the events of one execution.
    #[must_use]
    pub fn run(&self, execution_id: impl Into<String>) -> Run {
        Run::new(self.clone(), execution_id.into())
    }

    /// What could not be kept so far, and a watch on it.
    #[must_use]
    pub fn losses(&self) -> watch::Receiver<Losses> {
        self.0.ledger.losses()
    }

    /// Events that are not yet stored in all of their rooms.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.0.ledger.pending()
    }

    /// Waits until nothing is under way: all events stored (or given up), all heads moved that were due.
    pub async fn flush(&self, timeout: Duration) -> Result<(), Unfinished> {
        let begun = Instant::now();
        let _ = tokio::time::timeout(timeout, self.0.ledger.idle()).await;
        let heads = match self.0.lanes.sink().heads() {
            Some(heads) => heads.settle(timeout.saturating_sub(begun.elapsed())).await,
            None => 0,
        };
        match self.pending() {
            0 if heads == 0 => Ok(()),
            events => Err(Unfinished { events, heads }),
        }
    }

    /// Takes no more events and flushes; by the retry age each event is stored or given up.
    pub async fn close(&self) -> Result<(), Unfinished> {
        self.close_within(self.0.config.retry_age).await
    }

    /// Takes no more events and flushes; what is not stored within `timeout` is given up, told and counted.
    pub async fn close_within(&self, timeout: Duration) -> Result<(), Unfinished> {
        self.0.closed.store(true, Ordering::Release);
        self.0.space.close();
        let flushed = self.flush(timeout).await;
        self.0.lanes.end();
        flushed
    }

    fn check(&self, draft: &EventDraft) -> Result<(Prepared, Vec<Room>), PublishError> {
        if self.0.closed.load(Ordering::Acquire) {
            return Err(PublishError::Closed);
        }
        let event = complete(draft.prepare(&self.0.config.limits)?);
        let limit = self.0.config.limits.event_bytes_max;
        if event.body.len() > limit {
            return Err(PublishError::TooLarge(format!("{} bytes with id and timestamp, at most {limit}", event.body.len())));
        }
        let rooms = event.rooms(self.0.config.tenant.as_deref())?;
        Ok((event, rooms))
    }

    /// What an event takes in the buffer; never more than the whole, so that a small buffer still passes one event.
    fn share(&self, event: &Prepared) -> u32 {
        let whole = self.0.config.buffer_bytes.max(1);
        u32::try_from((event.body.len() + OVERHEAD_BYTES).min(whole)).unwrap_or(u32::MAX)
    }

    fn admit(&self, event: Prepared, rooms: Vec<Room>, space: OwnedSemaphorePermit) -> Pending {
        let lanes = self.0.lanes.sink().lanes(rooms.len());
        let (item, pending) = Item::new(event, rooms, lanes, self.0.lanes.sink().system(), space, self.0.ledger.clone());
        self.0.lanes.push(item);
        pending
    }
}
