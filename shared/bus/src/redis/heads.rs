//! Execution heads: one hash each, and ordered sets that list them by creation.

use super::{
    Link,
    history::bytes_of,
    publish::{ms, number},
    scripts,
};
use crate::{BusError, Expect, HeadQuery, Revision, StoreError, meters, types::Owner};
use bytes::Bytes;
use fred::{
    interfaces::{HashesInterface, KeysInterface, SortedSetsInterface},
    types::Value,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use weft_event::{Head, Room};

/// Heads loaded at once while listing.
const LOADS_AT_ONCE: usize = 64;

/// Entries of a list read at once.
const LIST_STEP: usize = 128;

pub(super) async fn load(link: &Link, room: &Room) -> Result<Option<(Head, Revision)>, BusError> {
    link.durable()?;
    meters::read("head");
    let key = link.names.head(room);
    let found: Vec<Value> = scripts::repeat(|| link.data.hmget(key.as_str(), vec!["r", "v"])).await?;
    let [revision, record] = <[Value; 2]>::try_from(found).map_err(|_| meters::nonsense("a head"))?;
    let (Some(revision), Some(record)) = (revision.as_str(), record.as_str()) else { return Ok(None) };
    let revision = revision.parse().map_err(|_| meters::nonsense("a revision"))?;
    let head = serde_json::from_str(&record).map_err(|error| BusError::Refused(format!("a stored head: {error}")))?;
    Ok(Some((head, Revision(revision))))
}

pub(super) async fn store(link: &Link, head: &Head, expect: Expect) -> Result<Revision, StoreError> {
    link.durable()?;
    let room = Room::execution(&head.execution_id)
        .and_then(|room| room.in_tenant(head.tenant.as_deref()))
        .map_err(|invalid| BusError::Refused(invalid.to_string()))?;
    let record = serde_json::to_string(head).map_err(|error| BusError::Refused(format!("a head: {error}")))?;
    let expected: Value = match expect {
        Expect::Absent => "".into(),
        Expect::At(revision) => number(revision.0),
    };
    let age = number(ms(link.retention.head_age));
    let answer =
        scripts::STORE_HEAD.ask(&link.data, vec![link.names.head(&room)], vec![expected, record.into(), age.clone()]).await?;
    let answer = answer.into_string().ok_or_else(|| meters::nonsense("a revision"))?;
    if answer.is_empty() {
        return Err(StoreError::Conflict);
    }
    let revision = answer.parse().map_err(|_| meters::nonsense("a revision"))?;
    // After the record, so that a list never shows the times of a head that lost the race to be made.
    for owner in [None, head.owner.as_deref()].iter().take(1 + usize::from(head.owner.is_some())) {
        let keys = link.names.head_list(head.tenant.as_deref(), *owner).into();
        let args = vec![head.execution_id.as_str().into(), number(head.created_ms), age.clone()];
        scripts::LIST_HEAD.ask(&link.data, keys, args).await?;
    }
    Ok(Revision(revision))
}

pub(super) async fn claim(link: &Link, room: &Room, owner: &Owner) -> Result<Owner, BusError> {
    link.durable()?;
    meters::read("owner");
    let args = vec![Value::Bytes(owner.to_json()), number(ms(link.retention.head_age))];
    let held = scripts::CLAIM.ask(&link.data, vec![link.names.owner(room)], args).await?;
    Owner::from_json(&bytes_of(held).ok_or_else(|| meters::nonsense("an owner"))?)
}

pub(super) async fn owner(link: &Link, room: &Room) -> Result<Option<Owner>, BusError> {
    link.durable()?;
    meters::read("owner");
    let key = link.names.owner(room);
    let held: Option<Bytes> = scripts::repeat(|| link.data.get(key.as_str())).await?;
    held.map(|record| Owner::from_json(&record)).transpose()
}

pub(super) async fn list(link: &Link, query: &HeadQuery) -> Result<Vec<Head>, BusError> {
    link.durable()?;
    meters::read("head_list");
    let [by_creation, _] = link.names.head_list(query.tenant.as_deref(), query.owner.as_deref());
    let newest = query.after.as_ref().map_or(f64::INFINITY, |(created, _)| *created as f64);
    let (mut heads, mut offset) = (Vec::new(), 0);
    while heads.len() < query.limit {
        let step = Some((offset, LIST_STEP as i64));
        let list = || link.data.zrevrangebyscore(by_creation.as_str(), newest, f64::NEG_INFINITY, true, step);
        let page: Vec<(String, f64)> = scripts::repeat(list).await?;
        offset += page.len() as i64;
        let is_last = page.len() < LIST_STEP;
        let later = page
            .into_iter()
            .filter(|(execution, created)| query.after.as_ref().is_none_or(|(ms, id)| (*created as u64, execution) < (*ms, id)));
        let loading: Vec<_> = later.map(|(execution, _)| one(link, query, execution)).collect();
        let loaded: Vec<Option<Head>> = stream::iter(loading).buffered(LOADS_AT_ONCE).try_collect().await?;
        heads.extend(loaded.into_iter().flatten());
        if is_last {
            break;
        }
    }
    heads.truncate(query.limit);
    Ok(heads)
}

/// A listed head, unless it has expired or an owner's list shows somebody else's.
async fn one(link: &Link, query: &HeadQuery, execution: String) -> Result<Option<Head>, BusError> {
    let room = Room::execution(&execution).and_then(|room| room.in_tenant(query.tenant.as_deref()));
    let Ok(room) = room else { return Ok(None) };
    let found = load(link, &room).await?.map(|(head, _)| head);
    Ok(found.filter(|head| query.owner.is_none() || head.owner == query.owner))
}
