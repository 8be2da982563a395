//! Server-Sent Events: a room as a stream that goes on after `Last-Event-ID`.

use super::{
    App, admission,
    answer::Refusal,
    extract::resume,
    who::{self, Visitor},
};
use crate::{
    metrics::TurnedAway,
    session::{Badge, Following, Pass, StreamBody},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use std::{sync::Arc, time::Duration};
use weft_dialect::sse;
use weft_event::{Resume, Room};

/// How long an answer waits for its room. While the broker is away a stream begins without: a proxy that runs out of
/// patience answers for us, and an `EventSource` takes that for final.
const OPENING_MAX: Duration = Duration::from_secs(5);
const EVENT_STREAM: &str = "text/event-stream";
/// What an `EventSource` sends when it comes again.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Whether a request asks for a stream rather than for a page.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| {
        let mut types = value.to_str().unwrap_or_default().split(',');
        types.any(|one| one.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(EVENT_STREAM)))
    };
    headers.get_all(header::ACCEPT).iter().any(accepts)
}

/// What the query of a stream asks for.
pub struct Asked<'a> {
    /// To go on after this event.
    pub offset: Option<&'a str>,
    /// The folded state.
    pub snapshot: bool,
    /// The retained logs.
    pub history_logs: bool,
}

/// Begins a stream: after the client's last event, else after `offset`, else with what happens next.
pub async fn begin(app: &App, visitor: &Visitor, room: Room, asked: Asked<'_>, headers: &HeaderMap) -> Result<Response, Refusal> {
    let Asked { offset, snapshot, history_logs } = asked;
    let resume = where_to_begin(offset, headers)?;
    let hub = &app.shared.hub;
    let address = who::arrive(app, visitor.address)?;
    let pass = Pass::of(Badge::new(visitor.caller.clone(), &app.shared.bounds)?, address);
    let place = match admission::stream(app).await {
        Ok(place) => place,
        Err(after) => return Ok(come_again(after)),
    };
    let Ok(follower) = hub.follow(&room, &Arc::default()) else {
        hub.metrics.turned_away(TurnedAway::Capacity);
        return Ok(come_again(admission::pause()));
    };
    // Whoever has the head of the answer may rely on hearing what happens from then on. A refusal is the session's to tell.
    let _ = tokio::time::timeout(OPENING_MAX, follower.room.wait_open()).await;
    // Who comes again has had the state.
    let following = Following { room, resume, snapshot: snapshot && resume.is_none(), history_logs };
    Ok(stream(Body::new(StreamBody::new(app.shared.clone(), place, pass, following))))
}

fn where_to_begin(offset: Option<&str>, headers: &HeaderMap) -> Result<Option<Resume>, Refusal> {
    let last = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty());
    match (last, offset) {
        (Some(last), _) => resume("Last-Event-ID", last.to_str().unwrap_or("\u{fffd}")).map(Some),
        (None, Some(offset)) => resume("offset", offset).map(Some),
        (None, None) => Ok(None),
    }
}

/// A stream that ends at once: an `EventSource` that is refused never comes again, one whose stream has ended does.
pub fn come_again(after: Duration) -> Response {
    stream(Body::from(sse::retry(after.as_millis() as u64)))
}

fn stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather what they pass on would keep the last event until the next.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}
