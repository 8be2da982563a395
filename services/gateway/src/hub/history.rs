//! History reads of one room, shared: many readers of the same range cause one read on the broker.

use super::{Hub, Reader, Room, entry::Entry, log::Slot};
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use weft_bus::{Anchor, BusError, PageLimit, ReadFrom};
use weft_event::Position;

/// How long a page serves later readers. In a reconnect storm most of them come within seconds.
const PAGE_AGE_MAX: Duration = Duration::from_secs(10);
/// Most pages kept a room.
const PAGES_MAX: usize = 8;
/// One page. Its bytes are what one reader behind costs at most.
const PAGE: PageLimit = PageLimit { events: 256, bytes: 256 * 1024 };

/// Stored events as slots, ready to be delivered.
pub struct HistoryPage {
    /// What the page begins after.
    from: ReadFrom,
    /// What became of that.
    pub anchor: Anchor,
    /// The events, in order.
    pub slots: Vec<Slot>,
    /// The position of the last slot, or of the anchor in an empty page.
    pub last: Option<Position>,
    /// Whether the room holds more after it.
    pub more: bool,
    /// Bytes of its events.
    bytes: usize,
    read_at: Instant,
}

/// The pages read lately.
#[derive(Default)]
pub struct SharedHistory {
    pages: Mutex<Vec<Arc<HistoryPage>>>,
    /// Held while reading, so that those who want the same wait and find the page.
    reading: tokio::sync::Mutex<()>,
}

impl SharedHistory {
    /// A page that goes on after `from`, and the index in it to begin at.
    pub async fn page_after(
        &self,
        hub: &Hub,
        room: &Room,
        from: ReadFrom,
        reader: Reader,
    ) -> Result<(Arc<HistoryPage>, usize), BusError> {
        if let Some(found) = self.cached(from) {
            hub.metrics.history_shared.increment(1);
            return Ok(found);
        }
        let _one = self.reading.lock().await;
        if let Some(found) = self.cached(from) {
            hub.metrics.history_shared.increment(1);
            return Ok(found);
        }
        let _turn = hub.reads.take(reader).await;
        hub.metrics.history_reads.increment(1);
        let page = Arc::new(read(hub, room, from).await?);
        // A page that ends at the room's end grows old at once; only full ones serve others for long.
        self.forget_old();
        let mut pages = self.pages.lock();
        if pages.len() >= PAGES_MAX {
            pages.remove(0);
        }
        if !page.slots.is_empty() {
            pages.push(page.clone());
        }
        Ok((page, 0))
    }

    /// Forgets pages that have served long enough; answers the bytes of the others.
    pub fn forget_old(&self) -> usize {
        let mut pages = self.pages.lock();
        pages.retain(|page| page.read_at.elapsed() < PAGE_AGE_MAX);
        pages.iter().map(|page| page.bytes).sum()
    }

    fn cached(&self, from: ReadFrom) -> Option<(Arc<HistoryPage>, usize)> {
        self.forget_old();
        let pages = self.pages.lock();
        pages.iter().find_map(|page| page.index_after(from).map(|index| (page.clone(), index)))
    }
}

impl HistoryPage {
    /// Where in this page reading after `from` goes on, if this page can tell and has something.
    fn index_after(&self, from: ReadFrom) -> Option<usize> {
        if self.from == from {
            return Some(0);
        }
        let ReadFrom::After(at) = from else { return None };
        let index = self.slots.iter().position(|slot| position(slot) == Some(at))? + 1;
        (index < self.slots.len()).then_some(index)
    }
}

/// The position that a slot holds.
pub fn position(slot: &Slot) -> Option<Position> {
    match slot {
        Slot::Event(entry) => entry.at,
        Slot::Skipped(at) => Some(*at),
        Slot::Gap(gap) => gap.to,
    }
}

async fn read(hub: &Hub, room: &Room, from: ReadFrom) -> Result<HistoryPage, BusError> {
    let page = hub.bus.read(&room.name, from, PAGE).await?;
    let slots: Vec<Slot> = page
        .events
        .iter()
        .filter_map(|delivery| match Entry::new(delivery, &hub.limits.event, &hub.weight) {
            Ok(entry) => Some(Slot::Event(Arc::new(entry))),
            Err(_) => delivery.position().map(Slot::Skipped),
        })
        .collect();
    let anchor_at = match from {
        ReadFrom::After(at) if page.anchor == Anchor::Held => Some(at),
        ReadFrom::Start => Some(Position::start(page.epoch)),
        ReadFrom::After(_) => None,
    };
    Ok(HistoryPage {
        from,
        anchor: page.anchor,
        last: page.last().or(anchor_at),
        slots,
        more: page.more,
        bytes: page.events.iter().map(|delivery| delivery.payload.len()).sum(),
        read_at: Instant::now(),
    })
}
