//! One client's connection: one task, no queue of events. Each room that it follows is a cursor in that room's log.
//!
//! The task ([`connection`]) sleeps until a message comes, a room grows, a read ends, its second on the wheel comes or the
//! socket can take more. It then reads what there is, and writes as long as the socket takes it. A slow socket leaves
//! its cursors behind; nothing is kept for it.
//!
//! Idle, a session is a few hundred bytes: what it needs only now and then is made when it is needed and freed after it.

mod access;
mod begin;
mod connection;
mod copies;
mod inbox;
mod round;
mod socketio;
mod speech;
mod stream;
mod subscription;
mod time;
mod upstream;

pub use connection::Connection;
pub use stream::StreamBody;

use crate::{
    feed::Feed,
    hub::{Hub, Joined, Place, SessionCell},
    transport::{Dialect, Frame, Received, Wire},
};
use copies::Copies;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use socketio::{Recalled, SocketIo, Space, Stored};
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use subscription::Subscription;
use time::Clock;
use weft_bus::{BusError, heads};
use weft_dialect::{
    native::{self, Encoding, RoomRequest},
    socketio::FleetKey,
    told::{self, CloseCode},
};
use weft_event::{Resume, Room};

/// Bounds and times of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Bounds of a client message.
    pub message: native::Limits,
    /// Most rooms followed at once.
    pub rooms: usize,
    /// Seconds between pings.
    pub ping_secs: u32,
    /// Seconds without any sign of life after a ping until the peer is taken for dead.
    pub pong_secs: u32,
    /// Seconds without a byte written, while there is something to write, until the peer is taken for stalled.
    pub stall_secs: u32,
    /// Seconds that a message may take from its first byte to its last.
    pub message_secs: u32,
    /// Seconds over which closes are spread while draining.
    pub drain_secs: u32,
    /// How long a command may wait for its reply.
    pub command_timeout: Duration,
    /// Bounds of a packet of Socket.IO.
    pub packets: weft_dialect::socketio::Limits,
    /// Seconds in which a client of Socket.IO must have joined a namespace.
    pub connect_secs: u32,
}

/// The one room that a connection follows from its beginning, in dialects whose address says what to follow.
#[derive(Clone, Debug)]
pub struct Following {
    /// Which room.
    pub room: Room,
    /// Where to begin.
    pub resume: Option<Resume>,
    /// With the folded state.
    pub snapshot: bool,
}

/// What every session of this process shares.
pub struct Shared {
    /// Rooms and sessions.
    pub hub: Arc<Hub>,
    /// The feed, which is told of rooms that look behind.
    pub feed: Arc<Feed>,
    /// Bounds.
    pub limits: SessionLimits,
    /// The name of this gateway in the fleet.
    pub instance: String,
    /// Makes and verifies the ids of sessions.
    pub fleet_key: FleetKey,
}

/// Frames waiting to be written; past this the session stops reading its client.
const OUTGOING_MAX: usize = 128;
/// Commands under way at once.
const COMMANDS_MAX: u32 = 32;
/// Operations under way at once; past this the session stops reading its client.
const OPERATIONS_MAX: usize = 256;
/// Messages in a row that were no protocol, before the connection is closed.
const FOREIGN_MAX: u32 = 10;
/// Pings and pongs of a client within one second, before the connection is closed. Libraries send one in several.
const CONTROLS_MAX: u32 = 100;
/// One connection in so many has its deliveries timed; the first always.
const TIMED_EACH: usize = 16;

/// What a finished operation hands back to its session.
enum Done {
    /// A subscription can begin.
    Begun(u32, Result<begin::Begun, BusError>, RoomRequest, Option<String>),
    /// A further page of history is there.
    Page(u32, Result<begin::PageRead, BusError>),
    /// A command was answered; `None` where its sender waits for nothing.
    Reply(Option<Vec<u8>>),
    /// The bus was asked for the record of a session that is to be recovered.
    Recalled(Box<Recalled>),
    /// A session's record was written.
    Stored(Box<Stored>),
}

type Operations = FuturesUnordered<BoxFuture<'static, Done>>;

/// What one client's connection follows and owes.
struct Session {
    shared: Arc<Shared>,
    wire: Wire,
    id: uuid::Uuid,
    cell: Arc<SessionCell>,
    /// `None` once it has left.
    joined: Option<Joined>,
    subscriptions: Vec<Subscription>,
    /// Only of the main namespace: in the other there are rooms of executions alone, which hold no event of another.
    copies: Copies,
    /// Only of connections that speak it.
    socketio: Option<Box<SocketIo>>,
    next_key: u32,
    /// Where the last round of reading subscriptions stopped.
    turn: u32,
    /// Replies, notices and events in the order in which they were made. One queue, because an offset in a reply
    /// speaks of the events before it.
    outgoing: VecDeque<Frame>,
    /// What is under way, if anything is.
    operations: Option<Box<Operations>>,
    commands: u32,
    foreign: u32,
    resumed: bool,
    told_degraded: bool,
    /// It cannot follow what it is there for, and closes when that has been told.
    lost: bool,
    timed: bool,
    /// When the last event on its way came; only of timed sessions.
    last_event: Option<Box<Times>>,
    clock: Clock,
}

/// When an event came, for metrics.
#[derive(Clone, Copy)]
struct Times {
    received: Instant,
    stored_ms: Option<u64>,
}

