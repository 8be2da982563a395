//! Sessions of Socket.IO: namespaces, each with rooms, answers and a secret for recovery of its own.
//!
//! What a client follows in one namespace has nothing to do with what it follows in the other: it hears an event in both.

mod recovery;
mod telling;

use super::{End, Session, access, access::Who, subscription::Leaving};
use crate::transport::Received;
use recovery::{Kept, Recalling, Recovering};
use std::borrow::Cow;
use weft_dialect::{
    a, d,
    native::{RoomRequest, Subscribe},
    socketio::{self, Auth, Command, Incoming, Link, Namespace, Purpose, SessionId, connect_error, connected},
    told,
};
use weft_event::Room;

pub(super) use recovery::{Recalled, Stored};
pub(super) use telling::command_answer;

/// A namespace that is served. All other dialects know one only, the main one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Space {
    /// `/`, where D is spoken.
    #[default]
    Main,
    /// `/executions`, where A is spoken.
    Executions,
}

impl Space {
    const ALL: [Self; 2] = [Self::Main, Self::Executions];

    fn of(namespace: Namespace) -> Self {
        if namespace == Namespace::EXECUTIONS { Self::Executions } else { Self::Main }
    }

    fn namespace(self) -> Namespace {
        match self {
            Self::Main => Namespace::MAIN,
            Self::Executions => Namespace::EXECUTIONS,
        }
    }
}

/// What a connection of Socket.IO has beside its rooms.
pub(super) struct SocketIo {
    link: Link,
    /// Whether the client can bear connection state recovery.
    bears_recovery: bool,
    /// One for each namespace that was asked for, by [`Space`].
    seats: [Option<Box<Seat>>; 2],
    /// The second by which it must have asked for a namespace.
    connect_by: u32,
    /// Texts whose attachments were to follow, so far.
    announced: u32,
}

/// One namespace of a connection.
struct Seat {
    who: Who,
    /// What the bus keeps of it; `None` without recovery.
    kept: Option<Kept>,
    /// Set while it is being recovered: nothing is told until that is decided.
    recovering: Option<Recovering>,
}

impl SocketIo {
    pub(super) fn new(bears_recovery: bool, connect_by: u32) -> Self {
        Self { link: Link::new(Namespace::ALL), bears_recovery, seats: [None, None], connect_by, announced: 0 }
    }

    fn seat(&mut self, space: Space) -> Option<&mut Seat> {
        self.seats[space as usize].as_deref_mut()
    }
}

impl Session {
    /// Makes it a session of Socket.IO.
    pub(super) fn speak_socketio(&mut self, bears_recovery: bool) {
        let connect_by = self.now() + self.shared.limits.connect_secs;
        self.socketio = Some(Box::new(SocketIo::new(bears_recovery, connect_by)));
    }

    fn seat(&mut self, space: Space) -> Option<&mut Seat> {
        self.socketio.as_mut().and_then(|socketio| socketio.seat(space))
    }

    fn kept(&mut self, space: Space) -> Option<&mut Kept> {
        self.seat(space).and_then(|seat| seat.kept.as_mut())
    }

    /// Answers that wait until a gateway which knows nothing of this session could go on with it.
    pub(super) fn answers_waiting(&self) -> usize {
        let seats = self.socketio.iter().flat_map(|socketio| socketio.seats.iter().flatten());
        seats.filter_map(|seat| seat.kept.as_ref()).map(Kept::answers_waiting).sum()
    }

    /// When it must have joined a namespace, if it has not; as seconds of the wheel.
    pub(super) fn connect_by(&self) -> Option<u32> {
        self.socketio.as_ref().filter(|socketio| !socketio.link.is_used()).map(|socketio| socketio.connect_by)
    }

    /// A number for the packet whose attachments have not all come, another one for every packet.
    pub(super) fn unfinished_packet(&self) -> Option<u32> {
        // Numbers of messages count from zero; these must not be taken for one of them.
        let socketio = self.socketio.as_ref().filter(|socketio| socketio.link.bytes_held() > 0)?;
        Some(socketio.announced | 1 << 31)
    }

