//! The WebSocket transport: frames are read where they came to lie, and written from where they are shared.
//!
//! Between two messages a connection holds no buffer. It reads into one that its thread's connections share, and keeps
//! what is unfinished; of what it writes it keeps the rest of one frame while the socket takes no more.

use super::{Frame, Gone, Io, Received, Transport, Wire, Written, stamp::Stamp};
use bytes::Bytes;
use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    sync::Arc,
    task::{Context, Poll},
};
use weft_dialect::{
    told::CloseCode,
    websocket::{self, ControlFrame, Message, Reader, Scratch},
};

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// Frames written at once.
const FRAMES_AT_ONCE: usize = 16;
/// A frame has three parts; beside them the rest of one, and control frames.
const SLICES_MAX: usize = 3 * FRAMES_AT_ONCE + 4;
/// Control frames that wait. Past this pings are not answered: their sender does not read.
const CONTROL_BYTES_WAITING_MAX: usize = 2048;

/// Bounds of what a client sends.
pub type WebSocketLimits = websocket::Limits;

/// What the connections of a thread share: nothing of it is theirs between two turns.
struct Desk {
    bytes: Box<[u8]>,
    scratch: Scratch,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk { bytes: vec![0; READ_BYTES].into(), scratch: Scratch::default() });
}

/// A WebSocket after its handshake.
pub struct WebSocket {
    io: Io,
    wire: Wire,
    reader: Reader,
    /// The last read said that nothing more had come, so that the task is woken when something does.
    armed: bool,
    /// All is written, and the stream beneath holds back some of it.
    holds_back: bool,
    closing: Closing,
    /// What the peer's close frame said.
    peer_code: Option<u16>,
    /// Rarely there, and freed when it is done with.
    waiting: Option<Box<Waiting>>,
    limits: Arc<WebSocketLimits>,
}

/// What could not be handled at once.
#[derive(Default)]
struct Waiting {
    /// Read, but not handed on.
    unread: Bytes,
    /// Control frames to be written, in part perhaps; before the first frame also the handshake's answer.
    control: Vec<u8>,
    control_written: usize,
    /// A frame that has been written in part, and how much of it.
    begun: Option<(Frame, usize)>,
}

/// How far the goodbye has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Not,
    /// The close frame is among the control frames.
    Telling,
    /// All is written; the end of the stream is to be said.
    Ending,
    /// The peer's end is waited for, so that what it still sends does not break off what it has not read yet.
    Waiting,
}

impl Waiting {
    fn is_done(&self) -> bool {
        self.unread.is_empty() && self.control.is_empty() && self.begun.is_none()
    }
}

impl WebSocket {
    /// Takes over a stream whose handshake is done; `read` has come already, and `answer` goes out before the first frame.
    pub fn new(io: Io, read: Bytes, answer: Vec<u8>, wire: Wire, limits: Arc<WebSocketLimits>) -> Self {
        let is_waiting = !read.is_empty() || !answer.is_empty();
        let waiting = is_waiting.then(|| Box::new(Waiting { unread: read, control: answer, ..Waiting::default() }));
        let reader = Reader::new(wire.deflate);
        Self { io, wire, reader, armed: false, holds_back: false, closing: Closing::Not, peer_code: None, waiting, limits }
    }

    fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    /// Whether a frame has been begun, or control frames wait.
    fn has_unwritten(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.begun.is_some() || !waiting.control.is_empty())
    }

    fn release(&mut self) {
        if self.waiting.as_deref().is_some_and(Waiting::is_done) {
            self.waiting = None;
        }
    }

    /// Queues a control frame; a pong only if its asker reads what it is answered.
    fn control(&mut self, frame: &ControlFrame, may_be_dropped: bool) {
        let waiting = self.waiting();
        if !may_be_dropped || waiting.control.len() < CONTROL_BYTES_WAITING_MAX {
            waiting.control.extend_from_slice(frame);
        }
    }

    /// The bytes to look at next: what was left unread, or what comes.
    fn poll_bytes(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(waiting) = &mut self.waiting
            && !waiting.unread.is_empty()
        {
            let bytes = waiting.unread.split_to(waiting.unread.len().min(into.len()));
            into[..bytes.len()].copy_from_slice(&bytes);
            self.release();
            return Poll::Ready(Ok(bytes.len()));
        }
        if self.armed && !self.io.may_be_read() {
            return Poll::Pending;
        }
        // A task whose turn is over is sent away without having been heard.
        let is_heard = tokio::task::coop::has_budget_remaining();
        let read = self.io.poll_read(context, into);
        self.armed = read.is_pending() && is_heard;
        read
    }

    fn receive(
        &mut self,
        context: &mut Context<'_>,
        desk: &mut Desk,
        take: &mut dyn FnMut(Received<'_>) -> bool,
    ) -> Poll<Result<(), Gone>> {
        loop {
            let count = match self.poll_bytes(context, &mut desk.bytes) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Gone(io::ErrorKind::UnexpectedEof.into()))),
                Poll::Ready(read) => read.map_err(Gone)?,
            };
            let mut bytes = &mut desk.bytes[..count];
            loop {
                let received = match self.reader.read(&mut bytes, &self.limits, &mut desk.scratch) {
                    Ok(None) => break,
                    Ok(Some(Message::Text(text))) => Received::Text(text.as_bytes()),
                    Ok(Some(Message::Binary(bytes))) => Received::Binary(bytes),
                    Ok(Some(Message::Ping(payload))) => {
                        if let Some(pong) = ControlFrame::pong(payload) {
                            self.control(&pong, true);
                        }
                        Received::Alive
                    }
                    Ok(Some(Message::Pong(payload))) => Received::Pong(Stamp::read(payload).and_then(Stamp::elapsed)),
                    Ok(Some(Message::Close(close))) => {
                        self.peer_code = close.code;
                        Received::Closed(close.code)
                    }
                    Err(violation) => {
                        tracing::debug!(%violation, "a client broke the protocol");
                        Received::Faulty(violation.close())
                    }
                };
                if !take(received) {
                    self.leave_unread(bytes);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Puts back what was read and not looked at, before what is still in `unread`.
    fn leave_unread(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.reader.has_ended() {
            return;
        }
        let waiting = self.waiting();
        waiting.unread =
            if waiting.unread.is_empty() { Bytes::copy_from_slice(bytes) } else { [bytes, &waiting.unread].concat().into() };
    }

    /// Writes once; how much, and whether anything was there to write.
    fn write_once(&mut self, context: &mut Context<'_>, frames: &mut VecDeque<Frame>) -> Poll<io::Result<Written>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let mut add = |part| {
            slices[count] = IoSlice::new(part);
            count += 1;
        };
        if let Some(waiting) = &self.waiting {
            // A control frame may stand between frames, not within one.
            waiting.begun.iter().flat_map(|(frame, written)| frame.parts_from(*written)).for_each(&mut add);
            Some(&waiting.control[waiting.control_written..])
                .filter(|control| !control.is_empty())
                .into_iter()
                .for_each(&mut add);
        }
        frames.iter().take(FRAMES_AT_ONCE).flat_map(|frame| frame.parts_from(0)).for_each(add);
        if count == 0 {
            return Poll::Ready(Ok(Written::default()));
        }
        match self.io.poll_write(context, &slices[..count]) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(bytes)) => {
                let events = self.advance(bytes, frames);
                Poll::Ready(Ok(Written { bytes, events, blocked: false }))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Takes out what has been written; answers how many events were begun.
    fn advance(&mut self, mut bytes: usize, frames: &mut VecDeque<Frame>) -> u64 {
        if let Some(waiting) = &mut self.waiting {
            if let Some((frame, written)) = &mut waiting.begun {
                let more = bytes.min(frame.wire_bytes() - *written);
                *written += more;
                bytes -= more;
                if *written == frame.wire_bytes() {
                    waiting.begun = None;
                }
            }
            let more = bytes.min(waiting.control.len() - waiting.control_written);
            waiting.control_written += more;
            bytes -= more;
            if waiting.control_written == waiting.control.len() {
                (waiting.control, waiting.control_written) = (Vec::new(), 0);
            }
        }
        self.release();
        let mut events = 0;
        while bytes > 0
            && let Some(frame) = frames.pop_front()
        {
            events += u64::from(frame.events);
            if bytes < frame.wire_bytes() {
                self.waiting().begun = Some((frame, bytes));
                break;
            }
            bytes -= frame.wire_bytes();
        }
        events
    }

    fn begin_goodbye(&mut self, frame: &ControlFrame) {
        self.waiting().unread = Bytes::new();
        self.control(frame, false);
        self.closing = Closing::Telling;
    }

    /// Throws away what comes, until the end of the stream.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        DESK.with_borrow_mut(|desk| {
            while let Poll::Ready(read) = self.io.poll_read(context, &mut desk.bytes) {
                if !matches!(read, Ok(1..)) {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
    }
}

impl Transport for WebSocket {
    fn wire(&self) -> Wire {
        self.wire
    }

    fn set_limits(&mut self, limits: Arc<WebSocketLimits>) {
        self.limits = limits;
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, take: &mut dyn FnMut(Received<'_>) -> bool) -> Poll<Result<(), Gone>> {
        DESK.with_borrow_mut(|desk| self.receive(context, desk, take))
    }

    fn unfinished(&self) -> Option<u32> {
        self.reader.unfinished()
    }

    fn ping(&mut self) {
        if let Some(ping) = ControlFrame::ping(&Stamp::now().bytes()) {
            self.control(&ping, true);
        }
    }

    fn has_more(&self) -> bool {
        self.holds_back || self.has_unwritten()
    }

    fn poll_write(&mut self, context: &mut Context<'_>, frames: &mut VecDeque<Frame>) -> Result<Written, Gone> {
        let mut written = Written::default();
        while self.has_unwritten() || !frames.is_empty() {
            match self.write_once(context, frames) {
                Poll::Ready(once) => {
                    let once = once.map_err(Gone)?;
                    written.bytes += once.bytes;
                    written.events += once.events;
                }
                Poll::Pending => {
                    written.blocked = true;
                    return Ok(written);
                }
            }
        }
        let flushed = self.io.poll_flush(context);
        self.holds_back = flushed.is_pending();
        written.blocked = self.holds_back;
        if let Poll::Ready(flushed) = flushed {
            flushed.map_err(Gone)?;
        }
        Ok(written)
    }

    fn begin_close(&mut self, code: Option<CloseCode>) {
        let frame = match (code, self.peer_code) {
            (Some(code), _) => ControlFrame::close_with(&code),
            (None, Some(code)) => ControlFrame::close(code, ""),
            (None, None) => ControlFrame::close_without_code(),
        };
        self.begin_goodbye(&frame);
    }

    fn begin_close_saying(&mut self, code: CloseCode, reason: &str) {
        self.begin_goodbye(&ControlFrame::close(code.code, reason));
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            self.closing = match self.closing {
                Closing::Not | Closing::Telling => match self.poll_write(context, &mut VecDeque::new()) {
                    Ok(written) if written.blocked => return Poll::Pending,
                    Ok(_) => Closing::Ending,
                    Err(_) => return Poll::Ready(()),
                },
                Closing::Ending => match self.io.poll_shutdown(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => Closing::Waiting,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                },
                Closing::Waiting => return self.poll_end(context),
            };
        }
    }
}
