//! Keeps one room's log true to the stored one: the live path is only a hint.
//!
//! Pure: no I/O and no clock. Live events, history pages and tails go in; what to do comes out as [`Step`]s.
//! Every live path loses, repeats and reorders events without saying so. Three things together make that
//! harmless, and the simulation in the tests shows that none can be left out: the `prev` link of each event, the
//! re-check of the tail, and history reads that verify the event they begin after.

use std::collections::VecDeque;
use weft_bus::{Anchor, Delivery, Page, Stamp, Tail};
use weft_event::{Epoch, Position};

/// Live events kept while a read is under way; past this they are dropped and read again.
const BUFFERED_MAX: usize = 512;
/// Bytes of them.
const BUFFERED_BYTES_MAX: usize = 1024 * 1024;
/// Positions remembered for telling a repeated event from a reused number.
const RECENT_MAX: usize = 128;
/// Reads in a row that may answer nothing new although a live event says there is something.
const STALE_READS_MAX: u32 = 20;

/// What the room must do next, in order.
#[derive(Debug)]
pub enum Step {
    /// Add this event to the log.
    Append(Delivery),
    /// Tell every reader that events are gone.
    Gap {
        /// The last event before.
        from: Position,
        /// The last missing one, where known.
        to: Option<Position>,
        /// Why.
        reason: &'static str,
    },
    /// Read the history after this position and give the page to [`RoomSync::page`].
    Read(Position),
    /// Ask the bus for a new epoch in place of this one and give the answer to [`RoomSync::renewed`].
    RenewEpoch(Epoch),
    /// Read the whole history from its start and give the page to [`RoomSync::page`].
    ReadAll,
    /// Read again, after a pause: the broker answered older than what it sent.
    ReadLater(Position),
}

#[derive(Clone, Copy)]
enum Phase {
    /// The tail is not known yet.
    Opening,
    Live,
    /// The live path was interrupted: until the tail is known again no link can be trusted, because a broker that
    /// lost its end may have counted up to our last number a second time.
    Interrupted,
    Reading(Reading),
}

/// What the read under way is for.
#[derive(Clone, Copy)]
enum Reading {
    /// Going on after the last event.
    Forward,
    /// After a reset: is this one of our last events part of the new history too? Then only what follows it is new.
    Probe(usize),
    /// After a reset that left nothing of what we know: everything is new.
    All,
}

/// What became of reads and events, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Live events that came again.
    pub repeated: u64,
    /// Reads begun because a live event's `prev` was unknown.
    pub link_repairs: u64,
    /// Reads begun because the tail had moved on unheard: silent loss that no later event revealed.
    pub tail_repairs: u64,
    /// Live events dropped while a read was under way, and read again.
    pub overflows: u64,
    /// Times the history was lost or rewound.
    pub resets: u64,
}

/// The state machine of one followed room.
pub struct RoomSync {
    phase: Phase,
    last: Option<Position>,
    buffered: VecDeque<Delivery>,
    buffered_bytes: usize,
    overflowed: bool,
    /// The live path was interrupted while a read was under way.
    interrupted: bool,
    stale_reads: u32,
    /// (seq, check) of the last events appended, in the current epoch.
    recent: VecDeque<(u64, u32)>,
    /// After a reset, until the new history is read to its end: what was appended from the one before.
    before_reset: Vec<(u64, u32)>,
    /// What happened so far.
    pub counts: Counts,
    /// Guards left out on purpose, to show that the checkers notice.
    #[cfg(any(test, feature = "mutants"))]
    pub without: Mutant,
    /// [`Mutant::SeamMerge`] is about to take whatever comes first.
    #[cfg(any(test, feature = "mutants"))]
    seamless: bool,
}

/// A guard to leave out (test builds only).
#[cfg(any(test, feature = "mutants"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutant {
    /// Everything works.
    #[default]
    Nothing,
    /// Repeated events are delivered again.
    Dedup,
    /// The `prev` link and the tail are not checked.
    GapCheck,
    /// A room begins with the first live event that comes after it was opened, not at the tail that was read.
    SeamMerge,
}

