//! `socket.io-client` against frames of ours: it keeps the right offset, comes back with it, and knows itself recovered.

use super::reference::client;
use serde_json::{Value, json};
use weft_dialect::{
    a, d,
    engine::{Handshake, Transport},
    native::Outcome,
    notice::Notice,
    piece::Piece,
    socketio::{
        Answer, ConnectRefusal, Cursor, Incoming, Limits, Link, Namespace, SessionOffset, ack, connect_error, connected,
        room_tag, whole,
    },
};
use weft_event::{Epoch, Offset, Position, Room, prepare};

fn offset(seq: u64) -> Offset {
    Position { epoch: Epoch(10), seq, check: 11 }.into()
}

fn room() -> Room {
    Room::execution("e").expect("room")
}

fn told(seq: u64) -> SessionOffset {
    SessionOffset::one(room_tag(&room()), offset(seq))
}

fn pieces(kind: &str, of: fn(weft_dialect::piece::Told<'_>) -> Vec<Piece>) -> Vec<Piece> {
    let text = format!(r#"{{"type":"{kind}","executionId":"e","id":"i","data":{{"message":"m"}}}}"#);
    of((&prepare(text.into(), None, &weft_event::Limits::default()).expect(kind)).into())
}

/// A connection: what its handshake is, and the frames that follow the client's CONNECT.
fn connection(frames: &[Vec<u8>]) -> Value {
    let handshake = Handshake {
        sid: "s",
        transport: Transport::WebSocket,
        ping_interval_ms: 25_000,
        ping_timeout_ms: 20_000,
        payload_bytes_max: 1 << 20,
    };
    let frames: Vec<&str> = frames.iter().map(|frame| std::str::from_utf8(frame).expect("UTF-8")).collect();
    json!({ "handshake": handshake.text(), "frames": frames })
}

/// What a CONNECT says, read by ours.
fn pid_and_offset(connect: &Value) -> (Option<String>, Option<String>) {
    match Link::new(Namespace::ALL).text(connect.as_str().expect("a text"), &Limits::default()) {
        Ok(Some(Incoming::Connect { auth, .. })) => (auth.pid, auth.offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_of_a_comes_back_with_the_offset_of_its_last_event() {
    let space = Namespace::EXECUTIONS;
    let (room, at) = (room(), offset(3));
    let gap = Notice::Gap { room: &room, from: None, to: Some(&at), reason: "retention" };
    let failed = pieces("execution:failed", a::event);
    let part = SessionOffset::one(room_tag(&room), failed[0].offset(offset(8)));
    let first = [
        connected(space, "s1", Some("p1")),
        ack(space, 0, &Answer::Subscribed { outcome: Outcome::Live, offset: Some("a.3.0000000b") }),
        whole(&pieces("log", a::event)[0].body, Some(&told(7))),
        // Cut between two frames of one event, and what is no event after it leaves the offset as it is.
        whole(&failed[0].body, Some(&part)),
        whole(&a::notice(&gap, "e", "now").expect("a gap"), None),
        whole(&a::error(Some("e"), "no"), None),
    ];
    let second = [connected(space, "s2", Some("p1")), whole(&failed[1].body, Some(&told(8)))];
    let third = [connected(space, "s3", Some("p2"))];
    let fourth = [connected(space, "s4", Some("p2"))];
    let played = client("/executions", &[connection(&first), connection(&second), connection(&third), connection(&fourth)]);
    let connects: Vec<_> = played["connects"].as_array().expect("connects").iter().map(pid_and_offset).collect();
    let text = |offset: &SessionOffset| Some(offset.to_string());
    assert_eq!(
        connects,
        [
            (None, None),
            (Some("p1".into()), text(&part)),
            (Some("p1".into()), text(&told(8))),
            // The stale offset of the session before: the record's start tells that it is.
            (Some("p2".into()), text(&told(8))),
        ]
    );
    assert_eq!(played["recovered"], json!([false, true, false, true]));
    assert_eq!(played["acks"], json!([{ "ok": true, "outcome": "live", "offset": "a.3.0000000b" }]));
    let names: Vec<&Value> = played["events"].as_array().expect("events").iter().map(|event| &event[0]).collect();
    assert_eq!(names, ["log", "status", "log", "error", "disconnect", "error", "disconnect", "disconnect", "disconnect"]);
}

#[test]
fn a_client_of_d_keeps_all_its_rooms_in_one_offset() {
    let body = |kind: &str| pieces(kind, |told| vec![d::event(told)]).remove(0).body;
    let user = Room::user("u").expect("room");
    let cursors = vec![
        Cursor { tag: room_tag(&user), offset: Offset { since: Some(2), ..offset(4) } },
        Cursor { tag: room_tag(&room()), offset: Offset { since: Some(3), ..offset(9) } },
    ];
    let both = SessionOffset::new(cursors).expect("two rooms");
    let snapshot = d::snapshot(&room(), Some("a.3.0000000b"), "{}").expect("JSON");
    let first = [
        connected(Namespace::MAIN, "s1", Some("p1")),
        whole(&snapshot, None),
        whole(&body("execution:started"), Some(&both)),
        whole(&d::notice(&Notice::Degraded { active: true }), None),
        whole(&d::error("token_expired", "soon", Some("user:u")), None),
    ];
    let second = [connected(Namespace::MAIN, "s2", Some("p1"))];
    let played = client("/", &[connection(&first), connection(&second)]);
    assert_eq!(pid_and_offset(&played["connects"][1]), (Some("p1".into()), Some(both.to_string())));
    assert_eq!(played["recovered"], json!([false, true]));
    let event = &played["events"][1];
    assert_eq!(
        (&event[0], &event[1]["type"], &event[2]),
        (&json!("execution:started"), &json!("execution:started"), &json!(both.to_string()))
    );
}

#[test]
fn a_client_that_is_refused_stays_away_and_one_that_is_parted_comes_back() {
    let refused = [connect_error(Namespace::EXECUTIONS, ConnectRefusal::Unauthenticated, None)];
    let played = client("/executions", &[connection(&refused), connection(&[])]);
    assert_eq!(
        played["events"],
        json!([["connect_error", "The token is missing, wrong or expired.", { "code": "unauthenticated" }]])
    );
    // The Engine.IO session ends without a word: this is how we drain.
    let parted = [connected(Namespace::EXECUTIONS, "s", None)];
    let played = client("/executions", &[connection(&parted), connection(&parted)]);
    assert_eq!(played["connects"].as_array().map(Vec::len), Some(2));
    assert_eq!(played["recovered"], json!([false, false]));
}
