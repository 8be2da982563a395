//! System A: Socket.IO, namespace `/executions` (wire contract, section 7).
//!
//! A client follows executions and gets five events, in camelCase, of which none is the published event itself.

use crate::{
    facts::{Facts, Key, as_text_json, level_without_debug, word},
    json::Object,
    native::Refused,
    notice::Notice,
    piece::{Piece, Told, pieces},
    socketio::{Command, Event, Namespace, command, frame},
};
use weft_event::{Family, Room, Snapshot, Status};

/// Begins one of A's events; every payload names its execution first.
fn begin(name: &str, execution_id: &str, capacity: usize) -> Object {
    let mut object = frame::event(Namespace::EXECUTIONS, name, capacity + execution_id.len() + 64);
    object.text("executionId", execution_id);
    object
}

/// The frames of an event; none of those that A does not know.
#[must_use]
pub fn event(told: Told<'_>) -> Vec<Piece> {
    let Some(execution_id) = told.event.execution_id.as_deref() else { return Vec::new() };
    match told.event.kind().family() {
        Family::Execution => execution(&Facts::read(told), execution_id),
        Family::Node | Family::Agent => step(&Facts::read(told), execution_id),
        Family::Log => pieces([log(&Facts::read(told), execution_id)]),
        Family::UserInput | Family::Kb | Family::Other => Vec::new(),
    }
}

fn execution(facts: &Facts<'_>, execution_id: &str) -> Vec<Piece> {
    let Some(status) = facts.execution_status() else { return Vec::new() };
    let state = state(execution_id, status, facts.timestamp());
    match facts.family_and_name().1 {
        "completed" => {
            let result = facts.first([Key::Result, Key::Outputs]);
            let mut object = begin("result", execution_id, result.map_or(0, |result| result.get().len()));
            object.raw_or_null("result", result);
            pieces([state, object.into_closed()])
        }
        "failed" | "cancelled" => pieces([state, failure(execution_id, &facts.failure(status))]),
        _ => pieces([state]),
    }
}

fn state(execution_id: &str, status: Status, timestamp: Option<&str>) -> Vec<u8> {
    let mut object = begin("status", execution_id, 64);
    object.text("status", word(status)).text_or_null("timestamp", timestamp);
    object.into_closed()
}

/// `error` is a JSON string.
fn failure(execution_id: &str, error: &str) -> Vec<u8> {
    let mut object = begin("error", execution_id, error.len());
    object.raw("error", error);
    object.into_closed()
}

fn step(facts: &Facts<'_>, execution_id: &str) -> Vec<Piece> {
    let Some(step) = facts.step() else { return Vec::new() };
    let output = if step.status == Status::Completed { facts.output() } else { None };
    let mut object = begin("nodeStatus", execution_id, output.map_or(0, |output| output.get().len()) + step.id.len());
    object.text("nodeId", step.id).text("status", word(step.status)).raw_if("output", output);
    pieces([object.into_closed()])
}

fn log(facts: &Facts<'_>, execution_id: &str) -> Vec<u8> {
    let (message, metadata) = (facts.text_json(Key::Message), facts.get(Key::Metadata));
    let bytes = message.as_deref().map_or(0, str::len) + metadata.map_or(0, |metadata| metadata.get().len());
    let mut object = begin("log", execution_id, bytes + 128);
    object.open("log");
    match facts.text_json(Key::Id) {
        Some(id) => object.raw("id", &id),
        None => object.text_or_null("id", facts.id()),
    };
    if let Some(node) = facts.log_node() {
        object.text("nodeId", &node);
    }
    object.text("level", level_without_debug(facts.text(Key::Level).as_deref()));
    object.raw("message", message.as_deref().unwrap_or("\"\"")).raw_if("metadata", metadata);
    object.text_or_null("createdAt", facts.timestamp()).close();
    object.into_closed()
}

/// The present state of an execution, for a client that asked for no offset: its status, one frame for each node, and of
/// a finished one its result or error. Only the last frame carries the offset: before it not everything was told.
///
/// `now` is the time of day, RFC 3339, for a state that has no time of its own.
#[must_use]
pub fn snapshot(snapshot: &Snapshot, now: &str) -> Vec<Vec<u8>> {
    let id = &snapshot.execution_id;
    let ended_at = snapshot.ended_at.as_deref().filter(|at| !at.is_empty());
    let mut frames = vec![state(id, snapshot.status, Some(ended_at.unwrap_or(now)))];
    for (node, told) in &snapshot.nodes {
        let mut object = begin("nodeStatus", id, told.output.as_ref().map_or(0, |output| output.get().len()) + node.len());
        object.text("nodeId", node).text("status", word(told.status)).raw_if("output", told.output.as_deref());
        frames.push(object.into_closed());
    }
    match snapshot.status {
        Status::Completed => {
            let mut object = begin("result", id, 0);
            object.raw_or_null("result", snapshot.result.as_deref());
            frames.push(object.into_closed());
        }
        Status::Failed | Status::Cancelled => {
            let word = if snapshot.status == Status::Failed { "\"failed\"" } else { "\"cancelled\"" };
            let error = snapshot.error.as_deref().map(as_text_json);
            frames.push(failure(id, error.as_deref().unwrap_or(word)));
        }
        Status::Pending | Status::Running => {}
    }
    frames
}

/// A gap is told as a warning in the log; A has no word for a broker that is away.
#[must_use]
pub fn notice(notice: &Notice<'_>, execution_id: &str, now: &str) -> Option<Vec<u8>> {
    let gap = notice.gap_entry()?;
    let mut object = begin("log", execution_id, 256);
    object.open("log").text("id", &gap.id).text("level", "warning").text("message", &gap.message);
    object.text("createdAt", now).close();
    Some(object.into_closed())
}

/// What tells a client that waits for no ack that its command was refused, or that its room is lost to it.
#[must_use]
pub fn error(execution_id: Option<&str>, message: &str) -> Vec<u8> {
    let mut object = frame::event(Namespace::EXECUTIONS, "error", message.len() + 128);
    object.text_or_null("executionId", execution_id).text("error", message);
    object.into_closed()
}

/// What a client asks for.
pub fn command(event: &Event) -> Result<Command, Refused> {
    let room = || -> Result<Room, Refused> {
        let execution = command::string("executionId", command::argument(event, "executionId")?)?;
        Ok(Room::execution(&execution)?)
    };
    match event.name.as_str() {
        "subscribe" => room().map(Command::Subscribe),
        "unsubscribe" => room().map(Command::Unsubscribe),
        _ => Err(command::unknown("subscribe or unsubscribe")),
    }
}
