//! Keeps the heads of executions that this process follows, for events that no library published.

use crate::hub::{Hub, Room};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;
use weft_bus::{BusError, PageLimit, ReadFrom, heads};
use weft_event::prepare;

/// Publishers move heads too; after this pause there is usually nothing left to do.
const PAUSE: Duration = Duration::from_secs(1);

/// Moves the heads of executions as rooms ask for it.
pub async fn keep(hub: Arc<Hub>, mut due: mpsc::Receiver<Arc<Room>>) {
    let mut batch = Vec::new();
    while due.recv_many(&mut batch, 1024).await > 0 {
        tokio::time::sleep(PAUSE).await;
        let mut done = HashSet::new();
        for room in batch.drain(..) {
            if done.insert(room.name.clone())
                && let Err(error) = keep_one(&hub, &room).await
            {
                hub.metrics.head_failures.increment(1);
                tracing::debug!(room = %room.name, %error, "an execution's head could not be moved; a later event tries again");
            }
        }
    }
}

async fn keep_one(hub: &Hub, room: &Room) -> Result<(), BusError> {
    let now_ms = now_ms();
    if heads::advance(&hub.bus, &room.name, &hub.limits.event, now_ms).await?.is_some() {
        return Ok(());
    }
    // Nobody has made a head: its owner is that of the first event the room still holds.
    let first = hub.bus.read(&room.name, ReadFrom::Start, PageLimit { events: 64, bytes: 256 * 1024 }).await?;
    let first =
        first.events.iter().find_map(|delivery| prepare(delivery.payload.clone(), Some(&room.name), &hub.limits.event).ok());
    if let Some(first) = first {
        heads::ensure(&hub.bus, &first, room.name.tenant(), now_ms).await?;
        heads::advance(&hub.bus, &room.name, &hub.limits.event, now_ms).await?;
    }
    Ok(())
}

/// Now, in Unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
