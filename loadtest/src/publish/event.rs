//! What is published: events of the contract, each with its mark and of about the size that was asked for.

use crate::{client::mark::Mark, swarm::order::Rooms};
use std::fmt::Write as _;

/// What an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Log,
    Token,
    Started,
    NodeStarted,
    NodeProgress,
    NodeCompleted,
    Prompt,
    Answered,
    Completed,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Token => "agent:token",
            Self::Started => "execution:started",
            Self::NodeStarted => "node:started",
            Self::NodeProgress => "node:progress",
            Self::NodeCompleted => "node:completed",
            Self::Prompt => "user_input:required",
            Self::Answered => "user_input:provided",
            Self::Completed => "execution:completed",
        }
    }

    /// What this kind must say, up to a text that takes the mark and the padding.
    fn fields(self, out: &mut String, counter: u32) {
        let node = counter / 10;
        // Writing to a string does not fail.
        let _ = match self {
            Self::Log => write!(out, "\"level\":\"info\",\"message\":\""),
            Self::Token => write!(out, "\"agentId\":\"writer\",\"token\":\""),
            Self::Started => write!(out, "\"status\":\"running\",\"note\":\""),
            Self::NodeStarted => write!(out, "\"nodeId\":\"n{node}\",\"nodeType\":\""),
            Self::NodeProgress => write!(out, "\"nodeId\":\"n{node}\",\"progress\":{},\"step\":\"", counter % 100),
            Self::NodeCompleted => write!(out, "\"nodeId\":\"n{node}\",\"durationMs\":12,\"output\":\""),
            Self::Prompt | Self::Answered => write!(out, "\"requestId\":\"r{node}\",\"prompt\":\""),
            Self::Completed => write!(out, "\"duration\":12.5,\"result\":\""),
        };
    }
}

/// One event that is to be published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) mark: Mark,
}

/// How events look, all but their mark.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) rooms: Rooms,
    /// Of the whole event, about.
    pub(crate) bytes: u32,
    /// Set where events have an owner and so reach its room too.
    pub(crate) owner: bool,
}

/// No other of our rooms is an execution's.
pub(crate) const EXECUTION: &str = "execution:";

impl Shape {
    /// One JSON object on one line.
    pub(crate) fn body(&self, event: Event) -> String {
        let room = self.rooms.name(event.mark.room);
        let execution = room.strip_prefix(EXECUTION).unwrap_or(&room);
        let mut out = String::with_capacity(self.bytes as usize + 64);
        // Writing to a string does not fail.
        let _ = write!(out, "{{\"type\":\"{}\",\"executionId\":\"{execution}\",", event.kind.word());
        if self.owner {
            let _ = write!(out, "\"userId\":\"owner-{}\",", event.mark.room);
        }
        out.push_str("\"data\":{");
        event.kind.fields(&mut out, event.mark.counter);
        // In the text, which every dialect carries, and not in a field of its own, which some leave out.
        let _ = write!(out, "{} ", event.mark);
        let padding = (self.bytes as usize).saturating_sub(out.len() + END.len());
        // Words, so that compression finds about as much as in real text.
        out.extend(WORDS.chars().cycle().skip(event.mark.counter as usize % WORDS.len()).take(padding));
        out + END
    }
}

const END: &str = "\"}}";
const WORDS: &str = "the agent reads page after page of the report and writes a summary of what it has found there so far ";

#[cfg(test)]
mod tests {
    use super::*;
    use weft_event::{Limits, prepare};

    #[test]
    fn every_kind_is_a_valid_event_of_the_size_asked_for() {
        let rooms = Rooms { prefix: "execution:load-".into(), count: 10, each: 1 };
        let mark = Mark { room: 7, counter: 1234, due_us: 1 << 50 };
        for kind in [
            Kind::Log,
            Kind::Token,
            Kind::Started,
            Kind::NodeStarted,
            Kind::NodeProgress,
            Kind::NodeCompleted,
            Kind::Prompt,
            Kind::Answered,
            Kind::Completed,
        ] {
            for (bytes, owner) in [(300, false), (4000, true)] {
                let shape = Shape { rooms: rooms.clone(), bytes, owner };
                let body = shape.body(Event { kind, mark });
                assert_eq!(body.len(), bytes as usize, "{body}");
                let prepared = prepare(body.clone().into(), None, &Limits::default()).expect(&body);
                assert_eq!(prepared.rooms(None).expect("rooms")[0].name(), "execution:load-7");
                assert_eq!(prepared.user_id.is_some(), owner);
                let mut marks = Vec::new();
                assert!(!crate::client::mark::each(body.as_bytes(), |mark| marks.push(mark)) && marks == [mark]);
            }
        }
    }
}
