//! From cursors to frames: what a session takes from its rooms when its socket can take more.

use super::{
    Done, Session, Times, begin,
    subscription::{self, Most, Next, Told},
};
use crate::{hub::log::Slot, metrics::Failed, transport::Frame};
use std::{cell::RefCell, collections::VecDeque, task::Context};
use weft_dialect::native;

/// Frames gathered before each write.
const GATHER: usize = 16;
/// Bytes gathered before each write, with the frame that passes them. Small enough that sockets which take nothing for
/// a while keep little alive that logs have forgotten.
const GATHER_BYTES: usize = 64 * 1024;

/// What the sessions of a thread share, one after the other, so that none owns buffers while it is idle.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) frames: VecDeque<Frame>,
    pub(super) slots: Vec<Slot>,
    told: Vec<Told>,
}

thread_local! {
    pub(super) static DESK: RefCell<Desk> = RefCell::default();
}

impl Session {
    /// Takes the next frames from the subscriptions, until there are some or nothing is left to read: what a type
    /// filter or another room's copy leaves out makes no frame, and nobody would wake us to read on after it.
    pub(super) fn gather(&mut self, context: &mut Context<'_>, desk: &mut Desk) {
        while self.outgoing.is_empty() && self.read_once(context, desk) {}
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
            if !self.copies.must_wait(&self.subscriptions, index) {
                moved |= self.take_from(index, &mut bytes, desk);
            }
        }
        self.leave_rooms();
        // Operations begun just now must be polled once, or nothing wakes us for them.
        moved | self.poll_operations(context)
    }

    /// Reads one subscription on; whether it may have more at once.
    fn take_from(&mut self, index: usize, bytes: &mut usize, desk: &mut Desk) -> bool {
        let most = Most { slots: GATHER.saturating_sub(self.outgoing.len()), bytes: GATHER_BYTES.saturating_sub(*bytes) };
        let before = self.outgoing.len();
        let next = self.subscriptions[index].read(most, &mut desk.slots, &mut desk.told);
        for item in desk.told.drain(..) {
            self.tell(index, item);
        }
        *bytes += self.outgoing.iter().skip(before).map(Frame::wire_bytes).sum::<usize>();
        let subscription = &self.subscriptions[index];
        match next {
            Next::Wait => return false,
            Next::Again => return true,
            Next::ReadPage(from) => {
                let (key, room, shared) = (subscription.key, subscription.follower.room.clone(), self.shared.clone());
                self.operate(async move { Done::Page(key, begin::read_page(&shared.hub, &room, from).await) });
            }
            Next::Behind => self.shared.feed.suspect(subscription.follower.room.clone()),
        }
        false
    }

    /// Makes frames of what a subscription read.
    fn tell(&mut self, index: usize, item: Told) {
        let own_tails = self.copies.are_possible();
        let subscription = &self.subscriptions[index];
        let since = if own_tails { subscription.since } else { None };
        let room = &subscription.follower.room.name;
        let metrics = &self.shared.hub.metrics;
        match item {
            Told::Event(entry) => {
                if !subscription.admits(&entry) || self.copies.is_repeat(&entry, &mut self.subscriptions, index) {
                    return;
                }
                let frame = match entry.at.filter(|_| since.is_some()) {
                    Some(at) => self.wire.event_with(&entry, &subscription::offset(at, since)),
                    None => self.wire.event(&entry),
                };
                let Some(frame) = frame else { return metrics.failed(Failed::Encode, 1) };
                self.outgoing.push_back(frame);
                if self.timed {
                    self.last_event = Some(Box::new(Times { received: entry.received, stored_ms: entry.stored_ms }));
                }
            }
            Told::Gap(gap) => {
                let (from, to) = (gap.from.map(|at| at.to_string()), gap.to.map(|at| at.to_string()));
                let frame = native::gap(self.wire.encoding, room, from.as_deref(), to.as_deref(), gap.reason);
                metrics.failed(Failed::Retention, 1);
                self.reply(frame);
            }
            Told::Snapshot(snapped) => {
                let offset = snapped.at.map(|at| subscription::offset(at, since).to_string());
                let json = snapped.snapshot.to_json(offset.as_deref());
                match native::snapshot(self.wire.encoding, room, offset.as_deref(), &json) {
                    Ok(frame) => self.reply(frame),
                    Err(_) => metrics.failed(Failed::Encode, 1),
                }
            }
        }
    }

    /// So many events went to the socket.
    pub(super) fn delivered(&mut self, events: u64) {
        if events == 0 {
            return;
        }
        let metrics = &self.shared.hub.metrics;
        metrics.deliveries.increment(events);
        if self.outgoing.is_empty()
            && let Some(times) = self.last_event.take()
        {
            metrics.delivered(times.received, times.stored_ms);
        }
    }
}
