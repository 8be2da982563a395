//! The frames that are not events, each encoded for one session.

use super::{Encoding, Refused};
use crate::msgpack::{self, Unreadable};
use serde::{Serialize, Serializer, ser::SerializeMap};
use weft_event::{Offset, Room};

/// How a subscribe was answered (wire contract, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// No history was asked for or exists; events follow.
    Live,
    /// Every event after the given offset follows, in order, then live.
    Resumed,
    /// The folded state follows, then every event after it.
    Snapshot,
    /// Some events after the given offset are gone.
    Gap,
}

impl Outcome {
    /// The word on the wire, in metrics and in logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Resumed => "resumed",
            Self::Snapshot => "snapshot",
            Self::Gap => "gap",
        }
    }
}

/// The answer to a subscribe, one for each room.
#[derive(Clone, Debug)]
pub struct Subscribed<'a> {
    /// Which room.
    pub room: &'a Room,
    /// Whether the client named it by `executionId`; the answer then names it so as well.
    pub as_execution: bool,
    /// What follows.
    pub outcome: Outcome,
    /// The room's tail; `None` where rooms have no offsets.
    pub offset: Option<&'a str>,
    /// Whether nothing was missed since the offset that the client gave.
    pub recovered: bool,
    /// Now, RFC 3339.
    pub timestamp: &'a str,
    /// The subscribe's own `ref`.
    pub reference: Option<&'a str>,
    /// Fresh offsets of rooms that the session follows already: where one room carries copies of another's events,
    /// following the second changes what the first's offset must tell.
    pub offsets: &'a [(Room, Offset)],
}

/// The answer to an unsubscribe.
#[derive(Clone, Debug)]
pub struct Unsubscribed<'a> {
    /// Which room.
    pub room: &'a Room,
    /// Whether the client named it by `executionId`; the answer then names it so as well.
    pub as_execution: bool,
    /// Now, RFC 3339.
    pub timestamp: &'a str,
    /// The unsubscribe's own `ref`.
    pub reference: Option<&'a str>,
}

/// An error that leaves the connection open.
#[derive(Clone, Debug)]
pub struct ErrorFrame<'a> {
    /// One of [`told::ERRORS`](crate::told::ERRORS).
    pub code: &'a str,
    /// What is wrong, for people.
    pub message: &'a str,
    /// The field at fault.
    pub field: Option<&'a str>,
    /// The `ref` of the message that is answered.
    pub reference: Option<&'a str>,
    /// The room it is about.
    pub room: Option<&'a str>,
    /// Now, RFC 3339.
    pub timestamp: &'a str,
}

/// Everything but events and snapshots, as written.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Frame<'a> {
    Connected {
        connection_id: &'a str,
        timestamp: &'a str,
    },
    Subscribed {
        #[serde(skip_serializing_if = "Option::is_none")]
        execution_id: Option<&'a str>,
        room: &'a str,
        timestamp: &'a str,
        outcome: Outcome,
        #[serde(skip_serializing_if = "Option::is_none")]
        offset: Option<&'a str>,
        recovered: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a str>,
        #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "offsets_by_room")]
        offsets: &'a [(Room, Offset)],
    },
    Unsubscribed {
        #[serde(skip_serializing_if = "Option::is_none")]
        execution_id: Option<&'a str>,
        room: &'a str,
        timestamp: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a str>,
    },
    Gap {
        room: &'a str,
        missed_from: Option<&'a str>,
        missed_to: Option<&'a str>,
        reason: &'a str,
    },
    Degraded {
        active: bool,
    },
    Ack {
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a str>,
    },
    Error {
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        timestamp: &'a str,
    },
    Pong {
        timestamp: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a str>,
    },
    Reconnect {
        after_ms: u64,
    },
}

fn offsets_by_room<S: Serializer>(offsets: &&[(Room, Offset)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(offsets.len()))?;
    for (room, offset) in *offsets {
        map.serialize_entry(room.name(), &offset.to_string())?;
    }
    map.end()
}

impl Frame<'_> {
    fn encode(&self, encoding: Encoding) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("strings, numbers and maps of strings always serialize");
        encoded(encoding, json).expect("what serde_json has just written is JSON, and flat")
    }
}

