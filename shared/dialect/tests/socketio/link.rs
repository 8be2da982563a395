//! What clients send, message by message, and what is written back.

use serde_json::value::RawValue;
use weft_dialect::socketio::{
    ConnectRefusal, Incoming, Limits, Link, Namespace, SessionOffset, Violation, connect_error, connected, event_with_args, tail,
};

/// A message of a client.
enum Said<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
}
use Said::{Bytes, Text};

fn raw(args: &[Box<RawValue>]) -> String {
    args.iter().map(|arg| arg.get()).collect::<Vec<_>>().join(" ")
}

fn shown(incoming: Result<Option<Incoming>, Violation>) -> String {
    match incoming {
        Ok(None) => "waits".to_owned(),
        Ok(Some(Incoming::Connect { namespace, auth })) => {
            let object = auth.object.map_or_else(|| "-".to_owned(), |object| object.get().to_owned());
            format!("connect {} {object} {:?} {:?} {:?}", namespace.name(), auth.token, auth.pid, auth.offset)
        }
        Ok(Some(Incoming::Unknown(packet))) => format!("answer {packet}"),
        Ok(Some(Incoming::Disconnect(namespace))) => format!("disconnect {}", namespace.name()),
        Ok(Some(Incoming::Event(event))) => {
            let (space, attachments) = (event.namespace.name(), &event.attachments);
            format!("event {space} {} {:?} [{}] {attachments:?}", event.name, event.ack, raw(&event.args))
        }
        Ok(Some(Incoming::Ack { namespace, id, args, attachments })) => {
            format!("ack {} {id} [{}] {attachments:?}", namespace.name(), raw(&args))
        }
        Err(Violation(why)) => format!("broken: {why}"),
    }
}

fn take(link: &mut Link, said: &Said<'_>, limits: &Limits) -> String {
    let incoming = match said {
        Text(text) => link.text(text, limits),
        Bytes(bytes) => link.binary((*bytes).into(), limits),
    };
    if let Ok(Some(Incoming::Connect { namespace, .. })) = &incoming {
        link.join(*namespace);
    }
    shown(incoming)
}

