//! One room: its retained events, and the ids seen within the deduplication window. And what all rooms may hold.

use crate::{Anchor, Delivery, ReadFrom, Retention};
use metrics::gauge;
use rustc_hash::FxHashMap;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use weft_event::{Epoch, Position, Room};

/// What an event costs beside its payload, about.
const EVENT_BYTES: u64 = 256;

pub(super) struct History {
    pub(super) epoch: Epoch,
    /// The last sequence given.
    pub(super) seq: u64,
    pub(super) last: Position,
    bytes: u64,
    pub(super) events: VecDeque<Held>,
    pub(super) ids: FxHashMap<String, Position>,
    ids_by_age: VecDeque<(Instant, String)>,
}

/// A retained event.
pub(super) struct Held {
    pub(super) delivery: Delivery,
    at: Instant,
    /// Its place among all events of the process.
    number: u64,
}

impl History {
    pub(super) fn new() -> Self {
        let epoch = Epoch(rand::random());
        Self {
            epoch,
            seq: 0,
            last: Position::start(epoch),
            bytes: 0,
            events: VecDeque::new(),
            ids: FxHashMap::default(),
            ids_by_age: VecDeque::new(),
        }
    }

    /// Gives the next event its place, and holds it.
    pub(super) fn push(&mut self, delivery: Delivery, now: Instant, budget: &mut Budget) {
        let number = budget.take(&delivery);
        self.bytes += delivery.payload.len() as u64;
        self.events.push_back(Held { delivery, at: now, number });
    }

    fn forget_oldest(&mut self, budget: &mut Budget) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.delivery.payload.len() as u64;
            budget.give_back(&oldest.delivery);
        }
    }

    /// Forgets everything: another history begins.
    pub(super) fn renew(&mut self, budget: &mut Budget) {
        while !self.events.is_empty() {
            self.forget_oldest(budget);
        }
        *self = Self::new();
    }

    /// Whether there is nothing that must be remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.ids.is_empty()
    }

    pub(super) fn remember(&mut self, id: String, at: Position, now: Instant) {
        self.ids.insert(id.clone(), at);
        self.ids_by_age.push_back((now, id));
    }

    pub(super) fn expire(&mut self, now: Instant, retention: &Retention, dedup_window: Duration, budget: &mut Budget) {
        while let Some(oldest) = self.events.front() {
            let over_bytes = retention.bytes > 0 && self.bytes > retention.bytes && self.events.len() > 1;
            if self.events.len() <= retention.events && !over_bytes && now.duration_since(oldest.at) <= retention.age {
                break;
            }
            self.forget_oldest(budget);
        }
        while self.ids_by_age.front().is_some_and(|(at, _)| now.duration_since(*at) > dedup_window) {
            if let Some((_, id)) = self.ids_by_age.pop_front() {
                self.ids.remove(&id);
            }
        }
    }

    pub(super) fn first_seq(&self) -> Option<u64> {
        self.events.front().and_then(|oldest| oldest.delivery.position()).map(|at| at.seq)
    }

    /// Index of the first event after `from`, and what became of the anchor.
    pub(super) fn locate(&self, from: ReadFrom) -> (usize, Anchor) {
        let at = match from {
            ReadFrom::Start => return (0, Anchor::Held),
            ReadFrom::After(at) => at,
        };
        if at.epoch != self.epoch || at.seq > self.seq {
            return (self.events.len(), Anchor::Changed);
        }
        // Sequences are contiguous here, so an anchor right before the oldest event held proves itself.
        let oldest = self.first_seq().unwrap_or(self.seq + 1);
        if at.seq + 1 < oldest {
            return (0, Anchor::Trimmed);
        }
        let index = (at.seq + 1 - oldest) as usize;
        let known = if index == 0 {
            (at == self.last).then_some(at.check)
        } else {
            self.events[index - 1].delivery.position().map(|held| held.check)
        };
        match known {
            Some(check) if check != at.check => (self.events.len(), Anchor::Changed),
            _ => (index, Anchor::Held),
        }
    }
}

/// What all rooms together may hold. Beyond it the oldest event of the process is forgotten, whatever its room.
pub(super) struct Budget {
    bytes_max: u64,
    bytes: u64,
    held: usize,
    given: u64,
    /// Rooms in the order in which they got their events, those that are forgotten since among them.
    order: VecDeque<(u64, Room)>,
}

impl Budget {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, held: 0, given: 0, order: VecDeque::new() }
    }

    fn cost(delivery: &Delivery) -> u64 {
        delivery.payload.len() as u64 + EVENT_BYTES
    }

    fn take(&mut self, delivery: &Delivery) -> u64 {
        self.given += 1;
        self.held += 1;
        self.bytes += Self::cost(delivery);
        self.order.push_back((self.given, delivery.room.clone()));
        self.given
    }

    fn give_back(&mut self, delivery: &Delivery) {
        self.held -= 1;
        self.bytes -= Self::cost(delivery);
    }

    /// Forgets the oldest events until the rest is within the budget. The last event of all stays.
    pub(super) fn enforce(&mut self, rooms: &mut FxHashMap<Room, History>) {
        while self.bytes > self.bytes_max && self.held > 1 {
            let Some((number, room)) = self.order.pop_front() else { break };
            let history =
                rooms.get_mut(&room).filter(|history| history.events.front().is_some_and(|oldest| oldest.number == number));
            if let Some(history) = history {
                history.forget_oldest(self);
            }
        }
        // An event that expired before its turn leaves its place behind.
        if self.order.len() > 1024 + 2 * self.held {
            self.order.retain(|(number, room)| {
                let oldest = rooms.get(room).and_then(|history| history.events.front());
                oldest.is_some_and(|oldest| oldest.number <= *number)
            });
        }
        gauge!("weft_bus_memory_bytes").set(self.bytes as f64);
    }
}
