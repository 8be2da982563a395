//! Announcements of processes: the last message of a subject each, in a stream that forgets them after their lifetime.

use super::{
    Link, api,
    names::{last_token, untoken},
    publish,
    stream::{self, Stream},
};
use crate::{BusError, Presence};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream as futures};
use serde_json::{Value, json};

/// Announcements read at once.
const READS_AT_ONCE: usize = 32;

pub(super) async fn announce(link: &Link, kind: Presence, id: &str, value: Bytes) -> Result<(), BusError> {
    link.durable()?;
    publish::stored(&link.data, link.names.present(kind, id), None, value).await.map(|_| ()).map_err(BusError::from)
}

pub(super) async fn withdraw(link: &Link, kind: Presence, id: &str) -> Result<(), BusError> {
    link.durable()?;
    let subject = format!("STREAM.PURGE.{}", link.names.stream(Stream::Presence.word()));
    let _: Value = api::call(&link.data, &subject, Some(json!({"filter": link.names.present(kind, id)}))).await?;
    Ok(())
}

pub(super) async fn present(link: &Link, kind: Presence) -> Result<Vec<(String, Bytes)>, BusError> {
    link.durable()?;
    let info = stream::info(link, Stream::Presence, Some(&link.names.all_present(kind))).await?;
    let mut subjects: Vec<String> = info.state.subjects.unwrap_or_default().into_keys().collect();
    subjects.sort_unstable();
    futures::iter(subjects)
        .map(|subject| async move {
            let id = untoken(last_token(&subject)).map_err(|invalid| BusError::Refused(invalid.to_string()))?;
            // It may have expired since it was listed.
            Ok(stream::last_stored(link, Stream::Presence, &subject).await?.map(|record| (id, record.payload)))
        })
        .buffered(READS_AT_ONCE)
        .try_filter_map(async |found| Ok(found))
        .try_collect()
        .await
}
