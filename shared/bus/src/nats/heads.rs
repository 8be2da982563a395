//! Execution heads: the last message of a subject each, and messages whose subjects are the lists.

use super::{
    Link,
    api::WRONG_LAST_SEQUENCE,
    names::{last_token, untoken},
    publish,
    stream::{self, Stream},
};
use crate::{BusError, Expect, HeadQuery, Revision, StoreError, meters, types::Owner};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream as futures};
use weft_event::{Head, Room};

/// Heads loaded at once while listing.
const LOADS_AT_ONCE: usize = 32;

pub(super) async fn load(link: &Link, room: &Room) -> Result<Option<(Head, Revision)>, BusError> {
    link.durable()?;
    meters::read("head");
    let Some(record) = stream::last_stored(link, Stream::Heads, &link.names.head(room)).await? else { return Ok(None) };
    let head = serde_json::from_slice(&record.payload).map_err(|error| BusError::Refused(format!("a stored head: {error}")))?;
    Ok(Some((head, Revision(record.seq))))
}

pub(super) async fn store(link: &Link, head: &Head, expect: Expect) -> Result<Revision, StoreError> {
    link.durable()?;
    let room = Room::execution(&head.execution_id)
        .and_then(|room| room.in_tenant(head.tenant.as_deref()))
        .map_err(|invalid| BusError::Refused(invalid.to_string()))?;
    let record = serde_json::to_vec(head).map_err(|error| BusError::Refused(format!("a head: {error}")))?;
    let seq = match expect {
        Expect::Absent => 0,
        Expect::At(revision) => revision.0,
    };
    let revision = match stream::compare_and_set(link, link.names.head(&room), seq, record.into()).await {
        Ok(revision) => Revision(revision),
        Err(failure) if failure.is_api(&WRONG_LAST_SEQUENCE) => return Err(StoreError::Conflict),
        Err(failure) => return Err(StoreError::Bus(failure.into())),
    };
    // After the record, so that a list never shows the times of a head that lost the race to be made. Written again
    // with each record, so that it lives as long.
    let place = link.names.listed(head.tenant.as_deref(), head.owner.as_deref(), head.created_ms, &head.execution_id);
    publish::stored(&link.data, place, None, Bytes::new()).await.map_err(BusError::from)?;
    Ok(revision)
}

/// Attempts at a claim; each loss means that somebody else has made or renewed it.
const CLAIMS: usize = 4;

pub(super) async fn claim(link: &Link, room: &Room, owner: &Owner) -> Result<Owner, BusError> {
    link.durable()?;
    meters::read("owner");
    for _ in 0..CLAIMS {
        let held = stream::last_stored(link, Stream::Heads, &link.names.head(room)).await?;
        let seq = held.as_ref().map_or(0, |record| record.seq);
        let owner = held.map_or_else(|| Ok(owner.clone()), |record| Owner::from_json(&record.payload))?;
        // Written again with the same content, so that it lives on.
        match stream::compare_and_set(link, link.names.head(room), seq, owner.to_json()).await {
            Ok(_) => return Ok(owner),
            Err(failure) if failure.is_api(&WRONG_LAST_SEQUENCE) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    Err(BusError::Unavailable("the knowledge base's owner keeps being claimed".into()))
}

pub(super) async fn owner(link: &Link, room: &Room) -> Result<Option<Owner>, BusError> {
    link.durable()?;
    meters::read("owner");
    let held = stream::last_stored(link, Stream::Heads, &link.names.head(room)).await?;
    held.map(|record| Owner::from_json(&record.payload)).transpose()
}

pub(super) async fn list(link: &Link, query: &HeadQuery) -> Result<Vec<Head>, BusError> {
    link.durable()?;
    meters::read("head_list");
    let filter = link.names.list(query.tenant.as_deref(), query.owner.as_deref());
    let info = stream::info(link, Stream::Heads, Some(&filter)).await?;
    let places = info.state.subjects.unwrap_or_default();
    let mut found: Vec<(u64, String)> = places.keys().filter_map(|subject| place(subject)).collect();
    if let Some((created, id)) = &query.after {
        found.retain(|(ms, execution)| (*ms, execution) < (*created, id));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    // A place may outlive its head by a moment, so that more than the limit may have to be looked at.
    let loading: Vec<_> = found.into_iter().map(|(_, execution)| one(link, query, execution)).collect();
    futures::iter(loading).buffered(LOADS_AT_ONCE).try_filter_map(async |head| Ok(head)).take(query.limit).try_collect().await
}

/// When, and which execution, of a place in a list.
fn place(subject: &str) -> Option<(u64, String)> {
    let (created, execution) = last_token(subject).split_once('-')?;
    Some((created.parse().ok()?, untoken(execution).ok()?))
}

async fn one(link: &Link, query: &HeadQuery, execution: String) -> Result<Option<Head>, BusError> {
    let room = Room::execution(&execution).and_then(|room| room.in_tenant(query.tenant.as_deref()));
    let Ok(room) = room else { return Ok(None) };
    Ok(load(link, &room).await?.map(|(head, _)| head))
}
