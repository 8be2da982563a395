//! The last events of one room in this process. Every client is a cursor in it.
//!
//! Slots have process-local indices that never repeat; a cursor is the index of the next slot to read. The log is
//! bounded by slots and bytes and forgets its oldest first: a reader left behind reads the bus's history instead.

use super::entry::Entry;
use std::{collections::VecDeque, sync::Arc};
use weft_bus::Mode;
use weft_event::Position;

/// What stands at one place of a log.
#[derive(Clone)]
pub enum Slot {
    /// An event.
    Event(Arc<Entry>),
    /// Events between the slot before and the slot after are gone; every reader is told.
    Gap(Arc<Gap>),
    /// A stored event that was invalid and is not delivered; kept because offsets may name it.
    Skipped(Position),
}

/// The reason of a gap whose events are still stored: more was to be read than may be at once.
pub const LIMIT: &str = "limit";

/// Events that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last event before the gap.
    pub from: Option<Position>,
    /// The last missing event, where known.
    pub to: Option<Position>,
    /// Why, for people.
    pub reason: &'static str,
}

impl Gap {
    /// How many events are missing: as many as numbers lie between, where a bus of this mode gives each room numbers of its
    /// own and both ends are known. Else one, which is the least.
    pub fn events(&self, mode: Mode) -> u64 {
        let counts = matches!(mode, Mode::Memory | Mode::RedisStreams);
        match (self.from, self.to) {
            (Some(from), Some(to)) if counts && from.epoch == to.epoch => to.seq.saturating_sub(from.seq).max(1),
            _ => 1,
        }
    }
}

/// Bounds of one log.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Most slots.
    pub slots: usize,
    /// Most bytes of events.
    pub bytes: usize,
}

/// How much to read at once.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Most slots.
    pub slots: usize,
    /// Bytes of events after which nothing more is read; the event that passes them is.
    pub bytes: usize,
}

impl Most {
    /// Everything there is.
    pub const ALL: Self = Self { slots: usize::MAX, bytes: usize::MAX };

    /// How many of these slots that is; at least one, where there is one.
    pub fn of<'s>(self, slots: impl IntoIterator<Item = &'s Slot>) -> usize {
        let mut bytes = 0;
        let fits = |slot: &&Slot| {
            let had_room = bytes < self.bytes.max(1);
            bytes += if let Slot::Event(entry) = slot { entry.event.body.len() } else { 0 };
            had_room
        };
        slots.into_iter().take(self.slots).take_while(fits).count()
    }
}

/// Where a position lies, seen from a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Reading goes on at this index.
    At(u64),
    /// Older than the log; the bus's history may have it.
    Older,
    /// Newer than the log's end: this process has not heard of it yet.
    Newer,
    /// Another epoch, or another event under the same number.
    Unknown,
}

/// A room's log.
pub struct Log {
    slots: VecDeque<Slot>,
    /// Index of the oldest slot.
    base: u64,
    bytes: usize,
    /// The position before the oldest slot; `None` before the room is open, and in fire-and-forget modes.
    floor: Option<Position>,
    /// The position of the newest slot, or the floor.
    end: Option<Position>,
}

impl Log {
    /// An empty log whose first event will be the one after `floor`.
    pub fn new(floor: Option<Position>) -> Self {
        Self { slots: VecDeque::new(), base: 0, bytes: 0, floor, end: floor }
    }

    /// Says where the log begins, once that is known.
    pub fn begin(&mut self, floor: Position) {
        if self.end.is_none() {
            self.floor = Some(floor);
            self.end = Some(floor);
        }
    }

    /// Adds a slot and forgets the oldest past the limits; answers the change in bytes.
    pub fn push(&mut self, slot: Slot, limits: LogLimits) -> isize {
        let before = self.bytes;
        match &slot {
            Slot::Event(entry) => {
                self.bytes += entry.bytes();
                self.end = entry.at.or(self.end);
            }
            Slot::Skipped(at) => self.end = Some(*at),
            Slot::Gap(gap) => self.end = gap.to.or(self.end),
        }
        self.slots.push_back(slot);
        while self.slots.len() > 1 && (self.slots.len() > limits.slots || self.bytes > limits.bytes) {
            self.forget_oldest();
        }
        self.bytes as isize - before as isize
    }

