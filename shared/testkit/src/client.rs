//! A client that records everything, and that can stall, be cut off, go away and come back.
//!
//! It knows several gateways. When a connection ends it goes to the next one and resumes all its rooms in one message,
//! each after the last event that it has read, or after the offset that a later answer gave it instead. It drops nothing
//! and hides nothing: what comes twice is recorded twice.
//!
//! It speaks the native protocol, or one of those whose address says what to follow ([`Speech`]); then it follows one room, and
//! resumes as that dialect has it.
//!
//! Its messages are JSON and not compressed. A gateway's stall limit counts bytes that the socket takes; a client that is
//! to read a little now and then, also in the middle of a frame, has [`ClientPlan::read_bytes_per_second`].

mod connection;
pub(crate) mod frames;
mod paced;
pub(crate) mod speech;
mod task;

pub use speech::Speech;

use crate::{
    Fault, Result,
    record::{Follow, Record, Wishes},
};
use parking_lot::{Mutex, MutexGuard};
use std::{sync::Arc, time::Duration};
use task::Order;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

/// What a client is and does.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// Its name in verdicts.
    pub name: String,
    /// `host:port` of each gateway that it may use.
    pub gateways: Vec<String>,
    /// The gateway it begins with.
    pub first_gateway: usize,
    /// What it speaks.
    pub speech: Speech,
    /// What it follows from the beginning; one room, where it does not speak the native protocol.
    pub follows: Vec<Follow>,
    /// What else its subscribes ask for.
    pub wishes: Wishes,
    /// Sent as `Authorization: Bearer` with each connection.
    pub token: Option<String>,
    /// Whether the record keeps the frame of each event. Off in long runs, for memory.
    pub keep_bodies: bool,
    /// The size of its socket's receive buffer in bytes, small for clients that shall be slow; 0 is the system's choice.
    pub receive_buffer: u32,
    /// It reads no faster than this, also within a frame; 0 is as fast as it comes.
    pub read_bytes_per_second: u32,
    /// It waits a random time up to this before it connects again.
    pub reconnect_within: Duration,
    /// Whether it comes back at all after a connection has ended.
    pub reconnects: bool,
}

impl ClientPlan {
    /// Follows these rooms, keeps bodies, comes back within 200 ms.
    #[must_use]
    pub fn new(name: &str, gateways: &[String], follows: Vec<Follow>) -> Self {
        Self {
            name: name.to_owned(),
            gateways: gateways.to_vec(),
            first_gateway: 0,
            speech: Speech::Native,
            follows,
            wishes: Wishes::default(),
            token: None,
            keep_bodies: true,
            receive_buffer: 0,
            read_bytes_per_second: 0,
            reconnect_within: Duration::from_millis(200),
            reconnects: true,
        }
    }
}

/// What the client's task and its owner share.
struct Shared {
    record: Mutex<Record>,
    /// Counts changes of the record, so that waiting needs no polling.
    changes: watch::Sender<u64>,
}

/// A running client. Dropping it ends it.
pub struct Client {
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Client {
    /// Starts it; it connects by itself. Must be called in a runtime.
    #[must_use]
    pub fn start(plan: ClientPlan) -> Self {
        let (client, wishes) = (plan.name.clone(), plan.wishes.clone());
        let record = Record { client, wishes, follows: plan.follows.clone(), ..Record::default() };
        let shared = Arc::new(Shared { record: Mutex::new(record), changes: watch::Sender::new(0) });
        // A test sends a handful of orders.
        let (orders, inbox) = mpsc::unbounded_channel();
        let task = tokio::spawn(task::run(plan, Arc::clone(&shared), inbox));
        Self { shared, orders, task }
    }

    /// Starts it and waits until all its rooms have been answered once.
    ///
    /// # Errors
    /// They were not, in time.
    pub async fn started(plan: ClientPlan, timeout: Duration) -> Result<Self> {
        let follows = plan.follows.clone();
        let client = Self::start(plan);
        client
            .wait_for("an answer to every subscribe", timeout, |record| {
                follows.iter().all(|follow| !record.outcomes(&follow.room).is_empty())
            })
            .await?;
        Ok(client)
    }

    /// What it has seen so far. The client stands still while this is held.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.shared.record.lock()
    }

    /// Waits until something holds of its record.
    ///
    /// # Errors
    /// It did not, in time; the fault shows the end of the record.
    pub async fn wait_for(&self, what: &str, timeout: Duration, holds: impl Fn(&Record) -> bool) -> Result<()> {
        let until = Instant::now() + timeout;
        let mut changes = self.shared.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if holds(&self.record()) {
                return Ok(());
            }
            let changed = tokio::time::timeout_at(until, changes.changed()).await;
            if changed.is_err() {
                let record = self.record();
                let tail: Vec<_> = record.entries.iter().rev().take(5).rev().map(|entry| format!("{:?}", entry.seen)).collect();
                let detail = format!("; {} has {} events and ends with\n{}", record.client, record.events, tail.join("\n"));
                return Err(Fault::late(what, timeout, detail));
            }
        }
    }

    /// Waits until it has read this many events.
    ///
    /// # Errors
    /// Not in time.
    pub async fn wait_for_events(&self, events: u64, timeout: Duration) -> Result<()> {
        self.wait_for(&format!("event number {events}"), timeout, |record| record.events >= events).await
    }

    /// Sends a text frame as it is, once connected.
    pub fn send(&self, text: impl Into<String>) {
        self.order(Order::Send(text.into()));
    }

    /// Follows one room more.
    pub fn follow(&self, follow: Follow) {
        self.order(Order::Follow(follow));
    }

    /// Follows a room no more. What it has seen of it stays in the record.
    pub fn unfollow(&self, room: &str) {
        self.order(Order::Unfollow(room.into()));
    }

    /// Stops reading: the socket fills and the gateway can write no more. Nothing is answered either, not even a ping.
    pub fn stall(&self) {
        self.order(Order::Stall);
    }

    /// Reads again.
    pub fn read(&self) {
        self.order(Order::Read);
    }

    /// Resets the TCP connection; what lies unread in the socket is lost. The client comes back by itself.
    pub fn cut(&self) {
        self.order(Order::Cut);
    }

    /// Resets the TCP connection and stays away for a while.
    pub fn go_away(&self, pause: Duration) {
        self.order(Order::Away(pause));
    }

    /// Closes the connection politely and returns what it saw.
    pub async fn finish(mut self) -> Record {
        self.order(Order::Finish);
        // A client that cannot even close in this time is ended; its record is complete all the same.
        if tokio::time::timeout(Duration::from_secs(5), &mut self.task).await.is_err() {
            self.task.abort();
        }
        std::mem::take(&mut *self.shared.record.lock())
    }

    fn order(&self, order: Order) {
        // The task outlives this handle unless it has finished, and then there is nothing left to order.
        let _ = self.orders.send(order);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}
