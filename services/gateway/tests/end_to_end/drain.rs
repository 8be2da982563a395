//! How clients of every kind leave a gateway: in what order, told what, and with everything delivered once.

use crate::{
    clients::Clients,
    recovery::Key,
    support::{Broker, Kind, SHARED, SOON, Socket, number, offset, publish, until},
};
use serde_json::{Value, json};
use std::time::Duration;
use weft_testkit::process::Process;

/// What our own clients say that they speak. Whoever does not is taken for a client that heeds no hint.
pub const OURS: Option<&str> = Some("weft.v1.json");
/// Events that are published while the gateway leaves.
const EVENTS: u64 = 300;

/// A `log` event with a number that every dialect tells.
fn event(n: u64) -> Value {
    json!({"type": "log", "executionId": "e", "data": {"level": "info", "message": n.to_string(), "n": n}})
}

/// How a connection ended.
#[derive(Debug)]
struct Goodbye {
    code: u16,
    reason: String,
    hint: Option<u64>,
}

impl Goodbye {
    /// The hint in the close frame is that of the message before it.
    fn check(&self, word: &str, is_told: bool) {
        assert_eq!(self.code, 1012, "{self:?}");
        assert!(self.reason.starts_with(&format!("{word}: come back after ")) && self.reason.len() <= 123, "{self:?}");
        assert_eq!(self.hint.is_some(), is_told, "{self:?}");
        if let Some(hint) = self.hint {
            assert!(hint < 1000 && self.reason.ends_with(&format!(" {hint} ms")), "{self:?}");
        }
    }
}

/// Everything that comes until the connection ends: numbers, where to go on, and the end.
async fn hear_out(socket: &mut Socket, numbers: &mut Vec<u64>) -> (Option<String>, Goodbye) {
    let (mut last, mut hint) = (None, None);
    loop {
        match socket.hear_or_goodbye().await {
            Ok(frame) if frame["type"] == "reconnect" => hint = frame["afterMs"].as_u64(),
            Ok(frame) => {
                let Some(n) = number(&frame).or_else(|| frame["log"]["message"].as_str()?.parse().ok()) else { continue };
                numbers.push(n);
                last = Some(offset(&frame));
            }
            Err((code, reason)) => return (last, Goodbye { code, reason, hint }),
        }
    }
}

/// A client of `/api/ws` that hears all, over both gateways.
async fn native(mut socket: Socket, second: String, subprotocol: Option<&str>) -> Vec<u64> {
    let mut numbers = Vec::new();
    let (last, goodbye) = hear_out(&mut socket, &mut numbers).await;
    goodbye.check("drain", true);
    let mut socket = Socket::open_with(&second, subprotocol, 0).await.expect("the other gateway");
    let resume = last.unwrap_or_else(|| "0".into());
    socket.say(json!({"type": "subscribe", "executionId": "e", "offset": resume})).await;
    while numbers.last() != Some(&EVENTS) {
        numbers.extend(number(&socket.hear().await));
    }
    numbers
}

/// A client of C that is told by its user to come back.
async fn c(mut socket: Socket, second: &Process) -> Vec<u64> {
    let mut numbers = Vec::new();
    let (last, goodbye) = hear_out(&mut socket, &mut numbers).await;
    goodbye.check("drain", false);
    let last = last.unwrap_or_else(|| "0".into());
    let mut socket = Socket::open_at(second, &format!("/api/ws/executions/e?offset={last}")).await.expect("an upgrade");
    while numbers.last() != Some(&EVENTS) {
        numbers.extend(socket.hear().await["log"]["message"].as_str().and_then(|n| n.parse::<u64>().ok()));
    }
    numbers
}

/// An event stream; its numbers, as far as it goes, and whether it was told when to come back.
async fn stream(url: String, last: Option<String>, until: Option<u64>) -> (Vec<u64>, Option<String>, bool) {
    let request = weft_testkit::http::client().get(url).header("accept", "text/event-stream").timeout(SOON * 2);
    let request = last.iter().fold(request, |request, last| request.header("last-event-id", last));
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let (mut text, mut numbers, mut last, mut retries) = (String::new(), Vec::new(), last, 0);
    while let Some(bytes) = answer.chunk().await.expect("a stream") {
        text.push_str(std::str::from_utf8(&bytes).expect("whole characters"));
        while let Some(end) = text.find("\n\n") {
            let block: String = text.drain(..end + 2).collect();
            for line in block.lines() {
                match line.split_once(':') {
                    Some(("id", id)) => last = Some(id.trim().to_owned()),
                    Some(("retry", _)) => retries += 1,
                    Some(("data", data)) => numbers.extend(number(&serde_json::from_str(data).expect("JSON"))),
                    _ => {}
                }
            }
        }
        if until.is_some() && numbers.last().copied() == until {
            break;
        }
    }
    (numbers, last, retries > 1)
}

