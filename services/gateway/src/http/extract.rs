//! What a request says, read so that a bad one is refused in the shape of every refusal.

use super::{App, answer::Refusal, requests::Part};
use axum::{
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{StatusCode, request::Parts},
};
use bytes::Bytes;
use hyper::body::Body as _;
use serde::de::DeserializeOwned;
use weft_dialect::told;
use weft_event::{Invalid, Resume};

/// A path segment.
pub struct Path<T>(pub T);

/// The query string.
pub struct Query<T>(pub T);

/// Reads an offset, or `0` for the start.
pub fn resume(field: &'static str, text: &str) -> Result<Resume, Refusal> {
    let refuse = |invalid: Invalid| Refusal::new(told::INVALID, format!("{field}: {}", invalid.rule)).field(field);
    text.parse().map_err(refuse)
}

/// Reads `?history=logs`: whether the retained logs are to come first.
pub fn history_logs(text: Option<&str>) -> Result<bool, Refusal> {
    match text {
        None => Ok(false),
        Some("logs") => Ok(true),
        Some(_) => Err(Refusal::new(told::INVALID, "history: must be logs").field("history")),
    }
}

/// A body, whatever its type is called: all of it, in time, and not larger than bodies may be there.
pub struct Whole(pub Bytes);

/// A JSON body, whatever its type is called.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(Refusal::new(told::INVALID, format!("path: {}", rejection.body_text())).field("path")),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Refusal::new(told::INVALID, format!("query: {}", rejection.body_text())).field("query")),
        }
    }
}

impl FromRequest<App> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        if request.body().size_hint().lower() > app.limits.body_bytes as u64 {
            // Before it has come, so that it need not.
            return Err(too_large());
        }
        let time = app.limits.body_time;
        match tokio::time::timeout(time, Bytes::from_request(request, app)).await {
            Ok(Ok(body)) => Ok(Self(body)),
            Ok(Err(rejection)) => Err(unread(&rejection)),
            Err(_) => Err(late(time)),
        }
    }
}

fn unread(rejection: &BytesRejection) -> Refusal {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Refusal::new(told::MALFORMED, "the body ended before its end"),
    }
}

fn too_large() -> Refusal {
    Part::Body.count();
    Refusal::new(told::TOO_LARGE, "the body is larger than one may be here")
}

/// Of a body that takes too long. What has come of it is left unread, which ends its connection.
pub fn late(time: std::time::Duration) -> Refusal {
    metrics::counter!("weft_gateway_late_bodies_total").increment(1);
    Refusal::new(told::MALFORMED, format!("the body did not come within {} s", time.as_secs()))
}

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let Whole(body) = Whole::from_request(request, app).await?;
        let read = serde_json::from_slice(&body);
        read.map(Self).map_err(|error| Refusal::new(told::INVALID, format!("body: {error}")).field("body"))
    }
}
