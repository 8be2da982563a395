//! How requests are refused: one shape for every error, from the one table of what a client can be told.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use weft_bus::{BusError, RequestError, heads};
use weft_dialect::told::{self, ErrorCode};
use weft_event::Invalid;

/// A refusal: `{"error":{"code","message","field"?,"index"?}}`.
#[derive(Debug)]
pub struct Refusal {
    code: ErrorCode,
    message: String,
    field: Option<String>,
    index: Option<usize>,
    retry_after_secs: Option<u64>,
}

impl Refusal {
    /// A refusal with its own words.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, index: None, retry_after_secs: None }
    }

    /// A refusal with the table's words.
    pub fn plain(code: ErrorCode) -> Self {
        Self::new(code, code.sentence)
    }

    /// What kind of refusal.
    #[cfg(test)]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Names the field at fault.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names the item at fault, counted from 0.
    pub fn index(mut self, index: usize) -> Self {
        self.index = Some(index);
        self
    }

    /// Says when to come back.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_secs = Some(seconds);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code.code, "message": self.message });
        if let Some(field) = self.field {
            error["field"] = field.into();
        }
        if let Some(index) = self.index {
            error["index"] = index.into();
        }
        let needs_token = self.code == told::UNAUTHENTICATED;
        let status = StatusCode::from_u16(self.code.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(json!({ "error": error }))).into_response();
        if needs_token {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_secs {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::new(told::INVALID, invalid.to_string()).field(invalid.field)
    }
}

impl From<BusError> for Refusal {
    fn from(error: BusError) -> Self {
        match error {
            BusError::NotDurable => Self::plain(told::NOT_DURABLE),
            BusError::Unavailable(_) => Self::plain(told::UNAVAILABLE).retry_after(1),
            BusError::Refused(reason) => {
                tracing::error!(%reason, "the broker refused a request");
                Self::plain(told::INTERNAL)
            }
        }
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NoExecutor => Self::plain(told::NO_EXECUTOR),
            RequestError::Timeout => Self::plain(told::TIMEOUT),
            RequestError::Busy => Self::plain(told::BUSY).retry_after(1),
            RequestError::Bus(error) => error.into(),
        }
    }
}

/// Nothing lives at this address.
pub async fn no_such_route() -> Refusal {
    Refusal::new(told::NOT_FOUND, "there is no such route")
}

/// Something lives at this address, but not for this method.
pub async fn no_such_method() -> Response {
    let mut response = Refusal::new(told::INVALID, "method: this address takes another method").field("method").into_response();
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// Now, as the contract writes time.
pub fn timestamp() -> String {
    heads::rfc3339(crate::feed::heads::now_ms()).unwrap_or_default()
}
