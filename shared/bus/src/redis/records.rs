//! Records: one key each, with a lifetime. Journals: one stream each, whose entries are numbered by time.

use super::{
    Link,
    history::bytes_of,
    publish::{ms, number},
    scripts,
};
use crate::{BusError, Journal, Lines, Mark, PublishError, Record, meters};
use bytes::Bytes;
use fred::{
    interfaces::{KeysInterface, StreamsInterface},
    types::{Expiration, Value},
};

pub(super) async fn put(link: &Link, kind: Record, id: &str, value: Bytes) -> Result<(), BusError> {
    link.durable()?;
    let key = link.names.record(kind, id);
    let lifetime = || Some(Expiration::PX(i64::try_from(ms(link.record_age)).unwrap_or(i64::MAX)));
    scripts::repeat(|| link.data.set(key.as_str(), value.clone(), lifetime(), None, false)).await
}

pub(super) async fn get(link: &Link, kind: Record, id: &str) -> Result<Option<Bytes>, BusError> {
    link.durable()?;
    meters::read("record");
    let key = link.names.record(kind, id);
    scripts::repeat(|| link.data.get(key.as_str())).await
}

pub(super) async fn remove(link: &Link, kind: Record, id: &str) -> Result<(), BusError> {
    link.durable()?;
    let key = link.names.record(kind, id);
    scripts::repeat(|| link.data.del(key.as_str())).await
}

pub(super) async fn write_line(link: &Link, journal: Journal, line: Bytes) -> Result<(), PublishError> {
    if !link.mode.is_durable() {
        return Err(PublishError::Refused(BusError::NotDurable.to_string()));
    }
    let args = vec![Value::Bytes(line), number(ms(link.journal_age)), number(link.journal_lines as u64)];
    // Not repeated where it may have been written: two equal lines do no harm, but the caller decides.
    let written = scripts::WRITE_LINE.run(&link.data, vec![link.names.journal(journal)], args).await;
    match written.map_err(|error| super::connection::publish_error(&error))?.as_i64() {
        Some(1) => Ok(()),
        _ => Err(PublishError::Full(format!("the journal holds {} lines", link.journal_lines))),
    }
}

pub(super) async fn lines(link: &Link, journal: Journal, after: Mark, limit: usize) -> Result<Lines, BusError> {
    link.durable()?;
    meters::read("journal");
    let key = link.names.journal(journal);
    // Numbers are times, so that a journal that was lost and begun again goes on after the mark. The range is closed,
    // and the entry after (a, b) is (a, b + 1).
    let from = format!("{}-{}", after.line.0, after.line.1.saturating_add(u64::from(after != Mark::default())));
    let range = || link.data.xrange(key.as_str(), from.as_str(), "+", Some(limit as u64 + 1));
    let found: Vec<Value> = scripts::repeat(range).await?;
    let more = found.len() > limit;
    let (mut lines, mut mark) = (Vec::new(), after);
    for entry in found.into_iter().take(limit) {
        let (line, value) = parse(entry).ok_or_else(|| meters::nonsense("a journal"))?;
        mark.line = line;
        lines.push(value);
    }
    Ok(Lines { lines, mark, more })
}

/// An entry: its number, then a list of one field and its value.
fn parse(entry: Value) -> Option<((u64, u64), Bytes)> {
    let [number, fields] = <[Value; 2]>::try_from(entry.into_array()).ok()?;
    let number = number.as_str()?;
    let (time, nth) = number.split_once('-')?;
    let [_, value] = <[Value; 2]>::try_from(fields.into_array()).ok()?;
    Some(((time.parse().ok()?, nth.parse().ok()?), bytes_of(value)?))
}
