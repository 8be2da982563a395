//! Socket.IO over a WebSocket: Weft's namespaces `/` (D) and `/executions` (A), and a plain Socket.IO server's `/`.
//!
//! A client joins its namespace, waits for the answer, and asks for its rooms with an acknowledgement each. It answers
//! Engine.IO's pings. Where it comes back, it says whose session it was and the last offset it was told, as the
//! library of its language does.

use super::{From, Said, execution};
use crate::client::frame::{TEXT, client_frame};
use memchr::memmem::find;
use serde_json::{Map, Value, json};

/// The path, with whatever the query must hold.
pub(super) fn path(token: Option<&str>) -> String {
    let token = token.map(|token| format!("&token={token}")).unwrap_or_default();
    format!("/socket.io/?EIO=4&transport=websocket{token}")
}

/// What a client keeps to have its session back, on any gateway.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whose it is, a secret.
    pub(crate) pid: Vec<u8>,
    /// Of the last event; empty before the first.
    pub(crate) offset: Vec<u8>,
}

/// Where a client is: in which namespace rooms are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Main,
    Executions,
}

impl Space {
    /// Before the acknowledgement's number and the payload of a packet.
    fn sign(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Executions => "/executions,",
        }
    }

    fn packet(self, kind: &str, rest: &str) -> Vec<u8> {
        client_frame(TEXT, format!("{kind}{}{rest}", self.sign()).as_bytes())
    }

    /// Joins: an Engine.IO message (4) that connects (0).
    pub(super) fn greeting(self, token: Option<&str>, session: Option<&Session>) -> Vec<u8> {
        let mut auth = Map::new();
        let mut put = |name: &str, value: &[u8]| auth.insert(name.into(), String::from_utf8_lossy(value).into());
        token.map(|token| put("token", token.as_bytes()));
        session.map(|session| put("pid", &session.pid));
        session.filter(|session| !session.offset.is_empty()).map(|session| put("offset", &session.offset));
        let auth = if auth.is_empty() { String::new() } else { Value::Object(auth).to_string() };
        self.packet("40", &auth)
    }

    /// An event for each room, with its number as acknowledgement id.
    pub(super) fn subscribe(self, rooms: &[(String, From<'_>)]) -> Vec<u8> {
        let name = |room| if self == Self::Executions { execution(room).unwrap_or(room) } else { room };
        let events = rooms.iter().enumerate();
        events.flat_map(|(id, (room, _))| self.packet("42", &format!("{id}{}", json!(["subscribe", name(room)])))).collect()
    }

    /// An event of about so many bytes that the server reads, and does not answer.
    pub(super) fn say(self, bytes: usize) -> Vec<u8> {
        let nobody = if self == Self::Executions { "nobody" } else { "execution:nobody" };
        self.packet("42", &json!(["unsubscribe", nobody, "x".repeat(bytes)]).to_string())
    }

    /// What a message without a mark says.
    pub(super) fn understand(self, payload: &[u8]) -> Said {
        let has = |text: &[u8]| find(payload, text).is_some();
        match payload {
            // Engine.IO asks whether we are there.
            b"2" => Said::Expects(client_frame(TEXT, b"3")),
            [b'4', b'0', ..] => Said::Joined,
            // A DISCONNECT, a CONNECT_ERROR.
            [b'4', b'1' | b'4', ..] => Said::Refused,
            [b'4', b'3', ..] if has(b"\"ok\":false") => Said::Refused,
            [b'4', b'3', ..] => Said::Subscribed { rooms: 1, gap: has(b"\"outcome\":\"gap\"") },
            [b'4', b'2', packet @ ..] => self.event(packet),
            _ => Said::Other,
        }
    }

    fn event(self, packet: &[u8]) -> Said {
        let named = |name: &[u8]| packet.strip_prefix(self.sign().as_bytes()).is_some_and(|event| event.starts_with(name));
        // A has no other word for a gap than a warning in the log, and no published event of ours is one.
        let warning = || self == Self::Executions && find(packet, b"\"level\":\"warning\"").is_some();
        if named(b"[\"gap\"") || (named(b"[\"log\"") && warning()) {
            return Said::Gap;
        }
        if named(b"[\"error\"") { Said::Refused } else { Said::Other }
    }
}

/// The secret of the session that a client has joined.
pub(super) fn pid(payload: &[u8]) -> Option<Vec<u8>> {
    let object = payload.get(memchr::memchr(b'{', payload)?..)?;
    let answer: Value = serde_json::from_slice(object).ok()?;
    Some(answer["pid"].as_str()?.as_bytes().to_vec())
}

/// The string at the end of an event, which the library takes for the offset.
pub(super) fn offset(payload: &[u8]) -> Option<&[u8]> {
    let text = payload.strip_prefix(b"42")?.strip_suffix(b"\"]")?;
    let start = memchr::memrchr(b'"', text)?;
    text[..start].ends_with(b",").then(|| &text[start + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::frame::parse;

    /// The text of a frame of ours, whose mask is all zeros.
    fn text(frame: &[u8]) -> String {
        let masked = parse(frame).expect("a frame");
        let header = masked.length - masked.payload.len() + 4;
        String::from_utf8_lossy(&frame[header..]).into_owned()
    }

    #[test]
    fn what_servers_say_is_understood() {
        let subscribed = |gap| Said::Subscribed { rooms: 1, gap };
        for (space, payload, said) in [
            (Space::Main, &b"0{\"sid\":\"x\"}"[..], Said::Other),
            (Space::Main, b"2", Said::Expects(client_frame(TEXT, b"3"))),
            (Space::Main, b"40{\"sid\":\"x\"}", Said::Joined),
            (Space::Executions, b"40/executions,{\"sid\":\"x\",\"pid\":\"p\"}", Said::Joined),
            (Space::Main, b"430[{\"ok\":true}]", subscribed(false)),
            (Space::Executions, b"43/executions,0[{\"ok\":true,\"outcome\":\"gap\"}]", subscribed(true)),
            (Space::Main, b"430[{\"ok\":false,\"code\":\"forbidden\"}]", Said::Refused),
            (Space::Main, b"44{\"message\":\"no\"}", Said::Refused),
            (Space::Executions, b"41/executions", Said::Refused),
            (Space::Main, b"42[\"gap\",{}]", Said::Gap),
            (Space::Main, b"42[\"error\",{\"code\":\"invalid\"}]", Said::Refused),
            (Space::Main, b"42[\"snapshot\",{}]", Said::Other),
            (Space::Main, b"42[\"log\",{\"level\":\"warning\"}]", Said::Other),
            (Space::Executions, b"42/executions,[\"log\",{\"log\":{\"level\":\"warning\"}}]", Said::Gap),
            (Space::Executions, b"42/executions,[\"status\",{}]", Said::Other),
            (Space::Executions, b"42/executions,[\"error\",{}]", Said::Refused),
        ] {
            assert_eq!(space.understand(payload), said, "{}", String::from_utf8_lossy(payload));
        }
    }

    #[test]
    fn packets_are_as_the_library_writes_them() {
        let session = Session { pid: b"p".to_vec(), offset: b"1AB".to_vec() };
        let fresh = Session { offset: Vec::new(), ..Session { pid: b"p".to_vec(), offset: Vec::new() } };
        let rooms = [("execution:load-0".to_owned(), From::Now)];
        for (frames, expected) in [
            (Space::Main.greeting(None, None), "40"),
            (Space::Executions.greeting(Some("t"), None), "40/executions,{\"token\":\"t\"}"),
            (Space::Main.greeting(None, Some(&fresh)), "40{\"pid\":\"p\"}"),
            (Space::Executions.greeting(None, Some(&session)), "40/executions,{\"offset\":\"1AB\",\"pid\":\"p\"}"),
            (Space::Main.subscribe(&rooms), "420[\"subscribe\",\"execution:load-0\"]"),
            (Space::Executions.subscribe(&rooms), "42/executions,0[\"subscribe\",\"load-0\"]"),
            (Space::Executions.say(2), "42/executions,[\"unsubscribe\",\"nobody\",\"xx\"]"),
        ] {
            assert_eq!(text(&frames), expected);
        }
    }

    #[test]
    fn sessions_and_offsets_are_found() {
        assert_eq!(pid(b"40/executions,{\"sid\":\"s\",\"pid\":\"secret\"}"), Some(b"secret".to_vec()));
        assert_eq!(pid(b"40{\"sid\":\"s\"}"), None);
        for (payload, expected) in [
            (&b"42[\"log\",{\"a\":\"b\"},\"1Ab_-\"]"[..], Some(&b"1Ab_-"[..])),
            (b"42/executions,[\"log\",{},\"1A\"]", Some(b"1A")),
            (b"42[\"log\",{\"a\":[\"b\"]}]", None),
            (b"42[\"log\"]", None),
            (b"430[{\"offset\":\"1A\"}]", None),
        ] {
            assert_eq!(offset(payload), expected, "{}", String::from_utf8_lossy(payload));
        }
    }
}
