//! What a served address answers on the wire, the same on both brokers.

use crate::{Reply, RequestError};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc::error::TrySendError, oneshot};

/// The answer to a command.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// The executor's own.
    Reply(Reply),
    /// Its inbox is full.
    Busy,
    /// Its inbox is closed.
    Gone,
}

impl Outcome {
    pub(crate) fn into_result(self) -> Result<Reply, RequestError> {
        match self {
            Self::Reply(reply) => Ok(reply),
            Self::Busy => Err(RequestError::Busy),
            Self::Gone => Err(RequestError::NoExecutor),
        }
    }

    /// What became of a command that was offered to an inbox. `None` if it was dropped unanswered: the sender's
    /// timeout tells.
    pub(crate) async fn of<T>(offered: Result<(), TrySendError<T>>, answer: oneshot::Receiver<Reply>) -> Option<Self> {
        match offered {
            Ok(()) => answer.await.ok().map(Self::Reply),
            Err(TrySendError::Full(_)) => Some(Self::Busy),
            Err(TrySendError::Closed(_)) => Some(Self::Gone),
        }
    }
}
