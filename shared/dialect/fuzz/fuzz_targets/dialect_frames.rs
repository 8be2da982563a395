//! Any event that is taken is told in JSON by every dialect, and to Socket.IO clients never with a string at its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use weft_dialect::{
    a, c, d, e, native,
    piece::{Piece, Told},
    socketio::whole,
    sse,
};
use weft_event::{Limits, Room, Snapshot, prepare};

const NOW: &str = "2026-01-31T12:00:00.250Z";

fn socket(body: &[u8]) {
    let frame = whole(body, None);
    let start = frame.iter().position(|byte| *byte == b'[').expect("an array");
    let args: Vec<&RawValue> = serde_json::from_slice(&frame[start..]).expect("JSON");
    assert!(args.len() == 2 && args[1].get().starts_with('{'));
}

fn plain(body: &[u8]) {
    let frame = [body, native::event_tail(None).as_bytes()].concat();
    serde_json::from_slice::<&RawValue>(&frame).expect("JSON");
}

fuzz_target!(|bytes: &[u8]| {
    let room = Room::execution("e").expect("a room");
    let Ok(event) = prepare(bytes::Bytes::copy_from_slice(bytes), Some(&room), &Limits::default()) else { return };
    let told = Told { event: &event, implied_id: Some("i"), implied_timestamp: Some(NOW) };
    let bodies = |pieces: Vec<Piece>| pieces.into_iter().map(|piece| piece.body);
    bodies(a::event(told)).for_each(|body| socket(&body));
    bodies(c::event(told)).for_each(|body| plain(&body));
    bodies(e::event(told)).for_each(|body| plain(&body));
    socket(&d::event(told).body);
    let frame = native::event_frame(&event, None, None, None, None, None);
    let stream = sse::event(&event.kind, None, &frame);
    assert_eq!(stream.iter().filter(|byte| **byte == b'\n').count(), 3);
    let mut state = Snapshot::new("e");
    state.apply(&event.envelope(), Some(NOW));
    a::snapshot(&state, NOW).iter().for_each(|body| socket(body));
    c::snapshot(&state, NOW).iter().for_each(|body| plain(body));
});
