//! Any text as an offset, a room, or a broker's name of one: what is read writes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_event::{Offset, Resume, Room};

fuzz_target!(|text: &str| {
    if let Ok(offset) = text.parse::<Offset>() {
        assert_eq!(offset.to_string().parse(), Ok(offset));
    }
    let _ = text.parse::<Resume>();
    if let Ok(room) = Room::parse(text) {
        assert_eq!(room.name(), text);
        assert_eq!(Room::parse_nats_token(&room.nats_token()), Ok(room));
    }
    if let Ok(room) = Room::parse_broker_name(text) {
        assert_eq!(room.broker_name(), text);
    }
    let _ = Room::parse_nats_token(text);
});
