//! Engine.IO beneath Socket.IO: what carries the packets of one session. What happens when is the pure state machine's
//! affair (`weft_dialect::engine`).
//!
//! A session has a WebSocket ([`socket`]) or is asked by HTTP ([`polling`], by way of a [`mailbox`]), and may go from
//! polling to a WebSocket, never back. Nothing of it depends on which: the connection's task is the same.

mod mailbox;
mod polling;

pub use mailbox::{Ask, Full, Mailbox, Mailboxes, Registered};

use super::{Dialect, Frame, Gone, Received, Transport, WebSocket, WebSocketLimits, Wire, Written, stamp::Stamp};
use polling::Polling;
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use weft_dialect::{
    engine::{self, Action, Control, Data, Ended, Input, Packet, Times},
    native::Encoding,
    told::{self, CloseCode},
};

/// Its messages are JSON, and never compressed: what is small gains nothing, and what is shared is written as it lies.
const WIRE: Wire = Wire { dialect: Dialect::SocketIo, encoding: Encoding::Json, deflate: false };

/// An Engine.IO session and what carries it.
pub struct Engine {
    state: State,
    carrier: Carrier,
}

enum Carrier {
    Socket(WebSocket),
    Polling(Box<Polling>),
}

/// The state machine and its time.
struct State {
    session: engine::Session,
    times: Arc<Times>,
    /// As last told, in milliseconds.
    now: u64,
    /// A ping waits to be sent.
    ping: bool,
    /// When the last was, until it is answered; 0: none is out.
    pinged: u32,
    /// The handshake, until it is on its way; polling clients get it as the answer to their first request.
    greeting: Option<Box<str>>,
    ended: Option<Ended>,
}

impl State {
    fn new(transport: engine::Transport, times: Arc<Times>, began: u64, greeting: Option<Box<str>>) -> Self {
        let session = engine::Session::new(transport, began, &times);
        Self { session, times, now: began, ping: false, pinged: 0, greeting, ended: None }
    }

    /// Takes a packet of the client and hands on what it brings; whether more is taken.
    fn packet(&mut self, packet: Option<Packet<'_>>, take: &mut dyn FnMut(Received<'_>) -> bool) -> bool {
        let is_pong = matches!(packet, Some(Packet::Pong(_)));
        let input = packet.map_or(Input::Malformed, Input::Packet);
        let (mut more, mut delivered) = (true, false);
        for action in self.session.take(self.now, &self.times, input) {
            let received = match &action {
                Action::Deliver(Data::Text(text)) => Received::Text(text.as_bytes()),
                Action::Deliver(Data::Binary(bytes)) => Received::Binary(bytes),
                Action::End(ended) => {
                    self.ended = Some(*ended);
                    how_it_ends(*ended)
                }
                // A goodbye ends the waiting poll, which whoever ends it answers.
                _ => continue,
            };
            delivered = true;
            more &= take(received);
        }
        // A client that sends nothing but packets of no content is held to the bounds of one that pings.
        match delivered {
            true => more,
            false if is_pong => take(Received::Pong(self.take_round_trip())),
            false => take(Received::Alive),
        }
    }

    fn take_round_trip(&mut self) -> Option<Duration> {
        let pinged = std::mem::take(&mut self.pinged);
        (pinged != 0).then(|| Stamp::elapsed_since(pinged))
    }

    /// A ping to be sent, and the handshake before it.
    fn first_texts(&mut self) -> impl Iterator<Item = Vec<u8>> {
        let greeting = self.greeting.take().map(|greeting| greeting.into_string().into_bytes());
        let ping = std::mem::take(&mut self.ping).then(|| {
            self.pinged = Stamp::now().short();
            Control::Ping.text().into()
        });
        greeting.into_iter().chain(ping)
    }
}

fn how_it_ends(ended: Ended) -> Received<'static> {
    match ended {
        Ended::ByClient | Ended::ByUs | Ended::Gone => Received::Closed(None),
        Ended::PingTimeout => Received::Faulty(told::PING_TIMEOUT),
        Ended::Violation | Ended::Overlap => Received::Faulty(told::PROTOCOL_ERROR),
    }
}

fn parsed(bytes: &[u8]) -> Option<Packet<'_>> {
    std::str::from_utf8(bytes).ok().and_then(|text| Packet::parse(text).ok())
}

impl Engine {
    /// How messages are written for this transport.
    pub const WIRE: Wire = WIRE;

    /// A session on a WebSocket whose handshake is done. It began at `began`, in milliseconds; the first packet is
    /// `greeting`.
    pub fn on_web_socket(socket: WebSocket, greeting: String, times: Arc<Times>, began: u64) -> Self {
        let state = State::new(engine::Transport::WebSocket, times, began, Some(greeting.into()));
        Self { state, carrier: Carrier::Socket(socket) }
    }

