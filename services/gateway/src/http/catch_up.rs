//! History over HTTP: the events of a room after an offset.

use super::{
    App, admission,
    answer::Refusal,
    extract::{Path, Query, history_logs, resume},
    stream,
    who::Visitor,
};
use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::time::Duration;
use weft_bus::{Anchor, PageLimit, ReadFrom};
use weft_dialect::told;
use weft_event::{Position, Resume, Room, RoomKind};

use crate::{
    hub::{Reader, entry::Entry},
    metrics::TurnedAway,
};

/// Most events in one answer.
const LIMIT_MAX: usize = 1000;
/// How long a request may wait for its turn to read.
const TURN_TIME: Duration = Duration::from_secs(10);
/// Most bytes of events in one answer, passed by at most one event.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// `?after=<offset>&limit=<n>`; of a stream `?offset=<offset>&snapshot=true&history=logs`.
#[derive(Debug, Deserialize)]
pub struct Range {
    after: Option<String>,
    limit: Option<usize>,
    offset: Option<String>,
    #[serde(default)]
    snapshot: bool,
    history: Option<String>,
}

/// `GET /api/executions/{id}/events`
pub async fn of_execution(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(range): Query<Range>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    answer(app, &visitor, &Room::execution(&id)?, range, &headers).await
}

/// `GET /api/rooms/{room}/events`
pub async fn of_room(
    State(app): State<App>,
    visitor: Visitor,
    Path(room): Path<String>,
    Query(range): Query<Range>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    answer(app, &visitor, &Room::parse(&room)?, range, &headers).await
}

async fn answer(app: App, visitor: &Visitor, room: &Room, range: Range, headers: &HeaderMap) -> Result<Response, Refusal> {
    let room = visitor.reads(&app, room).await?;
    if stream::is_wanted(headers) {
        let history_logs = history_logs(range.history.as_deref())?;
        let asked = stream::Asked { offset: range.offset.as_deref(), snapshot: range.snapshot, history_logs };
        return stream::begin(&app, visitor, room, asked, headers).await;
    }
    read(&app, room, range, visitor.reader()).await
}

async fn read(app: &App, room: Room, range: Range, reader: Reader) -> Result<Response, Refusal> {
    let from = match range.after.as_deref().map(|text| resume("after", text)).transpose()? {
        None | Some(Resume::Start) => ReadFrom::Start,
        Some(Resume::After(offset)) => ReadFrom::After(offset.at),
    };
    let limit = range.limit.unwrap_or(100);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Refusal::new(told::INVALID, format!("limit: must be 1 to {LIMIT_MAX}")).field("limit"));
    }
    let hub = &app.shared.hub;
    let Ok(turn) = tokio::time::timeout(TURN_TIME, hub.reads.take(reader)).await else {
        return Err(admission::refuse(app, told::OVERLOADED, TurnedAway::History, admission::pause()));
    };
    let page = hub.bus.read(&room, from, PageLimit { events: limit, bytes: BYTES_MAX }).await?;
    drop(turn);
    if page.anchor == Anchor::Changed {
        return Err(Refusal::plain(told::GONE).field("after"));
    }
    if page.events.is_empty()
        && from == ReadFrom::Start
        && room.kind() == RoomKind::Execution
        && hub.bus.load_head(&room).await?.is_none()
    {
        return Err(Refusal::plain(told::NOT_FOUND));
    }
    let next = page.last().map(|at| at.to_string()).or(range.after).unwrap_or_else(|| Position::start(page.epoch).to_string());
    // Written by hand: a JSON value would sort the keys that executors published.
    let mut body = String::from("{\"events\":[");
    let entries = page.events.iter().filter_map(|delivery| Entry::new(delivery, &hub.limits.event, &hub.weight).ok());
    for (index, entry) in entries.enumerate() {
        body.push_str(if index == 0 { "" } else { "," });
        body.push_str(&String::from_utf8_lossy(&entry.json()));
    }
    let gap = if page.anchor == Anchor::Trimmed { r#","gap":{"reason":"retention"}"# } else { "" };
    body.push_str(&format!("],\"next\":\"{next}\",\"complete\":{}{gap}}}", !page.more));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
