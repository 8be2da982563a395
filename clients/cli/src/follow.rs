//! Following rooms through any gateway: a lost connection goes on where it stood, each event is told once.
//!
//! One task holds the connection ([`socket`]) and tells what comes over a bounded channel; while nobody takes, the socket is not
//! read, and the gateway keeps our place. [`rooms`] knows where each room stands, [`backoff`] how long to wait, [`shown`] when a token is worth
//! showing.

pub mod backoff;
pub mod rooms;
mod shown;
mod socket;

use crate::{exit::Failure, gateway::Gateways};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// Messages that wait for the reader.
const TOLD_MAX: usize = 1024;
/// Requests that wait to be sent.
const ASKED_MAX: usize = 16;

/// What is followed, and how.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Rooms, each with the offset to go on after.
    pub rooms: Vec<(String, Option<String>)>,
    /// Without an offset, begin with the execution's state.
    pub snapshot: bool,
    /// Only these types; all if empty.
    pub types: Vec<String>,
}

/// What is told.
#[derive(Debug)]
pub enum Told {
    /// A connection has been made, to this address.
    Connected(String),
    /// The connection is lost, or could not be made; another is tried.
    Lost(String),
    /// A subscribe was answered with this outcome.
    Subscribed {
        /// The room.
        room: String,
        /// `live`, `resumed`, `snapshot` or `gap`.
        outcome: String,
    },
    /// An event, snapshot, gap or `degraded`.
    Message(Message),
    /// The gateway says something that concerns no room or request of ours.
    Warning(String),
    /// Nothing more comes.
    Failed(Failure),
}

/// A message of the gateway.
#[derive(Debug)]
pub struct Message {
    /// The room it came by; empty for `degraded`.
    pub room: String,
    /// As it came.
    pub text: String,
    /// The same, read.
    pub value: Value,
}

impl Message {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.value["type"].as_str().unwrap_or_default()
    }
}

/// A request over the connection: an answer to a prompt.
pub struct Ask {
    /// The message, without `ref`.
    pub message: Value,
    /// Where the answer goes: accepted, or why not.
    pub answer: oneshot::Sender<Result<(), Failure>>,
}

/// Rooms that are followed until this is dropped.
pub struct Follow {
    told: mpsc::Receiver<Told>,
    asks: mpsc::Sender<Ask>,
}

impl Follow {
    /// Begins to connect, and goes on trying for ever; the first failure is told and is no end.
    #[must_use]
    pub fn begin(gateways: Gateways, wanted: Wanted) -> Self {
        let (told, told_to) = mpsc::channel(TOLD_MAX);
        let (asks, asked) = mpsc::channel(ASKED_MAX);
        tokio::spawn(socket::Line::new(gateways, wanted, told, asked).run());
        Self { told: told_to, asks }
    }

    /// What is told next; `None` only after [`Told::Failed`].
    pub async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// What has been told already and waits.
    pub fn next_waiting(&mut self) -> Option<Told> {
        self.told.try_recv().ok()
    }

    /// Asks something; whoever waits for the answer must go on taking what is told meanwhile.
    #[must_use]
    pub fn ask(&self, message: Value) -> oneshot::Receiver<Result<(), Failure>> {
        let (answer, answered) = oneshot::channel();
        // A full queue or an ended follow drops the request, and with it the sender: that is the answer.
        let _ = self.asks.try_send(Ask { message, answer });
        answered
    }
}
