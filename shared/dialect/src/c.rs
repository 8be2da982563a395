//! System C: one execution a socket, plain JSON in snake_case (wire contract, section 5).
//!
//! Times are strings of Unix seconds with a fraction, progress is a number from 0.0 to 1.0. Each body is an open object:
//! [`native::event_tail`](crate::native::event_tail) adds the offset and closes it.

use crate::{
    facts::{Facts, Key, as_text_json, text, word},
    json::Object,
    native::Refused,
    notice::Notice,
    piece::{Piece, Told, pieces},
    time::{seconds_between, unix_seconds},
    told,
};
use serde_json::value::RawValue;
use weft_event::{Family, Snapshot, Status, snapshot::NodeState};

/// The answer to the text `ping`.
pub const PONG: &str = "{\"type\":\"pong\"}";

fn begin(kind: &str, execution_id: &str, capacity: usize) -> Object {
    let mut object = Object::begin("", capacity + execution_id.len() + 192);
    object.text("type", kind).text("execution_id", execution_id);
    object
}

/// Ends a frame with its time, open for the offset.
fn end(mut object: Object, timestamp: Option<&str>) -> Vec<u8> {
    object.text_or_null("timestamp", timestamp);
    object.into_open()
}

/// The frames of an event; none of those that C does not know.
#[must_use]
pub fn event(told: Told<'_>) -> Vec<Piece> {
    let Some(execution_id) = told.event.execution_id.as_deref() else { return Vec::new() };
    let facts = match told.event.kind().family() {
        Family::Execution | Family::Node | Family::Agent | Family::Log => Facts::read(told),
        Family::UserInput | Family::Kb | Family::Other => return Vec::new(),
    };
    let at = facts.timestamp().and_then(unix_seconds);
    let at = at.as_deref();
    match facts.family_and_name().0 {
        Family::Execution => execution(&facts, execution_id, at),
        Family::Log => pieces([log(&facts, execution_id, at)]),
        _ => step(&facts, execution_id, at),
    }
}

fn execution(facts: &Facts<'_>, execution_id: &str, at: Option<&str>) -> Vec<Piece> {
    let (Some(status), name) = (facts.execution_status(), facts.family_and_name().1) else { return Vec::new() };
    let progress = facts.get(Key::Progress).and_then(share).or(match name {
        "started" => Some(0.0),
        "completed" => Some(1.0),
        _ => None,
    });
    let node = facts.first([Key::CurrentNode, Key::CurrentAgent]);
    let state = state(execution_id, status, progress, node, at);
    match name {
        "completed" => pieces([state, completion(facts, execution_id, at)]),
        "failed" | "cancelled" => pieces([state, failure(execution_id, &facts.failure(status), at)]),
        _ => pieces([state]),
    }
}

/// Per cent to a share of one, within bounds; `None` if it is no number.
fn share(percent: &RawValue) -> Option<f64> {
    let percent: f64 = serde_json::from_str(percent.get()).ok()?;
    Some((percent / 100.0).clamp(0.0, 1.0))
}

fn state(id: &str, status: Status, progress: Option<f64>, node: Option<&RawValue>, at: Option<&str>) -> Vec<u8> {
    let mut object = begin("status", id, 0);
    // The debug form of a number has a point even where nothing follows it.
    let progress = progress.map_or_else(|| "null".to_owned(), |progress| format!("{progress:?}"));
    object.text("status", word(status)).open("data").raw("progress", &progress).raw_or_null("current_node", node).close();
    end(object, at)
}

fn completion(facts: &Facts<'_>, execution_id: &str, at: Option<&str>) -> Vec<u8> {
    let output = facts.first([Key::Result, Key::Outputs]);
    let mut object = begin("completion", execution_id, output.map_or(0, |output| output.get().len()));
    object.open("result").text("status", word(Status::Completed)).raw_or_null("output", output);
    object.raw_or_null("nodes_completed", facts.get(Key::NodesCompleted));
    object.raw_or_null("nodes_failed", facts.get(Key::NodesFailed));
    object.raw_or_null("duration", facts.get(Key::Duration)).close();
    end(object, at)
}

/// `error` is a JSON string.
fn failure(execution_id: &str, error: &str, at: Option<&str>) -> Vec<u8> {
    let mut object = begin("error", execution_id, error.len());
    object.raw("error", error);
    end(object, at)
}

fn step(facts: &Facts<'_>, execution_id: &str, at: Option<&str>) -> Vec<Piece> {
    let Some(step) = facts.step() else { return Vec::new() };
    let time = |key| facts.text(key).and_then(|time| seconds(&time));
    let now = || at.map(str::to_owned);
    let name = facts.family_and_name().1;
    let ended = matches!(step.status, Status::Completed | Status::Failed);
    let node = Node {
        status: step.status,
        output: if step.status == Status::Completed { facts.output() } else { None },
        error: if step.status == Status::Failed { facts.get(Key::Error) } else { None },
        started_at: time(Key::StartedAt).or_else(|| if name == "started" { now() } else { None }),
        completed_at: if ended { time(Key::CompletedAt).or_else(now) } else { None },
    };
    pieces([node.frame(execution_id, step.id, at)])
}

/// Seconds of a time that is RFC 3339, or is seconds already.
fn seconds(time: &str) -> Option<String> {
    let is_seconds = |time: &str| time.parse::<f64>().is_ok() && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    unix_seconds(time).or_else(|| is_seconds(time).then(|| time.to_owned()))
}

