//! Storing many events at once and answering for each: what an HTTP ingress does. No retry buffer; who publishes
//! over HTTP holds that itself.

use crate::{
    HeadKeeper, Stored,
    heads::NotAdmitted,
    item::{publication, stored, traceparent},
    trace,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};
use weft_bus::{Ack, Bus, BusError, Publication, PublishError};
use weft_event::{Invalid, Prepared, Room};

/// Why one of the events was not stored in every room it reaches.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreEventError {
    /// It breaks a rule of the wire contract.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Its `userId` is not the recorded owner of its execution.
    #[error("userId: is not the recorded owner of the execution")]
    OwnerMismatch,
    /// The execution's head could not be read or made.
    #[error(transparent)]
    Head(BusError),
    /// Its first room did not take it.
    #[error(transparent)]
    Bus(PublishError),
    /// Its first room has it, a further one does not.
    #[error("stored, but not in room {room}: {error}")]
    Copy {
        /// The room that lacks it.
        room: Room,
        /// Why.
        error: PublishError,
    },
}

impl StoreEventError {
    /// Whether the same event, with the same id, may be stored later. Repeating it then stores nothing twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Invalid(_) | Self::OwnerMismatch => false,
            Self::Head(error) => matches!(error, BusError::Unavailable(_)),
            Self::Bus(error) | Self::Copy { error, .. } => error.is_retryable(),
        }
    }
}

/// Most events and payload bytes handed to the bus at once.
const CHUNK_EVENTS: usize = 512;
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Heads looked up at once.
const HEADS_AT_ONCE: usize = 16;

/// Stores events in all of their rooms; one result for each, in order.
///
/// The order of the events is kept in every room: after a failure in a room its later events are not stored either
/// ([`PublishError::AfterFailure`]). An event's first room is stored first and its copies say where. Events without
/// `id` or `timestamp` get them ([`complete`]).
pub async fn store_all(
    bus: &Bus,
    heads: &HeadKeeper,
    tenant: Option<&str>,
    events: Vec<Prepared>,
) -> Vec<Result<Stored, StoreEventError>> {
    let mut orders: Vec<Order> = events.into_iter().map(|event| Order::new(complete(event), tenant)).collect();
    admit(heads, tenant, &mut orders).await;
    let mut failed = HashSet::new();
    let mut start = 0;
    while start < orders.len() {
        let end = chunk_end(&orders, start, heads.config().every_events);
        let chunk = &mut orders[start..end];
        let rooms: HashSet<Room> = chunk.iter().filter_map(|order| order.rooms.first().cloned()).collect();
        for room in &rooms {
            heads.near(room).await;
        }
        store_firsts(bus, heads, chunk, &mut failed).await;
        store_copies(bus, chunk, &mut failed).await;
        start = end;
    }
    orders.into_iter().map(|order| order.result(trace::system(bus.mode()))).collect()
}

/// The same event with a UUIDv7 as `id` and the present as `timestamp`, where it lacks them.
#[must_use]
pub fn complete(event: Prepared) -> Prepared {
    if event.id.is_some() && event.has_timestamp {
        return event;
    }
    let id = uuid::Uuid::now_v7().to_string();
    let timestamp = format!("{:.3}", jiff::Timestamp::now());
    event.completed(&id, &timestamp)
}

/// One event while it is stored.
struct Order {
    event: Prepared,
    rooms: Vec<Room>,
    acks: Vec<Option<Ack>>,
    failure: Option<StoreEventError>,
    traceparent: Option<String>,
    begun: Instant,
}

impl Order {
    fn new(event: Prepared, tenant: Option<&str>) -> Self {
        let (rooms, failure) = match event.rooms(tenant) {
            Ok(rooms) => (rooms, None),
            Err(invalid) => (Vec::new(), Some(invalid.into())),
        };
        Self { acks: vec![None; rooms.len()], rooms, failure, traceparent: traceparent(&event), begun: Instant::now(), event }
    }

    fn publication(&self, index: usize) -> Publication {
        let first = if index == 0 { None } else { self.acks[0].and_then(|ack| ack.position) };
        publication(&self.event, &self.rooms, index, first, self.traceparent.clone())
    }

    fn result(self, system: &'static str) -> Result<Stored, StoreEventError> {
        let failure = || self.failure.as_ref().map(ToString::to_string);
        trace::published(self.traceparent.as_deref(), system, &self.rooms, self.begun.elapsed(), failure);
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(stored(self.event.id.as_deref().unwrap_or_default().to_owned(), &self.rooms, &self.acks)),
        }
    }
}

