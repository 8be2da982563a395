//! One client's connection: one task, no queue of events. Each room that it follows is a cursor in that room's log.
//!
//! The task sleeps until a message comes, a room grows, a read ends, its second on the wheel comes or the socket
//! can take more. It then reads what there is, and writes as long as the socket takes it. A slow socket leaves
//! its cursors behind; nothing is kept for it.

mod begin;
mod copies;
mod inbox;
mod subscription;
mod upstream;

use crate::{
    feed::Feed,
    hub::{Hub, Joined, SessionCell},
    metrics::Failed,
    transport::{Frame, Gone, Received, Transport},
};
use bytes::Bytes;
use copies::Copies;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use subscription::{Next, Subscription, Told};
use weft_bus::{BusError, heads};
use weft_dialect::{
    native::{self, Encoding, RoomRequest},
    told::{self, CloseCode},
};

/// Bounds and times of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Bounds of a client message.
    pub message: native::Limits,
    /// Most rooms followed at once.
    pub rooms: usize,
    /// Seconds between pings.
    pub ping_secs: u64,
    /// Seconds without any sign of life after a ping until the peer is taken for dead.
    pub pong_secs: u64,
    /// Seconds without a byte written, while there is something to write, until the peer is taken for stalled.
    pub stall_secs: u64,
    /// Seconds over which closes are spread while draining.
    pub drain_secs: u64,
    /// How long a command may wait for its reply.
    pub command_timeout: Duration,
}

/// What every session of this process shares.
pub struct Shared {
    /// Rooms and sessions.
    pub hub: Arc<Hub>,
    /// The feed, which is told of rooms that look behind.
    pub feed: Arc<Feed>,
    /// Bounds.
    pub limits: SessionLimits,
}

/// Frames waiting to be written; past this the session stops reading its client.
const OUTGOING_MAX: usize = 128;
/// Frames gathered before each write.
const GATHER: usize = 16;
/// Messages read in one turn, so that one client cannot keep its task running.
const MESSAGES_PER_TURN: usize = 32;
/// Commands under way at once.
const COMMANDS_MAX: usize = 32;
/// Messages in a row that were no protocol, before the connection is closed.
const FOREIGN_MAX: u32 = 10;
/// How long a goodbye may take.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// What a finished operation hands back to its session.
enum Done {
    /// A subscription can begin.
    Begun(u64, Result<begin::Begun, BusError>, RoomRequest, Option<String>),
    /// A further page of history is there.
    Page(u64, Result<begin::PageRead, BusError>),
    /// A command was answered.
    Reply(Bytes),
}

/// One client's connection.
pub struct Session<T> {
    shared: Arc<Shared>,
    transport: T,
    encoding: Encoding,
    id: String,
    cell: Arc<SessionCell>,
    joined: Joined,
    subscriptions: Vec<Subscription>,
    copies: Copies,
    next_key: u64,
    /// Where the last round of reading subscriptions stopped.
    turn: usize,
    /// Replies, notices and events in the order in which they were made. One queue, because an offset in a reply
    /// speaks of the events before it.
    outgoing: VecDeque<Outgoing>,
    operations: FuturesUnordered<BoxFuture<'static, Done>>,
    commands: usize,
    foreign: u32,
    resumed: bool,
    told_degraded: bool,
    drain_close_at: Option<u64>,
    /// When the first ping went out that no sign of life has followed.
    unanswered_since: Option<u64>,
    pinged_at: u64,
    ping_due: bool,
    /// The second at which the wheel is known to wake this session.
    scheduled: u64,
    written_at: u64,
    blocked: bool,
}

/// A frame on its way to the socket.
struct Outgoing {
    frame: Frame,
    /// Set if it is an event.
    event: Option<Times>,
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
    /// The peer closed, or is gone.
    Gone(u16),
}

impl From<Gone> for End {
    fn from(gone: Gone) -> Self {
        tracing::trace!(%gone, "a connection ended");
        Self::Gone(0)
    }
}

/// Serves one connection until it ends.
pub async fn serve<T: Transport>(shared: Arc<Shared>, transport: T, encoding: Encoding) {
    let cell = Arc::new(SessionCell::default());
    let joined = shared.hub.join(cell.clone());
    let now = shared.hub.wheel.now();
    let mut session = Session {
        transport,
        encoding,
        id: uuid::Uuid::new_v4().to_string(),
        cell,
        joined,
        subscriptions: Vec::new(),
        copies: Copies::default(),
        next_key: 0,
        turn: 0,
        outgoing: VecDeque::new(),
        operations: FuturesUnordered::new(),
        commands: 0,
        foreign: 0,
        resumed: false,
        told_degraded: false,
        drain_close_at: None,
        unanswered_since: None,
        pinged_at: now,
        ping_due: false,
        scheduled: 0,
        written_at: now,
        blocked: false,
        shared,
    };
    session.reply(native::connected(encoding, &session.id, &timestamp()));
    // The first ping falls anywhere in the period, so that connections that came together do not ping together.
    let first = 1 + session.joined.number() as u64 % session.shared.limits.ping_secs.max(1);
    session.pinged_at = (now + first).saturating_sub(session.shared.limits.ping_secs);
    let end = std::future::poll_fn(|context| session.poll(context)).await;
    session.end(end).await;
}