impl Default for RoomSync {
    fn default() -> Self {
        Self {
            phase: Phase::Opening,
            last: None,
            buffered: VecDeque::new(),
            buffered_bytes: 0,
            overflowed: false,
            interrupted: false,
            stale_reads: 0,
            recent: VecDeque::new(),
            before_reset: Vec::new(),
            counts: Counts::default(),
            #[cfg(any(test, feature = "mutants"))]
            without: Mutant::Nothing,
            #[cfg(any(test, feature = "mutants"))]
            seamless: false,
        }
    }
}

impl RoomSync {
    /// The last event appended, or the tail that the room was opened at.
    pub fn last(&self) -> Option<Position> {
        self.last
    }

    /// Whether nothing is under way.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// The live path is confirmed and the room ends at `tail`: everything after it will be appended.
    pub fn opened(&mut self, tail: Position) -> Vec<Step> {
        self.last = Some(tail);
        self.phase = Phase::Live;
        #[cfg(any(test, feature = "mutants"))]
        if self.without == Mutant::SeamMerge {
            self.forget_buffered();
            self.seamless = true;
        }
        self.settle()
    }

    /// The live path was interrupted. Live events wait until the tail is given to [`RoomSync::verify`].
    pub fn interrupted(&mut self) {
        // What waits came by the interrupted path; the broker may have lost it since.
        self.forget_buffered();
        match self.phase {
            Phase::Live | Phase::Interrupted => self.phase = Phase::Interrupted,
            Phase::Opening | Phase::Reading(_) => self.interrupted = true,
        }
    }

    /// A live event arrived.
    pub fn live(&mut self, delivery: Delivery) -> Vec<Step> {
        let Stamp::Stored { at, prev } = delivery.stamp else { return vec![Step::Append(delivery)] };
        if !matches!(self.phase, Phase::Live) {
            self.buffer(delivery);
            return Vec::new();
        }
        let Some(last) = self.last else { return Vec::new() };
        if at.epoch != last.epoch || (at.seq <= last.seq && self.is_reused(at)) {
            self.buffer(delivery);
            return self.read(last);
        }
        if at.seq <= last.seq {
            return self.repeated(delivery);
        }
        #[cfg(any(test, feature = "mutants"))]
        if std::mem::take(&mut self.seamless) {
            return self.append(delivery, at);
        }
        if prev > last.seq && self.checks_links() {
            self.counts.link_repairs += 1;
            self.buffer(delivery);
            return self.read(last);
        }
        // The broker's event before this one is older than our last: ours is not in its history any more.
        let forked = prev != 0 && prev < last.seq && last.check != 0;
        if forked && self.checks_links() {
            self.buffer(delivery);
            return self.read(last);
        }
        self.append(delivery, at)
    }

    /// A page of history that [`Step::Read`] or [`Step::ReadAll`] asked for.
    pub fn page(&mut self, page: Page) -> Vec<Step> {
        let (Phase::Reading(reading), Some(last)) = (self.phase, self.last) else { return Vec::new() };
        let mut steps = Vec::new();
        match (reading, page.anchor) {
            (Reading::Probe(index), Anchor::Held) => self.last = self.recent_in(page.epoch, index),
            (Reading::Probe(index), _) => return self.probe(page.epoch, index / 2, index),
            (Reading::All, _) => self.last = Some(Position::start(page.epoch)),
            (Reading::Forward, Anchor::Held) => {}
            (Reading::Forward, Anchor::Changed) => return self.reset(page.epoch, last),
            (Reading::Forward, Anchor::Trimmed) => {
                let first = page.events.first().and_then(Delivery::position);
                let to = first.map(|first| Position { seq: first.seq - 1, check: 0, ..first });
                steps.push(Step::Gap { from: last, to, reason: "retention" });
                self.last = to.or(self.last);
            }
        }
        let more = page.more;
        let progress = self.append_page(page.events, &mut steps);
        let Some(last) = self.last else { return steps };
        self.phase = if more { Phase::Reading(Reading::Forward) } else { Phase::Live };
        if more {
            steps.push(Step::Read(last));
            return steps;
        }
        self.stale_reads = if progress { 0 } else { self.stale_reads + 1 };
        self.before_reset.clear();
        steps.extend(self.settle());
        if matches!(self.phase, Phase::Live) {
            self.stale_reads = 0;
        }
        steps
    }

