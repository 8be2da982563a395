//! Reading what is stored: pages by direct get, in one request where the server can, else one message at a time.

use super::{
    Link,
    inbox::{Asked, NoReply, REQUEST_TIMEOUT},
    message,
    stream::{self, Stream},
};
use crate::{Anchor, BusError, Delivery, Page, PageLimit, ReadFrom, Stamp, Tail, meters};
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream as futures};
use rustc_hash::FxHashMap;
use serde_json::json;
use std::time::Duration;
use weft_event::{Epoch, Position, Room, fingerprint};

/// Tails asked for at once, one by one from the leader.
const TAILS_AT_ONCE: usize = 64;

/// Rooms in one request for tails. The server takes at most 1,024, and answers with their last events.
const TAILS_BATCH: usize = 256;

/// Most messages asked for at once.
const BATCH_MAX: usize = 1000;

pub(super) async fn read(link: &Link, room: &Room, from: ReadFrom, limit: PageLimit) -> Result<Page, BusError> {
    link.durable()?;
    meters::read("page");
    let epoch = link.epoch();
    if let ReadFrom::After(at) = from
        && at.epoch != epoch
    {
        // Ours may be the outdated one.
        stream::refresh(link).await?;
        if at.epoch != link.epoch() {
            return Ok(changed(link));
        }
    }
    let (first, anchor) = match from {
        ReadFrom::Start => (1, None),
        ReadFrom::After(at) => (at.seq.max(1), Some(at)),
    };
    let mut reading = Reading {
        link,
        room,
        epoch: link.epoch(),
        next: first,
        limit,
        bytes: 0,
        held: None,
        anchor,
        found: Vec::new(),
        more: false,
    };
    reading.run().await?;
    let Reading { found, more, held, epoch, .. } = reading;
    let anchor = match (anchor, held) {
        (None, _) => Anchor::Held,
        (Some(at), Some(check)) if at.check == check || at.check == 0 => Anchor::Held,
        (Some(_), Some(_)) => Anchor::Changed,
        (Some(at), None) => missing_anchor(link, room, at, found.first()).await?,
    };
    if anchor == Anchor::Changed {
        stream::refresh(link).await?;
        return Ok(changed(link));
    }
    if link.epoch() != epoch {
        return Err(BusError::Unavailable("the history changed while it was read".into()));
    }
    Ok(Page { epoch, anchor, events: found, more })
}

fn changed(link: &Link) -> Page {
    Page { epoch: link.epoch(), anchor: Anchor::Changed, events: Vec::new(), more: false }
}

/// One page being read.
struct Reading<'a> {
    link: &'a Link,
    room: &'a Room,
    epoch: Epoch,
    /// The sequence to go on from.
    next: u64,
    limit: PageLimit,
    bytes: usize,
    anchor: Option<Position>,
    /// The fingerprint found at the anchor.
    held: Option<u32>,
    found: Vec<Delivery>,
    more: bool,
}

impl Reading<'_> {
    async fn run(&mut self) -> Result<(), BusError> {
        loop {
            // One more for the anchor, one to know whether more follow.
            let wanted = (self.limit.events.max(1) + 2 - self.found.len()).min(BATCH_MAX);
            let subject = self.link.names.stored(self.room);
            let budget = (self.limit.bytes - self.bytes.min(self.limit.bytes)).clamp(64 * 1024, 64 * 1024 * 1024);
            let body = json!({"seq": self.next, "next_by_subj": subject, "batch": wanted, "max_bytes": budget});
            let mut asked = self.link.direct_get(&body, wanted + 1).await?;
            if self.take(&mut asked).await? {
                return Ok(());
            }
        }
    }

    /// Takes the replies to one request; true when the page is complete.
    async fn take(&mut self, asked: &mut Asked<'_>) -> Result<bool, BusError> {
        loop {
            let reply = asked.next(REQUEST_TIMEOUT).await.map_err(away)?;
            match reply.status.map(|status| status.as_u16()) {
                None => {}
                Some(204) => return Ok(message::number(&reply, "Nats-Num-Pending") == Some(0)),
                Some(404) => return Ok(true),
                Some(status) => return Err(BusError::Unavailable(format!("the server refused a read with status {status}"))),
            }
            // An older server knows no batches: it answers one message, without this header, and ends.
            let is_batch = message::number(&reply, "Nats-Num-Pending").is_some();
            if self.place(reply)? {
                return Ok(true);
            }
            if !is_batch {
                return Ok(false);
            }
        }
    }

    /// Puts a message in its place; true when the page is full.
    fn place(&mut self, reply: Message) -> Result<bool, BusError> {
        let seq = message::number(&reply, "Nats-Sequence").ok_or_else(|| meters::nonsense("a stored message"))?;
        self.next = seq + 1;
        if self.anchor.is_some_and(|at| at.seq == seq) {
            self.held = Some(fingerprint(&reply.payload));
            return Ok(false);
        }
        let too_many = self.found.len() >= self.limit.events.max(1);
        let too_large = !self.found.is_empty() && self.bytes + reply.payload.len() > self.limit.bytes;
        if too_many || too_large {
            self.more = true;
            return Ok(true);
        }
        let before = self.found.last().and_then(Delivery::position).or(self.anchor);
        let at = Position { epoch: self.epoch, seq, check: fingerprint(&reply.payload) };
        self.bytes += reply.payload.len();
        let stamp = Stamp::Stored { at, prev: before.map_or(0, |at| at.seq) };
        self.found.push(message::delivery(self.room.clone(), stamp, reply));
        Ok(false)
    }
}

