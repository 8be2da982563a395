//! The state of the connection, and why an operation failed.

/// The state of the connection to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Connected.
    Up,
    /// Away; events wait, connections stay.
    Down,
}

/// Why a bus operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The broker cannot be reached, or did not answer in time. Worth a retry.
    #[error("the broker is away: {0}")]
    Unavailable(String),
    /// This mode has no such thing: history or heads in a fire-and-forget mode.
    #[error("this bus mode stores nothing")]
    NotDurable,
    /// The broker refused, for rights or configuration. A retry changes nothing.
    #[error("the broker refused: {0}")]
    Refused(String),
}

/// Why a publication was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Not known to be stored; repeat it with the same id.
    #[error("not acknowledged: {0}")]
    Unavailable(String),
    /// The broker has no room left (stream limit, memory). Worth a later retry.
    #[error("the broker is full: {0}")]
    Full(String),
    /// Larger than the broker takes.
    #[error("too large for the broker: {0}")]
    TooLarge(String),
    /// The broker refused, for rights or configuration.
    #[error("the broker refused: {0}")]
    Refused(String),
    /// An earlier publication of the same room in the same batch failed.
    #[error("an earlier event of the room was not stored")]
    AfterFailure,
}

impl PublishError {
    /// Whether the same publication may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::AfterFailure)
    }
}

/// Why a record was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote it; load it again.
    #[error("the record has changed")]
    Conflict,
    /// The broker failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Why a command got no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Nobody serves the address.
    #[error("nobody runs it")]
    NoExecutor,
    /// No reply in time; whether it was done is unknown, repeat it with the same `ref`.
    #[error("no reply in time")]
    Timeout,
    /// The executor takes no more commands at the moment.
    #[error("the executor is busy")]
    Busy,
    /// The broker failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Why the bus could not be connected: one sentence for the operator.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The broker cannot be reached. It may come: worth another try.
    #[error("{0}")]
    Away(String),
    /// The settings, the rights or the broker are wrong. Another try changes nothing.
    #[error("{0}")]
    Refused(String),
}

impl ConnectError {
    /// A reason that another try does not change.
    pub fn new(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}
