//! One followed room of one session: a cursor, and what the client asked for.

use super::{
    begin::{Begun, PageRead},
    socketio::Space,
};
pub use crate::hub::log::Most;
use crate::hub::{
    Follower, Snapped,
    entry::Entry,
    history::{HistoryPage, position},
    log::{Found, Gap, Slot},
};
use std::sync::Arc;
use weft_bus::ReadFrom;
use weft_dialect::native::{RoomRequest, Subscribe, TypeFilter};
use weft_event::{Epoch, Offset, Position, Room};

/// Where a subscription reads.
pub enum Place {
    /// It has not begun: the room is being opened, or history is being read.
    Opening,
    /// Whether it may be followed is not known yet: nothing is read, and no other room waits for it.
    Unknown,
    /// In the room's log, at this index next.
    Log(u64),
    /// In a page of history, at this index next.
    History(Box<(Arc<HistoryPage>, usize)>),
    /// A further page is being read.
    Reading,
    /// It has read further than the log has come; the log will catch up.
    Ahead,
}

/// Subscribes to one room that wait for its first to be answered, or for its end.
const AGAIN_MAX: usize = 16;

/// What a read asks the session to do.
pub enum Next {
    /// Nothing: the room wakes the session when it grows.
    Wait,
    /// Read again: there may be more already.
    Again,
    /// Read a page of history and hand it to [`Subscription::paged`].
    ReadPage(ReadFrom),
    /// The room's log is behind the broker; have its tail checked.
    Behind,
}

/// What a read found, in order.
pub enum Told {
    /// An event.
    Event(Arc<Entry>),
    /// Events are gone.
    Gap(Arc<Gap>),
    /// The folded state at this place.
    Snapshot(Box<Snapped>),
}

/// A client's wish to leave a room, kept until the room has delivered what other rooms left to it.
pub struct Leaving {
    /// Whether the client named the room by `executionId`.
    pub as_execution: bool,
    /// Echoed in the reply.
    pub reference: Option<String>,
}

/// A followed room. Small, because most connections are idle in theirs: what is rarely there is kept apart.
pub struct Subscription {
    /// Names it within its session.
    pub key: u32,
    /// The namespace in which it was asked for.
    pub space: Space,
    /// Not to be read: its answer waits for something.
    pub held: bool,
    /// Whether it may be followed is being found out.
    pub is_asked_about: bool,
    /// The registration; dropping it ends the following.
    pub follower: Follower,
    /// Where it reads.
    pub place: Place,
    /// The last position read.
    pub seen: Option<Position>,
    /// Where the follow began: copies of later events, in other rooms, are this room's to deliver.
    pub since: Option<(Epoch, u64)>,
    options: Option<Box<Options>>,
    rare: Option<Box<Rare>>,
}

/// What its client asked for instead of every event in a frame of its own. Few ask.
struct Options {
    /// While it is behind, events may be skipped or merged as their class allows.
    conflate: bool,
    /// A frame may hold several of its events.
    batch: bool,
    /// Only these types.
    types: Option<TypeFilter>,
}

/// What a subscription has for a while only.
#[derive(Default)]
struct Rare {
    /// The last event that another room left to this one.
    left_to_us: Option<(Epoch, u64)>,
    /// Set while leaving.
    leaving: Option<Leaving>,
    /// Further subscribes to this room, for when it has begun, or has been left.
    again: Vec<(RoomRequest, Subscribe)>,
    /// Up to here only `log` events are told: they were asked for as history.
    logs_until: Option<Position>,
    /// Events that are not stored are live only: not told if they lie in the log before this index.
    volatile_from: u64,
    /// To be told before anything else.
    gap: Option<Arc<Gap>>,
    /// To be told where it stands.
    snapshot: Option<Box<Snapped>>,
    /// Of this event so many frames were told before.
    part: Option<Box<(Position, u8)>>,
    /// Stored events that were read since it began, or was last at its room's log.
    replayed: u32,
}

impl Subscription {
    /// A subscription that has not begun.
    pub fn new(key: u32, space: Space, follower: Follower, subscribe: &Subscribe) -> Self {
        let Subscribe { conflate, batch, types, .. } = subscribe;
        let is_plain = !conflate && !batch && types.is_none();
        let options = (!is_plain).then(|| Box::new(Options { conflate: *conflate, batch: *batch, types: types.clone() }));
        Self {
            key,
            space,
            held: false,
            is_asked_about: false,
            follower,
            place: Place::Opening,
            seen: None,
            since: None,
            options,
            rare: None,
        }
    }

