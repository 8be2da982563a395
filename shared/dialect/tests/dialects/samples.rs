//! Events and states that several dialects are shown, and how frames are compared.

use weft_dialect::{
    native,
    piece::{Piece, Told},
    socketio,
};
use weft_event::{Envelope, Epoch, Limits, Offset, Position, Prepared, Room, Snapshot, prepare};

/// When the samples happened: 1769860800.250 in Unix seconds.
pub const AT: &str = "2026-01-31T12:00:00.250Z";

pub fn offset() -> Offset {
    Position { epoch: Epoch(10), seq: 7, check: 11 }.into()
}

pub fn room() -> Room {
    Room::execution("e").expect("room")
}

/// An event of execution `e` with this type, these further fields and this data.
pub fn event(kind: &str, fields: &str, data: &str) -> Prepared {
    let text = format!(r#"{{"type":"{kind}","executionId":"e","id":"i1","timestamp":"{AT}"{fields},"data":{data}}}"#);
    prepare(text.clone().into(), None, &Limits::default()).expect(&text)
}

/// A raw publish without id and timestamp.
pub fn raw(kind: &str, data: &str) -> Prepared {
    let text = format!(r#"{{"type":"{kind}","data":{data}}}"#);
    prepare(text.clone().into(), Some(&room()), &Limits::default()).expect(&text)
}

/// What stands in where the publisher left id and time out.
pub fn implied(event: &Prepared) -> Told<'_> {
    Told { event, implied_id: Some("a.7.0000000b"), implied_timestamp: Some(AT) }
}

pub fn folded(events: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::new("e");
    for event in events {
        snapshot.apply(&Envelope::parse(event.as_bytes()).expect(event), Some(AT));
    }
    snapshot
}

/// Frames of a dialect of plain objects, each with its offset.
pub fn plain(pieces: &[Piece]) -> Vec<String> {
    let frame = |piece: &Piece| {
        let tail = native::event_tail(Some(&piece.offset(offset())));
        String::from_utf8([&piece.body, tail.as_bytes()].concat()).expect("UTF-8")
    };
    let frames: Vec<String> = pieces.iter().map(frame).collect();
    frames.iter().for_each(|frame| drop(serde_json::from_str::<serde_json::Value>(frame).expect(frame)));
    frames
}

/// Frames of a dialect of Socket.IO, without recovery.
pub fn socket(pieces: &[Piece]) -> Vec<String> {
    pieces.iter().map(|piece| text(socketio::whole(&piece.body, None))).collect()
}

pub fn parts(pieces: &[Piece]) -> Vec<Option<u8>> {
    pieces.iter().map(|piece| piece.part).collect()
}

pub fn text(frame: Vec<u8>) -> String {
    String::from_utf8(frame).expect("UTF-8")
}

/// A table: type, further fields, data, and what it is told as.
pub type Table = &'static [(&'static str, &'static str, &'static str, &'static [&'static str])];

pub fn check(table: Table, tell: impl Fn(&Prepared) -> Vec<String>) {
    for (kind, fields, data, expected) in table {
        assert_eq!(tell(&event(kind, fields, data)), *expected, "{kind} {data}");
    }
}
