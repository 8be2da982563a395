//! Weft's event streams: one room in one HTTP answer, gone on with after `Last-Event-ID`.

use super::{Asked, From, Said, execution};

/// What an `EventSource` asks, with a token where it can have one: in the query.
pub(super) fn request(asked: &Asked<'_>) -> String {
    let (room, from) = asked.rooms.first().map_or(("", From::Now), |(room, from)| (room.as_str(), *from));
    let mut path = match execution(room) {
        Some(execution) => format!("/api/executions/{execution}/events"),
        None => format!("/api/rooms/{room}/events"),
    };
    let token = asked.token.map(|token| format!("token={token}"));
    let start = matches!(from, From::Start).then(|| "offset=0".to_owned());
    for (parameter, sign) in token.into_iter().chain(start).zip(['?', '&']) {
        path.push(sign);
        path.push_str(&parameter);
    }
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n", asked.host);
    if let From::After(offset) = from {
        request.push_str(&format!("Last-Event-ID: {}\r\n", String::from_utf8_lossy(offset)));
    }
    request + "\r\n"
}

/// What a message without a mark says.
pub(super) fn understand(message: &[u8]) -> Said {
    match field(message, b"event") {
        Some(b"gap") => Said::Gap,
        Some(b"error") => Said::Refused,
        // An id alone: where the stream begins.
        None if field(message, b"id").is_some() => Said::Tail,
        _ => Said::Other,
    }
}

/// The offset that a message carries, to go on after it.
pub(super) fn offset(message: &[u8]) -> Option<&[u8]> {
    field(message, b"id")
}

fn field<'a>(message: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = message.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name)?.strip_prefix(b":"))?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_asked_for_by_its_room_and_where_to_go_on() {
        for (room, from, token, first, last) in [
            ("execution:load-1", From::Now, None, "GET /api/executions/load-1/events HTTP/1.1", None),
            ("user:u", From::Start, None, "GET /api/rooms/user:u/events?offset=0 HTTP/1.1", None),
            ("execution:e", From::Start, Some("a.b.c"), "GET /api/executions/e/events?token=a.b.c&offset=0 HTTP/1.1", None),
            ("execution:e", From::After(b"1.2.3"), None, "GET /api/executions/e/events HTTP/1.1", Some("Last-Event-ID: 1.2.3")),
        ] {
            let rooms = [(room.to_owned(), from)];
            let request = request(&Asked { host: "h:1", rooms: &rooms, deflate: false, token });
            let mut lines = request.split("\r\n");
            assert_eq!(lines.next(), Some(first));
            let expected: Vec<_> = ["Host: h:1", "Accept: text/event-stream"].into_iter().chain(last).chain(["", ""]).collect();
            assert_eq!(lines.collect::<Vec<_>>(), expected, "{room}");
        }
    }

    #[test]
    fn messages_are_understood_by_their_names() {
        for (message, said, at) in [
            (&b"retry: 1000"[..], Said::Other, None),
            (b"id: 1.2.3", Said::Tail, Some(&b"1.2.3"[..])),
            (b"id: 1.2.3\nevent: log\ndata: {\"id\":\"x\"}", Said::Other, Some(b"1.2.3")),
            (b"id: 1.2.3\nevent: gap\ndata: {}", Said::Gap, Some(b"1.2.3")),
            (b"event: error\ndata: {\"code\":\"forbidden\"}", Said::Refused, None),
            (b":", Said::Other, None),
        ] {
            assert_eq!((understand(message), offset(message)), (said, at), "{}", String::from_utf8_lossy(message));
        }
    }
}
