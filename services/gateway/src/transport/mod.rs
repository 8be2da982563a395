//! What carries a session's bytes. A transport moves bytes and knows nothing of rooms; a session decides.

mod websocket;

pub use websocket::WebSocketTransport;

use bytes::Bytes;
use std::task::{Context, Poll};
use weft_dialect::native::Encoding;
use weft_dialect::told::CloseCode;

/// What came in.
#[derive(Debug)]
pub enum Received {
    /// A text message.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A sign of life: a ping or pong of the transport itself.
    Alive,
    /// The peer broke a rule of the transport, and is to be closed with this code.
    Faulty(CloseCode),
    /// The peer closes, with its code if it gave one.
    Closed(Option<u16>),
}

/// What goes out: one message, in one piece or as a shared body and an own tail.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Shared with other sessions, or this session's own.
    Whole(Bytes),
    /// A shared body and what this session appends to it.
    Spliced(Bytes, String),
}

/// The connection is gone.
#[derive(Debug, thiserror::Error)]
#[error("the connection is gone: {0}")]
pub struct Gone(pub String);

/// Moves messages over one connection. All methods are called from the session's one task.
pub trait Transport: Send + Unpin + 'static {
    /// The next message.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Received, Gone>>;
    /// Whether another frame may be handed over.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gone>>;
    /// Hands a frame over; only after `poll_ready` said so.
    fn send(&mut self, frame: Frame, encoding: Encoding) -> Result<(), Gone>;
    /// Hands a ping over; only after `poll_ready` said so.
    fn ping(&mut self) -> Result<(), Gone>;
    /// Writes what was handed over.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gone>>;
    /// Says goodbye with a code and ends; bounded in time by the caller.
    fn close(self, code: CloseCode) -> impl Future<Output = ()> + Send;
}
