//! System D, section 8.

use super::samples::{AT, event, implied, offset, raw, room, text};
use weft_dialect::{
    d,
    notice::Notice,
    socketio::{Cursor, SessionOffset, tail, whole},
};
use weft_event::{Limits, prepare};

#[test]
fn every_event_is_told_under_its_type_as_published() {
    for (kind, fields, data) in [
        ("execution:started", "", r#"{"n":1.00e5}"#),
        ("execution:updated", "", r#"{"status":"running"}"#),
        ("execution:progress", "", r#"{"progress":1}"#),
        ("execution:completed", "", r#"{"result":[ 1 ]}"#),
        ("execution:failed", "", r#"{"error":"\u00e9\""}"#),
        ("execution:cancelled", "", "{}"),
        ("node:started", r#","nodeId":"n""#, "{}"),
        ("node:completed", r#","nodeId":"n""#, r#"{"output":{}}"#),
        ("agent:streaming_start", r#","agentId":"w""#, "{}"),
        ("agent:token", r#","agentId":"w""#, r#"{"token":"t"}"#),
        ("agent:streaming_end", r#","agentId":"w""#, "{}"),
        ("agent:tool_call", r#","agentId":"w""#, r#"{"tool":"x"}"#),
        ("user_input:required", "", r#"{"requestId":"r"}"#),
        ("user_input:provided", "", r#"{"requestId":"r"}"#),
        ("user_input:timeout", "", r#"{"requestId":"r","timeoutMs":1}"#),
        ("log", "", r#"{"message":"m"}"#),
        ("billing:charged", r#","mine":[1]"#, "{}"),
    ] {
        let piece = d::event((&event(kind, fields, data)).into());
        let expected =
            format!(r#"42["{kind}",{{"type":"{kind}","executionId":"e","id":"i1","timestamp":"{AT}"{fields},"data":{data}}}]"#);
        assert_eq!((text(whole(&piece.body, None)), piece.part), (expected, None));
    }
    let kb = r#"{"type":"kb:processing","knowledgeBaseId":"k","data":{"step":"chunking"}}"#;
    let kb = prepare(kb.into(), None, &Limits::default()).expect(kb);
    assert_eq!(
        text(whole(&d::event((&kb).into()).body, None)),
        r#"42["kb:processing",{"type":"kb:processing","knowledgeBaseId":"k","data":{"step":"chunking"}}]"#
    );
}

#[test]
fn what_the_publisher_left_out_is_implied_and_a_session_appends_its_own_offset() {
    let raw = raw("log", r#"{"message":"m"}"#);
    let piece = d::event(implied(&raw));
    let own = SessionOffset::new(vec![Cursor { tag: 1, offset: offset() }, Cursor { tag: 2, offset: offset() }]).expect("two");
    let frame = text([&piece.body[..], &tail(Some(&own))].concat());
    let shared =
        format!(r#"42["log",{{"type":"log","data":{{"message":"m"}},"executionId":"e","id":"a.7.0000000b","timestamp":"{AT}"}}"#);
    assert_eq!(frame, format!(r#"{shared},"{own}"]"#));
}

#[test]
fn what_is_no_event_has_the_native_words_and_never_ends_in_a_string() {
    let (room, from) = (room(), offset());
    let gap = Notice::Gap { room: &room, from: Some(&from), to: None, reason: "retention" };
    for (body, expected) in [
        (
            d::snapshot(&room, Some("a.7.0000000b"), r#"{"status":"running"}"#).expect("JSON"),
            r#"42["snapshot",{"type":"snapshot","room":"execution:e","offset":"a.7.0000000b","snapshot":{"status":"running"}}]"#,
        ),
        (
            d::notice(&gap),
            r#"42["gap",{"type":"gap","room":"execution:e","missedFrom":"a.7.0000000b","missedTo":null,"reason":"retention"}]"#,
        ),
        (d::notice(&Notice::Degraded { active: true }), r#"42["degraded",{"type":"degraded","active":true}]"#),
        (
            d::error("forbidden", "not \"yours\"", Some("kb:k")),
            r#"42["error",{"code":"forbidden","message":"not \"yours\"","channel":"kb:k"}]"#,
        ),
        (d::error("token_expired", "soon", None), r#"42["error",{"code":"token_expired","message":"soon"}]"#),
    ] {
        assert_eq!(text(whole(&body, None)), expected);
    }
}
