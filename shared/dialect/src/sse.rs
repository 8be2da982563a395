//! Server-Sent Events (wire contract, section 10): the native protocol's objects in an event stream.
//!
//! Each event is written in one piece and has its `id`, because clients differ in whether one without keeps the last.

use crate::{
    msgpack::Unreadable,
    native::{self, Encoding},
    notice::Notice,
};
use weft_event::{Offset, Room};

/// What keeps an idle stream, and every proxy on its way, from being taken for dead: a comment.
pub const HEARTBEAT: &str = ":\n\n";

/// Tells the client how long to wait before it comes again, in milliseconds.
#[must_use]
pub fn retry(after_ms: u64) -> String {
    format!("retry: {after_ms}\n\n")
}

/// An event: `native_frame` is its whole native message.
#[must_use]
pub fn event(kind: &str, offset: Option<&Offset>, native_frame: &[u8]) -> Vec<u8> {
    let id = offset.map(ToString::to_string);
    written(id.as_deref(), kind, native_frame)
}

/// The state of an execution as of `offset`, as the native protocol has it; `snapshot_json` is one JSON object.
pub fn snapshot(room: &Room, offset: Option<&str>, snapshot_json: &str) -> Result<Vec<u8>, Unreadable> {
    let object = native::snapshot(Encoding::Json, room, offset, snapshot_json)?;
    Ok(written(offset, "snapshot", &object))
}

/// A notice, as the native protocol has it. `at` is the offset that the client holds, which a notice does not move.
#[must_use]
pub fn notice(notice: &Notice<'_>, at: Option<&Offset>) -> Vec<u8> {
    let id = at.map(ToString::to_string);
    written(id.as_deref(), notice.word(), &notice.native())
}

/// Names are event types or ours, ids are offsets: neither holds a line break.
fn written(id: Option<&str>, name: &str, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + name.len() + 96);
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    // A line break can stand only between the tokens of a JSON text; the client joins the lines again.
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\n\n");
    out
}
