//! A client of Socket.IO shows another token on the connection that it has, as a native one does (`auth_life.rs`).

use crate::{
    auth_rig::{self, Polling, Ws, log, now, of, publish, token},
    support::{Broker, Kind, SOON},
};
use serde_json::{Value, json};
use std::time::Duration;

/// The event by which it does.
fn auth(ack: u32, token: &str) -> String {
    format!("42{ack}{}", json!(["auth", {"token": token}]))
}

async fn acked(socket: &mut Ws, ack: u32) -> Value {
    let text = socket.hear(&format!("43{ack}[")).await;
    serde_json::from_str(&text[text.find('[').expect("an array")..]).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_socketio_shows_a_new_token_and_stays() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_PENDING_TIMEOUT", "1"), ("WEFT_PING_SECS", "600")]).await;
    publish(&gateway, None, json!([log("hers", Some("ada"), "x"), log("his", Some("bob"), "x")])).await;
    let expires = now() + 12;
    let short = token(json!({"sub": "ada", "exp": expires, "rooms": ["execution:his"]}));
    let (mut socket, answer) = Ws::socketio(&gateway, &json!({"token": short})).await;
    assert!(answer.starts_with("40{"), "{answer}");
    socket.hear(r#""code":"token_expired""#).await;
    for (ack, room) in [(0, "execution:hers"), (1, "execution:his")] {
        socket.text(format!("42{ack}{}", json!(["subscribe", room]))).await;
        assert_eq!(acked(&mut socket, ack).await[0]["ok"], true, "{room}");
    }
    let elsewhere = token(json!({"sub": "ada", "tenant": "acme"}));
    for (ack, wrong) in [(2, of("bob")), (3, elsewhere), (4, "nothing".to_owned())] {
        socket.text(auth(ack, &wrong)).await;
        let refused = acked(&mut socket, ack).await;
        assert_eq!((&refused[0]["ok"], &refused[0]["code"]), (&json!(false), &json!("unauthenticated")), "{refused}");
    }
    socket.text(auth(5, &of("ada"))).await;
    assert_eq!(acked(&mut socket, 5).await, json!([{"ok": true}]));
    // It allows less than the first.
    let lost = socket.hear(r#""code":"forbidden""#).await;
    assert!(lost.contains("execution:his"), "{lost}");
    tokio::time::sleep(Duration::from_secs(expires.saturating_sub(now()) + 2)).await;
    publish(&gateway, None, json!([log("his", None, "not hers"), log("hers", None, "hers still")])).await;
    let next = socket.next().await.expect("it lives on");
    assert!(next.contains("hers still"), "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_polls_does_so_too_and_who_has_no_name_does_not_get_one() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_ANONYMOUS_ROOMS", "execution:demo")]).await;
    for (shown, expected) in [
        (json!({"token": of("ada")}), r#"430[{"ok":true}]"#),
        // A name would change whose session it is.
        (json!({}), r#""code":"unauthenticated""#),
    ] {
        let polling = Polling::open(&gateway).await;
        polling.say(format!("40{shown}")).await;
        assert!(polling.poll(SOON).await.expect("an answer").contains("40{"), "{shown}");
        polling.say(auth(0, &of("ada"))).await;
        let mut told = String::new();
        while !told.contains("430[") {
            told.push_str(&polling.poll(SOON).await.expect("an answer"));
        }
        assert!(told.contains(expected), "{shown}: {told}");
    }
}
