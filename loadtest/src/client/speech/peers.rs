//! How clients of other systems talk, as much of it as following rooms takes.

use super::{From, Said};
use crate::client::frame::{BINARY, TEXT, client_frame};
use memchr::memmem::find;
use serde_json::json;

pub(super) fn nats_greeting() -> Vec<u8> {
    let options = json!({"verbose": false, "pedantic": false, "protocol": 1, "headers": false, "lang": "load", "version": "1"});
    client_frame(BINARY, format!("CONNECT {options}\r\n").as_bytes())
}

/// The answer to the PING after them says that all are followed.
pub(super) fn nats_subscribe(rooms: &[(String, From<'_>)]) -> Vec<u8> {
    let mut lines: String = rooms.iter().enumerate().map(|(id, (room, _))| format!("SUB {room} {id}\r\n")).collect();
    lines.push_str("PING\r\n");
    client_frame(BINARY, lines.as_bytes())
}

pub(super) fn nats_understand(payload: &[u8]) -> Said {
    let begins = |line: &[u8]| payload.starts_with(line) || find(payload, &[b"\r\n", line].concat()).is_some();
    if begins(b"PONG\r\n") {
        return Said::Subscribed { rooms: 1, gap: false };
    }
    if begins(b"PING\r\n") {
        return Said::Expects(client_frame(BINARY, b"PONG\r\n"));
    }
    if begins(b"-ERR") { Said::Refused } else { Said::Other }
}

pub(super) fn centrifugo_greeting() -> Vec<u8> {
    client_frame(TEXT, json!({"id": 1, "connect": {"name": "load"}}).to_string().as_bytes())
}

pub(super) fn centrifugo_subscribe(rooms: &[(String, From<'_>)]) -> Vec<u8> {
    let commands =
        rooms.iter().enumerate().map(|(at, (room, _))| json!({"id": at + 2, "subscribe": {"channel": room}}).to_string());
    client_frame(TEXT, commands.collect::<Vec<_>>().join("\n").as_bytes())
}

pub(super) fn centrifugo_understand(payload: &[u8]) -> Said {
    if payload == b"{}" {
        return Said::Expects(client_frame(TEXT, b"{}"));
    }
    if find(payload, b"\"error\":").is_some() {
        return Said::Refused;
    }
    // A reply a line.
    let subscribed = payload.split(|byte| *byte == b'\n').filter(|line| find(line, b"\"subscribe\":").is_some()).count();
    match u32::try_from(subscribed) {
        Ok(rooms) if rooms > 0 => Said::Subscribed { rooms, gap: false },
        _ => Said::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::frame::parse;

    #[test]
    fn what_servers_say_is_understood() {
        let subscribed = |rooms| Said::Subscribed { rooms, gap: false };
        let expects = |opcode, text: &[u8]| Said::Expects(client_frame(opcode, text));
        for (understand, payload, said) in [
            (nats_understand as fn(&[u8]) -> Said, &b"INFO {\"x\":1}\r\n"[..], Said::Other),
            (nats_understand, b"INFO {\"x\":1}\r\nPONG\r\n", subscribed(1)),
            (nats_understand, b"PING\r\n", expects(BINARY, b"PONG\r\n")),
            (nats_understand, b"-ERR 'no'\r\n", Said::Refused),
            (centrifugo_understand, b"{}", expects(TEXT, b"{}")),
            (centrifugo_understand, b"{\"id\":1,\"connect\":{\"client\":\"x\"}}", Said::Other),
            (centrifugo_understand, b"{\"id\":2,\"subscribe\":{}}\n{\"id\":3,\"subscribe\":{}}", subscribed(2)),
            (centrifugo_understand, b"{\"id\":2,\"error\":{\"code\":103}}", Said::Refused),
        ] {
            assert_eq!(understand(payload), said, "{}", String::from_utf8_lossy(payload));
        }
    }

    #[test]
    fn rooms_are_asked_for_as_each_server_has_it() {
        let rooms = [("load-0".to_owned(), From::Now)];
        for (frames, text) in [
            (nats_subscribe(&rooms), "SUB load-0 0\r\nPING\r\n"),
            (centrifugo_subscribe(&rooms), "{\"id\":2,\"subscribe\":{\"channel\":\"load-0\"}}"),
        ] {
            // Behind the header the mask, which is all zeros.
            assert!(frames.ends_with(text.as_bytes()) && parse(&frames).is_some(), "{text}");
        }
    }
}
