//! Connection state recovery of Socket.IO: on another gateway, after a SIGKILL, nothing lost and nothing twice.

use crate::{
    clients::Clients,
    support::{Broker, Kind, SHARED, numbered, publish, publish_numbers},
};
use serde_json::{Value, json};
use std::path::PathBuf;
use weft_testkit::process::Process;

/// A key that gateways share, in a file that lives as long as this.
pub struct Key(PathBuf);

impl Key {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("weft-key-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").expect("a file");
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path")
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn two_gateways(broker: &Broker, key: &Key) -> [Process; 2] {
    let env = [("WEFT_FLEET_KEY_FILE", key.path())];
    [broker.gateway(&env).await, broker.gateway(&env).await]
}

fn websocket() -> Value {
    json!({"transports": ["websocket"]})
}

/// The gateway dies; the client comes to the other one.
async fn kill(clients: &mut Clients, id: &str, gateways: [Process; 2]) -> Process {
    let [mut first, second] = gateways;
    clients.tell(json!({"op": "move", "id": id, "url": second.url()})).await;
    first.kill();
    clients.happens(id, "disconnect").await;
    second
}

async fn numbers(clients: &mut Clients, id: &str, expected: impl IntoIterator<Item = u64>) {
    for n in expected {
        let (name, args) = clients.event(id).await;
        assert_eq!((name.as_str(), &args[0]["data"]["n"]), ("log", &json!(n)), "{args:?}");
    }
}

#[tokio::test]
async fn d_is_recovered_elsewhere_after_a_sigkill() {
    let key = Key::new();
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let gateways = two_gateways(&broker, &key).await;
        let mut clients = Clients::start();
        clients.connected("d", &gateways[0].url(), websocket()).await;
        assert_eq!(clients.ask("d", "subscribe", json!(["execution:run"])).await["ok"], true);
        publish_numbers(&gateways[1], "run", 1..=5).await;
        numbers(&mut clients, "d", 1..=5).await;
        let second = kill(&mut clients, "d", gateways).await;
        publish_numbers(&second, "run", 6..=9).await;
        let connect = clients.happens("d", "connect").await;
        assert_eq!(connect["recovered"], true, "{kind:?}");
        numbers(&mut clients, "d", 6..=9).await;
        publish_numbers(&second, "run", 10..=10).await;
        numbers(&mut clients, "d", 10..=10).await;
        // What was recovered is followed: to ask again changes nothing.
        assert_eq!(clients.ask("d", "subscribe", json!(["execution:run"])).await["outcome"], "live");
    }
}

#[tokio::test]
async fn a_room_in_which_nothing_has_happened_is_recovered_as_well() {
    let (key, broker) = (Key::new(), Broker::start(Kind::Redis).await);
    let gateways = two_gateways(&broker, &key).await;
    let mut clients = Clients::start();
    clients.connected("d", &gateways[0].url(), websocket()).await;
    clients.ask("d", "subscribe", json!(["execution:run"])).await;
    let second = kill(&mut clients, "d", gateways).await;
    publish_numbers(&second, "run", 1..=2).await;
    assert_eq!(clients.happens("d", "connect").await["recovered"], true);
    numbers(&mut clients, "d", 1..=2).await;
}

#[tokio::test]
async fn two_rooms_that_hold_the_same_events_are_recovered_as_one_session() {
    let key = Key::new();
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let gateways = two_gateways(&broker, &key).await;
        let mut clients = Clients::start();
        clients.connected("d", &gateways[0].url(), websocket()).await;
        clients.ask("d", "subscribe", json!(["user:u"])).await;
        clients.ask("d", "subscribe", json!(["execution:run"])).await;
        let owned = |n: u64| {
            let mut event = numbered("run", n);
            event["userId"] = "u".into();
            event
        };
        publish(&gateways[1], (1..=20).map(owned).collect()).await;
        numbers(&mut clients, "d", 1..=20).await;
        let second = kill(&mut clients, "d", gateways).await;
        publish(&second, (21..=40).map(owned).collect()).await;
        assert_eq!(clients.happens("d", "connect").await["recovered"], true, "{kind:?}");
        numbers(&mut clients, "d", 21..=40).await;
        let left = clients.ask("d", "unsubscribe", json!(["execution:run"])).await;
        assert_eq!(left, json!({"ok": true}));
        publish(&second, owned(41)).await;
        numbers(&mut clients, "d", 41..=41).await;
    }
}

