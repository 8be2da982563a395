//! What crosses the boundary between the bus and the rest of a process.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::sync::oneshot;
use weft_event::{Epoch, Offset, Position, Room};

/// How long an announcement of a process lives unless renewed.
pub const PRESENCE_LIFETIME: Duration = Duration::from_secs(30);

/// Where an event that reaches several rooms was stored first; carried by its copies in the further rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// The event's `execution:` (or `kb:`) room.
    pub room: Room,
    /// Where it stands there.
    pub epoch: Epoch,
    /// Where it stands there.
    pub seq: u64,
}

impl First {
    /// The broker's header or field text: `<room> <epoch hex> <seq>`.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{} {:x} {}", self.room.broker_name(), self.epoch.0, self.seq)
    }

    /// Reads the text back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let room = Room::parse_broker_name(words.next()?).ok()?;
        let epoch = Epoch(u64::from_str_radix(words.next()?, 16).ok()?);
        let seq = words.next()?.parse().ok()?;
        words.next().is_none().then_some(Self { room, epoch, seq })
    }
}

/// One event for one room.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Where to.
    pub room: Room,
    /// The event, already validated: one JSON object on one line.
    pub payload: Bytes,
    /// The event's id; the same id in the same room within the deduplication window (120 s) is stored once.
    pub id: Option<String>,
    /// Set on copies.
    pub first: Option<First>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// The broker's answer to a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Where the event was stored; `None` in the fire-and-forget modes.
    pub position: Option<Position>,
    /// It was there already, by its id. `position` is then that of the first time (its `check` may be unknown, 0).
    pub duplicate: bool,
}

/// Where a delivered event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Fire and forget: no position, no history.
    Volatile,
    /// Stored at `at`; `prev` is the `seq` of the event before it in the same room, 0 for the first or where the
    /// previous one has expired. In pages `prev` is the event before it in the page, or the anchor.
    Stored {
        /// Its position.
        at: Position,
        /// The previous event's `seq`.
        prev: u64,
    },
}

/// An event as the bus hands it over, not yet validated: anything on a broker is input.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The room it came by.
    pub room: Room,
    /// Where it stands there.
    pub stamp: Stamp,
    /// The published bytes.
    pub payload: Bytes,
    /// Where the event was stored first, if this is a copy.
    pub first: Option<First>,
    /// When the broker stored it, in Unix milliseconds, where known.
    pub stored_ms: Option<u64>,
    /// W3C trace context from the broker message.
    pub traceparent: Option<String>,
}

impl Delivery {
    /// The position, in durable modes.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self.stamp {
            Stamp::Stored { at, .. } => Some(at),
            Stamp::Volatile => None,
        }
    }
}

/// Receives live events and signals, on the driver's reader task: implementations return at once.
pub trait Inlet: Send + Sync {
    /// A live event of a followed room.
    fn event(&self, delivery: Delivery);
    /// Something happened to the live path.
    fn signal(&self, signal: Signal);
}

/// What happened to the live path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The broker is away.
    Lost,
    /// The live path may have lost events and works again: all followed rooms are subscribed and confirmed, and
    /// must now be reconciled. Sent after a reconnect, a failover, a resubscription, or a failed canary.
    Restored,
    /// Live events of this room were dropped in the driver.
    Lagged(Room),
}

/// Where a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest event held.
    Start,
    /// After this event, which is verified to be unchanged.
    After(Position),
}

/// How much one read may answer; at least one event is answered where there is one.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    /// Most events.
    pub events: usize,
    /// Most payload bytes, passed by at most one event.
    pub bytes: usize,
}

/// What became of the event that a read began after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Still there and the same (or known to be the last thing before the page): nothing is missing.
    Held,
    /// Taken by retention; the page begins with the oldest event held after it. Some may be missing between.
    Trimmed,
    /// Another epoch, another event under the same number, or a number not reached yet: the history was lost or
    /// rewound. The page is empty.
    Changed,
}

