//! Payloads of long polling.

use super::{
    cases::{CASES, base64, drawn},
    reference::answers,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use weft_dialect::engine::{Data, Malformed, Packet, Payload, packets};

/// A packet as the reference tells it.
fn shown(packet: &Result<Packet<'_>, Malformed>) -> Value {
    let with_text = |kind: &str, text: &str| {
        if text.is_empty() { json!({ "type": kind }) } else { json!({ "type": kind, "text": text }) }
    };
    match packet {
        Ok(Packet::Open(text)) => with_text("open", text),
        Ok(Packet::Close) => json!({ "type": "close" }),
        Ok(Packet::Ping(text)) => with_text("ping", text),
        Ok(Packet::Pong(text)) => with_text("pong", text),
        Ok(Packet::Message(Data::Text(text))) => with_text("message", text),
        Ok(Packet::Message(Data::Binary(bytes))) => json!({ "type": "message", "bytes": base64(bytes) }),
        Ok(Packet::Upgrade) => json!({ "type": "upgrade" }),
        Ok(Packet::Noop) => json!({ "type": "noop" }),
        Err(_) => json!({ "type": "error" }),
    }
}

#[test]
fn payloads_are_read_alike() {
    // Base64 only as clients write it: the reference takes anything for it.
    let packet = prop_oneof![
        6 => "[0-6]([a-z{}\u{e9}\u{1f600}]{0,6})?",
        2 => prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| format!("b{}", base64(&bytes))),
        1 => "[ac-z7-9\u{e9}]?[0-6]?",
    ];
    let payloads = drawn(&prop::collection::vec(packet, 1..5).prop_map(|packets| packets.join("\u{1e}")), CASES);
    let cases: Vec<Value> = payloads.iter().map(|text| json!({ "ask": "payload", "text": text })).collect();
    let mut errors = 0;
    for (text, answer) in payloads.iter().zip(answers(&cases)) {
        let mut ours = Vec::new();
        for packet in packets(text) {
            let mut packet_shown = shown(&packet);
            // What a packet without use for it carries is of no meaning, and not kept here.
            if matches!(packet, Ok(Packet::Close | Packet::Upgrade | Packet::Noop)) {
                packet_shown["text"] = Value::Null;
            }
            ours.push(packet_shown);
            if packet.is_err() {
                break;
            }
        }
        let mut theirs = answer["packets"].as_array().expect("packets").clone();
        for packet in &mut theirs {
            match packet["type"].as_str() {
                Some("close" | "upgrade" | "noop") => packet["text"] = Value::Null,
                Some("error") => {
                    errors += 1;
                    *packet = json!({ "type": "error" });
                }
                _ => {}
            }
        }
        assert_eq!(ours, theirs, "{text:?}");
    }
    assert!(errors > CASES / 20, "too few broken payloads: {errors}");
}

#[test]
fn payloads_are_written_alike() {
    let message = prop_oneof![
        "[^\u{1e}]{0,9}".prop_map(|text| json!({ "text": text })),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| json!({ "bytes": base64(&bytes) })),
    ];
    let lists = drawn(&prop::collection::vec(message, 1..5), CASES);
    let cases: Vec<Value> = lists.iter().map(|messages| json!({ "ask": "encodePayload", "messages": messages })).collect();
    for (messages, answer) in lists.iter().zip(answers(&cases)) {
        let mut payload = Payload::new(usize::MAX);
        for message in messages {
            let took = match (message["text"].as_str(), message["bytes"].as_str()) {
                (Some(text), _) => payload.push_text(&[b"4", text.as_bytes()]),
                (_, bytes) => {
                    let written = format!("b{}", bytes.expect("bytes"));
                    let Ok(Packet::Message(Data::Binary(bytes))) = Packet::parse(&written) else { panic!("{written}") };
                    payload.push_binary(&bytes)
                }
            };
            assert!(took);
        }
        assert_eq!(String::from_utf8(payload.into_bytes()).as_deref().ok(), answer["text"].as_str(), "{messages:?}");
    }
}
