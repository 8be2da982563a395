//! Between the requests of a polling client and its session: what is asked lies here until the session's task takes it.

use crate::transport::WebSocket;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};
use tokio::sync::oneshot;
use weft_dialect::engine::Refusal;

/// Requests that wait to be taken. A client has two under way at most: a poll and a post, or a poll and an upgrade.
const ASKS_MAX: usize = 4;

/// What a request asks of a session.
pub enum Ask {
    /// What there is.
    Poll(oneshot::Sender<Result<Bytes, Refusal>>),
    /// The answer to a poll was written.
    Answered,
    /// The answer to a poll could not be written to its end.
    AnswerLost,
    /// A poll was given up by its client.
    PollGone,
    /// Packets. It is answered when they have been taken.
    Post(Bytes, oneshot::Sender<Result<(), Refusal>>),
    /// A WebSocket that may become the session's.
    Probe(Box<WebSocket>),
}

impl Ask {
    fn is_request(&self) -> bool {
        matches!(self, Self::Poll(_) | Self::Post(..) | Self::Probe(_))
    }
}

/// The request is not taken: the session is over, or has too many under way.
#[derive(Debug)]
pub struct Full;

/// Requests to one session.
#[derive(Default)]
pub struct Mailbox {
    waker: AtomicWaker,
    asks: Mutex<Asks>,
    is_known: AtomicBool,
}

#[derive(Default)]
struct Asks {
    waiting: VecDeque<Ask>,
    is_closed: bool,
}

impl Mailbox {
    /// Puts a request in, and wakes the session. Of posts, which may be large, one waits at most.
    pub fn ask(&self, ask: Ask) -> Result<(), Full> {
        let mut asks = self.asks.lock();
        let is_post = matches!(ask, Ask::Post(..));
        let requests = asks.waiting.iter().filter(|waiting| waiting.is_request()).count();
        let has_post = asks.waiting.iter().any(|waiting| matches!(waiting, Ask::Post(..)));
        if asks.is_closed || (ask.is_request() && (requests >= ASKS_MAX || (is_post && has_post))) {
            return Err(Full);
        }
        asks.waiting.push_back(ask);
        drop(asks);
        self.waker.wake();
        Ok(())
    }

    /// Whether its client has shown a token, where it must: requests may then be as large as any.
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Its client has shown a token.
    pub(super) fn know(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// What came first; the task is woken for what comes after the last.
    pub(super) fn take(&self, context: &Context<'_>) -> Option<Ask> {
        self.waker.register(context.waker());
        self.asks.lock().waiting.pop_front()
    }

    /// Nothing is taken any more; who waits is told so by the end of its channel.
    pub(super) fn close(&self) {
        let mut asks = self.asks.lock();
        asks.is_closed = true;
        let waiting = std::mem::take(&mut asks.waiting);
        drop(asks);
        drop(waiting);
    }
}

/// The polling sessions of this process, by their ids.
#[derive(Clone, Default)]
pub struct Mailboxes(Arc<Mutex<FxHashMap<Box<str>, Arc<Mailbox>>>>);

impl Mailboxes {
    /// A mailbox for a new session; it can be found for as long as the registration lives.
    pub fn register(&self, sid: &str) -> Registered {
        let mailbox = Arc::new(Mailbox::default());
        self.0.lock().insert(sid.into(), mailbox.clone());
        Registered { mailboxes: self.clone(), sid: sid.into(), mailbox }
    }

    /// The mailbox of a session.
    pub fn find(&self, sid: &str) -> Option<Arc<Mailbox>> {
        self.0.lock().get(sid).cloned()
    }
}

/// A session that can be found by its id.
pub struct Registered {
    mailboxes: Mailboxes,
    sid: Box<str>,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.mailboxes.0.lock().remove(&self.sid);
        self.mailbox.close();
    }
}
