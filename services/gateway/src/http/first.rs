//! The first request of a connection, where it asks for an event stream: its answer is written to the bare socket.
//!
//! An HTTP server keeps some 20 KiB of buffers for a connection, whatever it does; an event stream that lasts for hours and
//! says little needs none of them. So a whole head that came at once, begins its connection and asks for a stream is read
//! here, goes through the same routes as any other request, and its answer, in chunks (RFC 9112, section 7.1), is the last on
//! its connection. Everything else, and what begins in any other way, is left to the HTTP server untouched.

use super::{serve::Peer, stream};
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

/// A request for an event stream, if that is what comes first; it is then read, otherwise nothing is.
pub async fn event_stream(socket: &mut TcpStream, peer: Peer) -> Option<Request<Body>> {
    let (mut request, head_bytes) = poll_fn(|context| poll_look(socket, context)).await?;
    SCRATCH.with_borrow_mut(|scratch| socket.try_read(&mut scratch[..head_bytes])).ok().filter(|read| *read == head_bytes)?;
    request.extensions_mut().insert(peer);
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

/// The request in a whole head that asks for an event stream and announces no body, and the head's length.
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
        if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT, header::UPGRADE].contains(&name) {
            return None;
        }
        request.headers_mut().append(name, HeaderValue::from_bytes(one.value).ok()?);
    }
    let has_one_host = request.headers().get_all(header::HOST).iter().count() == 1;
    (has_one_host && stream::is_wanted(request.headers())).then_some((request, head_bytes))
}

/// Finds its answer.
pub async fn ask(router: Router, request: Request<Body>) -> Response<Body> {
    let Ok(response) = router.oneshot(request).await;
    response
}

/// Writes an answer, and returns when it or the client is at its end.
pub async fn answer(socket: TcpStream, times: SocketTimes, response: Response<Body>) {
    let mut socket = Io::tcp(socket, times);
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
        let (head, body) = response.into_parts();
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(format!("HTTP/1.1 {}\r\n", head.status).as_bytes());
        for (name, value) in head.headers.iter().filter(|(name, _)| **name != header::CONTENT_LENGTH) {
            text.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        let date = httpdate::fmt_http_date(SystemTime::now());
        let rest = format!("transfer-encoding: chunked\r\nconnection: close\r\ndate: {date}\r\n\r\n");
        text.extend_from_slice(rest.as_bytes());
        Self { body: Some(body), pieces: VecDeque::from([Piece::head(text)]) }
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
            &with("upgrade: websocket"),
            &with("bad header"),
            &with("a: b\0"),
            &HEAD.replace("/api", "http://else where/api"),
        ] {
            assert!(read_head(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
