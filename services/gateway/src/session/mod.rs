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
mod going;
mod inbox;
mod orders;
mod pass;
mod pending;
mod round;
mod socketio;
mod speech;
mod stream;
mod subscription;
mod time;
mod upstream;

pub use connection::Connection;
pub use going::{Cause, Shed, farewell};
pub use orders::{Orders, Question, REPORTS_MAX, Report};
pub use pass::{Badge, Pass};
pub use stream::StreamBody;

use crate::{
    feed::Feed,
    hub::{Hub, Joined, Place, SessionCell},
    metrics::Kind,
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
use weft_guard::{Caller, Guard, Limits, Refused, Verdict, guard::Unanswered, rate::Bucket};

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
    /// Seconds that a connection may live, more or less; 0: for ever.
    pub age_secs: u32,
    /// How long a command may wait for its reply.
    pub command_timeout: Duration,
    /// Bounds of a packet of Socket.IO.
    pub packets: weft_dialect::socketio::Limits,
    /// Stored events that a subscription may read before it has caught up; 0 is no bound.
    pub replay_events_max: u32,
    /// Seconds in which a client of Socket.IO must have joined a namespace.
    pub connect_secs: u32,
    /// Seconds in which a client must have shown a token, where it must.
    pub auth_secs: u32,
    /// Seconds after which the record of a session that can be recovered is written again.
    pub recovery_renew_secs: u32,
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
    /// With the retained logs.
    pub history_logs: bool,
}

impl Following {
    /// The same in the tenant of who came in with this.
    pub fn at_home(self, pass: Option<&Pass>) -> Self {
        let tenant = pass.and_then(|pass| pass.badge.caller.tenant());
        let room = tenant.and_then(|tenant| self.room.in_tenant(Some(tenant)).ok()).unwrap_or(self.room);
        Self { room, ..self }
    }
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
    /// Who is who, and may do what.
    pub guard: Arc<Guard>,
    /// How much one client may take.
    pub bounds: Arc<Limits>,
    /// What is said to all.
    pub orders: Orders,
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
const CONTROLS_MAX: u8 = 100;
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
    /// Whether a room may be followed was found out.
    Asked(Box<pending::Answered>),
    /// The same of a room that is followed already.
    AskedAgain(u32, Result<Verdict, Unanswered>),
    /// A subscription has waited for its room long enough.
    Overdue(u32, Option<String>),
    /// A token that came in a message was looked at.
    Shown(Box<(Result<Caller, Refused>, Option<String>)>),
    /// The same of one that came in a namespace of Socket.IO.
    Renewed(Box<(socketio::Space, Result<Caller, Refused>, Option<String>)>),
    /// A token that came with the CONNECT to a namespace was looked at.
    Seated(Box<socketio::Seated>),
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
    /// It cannot do what it is there for, and closes with this code when that has been told.
    lost: Option<&'static CloseCode>,
    /// What it came in with; `None` where nobody authenticates.
    pass: Option<Box<Pass>>,
    /// What was said to all, up to here.
    heeded: u32,
    /// How fast its client talks.
    bucket: Bucket,
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
    /// We close, for a reason that is none of its client's.
    Go(Cause),
    /// The peer closes, with its code.
    Closed(Option<u16>),
    /// The peer is gone.
    Gone,
}

