//! Any bytes as a client's MessagePack: what is read is JSON within its bounds, and the decoder takes or refuses it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use weft_dialect::msgpack::{Bounds, to_json};
use weft_dialect::native::{Encoding, Limits, decode};

fuzz_target!(|bytes: &[u8]| {
    let bounds = Bounds { depth_max: 16, json_bytes_max: 64 * 1024 };
    if let Ok(json) = to_json(bytes, &bounds) {
        assert!(json.len() <= bounds.json_bytes_max);
        serde_json::from_str::<&RawValue>(&json).expect("what is read is JSON");
    }
    let _ = decode(Encoding::MessagePack, bytes, &Limits::default());
});
