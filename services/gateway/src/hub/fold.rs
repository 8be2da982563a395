//! An execution's state, folded from its events and kept with its room's log.

use super::{
    Hub, Reader, Room,
    entry::Entry,
    log::{Found, Most, Slot},
};
use std::sync::Arc;
use weft_bus::{BusError, PageLimit, ReadFrom, heads};
use weft_event::{Position, Room as RoomName, Snapshot};

/// Reads of a history that may end before the log begins, until what they answer is taken for all there is.
const READS_MAX: u32 = 5;

/// The folded state at a place of the log.
pub struct Snapped {
    /// The state.
    pub snapshot: Snapshot,
    /// The last event folded in; `None` in fire-and-forget modes.
    pub at: Option<Position>,
    /// The log's next index at that moment.
    pub cursor: u64,
}

/// What the fold stands at.
pub(super) struct Fold {
    snapshot: Snapshot,
    at: Option<Position>,
    /// Whether there is a head or an event.
    known: bool,
}

impl Fold {
    /// Without stored events there is no past to fold: the state begins with the first event seen here.
    pub(super) fn seen_here(name: &RoomName) -> Self {
        Self { snapshot: Snapshot::new(name.id()), at: None, known: true }
    }
}

impl Room {
    /// The execution's state at the log's end; `None` if nothing is known of this execution.
    pub async fn snapshot(&self, hub: &Hub, reader: Reader) -> Result<Option<Snapped>, BusError> {
        if let Some(ready) = self.folded() {
            return Ok(ready);
        }
        let _one = self.folding.lock().await;
        if let Some(ready) = self.folded() {
            return Ok(ready);
        }
        let Some(mut history) = Fold::of_head(hub, &self.name).await? else { return Ok(None) };
        let mut attempts = 0;
        loop {
            if !history.read_to_end(hub, &self.name, reader).await? {
                return Ok(None);
            }
            attempts += 1;
            if let Some(snapped) = self.go_on_from(&history, attempts >= READS_MAX) {
                return Ok(Some(snapped));
            }
        }
    }

    /// Sets the fold to what was read of the history and what the log has after it; `None` if a further read must fill
    /// what lies between.
    fn go_on_from(&self, history: &Fold, is_last_attempt: bool) -> Option<Snapped> {
        let mut inner = self.inner.lock();
        let place = history.at.map_or(Found::Unknown, |at| inner.log.find(at));
        let from = match place {
            Found::At(index) => index,
            // The history was read further than the log has come; what the log gets up to there is folded already.
            Found::Newer => inner.log.next_index(),
            // What was read is older than the log's beginning: the rest has expired, or a replica answered.
            Found::Older | Found::Unknown if inner.log.is_bare() || is_last_attempt => inner.log.base(),
            Found::Older | Found::Unknown => return None,
        };
        let mut slots = Vec::new();
        inner.log.read(from, Most::ALL, &mut slots)?;
        // Without a position nothing is folded yet: all that the log has counts, not only what comes after its end.
        let mut fold = Fold { snapshot: history.snapshot.clone(), at: history.at, known: history.known };
        for slot in slots {
            match slot {
                Slot::Event(entry) if self.folds(&entry) => fold.apply(&entry),
                Slot::Skipped(at) => fold.at = Some(at),
                Slot::Event(_) | Slot::Gap(_) => {}
            }
        }
        fold.at = fold.at.or(inner.log.end());
        let snapped = Snapped { snapshot: fold.snapshot.clone(), at: fold.at, cursor: inner.log.next_index() };
        inner.fold = Some(fold);
        Some(snapped)
    }

    /// In a durable room only what is stored counts: every process must fold the same.
    pub(super) fn folds(&self, entry: &Entry) -> bool {
        entry.at.is_some() || !self.durable
    }

    /// `Some(None)`: known to be nothing.
    fn folded(&self) -> Option<Option<Snapped>> {
        let inner = self.inner.lock();
        let fold = inner.fold.as_ref()?;
        if !self.durable && inner.log.next_index() == 0 {
            return Some(None);
        }
        Some(Some(Snapped { snapshot: fold.snapshot.clone(), at: fold.at, cursor: inner.log.next_index() }))
    }
}