fn encoded(encoding: Encoding, json: Vec<u8>) -> Result<Vec<u8>, Unreadable> {
    match encoding {
        Encoding::Json => Ok(json),
        Encoding::MessagePack => msgpack::from_json(&json),
    }
}

fn execution_id(room: &Room, as_execution: bool) -> Option<&str> {
    if as_execution { room.execution_id() } else { None }
}

/// The first frame of a connection.
#[must_use]
pub fn connected(encoding: Encoding, connection_id: &str, timestamp: &str) -> Vec<u8> {
    Frame::Connected { connection_id, timestamp }.encode(encoding)
}

/// The answer to a subscribe.
#[must_use]
pub fn subscribed(encoding: Encoding, answer: &Subscribed<'_>) -> Vec<u8> {
    Frame::Subscribed {
        execution_id: execution_id(answer.room, answer.as_execution),
        room: answer.room.name(),
        timestamp: answer.timestamp,
        outcome: answer.outcome,
        offset: answer.offset,
        recovered: answer.recovered,
        r#ref: answer.reference,
        offsets: answer.offsets,
    }
    .encode(encoding)
}

/// The answer to an unsubscribe.
#[must_use]
pub fn unsubscribed(encoding: Encoding, answer: &Unsubscribed<'_>) -> Vec<u8> {
    Frame::Unsubscribed {
        execution_id: execution_id(answer.room, answer.as_execution),
        room: answer.room.name(),
        timestamp: answer.timestamp,
        r#ref: answer.reference,
    }
    .encode(encoding)
}

