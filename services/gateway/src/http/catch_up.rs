//! History over HTTP: the events of a room after an offset.

use super::{App, answer::Refusal};
use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use weft_bus::{Anchor, PageLimit, ReadFrom};
use weft_dialect::told;
use weft_event::{Position, Resume, Room, RoomKind};

use crate::hub::entry::Entry;

/// Most events in one answer.
const LIMIT_MAX: usize = 1000;
/// Most bytes of events in one answer, passed by at most one event.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// `?after=<offset>&limit=<n>`
#[derive(Debug, Deserialize)]
pub struct Range {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/executions/{id}/events`
pub async fn of_execution(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(range): Query<Range>,
) -> Result<Json<Value>, Refusal> {
    read(&app, Room::execution(&id)?, range).await
}

/// `GET /api/rooms/{room}/events`
pub async fn of_room(
    State(app): State<App>,
    Path(room): Path<String>,
    Query(range): Query<Range>,
) -> Result<Json<Value>, Refusal> {
    read(&app, Room::parse(&room)?, range).await
}

async fn read(app: &App, room: Room, range: Range) -> Result<Json<Value>, Refusal> {
    let from = match range.after.as_deref().map(str::parse::<Resume>).transpose()? {
        None | Some(Resume::Start) => ReadFrom::Start,
        Some(Resume::After(offset)) => ReadFrom::After(offset.at),
    };
    let limit = range.limit.unwrap_or(100);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Refusal::new(told::INVALID, format!("limit: must be 1 to {LIMIT_MAX}")).field("limit"));
    }
    let hub = &app.shared.hub;
    let permit = hub.reads.acquire().await;
    let page = hub.bus.read(&room, from, PageLimit { events: limit, bytes: BYTES_MAX }).await?;
    drop(permit);
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
    let entries: Vec<Entry> = page.events.iter().filter_map(|delivery| Entry::new(delivery, &hub.limits.event).ok()).collect();
    let events: Vec<&RawValue> = entries.iter().filter_map(|entry| serde_json::from_slice(entry.json()).ok()).collect();
    let next = page.last().map(|at| at.to_string()).or(range.after).unwrap_or_else(|| Position::start(page.epoch).to_string());
    let mut body = json!({ "events": events, "next": next, "complete": !page.more });
    if page.anchor == Anchor::Trimmed {
        body["gap"] = json!({ "reason": "retention" });
    }
    Ok(Json(body))
}
