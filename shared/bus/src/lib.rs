//! Carries events, execution heads, presence and commands between processes. The only crate that names a broker.
//!
//! One semantics over five modes ([`Mode`]): in-process memory, NATS JetStream, NATS core, Redis Streams, Redis
//! pub/sub. A followed room's live events are pushed into the process's one [`Inlet`]; the stored history is read
//! in pages. **The stored log is the truth, the live path a hint**: every live path loses events without saying
//! so, which is why each stored event carries the previous event's `seq` and why tails are checked again.
//!
//! Reading order: [`types`] (what crosses the boundary), [`config`], the [`Bus`] below, [`heads`] (keeping the
//! durable record of an execution, the same on every broker), then one driver a file or folder: `memory`,
//! `nats`, `redis`.

mod canary;
mod check;
pub mod config;
mod endpoint;
pub mod heads;
mod memory;
mod meters;
mod nats;
mod outcome;
mod redis;
#[cfg(feature = "settings")]
mod settings;
mod tls;
pub mod types;

pub use config::{BusConfig, ConfigError, Mode, RedisTopology, Retention};
#[cfg(feature = "settings")]
pub use settings::BusSettings;
use types::Owner;
pub use types::*;

use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use weft_event::{Epoch, Head, Position, Room};

/// A connection to the bus; cheap to clone, shared by the whole process.
#[derive(Clone)]
pub struct Bus(Arc<Driver>);

enum Driver {
    Memory(memory::MemoryBus),
    Nats(nats::NatsBus),
    Redis(redis::RedisBus),
}

/// The first pause before another try to connect; each further one is twice as long …
const CONNECT_PAUSE_MIN: Duration = Duration::from_millis(250);
/// … up to this.
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs one expression against whichever driver there is.
macro_rules! with_driver {
    ($bus:expr, $driver:ident => $body:expr) => {
        match &*$bus.0 {
            Driver::Memory($driver) => $body,
            Driver::Nats($driver) => $body,
            Driver::Redis($driver) => $body,
        }
    };
}

/// The same for what thousands may wait for at once: apart from the caller's future, which then is small while the caller
/// waits for something else. A driver's own is some KiB.
macro_rules! with_driver_apart {
    ($bus:expr, $driver:ident => $call:expr) => {
        with_driver!($bus, $driver => Box::pin($call).await)
    };
}

impl Bus {
    /// Connects, creates or checks what the broker needs (streams, scripts), and reports clearly what is missing.
    pub async fn connect(config: BusConfig) -> Result<Self, ConnectError> {
        let driver = match config.mode() {
            Mode::Memory => Driver::Memory(memory::MemoryBus::new(&config)),
            Mode::RedisStreams | Mode::RedisPubSub => Driver::Redis(redis::RedisBus::connect(&config).await?),
            Mode::JetStream | Mode::NatsCore => Driver::Nats(nats::NatsBus::connect(&config).await?),
        };
        Ok(Self(Arc::new(driver)))
    }

    /// [`Bus::connect`], which waits for a broker that is not there yet: processes of a cluster start in any order.
    ///
    /// # Errors
    /// What no waiting mends: settings, rights, a broker that cannot do what is needed.
    pub async fn connect_patiently(config: BusConfig) -> Result<Self, ConnectError> {
        let mut pause = CONNECT_PAUSE_MIN;
        loop {
            match Self::connect(config.clone()).await {
                Err(ConnectError::Away(reason)) => {
                    tracing::warn!(%reason, pause_ms = pause.as_millis() as u64, "the broker is away; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(CONNECT_PAUSE_MAX);
                }
                other => return other,
            }
        }
    }

    /// What this bus can do.
    #[must_use]
    pub fn mode(&self) -> Mode {
        with_driver!(self, driver => driver.mode())
    }

    /// Whether events are stored: offsets, history, heads. False for NATS core and Redis pub/sub.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.mode().is_durable()
    }

    /// Where live events and signals go from now on. One inlet a process; the last one attached wins.
    pub fn attach(&self, inlet: Arc<dyn Inlet>) {
        with_driver!(self, driver => driver.attach(inlet));
    }

    /// Follows rooms: when this returns `Ok`, the broker has confirmed that every later event will be pushed.
    pub async fn follow(&self, rooms: &[Room]) -> Result<(), BusError> {
        with_driver!(self, driver => driver.follow(rooms).await)
    }

    /// Stops following; events may still arrive for a moment.
    pub fn unfollow(&self, room: &Room) {
        with_driver!(self, driver => driver.unfollow(room));
    }

    /// Reads stored events in order, verifying that the event at `from` is still the one the caller knows.
    pub async fn read(&self, room: &Room, from: ReadFrom, limit: PageLimit) -> Result<Page, BusError> {
        with_driver_apart!(self, driver => driver.read(room, from, limit))
    }

    /// Where rooms end, in the order asked. Read from the primary or leader, never from a stale replica.
    pub async fn tails(&self, rooms: &[Room]) -> Result<Vec<Tail>, BusError> {
        with_driver_apart!(self, driver => driver.tails(rooms))
    }

