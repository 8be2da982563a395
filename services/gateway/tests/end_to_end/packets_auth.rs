//! Unmodified clients of Socket.IO at gateways that ask for tokens, in both namespaces, over a gateway's death.

use crate::{
    auth_rig::{self, log, of, publish},
    clients::Clients,
    packets::Packets,
    recovery::Key,
    support::{Broker, Kind, SHARED},
};
use serde_json::{Value, json};

/// How a client follows an execution in its namespace.
const DIALECTS: [(&str, &str); 2] = [("", "execution:run"), ("/executions", "run")];

fn with(token: &str) -> Value {
    json!({"transports": ["websocket"], "auth": {"token": token}})
}

/// What a `log` event says in either namespace.
fn message(args: &[Value]) -> &Value {
    if args[0]["log"].is_object() { &args[0]["log"]["message"] } else { &args[0]["data"]["message"] }
}

#[tokio::test]
async fn who_may_see_it_is_recovered_elsewhere_and_nobody_else_is_let_in() {
    let key = Key::new();
    let env = [("WEFT_FLEET_KEY_FILE", key.path()), ("WEFT_PENDING_TIMEOUT", "1")];
    for kind in SHARED {
        for (namespace, room) in DIALECTS {
            let what = format!("{kind:?} {namespace:?}");
            let broker = Broker::start(kind).await;
            let (mut first, second) = (auth_rig::gateway(&broker, &env).await, auth_rig::gateway(&broker, &env).await);
            publish(&first, None, log("run", Some("ada"), "before")).await;
            let url = |gateway: &weft_testkit::process::Process| format!("{}{namespace}", gateway.url());
            let mut clients = Clients::start();
            clients.open("nobody", &url(&first), json!({"transports": ["websocket"], "reconnection": false})).await;
            let refused = clients.happens("nobody", "connect_error").await;
            assert_eq!(refused["data"], json!({"code": "unauthenticated"}), "{what}: {refused}");
            assert!(refused["message"].is_string(), "{what}: {refused}");
            clients.connected("bob", &url(&first), with(&of("bob"))).await;
            let foreign = clients.ask("bob", "subscribe", json!([room])).await;
            let unknown = clients.ask("bob", "subscribe", json!([room.replace("run", "none")])).await;
            let outcome = |answer: &Value| (answer["ok"].clone(), answer["code"].clone(), answer["outcome"].clone());
            assert_eq!(outcome(&foreign), outcome(&unknown), "{what}: nobody learns what exists");
            assert_ne!(foreign["ok"], true, "{what}: {foreign}");

            clients.connected("ada", &url(&first), with(&of("ada"))).await;
            let own = clients.ask("ada", "subscribe", json!([room])).await;
            assert_eq!(own["ok"], true, "{what}: {own}");
            publish(&second, None, log("run", Some("ada"), "live")).await;
            while message(&clients.event("ada").await.1) != "live" {}
            clients.tell(json!({"op": "move", "id": "ada", "url": second.url()})).await;
            first.kill();
            clients.happens("ada", "disconnect").await;
            publish(&second, None, log("run", Some("ada"), "missed")).await;
            assert_eq!(clients.happens("ada", "connect").await["recovered"], true, "{what}");
            let (_, args) = clients.event("ada").await;
            assert_eq!(message(&args), "missed", "{what}: {args:?}");
        }
    }
}

/// As clients of D bring it, over whatever carries them; and where that is switched off it is as if it were not there.
#[tokio::test]
async fn a_token_in_the_query_of_the_connection_is_as_good_as_in_auth() {
    let broker = Broker::start(Kind::Memory).await;
    let open = auth_rig::gateway(&broker, &[]).await;
    let closed = auth_rig::gateway(&broker, &[("WEFT_AUTH_QUERY", "off")]).await;
    publish(&open, None, log("run", Some("ada"), "before")).await;
    let mut clients = Clients::start();
    for transports in [json!(["websocket"]), json!(["polling"]), json!(["polling", "websocket"])] {
        for (namespace, room) in DIALECTS {
            let id = format!("{transports} {namespace:?}");
            let with = |token: &str| json!({"transports": transports, "query": {"token": token}, "reconnection": false});
            clients.connected(&id, &format!("{}{namespace}", open.url()), with(&of("ada"))).await;
            assert_eq!(clients.ask(&id, "subscribe", json!([room])).await["ok"], true, "{id}");
            for (gateway, token) in [(&open, "no token"), (&closed, of("ada").as_str())] {
                let refused = format!("{id} {token}");
                clients.open(&refused, &format!("{}{namespace}", gateway.url()), with(token)).await;
                let told = clients.happens(&refused, "connect_error").await;
                assert_eq!(told["data"], json!({"code": "unauthenticated"}), "{refused}: {told}");
            }
        }
    }
}