#[tokio::test]
async fn a_is_recovered_in_its_namespace() {
    let key = Key::new();
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let gateways = two_gateways(&broker, &key).await;
        let mut clients = Clients::start();
        clients.connected("a", &format!("{}/executions", gateways[0].url()), websocket()).await;
        clients.ask("a", "subscribe", json!(["run"])).await;
        publish_numbers(&gateways[1], "run", 1..=3).await;
        for _ in 0..3 {
            assert_eq!(clients.event("a").await.0, "log");
        }
        let second = kill(&mut clients, "a", gateways).await;
        publish(&second, json!({"type": "execution:completed", "executionId": "run", "data": {"result": 1}})).await;
        assert_eq!(clients.happens("a", "connect").await["recovered"], true, "{kind:?}");
        assert_eq!(clients.event("a").await.0, "status");
        assert_eq!(clients.event("a").await.0, "result");
        assert_eq!(clients.ask("a", "subscribe", json!(["run"])).await["outcome"], "live");
    }
}

/// A client that says CONNECT as `socket.io-client` would that was cut off between two packets of one event.
#[tokio::test]
async fn a_cut_between_status_and_result_loses_neither() {
    let (key, broker) = (Key::new(), Broker::start(Kind::JetStream).await);
    let [first, second] = two_gateways(&broker, &key).await;
    let mut packets = crate::packets::Packets::connect(&first, "/executions", json!({})).await;
    let pid = packets.hello["pid"].as_str().expect("a pid").to_owned();
    packets.say(r#"42/executions,1["subscribe","run"]"#).await;
    assert!(packets.next().await.starts_with("43/executions,1[{\"ok\":true"));
    publish(&first, json!({"type": "execution:completed", "executionId": "run", "data": {"result": 1}})).await;
    let status = packets.next_event().await;
    assert_eq!(status[0], "status");
    let between = status[2].as_str().expect("an offset").to_owned();
    drop(packets);
    for (offset, expected) in [(json!(between), &["result"][..]), (Value::Null, &["status", "result"])] {
        let mut auth = json!({"pid": pid});
        if !offset.is_null() {
            auth["offset"] = offset;
        }
        let mut again = crate::packets::Packets::connect(&second, "/executions", auth).await;
        assert_eq!(again.hello["pid"], pid.as_str(), "it was recovered");
        for name in expected {
            assert_eq!(again.next_event().await[0], *name);
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_wrong_or_of_another_namespace_recovers_nothing() {
    let (key, broker) = (Key::new(), Broker::start(Kind::Memory).await);
    let gateway = broker.gateway(&[("WEFT_FLEET_KEY_FILE", key.path())]).await;
    let mut packets = crate::packets::Packets::connect(&gateway, "/executions", json!({})).await;
    let pid = packets.hello["pid"].as_str().expect("a pid").to_owned();
    packets.say(r#"42/executions,1["subscribe","run"]"#).await;
    packets.next().await;
    drop(packets);
    let forged = pid.replacen(&pid[..1], if pid.starts_with('A') { "B" } else { "A" }, 1);
    for (namespace, pid) in [("/executions", forged.as_str()), ("/", &pid), ("/executions", "__proto__"), ("/executions", "")] {
        let again = crate::packets::Packets::connect(&gateway, namespace, json!({"pid": pid, "offset": "1AAAA"})).await;
        let fresh = again.hello["pid"].as_str().expect("a pid");
        assert!(fresh != pid, "{namespace} {pid}");
    }
    // Who says goodbye does not come back for it.
    let mut leaving = crate::packets::Packets::connect(&gateway, "/executions", json!({"pid": pid})).await;
    assert_eq!(leaving.hello["pid"], pid.as_str());
    leaving.say("41/executions").await;
    crate::support::until("the record is gone", async || {
        let again = crate::packets::Packets::connect(&gateway, "/executions", json!({"pid": pid})).await;
        again.hello["pid"] != pid.as_str()
    })
    .await;
}
