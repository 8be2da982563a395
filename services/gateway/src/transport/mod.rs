//! What carries a session's bytes. A transport moves bytes and knows nothing of rooms; a session decides.

mod engine;
mod event_stream;
mod frame;
mod io;
mod stamp;
mod websocket;

pub use engine::{Ask, Engine, Full, Mailbox, Mailboxes};
pub use event_stream::EventStream;
pub use frame::{Dialect, Frame, Wire};
pub use io::{Counted, Io, SocketTimes, UNSENT_BYTES_MAX};
pub use websocket::{WebSocket, WebSocketLimits};

use std::{
    collections::VecDeque,
    task::{Context, Poll},
    time::Duration,
};
use weft_dialect::told::CloseCode;

/// What came in.
#[derive(Debug)]
pub enum Received<'m> {
    /// A text message.
    Text(&'m [u8]),
    /// A binary message.
    Binary(&'m [u8]),
    /// A sign of life: a ping of the transport itself, say.
    Alive,
    /// The answer to a ping, and how long it took where that is known.
    Pong(Option<Duration>),
    /// The peer broke a rule of the transport, and is to be closed with this code.
    Faulty(CloseCode),
    /// The peer closes, with its code if it gave one.
    Closed(Option<u16>),
}

/// The connection is gone.
#[derive(Debug, thiserror::Error)]
#[error("the connection is gone: {0}")]
pub struct Gone(pub std::io::Error);

/// What became of a write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Bytes that the socket has taken.
    pub bytes: usize,
    /// Events that it has taken, the last one in part perhaps.
    pub events: u64,
    /// The socket takes no more now; the task is woken when it does.
    pub blocked: bool,
}

/// Moves messages over one connection. All methods are called from the session's one task.
pub trait Transport: Send + Unpin + 'static {
    /// How frames are made for this transport.
    fn wire(&self) -> Wire;

    /// Whether its client asks by HTTP for what there is.
    fn is_polled(&self) -> bool {
        false
    }

    /// Reads what has come and hands it on, message by message, for as long as `take` answers that it takes more.
    ///
    /// Pending: all that has come was handed on, and the task is woken when more comes. Ready: `take` had enough; what is
    /// left is handed on with the next call.
    fn poll_receive(&mut self, context: &mut Context<'_>, take: &mut dyn FnMut(Received<'_>) -> bool) -> Poll<Result<(), Gone>>;

    /// What has begun to come in and is unfinished, by a number that is another one for every message.
    fn unfinished(&self) -> Option<u32>;

    /// Holds what comes in to other bounds from now on.
    fn set_limits(&mut self, _limits: std::sync::Arc<WebSocketLimits>) {}

    /// Asks the peer whether it is there; written before the next frames.
    fn ping(&mut self);

    /// Tells a transport that keeps time by itself what time it is, in milliseconds; the code to close with if the peer
    /// has let its time pass.
    fn keep_time(&mut self, _now: u64) -> Result<(), CloseCode> {
        Ok(())
    }

    /// When it wants to be told next, in milliseconds; earlier does no harm.
    fn due(&self) -> Option<u64> {
        None
    }

    /// Whether anything of its own waits to be written: control frames, the rest of a frame.
    fn has_more(&self) -> bool;

    /// Writes from the front of `frames` as much as the socket takes. Frames that have been begun are taken out; the rest
    /// of one is all that a transport ever keeps.
    fn poll_write(&mut self, context: &mut Context<'_>, frames: &mut VecDeque<Frame>) -> Result<Written, Gone>;

    /// Begins the goodbye: with this code, or with the peer's own if it has closed. [`Transport::poll_close`] does it.
    fn begin_close(&mut self, code: Option<CloseCode>);

    /// The same with a reason of its own in the place of the code's, where the transport has one.
    fn begin_close_saying(&mut self, code: CloseCode, _reason: &str) {
        self.begin_close(Some(code));
    }

    /// Writes what was begun and the goodbye, and waits for the peer to go; bounded in time by the caller.
    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()>;
}
