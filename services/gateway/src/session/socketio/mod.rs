//! Sessions of Socket.IO: namespaces, each with rooms, answers and a secret for recovery of its own.
//!
//! What a client follows in one namespace has nothing to do with what it follows in the other: it hears an event in both.

mod recovery;
mod telling;

use super::{Badge, Done, End, Pass, Session, subscription::Leaving};
use crate::transport::Received;
use recovery::{Kept, Recalling, Recovering};
use std::borrow::Cow;
use weft_dialect::{
    a, d,
    native::{RoomRequest, Subscribe},
    socketio::{self, Auth, Command, ConnectRefusal, Incoming, Link, Namespace, Purpose, SessionId, connect_error, connected},
    told,
};
use weft_event::Room;
use weft_guard::{Caller, Refused, bearer};

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
    pub(super) const ALL: [Self; 2] = [Self::Main, Self::Executions];

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
    badge: Badge,
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

    /// Whether nobody has been let into any namespace yet.
    pub(super) fn is_nowhere(&self) -> bool {
        self.seats.iter().all(Option::is_none)
    }

    /// Who is in this namespace; before somebody is, somebody who may do nothing.
    pub(super) fn caller(&self, space: Space) -> &Caller {
        self.seats[space as usize].as_ref().map_or(&Caller::Guest, |seat| &seat.badge.caller)
    }
}

/// Whether somebody may be let into a namespace was found out.
pub struct Seated {
    space: Space,
    recalling: Option<Recalling>,
    caller: Result<Caller, Refused>,
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

    /// Whoever wants to be in a namespace is who its `auth` says, or else who asked for the connection.
    fn connect(&mut self, namespace: Namespace, auth: &Auth) {
        let space = Space::of(namespace);
        let recalling = Recalling::wanted(auth, &self.shared.fleet_key).filter(|_| self.can_recover());
        let guard = self.shared.guard.clone();
        if let Some(caller @ Caller::Everyone) = guard.stranger() {
            return self.seated(Seated { space, recalling, caller: Ok(caller) });
        }
        if let Some(token) = auth.object.as_ref().and_then(|object| bearer::in_auth(object.get().as_bytes())) {
            return self
                .operate(async move { Done::Seated(Box::new(Seated { space, recalling, caller: guard.admit(&token).await })) });
        }
        let caller = match self.pass.as_deref() {
            Some(Pass { refused: Some(refused), .. }) => Err(*refused),
            Some(Pass { badge, .. }) if badge.caller.subject().is_some() => Ok(badge.caller.clone()),
            _ => guard.stranger().ok_or(Refused::Missing),
        };
        self.seated(Seated { space, recalling, caller });
    }

    /// Lets somebody into a namespace, or not.
    pub(super) fn seated(&mut self, seated: Seated) {
        let Seated { space, recalling, caller } = seated;
        let badge = match caller {
            // Who is refused by a word of Socket.IO does not come back.
            Err(refused) if refused.is_passing() => return self.lost = Some(&told::TRY_AGAIN_LATER),
            Err(refused) => {
                tracing::debug!(%refused, "a token was not accepted");
                return self.refuse_seat(space, ConnectRefusal::Unauthenticated);
            }
            Ok(caller) => match Badge::new(caller, &self.shared.bounds) {
                Ok(badge) => badge,
                Err(full) => {
                    tracing::debug!(%full, "a user has too many connections");
                    return self.refuse_crowded(space);
                }
            },
        };
        let is_revoked = self.shared.guard.is_revoked(&badge.caller);
        if let Some(socketio) = &mut self.socketio {
            socketio.seats[space as usize] = Some(Box::new(Seat { badge, kept: None, recovering: None }));
        }
        self.look_at_expiry();
        if is_revoked {
            return self.lost = Some(&told::TOKEN_REQUIRED);
        }
        match recalling {
            Some(recalling) => self.recall(space, recalling),
            None => self.let_in_anew(space),
        }
    }

    /// Who has too many connections may have fewer in a moment, perhaps because those that it has lost are found to be dead.
    /// Refused by a word of Socket.IO it would stay away for good; closed, it comes back by itself, later and later. But not
    /// where that would take another namespace of the connection along.
    fn refuse_crowded(&mut self, space: Space) {
        if self.socketio.as_ref().is_none_or(|socketio| socketio.is_nowhere()) {
            return self.lost = Some(&told::POLICY);
        }
        self.refuse_seat(space, ConnectRefusal::RateLimited);
    }

    fn refuse_seat(&mut self, space: Space, refusal: ConnectRefusal) {
        let namespace = space.namespace();
        if let Some(socketio) = &mut self.socketio {
            socketio.link.refuse(namespace);
        }
        self.reply(connect_error(namespace, refusal, None));
    }

    /// What somebody in a namespace came in with.
    pub(super) fn seat_badge(&mut self, space: Space) -> Option<&mut Badge> {
        self.seat(space).map(|seat| &mut seat.badge)
    }

    /// Whether a namespace waits for rooms of an earlier session.
    pub(super) fn is_recovering(&mut self, space: Space) -> bool {
        self.seat(space).is_some_and(|seat| seat.recovering.is_some())
    }

    /// Somebody with a name, if there is one on this connection.
    pub(super) fn named_caller(&self) -> &Caller {
        let named = Space::ALL.map(|space| self.caller(space)).into_iter().find(|caller| caller.subject().is_some());
        named.unwrap_or_else(|| self.caller(Space::Main))
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
        self.follow_own_room(space);
        if self.told_degraded {
            self.tell_degraded_in(space, true);
        }
    }

    /// In the main namespace, a user is in its own room without asking.
    fn follow_own_room(&mut self, space: Space) {
        let own = self.caller(space).subject().and_then(|subject| Room::user(subject).ok());
        let Some(room) = own.filter(|_| space == Space::Main).map(|room| self.at_home(space, room)) else { return };
        // After a recovery it may be in it already.
        if !self.subscriptions.iter().any(|of| of.is_of(space, &room)) {
            let request = RoomRequest { room, resume: None, as_execution: false };
            self.subscribe_one(space, &request, &plain(&request, false, None));
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
            Ok(Command::Unsubscribe(room)) => {
                self.unsubscribe(space, &self.at_home(space, room), Leaving { as_execution: false, reference })
            }
            Ok(Command::ProvideInput { execution_id, request_id, value }) => {
                self.provide_input(space, &execution_id, &request_id, &value, reference);
            }
            Ok(Command::Auth(token)) => self.show_in(space, &token, reference),
            Ok(Command::Cancel { execution_id, reason }) => self.cancel(space, &execution_id, reason.as_deref(), reference),
            Err(refused) => {
                let error = telling::Refused { code: refused.code, message: &refused.message, room: refused.room.as_deref() };
                self.tell_refused(space, &error, reference.as_deref());
            }
        }
    }

    /// Begins with the present state, for a client of A and D knows nothing of offsets.
    fn subscribe_in(&mut self, space: Space, room: Room, reference: Option<String>) {
        let room = self.at_home(space, room);
        let request = RoomRequest { room, resume: None, as_execution: false };
        self.subscribe_one(space, &request, &plain(&request, true, reference));
    }
}

/// A subscribe to one room.
fn plain(request: &RoomRequest, snapshot: bool, reference: Option<String>) -> Subscribe {
    let (batch, conflate, history_logs, types) = (false, false, false, None);
    Subscribe { rooms: vec![request.clone()], snapshot, batch, conflate, history_logs, types, reference }
}