impl<T: Transport> Session<T> {
    /// One turn: everything that can be done now. Ready only when the session ends.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.cell.register(context.waker());
        if let Err(end) = self.receive(context) {
            return Poll::Ready(end);
        }
        while let Poll::Ready(Some(done)) = self.operations.poll_next_unpin(context) {
            self.finish(done);
        }
        if let Err(end) = self.keep_time() {
            return Poll::Ready(end);
        }
        match self.write(context) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn receive(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..MESSAGES_PER_TURN {
            if self.outgoing.len() >= OUTGOING_MAX || self.commands >= COMMANDS_MAX {
                // It does not read what we answer: its next messages wait in the socket.
                return Ok(());
            }
            let Poll::Ready(received) = self.transport.poll_receive(context)? else { return Ok(()) };
            self.unanswered_since = None;
            match (received, self.encoding) {
                (Received::Text(bytes), Encoding::Json) | (Received::Binary(bytes), Encoding::MessagePack) => {
                    self.message(&bytes)?;
                }
                (Received::Text(_) | Received::Binary(_), _) => return Err(End::Close(told::UNSUPPORTED_DATA)),
                (Received::Alive, _) => {}
                (Received::Faulty(code), _) => return Err(End::Close(code)),
                (Received::Closed(code), _) => return Err(End::Gone(code.unwrap_or(0))),
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Begun(key, Ok(begun), request, reference) => self.begun(key, begun, &request, reference.as_deref()),
            Done::Begun(key, Err(error), _, reference) => self.give_up(key, &error, reference.as_deref()),
            Done::Page(key, Ok(page)) => self.paged(key, page),
            Done::Page(key, Err(error)) => self.give_up(key, &error, None),
            Done::Reply(reply) => {
                self.commands -= 1;
                self.reply(reply);
            }
        }
    }

    fn reply(&mut self, frame: impl Into<Bytes>) {
        self.outgoing.push_back(Outgoing { frame: Frame::Whole(frame.into()), event: None });
    }

    // ── time ──────────────────────────────────────────────────────────────────────────────────────────────────

    fn now(&self) -> u64 {
        self.shared.hub.wheel.now()
    }

    /// Sees to it that the wheel wakes this session by then. What is scheduled already does: a socket that is just
    /// too slow blocks a thousand times a second, and must not leave as many entries in the wheel.
    fn wake_by(&mut self, due: u64) {
        let now = self.now();
        if self.scheduled <= now || due < self.scheduled {
            self.scheduled = due.clamp(now + 1, now + 60);
            self.shared.hub.wheel.wake_at(self.scheduled, &self.cell);
        }
    }

    /// Pings, dead and stalled peers, notices that concern everybody.
    fn keep_time(&mut self) -> Result<(), End> {
        let (now, limits) = (self.now(), self.shared.limits);
        if self.blocked && now >= self.written_at + limits.stall_secs {
            return Err(End::Close(told::TOO_SLOW));
        }
        if self.unanswered_since.is_some_and(|since| now >= since + limits.pong_secs) {
            return Err(End::Close(told::PING_TIMEOUT));
        }
        if now >= self.pinged_at + limits.ping_secs {
            self.ping_due = true;
            self.pinged_at = now;
            self.unanswered_since.get_or_insert(now);
        }
        self.tell_degraded();
        self.drain(now)?;
        self.schedule();
        Ok(())
    }

    /// Sees to it that the wheel wakes this session for its next ping or deadline.
    fn schedule(&mut self) {
        let limits = self.shared.limits;
        let mut due = self.pinged_at + limits.ping_secs;
        if let Some(since) = self.unanswered_since {
            due = due.min(since + limits.pong_secs);
        }
        if self.blocked {
            due = due.min(self.written_at + limits.stall_secs);
        }
        if let Some(close_at) = self.drain_close_at {
            due = due.min(close_at);
        }
        self.wake_by(due);
    }

    fn tell_degraded(&mut self) {
        let degraded = self.shared.hub.is_degraded();
        if degraded != self.told_degraded {
            self.told_degraded = degraded;
            self.reply(native::degraded(self.encoding, degraded));
        }
    }

    fn drain(&mut self, now: u64) -> Result<(), End> {
        if !self.shared.hub.is_draining() {
            return Ok(());
        }
        match self.drain_close_at {
            None => {
                let window = self.shared.limits.drain_secs.max(1);
                let own = self.joined.number() as u64 % window;
                // The client comes back at once when it is closed; the spread is in when it is closed.
                self.reply(native::reconnect(self.encoding, rand::random_range(0..500)));
                self.drain_close_at = Some(now + 1 + own);
                Ok(())
            }
            Some(at) if now >= at => Err(End::Close(told::RESTARTING)),
            Some(_) => Ok(()),
        }
    }

    // ── writing ───────────────────────────────────────────────────────────────────────────────────────────────

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        loop {
            if self.is_idle() {
                self.gather(context);
            }
            if self.is_idle() {
                break;
            }
            let Poll::Ready(ready) = self.transport.poll_ready(context) else {
                self.block();
                return Ok(());
            };
            ready?;
            self.blocked = false;
            self.hand_over()?;
        }
        match self.transport.poll_flush(context)? {
            Poll::Ready(()) => self.blocked = false,
            Poll::Pending => self.block(),
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && !self.ping_due
    }

    /// The next frame; a ping first, because the peer's answer tells that it lives.
    fn hand_over(&mut self) -> Result<(), End> {
        self.written_at = self.now();
        if std::mem::take(&mut self.ping_due) {
            return Ok(self.transport.ping()?);
        }
        let Some(Outgoing { frame, event }) = self.outgoing.pop_front() else { return Ok(()) };
        self.transport.send(frame, self.encoding)?;
        if let Some(times) = event {
            self.shared.hub.metrics.deliveries.increment(1);
            if self.outgoing.is_empty() {
                self.shared.hub.metrics.delivered(times.received, times.stored_ms);
            }
        }
        Ok(())
    }

    fn block(&mut self) {
        if !self.blocked {
            self.blocked = true;
            self.written_at = self.now();
            self.wake_by(self.written_at + self.shared.limits.stall_secs);
        }
    }

    /// Takes the next frames from the subscriptions, until there are some or nothing is left to read: what a type
    /// filter or another room's copy leaves out makes no frame, and nobody would wake us to read on after it.
    fn gather(&mut self, context: &mut Context<'_>) {
        while self.is_idle() && self.read_once(context) {}
    }

    /// One round over the subscriptions; whether anything moved.
    fn read_once(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        let count = self.subscriptions.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            if self.outgoing.len() >= GATHER {
                self.turn = index;
                break;
            }
            if !self.copies.must_wait(&self.subscriptions, index) {
                moved |= self.take_from(index);
            }
        }
        self.leave_rooms();
        // Operations begun just now must be polled once, or nothing wakes us for them.
        while let Poll::Ready(Some(done)) = self.operations.poll_next_unpin(context) {
            self.finish(done);
            moved = true;
        }
        moved
    }

