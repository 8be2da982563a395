//! Publishes on the bus itself, each event in the one room that it names, as a raw publish would; events of a room in
//! order, rooms beside each other.

use super::event::{Event, Shape};
use crate::error::Failure;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use weft_bus::{Bus, Publication};
use weft_event::Room;

/// Batches under way at once.
const LANES: usize = 32;
/// Events that wait in a lane; then whoever publishes waits.
const LANE_EVENTS: usize = 4096;
/// Events of one batch.
const BATCH_EVENTS: usize = 256;
const POLL: Duration = Duration::from_millis(2);

pub(crate) struct Lanes {
    lanes: Vec<mpsc::Sender<Event>>,
    waiting: Arc<AtomicU64>,
    /// Why the first event was not stored that was not.
    failure: Arc<Mutex<Option<String>>>,
}

impl Lanes {
    pub(crate) fn new(bus: &Bus, shape: Shape) -> Self {
        let (shape, waiting, failure) = (Arc::new(shape), Arc::default(), Arc::default());
        let lane = |_| {
            let (sender, events) = mpsc::channel(LANE_EVENTS);
            let lane =
                Lane { bus: bus.clone(), shape: shape.clone(), waiting: Arc::clone(&waiting), failure: Arc::clone(&failure) };
            tokio::spawn(lane.run(events));
            sender
        };
        let lanes = (0..LANES).map(lane).collect();
        Self { lanes, waiting, failure }
    }

    pub(crate) async fn send(&self, events: &[Event]) -> Result<(), Failure> {
        for event in events {
            self.waiting.fetch_add(1, Relaxed);
            let lane = &self.lanes[event.mark.room as usize % LANES];
            if lane.send(*event).await.is_err() {
                break;
            }
        }
        self.check()
    }

    pub(crate) async fn flush(&self, patience: Duration) -> Result<(), Failure> {
        let empty = async {
            while self.waiting.load(Relaxed) > 0 && self.failure.lock().is_none() {
                tokio::time::sleep(POLL).await;
            }
        };
        let in_time = tokio::time::timeout(patience, empty).await.is_ok();
        self.check()?;
        if in_time { Ok(()) } else { Err(Failure::Publish("the broker did not store everything in time".into())) }
    }

    fn check(&self) -> Result<(), Failure> {
        self.failure.lock().clone().map_or(Ok(()), |failure| Err(Failure::Publish(failure)))
    }
}

struct Lane {
    bus: Bus,
    shape: Arc<Shape>,
    waiting: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Lane {
    async fn run(self, mut events: mpsc::Receiver<Event>) {
        let mut batch = Vec::with_capacity(BATCH_EVENTS);
        while events.recv_many(&mut batch, BATCH_EVENTS).await > 0 {
            if let Err(failure) = self.publish(&batch).await {
                // The first says the most; nothing is sent in this lane after it.
                self.failure.lock().get_or_insert(failure);
                return;
            }
            self.waiting.fetch_sub(batch.len() as u64, Relaxed);
            batch.clear();
        }
    }

    async fn publish(&self, batch: &[Event]) -> Result<(), String> {
        let publication = |event: &Event| {
            let room = Room::parse(&self.shape.rooms.name(event.mark.room)).map_err(|error| error.to_string())?;
            let payload = self.shape.body(*event).into();
            Ok(Publication { room, payload, id: None, first: None, traceparent: None })
        };
        let publications = batch.iter().map(publication).collect::<Result<Vec<_>, String>>()?;
        let acks = self.bus.publish_batch(publications).await;
        acks.into_iter().try_for_each(|ack| ack.map(drop).map_err(|error| error.to_string()))
    }
}
