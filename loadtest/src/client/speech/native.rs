//! Weft's own protocol, in JSON and in MessagePack.

use super::{From, Said};
use crate::client::frame::{BINARY, TEXT, client_frame};
use memchr::memmem;
use serde_json::{Value, json};

/// How its messages are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Msgpack,
}

impl Form {
    /// Frames that follow these rooms, of which there is at least one.
    pub(super) fn subscribe(self, rooms: &[(String, From<'_>)]) -> Vec<u8> {
        let message = match rooms {
            [(room, from)] => merged(json!({"type": "subscribe"}), room_from(room, *from)),
            _ => {
                let rooms: Vec<_> = rooms.iter().map(|(room, from)| room_from(room, *from)).collect();
                json!({"type": "subscribe", "rooms": rooms})
            }
        };
        self.frame(&message)
    }

    /// A frame of about so many bytes that the server reads and answers.
    pub(super) fn say(self, bytes: usize) -> Vec<u8> {
        self.frame(&json!({"type": "ping", "padding": "x".repeat(bytes)}))
    }

    fn frame(self, message: &Value) -> Vec<u8> {
        match self {
            Self::Json => client_frame(TEXT, message.to_string().as_bytes()),
            // Text, numbers and lists always have a form in MessagePack.
            Self::Msgpack => client_frame(BINARY, &rmp_serde::to_vec_named(message).unwrap_or_default()),
        }
    }

    /// What a message without a mark says.
    pub(super) fn understand(self, payload: &[u8]) -> Said {
        let kind = match self {
            Self::Json => json_text(payload, b"\"type\":\""),
            Self::Msgpack => msgpack_text(payload, b"\xa4type"),
        };
        match kind {
            Some(b"subscribed") => Said::Subscribed { rooms: 1, gap: self.has_outcome_gap(payload) },
            Some(b"gap") => Said::Gap,
            Some(b"error") => Said::Refused,
            _ => Said::Other,
        }
    }

    fn has_outcome_gap(self, payload: &[u8]) -> bool {
        match self {
            Self::Json => json_text(payload, b"\"outcome\":\"") == Some(b"gap"),
            Self::Msgpack => msgpack_text(payload, b"\xa7outcome") == Some(b"gap"),
        }
    }

    /// The offset that a message carries, to resume after it.
    pub(super) fn offset(self, payload: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Json => json_text(payload, b"\"offset\":\""),
            Self::Msgpack => msgpack_text(payload, b"\xa6offset"),
        }
    }

    /// The room that an answer to a subscribe names.
    pub(super) fn room(self, payload: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Json => json_text(payload, b"\"room\":\""),
            Self::Msgpack => msgpack_text(payload, b"\xa4room"),
        }
    }
}

fn room_from(room: &str, from: From<'_>) -> Value {
    match from {
        From::Now => json!({"room": room}),
        From::Start => json!({"room": room, "offset": "0"}),
        From::After(offset) => json!({"room": room, "offset": String::from_utf8_lossy(offset)}),
    }
}

fn merged(mut into: Value, from: Value) -> Value {
    if let (Value::Object(into), Value::Object(from)) = (&mut into, from) {
        into.extend(from);
    }
    into
}

/// The text after a key, up to the next quotation mark: types, rooms and offsets hold none.
fn json_text<'a>(payload: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let rest = &payload[memmem::find(payload, key)? + key.len()..];
    rest.get(..memchr::memchr(b'"', rest)?)
}

/// The text after a key: MessagePack says how long it is.
fn msgpack_text<'a>(payload: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    match &payload[memmem::find(payload, key)? + key.len()..] {
        [short @ 0xa0..=0xbf, rest @ ..] => rest.get(..usize::from(short & 0x1f)),
        [0xd9, length, rest @ ..] => rest.get(..usize::from(*length)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood_in_both_forms() {
        for (message, said) in [
            (json!({"type": "subscribed", "outcome": "live"}), Said::Subscribed { rooms: 1, gap: false }),
            (json!({"type": "subscribed", "outcome": "gap"}), Said::Subscribed { rooms: 1, gap: true }),
            (json!({"type": "gap", "room": "execution:a"}), Said::Gap),
            (json!({"type": "error", "code": "overloaded"}), Said::Refused),
            (json!({"type": "connected"}), Said::Other),
            (json!([1]), Said::Other),
        ] {
            let packed = rmp_serde::to_vec_named(&message).expect("packed");
            assert_eq!(Form::Json.understand(message.to_string().as_bytes()), said, "{message}");
            assert_eq!(Form::Msgpack.understand(&packed), said, "{message}");
        }
    }

    #[test]
    fn offsets_and_rooms_are_found_in_both_forms() {
        let offset = "0123456789abcdef0123.123456.01234567~since";
        let message = json!({"type": "log", "offset": offset, "room": "execution:load-7"});
        let (text, packed) = (message.to_string(), rmp_serde::to_vec_named(&message).expect("packed"));
        for (form, payload) in [(Form::Json, text.as_bytes()), (Form::Msgpack, &packed[..])] {
            assert_eq!(form.offset(payload), Some(offset.as_bytes()));
            assert_eq!(form.room(payload), Some(&b"execution:load-7"[..]));
            assert_eq!(form.offset(b"\"offset\":\"1"), None);
        }
    }

    #[test]
    fn rooms_are_asked_for_in_one_message() {
        let one = Form::Json.subscribe(&[("execution:a".into(), From::After(b"1.2.3"))]);
        assert!(one.ends_with(br#"{"offset":"1.2.3","room":"execution:a","type":"subscribe"}"#), "{one:?}");
        let two = Form::Json.subscribe(&[("a".into(), From::Now), ("b".into(), From::Start)]);
        assert!(two.ends_with(br#"{"rooms":[{"room":"a"},{"offset":"0","room":"b"}],"type":"subscribe"}"#), "{two:?}");
    }
}
