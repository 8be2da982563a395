//! The task of one connection: it moves what its transport brings to its session, and what its session tells to its
//! transport, and says goodbye in the end.

use super::{
    End, Following, Pass, Session, Shared,
    round::{DESK, Desk},
};
use crate::{
    hub::Place,
    metrics::{Ended, Failed},
    transport::{Gone, Transport},
};
use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use weft_dialect::told;

/// Messages read in one turn, so that one client cannot keep its thread busy.
const MESSAGES_PER_TURN: usize = 32;
/// A list with room for more frames than this goes when it has been emptied.
const FRAMES_KEPT: usize = 256;
/// Seconds that a goodbye may take.
const CLOSE_SECS: u32 = 2;

/// A session and what carries its bytes: the one future of a connection.
pub struct Connection<T> {
    session: Session,
    transport: T,
    ending: Option<Ending>,
}

/// A connection that says goodbye.
struct Ending {
    /// For metrics; 0: neither side gave one.
    code: u16,
    why: Ended,
    /// The wheel's second at which it is over all the same.
    deadline: u32,
}

impl From<Gone> for End {
    fn from(gone: Gone) -> Self {
        tracing::trace!(%gone, "a connection ended");
        Self::Gone
    }
}

impl<T: Transport> Connection<T> {
    /// A connection whose handshake is done. `following` is what its address says to follow, if it does.
    pub fn new(shared: Arc<Shared>, place: Place, pass: Option<Box<Pass>>, transport: T, following: Option<Following>) -> Self {
        let mut session = Session::new(shared, place, transport.wire(), transport.is_polled());
        session.admit(pass);
        if let Some(following) = following {
            session.follow(following);
        }
        Self { session, transport, ending: None }
    }

    /// A connection of Socket.IO, whose client says in what namespaces it wants to be.
    pub fn of_packets(shared: Arc<Shared>, place: Place, pass: Option<Box<Pass>>, transport: T, bears_recovery: bool) -> Self {
        let mut session = Session::new(shared, place, transport.wire(), transport.is_polled());
        session.speak_socketio(bears_recovery);
        session.admit(pass);
        Self { session, transport, ending: None }
    }

    /// For who polls it as a part of something else.
    pub(super) fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// The transport takes more.
    pub(super) fn unblocked(&mut self) {
        self.session.wrote(0, false);
    }

    /// The peer is gone, and with it whoever polled this.
    pub(super) fn abandon(&mut self) {
        if self.ending.is_none() {
            self.begin_end(End::Gone);
        }
        let (code, why) = self.ending.as_ref().map_or((0, Ended::Lost), |ending| (ending.code, ending.why));
        self.over(code, why);
    }

    /// It is out before it is counted, so that both can be read together.
    fn over(&mut self, code: u16, why: Ended) {
        self.session.joined = None;
        let metrics = &self.session.shared.hub.metrics;
        metrics.lived(self.session.age());
        metrics.closed(code, why);
    }

    /// One turn: everything that can be done now. Ready only when the session ends.
    fn turn(&mut self, context: &mut Context<'_>, desk: &mut Desk) -> Poll<End> {
        if self.session.outgoing.capacity() == 0 {
            mem::swap(&mut self.session.outgoing, &mut desk.frames);
        }
        let end = self.try_turn(context, desk);
        if self.session.outgoing.is_empty() {
            let emptied = mem::take(&mut self.session.outgoing);
            if desk.frames.capacity() == 0 && emptied.capacity() <= FRAMES_KEPT {
                desk.frames = emptied;
            }
        }
        match end {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn try_turn(&mut self, context: &mut Context<'_>, desk: &mut Desk) -> Result<(), End> {
        self.transport.keep_time(self.session.now_ms()).map_err(End::Close)?;
        let held_back = self.read(context)?;
        self.session.joined.iter_mut().for_each(|joined| joined.set_polled(self.transport.is_polled()));
        self.session.poll_operations(context);
        if let Some(limits) = self.session.take_full_limits() {
            self.transport.set_limits(limits);
        }
        self.session.look_at_waiting();
        self.session.heed()?;
        self.session.wake_by_ms(self.transport.due());
        if self.session.keep_time()? {
            self.transport.ping();
        }
        self.write(context, desk)?;
        if let Some(code) = self.session.lost {
            return Err(End::Close(*code));
        }
        self.session.go(self.session.now())?;
        if held_back && self.session.takes_more() {
            context.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Hands on what has come; whether more may be there that was not looked at.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        let session = &mut self.session;
        if !session.takes_more() {
            return Ok(true);
        }
        let (mut messages, mut end) = (0, None);
        let polled = self.transport.poll_receive(context, &mut |received| {
            messages += 1;
            end = session.receive(received).err();
            end.is_none() && messages < MESSAGES_PER_TURN && session.takes_more()
        });
        if let Some(end) = end {
            return Err(end);
        }
        let more = match polled {
            Poll::Pending => false,
            Poll::Ready(handed_on) => {
                handed_on?;
                true
            }
        };
        self.session.unfinished(self.transport.unfinished().or(self.session.unfinished_packet()));
        Ok(more)
    }

    /// Writes what there is, as long as the socket takes it.
    fn write(&mut self, context: &mut Context<'_>, desk: &mut Desk) -> Result<(), End> {
        loop {
            if self.session.outgoing.is_empty() && !self.session.clock.blocked {
                self.session.gather(context, desk);
            }
            if self.session.outgoing.is_empty() && !self.transport.has_more() {
                return Ok(());
            }
            let written = self.transport.poll_write(context, &mut self.session.outgoing)?;
            self.session.wrote(written.bytes, written.blocked);
            self.session.delivered(written.events);
            if written.blocked {
                return Ok(());
            }
        }
    }

    fn begin_end(&mut self, end: End) {
        let behind = self.session.leave();
        let deadline = self.session.now() + CLOSE_SECS;
        let (code, why, deadline) = match end {
            End::Close(code) => {
                self.transport.begin_close(Some(code));
                (code.code, Ended::of(&code), deadline)
            }
            End::Go(cause) => {
                self.session.note_going(cause);
                self.transport.begin_close_saying(told::RESTARTING, &self.session.farewell(cause));
                (told::RESTARTING.code, Ended::Sent(cause), deadline)
            }
            End::Closed(code) => {
                self.transport.begin_close(None);
                (code.unwrap_or(0), Ended::Client, deadline)
            }
            End::Gone => (0, Ended::Lost, 0),
        };
        // Who has said goodbye wants no more.
        let was_cut_off = match end {
            End::Close(code) => code == told::PING_TIMEOUT || code == told::TOO_SLOW,
            End::Go(_) | End::Closed(_) => false,
            End::Gone => true,
        };
        if was_cut_off && behind > 0 {
            self.session.shared.hub.metrics.failed(Failed::Disconnected, behind);
        }
        self.ending = Some(Ending { code, why, deadline });
    }
}

impl<T: Transport> Future for Connection<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.session.cell.register(context.waker());
        if this.ending.is_none()
            && let Poll::Ready(end) = DESK.with_borrow_mut(|desk| this.turn(context, desk))
        {
            this.begin_end(end);
        }
        let Some(Ending { code, why, deadline }) = this.ending else { return Poll::Pending };
        let now = this.session.now();
        if now < deadline && this.transport.poll_close(context).is_pending() {
            this.session.wake_by(deadline);
            return Poll::Pending;
        }
        this.over(code, why);
        Poll::Ready(())
    }
}
