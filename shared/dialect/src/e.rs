//! System E: a live log viewer, one execution a socket, every frame a log entry (wire contract, section 6).
//!
//! History and live events meet in the viewer by their ids, so every entry has one. Each body is an open object:
//! [`native::event_tail`](crate::native::event_tail) adds the offset, which `?after=` takes, and closes it.

use crate::{
    facts::{Facts, Key, level_without_debug},
    json::Object,
    notice::Notice,
    piece::{Piece, Told, pieces},
};
use serde_json::value::RawValue;
use weft_event::Status;

/// The fields of one entry.
#[derive(Default)]
struct Entry<'a> {
    /// Each a JSON value.
    id: Option<&'a str>,
    step_name: Option<&'a str>,
    step_type: Option<&'a RawValue>,
    input_data: Option<&'a RawValue>,
    output_data: Option<&'a RawValue>,
    duration_ms: Option<&'a RawValue>,
    error_message: Option<&'a str>,
    message: Option<&'a str>,
}

impl Entry<'_> {
    fn frame(&self, execution_id: &str, timestamp: Option<&str>, level: &str) -> Vec<u8> {
        let bytes = |value: Option<&RawValue>| value.map_or(0, |value| value.get().len());
        let texts = [self.id, self.step_name, self.error_message, self.message];
        let texts: usize = texts.into_iter().flatten().map(str::len).sum();
        let mut object = Object::begin("", bytes(self.input_data) + bytes(self.output_data) + texts + execution_id.len() + 320);
        object.raw("id", self.id.unwrap_or("null")).text("execution_id", execution_id);
        object.raw("step_name", self.step_name.unwrap_or("null")).raw_or_null("step_type", self.step_type);
        object.raw_or_null("input_data", self.input_data).raw_or_null("output_data", self.output_data);
        object.raw_or_null("duration_ms", self.duration_ms).text_or_null("timestamp", timestamp);
        if let Some(error) = self.error_message {
            object.raw("error_message", error);
        }
        object.text("level", level);
        // Not among the viewer's fields, which has no place for a plain message; what it does not know it ignores.
        if let Some(message) = self.message {
            object.raw("message", message);
        }
        object.into_open()
    }
}

/// The entry of an event: of a `log`, and of a node's end. All else has none.
#[must_use]
pub fn event(told: Told<'_>) -> Vec<Piece> {
    let Some(execution_id) = told.event.execution_id.as_deref() else { return Vec::new() };
    match &*told.event.kind {
        "log" => pieces([log(&Facts::read(told), execution_id)]),
        "node:completed" | "node:failed" => pieces([node(&Facts::read(told), execution_id)]),
        _ => Vec::new(),
    }
}

fn log(facts: &Facts<'_>, execution_id: &str) -> Vec<u8> {
    let id = facts.text_json(Key::Id).or_else(|| facts.id().map(|id| crate::json::text_json(id).into()));
    let message = facts.text_json(Key::Message);
    let node = facts.log_node().map(|node| crate::json::text_json(&node));
    let level = level_without_debug(facts.text(Key::Level).as_deref());
    let step = facts.text_json(Key::StepName);
    Entry {
        id: id.as_deref(),
        // The viewer heads each entry with it: what happened, where no step has a name.
        step_name: step.as_deref().or(node.as_deref()).or(message.as_deref()),
        step_type: facts.get(Key::StepType),
        input_data: facts.get(Key::InputData),
        output_data: facts.get(Key::OutputData),
        duration_ms: facts.get(Key::DurationMs),
        error_message: if level == "error" { message.as_deref() } else { None },
        message: message.as_deref(),
    }
    .frame(execution_id, facts.timestamp(), level)
}

fn node(facts: &Facts<'_>, execution_id: &str) -> Vec<u8> {
    let step = facts.step();
    let failed = step.as_ref().is_some_and(|step| step.status == Status::Failed);
    let name = step.map(|step| crate::json::text_json(step.id));
    let id = facts.id().map(crate::json::text_json);
    let error = if failed { Some(facts.failure(Status::Failed)) } else { None };
    Entry {
        id: id.as_deref(),
        step_name: name.as_deref(),
        step_type: facts.get(Key::NodeType),
        input_data: facts.get(Key::Input),
        output_data: facts.first([Key::Output, Key::Outputs]),
        duration_ms: facts.get(Key::DurationMs),
        error_message: error.as_deref(),
        message: None,
    }
    .frame(execution_id, facts.timestamp(), if failed { "error" } else { "info" })
}

/// A gap is told as a warning; E has no word for a broker that is away. Open for the offset.
#[must_use]
pub fn notice(notice: &Notice<'_>, execution_id: &str, now: &str) -> Option<Vec<u8>> {
    let gap = notice.gap_entry()?;
    let (id, message) = (crate::json::text_json(&gap.id), crate::json::text_json(&gap.message));
    let entry = Entry { id: Some(&id), step_name: Some("\"gap\""), message: Some(&message), ..Entry::default() };
    Some(entry.frame(execution_id, Some(now), "warning"))
}

/// Whether a client's text is the one that it may send: `ping`, which wants no answer, since every frame is an entry.
#[must_use]
pub fn is_ping(text: &str) -> bool {
    text.trim() == "ping"
}
