//! The first request of a connection, where it asks for an event stream or a WebSocket: its answer is written to the bare
//! socket.
//!
//! An HTTP server keeps some 20 KiB of buffers for a connection, whatever it does; an event stream that lasts for hours and
//! says little needs none of them, and setting one up for a single handshake costs more than all the rest of it. So a whole
//! head that came at once, begins its connection and asks for either is read here and goes through the same routes as any
//! other request. The answer to a handshake goes out with the first frames; any other, in chunks (RFC 9112, section 7.1), is
//! the last on its connection. Everything else, and what begins in any other way, is left to the HTTP server untouched.

use super::{
    serve::Peer,
    stream,
    takeover::{Bare, Opened, Takeover},
};
use crate::transport::{Io, SocketTimes};
use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue, Method, Request, Response, header},
};
use bytes::Bytes;
use hyper::body::Body as _;
use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};
use tokio::{io::ReadBuf, net::TcpStream};
use tower::ServiceExt;

/// Largest head looked at; what is larger is the HTTP server's.
const HEAD_BYTES_MAX: usize = 4 * 1024;
const HEADERS_MAX: usize = 64;
/// Pieces of an answer written at once.
const PIECES_AT_ONCE: usize = 16;
/// Digits of the largest length, and a line's end.
const LENGTH_BYTES_MAX: usize = 18;
/// How long the end of the client is waited for after an answer has ended.
const GOODBYE: Duration = Duration::from_secs(2);

thread_local! {
    /// One for all connections of a thread: nothing of it is theirs between two turns.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; HEAD_BYTES_MAX].into());
}

/// A request for an event stream or a WebSocket, if that is what comes first; it is then read, otherwise nothing is.
pub async fn request(socket: &mut TcpStream, peer: Peer) -> Option<Request<Body>> {
    let (mut request, head_bytes) = poll_fn(|context| poll_look(socket, context)).await?;
    SCRATCH.with_borrow_mut(|scratch| socket.try_read(&mut scratch[..head_bytes])).ok().filter(|read| *read == head_bytes)?;
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(Bare);
    Some(request)
}

/// Looks at what has come without taking it.
fn poll_look(socket: &TcpStream, context: &mut Context<'_>) -> Poll<Option<(Request<Body>, usize)>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        match socket.poll_peek(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(looked) => Poll::Ready(looked.ok().and_then(|_| read_head(buffer.filled()))),
        }
    })
}

/// The request in a whole head that asks for an event stream or a WebSocket and announces no body, and the head's length.
fn read_head(bytes: &[u8]) -> Option<(Request<Body>, usize)> {
    if !bytes.starts_with(b"GET /") {
        return None;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(bytes).ok()? else { return None };
    if head.version != Some(1) {
        return None;
    }
    let mut request = Request::builder().method(Method::GET).uri(head.path?).body(Body::empty()).ok()?;
    for one in head.headers.iter() {
        let name = HeaderName::from_bytes(one.name.as_bytes()).ok()?;
        if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT].contains(&name) {
            return None;
        }
        request.headers_mut().append(name, HeaderValue::from_bytes(one.value).ok()?);
    }
    let has_one_host = request.headers().get_all(header::HOST).iter().count() == 1;
    let is_ours = if request.headers().contains_key(header::UPGRADE) {
        is_handshake(&request)
    } else {
        stream::is_wanted(request.headers())
    };
    (has_one_host && is_ours).then_some((request, head_bytes))
}

/// Whether it asks for a WebSocket of its own; that of a session which has begun may have to be passed on.
fn is_handshake(request: &Request<Body>) -> bool {
    let upgrade = &request.headers()[header::UPGRADE];
    let is_of_a_session = request.uri().query().is_some_and(|query| query.contains("sid="));
    upgrade.as_bytes().eq_ignore_ascii_case(b"websocket") && !is_of_a_session
}

/// Finds its answer.
pub async fn ask(router: Router, request: Request<Body>) -> Response<Body> {
    let Ok(response) = router.oneshot(request).await;
    response
}

/// Gives the socket of a handshake to whoever takes it over, with the answer; an answer that nobody takes over comes back.
pub fn hand_over(socket: TcpStream, times: SocketTimes, mut response: Response<Body>) -> Option<(Io, Response<Body>)> {
    let io = Io::tcp(socket, times);
    let Some(taker) = Takeover::of(&mut response) else { return Some((io, response)) };
    let mut head = head(&response);
    head.extend_from_slice(b"\r\n");
    taker(Opened::bare(io, head));
    None
}

/// Status and headers of an answer; the empty line behind them is left out.
fn head(response: &Response<Body>) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(response.status().as_str().as_bytes());
    text.extend_from_slice(b" ");
    text.extend_from_slice(response.status().canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(b"\r\n");
    for (name, value) in response.headers().iter().filter(|(name, _)| **name != header::CONTENT_LENGTH) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text
}

/// Writes an answer, and returns when it or the client is at its end.
pub async fn answer(mut socket: Io, response: Response<Body>) {
    let mut answer = Answer::new(response);
    if let Err(error) = poll_fn(|context| answer.poll(&mut socket, context)).await {
        return tracing::trace!(%error, "a connection ended");
    }
    drop(answer);
    say_goodbye(socket).await;
}

/// Ends the connection so that a client which has said more than it had to still reads all of its answer.
async fn say_goodbye(mut socket: Io) {
    let _ = poll_fn(|context| socket.poll_shutdown(context)).await;
    let _ = tokio::time::timeout(
        GOODBYE,
        poll_fn(|context| poll_hear(&mut socket, context).map_or(Poll::Ready(()), |()| Poll::Pending)),
    )
    .await;
}