/// The `node_state` of C.
struct Node<'a> {
    status: Status,
    output: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    started_at: Option<String>,
    completed_at: Option<String>,
}

impl Node<'_> {
    fn frame(&self, execution_id: &str, id: &str, at: Option<&str>) -> Vec<u8> {
        let bytes = |value: Option<&RawValue>| value.map_or(0, |value| value.get().len());
        let mut object = begin("node_update", execution_id, bytes(self.output) + bytes(self.error) + id.len() + 64);
        object.text("node_id", id).open("node_state").text("status", word(self.status));
        object.raw_or_null("output", self.output).raw_or_null("error", self.error);
        object.text_or_null("started_at", self.started_at.as_deref());
        object.text_or_null("completed_at", self.completed_at.as_deref()).close();
        end(object, at)
    }
}

impl<'a> From<&'a NodeState> for Node<'a> {
    fn from(node: &'a NodeState) -> Self {
        Self {
            status: node.status,
            output: node.output.as_deref(),
            error: node.error.as_deref(),
            started_at: node.started_at.as_deref().and_then(seconds),
            completed_at: node.completed_at.as_deref().and_then(seconds),
        }
    }
}

fn log(facts: &Facts<'_>, execution_id: &str, at: Option<&str>) -> Vec<u8> {
    let message = facts.text_json(Key::Message);
    let level = facts.get(Key::Level).filter(|level| text(level).is_some());
    let mut object = begin("log", execution_id, message.as_deref().map_or(0, str::len) + 64);
    object.open("log").raw("level", level.map_or("\"info\"", RawValue::get));
    object.raw("message", message.as_deref().unwrap_or("\"\""));
    object.text_or_null("node_id", facts.log_node().as_deref()).text_or_null("timestamp", at).close();
    end(object, at)
}

/// The present state of an execution, for a client that asked for no offset: its status, one frame for each node, and of
/// a finished one its result or error. Only the last carries an offset: before it not everything was told.
///
/// `now` is the time of day, RFC 3339, for a state that has no time of its own.
#[must_use]
pub fn snapshot(snapshot: &Snapshot, now: &str) -> Vec<Vec<u8>> {
    let id = &snapshot.execution_id;
    let ended_at = snapshot.ended_at.as_deref().filter(|at| !at.is_empty());
    let at = unix_seconds(ended_at.unwrap_or(now));
    let at = at.as_deref();
    let finished = if snapshot.status == Status::Completed { Some(1.0) } else { None };
    let progress = finished.or_else(|| snapshot.progress.as_deref().and_then(share));
    let mut frames = vec![state(id, snapshot.status, progress, snapshot.current_node.as_deref(), at)];
    frames.extend(snapshot.nodes.iter().map(|(node, state)| Node::from(state).frame(id, node, at)));
    match snapshot.status {
        Status::Completed => frames.push(past_completion(snapshot, ended_at, at)),
        Status::Failed | Status::Cancelled => {
            let word = if snapshot.status == Status::Failed { "\"failed\"" } else { "\"cancelled\"" };
            let error = snapshot.error.as_deref().map(as_text_json);
            frames.push(failure(id, error.as_deref().unwrap_or(word), at));
        }
        Status::Pending | Status::Running => {}
    }
    frames
}

/// What the event of the end said of nodes and duration is not folded; it is counted from what is.
fn past_completion(snapshot: &Snapshot, ended_at: Option<&str>, at: Option<&str>) -> Vec<u8> {
    let count = |status: Status| {
        let known = snapshot.nodes_omitted == 0;
        let count = snapshot.nodes.values().filter(|node| node.status == status).count();
        if known { count.to_string() } else { "null".to_owned() }
    };
    let lasted = snapshot.started_at.as_deref().zip(ended_at).and_then(|(from, to)| seconds_between(from, to));
    let lasted = lasted.map_or_else(|| "null".to_owned(), |seconds| format!("{seconds:?}"));
    let mut object = begin("completion", &snapshot.execution_id, 0);
    object.open("result").text("status", word(Status::Completed)).raw_or_null("output", snapshot.result.as_deref());
    object.raw("nodes_completed", &count(Status::Completed)).raw("nodes_failed", &count(Status::Failed));
    object.raw("duration", &lasted).close();
    end(object, at)
}

/// A gap is told as a warning in the log; C has no word for a broker that is away. Open for the offset.
#[must_use]
pub fn notice(notice: &Notice<'_>, execution_id: &str, now: &str) -> Option<Vec<u8>> {
    let gap = notice.gap_entry()?;
    let at = unix_seconds(now);
    let mut object = begin("log", execution_id, 256);
    object.open("log").text("level", "warning").text("message", &gap.message);
    object.raw("node_id", "null").text_or_null("timestamp", at.as_deref()).close();
    Some(end(object, at.as_deref()))
}

/// What tells a client that it said what is not understood. Whole.
#[must_use]
pub fn error(execution_id: &str, message: &str, now: &str) -> Vec<u8> {
    let mut frame = failure(execution_id, &crate::json::text_json(message), unix_seconds(now).as_deref());
    frame.push(b'}');
    frame
}

/// The one thing that a client may say: `ping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping;

/// Reads a client's text.
pub fn input(text: &str) -> Result<Ping, Refused> {
    if text.trim() == "ping" {
        return Ok(Ping);
    }
    let message = "only the text ping is understood here".to_owned();
    Err(Refused { code: told::MALFORMED.code, field: None, message, reference: None, room: None, is_protocol: false })
}
