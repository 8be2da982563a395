//! Why an event was not stored.

use std::time::Duration;
use weft_event::{Invalid, Room};

/// Why an event could not be published, from the side of who published it. None of these is worth a retry of the
/// same call right away but [`PublishError::Full`]: the publisher has done the retrying.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The event breaks a rule of the wire contract.
    #[error("invalid event: {0}")]
    Invalid(#[from] Invalid),
    /// The retry buffer has no room left; wait with `enqueue_wait`, or publish less.
    #[error("the retry buffer is full")]
    Full,
    /// The event's `userId` is not the recorded owner of its execution.
    #[error("userId: is not the recorded owner of the execution")]
    OwnerMismatch,
    /// Not stored within the retry age. Its last attempt may have been stored without an acknowledgement.
    #[error("not stored within {} s: {reason}", waited.as_secs())]
    Expired {
        /// How long it was tried.
        waited: Duration,
        /// What the last attempt met.
        reason: String,
    },
    /// Larger than the broker or the gateway takes.
    #[error("too large: {0}")]
    TooLarge(String),
    /// The broker or the gateway refused it for good: rights, configuration, contents.
    #[error("refused: {0}")]
    Refused(String),
    /// Stored in its first room, but not in a further one.
    #[error("stored, but not in room {room}: {reason}")]
    Incomplete {
        /// The room that lacks it.
        room: Room,
        /// Why.
        reason: String,
    },
    /// The publisher was closed before the event was stored.
    #[error("the publisher is closed")]
    Closed,
}

/// What was still under way when a flush or a close ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{events} events not stored, {heads} execution heads not moved to their last event")]
pub struct Unfinished {
    /// Events not yet stored in all of their rooms.
    pub events: u64,
    /// Execution heads whose advance was due and has not succeeded.
    pub heads: usize,
}

/// Why a gateway cannot be published to: one sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HttpTargetError(pub String);
