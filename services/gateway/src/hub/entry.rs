//! One event in a room's log: its published bytes and the frames made of it, each made once for everybody.

use bytes::Bytes;
use std::{sync::OnceLock, time::Instant};
use weft_bus::{Delivery, First, heads};
use weft_dialect::native;
use weft_event::{Class, Invalid, Limits, Position, Prepared, Room, RoomKind, prepare};

/// An event as a room's readers see it.
pub struct Entry {
    /// The event.
    pub event: Prepared,
    /// Where it stands in this room; `None` in fire-and-forget modes.
    pub at: Option<Position>,
    /// Where it was stored first, if this is a copy.
    pub first: Option<First>,
    /// When the broker stored it, in Unix milliseconds.
    pub stored_ms: Option<u64>,
    /// When this process received it.
    pub received: Instant,
    /// Whether the room is not the event's own execution's, so that frames must name it.
    foreign_room: Option<Room>,
    /// Everything of the native JSON frame but its offset and closing brace.
    json_body: OnceLock<Bytes>,
    /// The native JSON frame for sessions whose offsets need no `since`.
    json: OnceLock<Bytes>,
    /// The same in MessagePack; `None` inside if it cannot be told in MessagePack.
    msgpack: OnceLock<Option<Bytes>>,
}

impl Entry {
    /// Validates what came from the bus: anything on a broker is input.
    pub fn new(delivery: &Delivery, limits: &Limits) -> Result<Self, Invalid> {
        let event = prepare(delivery.payload.clone(), Some(&delivery.room), limits)?;
        let own = delivery.room.kind() == RoomKind::Execution;
        Ok(Self {
            event,
            at: delivery.position(),
            first: delivery.first.clone(),
            stored_ms: delivery.stored_ms,
            received: Instant::now(),
            foreign_room: (!own).then(|| delivery.room.clone()),
            json_body: OnceLock::new(),
            json: OnceLock::new(),
            msgpack: OnceLock::new(),
        })
    }

    /// Bytes this entry keeps in memory, frames not counted.
    pub fn bytes(&self) -> usize {
        self.event.body.len() + size_of::<Self>()
    }

    /// The delivery class of the event's type.
    pub fn class(&self) -> Class {
        self.event.kind().class()
    }

    /// The native JSON frame up to its offset.
    pub fn json_body(&self) -> &Bytes {
        self.json_body.get_or_init(|| {
            let implied_id = if self.event.id.is_none() { self.at.map(|at| at.to_string()) } else { None };
            let implied_time = if self.event.has_timestamp { None } else { self.stored_ms.and_then(heads::rfc3339) };
            native::event_body(&self.event, self.foreign_room.as_ref(), implied_id.as_deref(), implied_time.as_deref(), None)
                .into()
        })
    }

    /// The whole native JSON frame with a plain offset, shared by all sessions.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| {
            let mut frame = self.json_body().to_vec();
            frame.extend_from_slice(native::event_tail(self.at.map(Into::into).as_ref()).as_ref());
            frame.into()
        })
    }

    /// The whole native MessagePack frame with a plain offset, shared by all sessions.
    pub fn msgpack(&self) -> Option<&Bytes> {
        self.msgpack.get_or_init(|| native::event_frame_msgpack(self.json()).ok().map(Bytes::from)).as_ref()
    }
}
