//! Any bytes as a published event: it is refused, or it is one line of JSON that every later step takes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_dialect::native::{event_frame, event_frame_msgpack};
use weft_event::{Limits, Room, Snapshot, prepare};

fuzz_target!(|bytes: &[u8]| {
    let room = Room::execution("e").expect("a room");
    for room in [None, Some(&room)] {
        let Ok(event) = prepare(bytes::Bytes::copy_from_slice(bytes), room, &Limits::default()) else { continue };
        assert!(!event.body.contains(&b'\n') && event.body.ends_with(b"}"));
        event.rooms(None).expect("a prepared event has legal rooms");
        Snapshot::new("e").apply(&event.envelope(), None);
        let frame = event_frame(&event, room, Some("i"), Some("t"), Some(1), None);
        serde_json::from_slice::<&serde_json::value::RawValue>(&frame).expect("a frame is JSON");
        event_frame_msgpack(&frame).expect("and packs");
    }
});
