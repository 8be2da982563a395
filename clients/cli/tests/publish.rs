//! `weft publish` with real gateways and brokers.

mod rig;

use rig::{gateway, numbered, run, run_with, weft};
use serde_json::{Value, json};
use weft_testkit::servers::{NatsServer, NatsVersion, RedisServer};

#[tokio::test]
async fn one_event_from_flags_says_where_it_is() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    let left = run(weft(&[&url], &["publish", "log", "-e", "e", "--user", "ada", "--id", "i", "-m", "hello"])).await;
    assert_eq!((left.code, left.out.as_str()), (0, "i stored in execution:e, user:ada\n"), "{left:?}");
    let state = run(weft(&[&url], &["execution", "e", "--json"])).await;
    assert_eq!(state.json()[0]["userId"], "ada");
    for (flags, code, told) in [
        (&["publish", "log", "-m", "x"][..], 65, "weft: executionId: is required"),
        (&["publish", "log", "-e", "e", "--user", "eve", "-m", "x"], 65, "weft: userId: "),
        (&["publish", "log", "-e", "e", "--tenant", "t"], 64, "weft: WEFT_TENANT: "),
        (&["publish", "log", "--exec"], 64, "error: "),
    ] {
        let left = run(weft(&[&url], flags)).await;
        assert!(left.code == code && left.err.starts_with(told) && left.out.is_empty(), "{flags:?}: {left:?}");
    }
}

#[tokio::test]
async fn ten_thousand_lines_are_stored_in_order() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    let lines: Vec<String> = (1..=10_000).map(|n| numbered("many", n)).collect();
    let left = run_with(weft(&[&url], &["publish"]), lines.join("\n").as_bytes()).await;
    assert_eq!((left.code, left.out.as_str()), (0, "10000 events stored in 1 room\n"), "{left:?}");
    let ended = run(weft(&[&url], &["publish", "execution:completed", "-e", "many"])).await;
    assert_eq!(ended.code, 0);
    // Retention keeps 10,000, so that the first one has gone.
    let told =
        run(weft(&[&url], &["tail", "execution:many", "--from", "start", "--until-end", "--json", "--types", "log,execution:*"]))
            .await;
    assert_eq!(told.code, 0, "{}", told.err);
    let numbers: Vec<u64> = told.json().iter().filter_map(|event| event["data"]["n"].as_u64()).collect();
    assert!(numbers.len() >= 9_999, "{}", numbers.len());
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) && numbers.last() == Some(&10_000));
}

#[tokio::test]
async fn a_bad_line_is_named_and_the_others_are_stored() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    let long = "x".repeat(1024 * 1024);
    let lines = [
        numbered("bad", 1),
        "{\"type\":\"log\",\"executionId\":\"bad\",\"offset\":1}".into(),
        String::new(),
        "no json".into(),
        numbered("bad", 2),
        format!("{{\"type\":\"log\",\"executionId\":\"bad\",\"data\":{{\"message\":\"{long}\"}}}}"),
        "{\"type\":\"node:started\",\"executionId\":\"bad\"}".into(),
        numbered("bad", 3),
    ];
    let left = run_with(weft(&[&url], &["publish", "--json"]), lines.join("\n").as_bytes()).await;
    assert_eq!(left.code, 65, "{left:?}");
    let told = left.json();
    assert_eq!(told.iter().map(|one| one["line"].clone()).collect::<Vec<_>>(), [json!(1), json!(5), json!(8)]);
    assert_eq!(told[0]["rooms"], json!([{"room": "execution:bad"}]));
    let errors: Vec<&str> = left.err.lines().collect();
    for (error, expected) in errors.iter().zip([
        "weft: line 2: offset: is reserved",
        "weft: line 4: event: must be one JSON object",
        "weft: line 6: event: must be at most 983040 bytes",
        "weft: line 7: nodeId: is required",
    ]) {
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(errors.len(), 4, "{errors:?}");
}

