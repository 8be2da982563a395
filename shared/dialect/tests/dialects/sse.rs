//! Server-Sent Events, section 10.

use super::samples::{AT, event, offset, room, text};
use weft_dialect::{native, notice::Notice, sse};

#[test]
fn every_event_has_id_name_and_one_line_of_native_data() {
    let event = event("agent:token", r#","agentId":"w""#, r#"{"token":"a\nb"}"#);
    let frame = native::event_frame(&event, None, None, None, None, Some(&offset()));
    assert_eq!(
        text(sse::event(&event.kind, Some(&offset()), &frame)),
        format!(
            "id: a.7.0000000b\nevent: agent:token\ndata: {{\"type\":\"agent:token\",\"executionId\":\"e\",\"id\":\"i1\",\"timestamp\":\"{AT}\",\"agentId\":\"w\",\"data\":{{\"token\":\"a\\nb\"}},\"offset\":\"a.7.0000000b\"}}\n\n"
        )
    );
    assert_eq!(text(sse::event("log", None, b"{}")), "event: log\ndata: {}\n\n");
    assert_eq!(text(sse::event("log", None, b"{\n}\r[]")), "event: log\ndata: {\ndata: }\ndata: []\n\n");
}

#[test]
fn what_is_no_event() {
    let (room, at) = (room(), offset());
    let gap = Notice::Gap { room: &room, from: Some(&at), to: None, reason: "reset" };
    for (written, expected) in [
        (
            text(sse::snapshot(&room, Some("a.7.0000000b"), r#"{"status":"running"}"#).expect("JSON")),
            "id: a.7.0000000b\nevent: snapshot\ndata: {\"type\":\"snapshot\",\"room\":\"execution:e\",\"offset\":\"a.7.0000000b\",\"snapshot\":{\"status\":\"running\"}}\n\n",
        ),
        (
            text(sse::notice(&gap, Some(&at))),
            "id: a.7.0000000b\nevent: gap\ndata: {\"type\":\"gap\",\"room\":\"execution:e\",\"missedFrom\":\"a.7.0000000b\",\"missedTo\":null,\"reason\":\"reset\"}\n\n",
        ),
        (
            text(sse::notice(&Notice::Degraded { active: false }, None)),
            "event: degraded\ndata: {\"type\":\"degraded\",\"active\":false}\n\n",
        ),
        (sse::retry(1500), "retry: 1500\n\n"),
        (sse::HEARTBEAT.to_owned(), ":\n\n"),
    ] {
        assert_eq!(written, expected);
    }
}