    /// The epoch in force after [`Step::RenewEpoch`].
    pub fn renewed(&mut self, epoch: Epoch) -> Vec<Step> {
        let newest = self.recent.len();
        self.probe(epoch, newest.saturating_sub(1), newest)
    }

    /// The room's tail as read from the broker, and the last event known when that was asked.
    pub fn verify(&mut self, tail: Tail, last_when_asked: Position) -> Vec<Step> {
        let Some(last) = self.last else { return Vec::new() };
        let tail = tail.at;
        match self.phase {
            Phase::Live if self.checks_links() => {}
            Phase::Interrupted if tail == last => {
                self.phase = Phase::Live;
                return self.settle();
            }
            Phase::Interrupted => return self.read(last),
            Phase::Live | Phase::Opening | Phase::Reading(_) => return Vec::new(),
        }
        let same_epoch = tail.epoch == last.epoch;
        let known = same_epoch && tail.seq >= last_when_asked.seq && tail.seq <= last.seq && !self.is_reused(tail);
        // A room whose events have all expired has nothing that could have been missed and still be read.
        let expired = same_epoch && tail.check == 0 && tail.seq >= last.seq;
        if known || expired {
            return Vec::new();
        }
        self.counts.tail_repairs += u64::from(same_epoch && tail.seq > last.seq);
        self.read(last)
    }

    /// The read that was asked for failed; ask again after a pause.
    pub fn read_failed(&mut self) -> Vec<Step> {
        match (self.phase, self.last) {
            (Phase::Reading(Reading::Forward), Some(last)) => vec![Step::ReadLater(last)],
            (Phase::Reading(Reading::Probe(_) | Reading::All), Some(last)) => {
                self.phase = Phase::Reading(Reading::Forward);
                vec![Step::ReadLater(last)]
            }
            _ => Vec::new(),
        }
    }

    fn checks_links(&self) -> bool {
        #[cfg(any(test, feature = "mutants"))]
        return self.without != Mutant::GapCheck && !self.seamless;
        #[cfg(not(any(test, feature = "mutants")))]
        true
    }

    fn repeated(&mut self, _delivery: Delivery) -> Vec<Step> {
        self.counts.repeated += 1;
        #[cfg(any(test, feature = "mutants"))]
        if self.without == Mutant::Dedup {
            return vec![Step::Append(_delivery)];
        }
        Vec::new()
    }

    /// Whether this number was another event's: the broker lost its tail and counted again.
    fn is_reused(&self, at: Position) -> bool {
        let before = self.recent.iter().rev().find(|(seq, _)| *seq == at.seq);
        at.check != 0 && before.is_some_and(|(_, check)| *check != at.check)
    }

    fn buffer(&mut self, delivery: Delivery) {
        let bytes = delivery.payload.len();
        if self.buffered.len() >= BUFFERED_MAX || self.buffered_bytes + bytes > BUFFERED_BYTES_MAX {
            // What is dropped here is stored: a further read fetches it.
            self.counts.overflows += 1;
            self.forget_buffered();
            self.overflowed = true;
        }
        self.buffered_bytes += bytes;
        self.buffered.push_back(delivery);
    }

    /// Bytes of live events that wait for a read.
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    fn forget_buffered(&mut self) {
        self.buffered = VecDeque::new();
        self.buffered_bytes = 0;
    }

    fn read(&mut self, last: Position) -> Vec<Step> {
        if self.stale_reads > STALE_READS_MAX {
            return self.skip_unreadable(last);
        }
        self.phase = Phase::Reading(Reading::Forward);
        if self.stale_reads > 0 { vec![Step::ReadLater(last)] } else { vec![Step::Read(last)] }
    }

