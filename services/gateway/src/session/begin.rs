//! How a subscription begins, and how it goes on after a page: the one place that decides between live, resumed,
//! snapshot and gap.

use super::subscription::Place;
use crate::hub::{
    Hub, Reader, Room, Snapped,
    history::{HistoryPage, position},
    log::{Gap, LIMIT, Slot},
};
use std::{sync::Arc, time::Duration};
use weft_bus::{Anchor, BusError, Mode, ReadFrom};
use weft_dialect::native::Outcome;
use weft_event::{Epoch, Offset, Position, Resume, RoomKind};

/// Pause before a failed read is tried again; the client waits, its connection stays.
const PAUSE: Duration = Duration::from_millis(200);
/// Refusals of the broker until its word is taken for final.
const REFUSALS_MAX: u32 = 20;

/// What the client asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Where to begin.
    pub resume: Option<Resume>,
    /// With the folded state.
    pub snapshot: bool,
    /// With the retained logs.
    pub history_logs: bool,
}

impl Wanted {
    /// Whether nothing was asked for but what comes next.
    pub fn is_nothing(&self) -> bool {
        self.resume.is_none() && !self.snapshot && !self.history_logs
    }
}

/// How a subscription begins.
pub struct Begun {
    /// The outcome to tell.
    pub outcome: Outcome,
    /// Whether nothing was missed.
    pub recovered: bool,
    /// Where it reads.
    pub place: Place,
    /// The position before the first event that follows.
    pub seen: Option<Position>,
    /// Where the follow began.
    pub since: Option<(Epoch, u64)>,
    /// Only logs up to here.
    pub logs_until: Option<Position>,
    /// Events that are not stored are told from this index of the log on.
    pub volatile_from: u64,
    /// Told right after the reply.
    pub gap: Option<Arc<Gap>>,
    /// Told where it stands.
    pub snapshot: Option<Box<Snapped>>,
    /// Of this event, which comes first, so many frames were told before.
    pub part: Option<Box<(Position, u8)>>,
}

/// A further page of a subscription.
pub struct PageRead {
    /// Where reading goes on.
    pub place: Place,
    /// Told before it.
    pub gap: Option<Arc<Gap>>,
    /// Told where it stands, after a gap.
    pub snapshot: Option<Box<Snapped>>,
    /// Set where reading jumps to the log's end.
    pub live_from: Option<Position>,
}

/// Decides how a subscription begins. Waits for as long as the broker is away; an error is one that stays.
pub async fn begin(hub: &Hub, room: &Room, wanted: Wanted, reader: Reader) -> Result<Begun, BusError> {
    room.wait_open().await?;
    if wanted.is_nothing() {
        return Ok(live(room));
    }
    // Apart, because it is some KiB: while a broker is slow to open a room, many wait for nothing but that.
    Box::pin(read_on(hub, room, wanted, reader)).await
}

async fn read_on(hub: &Hub, room: &Room, wanted: Wanted, reader: Reader) -> Result<Begun, BusError> {
    let mut patience = Patience::default();
    loop {
        match try_begin(hub, room, wanted, reader).await {
            Ok(begun) => return Ok(begun),
            Err(error) => patience.bear(room, error).await?,
        }
    }
}

/// How often a broker that answers with refusals is asked again: once may be the moment in which it is set up anew.
#[derive(Default)]
struct Patience {
    refusals: u32,
}