/// Stored events, in order.
#[derive(Clone, Debug)]
pub struct Page {
    /// The room's epoch as of the read.
    pub epoch: Epoch,
    /// What became of the anchor; `Held` for [`ReadFrom::Start`].
    pub anchor: Anchor,
    /// The events; each has [`Stamp::Stored`].
    pub events: Vec<Delivery>,
    /// Whether more follow.
    pub more: bool,
}

/// Where a room ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The last event. In a room that holds none its `check` is 0 and its `seq` is the highest number that the
    /// room's next event is sure to exceed.
    pub at: Position,
    /// The oldest event held, where the broker tells.
    pub first_seq: Option<u64>,
}

/// A version of a stored record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision(pub u64);

/// What must be true of a record for it to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is none.
    Absent,
    /// It is this version.
    At(Revision),
}

/// A list of heads, newest first by creation.
#[derive(Clone, Debug, Default)]
pub struct HeadQuery {
    /// Of this tenant; `None` is the tenantless space.
    pub tenant: Option<String>,
    /// Owned by this user; `None` lists all of the tenant.
    pub owner: Option<String>,
    /// Only those that stand after this one in the list, as (`created_ms`, execution id).
    pub after: Option<(u64, String)>,
    /// At most this many.
    pub limit: usize,
}

/// The record of who owns a knowledge base.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Owner {
    pub(crate) owner: Option<String>,
}

impl Owner {
    pub(crate) fn new(owner: Option<&str>) -> Self {
        Self { owner: owner.map(str::to_owned) }
    }

    pub(crate) fn to_json(&self) -> bytes::Bytes {
        serde_json::json!({"owner": self.owner}).to_string().into()
    }

    pub(crate) fn from_json(record: &[u8]) -> Result<Self, BusError> {
        serde_json::from_slice(record).map_err(|error| BusError::Refused(format!("a stored owner: {error}")))
    }
}

/// Which processes announce themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Gateways, for the fleet list.
    Gateway,
    /// Executors, with the workflows they run.
    Executor,
}

impl Presence {
    /// The word in broker names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Executor => "executor",
        }
    }
}

/// Small values under a name, each written whole, kept for [`BusConfig::record_age`](crate::BusConfig::record_age).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// What a session followed, so that any gateway can go on with it.
    Recovery,
}

impl Record {
    /// The word in broker names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
        }
    }
}

/// Lines that every process reads in the order they were written, kept for
/// [`BusConfig::journal_age`](crate::BusConfig::journal_age). Not for events: it is small, and read from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Journal {
    /// Who may no longer come in.
    Revocations,
}

impl Journal {
    /// The word in broker names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Revocations => "revocations",
        }
    }
}

/// How far a journal has been read. The default is its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Which journal this was: another number means that it was lost and begun again.
    pub(crate) generation: u64,
    /// The last line read.
    pub(crate) line: (u64, u64),
}

/// What a journal got after a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// The lines, oldest first.
    pub lines: Vec<bytes::Bytes>,
    /// Where to read on.
    pub mark: Mark,
    /// Whether more follow at once.
    pub more: bool,
}

/// Whom a command is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Whoever runs this execution (an `execution:` room, with its tenant).
    Execution(Room),
    /// One executor process.
    Executor(String),
}

impl Address {
    /// The broker name, `[<tenant>/]execution:<id>` or `executor:<id>`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Execution(room) => room.broker_name().to_owned(),
            Self::Executor(id) => format!("executor:{id}"),
        }
    }
}

/// What a client asks an executor to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Names this command; the executor answers a repeat as it answered first.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `user_input:provide`, `cancel`, `execute`, …
    pub kind: String,
    /// The verified subject that asks, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What the kind needs.
    pub body: Box<RawValue>,
}

/// An executor's answer. In JSON `{"outcome":"accepted","body":…}` or `{"outcome":"rejected","code":…,"message":…}`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Reply {
    /// Done, or begun.
    Accepted {
        /// What the kind answers with.
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<Box<RawValue>>,
    },
    /// Not done.
    Rejected {
        /// A short stable word.
        code: String,
        /// Why, for people.
        message: String,
    },
}

