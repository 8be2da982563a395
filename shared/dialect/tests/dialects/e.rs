//! System E, section 6.

use super::samples::{AT, Table, check, implied, offset, plain, raw, room, text};
use weft_dialect::{e, notice::Notice};

const FRAMES: Table = &[
    (
        "log",
        r#","nodeId":"n""#,
        r#"{"id":"l1","level":"debug","message":"m","stepName":"fetch","stepType":"http","inputData":{"u":1.0},"outputData":[2],"durationMs":12.5}"#,
        &[
            r#"{"id":"l1","execution_id":"e","step_name":"fetch","step_type":"http","input_data":{"u":1.0},"output_data":[2],"duration_ms":12.5,"timestamp":"2026-01-31T12:00:00.250Z","level":"info","message":"m","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "log",
        r#","nodeId":"n""#,
        r#"{"level":"error","message":"m \"x\""}"#,
        &[
            r#"{"id":"i1","execution_id":"e","step_name":"n","step_type":null,"input_data":null,"output_data":null,"duration_ms":null,"timestamp":"2026-01-31T12:00:00.250Z","error_message":"m \"x\"","level":"error","message":"m \"x\"","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "log",
        "",
        r#"{"level":"warning","message":"m"}"#,
        &[
            r#"{"id":"i1","execution_id":"e","step_name":"m","step_type":null,"input_data":null,"output_data":null,"duration_ms":null,"timestamp":"2026-01-31T12:00:00.250Z","level":"warning","message":"m","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "log",
        "",
        "{}",
        &[
            r#"{"id":"i1","execution_id":"e","step_name":null,"step_type":null,"input_data":null,"output_data":null,"duration_ms":null,"timestamp":"2026-01-31T12:00:00.250Z","level":"info","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "node:completed",
        r#","nodeId":"n""#,
        r#"{"outputs":{"o":1},"durationMs":3,"nodeType":"llm","input":"i"}"#,
        &[
            r#"{"id":"i1","execution_id":"e","step_name":"n","step_type":"llm","input_data":"i","output_data":{"o":1},"duration_ms":3,"timestamp":"2026-01-31T12:00:00.250Z","level":"info","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "node:failed",
        r#","nodeId":"n""#,
        r#"{"error":{"c":1}}"#,
        &[
            r#"{"id":"i1","execution_id":"e","step_name":"n","step_type":null,"input_data":null,"output_data":null,"duration_ms":null,"timestamp":"2026-01-31T12:00:00.250Z","error_message":"{\"c\":1}","level":"error","offset":"a.7.0000000b"}"#,
        ],
    ),
    ("node:started", r#","nodeId":"n""#, "{}", &[]),
    ("execution:failed", "", r#"{"error":"x"}"#, &[]),
    ("agent:completed", r#","agentId":"w""#, "{}", &[]),
];

#[test]
fn every_event_has_its_entry() {
    check(FRAMES, |event| plain(&e::event(event.into())));
}

#[test]
fn an_entry_without_an_id_has_its_offset_for_one() {
    let raw = raw("log", r#"{"message":"m"}"#);
    let frames = plain(&e::event(implied(&raw)));
    assert!(frames[0].starts_with(r#"{"id":"a.7.0000000b","execution_id":"e","step_name":"m""#), "{frames:?}");
}

#[test]
fn notices_and_pings() {
    let (room, from) = (room(), offset());
    let gap = Notice::Gap { room: &room, from: Some(&from), to: Some(&from), reason: "reset" };
    assert_eq!(
        e::notice(&gap, "e", AT).map(text).as_deref(),
        Some(
            r#"{"id":"gap:a.7.0000000b:a.7.0000000b","execution_id":"e","step_name":"gap","step_type":null,"input_data":null,"output_data":null,"duration_ms":null,"timestamp":"2026-01-31T12:00:00.250Z","level":"warning","message":"Events after a.7.0000000b up to a.7.0000000b are missing (reset).""#
        )
    );
    assert_eq!(e::notice(&Notice::Degraded { active: true }, "e", AT), None);
    assert!(e::is_ping("ping") && e::is_ping(" ping\n") && !e::is_ping("{}"));
}
