//! What clients of Socket.IO are told, in the words of the namespace's dialect.

use super::{Session, Space};
use crate::{
    hub::{Snapped, entry::Entry, log::Gap},
    metrics::Failed,
    session::{begin::Begun, subscription, timestamp, upstream::Commanded},
};
use weft_dialect::{
    a, d,
    notice::Notice,
    socketio::{self, Answer, Cursor, SessionOffset, room_tag, tail},
    told,
};
use weft_event::{Offset, Position, Room};

/// Why something is not done.
pub(super) struct Refused<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    /// Which room it was about.
    pub(super) room: Option<&'a str>,
}

/// The ack that a reference names; `None` where none was asked for.
fn ack(space: Space, reference: Option<&str>, answer: &Answer<'_>) -> Option<Vec<u8>> {
    let id = reference?.parse().ok()?;
    Some(socketio::ack(space.namespace(), id, answer))
}

/// What says that something is not done: an ack where one was asked for, else an event.
fn refusal(space: Space, refused: &Refused<'_>, reference: Option<&str>) -> Vec<u8> {
    let Refused { code, message, room } = *refused;
    if let Some(ack) = ack(space, reference, &Answer::Refused { code, message }) {
        return ack;
    }
    let open = match space {
        Space::Main => d::error(code, message, room),
        Space::Executions => a::error(room.and_then(|room| room.strip_prefix("execution:")), message),
    };
    socketio::whole(&open, None)
}

/// What a command's sender is answered; `None` if it waits for nothing.
pub(in crate::session) fn command_answer(
    space: Space,
    reply: Commanded,
    room: &Room,
    reference: Option<&str>,
) -> Option<Vec<u8>> {
    match crate::session::upstream::refused(reply) {
        None => ack(space, reference, &Answer::Done),
        Some((code, message)) => {
            let refused = Refused { code: code.code, message: &message, room: Some(room.name()) };
            Some(refusal(space, &refused, reference))
        }
    }
}

impl Session {
    pub(super) fn tell_refused(&mut self, space: Space, refused: &Refused<'_>, reference: Option<&str>) {
        self.reply(refusal(space, refused, reference));
    }

    /// A room cannot be followed, or a command not be passed on.
    pub(in crate::session) fn refuse_in(
        &mut self,
        space: Space,
        code: told::ErrorCode,
        message: &str,
        room: Option<&Room>,
        reference: Option<&str>,
    ) {
        if self.recovered_room(space, false) {
            return self.settle_recovery(space);
        }
        self.tell_refused(space, &Refused { code: code.code, message, room: room.map(Room::name) }, reference);
    }

    /// A subscription can begin.
    pub(in crate::session) fn packet_begun(&mut self, index: usize, begun: &Begun, at: Option<Offset>, reference: Option<&str>) {
        let space = self.subscriptions[index].space;
        if self.recovered_room(space, begun.recovered) {
            self.subscriptions[index].held = true;
            return;
        }
        let offset = at.map(|at| at.to_string());
        let answer = Answer::Subscribed { outcome: begun.outcome, offset: offset.as_deref() };
        self.keep_begun(index, begun, at, ack(space, reference, &answer));
    }

    /// The room is followed already.
    pub(in crate::session) fn tell_followed(&mut self, space: Space, at: Option<Offset>, reference: Option<&str>) {
        let offset = at.map(|at| at.to_string());
        let answer = Answer::Subscribed { outcome: weft_dialect::native::Outcome::Live, offset: offset.as_deref() };
        ack(space, reference, &answer).into_iter().for_each(|ack| self.answer_when_current(space, ack));
    }

    /// It is done.
    pub(in crate::session) fn tell_done(&mut self, space: Space, reference: Option<&str>) {
        ack(space, reference, &Answer::Done).into_iter().for_each(|ack| self.reply(ack));
    }

    /// A room was left, or was not followed.
    pub(in crate::session) fn packet_left(&mut self, space: Space, room: &Room, reference: Option<&str>) {
        self.keep_left(space, room, ack(space, reference, &Answer::Done));
    }