    /// It begins.
    pub fn begin(&mut self, begun: Begun) {
        self.place = begun.place;
        self.seen = begun.seen;
        self.since = begun.since;
        let begins_at_the_end = matches!(self.place, Place::Log(cursor) if cursor >= begun.volatile_from);
        if !begins_at_the_end
            || begun.logs_until.is_some()
            || begun.gap.is_some()
            || begun.snapshot.is_some()
            || begun.part.is_some()
        {
            let rare = self.rare();
            rare.logs_until = begun.logs_until;
            rare.volatile_from = begun.volatile_from;
            rare.gap = begun.gap;
            rare.snapshot = begun.snapshot;
            rare.part = begun.part;
            self.count_replayed();
        }
    }

    /// Whether events may be skipped or merged while it is behind.
    pub fn conflates(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.conflate)
    }

    /// Whether a frame may hold several of its events.
    pub fn batches(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.batch)
    }

    /// Whether it follows this room in this namespace.
    pub fn is_of(&self, space: Space, room: &Room) -> bool {
        self.space == space && self.follower.room.name == *room
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Frees what is there no more.
    pub fn settle(&mut self) {
        let Some(rare) = &self.rare else { return };
        let live = matches!(self.place, Place::Log(cursor) if cursor >= rare.volatile_from);
        let has_passed = |until: Position| self.seen.is_some_and(|seen| seen.epoch != until.epoch || seen.seq >= until.seq);
        let waits = rare.leaving.is_some()
            || !rare.again.is_empty()
            || rare.gap.is_some()
            || rare.snapshot.is_some()
            || rare.part.is_some();
        let owes = rare.left_to_us.is_some_and(|owed| !self.has_delivered(owed));
        if live && !waits && !owes && rare.logs_until.is_none_or(has_passed) {
            self.rare = None;
        }
    }

    /// How many frames of the event at this place were told before, by whoever told the client so far; asked for once.
    pub fn take_part(&mut self, at: Position) -> Option<u8> {
        let part = &mut self.rare.as_mut()?.part;
        part.take_if(|part| part.0 == at).map(|part| part.1)
    }

    /// Whether it waits to become known.
    pub fn is_pending(&self) -> bool {
        matches!(self.place, Place::Unknown)
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        !matches!(self.place, Place::Opening | Place::Unknown)
    }

    /// Whether everything up to `seen` has been told, so that a client may go on from there.
    pub fn stands_where_it_was_told(&self) -> bool {
        self.has_begun() && self.rare.as_ref().is_none_or(|rare| rare.gap.is_none() && rare.snapshot.is_none())
    }

    fn has_delivered(&self, (epoch, seq): (Epoch, u64)) -> bool {
        let passed = |seen: Position| seen.epoch != epoch || seen.seq >= seq;
        self.stands_where_it_was_told() && self.seen.is_some_and(passed)
    }

    /// Whether the client wants to leave.
    pub fn is_leaving(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.leaving.is_some())
    }

    /// The client wants to leave.
    pub fn leave(&mut self, leaving: Leaving) {
        self.rare().leaving = Some(leaving);
    }

    /// Whether the client wants to leave, and all that other rooms left to this one has been delivered.
    pub fn may_leave(&self) -> bool {
        let Some(rare) = &self.rare else { return false };
        rare.leaving.is_some() && rare.left_to_us.is_none_or(|owed| self.has_delivered(owed))
    }

    /// The client's wish to leave, which is now to be answered.
    pub fn take_leaving(&mut self) -> Option<Leaving> {
        self.rare.as_mut().and_then(|rare| rare.leaving.take())
    }

    /// Keeps a further subscribe for later; whether there was room for it.
    pub fn subscribe_later(&mut self, request: &RoomRequest, subscribe: &Subscribe) -> bool {
        let again = &mut self.rare().again;
        let fits = again.len() < AGAIN_MAX;
        if fits {
            again.push((request.clone(), subscribe.clone()));
        }
        fits
    }

    /// The subscribes that were kept.
    pub fn take_again(&mut self) -> Vec<(RoomRequest, Subscribe)> {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.again)).unwrap_or_default()
    }

    /// Whether more waits than `slots`, so that what may be spared its client is.
    pub fn is_behind(&self, slots: usize) -> bool {
        self.behind() > slots as u64
    }

    /// Whether it reads stored events rather than its room's log.
    pub fn reads_history(&self) -> bool {
        matches!(self.place, Place::History(_))
    }

    /// How many events of the log it has not read; those of the history that come before are not known.
    pub fn behind(&self) -> u64 {
        let next = self.follower.room.next_index();
        match &self.place {
            Place::Opening | Place::Unknown => 0,
            Place::Log(cursor) => next.saturating_sub(*cursor),
            Place::History(read) => (read.0.slots.len() - read.1) as u64 + next.saturating_sub(self.follower.room.base()),
            Place::Reading | Place::Ahead => next.saturating_sub(self.follower.room.base()),
        }
    }

    /// Another room left an event to this one.
    pub fn owes(&mut self, epoch: Epoch, seq: u64) {
        let left_to_us = &mut self.rare().left_to_us;
        *left_to_us = match *left_to_us {
            Some((known, highest)) if known == epoch => Some((epoch, highest.max(seq))),
            _ => Some((epoch, seq)),
        };
    }

    fn types(&self) -> Option<&TypeFilter> {
        self.options.as_ref()?.types.as_ref()
    }

    /// Whether the client wants this event.
    pub fn admits(&self, entry: &Entry) -> bool {
        let is_history = match (self.rare.as_ref().and_then(|rare| rare.logs_until), entry.at) {
            (Some(until), Some(at)) => at.epoch == until.epoch && at.seq <= until.seq,
            _ => false,
        };
        (!is_history || &*entry.event.kind == "log") && self.types().is_none_or(|types| types.matches(&entry.event.kind))
    }

    /// Reads on, by `most` at most; `slots` is for its use, and empty again after it.
    pub fn read(&mut self, most: Most, slots: &mut Vec<Slot>, told: &mut Vec<Told>) -> Next {
        if self.has_begun()
            && let Some(gap) = self.rare.as_mut().and_then(|rare| rare.gap.take())
        {
            told.push(Told::Gap(gap));
        }
        match &self.place {
            Place::Opening | Place::Unknown | Place::Reading => Next::Wait,
            Place::Log(cursor) => self.read_log(*cursor, most, slots, told),
            Place::History(read) => self.read_page(&read.0.clone(), read.1, most, told),
            Place::Ahead => self.join(None),
        }
    }

    fn due_snapshot(&self) -> Option<&Snapped> {
        self.rare.as_ref().and_then(|rare| rare.snapshot.as_deref())
    }

    fn tell_snapshot(&mut self, told: &mut Vec<Told>) {
        told.extend(self.rare.as_mut().and_then(|rare| rare.snapshot.take()).map(Told::Snapshot));
    }

    fn read_log(&mut self, cursor: u64, most: Most, slots: &mut Vec<Slot>, told: &mut Vec<Told>) -> Next {
        if self.due_snapshot().is_some_and(|snapped| cursor >= snapped.cursor) {
            self.tell_snapshot(told);
        }
        if cursor >= self.follower.room.next_index() {
            return Next::Wait;
        }
        if self.follower.room.read(cursor, most, slots).is_none() {
            return self.left_the_log(told);
        }
        self.place = Place::Log(cursor + slots.len() as u64);
        let volatile_from = self.rare.as_ref().map_or(0, |rare| rare.volatile_from);
        for (index, slot) in (cursor..).zip(slots.drain(..)) {
            let is_past = matches!(&slot, Slot::Event(entry) if entry.at.is_none()) && index < volatile_from;
            if !is_past {
                self.take(slot, told);
            }
        }
        Next::Again
    }

    /// The log has forgotten what comes next: history has it, or nothing has.
    fn left_the_log(&mut self, told: &mut Vec<Told>) -> Next {
        match self.seen {
            Some(at) => {
                self.place = Place::Reading;
                self.rare.iter_mut().for_each(|rare| rare.replayed = 0);
                Next::ReadPage(ReadFrom::After(at))
            }
            None => {
                told.push(Told::Gap(Arc::new(Gap { from: None, to: None, reason: "too slow for a room without history" })));
                self.place = Place::Log(self.follower.room.base());
                Next::Again
            }
        }
    }

    fn read_page(&mut self, page: &Arc<HistoryPage>, index: usize, most: Most, told: &mut Vec<Told>) -> Next {
        let end = index + most.of(&page.slots[index..]);
        for slot in &page.slots[index..end] {
            self.take(slot.clone(), told);
        }
        self.place = Place::History(Box::new((page.clone(), end)));
        if end < page.slots.len() { Next::Again } else { self.join(Some(page)) }
    }

    /// Goes on where the last page ended: in the log if it reaches back so far, else with a further page.
    fn join(&mut self, page: Option<&HistoryPage>) -> Next {
        let Some(at) = page.and_then(|page| page.last).or(self.seen) else {
            self.place = Place::Log(self.follower.room.base());
            return Next::Again;
        };
        let verified = page.is_some_and(|page| !page.more);
        match self.follower.room.find(at) {
            Found::At(index) => {
                self.place = Place::Log(index);
                Next::Again
            }
            // The broker has just told us that `at` is the room's last event, so what the log has after it is next.
            Found::Newer | Found::Unknown if verified || page.is_none() => {
                self.seen = Some(at);
                let newly = !matches!(self.place, Place::Ahead);
                self.place = Place::Ahead;
                if newly { Next::Behind } else { Next::Wait }
            }
            // The room was empty then and when it was opened here, each told as the broker's end of all rooms.
            Found::Older if verified && self.follower.room.is_bare() => {
                self.place = Place::Log(self.follower.room.base());
                Next::Again
            }
            Found::Newer | Found::Unknown | Found::Older => {
                self.place = Place::Reading;
                Next::ReadPage(ReadFrom::After(at))
            }
        }
    }

    /// Whether it has read so many stored events, and has not caught up by that; 0 is no bound.
    pub fn has_replayed(&self, most: u32) -> bool {
        most > 0 && self.rare.as_ref().is_some_and(|rare| rare.replayed >= most)
    }

    /// Counts what the page holds at which it stands.
    fn count_replayed(&mut self) {
        if let Place::History(page) = &self.place {
            let events = u32::try_from(page.0.slots.len() - page.1).unwrap_or(u32::MAX);
            let replayed = &mut self.rare().replayed;
            *replayed = replayed.saturating_add(events);
        }
    }

    /// A further page was read.
    pub fn paged(&mut self, read: PageRead) {
        if let Some(gap) = read.gap {
            self.seen = gap.to.or(self.seen);
            self.rare().gap = Some(gap);
        }
        if let Some(snapshot) = read.snapshot {
            self.rare().snapshot = Some(snapshot);
        }
        if let Some(at) = read.live_from {
            self.seen = Some(at);
            self.since = Some((at.epoch, at.seq));
        }
        self.place = read.place;
        self.count_replayed();
    }

    /// Whether it was read before, in history or in the log.
    fn has_read(&self, slot: &Slot) -> bool {
        #[cfg(feature = "mutants")]
        if self.follower.room.is_without_dedup() {
            return false;
        }
        let (Some(at), Some(seen)) = (position(slot), self.seen) else { return false };
        at.epoch == seen.epoch && at.seq <= seen.seq && !matches!(slot, Slot::Gap(_))
    }

    fn take(&mut self, slot: Slot, told: &mut Vec<Told>) {
        let at = position(&slot);
        if self.has_read(&slot) {
            return;
        }
        if let (Some(at), Some(due)) = (at, self.due_snapshot().and_then(|snapped| snapped.at))
            && (at.epoch != due.epoch || at.seq > due.seq)
        {
            self.tell_snapshot(told);
        }
        if let (Some(at), Some((epoch, _))) = (at, self.since)
            && at.epoch != epoch
        {
            // A new history, which this room delivers from its start.
            self.since = Some((at.epoch, 0));
        }
        self.seen = at.or(self.seen);
        match slot {
            Slot::Event(entry) => told.push(Told::Event(entry)),
            Slot::Gap(gap) => told.push(Told::Gap(gap)),
            Slot::Skipped(_) => {}
        }
    }
}

/// A position as this session's client gets it.
pub fn offset(at: Position, since: Option<(Epoch, u64)>) -> Offset {
    let since = since.filter(|(epoch, _)| *epoch == at.epoch).map(|(_, since)| since);
    Offset { at, since, part: None }
}
