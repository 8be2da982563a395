//! What a request says, read so that a bad one is refused in the shape of every refusal.

use super::answer::Refusal;
use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::request::Parts,
};
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

/// A JSON body.
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

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        use axum::extract::rejection::JsonRejection;
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(JsonRejection::BytesRejection(rejection)) => Err(Refusal::new(told::TOO_LARGE, rejection.body_text())),
            Err(rejection) => Err(Refusal::new(told::INVALID, format!("body: {}", rejection.body_text())).field("body")),
        }
    }
}
