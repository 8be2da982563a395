//! How a client of another dialect asks, and what its frames tell: the checker knows an event by its id and its number,
//! which these dialects carry in what they show of it ([`crate::source`] writes both into it).

use super::frames::{Reader, malformed};
use crate::record::{Follow, Mark, Seen, SeenEvent};
use serde_json::Value;
use std::sync::Arc;

/// What a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speech {
    /// The native protocol: one connection, any rooms.
    #[default]
    Native,
    /// System C, one execution a socket, with `?offset=`.
    C,
    /// System E, one execution a socket, with `?after=`.
    E,
    /// Server-Sent Events of one room, with `Last-Event-ID`.
    EventStream,
}

/// What a frame says, and the offset that the client holds from then on.
pub(super) struct Said {
    pub(super) seen: Seen,
    pub(super) offset: Option<Box<str>>,
}

impl Speech {
    /// The types of events that its frames can be told by.
    #[must_use]
    pub fn types(self) -> Vec<String> {
        match self {
            Self::Native | Self::EventStream => Vec::new(),
            Self::C => vec!["log".into(), "execution:progress".into()],
            Self::E => vec!["log".into()],
        }
    }

    /// Where it connects: from the room's first event, or after what it holds.
    pub(super) fn path(self, follow: Option<&Follow>, held: Option<&str>) -> String {
        let room = follow.map_or("", |follow| &*follow.room);
        let id = room.split_once(':').map_or("", |(_, id)| id);
        match self {
            Self::Native => "/api/ws".into(),
            Self::C => format!("/api/ws/executions/{id}?offset={}", held.unwrap_or("0")),
            // Its history comes without asking.
            Self::E => format!("/ws/executions/{id}/logs{}", held.map(|at| format!("?after={at}")).unwrap_or_default()),
            // What was held is told in a header, as browsers do, which repeat the address.
            Self::EventStream => format!("/api/rooms/{room}/events?offset=0"),
        }
    }

    /// A frame of one of the others.
    pub(super) fn read(self, text: &str, room: &Arc<str>, reader: &mut Reader) -> Said {
        if self == Self::EventStream {
            return block(text, reader);
        }
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            return Said { seen: malformed(text, "no JSON"), offset: None };
        };
        let offset = frame["offset"].as_str().map(Box::from);
        let seen = if self == Self::C { c(frame, room, reader) } else { e(frame, room, reader) };
        Said { seen: at(seen, offset.clone()), offset }
    }
}

/// With the offset that its frame carries.
fn at(seen: Seen, offset: Option<Box<str>>) -> Seen {
    match seen {
        Seen::Event(event) => Seen::Event(SeenEvent { offset, ..event }),
        other => other,
    }
}

fn c(frame: Value, room: &Arc<str>, reader: &mut Reader) -> Seen {
    match frame["type"].as_str() {
        Some("log") => entry(None, "log", &frame["log"]["message"], &frame["log"]["level"], room, reader),
        // A state that somebody published says of which event it is in its node; one that was folded does not.
        Some("status") if numbered(&frame["data"]["current_node"]).is_some() && frame["offset"].is_string() => {
            entry(None, "execution:progress", &frame["data"]["current_node"], &Value::Null, room, reader)
        }
        Some(kind) => Seen::Frame { kind: reader.word(kind), body: frame },
        None => malformed(&frame.to_string(), "without type"),
    }
}

fn e(frame: Value, room: &Arc<str>, reader: &mut Reader) -> Seen {
    if frame["type"] == "pong" {
        return Seen::Frame { kind: reader.word("pong"), body: frame };
    }
    entry(frame["id"].as_str(), "log", &frame["message"], &frame["level"], room, reader)
}

/// An event that shows its id, or a text that begins with it.
pub(crate) fn entry(id: Option<&str>, kind: &str, text: &Value, level: &Value, room: &Arc<str>, reader: &mut Reader) -> Seen {
    let Some((told, mark)) = numbered(text) else {
        let body = serde_json::json!({"id": id, "text": text});
        // Nothing that a test publishes is a warning.
        return if level == "warning" {
            Seen::Gap { room: Arc::clone(room), body }
        } else {
            malformed(&body.to_string(), "no event of a test")
        };
    };
    let mark = Some(Mark { source: reader.word(mark.0), counter: mark.1 });
    let id = Some(id.unwrap_or(told).into());
    Seen::Event(SeenEvent { room: Arc::clone(room), id, kind: reader.word(kind), offset: None, mark, skipped: 0, body: None })
}