/// A secret is not authority: the token that a client comes back with decides, and it may allow less than the one before.
#[tokio::test]
async fn who_comes_back_with_a_narrower_token_gets_nothing_of_what_it_no_longer_may_see() {
    let key = Key::new();
    let env = [("WEFT_FLEET_KEY_FILE", key.path()), ("WEFT_PENDING_TIMEOUT", "2")];
    let naming = |rooms: &[&str]| auth_rig::token(json!({"sub": "ada", "rooms": rooms}));
    for kind in SHARED {
        for (namespace, prefix) in [("/", "execution:"), ("/executions", "")] {
            let what = format!("{kind:?} {namespace}");
            let broker = Broker::start(kind).await;
            let (first, second) = (auth_rig::gateway(&broker, &env).await, auth_rig::gateway(&broker, &env).await);
            let space = if namespace == "/" { String::new() } else { format!("{namespace},") };
            // Neither is ada's own: only the claim lets her follow them.
            publish(&first, None, json!([log("one", Some("eve"), "0"), log("two", Some("eve"), "0")])).await;
            let both = naming(&["execution:one", "execution:two"]);
            let mut packets = Packets::connect(&first, namespace, json!({"token": both})).await;
            let pid = packets.hello["pid"].as_str().expect("a pid").to_owned();
            for (ack, room) in ["one", "two"].iter().enumerate() {
                packets.say(&format!("42{space}{ack}[\"subscribe\",\"{prefix}{room}\"]")).await;
                while !packets.next().await.starts_with(&format!("43{space}{ack}[{{\"ok\":true")) {}
            }
            publish(&first, None, log("two", Some("eve"), "before")).await;
            let offset = loop {
                let event = packets.next_event().await;
                if event[1].to_string().contains("before") {
                    break event[2].clone();
                }
            };
            drop(packets);
            publish(&first, None, json!([log("two", Some("eve"), "missed"), log("one", Some("eve"), "missed")])).await;

            let narrow = naming(&["execution:one"]);
            let auth = json!({"token": narrow, "pid": pid, "offset": offset});
            let mut again = Packets::connect(&second, namespace, auth.clone()).await;
            assert!(again.hello["pid"] != pid.as_str(), "{what}: not recovered: {}", again.hello);
            // What it may see it is told once it asks; of the other room never a word.
            again.say(&format!("42{space}7[\"subscribe\",\"{prefix}one\"]")).await;
            publish(&second, None, json!([log("two", Some("eve"), "secret"), log("one", Some("eve"), "open")])).await;
            let mut heard = Vec::new();
            while !heard.iter().any(|packet: &String| packet.contains("\"open\"")) {
                heard.push(again.next().await);
            }
            again.say(&format!("42{space}8[\"subscribe\",\"{prefix}two\"]")).await;
            let refused = loop {
                let packet = again.next().await;
                if packet.starts_with(&format!("43{space}8")) {
                    break packet;
                }
                heard.push(packet);
            };
            assert!(refused.contains("\"ok\":false") && refused.contains("forbidden"), "{what}: {refused}");
            assert!(!heard.iter().any(|packet| packet.contains("two")), "{what}: {heard:?}");

            // The record is of no use to anybody any more, not to who could have used it either.
            let wide = json!({"token": naming(&["execution:one", "execution:two"]), "pid": pid, "offset": offset});
            crate::support::until("the record is gone", async || {
                Packets::connect(&second, namespace, wide.clone()).await.hello["pid"] != pid.as_str()
            })
            .await;
        }
    }
}
