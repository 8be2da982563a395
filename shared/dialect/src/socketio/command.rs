//! What the clients of A and D may emit, and how it is refused: by the rules of the native protocol, in their own shape.

use super::{Answer, Event};
use crate::{
    native::{self, ClientMessage, Encoding, Limits, Refused},
    told,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use weft_event::{Invalid, Room};

/// What a client asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Follow this room.
    Subscribe(Room),
    /// Stop following this room.
    Unsubscribe(Room),
    /// Answer a prompt of an execution.
    ProvideInput {
        /// Whose prompt.
        execution_id: String,
        /// Which prompt.
        request_id: String,
        /// The answer, as the client wrote it but on one line.
        value: Box<RawValue>,
    },
}

/// The one argument of an event, without which there is nothing to do. Further ones are ignored, as any listener would.
pub(crate) fn argument<'e>(event: &'e Event, field: &'static str) -> Result<&'e RawValue, Refused> {
    if !event.attachments.is_empty() {
        return Err(Invalid::new(field, "must not be binary").into());
    }
    event.args.first().map(|arg| &**arg).ok_or_else(|| Invalid::new(field, "is required").into())
}

/// The string that an argument or one of its fields is.
pub(crate) fn string(field: &'static str, value: &RawValue) -> Result<String, Refused> {
    serde_json::from_str(value.get()).map_err(|_| Invalid::new(field, "must be a string").into())
}

/// A refusal of an event that has no name of ours.
pub(crate) fn unknown(names: &str) -> Refused {
    Refused {
        code: told::UNKNOWN_TYPE.code,
        field: None,
        message: format!("an event must be {names}"),
        reference: None,
        room: None,
        is_protocol: false,
    }
}

/// Reads `{executionId,requestId,value}`.
pub(crate) fn provide_input(event: &Event, limits: &Limits) -> Result<Command, Refused> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Fields<'a> {
        #[serde(borrow)]
        execution_id: Option<&'a RawValue>,
        #[serde(borrow)]
        request_id: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "even_null")]
        value: Option<&'a RawValue>,
    }
    let object = argument(event, "data")?;
    let not_an_object = || Refused::from(Invalid::new("data", "must be {executionId,requestId,value}"));
    if !object.get().starts_with('{') {
        return Err(not_an_object());
    }
    let fields: Fields<'_> = serde_json::from_str(object.get()).map_err(|_| not_an_object())?;
    // Said as a native client says it, it is held to the same rules.
    let mut message = String::from("{\"type\":\"user_input:provide\"");
    for (key, value) in [("executionId", fields.execution_id), ("requestId", fields.request_id), ("value", fields.value)] {
        if let Some(value) = value {
            message.push_str(&format!(",\"{key}\":{}", value.get()));
        }
    }
    message.push('}');
    match native::decode(Encoding::Json, message.as_bytes(), limits)? {
        ClientMessage::ProvideInput { execution_id, request_id, value, .. } => {
            Ok(Command::ProvideInput { execution_id, request_id, value })
        }
        _ => Err(not_an_object()),
    }
}

/// `null` is an answer to a prompt; only a missing `value` is none.
fn even_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> From<&'a Refused> for Answer<'a> {
    fn from(refused: &'a Refused) -> Self {
        Self::Refused { code: refused.code, message: &refused.message }
    }
}
