//! The workflows that the executor ships do what they say.

mod rig;

use rig::{Rig, find, kind, messages, outline, shipped};
use serde_json::{Value, json};
use weft_bus::{Address, Reply};
use weft_event::Room;

#[tokio::test]
async fn build_and_test_builds_and_tests() {
    let rig = Rig::start_in(&shipped(), &[]).await;
    let id = rig.execute("build-and-test", json!({"text": "a b a"})).await;
    let events = rig.until_ended(&id).await;
    let completed = find(&events, "execution:completed");
    assert_eq!(completed["data"]["result"]["count"], "   2 a\n   1 b");
    assert!(messages(&events, "test").contains(&"OK"), "{:?}", messages(&events, "test"));
    assert_eq!(messages(&events, "compile").len(), 2);
}

#[tokio::test]
async fn http_check_asks_and_fails_when_the_answer_is_wrong() {
    let rig = Rig::start_in(&shipped(), &[]).await;
    let url = format!("{}/health", rig.base);
    let id = rig.execute("http-check", json!({"url": url})).await;
    let events = rig.until_ended(&id).await;
    assert_eq!(find(&events, "node:completed ask")["data"]["output"]["body"]["status"], "ok");
    assert_eq!(messages(&events, "report")[0], format!("{url} answered 200"));
    assert_eq!(kind(events.last().expect("events")), "execution:completed");

    let id = rig.execute("http-check", json!({"url": format!("{}/nowhere", rig.base)})).await;
    let events = rig.until_ended(&id).await;
    let error = find(&events, "execution:failed")["data"]["error"].as_str().expect("an error").to_owned();
    assert!(error.starts_with("the answer's status is 404"), "{error}");
    assert_eq!(outline(&events).iter().filter(|event| *event == "node:started ask").count(), 3);

    for (url, why) in
        [("http://169.254.169.254/latest", "'169.254.169.254' is not listed"), ("file:///etc/passwd", "must begin with http")]
    {
        let id = rig.execute("http-check", json!({"url": url})).await;
        let events = rig.until_ended(&id).await;
        let error = find(&events, "execution:failed")["data"]["error"].as_str().expect("an error").to_owned();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn approval_goes_on_or_fails() {
    let rig = Rig::start_in(&shipped(), &[]).await;
    for (answer, end) in [(true, "execution:completed"), (false, "execution:failed")] {
        let id = rig.execute("approval", json!({"change": "Ship it"})).await;
        let events = rig.until(&id, |event| kind(event) == "user_input:required").await;
        let asked = &find(&events, "user_input:required")["data"];
        assert!(asked["prompt"].as_str().is_some_and(|prompt| prompt.starts_with("Ship it?")), "{asked}");
        assert_eq!((&asked["inputType"], &asked["nodeId"]), (&json!("boolean"), &json!("approve")));
        let address = Address::Execution(Room::execution(&id).expect("room"));
        let body = json!({"requestId": asked["requestId"], "value": answer});
        let reply = rig.command(&address, "r1", "user_input:provide", body).await.expect("answered");
        assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
        let events = rig.until_ended(&id).await;
        assert_eq!(kind(events.last().expect("events")), end);
        assert_eq!(find(&events, "user_input:provided")["data"]["by"], "ada");
    }
}

#[tokio::test]
async fn story_streams_several_agents_at_the_same_time() {
    let rig = Rig::start_in(&shipped(), &[]).await;
    let id = rig.execute("story", json!({"hero": "an otter"})).await;
    let events = rig.until_ended(&id).await;
    assert_eq!(kind(events.last().expect("events")), "execution:completed");
    let order: Vec<&Value> = events.iter().filter(|event| kind(event) == "agent:token").map(|event| &event["agentId"]).collect();
    let changes = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes > 10, "the agents take turns: {changes} changes");
    let editor = find(&events, "agent:completed editor")["data"]["result"].as_str().expect("a text").to_owned();
    assert!(editor.contains("an otter"), "{editor}");
}

#[tokio::test]
async fn start_streaming_runs_the_demo_once() {
    let rig = Rig::start_in(&shipped(), &[]).await;
    let (status, body) = rig.post("/executions/shown/start-streaming", &json!({})).await;
    assert_eq!((status, body), (202, json!({"executionId": "shown"})));
    assert_eq!(rig.post("/executions/shown/start-streaming", &json!({})).await.0, 409);
    let events = rig.until_ended("shown").await;
    let told = outline(&events);
    assert_eq!(kind(events.last().expect("events")), "execution:completed", "{told:?}");
    for wanted in
        ["node:progress collect", "node:failed shaky", "node:completed shaky", "agent:token writer", "agent:token critic"]
    {
        assert!(told.iter().any(|event| event == wanted), "no {wanted}");
    }
    assert_eq!(find(&events, "execution:completed")["data"]["result"]["summary"], "37 words in all");
}
