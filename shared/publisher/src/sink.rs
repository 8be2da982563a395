//! Where a lane's batch goes: the bus, room by room, or a gateway that sees to the rooms itself.

use crate::{HeadKeeper, PublishError, heads::NotAdmitted, http::HttpSink, item::Item, trace};
use std::{sync::Arc, time::Duration};
use weft_bus::{Ack, Bus, BusError, Health};
use weft_event::Room;

/// An event in one of its lanes; `index` says which of its rooms that is.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) item: Arc<Item>,
    pub(crate) index: usize,
}

/// What became of one event of a batch.
#[derive(Debug)]
pub(crate) enum Fate {
    Stored(Ack),
    /// Not known to be stored: again, after the pause that was asked for.
    Again {
        reason: String,
        after: Option<Duration>,
    },
    /// Only held back by a failure before it.
    HeldBack,
    Refused(PublishError),
}

pub(crate) enum Sink {
    Bus { bus: Bus, heads: HeadKeeper, tenant: Option<String> },
    Http(HttpSink),
}

impl Sink {
    /// How many of an event's rooms have a lane of their own.
    pub(crate) fn lanes(&self, rooms: usize) -> usize {
        match self {
            Self::Bus { .. } => rooms,
            Self::Http(_) => rooms.min(1),
        }
    }

    /// `messaging.system` of spans.
    pub(crate) fn system(&self) -> &'static str {
        match self {
            Self::Bus { bus, .. } => trace::system(bus.mode()),
            Self::Http(_) => "http",
        }
    }

    pub(crate) fn heads(&self) -> Option<&HeadKeeper> {
        match self {
            Self::Bus { heads, .. } => Some(heads),
            Self::Http(_) => None,
        }
    }

    /// Returns when the way out may be open again, at the latest never.
    pub(crate) async fn reopened(&self) {
        if let Self::Bus { bus, .. } = self {
            let mut health = bus.health();
            if *health.borrow_and_update() == Health::Down && health.wait_for(|health| *health == Health::Up).await.is_ok() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Sends a batch of one lane and answers for each event, in order.
    pub(crate) async fn send(&self, room: &Room, batch: &[Entry]) -> Vec<Fate> {
        match self {
            Self::Bus { bus, heads, tenant } => send_to_bus(bus, heads, tenant.as_deref(), room, batch).await,
            Self::Http(http) => http.send(batch).await,
        }
    }
}

async fn send_to_bus(bus: &Bus, heads: &HeadKeeper, tenant: Option<&str>, room: &Room, batch: &[Entry]) -> Vec<Fate> {
    heads.near(room).await;
    let mut fates: Vec<Option<Fate>> = Vec::with_capacity(batch.len());
    for entry in batch {
        fates.push(refusal(heads, tenant, entry).await);
        if matches!(fates.last(), Some(Some(Fate::Again { .. }))) {
            break;
        }
    }
    let sent: Vec<usize> = (0..fates.len()).filter(|at| fates[*at].is_none()).collect();
    let publications = sent.iter().map(|at| batch[*at].item.publication(batch[*at].index)).collect();
    let acks = if sent.is_empty() { Vec::new() } else { bus.publish_batch(publications).await };
    for (at, ack) in sent.into_iter().zip(acks) {
        if let (Ok(_), 0) = (&ack, batch[at].index) {
            heads.stored(room, &batch[at].item.event);
        }
        fates[at] = Some(fate(ack));
    }
    fates.resize_with(batch.len(), || None);
    fates.into_iter().map(|fate| fate.unwrap_or(Fate::HeldBack)).collect()
}

/// Why an event must not be stored in its first room, or not now.
async fn refusal(heads: &HeadKeeper, tenant: Option<&str>, entry: &Entry) -> Option<Fate> {
    if entry.index > 0 {
        return None;
    }
    Some(match heads.admit(tenant, &entry.item.event).await.err()? {
        NotAdmitted::OwnerMismatch => Fate::Refused(PublishError::OwnerMismatch),
        NotAdmitted::Bus(BusError::Unavailable(reason)) => Fate::Again { reason, after: None },
        NotAdmitted::Bus(error) => Fate::Refused(PublishError::Refused(error.to_string())),
    })
}

fn fate(ack: Result<Ack, weft_bus::PublishError>) -> Fate {
    match ack {
        Ok(ack) => Fate::Stored(ack),
        Err(weft_bus::PublishError::AfterFailure) => Fate::HeldBack,
        Err(weft_bus::PublishError::TooLarge(reason)) => Fate::Refused(PublishError::TooLarge(reason)),
        Err(error) if error.is_retryable() => Fate::Again { reason: error.to_string(), after: None },
        Err(error) => Fate::Refused(PublishError::Refused(error.to_string())),
    }
}
