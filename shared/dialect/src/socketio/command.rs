//! What the clients of A and D may emit, and how it is refused: by the rules of the native protocol, in their own shape.

use super::{Answer, Event};
use crate::{
    native::{self, ClientMessage, Encoding, Limits, Refused, Secret},
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
    /// Ask for an execution to end.
    Cancel {
        /// Which.
        execution_id: String,
        /// Why, for people.
        reason: Option<String>,
    },
    /// Go on with this token in place of the one that it came with.
    Auth(Secret),
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
    let not_an_object = || Refused::from(Invalid::new("data", "must be {executionId,requestId,value}"));
    let object = argument(event, "data")?;
    let fields: Fields<'_> = object_of(object).ok_or_else(not_an_object)?;
    let fields = [("executionId", fields.execution_id), ("requestId", fields.request_id), ("value", fields.value)];
    match as_native("user_input:provide", &fields, limits)? {
        ClientMessage::ProvideInput { execution_id, request_id, value, .. } => {
            Ok(Command::ProvideInput { execution_id, request_id, value })
        }
        _ => Err(not_an_object()),
    }
}

/// Reads `{executionId,reason?}`.
pub(crate) fn cancel(event: &Event, limits: &Limits) -> Result<Command, Refused> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Fields<'a> {
        #[serde(borrow)]
        execution_id: Option<&'a RawValue>,
        #[serde(borrow)]
        reason: Option<&'a RawValue>,
    }
    let not_an_object = || Refused::from(Invalid::new("data", "must be {executionId,reason?}"));
    let object = argument(event, "data")?;
    let fields: Fields<'_> = object_of(object).ok_or_else(not_an_object)?;
    match as_native("cancel", &[("executionId", fields.execution_id), ("reason", fields.reason)], limits)? {
        ClientMessage::Cancel { execution_id, reason, .. } => Ok(Command::Cancel { execution_id, reason }),
        _ => Err(not_an_object()),
    }
}

/// Reads `{token}`.
pub(crate) fn auth(event: &Event, limits: &Limits) -> Result<Command, Refused> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        token: Option<&'a RawValue>,
    }
    let not_an_object = || Refused::from(Invalid::new("data", "must be {token}"));
    let object = argument(event, "data")?;
    let fields: Fields<'_> = object_of(object).ok_or_else(not_an_object)?;
    match as_native("auth", &[("token", fields.token)], limits)? {
        ClientMessage::Auth { token, .. } => Ok(Command::Auth(token)),
        _ => Err(not_an_object()),
    }
}

/// The fields of an object; an array would be read as one too.
fn object_of<'a, T: Deserialize<'a>>(object: &'a RawValue) -> Option<T> {
    if object.get().starts_with('{') { serde_json::from_str(object.get()).ok() } else { None }
}

/// Said as a native client says it, a command is held to the same rules.
fn as_native(kind: &str, fields: &[(&str, Option<&RawValue>)], limits: &Limits) -> Result<ClientMessage, Refused> {
    let mut message = format!("{{\"type\":\"{kind}\"");
    for (key, value) in fields {
        if let Some(value) = value {
            message.push_str(&format!(",\"{key}\":{}", value.get()));
        }
    }
    message.push('}');
    native::decode(Encoding::Json, message.as_bytes(), limits)
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