impl Session {
    fn new(shared: Arc<Shared>, place: Place, wire: Wire, is_polled: bool) -> Self {
        let cell = Arc::new(SessionCell::default());
        let joined = shared.hub.join(place, cell.clone(), Kind::of(wire.dialect, is_polled));
        let number = joined.number();
        let clock = Clock::begin(&shared, &joined, wire.dialect);
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
            lost: None,
            pass: None,
            heeded: shared.orders.version(),
            bucket: Bucket::default(),
            timed: number.is_multiple_of(TIMED_EACH),
            last_event: None,
            clock,
            shared,
        };
        session.greet();
        session
    }

    /// What came from the client.
    fn receive(&mut self, received: Received<'_>) -> Result<(), End> {
        let asked = self.clock.heard();
        if let Received::Pong(Some(took)) = received {
            self.note_round_trip(took, asked);
        }
        if matches!(received, Received::Text(_) | Received::Binary(_)) && !self.may_talk() {
            return Err(End::Close(told::POLICY));
        }
        match (received, self.wire.encoding) {
            (received @ (Received::Text(_) | Received::Binary(_)), _) if self.wire.dialect == Dialect::SocketIo => {
                self.hear_packet(&received)
            }
            (Received::Text(bytes), _) if self.wire.dialect != Dialect::Native => self.hear_text(bytes),
            (Received::Text(bytes), Encoding::Json) | (Received::Binary(bytes), Encoding::MessagePack) => self.message(bytes),
            (Received::Text(_) | Received::Binary(_), _) => Err(End::Close(told::UNSUPPORTED_DATA)),
            (Received::Alive | Received::Pong(_), _) => {
                let now = self.shared.hub.wheel.now();
                if self.clock.controls(now) > CONTROLS_MAX { Err(End::Close(told::POLICY)) } else { Ok(()) }
            }
            (Received::Faulty(code), _) => Err(End::Close(code)),
            (Received::Closed(code), _) => Err(End::Closed(code)),
        }
    }

    /// A ping was answered. What a client makes up is left out: longer than it was asked for, or not asked for at all.
    fn note_round_trip(&self, took: Duration, asked: Option<u32>) {
        let is_possible = |since: u32| took.as_secs() <= u64::from(self.shared.hub.wheel.now() - since) + 1;
        if self.wire.dialect == Dialect::SocketIo || asked.is_some_and(is_possible) {
            self.shared.hub.metrics.round_trip(took);
        }
    }

    /// Whether its client talks no faster than it may. Without authentication this machine's own are not held to it, as
    /// they are to no other bound of one client.
    fn may_talk(&mut self) -> bool {
        let now_ms = self.now_ms();
        self.pass.is_none() || self.shared.bounds.messages.is_none_or(|rate| self.bucket.take(now_ms, rate))
    }

    /// Whether it takes further messages. A client that does not read what we answer is not read: its next messages wait
    /// in its socket.
    fn takes_more(&self) -> bool {
        self.outgoing.len() < OUTGOING_MAX
            && self.commands < COMMANDS_MAX
            && self.operations.as_ref().is_none_or(|operations| operations.len() < OPERATIONS_MAX)
            && self.answers_waiting() < OUTGOING_MAX
            && self.lost.is_none()
            && !self.is_being_admitted()
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
            Done::Asked(answered) => self.answered(*answered),
            Done::AskedAgain(key, verdict) => self.answered_again(key, &verdict),
            Done::Overdue(key, reference) => self.overdue(key, reference.as_deref()),
            Done::Shown(shown) => self.shown(shown.0, shown.1.as_deref()),
            Done::Renewed(renewed) => {
                let (space, caller, reference) = *renewed;
                self.renewed_in(space, caller, reference.as_deref());
            }
            Done::Seated(seated) => self.seated(*seated),
        }
    }

    /// Heeds what was said to all.
    fn heed(&mut self) -> Result<(), End> {
        let version = self.shared.orders.version();
        if version == self.heeded {
            return Ok(());
        }
        let orders = self.shared.orders.since(self.heeded);
        self.heeded = version;
        // Asked also where the order itself has been forgotten.
        if self.is_revoked() {
            return Err(End::Close(told::TOKEN_REQUIRED));
        }
        for order in orders {
            match order {
                orders::Order::Revoked => {}
                orders::Order::Go(id) if id == self.id => return Err(End::Go(Cause::Operator)),
                orders::Order::Go(_) => {}
                orders::Order::Shed(shed) => self.hear_shed(&shed),
                orders::Order::Tell(question) => question.answer(self.report()),
            }
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let caller = self.named_caller();
        Report {
            id: self.id,
            dialect: self.wire.dialect.word(),
            tenant: caller.tenant().map(str::to_owned),
            subject: caller.subject().map(str::to_owned),
            rooms: self.subscriptions.iter().map(|of| of.follower.room.name.name().to_owned()).collect(),
            pending: self.subscriptions.iter().filter(|of| of.is_pending()).count(),
            behind: self.subscriptions.iter().map(Subscription::behind).sum(),
        }
    }

    /// How many events were not handed to the socket yet.
    fn behind(&self) -> u64 {
        let waiting: u64 = self.outgoing.iter().map(|frame| u64::from(frame.events)).sum();
        waiting + self.subscriptions.iter().map(Subscription::behind).sum::<u64>()
    }

    /// Ends all follows and operations; how many events the client had not got yet.
    fn leave(&mut self) -> u64 {
        let behind = self.behind();
        self.outgoing = VecDeque::new();
        self.subscriptions = Vec::new();
        self.socketio = None;
        self.operations = None;
        self.last_event = None;
        self.pass = None;
        behind
    }
}

/// Has every session look whether it was taken back, whenever something is; for the life of the process.
pub async fn heed_revocations(shared: Arc<Shared>) {
    let mut changes = shared.guard.revoked().changes();
    while changes.changed().await.is_ok() {
        shared.say(orders::Order::Revoked);
    }
}

impl Shared {
    fn say(&self, order: orders::Order) {
        self.orders.say(order);
        self.hub.wake_all();
    }

    /// Has a connection go, if it is here.
    pub fn send_away(&self, id: uuid::Uuid) {
        self.say(orders::Order::Go(id));
    }

    /// Has some connections go.
    pub fn shed(&self, shed: Shed) {
        self.say(orders::Order::Shed(Arc::new(shed)));
    }

    /// Asks connections to tell of themselves; their reports come in within a moment.
    pub fn ask_all(&self, question: &Arc<Question>) {
        self.say(orders::Order::Tell(question.clone()));
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
            ("a connection", size_of::<Connection<WebSocket>>(), 352),
            ("a connection of Socket.IO", size_of::<Connection<Engine>>(), 464),
            ("what a connection of Socket.IO has beside", size_of::<SocketIo>(), 80),
            ("a subscription", size_of::<Subscription>(), 112),
            ("a frame", size_of::<Frame>(), 64),
            ("a log's entry", size_of::<Entry>(), 352),
        ] {
            assert!(bytes <= most, "{what}: {bytes} bytes, {most} were enough");
        }
    }
}
