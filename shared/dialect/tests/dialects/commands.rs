//! What clients of A and D may emit, and how they are refused (sections 7 and 8).

use super::samples::text;
use weft_dialect::{
    a, d,
    native::{Limits, Outcome, Refused},
    socketio::{Answer, Command, Event, Incoming, Link, Namespace, ack},
};

/// The event that a client of `namespace` makes of these arguments.
fn emitted(namespace: Namespace, args: &str) -> Event {
    let mut link = Link::new(Namespace::ALL);
    let limits = weft_dialect::socketio::Limits::default();
    let space = if namespace == Namespace::MAIN { String::new() } else { format!("{},", namespace.name()) };
    assert!(matches!(link.text(&format!("0{space}"), &limits), Ok(Some(Incoming::Connect { .. }))));
    link.join(namespace);
    match link.text(&format!("2{space}{args}"), &limits) {
        Ok(Some(Incoming::Event(event))) => event,
        other => panic!("{args}: {other:?}"),
    }
}

fn shown(command: Result<Command, Refused>) -> String {
    match command {
        Ok(Command::Subscribe(room)) => format!("subscribe {room}"),
        Ok(Command::Unsubscribe(room)) => format!("unsubscribe {room}"),
        Ok(Command::ProvideInput { execution_id, request_id, value }) => format!("input {execution_id} {request_id} {value}"),
        Ok(Command::Cancel { execution_id, reason }) => format!("cancel {execution_id} {reason:?}"),
        Ok(Command::Auth(token)) => format!("auth {}", token.expose()),
        Err(refused) => format!("{}: {}", refused.code, refused.message),
    }
}

#[test]
fn commands_of_a() {
    for (args, expected) in [
        (r#"["subscribe","exec-1"]"#, "subscribe execution:exec-1"),
        (r#"["unsubscribe","exec-1"]"#, "unsubscribe execution:exec-1"),
        (r#"["subscribe","exec-1",{"more":1}]"#, "subscribe execution:exec-1"),
        (r#"["subscribe"]"#, "invalid: executionId: is required"),
        (r#"["subscribe",null]"#, "invalid: executionId: must be a string"),
        (r#"["subscribe",{"executionId":"e"}]"#, "invalid: executionId: must be a string"),
        (r#"["subscribe",""]"#, "invalid: executionId: must not be empty"),
        (r#"["subscribe","a b"]"#, "invalid: executionId: may hold only A-Z a-z 0-9 _ - . : ~ @"),
        (r#"["hello","e"]"#, "unknown_type: an event must be subscribe or unsubscribe"),
    ] {
        assert_eq!(shown(a::command(&emitted(Namespace::EXECUTIONS, args))), expected, "{args}");
    }
}

#[test]
fn commands_of_d() {
    for (args, expected) in [
        (r#"["subscribe","user:u"]"#, "subscribe user:u"),
        (r#"["subscribe",{"channel":"agent:a:e"}]"#, "subscribe agent:a:e"),
        (r#"["subscribe",{"executionId":"e"}]"#, "subscribe execution:e"),
        (r#"["unsubscribe",{"channel":"kb:k","other":1}]"#, "unsubscribe kb:k"),
        (r#"["subscribe",{"channel":"kb:k","executionId":"e"}]"#, "invalid: channel: must be a room, {channel} or {executionId}"),
        (r#"["subscribe",{}]"#, "invalid: channel: must be a room, {channel} or {executionId}"),
        (r#"["subscribe",["kb:k"]]"#, "invalid: channel: must be a string"),
        (r#"["subscribe","acme/kb:k"]"#, "invalid: room: must begin with execution:, user:, agent: or kb:"),
        (r#"["subscribe",7]"#, "invalid: channel: must be a string"),
        (r#"["user_input:provide",{"executionId":"e","requestId":"r","value":{"a": 1.0}}]"#, r#"input e r {"a": 1.0}"#),
        (r#"["user_input:provide",{"executionId":"e","requestId":"r","value":null,"type":"ping"}]"#, "input e r null"),
        (r#"["user_input:provide",{"executionId":"e","requestId":"r"}]"#, "invalid: value: is required"),
        (r#"["user_input:provide",{"executionId":"e","value":1}]"#, "invalid: requestId: is required"),
        (r#"["user_input:provide",{"executionId":7,"requestId":"r","value":1}]"#, "invalid: executionId: must be a string"),
        (r#"["user_input:provide","e"]"#, "invalid: data: must be {executionId,requestId,value}"),
        (r#"["user_input:provide"]"#, "invalid: data: is required"),
        (r#"["cancel",{"executionId":"e","reason":"enough"}]"#, r#"cancel e Some("enough")"#),
        (r#"["cancel",{"executionId":"e"}]"#, "cancel e None"),
        (r#"["cancel",{"executionId":"e","reason":7}]"#, "invalid: reason: must be a string"),
        (r#"["cancel",{"reason":"enough"}]"#, "invalid: executionId: is required"),
        (r#"["auth",{"token":"a.b.c"}]"#, "auth a.b.c"),
        (r#"["auth","a.b.c"]"#, "invalid: data: must be {token}"),
        (r#"["auth",{"token":7}]"#, "invalid: token: must be a string"),
        (r#"["auth",{}]"#, "invalid: token: is required"),
        (r#"["cancel",["e"]]"#, "invalid: data: must be {executionId,reason?}"),
        (r#"["constructor"]"#, "unknown_type: an event must be subscribe, unsubscribe, user_input:provide, cancel or auth"),
    ] {
        assert_eq!(shown(d::command(&emitted(Namespace::MAIN, args), &Limits::default())), expected, "{args}");
    }
    let deep =
        format!(r#"["user_input:provide",{{"executionId":"e","requestId":"r","value":{}{}}}]"#, "[".repeat(65), "]".repeat(65));
    let deep = d::command(&emitted(Namespace::MAIN, &deep), &Limits::default());
    assert_eq!(shown(deep), "invalid: value: must nest at most 64 deep");
}

#[test]
fn acks_are_one_object() {
    let refused = a::command(&emitted(Namespace::EXECUTIONS, r#"["subscribe"]"#)).expect_err("refused");
    for (frame, expected) in [
        (
            ack(Namespace::EXECUTIONS, 7, &Answer::Subscribed { outcome: Outcome::Snapshot, offset: Some("a.7.0000000b") }),
            r#"43/executions,7[{"ok":true,"outcome":"snapshot","offset":"a.7.0000000b"}]"#,
        ),
        (
            ack(Namespace::MAIN, 0, &Answer::Subscribed { outcome: Outcome::Live, offset: None }),
            r#"430[{"ok":true,"outcome":"live","offset":null}]"#,
        ),
        (ack(Namespace::MAIN, 1, &Answer::Done), r#"431[{"ok":true}]"#),
        (
            ack(Namespace::MAIN, 2, &Answer::from(&refused)),
            r#"432[{"ok":false,"code":"invalid","message":"executionId: is required"}]"#,
        ),
    ] {
        assert_eq!(text(frame), expected);
    }
}
