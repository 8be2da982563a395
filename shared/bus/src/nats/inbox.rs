//! Requests with one reply or many, on an inbox of our own: the crate's keeps an entry for ever for each request that
//! is never answered, and knows no request with many replies.

use async_nats::{Client, HeaderMap, Message, StatusCode, connection::State};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// A request without an answer after this long has failed.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a request has no reply.
#[derive(Debug)]
pub(super) enum NoReply {
    /// Not connected, or no answer in time: what became of the request is unknown.
    Away(String),
    /// The server says that nobody serves the subject.
    NoResponders,
    /// So many bytes with headers, more than the server takes; not sent.
    TooLarge { bytes: usize, max: usize },
}

/// Sends requests on one connection.
pub(super) struct Inbox {
    pub(super) client: Client,
    prefix: String,
    waiting: Arc<Mutex<FxHashMap<u64, mpsc::Sender<Message>>>>,
    next: AtomicU64,
    reader: tokio::task::AbortHandle,
}

impl Inbox {
    pub(super) async fn open(client: Client) -> Result<Self, async_nats::SubscribeError> {
        let prefix = client.new_inbox();
        let mut replies = client.subscribe(format!("{prefix}.*")).await?;
        let waiting: Arc<Mutex<FxHashMap<u64, mpsc::Sender<Message>>>> = Arc::default();
        let registry = waiting.clone();
        let reader = tokio::spawn(async move {
            while let Some(reply) = replies.next().await {
                let id = reply.subject.rsplit('.').next().and_then(|id| id.parse::<u64>().ok());
                let waiting = id.and_then(|id| registry.lock().get(&id).cloned());
                if let Some(waiting) = waiting {
                    // Full: more replies than were asked for; the asker has what it wants.
                    let _ = waiting.try_send(reply);
                }
            }
        });
        Ok(Self { client, prefix, waiting, next: AtomicU64::new(0), reader: reader.abort_handle() })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// One request, one reply.
    pub(super) async fn ask(&self, subject: String, headers: Option<HeaderMap>, payload: Bytes) -> Result<Message, NoReply> {
        self.ask_within(subject, headers, payload, REQUEST_TIMEOUT).await
    }

    pub(super) async fn ask_within(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Message, NoReply> {
        let mut asked = self.send(subject, headers, payload, 1).await?;
        asked.next(patience).await
    }

    /// One request, up to `replies_max` replies, to be taken with [`Asked::next`].
    pub(super) async fn send(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        replies_max: usize,
    ) -> Result<Asked<'_>, NoReply> {
        if !self.is_connected() {
            // The crate would keep it and send it later, when nobody waits for the answer any more.
            return Err(NoReply::Away("reconnecting".into()));
        }
        let (bytes, max) = (payload.len() + headers.as_ref().map_or(0, headers_length), self.client.max_payload());
        if bytes > max {
            return Err(NoReply::TooLarge { bytes, max });
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, replies) = mpsc::channel(replies_max);
        self.waiting.lock().insert(id, sender);
        let asked = Asked { inbox: self, id, replies };
        let reply_to = format!("{}.{id}", self.prefix);
        let sent = async {
            match headers {
                Some(headers) => self.client.publish_with_reply_and_headers(subject, reply_to, headers, payload).await,
                None => self.client.publish_with_reply(subject, reply_to, payload).await,
            }
        };
        match timeout(REQUEST_TIMEOUT, sent).await {
            Ok(Ok(())) => Ok(asked),
            Ok(Err(error)) => Err(NoReply::Away(error.to_string())),
            Err(_) => Err(NoReply::Away("the connection takes nothing".into())),
        }
    }

    /// Waits for everything sent before on this connection to have been worked off by the server: it answers a
    /// request to a subject that nobody serves at once, and in order.
    pub(super) async fn barrier(&self, void: String) -> Result<(), String> {
        match self.ask(void, None, Bytes::new()).await {
            Ok(_) | Err(NoReply::NoResponders) => Ok(()),
            Err(NoReply::Away(reason)) => Err(reason),
            Err(NoReply::TooLarge { .. }) => Err("the server takes nothing".into()),
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A request under way; dropping it forgets it.
pub(super) struct Asked<'a> {
    inbox: &'a Inbox,
    id: u64,
    replies: mpsc::Receiver<Message>,
}

impl Asked<'_> {
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Message, NoReply> {
        match timeout(patience, self.replies.recv()).await {
            Ok(Some(reply)) if reply.status == Some(StatusCode::NO_RESPONDERS) => Err(NoReply::NoResponders),
            Ok(Some(reply)) => Ok(reply),
            Ok(None) | Err(_) => Err(NoReply::Away("no answer in time".into())),
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.inbox.waiting.lock().remove(&self.id);
    }
}

/// What headers take on the wire, about: the server counts them within its largest payload.
pub(super) fn headers_length(headers: &HeaderMap) -> usize {
    let pairs = headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    16 + pairs.map(|(name, value)| AsRef::<str>::as_ref(name).len() + value.as_str().len() + 4).sum::<usize>()
}
