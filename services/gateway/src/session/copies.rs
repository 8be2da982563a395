//! One event, once: a session that follows several rooms gets an event by the first of them, exactly.
//!
//! An event's copies in further rooms name where it was stored first. A copy is left out if and only if the session
//! follows that first room, in the same epoch, from before that place on, and lets its type through: then the
//! first room delivers it. Nothing else decides, so the answer is the same after any number of reconnects: the
//! beginning of a follow travels in the offsets.

use super::{socketio::Space, subscription::Subscription};
use crate::hub::entry::Entry;
use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};
use weft_event::{Epoch, Room, RoomKind};

/// Ended follows remembered.
const PAST_MAX: usize = 64;
/// Event ids remembered, for events that do not say where they were first.
const IDS_MAX: usize = 256;

struct Past {
    room: Room,
    epoch: Epoch,
    since: u64,
    until: u64,
}

/// What a session knows about copies.
#[derive(Default)]
pub struct Copies {
    possible: bool,
    /// Whether some room waits to become known: what another delivers meanwhile it is not to tell again.
    pub has_pending: bool,
    memory: Option<Box<Memory>>,
}

/// What has been delivered by rooms that are left, or without a first room.
#[derive(Default)]
struct Memory {
    past: VecDeque<Past>,
    ids: Ids,
}

#[derive(Default)]
struct Ids {
    hasher: RandomState,
    /// The room that delivered each id; both as hashes.
    known: HashMap<u64, u64>,
    by_age: VecDeque<u64>,
}

/// Whether events of this room may be copies of another room's.
fn carries_copies(room: &Room) -> bool {
    room.kind() != RoomKind::Execution
}

impl Copies {
    /// Whether two of the rooms followed may hold the same event.
    pub fn are_possible(&self) -> bool {
        self.possible
    }

    /// The rooms have changed; whether copies have just become possible.
    pub fn look_at(&mut self, subscriptions: &[Subscription]) -> bool {
        let before = self.possible;
        let of_space = || subscriptions.iter().filter(|subscription| subscription.space == Space::Main);
        let several = of_space().count() > 1 && of_space().any(|subscription| carries_copies(&subscription.follower.room.name));
        // Once possible it stays so: what was dropped then must stay dropped.
        self.possible = before || several;
        self.possible && !before
    }

    /// Whether this room must not be read yet, because another that has not begun may be the first of its events.
    pub fn must_wait(&self, subscriptions: &[Subscription], index: usize) -> bool {
        self.possible
            && carries_copies(&subscriptions[index].follower.room.name)
            && subscriptions.iter().enumerate().any(|(other, subscription)| {
                other != index
                    && subscription.space == subscriptions[index].space
                    && !subscription.has_begun()
                    && !subscription.is_pending()
                    && subscription.since.is_none()
                    && subscription.follower.room.name.kind() != RoomKind::User
            })
    }

    /// Whether the event, read by the subscription at `index`, is another room's to deliver.
    pub fn is_repeat(&mut self, entry: &Entry, subscriptions: &mut [Subscription], index: usize) -> bool {
        if !self.possible && !self.has_pending {
            return false;
        }
        let (space, by) = (subscriptions[index].space, subscriptions[index].follower.room.name.clone());
        let Some(first) = &entry.first else { return self.came_by_another(entry, &by) };
        let mut epochs_differ = self.has_pending;
        for subscription in subscriptions.iter_mut().filter(|subscription| subscription.is_of(space, &first.room)) {
            let Some((epoch, since)) = subscription.since else { continue };
            epochs_differ |= epoch != first.epoch;
            if epoch == first.epoch && first.seq > since && subscription.admits(entry) {
                subscription.owes(first.epoch, first.seq);
                return true;
            }
        }
        let past = |past: &Past| {
            past.room == first.room && past.epoch == first.epoch && first.seq > past.since && first.seq <= past.until
        };
        // After a reset this room may have heard of the new epoch before the first room has, which then delivers all of it.
        self.memory.as_ref().is_some_and(|memory| memory.past.iter().any(past))
            || (epochs_differ && self.came_by_another(entry, &by))
    }

    /// A follow has ended: what it has delivered stays delivered.
    pub fn remember(&mut self, subscription: &Subscription) {
        let (Some((epoch, since)), Some(seen)) = (subscription.since, subscription.seen) else { return };
        if !self.possible || seen.epoch != epoch {
            return;
        }
        let past = &mut self.memory.get_or_insert_default().past;
        if past.len() >= PAST_MAX {
            past.pop_front();
        }
        past.push_back(Past { room: subscription.follower.room.name.clone(), epoch, since, until: seen.seq });
    }

    /// Events that do not say where they were first are told apart by their own ids, as far back as we remember. The
    /// same room may deliver an event again: then its client has asked for it again.
    fn came_by_another(&mut self, entry: &Entry, by: &Room) -> bool {
        let Some(id) = &entry.event.id else { return false };
        let ids = &mut self.memory.get_or_insert_default().ids;
        let (id, by) = (ids.hasher.hash_one(id), ids.hasher.hash_one(by));
        if let Some(known) = ids.known.get(&id) {
            return *known != by;
        }
        ids.known.insert(id, by);
        ids.by_age.push_back(id);
        if ids.by_age.len() > IDS_MAX
            && let Some(oldest) = ids.by_age.pop_front()
        {
            ids.known.remove(&oldest);
        }
        false
    }
}