    /// A session whose client was greeted by HTTP, and asks by way of a mailbox. An answer to a poll has
    /// `payload_bytes_max` bytes, or one packet.
    pub fn polling(mailbox: Registered, times: Arc<Times>, began: u64, payload_bytes_max: usize) -> Self {
        let state = State::new(engine::Transport::Polling, times, began, None);
        Self { state, carrier: Carrier::Polling(Box::new(Polling::new(mailbox, payload_bytes_max))) }
    }

    /// The probing WebSocket has become the session's.
    fn upgrade(&mut self) {
        if let Carrier::Polling(polling) = &mut self.carrier
            && let Some(socket) = polling.take_upgraded()
        {
            self.carrier = Carrier::Socket(socket);
        }
    }
}

impl Transport for Engine {
    fn wire(&self) -> Wire {
        WIRE
    }

    fn is_polled(&self) -> bool {
        matches!(self.carrier, Carrier::Polling(_))
    }

    fn set_limits(&mut self, limits: Arc<WebSocketLimits>) {
        match &mut self.carrier {
            Carrier::Socket(socket) => socket.set_limits(limits),
            Carrier::Polling(polling) => polling.know(limits),
        }
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, take: &mut dyn FnMut(Received<'_>) -> bool) -> Poll<Result<(), Gone>> {
        if let Carrier::Polling(polling) = &mut self.carrier {
            let polled = polling.poll_receive(&mut self.state, context, take);
            if !polling.has_upgraded() {
                return polled;
            }
            self.upgrade();
        }
        let Carrier::Socket(socket) = &mut self.carrier else { return Poll::Pending };
        let state = &mut self.state;
        socket.poll_receive(context, &mut |received| match received {
            Received::Text(bytes) => state.packet(parsed(bytes), take),
            Received::Binary(bytes) => state.packet(Some(Packet::binary(bytes)), take),
            // The answer to a ping of Engine.IO is a packet.
            Received::Pong(_) => take(Received::Pong(None)),
            Received::Alive | Received::Faulty(_) | Received::Closed(_) => take(received),
        })
    }

    fn unfinished(&self) -> Option<u32> {
        match &self.carrier {
            Carrier::Socket(socket) => socket.unfinished(),
            Carrier::Polling(_) => None,
        }
    }

    /// Engine.IO pings by itself, see [`Transport::keep_time`].
    fn ping(&mut self) {}

    fn keep_time(&mut self, now: u64) -> Result<(), CloseCode> {
        let state = &mut self.state;
        state.now = now;
        for action in state.session.take(now, &state.times, Input::Tick) {
            match (action, &mut self.carrier) {
                (Action::Send(Control::Ping), _) => state.ping = true,
                (Action::AnswerPoll(last), Carrier::Polling(polling)) => polling.end_poll_with(last),
                (Action::CloseProbe, Carrier::Polling(polling)) => polling.close_probe(),
                (Action::End(ended), _) => {
                    state.ended = Some(ended);
                    return Err(told::PING_TIMEOUT);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn due(&self) -> Option<u64> {
        Some(self.state.session.wake_at())
    }

    fn has_more(&self) -> bool {
        match &self.carrier {
            Carrier::Socket(socket) => self.state.ping || self.state.greeting.is_some() || socket.has_more(),
            Carrier::Polling(polling) => polling.has_more(self.state.ping),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, frames: &mut VecDeque<Frame>) -> Result<Written, Gone> {
        match &mut self.carrier {
            Carrier::Socket(socket) => {
                let first: Vec<_> = self.state.first_texts().collect();
                first.into_iter().rev().for_each(|text| frames.push_front(WIRE.own(text)));
                socket.poll_write(context, frames)
            }
            Carrier::Polling(polling) => polling.write(&mut self.state, context, frames),
        }
    }

    fn begin_close(&mut self, code: Option<CloseCode>) {
        match &mut self.carrier {
            Carrier::Socket(socket) => socket.begin_close(code),
            Carrier::Polling(polling) => polling.begin_close(&mut self.state),
        }
    }

    fn begin_close_saying(&mut self, code: CloseCode, reason: &str) {
        match &mut self.carrier {
            Carrier::Socket(socket) => socket.begin_close_saying(code, reason),
            Carrier::Polling(polling) => polling.begin_close(&mut self.state),
        }
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.carrier {
            Carrier::Socket(socket) => socket.poll_close(context),
            Carrier::Polling(polling) => polling.poll_close(&mut self.state, context),
        }
    }
}