/// No chunk is longer than a head may fall behind, so that waiting for heads between chunks is enough.
fn chunk_end(orders: &[Order], start: usize, head_every: u64) -> usize {
    let events_max = CHUNK_EVENTS.min(usize::try_from(head_every).unwrap_or(CHUNK_EVENTS)).max(1);
    let mut bytes = 0;
    let mut end = start;
    while end < orders.len() && end - start < events_max {
        bytes += orders[end].event.body.len();
        if bytes > CHUNK_BYTES && end > start {
            break;
        }
        end += 1;
    }
    end
}

/// Sees to heads and owners: first each execution's first event, many at once, then the others from memory.
async fn admit(heads: &HeadKeeper, tenant: Option<&str>, orders: &mut [Order]) {
    let unknown = look_up(heads, tenant, orders).await;
    for order in orders.iter_mut().filter(|order| order.failure.is_none()) {
        let execution = order.event.execution_id.as_deref();
        // Where the head is out of reach, asking again for each event would only take time.
        let admitted = match execution.and_then(|execution| unknown.get(execution)) {
            Some(NotAdmitted::Bus(error)) => Err(NotAdmitted::Bus(error.clone())),
            Some(NotAdmitted::OwnerMismatch) | None => heads.admit(tenant, &order.event).await,
        };
        order.failure = admitted.err().map(|refusal| match refusal {
            NotAdmitted::OwnerMismatch => StoreEventError::OwnerMismatch,
            NotAdmitted::Bus(error) => StoreEventError::Head(error),
        });
    }
}

/// The executions whose head could not be had, or not for their first event here.
async fn look_up(heads: &HeadKeeper, tenant: Option<&str>, orders: &[Order]) -> HashMap<String, NotAdmitted> {
    let mut asked = HashSet::new();
    let mut failures = HashMap::new();
    let mut under_way = FuturesUnordered::new();
    for order in orders.iter().filter(|order| order.failure.is_none()) {
        let Some(execution) = order.event.execution_id.as_deref().filter(|execution| asked.insert(*execution)) else { continue };
        if under_way.len() >= HEADS_AT_ONCE {
            failures.extend(under_way.next().await.flatten());
        }
        under_way.push(first_failure(heads, tenant, execution, &order.event));
    }
    while let Some(failure) = under_way.next().await {
        failures.extend(failure);
    }
    failures
}

async fn first_failure(
    heads: &HeadKeeper,
    tenant: Option<&str>,
    execution: &str,
    event: &Prepared,
) -> Option<(String, NotAdmitted)> {
    heads.admit(tenant, event).await.err().map(|failure| (execution.to_owned(), failure))
}

async fn store_firsts(bus: &Bus, heads: &HeadKeeper, chunk: &mut [Order], failed: &mut HashSet<Room>) {
    let asked: Vec<(usize, usize)> = (0..chunk.len()).filter(|at| chunk[*at].failure.is_none()).map(|at| (at, 0)).collect();
    for ((at, _), result) in publish(bus, chunk, asked, failed).await {
        let order = &mut chunk[at];
        match result {
            Ok(ack) => {
                order.acks[0] = Some(ack);
                heads.stored(&order.rooms[0], &order.event);
            }
            Err(error) => order.failure = Some(StoreEventError::Bus(error)),
        }
    }
}

async fn store_copies(bus: &Bus, chunk: &mut [Order], failed: &mut HashSet<Room>) {
    let stored = (0..chunk.len()).filter(|at| chunk[*at].failure.is_none());
    let asked: Vec<(usize, usize)> = stored.flat_map(|at| (1..chunk[at].rooms.len()).map(move |index| (at, index))).collect();
    for ((at, index), result) in publish(bus, chunk, asked, failed).await {
        let order = &mut chunk[at];
        match result {
            Ok(ack) => order.acks[index] = Some(ack),
            Err(error) => {
                let room = order.rooms[index].clone();
                order.failure.get_or_insert(StoreEventError::Copy { room, error });
            }
        }
    }
}

type Place = (usize, usize);

/// Publishes what is asked, as (event, room), but nothing to a room that has failed before; a room that fails now
/// joins those.
async fn publish(
    bus: &Bus,
    chunk: &[Order],
    asked: Vec<Place>,
    failed: &mut HashSet<Room>,
) -> Vec<(Place, Result<Ack, PublishError>)> {
    let (closed, open): (Vec<Place>, Vec<Place>) =
        asked.into_iter().partition(|(at, index)| failed.contains(&chunk[*at].rooms[*index]));
    let mut results: Vec<_> = closed.into_iter().map(|place| (place, Err(PublishError::AfterFailure))).collect();
    if open.is_empty() {
        return results;
    }
    let acks = bus.publish_batch(open.iter().map(|(at, index)| chunk[*at].publication(*index)).collect()).await;
    for (place, ack) in open.into_iter().zip(acks) {
        if ack.is_err() {
            failed.insert(chunk[place.0].rooms[place.1].clone());
        }
        results.push((place, ack));
    }
    results
}
