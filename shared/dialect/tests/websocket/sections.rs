//! RFC 6455 section by section, as data.

use crate::client::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Read, Server, TEXT, frame, masked, outcome};
use weft_dialect::websocket::message::may_be_sent;

fn text(text: &str) -> Read {
    Read::Text(text.to_owned())
}

/// Reads well, to these messages.
fn check(bytes: &[u8], expected: &[Read]) {
    let (read, result) = outcome(false, bytes);
    assert_eq!((&read[..], result), (expected, Ok(())), "{bytes:02x?}");
}

#[test]
fn section_5_7_examples_that_a_client_sends() {
    check(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], &[text("Hello")]);
    check(&[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], &[Read::Pong(b"Hello".to_vec())]);
    let fragments = [masked(TEXT, b"Hel"), masked(FIN | CONTINUATION, b"lo")].concat();
    check(&fragments, &[text("Hello")]);
    check(&masked(FIN | PING, b"Hello"), &[Read::Ping(b"Hello".to_vec())]);
    check(&masked(FIN | BINARY, &[7; 256]), &[Read::Binary(vec![7; 256])]);
    check(&masked(FIN | BINARY, &[7; 65536]), &[Read::Binary(vec![7; 65536])]);
}

#[test]
fn section_5_2_every_size_of_length() {
    for len in [0, 1, 125, 126, 127, 65535, 65536] {
        check(&masked(FIN | TEXT, &vec![b'x'; len]), &[text(&"x".repeat(len))]);
    }
}

#[test]
fn section_5_3_any_mask() {
    for mask in [[0; 4], [0xFF; 4], [1, 2, 3, 4], [0, 0xFF, 0, 0x80]] {
        for len in 0..40 {
            let payload: Vec<u8> = (0..len).map(|at: u8| at.wrapping_mul(7)).collect();
            check(&frame(FIN | BINARY, mask, &payload), &[Read::Binary(payload.clone())]);
        }
    }
}

#[test]
fn section_5_4_control_frames_between_fragments() {
    let bytes = [
        masked(TEXT, b"a"),
        masked(FIN | PING, b"p"),
        masked(CONTINUATION, b""),
        masked(FIN | PONG, &[9; 125]),
        masked(CONTINUATION, "ü".as_bytes()),
        masked(FIN | CONTINUATION, b""),
        masked(BINARY, b""),
        masked(FIN | CONTINUATION, b""),
    ]
    .concat();
    let expected = [Read::Ping(b"p".to_vec()), Read::Pong(vec![9; 125]), text("aü"), Read::Binary(Vec::new())];
    check(&bytes, &expected);
}

#[test]
fn section_5_5_1_nothing_counts_after_a_close() {
    let bytes = [masked(FIN | CLOSE, b"\x03\xE8bye"), masked(FIN | TEXT, b"late"), vec![0xFF; 9]].concat();
    check(&bytes, &[Read::Close(Some(1000), "bye".to_owned())]);
    check(&masked(FIN | CLOSE, b""), &[Read::Close(None, String::new())]);
    let amid = [masked(TEXT, b"begun"), masked(FIN | CLOSE, b"\x03\xE9"), masked(FIN | CONTINUATION, b"!")].concat();
    check(&amid, &[Read::Close(Some(1001), String::new())]);
    let mut server = Server::new(false);
    server.receive(&amid).expect("read");
    assert!(server.reader.has_ended() && server.reader.bytes_held() == 0 && server.reader.unfinished().is_none());
}

#[test]
fn section_7_4_every_close_code() {
    for code in 0..=u16::MAX {
        let legal = matches!(code, 1000 | 1001 | 1002 | 1003 | 1007..=1014 | 3000..5000);
        assert_eq!(may_be_sent(code), legal, "{code}");
        let mut server = Server::new(false);
        let read = server.receive(&masked(FIN | CLOSE, &code.to_be_bytes()));
        assert_eq!(read.is_ok(), legal, "{code}");
        let expected: &[Read] = if legal { &[Read::Close(Some(code), String::new())] } else { &[] };
        assert_eq!(server.read, expected, "{code}");
    }
}

#[test]
fn section_8_1_a_character_may_be_cut_anywhere() {
    let words = "κόσμε 😀 \u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}\0";
    for first in 0..words.len() {
        for second in first..words.len() {
            let bytes = words.as_bytes();
            let pieces = [
                masked(TEXT, &bytes[..first]),
                masked(CONTINUATION, &bytes[first..second]),
                masked(FIN | CONTINUATION, &bytes[second..]),
            ];
            let mut server = Server::new(false);
            server.receive(&pieces.concat()).expect("UTF-8");
            assert_eq!(server.read, [text(words)], "{first} {second}");
        }
    }
}

#[test]
fn what_is_unfinished_has_a_number_of_its_own() {
    let mut server = Server::new(false);
    assert_eq!((server.reader.unfinished(), server.reader.bytes_held()), (None, 0));
    server.receive(&masked(TEXT, b"a")).expect("read");
    let first = server.reader.unfinished().expect("a message has begun");
    // A ping in pieces and a further fragment belong to the same message.
    let ping = masked(FIN | PING, b"ping");
    server.receive(&ping[..7]).expect("read");
    assert_eq!(server.reader.unfinished(), Some(first));
    server.receive(&ping[7..]).expect("read");
    server.receive(&masked(CONTINUATION, b"b")).expect("read");
    assert_eq!(server.reader.unfinished(), Some(first));
    // Its end and the beginning of another one in one piece.
    let turn = [masked(FIN | CONTINUATION, b"c"), masked(FIN | TEXT, b"next")[..3].to_vec()].concat();
    server.receive(&turn).expect("read");
    let second = server.reader.unfinished().expect("the next has begun");
    assert_ne!(second, first);
    server.receive(&masked(FIN | TEXT, b"next")[3..]).expect("read");
    assert_eq!((server.reader.unfinished(), server.reader.bytes_held()), (None, 0));
    assert_eq!(server.read, [Read::Ping(b"ping".to_vec()), text("abc"), text("next")]);
}
