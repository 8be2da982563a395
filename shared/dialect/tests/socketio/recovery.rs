//! The offset of a session and the record of it: what is written is read again, and a stale offset moves nothing.

use proptest::prelude::*;
use weft_dialect::socketio::{
    Cursor, Namespace, RECOVERABLE_ROOMS_MAX, Recovery, SessionOffset, offset::CHARS_MAX, recovery::RECORD_BYTES_MAX,
    recovery::Unreadable, recovery::Unrecoverable, room_tag,
};
use weft_event::{Epoch, Offset, Position, Resume, Room};

fn room(name: &str) -> Room {
    Room::parse(name).expect(name)
}

fn offset(text: &str) -> Offset {
    text.parse().expect(text)
}

fn record(rooms: &[(&str, Option<&str>)]) -> Recovery {
    let mut record = Recovery::new(Some("acme"), Some("u"), Namespace::MAIN);
    for (name, start) in rooms {
        record.add(&room(name), start.map(offset)).expect("a room");
    }
    record
}

fn told(cursors: &[(&str, &str)]) -> SessionOffset {
    let cursor = |(name, at): &(&str, &str)| Cursor { tag: room_tag(&room(name)), offset: offset(at) };
    SessionOffset::new(cursors.iter().map(cursor).collect()).expect("legal")
}

#[test]
fn a_session_goes_on_from_the_later_of_start_and_cursor() {
    for (start, cursor, expected) in [
        (Some("a.5.00000001"), None, "a.5.00000001"),
        (Some("a.5.00000001"), Some("a.9.00000002"), "a.9.00000002.5"),
        (Some("a.5.00000001.3"), Some("a.9.00000002"), "a.9.00000002.3"),
        (Some("a.5.00000001.3"), Some("a.9.00000002.4"), "a.9.00000002.4"),
        (Some("a.5.00000001"), Some("a.6.00000002/1"), "a.6.00000002.5/1"),
        // The client has kept these over a session that was not recovered.
        (Some("a.5.00000001"), Some("a.4.00000002"), "a.5.00000001"),
        (Some("a.5.00000001"), Some("a.5.00000001/1"), "a.5.00000001"),
        // The epoch has changed since the follow began, or the cursor is of a lost one: the read finds out.
        (Some("a.5.00000001"), Some("b.2.00000002"), "b.2.00000002"),
        (None, None, "0"),
        (None, Some("a.2.00000002"), "a.2.00000002"),
    ] {
        let record = record(&[("execution:e", start)]);
        let told = cursor.map(|cursor| told(&[("user:gone", "a.99.00000001"), ("execution:e", cursor)]));
        let expected: Resume = expected.parse().expect(expected);
        assert_eq!(record.resume(told.as_ref()), [(room("execution:e"), expected)], "{start:?} {cursor:?}");
    }
}

#[test]
fn each_room_has_its_own_cursor() {
    let record = record(&[("user:u", Some("a.1.00000001")), ("execution:e", Some("b.2.00000001")), ("kb:k", None)]);
    let told = told(&[("execution:e", "b.7.00000003.2/1"), ("user:u", "a.4.00000002.1")]);
    let resume = |text: &str| text.parse::<Resume>().expect(text);
    assert_eq!(
        record.resume(Some(&told)),
        [
            (room("user:u"), resume("a.4.00000002.1")),
            (room("execution:e"), resume("b.7.00000003.2/1")),
            (room("kb:k"), resume("0")),
        ]
    );
}

