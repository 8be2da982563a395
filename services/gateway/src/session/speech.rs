//! What a session says beside events, in its client's dialect; and what clients say in those dialects that know hardly a
//! word.

use super::{End, FOREIGN_MAX, Following, Session, socketio::Space, subscription, timestamp};
use crate::{
    hub::{
        Snapped,
        log::{Gap, LIMIT},
    },
    metrics::Failed,
    transport::Dialect,
};
use weft_dialect::{
    c, e,
    native::{self, ErrorFrame, RoomRequest, Subscribe},
    notice::Notice,
    sse,
    told::{self, ErrorCode},
};
use weft_event::{Offset, Room};

/// How long the client of an event stream waits before it comes again, in milliseconds. Browsers differ without it.
const RETRY_MS: u64 = 1000;

impl Session {
    /// The first frame.
    pub(super) fn greet(&mut self) {
        match self.wire.dialect {
            Dialect::Native => {
                let id = self.id.hyphenated().to_string();
                self.reply(native::connected(self.wire.encoding, &id, &timestamp()));
            }
            Dialect::Sse => self.reply(sse::retry(RETRY_MS).into_bytes()),
            Dialect::C | Dialect::E | Dialect::SocketIo => {}
        }
    }

    /// Follows what the connection's address names.
    pub(super) fn follow(&mut self, following: Following) {
        let Following { room, resume, snapshot, history_logs } = following;
        let request = RoomRequest { room, resume, as_execution: false };
        let (batch, conflate, types, reference) = (false, false, None, None);
        let subscribe = Subscribe { rooms: vec![request.clone()], snapshot, batch, conflate, history_logs, types, reference };
        self.subscribe_one(Space::Main, &request, &subscribe);
    }

    /// The room of a connection that follows one.
    fn only_room(&self) -> Option<&Room> {
        self.subscriptions.first().map(|subscription| &subscription.follower.room.name)
    }

    /// A text in a dialect whose clients have next to nothing to say.
    pub(super) fn hear_text(&mut self, bytes: &[u8]) -> Result<(), End> {
        let text = String::from_utf8_lossy(bytes);
        let refused = match self.wire.dialect {
            Dialect::C => c::input(&text).map(|c::Ping| self.reply(c::PONG.as_bytes().to_vec())).err(),
            // Every frame of E is an entry, so that nothing is answered.
            _ if e::is_ping(&text) => None,
            _ => return self.heard_nonsense(),
        };
        let Some(refused) = refused else {
            self.foreign = 0;
            return Ok(());
        };
        let execution = self.only_room().map_or("", Room::id).to_owned();
        self.reply(c::error(&execution, &refused.message, &timestamp()));
        self.heard_nonsense()
    }

    fn heard_nonsense(&mut self) -> Result<(), End> {
        self.foreign += 1;
        if self.foreign >= FOREIGN_MAX { Err(End::Close(told::NO_PROTOCOL)) } else { Ok(()) }
    }

    /// Answers with an error; the connection stays open, where it has anything else to do.
    pub(super) fn refuse(&mut self, space: Space, code: ErrorCode, message: &str, room: Option<&Room>, reference: Option<&str>) {
        let error =
            ErrorFrame { code: code.code, message, field: None, reference, room: room.map(Room::name), timestamp: &timestamp() };
        match self.wire.dialect {
            Dialect::Native => return self.reply(native::error(self.wire.encoding, &error)),
            Dialect::SocketIo => return self.refuse_in(space, code, message, room, reference),
            Dialect::C => self.reply(c::error(room.map_or("", Room::id), message, &timestamp())),
            // An entry that is no event would be kept by the viewer; a stream has no word for it. Both come again.
            Dialect::E | Dialect::Sse => {}
        }
        self.lost = Some(if code == told::FORBIDDEN { &told::NOT_ALLOWED } else { &told::TRY_AGAIN_LATER });
    }

    /// Says that it is done.
    pub(super) fn acknowledge(&mut self, reference: Option<&str>) {
        if self.wire.dialect == Dialect::Native {
            self.reply(native::ack(self.wire.encoding, reference));
        }
    }

    /// Says why a token was not accepted, or that one is needed.
    pub(super) fn answer_refused(&mut self, code: ErrorCode, reference: Option<&str>) {
        if self.wire.dialect == Dialect::Native {
            self.refuse(Space::Main, code, code.sentence, None, reference);
        }
    }

    /// A token is about to expire. Dialects without a word for it are closed when it has.
    pub(super) fn warn_of_expiry(&mut self, space: Space) {
        let is_told = match self.wire.dialect {
            Dialect::Native => true,
            Dialect::SocketIo => space == Space::Main,
            _ => false,
        };
        if is_told {
            self.refuse(space, told::TOKEN_EXPIRED, told::TOKEN_EXPIRED.sentence, None, None);
        }
    }