/// What it means that the anchor is not held: decided by the leader, for a replica may be behind.
async fn missing_anchor(link: &Link, room: &Room, at: Position, found: Option<&Delivery>) -> Result<Anchor, BusError> {
    meters::read("anchor");
    let subject = link.names.stored(room);
    let info = stream::info(link, Stream::Events, Some(&subject)).await?;
    if at.seq > info.state.last_seq {
        return Ok(Anchor::Changed);
    }
    if at.seq > 0 && at.check != 0 {
        match stream::stored_at(link, Stream::Events, at.seq).await? {
            // The leader has it, so the replica that was read from is behind; or something else stands there.
            Some(record) if record.subject == subject && fingerprint(&record.payload) == at.check => {
                return Err(BusError::Unavailable("a replica that is behind was read from".into()));
            }
            Some(_) => return Ok(Anchor::Changed),
            None if at.seq == info.state.last_seq => return Ok(Anchor::Held),
            None => return Ok(Anchor::Trimmed),
        }
    }
    // The room held nothing at that time. It has lost nothing since, if neither the stream's limits nor the room's
    // own have reached it.
    let held = info.state.subjects.as_ref().and_then(|subjects| subjects.get(&subject)).copied().unwrap_or(0);
    let events_max = link.identity.read().events_max;
    let by_stream = info.state.first_seq > at.seq + 1;
    let by_room = events_max > 0 && held >= events_max as u64;
    let nothing_since = at.seq == info.state.last_seq && found.is_none();
    Ok(if nothing_since || !(by_stream || by_room) { Anchor::Held } else { Anchor::Trimmed })
}

fn away(no_reply: NoReply) -> BusError {
    super::api::Failure::from(no_reply).into()
}

impl Link {
    async fn direct_get(&self, body: &serde_json::Value, replies_max: usize) -> Result<Asked<'_>, BusError> {
        let subject = format!("$JS.API.DIRECT.GET.{}", self.names.stream(Stream::Events.word()));
        self.data.send(subject, None, Bytes::from(body.to_string()), replies_max).await.map_err(away)
    }
}

pub(super) async fn tails(link: &Link, rooms: &[Room]) -> Result<Vec<Tail>, BusError> {
    link.durable()?;
    // Taken first: whatever a room gets later has a higher number.
    let info = stream::refresh(link).await?;
    let empty = Position { epoch: link.epoch(), seq: info.state.last_seq, check: 0 };
    let first_seq = None;
    // With one replica the batch is read where it was written; with several it may be a stale one's.
    if link.identity.read().replicas == 1 && link.data.client.is_server_compatible(2, 11, 0) {
        let mut tails = Vec::with_capacity(rooms.len());
        for batch in rooms.chunks(TAILS_BATCH) {
            meters::read("tails");
            let found = batch_tails(link, batch).await?;
            tails.extend(batch.iter().map(|room| Tail { at: found.get(room).copied().unwrap_or(empty), first_seq }));
        }
        return Ok(tails);
    }
    futures::iter(rooms.to_vec())
        .map(|room| async move {
            meters::read("tail");
            let last = stream::last_stored(link, Stream::Events, &link.names.stored(&room)).await?;
            let at = last.map(|last| Position { seq: last.seq, check: fingerprint(&last.payload), ..empty });
            Ok(Tail { at: at.unwrap_or(empty), first_seq })
        })
        .buffered(TAILS_AT_ONCE)
        .try_collect()
        .await
}

/// The last events of many rooms with one request.
async fn batch_tails(link: &Link, rooms: &[Room]) -> Result<FxHashMap<Room, Position>, BusError> {
    let by_subject: FxHashMap<String, &Room> = rooms.iter().map(|room| (link.names.stored(room), room)).collect();
    let subjects: Vec<&String> = by_subject.keys().collect();
    let mut asked = link.direct_get(&json!({"multi_last": subjects}), subjects.len() + 1).await?;
    let mut found = FxHashMap::default();
    loop {
        let reply = asked.next(Duration::from_secs(5)).await.map_err(away)?;
        match reply.status {
            Some(StatusCode::NOT_FOUND) => return Ok(found),
            Some(status) if status.as_u16() == 204 => return Ok(found),
            Some(status) => return Err(BusError::Unavailable(format!("the server refused tails with status {status}"))),
            None => {}
        }
        let seq = message::number(&reply, "Nats-Sequence").ok_or_else(|| meters::nonsense("a tail"))?;
        let subject = message::text(&reply, "Nats-Subject").ok_or_else(|| meters::nonsense("a tail"))?;
        if let Some(room) = by_subject.get(subject) {
            let at = Position { epoch: link.epoch(), seq, check: fingerprint(&reply.payload) };
            found.insert((*room).clone(), at);
        }
    }
}