#[test]
fn a_record_survives_the_bus() {
    let mut kept = record(&[("user:u", Some("a.1.00000001")), ("agent:a:e", None)]);
    assert_eq!(
        String::from_utf8(kept.encode()).as_deref(),
        Ok(r#"{"v":1,"t":"acme","s":"u","n":"/","r":[["user:u","a.1.00000001"],["agent:a:e",""]]}"#)
    );
    assert_eq!(Recovery::decode(&kept.encode(), Namespace::ALL).expect("reads back"), kept);
    assert!(kept.is_of(Some("acme"), Some("u"), Namespace::MAIN));
    for (tenant, subject, namespace) in [
        (None, Some("u"), Namespace::MAIN),
        (Some("acme"), None, Namespace::MAIN),
        (Some("acme"), Some("v"), Namespace::MAIN),
        (Some("acme"), Some("u"), Namespace::EXECUTIONS),
    ] {
        assert!(!kept.is_of(tenant, subject, namespace));
    }
    assert!(kept.remove(&room("user:u").in_tenant(Some("acme")).expect("tenant")) && !kept.remove(&room("user:u")));
    let anonymous = Recovery::new(None, None, Namespace::EXECUTIONS);
    assert_eq!(anonymous.encode(), br#"{"v":1,"n":"/executions","r":[]}"#);
    assert_eq!(Recovery::decode(&anonymous.encode(), Namespace::ALL).expect("reads back"), anonymous);
}

#[test]
fn what_is_no_record_of_ours_is_not_read() {
    assert!(matches!(Recovery::decode(br#"{"v":2,"rooms":{}}"#, Namespace::ALL), Err(Unreadable::Version(2))));
    let large = format!(r#"{{"v":1,"s":"{}","n":"/","r":[]}}"#, "s".repeat(RECORD_BYTES_MAX));
    for bytes in [
        "",
        "[]",
        "{}",
        r#"{"v":1}"#,
        r#"{"v":1,"n":"/other","r":[]}"#,
        r#"{"v":1,"n":"/","r":[["job:1",""]]}"#,
        r#"{"v":1,"n":"/","r":[["user:u","1"]]}"#,
        &large,
    ] {
        assert!(matches!(Recovery::decode(bytes.as_bytes(), Namespace::ALL), Err(Unreadable::Broken(_))), "{bytes}");
    }
}

#[test]
fn a_session_of_many_rooms_is_not_recovered() {
    let mut record = Recovery::new(None, None, Namespace::MAIN);
    // The longest names and positions that there are.
    let longest = |index: usize| room(&format!("agent:{:a<128}:{:b<128}", index, index));
    let start = offset("ffffffffffffffff.18446744073709551615.ffffffff.18446744073709551615");
    for index in 0..RECOVERABLE_ROOMS_MAX {
        record.add(&longest(index), Some(start)).expect("a room");
        record.add(&longest(index), None).expect("followed already");
    }
    assert_eq!(record.add(&room("user:u"), None), Err(Unrecoverable::TooManyRooms));
    assert!(record.encode().len() <= RECORD_BYTES_MAX, "{}", record.encode().len());
    assert_eq!(Recovery::decode(&record.encode(), Namespace::ALL).expect("reads back"), record);

    let cursor = |tag: u32| {
        let at = Position { epoch: Epoch(u64::MAX - u64::from(tag)), seq: u64::MAX, check: u32::MAX };
        Cursor { tag, offset: Offset { at, since: Some(u64::MAX), part: Some(255) } }
    };
    let full: Vec<Cursor> = (0..RECOVERABLE_ROOMS_MAX as u32).map(cursor).collect();
    let text = SessionOffset::new(full.clone()).expect("as many as there may be").to_string();
    assert!(text.len() <= CHARS_MAX, "{}", text.len());
    assert_eq!(text.parse().ok(), SessionOffset::new(full.clone()));
    assert_eq!(SessionOffset::new([full.clone(), vec![cursor(99)]].concat()), None);
    assert_eq!(SessionOffset::new(vec![cursor(1), cursor(1)]), None);
    assert_eq!(SessionOffset::new(Vec::new()), None);
}

#[test]
fn rooms_that_share_a_tag_cannot_be_told_apart() {
    // Found by trying names one after the other.
    let (one, other) = (room("execution:35098"), room("execution:94393"));
    assert_eq!(room_tag(&one), room_tag(&other));
    let mut record = Recovery::new(None, None, Namespace::MAIN);
    record.add(&one, None).expect("the first");
    assert_eq!(record.add(&other, None), Err(Unrecoverable::SameTag));
}

#[test]
fn forged_offsets_are_refused() {
    let long = format!("1{}", "A".repeat(CHARS_MAX));
    for text in [
        "",
        "1",
        "2AAAAAQAAAAAAAAAAAgAAAAAA",
        "1AAAAAQAAAAAAAAAAAgAAAAA",
        "1AAAAAQAAAAAAAAAAAgAAAAAAA",
        "1AAAAAQAAAAAAAAAAAgAAAAAA=",
        "1AAAAAQEAAAAAAA",
        "1AAAAAQgAAAAAAAAAAgAAAAAA",
        // A number written longer than it need be.
        "1AAAAAQAAAAAAAAAAAoIAAAAAAA",
        "a.1.00000001",
        "0",
        "1!!!!",
        &long,
    ] {
        assert!(text.parse::<SessionOffset>().is_err(), "{text}");
    }
}

fn any_offset() -> impl Strategy<Value = Offset> {
    (prop_oneof![Just(7u64), any::<u64>()], any::<u64>(), any::<u32>(), any::<Option<u64>>(), any::<Option<u8>>())
        .prop_map(|(epoch, seq, check, since, part)| Offset { at: Position { epoch: Epoch(epoch), seq, check }, since, part })
}

proptest! {
    #[test]
    fn offsets_round_trip(cursors in prop::collection::btree_map(any::<u32>(), any_offset(), 1..RECOVERABLE_ROOMS_MAX)) {
        let cursors: Vec<Cursor> = cursors.into_iter().map(|(tag, offset)| Cursor { tag, offset }).collect();
        let offset = SessionOffset::new(cursors.clone()).expect("legal");
        let read: SessionOffset = offset.to_string().parse().expect("ours");
        prop_assert_eq!(read.cursors(), &cursors[..]);
        for cursor in &cursors {
            prop_assert_eq!(read.of(cursor.tag), Some(&cursor.offset));
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>(), base64 in "1[A-Za-z0-9_-]{0,90}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for text in [text, base64] {
            if let Ok(offset) = text.parse::<SessionOffset>() {
                prop_assert_eq!(offset.to_string(), text);
            }
        }
        let _ = Recovery::decode(&bytes, Namespace::ALL);
    }
}
