//! System D: Socket.IO, namespace `/` (wire contract, section 8).
//!
//! Every event reaches a client under its own type, its payload the event as published. What is no event has the words
//! of the native protocol: `snapshot`, `gap`, `degraded`.

use crate::{
    msgpack::Unreadable,
    native::{self, Encoding, Limits, Refused},
    notice::Notice,
    piece::{Piece, Told},
    socketio::{Command, Event, Namespace, command, frame},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use weft_event::{Invalid, Room};

/// `42["<name>",` and an object that is JSON already.
fn named(name: &str, object: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(name.len() + object.len() + 8);
    body.extend_from_slice(b"42[");
    crate::json::write_text(&mut body, name);
    body.push(b',');
    body.extend_from_slice(object);
    body
}

/// The frame of an event, always one.
#[must_use]
pub fn event(told: Told<'_>) -> Piece {
    let object = native::event_body(told.event, None, told.implied_id, told.implied_timestamp, None);
    let mut body = named(&told.event.kind, &object);
    body.push(b'}');
    Piece { body, part: None }
}

/// The state of an execution as of `offset`, as the native protocol has it; `snapshot_json` is one JSON object.
pub fn snapshot(room: &Room, offset: Option<&str>, snapshot_json: &str) -> Result<Vec<u8>, Unreadable> {
    native::snapshot(Encoding::Json, room, offset, snapshot_json).map(|object| named("snapshot", &object))
}

/// A notice, as the native protocol has it.
#[must_use]
pub fn notice(notice: &Notice<'_>) -> Vec<u8> {
    named(notice.word(), &notice.native())
}

/// What tells a client that waits for no ack that something was refused, or that its token is about to expire.
#[must_use]
pub fn error(code: &str, message: &str, channel: Option<&str>) -> Vec<u8> {
    let mut object = frame::event(Namespace::MAIN, "error", message.len() + 160);
    object.text("code", code).text("message", message);
    if let Some(channel) = channel {
        object.text("channel", channel);
    }
    object.into_closed()
}

/// What a client asks for.
pub fn command(event: &Event, limits: &Limits) -> Result<Command, Refused> {
    match event.name.as_str() {
        "subscribe" => channel(event).map(Command::Subscribe),
        "unsubscribe" => channel(event).map(Command::Unsubscribe),
        "user_input:provide" => command::provide_input(event, limits),
        "cancel" => command::cancel(event, limits),
        "auth" => command::auth(event, limits),
        _ => Err(command::unknown("subscribe, unsubscribe, user_input:provide, cancel or auth")),
    }
}

/// A room's name, or `{channel}`, or `{executionId}`.
fn channel(event: &Event) -> Result<Room, Refused> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named<'a> {
        #[serde(borrow)]
        channel: Option<&'a RawValue>,
        #[serde(borrow)]
        execution_id: Option<&'a RawValue>,
    }
    let argument = command::argument(event, "channel")?;
    if !argument.get().starts_with('{') {
        return Ok(Room::parse(&command::string("channel", argument)?)?);
    }
    let malformed = || Invalid::new("channel", "must be a room, {channel} or {executionId}");
    let named: Named<'_> = serde_json::from_str(argument.get()).map_err(|_| malformed())?;
    match (named.channel, named.execution_id) {
        (Some(channel), None) => Ok(Room::parse(&command::string("channel", channel)?)?),
        (None, Some(execution)) => Ok(Room::execution(&command::string("executionId", execution)?)?),
        _ => Err(malformed().into()),
    }
}