    /// A message of Socket.IO.
    pub(super) fn hear_packet(&mut self, received: &Received<'_>) -> Result<(), End> {
        let Some(socketio) = &mut self.socketio else { return Ok(()) };
        let limits = &self.shared.limits.packets;
        let incoming = match received {
            Received::Text(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| End::Close(told::INVALID_PAYLOAD))?;
                socketio.announced = socketio.announced.wrapping_add(1);
                socketio.link.text(text, limits)
            }
            Received::Binary(bytes) => socketio.link.binary(Cow::Borrowed(bytes), limits),
            _ => return Ok(()),
        };
        match incoming {
            Ok(Some(incoming)) => self.take_packet(incoming),
            Ok(None) => {}
            Err(violation) => {
                tracing::debug!(%violation, "a client broke the protocol");
                return Err(End::Close(told::PROTOCOL_ERROR));
            }
        }
        Ok(())
    }

    fn take_packet(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Connect { namespace, auth } => self.connect(namespace, &auth),
            Incoming::Unknown(refusal) => self.reply(refusal.into_bytes()),
            Incoming::Disconnect(namespace) => self.leave_namespace(Space::of(namespace)),
            Incoming::Event(event) => self.take_event(&event),
            // Nothing that we tell asks for an ack.
            Incoming::Ack { .. } => {}
        }
    }

    fn connect(&mut self, namespace: Namespace, auth: &Auth) {
        let space = Space::of(namespace);
        let who = match access::who(auth) {
            Ok(who) => who,
            Err(refusal) => {
                if let Some(socketio) = &mut self.socketio {
                    socketio.link.refuse(namespace);
                }
                return self.reply(connect_error(namespace, refusal, None));
            }
        };
        let recalling = Recalling::wanted(auth, &self.shared.fleet_key).filter(|_| self.can_recover());
        if let Some(socketio) = &mut self.socketio {
            socketio.seats[space as usize] = Some(Box::new(Seat { who, kept: None, recovering: None }));
        }
        match recalling {
            Some(recalling) => self.recall(space, recalling),
            None => self.let_in_anew(space),
        }
    }

    /// Answers a CONNECT, after which the client is in.
    fn let_in(&mut self, space: Space) {
        let namespace = space.namespace();
        let sid = SessionId::make(&self.shared.fleet_key, Purpose::Socket, &self.shared.instance, rand::random());
        let pid = self.kept(space).map(|kept| kept.pid().to_owned());
        if let Some(socketio) = &mut self.socketio {
            socketio.link.join(namespace);
        }
        self.reply(connected(namespace, sid.as_str(), pid.as_deref()));
        if self.told_degraded {
            self.tell_degraded_in(space, true);
        }
    }

    /// The client has left a namespace, and will not come back for what it was told there.
    fn leave_namespace(&mut self, space: Space) {
        self.forget_record(space);
        self.subscriptions.retain(|subscription| subscription.space != space);
        if space == Space::Main {
            self.copies = super::copies::Copies::default();
        }
        let connect_by = self.now() + self.shared.limits.connect_secs;
        if let Some(socketio) = &mut self.socketio {
            socketio.seats[space as usize] = None;
            // It may come back, or into the other.
            socketio.connect_by = connect_by;
        }
    }

    fn take_event(&mut self, event: &socketio::Event) {
        let space = Space::of(event.namespace);
        // What a reference is to native clients, the number of an ack is to these.
        let reference = event.ack.map(|id| id.to_string());
        let command = match space {
            Space::Main => d::command(event, &self.shared.limits.message),
            Space::Executions => a::command(event),
        };
        match command {
            Ok(Command::Subscribe(room)) => self.subscribe_in(space, room, reference),
            Ok(Command::Unsubscribe(room)) => self.unsubscribe(space, &room, Leaving { as_execution: false, reference }),
            Ok(Command::ProvideInput { execution_id, request_id, value }) => {
                self.provide_input(space, &execution_id, &request_id, &value, reference);
            }
            Ok(Command::Cancel { execution_id, reason }) => self.cancel(space, &execution_id, reason.as_deref(), reference),
            Err(refused) => {
                let error = telling::Refused { code: refused.code, message: &refused.message, room: refused.room.as_deref() };
                self.tell_refused(space, &error, reference.as_deref());
            }
        }
    }

    /// Begins with the present state, for a client of A and D knows nothing of offsets.
    fn subscribe_in(&mut self, space: Space, room: Room, reference: Option<String>) {
        let may = self.seat(space).is_some_and(|seat| access::may_follow(&seat.who, &room));
        if !may {
            return self.refuse(space, told::FORBIDDEN, told::FORBIDDEN.sentence, Some(&room), reference.as_deref());
        }
        let request = RoomRequest { room, resume: None, as_execution: false };
        self.subscribe_one(space, &request, &plain(&request, true, reference));
    }
}

/// A subscribe to one room.
fn plain(request: &RoomRequest, snapshot: bool, reference: Option<String>) -> Subscribe {
    let (batch, conflate, history_logs, types) = (false, false, false, None);
    Subscribe { rooms: vec![request.clone()], snapshot, batch, conflate, history_logs, types, reference }
}
