//! Keeping the durable record of an execution, the same way on every broker.
//!
//! A head is made with the first stored event and moved forward by reading the stored log, never from what one
//! process happens to have published: with two publishers in a room nobody else knows the truth. A process that holds
//! an unbroken copy of the log from where the head stands ([`Held`]) may fold that instead of reading it once more.

use crate::{Anchor, Bus, BusError, Delivery, Expect, PageLimit, ReadFrom, Revision, StoreError};
use std::cell::RefCell;
use weft_event::{Head, Limits, Position, Prepared, Room, Snapshot, prepare};

/// One read while a head moves forward.
const PAGE: PageLimit = PageLimit { events: 512, bytes: 1024 * 1024 };

/// Attempts at a compare-and-set before giving up; each loss means that somebody else moved the head.
const ATTEMPTS: usize = 8;

/// The head of an event's execution, made if there is none. `None` where the event has no execution or the bus
/// stores nothing.
pub async fn ensure(
    bus: &Bus,
    event: &Prepared,
    tenant: Option<&str>,
    now_ms: u64,
) -> Result<Option<(Head, Revision)>, BusError> {
    let Some(execution) = event.execution_id.as_deref().filter(|_| bus.is_durable()) else { return Ok(None) };
    let room = room_of(tenant, execution)?;
    for _ in 0..ATTEMPTS {
        if let Some(found) = bus.load_head(&room).await? {
            return Ok(Some(found));
        }
        let head = Head::new(tenant, execution, event.user_id.as_deref(), now_ms);
        match bus.store_head(&head, Expect::Absent).await {
            Ok(revision) => return Ok(Some((head, revision))),
            Err(StoreError::Conflict) => {}
            Err(StoreError::Bus(error)) => return Err(error),
        }
    }
    Err(BusError::Unavailable("the execution's head keeps changing".into()))
}

fn room_of(tenant: Option<&str>, execution: &str) -> Result<Room, BusError> {
    Room::execution(execution).and_then(|room| room.in_tenant(tenant)).map_err(|invalid| BusError::Refused(invalid.to_string()))
}

/// A part of a room's stored log that a process has in memory, in stored order and with nothing missing.
pub trait Held {
    /// Folds all that lies after `at`, or all there ever was; the last event folded, or `at` itself if nothing follows it.
    /// `None` if not all of that is held, or there is nothing: then the log is read, and the snapshot thrown away.
    fn fold_after(&self, at: Option<Position>, snapshot: &mut Snapshot) -> Option<Position>;
}

/// Nothing is held: all is read.
impl Held for () {
    fn fold_after(&self, _: Option<Position>, _: &mut Snapshot) -> Option<Position> {
        None
    }
}

/// Moves the head of `room` (an `execution:` room) forward to the end of the stored log.
///
/// Answers the head as stored, or `None` if the execution has none yet. Safe to call from any number of processes.
pub async fn advance(bus: &Bus, room: &Room, limits: &Limits, now_ms: u64) -> Result<Option<Head>, BusError> {
    advance_with(bus, room, &(), limits, now_ms).await
}

/// [`advance`] to the end of what is held, where the head stands within it.
pub async fn advance_with(
    bus: &Bus,
    room: &Room,
    held: &(impl Held + Sync),
    limits: &Limits,
    now_ms: u64,
) -> Result<Option<Head>, BusError> {
    for _ in 0..ATTEMPTS {
        let Some((mut head, revision)) = bus.load_head(room).await? else { return Ok(None) };
        let changed = match fold_held(held, &mut head, now_ms) {
            Some(changed) => changed,
            None => fold_to_end(bus, room, &mut head, limits, now_ms).await?,
        };
        if !changed {
            return Ok(Some(head));
        }
        match bus.store_head(&head, Expect::At(revision)).await {
            Ok(_) => return Ok(Some(head)),
            Err(StoreError::Conflict) => {}
            Err(StoreError::Bus(error)) => return Err(error),
        }
    }
    // Others are moving it as fast as we read; it is not stale.
    Ok(bus.load_head(room).await?.map(|(head, _)| head))
}

