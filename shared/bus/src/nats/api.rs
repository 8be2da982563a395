//! The JetStream API, spoken in JSON of our own: only fields that every supported server knows are ever sent, because
//! older ones ignore what they do not know and newer ones refuse it.

use super::inbox::{Inbox, NoReply};
use crate::{BusError, PublishError};
use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// An error in a JetStream answer.
#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    pub(super) code: u64,
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

/// "stream not found"
pub(super) const STREAM_NOT_FOUND: u64 = 10059;
/// "no message found"
pub(super) const NO_MESSAGE: u64 = 10037;
/// "wrong last sequence", in its two forms.
pub(super) const WRONG_LAST_SEQUENCE: [u64; 2] = [10071, 10164];
/// Insufficient resources, memory, storage, account and stream limits, store failures.
const FULL: [u64; 8] = [10002, 10023, 10028, 10047, 10077, 10122, 10120, 10053];
/// The message exceeds the stream's largest, or its headers do.
const TOO_LARGE: [u64; 2] = [10054, 10097];

/// Why a JetStream request failed.
#[derive(Debug)]
pub(super) enum Failure {
    NoReply(NoReply),
    Api(ApiError),
    Nonsense(String),
}

impl From<NoReply> for Failure {
    fn from(no_reply: NoReply) -> Self {
        Self::NoReply(no_reply)
    }
}

impl Failure {
    pub(super) fn is_api(&self, err_codes: &[u64]) -> bool {
        matches!(self, Self::Api(error) if err_codes.contains(&error.err_code))
    }

    /// In words.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::NoReply(NoReply::Away(reason)) => reason.clone(),
            // What a missing right looks like as well: the server answers nothing else.
            Self::NoReply(NoReply::NoResponders) => {
                "nobody answers: JetStream is off, the stream is missing, or has no leader".into()
            }
            Self::NoReply(NoReply::TooLarge { bytes, max }) => too_large(*bytes, *max),
            Self::Api(error) => format!("{} ({})", error.description, error.err_code),
            Self::Nonsense(what) => format!("the server answered something else than {what}"),
        }
    }
}

impl From<Failure> for BusError {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::NoReply(NoReply::TooLarge { .. }) => Self::Refused(failure.reason()),
            Failure::Api(error) if error.code < 500 && error.err_code != STREAM_NOT_FOUND => Self::Refused(failure.reason()),
            _ => Self::Unavailable(failure.reason()),
        }
    }
}

impl From<Failure> for PublishError {
    fn from(failure: Failure) -> Self {
        let reason = failure.reason();
        match failure {
            Failure::NoReply(NoReply::TooLarge { .. }) => Self::TooLarge(reason),
            Failure::Api(error) if TOO_LARGE.contains(&error.err_code) => Self::TooLarge(reason),
            Failure::Api(error) if FULL.contains(&error.err_code) => Self::Full(reason),
            Failure::Api(error) if error.code < 500 && error.err_code != STREAM_NOT_FOUND => Self::Refused(reason),
            _ => Self::Unavailable(reason),
        }
    }
}

/// By how much something is too large.
pub(super) fn too_large(bytes: usize, max: usize) -> String {
    format!("{bytes} bytes with headers, and the server takes {max}")
}

/// One API request.
pub(super) async fn call<T: DeserializeOwned>(inbox: &Inbox, subject: &str, body: Option<Value>) -> Result<T, Failure> {
    let payload = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let reply = inbox.ask(format!("$JS.API.{subject}"), None, payload).await?;
    parse(&reply.payload)
}

/// An answer, or the error in it.
pub(super) fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Failure> {
    #[derive(Deserialize)]
    struct Refused {
        error: ApiError,
    }
    if let Ok(refused) = serde_json::from_slice::<Refused>(payload) {
        return Err(Failure::Api(refused.error));
    }
    serde_json::from_slice(payload).map_err(|error| Failure::Nonsense(format!("expected ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_tells_both_sizes_once() {
        let failure = || Failure::NoReply(NoReply::TooLarge { bytes: 1_048_600, max: 1_048_576 });
        let sizes = "1048600 bytes with headers, and the server takes 1048576";
        assert_eq!(PublishError::from(failure()).to_string(), format!("too large for the broker: {sizes}"));
        assert_eq!(BusError::from(failure()), BusError::Refused(sizes.into()));
    }
}