    /// Says where a stream begins, before its first event: who is cut off until then goes on from here.
    pub(super) fn tell_beginning(&mut self, at: Option<Offset>, has_more_to_tell: bool) {
        if let (Dialect::Sse, Some(at), false) = (self.wire.dialect, at, has_more_to_tell) {
            self.reply(format!("id: {at}\n\n").into_bytes());
        }
    }

    /// The broker is away, or back.
    pub(super) fn tell_degraded(&mut self) {
        let degraded = self.shared.hub.is_degraded();
        if degraded == self.told_degraded {
            return;
        }
        self.told_degraded = degraded;
        match self.wire.dialect {
            Dialect::Native => self.reply(native::degraded(self.wire.encoding, degraded)),
            Dialect::Sse => {
                let told = self.subscriptions.first().filter(|subscription| subscription.stands_where_it_was_told());
                let at = told.and_then(|subscription| subscription.seen).map(Offset::from);
                self.reply(sse::notice(&Notice::Degraded { active: degraded }, at.as_ref()));
            }
            Dialect::SocketIo => self.tell_degraded_in(Space::Main, degraded),
            Dialect::C | Dialect::E => {}
        }
    }

    /// It will be closed; its client is to come back so many milliseconds after that.
    pub(super) fn tell_reconnect(&mut self, after_ms: u32) {
        let after_ms = u64::from(after_ms);
        match self.wire.dialect {
            Dialect::Native => self.reply(native::reconnect(self.wire.encoding, after_ms)),
            Dialect::Sse => self.reply(sse::retry(after_ms).into_bytes()),
            // A word of Socket.IO for it would keep the client away for good.
            Dialect::C | Dialect::E | Dialect::SocketIo => {}
        }
    }

    /// Events of a room are gone.
    pub(super) fn tell_gap(&mut self, index: usize, gap: &Gap) {
        let hub = &self.shared.hub;
        let failed = if gap.reason == LIMIT { Failed::Limit } else { Failed::Retention };
        hub.metrics.failed(failed, gap.events(hub.bus.mode()));
        let room = &self.subscriptions[index].follower.room.name;
        let (from, to) = (gap.from.map(Offset::from), gap.to.map(Offset::from));
        let notice = Notice::Gap { room, from: from.as_ref(), to: to.as_ref(), reason: gap.reason };
        let entry = match self.wire.dialect {
            Dialect::Native => {
                let (from, to) = (from.map(|at| at.to_string()), to.map(|at| at.to_string()));
                let frame = native::gap(self.wire.encoding, room, from.as_deref(), to.as_deref(), gap.reason);
                return self.reply(frame);
            }
            Dialect::Sse => return self.reply(sse::notice(&notice, from.as_ref())),
            Dialect::SocketIo => return self.tell_gap_in(index, gap),
            Dialect::C => c::notice(&notice, room.id(), &timestamp()),
            Dialect::E => e::notice(&notice, room.id(), &timestamp()),
        };
        if let Some(entry) = entry {
            // What follows the gap has not been told: a client that is cut off now hears of the gap again.
            self.reply(closed(entry, from.as_ref()));
        }
    }

    /// The folded state of a room's execution.
    pub(super) fn tell_snapshot(&mut self, index: usize, snapped: &Snapped) {
        let at = snapped.at.map(|at| subscription::offset(at, self.since(index)));
        let room = &self.subscriptions[index].follower.room.name;
        let offset = at.map(|at| at.to_string());
        let frame = match self.wire.dialect {
            Dialect::Native => {
                native::snapshot(self.wire.encoding, room, offset.as_deref(), &snapped.snapshot.to_json(offset.as_deref()))
            }
            Dialect::Sse => sse::snapshot(room, offset.as_deref(), &snapped.snapshot.to_json(offset.as_deref())),
            Dialect::C => {
                let mut frames = c::snapshot(&snapped.snapshot, &timestamp());
                let last = frames.pop();
                frames.into_iter().for_each(|frame| self.reply(closed(frame, None)));
                return last.into_iter().for_each(|frame| self.reply(closed(frame, at.as_ref())));
            }
            Dialect::SocketIo => return self.tell_snapshot_in(index, snapped),
            Dialect::E => return,
        };
        match frame {
            Ok(frame) => self.reply(frame),
            Err(_) => self.shared.hub.metrics.failed(Failed::Encode, 1),
        }
    }
}

/// Closes an open object with its offset.
fn closed(mut open: Vec<u8>, at: Option<&Offset>) -> Vec<u8> {
    open.extend_from_slice(native::event_tail(at).as_bytes());
    open
}