    /// One event, in as many packets as the dialect has for it.
    pub(in crate::session) fn tell_packets(&mut self, index: usize, entry: &Entry) {
        let subscription = &mut self.subscriptions[index];
        let told = entry.at.and_then(|at| subscription.take_part(at)).unwrap_or(0);
        let (space, room) = (subscription.space, &subscription.follower.room.name);
        let packets = match space {
            Space::Main => entry.d_packets(|| room_tag(room)),
            Space::Executions => entry.a_packets(|| room_tag(room)),
        };
        let is_shared = self.is_shared(index);
        let before = self.outgoing.len();
        for packet in packets.iter().skip(usize::from(told)) {
            let own = (!is_shared).then(|| tail(self.session_offset(index, entry.at, packet.part).as_ref()));
            self.outgoing.push_back(self.wire.packet(packet, own));
        }
        if self.outgoing.len() > before {
            self.note(entry);
        }
    }

    /// Whether a session with this room alone is told the same.
    fn is_shared(&mut self, index: usize) -> bool {
        let space = self.subscriptions[index].space;
        let is_alone = self.subscriptions.iter().filter(|of| of.space == space).count() == 1;
        is_alone && self.since(index).is_none() && self.kept(space).is_some()
    }

    /// What stands for all rooms of a session when this one has been told up to `at`. `None` without recovery.
    ///
    /// A room that has not told all that it has read is left out: it then goes on from its beginning, and where that is
    /// gone the session is not recovered. Nothing is passed over.
    fn session_offset(&mut self, index: usize, at: Option<Position>, part: Option<u8>) -> Option<SessionOffset> {
        let space = self.subscriptions[index].space;
        self.kept(space)?;
        let own = Offset { part, ..subscription::offset(at?, self.since(index)) };
        let mut cursors = Vec::new();
        for (other, subscription) in self.subscriptions.iter().enumerate().filter(|(_, of)| of.space == space) {
            let told = match (other == index, subscription.seen) {
                (true, _) => own,
                (false, Some(seen)) if subscription.stands_where_it_was_told() => subscription::offset(seen, self.since(other)),
                (false, _) => continue,
            };
            cursors.push(Cursor { tag: room_tag(&subscription.follower.room.name), offset: told });
        }
        SessionOffset::new(cursors)
    }

    /// The broker is away, or back.
    pub(in crate::session) fn tell_degraded_in(&mut self, space: Space, active: bool) {
        let is_in = self.seat(space).is_some_and(|seat| seat.recovering.is_none());
        if space == Space::Main && is_in {
            self.reply(socketio::whole(&d::notice(&Notice::Degraded { active }), None));
        }
    }

    /// Events of a room are gone.
    pub(in crate::session) fn tell_gap_in(&mut self, index: usize, gap: &Gap) {
        let subscription = &self.subscriptions[index];
        let room = &subscription.follower.room.name;
        let (from, to) = (gap.from.map(Offset::from), gap.to.map(Offset::from));
        let notice = Notice::Gap { room, from: from.as_ref(), to: to.as_ref(), reason: gap.reason };
        let open = match subscription.space {
            Space::Main => Some(d::notice(&notice)),
            Space::Executions => a::notice(&notice, room.id(), &timestamp()),
        };
        open.into_iter().for_each(|open| self.reply(socketio::whole(&open, None)));
    }

    /// The folded state of a room's execution.
    pub(in crate::session) fn tell_snapshot_in(&mut self, index: usize, snapped: &Snapped) {
        let at = snapped.at.map(|at| subscription::offset(at, self.since(index)).to_string());
        let subscription = &self.subscriptions[index];
        let mut frames = match subscription.space {
            Space::Executions => a::snapshot(&snapped.snapshot, &timestamp()),
            Space::Main => {
                let json = snapped.snapshot.to_json(at.as_deref());
                match d::snapshot(&subscription.follower.room.name, at.as_deref(), &json) {
                    Ok(frame) => vec![frame],
                    Err(_) => return self.shared.hub.metrics.failed(Failed::Encode, 1),
                }
            }
        };
        let last = frames.pop();
        frames.into_iter().for_each(|frame| self.reply(socketio::whole(&frame, None)));
        let offset = self.session_offset(index, snapped.at, None);
        last.into_iter().for_each(|frame| self.reply(socketio::whole(&frame, offset.as_ref())));
    }
}
