//! One event on its way: which rooms have it, who waits for it, and the space it takes in the buffer.

use crate::{PublishError, ledger::Ledger, meters, trace};
use parking_lot::Mutex;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use weft_bus::{Ack, First, Publication};
use weft_event::{Position, Prepared, Room};

/// An event that is stored in every room it reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The event's id.
    pub id: String,
    /// Its rooms, the first one first, with its position in each; no position in fire-and-forget modes and over HTTP.
    pub positions: Vec<(Room, Option<Position>)>,
    /// Its id had been stored in its first room before; also when an earlier attempt succeeded unnoticed.
    pub duplicate: bool,
}

/// Resolves once the event is stored in every room it reaches, or cannot be. Dropping it cancels nothing.
#[derive(Debug)]
pub struct Pending {
    id: String,
    outcome: oneshot::Receiver<Result<Stored, PublishError>>,
}

impl Pending {
    /// The event's id, as clients will see it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Future for Pending {
    type Output = Result<Stored, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(context).map(|outcome| outcome.unwrap_or(Err(PublishError::Closed)))
    }
}

/// An event in the buffer. Each of its lanes holds a reference.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) event: Prepared,
    /// The event's rooms, the first one first.
    pub(crate) rooms: Vec<Room>,
    pub(crate) enqueued: Instant,
    id: String,
    traceparent: Option<String>,
    /// `messaging.system` of its span.
    system: &'static str,
    progress: Mutex<Progress>,
    ledger: Arc<Ledger>,
    /// Its share of the buffer, given back when the last lane lets go.
    space: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Progress {
    /// By room, as far as known.
    acks: Vec<Option<Ack>>,
    /// Lanes that have not finished.
    lanes: usize,
    /// The first failure in a further room.
    failure: Option<PublishError>,
    /// Taken when the event is through.
    waiting: Option<oneshot::Sender<Result<Stored, PublishError>>>,
}

impl Item {
    /// `lanes` is how many of the rooms are sent to one by one: all over a bus, the first over HTTP.
    pub(crate) fn new(
        event: Prepared,
        rooms: Vec<Room>,
        lanes: usize,
        system: &'static str,
        space: OwnedSemaphorePermit,
        ledger: Arc<Ledger>,
    ) -> (Arc<Self>, Pending) {
        let (sender, outcome) = oneshot::channel();
        let id = event.id.as_deref().unwrap_or_default().to_owned();
        let progress = Progress { acks: vec![None; rooms.len()], lanes, failure: None, waiting: Some(sender) };
        ledger.began();
        meters::took(space.num_permits());
        let item = Self {
            traceparent: traceparent(&event),
            system,
            id: id.clone(),
            event,
            rooms,
            enqueued: Instant::now(),
            progress: Mutex::new(progress),
            ledger,
            space,
        };
        (Arc::new(item), Pending { id, outcome })
    }

    /// Whether the copy for the room at `index` may be sent: its first room has answered. The first room always may.
    pub(crate) fn is_ready(&self, index: usize) -> bool {
        index == 0 || self.progress.lock().acks[0].is_some()
    }

    /// Whether it is through, so that nothing is left to do in any lane.
    pub(crate) fn is_over(&self) -> bool {
        self.progress.lock().waiting.is_none()
    }

    /// What to publish to the room at `index`.
    pub(crate) fn publication(&self, index: usize) -> Publication {
        let first = if index == 0 { None } else { self.progress.lock().acks[0].and_then(|ack| ack.position) };
        publication(&self.event, &self.rooms, index, first, self.traceparent.clone())
    }

    /// The room at `index` has it.
    pub(crate) fn stored(&self, index: usize, ack: Ack) {
        let mut progress = self.progress.lock();
        progress.acks[index] = Some(ack);
        self.lane_ended(&mut progress);
    }

    /// The room at `index` will never have it. Without its first room an event has no others.
    pub(crate) fn failed(&self, index: usize, failure: PublishError) {
        let mut progress = self.progress.lock();
        if index == 0 {
            self.resolve(&mut progress, Err(failure));
            return;
        }
        let (room, reason) = (self.rooms[index].clone(), failure.to_string());
        progress.failure.get_or_insert(PublishError::Incomplete { room, reason });
        self.lane_ended(&mut progress);
    }

    /// Gives it up, wherever it stands.
    pub(crate) fn abandon(&self) {
        self.resolve(&mut self.progress.lock(), Err(PublishError::Closed));
    }

    fn lane_ended(&self, progress: &mut Progress) {
        progress.lanes = progress.lanes.saturating_sub(1);
        if progress.lanes > 0 {
            return;
        }
        let outcome = match progress.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(stored(self.id.clone(), &self.rooms, &progress.acks)),
        };
        self.resolve(progress, outcome);
    }

    fn resolve(&self, progress: &mut Progress, outcome: Result<Stored, PublishError>) {
        let Some(waiting) = progress.waiting.take() else { return };
        self.ledger.ended(self.enqueued, &self.event.kind, outcome.as_ref().err());
        let failure = || outcome.as_ref().err().map(ToString::to_string);
        trace::published(self.traceparent.as_deref(), self.system, &self.rooms, self.enqueued.elapsed(), failure);
        // Whoever dropped its `Pending` did not want to know; the ledger has counted it.
        let _ = waiting.send(outcome);
    }
}

impl Drop for Item {
    /// A runtime that ends takes its lanes along; what they still held is lost and counted.
    fn drop(&mut self) {
        self.abandon();
        meters::gave_back(self.space.num_permits());
    }
}

/// An event for the room at `index`; a copy carries where it stands in its first room.
pub(crate) fn publication(
    event: &Prepared,
    rooms: &[Room],
    index: usize,
    first: Option<Position>,
    traceparent: Option<String>,
) -> Publication {
    Publication {
        room: rooms[index].clone(),
        payload: event.body.clone(),
        id: event.id.as_deref().map(str::to_owned),
        first: first.map(|at| First { room: rooms[0].clone(), epoch: at.epoch, seq: at.seq }),
        traceparent,
    }
}

/// The answer for an event that all of its rooms have.
pub(crate) fn stored(id: String, rooms: &[Room], acks: &[Option<Ack>]) -> Stored {
    let position = |index: usize| acks.get(index).copied().flatten().and_then(|ack| ack.position);
    Stored {
        id,
        positions: rooms.iter().cloned().enumerate().map(|(index, room)| (room, position(index))).collect(),
        duplicate: acks.first().copied().flatten().is_some_and(|ack| ack.duplicate),
    }
}

/// The trace context in the body. Few events have one, so the envelope is read only where the word occurs.
pub(crate) fn traceparent(event: &Prepared) -> Option<String> {
    let text = std::str::from_utf8(&event.body).ok()?;
    text.contains("\"traceparent\"").then(|| event.envelope().traceparent.map(String::from)).flatten()
}
