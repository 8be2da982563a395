//! The checker: what publishers had acknowledged against what every client saw.
//!
//! It knows nothing of offsets, epochs or sequence numbers: an event is known by its id and counted by a number in its
//! payload, so that it cannot share a mistake with the code under test. Per client it demands
//!
//! - every acknowledged event of a followed room, from where the client began, once;
//! - in each room, per execution and source, numbers that only grow;
//! - no event that nobody published or whose room it does not follow;
//! - of events that are missing, a declared gap at their place in the room;
//!
//! of a client that asked for some types only these, and of one that asked for `conflate` all that no frame says it stands for;
//!
//! and between clients that two which both saw two events of a room saw them in one order.

mod check;
mod order;
mod spared;
mod verdict;

pub use verdict::{StoreTally, Tally, Verdict};

use crate::record::{Record, Seen, SeenEvent};
use check::Check;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;
use tokio::time::Instant;

/// One event that a test tried to publish.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its id.
    pub id: Arc<str>,
    /// The rooms it reaches, its own first.
    pub rooms: Arc<[Arc<str>]>,
    /// Who published it.
    pub source: Arc<str>,
    /// Its type; `None` where only the store tells of it. Of such events nothing is owed to who asked for some types, or
    /// for `conflate`.
    pub kind: Option<Arc<str>>,
    /// Its number among those of this source in its first room.
    pub counter: u64,
    /// When the first attempt began.
    pub began: Instant,
    /// Whether it was acknowledged as stored. If not it may or may not be there.
    pub acked: bool,
}

/// The source of events that are known from the store only.
const STORED: &str = "(stored)";

/// Events of one source in one first room, as they come by one room: the unit in which numbers must grow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lane {
    by: Arc<str>,
    first: Arc<str>,
    source: Arc<str>,
}

/// What was published, what was stored, and who saw what.
#[derive(Default)]
pub struct History {
    published: Vec<Published>,
    stored: FxHashMap<Arc<str>, Vec<Arc<str>>>,
    records: Vec<Record>,
}

impl History {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what publishers tried.
    pub fn published(&mut self, events: impl IntoIterator<Item = Published>) {
        self.published.extend(events);
    }

    /// Adds the ids of all events of a room in stored order, as read back at the end. Optional; then every acknowledged
    /// event of the room must be among them once, and clients must have seen this order.
    pub fn stored(&mut self, room: &str, ids: impl IntoIterator<Item = String>) {
        self.stored.insert(room.into(), ids.into_iter().map(Arc::from).collect());
    }

    /// Adds what one client saw.
    pub fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Compares.
    #[must_use]
    pub fn check(&self) -> Verdict {
        let mut verdict = Verdict::new(self.published.iter().filter(|event| event.acked).count(), self.records.len());
        let others = self.stored_by_others();
        let truth = Truth::of(self.published.iter().chain(&others));
        self.check_store(&mut verdict);
        for record in &self.records {
            Check { truth: &truth, stored: &self.stored, record, view: View::of(record, &truth) }.run(&mut verdict);
        }
        order::agree(&self.records, &self.stored, &mut verdict);
        verdict
    }

    /// Events of a real executor have no publisher's log. The store knows them, and their order is their number.
    fn stored_by_others(&self) -> Vec<Published> {
        let known: FxHashSet<&str> = self.published.iter().map(|event| &*event.id).collect();
        let Some(began) = self.records.iter().filter_map(|record| record.entries.first()).map(|entry| entry.at).min() else {
            return Vec::new();
        };
        // An event's own room is stored first; `user:` and `agent:` rooms hold copies.
        let is_copy = |room: &str| room.starts_with("user:") || room.starts_with("agent:");
        let mut rooms: Vec<_> = self.stored.iter().collect();
        rooms.sort_by_key(|(room, _)| (is_copy(room), Arc::clone(room)));
        let mut others: Vec<Published> = Vec::new();
        let mut places: FxHashMap<&str, usize> = FxHashMap::default();
        for (room, ids) in rooms {
            for (index, id) in ids.iter().enumerate().filter(|(_, id)| !known.contains(&***id)) {
                let place = *places.entry(id).or_insert(others.len());
                match others.get_mut(place) {
                    Some(event) if !event.rooms.contains(room) => {
                        event.rooms = event.rooms.iter().chain([room]).cloned().collect();
                    }
                    Some(_) => {}
                    None => others.push(Published {
                        id: Arc::clone(id),
                        rooms: [Arc::clone(room)].into(),
                        source: STORED.into(),
                        kind: None,
                        counter: index as u64 + 1,
                        began,
                        acked: true,
                    }),
                }
            }
        }
        others
    }

