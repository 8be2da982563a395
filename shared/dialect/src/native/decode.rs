//! A client's bytes to one [`ClientMessage`], or a refusal that names the field and the rule.

use super::{ClientMessage, Encoding, Refused, RoomRequest, Secret, Subscribe, TypeFilter};
use crate::{msgpack, told};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use weft_event::{Invalid, Resume, Room, id};

/// Bounds on a client's message.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest message in bytes, as received; of MessagePack also as the JSON it stands for.
    pub message_bytes_max: usize,
    /// Deepest nesting of a `user_input:provide` value, or of a MessagePack message.
    pub depth_max: usize,
    /// Most rooms in one `subscribe`.
    pub rooms_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 1024 * 1024, depth_max: 64, rooms_max: 64 }
    }
}

/// Longest `ref` and `requestId` in bytes: they are kept while a command is under way.
const NAME_BYTES_MAX: usize = 256;
/// Longest `reason` of a `cancel` in bytes.
const REASON_BYTES_MAX: usize = 4096;
/// Longest token in bytes; a header of a request would not be taken either if longer.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Reads one message.
///
/// A JSON message comes from a text frame, a MessagePack message from a binary one; which of the two a session
/// speaks was settled when it connected. Unknown fields are ignored, so that a newer client can be answered.
pub fn decode(encoding: Encoding, bytes: &[u8], limits: &Limits) -> Result<ClientMessage, Refused> {
    if bytes.len() > limits.message_bytes_max {
        let message = format!("a message must be at most {} bytes", limits.message_bytes_max);
        return Err(Refused::foreign(told::TOO_LARGE, message));
    }
    match encoding {
        Encoding::Json => {
            let text = std::str::from_utf8(bytes).map_err(|_| Refused::foreign(told::MALFORMED, "a message must be UTF-8"))?;
            decode_json(text, limits)
        }
        Encoding::MessagePack => {
            let bounds = msgpack::Bounds { depth_max: limits.depth_max, json_bytes_max: limits.message_bytes_max };
            let json = msgpack::to_json(bytes, &bounds)
                .map_err(|error| Refused::foreign(told::MALFORMED, format!("a message must be one MessagePack map: {error}")))?;
            decode_json(&json, limits)
        }
    }
}

fn decode_json(text: &str, limits: &Limits) -> Result<ClientMessage, Refused> {
    // serde would read a struct from an array too, field by field.
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(Refused::foreign(told::MALFORMED, "a message must be one JSON object"));
    }
    let fields: Fields<'_> = serde_json::from_str(text)
        .map_err(|error| Refused::foreign(told::MALFORMED, format!("a message must be one JSON object: {error}")))?;
    let reference = optional_text("ref", fields.reference, NAME_BYTES_MAX)?;
    message(&fields, reference.clone(), limits).map_err(|refused| Refused { reference, ..refused })
}

/// The fields of every message, unread: a field of the wrong type shall be refused by name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "ref")]
    reference: Option<&'a RawValue>,
    #[serde(borrow)]
    execution_id: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    rooms: Option<&'a RawValue>,
    #[serde(borrow)]
    offset: Option<&'a RawValue>,
    #[serde(borrow)]
    snapshot: Option<&'a RawValue>,
    #[serde(borrow)]
    batch: Option<&'a RawValue>,
    #[serde(borrow)]
    conflate: Option<&'a RawValue>,
    #[serde(borrow)]
    history: Option<&'a RawValue>,
    #[serde(borrow)]
    types: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
}

