//! Engine.IO beneath Socket.IO: what carries the packets of one session. What happens when is the pure state machine's
//! affair (`weft_dialect::engine`).

use super::{Dialect, Frame, Gone, Received, Transport, WebSocket, Wire, Written};
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
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
    /// The handshake, until it is on its way.
    greeting: Option<Box<str>>,
    socket: WebSocket,
}

/// The state machine and its time.
struct State {
    session: engine::Session,
    times: Arc<Times>,
    /// As last told, in milliseconds.
    now: u64,
    /// A ping waits to be sent.
    ping: bool,
}

impl State {
    /// Hands on what an input brings; whether more is taken.
    fn take(&mut self, input: Input<'_>, take: &mut dyn FnMut(Received<'_>) -> bool) -> bool {
        let (mut more, mut delivered) = (true, false);
        for action in self.session.take(self.now, &self.times, input) {
            let received = match &action {
                Action::Deliver(Data::Text(text)) => Received::Text(text.as_bytes()),
                Action::Deliver(Data::Binary(bytes)) => Received::Binary(bytes),
                Action::End(Ended::ByClient) => Received::Closed(None),
                Action::End(_) => Received::Faulty(told::PROTOCOL_ERROR),
                _ => continue,
            };
            delivered = true;
            more &= take(received);
        }
        // A client that sends nothing but packets of no content is held to the bounds of one that pings.
        if delivered { more } else { take(Received::Alive) }
    }
}

impl Engine {
    /// A session on a WebSocket whose handshake is done. It began at `began`, in milliseconds; the first packet is
    /// `greeting`.
    pub fn on_web_socket(socket: WebSocket, greeting: String, times: Arc<Times>, began: u64) -> Self {
        let session = engine::Session::new(engine::Transport::WebSocket, began, &times);
        Self { state: State { session, times, now: began, ping: false }, greeting: Some(greeting.into()), socket }
    }

    /// How messages are written for this transport.
    pub const WIRE: Wire = WIRE;
}

impl Transport for Engine {
    fn wire(&self) -> Wire {
        WIRE
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, take: &mut dyn FnMut(Received<'_>) -> bool) -> Poll<Result<(), Gone>> {
        let state = &mut self.state;
        self.socket.poll_receive(context, &mut |received| {
            let input = match received {
                Received::Text(bytes) => match std::str::from_utf8(bytes).ok().map(Packet::parse) {
                    Some(Ok(packet)) => Input::Packet(packet),
                    Some(Err(_)) | None => Input::Malformed,
                },
                Received::Binary(bytes) => Input::Packet(Packet::binary(bytes)),
                Received::Alive | Received::Faulty(_) | Received::Closed(_) => return take(received),
            };
            state.take(input, take)
        })
    }

    fn unfinished(&self) -> Option<u32> {
        self.socket.unfinished()
    }

    /// Engine.IO pings by itself, see [`Transport::keep_time`].
    fn ping(&mut self) {}

    fn keep_time(&mut self, now: u64) -> Result<(), CloseCode> {
        let state = &mut self.state;
        state.now = now;
        for action in state.session.take(now, &state.times, Input::Tick) {
            match action {
                Action::Send(Control::Ping) => state.ping = true,
                Action::End(_) => return Err(told::PING_TIMEOUT),
                _ => {}
            }
        }
        Ok(())
    }

    fn due(&self) -> Option<u64> {
        Some(self.state.session.wake_at())
    }

    fn has_more(&self) -> bool {
        self.state.ping || self.greeting.is_some() || self.socket.has_more()
    }

    fn poll_write(&mut self, context: &mut Context<'_>, frames: &mut VecDeque<Frame>) -> Result<Written, Gone> {
        if std::mem::take(&mut self.state.ping) {
            frames.push_front(WIRE.own(Control::Ping.text().into()));
        }
        if let Some(greeting) = self.greeting.take() {
            frames.push_front(WIRE.own(greeting.into_string().into_bytes()));
        }
        self.socket.poll_write(context, frames)
    }

    fn begin_close(&mut self, code: Option<CloseCode>) {
        self.socket.begin_close(code);
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_close(context)
    }
}