// By hand, because serde buffers a tagged enum before it knows the variant, and a raw value cannot be buffered.
impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        enum Outcome {
            Accepted,
            Rejected,
        }
        #[derive(Deserialize)]
        struct Flat {
            outcome: Outcome,
            #[serde(default)]
            body: Option<Box<RawValue>>,
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let Flat { outcome, body, code, message } = Flat::deserialize(deserializer)?;
        Ok(match outcome {
            Outcome::Accepted => Self::Accepted { body },
            Outcome::Rejected => Self::Rejected { code, message },
        })
    }
}

/// A command that arrived, and the way to answer it. Dropping it unanswered leaves the sender to its timeout.
#[derive(Debug)]
pub struct Incoming {
    /// What is asked.
    pub command: Command,
    /// Whom it was addressed to.
    pub address: Address,
    /// Takes the one answer.
    pub reply: oneshot::Sender<Reply>,
}

/// Keeps an address served; dropping it ends that.
pub struct Serving {
    /// Undoes the registration.
    pub(crate) undo: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take() {
            undo();
        }
    }
}

/// The state of the connection to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Connected.
    Up,
    /// Away; events wait, connections stay.
    Down,
}

/// Why a bus operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The broker cannot be reached, or did not answer in time. Worth a retry.
    #[error("the broker is away: {0}")]
    Unavailable(String),
    /// This mode has no such thing: history or heads in a fire-and-forget mode.
    #[error("this bus mode stores nothing")]
    NotDurable,
    /// The broker refused, for rights or configuration. A retry changes nothing.
    #[error("the broker refused: {0}")]
    Refused(String),
}

/// Why a publication was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Not known to be stored; repeat it with the same id.
    #[error("not acknowledged: {0}")]
    Unavailable(String),
    /// The broker has no room left (stream limit, memory). Worth a later retry.
    #[error("the broker is full: {0}")]
    Full(String),
    /// Larger than the broker takes.
    #[error("too large for the broker: {0}")]
    TooLarge(String),
    /// The broker refused, for rights or configuration.
    #[error("the broker refused: {0}")]
    Refused(String),
    /// An earlier publication of the same room in the same batch failed.
    #[error("an earlier event of the room was not stored")]
    AfterFailure,
}

impl PublishError {
    /// Whether the same publication may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::AfterFailure)
    }
}

/// Why a record was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote it; load it again.
    #[error("the record has changed")]
    Conflict,
    /// The broker failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Why a command got no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Nobody serves the address.
    #[error("nobody runs it")]
    NoExecutor,
    /// No reply in time; whether it was done is unknown, repeat it with the same `ref`.
    #[error("no reply in time")]
    Timeout,
    /// The executor takes no more commands at the moment.
    #[error("the executor is busy")]
    Busy,
    /// The broker failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Why the bus could not be connected: one sentence for the operator.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The broker cannot be reached. It may come: worth another try.
    #[error("{0}")]
    Away(String),
    /// The settings, the rights or the broker are wrong. Another try changes nothing.
    #[error("{0}")]
    Refused(String),
}

impl ConnectError {
    /// A reason that another try does not change.
    pub fn new(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}

impl Page {
    /// The position of the last event, if any.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.events.last().and_then(Delivery::position)
    }
}

impl Tail {
    /// The tail as an offset that a client may resume from.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.at.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_survive_the_wire_byte_for_byte() {
        for text in [
            r#"{"outcome":"accepted","body":{"n":1.00,"a":[ 1 ]}}"#,
            r#"{"outcome":"accepted"}"#,
            r#"{"outcome":"rejected","code":"no","message":"never"}"#,
        ] {
            let reply: Reply = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&reply).expect("json"), text);
        }
        assert!(serde_json::from_str::<Reply>(r#"{"body":1}"#).is_err());
    }

    #[test]
    fn where_a_copy_was_stored_first_survives_the_wire() {
        let first = First { room: Room::parse("execution:e").expect("room"), epoch: Epoch(0xab), seq: 9 };
        assert_eq!(First::parse(&first.to_text()), Some(first));
        for text in ["", "execution:e ab", "execution:e xy 9", "execution:e ab 9 1", "nothing ab 9"] {
            assert_eq!(First::parse(text), None, "{text}");
        }
    }
}