/// Folds what is in memory after where the head stands; whether anything changed, or `None` if it must be read.
fn fold_held(held: &impl Held, head: &mut Head, now_ms: u64) -> Option<bool> {
    let at = head.position();
    let mut snapshot = head.snapshot.clone();
    let last = held.fold_after(at, &mut snapshot)?;
    let changed = at != Some(last);
    if changed {
        head.advance(snapshot, last, now_ms);
    }
    Some(changed)
}

/// Reads from where the head stands and folds; whether anything changed.
async fn fold_to_end(bus: &Bus, room: &Room, head: &mut Head, limits: &Limits, now_ms: u64) -> Result<bool, BusError> {
    let mut from = head.position().map_or(ReadFrom::Start, ReadFrom::After);
    let mut snapshot = head.snapshot.clone();
    let (mut last, mut changed): (Option<Position>, bool) = (None, false);
    loop {
        let page = bus.read(room, from, PAGE).await?;
        match page.anchor {
            Anchor::Held => {}
            Anchor::Trimmed => head.incomplete = true,
            Anchor::Changed => {
                // The room's history was lost or rewound; the head is what remains of it, and goes on from there.
                (head.incomplete, changed, from) = (true, true, ReadFrom::Start);
                continue;
            }
        }
        for delivery in &page.events {
            fold(&mut snapshot, delivery, limits);
        }
        if let Some(at) = page.last() {
            (last, from, changed) = (Some(at), ReadFrom::After(at), true);
        }
        if !page.more {
            break;
        }
    }
    if let Some(at) = last {
        head.advance(snapshot, at, now_ms);
    }
    Ok(changed)
}

/// Folds one stored event into a snapshot, exactly as every process does: an invalid event changes nothing.
pub fn fold(snapshot: &mut Snapshot, delivery: &Delivery, limits: &Limits) {
    if let Ok(event) = prepare(delivery.payload.clone(), Some(&delivery.room), limits) {
        fold_prepared(snapshot, &event, delivery.stored_ms);
    }
}

/// Folds one validated event into a snapshot.
pub fn fold_prepared(snapshot: &mut Snapshot, event: &Prepared, stored_ms: Option<u64>) {
    snapshot.apply_prepared(event, || stored_ms.and_then(rfc3339));
}

/// Unix milliseconds as the contract writes time: RFC 3339 UTC with milliseconds.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> Option<String> {
    thread_local! {
        /// The last second that was asked for, and how it is written: most events are of the same one as the last.
        static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let second = unix_ms / 1000;
    LAST.with_borrow_mut(|last| {
        if last.0 != second {
            let time = jiff::Timestamp::from_second(second.try_into().ok()?).ok()?;
            *last = (second, time.strftime("%Y-%m-%dT%H:%M:%S").to_string());
        }
        let digits = [100, 10, 1].map(|unit| char::from(b'0' + (unix_ms / unit % 10) as u8));
        let mut text = String::with_capacity(24);
        text.push_str(&last.1);
        text.push('.');
        text.extend(digits);
        text.push('Z');
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_have_milliseconds() {
        for (unix_ms, expected) in [
            (1_767_225_600_000, Some("2026-01-01T00:00:00.000Z")),
            (1_767_225_600_999, Some("2026-01-01T00:00:00.999Z")),
            (1_767_225_601_045, Some("2026-01-01T00:00:01.045Z")),
            (0, Some("1970-01-01T00:00:00.000Z")),
            (u64::MAX, None),
            (1_767_225_600_007, Some("2026-01-01T00:00:00.007Z")),
        ] {
            assert_eq!(super::rfc3339(unix_ms).as_deref(), expected);
        }
    }
}
