//! Announcements of processes, with a lifetime.

use super::{Link, history::bytes_of, scripts};
use crate::{BusError, PRESENCE_LIFETIME, Presence, meters};
use bytes::Bytes;
use fred::types::Value;

pub(super) async fn announce(link: &Link, kind: Presence, id: &str, value: Bytes) -> Result<(), BusError> {
    let args = vec![id.into(), Value::Bytes(value), PRESENCE_LIFETIME.as_millis().to_string().into()];
    scripts::ANNOUNCE.ask(&link.data, link.names.present(kind.word()).into(), args).await.map(|_| ())
}

/// Lists what is announced, after withdrawing one.
pub(super) async fn list(link: &Link, kind: Presence, withdrawn: Option<&str>) -> Result<Vec<(String, Bytes)>, BusError> {
    let keys = link.names.present(kind.word()).into();
    let answer = scripts::PRESENT.ask(&link.data, keys, vec![withdrawn.unwrap_or_default().into()]).await?;
    let mut found = Vec::new();
    let mut values = answer.into_array().into_iter();
    while let (Some(id), Some(value)) = (values.next(), values.next()) {
        let pair = id.into_string().zip(bytes_of(value));
        found.push(pair.ok_or_else(|| meters::nonsense("announcements"))?);
    }
    Ok(found)
}
