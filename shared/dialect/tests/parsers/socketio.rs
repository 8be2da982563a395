//! Packets of Socket.IO.

use super::{
    cases::{CASES, any_json, any_json_with_bytes, any_name, base64, drawn},
    reference::answers,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};
use weft_dialect::{
    a,
    native::Outcome,
    socketio::{
        Answer, ConnectRefusal, Incoming, Limits, Link, Namespace, SessionOffset, ack, connect_error, connected, event_with_args,
        tail,
    },
};
use weft_event::{Epoch, Position, prepare};

/// Arguments with their attachments in place, as the reference tells them.
fn in_place(value: &Value, attachments: &[bytes::Bytes]) -> Value {
    match value {
        Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) && !attachments.is_empty() => {
            let num = map["num"].as_u64().expect("a number") as usize;
            json!({ "$bytes": base64(&attachments[num]) })
        }
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), in_place(value, attachments))).collect(),
        Value::Array(list) => list.iter().map(|value| in_place(value, attachments)).collect(),
        other => other.clone(),
    }
}

fn values(args: &[Box<RawValue>], attachments: &[bytes::Bytes]) -> Vec<Value> {
    let value = |arg: &RawValue| in_place(&serde_json::from_str(arg.get()).expect("JSON"), attachments);
    args.iter().map(|arg| value(arg)).collect()
}

/// What ours make of messages: packets as the reference tells them, or none where anything is refused. Every namespace
/// is joined but the one that is asked for.
fn ours(messages: &[Value], connects: bool) -> Option<Vec<Value>> {
    let (mut link, limits) = (Link::new(Namespace::ALL), Limits::default());
    if !connects {
        Namespace::ALL.iter().for_each(|namespace| link.join(*namespace));
    }
    let mut packets = Vec::new();
    for message in messages {
        let incoming = match message["text"].as_str() {
            Some(text) => link.text(text, &limits),
            None => {
                let bytes = STANDARD.decode(message["bytes"].as_str().expect("bytes")).expect("base64");
                link.binary(bytes.into(), &limits)
            }
        };
        packets.extend(incoming.ok()?.map(|incoming| match incoming {
            Incoming::Connect { namespace, auth } => {
                let data = auth.object.map(|object| serde_json::from_str::<Value>(object.get()).expect("JSON"));
                packet(0, namespace.name(), None, data)
            }
            Incoming::Unknown(answer) => json!({ "unknown": answer }),
            Incoming::Disconnect(namespace) => packet(1, namespace.name(), None, None),
            Incoming::Event(event) => {
                let mut data = vec![Value::from(event.name)];
                data.extend(values(&event.args, &event.attachments));
                packet(2, event.namespace.name(), event.ack, Some(data.into()))
            }
            Incoming::Ack { namespace, id, args, attachments } => {
                packet(3, namespace.name(), Some(id), Some(values(&args, &attachments).into()))
            }
        }));
    }
    Some(packets)
}

fn packet(kind: u8, namespace: &str, id: Option<u64>, data: Option<Value>) -> Value {
    let mut packet = json!({ "type": kind, "nsp": namespace });
    if let Some(id) = id {
        packet["id"] = id.into();
    }
    if let Some(data) = data {
        packet["data"] = data;
    }
    packet
}

#[test]
fn what_the_reference_writes_is_read_the_same() {
    let namespace = || prop::sample::select(vec!["/", "/executions"]);
    let id = || prop::option::of(0..1_000_000u64);
    let args = || prop::collection::vec(any_json_with_bytes(), 0..4);
    let event = (namespace(), id(), any_name(), args()).prop_map(|(namespace, id, name, args)| {
        let data: Vec<Value> = [Value::from(name)].into_iter().chain(args).collect();
        packet(2, namespace, id, Some(data.into()))
    });
    let acked = (namespace(), 0..u64::pow(2, 53), args())
        .prop_map(|(namespace, id, args)| packet(3, namespace, Some(id), Some(args.into())));
    let auth = prop::option::of(prop::collection::btree_map("[a-z]{1,5}", any_json(), 0..3));
    let connect = (namespace(), auth).prop_map(|(namespace, auth)| packet(0, namespace, None, auth.map(|auth| json!(auth))));
    let leave = namespace().prop_map(|namespace| packet(1, namespace, None, None));
    let packets = drawn(&prop_oneof![6 => event, 3 => acked, 2 => connect, 1 => leave], CASES);
    let cases: Vec<Value> = packets.iter().map(|packet| json!({ "ask": "encode", "packet": packet })).collect();
    let mut binary = 0;
    for (packet, answer) in packets.iter().zip(answers(&cases)) {
        let messages = answer["messages"].as_array().expect("messages");
        binary += usize::from(messages.len() > 1);
        assert_eq!(ours(messages, packet["type"] == 0), Some(vec![packet.clone()]), "{messages:?}");
    }
    assert!(binary > CASES / 10, "too few binary packets: {binary}");
}