    /// Forgets the oldest slots until at most `bytes` remain; answers the bytes freed.
    pub fn shrink(&mut self, bytes: usize) -> usize {
        let before = self.bytes;
        while self.bytes > bytes && !self.slots.is_empty() {
            self.forget_oldest();
        }
        before - self.bytes
    }

    fn forget_oldest(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.base += 1;
            match slot {
                Slot::Event(entry) => {
                    self.bytes -= entry.bytes();
                    self.floor = entry.at.or(self.floor);
                }
                Slot::Skipped(at) => self.floor = Some(at),
                Slot::Gap(gap) => self.floor = gap.to.or(self.floor),
            }
        }
    }

    /// The index after the newest slot.
    pub fn next_index(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// The index of the oldest slot.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Bytes of events held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The position of the newest event.
    pub fn end(&self) -> Option<Position> {
        self.end
    }

    /// The slots from `cursor` on; `None` if the cursor has left the log.
    pub fn read(&self, cursor: u64, most: Most, into: &mut Vec<Slot>) -> Option<()> {
        let start = cursor.checked_sub(self.base)? as usize;
        let slots = self.slots.range(start.min(self.slots.len())..);
        into.extend(slots.clone().take(most.of(slots)).cloned());
        Some(())
    }

    /// The events from one index to before another, as far as they are held.
    pub fn entries(&self, from: u64, to: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let at = |index: u64| (index.saturating_sub(self.base) as usize).min(self.slots.len());
        self.slots.range(at(from)..at(to).max(at(from))).filter_map(|slot| match slot {
            Slot::Event(entry) => Some(entry),
            Slot::Gap(_) | Slot::Skipped(_) => None,
        })
    }

    /// Whether nothing is known before the oldest slot: the log has begun at the end of a room that held no event, or
    /// not at all. Then nothing older can be missing from it.
    pub fn is_bare(&self) -> bool {
        self.base == 0 && self.floor.is_none_or(|floor| floor.check == 0)
    }

    /// Whether events are missing at this index or after it.
    pub fn has_gap_from(&self, index: u64) -> bool {
        let start = index.saturating_sub(self.base) as usize;
        self.slots.iter().skip(start).any(|slot| matches!(slot, Slot::Gap(_)))
    }

    /// Where reading goes on after `at`.
    pub fn find(&self, at: Position) -> Found {
        if self.floor.is_some_and(|floor| is_same(floor, at)) {
            return Found::At(self.base);
        }
        // Within one epoch positions ascend; a gap may part two epochs, so the newest match of the epoch decides.
        for (index, slot) in self.slots.iter().enumerate().rev() {
            let here = match slot {
                Slot::Event(entry) => entry.at,
                Slot::Skipped(here) => Some(*here),
                Slot::Gap(gap) => gap.to,
            };
            let Some(here) = here.filter(|here| here.epoch == at.epoch) else { continue };
            if is_same(here, at) {
                return Found::At(self.base + index as u64 + 1);
            }
            if here.seq < at.seq {
                let is_newest = Some(here) == self.end;
                return if is_newest { Found::Newer } else { Found::Unknown };
            }
            if here.seq == at.seq {
                return Found::Unknown;
            }
        }
        match self.floor {
            Some(floor) if floor.epoch == at.epoch && at.seq < floor.seq => Found::Older,
            Some(floor) if floor.epoch == at.epoch && at.seq > floor.seq && self.slots.is_empty() => Found::Newer,
            Some(floor) if floor.epoch == at.epoch => Found::Unknown,
            // An epoch that this log does not hold: only the bus can say what became of it.
            Some(_) => Found::Older,
            None => Found::Unknown,
        }
    }
}