    /// An acknowledgement means stored, once.
    fn check_store(&self, verdict: &mut Verdict) {
        let mut places: FxHashMap<(&str, &str), u32> = FxHashMap::default();
        for (room, ids) in &self.stored {
            for id in ids {
                *places.entry((&**room, &**id)).or_default() += 1;
            }
        }
        for ((room, id), times) in &places {
            if *times > 1 {
                verdict.store.duplicated += u64::from(times - 1);
                verdict.sample(|| format!("{id} is stored {times} times in {room}"));
            }
        }
        for event in self.published.iter().filter(|event| event.acked) {
            for room in event.rooms.iter().filter(|room| self.stored.contains_key(*room)) {
                if !places.contains_key(&(&**room, &*event.id)) {
                    verdict.store.lost += 1;
                    verdict.sample(|| format!("{} was acknowledged but is not stored in {room}", event.id));
                }
            }
        }
    }
}

/// The published events, found by id and by room.
struct Truth<'a> {
    by_id: FxHashMap<&'a str, &'a Published>,
    by_room: FxHashMap<&'a str, Vec<&'a Published>>,
}

impl<'a> Truth<'a> {
    fn of(published: impl Iterator<Item = &'a Published>) -> Self {
        let mut truth = Self { by_id: FxHashMap::default(), by_room: FxHashMap::default() };
        for event in published {
            truth.by_id.insert(&event.id, event);
            for room in event.rooms.iter() {
                truth.by_room.entry(room).or_default().push(event);
            }
        }
        truth
    }
}

/// One record, indexed.
#[derive(Default)]
struct View {
    /// How often each id came.
    seen: FxHashMap<Box<str>, u32>,
    /// Place among the entries and number of each event, per lane.
    lanes: FxHashMap<Lane, Vec<(usize, u64)>>,
    /// Place and time of each declared gap, per room.
    gaps: FxHashMap<Arc<str>, Vec<(usize, Instant)>>,
    /// When each room's first subscribe was answered.
    live_at: FxHashMap<Arc<str>, Instant>,
    /// Rooms that it follows no more, by which nothing is owed.
    left: FxHashSet<Arc<str>>,
}

impl View {
    fn of(record: &Record, truth: &Truth<'_>) -> Self {
        let mut view = Self::default();
        for (place, entry) in record.entries.iter().enumerate() {
            match &entry.seen {
                Seen::Subscribed { room, outcome, .. } => {
                    view.left.remove(room);
                    view.live_at.entry(Arc::clone(room)).or_insert(entry.at);
                    if &**outcome == "gap" {
                        view.gaps.entry(Arc::clone(room)).or_default().push((place, entry.at));
                    }
                }
                Seen::Gap { room, .. } => view.gaps.entry(Arc::clone(room)).or_default().push((place, entry.at)),
                Seen::Unsubscribed { room } => {
                    view.left.insert(Arc::clone(room));
                }
                Seen::Event(event) => view.event(place, event, truth),
                _ => {}
            }
        }
        view
    }

    fn event(&mut self, place: usize, event: &SeenEvent, truth: &Truth<'_>) {
        let Some(id) = &event.id else { return };
        *self.seen.entry(id.clone()).or_default() += 1;
        if let Some(published) = truth.by_id.get(&**id) {
            self.lanes.entry(lane(&event.room, published)).or_default().push((place, published.counter));
        }
    }
}

fn lane(by: &Arc<str>, event: &Published) -> Lane {
    Lane { by: Arc::clone(by), first: Arc::clone(&event.rooms[0]), source: Arc::clone(&event.source) }
}

#[cfg(test)]
mod tests;