    /// Reads one subscription on; whether it may have more at once.
    fn take_from(&mut self, index: usize) -> bool {
        let mut told = Vec::new();
        let next = self.subscriptions[index].read(GATHER - self.outgoing.len(), &mut told);
        for item in told {
            self.tell(index, item);
        }
        let subscription = &self.subscriptions[index];
        let (key, room) = (subscription.key, subscription.follower.room.clone());
        match next {
            Next::Wait => return false,
            Next::Again => return true,
            Next::ReadPage(from) => {
                let shared = self.shared.clone();
                self.operations.push(async move { Done::Page(key, begin::read_page(&shared.hub, &room, from).await) }.boxed());
            }
            Next::Behind => self.shared.feed.suspect(room),
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
                match subscription::event_frame(&entry, self.encoding, since) {
                    Some(frame) => {
                        let times = Times { received: entry.received, stored_ms: entry.stored_ms };
                        self.outgoing.push_back(Outgoing { frame, event: Some(times) });
                    }
                    None => metrics.failed(Failed::Encode),
                }
            }
            Told::Gap(gap) => {
                let (from, to) = (gap.from.map(|at| at.to_string()), gap.to.map(|at| at.to_string()));
                let frame = native::gap(self.encoding, room, from.as_deref(), to.as_deref(), gap.reason);
                metrics.failed(Failed::Gap);
                self.reply(frame);
            }
            Told::Snapshot(snapped) => {
                let offset = snapped.at.map(|at| subscription::offset(at, since).to_string());
                let json = snapped.snapshot.to_json(offset.as_deref());
                match native::snapshot(self.encoding, room, offset.as_deref(), &json) {
                    Ok(frame) => self.reply(frame),
                    Err(_) => metrics.failed(Failed::Encode),
                }
            }
        }
    }

    async fn end(mut self, end: End) {
        self.subscriptions.clear();
        self.operations = FuturesUnordered::new();
        let code = match end {
            End::Gone(code) => code,
            End::Close(code) => {
                let _ = tokio::time::timeout(CLOSE_TIME, self.transport.close(code)).await;
                code.code
            }
        };
        self.shared.hub.metrics.closed(code);
    }
}

/// Now, as the contract writes time.
fn timestamp() -> String {
    heads::rfc3339(crate::feed::heads::now_ms()).unwrap_or_default()
}
