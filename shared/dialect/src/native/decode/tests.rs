use super::*;

fn json(text: &str) -> Result<ClientMessage, Refused> {
    decode(Encoding::Json, text.as_bytes(), &Limits::default())
}

fn subscribed(text: &str) -> Subscribe {
    match json(text) {
        Ok(ClientMessage::Subscribe(subscribe)) => subscribe,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_subscribe_as_system_b_sends_it() {
    let subscribe = subscribed(r#"{"type":"subscribe","executionId":"e"}"#);
    let only = RoomRequest { room: Room::parse("execution:e").expect("room"), resume: None, as_execution: true };
    assert_eq!(subscribe.rooms, [only]);
    assert!(!subscribe.snapshot && !subscribe.batch && !subscribe.conflate && !subscribe.history_logs);
    assert!(subscribe.types.is_none() && subscribe.reference.is_none());
}

#[test]
fn a_subscribe_with_everything() {
    let subscribe = subscribed(
        r#" {"type":"subscribe","room":"user:u","offset":"a.7.0000000b.3","snapshot":true,"batch":true,
            "conflate":true,"history":"logs","types":["execution:*","log"],"ref":"r\u0031","later":[1]} "#,
    );
    assert_eq!(subscribe.rooms[0].room.name(), "user:u");
    assert_eq!(subscribe.rooms[0].resume, "a.7.b.3".parse().ok());
    assert!(subscribe.snapshot && subscribe.batch && subscribe.conflate && subscribe.history_logs);
    assert!(subscribe.types.is_some_and(|types| types.matches("log") && !types.matches("node:started")));
    assert_eq!(subscribe.reference.as_deref(), Some("r1"));
}

#[test]
fn several_rooms_resume_in_one_message() {
    let subscribe = subscribed(
        r#"{"type":"subscribe","rooms":[{"room":"execution:e","offset":"1.2.3"},{"executionId":"f","offset":0},{"room":"kb:k"}]}"#,
    );
    let told: Vec<_> = subscribe.rooms.iter().map(|each| (each.room.name(), each.resume, each.as_execution)).collect();
    let after = "1.2.3".parse().ok();
    assert_eq!(told, [("execution:e", after, false), ("execution:f", Some(Resume::Start), true), ("kb:k", None, false)]);
}

#[test]
fn the_other_messages() {
    assert!(matches!(
        json(r#"{"type":"unsubscribe","room":"execution:e","ref":"x"}"#),
        Ok(ClientMessage::Unsubscribe { room, as_execution: false, reference: Some(_) }) if room.id() == "e"
    ));
    assert!(matches!(json(r#"{"type":"ping"}"#), Ok(ClientMessage::Ping { reference: None })));
    assert!(
        matches!(json(r#"{"type":"auth","token":"t"}"#), Ok(ClientMessage::Auth { token, .. }) if token.expose() == "t" && !format!("{token:?}").contains('t'))
    );
    assert!(matches!(
        json(r#"{"type":"cancel","executionId":"e","reason":"enough"}"#),
        Ok(ClientMessage::Cancel { execution_id, reason: Some(_), reference: None }) if execution_id == "e"
    ));
    for (sent, kept) in [("{\"a\":\n 1.00}", "{\"a\":  1.00}"), ("null", "null"), ("\"a\\nb\"", "\"a\\nb\"")] {
        let text = format!(r#"{{"type":"user_input:provide","executionId":"e","requestId":"r","value":{sent},"ref":"x"}}"#);
        let Ok(ClientMessage::ProvideInput { request_id, value, .. }) = json(&text) else { panic!("{text}") };
        assert_eq!((value.get(), request_id.as_str()), (kept, "r"));
    }
}

#[test]
fn a_faulty_message_is_told_its_field_and_keeps_its_ref() {
    for (rest, field, room) in [
        (r#""type":"subscribe""#, "room", None),
        (r#""type":"subscribe","room":"job:1""#, "room", None),
        (r#""type":"subscribe","room":7"#, "room", None),
        (r#""type":"subscribe","executionId":"a b""#, "executionId", None),
        (r#""type":"subscribe","executionId":"e","room":"execution:f""#, "room", None),
        (r#""type":"subscribe","executionId":"e","offset":"7""#, "offset", Some("execution:e")),
        (r#""type":"subscribe","executionId":"e","offset":7"#, "offset", Some("execution:e")),
        (r#""type":"subscribe","executionId":"e","snapshot":"yes""#, "snapshot", Some("execution:e")),
        (r#""type":"subscribe","executionId":"e","history":"all""#, "history", Some("execution:e")),
        (r#""type":"subscribe","executionId":"e","types":[]"#, "types", Some("execution:e")),
        (r#""type":"subscribe","executionId":"e","types":"log""#, "types", Some("execution:e")),
        (r#""type":"subscribe","rooms":[]"#, "rooms", None),
        (r#""type":"subscribe","rooms":["execution:e"]"#, "rooms", None),
        (r#""type":"subscribe","rooms":[["execution:e"]]"#, "rooms", None),
        (r#""type":"subscribe","rooms":[{"room":"kb:k"},{"room":"kb:k"}]"#, "rooms", Some("kb:k")),
        (r#""type":"subscribe","rooms":[{"room":"kb:k"}],"offset":"0""#, "rooms", None),
        (r#""type":"unsubscribe","executionId":"""#, "executionId", None),
        (r#""type":"auth""#, "token", None),
        (r#""type":"auth","token":"""#, "token", None),
        (r#""type":"cancel""#, "executionId", None),
        (r#""type":"user_input:provide","executionId":"e","value":1"#, "requestId", None),
        (r#""type":"user_input:provide","executionId":"e","requestId":"r""#, "value", None),
    ] {
        let refused = json(&format!(r#"{{"ref":"mine",{rest}}}"#)).expect_err(rest);
        assert_eq!((refused.code, refused.field, refused.room.as_deref()), ("invalid", Some(field), room), "{rest}");
        assert!(refused.is_protocol && refused.reference.as_deref() == Some("mine"), "{rest}");
        assert!(refused.message.starts_with(field), "{}", refused.message);
    }
    let refused = json(r#"{"type":"ping","ref":7}"#).expect_err("ref");
    assert_eq!((refused.field, refused.is_protocol), (Some("ref"), true));
}

#[test]
fn what_is_no_protocol_is_told_apart() {
    for (text, code) in [
        ("", "malformed"),
        ("ping", "malformed"),
        ("[\"subscribe\"]", "malformed"),
        ("{\"type\":\"ping\"} {}", "malformed"),
        ("{\"type\":\"ping\",\"type\":\"ping\"}", "malformed"),
        ("{}", "malformed"),
        ("{\"type\":null}", "malformed"),
        ("{\"type\":\"hello\"}", "unknown_type"),
    ] {
        let refused = json(text).expect_err(text);
        assert_eq!((refused.code, refused.is_protocol), (code, false), "{text}");
    }
    assert!(decode(Encoding::Json, b"{\"type\":\"\xff\"}", &Limits::default()).is_err_and(|refused| !refused.is_protocol));
}

#[test]
fn limits_hold() {
    let limits = Limits { message_bytes_max: 4096, depth_max: 4, rooms_max: 2 };
    let refused = |text: &str| decode(Encoding::Json, text.as_bytes(), &limits).expect_err("over a limit");
    assert_eq!(refused(&" ".repeat(4097)).code, "too_large");
    let rooms = r#"{"type":"subscribe","rooms":[{"room":"kb:a"},{"room":"kb:b"},{"room":"kb:c"}]}"#;
    assert_eq!(refused(rooms).field, Some("rooms"));
    let deep = r#"{"type":"user_input:provide","executionId":"e","requestId":"r","value":[[[[[]]]]]}"#;
    assert_eq!(refused(deep).field, Some("value"));
    assert_eq!(refused(&format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(257))).field, Some("ref"));
    let packed = [&[0xda, 0x0f, 0xf0][..], &[1; 4080]].concat();
    let refused = decode(Encoding::MessagePack, &packed, &limits).expect_err("too large as JSON");
    assert_eq!((refused.code, refused.is_protocol), ("malformed", false));
}

#[test]
fn messagepack_says_the_same() {
    let packed = msgpack::from_json(br#"{"type":"subscribe","rooms":[{"room":"kb:k","offset":"0"}],"batch":true}"#);
    let message = decode(Encoding::MessagePack, &packed.expect("packs"), &Limits::default());
    let Ok(ClientMessage::Subscribe(subscribe)) = message else { panic!("{message:?}") };
    assert!(subscribe.batch && subscribe.rooms[0].resume == Some(Resume::Start));
    let refused = decode(Encoding::MessagePack, &[0x91, 1], &Limits::default()).expect_err("an array");
    assert!(!refused.is_protocol);
}
