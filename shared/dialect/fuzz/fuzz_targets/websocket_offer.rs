//! No upgrade request's headers panic, and every answer to an offer would be taken as an offer itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_dialect::websocket::{
    Handshake,
    handshake::{accept_key, choose_subprotocol},
    offer,
};

fuzz_target!(|input: &[u8]| {
    let answer = offer::negotiate([input]);
    if let Some(answer) = answer {
        assert_eq!(offer::negotiate([answer.as_bytes()]), Some(answer));
        // What is fit by itself is fit behind another extension, and in a second header.
        assert_eq!(offer::negotiate([&[b"other; a=1, ", input].concat()[..]]), Some(answer));
        assert_eq!(offer::negotiate([b"other", input]), Some(answer));
    }
    let _ = choose_subprotocol([input], &["weft.v1.json", "weft.v1.msgpack"]);
    assert!(accept_key(input).is_none_or(|accept| accept.len() == 28));
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let names = ["connection", "upgrade", "sec-websocket-version", "sec-websocket-key", "sec-websocket-extensions"];
    let value = |name| names.iter().position(|of| *of == name).and_then(|at| lines.get(at)).copied();
    if let Ok(handshake) = Handshake::accept(value, true) {
        assert_eq!(handshake.accept.len(), 28);
    }
});
