//! Commands over the bus: one answer each, a repeat as the first was.

mod rig;

use rig::{EXECUTOR_ID, Rig, SOON, find, kind, outline};
use serde_json::{Value, json, value::RawValue};
use std::time::Duration;
use tokio::time::timeout;
use weft_bus::{Address, Presence, Reply, RequestError};
use weft_event::Room;

const ASK: &str = "name: ask
nodes:
  - id: ask
    prompt: {text: 'Which colour?', choices: [red, green], timeout: 5m}
  - id: say
    depends_on: [ask]
    command: echo \"$COLOUR it is\"
    env: {COLOUR: '{{nodes.ask.output}}'}
";

fn of_execution(id: &str) -> Address {
    Address::Execution(Room::execution(id).expect("room"))
}

fn of_executor() -> Address {
    Address::Executor(EXECUTOR_ID.into())
}

/// A reply as JSON, to be compared.
fn shown(reply: Result<Reply, RequestError>) -> Value {
    serde_json::to_value(reply.expect("a reply")).expect("json")
}

fn code(reply: Result<Reply, RequestError>) -> String {
    match reply.expect("a reply") {
        Reply::Rejected { code, .. } => code,
        Reply::Accepted { body } => format!("accepted: {}", body.as_deref().map_or("", RawValue::get)),
    }
}

async fn asked(rig: &Rig, id: &str) -> String {
    let events = rig.until(id, |event| kind(event) == "user_input:required").await;
    find(&events, "user_input:required")["data"]["requestId"].as_str().expect("a request id").to_owned()
}

#[tokio::test]
async fn an_answer_is_taken_once_and_repeats_are_told_the_same() {
    let rig = Rig::start(&[ASK]).await;
    let id = rig.execute("ask", json!({})).await;
    let (address, request) = (of_execution(&id), asked(&rig, &id).await);
    let provide = |reference: &'static str, request: &str, value: Value| {
        let body = json!({"requestId": request, "value": value, "executionId": id});
        rig.command(&address, reference, "user_input:provide", body)
    };
    assert_eq!(code(provide("1", "none-such", json!("red")).await), "unknown_request");
    assert_eq!(code(provide("2", &request, json!("blue")).await), "invalid_value");
    assert_eq!(code(provide("3", &request, json!(5)).await), "invalid_value");
    let (_, report) = rig.get(&format!("/executions/{id}")).await;
    assert_eq!(report["pendingInput"][0]["requestId"], request.as_str());

    let first = shown(provide("4", &request, json!("red")).await);
    assert_eq!(first, json!({"outcome": "accepted", "body": {"requestId": request, "value": "red"}}));
    assert_eq!(shown(provide("4", &request, json!("red")).await), first, "the same ref");
    assert_eq!(shown(provide("5", &request, json!("red")).await), first, "another ref");
    assert_eq!(shown(provide("6", &request, json!("green")).await), first, "another value");
    let events = rig.until_ended(&id).await;
    assert_eq!(shown(provide("7", &request, json!("red")).await), first, "after the end");
    assert_eq!(outline(&events).iter().filter(|event| event.starts_with("user_input:provided")).count(), 1);
    assert_eq!(find(&events, "execution:completed")["data"]["result"]["say"], "red it is");
    let required = &find(&events, "user_input:required")["data"];
    assert_eq!(required["validation"], json!({"type": "text", "choices": ["red", "green"]}));
}

/// Sent one after the other without waiting, as a person's double click does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_do_not_overtake_each_other() {
    let rig = Rig::start(&[ASK]).await;
    for round in 0..20 {
        let id = rig.execute("ask", json!({})).await;
        let (address, request) = (of_execution(&id), asked(&rig, &id).await);
        let (rig, address) = (&rig, &address);
        let provide = |reference: &str, value: &str| {
            let body = json!({"requestId": request, "value": value, "executionId": id});
            let reference = format!("{round}-{reference}");
            async move { rig.command(address, &reference, "user_input:provide", body).await }
        };
        let (wrong, first, second) = tokio::join!(provide("a", "blue"), provide("b", "red"), provide("c", "green"));
        assert_eq!(code(wrong), "invalid_value", "round {round}");
        let first = shown(first);
        assert_eq!(first, json!({"outcome": "accepted", "body": {"requestId": request, "value": "red"}}), "round {round}");
        assert_eq!(shown(second), first, "round {round}");
    }
}

