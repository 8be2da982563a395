//! What goes out, each with the `4` of its Engine.IO message in front: ready for a text frame or a polling payload.

use super::{Namespace, SessionOffset};
use crate::{json::Object, native::Outcome, told::ErrorCode};
use serde_json::value::RawValue;

/// Why a client is not let into a namespace.
///
/// A client that reads this does not come back by itself. So there is no word here for draining or overload: then the
/// Engine.IO session is closed instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRefusal {
    /// The token is missing, wrong or expired.
    Unauthenticated,
    /// The token is good, but not for this.
    Forbidden,
    /// The client asks too often.
    RateLimited,
}

impl ConnectRefusal {
    /// The row of the table of everything a client can be told.
    #[must_use]
    pub const fn error(self) -> ErrorCode {
        match self {
            Self::Unauthenticated => crate::told::UNAUTHENTICATED,
            Self::Forbidden => crate::told::FORBIDDEN,
            Self::RateLimited => crate::told::RATE_LIMITED,
        }
    }
}

/// What an ack says. Always one object, so that it can never be taken for an offset.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// A room is followed.
    Subscribed {
        /// How it began.
        outcome: Outcome,
        /// The room's tail; `None` where rooms have no offsets.
        offset: Option<&'a str>,
    },
    /// It is done: a room was left, an executor has accepted a command.
    Done,
    /// It is not done.
    Refused {
        /// One of [`told::ERRORS`](crate::told::ERRORS).
        code: &'a str,
        /// Why, for people.
        message: &'a str,
    },
}

/// What stands before the payload.
fn head(kind: char, namespace: Namespace, id: Option<u64>) -> String {
    let (name, comma) = namespace.prefix();
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    format!("4{kind}{name}{comma}{id}")
}

/// Lets a client in. `pid` is its secret for recovery, the same again if it was recovered, or `None` without recovery.
#[must_use]
pub fn connected(namespace: Namespace, sid: &str, pid: Option<&str>) -> Vec<u8> {
    let mut object = Object::begin(&head('0', namespace, None), 128);
    object.text("sid", sid);
    if let Some(pid) = pid {
        object.text("pid", pid);
    }
    object.into_closed()
}

/// Does not let a client in.
#[must_use]
pub fn connect_error(namespace: Namespace, refusal: ConnectRefusal, message: Option<&str>) -> Vec<u8> {
    let error = refusal.error();
    let mut object = Object::begin(&head('4', namespace, None), 160);
    object.text("message", message.unwrap_or(error.sentence));
    object.open("data").text("code", error.code).close();
    object.into_closed()
}

/// The words that clients know for a namespace that is not here.
pub(super) fn invalid_namespace(name: &str) -> String {
    format!("44{name},{{\"message\":\"Invalid namespace\"}}")
}

/// Begins an event named `name` with one object as its payload. The caller closes the object; [`tail`] closes the event.
///
/// There is no other way to make an event for a session that can be recovered, see the [module](super).
pub(crate) fn event(namespace: Namespace, name: &str, capacity: usize) -> Object {
    let mut prefix = head('2', namespace, None).into_bytes();
    prefix.push(b'[');
    crate::json::write_text(&mut prefix, name);
    prefix.push(b',');
    Object::begin_bytes(prefix, capacity)
}

/// What closes an event: the offset of the session that it is for, or nothing but the bracket.
#[must_use]
pub fn tail(offset: Option<&SessionOffset>) -> Vec<u8> {
    match offset {
        Some(offset) => format!(",\"{offset}\"]").into_bytes(),
        None => b"]".to_vec(),
    }
}

/// A whole event, for every session to which the same offset is told.
#[must_use]
pub fn whole(body: &[u8], offset: Option<&SessionOffset>) -> Vec<u8> {
    [body, &tail(offset)].concat()
}

/// Answers the event that asked for ack `id`.
#[must_use]
pub fn ack(namespace: Namespace, id: u64, answer: &Answer<'_>) -> Vec<u8> {
    let mut object = Object::begin(&(head('3', namespace, Some(id)) + "["), 128);
    match answer {
        Answer::Subscribed { outcome, offset } => {
            object.raw("ok", "true").text("outcome", outcome.word()).text_or_null("offset", *offset);
        }
        Answer::Done => _ = object.raw("ok", "true"),
        Answer::Refused { code, message } => _ = object.raw("ok", "false").text("code", code).text("message", message),
    }
    let mut frame = object.into_closed();
    frame.push(b']');
    frame
}

/// Any event or, with `name` `None`, any ack, its attachments to be sent after it as binary messages.
///
/// Only for sessions without recovery: nothing here keeps the last argument from being a string.
#[must_use]
pub fn event_with_args(
    namespace: Namespace,
    name: Option<&str>,
    args: &[Box<RawValue>],
    attachments: usize,
    id: Option<u64>,
) -> Vec<u8> {
    let kind = match (name.is_some(), attachments) {
        (true, 0) => "42".to_owned(),
        (false, 0) => "43".to_owned(),
        (true, count) => format!("45{count}-"),
        (false, count) => format!("46{count}-"),
    };
    let (space, comma) = namespace.prefix();
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    let mut frame = format!("{kind}{space}{comma}{id}[").into_bytes();
    if let Some(name) = name {
        crate::json::write_text(&mut frame, name);
    }
    for (index, arg) in args.iter().enumerate() {
        if index > 0 || name.is_some() {
            frame.push(b',');
        }
        frame.extend_from_slice(arg.get().as_bytes());
    }
    frame.push(b']');
    frame
}