/// The folded state of an execution as of `offset`; `snapshot_json` is one JSON object, written as it is.
///
/// Fails only where MessagePack is asked for and `snapshot_json` is no JSON or nests deeper than any event may.
pub fn snapshot(encoding: Encoding, room: &Room, offset: Option<&str>, snapshot_json: &str) -> Result<Vec<u8>, Unreadable> {
    // Names of rooms and offsets hold nothing that JSON would escape.
    let offset = offset.map_or_else(|| "null".to_owned(), |offset| format!("\"{offset}\""));
    let json = format!(r#"{{"type":"snapshot","room":"{}","offset":{offset},"snapshot":{snapshot_json}}}"#, room.name());
    encoded(encoding, json.into_bytes())
}

/// Some events of `room` are gone: those after `missed_from` up to `missed_to`, where known.
#[must_use]
pub fn gap(encoding: Encoding, room: &Room, missed_from: Option<&str>, missed_to: Option<&str>, reason: &str) -> Vec<u8> {
    Frame::Gap { room: room.name(), missed_from, missed_to, reason }.encode(encoding)
}

/// The broker is away (`active`), or back.
#[must_use]
pub fn degraded(encoding: Encoding, active: bool) -> Vec<u8> {
    Frame::Degraded { active }.encode(encoding)
}

/// The executor accepted the command, or the gateway the new token.
#[must_use]
pub fn ack(encoding: Encoding, reference: Option<&str>) -> Vec<u8> {
    Frame::Ack { r#ref: reference }.encode(encoding)
}

/// Something went wrong; the connection stays open.
#[must_use]
pub fn error(encoding: Encoding, error: &ErrorFrame<'_>) -> Vec<u8> {
    Frame::Error {
        code: error.code,
        message: error.message,
        field: error.field,
        r#ref: error.reference,
        room: error.room,
        timestamp: error.timestamp,
    }
    .encode(encoding)
}

impl Refused {
    /// The `error` frame that answers the refused message.
    #[must_use]
    pub fn frame(&self, encoding: Encoding, timestamp: &str) -> Vec<u8> {
        let answer = ErrorFrame {
            code: self.code,
            message: &self.message,
            field: self.field,
            reference: self.reference.as_deref(),
            room: self.room.as_deref(),
            timestamp,
        };
        error(encoding, &answer)
    }
}

/// The answer to a ping.
#[must_use]
pub fn pong(encoding: Encoding, timestamp: &str, reference: Option<&str>) -> Vec<u8> {
    Frame::Pong { timestamp, r#ref: reference }.encode(encoding)
}

/// The process is leaving: come back in `after_ms` milliseconds. Close 1012 follows.
#[must_use]
pub fn reconnect(encoding: Encoding, after_ms: u64) -> Vec<u8> {
    Frame::Reconnect { after_ms }.encode(encoding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_event::{Epoch, Position};

    fn text(frame: Vec<u8>) -> String {
        String::from_utf8(frame).expect("UTF-8")
    }

    #[test]
    fn frames_are_written_as_the_contract_shows() {
        let at = "2026-01-01T00:00:00.000Z";
        let room = Room::execution("e").expect("room").in_tenant(Some("acme")).expect("tenant");
        let user = Room::user("u").expect("room");
        let fresh = Offset { since: Some(4), ..Position { epoch: Epoch(10), seq: 7, check: 11 }.into() };
        let offsets = [(user, fresh)];
        let full = Subscribed {
            room: &room,
            as_execution: true,
            outcome: Outcome::Resumed,
            offset: Some("a.9.00000001"),
            recovered: true,
            timestamp: at,
            reference: Some("r\"1"),
            offsets: &offsets,
        };
        let bare = Subscribed {
            as_execution: false,
            outcome: Outcome::Live,
            offset: None,
            recovered: false,
            reference: None,
            offsets: &[],
            ..full.clone()
        };
        let left = Unsubscribed { room: &room, as_execution: true, timestamp: at, reference: None };
        let json = Encoding::Json;
        for (frame, expected) in [
            (connected(json, "c", at), r#"{"type":"connected","connectionId":"c","timestamp":"2026-01-01T00:00:00.000Z"}"#),
            (
                subscribed(json, &full),
                r#"{"type":"subscribed","executionId":"e","room":"execution:e","timestamp":"2026-01-01T00:00:00.000Z","outcome":"resumed","offset":"a.9.00000001","recovered":true,"ref":"r\"1","offsets":{"user:u":"a.7.0000000b.4"}}"#,
            ),
            (
                subscribed(json, &bare),
                r#"{"type":"subscribed","room":"execution:e","timestamp":"2026-01-01T00:00:00.000Z","outcome":"live","recovered":false}"#,
            ),
            (
                unsubscribed(json, &left),
                r#"{"type":"unsubscribed","executionId":"e","room":"execution:e","timestamp":"2026-01-01T00:00:00.000Z"}"#,
            ),
            (
                snapshot(json, &room, Some("a.1.00000001"), r#"{"n":1.00}"#).expect("json"),
                r#"{"type":"snapshot","room":"execution:e","offset":"a.1.00000001","snapshot":{"n":1.00}}"#,
            ),
            (
                gap(json, &room, Some("a.1.00000001"), None, "retention"),
                r#"{"type":"gap","room":"execution:e","missedFrom":"a.1.00000001","missedTo":null,"reason":"retention"}"#,
            ),
            (degraded(json, true), r#"{"type":"degraded","active":true}"#),
            (ack(json, Some("x")), r#"{"type":"ack","ref":"x"}"#),
            (pong(json, at, None), r#"{"type":"pong","timestamp":"2026-01-01T00:00:00.000Z"}"#),
            (reconnect(json, 1500), r#"{"type":"reconnect","afterMs":1500}"#),
        ] {
            assert_eq!(text(frame), expected);
        }
    }

    #[test]
    fn a_refusal_answers_with_its_field_and_ref() {
        let bytes = br#"{"type":"subscribe","executionId":"e","offset":"x","ref":"r"}"#;
        let refused = super::super::decode(Encoding::Json, bytes, &super::super::Limits::default()).expect_err("offset");
        assert_eq!(
            text(refused.frame(Encoding::Json, "now")),
            r#"{"type":"error","code":"invalid","message":"offset: is not an offset that this service gave out","field":"offset","ref":"r","room":"execution:e","timestamp":"now"}"#
        );
    }

    #[test]
    fn messagepack_frames_hold_the_same_objects() {
        assert_eq!(degraded(Encoding::MessagePack, false), b"\x82\xa4type\xa8degraded\xa6active\xc2");
        let room = Room::kb("k").expect("room");
        assert!(snapshot(Encoding::MessagePack, &room, None, "{").is_err());
    }
}