impl Patience {
    /// Pauses before a further attempt, or gives the error back if it stays.
    async fn bear(&mut self, room: &Room, error: BusError) -> Result<(), BusError> {
        self.refusals += u32::from(!matches!(error, BusError::Unavailable(_)));
        if self.refusals > REFUSALS_MAX {
            return Err(error);
        }
        tracing::debug!(room = %room.name, %error, "history could not be read; trying again");
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

async fn try_begin(hub: &Hub, room: &Room, wanted: Wanted, reader: Reader) -> Result<Begun, BusError> {
    match wanted.resume {
        Some(Resume::After(offset)) if hub.bus.is_durable() => {
            if let Some(told) = offset.part
                && let Some(begun) = within_event(hub, room, offset.at, told, reader).await?
            {
                return Ok(begun);
            }
            resume(hub, room, offset, reader).await
        }
        Some(Resume::Start) if hub.bus.is_durable() => from_start(hub, room, reader).await,
        Some(_) => Ok(live(room)),
        None if wanted.snapshot && room.name.kind() == RoomKind::Execution => {
            let begun = with_snapshot(hub, room, reader).await?;
            if wanted.history_logs && hub.bus.is_durable() { after_logs(hub, room, begun, reader).await } else { Ok(begun) }
        }
        None if wanted.history_logs && hub.bus.is_durable() => with_logs(hub, room, reader).await,
        None => Ok(live(room)),
    }
}

/// How a subscription begins that asked for nothing but what comes next, in a room that is open.
pub fn live(room: &Room) -> Begun {
    let (cursor, end) = room.end();
    Begun {
        outcome: Outcome::Live,
        recovered: false,
        place: Place::Log(cursor),
        seen: end,
        since: end.map(|at| (at.epoch, at.seq)),
        logs_until: None,
        volatile_from: cursor,
        gap: None,
        snapshot: None,
        part: None,
    }
}

async fn with_snapshot(hub: &Hub, room: &Room, reader: Reader) -> Result<Begun, BusError> {
    // Taken first: an event that comes while the state is looked for is either in the state or follows it.
    let before = live(room);
    let Some(snapped) = room.snapshot(hub, reader).await? else { return Ok(before) };
    Ok(Begun {
        outcome: Outcome::Snapshot,
        place: Place::Log(snapped.cursor),
        volatile_from: snapped.cursor,
        seen: snapped.at,
        since: snapped.at.map(|at| (at.epoch, at.seq)),
        snapshot: Some(Box::new(snapped)),
        ..live(room)
    })
}

async fn with_logs(hub: &Hub, room: &Room, reader: Reader) -> Result<Begun, BusError> {
    after_logs(hub, room, live(room), reader).await
}

/// The retained logs up to where a subscription would begin, and then its beginning: the state, if it has one, is told where it
/// stands, so that the offsets of what comes first are the earlier ones.
async fn after_logs(hub: &Hub, room: &Room, begun: Begun, reader: Reader) -> Result<Begun, BusError> {
    let (page, index) = room.history.page_after(hub, room, ReadFrom::Start, reader).await?;
    let Some(first) = page.slots.get(index) else { return Ok(begun) };
    let seen = position(first).map(before).or(begun.seen);
    Ok(Begun { place: Place::History(Box::new((page, index))), logs_until: begun.seen, seen, ..begun })
}

async fn from_start(hub: &Hub, room: &Room, reader: Reader) -> Result<Begun, BusError> {
    // Read after the place before the first event, so that the broker says whether that is where the room begins.
    let from = room.last().map_or(ReadFrom::Start, |at| ReadFrom::After(Position::start(at.epoch)));
    let (mut page, mut index) = room.history.page_after(hub, room, from, reader).await?;
    if anchor_of(&page, index) == Anchor::Changed {
        (page, index) = room.history.page_after(hub, room, ReadFrom::Start, reader).await?;
    }
    let read = if has_lost_its_beginning(hub, room, &page, index).await? {
        after_gap(hub, room, None, page, reader).await?
    } else {
        PageRead { place: Place::History(Box::new((page, index))), gap: None, snapshot: None, live_from: None }
    };
    let before = match &read.place {
        Place::History(at) => at.0.slots.get(at.1).and_then(position).map(before).or(at.0.last),
        _ => read.live_from,
    };
    let is_whole = read.gap.is_none();
    Ok(Begun {
        outcome: if is_whole { Outcome::Resumed } else { Outcome::Gap },
        recovered: is_whole,
        place: read.place,
        seen: before,
        since: before.map(|at| (at.epoch, 0)),
        gap: read.gap,
        snapshot: read.snapshot,
        ..live(room)
    })
}

/// Whether retention has taken the first events of a room. Where the broker cannot tell the room's events from those of
/// others, it says so without need: then what is left is looked at.
async fn has_lost_its_beginning(hub: &Hub, room: &Room, page: &HistoryPage, index: usize) -> Result<bool, BusError> {
    if anchor_of(page, index) != Anchor::Trimmed {
        return Ok(false);
    }
    match page.slots.get(index) {
        Some(Slot::Event(entry)) => Ok(&*entry.event.kind != "execution:started"),
        Some(_) => Ok(true),
        None if room.name.kind() == RoomKind::Execution => {
            Ok(hub.bus.load_head(&room.name).await?.is_some_and(|(head, _)| head.position().is_some()))
        }
        None => Ok(hub.bus.mode() != Mode::JetStream),
    }
}

/// Where the client was cut off between two frames of one event: that event is read again. `None` if it is held no more.
async fn within_event(hub: &Hub, room: &Room, at: Position, told: u8, reader: Reader) -> Result<Option<Begun>, BusError> {
    let begun = |place| Begun {
        outcome: Outcome::Resumed,
        recovered: true,
        place,
        seen: Some(before(at)),
        since: Some((at.epoch, at.seq)),
        part: Some(Box::new((at, told))),
        ..live(room)
    };
    if let Some(index) = room.find_unbroken(at)
        && index > room.base()
    {
        return Ok(Some(begun(Place::Log(index - 1))));
    }
    // No read begins with an event, so that it is looked for from the start; it is a rare moment to be cut off in.
    let mut from = ReadFrom::Start;
    loop {
        let (page, _) = room.history.page_after(hub, room, from, reader).await?;
        if let Some(index) = page.slots.iter().position(|slot| position(slot) == Some(at)) {
            return Ok(Some(begun(Place::History(Box::new((page, index))))));
        }
        match page.last.filter(|last| page.more && last.epoch == at.epoch && last.seq < at.seq) {
            Some(last) => from = ReadFrom::After(last),
            None => return Ok(None),
        }
    }
}

async fn resume(hub: &Hub, room: &Room, offset: Offset, reader: Reader) -> Result<Begun, BusError> {
    let at = offset.at;
    let since = Some((at.epoch, offset.since.unwrap_or(at.seq)));
    let resumed = |place| Begun { outcome: Outcome::Resumed, recovered: true, place, seen: Some(at), since, ..live(room) };
    if let Some(index) = room.find_unbroken(at) {
        return Ok(resumed(Place::Log(index)));
    }
    let (page, index) = room.history.page_after(hub, room, ReadFrom::After(at), reader).await?;
    match anchor_of(&page, index) {
        Anchor::Held => Ok(resumed(Place::History(Box::new((page, index))))),
        Anchor::Trimmed | Anchor::Changed => {
            let read = after_gap(hub, room, Some(at), page, reader).await?;
            let seen = read.live_from.or(read.gap.as_ref().and_then(|gap| gap.to)).or(Some(at));
            let since = if read.live_from.is_some() { seen.map(|at| (at.epoch, at.seq)) } else { since };
            Ok(Begun {
                outcome: Outcome::Gap,
                recovered: false,
                gap: read.gap,
                snapshot: read.snapshot,
                seen,
                since,
                ..resumed(read.place)
            })
        }
    }
}

/// Reads the next page of a subscription, or tells one that has had enough to go on with what comes now. Waits for as long as
/// the broker is away; an error is one that stays.
pub async fn go_on(hub: &Hub, room: &Room, from: ReadFrom, has_had_enough: bool, reader: Reader) -> Result<PageRead, BusError> {
    let mut patience = Patience::default();
    loop {
        let read = match (has_had_enough, from) {
            (true, ReadFrom::After(at)) => cut_short(hub, room, at, reader).await,
            _ => try_read_page(hub, room, from, reader).await,
        };
        match read {
            Ok(read) => return Ok(read),
            Err(error) => patience.bear(room, error).await?,
        }
    }
}

async fn try_read_page(hub: &Hub, room: &Room, from: ReadFrom, reader: Reader) -> Result<PageRead, BusError> {
    let (page, index) = room.history.page_after(hub, room, from, reader).await?;
    match (anchor_of(&page, index), from) {
        (Anchor::Held, _) | (_, ReadFrom::Start) => {
            Ok(PageRead { place: Place::History(Box::new((page, index))), gap: None, snapshot: None, live_from: None })
        }
        (_, ReadFrom::After(at)) => after_gap(hub, room, Some(at), page, reader).await,
    }
}

/// A page entered in its middle was found by the very position asked for.
fn anchor_of(page: &HistoryPage, index: usize) -> Anchor {
    if index > 0 { Anchor::Held } else { page.anchor }
}

/// Some events after `at`, or from the start, are gone: what retention has left follows, or, where the history was lost, what comes now.
async fn after_gap(
    hub: &Hub,
    room: &Room,
    at: Option<Position>,
    page: Arc<HistoryPage>,
    reader: Reader,
) -> Result<PageRead, BusError> {
    let is_execution = room.name.kind() == RoomKind::Execution;
    let snapshot = if is_execution { room.snapshot(hub, reader).await?.map(Box::new) } else { None };
    let first = page.slots.first().and_then(position);
    if page.anchor == Anchor::Trimmed
        && let Some(first) = first
    {
        let gap = Gap { from: at, to: Some(before(first)), reason: "retention" };
        return Ok(PageRead { place: Place::History(Box::new((page, 0))), gap: Some(Arc::new(gap)), snapshot, live_from: None });
    }
    let reason = if page.anchor == Anchor::Trimmed { "retention" } else { "reset" };
    let (cursor, end) = match &snapshot {
        Some(snapped) => (snapped.cursor, snapped.at),
        None => room.end(),
    };
    let gap = Gap { from: at, to: None, reason };
    Ok(PageRead { place: Place::Log(cursor), gap: Some(Arc::new(gap)), snapshot, live_from: end })
}

/// As much was read after an offset as may be: a gap says up to where, so that its client can read that by HTTP, page by page.
async fn cut_short(hub: &Hub, room: &Room, at: Position, reader: Reader) -> Result<PageRead, BusError> {
    let is_execution = room.name.kind() == RoomKind::Execution;
    let snapshot = if is_execution { room.snapshot(hub, reader).await?.map(Box::new) } else { None };
    let (cursor, end) = match &snapshot {
        Some(snapped) => (snapped.cursor, snapped.at),
        None => room.end(),
    };
    let gap = Gap { from: Some(at), to: end, reason: LIMIT };
    Ok(PageRead { place: Place::Log(cursor), gap: Some(Arc::new(gap)), snapshot, live_from: end })
}

/// The position right before an event: nothing but that event can be the next.
fn before(at: Position) -> Position {
    Position { seq: at.seq - 1, check: 0, ..at }
}
