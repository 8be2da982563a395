//! `weft tail` with real gateways: where it begins, how it ends, and gateways that go.

mod rig;

use rig::{Running, end, gateway, numbered, publish, run, run_with, until, weft};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use weft_testkit::{
    process::{Process, ProcessOptions},
    servers::{NatsServer, NatsVersion},
};

fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|event| event["data"]["n"].as_u64()).collect()
}

#[tokio::test]
async fn it_begins_at_the_start_now_or_after_an_offset() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    publish(&url, &(1..=5).map(|n| numbered("e", n)).collect::<Vec<_>>()).await;
    let mut all = Running::start(weft(&[&url], &["tail", "execution:e", "--from", "start", "--json"]));
    let mut offsets = Vec::new();
    for n in 1..=5 {
        let event = all.json().await;
        assert_eq!(event["data"]["n"], n);
        offsets.push(event["offset"].as_str().expect("an offset").to_owned());
    }
    let mut later = Running::start(weft(&[&url], &["tail", "execution:e", "--from", &offsets[2], "--json"]));
    assert_eq!(later.json().await["data"]["n"], 4);
    assert_eq!(later.json().await["data"]["n"], 5);
    let now = Running::start(weft(&[&url], &["tail", "execution:e", "--json", "--until-end"]));
    until("all three follow", async || gateway.metric("weft_gateway_subscribes_total").await.expect("metrics") >= 3.0).await;
    publish(&url, &[numbered("e", 6)]).await;
    end(&url, "e", "failed").await;
    assert_eq!(all.json().await["data"]["n"], 6);
    assert_eq!(later.json().await["data"]["n"], 6);
    let left = now.end().await;
    assert_eq!(left.code, 3, "{left:?}");
    assert!(!numbers(&left.json()).iter().any(|n| *n < 6), "{left:?}");
}

#[tokio::test]
async fn an_execution_that_has_ended_is_not_waited_for() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    for (how, code) in [("completed", 0), ("failed", 3), ("cancelled", 4)] {
        let room = format!("execution:{how}");
        publish(&url, &(1..=3).map(|n| numbered(how, n)).collect::<Vec<_>>()).await;
        end(&url, how, how).await;
        // Late lines, after the end.
        publish(&url, &[numbered(how, 4), numbered(how, 5)]).await;
        let from_start = run(weft(&[&url], &["tail", &room, "--from", "start", "--json", "--until-end"])).await;
        assert_eq!((from_start.code, numbers(&from_start.json())), (code, vec![1, 2, 3]), "{from_start:?}");
        let now = run(weft(&[&url], &["tail", &room, "--until-end"])).await;
        assert!(now.code == code && now.out.contains(&format!("STATE -            {how}")), "{now:?}");
        let events = from_start.json();
        let at_end = events.last().expect("the end")["offset"].as_str().expect("an offset").to_owned();
        let late = run(weft(&[&url], &["tail", &room, "--from", &at_end, "--json", "--until-end"])).await;
        assert_eq!((late.code, numbers(&late.json())), (code, vec![4, 5]), "{late:?}");
        let all = run_with(weft(&[&url], &["publish", "--json"]), numbered(how, 6).as_bytes()).await;
        assert_eq!(all.code, 0);
        let history =
            run(weft(&[&url], &["tail", &room, "--from", "start", "--json", "--until-end", "--types", "execution:*"])).await;
        assert_eq!((history.code, history.json().len()), (code, 1), "{history:?}");
    }
    let both = ["tail", "execution:completed", "execution:cancelled", "--from", "start", "--until-end"];
    let left = run(weft(&[&url], &both)).await;
    assert_eq!(left.code, 4, "{left:?}");
    assert!(left.lines().iter().all(|line| line.contains(" completed    ") || line.contains(" cancelled    ")), "{left:?}");
}