async fn streams(first: String, second: String) -> Vec<u64> {
    let path = "/api/executions/e/events?offset=0";
    let (mut numbers, last, is_told) = stream(format!("{first}{path}"), None, None).await;
    assert!(is_told, "`retry` at the beginning, and when it is sent away");
    numbers.extend(stream(format!("{second}{path}"), last, Some(EVENTS)).await.0);
    numbers
}

/// Clients of Socket.IO as npm has them: they come back by themselves, recovered.
async fn socketio(clients: &mut Clients, ids: &[&str]) {
    for id in ids {
        let (mut next, mut disconnects) = (1, 0);
        while next <= EVENTS {
            let line = clients.next(id).await;
            if line["event"] == "log" {
                assert_eq!(line["args"][0]["data"]["n"], next, "{id}: {line}");
                next += 1;
            } else if line["happened"] == "disconnect" {
                // `io server disconnect` would be final.
                assert!(["transport close", "transport error"].contains(&line["reason"].as_str().expect("a reason")), "{line}");
                disconnects += 1;
            } else if line["happened"] == "connect" {
                assert_eq!(line["recovered"], true, "{id}: {line}");
            }
        }
        assert_eq!(disconnects, 1, "{id}");
    }
}

async fn open_all(
    first: &Process,
    second: &Process,
    clients: &mut Clients,
) -> (Vec<(Socket, Option<&'static str>)>, Socket, Socket) {
    let mut natives = Vec::new();
    for subprotocol in [OURS, OURS, OURS, OURS, None, None] {
        let mut socket = Socket::open_with(&first.address(), subprotocol, 0).await.expect("an upgrade");
        socket.hear_a("connected").await;
        socket.subscribe(json!({"executionId": "e", "offset": "0"})).await;
        natives.push((socket, subprotocol));
    }
    let c = Socket::open_at(first, "/api/ws/executions/e?offset=0").await.expect("an upgrade");
    let e = Socket::open_at(first, "/ws/executions/e/logs").await.expect("an upgrade");
    for (id, transport) in [("websocket", "websocket"), ("polling", "polling")] {
        clients.connected(id, &first.url(), json!({"transports": [transport]})).await;
        assert_eq!(clients.ask(id, "subscribe", json!(["execution:e"])).await["ok"], true);
        clients.tell(json!({"op": "move", "id": id, "url": second.url()})).await;
    }
    (natives, c, e)
}

/// What each client that was sent away heeds, in the order in which they went.
fn order_of_going(gateway: &Process) -> Vec<String> {
    let log = std::fs::read_to_string(gateway.log()).expect("a log");
    let heeds = |line: &str| Some(line.split_once("heeds=")?.1.split(' ').next()?.to_owned());
    log.lines().filter(|line| line.contains("a client is sent away")).filter_map(heeds).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_sent_away_in_order_and_gets_everything_once_elsewhere() {
    for kind in SHARED {
        let (broker, key) = (Broker::start(kind).await, Key::new());
        let env = [("WEFT_FLEET_KEY_FILE", key.path()), ("WEFT_DRAIN_SECS", "4")];
        let (mut first, second) = (broker.gateway(&env).await, broker.gateway(&env).await);
        let mut clients = Clients::start();
        let (natives, c_socket, mut e_socket) = open_all(&first, &second, &mut clients).await;
        let streaming = tokio::spawn(streams(first.url(), second.url()));
        until("all are there", async || first.metric("weft_gateway_connections").await.expect("metrics") as u64 == 11).await;
        let heard: Vec<_> = natives
            .into_iter()
            .map(|(socket, subprotocol)| tokio::spawn(native(socket, second.address(), subprotocol)))
            .collect();
        let publisher = async {
            for n in 1..=EVENTS {
                publish(&second, event(n)).await;
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        };
        let leave = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            first.terminate(SOON).await.expect("it leaves")
        };
        let ((), status, c_numbers, e_code, ()) = tokio::join!(
            publisher,
            leave,
            c(c_socket, &second),
            e_socket.hear_close(),
            socketio(&mut clients, &["websocket", "polling"])
        );
        assert_eq!(status.code(), Some(0), "{kind:?}: {}", first.log_tail());
        let all: Vec<u64> = (1..=EVENTS).collect();
        for numbers in heard {
            assert_eq!(numbers.await.expect("a native client"), all, "{kind:?}");
        }
        assert_eq!((c_numbers, e_code), (all.clone(), Some(1012)), "{kind:?}");
        assert_eq!(streaming.await.expect("a stream"), all, "{kind:?}");
        let order = order_of_going(&first);
        assert_eq!(order.len(), 11, "{kind:?}: {order:?}");
        let hinted_from = order.iter().position(|heeds| heeds == "Hints").expect("hinted");
        assert!(
            order[..hinted_from].len() == 6 && order[hinted_from..].iter().all(|heeds| heeds == "Hints"),
            "{kind:?}: {order:?}"
        );
    }
}

/// A gateway with a control listener, and how it is asked.
async fn controlled(broker: &Broker, env: &[(&str, &str)]) -> (Process, String) {
    let token = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("drain-token");
    std::fs::write(&token, crate::auth_rig::CONTROL).expect("written");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let mut all = vec![("WEFT_CONTROL_LISTEN", free.as_str()), ("WEFT_CONTROL_TOKEN_FILE", token.to_str().expect("a path"))];
    all.extend(env);
    (broker.gateway(&all).await, format!("http://{free}"))
}

async fn order(control: &str, path: &str) -> (u16, Value) {
    let (status, text) = crate::auth_rig::ask_at(control, "POST", path, Some(crate::auth_rig::CONTROL), None).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn ours(gateway: &Process) -> Socket {
    let mut socket = Socket::open_with(&gateway.address(), OURS, 0).await.expect("an upgrade");
    socket.hear_a("connected").await;
    socket
}

async fn is_ready(gateway: &Process) -> u16 {
    let ready = weft_testkit::http::client().get(format!("{}/readyz", gateway.admin_url())).send().await;
    ready.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn until_the_delay_is_over_it_accepts_and_a_second_signal_ends_everything_politely() {
    let broker = Broker::start(Kind::Memory).await;
    let mut gateway = broker.gateway(&[("WEFT_DRAIN_DELAY_SECS", "3600"), ("WEFT_DRAIN_SECS", "3600")]).await;
    let mut before = ours(&gateway).await;
    assert_eq!(is_ready(&gateway).await, 200);
    gateway.ask_to_leave().expect("asked");
    until("balancers can hear it", async || is_ready(&gateway).await == 503).await;
    assert_eq!(gateway.metric("weft_gateway_draining").await.expect("metrics") as u64, 1);
    let mut late = ours(&gateway).await;
    for socket in [&mut before, &mut late] {
        socket.subscribe(json!({"executionId": "e"})).await;
    }
    publish(&gateway, event(1)).await;
    for socket in [&mut before, &mut late] {
        assert_eq!(socket.hear_number().await, 1);
    }
    let leave = gateway.terminate(SOON);
    let (status, _, _) = tokio::join!(leave, before.hear_close(), late.hear_close());
    assert_eq!(status.expect("it ends").code(), Some(0));
    let codes = order_of_going(&gateway);
    assert_eq!(codes.len(), 2, "closed with 1012 rather than cut: {codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_ends_in_time_also_when_its_broker_does_not_answer() {
    for kind in SHARED {
        let mut broker = Broker::start(kind).await;
        let mut gateway = broker.gateway(&[("WEFT_DRAIN_SECS", "1")]).await;
        let mut socket = ours(&gateway).await;
        socket.subscribe(json!({"executionId": "e"})).await;
        broker.pause();
        let (status, goodbye) = tokio::join!(gateway.terminate(SOON), async { hear_out(&mut socket, &mut Vec::new()).await.1 });
        goodbye.check("drain", true);
        assert_eq!(status.expect("it ends").code(), Some(0), "{kind:?}: {}", gateway.log_tail());
        broker.resume();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_drains_a_gateway_which_then_waits_for_its_end() {
    let broker = Broker::start(Kind::Memory).await;
    let (mut gateway, control) = controlled(&broker, &[("WEFT_DRAIN_SECS", "2")]).await;
    let mut sockets = vec![ours(&gateway).await, ours(&gateway).await, Socket::open(&gateway).await];
    let (status, told) = order(&control, "/admin/drain").await;
    assert_eq!(
        (status, &told["began"], &told["connections"], &told["withoutHints"]),
        (202, &json!(true), &json!(3), &json!(1)),
        "{told}"
    );
    assert_eq!((&told["phase"], &told["windowSecs"]), (&json!("draining"), &json!(2)), "{told}");
    for socket in &mut sockets {
        hear_out(socket, &mut Vec::new()).await.1.check("drain", true);
    }
    until("nobody is left", async || gateway.metric("weft_gateway_connections").await.expect("metrics") as u64 == 0).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(gateway.is_running(), "its window is over, and nobody has told it to end");
    assert_eq!(is_ready(&gateway).await, 503);
    let refused = Socket::open_with(&gateway.address(), OURS, 0).await.err().expect("refused");
    assert!(refused.contains("503"), "{refused}");
    assert_eq!(order(&control, "/admin/drain").await.1["began"], false);
    assert_eq!(order(&control, "/admin/shed?percent=10").await.1["error"]["code"], "conflict");
    let refusals = gateway.metrics().await.expect("metrics");
    assert!(refusals.contains("weft_gateway_turned_away_total{reason=\"draining\"} 1"), "{refusals}");
    assert!(refusals.contains("weft_gateway_closes_total{code=\"1012\",reason=\"drain\"} 3"), "{refusals}");
    assert_eq!(gateway.terminate(SOON).await.expect("it ends").code(), Some(0));
    let audited = std::fs::read_to_string(gateway.log()).expect("a log");
    assert!(audited.lines().any(|line| line.contains("weft::audit") && line.contains("drain")), "{audited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sheds_a_share_and_new_clients_come_in_as_before() {
    let broker = Broker::start(Kind::Memory).await;
    let (gateway, control) = controlled(&broker, &[]).await;
    for (query, field) in [
        ("", "percent"),
        ("?percent=0", "percent"),
        ("?percent=101", "percent"),
        ("?percent=ten", "percent"),
        ("?percent=10&seconds=0", "seconds"),
        ("?percent=10&seconds=99999", "seconds"),
    ] {
        let (status, refused) = order(&control, &format!("/admin/shed{query}")).await;
        assert_eq!(
            (status, &refused["error"]["code"], &refused["error"]["field"]),
            (400, &json!("invalid"), &json!(field)),
            "{query}"
        );
        assert!(refused["error"]["message"].as_str().is_some_and(|text| text.contains("must be")), "{refused}");
    }
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(ours(&gateway).await);
    }
    let mut spared = Socket::open_at(&gateway, "/api/ws/executions/e").await.expect("an upgrade");
    let (status, told) = order(&control, "/admin/shed?percent=50&seconds=1").await;
    assert_eq!(status, 202, "{told}");
    assert_eq!(told, json!({"connections": 21, "closing": 10, "windowSecs": 1}));
    until("they are gone", async || gateway.metric("weft_gateway_connections").await.expect("metrics") as u64 == 11).await;
    sockets.push(ours(&gateway).await);
    let mut gone = 0;
    for socket in &mut sockets {
        socket.say(json!({"type": "ping", "ref": "alive"})).await;
        match socket.hear_or_goodbye().await {
            Ok(frame) if frame["type"] == "reconnect" => {
                let (code, reason) = socket.hear_or_goodbye().await.expect_err("the close");
                assert_eq!((code, reason.split(' ').next()), (1012, Some("shed:")));
                gone += 1;
            }
            answer => assert_eq!(answer.expect("a pong")["type"], "pong"),
        }
    }
    assert_eq!(gone, 10);
    publish(&gateway, event(1)).await;
    assert_eq!(spared.hear_a("log").await["log"]["message"], "1", "clients of C never come back");
    assert!(gateway.metrics().await.expect("metrics").contains("weft_gateway_closes_total{code=\"1012\",reason=\"shed\"} 10"));
}
