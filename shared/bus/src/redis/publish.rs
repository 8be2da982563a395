//! Storing and publishing events.

use super::{Link, connection::publish_error, scripts};
use crate::{Ack, Publication, PublishError, meters, types::First};
use fred::{interfaces::PubsubInterface, types::Value};
use futures_util::{StreamExt, stream};
use rustc_hash::FxHashMap;
use std::time::Duration;
use weft_event::{Epoch, Position, Room, fingerprint};

/// Most events of one room in one script call, and most payload bytes (passed by at most one event): a script holds
/// up everybody else on the server.
const CHUNK_EVENTS: usize = 64;
const CHUNK_BYTES: usize = 1024 * 1024;

/// Rooms of one batch that are under way at once.
const ROOMS_AT_ONCE: usize = 64;

/// Room metadata outlives the stream by this much, so that a quiet room keeps its epoch.
const META_EXTRA_MS: u64 = 3_600_000;

/// A hundred years: added to the time of day it is still a number that a script holds exactly.
const AGE_MAX_MS: u64 = 100 * 365 * 86_400_000;

pub(super) async fn one(link: &Link, publication: Publication) -> Result<Ack, PublishError> {
    let result = if link.mode.is_durable() {
        let room = publication.room.clone();
        store(link, &room, &[&publication]).await.map(|acks| acks[0])
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
    let mut finished = stream::iter(rooms).buffer_unordered(ROOMS_AT_ONCE);
    while let Some(of_room) = finished.next().await {
        for (index, result) in of_room {
            meters::published(&result);
            results[index] = result;
        }
    }
    drop(finished);
    results
}

/// Publishes one room's part of a batch; what follows a failure is left out of the answer.
async fn room_batch(
    link: &Link,
    room: Room,
    indices: Vec<usize>,
    all: &[Publication],
) -> Vec<(usize, Result<Ack, PublishError>)> {
    let mut results = Vec::with_capacity(indices.len());
    let mut rest = &indices[..];
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(chunk_length(rest, all));
        rest = after;
        let publications: Vec<&Publication> = chunk.iter().map(|index| &all[*index]).collect();
        match store_or_send(link, &room, &publications).await {
            Ok(acks) => results.extend(chunk.iter().zip(acks).map(|(index, ack)| (*index, Ok(ack)))),
            Err((stored, error)) => {
                results.extend(chunk.iter().zip(stored).map(|(index, ack)| (*index, Ok(ack))));
                let failed = indices[results.len()];
                results.push((failed, Err(error)));
                break;
            }
        }
    }
    results
}

fn chunk_length(indices: &[usize], all: &[Publication]) -> usize {
    let mut bytes = 0;
    let fits = indices.iter().take(CHUNK_EVENTS).take_while(|index| {
        bytes += all[**index].payload.len();
        bytes <= CHUNK_BYTES
    });
    fits.count().max(1)
}

/// Publishes some of a room; on failure, the acknowledgements before it and the reason.
async fn store_or_send(link: &Link, room: &Room, publications: &[&Publication]) -> Result<Vec<Ack>, (Vec<Ack>, PublishError)> {
    if link.mode.is_durable() {
        return store(link, room, publications).await.map_err(|error| (Vec::new(), error));
    }
    let mut acks = Vec::with_capacity(publications.len());
    for publication in publications {
        match send(link, publication).await {
            Ok(ack) => acks.push(ack),
            Err(error) => return Err((acks, error)),
        }
    }
    Ok(acks)
}

async fn send(link: &Link, publication: &Publication) -> Result<Ack, PublishError> {
    let channel = publication.room.broker_name();
    let sent: Result<i64, _> = link.data.publish(channel, Value::Bytes(publication.payload.clone())).await;
    sent.map(|_| Ack { position: None, duplicate: false }).map_err(|error| publish_error(&error))
}

/// Stores events of one room with one script: all of them, or none.
async fn store(link: &Link, room: &Room, publications: &[&Publication]) -> Result<Vec<Ack>, PublishError> {
    let meta = link.names.meta(room);
    let mut keys = vec![link.names.stream(room), meta.clone()];
    let mut args: Vec<Value> = vec![
        link.names.namespace.as_str().into(),
        room.broker_name().into(),
        if link.is_cluster() { "SPUBLISH" } else { "PUBLISH" }.into(),
        number(link.retention.events.max(1) as u64),
        number(link.retention.bytes),
        number(age_ms(link)),
        number(ms(link.dedup_window)),
        new_epoch(),
        number(meta_ms(link)),
    ];
    for publication in publications {
        keys.push(publication.id.as_deref().map_or_else(|| meta.clone(), |id| link.names.id(room, id)));
        args.extend([
            Value::Bytes(publication.payload.clone()),
            format!("{:08x}", fingerprint(&publication.payload)).into(),
            publication.first.as_ref().map(First::to_text).unwrap_or_default().into(),
            publication.traceparent.as_deref().filter(|text| is_word(text)).unwrap_or_default().into(),
        ]);
    }
    let answer = scripts::PUBLISH.run(&link.data, keys, args).await.map_err(|error| publish_error(&error))?;
    let acks: Option<Vec<Ack>> = answer.into_array().into_iter().map(ack).collect();
    acks.filter(|acks| acks.len() == publications.len())
        .ok_or_else(|| PublishError::Unavailable("the broker answered something else than positions".into()))
}

/// Reads `<seq> <epoch> <check> <duplicate>`.
fn ack(line: Value) -> Option<Ack> {
    let line = line.into_string()?;
    let mut words = line.split(' ');
    let seq = words.next()?.parse().ok()?;
    let epoch = Epoch(u64::from_str_radix(words.next()?, 16).ok()?);
    let check = u32::from_str_radix(words.next()?, 16).ok()?;
    Some(Ack { position: Some(Position { epoch, seq, check }), duplicate: words.next()? == "1" })
}

/// Whether a trace context may stand in a frame's header: one word of printable ASCII.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn number(value: u64) -> Value {
    value.to_string().into()
}

/// A fresh epoch, for a room that has none.
pub(super) fn new_epoch() -> Value {
    format!("{:x}", rand::random::<u64>()).into()
}

pub(super) fn age_ms(link: &Link) -> u64 {
    ms(link.retention.age)
}

/// An age as the server takes it: it refuses 0, and ages that pass the end of its clock.
pub(super) fn ms(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX).clamp(1, AGE_MAX_MS)
}

pub(super) fn meta_ms(link: &Link) -> u64 {
    age_ms(link).saturating_add(META_EXTRA_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_stay_within_what_the_server_takes() {
        let (day, longest) = (Duration::from_secs(86_400), Duration::from_secs(u64::MAX));
        assert_eq!([Duration::ZERO, day, longest].map(ms), [1, 86_400_000, AGE_MAX_MS]);
    }
}