/// The id that a text begins with, its source and its number: `<source>.<execution>.<number>`.
fn numbered(text: &Value) -> Option<(&str, (&str, u64))> {
    let id = text.as_str()?.split_whitespace().next()?;
    let (source, rest) = id.split_once('.')?;
    let (_, number) = rest.rsplit_once('.')?;
    Some((id, (source, number.parse().ok()?)))
}

/// What stands between two empty lines of an event stream.
fn block(text: &str, reader: &mut Reader) -> Said {
    let (mut id, mut data) = (None, String::new());
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => id = Some(value.into()),
            "data" => data.push_str(value),
            // The name is the type, which the data repeats.
            "event" | "retry" | "" => {}
            _ => return Said { seen: malformed(text, "no such field"), offset: None },
        }
    }
    let seen = if data.is_empty() {
        Seen::Frame { kind: reader.word("line"), body: Value::Null }
    } else {
        reader.read(&data, |_| false)
    };
    Said { seen, offset: id }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "source-1-0.chaos-1.17";

    fn read(speech: Speech, text: &str) -> (Seen, Option<Box<str>>) {
        let said = speech.read(text, &"execution:chaos-1".into(), &mut Reader::new(false));
        (said.seen, said.offset)
    }

    fn told(seen: Seen) -> (String, String, u64) {
        let Seen::Event(event) = seen else { panic!("an event was due, not {seen:?}") };
        let mark = event.mark.expect("a number");
        (event.id.expect("an id").into(), mark.source.to_string(), mark.counter)
    }

    #[test]
    fn what_each_dialect_shows_of_an_event_is_enough_to_know_it() {
        let expected = (ID.to_owned(), "source-1-0".to_owned(), 17);
        for (speech, frame) in [
            (Speech::C, format!(r#"{{"type":"log","log":{{"level":"info","message":"{ID} xx"}},"offset":"a"}}"#)),
            (Speech::C, format!(r#"{{"type":"status","data":{{"current_node":"{ID}"}},"offset":"a"}}"#)),
            (Speech::E, format!(r#"{{"id":"{ID}","level":"info","message":"{ID} xx","offset":"a"}}"#)),
            (
                Speech::EventStream,
                format!(
                    "id: a\nevent: log\ndata: {{\"type\":\"log\",\"executionId\":\"chaos-1\",\"id\":\"{ID}\",\
                     \"data\":{{\"n\":17,\"source\":\"source-1-0\"}},\"offset\":\"a\"}}\n\n"
                ),
            ),
        ] {
            let (seen, offset) = read(speech, &frame);
            assert_eq!((told(seen), offset.as_deref()), (expected.clone(), Some("a")), "{frame}");
        }
    }

    #[test]
    fn a_warning_is_a_gap_and_what_is_neither_is_malformed() {
        let gap = r#"{"type":"log","log":{"level":"warning","message":"Events are missing (reset)."},"offset":"a"}"#;
        assert!(matches!(read(Speech::C, gap), (Seen::Gap { .. }, Some(_))));
        let gap = r#"{"id":"gap::","level":"warning","message":"Events are missing (reset)."}"#;
        assert!(matches!(read(Speech::E, gap).0, Seen::Gap { .. }));
        for (speech, text) in [
            (Speech::E, r#"{"id":"x","level":"info","message":"m"}"#),
            (Speech::C, "pong"),
            (Speech::EventStream, "strange: x\n\n"),
        ] {
            assert!(matches!(read(speech, text).0, Seen::Malformed { .. }), "{text}");
        }
        let status = r#"{"type":"status","data":{"current_node":null},"offset":"a/1"}"#;
        assert!(matches!(read(Speech::C, status), (Seen::Frame { .. }, Some(_))));
        assert!(matches!(read(Speech::EventStream, "retry: 1000\n\n"), (Seen::Frame { .. }, None)));
        assert!(matches!(read(Speech::EventStream, "id: a\n\n"), (Seen::Frame { .. }, Some(_))));
    }

    #[test]
    fn each_comes_back_with_what_it_holds() {
        let follow = Follow::start("execution:run");
        for (speech, first, again) in [
            (Speech::C, "/api/ws/executions/run?offset=0", "/api/ws/executions/run?offset=a"),
            (Speech::E, "/ws/executions/run/logs", "/ws/executions/run/logs?after=a"),
            (Speech::EventStream, "/api/rooms/execution:run/events?offset=0", "/api/rooms/execution:run/events?offset=0"),
        ] {
            assert_eq!((speech.path(Some(&follow), None), speech.path(Some(&follow), Some("a"))), (first.into(), again.into()));
        }
    }
}
