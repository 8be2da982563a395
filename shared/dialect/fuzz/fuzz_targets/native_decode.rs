//! Any text as a client's message: it never panics, and every refusal makes an `error` frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_dialect::native::{Encoding, Limits, decode};

fuzz_target!(|bytes: &[u8]| {
    if let Err(refused) = decode(Encoding::Json, bytes, &Limits::default()) {
        let frame = refused.frame(Encoding::Json, "now");
        serde_json::from_slice::<serde_json::Value>(&frame).expect("an error frame is JSON");
    }
});
