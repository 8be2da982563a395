//! Everything that whoever asks for something can be told instead: code, HTTP status, sentence.

use crate::{definition::Flaw, workflow::BadInput};
use axum::http::StatusCode;

/// Why something asked for was not done. Cheap to clone: a repeat is answered with the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal.
    pub code: Code,
    /// Why, for people.
    pub message: String,
    /// The field at fault, where there is one.
    pub field: Option<String>,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // `row` is the table
pub enum Code {
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    UnknownWorkflow,
    UnknownExecution,
    UnknownRequest,
    UnknownCommand,
    Exists,
    NotRunning,
    TimedOut,
    TooLarge,
    InvalidValue,
    Busy,
    Draining,
    Unavailable,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnknownWorkflow,
        Self::UnknownExecution,
        Self::UnknownRequest,
        Self::UnknownCommand,
        Self::Exists,
        Self::NotRunning,
        Self::TimedOut,
        Self::TooLarge,
        Self::InvalidValue,
        Self::Busy,
        Self::Draining,
        Self::Unavailable,
    ];

    /// Whether only a request by HTTP is told this, and no command.
    #[must_use]
    pub fn is_of_http(self) -> bool {
        matches!(self, Self::Unauthenticated | Self::Forbidden | Self::NotFound | Self::MethodNotAllowed)
    }

    /// The stable word, the HTTP status, and whether the same request may succeed a little later.
    fn row(self) -> (&'static str, StatusCode, bool) {
        match self {
            Self::Invalid => ("invalid", StatusCode::BAD_REQUEST, false),
            Self::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, false),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, false),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, false),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, false),
            Self::UnknownWorkflow => ("unknown_workflow", StatusCode::NOT_FOUND, false),
            Self::UnknownExecution => ("unknown_execution", StatusCode::NOT_FOUND, false),
            Self::UnknownRequest => ("unknown_request", StatusCode::NOT_FOUND, false),
            Self::UnknownCommand => ("unknown_command", StatusCode::BAD_REQUEST, false),
            Self::Exists => ("exists", StatusCode::CONFLICT, false),
            Self::NotRunning => ("not_running", StatusCode::CONFLICT, false),
            Self::TimedOut => ("timed_out", StatusCode::CONFLICT, false),
            Self::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE, false),
            Self::InvalidValue => ("invalid_value", StatusCode::UNPROCESSABLE_ENTITY, false),
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, true),
            Self::Draining => ("draining", StatusCode::SERVICE_UNAVAILABLE, true),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, true),
        }
    }

    /// The stable word.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// Whether the same request may succeed a little later; its answer is then not remembered.
    #[must_use]
    pub fn may_pass(self) -> bool {
        self.row().2
    }
}

impl Refusal {
    /// A refusal without a field.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// A field that breaks a rule.
    pub fn field(field: impl Into<String>, rule: impl std::fmt::Display) -> Self {
        let field = field.into();
        Self { code: Code::Invalid, message: format!("{field}: {rule}"), field: Some(field) }
    }
}

impl From<weft_event::Invalid> for Refusal {
    fn from(invalid: weft_event::Invalid) -> Self {
        Self::field(invalid.field, invalid.rule)
    }
}

impl From<BadInput> for Refusal {
    fn from(bad: BadInput) -> Self {
        Self::field(bad.field, bad.rule)
    }
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        Self::field(flaw.field, flaw.rule)
    }
}