#[tokio::test]
async fn json_is_what_was_published_and_a_pipe_gets_plain_lines() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    let published = r#"{"type":"log","executionId":"raw","id":"i","timestamp":"2026-01-31T12:00:00.000Z","z":1.00e5,"data":{"message":"a\u001b[2Jb\nc","level":"warning"}}"#;
    publish(&url, &[published.to_owned()]).await;
    let token = |text: &str| {
        json!({"type": "agent:token", "executionId": "raw", "agentId": "writer", "timestamp": "2026-01-31T12:00:01.000Z",
            "data": {"token": text}})
        .to_string()
    };
    publish(&url, &[token("Hel"), token("lo\nwor"), token("ld")]).await;
    end(&url, "raw", "completed").await;
    let raw = run(weft(&[&url], &["tail", "execution:raw", "--from", "start", "--json", "--until-end"])).await;
    let first = raw.lines()[0].to_owned();
    assert!(first.starts_with(published.trim_end_matches('}')), "{first}");
    let plain = run(weft(&[&url], &["tail", "execution:raw", "--from", "start", "--until-end"])).await;
    assert_eq!(
        plain.lines()[..3],
        [
            "2026-01-31T12:00:00.000Z WARN  -            a\\u{1b}[2Jb\\nc",
            "2026-01-31T12:00:01.000Z TEXT  writer       Hello",
            "2026-01-31T12:00:01.000Z TEXT  writer       world",
        ],
        "{plain:?}"
    );
    assert!(plain.lines()[3].contains("DONE  -            execution completed"), "{plain:?}");
    let mut painted = weft(&[&url], &["tail", "execution:raw", "--from", "start", "--until-end", "--color", "always"]);
    painted.env("NO_COLOR", "1");
    assert!(run(painted).await.out.contains("\u{1b}[33mWARN\u{1b}[0m"));
}

#[tokio::test]
async fn rooms_that_hold_copies_of_one_event_tell_it_once() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    let of = |n: u64| json!({"type": "log", "executionId": "own", "userId": "ada", "data": {"n": n}}).to_string();
    publish(&url, &(1..=20).map(of).collect::<Vec<_>>()).await;
    end(&url, "own", "completed").await;
    let both = ["tail", "execution:own", "user:ada", "--from", "start", "--json", "--until-end"];
    let left = run(weft(&[&url], &both)).await;
    let mut told = numbers(&left.json());
    let count = told.len();
    told.sort_unstable();
    told.dedup();
    assert_eq!((left.code, count, told.len()), (0, 20, 20), "{left:?}");
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_at_once() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    for (flags, told) in [
        (&["tail", "exec:e"][..], "exec:e: must begin with"),
        (&["tail", "execution:a", "execution:b", "--from", "5f0c.1.00000001"], "--from: an offset is of one room"),
        (&["tail", "execution:a", "--from", "yesterday"], "--from: must be start, now or an offset"),
        (&["tail", "user:u", "--until-end"], "--until-end: needs a room execution:<id>"),
        (&["tail", "execution:a", "--until-end", "--types", "log"], "--until-end: needs execution:*"),
        (&["tail", "execution:a", "--token-file", "/nowhere"], "WEFT_TOKEN_FILE: /nowhere: "),
    ] {
        let left = run(weft(&[&url], flags)).await;
        assert!(left.code == 64 && left.err.starts_with(&format!("weft: {told}")), "{flags:?}: {left:?}");
    }
    let types = run(weft(&[&url], &["tail", "execution:a", "--types", "not a type"])).await;
    assert!(types.code == 1 && types.err.contains("invalid"), "{types:?}");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_ends_it_without_a_word() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    publish(&url, &(1..=2000).map(|n| numbered("e", n)).collect::<Vec<_>>()).await;
    let mut tail = weft(&[&url], &["tail", "execution:e", "--from", "start"]).spawn().expect("started");
    drop(tail.stdout.take());
    let left = tokio::time::timeout(rig::SOON, tail.wait_with_output()).await.expect("it ends").expect("waited for");
    assert_eq!((left.status.code(), String::from_utf8_lossy(&left.stderr).as_ref()), (Some(0), ""));
}