/// `null` is an answer to a prompt; only a missing `value` is none.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn message(fields: &Fields<'_>, reference: Option<String>, limits: &Limits) -> Result<ClientMessage, Refused> {
    let Some(kind) = fields.kind.and_then(text) else {
        return Err(Refused::foreign(told::MALFORMED, "type: must be a string"));
    };
    match kind.as_ref() {
        "subscribe" => subscribe(fields, reference, limits).map(ClientMessage::Subscribe),
        "unsubscribe" => {
            let RoomRequest { room, as_execution, .. } = room_of(fields.room, fields.execution_id, None)?;
            Ok(ClientMessage::Unsubscribe { room, as_execution, reference })
        }
        "ping" => Ok(ClientMessage::Ping { reference }),
        "auth" => {
            let token = required_text("token", fields.token, TOKEN_BYTES_MAX)?;
            Ok(ClientMessage::Auth { token: Secret::new(token), reference })
        }
        "user_input:provide" => {
            let execution_id = execution_id(fields)?;
            let request_id = required_text("requestId", fields.request_id, NAME_BYTES_MAX)?;
            let value = fields.value.ok_or_else(|| Invalid::new("value", "is required"))?;
            let value = one_line(value, limits.depth_max)?;
            Ok(ClientMessage::ProvideInput { execution_id, request_id, value, reference })
        }
        "cancel" => {
            let execution_id = execution_id(fields)?;
            let reason = optional_text("reason", fields.reason, REASON_BYTES_MAX)?;
            Ok(ClientMessage::Cancel { execution_id, reason, reference })
        }
        _ => Err(Refused::foreign(
            told::UNKNOWN_TYPE,
            "type: must be subscribe, unsubscribe, ping, auth, user_input:provide or cancel",
        )),
    }
}

fn subscribe(fields: &Fields<'_>, reference: Option<String>, limits: &Limits) -> Result<Subscribe, Refused> {
    let rooms = match fields.rooms {
        Some(list) if fields.room.or(fields.execution_id).or(fields.offset).is_none() => rooms_of(list, limits.rooms_max)?,
        Some(_) => return Err(Invalid::new("rooms", "stands alone, each offset beside its room").into()),
        None => vec![room_of(fields.room, fields.execution_id, fields.offset)?],
    };
    let terms = || -> Result<Subscribe, Invalid> {
        Ok(Subscribe {
            rooms: Vec::new(),
            snapshot: flag("snapshot", fields.snapshot)?,
            batch: flag("batch", fields.batch)?,
            conflate: flag("conflate", fields.conflate)?,
            history_logs: history_logs(fields.history)?,
            types: fields.types.map(type_filter).transpose()?,
            reference,
        })
    };
    match (terms(), &rooms[..]) {
        (Ok(terms), _) => Ok(Subscribe { rooms, ..terms }),
        (Err(invalid), [only]) => Err(Refused { room: Some(only.room.name().to_owned()), ..invalid.into() }),
        (Err(invalid), _) => Err(invalid.into()),
    }
}

fn rooms_of(list: &RawValue, rooms_max: usize) -> Result<Vec<RoomRequest>, Refused> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Item<'a> {
        #[serde(borrow)]
        room: Option<&'a RawValue>,
        #[serde(borrow)]
        execution_id: Option<&'a RawValue>,
        #[serde(borrow)]
        offset: Option<&'a RawValue>,
    }
    let malformed = || Invalid::new("rooms", "must be an array of {\"room\",\"offset\"} objects");
    let items: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|_| malformed())?;
    if items.is_empty() || items.len() > rooms_max {
        return Err(Invalid::new("rooms", format!("must name 1 to {rooms_max} rooms")).into());
    }
    let mut rooms: Vec<RoomRequest> = Vec::with_capacity(items.len());
    for item in items {
        if !item.get().starts_with('{') {
            return Err(malformed().into());
        }
        let item: Item<'_> = serde_json::from_str(item.get()).map_err(|_| malformed())?;
        let request = room_of(item.room, item.execution_id, item.offset)?;
        if rooms.iter().any(|earlier| earlier.room == request.room) {
            let twice = Invalid::new("rooms", format!("names {} twice", request.room));
            return Err(Refused { room: Some(request.room.name().to_owned()), ..twice.into() });
        }
        rooms.push(request);
    }
    Ok(rooms)
}

