//! How a socket comes from its handshake to its session.
//!
//! Where the handshake was the first request of a bare socket ([`super::first`]), the session gets the socket with the answer
//! still to be written, which then goes out with the first frames in one write. Everywhere else the HTTP server writes the
//! answer and gives its connection up.

use super::{App, linger::Lingering};
use crate::transport::{Io, WebSocket, WebSocketLimits, Wire};
use axum::{extract::Request, response::Response};
use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A stream that is a WebSocket from now on.
pub struct Opened {
    io: Io,
    /// What has come after the handshake.
    read: Bytes,
    /// The handshake's answer, if it is still to be written.
    answer: Vec<u8>,
}

impl Opened {
    /// The bare socket of a first request, with the answer to it.
    pub fn bare(io: Io, answer: Vec<u8>) -> Self {
        Self { io, read: Bytes::new(), answer }
    }

    fn upgraded(upgraded: Upgraded, app: &App) -> Self {
        let (io, read) = stream(upgraded, app);
        Self { io, read, answer: Vec::new() }
    }

    /// The WebSocket on it.
    pub fn into_socket(self, wire: Wire, limits: Arc<WebSocketLimits>) -> WebSocket {
        WebSocket::new(self.io, self.read, self.answer, wire, limits)
    }
}

/// What takes a stream over.
pub type Begin = Box<dyn FnOnce(Opened) + Send>;

/// Marks a request whose socket is had with its answer.
#[derive(Clone, Copy)]
pub struct Bare;

/// Goes with the answer to a marked request: who takes its socket.
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<Option<Begin>>>);

impl Takeover {
    /// Takes it from an answer, which it goes with once.
    pub fn of(answer: &mut Response) -> Option<Begin> {
        let takeover = answer.extensions_mut().remove::<Self>()?;
        takeover.0.lock().take()
    }
}

/// Has `begin` called with the stream of `request` when `answer`, which comes back for the HTTP server, is agreed on.
pub fn arrange(app: &App, request: &mut Request, mut answer: Response, begin: impl FnOnce(Opened) + Send + 'static) -> Response {
    if request.extensions().get::<Bare>().is_some() {
        answer.extensions_mut().insert(Takeover(Arc::new(Mutex::new(Some(Box::new(begin))))));
        return answer;
    }
    let (upgrade, app) = (hyper::upgrade::on(request), app.clone());
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => begin(Opened::upgraded(upgraded, &app)),
            Err(error) => tracing::trace!(%error, "a connection ended before its upgrade"),
        }
    });
    answer
}

/// The bare socket or TLS over it, and what was read of it already.
fn stream(upgraded: Upgraded, app: &App) -> (Io, Bytes) {
    let upgraded = match upgraded.downcast::<TokioIo<Lingering<TcpStream>>>() {
        Ok(parts) => return (Io::tcp(parts.io.into_inner().into_inner(), app.sockets.times), parts.read_buf),
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<Lingering<TlsStream<TcpStream>>>>() {
        Ok(parts) => (Io::tls(parts.io.into_inner().into_inner(), app.sockets.times), parts.read_buf),
        Err(upgraded) => (Io::other(TokioIo::new(upgraded)), Bytes::new()),
    }
}
