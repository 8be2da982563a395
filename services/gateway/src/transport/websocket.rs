//! The WebSocket transport.

use super::{Frame, Gone, Received, Transport};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use weft_dialect::{
    native::Encoding,
    told::{self, CloseCode},
};

/// A WebSocket after its handshake.
pub struct WebSocketTransport {
    socket: WebSocket,
}

impl WebSocketTransport {
    /// Takes the socket over.
    pub fn new(socket: WebSocket) -> Self {
        Self { socket }
    }
}

impl Transport for WebSocketTransport {
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Received, Gone>> {
        Pin::new(&mut self.socket).poll_next(context).map(|next| match next {
            Some(Ok(Message::Text(text))) => Ok(Received::Text(text.into())),
            Some(Ok(Message::Binary(bytes))) => Ok(Received::Binary(bytes)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Received::Alive),
            Some(Ok(Message::Close(frame))) => Ok(Received::Closed(frame.map(|frame| frame.code))),
            Some(Err(error)) => faulty(error).map(Received::Faulty),
            None => Ok(Received::Closed(None)),
        })
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Pin::new(&mut self.socket).poll_ready(context).map_err(gone)
    }

    fn send(&mut self, frame: Frame, encoding: Encoding) -> Result<(), Gone> {
        let bytes = match frame {
            Frame::Whole(bytes) => bytes,
            Frame::Spliced(body, tail) => {
                let mut whole = Vec::with_capacity(body.len() + tail.len());
                whole.extend_from_slice(&body);
                whole.extend_from_slice(tail.as_bytes());
                whole.into()
            }
        };
        let message = match encoding {
            Encoding::Json => Message::Text(Utf8Bytes::try_from(bytes).map_err(|error| Gone(error.to_string()))?),
            Encoding::MessagePack => Message::Binary(bytes),
        };
        Pin::new(&mut self.socket).start_send(message).map_err(gone)
    }

    fn ping(&mut self) -> Result<(), Gone> {
        Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new())).map_err(gone)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(gone)
    }

    async fn close(mut self, code: CloseCode) {
        let frame = CloseFrame { code: code.code, reason: Utf8Bytes::from_static(code.sentence) };
        // A peer that is gone needs no goodbye.
        let _ = self.socket.send(Message::Close(Some(frame))).await;
        let _ = self.socket.close().await;
    }
}

/// The close code for what a peer must not send, or that it is gone.
fn faulty(error: axum::Error) -> Result<CloseCode, Gone> {
    use tungstenite::{Error, error::ProtocolError};
    let inner = error.into_inner();
    match inner.downcast_ref::<Error>() {
        Some(Error::Capacity(_)) => Ok(told::MESSAGE_TOO_BIG),
        Some(Error::Utf8(_)) => Ok(told::INVALID_PAYLOAD),
        Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Err(Gone(inner.to_string())),
        Some(Error::Protocol(_)) => Ok(told::PROTOCOL_ERROR),
        _ => Err(Gone(inner.to_string())),
    }
}

fn gone(error: axum::Error) -> Gone {
    Gone(error.to_string())
}