fn play(script: &[(Said<'_>, &str)]) {
    let mut link = Link::new(Namespace::ALL);
    for (step, (said, expected)) in script.iter().enumerate() {
        assert_eq!(take(&mut link, said, &Limits::default()), *expected, "step {step}");
    }
}

/// What a client that has joined `/` is told of this.
fn joined(said: &str) -> String {
    let mut link = Link::new(Namespace::ALL);
    assert!(take(&mut link, &Text("0"), &Limits::default()).starts_with("connect /"));
    take(&mut link, &Text(said), &Limits::default())
}

#[test]
fn namespaces_are_joined_and_left() {
    play(&[
        (Text("0"), "connect / - None None None"),
        (
            Text(r#"0/executions,{"token":"t","pid":"p","offset":"1o"}"#),
            r#"connect /executions {"token":"t","pid":"p","offset":"1o"} Some("t") Some("p") Some("1o")"#,
        ),
        (Text(r#"2/executions,["subscribe","e"]"#), r#"event /executions subscribe None ["e"] []"#),
        (Text("1/executions,"), "disconnect /executions"),
        (Text(r#"2["x"]"#), "event / x None [] []"),
        (Text("0/executions"), "connect /executions - None None None"),
        (Text("1"), "disconnect /"),
        (Text(r#"2["x"]"#), "broken: a namespace was not joined"),
    ]);
    play(&[(Text("0/random"), r#"answer 44/random,{"message":"Invalid namespace"}"#)]);
    play(&[(Text("0/random,{}"), r#"answer 44/random,{"message":"Invalid namespace"}"#)]);
    play(&[(Text("0/executions?token=x,"), r#"answer 44/executions?token=x,{"message":"Invalid namespace"}"#)]);
    play(&[(Text("0"), "connect / - None None None"), (Text("0{}"), "broken: a namespace is joined twice")]);
    play(&[(Text(r#"2["x"]"#), "broken: a namespace was not joined")]);
}

#[test]
fn a_refused_client_may_ask_again() {
    let mut link = Link::new(Namespace::ALL);
    let limits = Limits::default();
    assert!(!link.is_used() && link.text("0", &limits).is_ok() && link.is_used());
    assert_eq!(shown(link.text("0", &limits)), "broken: a namespace is joined twice");
    link.refuse(Namespace::MAIN);
    assert!(!link.is_used());
    assert_eq!(shown(link.text(r#"2["x"]"#, &limits)), "broken: a namespace was not joined");
    assert!(matches!(link.text("0", &limits), Ok(Some(Incoming::Connect { .. }))));
}

#[test]
fn auth_keeps_only_strings_that_we_could_have_given_out() {
    for (auth, expected) in [
        (r#"{"token":7,"pid":{},"offset":null}"#, "None None None"),
        (r#"{"token":"a\u0062"}"#, r#"Some("ab") None None"#),
        (&format!(r#"{{"pid":"{}"}}"#, "p".repeat(300)), "None None None"),
        (&format!(r#"{{"offset":"{}"}}"#, "1".repeat(3000)), "None None None"),
    ] {
        let mut link = Link::new(Namespace::ALL);
        assert_eq!(take(&mut link, &Text(&format!("0{auth}")), &Limits::default()), format!("connect / {auth} {expected}"));
    }
    for auth in ["[]", "\"x\"", "{", "{}x", "null", "7", r#"{"pid":"a","pid":"b"}"#] {
        let said = take(&mut Link::new(Namespace::ALL), &Text(&format!("0{auth}")), &Limits::default());
        assert!(said.starts_with("broken"), "{auth}: {said}");
    }
}

#[test]
fn events_and_acks() {
    for (said, expected) in [
        (r#"2["message",1,"2",{"3":[true]}]"#, r#"event / message None [1 "2" {"3":[true]}] []"#),
        (r#"2456["message", 1.00]"#, "event / message Some(456) [1.00] []"),
        (r#"20["x"]"#, "event / x Some(0) [] []"),
        (r#"2["a\u0062"]"#, "event / ab None [] []"),
        (r#"312[{"a":1},"s"]"#, r#"ack / 12 [{"a":1} "s"] []"#),
        ("312[]", "ack / 12 [] []"),
        ("2{}", "broken: the payload is no array of few arguments"),
        ("2", "broken: a packet lacks what its type needs, or has what it must not"),
        ("2[]", "broken: an event has no name of its own"),
        ("2[7]", "broken: an event has no name of its own"),
        ("2[null]", "broken: an event has no name of its own"),
        (r#"2["disconnecting"]"#, "broken: an event has no name of its own"),
        (r#"2["connect_error"]"#, "broken: an event has no name of its own"),
        (r#"2["x"] x"#, "broken: the payload is no array of few arguments"),
        (r#"2abc["x"]"#, "broken: the payload is no array of few arguments"),
        (r#"2 ["x"]"#, "broken: the payload is no array of few arguments"),
        (r#"2-1["x"]"#, "broken: the payload is no array of few arguments"),
        (r#"212345678901234567["x"]"#, "broken: the ack id is too large"),
        ("3[]", "broken: a packet lacks what its type needs, or has what it must not"),
        ("312", "broken: a packet lacks what its type needs, or has what it must not"),
        ("1{}", "broken: a packet lacks what its type needs, or has what it must not"),
        ("17", "broken: a packet lacks what its type needs, or has what it must not"),
        (r#"4{"message":"x"}"#, "broken: a packet lacks what its type needs, or has what it must not"),
        ("abc", "broken: unknown type"),
        ("7", "broken: unknown type"),
        ("", "broken: unknown type"),
        ("\u{e9}", "broken: unknown type"),
        (r#"2/unknown,["x"]"#, "broken: a namespace was not joined"),
    ] {
        assert_eq!(joined(said), expected, "{said}");
    }
    assert!(joined(&format!("2/{},[\"x\"]", "n".repeat(200))).starts_with("broken: the namespace is too long"));
    let many = |count: usize| format!(r#"2["x"{}]"#, ",1".repeat(count));
    assert!(joined(&many(31)).starts_with("event") && joined(&many(32)).starts_with("broken"));
}

#[test]
fn attachments_are_counted_bounded_and_in_order() {
    let two = r#"52-7["message",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]"#;
    play(&[
        (Text("0"), "connect / - None None None"),
        (Text(two), "waits"),
        (Bytes(&[1]), "waits"),
        (
            Bytes(&[2, 3]),
            r#"event / message Some(7) [{"_placeholder":true,"num":0} {"a":{"_placeholder":true,"num":1}}] [b"\x01", b"\x02\x03"]"#,
        ),
        (Text(r#"61-12[{"_placeholder":true,"num":0}]"#), "waits"),
        (Bytes(&[]), r#"ack / 12 [{"_placeholder":true,"num":0}] [b""]"#),
        (Bytes(&[1]), "broken: bytes that were not announced"),
    ]);
    play(&[
        (Text("0"), "connect / - None None None"),
        (Text(two), "waits"),
        (Bytes(&[1]), "waits"),
        (Text("2[\"x\"]"), "broken: a text among the attachments"),
    ]);
    for said in [
        // Each of these has brought a server down, or made it keep what it should not (CVE-2022-2421, CVE-2023-32695,
        // CVE-2026-33151, CVE-2026-69185).
        r#"51000000-["m",{"_placeholder":true,"num":0}]"#,
        r#"50-["m"]"#,
        r#"50-["m",{"_placeholder":true,"num":0}]"#,
        r#"511-["m",{"_placeholder":true,"num":0}]"#,
        r#"51-["m",{"_placeholder":true,"num":"splice"}]"#,
        r#"51-["m",{"_placeholder":true,"num":"__proto__"}]"#,
        r#"51-["m",{"_placeholder":true,"num":-1}]"#,
        r#"51-["m",{"_placeholder":true,"num":1}]"#,
        r#"51-["m",{"_placeholder":true}]"#,
        r#"51-[{"_placeholder":true,"num":0},"m"]"#,
        r#"52-["m",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#,
        r#"51-["m"]"#,
        r#"51["m"]"#,
        r#"5-["m"]"#,
        r#"5+1-["m",{"_placeholder":true,"num":0}]"#,
        r#"51.0-["m",{"_placeholder":true,"num":0}]"#,
        "51-",
        r#"51-/executions,["m",{"_placeholder":true,"num":0}]"#,
    ] {
        let mut link = Link::new(Namespace::ALL);
        let limits = Limits::default();
        take(&mut link, &Text("0"), &limits);
        let mut told = take(&mut link, &Text(said), &limits);
        if told == "waits" {
            told = take(&mut link, &Bytes(&[0]), &limits);
        }
        assert!(told.starts_with("broken"), "{said}: {told}");
    }
}

#[test]
fn what_is_held_for_attachments_is_bounded() {
    let limits = Limits { packet_bytes_max: 60, ..Limits::default() };
    let mut link = Link::new(Namespace::ALL);
    take(&mut link, &Text("0"), &limits);
    assert_eq!(take(&mut link, &Text(r#"51-["m",{"_placeholder":true,"num":0}]"#), &limits), "waits");
    assert_eq!(link.bytes_held(), 38);
    assert_eq!(take(&mut link, &Bytes(&[0; 23]), &limits), "broken: too large with its attachments");
    assert_eq!(link.bytes_held(), 0);
    let long = format!(r#"51-["{}",{{"_placeholder":true,"num":0}}]"#, "m".repeat(60));
    assert_eq!(take(&mut link, &Text(&long), &limits), "broken: too large with its attachments");
}

#[test]
fn what_is_written() {
    let arg = |json: &str| RawValue::from_string(json.to_owned()).expect(json);
    let place = r#"{"_placeholder":true,"num":0}"#;
    let custom = Namespace::new("/custom");
    let one = SessionOffset::one(1, weft_event::Position::start(weft_event::Epoch(2)).into());
    for (frame, expected) in [
        (connected(Namespace::MAIN, "s", None), r#"40{"sid":"s"}"#.to_owned()),
        (connected(Namespace::EXECUTIONS, "s", Some("p")), r#"40/executions,{"sid":"s","pid":"p"}"#.to_owned()),
        (
            connect_error(Namespace::EXECUTIONS, ConnectRefusal::Forbidden, Some("not you")),
            r#"44/executions,{"message":"not you","data":{"code":"forbidden"}}"#.to_owned(),
        ),
        (
            connect_error(Namespace::MAIN, ConnectRefusal::Unauthenticated, None),
            r#"44{"message":"The token is missing, wrong or expired.","data":{"code":"unauthenticated"}}"#.to_owned(),
        ),
        (
            connect_error(Namespace::MAIN, ConnectRefusal::RateLimited, None),
            r#"44{"message":"Too many messages or requests in a short time.","data":{"code":"rate_limited"}}"#.to_owned(),
        ),
        (event_with_args(custom, Some("auth"), &[arg("{}")], 0, None), r#"42/custom,["auth",{}]"#.to_owned()),
        (event_with_args(Namespace::MAIN, Some("x"), &[], 0, Some(3)), r#"423["x"]"#.to_owned()),
        (event_with_args(Namespace::MAIN, None, &[arg("1"), arg("\"2\"")], 0, Some(456)), r#"43456[1,"2"]"#.to_owned()),
        (
            event_with_args(Namespace::MAIN, Some("message-back"), &[arg(place)], 1, None),
            format!(r#"451-["message-back",{place}]"#),
        ),
        (event_with_args(custom, None, &[arg(place)], 1, Some(9)), format!("461-/custom,9[{place}]")),
        (tail(None), "]".to_owned()),
        (tail(Some(&one)), r#","1AAAAAQAAAAAAAAAAAgAAAAAA"]"#.to_owned()),
    ] {
        assert_eq!(String::from_utf8(frame).expect("UTF-8"), expected);
    }
}
