//! Every event type in every dialect, one file a type: a change of a byte on the wire shows in review.
//!
//! `WEFT_TEST_UPDATE=1` writes the files anew.

use super::samples::{AT, offset, plain, text};
use std::{collections::BTreeSet, fs, path::PathBuf};
use weft_dialect::{
    a, c, d, e, native,
    piece::Piece,
    socketio::{SessionOffset, room_tag, whole},
    sse,
};
use weft_event::{Limits, Prepared, Room, prepare};

/// Type, fields beside `data`, `data`.
const EVENTS: &[(&str, &str, &str)] = &[
    ("execution:started", r#","workflowId":"w","userId":"u""#, r#"{"status":"running","workflowName":"Report","agentCount":2}"#),
    ("execution:updated", "", r#"{"status":"running","currentNode":"n1","progress":25}"#),
    ("execution:progress", "", r#"{"progress":50.5,"currentAgent":"a1"}"#),
    ("execution:completed", "", r#"{"result":{"answer":42},"duration":1.5,"nodesCompleted":3,"nodesFailed":0}"#),
    ("execution:failed", "", r#"{"error":"out of paper","failedNode":"n2"}"#),
    ("execution:cancelled", "", r#"{"reason":"no more need"}"#),
    ("node:started", r#","nodeId":"n1""#, r#"{"nodeType":"http","input":{"url":"x"},"startedAt":"2026-01-31T11:59:59.000Z"}"#),
    ("node:progress", r#","nodeId":"n1""#, r#"{"progress":10,"step":"fetch"}"#),
    ("node:completed", r#","nodeId":"n1""#, r#"{"output":[1,2.50,"\u00fc"],"durationMs":12}"#),
    ("node:failed", r#","nodeId":"n1""#, r#"{"error":"404","retry":{"attempt":1}}"#),
    ("agent:started", r#","agentId":"a1""#, r#"{"agentName":"Writer"}"#),
    ("agent:progress", r#","agentId":"a1""#, r#"{"progress":70,"message":"writing"}"#),
    ("agent:completed", r#","agentId":"a1""#, r#"{"result":"done"}"#),
    ("agent:failed", r#","agentId":"a1""#, r#"{"error":"lost the thread"}"#),
    ("agent:streaming_start", r#","agentId":"a1""#, "{}"),
    ("agent:token", r#","agentId":"a1""#, r#"{"token":" the","index":3}"#),
    ("agent:streaming_end", r#","agentId":"a1""#, r#"{"response":"Once upon the","tokenCount":4}"#),
    ("agent:tool_call", r#","agentId":"a1""#, r#"{"tool":"search","arguments":{"q":"x"},"status":"started"}"#),
    ("user_input:required", "", r#"{"requestId":"q1","prompt":"Go on?","inputType":"boolean"}"#),
    ("user_input:provided", "", r#"{"requestId":"q1"}"#),
    ("user_input:timeout", "", r#"{"requestId":"q1","timeoutMs":5000}"#),
    ("kb:upload_started", r#","knowledgeBaseId":"k1""#, r#"{"fileName":"a.pdf","fileSize":1024}"#),
    ("kb:processing", r#","knowledgeBaseId":"k1""#, r#"{"progress":30,"step":"chunking"}"#),
    ("kb:upload_completed", r#","knowledgeBaseId":"k1""#, r#"{"documentId":"d1","chunkCount":7,"embeddingCount":7}"#),
    ("kb:upload_failed", r#","knowledgeBaseId":"k1""#, r#"{"error":"no text","failedStep":"extraction"}"#),
    (
        "log",
        r#","nodeId":"n1""#,
        r#"{"id":"l1","level":"debug","message":"a \"line\"","metadata":{"k":1},"stepName":"s","durationMs":3}"#,
    ),
    ("custom:thing", r#","extra":{"kept":true}"#, r#"{"anything":[null,1e400]}"#),
];

fn sample(kind: &str, fields: &str, data: &str) -> (Prepared, Room) {
    let (of, room) =
        if kind.starts_with("kb:") { ("", Room::parse("kb:k1")) } else { (r#","executionId":"e""#, Room::parse("execution:e")) };
    let text = format!(r#"{{"type":"{kind}"{of},"id":"i1","timestamp":"{AT}"{fields},"data":{data}}}"#);
    (prepare(text.clone().into(), None, &Limits::default()).expect(&text), room.expect("a room"))
}

/// The frames of Socket.IO as a session of one room gets them.
fn packets(pieces: &[Piece], room: &Room) -> Vec<String> {
    let packet = |piece: &Piece| text(whole(&piece.body, Some(&SessionOffset::one(room_tag(room), piece.offset(offset())))));
    pieces.iter().map(packet).collect()
}

/// Bytes in a line of a dump.
const DUMPED: usize = 24;

/// Bytes as they are looked at: hexadecimal, then what of them can be read.
fn dumped(bytes: &[u8]) -> String {
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
    let readable: String = bytes.iter().map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' }).collect();
    format!("{hexadecimal:0$} {readable}", DUMPED * 3)
}

fn told(event: &Prepared, room: &Room) -> String {
    let foreign = Some(room).filter(|room| room.name().starts_with("kb:"));
    let native = native::event_body(event, foreign, None, None, None);
    let native = [&native[..], native::event_tail(Some(&offset())).as_bytes()].concat();
    let stream = text(sse::event(&event.kind, Some(&offset()), &native));
    let packed = native::event_frame_msgpack(&native).expect("packs");
    let sections = [
        ("native", vec![text(native)]),
        ("native, MessagePack", packed.chunks(DUMPED).map(dumped).collect()),
        ("A, Socket.IO", packets(&a::event(event.into()), room)),
        ("C", plain(&c::event(event.into()))),
        ("D, Socket.IO", packets(&[d::event(event.into())], room)),
        ("E", plain(&e::event(event.into()))),
        ("event stream", stream.trim_end().lines().map(str::to_owned).collect()),
    ];
    let section = |(name, frames): &(&str, Vec<String>)| {
        let frames = if frames.is_empty() { "nothing".to_owned() } else { frames.join("\n") };
        format!("{name}:\n{frames}\n")
    };
    sections.iter().map(section).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_type_is_told_as_its_file_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dialects/corpus");
    let update = std::env::var_os("WEFT_TEST_UPDATE").is_some_and(|value| value == "1");
    let mut named = BTreeSet::new();
    for (kind, fields, data) in EVENTS {
        let (event, room) = sample(kind, fields, data);
        let name = format!("{}.txt", kind.replace(':', "-"));
        let found = told(&event, &room);
        if update {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(&name), &found).expect("a file");
        }
        let expected = fs::read_to_string(folder.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found, expected, "{name}");
        named.insert(name);
    }
    let files =
        fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    assert_eq!(files.collect::<BTreeSet<_>>(), named, "a file for each type, and no other");
}
