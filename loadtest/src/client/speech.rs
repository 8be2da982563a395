//! How a client talks to the server under load: what it asks for, and what little it must understand of the answers.
//!
//! Events themselves are known by their [`mark`](super::mark), whatever wraps them.

use super::frame::{BINARY, TEXT, client_frame};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A way to talk; one word each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Speech {
    /// Weft's own protocol, JSON in text frames.
    Json,
    /// The same in MessagePack, in binary frames.
    Msgpack,
}

/// Where to go on in a room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From<'a> {
    /// With whatever comes next.
    Now,
    /// At the oldest event held.
    Start,
    /// After this offset.
    After(&'a [u8]),
}

/// What a message that is no event means to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A room is followed from here on.
    Subscribed {
        /// With a gap in what was asked for.
        gap: bool,
    },
    /// Something is missing.
    Gap,
    /// Something was refused.
    Refused,
    /// Nothing that matters here.
    Other,
}

impl Speech {
    /// The request for the upgrade, and whatever else it takes to be let in.
    pub(crate) fn request(self, host: &str, deflate: bool, token: Option<&str>) -> String {
        // The key is an example's: this client does not check the answer to it.
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            self.path()
        );
        if self == Self::Msgpack {
            request.push_str("Sec-WebSocket-Protocol: weft.v1.msgpack\r\n");
        }
        if deflate {
            request.push_str(
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
            );
        }
        if let Some(token) = token {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        request + "\r\n"
    }

    fn path(self) -> &'static str {
        match self {
            Self::Json | Self::Msgpack => "/api/ws",
        }
    }

    /// Frames that follow these rooms, of which there is at least one.
    pub(crate) fn subscribe(self, rooms: &[(String, From<'_>)]) -> Vec<u8> {
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
    pub(crate) fn say(self, bytes: usize) -> Vec<u8> {
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
    pub(crate) fn understand(self, payload: &[u8]) -> Said {
        let kind = match self {
            Self::Json => json_text(payload, b"\"type\":\""),
            Self::Msgpack => msgpack_text(payload, b"\xa4type"),
        };
        match kind {
            Some(b"subscribed") => Said::Subscribed { gap: self.has_outcome_gap(payload) },
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
    pub(crate) fn offset(self, payload: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Json => json_text(payload, b"\"offset\":\""),
            Self::Msgpack => msgpack_text(payload, b"\xa6offset"),
        }
    }

    /// The room that an answer to a subscribe names.
    pub(crate) fn room(self, payload: &[u8]) -> Option<&[u8]> {
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
            (json!({"type": "subscribed", "outcome": "live"}), Said::Subscribed { gap: false }),
            (json!({"type": "subscribed", "outcome": "gap"}), Said::Subscribed { gap: true }),
            (json!({"type": "gap", "room": "execution:a"}), Said::Gap),
            (json!({"type": "error", "code": "overloaded"}), Said::Refused),
            (json!({"type": "connected"}), Said::Other),
            (json!([1]), Said::Other),
        ] {
            let packed = rmp_serde::to_vec_named(&message).expect("packed");
            assert_eq!(Speech::Json.understand(message.to_string().as_bytes()), said, "{message}");
            assert_eq!(Speech::Msgpack.understand(&packed), said, "{message}");
        }
    }

    #[test]
    fn offsets_and_rooms_are_found_in_both_forms() {
        let offset = "0123456789abcdef0123.123456.01234567~since";
        let message = json!({"type": "log", "offset": offset, "room": "execution:load-7"});
        let (text, packed) = (message.to_string(), rmp_serde::to_vec_named(&message).expect("packed"));
        for (speech, payload) in [(Speech::Json, text.as_bytes()), (Speech::Msgpack, &packed[..])] {
            assert_eq!(speech.offset(payload), Some(offset.as_bytes()));
            assert_eq!(speech.room(payload), Some(&b"execution:load-7"[..]));
            assert_eq!(speech.offset(b"\"offset\":\"1"), None);
        }
    }

    #[test]
    fn rooms_are_asked_for_in_one_message() {
        let one = Speech::Json.subscribe(&[("execution:a".into(), From::After(b"1.2.3"))]);
        assert!(one.ends_with(br#"{"offset":"1.2.3","room":"execution:a","type":"subscribe"}"#), "{one:?}");
        let two = Speech::Json.subscribe(&[("a".into(), From::Now), ("b".into(), From::Start)]);
        assert!(two.ends_with(br#"{"rooms":[{"room":"a"},{"offset":"0","room":"b"}],"type":"subscribe"}"#), "{two:?}");
    }
}
