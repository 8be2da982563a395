//! How an event becomes a frame: its published bytes with a few fields added before the closing brace.
//!
//! `offset` always stands last, so that the body is encoded once and shared by sessions whose offsets differ.

use crate::msgpack::{self, Unreadable};
use weft_event::{Offset, Prepared, Room};

/// The event's frame up to its tail, without the closing brace.
///
/// `room` is set where the event came by a room other than its execution's. `implied_id` and `implied_timestamp`
/// stand in where the body has none (an `id` of its own or a `timestamp` wins). `skipped` tells how many events
/// this one stands for besides itself. Ids that the room supplied (`executionId`, `agentId`, `knowledgeBaseId`) are written as well.
#[must_use]
pub fn event_body(
    prepared: &Prepared,
    room: Option<&Room>,
    implied_id: Option<&str>,
    implied_timestamp: Option<&str>,
    skipped: Option<u64>,
) -> Vec<u8> {
    let mut body = Vec::with_capacity(prepared.body.len() + ADDED_BYTES);
    add_event_body(&mut body, prepared, room, implied_id, implied_timestamp, skipped);
    body
}

/// What the usual fields and the tail take: with so much room, most frames are written into their first allocation.
pub const ADDED_BYTES: usize = 192;

/// The same, after what is in `body` already.
pub fn add_event_body(
    body: &mut Vec<u8>,
    prepared: &Prepared,
    room: Option<&Room>,
    implied_id: Option<&str>,
    implied_timestamp: Option<&str>,
    skipped: Option<u64>,
) {
    let published = &prepared.body[..];
    body.extend_from_slice(published.strip_suffix(b"}").unwrap_or(published));
    for (field, supplied, id) in [
        ("executionId", prepared.execution_id_implied, &prepared.execution_id),
        ("agentId", prepared.agent_id_implied, &prepared.agent_id),
        ("knowledgeBaseId", prepared.knowledge_base_id_implied, &prepared.knowledge_base_id),
    ] {
        if let Some(id) = id.as_deref().filter(|_| supplied) {
            add_text(body, field, id);
        }
    }
    if let Some(id) = implied_id.filter(|_| prepared.id.is_none()) {
        add_text(body, "id", id);
    }
    if let Some(timestamp) = implied_timestamp.filter(|_| !prepared.has_timestamp) {
        add_text(body, "timestamp", timestamp);
    }
    if let Some(room) = room {
        add_text(body, "room", room.name());
    }
    if let Some(skipped) = skipped {
        body.extend_from_slice(format!(",\"skipped\":{skipped}").as_bytes());
    }
}

/// Ids, times and room names hold nothing that JSON would escape; should a caller pass something else, it is
/// escaped all the same.
fn add_text(body: &mut Vec<u8>, field: &str, text: &str) {
    for part in [b",\"", field.as_bytes(), b"\":"] {
        body.extend_from_slice(part);
    }
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        body.push(b'"');
        body.extend_from_slice(text.as_bytes());
        body.push(b'"');
    } else {
        body.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

/// What closes an event's frame: the offset where there is one, and the brace.
#[must_use]
pub fn event_tail(offset: Option<&Offset>) -> String {
    offset.map_or_else(|| "}".to_owned(), |offset| format!(",\"offset\":\"{offset}\"}}"))
}

/// What closes the same frame in MessagePack: the last pair of its map, whose head counts it wherever there is an offset.
#[must_use]
pub fn event_tail_msgpack(offset: &Offset) -> Vec<u8> {
    let text = offset.to_string();
    let mut tail = Vec::with_capacity("offset".len() + text.len() + 4);
    for part in ["offset", &text] {
        // A vector takes every byte.
        let _ = rmp::encode::write_str(&mut tail, part);
    }
    tail
}

/// Body and tail in one.
#[must_use]
pub fn event_frame(
    prepared: &Prepared,
    room: Option<&Room>,
    implied_id: Option<&str>,
    implied_timestamp: Option<&str>,
    skipped: Option<u64>,
    offset: Option<&Offset>,
) -> Vec<u8> {
    let mut frame = event_body(prepared, room, implied_id, implied_timestamp, skipped);
    frame.extend_from_slice(event_tail(offset).as_bytes());
    frame
}

/// A finished event frame as MessagePack.
///
/// Fails for nothing that [`weft_event::prepare`] has accepted.
pub fn event_frame_msgpack(json: &[u8]) -> Result<Vec<u8>, Unreadable> {
    msgpack::from_json(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_event::{Epoch, Limits, Position, prepare};

    fn prepared(text: &'static str, room: Option<&Room>) -> Prepared {
        prepare(text.as_bytes().into(), room, &Limits::default()).expect(text)
    }

    fn offset() -> Offset {
        Position { epoch: Epoch(10), seq: 7, check: 11 }.into()
    }

    #[test]
    fn a_frame_of_messagepack_ends_with_its_offset_too() {
        let json = |offset: &Offset| [br#"{"type":"log","data":{"n":1}"#, event_tail(Some(offset)).as_bytes()].concat();
        let since = Offset { since: Some(3), ..offset() };
        let bodies = [offset(), since].map(|offset| {
            let frame = event_frame_msgpack(&json(&offset)).expect("json");
            frame.strip_suffix(&event_tail_msgpack(&offset)[..]).expect("its offset stands last").to_vec()
        });
        assert_eq!(bodies[0], bodies[1], "what stands before it is the same whatever it is");
    }

    #[test]
    fn fields_are_added_and_the_published_bytes_stay() {
        let room = Room::execution("e").expect("room");
        let user = Room::user("u").expect("room");
        let own =
            prepared(r#"{"type":"log","executionId":"e","data":{"n":1.00}, "id":"i","timestamp":"2026-01-01T00:00:00Z" }"#, None);
        let raw = prepared(r#"{"type":"log"}"#, Some(&room));
        let token = prepared(r#"{"type":"agent:token"}"#, Some(&Room::agent("a", "e").expect("room")));
        let kb = prepared(r#"{"type":"kb:processing"}"#, Some(&Room::kb("k").expect("room")));
        for (frame, expected) in [
            (
                event_frame(&own, None, Some("x"), Some("y"), None, Some(&offset())),
                r#"{"type":"log","executionId":"e","data":{"n":1.00}, "id":"i","timestamp":"2026-01-01T00:00:00Z" ,"offset":"a.7.0000000b"}"#,
            ),
            (event_frame(&raw, None, None, None, None, None), r#"{"type":"log","executionId":"e"}"#),
            (event_frame(&token, None, None, None, None, None), r#"{"type":"agent:token","executionId":"e","agentId":"a"}"#),
            (event_frame(&kb, None, None, None, None, None), r#"{"type":"kb:processing","knowledgeBaseId":"k"}"#),
            (
                event_frame(
                    &raw,
                    Some(&user),
                    Some("a.7.0000000b"),
                    Some("t"),
                    Some(3),
                    Some(&Offset { since: Some(2), ..offset() }),
                ),
                r#"{"type":"log","executionId":"e","id":"a.7.0000000b","timestamp":"t","room":"user:u","skipped":3,"offset":"a.7.0000000b.2"}"#,
            ),
        ] {
            assert_eq!(std::str::from_utf8(&frame), Ok(expected));
            event_frame_msgpack(&frame).expect("packs");
        }
    }
}
