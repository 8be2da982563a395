//! Clients that send what they should not, and the two encodings.

use crate::support::{Broker, Heard, Kind, Socket, get, post, publish, publish_numbers};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn ten_messages_in_a_row_that_are_no_protocol_end_the_connection() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut socket = Socket::open(&gateway).await;
    for text in ["", "x", "[]", "{}", "null", "{\"type\":1}", "{\"type\":\"nonsense\"}", "{\"type\":\"ping\"", "\u{0}"] {
        socket.send(Message::text(text)).await;
        let error = socket.hear().await;
        assert_eq!(error["type"], "error", "{text:?}: {error}");
    }
    // A proper message in between begins the count anew; a faulty one of this protocol does too.
    socket.say(json!({"type": "subscribe", "room": "nothing"})).await;
    assert_eq!(socket.hear().await["code"], "invalid");
    for _ in 0..9 {
        socket.send(Message::text("noise")).await;
        assert_eq!(socket.hear().await["code"], "malformed");
    }
    socket.send(Message::text("noise")).await;
    assert_eq!(socket.hear_close().await, Some(4400));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_too_big_of_the_wrong_type_or_malformed_are_closed_with_their_code() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_MESSAGE_BYTES_MAX", "10000")]).await;
    let mut socket = Socket::open(&gateway).await;
    socket.send(Message::text(format!("{{\"type\":\"ping\",\"x\":\"{}\"}}", "x".repeat(20_000)))).await;
    assert_eq!(socket.hear_close().await, Some(1009));
    let mut socket = Socket::open(&gateway).await;
    socket.send(Message::binary(br#"{"type":"ping"}"#.to_vec())).await;
    assert_eq!(socket.hear_close().await, Some(1003));
    let mut packed = Socket::open_with(&gateway.address(), Some("weft.v1.msgpack"), 0).await.expect("an upgrade");
    packed.send(Message::text("{\"type\":\"ping\"}")).await;
    assert_eq!(packed.hear_close().await, Some(1003));
    for (frame, code) in [
        // A text frame that is not UTF-8, an opcode that does not exist, a frame that is not masked.
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe][..], 1007),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
        (&[0x81, 0x02, b'{', b'}'], 1002),
    ] {
        assert_eq!(raw_frame(&gateway.address(), frame).await, code, "{frame:?}");
    }
    // Nobody else has noticed.
    let mut socket = Socket::open(&gateway).await;
    socket.hears_nothing_more().await;
}