/// How a session ends.
enum End {
    /// We close, with this code.
    Close(CloseCode),
    /// The peer closes, with its code.
    Closed(Option<u16>),
    /// The peer is gone.
    Gone,
}

impl Session {
    fn new(shared: Arc<Shared>, place: Place, wire: Wire) -> Self {
        let cell = Arc::new(SessionCell::default());
        let joined = shared.hub.join(place, cell.clone());
        let number = joined.number();
        let mut session = Self {
            wire,
            id: uuid::Uuid::new_v4(),
            cell,
            joined: Some(joined),
            subscriptions: Vec::new(),
            copies: Copies::default(),
            socketio: None,
            next_key: 0,
            turn: 0,
            outgoing: VecDeque::new(),
            operations: None,
            commands: 0,
            foreign: 0,
            resumed: false,
            told_degraded: false,
            lost: false,
            timed: number.is_multiple_of(TIMED_EACH),
            last_event: None,
            clock: Clock::new(shared.hub.wheel.now(), number, time::ping_secs(wire.dialect, &shared.limits)),
            shared,
        };
        session.greet();
        session
    }

    /// What came from the client.
    fn receive(&mut self, received: Received<'_>) -> Result<(), End> {
        self.clock.heard();
        match (received, self.wire.encoding) {
            (received @ (Received::Text(_) | Received::Binary(_)), _) if self.wire.dialect == Dialect::SocketIo => {
                self.hear_packet(&received)
            }
            (Received::Text(bytes), _) if self.wire.dialect != Dialect::Native => self.hear_text(bytes),
            (Received::Text(bytes), Encoding::Json) | (Received::Binary(bytes), Encoding::MessagePack) => self.message(bytes),
            (Received::Text(_) | Received::Binary(_), _) => Err(End::Close(told::UNSUPPORTED_DATA)),
            (Received::Alive, _) => {
                let now = self.shared.hub.wheel.now();
                if self.clock.controls(now) > CONTROLS_MAX { Err(End::Close(told::POLICY)) } else { Ok(()) }
            }
            (Received::Faulty(code), _) => Err(End::Close(code)),
            (Received::Closed(code), _) => Err(End::Closed(code)),
        }
    }

    /// Whether it takes further messages. A client that does not read what we answer is not read: its next messages wait
    /// in its socket.
    fn takes_more(&self) -> bool {
        self.outgoing.len() < OUTGOING_MAX
            && self.commands < COMMANDS_MAX
            && self.operations.as_ref().is_none_or(|operations| operations.len() < OPERATIONS_MAX)
            && self.answers_waiting() < OUTGOING_MAX
    }

    /// Whether two rooms followed there may hold the same event.
    fn has_copies(&self, space: Space) -> bool {
        space == Space::Main && self.copies.are_possible()
    }

    fn reply(&mut self, message: Vec<u8>) {
        self.outgoing.push_back(self.wire.own(message));
    }

    /// Begins something that ends later.
    fn operate(&mut self, operation: impl Future<Output = Done> + Send + 'static) {
        self.operations.get_or_insert_default().push(operation.boxed());
    }

    /// Takes what has been finished; whether anything had.
    fn poll_operations(&mut self, context: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Some(operations) = &mut self.operations {
            match operations.poll_next_unpin(context) {
                Poll::Pending => break,
                Poll::Ready(Some(done)) => self.finish(done),
                Poll::Ready(None) => self.operations = None,
            }
            any = true;
        }
        any
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Begun(key, Ok(begun), request, reference) => self.begun(key, begun, &request, reference.as_deref()),
            Done::Begun(key, Err(error), _, reference) => self.give_up(key, &error, reference.as_deref()),
            Done::Page(key, Ok(page)) => self.paged(key, page),
            Done::Page(key, Err(error)) => self.give_up(key, &error, None),
            Done::Reply(reply) => {
                self.commands -= 1;
                reply.into_iter().for_each(|reply| self.reply(reply));
            }
            Done::Recalled(recalled) => self.recalled(*recalled),
            Done::Stored(stored) => self.stored(&stored),
        }
    }

    /// Ends all follows and operations; how many events the client had not got yet.
    fn leave(&mut self) -> u64 {
        let waiting: u64 = self.outgoing.iter().map(|frame| u64::from(frame.events)).sum();
        let behind: u64 = self.subscriptions.iter().map(Subscription::behind).sum();
        self.outgoing = VecDeque::new();
        self.subscriptions = Vec::new();
        self.socketio = None;
        self.operations = None;
        self.last_event = None;
        waiting + behind
    }
}

/// Now, as the contract writes time.
fn timestamp() -> String {
    heads::rfc3339(crate::feed::heads::now_ms()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hub::entry::Entry,
        transport::{Engine, WebSocket},
    };

    /// Of every idle connection there are a million: what grows here must be noticed.
    #[test]
    fn an_idle_connection_is_small() {
        for (what, bytes, most) in [
            ("a connection", size_of::<Connection<WebSocket>>(), 328),
            ("a connection of Socket.IO", size_of::<Connection<Engine>>(), 440),
            ("what a connection of Socket.IO has beside", size_of::<SocketIo>(), 80),
            ("a subscription", size_of::<Subscription>(), 112),
            ("a frame", size_of::<Frame>(), 64),
            ("a log's entry", size_of::<Entry>(), 352),
        ] {
            assert!(bytes <= most, "{what}: {bytes} bytes, {most} were enough");
        }
    }
}
