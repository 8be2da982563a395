//! From cursors to frames: what a session takes from its rooms when its socket can take more.

use super::{
    Done, Session, Times,
    access::paced,
    begin,
    socketio::Space,
    subscription::{self, Most, Next, Told},
};
use crate::{
    hub::{entry::Entry, log::Slot},
    metrics::Failed,
    transport::{Dialect, Frame},
};
use std::{cell::RefCell, collections::VecDeque, sync::Arc, task::Context};
use weft_event::{Epoch, Kept};

/// Frames gathered before each write.
const GATHER: usize = 16;
/// Bytes gathered before each write, with the frame that passes them. Small enough that sockets which take nothing for
/// a while keep little alive that logs have forgotten.
const GATHER_BYTES: usize = 64 * 1024;

/// What a subscription that conflates and is behind reads at once, so that there is something to leave out.
const CONFLATED: Most = Most { slots: 256, bytes: 128 * 1024 };

/// What the sessions of a thread share, one after the other, so that none owns buffers while it is idle.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) frames: VecDeque<Frame>,
    pub(super) slots: Vec<Slot>,
    told: Vec<Told>,
    /// Events on their way to conflation.
    run: Vec<Arc<Entry>>,
}

thread_local! {
    pub(super) static DESK: RefCell<Desk> = RefCell::default();
}

impl Session {
    /// Takes the next frames from the subscriptions, until there are some or nothing is left to read: what a type
    /// filter or another room's copy leaves out makes no frame, and nobody would wake us to read on after it.
    pub(super) fn gather(&mut self, context: &mut Context<'_>, desk: &mut Desk) {
        while self.outgoing.is_empty() && self.read_once(context, desk) {}
        self.clock.is_behind &= !self.outgoing.is_empty();
    }

    /// One round over the subscriptions; whether anything moved.
    fn read_once(&mut self, context: &mut Context<'_>, desk: &mut Desk) -> bool {
        let mut moved = false;
        let count = self.subscriptions.len();
        let mut bytes = 0;
        for step in 0..count {
            let index = (self.turn as usize + step) % count;
            if self.outgoing.len() >= GATHER || bytes >= GATHER_BYTES {
                self.turn = index as u32;
                break;
            }
            if !self.must_wait(index) {
                moved |= self.take_from(index, &mut bytes, desk);
            }
        }
        self.leave_rooms();
        // Operations begun just now must be polled once, or nothing wakes us for them.
        moved | self.poll_operations(context)
    }

    fn must_wait(&self, index: usize) -> bool {
        let subscription = &self.subscriptions[index];
        let is_main = subscription.space == Space::Main;
        subscription.held || (is_main && self.copies.must_wait(&self.subscriptions, index))
    }

    /// Reads one subscription on; whether it may have more at once.
    fn take_from(&mut self, index: usize, bytes: &mut usize, desk: &mut Desk) -> bool {
        let subscription = &mut self.subscriptions[index];
        // Many events at once make nobody late: only a socket that takes no more does, or having been away.
        let is_late = self.clock.is_behind || subscription.reads_history();
        let conflates = is_late && subscription.conflates() && subscription.is_behind(GATHER);
        let most = if conflates {
            CONFLATED
        } else {
            Most { slots: GATHER.saturating_sub(self.outgoing.len()), bytes: GATHER_BYTES.saturating_sub(*bytes) }
        };
        let before = self.outgoing.len();
        let is_past = subscription.reads_history();
        let next = subscription.read(most, &mut desk.slots, &mut desk.told);
        let joins = subscription.batches();
        if is_past {
            let events = desk.told.iter().filter(|told| matches!(told, Told::Event(_))).count() as u64;
            // What the log has when it comes back to it is of the past as well.
            let rest = if subscription.reads_history() { 0 } else { subscription.behind() };
            self.shared.hub.metrics.replayed(events + rest);
        }
        for item in desk.told.drain(..) {
            self.tell(index, item, conflates, &mut desk.run);
        }
        self.tell_run(index, &mut desk.run);
        if joins {
            self.wire.join(&mut self.outgoing, before);
        }
        *bytes += self.outgoing.iter().skip(before).map(Frame::wire_bytes).sum::<usize>();
        let subscription = &self.subscriptions[index];
        match next {
            Next::Wait => return false,
            Next::Again => return true,
            Next::ReadPage(from) => {
                let (key, room, shared) = (subscription.key, subscription.follower.room.clone(), self.shared.clone());
                let has_had_enough = subscription.has_replayed(self.shared.limits.replay_events_max);
                let caller = self.caller(subscription.space).clone();
                let reader = self.reader();
                self.operate(async move {
                    paced(&shared, &caller).await;
                    Done::Page(key, begin::go_on(&shared.hub, &room, from, has_had_enough, reader).await)
                });
            }
            Next::Behind => self.shared.feed.suspect(subscription.follower.room.clone()),
        }
        false
    }

