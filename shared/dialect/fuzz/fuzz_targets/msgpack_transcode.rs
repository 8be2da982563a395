//! Any text as JSON: taken exactly where serde_json takes it, and stable there and back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use weft_dialect::msgpack::{Bounds, DEPTH_MAX, from_json, to_json};

fuzz_target!(|text: &str| {
    match from_json(text.as_bytes()) {
        Ok(packed) => {
            serde_json::from_str::<&RawValue>(text).expect("only JSON is taken");
            let bounds = Bounds { depth_max: DEPTH_MAX, json_bytes_max: 6 * text.len() + 1024 };
            let back = to_json(&packed, &bounds).expect("reads back");
            assert_eq!(from_json(back.as_bytes()), Ok(packed));
        }
        Err(error) if error.why == "nested too deeply" => {}
        Err(error) => assert!(serde_json::from_str::<&RawValue>(text).is_err(), "{error}"),
    }
});
