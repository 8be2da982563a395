//! Publishing: in JetStream mode one unacknowledged publication a room at a time, which is what keeps its order.

use super::{
    Link,
    api::{self, Failure},
    inbox::{Inbox, NoReply, headers_length},
    names::token,
    stream,
};
use crate::{Ack, Publication, PublishError, meters, types::First};
use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::{StreamExt, stream as futures};
use rustc_hash::FxHashMap;
use serde::Deserialize;
use std::{
    hash::{BuildHasher, Hash},
    sync::atomic::Ordering,
};
use weft_event::{Position, Room, fingerprint};

/// Rooms of one batch that are under way at once.
const ROOMS_AT_ONCE: usize = 256;

/// The header of a copy: where the event was stored first.
pub(super) const FIRST: &str = "Weft-First";
/// W3C trace context.
pub(super) const TRACEPARENT: &str = "traceparent";

/// The server's acknowledgement.
#[derive(Deserialize)]
pub(super) struct PubAck {
    pub(super) seq: u64,
    #[serde(default)]
    duplicate: bool,
}

/// Keeps publications of one room apart: rooms share a fixed number of queues, first come first served.
pub(super) struct Lanes(Vec<tokio::sync::Mutex<()>>);

impl Default for Lanes {
    fn default() -> Self {
        Self((0..1024).map(|_| tokio::sync::Mutex::new(())).collect())
    }
}

impl Lanes {
    fn of(&self, room: &Room) -> &tokio::sync::Mutex<()> {
        let hash = rustc_hash::FxBuildHasher.hash_one(HashOf(room));
        &self.0[(hash >> 32) as usize % self.0.len()]
    }
}

#[derive(Hash)]
struct HashOf<'a>(&'a Room);

pub(super) async fn one(link: &Link, publication: Publication) -> Result<Ack, PublishError> {
    let result = if link.mode.is_durable() {
        let _turn = link.lanes.of(&publication.room).lock().await;
        store(link, &publication).await
    } else {
        send(link, &publication).await
    };
    meters::published(&result);
    result
}

pub(super) async fn many(link: &Link, publications: Vec<Publication>) -> Vec<Result<Ack, PublishError>> {
    let mut by_room: FxHashMap<Room, Vec<usize>> = FxHashMap::default();
    for (index, publication) in publications.iter().enumerate() {
        by_room.entry(publication.room.clone()).or_default().push(index);
    }
    let mut results = vec![Err(PublishError::AfterFailure); publications.len()];
    let rooms: Vec<_> = by_room.into_iter().map(|(room, indices)| room_batch(link, room, indices, &publications)).collect();
    let mut finished = futures::iter(rooms).buffer_unordered(ROOMS_AT_ONCE);
    while let Some(of_room) = finished.next().await {
        for (index, result) in of_room {
            results[index] = result;
        }
    }
    drop(finished);
    results.iter().for_each(meters::published);
    results
}

/// Publishes one room's part of a batch, in order; what follows a failure is left out of the answer.
async fn room_batch(
    link: &Link,
    room: Room,
    indices: Vec<usize>,
    all: &[Publication],
) -> Vec<(usize, Result<Ack, PublishError>)> {
    let _turn = link.lanes.of(&room).lock().await;
    let mut results = Vec::with_capacity(indices.len());
    for index in indices {
        let result = if link.mode.is_durable() { store(link, &all[index]).await } else { send(link, &all[index]).await };
        let failed = result.is_err();
        results.push((index, result));
        if failed {
            break;
        }
    }
    results
}

fn headers(publication: &Publication, with_id: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(id) = publication.id.as_deref().filter(|_| with_id) {
        headers.insert("Nats-Msg-Id", format!("{}@{}", token(id), publication.room.broker_name()).as_str());
    }
    if let Some(first) = &publication.first {
        headers.insert(FIRST, First::to_text(first).as_str());
    }
    // Anything but printable ASCII could end the header early.
    let is_word = |text: &&str| !text.is_empty() && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(trace) = publication.traceparent.as_deref().filter(is_word) {
        headers.insert(TRACEPARENT, trace);
    }
    headers
}

async fn store(link: &Link, publication: &Publication) -> Result<Ack, PublishError> {
    let (highest, epoch) = (link.highest.load(Ordering::Relaxed), link.epoch());
    let subject = link.names.stored(&publication.room);
    let ack = match stored(&link.data, subject, Some(headers(publication, true)), publication.payload.clone()).await {
        Ok(ack) => ack,
        Err(failure) => {
            if matches!(failure, Failure::NoReply(NoReply::NoResponders)) {
                // The stream may be gone: found out, and made again, away from this publication.
                link.suspect.notify_one();
            }
            return Err(failure.into());
        }
    };
    if !ack.duplicate && ack.seq <= highest {
        // Numbers only grow within one history: this is another one.
        tracing::warn!(seq = ack.seq, highest, "the events stream has begun again, or lost its end");
        stream::refresh(link).await.map_err(|error| PublishError::Unavailable(error.to_string()))?;
        // If it lost its end the epoch goes on, and whoever holds a lost position finds another event there.
        link.highest.store(ack.seq, Ordering::Relaxed);
    } else if link.epoch() == epoch {
        link.highest.fetch_max(ack.seq, Ordering::Relaxed);
    }
    // The event under a duplicate's number is the first one's, whose bytes may differ.
    let check = if ack.duplicate { 0 } else { fingerprint(&publication.payload) };
    Ok(Ack { position: Some(Position { epoch: link.epoch(), seq: ack.seq, check }), duplicate: ack.duplicate })
}

/// Publishes to a stored subject and waits for the stream's acknowledgement.
pub(super) async fn stored(
    inbox: &Inbox,
    subject: String,
    headers: Option<HeaderMap>,
    payload: Bytes,
) -> Result<PubAck, Failure> {
    let headers = headers.filter(|headers| !headers.is_empty());
    let reply = inbox.ask(subject, headers, payload).await?;
    api::parse(&reply.payload)
}

async fn send(link: &Link, publication: &Publication) -> Result<Ack, PublishError> {
    // Nobody acknowledges: what one connection has noticed is true of the other, which may notice a moment later.
    if !link.data.is_connected() || !link.is_up() {
        return Err(PublishError::Unavailable("reconnecting".into()));
    }
    let headers = headers(publication, false);
    let (bytes, max) = (publication.payload.len() + headers_length(&headers), link.data.client.max_payload());
    if bytes > max {
        return Err(PublishError::TooLarge(api::too_large(bytes, max)));
    }
    let subject = link.names.stored(&publication.room);
    let payload = publication.payload.clone();
    let sent = if headers.is_empty() {
        link.data.client.publish(subject, payload).await
    } else {
        link.data.client.publish_with_headers(subject, headers, payload).await
    };
    sent.map(|()| Ack { position: None, duplicate: false }).map_err(|error| PublishError::Unavailable(error.to_string()))
}