/// An answer on its way. Of what it tells it holds a round at most; the rest of the body is asked for when the socket has
/// taken that.
struct Answer {
    body: Option<Body>,
    pieces: VecDeque<Piece>,
}

/// What goes out as one: bytes between the length of their chunk and its end.
struct Piece {
    /// Hexadecimal digits and a line's end, and how many bytes these are; none before the head of an answer.
    length: ([u8; LENGTH_BYTES_MAX], usize),
    bytes: Bytes,
    end: &'static [u8],
    written: usize,
}

impl Piece {
    fn head(bytes: Vec<u8>) -> Self {
        Self { length: ([0; LENGTH_BYTES_MAX], 0), bytes: bytes.into(), end: b"", written: 0 }
    }

    /// A chunk; an empty one is the last.
    fn chunk(bytes: Bytes) -> Self {
        let mut length = [0; LENGTH_BYTES_MAX];
        let mut rest = &mut length[..];
        // Sixteen digits and a line's end fit.
        let _ = write!(rest, "{:x}\r\n", bytes.len());
        let length_bytes = LENGTH_BYTES_MAX - rest.len();
        Self { length: (length, length_bytes), bytes, end: b"\r\n", written: 0 }
    }

    fn len(&self) -> usize {
        self.length.1 + self.bytes.len() + self.end.len()
    }

    /// What is still to be written.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut written = self.written;
        [&self.length.0[..self.length.1], &self.bytes, self.end].into_iter().map(move |part| {
            let skipped = written.min(part.len());
            written -= skipped;
            &part[skipped..]
        })
    }
}

impl Answer {
    fn new(response: Response<Body>) -> Self {
        let mut text = head(&response);
        let date = httpdate::fmt_http_date(SystemTime::now());
        let rest = format!("transfer-encoding: chunked\r\nconnection: close\r\ndate: {date}\r\n\r\n");
        text.extend_from_slice(rest.as_bytes());
        Self { body: Some(response.into_body()), pieces: VecDeque::from([Piece::head(text)]) }
    }

    fn poll(&mut self, socket: &mut Io, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_hear(socket, context)?;
        loop {
            self.fill(context);
            if self.pieces.is_empty() {
                // Between two events it keeps no list.
                self.pieces = VecDeque::new();
                return if self.body.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            match self.poll_write(socket, context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(written) => written?,
            }
        }
    }

    /// Takes from the body what it has, a round at most; the task is woken when it has more.
    fn fill(&mut self, context: &mut Context<'_>) {
        while self.pieces.len() < PIECES_AT_ONCE
            && let Some(body) = &mut self.body
        {
            match Pin::new(body).poll_frame(context) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.into_data().ok().filter(|bytes| !bytes.is_empty());
                    self.pieces.extend(bytes.map(Piece::chunk));
                }
                Poll::Ready(Some(Err(_)) | None) => {
                    self.body = None;
                    self.pieces.push_back(Piece::chunk(Bytes::new()));
                }
            }
        }
    }

    fn poll_write(&mut self, socket: &mut Io, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); 3 * PIECES_AT_ONCE];
        let parts = self.pieces.iter().take(PIECES_AT_ONCE).flat_map(Piece::parts).filter(|part| !part.is_empty());
        let count = slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part)).count();
        match socket.poll_write(context, &slices[..count]) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(written) => Poll::Ready(written.map(|bytes| self.advance(bytes))),
        }
    }

    fn advance(&mut self, mut bytes: usize) {
        while bytes > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let taken = bytes.min(piece.len() - piece.written);
            piece.written += taken;
            bytes -= taken;
            if piece.written == piece.len() {
                self.pieces.pop_front();
            }
        }
    }
}

/// Learns of the client's end. What else it says is thrown away: this answer is the last on its connection.
fn poll_hear(socket: &mut Io, context: &mut Context<'_>) -> io::Result<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        while let Poll::Ready(read) = socket.poll_read(context, scratch) {
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET /api/executions/e/events?offset=1 HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n";

    #[test]
    fn a_whole_head_that_asks_for_a_stream_is_read() {
        let (request, head_bytes) = read_head(format!("{HEAD}GET /").as_bytes()).expect("a request");
        assert_eq!(
            (request.uri().path(), request.uri().query(), head_bytes),
            ("/api/executions/e/events", Some("offset=1"), HEAD.len())
        );
        assert_eq!(request.headers()["host"], "h");
    }

    #[test]
    fn a_handshake_is_read_but_for_that_of_a_session_which_has_begun() {
        let of = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: h\r\nupgrade: WebSocket\r\nconnection: upgrade\r\n\r\n");
        assert!(read_head(of("/api/ws?token=t").as_bytes()).is_some());
        assert!(read_head(of("/socket.io/?EIO=4&transport=websocket").as_bytes()).is_some());
        assert!(read_head(of("/socket.io/?EIO=4&transport=websocket&sid=s").as_bytes()).is_none());
    }

    #[test]
    fn everything_else_is_left_to_the_server() {
        let with = |line: &str| HEAD.replacen("host: h\r\n", &format!("host: h\r\n{line}\r\n"), 1);
        for text in [
            "",
            "GET /x HTTP/1.1\r\nhost: h\r\n\r\n",
            &HEAD[..HEAD.len() - 1],
            &HEAD.replace("GET", "POST"),
            &HEAD.replace("HTTP/1.1", "HTTP/2.0"),
            &HEAD.replace("host: h\r\n", ""),
            &with("host: other"),
            &with("content-length: 0"),
            &with("transfer-encoding: chunked"),
            &with("expect: 100-continue"),
            &with("upgrade: h2c"),
            &with("bad header"),
            &with("a: b\0"),
            &HEAD.replace("/api", "http://else where/api"),
        ] {
            assert!(read_head(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
