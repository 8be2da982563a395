//! Events on their way: published, delivered live, read from the history.

use bytes::Bytes;
use weft_event::{Epoch, Offset, Position, Room};

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
    fn where_a_copy_was_stored_first_survives_the_wire() {
        let first = First { room: Room::parse("execution:e").expect("room"), epoch: Epoch(0xab), seq: 9 };
        assert_eq!(First::parse(&first.to_text()), Some(first));
        for text in ["", "execution:e ab", "execution:e xy 9", "execution:e ab 9 1", "nothing ab 9"] {
            assert_eq!(First::parse(text), None, "{text}");
        }
    }
}
