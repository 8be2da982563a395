//! No query and no payload panics; what a payload holds, written again, is read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_dialect::engine::{Data, Method, Packet, Payload, Query, packets};

fuzz_target!(|text: &str| {
    if let Ok(query) = Query::parse(text) {
        for method in [Method::Get, Method::Post, Method::Other] {
            let _ = (query.admit(method, false), query.admit(method, true));
        }
        let _ = query.bears_recovery();
    }
    let mut payload = Payload::new(usize::MAX);
    let mut messages = Vec::new();
    for packet in packets(text).map_while(Result::ok) {
        if let Packet::Message(data) = packet {
            assert!(match &data {
                Data::Text(text) => payload.push_text(&[b"4", text.as_bytes()]),
                Data::Binary(bytes) => payload.push_binary(bytes),
            });
            messages.push(Packet::Message(data));
        }
    }
    if !messages.is_empty() {
        let written = String::from_utf8(payload.into_bytes()).expect("texts and base64");
        assert_eq!(packets(&written).collect::<Result<Vec<_>, _>>(), Ok(messages));
    }
});
