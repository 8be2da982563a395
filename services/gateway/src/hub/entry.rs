//! One event in a room's log: its published bytes, its place, and what has been made of it.

use super::{
    frames::{Frames, Weight},
    watched::Watched,
};
use std::{sync::Arc, time::Instant};
use weft_bus::{Delivery, First, heads};
use weft_dialect::{native, piece::Told};
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
    /// What has been made of it.
    pub(super) frames: Frames,
    /// What is noted of it on its way to its clients; of few.
    watched: Option<Box<Watched>>,
}

impl Entry {
    /// Validates what came from the bus: anything on a broker is input.
    pub fn new(delivery: &Delivery, limits: &Limits, weight: &Arc<Weight>) -> Result<Self, Invalid> {
        let event = prepare(delivery.payload.clone(), Some(&delivery.room), limits)?;
        let own = delivery.room.kind() == RoomKind::Execution;
        Ok(Self {
            event,
            at: delivery.position(),
            first: delivery.first.clone(),
            stored_ms: delivery.stored_ms,
            received: Instant::now(),
            foreign_room: (!own).then(|| delivery.room.clone()),
            frames: Frames::new(weight.clone()),
            watched: None,
        })
    }

    /// With what is noted of it.
    pub(super) fn watched(self, watched: Option<Box<Watched>>) -> Self {
        Self { watched, ..self }
    }

    /// Bytes this entry keeps in memory, frames not counted.
    pub fn bytes(&self) -> usize {
        self.event.body.len() + size_of::<Self>()
    }

    /// Gives back what its frames take; they are made again if somebody needs them.
    pub fn let_frames_go(&self) {
        self.frames.let_go();
        if let Some(watched) = &self.watched {
            watched.end();
        }
    }

    /// It was handed to a client.
    pub fn handed(&self) {
        if let Some(watched) = &self.watched {
            watched.handed(self.received);
        }
    }

    /// The delivery class of the event's type.
    pub fn class(&self) -> Class {
        self.event.kind().class()
    }

    /// Adds the native JSON message up to its offset.
    pub(super) fn add_native_body(&self, to: &mut Vec<u8>) {
        let (id, time) = self.implied();
        native::add_event_body(to, &self.event, self.foreign_room.as_ref(), id.as_deref(), time.as_deref(), None);
    }

    /// The native JSON message up to its offset, where another event stands for this one and for `skipped` before it.
    pub fn native_body_of(&self, event: &Prepared, skipped: Option<u64>) -> Vec<u8> {
        let (id, time) = self.implied();
        native::event_body(event, self.foreign_room.as_ref(), id.as_deref(), time.as_deref(), skipped)
    }

    /// The event as the other dialects read it.
    pub(super) fn told<R>(&self, tell: impl FnOnce(Told<'_>) -> R) -> R {
        let (id, time) = self.implied();
        tell(Told { event: &self.event, implied_id: id.as_deref(), implied_timestamp: time.as_deref() })
    }

    /// What stands in where it brought no id and no time of its own.
    fn implied(&self) -> (Option<String>, Option<String>) {
        let id = if self.event.id.is_none() { self.at.map(|at| at.to_string()) } else { None };
        let time = if self.event.has_timestamp { None } else { self.stored_ms.and_then(heads::rfc3339) };
        (id, time)
    }
}
