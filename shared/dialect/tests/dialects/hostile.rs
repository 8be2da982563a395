//! Any event that the fabric carries: every dialect tells it in frames that are JSON, or not at all.

use super::samples::{AT, offset, parts};
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};
use weft_dialect::{
    a, c, d, e, native,
    piece::{Piece, Told},
    socketio::whole,
    sse,
};
use weft_event::{Envelope, Limits, Snapshot, prepare};

const KINDS: &[&str] = &[
    "execution:started",
    "execution:updated",
    "execution:progress",
    "execution:completed",
    "execution:failed",
    "execution:cancelled",
    "node:started",
    "node:progress",
    "node:completed",
    "node:failed",
    "agent:started",
    "agent:completed",
    "agent:token",
    "user_input:required",
    "log",
    "other:thing",
];

const KEYS: &[&str] = &[
    "status",
    "startedAt",
    "completedAt",
    "progress",
    "currentNode",
    "result",
    "output",
    "outputs",
    "error",
    "reason",
    "duration",
    "nodesCompleted",
    "id",
    "level",
    "message",
    "nodeId",
    "metadata",
    "stepName",
    "inputData",
    "durationMs",
    "else",
];

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<Option<bool>>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["running", "failed", AT, "1769860800.5", "error", "debug", "n"]).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::collection::vec(any::<String>(), 0..3).prop_map(Value::from),
        prop::collection::btree_map(any::<String>(), any::<i8>(), 0..3).prop_map(|map| json!(map)),
    ]
}

fn any_event() -> impl Strategy<Value = String> {
    let data = prop::collection::vec((prop::sample::select(KEYS), any_value()), 0..6);
    (prop::sample::select(KINDS), any::<String>(), data, any::<bool>()).prop_map(|(kind, node, data, times)| {
        // Written by hand, so that a key may stand twice.
        let data: Vec<String> = data.iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
        let node = json!(node.chars().take(60).chain(['n']).collect::<String>());
        let times = if times { format!(r#","id":"i","timestamp":"{AT}""#) } else { String::new() };
        let agent = if kind.starts_with("agent") { r#","agentId":"w""# } else { "" };
        // What `data` says of the node would have to agree.
        let data = data
            .into_iter()
            .filter(|field| !(kind.starts_with("node") || kind.starts_with("agent")) || !field.starts_with("\"nodeId"));
        let data = data.collect::<Vec<_>>().join(",");
        format!(r#"{{"type":"{kind}","executionId":"e","nodeId":{node}{agent}{times},"data":{{{data}}}}}"#)
    })
}

fn is_json(text: &[u8]) -> Result<(), TestCaseError> {
    let read = serde_json::from_slice::<&RawValue>(text);
    prop_assert!(read.is_ok(), "{}", String::from_utf8_lossy(text));
    Ok(())
}

fn plain_are_json(pieces: &[Piece]) -> Result<(), TestCaseError> {
    for piece in pieces {
        for offset in [None, Some(piece.offset(offset()))] {
            is_json(&[&piece.body, native::event_tail(offset.as_ref()).as_bytes()].concat())?;
        }
    }
    Ok(())
}

fn socket_are_json(bodies: &[Vec<u8>]) -> Result<(), TestCaseError> {
    for body in bodies {
        let frame = whole(body, None);
        let start = frame.iter().position(|byte| *byte == b'[').expect("an array");
        is_json(&frame[start..])?;
        let args: Vec<&RawValue> = serde_json::from_slice(&frame[start..]).expect("checked");
        prop_assert!(args.len() == 2 && args[1].get().starts_with('{'), "the last argument is never a string");
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_dialect_tells_any_event_in_json(events in prop::collection::vec(any_event(), 1..6)) {
        let mut state = Snapshot::new("e");
        for text in &events {
            let prepared = prepare(text.clone().into(), None, &Limits::default());
            prop_assert!(prepared.is_ok(), "{} {:?}", text, prepared);
            let event = prepared.expect("checked");
            state.apply(&Envelope::parse(text.as_bytes()).expect("checked"), Some(AT));
            for told in [Told::from(&event), Told { event: &event, implied_id: Some("o"), implied_timestamp: Some(AT) }] {
                let pieces = [a::event(told), c::event(told), e::event(told)];
                for pieces in &pieces {
                    let expected: Vec<Option<u8>> = (1..=pieces.len()).map(|part| (part < pieces.len()).then_some(part as u8)).collect();
                    prop_assert_eq!(parts(pieces), expected);
                }
                socket_are_json(&pieces[0].iter().map(|piece| piece.body.clone()).collect::<Vec<_>>())?;
                plain_are_json(&pieces[1])?;
                plain_are_json(&pieces[2])?;
                socket_are_json(&[d::event(told).body])?;
                let frame = native::event_frame(&event, None, None, None, None, Some(&offset()));
                let stream = String::from_utf8(sse::event(&event.kind, Some(&offset()), &frame)).expect("UTF-8");
                prop_assert_eq!(stream.lines().count(), 4, "{}", stream);
            }
        }
        socket_are_json(&a::snapshot(&state, AT))?;
        for mut body in c::snapshot(&state, AT) {
            body.push(b'}');
            is_json(&body)?;
        }
    }
}
