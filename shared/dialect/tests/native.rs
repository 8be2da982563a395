//! The native protocol against anything: no input panics, no event frame loses a byte, both encodings agree.

use proptest::prelude::*;
use serde_json::{Value, json};
use weft_dialect::{
    msgpack,
    native::{ClientMessage, Encoding, Limits, decode, event_body, event_frame_msgpack, event_tail},
    told,
};
use weft_event::{Epoch, Offset, Position, Room, prepare};

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "subscribe",
            "unsubscribe",
            "ping",
            "auth",
            "user_input:provide",
            "cancel",
            "execution:e",
            "user:u",
            "kb:k",
            "agent:a:e",
            "0",
            "a.1.00000001",
            "logs",
            "log",
            "execution:*",
            "",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

fn any_field() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => any_text().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => prop::collection::vec(any_text(), 0..4).prop_map(Value::from),
        1 => (any_text(), any_text()).prop_map(|(room, offset)| json!([{"room": room, "offset": offset}])),
    ]
}

/// Messages that look like the protocol's, most of them faulty.
fn any_message() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "type",
        "executionId",
        "room",
        "rooms",
        "offset",
        "snapshot",
        "batch",
        "conflate",
        "history",
        "types",
        "ref",
        "token",
        "requestId",
        "value",
        "reason",
        "other",
    ]);
    let kind = prop::sample::select(vec!["subscribe", "unsubscribe", "ping", "auth", "user_input:provide", "cancel", "hello"]);
    (kind, prop::collection::vec((key, any_field()), 0..5)).prop_map(|(kind, fields)| {
        let mut message = json!({ "type": kind });
        for (key, value) in fields {
            message[key] = value;
        }
        message
    })
}

fn shown(outcome: &Result<ClientMessage, weft_dialect::native::Refused>) -> String {
    match outcome {
        // The text of a value may differ between the encodings, as 1e0 and 1.0 do; what it says may not.
        Ok(ClientMessage::ProvideInput { execution_id, request_id, value, reference }) => {
            let value: Value = serde_json::from_str(value.get()).expect("a kept value is JSON");
            format!("{execution_id} {request_id} {value} {reference:?}")
        }
        other => format!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in any::<String>()) {
        let limits = Limits::default();
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let _ = decode(encoding, &bytes, &limits);
            let _ = decode(encoding, text.as_bytes(), &limits);
        }
    }

    #[test]
    fn both_encodings_say_the_same(message in any_message()) {
        let limits = Limits::default();
        let text = message.to_string();
        let packed = msgpack::from_json(text.as_bytes()).expect("packs");
        let of_json = decode(Encoding::Json, text.as_bytes(), &limits);
        let of_msgpack = decode(Encoding::MessagePack, &packed, &limits);
        prop_assert_eq!(shown(&of_json), shown(&of_msgpack), "{}", text);
    }

    #[test]
    fn every_refusal_is_in_the_table_and_its_frame_is_json(message in any_message()) {
        if let Err(refused) = decode(Encoding::Json, message.to_string().as_bytes(), &Limits::default()) {
            prop_assert!(told::ERRORS.iter().any(|error| error.code == refused.code));
            let frame: Value = serde_json::from_slice(&refused.frame(Encoding::Json, "now")).expect("JSON");
            prop_assert_eq!(&frame["code"], refused.code);
            prop_assert_eq!(frame["ref"].as_str(), refused.reference.as_deref());
            msgpack::to_json(
                &refused.frame(Encoding::MessagePack, "now"),
                &msgpack::Bounds { depth_max: 4, json_bytes_max: 1 << 20 },
            ).expect("MessagePack");
        }
    }

    #[test]
    fn an_event_frame_begins_with_the_published_bytes(
        data in prop::collection::btree_map("[a-z]{1,8}", any_field(), 0..5),
        id in prop::option::of("[a-zA-Z0-9]{1,20}"),
        by_room: bool, skipped in prop::option::of(any::<u64>()), seq: u64, since in prop::option::of(any::<u64>()),
    ) {
        let mut event = json!({ "type": "log", "data": data });
        if let Some(id) = &id {
            event["id"] = id.as_str().into();
        }
        let published = event.to_string();
        let room = Room::execution("e").expect("room");
        let prepared = prepare(published.clone().into(), Some(&room), &weft_event::Limits::default()).expect("an event");
        let offset = Offset { since, ..Position { epoch: Epoch(1), seq, check: 2 }.into() };
        let user = Room::user("u").expect("room");
        let mut frame = event_body(&prepared, by_room.then_some(&user), Some("implied"), Some("then"), skipped);
        prop_assert!(frame.starts_with(&published.as_bytes()[..published.len() - 1]));
        frame.extend_from_slice(event_tail(Some(&offset)).as_bytes());
        let told: Value = serde_json::from_slice(&frame).expect("one JSON object");
        prop_assert_eq!(&told["data"], &event["data"]);
        prop_assert_eq!(told["id"].as_str(), Some(id.as_deref().unwrap_or("implied")));
        prop_assert_eq!(told["offset"].as_str().map(str::parse), Some(Ok(offset)));
        prop_assert_eq!(told["skipped"].as_u64(), skipped);
        prop_assert_eq!(told["room"].as_str(), by_room.then_some("user:u"));
        prop_assert_eq!(told["executionId"].as_str(), Some("e"));
        let packed = event_frame_msgpack(&frame).expect("packs");
        let bounds = msgpack::Bounds { depth_max: 16, json_bytes_max: 1 << 20 };
        let unpacked: Value = serde_json::from_str(&msgpack::to_json(&packed, &bounds).expect("unpacks")).expect("JSON");
        prop_assert_eq!(unpacked, told);
    }
}
