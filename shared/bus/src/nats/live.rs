//! The live path: one subscription on the wire for each followed room.

use super::{
    Link,
    wire::{Ears, Headers, Message, To},
};
use crate::{BusError, Delivery, Inlet, Signal, Stamp, canary::Canary, meters};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use std::sync::{Arc, atomic::Ordering};
use weft_event::{Position, Room, fingerprint};

pub(super) struct Live {
    pub(super) link: Arc<Link>,
    pub(super) canary: Canary,
    inlet: RwLock<Option<Arc<dyn Inlet>>>,
    rooms: Mutex<FxHashMap<Room, Followed>>,
}

struct Followed {
    /// The subscription's number on the wire.
    sid: u64,
    /// Calls of `follow` that wait for confirmation.
    waiting: u32,
    confirmed: bool,
}

impl Live {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, canary: Canary::default(), inlet: RwLock::default(), rooms: Mutex::default() }
    }

    pub(super) fn attach(&self, inlet: Arc<dyn Inlet>) {
        *self.inlet.write() = Some(inlet);
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(inlet) = &*self.inlet.read() {
            inlet.signal(signal);
        }
    }

    /// Hears the canary from now on.
    pub(super) fn keep_canary(&self) {
        self.link.live.subscribe(self.link.names.canary(&self.link.process), To::Canary);
    }

    pub(super) async fn follow(&self, rooms: &[Room]) -> Result<(), BusError> {
        if rooms.is_empty() {
            return Ok(());
        }
        self.link.require_up()?;
        let mut enrolled = Enrolled { live: self, rooms: Vec::with_capacity(rooms.len()), confirmed: false };
        for room in rooms {
            self.join(room);
            enrolled.rooms.push(room.clone());
        }
        self.link.live.barrier().await.map_err(BusError::Unavailable)?;
        self.link.check_refusals(rooms.iter().map(|room| self.link.live_subject(room)))?;
        enrolled.confirmed = true;
        Ok(())
    }

    /// Waits for a subscription, made if there is none.
    fn join(&self, room: &Room) {
        let mut followed = self.rooms.lock();
        match followed.get_mut(room) {
            Some(followed) => followed.waiting += 1,
            None => {
                let sid = self.link.live.subscribe(self.link.live_subject(room), To::Room(room.clone()));
                followed.insert(room.clone(), Followed { sid, waiting: 1, confirmed: false });
            }
        }
    }

    pub(super) fn unfollow(&self, room: &Room) {
        if let Some(followed) = self.rooms.lock().remove(room) {
            self.link.live.unsubscribe(followed.sid);
        }
    }

    pub(super) fn unfollow_all(&self) {
        for (_, followed) in self.rooms.lock().drain() {
            self.link.live.unsubscribe(followed.sid);
        }
    }
}

impl Ears for Live {
    fn hear(&self, to: &To, message: &Message) {
        let room = match to {
            To::Canary => return self.canary.heard(&message.payload),
            To::Room(room) => room,
        };
        match decode(&self.link, room, message) {
            Some(delivery) => {
                if let Some(inlet) = &*self.inlet.read() {
                    inlet.event(delivery);
                }
            }
            None => meters::dropped("foreign", 1),
        }
    }
}

/// Rooms that one call of `follow` waits for; those that nobody got confirmed are left again.
struct Enrolled<'a> {
    live: &'a Live,
    rooms: Vec<Room>,
    confirmed: bool,
}

impl Drop for Enrolled<'_> {
    fn drop(&mut self) {
        let mut followed = self.live.rooms.lock();
        for room in &self.rooms {
            let Some(entry) = followed.get_mut(room) else { continue };
            entry.waiting = entry.waiting.saturating_sub(1);
            entry.confirmed |= self.confirmed;
            if entry.waiting == 0 && !entry.confirmed {
                self.live.link.live.unsubscribe(entry.sid);
                followed.remove(room);
            }
        }
    }
}

/// What arrived for a room. `None` is something that did not come from the events stream.
fn decode(link: &Link, room: &Room, message: &Message) -> Option<Delivery> {
    let headers = Headers::of(message);
    if !link.mode.is_durable() {
        return Some(headers.delivery(room.clone(), Stamp::Volatile, message));
    }
    if headers.stream != Some(link.events_stream.as_str()) {
        return None;
    }
    let (seq, prev) = (headers.seq?, headers.prev?);
    link.highest.fetch_max(seq, Ordering::Relaxed);
    let at = Position { epoch: link.epoch(), seq, check: fingerprint(&message.payload) };
    Some(headers.delivery(room.clone(), Stamp::Stored { at, prev }, message))
}
