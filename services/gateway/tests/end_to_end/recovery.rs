//! Connection state recovery of Socket.IO: on another gateway, after a SIGKILL, nothing lost and nothing twice.

use crate::{
    clients::Clients,
    packets::Packets,
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
        clients.numbers("d", 1..=5).await;
        let second = kill(&mut clients, "d", gateways).await;
        publish_numbers(&second, "run", 6..=9).await;
        let connect = clients.happens("d", "connect").await;
        assert_eq!(connect["recovered"], true, "{kind:?}");
        clients.numbers("d", 6..=9).await;
        publish_numbers(&second, "run", 10..=10).await;
        clients.numbers("d", 10..=10).await;
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
    clients.numbers("d", 1..=2).await;
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
        clients.numbers("d", 1..=20).await;
        let second = kill(&mut clients, "d", gateways).await;
        publish(&second, (21..=40).map(owned).collect()).await;
        assert_eq!(clients.happens("d", "connect").await["recovered"], true, "{kind:?}");
        clients.numbers("d", 21..=40).await;
        let left = clients.ask("d", "unsubscribe", json!(["execution:run"])).await;
        assert_eq!(left, json!({"ok": true}));
        publish(&second, owned(41)).await;
        clients.numbers("d", 41..=41).await;
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
    let key = Key::new();
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let [mut first, second] = two_gateways(&broker, &key).await;
        let mut packets = Packets::connect(&first, "/executions", json!({})).await;
        let pid = packets.hello["pid"].as_str().expect("a pid").to_owned();
        packets.say(r#"42/executions,1["subscribe","run"]"#).await;
        assert!(packets.next().await.starts_with("43/executions,1[{\"ok\":true"));
        publish(&first, json!({"type": "execution:completed", "executionId": "run", "data": {"result": 1}})).await;
        let status = packets.next_event().await;
        assert_eq!(status[0], "status");
        let between = status[2].as_str().expect("an offset").to_owned();
        let after = packets.next_event().await[2].as_str().expect("an offset").to_owned();
        first.kill();
        drop(packets);
        for (offset, expected) in [(json!(between), &["result"][..]), (Value::Null, &["status", "result"]), (json!(after), &[])] {
            let mut auth = json!({"pid": pid});
            if !offset.is_null() {
                auth["offset"] = offset;
            }
            let mut again = Packets::connect(&second, "/executions", auth).await;
            assert_eq!(again.hello["pid"], pid.as_str(), "{kind:?}: it was recovered");
            for name in expected {
                assert_eq!(again.next_event().await[0], *name, "{kind:?}");
            }
            // Nothing else was on its way.
            again.say(r#"42/executions,2["subscribe","run"]"#).await;
            let answer = again.next().await;
            assert!(answer.starts_with("43/executions,2[{\"ok\":true"), "{kind:?}: {answer}");
        }
    }
}

/// A client of D that is cut off by a SIGKILL while the events of an execution reach it by two of its rooms.
#[tokio::test]
async fn a_sigkill_between_two_rooms_tells_each_event_once() {
    let key = Key::new();
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        for has_heard in [0_u64, 1, 7, 20] {
            let [mut first, second] = two_gateways(&broker, &key).await;
            let (run, user) = (format!("run{has_heard}"), format!("u{has_heard}"));
            let mut packets = Packets::connect(&first, "/", json!({})).await;
            let pid = packets.hello["pid"].as_str().expect("a pid").to_owned();
            for (ack, room) in [format!("execution:{run}"), format!("user:{user}")].iter().enumerate() {
                packets.say(&format!("42{ack}[\"subscribe\",\"{room}\"]")).await;
                assert!(packets.next().await.starts_with(&format!("43{ack}[{{\"ok\":true")));
            }
            let owned = |n: u64| {
                let mut event = numbered(&run, n);
                event["userId"] = user.clone().into();
                event
            };
            publish(&second, (1..=20).map(owned).collect()).await;
            let mut auth = json!({"pid": pid});
            for n in 1..=has_heard {
                let event = packets.next_event().await;
                assert_eq!(event[1]["data"]["n"], n, "{kind:?}: {event}");
                auth["offset"] = event[2].clone();
            }
            first.kill();
            drop(packets);
            publish(&second, (21..=25).map(owned).collect()).await;
            let mut again = Packets::connect(&second, "/", auth).await;
            assert_eq!(again.hello["pid"], pid.as_str(), "{kind:?} {has_heard}: it was recovered");
            for n in has_heard + 1..=25 {
                let event = again.next_event().await;
                assert_eq!(event[1]["data"]["n"], n, "{kind:?} {has_heard}: {event}");
            }
            again.say(&format!("427[\"subscribe\",\"execution:{run}\"]")).await;
            assert!(again.next().await.starts_with("437[{\"ok\":true"), "{kind:?} {has_heard}: nothing came twice");
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_wrong_or_of_another_namespace_recovers_nothing() {
    let (key, broker) = (Key::new(), Broker::start(Kind::Memory).await);
    let gateway = broker.gateway(&[("WEFT_FLEET_KEY_FILE", key.path())]).await;
    let mut packets = Packets::connect(&gateway, "/executions", json!({})).await;
    let pid = packets.hello["pid"].as_str().expect("a pid").to_owned();
    packets.say(r#"42/executions,1["subscribe","run"]"#).await;
    packets.next().await;
    drop(packets);
    let forged = pid.replacen(&pid[..1], if pid.starts_with('A') { "B" } else { "A" }, 1);
    for (namespace, pid) in [("/executions", forged.as_str()), ("/", &pid), ("/executions", "__proto__"), ("/executions", "")] {
        let again = Packets::connect(&gateway, namespace, json!({"pid": pid, "offset": "1AAAA"})).await;
        let fresh = again.hello["pid"].as_str().expect("a pid");
        assert!(fresh != pid, "{namespace} {pid}");
    }
    // Who says goodbye does not come back for it.
    let mut leaving = Packets::connect(&gateway, "/executions", json!({"pid": pid})).await;
    assert_eq!(leaving.hello["pid"], pid.as_str());
    leaving.say("41/executions").await;
    crate::support::until("the record is gone", async || {
        let again = Packets::connect(&gateway, "/executions", json!({"pid": pid})).await;
        again.hello["pid"] != pid.as_str()
    })
    .await;
}

/// A DISCONNECT or CONNECT_ERROR would keep the client away for good.
#[tokio::test]
async fn a_gateway_that_leaves_closes_the_transport_and_its_clients_are_recovered_elsewhere() {
    let (key, broker) = (Key::new(), Broker::start(Kind::Redis).await);
    let [mut first, second] = two_gateways(&broker, &key).await;
    let mut clients = Clients::start();
    for transport in ["websocket", "polling"] {
        clients.connected(transport, &first.url(), json!({"transports": [transport]})).await;
        clients.ask(transport, "subscribe", json!(["execution:run"])).await;
        clients.tell(json!({"op": "move", "id": transport, "url": second.url()})).await;
    }
    publish_numbers(&second, "run", 1..=3).await;
    for transport in ["websocket", "polling"] {
        clients.numbers(transport, 1..=3).await;
    }
    first.ask_to_leave().expect("a signal");
    for transport in ["websocket", "polling"] {
        assert_eq!(clients.happens(transport, "disconnect").await["reason"], "transport close", "{transport}");
        assert_eq!(clients.happens(transport, "connect").await["recovered"], true, "{transport}");
    }
    publish_numbers(&second, "run", 4..=5).await;
    for transport in ["websocket", "polling"] {
        clients.numbers(transport, 4..=5).await;
    }
}

/// A session that asked for nothing was told nothing; it is recovered all the same once it follows something.
#[tokio::test]
async fn what_was_not_kept_begins_anew_with_another_pid() {
    let (key, broker) = (Key::new(), Broker::start(Kind::Memory).await);
    let gateway = broker.gateway(&[("WEFT_FLEET_KEY_FILE", key.path()), ("WEFT_RETENTION_EVENTS", "10")]).await;
    let mut packets = Packets::connect(&gateway, "/", json!({})).await;
    let pid = packets.hello["pid"].as_str().expect("a pid").to_owned();
    packets.say(r#"421["subscribe","execution:run"]"#).await;
    packets.next().await;
    publish_numbers(&gateway, "run", 1..=1).await;
    let event = packets.next_event().await;
    let offset = event[2].as_str().expect("an offset").to_owned();
    drop(packets);
    publish_numbers(&gateway, "run", 2..=2000).await;
    // What came in between is gone: no claim that nothing was missed, and no room without the client's asking.
    let mut again = Packets::connect(&gateway, "/", json!({"pid": pid, "offset": offset})).await;
    assert!(again.hello["pid"].is_string() && again.hello["pid"] != pid.as_str());
    publish_numbers(&gateway, "run", 2001..=2001).await;
    again.say(r#"422["unsubscribe","execution:run"]"#).await;
    assert_eq!(again.next().await, r#"432[{"ok":true}]"#);
    // More rooms than can be recovered: it goes on without an offset, and says so by its absence.
    for n in 0..33 {
        again.say(&format!("42{n}[\"subscribe\",\"kb:k{n}\"]")).await;
        assert!(again.next().await.starts_with(&format!("43{n}[{{\"ok\":true")));
    }
    crate::support::publish(&gateway, json!({"type": "kb:processing", "knowledgeBaseId": "k0", "data": {}})).await;
    assert_eq!(again.next_event().await.as_array().map(Vec::len), Some(2));
}

/// Publishes one event after the other, while `meanwhile` happens.
async fn publishing(by: &Process, numbers: std::ops::RangeInclusive<u64>, meanwhile: impl Future<Output = ()>) {
    let publishing = async {
        for n in numbers {
            let mut event = numbered("run", n);
            event["userId"] = "u".into();
            publish(by, event).await;
        }
    };
    tokio::join!(publishing, meanwhile);
}

/// Hears these numbers next, whatever happens to its connection, which is recovered each time.
async fn through_it_all(clients: &mut Clients, id: &str, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        loop {
            let line = clients.next(id).await;
            assert!(line["happened"] != "connect" || line["recovered"] == true, "{id} before {n}: {line}");
            // Where it goes there is a gateway.
            assert!(line["happened"] != "connect_error", "{id} before {n}: {line}");
            if line["event"].is_string() {
                assert_eq!(line["args"][0]["data"]["n"], n, "{id}: {line}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn kill_after_kill_under_steady_events_nothing_is_lost_and_nothing_comes_twice() {
    let key = Key::new();
    let each: u64 = if crate::support::is_full() { 2000 } else { 200 };
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let mut gateways = two_gateways(&broker, &key).await;
        let mut clients = Clients::start();
        let ids = ["websocket", "polling", "execution"];
        for (id, transport) in ids.iter().zip(["websocket", "polling", "websocket"]) {
            clients.connected(id, &gateways[0].url(), json!({"transports": [transport]})).await;
            clients.ask(id, "subscribe", json!(["execution:run"])).await;
        }
        for id in ["websocket", "polling"] {
            clients.ask(id, "subscribe", json!(["user:u"])).await;
        }
        for round in 0..4u64 {
            let [first, second] = &mut gateways;
            let (dying, living) = if round % 2 == 0 { (first, &*second) } else { (second, &*first) };
            for id in ids {
                clients.tell(json!({"op": "move", "id": id, "url": living.url()})).await;
            }
            let numbers = round * each + 1..=(round + 1) * each;
            publishing(living, numbers.clone(), async {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                dying.kill();
            })
            .await;
            for id in ids {
                through_it_all(&mut clients, id, numbers.clone()).await;
            }
            dying.restart().await.expect("it comes back");
        }
        let recovered = gateways[0].metric("weft_gateway_recoveries_total").await.expect("a metric");
        assert!(recovered >= 3.0, "{kind:?}: {recovered} recoveries");
    }
}

/// Its first gateway has not noticed yet that the client is gone, and keeps renewing what it knows.
#[tokio::test]
async fn who_has_gone_on_elsewhere_is_not_set_back_by_where_it_was() {
    let key = Key::new();
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let env = [("WEFT_FLEET_KEY_FILE", key.path()), ("WEFT_PING_SECS", "1"), ("WEFT_RECOVERY_SECS", "3")];
        let mut gateways = [broker.gateway(&env).await, broker.gateway(&env).await];
        let mut cut_off = Packets::connect(&gateways[0], "/", json!({})).await;
        cut_off.say("420[\"subscribe\",\"execution:one\"]").await;
        assert!(cut_off.next().await.starts_with("430"), "{kind:?}");
        publish_numbers(&gateways[0], "one", 1..=1).await;
        let mut event = cut_off.next().await;
        while !event.starts_with("42") {
            event = cut_off.next().await;
        }
        let event: Value = serde_json::from_str(&event[2..]).expect("JSON");
        let offset = event[2].clone();
        let back = json!({"pid": cut_off.hello["pid"], "offset": offset});
        let mut elsewhere = Packets::connect(&gateways[1], "/", back.clone()).await;
        assert_eq!(elsewhere.hello["pid"], cut_off.hello["pid"], "{kind:?}: recovered");
        elsewhere.say("421[\"subscribe\",\"execution:two\"]").await;
        while !elsewhere.next().await.starts_with("431") {}
        gateways[1].kill();
        // The first renews meanwhile, and nobody else does.
        tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
        let mut again = Packets::connect(&gateways[0], "/", back).await;
        assert_eq!(again.hello["pid"], cut_off.hello["pid"], "{kind:?}: recovered");
        publish_numbers(&gateways[0], "two", 7..=7).await;
        // Pings come between.
        while !again.next().await.contains("\"n\":7") {}
    }
}