/// Sends bytes after a handshake and reads the code of the close frame that comes back.
async fn raw_frame(address: &str, frame: &[u8]) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "GET /api/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut heard = Vec::new();
    while !heard.windows(11).any(|window| window == b"\"connected\"") {
        let mut some = [0; 1024];
        let read = stream.read(&mut some).await.expect("an upgrade");
        assert!(read > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&some[..read]);
    }
    stream.write_all(frame).await.expect("written");
    let mut rest = heard.split_off(heard.len());
    tokio::time::timeout(crate::support::SOON, stream.read_to_end(&mut rest)).await.expect("an end").expect("the rest");
    // The last frame: 0x88, its length, the code.
    let at = rest.iter().rposition(|byte| *byte == 0x88).unwrap_or_else(|| panic!("a close frame in {rest:?}"));
    u16::from_be_bytes([rest[at + 2], rest[at + 3]])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_follows_at_most_so_many_rooms() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut socket = Socket::open(&gateway).await;
    for index in 0..128 {
        socket.subscribe(json!({"executionId": format!("e{index}")})).await;
    }
    socket.say(json!({"type": "subscribe", "executionId": "one-more", "ref": "r"})).await;
    let error = socket.hear().await;
    assert_eq!(
        (&error["code"], &error["room"], &error["ref"]),
        (&json!("too_many_rooms"), &json!("execution:one-more"), &json!("r"))
    );
    socket.say(json!({"type": "unsubscribe", "executionId": "e5"})).await;
    assert_eq!(socket.hear().await["type"], "unsubscribed");
    socket.subscribe(json!({"executionId": "one-more"})).await;
    publish_numbers(&gateway, "one-more", 1..=1).await;
    assert_eq!(socket.hear_number().await, 1);
    // In one message, too.
    let mut socket = Socket::open(&gateway).await;
    let rooms: Vec<Value> = (0..500).map(|index| json!({"room": format!("execution:x{index}")})).collect();
    socket.say(json!({"type": "subscribe", "rooms": rooms})).await;
    assert_eq!(socket.hear().await["field"], "rooms");
    assert!(gateway.metric("weft_gateway_rooms").await.expect("metrics") < 200.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_and_strange_json_is_refused_and_harms_nobody() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut socket = Socket::open(&gateway).await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [
        format!(r#"{{"type":"user_input:provide","executionId":"e","requestId":"r","value":{deep}}}"#),
        format!(r#"{{"type":"subscribe","executionId":"e","rooms":{deep}}}"#),
        format!(r#"{{"type":"ping","x":{deep}}}"#),
        deep.clone(),
        r#"{"type":"subscribe","executionId":"e","types":[1]}"#.into(),
        r#"{"type":"subscribe","executionId":"../../x"}"#.into(),
        r#"{"type":"subscribe","room":"execution:*"}"#.into(),
        r#"{"type":"subscribe","room":"execution:a>"}"#.into(),
        r#"{"type":"subscribe","room":"$SYS.x"}"#.into(),
        r#"{"type":"ping","ref":7}"#.into(),
    ] {
        socket.send(Message::text(text.clone())).await;
        let answer = socket.hear().await;
        let shown: String = text.chars().take(80).collect();
        assert!(answer["type"] == "error" || shown.contains("\"ping\",\"x\""), "{shown}: {answer}");
    }
    assert_eq!(post(&gateway, format!(r#"{{"type":"log","executionId":"e","data":{{"x":{deep}}}}}"#)).await.0, 400);
    assert_eq!(post(&gateway, deep).await.0, 400);
    socket.hears_nothing_more().await;
    assert_eq!(get(&gateway, "/api/ws/health").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_messagepack_session_is_told_the_same_values_as_a_json_one() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut json_session = Socket::open_with(&gateway.address(), Some("weft.v1.json"), 0).await.expect("an upgrade");
    let mut packed = Socket::open_with(&gateway.address(), Some("weft.v1.msgpack, weft.v1.json"), 0).await.expect("an upgrade");
    let subscribe = json!({"type": "subscribe", "rooms": [{"room": "execution:e"}, {"room": "user:ada"}], "ref": "r"});
    json_session.say(subscribe.clone()).await;
    packed.send(Message::binary(pack(&subscribe))).await;
    publish(&gateway, json!([
        {"type": "log", "id": "1", "timestamp": "2026-01-01T00:00:00.000Z", "executionId": "e", "userId": "ada",
         "data": {"level": "info", "message": "äöü ☃ 🦀 \u{0}", "n": 1, "big": u64::MAX, "small": i64::MIN, "half": 0.5, "no": null,
                  "yes": true, "list": [[], {}, [1, [2, [3]]]], "long": "x".repeat(70_000)}},
        {"type": "execution:completed", "id": "2", "executionId": "e", "userId": "ada", "data": {"n": 2, "result": {"a": 1}}},
    ]))
    .await;
    let strip = |mut frame: Value| {
        // What differs between any two connections.
        for field in ["connectionId", "timestamp"] {
            frame.as_object_mut().expect("an object").remove(field);
        }
        frame
    };
    for _ in 0..5 {
        let expected = json_session.hear().await;
        let Heard::Binary(bytes) = packed.next().await else { panic!("a binary frame") };
        let told = unpack(&bytes);
        assert_eq!(strip(told), strip(expected));
    }
    packed.send(Message::binary(vec![0xc1])).await;
    let Heard::Binary(bytes) = packed.next().await else { panic!("a binary frame") };
    assert_eq!(unpack(&bytes)["code"], "malformed");
}

/// MessagePack of a small message.
fn pack(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("MessagePack")
}

fn unpack(bytes: &[u8]) -> Value {
    rmp_serde::from_slice(bytes).expect("JSON's values")
}
