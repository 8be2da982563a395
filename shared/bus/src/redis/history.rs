//! Reading what is stored: pages, tails, epochs. Each is one script, so that none can straddle a change.

use super::{
    Link,
    publish::{age_ms, meta_ms, new_epoch, number},
    scripts,
};
use crate::{Anchor, BusError, Delivery, First, Page, PageLimit, ReadFrom, Stamp, Tail, meters};
use bytes::Bytes;
use fred::types::Value;
use futures_util::{StreamExt, TryStreamExt, stream};
use weft_event::{Epoch, Position, Room};

/// Tails asked for at once.
const TAILS_AT_ONCE: usize = 256;

pub(super) async fn read(link: &Link, room: &Room, from: ReadFrom, limit: PageLimit) -> Result<Page, BusError> {
    link.durable()?;
    meters::read("page");
    let anchor_seq = match from {
        ReadFrom::Start => 0,
        ReadFrom::After(at) => at.seq,
    };
    let args = vec![
        new_epoch(),
        number(meta_ms(link)),
        number(age_ms(link)),
        number(anchor_seq),
        number(limit.events as u64),
        number(limit.bytes as u64),
    ];
    let answer = scripts::READ.ask(&link.data, keys(link, room), args).await?;
    let found = Found::parse(answer).ok_or_else(|| meters::nonsense("a page"))?;
    found.page(room, from).ok_or_else(|| meters::nonsense("stored events"))
}

pub(super) async fn tails(link: &Link, rooms: &[Room]) -> Result<Vec<Tail>, BusError> {
    link.durable()?;
    // Owned rooms: a closure over a borrowed one makes a future that the compiler will not let move between threads.
    stream::iter(rooms.to_vec()).map(|room| async move { tail(link, &room).await }).buffered(TAILS_AT_ONCE).try_collect().await
}

async fn tail(link: &Link, room: &Room) -> Result<Tail, BusError> {
    meters::read("tail");
    let answer = scripts::TAIL.ask(&link.data, keys(link, room), vec![new_epoch(), number(meta_ms(link))]).await?;
    parse_tail(answer).ok_or_else(|| meters::nonsense("a tail"))
}

fn parse_tail(answer: Value) -> Option<Tail> {
    let [epoch, seq, check, held] = <[Value; 4]>::try_from(answer.into_array()).ok()?;
    let (seq, held) = (decimal(&seq)?, held.as_u64()?);
    let check = if seq == 0 { 0 } else { u32::from_str_radix(&check.as_str()?, 16).ok()? };
    let at = Position { epoch: parse_epoch(&epoch)?, seq, check };
    // Numbers are contiguous, so the oldest held follows from the count.
    Some(Tail { at, first_seq: (held > 0).then(|| (seq + 1).saturating_sub(held)) })
}

pub(super) async fn renew_epoch(link: &Link, room: &Room, old: Epoch) -> Result<Epoch, BusError> {
    link.durable()?;
    meters::read("epoch");
    let args = vec![new_epoch(), number(meta_ms(link)), format!("{:x}", old.0).into()];
    let answer = scripts::RENEW_EPOCH.ask(&link.data, keys(link, room), args).await?;
    parse_epoch(&answer).ok_or_else(|| meters::nonsense("an epoch"))
}

fn keys(link: &Link, room: &Room) -> Vec<String> {
    vec![link.names.stream(room), link.names.meta(room)]
}

fn parse_epoch(value: &Value) -> Option<Epoch> {
    u64::from_str_radix(&value.as_str()?, 16).ok().map(Epoch)
}

fn decimal(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

/// What the read script answers.
struct Found {
    epoch: Epoch,
    /// The last event ever stored, which may have expired.
    last: Position,
    /// 0 if none is held.
    oldest_seq: u64,
    /// Of the event at the anchor, if it is held.
    anchor_check: Option<u32>,
    more: bool,
    entries: Vec<Value>,
}

impl Found {
    fn parse(answer: Value) -> Option<Self> {
        let [epoch, seq, check, oldest, anchor, more, entries] = <[Value; 7]>::try_from(answer.into_array()).ok()?;
        let epoch = parse_epoch(&epoch)?;
        let check = u32::from_str_radix(&check.as_str()?, 16).ok()?;
        let anchor = anchor.as_str()?;
        Some(Self {
            epoch,
            last: Position { epoch, seq: decimal(&seq)?, check },
            oldest_seq: decimal(&oldest)?,
            anchor_check: if anchor.is_empty() { None } else { Some(u32::from_str_radix(&anchor, 16).ok()?) },
            more: more.as_u64()? == 1,
            entries: entries.into_array(),
        })
    }

    fn anchor(&self, from: ReadFrom) -> Anchor {
        let ReadFrom::After(at) = from else { return Anchor::Held };
        if at.epoch != self.epoch || at.seq > self.last.seq {
            return Anchor::Changed;
        }
        if at.seq == 0 {
            return if self.oldest_seq > 1 || (self.oldest_seq == 0 && self.last.seq > 0) {
                Anchor::Trimmed
            } else {
                Anchor::Held
            };
        }
        // The last event's fingerprint outlives the event.
        let known = self.anchor_check.or((at.seq == self.last.seq).then_some(self.last.check));
        match known {
            Some(check) if check == at.check => Anchor::Held,
            Some(_) => Anchor::Changed,
            // Numbers are contiguous: an anchor right before the oldest event held proves itself.
            None if at.seq + 1 == self.oldest_seq => Anchor::Held,
            None => Anchor::Trimmed,
        }
    }

    fn page(self, room: &Room, from: ReadFrom) -> Option<Page> {
        let anchor = self.anchor(from);
        if anchor == Anchor::Changed {
            return Some(Page { epoch: self.epoch, anchor, events: Vec::new(), more: false });
        }
        let mut events = Vec::with_capacity(self.entries.len());
        let mut prev = match from {
            ReadFrom::Start => 0,
            ReadFrom::After(at) => at.seq,
        };
        for entry in self.entries {
            let event = delivery(room, self.epoch, prev, entry)?;
            prev = event.position()?.seq;
            events.push(event);
        }
        Some(Page { epoch: self.epoch, anchor, events, more: self.more })
    }
}

/// Reads one stream entry, `[id, [field, value, …]]`.
fn delivery(room: &Room, epoch: Epoch, prev: u64, entry: Value) -> Option<Delivery> {
    let [id, fields] = <[Value; 2]>::try_from(entry.into_array()).ok()?;
    let seq = id.as_str()?.split('-').next()?.parse().ok()?;
    let (mut payload, mut stored_ms, mut check, mut first, mut traceparent) = (None, None, None, None, None);
    let mut fields = fields.into_array().into_iter();
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        match &*field.as_str()? {
            "d" => payload = bytes_of(value),
            "t" => stored_ms = decimal(&value),
            "c" => check = u32::from_str_radix(&value.as_str()?, 16).ok(),
            "f" => first = First::parse(&value.as_str()?),
            "p" => traceparent = value.into_string(),
            _ => {}
        }
    }
    let at = Position { epoch, seq, check: check? };
    Some(Delivery { room: room.clone(), stamp: Stamp::Stored { at, prev }, payload: payload?, first, stored_ms, traceparent })
}

pub(super) fn bytes_of(value: Value) -> Option<Bytes> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        Value::String(text) => Some(text.into_inner()),
        _ => None,
    }
}
