//! One followed room of one session: a cursor, and what the client asked for.

use super::begin::PageRead;
use crate::{
    hub::{
        Follower, Snapped,
        entry::Entry,
        history::{HistoryPage, position},
        log::{Found, Gap, Slot},
    },
    transport::Frame,
};
use std::sync::Arc;
use weft_bus::ReadFrom;
use weft_dialect::native::{self, Encoding, RoomRequest, Subscribe, TypeFilter};
use weft_event::{Epoch, Offset, Position};

/// Where a subscription reads.
pub enum Place {
    /// It has not begun: the room is being opened, or history is being read.
    Opening,
    /// In the room's log, at this index next.
    Log(u64),
    /// In a page of history, at this index next.
    History(Arc<HistoryPage>, usize),
    /// A further page is being read.
    Reading,
    /// It has read further than the log has come; the log will catch up.
    Ahead,
}

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

/// A followed room.
pub struct Subscription {
    /// Names it within its session.
    pub key: u64,
    /// The registration; dropping it ends the following.
    pub follower: Follower,
    /// Where it reads.
    pub place: Place,
    /// The last position read.
    pub seen: Option<Position>,
    /// Where the follow began: copies of later events, in other rooms, are this room's to deliver.
    pub since: Option<(Epoch, u64)>,
    /// The last event that another room left to this one.
    pub left_to_us: Option<(Epoch, u64)>,
    /// Set while leaving.
    pub leaving: Option<Leaving>,
    /// Further subscribes to this room, for when it has begun, or has been left.
    pub again: Vec<(RoomRequest, Subscribe)>,
    /// Only these types.
    pub types: Option<TypeFilter>,
    /// Up to here only `log` events are told: they were asked for as history.
    pub logs_until: Option<Position>,
    /// Events that are not stored are live only: not told if they lie in the log before this index.
    pub volatile_from: u64,
    /// To be told before anything else.
    pub gap: Option<Arc<Gap>>,
    /// To be told where it stands.
    pub snapshot: Option<Box<Snapped>>,
}

impl Subscription {
    /// A subscription that has not begun.
    pub fn new(key: u64, follower: Follower, types: Option<TypeFilter>) -> Self {
        Self {
            key,
            follower,
            place: Place::Opening,
            seen: None,
            since: None,
            left_to_us: None,
            leaving: None,
            again: Vec::new(),
            types,
            logs_until: None,
            volatile_from: 0,
            gap: None,
            snapshot: None,
        }
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        !matches!(self.place, Place::Opening)
    }

    /// Whether everything up to `seen` has been told, so that a client may go on from there.
    pub fn stands_where_it_was_told(&self) -> bool {
        self.has_begun() && self.gap.is_none() && self.snapshot.is_none()
    }

    /// Whether the client wants to leave, and all that other rooms left to this one has been delivered.
    pub fn may_leave(&self) -> bool {
        let delivered = self.left_to_us.is_none_or(|(epoch, seq)| {
            let passed = |seen: Position| seen.epoch != epoch || seen.seq >= seq;
            self.stands_where_it_was_told() && self.seen.is_some_and(passed)
        });
        self.leaving.is_some() && delivered
    }

    /// Another room left an event to this one.
    pub fn owes(&mut self, epoch: Epoch, seq: u64) {
        self.left_to_us = match self.left_to_us {
            Some((known, highest)) if known == epoch => Some((epoch, highest.max(seq))),
            _ => Some((epoch, seq)),
        };
    }

    /// Whether the client wants this event.
    pub fn admits(&self, entry: &Entry) -> bool {
        let is_history = match (self.logs_until, entry.at) {
            (Some(until), Some(at)) => at.epoch == until.epoch && at.seq <= until.seq,
            _ => false,
        };
        (!is_history || &*entry.event.kind == "log") && self.types.as_ref().is_none_or(|types| types.matches(&entry.event.kind))
    }

    /// Reads up to `most` slots on.
    pub fn read(&mut self, most: usize, told: &mut Vec<Told>) -> Next {
        if self.has_begun()
            && let Some(gap) = self.gap.take()
        {
            told.push(Told::Gap(gap));
        }
        match &self.place {
            Place::Opening | Place::Reading => Next::Wait,
            Place::Log(cursor) => self.read_log(*cursor, most, told),
            Place::History(page, index) => self.read_page(&page.clone(), *index, most, told),
            Place::Ahead => self.join(None),
        }
    }

    fn read_log(&mut self, cursor: u64, most: usize, told: &mut Vec<Told>) -> Next {
        if self.snapshot.as_ref().is_some_and(|snapped| cursor >= snapped.cursor) {
            told.extend(self.snapshot.take().map(Told::Snapshot));
        }
        if cursor >= self.follower.room.next_index() {
            return Next::Wait;
        }
        let mut slots = Vec::with_capacity(most);
        if self.follower.room.read(cursor, most, &mut slots).is_none() {
            return self.left_the_log(told);
        }
        self.place = Place::Log(cursor + slots.len() as u64);
        for (index, slot) in (cursor..).zip(slots) {
            let is_past = matches!(&slot, Slot::Event(entry) if entry.at.is_none()) && index < self.volatile_from;
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
                Next::ReadPage(ReadFrom::After(at))
            }
            None => {
                told.push(Told::Gap(Arc::new(Gap { from: None, to: None, reason: "too slow for a room without history" })));
                self.place = Place::Log(self.follower.room.base());
                Next::Again
            }
        }
    }

    fn read_page(&mut self, page: &Arc<HistoryPage>, index: usize, most: usize, told: &mut Vec<Told>) -> Next {
        let end = page.slots.len().min(index + most);
        for slot in &page.slots[index..end] {
            self.take(slot.clone(), told);
        }
        self.place = Place::History(page.clone(), end);
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
            Found::Newer | Found::Unknown | Found::Older => {
                self.place = Place::Reading;
                Next::ReadPage(ReadFrom::After(at))
            }
        }
    }

    /// A further page was read.
    pub fn paged(&mut self, read: PageRead) {
        if let Some(gap) = read.gap {
            self.seen = gap.to.or(self.seen);
            self.gap = Some(gap);
        }
        self.snapshot = read.snapshot.or(self.snapshot.take());
        if let Some(at) = read.live_from {
            self.seen = Some(at);
            self.since = Some((at.epoch, at.seq));
        }
        self.place = read.place;
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
        if let (Some(at), Some(due)) = (at, self.snapshot.as_ref().and_then(|snapped| snapped.at))
            && (at.epoch != due.epoch || at.seq > due.seq)
        {
            told.extend(self.snapshot.take().map(Told::Snapshot));
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

/// An event's frame: shared by all, but for an offset that tells where this session's follow began.
pub fn event_frame(entry: &Entry, encoding: Encoding, since: Option<(Epoch, u64)>) -> Option<Frame> {
    let own = entry.at.filter(|_| since.is_some()).map(|at| native::event_tail(Some(&offset(at, since))));
    match (encoding, own) {
        (Encoding::Json, None) => Some(Frame::Whole(entry.json().clone())),
        (Encoding::Json, Some(tail)) => Some(Frame::Spliced(entry.json_body().clone(), tail)),
        (Encoding::MessagePack, None) => entry.msgpack().cloned().map(Frame::Whole),
        (Encoding::MessagePack, Some(tail)) => {
            let mut json = entry.json_body().to_vec();
            json.extend_from_slice(tail.as_bytes());
            native::event_frame_msgpack(&json).ok().map(|frame| Frame::Whole(frame.into()))
        }
    }
}
