//! The live path: one subscription and one small reader task for each followed room.

use super::{Link, message};
use crate::{BusError, Delivery, Inlet, Signal, Stamp, canary::Canary, meters};
use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use std::sync::{Arc, atomic::Ordering};
use tokio::task::AbortHandle;
use weft_event::{Position, Room, fingerprint};

pub(super) struct Live {
    pub(super) link: Arc<Link>,
    pub(super) canary: Canary,
    inlet: RwLock<Option<Arc<dyn Inlet>>>,
    rooms: Mutex<FxHashMap<Room, Followed>>,
    /// Keeps two calls from subscribing to one room twice.
    wire: tokio::sync::Mutex<()>,
}

struct Followed {
    /// Ends the subscription.
    reader: AbortHandle,
    /// Calls of `follow` that wait for confirmation.
    waiting: u32,
    confirmed: bool,
}

impl Live {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, canary: Canary::default(), inlet: RwLock::default(), rooms: Mutex::default(), wire: Default::default() }
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
    pub(super) async fn keep_canary(self: &Arc<Self>) -> Result<(), BusError> {
        let mut returns = self.subscribe(self.link.names.canary(&self.link.process)).await?;
        let live = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = live.link.cancel.cancelled() => return,
                    back = returns.next() => match back {
                        Some(back) => live.canary.heard(&back.payload),
                        None => return,
                    }
                }
            }
        });
        Ok(())
    }

    async fn subscribe(&self, subject: String) -> Result<Subscriber, BusError> {
        self.link.live.client.subscribe(subject).await.map_err(|error| BusError::Refused(error.to_string()))
    }

    pub(super) async fn follow(self: &Arc<Self>, rooms: &[Room]) -> Result<(), BusError> {
        if rooms.is_empty() {
            return Ok(());
        }
        self.link.require_up()?;
        let mut enrolled = Enrolled { live: self, rooms: Vec::with_capacity(rooms.len()), confirmed: false };
        let order = self.wire.lock().await;
        for room in rooms {
            if !self.join(room) {
                let messages = self.subscribe(self.link.live_subject(room)).await?;
                let reader = tokio::spawn(read_room(self.clone(), room.clone(), messages)).abort_handle();
                self.rooms.lock().insert(room.clone(), Followed { reader, waiting: 1, confirmed: false });
            }
            enrolled.rooms.push(room.clone());
        }
        drop(order);
        self.link.live.barrier(self.link.void()).await.map_err(BusError::Unavailable)?;
        self.link.refused_among(&enrolled.rooms).await?;
        enrolled.confirmed = true;
        Ok(())
    }

    /// Waits for a subscription that is there already; false if there is none.
    fn join(&self, room: &Room) -> bool {
        let mut followed = self.rooms.lock();
        let found = followed.get_mut(room);
        found.map(|followed| followed.waiting += 1).is_some()
    }

    pub(super) fn unfollow(&self, room: &Room) {
        if let Some(followed) = self.rooms.lock().remove(room) {
            followed.reader.abort();
        }
    }

    pub(super) fn unfollow_all(&self) {
        for (_, followed) in self.rooms.lock().drain() {
            followed.reader.abort();
        }
    }

    fn hand_over(&self, room: &Room, message: Message) {
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
                entry.reader.abort();
                followed.remove(room);
            }
        }
    }
}

/// Aborted when the room is unfollowed, which unsubscribes.
async fn read_room(live: Arc<Live>, room: Room, mut messages: Subscriber) {
    while let Some(message) = messages.next().await {
        live.hand_over(&room, message);
    }
}

/// What arrived for a room. `None` is something that did not come from the events stream.
fn decode(link: &Link, room: &Room, message: Message) -> Option<Delivery> {
    if !link.mode.is_durable() {
        return Some(message::delivery(room.clone(), Stamp::Volatile, message));
    }
    if message::text(&message, "Nats-Stream") != Some(link.events_stream.as_str()) {
        return None;
    }
    let seq = message::number(&message, "Nats-Sequence")?;
    let prev = message::number(&message, "Nats-Last-Sequence")?;
    link.highest.fetch_max(seq, Ordering::Relaxed);
    let at = Position { epoch: link.epoch(), seq, check: fingerprint(&message.payload) };
    Some(message::delivery(room.clone(), Stamp::Stored { at, prev }, message))
}