/// Messages of clients with one place of them damaged, and attachments that may or may not belong to them.
fn any_messages() -> impl Strategy<Value = Vec<Value>> {
    let texts = prop::sample::select(vec![
        r#"0{"token":"t"}"#,
        "0/executions,",
        "1/executions,",
        r#"2["message",1,"2",{"3":[true]}]"#,
        r#"2/executions,456["message",1]"#,
        r#"3/executions,12[1,"a"]"#,
        r#"51-["m",{"_placeholder":true,"num":0}]"#,
        r#"52-/executions,7["m",[{"_placeholder":true,"num":1}],{"a":{"_placeholder":true,"num":0}}]"#,
        r#"61-12[{"_placeholder":true,"num":0}]"#,
    ]);
    let damage = (any::<prop::sample::Index>(), "[0-9\\[\\]{}\",:/_ a-z-]{0,2}", 0..3usize);
    let bytes = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..3);
    (texts, prop::option::weighted(0.8, damage), bytes).prop_map(|(text, damage, bytes)| {
        let mut text = text.to_owned();
        if let Some((at, new, cut)) = damage {
            let at = at.index(text.len());
            text.replace_range(at..(at + cut).min(text.len()), &new);
        }
        let bytes = bytes.iter().map(|bytes| json!({ "bytes": base64(bytes) }));
        [json!({ "text": text })].into_iter().chain(bytes).collect()
    })
}

#[test]
fn what_is_taken_here_is_taken_there_and_read_the_same() {
    let sequences = drawn(&any_messages(), 3 * CASES);
    let cases: Vec<Value> = sequences.iter().map(|messages| json!({ "ask": "decode", "messages": messages })).collect();
    let (mut taken, mut refused) = (0, 0);
    for (messages, answer) in sequences.iter().zip(answers(&cases)) {
        let connects = messages[0]["text"].as_str().is_some_and(|text| text.starts_with('0'));
        let Some(packets) = ours(messages, connects) else {
            refused += 1;
            continue;
        };
        assert_eq!(answer["error"], Value::Null, "{messages:?}");
        if !packets.iter().any(|packet| packet["unknown"].is_string()) {
            taken += 1;
            assert_eq!(answer["packets"], Value::from(packets), "{messages:?}");
        }
    }
    assert!(taken > CASES / 2 && refused > CASES / 2, "taken {taken}, refused {refused}");
}

/// A frame of ours, an attachment that follows it, and what it is read as.
type Row = (Vec<u8>, Option<&'static [u8]>, Value);

#[test]
fn what_is_written_here_is_read_there() {
    let raw = |value: &Value| RawValue::from_string(value.to_string()).expect("JSON");
    let offset = SessionOffset::one(7, Position { epoch: Epoch(1), seq: 2, check: 3 }.into());
    let log = r#"{"type":"log","executionId":"e","data":{"message":"a \"b\"\u00e9\u001e","level":"info"}}"#;
    let log = a::event((&prepare(log.into(), None, &weft_event::Limits::default()).expect(log)).into()).remove(0).body;
    let told = json!(["log", { "executionId": "e", "log": { "id": null, "level": "info", "message": "a \"b\"\u{e9}\u{1e}", "createdAt": null } }]);
    let mut told_with_offset = told.clone();
    told_with_offset.as_array_mut().expect("a list").push(offset.to_string().into());
    let place = json!({ "_placeholder": true, "num": 0 });
    let (main, executions) = (Namespace::MAIN, Namespace::EXECUTIONS);
    let rows: Vec<Row> = vec![
        (connected(main, "s", None), None, packet(0, "/", None, Some(json!({ "sid": "s" })))),
        (connected(executions, "s", Some("p")), None, packet(0, "/executions", None, Some(json!({ "sid": "s", "pid": "p" })))),
        (
            connect_error(executions, ConnectRefusal::Forbidden, Some("not you")),
            None,
            packet(4, "/executions", None, Some(json!({ "message": "not you", "data": { "code": "forbidden" } }))),
        ),
        ([&log[..], &tail(None)].concat(), None, packet(2, "/executions", None, Some(told))),
        ([&log[..], &tail(Some(&offset))].concat(), None, packet(2, "/executions", None, Some(told_with_offset))),
        (
            ack(executions, 3, &Answer::Subscribed { outcome: Outcome::Live, offset: Some("o") }),
            None,
            packet(3, "/executions", Some(3), Some(json!([{ "ok": true, "outcome": "live", "offset": "o" }]))),
        ),
        (
            event_with_args(main, Some("m"), &[raw(&place)], 1, Some(0)),
            Some(&[1, 2]),
            packet(2, "/", Some(0), Some(json!(["m", { "$bytes": "AQI=" }]))),
        ),
        (
            event_with_args(executions, None, &[raw(&json!(1))], 0, Some(5)),
            None,
            packet(3, "/executions", Some(5), Some(json!([1]))),
        ),
    ];
    let case = |(frame, bytes, _): &Row| {
        let text = std::str::from_utf8(frame).expect("UTF-8").strip_prefix('4').expect("a message");
        let bytes = bytes.map(|bytes| json!({ "bytes": base64(bytes) }));
        let messages: Vec<Value> = [json!({ "text": text })].into_iter().chain(bytes).collect();
        json!({ "ask": "decode", "messages": messages })
    };
    let cases: Vec<Value> = rows.iter().map(case).collect();
    for ((frame, _, expected), answer) in rows.iter().zip(answers(&cases)) {
        assert_eq!(answer, json!({ "packets": [expected], "error": null }), "{}", String::from_utf8_lossy(frame));
    }
}