    /// The broker keeps answering less than it sent: go on with what it sends, and say that there is a hole.
    fn skip_unreadable(&mut self, last: Position) -> Vec<Step> {
        self.stale_reads = 0;
        let oldest =
            self.buffered.iter().min_by_key(|delivery| delivery.position().map(|at| at.seq)).map(|delivery| delivery.stamp);
        let Some(Stamp::Stored { at, prev }) = oldest else { return Vec::new() };
        let to = Position { seq: prev, check: 0, ..at };
        self.last = Some(to);
        self.phase = Phase::Live;
        let mut steps = vec![Step::Gap { from: last, to: Some(to), reason: "unreadable" }];
        steps.extend(self.settle());
        steps
    }

    fn append(&mut self, delivery: Delivery, at: Position) -> Vec<Step> {
        self.last = Some(at);
        // Numbers from here on that we knew were another history's, which has been lost.
        while self.recent.back().is_some_and(|(seq, _)| *seq >= at.seq) {
            self.recent.pop_back();
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((at.seq, at.check));
        vec![Step::Append(delivery)]
    }

    fn append_page(&mut self, events: Vec<Delivery>, steps: &mut Vec<Step>) -> bool {
        let mut progress = false;
        for delivery in events {
            let Some(at) = delivery.position() else { continue };
            // After a reset the page may begin with events that were appended in the epoch before.
            let appended = self.before_reset.contains(&(at.seq, at.check));
            if self.last.is_none_or(|last| at.epoch != last.epoch || at.seq > last.seq) {
                if appended {
                    self.last = Some(at);
                } else {
                    steps.extend(self.append(delivery, at));
                }
                progress = true;
            }
        }
        progress
    }

    /// Plays the events that arrived meanwhile, in order; any of them may begin another read.
    fn settle(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        if std::mem::take(&mut self.interrupted)
            && let Some(last) = self.last
        {
            // The read may have been answered before the interruption: read again before any link is trusted.
            return self.read(last);
        }
        let mut waiting = Vec::from(std::mem::take(&mut self.buffered));
        self.buffered_bytes = 0;
        waiting.sort_by_key(|delivery| delivery.position().map(|at| at.seq));
        let epoch = self.last.map(|last| last.epoch);
        // What was read just now is the truth up to `last`. An event of another epoch, or another one under a number
        // up to there, is left over from a history that the broker has lost since.
        let last_seq = self.last.map_or(0, |last| last.seq);
        let repeated = waiting.len();
        waiting.retain(|delivery| delivery.position().is_some_and(|at| Some(at.epoch) == epoch && at.seq > last_seq));
        self.counts.repeated += (repeated - waiting.len()) as u64;
        for delivery in waiting {
            steps.extend(self.live(delivery));
        }
        if std::mem::take(&mut self.overflowed)
            && let (Phase::Live, Some(last)) = (&self.phase, self.last)
        {
            steps.extend(self.read(last));
        }
        steps
    }

    /// The history was lost or rewound: tell it, and go on from what there is now.
    fn reset(&mut self, found: Epoch, last: Position) -> Vec<Step> {
        self.counts.resets += 1;
        self.before_reset.extend(&self.recent);
        let too_many = self.before_reset.len().saturating_sub(4 * RECENT_MAX);
        self.before_reset.drain(..too_many);
        let mut steps = vec![Step::Gap { from: last, to: None, reason: "reset" }];
        if found == last.epoch {
            self.phase = Phase::Reading(Reading::All);
            steps.push(Step::RenewEpoch(found));
        } else {
            steps.extend(self.renewed(found));
        }
        steps
    }

    /// Looks for the newest of our last events that the new history still holds, older ones in doubling steps.
    fn probe(&mut self, epoch: Epoch, index: usize, before: usize) -> Vec<Step> {
        match self.recent_in(epoch, index) {
            Some(at) if index < before => {
                self.phase = Phase::Reading(Reading::Probe(index));
                vec![Step::Read(at)]
            }
            _ => {
                self.recent.clear();
                self.phase = Phase::Reading(Reading::All);
                vec![Step::ReadAll]
            }
        }
    }

    fn recent_in(&self, epoch: Epoch, index: usize) -> Option<Position> {
        self.recent.get(index).map(|(seq, check)| Position { epoch, seq: *seq, check: *check })
    }
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