impl Room {
    /// The first event that was ever stored here, if the log still has it.
    pub fn first_stored(&self) -> Option<Arc<Entry>> {
        let inner = self.inner.lock();
        let is_first = |entry: &&Arc<Entry>| entry.at.is_some();
        inner.log.is_bare().then(|| inner.log.entries(0, inner.log.next_index()).find(is_first).cloned())?
    }
}

/// The log is in stored order, and `prev` links and checks of the end have shown that nothing is missing.
impl heads::Held for Room {
    fn fold_after(&self, at: Option<Position>, snapshot: &mut Snapshot) -> Option<Position> {
        let mut slots = Vec::new();
        {
            let inner = self.inner.lock();
            let from = match at.map(|at| inner.log.find(at)) {
                Some(Found::At(index)) => index,
                None if inner.log.is_bare() => 0,
                _ => return None,
            };
            inner.log.read(from, Most::ALL, &mut slots)?;
        }
        let mut last = at;
        for slot in &slots {
            match slot {
                Slot::Event(entry) if entry.at.is_some() => {
                    heads::fold_prepared(snapshot, &entry.event, entry.stored_ms);
                    last = entry.at;
                }
                Slot::Event(_) => {}
                Slot::Skipped(here) => last = Some(*here),
                Slot::Gap(_) => return None,
            }
        }
        last
    }
}

/// An execution's state as of the end of what is stored: its head and everything after it. `None` if there is neither.
pub async fn fold_history(hub: &Hub, room: &RoomName, reader: Reader) -> Result<Option<(Snapshot, Option<Position>)>, BusError> {
    let Some(mut fold) = Fold::of_head(hub, room).await? else { return Ok(None) };
    let is_known = fold.read_to_end(hub, room, reader).await?;
    Ok(is_known.then_some((fold.snapshot, fold.at)))
}

impl Fold {
    /// Where the execution's head stands, or nothing yet. `None` where nothing is stored at all.
    async fn of_head(hub: &Hub, room: &RoomName) -> Result<Option<Self>, BusError> {
        if !hub.bus.is_durable() {
            return Ok(None);
        }
        let head = hub.bus.load_head(room).await?.map(|(head, _)| head);
        let (at, known) = (head.as_ref().and_then(weft_event::Head::position), head.is_some());
        let snapshot = head.map_or_else(|| Snapshot::new(room.id()), |head| head.snapshot);
        Ok(Some(Self { snapshot, at, known }))
    }

    /// Folds everything stored after where this stands; whether anything is known of the execution.
    async fn read_to_end(&mut self, hub: &Hub, room: &RoomName, reader: Reader) -> Result<bool, BusError> {
        let mut from = self.at.map_or(ReadFrom::Start, ReadFrom::After);
        loop {
            let turn = hub.reads.take(reader).await;
            let page = hub.bus.read(room, from, PageLimit { events: 512, bytes: 1024 * 1024 }).await?;
            drop(turn);
            if page.anchor == weft_bus::Anchor::Changed {
                (from, self.at) = (ReadFrom::Start, None);
                continue;
            }
            page.events.iter().for_each(|delivery| heads::fold(&mut self.snapshot, delivery, &hub.limits.event));
            if let Some(last) = page.last() {
                (self.at, self.known, from) = (Some(last), true, ReadFrom::After(last));
            }
            if !page.more {
                return Ok(self.known);
            }
        }
    }

    pub(super) fn apply(&mut self, entry: &Entry) {
        let folded_already = match (self.at, entry.at) {
            (Some(at), Some(here)) => here.epoch == at.epoch && here.seq <= at.seq,
            _ => false,
        };
        if !folded_already {
            heads::fold_prepared(&mut self.snapshot, &entry.event, entry.stored_ms);
            self.at = entry.at.or(self.at);
        }
    }
}