#[tokio::test]
async fn http_and_bus_answers_are_one() {
    let rig = Rig::start(&[ASK]).await;
    let id = rig.execute("ask", json!({})).await;
    let request = asked(&rig, &id).await;
    let path = format!("/executions/{id}/input");
    let (status, refused) = rig.post(&path, &json!({"requestId": request, "value": "blue"})).await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("invalid_value")));
    let given = json!({"requestId": request, "value": "green"});
    assert_eq!(rig.post(&path, &given).await, (200, given.clone()));
    let again = rig.command(&of_execution(&id), "1", "user_input:provide", json!({"requestId": request, "value": "red"})).await;
    assert_eq!(shown(again), json!({"outcome": "accepted", "body": given}));
}

#[tokio::test]
async fn nobody_answers_in_time() {
    let rig = Rig::start(&["name: brief\nnodes:\n  - {id: a, prompt: {text: Quick!, timeout: 50ms}}"]).await;
    let id = rig.execute("brief", json!({})).await;
    let events = rig.until_ended(&id).await;
    let request = &find(&events, "user_input:required")["data"]["requestId"];
    assert_eq!(find(&events, "user_input:timeout")["data"], json!({"nodeId": "a", "requestId": request, "timeoutMs": 50}));
    assert_eq!(find(&events, "execution:failed")["data"]["error"], "nobody answered within 50ms");
    for reference in ["1", "1", "2"] {
        let late =
            rig.command(&of_execution(&id), reference, "user_input:provide", json!({"requestId": request, "value": "x"})).await;
        assert_eq!(code(late), "timed_out");
    }
}

#[tokio::test]
async fn a_cancel_over_the_bus_ends_an_open_question() {
    let rig = Rig::start(&[ASK]).await;
    let id = rig.execute("ask", json!({})).await;
    let request = asked(&rig, &id).await;
    let first = shown(rig.command(&of_execution(&id), "1", "cancel", json!({"reason": null})).await);
    assert_eq!(first, json!({"outcome": "accepted", "body": {"executionId": id, "status": "stopping"}}));
    let events = rig.until_ended(&id).await;
    assert_eq!(find(&events, "execution:cancelled")["data"]["reason"], "cancelled");
    assert_eq!(shown(rig.command(&of_execution(&id), "1", "cancel", json!({"reason": null})).await), first);
    let late = rig.command(&of_execution(&id), "2", "user_input:provide", json!({"requestId": request, "value": "red"})).await;
    assert_eq!(code(late), "not_running");
    let (_, report) = rig.get(&format!("/executions/{id}")).await;
    assert_eq!((&report["status"], &report["error"]), (&json!("cancelled"), &json!("cancelled")));
}