/// Whether two positions are one place. The fingerprint is 0 where the event is not known: at the tail of a room whose
/// events have expired, and right before an event.
fn is_same(a: Position, b: Position) -> bool {
    a.epoch == b.epoch && a.seq == b.seq && (a.check == b.check || a.check == 0 || b.check == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_event::Epoch;

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch: Epoch(epoch), seq, check: (epoch * 1000 + seq) as u32 }
    }

    fn log_of(floor: Position, slots: &[Slot]) -> Log {
        let mut log = Log::new(Some(floor));
        for slot in slots {
            log.push(slot.clone(), LogLimits { slots: 4, bytes: 1 << 20 });
        }
        log
    }

    #[test]
    fn positions_are_found_or_said_to_be_elsewhere() {
        let log = log_of(at(1, 10), &[Slot::Skipped(at(1, 12)), Slot::Skipped(at(1, 15))]);
        assert_eq!(log.find(at(1, 10)), Found::At(0));
        assert_eq!(log.find(at(1, 12)), Found::At(1));
        assert_eq!(log.find(at(1, 15)), Found::At(2));
        assert_eq!(log.find(at(1, 16)), Found::Newer);
        assert_eq!(log.find(at(1, 13)), Found::Unknown);
        assert_eq!(log.find(Position { check: 5, ..at(1, 12) }), Found::Unknown);
        assert_eq!(log.find(at(1, 9)), Found::Older);
        assert_eq!(log.find(at(2, 9)), Found::Older);
        assert_eq!(log_of(at(1, 0), &[]).find(at(1, 3)), Found::Newer);
    }

    #[test]
    fn an_event_that_has_expired_is_found_at_the_end_it_left_behind() {
        let left = Position { check: 0, ..at(1, 7) };
        assert_eq!(log_of(left, &[Slot::Skipped(at(1, 8))]).find(at(1, 7)), Found::At(0));
    }

    #[test]
    fn the_oldest_are_forgotten_and_cursors_notice() {
        let slots: Vec<_> = (1..=6).map(|seq| Slot::Skipped(at(1, seq))).collect();
        let log = log_of(at(1, 0), &slots);
        assert_eq!((log.base(), log.next_index(), log.end()), (2, 6, Some(at(1, 6))));
        assert!(log.read(1, Most::ALL, &mut Vec::new()).is_none());
        let mut read = Vec::new();
        assert!(log.read(2, Most::ALL, &mut read).is_some() && read.len() == 4);
        assert_eq!(log.find(at(1, 2)), Found::At(2));
        assert_eq!(log.find(at(1, 1)), Found::Older);
    }

    #[test]
    fn an_older_epoch_still_in_the_log_reads_on_through_the_gap() {
        let gap = Slot::Gap(Arc::new(Gap { from: Some(at(1, 2)), to: None, reason: "reset" }));
        let log = log_of(at(1, 1), &[Slot::Skipped(at(1, 2)), gap, Slot::Skipped(at(2, 1))]);
        assert_eq!(log.find(at(1, 2)), Found::At(1));
        assert_eq!(log.find(at(2, 1)), Found::At(3));
        assert_eq!(log.find(at(1, 7)), Found::Unknown);
    }

    #[test]
    fn a_gap_counts_its_events_where_the_bus_numbers_each_room_by_itself() {
        let gap = |from, to| Gap { from, to, reason: "retention" };
        for (mode, from, to, events) in [
            (Mode::RedisStreams, Some(at(1, 2)), Some(at(1, 9)), 7),
            (Mode::Memory, Some(at(1, 2)), Some(at(1, 3)), 1),
            // Numbers of the whole stream.
            (Mode::JetStream, Some(at(1, 2)), Some(at(1, 9)), 1),
            (Mode::RedisStreams, Some(at(1, 2)), Some(at(2, 9)), 1),
            (Mode::RedisStreams, Some(at(1, 2)), None, 1),
            (Mode::RedisStreams, None, Some(at(1, 9)), 1),
            (Mode::NatsCore, None, None, 1),
        ] {
            assert_eq!(gap(from, to).events(mode), events, "{mode:?} {from:?} {to:?}");
        }
    }
}
