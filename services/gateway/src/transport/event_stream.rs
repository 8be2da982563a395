//! Server-Sent Events: the body of an HTTP answer. Whoever writes the answer asks for more when the socket takes more, and
//! only then does the session read on: a slow client leaves its cursor behind here as well.

use super::{Dialect, Frame, Gone, Received, Transport, Wire, Written};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    task::{Context, Poll},
};
use weft_dialect::{native::Encoding, sse, told::CloseCode};

/// What a session has told, until the body's reader has taken it: one round of reading at most.
#[derive(Debug, Default)]
pub struct EventStream {
    ready: VecDeque<Frame>,
    heartbeat: bool,
}

impl EventStream {
    /// Whether there is anything to take.
    pub fn has_something(&self) -> bool {
        self.heartbeat || !self.ready.is_empty()
    }

    /// What goes into the body next.
    pub fn take(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.heartbeat) {
            return Some(Bytes::from_static(sse::HEARTBEAT.as_bytes()));
        }
        let frame = self.ready.pop_front().map(Frame::into_body);
        if self.ready.is_empty() {
            // An idle stream keeps no list.
            self.ready = VecDeque::new();
        }
        frame
    }
}

impl Transport for EventStream {
    fn wire(&self) -> Wire {
        Wire { dialect: Dialect::Sse, encoding: Encoding::Json, deflate: false }
    }

    /// A client of this transport says nothing after its request.
    fn poll_receive(&mut self, _: &mut Context<'_>, _: &mut dyn FnMut(Received<'_>) -> bool) -> Poll<Result<(), Gone>> {
        Poll::Pending
    }

    fn unfinished(&self) -> Option<u32> {
        None
    }

    fn ping(&mut self) {
        self.heartbeat = true;
    }

    fn has_more(&self) -> bool {
        false
    }

    /// Takes everything if the last has been taken from here. The body's reader polls again when it wants more.
    fn poll_write(&mut self, _: &mut Context<'_>, frames: &mut VecDeque<Frame>) -> Result<Written, Gone> {
        let mut written = Written { blocked: true, ..Written::default() };
        if self.ready.is_empty() {
            written.bytes = frames.iter().map(Frame::wire_bytes).sum();
            written.events = frames.iter().map(|frame| u64::from(frame.events)).sum();
            self.ready.extend(frames.drain(..));
        }
        Ok(written)
    }

    fn begin_close(&mut self, _: Option<CloseCode>) {
        self.heartbeat = false;
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.ready.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}
