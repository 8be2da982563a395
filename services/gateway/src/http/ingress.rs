//! `POST /api/events`: one event, an array, or NDJSON. Answered once every room of every event has it stored.

use super::{
    App,
    answer::{Refusal, timestamp},
    extract::late,
    requests::Part,
    who::Visitor,
};
use axum::{
    Json,
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{json, value::RawValue};
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use weft_dialect::told;
use weft_event::{Prepared, prepare};
use weft_guard::Caller;
use weft_publisher::{StoreEventError, Stored, store_all};

/// How long a body may wait for its turn.
pub const TURN_TIME: Duration = Duration::from_secs(10);

/// Takes events in.
pub async fn publish(State(app): State<App>, visitor: Visitor, body: Body) -> Result<Response, Refusal> {
    if app.shared.hub.is_draining() {
        return Err(Refusal::plain(told::DRAINING).retry_after(app.limits.retry_after_secs));
    }
    let caller = &visitor.caller;
    visitor.has_name()?;
    // Who may publish nothing, or is over its rate already, is told so before anything of the body is read.
    if !app.shared.guard.publishes(caller) {
        return Err(Refusal::plain(told::FORBIDDEN));
    }
    app.shared.bounds.may_publish(caller)?;
    if body.size_hint().lower() > app.limits.ingress_bytes as u64 {
        return Err(too_large(&app));
    }
    let announced = body.size_hint().upper();
    let _turn = turn(&app, announced).await?;
    let time = app.limits.body_time;
    let body = tokio::time::timeout(time, to_bytes(body, app.limits.ingress_bytes)).await.map_err(|_| late(time))?;
    let body = body.map_err(|error| unread(&app, error))?;
    let events = read(&app, &body)?;
    // A body may take longer to come than its token lasts.
    visitor.is_still_admitted(&app)?;
    may_publish(&app, caller, &events)?;
    let stored = store_all(&app.shared.hub.bus, &app.heads, caller.tenant(), events).await;
    answer(&app, stored)
}

/// All of them or none, so that a refused body has had no effect.
fn may_publish(app: &App, caller: &Caller, events: &[Prepared]) -> Result<(), Refusal> {
    if matches!(caller, Caller::Everyone) {
        return Ok(());
    }
    for (index, event) in events.iter().enumerate() {
        let rooms = event.rooms(caller.tenant()).map_err(|invalid| Refusal::from(invalid).index(index))?;
        // It is stored in each of them, so each must be allowed.
        let may = rooms.iter().all(|room| app.shared.guard.publish(caller, room, event.user_id.as_deref()));
        if !may {
            return Err(Refusal::plain(told::FORBIDDEN).index(index));
        }
    }
    Ok(app.shared.bounds.publish(caller, u32::try_from(events.len()).unwrap_or(u32::MAX))?)
}

/// Waits until there is memory for the body: as much as it announces, or as a body may have.
async fn turn(app: &App, announced: Option<u64>) -> Result<SemaphorePermit<'_>, Refusal> {
    let bytes = announced.map_or(app.limits.ingress_bytes, |upper| usize::try_from(upper).unwrap_or(usize::MAX));
    let bytes = bytes.min(app.limits.ingress_bytes).min(app.limits.ingress_bytes_at_once);
    let permits = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
    let acquired = tokio::time::timeout(TURN_TIME, app.ingress.acquire_many(permits)).await;
    match acquired {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => Err(Refusal::plain(told::OVERLOADED).retry_after(app.limits.retry_after_secs)),
    }
}

/// The body is too large, or its sender has gone before its end.
fn unread(app: &App, error: axum::Error) -> Refusal {
    if error.into_inner().is::<http_body_util::LengthLimitError>() {
        too_large(app)
    } else {
        Refusal::new(told::MALFORMED, "the body ended before its end")
    }
}

fn too_large(app: &App) -> Refusal {
    Part::Body.count();
    Refusal::new(told::TOO_LARGE, format!("a body must be at most {} bytes", app.limits.ingress_bytes))
}

/// Reads and checks all before anything is stored, so that a refused body has had no effect.
fn read(app: &App, body: &Bytes) -> Result<Vec<Prepared>, Refusal> {
    let malformed = |error: serde_json::Error| {
        Refusal::new(told::MALFORMED, format!("the body must be an event, an array of events, or one event a line: {error}"))
    };
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let items: Vec<&RawValue> = if is_array {
        serde_json::from_slice(body).map_err(malformed)?
    } else {
        serde_json::Deserializer::from_slice(body).into_iter().collect::<Result<_, _>>().map_err(malformed)?
    };
    if items.is_empty() {
        return Err(Refusal::new(told::MALFORMED, "the body holds no event"));
    }
    if items.len() > app.limits.ingress_events {
        return Err(Refusal::new(told::TOO_LARGE, format!("a body holds at most {} events", app.limits.ingress_events)));
    }
    let check = |(index, item): (usize, &RawValue)| {
        // A piece of the body would keep all of it alive, and the buffer that it was read into.
        let bytes = Bytes::copy_from_slice(item.get().as_bytes());
        let too_large = bytes.len() > app.limits.event.event_bytes_max;
        prepare(bytes, None, &app.limits.event).map_err(|invalid| match too_large {
            true => Refusal::new(told::TOO_LARGE, invalid.to_string()).field(invalid.field).index(index),
            false => Refusal::from(invalid).index(index),
        })
    };
    items.into_iter().enumerate().map(check).collect()
}

fn answer(app: &App, stored: Vec<Result<Stored, StoreEventError>>) -> Result<Response, Refusal> {
    let failed = stored.iter().enumerate().find_map(|(index, result)| result.as_ref().err().map(|error| (index, error.clone())));
    let accepted: Vec<&Stored> = stored.iter().filter_map(|result| result.as_ref().ok()).collect();
    let ids: Vec<&str> = accepted.iter().map(|stored| stored.id.as_str()).collect();
    let Some((index, error)) = failed else {
        return Ok((StatusCode::ACCEPTED, Json(json!({ "accepted": ids.len(), "ids": ids }))).into_response());
    };
    let (code, retry) = match &error {
        StoreEventError::OwnerMismatch => (told::OWNER_MISMATCH, None),
        StoreEventError::Invalid(_) => (told::INVALID, None),
        error if error.is_retryable() => (told::UNAVAILABLE, Some(app.limits.retry_after_secs)),
        StoreEventError::Bus(weft_bus::PublishError::TooLarge(_)) => (told::TOO_LARGE, None),
        _ => (told::INTERNAL, None),
    };
    if ids.is_empty() {
        let refusal = Refusal::new(code, error.to_string()).index(index);
        return Err(match retry {
            Some(seconds) => refusal.retry_after(seconds),
            None => refusal,
        });
    }
    // Some are stored, some are not: say which, so that the sender repeats those and no others.
    let results: Vec<_> = stored
        .iter()
        .map(|result| match result {
            Ok(stored) => json!({ "id": stored.id }),
            Err(error) => json!({ "error": error.to_string() }),
        })
        .collect();
    let status = StatusCode::from_u16(code.http).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let error = json!({ "code": code.code, "message": error.to_string(), "index": index });
    let body = json!({ "accepted": ids.len(), "ids": ids, "results": results, "error": error, "timestamp": timestamp() });
    let mut response = (status, Json(body)).into_response();
    if let Some(seconds) = retry {
        response.headers_mut().insert(axum::http::header::RETRY_AFTER, seconds.into());
    }
    Ok(response)
}
