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
//! and between clients that two which both saw two events of a room saw them in one order.

mod order;
mod verdict;

pub use verdict::{StoreTally, Tally, Verdict};

use crate::record::{Begin, Follow, Record, Seen, SeenEvent};
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

/// One client's check.
struct Check<'a> {
    truth: &'a Truth<'a>,
    stored: &'a FxHashMap<Arc<str>, Vec<Arc<str>>>,
    record: &'a Record,
    view: View,
}

impl Check<'_> {
    fn run(&self, verdict: &mut Verdict) {
        let mut tally = Tally::default();
        self.each_event(&mut tally, verdict);
        self.growth(&mut tally, verdict);
        self.missing(&mut tally, verdict);
        tally.gaps_declared = self.view.gaps.values().map(|gaps| gaps.len() as u64).sum();
        verdict.add(&tally, self.record);
    }

    fn each_event(&self, tally: &mut Tally, verdict: &mut Verdict) {
        let client = &self.record.client;
        let followed: FxHashSet<&str> = self.record.follows.iter().map(|follow| &*follow.room).collect();
        for entry in &self.record.entries {
            match &entry.seen {
                Seen::Event(event) => {
                    tally.received += 1;
                    if let Some(why) = self.unexpected(event, &followed) {
                        tally.unexpected += 1;
                        verdict.sample(|| format!("{client}: unexpected {:?} in {}: {why}", event.id, event.room));
                    }
                }
                Seen::Malformed { text } => {
                    tally.unexpected += 1;
                    verdict.sample(|| format!("{client}: malformed frame {text}"));
                }
                _ => {}
            }
        }
        for (id, times) in self.view.seen.iter().filter(|(_, times)| **times > 1) {
            tally.duplicated += u64::from(times - 1);
            verdict.sample(|| format!("{client}: {id} came {times} times"));
        }
    }

    fn unexpected(&self, event: &SeenEvent, followed: &FxHashSet<&str>) -> Option<&'static str> {
        let Some(id) = event.id.as_deref() else { return Some("it has no id") };
        if !followed.contains(&*event.room) {
            return Some("the room is not followed");
        }
        match (self.truth.by_id.get(id), &event.mark) {
            (Some(published), _) if !published.rooms.contains(&event.room) => Some("it was published to other rooms"),
            (Some(published), Some(mark)) if &*published.source != STORED && mark.counter != published.counter => {
                Some("its payload is another one's")
            }
            (Some(_), Some(_)) => None,
            (Some(published), None) if &*published.source != STORED => Some("its payload has lost its number"),
            (Some(_), None) => None,
            (None, _) => Some("nobody published it"),
        }
    }

    /// A number that does not exceed the one before came too late, or again. What came again is counted as duplicate.
    fn growth(&self, tally: &mut Tally, verdict: &mut Verdict) {
        for (lane, numbers) in &self.view.lanes {
            let (mut highest, mut before) = (0, FxHashSet::default());
            for &(_, counter) in numbers {
                if !before.insert(counter) {
                    continue;
                }
                if counter < highest {
                    tally.misordered += 1;
                    let client = &self.record.client;
                    verdict.sample(|| format!("{client}: {} of {} after {highest} in {}", counter, lane.source, lane.by));
                }
                highest = highest.max(counter);
            }
        }
    }

    fn missing(&self, tally: &mut Tally, verdict: &mut Verdict) {
        let mut due: FxHashSet<&str> = FxHashSet::default();
        for follow in self.kept() {
            // One silent gap is a run of missing numbers in one lane.
            let mut last_missing: FxHashMap<Lane, u64> = FxHashMap::default();
            for event in self.truth.by_room.get(&*follow.room).into_iter().flatten() {
                if !event.acked || !self.owed(event, &follow.room, follow.begin) || !due.insert(&event.id) {
                    continue;
                }
                tally.expected += 1;
                if self.view.seen.contains_key(&*event.id) {
                    continue;
                }
                let lane = lane(self.first_followed(event), event);
                if self.excused(&lane, event) {
                    tally.excused += 1;
                    continue;
                }
                tally.lost += 1;
                verdict.sample(|| format!("{}: lost {}, {}", self.record.client, event.id, self.surroundings(&lane, event)));
                let continues = last_missing.insert(lane, event.counter).is_some_and(|last| last + 1 == event.counter);
                tally.gaps_silent += u64::from(!continues);
            }
        }
    }

    /// The rooms that it still followed at the end.
    fn kept(&self) -> impl Iterator<Item = &Follow> {
        self.record.follows.iter().filter(|follow| !self.view.left.contains(&follow.room))
    }

    /// Whether the client must have got it by this room.
    fn owed(&self, event: &Published, room: &Arc<str>, begin: Begin) -> bool {
        if begin == Begin::Start {
            return true;
        }
        let live = self.view.live_at.get(room).is_some_and(|at| event.began > *at);
        let first = self.view.lanes.get(&lane(room, event)).and_then(|numbers| numbers.first());
        live || first.is_some_and(|(_, first)| event.counter > *first)
    }

    /// The room by which it must come: its own, if that is followed, because copies in others are dropped then.
    fn first_followed<'e>(&self, event: &'e Published) -> &'e Arc<str> {
        let followed = |room: &&Arc<str>| self.kept().any(|follow| follow.room == **room);
        event.rooms.iter().find(followed).unwrap_or(&event.rooms[0])
    }

    /// Where a lost event should have been, for whoever looks for the reason.
    fn surroundings(&self, lane: &Lane, event: &Published) -> String {
        let numbers = self.view.lanes.get(lane).map_or(&[][..], Vec::as_slice);
        let before = numbers.iter().rev().find(|(_, number)| *number < event.counter);
        let after = numbers.iter().find(|(_, number)| *number > event.counter);
        let from = before.map_or(0, |(place, _)| *place);
        let to = after.map_or(self.record.entries.len(), |(place, _)| *place);
        let between = self.record.entries.get(from..to).unwrap_or_default();
        let others: Vec<String> =
            between.iter().map(|entry| in_short(&entry.seen, &lane.by)).filter(|word| !word.is_empty()).collect();
        let number = |found: Option<&(usize, u64)>| found.map_or_else(|| "nothing".to_owned(), |(_, number)| number.to_string());
        let (before, after) = (number(before), number(after));
        let stored = self.stored.get(&lane.by).map_or(&[][..], Vec::as_slice);
        let place = stored.iter().position(|id| *id == event.id).unwrap_or(0);
        let beside: Vec<&str> = stored.iter().skip(place.saturating_sub(1)).take(3).map(|id| &**id).collect();
        format!("in {} between {before} and {after}, stored as {}: {}", lane.by, beside.join(" "), others.join(", "))
    }

    /// Whether a gap was declared between the last event before the missing one and the first after it.
    fn excused(&self, lane: &Lane, event: &Published) -> bool {
        let Some(gaps) = self.view.gaps.get(&lane.by) else { return false };
        let numbers = self.view.lanes.get(lane).map_or(&[][..], Vec::as_slice);
        gaps.iter().any(|&(place, at)| {
            let split = numbers.partition_point(|&(of, _)| of < place);
            let before = split == 0 || numbers[split - 1].1 < event.counter;
            let after = numbers.get(split).map_or(event.began < at, |&(_, next)| event.counter < next);
            before && after
        })
    }
}

/// One entry in a word or two; events of other rooms are left out.
fn in_short(seen: &Seen, room: &Arc<str>) -> String {
    match seen {
        Seen::Event(event) if event.room == *room => {
            format!("{}@{}", event.id.as_deref().unwrap_or("?"), event.offset.as_deref().unwrap_or("-"))
        }
        Seen::Event(_) => String::new(),
        Seen::Connected { gateway } => format!("connected to {gateway}"),
        Seen::Disconnected { .. } => "disconnected".into(),
        Seen::Subscribed { room, outcome, offset, .. } => format!("{room} {outcome} to {}", offset.as_deref().unwrap_or("-")),
        other => format!("{other:?}").chars().take(120).collect(),
    }
}

#[cfg(test)]
mod tests;