/// The room that `room` or `executionId` names, or both if they agree.
fn room_of(room: Option<&RawValue>, execution_id: Option<&RawValue>, offset: Option<&RawValue>) -> Result<RoomRequest, Refused> {
    let named = room.map(|room| Room::parse(&text(room).ok_or_else(|| not_a_string("room"))?)).transpose()?;
    let by_id = execution_id.map(|id| Room::execution(&text(id).ok_or_else(|| not_a_string("executionId"))?)).transpose()?;
    let as_execution = by_id.is_some();
    let room = match (named, by_id) {
        (Some(named), Some(by_id)) if named != by_id => {
            return Err(Invalid::new("room", "disagrees with executionId").into());
        }
        (Some(room), _) | (None, Some(room)) => room,
        (None, None) => return Err(Invalid::new("room", "is required, or executionId").into()),
    };
    match offset.map(resume).transpose() {
        Ok(resume) => Ok(RoomRequest { room, resume, as_execution }),
        Err(invalid) => Err(Refused { room: Some(room.name().to_owned()), ..invalid.into() }),
    }
}

fn resume(offset: &RawValue) -> Result<Resume, Invalid> {
    // From the start may be asked for by the number as well.
    if offset.get() == "0" {
        return Ok(Resume::Start);
    }
    text(offset).ok_or_else(|| not_a_string("offset"))?.parse()
}

fn execution_id(fields: &Fields<'_>) -> Result<String, Invalid> {
    let execution = fields.execution_id.ok_or_else(|| Invalid::new("executionId", "is required"))?;
    let execution = text(execution).ok_or_else(|| not_a_string("executionId"))?;
    id::check("executionId", &execution)?;
    Ok(execution.into_owned())
}

fn history_logs(history: Option<&RawValue>) -> Result<bool, Invalid> {
    match history.map(text) {
        None => Ok(false),
        Some(Some(word)) if word == "logs" => Ok(true),
        Some(_) => Err(Invalid::new("history", "must be \"logs\"")),
    }
}

fn type_filter(types: &RawValue) -> Result<TypeFilter, Invalid> {
    let patterns: Vec<Cow<'_, str>> =
        serde_json::from_str(types.get()).map_err(|_| Invalid::new("types", "must be an array of strings"))?;
    TypeFilter::parse(&patterns)
}

fn flag(field: &'static str, value: Option<&RawValue>) -> Result<bool, Invalid> {
    match value.map(RawValue::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Invalid::new(field, "must be true or false")),
    }
}

fn required_text(field: &'static str, value: Option<&RawValue>, bytes_max: usize) -> Result<String, Invalid> {
    let text = optional_text(field, value, bytes_max)?.ok_or_else(|| Invalid::new(field, "is required"))?;
    if text.is_empty() { Err(Invalid::new(field, "must not be empty")) } else { Ok(text) }
}

fn optional_text(field: &'static str, value: Option<&RawValue>, bytes_max: usize) -> Result<Option<String>, Invalid> {
    let Some(value) = value else { return Ok(None) };
    let text = text(value).ok_or_else(|| not_a_string(field))?;
    if text.len() > bytes_max {
        return Err(Invalid::new(field, format!("must be at most {bytes_max} bytes")));
    }
    Ok(Some(text.into_owned()))
}

fn not_a_string(field: &'static str) -> Invalid {
    Invalid::new(field, "must be a string")
}

/// The string that a value is, borrowed where it holds no escape.
fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get().as_bytes() {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Some(Cow::Borrowed(&value.get()[1..value.get().len() - 1])),
        [b'"', ..] => serde_json::from_str(value.get()).ok().map(Cow::Owned),
        _ => None,
    }
}

/// A value on one line and of bounded depth, as everything that travels on the bus.
fn one_line(value: &RawValue, depth_max: usize) -> Result<Box<RawValue>, Invalid> {
    let flat = weft_event::one_line("value", Bytes::copy_from_slice(value.get().as_bytes()), depth_max)?;
    serde_json::from_slice(&flat).map_err(|error| Invalid::new("value", format!("cannot be read: {error}")))
}

#[cfg(test)]
mod tests;
