//! Packets, payloads and the handshake.

use proptest::prelude::*;
use weft_dialect::engine::{Control, Data, Handshake, Malformed, Packet, Payload, Transport, packets};

fn text(text: &str) -> Packet<'_> {
    Packet::Message(Data::Text(text))
}

#[test]
fn packets_are_read() {
    for (written, expected) in [
        ("0{}", Ok(Packet::Open("{}"))),
        ("1", Ok(Packet::Close)),
        ("2", Ok(Packet::Ping(""))),
        ("2probe", Ok(Packet::Ping("probe"))),
        ("3", Ok(Packet::Pong(""))),
        ("3probe", Ok(Packet::Pong("probe"))),
        ("4", Ok(text(""))),
        ("4h\u{e9}llo", Ok(text("h\u{e9}llo"))),
        ("5", Ok(Packet::Upgrade)),
        ("6", Ok(Packet::Noop)),
        ("bAQIDBA==", Ok(Packet::binary(&[1, 2, 3, 4]))),
        ("bAQIDBA", Ok(Packet::binary(&[1, 2, 3, 4]))),
        ("b", Ok(Packet::binary(&[]))),
        ("b!", Err(Malformed("base64 is broken"))),
        ("bAQID BA==", Err(Malformed("base64 is broken"))),
        ("", Err(Malformed("empty"))),
        ("7", Err(Malformed("unknown type"))),
        ("abc", Err(Malformed("unknown type"))),
        ("\u{e9}", Err(Malformed("unknown type"))),
    ] {
        assert_eq!(Packet::parse(written), expected, "{written}");
    }
}

#[test]
fn payloads_are_read_packet_by_packet() {
    for (written, expected) in [
        ("4test1\u{1e}4test2", vec![Ok(text("test1")), Ok(text("test2"))]),
        ("4hello\u{1e}bAQIDBA==", vec![Ok(text("hello")), Ok(Packet::binary(&[1, 2, 3, 4]))]),
        ("4a\u{1e}", vec![Ok(text("a")), Err(Malformed("empty"))]),
        ("", vec![Err(Malformed("empty"))]),
    ] {
        assert_eq!(packets(written).collect::<Vec<_>>(), expected, "{written}");
    }
}

#[test]
fn a_payload_holds_what_fits_and_one_packet_always() {
    let mut payload = Payload::new(9);
    assert!(payload.is_empty() && payload.push_text(&[b"4", b"he", b"llo"]));
    assert!(!payload.push_binary(&[1]) && payload.push_text(&[b"41"]) && !payload.push_text(&[b""]));
    assert_eq!(payload.into_bytes(), b"4hello\x1e41");
    let mut payload = Payload::new(4);
    assert!(payload.push_binary(&[1, 2, 3, 4]) && !payload.push_text(&[b"6"]));
    assert_eq!(payload.into_bytes(), b"bAQIDBA==");
}

#[test]
fn the_handshake_has_five_keys() {
    let polling = Handshake {
        sid: "s",
        transport: Transport::Polling,
        ping_interval_ms: 300,
        ping_timeout_ms: 200,
        payload_bytes_max: 1_000_000,
    };
    let websocket = Handshake { transport: Transport::WebSocket, ..polling };
    assert_eq!(
        polling.text(),
        r#"0{"sid":"s","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#
    );
    assert_eq!(websocket.text(), r#"0{"sid":"s","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#);
    let controls = [Control::Close, Control::Ping, Control::ProbePong, Control::Noop];
    assert_eq!(controls.map(Control::text), ["1", "2", "3probe", "6"]);
}

proptest! {
    #[test]
    fn payloads_round_trip(messages in prop::collection::vec(
        prop_oneof![
            "[^\u{1e}]{0,20}".prop_map(Ok),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Err),
        ],
        1..10,
    )) {
        let mut payload = Payload::new(usize::MAX);
        for message in &messages {
            match message {
                Ok(text) => prop_assert!(payload.push_text(&[b"4", text.as_bytes()])),
                Err(bytes) => prop_assert!(payload.push_binary(bytes)),
            }
        }
        let written = String::from_utf8(payload.into_bytes()).expect("UTF-8");
        let read: Vec<_> = packets(&written).collect::<Result<_, _>>().expect("ours");
        let expected: Vec<_> = messages.iter().map(|message| match message {
            Ok(written) => text(written),
            Err(bytes) => Packet::binary(bytes),
        }).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_text_panics(text in any::<String>(), json in "[0-6b][{}\\[\\]\"a-z0-9=/+\u{1e}]{0,40}") {
        for text in [text, json] {
            let bytes: usize = packets(&text).flatten().map(|packet| match packet {
                Packet::Message(Data::Text(text)) => text.len(),
                Packet::Message(Data::Binary(bytes)) => bytes.len(),
                _ => 0,
            }).sum();
            prop_assert!(bytes <= text.len());
        }
    }
}
