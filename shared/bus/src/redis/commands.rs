//! Commands: a publication to the address's channel, and exactly one reply to the sender's.
//!
//! A registration key names who serves an address. It decides whether anybody does, because a cluster does not count
//! receivers, and which of several processes answers: only the one that the command is addressed to.

use super::{Link, connection::bus_error, live::Live, scripts};
use crate::{Address, BusError, Command, Incoming, Reply, RequestError, Serving, outcome::Outcome};
use fred::{
    interfaces::{KeysInterface, PubsubInterface},
    types::Value,
};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// How long a registration lives unless renewed; four renewals may fail.
const REGISTRATION_MS: u64 = 20_000;

/// Registrations renewed at once.
const RENEWALS_AT_ONCE: usize = 256;

/// The commands under way and the addresses served.
#[derive(Default)]
pub(super) struct Exchange {
    /// By address name.
    served: Mutex<FxHashMap<String, Served>>,
    /// Given up, not yet taken back from the broker: (address name, holder).
    given_up: Mutex<Vec<(String, String)>>,
    /// Waiting for their reply; as many as there are callers.
    pending: Mutex<FxHashMap<u64, oneshot::Sender<Outcome>>>,
    next: AtomicU64,
}

struct Served {
    address: Address,
    holder: String,
    inbox: mpsc::Sender<Incoming>,
}

/// A command on the wire.
#[derive(Serialize, Deserialize)]
struct Sent {
    id: u64,
    reply_to: String,
    /// The registration that the sender has seen.
    holder: String,
    address: String,
    command: Command,
}

/// A reply on the wire.
#[derive(Serialize, Deserialize)]
struct Replied {
    id: u64,
    outcome: Outcome,
}

impl Live {
    pub(super) async fn serve(self: &Arc<Self>, address: &Address, inbox: mpsc::Sender<Incoming>) -> Result<Serving, BusError> {
        let name = address.name();
        let channel = self.link.names.commands(&name);
        let holder = format!("{}:{}", self.link.process, self.commands.next.fetch_add(1, Ordering::Relaxed));
        self.follow_commands(&channel).await?;
        let served = Served { address: address.clone(), holder: holder.clone(), inbox };
        self.commands.served.lock().insert(name.clone(), served);
        let live = self.clone();
        let (undo_name, undo_holder) = (name.clone(), holder.clone());
        let undo = move || live.stop_serving(&undo_name, undo_holder);
        let serving = Serving { undo: Some(Box::new(undo)) };
        register(&self.link, &name, &holder, "take").await?;
        Ok(serving)
    }

    fn stop_serving(&self, name: &str, holder: String) {
        let mut served = self.commands.served.lock();
        if served.get(name).is_some_and(|current| current.holder == holder) {
            served.remove(name);
            self.commands.given_up.lock().push((name.to_owned(), holder));
            self.unfollow_commands(&self.link.names.commands(name));
        }
    }

    pub(super) async fn request(&self, address: &Address, command: Command, timeout: Duration) -> Result<Reply, RequestError> {
        self.require_up()?;
        let name = address.name();
        let registration = self.link.names.registration(&name);
        let holder: Option<String> = scripts::repeat(|| self.link.data.get(registration.as_str())).await?;
        let holder = holder.ok_or(RequestError::NoExecutor)?;
        let (pending, outcome) = Pending::new(&self.commands);
        let reply_to = self.link.names.replies(&self.link.process);
        let sent = Sent { id: pending.id, reply_to, holder, address: name.clone(), command };
        let body = serde_json::to_string(&sent).map_err(|error| BusError::Refused(error.to_string()))?;
        let published: Result<i64, _> = self.link.data.publish(self.link.names.commands(&name), body).await;
        let receivers = published.map_err(|error| bus_error(&error))?;
        if receivers == 0 && !self.link.is_cluster() {
            return Err(RequestError::NoExecutor);
        }
        match tokio::time::timeout(timeout, outcome).await {
            Ok(Ok(outcome)) => outcome.into_result(),
            Ok(Err(_)) | Err(_) => Err(RequestError::Timeout),
        }
    }
}