/// Publishes without end, a line at a time, through any gateway that is there; each line under its own number.
async fn publish_slowly(urls: &[&str], execution: &str, count: u64) {
    let mut child = weft(urls, &["publish"]).stdin(std::process::Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    for n in 1..=count {
        stdin.write_all(format!("{}\n", numbered(execution, n)).as_bytes()).await.expect("taken");
        if n % 50 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    drop(stdin);
    let left = child.wait_with_output().await.expect("waited for");
    assert_eq!(left.status.code(), Some(0), "{}", String::from_utf8_lossy(&left.stderr));
}

#[tokio::test]
async fn a_gateway_that_is_killed_under_it_costs_no_line_and_doubles_none() {
    const COUNT: u64 = 3000;
    let nats = NatsServer::start(NatsVersion::Current).await.expect("NATS");
    let (mut first, mut second) = (gateway(&nats.url()).await, gateway(&nats.url()).await);
    let (a, b) = (first.url(), second.url());
    let mut tail = Running::start(weft(&[&a, &b], &["tail", "execution:e", "--from", "start", "--json", "--until-end"]));
    until("it follows", async || first.metric("weft_gateway_subscribes_total").await.expect("metrics") >= 1.0).await;
    // The publisher is told of both as well, so that it loses its gateway too.
    let publishing = tokio::spawn({
        let (a, b) = (a.clone(), b.clone());
        async move {
            publish_slowly(&[&a, &b], "e", COUNT).await;
            end(&b, "e", "completed").await;
        }
    });
    let mut told = Vec::new();
    while told.len() < 500 {
        told.push(tail.json().await);
    }
    first.kill();
    while told.len() < 1500 {
        told.push(tail.json().await);
    }
    // And the other way round, this time with notice.
    first.restart().await.expect("it comes back");
    second.ask_to_leave().expect("asked");
    while told.len() < COUNT as usize {
        told.push(tail.json().await);
    }
    second.restart().await.expect("it comes back");
    publishing.await.expect("published");
    let left = tail.end().await;
    told.extend(left.json());
    assert_eq!(left.code, 0, "{left:?}");
    assert!(told.iter().all(|event| event["type"] != "gap"), "a gap was told");
    assert_eq!(numbers(&told), (1..=COUNT).collect::<Vec<_>>());
    assert!(left.err.contains("trying again") && left.err.contains("connected to"), "{}", left.err);
}

#[tokio::test]
async fn what_retention_has_taken_is_told_as_a_gap() {
    let options = ProcessOptions::gateway("memory:").env("WEFT_RETENTION_EVENTS", "10");
    let gateway = Process::start(options).await.expect("a gateway");
    let url = gateway.url();
    publish(&url, &[numbered("e", 1)]).await;
    // Asked for, not followed: a gateway remembers more of a room that somebody follows.
    let state = run(weft(&[&url], &["execution", "e", "--json"])).await.json()[0].clone();
    let offset = state["offset"].as_str().expect("an offset").to_owned();
    publish(&url, &(2..=100).map(|n| numbered("e", n)).collect::<Vec<_>>()).await;
    end(&url, "e", "completed").await;
    let left = run(weft(&[&url], &["tail", "execution:e", "--from", &offset, "--json", "--until-end"])).await;
    let told = left.json();
    assert_eq!((left.code, &told[0]["type"], &told[0]["reason"]), (0, &json!("gap"), &json!("retention")), "{left:?}");
    assert_eq!(told[0]["missedFrom"], offset.as_str());
    assert_eq!(numbers(&told), (92..=100).collect::<Vec<_>>(), "{left:?}");
    let plain = run(weft(&[&url], &["tail", "execution:e", "--from", &offset, "--until-end"])).await;
    assert!(plain.lines()[0].contains("GAP   -            events of execution:e are missing, after"), "{plain:?}");
}

#[tokio::test]
async fn a_bus_that_stores_nothing_tells_what_may_be_missing() {
    let nats = NatsServer::start(NatsVersion::Current).await.expect("NATS");
    let bus = nats.url().replace("nats://", "nats+core://");
    let mut gateway = gateway(&bus).await;
    let url = gateway.url();
    let mut tail = Running::start(weft(&[&url], &["tail", "execution:e", "--json"]));
    until("it follows", async || gateway.metric("weft_gateway_subscribes_total").await.expect("metrics") >= 1.0).await;
    publish(&url, &[numbered("e", 1)]).await;
    assert_eq!(tail.json().await["data"]["n"], 1);
    gateway.restart().await.expect("it comes back");
    let gap = loop {
        let message = tail.json().await;
        if message["type"] == "gap" {
            break message;
        }
    };
    assert_eq!((&gap["room"], &gap["reason"]), (&json!("execution:e"), &json!("live_only")));
    tail.signal(Signal::INT);
    assert_eq!(tail.end().await.code, -1, "a signal ends it");
}