#[tokio::test]
async fn an_order_runs_once_and_belongs_to_who_gave_it() {
    let rig = Rig::start(&["name: quick\ninputs: {n: {type: number}}\nnodes: [{id: a, sleep: 1ms}]"]).await;
    let (address, order) = (of_executor(), json!({"workflow": "quick", "inputs": {"n": 1}, "userId": "mallory"}));
    let replies = futures_util::future::join_all((0..20).map(|_| rig.command(&address, "same", "execute", order.clone()))).await;
    let replies: Vec<Value> = replies.into_iter().map(shown).collect();
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    let id = replies[0]["body"]["executionId"].as_str().expect("an id");
    let events = rig.until_ended(id).await;
    assert_eq!(events[0]["userId"], "ada", "the verified subject, not what the body says");
    let (_, list) = rig.get("/executions").await;
    assert_eq!(list["executions"].as_array().map(Vec::len), Some(1));

    let asked = |order: Value| rig.command(&address, "1", "execute", order);
    for (order, expected) in [
        (json!({"workflow": "none-such"}), "unknown_workflow"),
        (json!({}), "invalid"),
        (json!({"workflow": "quick", "inputs": {"n": "1"}}), "invalid"),
        (json!({"workflow": "quick", "inputs": {"x": 1}}), "invalid"),
        (json!({"workflow": "quick", "executionId": "a b"}), "invalid"),
        (json!({"workflow": "quick", "executionId": id}), "exists"),
        (json!({"workflow": "quick", "command": ["id"]}), "invalid"),
        (json!({"workflow": "quick", "definition": {}}), "invalid"),
        (json!({"definition": {"name": "x", "nodes": [{"id": "a", "command": "id"}]}}), "invalid"),
        (json!({"definition": {"name": "x", "nodes": [{"id": "a", "http": {"url": "http://127.0.0.1/"}}]}}), "invalid"),
    ] {
        assert_eq!(code(asked(order.clone()).await), expected, "{order}");
    }
    let brought = json!({"definition": {"name": "brought", "nodes": [{"id": "a", "sleep": "1ms"}]}});
    assert!(code(asked(brought).await).starts_with("accepted"));
}

#[tokio::test]
async fn a_refusal_that_passes_is_not_remembered() {
    let rig = Rig::start_with(&["name: slow\nnodes: [{id: a, sleep: 1h}]"], &["--executions-max", "1"]).await;
    let id = rig.execute("slow", json!({})).await;
    let executor = of_executor();
    let order = || rig.command(&executor, "1", "execute", json!({"workflow": "slow"}));
    assert_eq!(code(order().await), "busy");
    rig.post(&format!("/executions/{id}/cancel"), &json!({})).await;
    let begun = timeout(SOON, async {
        while !code(order().await).starts_with("accepted") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    begun.await.expect("the same ref passes once there is a place");
}

#[tokio::test]
async fn what_is_no_command_here_is_told_so() {
    let rig = Rig::start(&["name: demo\nnodes: [{id: a, sleep: 1h}]"]).await;
    let id = rig.execute("demo", json!({})).await;
    for (address, name, body, expected) in [
        (of_executor(), "format-disk", json!({}), "unknown_command"),
        (of_executor(), "cancel", json!({}), "unknown_command"),
        (of_execution(&id), "execute", json!({"workflow": "demo"}), "unknown_command"),
        (of_execution(&id), "user_input:provide", json!({"requestId": 5}), "invalid"),
        (of_execution(&id), "user_input:provide", json!([]), "invalid"),
        (of_execution(&id), "cancel", json!({"reason": 5}), "invalid"),
        (of_execution(&id), "cancel", json!({"reason": "x".repeat(5000)}), "invalid"),
        (of_executor(), "start-streaming", json!({"executionId": "../x"}), "invalid"),
        (of_executor(), "start-streaming", json!({"executionId": id}), "exists"),
    ] {
        assert_eq!(code(rig.command(&address, "1", name, body.clone()).await), expected, "{name} {body}");
    }
    let nobody = rig.command(&of_execution("unknown"), "1", "cancel", json!({})).await;
    assert_eq!(nobody.map(|_| ()), Err(RequestError::NoExecutor));
    let begun = rig.command(&of_executor(), "2", "start-streaming", json!({"executionId": "shown"})).await;
    assert_eq!(shown(begun), json!({"outcome": "accepted", "body": {"executionId": "shown"}}));
}

#[tokio::test]
async fn the_executor_announces_what_it_runs() {
    let rig = Rig::start(&[ASK]).await;
    let (id, value) = rig.bus.present(Presence::Executor).await.expect("bus").pop().expect("announced");
    let value: Value = serde_json::from_slice(&value).expect("json");
    assert_eq!(id, EXECUTOR_ID);
    assert_eq!(
        value,
        json!({"id": EXECUTOR_ID, "tenant": null, "workflows": [{"name": "ask", "description": "", "inputs": {}}]})
    );
}
