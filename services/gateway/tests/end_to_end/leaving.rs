//! How a gateway leaves, and how it does not even begin.

use crate::support::{Broker, Kind, SHARED, SOON, Socket, post, publish_numbers, until};
use serde_json::json;
use std::{process::Command, time::Duration};
use weft_testkit::process::binary;

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_leaves_says_so_closes_politely_and_refuses_whoever_still_comes() {
    let broker = Broker::start(Kind::Memory).await;
    let mut gateway = broker.gateway(&[("WEFT_DRAIN_SECS", "4")]).await;
    let http = weft_testkit::http::client();
    let ready = format!("{}/readyz", gateway.admin_url());
    let live = format!("{}/livez", gateway.admin_url());
    let mut sockets = Vec::new();
    for _ in 0..8 {
        let mut socket = Socket::open(&gateway).await;
        socket.subscribe(json!({"executionId": "e"})).await;
        sockets.push(socket);
    }
    publish_numbers(&gateway, "e", 1..=1).await;
    gateway.ask_to_leave().expect("asked");
    for socket in &mut sockets {
        assert_eq!(socket.hear_number().await, 1, "what was published before still comes");
        let notice = socket.hear().await;
        assert_eq!(notice["type"], "reconnect", "{notice}");
        assert!(notice["afterMs"].as_u64().is_some_and(|pause| pause < 5_000), "{notice}");
    }
    assert_eq!(http.get(&ready).send().await.expect("readyz").status().as_u16(), 503);
    assert_eq!(http.get(&live).send().await.expect("livez").status().as_u16(), 200);
    let upgrade = http.get(format!("{}/api/ws", gateway.url())).header("connection", "upgrade").header("upgrade", "websocket");
    let upgrade = upgrade.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer = upgrade.send().await.expect("an answer while it is leaving");
    assert_eq!(answer.status().as_u16(), 503);
    assert!(answer.headers().contains_key("retry-after"), "{:?}", answer.headers());
    let (status, body) = post(&gateway, json!({"type": "log", "executionId": "e"}).to_string()).await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("draining")), "{body}");
    for socket in &mut sockets {
        assert_eq!(socket.hear_close().await, Some(1012));
    }
    let status = gateway.terminate(SOON).await.expect("it ends by itself");
    assert_eq!(status.code(), Some(0), "{}", gateway.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_go_on_at_the_other_gateway_when_theirs_leaves_under_load() {
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let mut gateways = broker.gateways(&[("WEFT_DRAIN_SECS", "2")]).await;
        let addresses = crate::support::addresses(&gateways);
        let plan = |index: u32| {
            let follows = vec![weft_testkit::record::Follow::start("execution:e")];
            weft_testkit::client::ClientPlan::new(&format!("client {index}"), &addresses, follows)
        };
        let mut clients = Vec::new();
        for index in 0..10 {
            clients.push(weft_testkit::client::Client::started(plan(index), SOON).await.expect("a client"));
        }
        let other = gateways.pop().expect("two");
        let mut leaving = gateways.pop().expect("two");
        let publisher = async {
            for first in (1..=600).step_by(10) {
                publish_numbers(&other, "e", first..=first + 9).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let leave = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            leaving.terminate(SOON).await.expect("it leaves")
        };
        let ((), status) = tokio::join!(publisher, leave);
        assert_eq!(status.code(), Some(0), "{kind:?}");
        for client in clients {
            client.wait_for_events(600, SOON).await.unwrap_or_else(|fault| panic!("{kind:?}: {fault}"));
            let record = client.finish().await;
            let numbers: Vec<u64> = record
                .events()
                .filter_map(|event| {
                    let body: serde_json::Value = serde_json::from_str(event.body.as_deref()?).ok()?;
                    crate::support::number(&body)
                })
                .collect();
            assert_eq!(numbers, (1..=600).collect::<Vec<_>>(), "{kind:?}: {}", record.client);
            let codes = record.close_codes();
            assert!(codes.iter().all(|code| *code == Some(1012)), "{kind:?}: {codes:?}");
        }
    }
}

#[test]
fn a_bad_setting_stops_the_start_with_one_line_that_names_it() {
    for (name, value) in [
        ("WEFT_LISTEN", "nowhere"),
        ("WEFT_ADMIN_LISTEN", "1"),
        ("WEFT_AUTH", "jwt"),
        ("WEFT_BUS", "kafka://x"),
        ("WEFT_BUS", "nats:"),
        ("WEFT_BUS_PREFIX", "a.b*"),
        ("WEFT_INSTANCE", "two words"),
        ("WEFT_RETENTION_EVENTS", "0"),
        ("WEFT_RETENTION_EVENTS", "many"),
        ("WEFT_LOG_EVENTS_MAX", "0"),
        ("WEFT_PING_SECS", "0"),
        ("WEFT_DRAIN_SECS", "-1"),
        ("WEFT_DRAIN_DELAY_SECS", "soon"),
        ("WEFT_CONNECTION_AGE_MAX_SECS", "-1"),
        ("WEFT_CONNECTS_PER_SEC", "99999999"),
        ("WEFT_ORIGINS", "not an origin"),
    ] {
        let mut command = Command::new(binary("gateway").expect("a gateway"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEFT_")) {
            command.env_remove(name);
        }
        command.env("WEFT_LISTEN", "127.0.0.1:0").env("WEFT_ADMIN_LISTEN", "127.0.0.1:0").env(name, value);
        let mut child =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("started");
        // A gateway that takes the setting would run on; it is given a moment and then ended.
        let mut tries = 0;
        while child.try_wait().expect("a status").is_none() && tries < 100 {
            std::thread::sleep(Duration::from_millis(50));
            tries += 1;
        }
        let _ = child.kill();
        let output = child.wait_with_output().expect("its output");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{name}={value}: {said}");
        assert!(said.contains(name), "{name}={value}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{name}={value}: {said}");
    }
}

/// Of the process with this number: the soft and the hard limit of descriptors.
fn descriptors(pid: u32) -> Option<(String, String)> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_limit_of_descriptors_binds_nobody() {
    let gateway = binary("gateway").expect("a gateway");
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", "ulimit -Sn 600 && exec \"$0\""]).arg(gateway).kill_on_drop(true);
    command.env("WEFT_LISTEN", "127.0.0.1:0").env("WEFT_ADMIN_LISTEN", "127.0.0.1:0").env("WEFT_BUS", "memory:");
    let child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("started");
    let pid = child.id().expect("it runs");
    let (_, hard) = descriptors(std::process::id()).expect("Linux tells");
    assert_ne!(hard, "600");
    until("the soft limit is the hard one", async || descriptors(pid) == Some((hard.clone(), hard.clone()))).await;
}