    /// Makes frames of what a subscription read; of events that may be conflated, a run to be told later.
    fn tell(&mut self, index: usize, item: Told, conflates: bool, run: &mut Vec<Arc<Entry>>) {
        match item {
            Told::Event(entry) => {
                let subscription = &self.subscriptions[index];
                let is_due = subscription.admits(&entry)
                    && (subscription.space != Space::Main || !self.copies.is_repeat(&entry, &mut self.subscriptions, index));
                match (is_due, conflates) {
                    (false, _) => {}
                    (true, true) => run.push(entry),
                    (true, false) => self.tell_event(index, &entry, None),
                }
            }
            Told::Gap(gap) => {
                self.tell_run(index, run);
                self.tell_gap(index, &gap);
            }
            Told::Snapshot(snapped) => {
                self.tell_run(index, run);
                self.tell_snapshot(index, &snapped);
            }
        }
    }

    /// What the offsets of a subscription tell of its beginning.
    pub(super) fn since(&self, index: usize) -> Option<(Epoch, u64)> {
        let subscription = &self.subscriptions[index];
        subscription.since.filter(|_| self.has_copies(subscription.space))
    }

    /// One event, or what stands for it and others before it.
    fn tell_event(&mut self, index: usize, entry: &Entry, kept: Option<&Kept>) {
        match self.wire.dialect {
            Dialect::C | Dialect::E => return self.tell_pieces(index, entry),
            Dialect::SocketIo => return self.tell_packets(index, entry),
            Dialect::Native | Dialect::Sse => {}
        }
        let since = self.since(index);
        let own = entry.at.filter(|_| since.is_some()).map(|at| subscription::offset(at, since));
        let frame = match (kept.and_then(|kept| Some((kept, kept.skipped?))), own) {
            (Some((kept, skipped)), own) => {
                let event = kept.joined.as_deref().unwrap_or(&entry.event);
                let offset = own.or_else(|| entry.at.map(Into::into));
                self.shared.hub.metrics.conflated.increment(skipped);
                self.wire.conflated(entry.native_body_of(event, Some(skipped)), offset.as_ref())
            }
            (None, Some(own)) => self.wire.event_with(entry, &own),
            (None, None) => self.wire.event(entry),
        };
        let Some(frame) = frame else { return self.shared.hub.metrics.failed(Failed::Encode, 1) };
        self.outgoing.push_back(if self.subscriptions[index].batches() { frame.joinable() } else { frame });
        self.note(entry);
    }

    /// One event of a room that is all a connection follows, in as many frames as the dialect has for it.
    fn tell_pieces(&mut self, index: usize, entry: &Entry) {
        let told = entry.at.and_then(|at| self.subscriptions[index].take_part(at)).unwrap_or(0);
        let before = self.outgoing.len();
        self.outgoing.extend(self.wire.pieces(entry, told));
        if self.outgoing.len() > before {
            self.note(entry);
        }
    }

    /// This event is on its way to the client.
    pub(super) fn note(&mut self, entry: &Entry) {
        entry.handed();
        if self.timed {
            self.last_event = Some(Box::new(Times { received: entry.received, stored_ms: entry.stored_ms }));
        }
    }

    /// What is left of a run of events after conflation. Nothing of it is shared: every session is behind in its own way.
    fn tell_run(&mut self, index: usize, run: &mut Vec<Arc<Entry>>) {
        if run.is_empty() {
            return;
        }
        let kept = weft_event::conflate(run.iter().map(|entry| &entry.event), &self.shared.hub.limits.event);
        for kept in &kept {
            self.tell_event(index, &run[kept.index], Some(kept));
        }
        run.clear();
    }

    /// So many events went to the socket.
    pub(super) fn delivered(&mut self, events: u64) {
        if events == 0 {
            return;
        }
        let metrics = &self.shared.hub.metrics;
        metrics.handed_over(events);
        if self.outgoing.is_empty()
            && let Some(times) = self.last_event.take()
        {
            metrics.delivered(times.received, times.stored_ms);
        }
    }
}
