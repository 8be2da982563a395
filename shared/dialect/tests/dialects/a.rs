//! System A, section 7.

use super::samples::{AT, Table, check, event, folded, implied, offset, parts, raw, room, socket, text};
use weft_dialect::{
    a,
    notice::Notice,
    socketio::{SessionOffset, room_tag, whole},
};

const FRAMES: Table = &[
    (
        "execution:started",
        "",
        "{}",
        &[r#"42/executions,["status",{"executionId":"e","status":"running","timestamp":"2026-01-31T12:00:00.250Z"}]"#],
    ),
    (
        "execution:started",
        "",
        r#"{"status":"pending"}"#,
        &[r#"42/executions,["status",{"executionId":"e","status":"pending","timestamp":"2026-01-31T12:00:00.250Z"}]"#],
    ),
    (
        "execution:updated",
        "",
        r#"{"status":"cancelled","progress":5}"#,
        &[r#"42/executions,["status",{"executionId":"e","status":"failed","timestamp":"2026-01-31T12:00:00.250Z"}]"#],
    ),
    (
        "execution:updated",
        "",
        r#"{"status":"odd"}"#,
        &[r#"42/executions,["status",{"executionId":"e","status":"running","timestamp":"2026-01-31T12:00:00.250Z"}]"#],
    ),
    (
        "execution:progress",
        "",
        r#"{"progress":5}"#,
        &[r#"42/executions,["status",{"executionId":"e","status":"running","timestamp":"2026-01-31T12:00:00.250Z"}]"#],
    ),
    (
        "execution:completed",
        "",
        r#"{"result":{"n":1.00e5, "t":"\u00e9"},"outputs":1}"#,
        &[
            r#"42/executions,["status",{"executionId":"e","status":"completed","timestamp":"2026-01-31T12:00:00.250Z"}]"#,
            r#"42/executions,["result",{"executionId":"e","result":{"n":1.00e5, "t":"\u00e9"}}]"#,
        ],
    ),
    (
        "execution:completed",
        "",
        r#"{"result":null,"outputs":[1]}"#,
        &[
            r#"42/executions,["status",{"executionId":"e","status":"completed","timestamp":"2026-01-31T12:00:00.250Z"}]"#,
            r#"42/executions,["result",{"executionId":"e","result":[1]}]"#,
        ],
    ),
    (
        "execution:failed",
        "",
        r#"{"error":"no \"luck\""}"#,
        &[
            r#"42/executions,["status",{"executionId":"e","status":"failed","timestamp":"2026-01-31T12:00:00.250Z"}]"#,
            r#"42/executions,["error",{"executionId":"e","error":"no \"luck\""}]"#,
        ],
    ),
    (
        "execution:failed",
        "",
        r#"{"error":{"code":1}}"#,
        &[
            r#"42/executions,["status",{"executionId":"e","status":"failed","timestamp":"2026-01-31T12:00:00.250Z"}]"#,
            r#"42/executions,["error",{"executionId":"e","error":"{\"code\":1}"}]"#,
        ],
    ),
    (
        "execution:cancelled",
        "",
        r#"{"reason":"enough"}"#,
        &[
            r#"42/executions,["status",{"executionId":"e","status":"failed","timestamp":"2026-01-31T12:00:00.250Z"}]"#,
            r#"42/executions,["error",{"executionId":"e","error":"enough"}]"#,
        ],
    ),
    (
        "execution:cancelled",
        "",
        "{}",
        &[
            r#"42/executions,["status",{"executionId":"e","status":"failed","timestamp":"2026-01-31T12:00:00.250Z"}]"#,
            r#"42/executions,["error",{"executionId":"e","error":"cancelled"}]"#,
        ],
    ),
    (
        "node:started",
        r#","nodeId":"n \"1\"""#,
        "{}",
        &[r#"42/executions,["nodeStatus",{"executionId":"e","nodeId":"n \"1\"","status":"running"}]"#],
    ),
    (
        "node:progress",
        r#","nodeId":"n""#,
        r#"{"progress":5}"#,
        &[r#"42/executions,["nodeStatus",{"executionId":"e","nodeId":"n","status":"running"}]"#],
    ),
    (
        "node:completed",
        r#","nodeId":"n""#,
        r#"{"output":{"a":1}}"#,
        &[r#"42/executions,["nodeStatus",{"executionId":"e","nodeId":"n","status":"completed","output":{"a":1}}]"#],
    ),
    (
        "node:failed",
        r#","nodeId":"n""#,
        r#"{"error":"x","output":1}"#,
        &[r#"42/executions,["nodeStatus",{"executionId":"e","nodeId":"n","status":"failed"}]"#],
    ),
    (
        "agent:started",
        "",
        r#"{"agentId":"w"}"#,
        &[r#"42/executions,["nodeStatus",{"executionId":"e","nodeId":"w","status":"running"}]"#],
    ),
    (
        "agent:completed",
        "",
        r#"{"agentId":"w","result":"done"}"#,
        &[r#"42/executions,["nodeStatus",{"executionId":"e","nodeId":"w","status":"completed","output":"done"}]"#],
    ),
    (
        "agent:failed",
        "",
        r#"{"agentId":"w"}"#,
        &[r#"42/executions,["nodeStatus",{"executionId":"e","nodeId":"w","status":"failed"}]"#],
    ),
    (
        "log",
        r#","nodeId":"n""#,
        r#"{"id":"l1","level":"debug","message":"a\nb","metadata":{"k":[1]}}"#,
        &[
            r#"42/executions,["log",{"executionId":"e","log":{"id":"l1","nodeId":"n","level":"info","message":"a\nb","metadata":{"k":[1]},"createdAt":"2026-01-31T12:00:00.250Z"}}]"#,
        ],
    ),
    (
        "log",
        "",
        r#"{"level":"warning","message":"m","nodeId":"n2"}"#,
        &[
            r#"42/executions,["log",{"executionId":"e","log":{"id":"i1","nodeId":"n2","level":"warning","message":"m","createdAt":"2026-01-31T12:00:00.250Z"}}]"#,
        ],
    ),
    ("agent:token", "", r#"{"agentId":"w","token":"t"}"#, &[]),
    ("user_input:required", "", r#"{"requestId":"r"}"#, &[]),
    ("node:renamed", r#","nodeId":"n""#, "{}", &[]),
    ("execution:paused", "", "{}", &[]),
    ("billing:charged", "", "{}", &[]),
];

#[test]
fn every_event_has_its_frames() {
    check(FRAMES, |event| socket(&a::event(event.into())));
}

#[test]
fn all_frames_of_an_event_but_the_last_are_numbered() {
    assert_eq!(parts(&a::event((&event("execution:completed", "", "{}")).into())), [Some(1), None]);
    assert_eq!(parts(&a::event((&event("execution:started", "", "{}")).into())), [None]);
}

#[test]
fn what_the_publisher_left_out_is_implied() {
    let raw = raw("log", r#"{"message":{"a":1}}"#);
    assert_eq!(
        socket(&a::event(implied(&raw))),
        [
            r#"42/executions,["log",{"executionId":"e","log":{"id":"a.7.0000000b","level":"info","message":"{\"a\":1}","createdAt":"2026-01-31T12:00:00.250Z"}}]"#
        ]
    );
    let frames = socket(&a::event((&raw).into()));
    assert!(frames[0].contains(r#""id":null"#) && frames[0].contains(r#""createdAt":null"#), "{frames:?}");
}

#[test]
fn a_recoverable_session_gets_its_offset_as_the_last_argument() {
    let pieces = a::event((&event("execution:failed", "", "{}")).into());
    let told = SessionOffset::one(room_tag(&room()), pieces[0].offset(offset()));
    let frame = text(whole(&pieces[0].body, Some(&told)));
    let args: serde_json::Value = serde_json::from_str(frame.strip_prefix("42/executions,").expect(&frame)).expect(&frame);
    assert_eq!((&args[0], &args[1]["status"]), (&"status".into(), &"failed".into()));
    let read: SessionOffset = args[2].as_str().expect("a string").parse().expect("ours");
    assert_eq!(read.of(room_tag(&room())), Some(&pieces[0].offset(offset())));
    assert_eq!(args.as_array().map(Vec::len), Some(3));
}

#[test]
fn a_late_joiner_sees_the_state() {
    let running = folded(&[
        r#"{"type":"execution:started","executionId":"e"}"#,
        r#"{"type":"node:completed","executionId":"e","nodeId":"n1","data":{"output":{"x":1.0}}}"#,
        r#"{"type":"node:started","executionId":"e","nodeId":"n2"}"#,
    ]);
    let frames: Vec<String> = a::snapshot(&running, AT).into_iter().map(|body| text(whole(&body, None))).collect();
    assert_eq!(
        frames,
        [
            r#"42/executions,["status",{"executionId":"e","status":"running","timestamp":"2026-01-31T12:00:00.250Z"}]"#,
            r#"42/executions,["nodeStatus",{"executionId":"e","nodeId":"n1","status":"completed","output":{"x":1.0}}]"#,
            r#"42/executions,["nodeStatus",{"executionId":"e","nodeId":"n2","status":"running"}]"#,
        ]
    );
    for (end, expected) in [
        (r#"completed","executionId":"e","data":{"result":[1]"#, r#"["result",{"executionId":"e","result":[1]}]"#),
        (r#"failed","executionId":"e","data":{"error":"x""#, r#"["error",{"executionId":"e","error":"x"}]"#),
        (r#"cancelled","executionId":"e","data":{"x":1"#, r#"["error",{"executionId":"e","error":"cancelled"}]"#),
    ] {
        let frames = a::snapshot(&folded(&[&format!(r#"{{"type":"execution:{end}}}}}"#)]), "later");
        let last = frames.last().cloned().map(|body| text(whole(&body, None))).expect("a frame");
        assert_eq!((frames.len(), last), (2, format!("42/executions,{expected}")));
        assert!(text(frames[0].clone()).contains(AT), "the time of the end");
    }
}

#[test]
fn notices_and_refusals() {
    let (room, from) = (room(), offset());
    let gap = Notice::Gap { room: &room, from: Some(&from), to: None, reason: "retention" };
    assert_eq!(
        a::notice(&gap, "e", AT).map(|body| text(whole(&body, None))).as_deref(),
        Some(
            r#"42/executions,["log",{"executionId":"e","log":{"id":"gap:a.7.0000000b:","level":"warning","message":"Events after a.7.0000000b are missing (retention).","createdAt":"2026-01-31T12:00:00.250Z"}}]"#
        )
    );
    assert_eq!(a::notice(&Notice::Degraded { active: true }, "e", AT), None);
    let refused = text(whole(&a::error(None, "executionId: must be a string"), None));
    assert_eq!(refused, r#"42/executions,["error",{"executionId":null,"error":"executionId: must be a string"}]"#);
}
