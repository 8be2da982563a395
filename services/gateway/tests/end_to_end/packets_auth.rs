//! Unmodified clients of Socket.IO at gateways that ask for tokens, in both namespaces, over a gateway's death.

use crate::{
    auth_rig::{self, log, of, publish},
    clients::Clients,
    recovery::Key,
    support::{Broker, SHARED},
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
