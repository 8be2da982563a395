//! What an execution tells, from its first event to its last.

mod rig;

use rig::{Rig, SOON, events_of, find, is_gone, kind, messages, outline};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;
use weft_event::Room;

#[tokio::test]
async fn a_graph_runs_in_order_and_ends_with_its_result() {
    let rig = Rig::start(&["name: graph
inputs:
  greeting: {default: hello}
nodes:
  - id: a
    command: echo \"$SAY from a\"; echo trouble >&2
    env: {SAY: '{{inputs.greeting}}'}
  - id: b
    sleep: 10ms
  - id: c
    depends_on: [a, b]
    command: [printf, '%s', '$BEFORE is not expanded here']
  - id: d
    depends_on: [c]
    command: printf '::progress 50 half\\n%s' \"$BEFORE\"
    env: {BEFORE: '{{nodes.a.output}}; {{nodes.c.output}}'}
"])
    .await;
    let id = rig.execute("graph", json!({"greeting": "$(id) `id`"})).await;
    let events = rig.until_ended(&id).await;
    let told = outline(&events);
    let at = |wanted: &str| told.iter().position(|event| event == wanted).unwrap_or_else(|| panic!("no {wanted} in {told:?}"));
    assert_eq!(told.first().map(String::as_str), Some("execution:started"));
    assert_eq!(told.last().map(String::as_str), Some("execution:completed"));
    assert!(at("node:completed a") < at("node:started c") && at("node:completed b") < at("node:started c"), "{told:?}");
    assert!(at("node:completed c") < at("node:started d") && at("node:started d") < at("node:progress d"), "{told:?}");
    // What a person brought stays a value.
    assert_eq!(messages(&events, "a").iter().filter(|line| **line == "$(id) `id` from a").count(), 1);
    let trouble = events.iter().find(|event| event["data"]["message"] == "trouble").expect("the line on stderr");
    assert_eq!((&trouble["data"]["level"], &trouble["data"]["metadata"]["stream"]), (&json!("warning"), &json!("stderr")));
    assert_eq!(find(&events, "node:progress d")["data"]["progress"], 50);
    for (node, needs) in [("a", json!([])), ("c", json!(["a", "b"])), ("d", json!(["c"]))] {
        assert_eq!(find(&events, &format!("node:started {node}"))["data"]["dependsOn"], needs, "{node}");
    }
    let completed = &find(&events, "execution:completed")["data"];
    assert_eq!(completed["result"], json!({"d": "$(id) `id` from a; $BEFORE is not expanded here"}));
    assert_eq!(completed["nodesCompleted"], 4);
    let progress: Vec<&Value> =
        events.iter().filter(|event| kind(event) == "execution:progress").map(|event| &event["data"]["progress"]).collect();
    assert_eq!(progress, [25, 50, 75, 100]);
    for event in &events {
        assert_eq!((&event["executionId"], &event["workflowId"]), (&json!(id), &json!("graph")), "{event}");
    }
    let (_, report) = rig.get(&format!("/executions/{id}")).await;
    assert_eq!((&report["status"], &report["nodes"]["d"]["status"]), (&json!("completed"), &json!("completed")), "{report}");
}

#[tokio::test]
async fn the_head_on_the_bus_has_owner_and_end() {
    let rig = Rig::start(&["name: quick\nnodes: [{id: a, sleep: 1ms}]"]).await;
    let body = json!({"executionId": "mine", "userId": "ada"});
    assert_eq!(rig.post("/workflows/quick/execute", &body).await, (202, json!({"executionId": "mine"})));
    rig.until_ended("mine").await;
    let room = Room::execution("mine").expect("room");
    let head = timeout(SOON, async {
        loop {
            match rig.bus.load_head(&room).await.expect("bus") {
                Some((head, _)) if head.status().is_terminal() => return head,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let head = head.await.expect("the head reaches its end");
    assert_eq!((head.owner.as_deref(), head.status()), (Some("ada"), weft_event::Status::Completed));
    assert!(!events_of(&rig.bus, &Room::user("ada").expect("room")).await.is_empty());
    // The id is taken, here and on every other executor of the bus.
    let (status, refused) = rig.post("/workflows/quick/execute", &body).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("exists")));
}

#[tokio::test]
async fn an_id_that_another_executor_has_taken_is_refused() {
    let rig = Rig::start(&["name: quick\nnodes: [{id: a, sleep: 1ms}]"]).await;
    let head = weft_event::Head::new(None, "theirs", None, 1);
    rig.bus.store_head(&head, weft_bus::Expect::Absent).await.expect("stored");
    let (status, refused) = rig.post("/workflows/quick/execute", &json!({"executionId": "theirs"})).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("exists")), "{refused}");
    assert_eq!(rig.get("/executions/theirs").await.0, 404);
    assert!(rig.events("theirs").await.is_empty());
}

#[tokio::test]
async fn the_first_failure_stops_the_rest() {
    let rig = Rig::start(&["name: failing
nodes:
  - id: long
    command: echo begun; sleep 1000
  - id: bad
    command: sleep 0.2; echo 'no such thing' >&2; exit 7
  - id: never
    depends_on: [bad]
    sleep: 1ms
"])
    .await;
    let id = rig.execute("failing", json!({})).await;
    let events = rig.until_ended(&id).await;
    let told = outline(&events);
    assert_eq!(told.last().map(String::as_str), Some("execution:failed"));
    assert!(!told.contains(&"node:started never".to_owned()), "{told:?}");
    assert_eq!(find(&events, "node:failed bad")["data"]["error"], "the command ended with exit status 7");
    assert_eq!(find(&events, "node:failed long")["data"]["error"], "stopped: node 'bad' failed");
    let failed = &find(&events, "execution:failed")["data"];
    assert_eq!((&failed["failedNode"], &failed["error"]), (&json!("bad"), &json!("the command ended with exit status 7")));
}

#[tokio::test]
async fn a_node_is_tried_again() {
    let rig = Rig::start(&["name: shaky
nodes:
  - id: a
    retries: {attempts: 2, delay: 10ms}
    command: |
      echo x >> \"$WEFT_SCRATCH/tries\"
      [ \"$(wc -l < \"$WEFT_SCRATCH/tries\")\" -eq 3 ]
  - id: b
    depends_on: [a]
    retries: {attempts: 1, delay: 1ms}
    command: [/nowhere/at/all]
"])
    .await;
    let id = rig.execute("shaky", json!({})).await;
    let events = rig.until_ended(&id).await;
    let of_a: Vec<String> = outline(&events).into_iter().filter(|event| event.ends_with(" a")).collect();
    let expected = ["node:started a", "node:failed a", "node:started a", "node:failed a", "node:started a", "node:completed a"];
    assert_eq!(of_a, expected);
    assert_eq!(find(&events, "node:failed a")["data"]["retry"], json!({"attempt": 1, "of": 3, "delayMs": 10}));
    let last = events.iter().rfind(|event| kind(event) == "node:failed" && event["nodeId"] == "b").expect("b fails");
    assert_eq!(last["data"].get("retry"), None);
    let error = find(&events, "execution:failed")["data"]["error"].as_str().expect("an error").to_owned();
    assert!(error.starts_with("the command '/nowhere/at/all' cannot run"), "{error}");
}

#[tokio::test]
async fn a_node_and_an_execution_have_their_time() {
    let rig = Rig::start(&[
        "name: slow-node\nnodes:\n  - {id: a, timeout: 2s, command: 'sleep 1000 & echo $!; wait'}",
        "name: slow-whole\ntimeout: 200ms\nnodes:\n  - {id: a, command: sleep 1000}",
    ])
    .await;
    let id = rig.execute("slow-node", json!({})).await;
    let events = rig.until_ended(&id).await;
    assert_eq!(find(&events, "execution:failed")["data"]["error"], "took longer than 2s");
    let pid = messages(&events, "a")[0];
    assert!(is_gone(pid).await, "{pid} still runs");
    let id = rig.execute("slow-whole", json!({})).await;
    let events = rig.until_ended(&id).await;
    assert_eq!(find(&events, "execution:failed")["data"]["error"], "the execution took longer than 200ms");
    assert_eq!(find(&events, "node:failed a")["data"]["error"], "stopped: the execution took too long");
}

const SLEEPER: &str = "name: sleeper\nnodes:\n  - {id: a, command: 'sleep 1000 & echo $!; wait'}";

#[tokio::test]
async fn a_cancel_ends_the_processes_and_their_children() {
    let rig = Rig::start(&[SLEEPER]).await;
    let id = rig.execute("sleeper", json!({})).await;
    let events = rig.until(&id, |event| kind(event) == "log").await;
    let pid = messages(&events, "a")[0].to_owned();
    let (status, body) = rig.post(&format!("/executions/{id}/cancel"), &json!({"reason": "enough"})).await;
    assert_eq!((status, body), (202, json!({"executionId": id, "status": "stopping"})));
    let events = rig.until_ended(&id).await;
    let told = outline(&events);
    assert_eq!(told[told.len() - 2..], ["node:failed a", "execution:cancelled"]);
    assert_eq!(find(&events, "execution:cancelled")["data"]["reason"], "enough");
    assert!(is_gone(&pid).await, "{pid} still runs");
    let refused = timeout(SOON, async {
        loop {
            match rig.post(&format!("/executions/{id}/cancel"), &json!({})).await {
                (409, refused) => return refused,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    assert_eq!(refused.await.expect("it ends")["error"]["code"], "not_running");
}

#[tokio::test]
async fn leaving_cancels_what_runs_and_stores_its_end() {
    let mut rig = Rig::start(&[SLEEPER]).await;
    let id = rig.execute("sleeper", json!({})).await;
    let events = rig.until(&id, |event| kind(event) == "log").await;
    let pid = messages(&events, "a")[0].to_owned();
    rig.stop().await;
    // Nothing publishes any more: what is stored now is all there is.
    let events = rig.events(&id).await;
    assert_eq!(find(&events, "execution:cancelled")["data"]["reason"], "executor stopped");
    assert!(is_gone(&pid).await, "{pid} still runs");
    assert!(rig.bus.present(weft_bus::Presence::Executor).await.expect("bus").is_empty());
}

#[tokio::test]
async fn agents_stream_in_parallel() {
    let rig = Rig::start(&["name: agents
inputs: {who: {default: fox}}
nodes:
  - {id: left, tokens: {agent_name: Left, text: 'the quick brown {{inputs.who}}', delay: 5ms}}
  - {id: right, tokens: {text: 'one two three', delay: 5ms}}
  - {id: join, depends_on: [left, right], command: 'echo \"$L/$R\"', env: {L: '{{nodes.left.output}}', R: '{{nodes.right.output}}'}}
"])
    .await;
    let id = rig.execute("agents", json!({})).await;
    let events = rig.until_ended(&id).await;
    for (agent, text) in [("left", "the quick brown fox"), ("right", "one two three")] {
        let own: Vec<&Value> = events.iter().filter(|event| event["agentId"] == agent).collect();
        let kinds: Vec<&str> = own.iter().map(|event| kind(event)).collect();
        let count = text.split(' ').count();
        let mut expected = vec!["agent:started", "agent:streaming_start"];
        expected.extend(vec!["agent:token"; count]);
        expected.extend(["agent:streaming_end", "agent:completed"]);
        assert_eq!(kinds, expected);
        let tokens: String = own.iter().filter_map(|event| event["data"]["token"].as_str()).collect();
        assert_eq!(tokens, text);
        assert_eq!(
            (&own[own.len() - 2]["data"]["response"], &own[own.len() - 2]["data"]["tokenCount"]),
            (&json!(text), &json!(count))
        );
        assert_eq!(own[own.len() - 1]["data"]["result"], text);
        let room = Room::agent(agent, &id).expect("room");
        assert_eq!(events_of(&rig.bus, &room).await.len(), own.len(), "each agent has its own room");
    }
    assert_eq!(find(&events, "execution:completed")["data"]["result"]["join"], "the quick brown fox/one two three");
}

#[tokio::test]
async fn a_flood_of_output_is_cut_and_said_so() {
    let rig = Rig::start_with(
        &["name: flood\nnodes:\n  - {id: a, command: 'yes 0123456789 | head -n 5000; printf \"\\377\\n\"'}"],
        &["--output-lines-max", "100"],
    )
    .await;
    let id = rig.execute("flood", json!({})).await;
    let events = rig.until_ended(&id).await;
    let lines = messages(&events, "a");
    assert_eq!(lines.len(), 101);
    assert!(lines[100].starts_with("output cut: 4901 lines not shown"), "{}", lines[100]);
    let output = find(&events, "node:completed a")["data"]["output"].as_str().expect("text").len();
    assert!(output > 10_000 && output <= 12 * 1024, "{output}");
}

#[tokio::test]
async fn so_many_at_once_and_no_more() {
    let rig = Rig::start_with(&[SLEEPER], &["--executions-max", "2"]).await;
    let (first, _second) = (rig.execute("sleeper", json!({})).await, rig.execute("sleeper", json!({})).await);
    let response = rig.client.post(format!("{}/workflows/sleeper/execute", rig.base)).send().await.expect("answered");
    assert_eq!((response.status().as_u16(), response.headers().contains_key("retry-after")), (503, true));
    rig.post(&format!("/executions/{first}/cancel"), &json!({})).await;
    rig.until_ended(&first).await;
    let third = timeout(SOON, async {
        while rig.post("/workflows/sleeper/execute", &json!({})).await.0 != 202 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    third.await.expect("a place is free again");
}

#[tokio::test]
async fn a_tool_call_tells_what_an_agent_uses() {
    let rig = Rig::start(&["name: tools
inputs: {base: {required: true}}
nodes:
  - {id: lookup, tool_of: writer, http: {url: '{{inputs.base}}/health'}}
  - {id: writer, depends_on: [lookup], tokens: {text: 'It is {{nodes.lookup.output.body.status}}.', delay: 0ms}}
"])
    .await;
    let id = rig.execute("tools", json!({"base": rig.base})).await;
    let events = rig.until_ended(&id).await;
    let calls: Vec<&Value> = events.iter().filter(|event| kind(event) == "agent:tool_call").collect();
    assert_eq!(calls.iter().map(|call| &call["data"]["status"]).collect::<Vec<_>>(), ["started", "completed"]);
    assert_eq!((&calls[0]["agentId"], &calls[0]["data"]["tool"]), (&json!("writer"), &json!("lookup")));
    assert_eq!(calls[0]["data"]["arguments"], json!({"method": "GET", "url": format!("{}/health", rig.base)}));
    assert_eq!(find(&events, "agent:completed writer")["data"]["result"], "It is ok.");
}