    /// Declares that a room's history was lost or rewound: replaces epoch `old` by a new one, unless somebody else
    /// already has. Answers the epoch in force.
    pub async fn renew_epoch(&self, room: &Room, old: Epoch) -> Result<Epoch, BusError> {
        with_driver!(self, driver => driver.renew_epoch(room, old).await)
    }

    /// Publishes to one room. `Ok` means stored (durable modes) or sent (the others).
    pub async fn publish(&self, publication: Publication) -> Result<Ack, PublishError> {
        with_driver!(self, driver => driver.publish(publication).await)
    }

    /// Publishes many, keeping the order within each room; one result for each, in order.
    ///
    /// After a failure in a room the rest of that room's publications fail too, so that a retry keeps the order.
    pub async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Result<Ack, PublishError>> {
        with_driver!(self, driver => driver.publish_batch(publications).await)
    }

    /// Loads the head of the execution of `room` (an `execution:` room).
    pub async fn load_head(&self, room: &Room) -> Result<Option<(Head, Revision)>, BusError> {
        with_driver_apart!(self, driver => driver.load_head(room))
    }

    /// Stores a head if nobody changed it since `expect`.
    pub async fn store_head(&self, head: &Head, expect: Expect) -> Result<Revision, StoreError> {
        with_driver!(self, driver => driver.store_head(head, expect).await)
    }

    /// Lists heads, newest first.
    pub async fn list_heads(&self, query: &HeadQuery) -> Result<Vec<Head>, BusError> {
        with_driver_apart!(self, driver => driver.list_heads(query))
    }

    /// The owner of a knowledge base (a `kb:` room): `owner`, unless somebody has claimed it before, with or without an
    /// owner. Never changes; forgotten when nobody has claimed it for the age of heads.
    pub async fn claim(&self, room: &Room, owner: Option<&str>) -> Result<Option<String>, BusError> {
        with_driver!(self, driver => driver.claim(room, &Owner::new(owner)).await).map(|found| found.owner)
    }

    /// The owner of a knowledge base, if it has been claimed; the inner `None` means that it was, without an owner.
    pub async fn owner(&self, room: &Room) -> Result<Option<Option<String>>, BusError> {
        with_driver_apart!(self, driver => driver.owner(room)).map(|found| found.map(|found| found.owner))
    }

    /// Announces a process of this kind for [`PRESENCE_LIFETIME`]; renew at a third of that.
    pub async fn announce(&self, kind: Presence, id: &str, value: bytes::Bytes) -> Result<(), BusError> {
        with_driver!(self, driver => driver.announce(kind, id, value).await)
    }

    /// Takes an announcement back.
    pub async fn withdraw(&self, kind: Presence, id: &str) -> Result<(), BusError> {
        with_driver!(self, driver => driver.withdraw(kind, id).await)
    }

    /// All live announcements of a kind, as (id, value).
    pub async fn present(&self, kind: Presence) -> Result<Vec<(String, bytes::Bytes)>, BusError> {
        with_driver!(self, driver => driver.present(kind).await)
    }

    /// Writes a record, whatever was there before. `Ok` means stored.
    pub async fn put_record(&self, kind: Record, id: &str, value: bytes::Bytes) -> Result<(), BusError> {
        with_driver_apart!(self, driver => driver.put_record(kind, id, value))
    }

    /// Reads a record, unless it has expired or was removed.
    pub async fn record(&self, kind: Record, id: &str) -> Result<Option<bytes::Bytes>, BusError> {
        with_driver_apart!(self, driver => driver.record(kind, id))
    }

    /// Removes a record; one that is not there is no error.
    pub async fn remove_record(&self, kind: Record, id: &str) -> Result<(), BusError> {
        with_driver_apart!(self, driver => driver.remove_record(kind, id))
    }

    /// Adds a line to a journal. `Ok` means stored; [`PublishError::Full`] that it holds
    /// [`BusConfig::journal_lines`].
    pub async fn write_line(&self, journal: Journal, line: bytes::Bytes) -> Result<(), PublishError> {
        with_driver!(self, driver => driver.write_line(journal, line).await)
    }

    /// The lines after a mark, up to `limit`. A journal that was lost and begun again is read from its start.
    pub async fn lines(&self, journal: Journal, after: Mark, limit: usize) -> Result<Lines, BusError> {
        with_driver!(self, driver => driver.lines(journal, after, limit.max(1)).await)
    }

    /// Takes commands for `address` until the answer is dropped. Commands go into `inbox`; when it is full the
    /// sender is told [`RequestError::Busy`].
    pub async fn serve(&self, address: &Address, inbox: mpsc::Sender<Incoming>) -> Result<Serving, BusError> {
        with_driver!(self, driver => driver.serve(address, inbox).await)
    }

    /// Sends a command to whoever serves `address` and waits for its one reply.
    pub async fn request(&self, address: &Address, command: Command, timeout: Duration) -> Result<Reply, RequestError> {
        with_driver_apart!(self, driver => driver.request(address, command, timeout))
    }

    /// The state of the connection, with changes.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        with_driver!(self, driver => driver.health())
    }

    /// The time of a round trip through the broker.
    pub async fn probe(&self) -> Result<Duration, BusError> {
        with_driver!(self, driver => driver.probe().await)
    }

    /// Flushes what is under way and disconnects.
    pub async fn close(&self) {
        with_driver!(self, driver => driver.close().await);
    }
}