/// A command that waits; dropping it forgets the command, so that a late reply finds nobody.
struct Pending<'a> {
    exchange: &'a Exchange,
    id: u64,
}

impl<'a> Pending<'a> {
    fn new(exchange: &'a Exchange) -> (Self, oneshot::Receiver<Outcome>) {
        let id = exchange.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        exchange.pending.lock().insert(id, sender);
        (Self { exchange, id }, receiver)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.exchange.pending.lock().remove(&self.id);
    }
}

impl Exchange {
    /// A reply arrived; the first one counts.
    pub(super) fn replied(&self, bytes: &[u8]) {
        let Ok(replied) = serde_json::from_slice::<Replied>(bytes) else {
            tracing::warn!("a reply to a command cannot be read");
            return;
        };
        if let Some(waiting) = self.pending.lock().remove(&replied.id) {
            // The caller may have gone in this moment.
            let _ = waiting.send(replied.outcome);
        }
    }

    /// Renews every registration, and takes those that nobody holds any more.
    pub(super) async fn renew(&self, link: &Link) {
        let served: Vec<_> = self.served.lock().iter().map(|(name, served)| (name.clone(), served.holder.clone())).collect();
        stream::iter(served)
            .for_each_concurrent(RENEWALS_AT_ONCE, |(name, holder)| async move {
                if let Err(error) = register(link, &name, &holder, "renew").await {
                    tracing::warn!(%error, name, "a served address could not be renewed");
                }
            })
            .await;
    }

    /// Takes back the registrations that were given up.
    pub(super) async fn give_up(&self, link: &Link) {
        let gone = std::mem::take(&mut *self.given_up.lock());
        for (name, holder) in gone {
            if let Err(error) = register(link, &name, &holder, "drop").await {
                // It ends by itself.
                tracing::debug!(%error, name, "a registration could not be taken back");
            }
        }
    }
}

async fn register(link: &Link, name: &str, holder: &str, how: &str) -> Result<(), BusError> {
    let args: Vec<Value> = vec![holder.into(), REGISTRATION_MS.to_string().into(), how.into()];
    scripts::REGISTER.ask(&link.data, vec![link.names.registration(name)], args).await.map(|_| ())
}

/// A command arrived for an address that this process serves, or served a moment ago.
pub(super) fn arrived(link: &Arc<Link>, exchange: &Exchange, bytes: &[u8]) {
    let Ok(sent) = serde_json::from_slice::<Sent>(bytes) else {
        tracing::warn!("a command cannot be read");
        return;
    };
    let (reply, answer) = oneshot::channel();
    let handed_over = match exchange.served.lock().get(&sent.address).filter(|served| served.holder == sent.holder) {
        Some(served) => {
            served.inbox.try_send(Incoming { command: sent.command, address: served.address.clone(), reply }).map_err(drop_sent)
        }
        // Ours until a moment ago: the sender need not wait for its timeout.
        None if sent.holder.starts_with(&link.process) => Err(mpsc::error::TrySendError::Closed(())),
        None => return,
    };
    let (link, id, reply_to) = (link.clone(), sent.id, sent.reply_to);
    tokio::spawn(async move {
        let Some(outcome) = Outcome::of(handed_over, answer).await else { return };
        let sent = match serde_json::to_string(&Replied { id, outcome }) {
            Ok(body) => link.data.publish::<i64, _, _>(reply_to, body).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = sent {
            tracing::warn!(error, "the reply to a command could not be sent");
        }
    });
}

fn drop_sent<T>(error: mpsc::error::TrySendError<T>) -> mpsc::error::TrySendError<()> {
    match error {
        mpsc::error::TrySendError::Full(_) => mpsc::error::TrySendError::Full(()),
        mpsc::error::TrySendError::Closed(_) => mpsc::error::TrySendError::Closed(()),
    }
}
