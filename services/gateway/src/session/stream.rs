//! A session as the body of an HTTP answer: it is polled by the task that writes the answer, and has none of its own.

use super::{Connection, Following, Pass, Shared};
use crate::{hub::Place, transport::EventStream};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// An event stream.
pub struct StreamBody {
    connection: Connection<EventStream>,
    has_ended: bool,
}

impl StreamBody {
    /// A stream of one room.
    pub fn new(shared: Arc<Shared>, place: Place, pass: Option<Box<Pass>>, following: Following) -> Self {
        let connection = Connection::new(shared, place, pass, EventStream::default(), Some(following));
        Self { connection, has_ended: false }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.connection.transport_mut().take() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.has_ended {
                return Poll::Ready(None);
            }
            // Everything told before has been taken: the session may read on.
            this.connection.unblocked();
            this.has_ended = Pin::new(&mut this.connection).poll(context).is_ready();
            if !this.has_ended && !this.connection.transport_mut().has_something() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if !self.has_ended {
            self.connection.abandon();
        }
    }
}
