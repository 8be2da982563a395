//! Keeps the heads of executions that this process follows, for events that no library published.

use crate::hub::{Hub, Room};
use futures_util::StreamExt;
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;
use weft_bus::{BusError, PageLimit, ReadFrom, heads};
use weft_event::{Prepared, prepare};

/// Publishers move heads too; after this pause there is usually nothing left to do.
const PAUSE: Duration = Duration::from_secs(1);
/// Heads moved at once.
const AT_ONCE: usize = 16;

/// Moves the heads of executions as rooms ask for it.
pub async fn keep(hub: Arc<Hub>, mut due: mpsc::Receiver<Arc<Room>>) {
    let mut batch = Vec::new();
    while due.recv_many(&mut batch, 1024).await > 0 {
        tokio::time::sleep(PAUSE).await;
        let mut seen = HashSet::new();
        let rooms = batch.drain(..).filter(|room| seen.insert(room.name.clone()));
        futures_util::stream::iter(rooms).for_each_concurrent(AT_ONCE, |room| keep_or_count(&hub, room)).await;
    }
}

async fn keep_or_count(hub: &Hub, room: Arc<Room>) {
    if let Err(error) = keep_one(hub, &room).await {
        hub.metrics.head_failures.increment(1);
        tracing::debug!(room = %room.name, %error, "an execution's head could not be moved; a later event tries again");
    }
}

async fn keep_one(hub: &Hub, room: &Room) -> Result<(), BusError> {
    let now_ms = now_ms();
    if heads::advance_with(&hub.bus, &room.name, room, &hub.limits.event, now_ms).await?.is_some() {
        return Ok(());
    }
    // Nobody has made a head: its owner is that of the first event the room still holds.
    let made = match room.first_stored() {
        Some(first) => heads::ensure(&hub.bus, &first.event, room.name.tenant(), now_ms).await?,
        None => match read_first(hub, room).await? {
            Some(first) => heads::ensure(&hub.bus, &first, room.name.tenant(), now_ms).await?,
            None => None,
        },
    };
    if made.is_some() {
        heads::advance_with(&hub.bus, &room.name, room, &hub.limits.event, now_ms).await?;
    }
    Ok(())
}

async fn read_first(hub: &Hub, room: &Room) -> Result<Option<Prepared>, BusError> {
    let page = hub.bus.read(&room.name, ReadFrom::Start, PageLimit { events: 64, bytes: 256 * 1024 }).await?;
    Ok(page.events.iter().find_map(|delivery| prepare(delivery.payload.clone(), Some(&room.name), &hub.limits.event).ok()))
}

/// Now, in Unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
