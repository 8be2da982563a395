//! System C, section 5.

use super::samples::{AT, Table, check, event, folded, offset, parts, plain, raw, room, text};
use weft_dialect::{c, native, notice::Notice, piece::Told};

const FRAMES: Table = &[
    (
        "execution:started",
        "",
        "{}",
        &[
            r#"{"type":"status","execution_id":"e","status":"running","data":{"progress":0.0,"current_node":null},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "execution:updated",
        "",
        r#"{"status":"pending","currentNode":"n \u00e9"}"#,
        &[
            r#"{"type":"status","execution_id":"e","status":"pending","data":{"progress":null,"current_node":"n \u00e9"},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "execution:progress",
        "",
        r#"{"progress":42.5,"currentAgent":"w"}"#,
        &[
            r#"{"type":"status","execution_id":"e","status":"running","data":{"progress":0.425,"current_node":"w"},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "execution:progress",
        "",
        r#"{"progress":200}"#,
        &[
            r#"{"type":"status","execution_id":"e","status":"running","data":{"progress":1.0,"current_node":null},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "execution:completed",
        "",
        r#"{"outputs":{"a":1.00},"duration":3.50,"nodesCompleted":2,"nodesFailed":0}"#,
        &[
            r#"{"type":"status","execution_id":"e","status":"completed","data":{"progress":1.0,"current_node":null},"timestamp":"1769860800.250","offset":"a.7.0000000b/1"}"#,
            r#"{"type":"completion","execution_id":"e","result":{"status":"completed","output":{"a":1.00},"nodes_completed":2,"nodes_failed":0,"duration":3.50},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "execution:failed",
        "",
        r#"{"error":"x"}"#,
        &[
            r#"{"type":"status","execution_id":"e","status":"failed","data":{"progress":null,"current_node":null},"timestamp":"1769860800.250","offset":"a.7.0000000b/1"}"#,
            r#"{"type":"error","execution_id":"e","error":"x","timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "execution:cancelled",
        "",
        r#"{"reason":"enough"}"#,
        &[
            r#"{"type":"status","execution_id":"e","status":"failed","data":{"progress":null,"current_node":null},"timestamp":"1769860800.250","offset":"a.7.0000000b/1"}"#,
            r#"{"type":"error","execution_id":"e","error":"enough","timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "node:started",
        r#","nodeId":"n""#,
        r#"{"nodeType":"llm"}"#,
        &[
            r#"{"type":"node_update","execution_id":"e","node_id":"n","node_state":{"status":"running","output":null,"error":null,"started_at":"1769860800.250","completed_at":null},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "node:started",
        r#","nodeId":"n""#,
        r#"{"startedAt":"2026-01-31T12:00:00Z"}"#,
        &[
            r#"{"type":"node_update","execution_id":"e","node_id":"n","node_state":{"status":"running","output":null,"error":null,"started_at":"1769860800.000","completed_at":null},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "node:progress",
        r#","nodeId":"n""#,
        r#"{"progress":1}"#,
        &[
            r#"{"type":"node_update","execution_id":"e","node_id":"n","node_state":{"status":"running","output":null,"error":null,"started_at":null,"completed_at":null},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "node:completed",
        r#","nodeId":"n""#,
        r#"{"output":"o","startedAt":"1769860799.5","completedAt":"2026-01-31T12:00:00.1Z"}"#,
        &[
            r#"{"type":"node_update","execution_id":"e","node_id":"n","node_state":{"status":"completed","output":"o","error":null,"started_at":"1769860799.5","completed_at":"1769860800.100"},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "node:failed",
        r#","nodeId":"n""#,
        r#"{"error":{"m":"x"}}"#,
        &[
            r#"{"type":"node_update","execution_id":"e","node_id":"n","node_state":{"status":"failed","output":null,"error":{"m":"x"},"started_at":null,"completed_at":"1769860800.250"},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "agent:completed",
        r#","agentId":"w""#,
        r#"{"result":1}"#,
        &[
            r#"{"type":"node_update","execution_id":"e","node_id":"w","node_state":{"status":"completed","output":1,"error":null,"started_at":null,"completed_at":"1769860800.250"},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "log",
        r#","nodeId":"n""#,
        r#"{"level":"debug","message":"m"}"#,
        &[
            r#"{"type":"log","execution_id":"e","log":{"level":"debug","message":"m","node_id":"n","timestamp":"1769860800.250"},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    (
        "log",
        "",
        r#"{"level":3}"#,
        &[
            r#"{"type":"log","execution_id":"e","log":{"level":"info","message":"","node_id":null,"timestamp":"1769860800.250"},"timestamp":"1769860800.250","offset":"a.7.0000000b"}"#,
        ],
    ),
    ("agent:token", r#","agentId":"w""#, "{}", &[]),
    ("user_input:required", "", "{}", &[]),
    ("execution:paused", "", "{}", &[]),
];

#[test]
fn every_event_has_its_frames() {
    check(FRAMES, |event| plain(&c::event(event.into())));
    assert_eq!(parts(&c::event((&event("execution:failed", "", "{}")).into())), [Some(1), None]);
}

#[test]
fn without_a_time_the_timestamp_is_null_and_without_an_offset_there_is_none() {
    let raw = raw("execution:progress", "{}");
    let frame = &c::event(Told::from(&raw))[0];
    let whole = text([&frame.body, native::event_tail(None).as_bytes()].concat());
    assert_eq!(
        whole,
        r#"{"type":"status","execution_id":"e","status":"running","data":{"progress":null,"current_node":null},"timestamp":null}"#
    );
}

#[test]
fn a_late_joiner_sees_the_state() {
    let done = folded(&[
        r#"{"type":"execution:started","executionId":"e","timestamp":"2026-01-31T12:00:00Z"}"#,
        r#"{"type":"node:started","executionId":"e","nodeId":"n","timestamp":"2026-01-31T12:00:00Z"}"#,
        r#"{"type":"node:completed","executionId":"e","nodeId":"n","data":{"output":7}}"#,
        r#"{"type":"execution:completed","executionId":"e","data":{"result":{"r":1}},"timestamp":"2026-01-31T12:00:01.5Z"}"#,
    ]);
    let frames: Vec<String> = c::snapshot(&done, AT).into_iter().map(|body| text(body) + "}").collect();
    assert_eq!(
        frames,
        [
            r#"{"type":"status","execution_id":"e","status":"completed","data":{"progress":1.0,"current_node":null},"timestamp":"1769860801.500"}"#,
            r#"{"type":"node_update","execution_id":"e","node_id":"n","node_state":{"status":"completed","output":7,"error":null,"started_at":"1769860800.000","completed_at":"1769860800.250"},"timestamp":"1769860801.500"}"#,
            r#"{"type":"completion","execution_id":"e","result":{"status":"completed","output":{"r":1},"nodes_completed":1,"nodes_failed":0,"duration":1.5},"timestamp":"1769860801.500"}"#,
        ]
    );
    let running = folded(&[r#"{"type":"execution:progress","executionId":"e","data":{"progress":40,"currentNode":{"id":1}}}"#]);
    let frames: Vec<String> = c::snapshot(&running, AT).into_iter().map(|body| text(body) + "}").collect();
    assert_eq!(
        frames,
        [
            r#"{"type":"status","execution_id":"e","status":"running","data":{"progress":0.4,"current_node":{"id":1}},"timestamp":"1769860800.250"}"#
        ]
    );
    let failed = folded(&[r#"{"type":"execution:failed","executionId":"e","data":{}}"#]);
    let last = c::snapshot(&failed, AT).pop().map(text).expect("a frame");
    assert_eq!(last, r#"{"type":"error","execution_id":"e","error":"failed","timestamp":"1769860800.250""#);
}

#[test]
fn notices_pings_and_refusals() {
    let (room, to) = (room(), offset());
    let gap = Notice::Gap { room: &room, from: None, to: Some(&to), reason: "retention" };
    assert_eq!(
        c::notice(&gap, "e", AT).map(text).as_deref(),
        Some(
            r#"{"type":"log","execution_id":"e","log":{"level":"warning","message":"Events up to a.7.0000000b are missing (retention).","node_id":null,"timestamp":"1769860800.250"},"timestamp":"1769860800.250""#
        )
    );
    assert_eq!(c::notice(&Notice::Degraded { active: false }, "e", AT), None);
    assert_eq!((c::input("ping"), c::PONG), (Ok(c::Ping), r#"{"type":"pong"}"#));
    for said in ["", "PING", "{\"type\":\"ping\"}", "subscribe"] {
        let refused = c::input(said).expect_err(said);
        assert_eq!((refused.code, refused.is_protocol), ("malformed", false));
        assert_eq!(
            text(c::error("e", &refused.message, AT)),
            r#"{"type":"error","execution_id":"e","error":"only the text ping is understood here","timestamp":"1769860800.250"}"#
        );
    }
}