#[tokio::test]
async fn an_owner_that_does_not_match_costs_its_own_line_only() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    let of = |user: &str, n: u64| json!({"type": "log", "executionId": "own", "userId": user, "data": {"n": n}}).to_string();
    let lines = [of("ada", 1), of("eve", 2), of("ada", 3), of("eve", 4)];
    let left = run_with(weft(&[&url], &["publish"]), lines.join("\n").as_bytes()).await;
    assert_eq!((left.code, left.out.as_str()), (65, "2 events stored in 2 rooms\n"), "{left:?}");
    assert!(left.err.contains("line 2: userId: ") && left.err.contains("line 4: userId: "), "{left:?}");
}

#[tokio::test]
async fn all_is_stored_though_nobody_reads_where() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    let mut child = weft(&[&url], &["publish", "--json"]).stdin(std::process::Stdio::piped()).spawn().expect("started");
    drop(child.stdout.take());
    let lines: Vec<String> = (1..=2000).map(|n| numbered("deaf", n)).collect();
    let mut stdin = child.stdin.take().expect("piped");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, lines.join("\n").as_bytes()).await.expect("taken");
    drop(stdin);
    let left = tokio::time::timeout(rig::SOON, child.wait_with_output()).await.expect("it ends").expect("waited for");
    assert_eq!(left.status.code(), Some(0));
    assert_eq!(run(weft(&[&url], &["publish", "execution:completed", "-e", "deaf"])).await.code, 0);
    let told = run(weft(&[&url], &["tail", "execution:deaf", "--from", "start", "--json", "--until-end"])).await;
    assert_eq!(told.lines().len(), 2001);
}

#[tokio::test]
async fn straight_to_a_broker_the_offset_is_told_too() {
    let nats = NatsServer::start(NatsVersion::Current).await.expect("NATS");
    let redis = RedisServer::start().await.expect("Redis");
    for bus in [nats.url(), redis.url()] {
        let gateway = gateway(&bus).await;
        // No gateway is there at this address: nothing goes by it.
        let direct = |flags: &[&str]| {
            let mut command = weft(&["http://127.0.0.1:1"], flags);
            command.env("WEFT_BUS", &bus);
            command
        };
        let lines: Vec<String> = (1..=300).map(|n| numbered("direct", n)).collect();
        let left = run_with(direct(&["publish"]), lines.join("\n").as_bytes()).await;
        assert_eq!((left.code, left.out.as_str()), (0, "300 events stored in 1 room\n"), "{bus}: {left:?}");
        let one = run(direct(&["publish", "log", "-e", "direct", "-m", "mark", "--json"])).await;
        let offset = one.json()[0]["rooms"][0]["offset"].as_str().expect("an offset").to_owned();
        let twice = run(direct(&["publish", "log", "-e", "direct", "-m", "last", "--id", "same"])).await;
        let again = run(direct(&["publish", "log", "-e", "direct", "-m", "last", "--id", "same"])).await;
        assert!(!twice.out.contains("before") && again.out.contains("(it was stored before)"), "{twice:?} {again:?}");
        assert_eq!(run(direct(&["publish", "execution:completed", "-e", "direct"])).await.code, 0);
        // The record of the execution was written before the program left.
        let state: Value = run(weft(&[&gateway.url()], &["execution", "direct", "--json"])).await.json()[0].clone();
        assert_eq!(state["status"], "completed");
        let flags = ["tail", "execution:direct", "--from", &offset, "--json", "--until-end"];
        let told = run(weft(&[&gateway.url()], &flags)).await;
        let kinds: Vec<Value> = told.json().iter().map(|event| event["type"].clone()).collect();
        assert_eq!((told.code, kinds), (0, vec![json!("log"), json!("execution:completed")]), "{bus}: {told:?}");
    }
}

#[tokio::test]
async fn with_nobody_there_the_code_says_so() {
    for flags in [
        &["publish", "log", "-e", "e", "-m", "x", "--publish-retry-secs", "1"][..],
        &["publish", "log", "-e", "e", "-m", "x", "--publish-retry-secs", "2", "--bus", "nats://127.0.0.1:1"],
        &["executions"],
        &["execution", "e"],
        &["fleet"],
        &["cancel", "e"],
        &["answer", "e", "r", "1", "--json"],
        &["run", "demo"],
    ] {
        let left = run(weft(&["http://127.0.0.1:1", "http://127.0.0.1:2"], flags)).await;
        assert!(left.code == 69 && left.err.starts_with("weft: ") && left.out.is_empty(), "{flags:?}: {left:?}");
    }
}
