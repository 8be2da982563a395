//! Records: the last message of a subject each. Journals: one subject each, read in order.

use super::{
    Link, api,
    api::Failure,
    publish,
    stream::{self, Stream},
};
use crate::{BusError, Journal, Lines, Mark, PublishError, Record, meters};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream as futures};
use serde_json::{Value, json};

/// Lines read at once.
const READS_AT_ONCE: usize = 32;

pub(super) async fn put(link: &Link, kind: Record, id: &str, value: Bytes) -> Result<(), BusError> {
    link.durable()?;
    publish::stored(&link.data, link.names.record(kind, id), None, value).await.map(|_| ()).map_err(BusError::from)
}

pub(super) async fn get(link: &Link, kind: Record, id: &str) -> Result<Option<Bytes>, BusError> {
    link.durable()?;
    meters::read("record");
    let found = stream::last_stored(link, Stream::Records, &link.names.record(kind, id)).await?;
    Ok(found.map(|record| record.payload))
}

pub(super) async fn remove(link: &Link, kind: Record, id: &str) -> Result<(), BusError> {
    link.durable()?;
    let subject = format!("STREAM.PURGE.{}", link.names.stream(Stream::Records.word()));
    let _: Value = api::call(&link.data, &subject, Some(json!({"filter": link.names.record(kind, id)}))).await?;
    Ok(())
}

pub(super) async fn write_line(link: &Link, journal: Journal, line: Bytes) -> Result<(), PublishError> {
    if !link.mode.is_durable() {
        return Err(PublishError::Refused(BusError::NotDurable.to_string()));
    }
    match publish::stored(&link.data, link.names.journal(journal), None, line).await {
        Ok(_) => Ok(()),
        // "maximum messages exceeded", a store failure that older servers tell in words only.
        Err(Failure::Api(error)) if error.description.contains("maximum messages") => {
            Err(PublishError::Full(format!("the journal holds {} lines", link.journal_lines)))
        }
        Err(failure) => Err(failure.into()),
    }
}

pub(super) async fn lines(link: &Link, journal: Journal, after: Mark, limit: usize) -> Result<Lines, BusError> {
    link.durable()?;
    meters::read("journal");
    let info = stream::info(link, Stream::Journals, None).await?;
    let generation = xxhash_rust::xxh3::xxh3_64(info.created.as_bytes());
    let read = if after.generation == generation { after.line.0 } else { 0 };
    let first = (read + 1).max(info.state.first_seq);
    // All journals share the stream, so that some of these numbers may be another journal's.
    let last = info.state.last_seq.min(first.saturating_add(limit as u64).saturating_sub(1));
    let subject = link.names.journal(journal);
    let found: Vec<Option<stream::Record>> = futures::iter(first..=last)
        .map(|seq| async move { stream::stored_at(link, Stream::Journals, seq).await })
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let lines = found.into_iter().flatten().filter(|record| record.subject == subject).map(|record| record.payload).collect();
    Ok(Lines { lines, mark: Mark { generation, line: (last.max(read), 0) }, more: last < info.state.last_seq })
}
