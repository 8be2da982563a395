//! From client to executor and back: exactly one answer for each command.

use crate::support::{Broker, Kind, SHARED, SOON, Socket, request, until};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::{sync::mpsc, task::JoinHandle};
use weft_testkit::process::Process;

/// An executor that is nothing but HTTP: it takes commands from a gateway and answers as the test says.
pub struct FakeExecutor {
    id: &'static str,
    gateway: String,
    commands: mpsc::UnboundedReceiver<Value>,
    stream: JoinHandle<()>,
}

impl FakeExecutor {
    pub async fn start(id: &'static str, gateway: &Process, executions: &[&str]) -> Self {
        let url = format!("{}/api/commands?executor={id}", gateway.url());
        let (sender, commands) = mpsc::unbounded_channel();
        // No timeout of the whole request: the answer goes on for as long as the test does.
        let client = weft_testkit::http::client();
        let answer = client.get(url).timeout(SOON * 4).send().await.expect("a stream");
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let stream = tokio::spawn(read_commands(answer, sender));
        let executor = Self { id, gateway: gateway.url(), commands, stream };
        executor.register(executions).await;
        executor
    }

    async fn register(&self, executions: &[&str]) {
        let body = json!({"executions": executions, "workflows": [{"name": "demo"}]});
        let url = format!("{}/api/commands/{}", self.gateway, self.id);
        let answer = weft_testkit::http::client().put(url).json(&body).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 204);
    }

    pub async fn next(&mut self) -> Value {
        tokio::time::timeout(SOON, self.commands.recv()).await.expect("a command, in time").expect("the stream goes on")
    }

    pub async fn reply(&self, command: &Value, reply: Value) -> u16 {
        let reference = command["ref"].as_str().expect("a ref");
        let url = format!("{}/api/commands/{reference}/reply", self.gateway);
        weft_testkit::http::client().post(url).json(&reply).send().await.expect("an answer").status().as_u16()
    }
}

impl Drop for FakeExecutor {
    fn drop(&mut self) {
        self.stream.abort();
    }
}

async fn read_commands(answer: reqwest::Response, commands: mpsc::UnboundedSender<Value>) {
    let mut text = String::new();
    let mut bytes = answer.bytes_stream();
    while let Some(Ok(some)) = bytes.next().await {
        text.push_str(&String::from_utf8_lossy(&some));
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                assert!(event.contains("event: command"), "{event}");
                let _ = commands.send(serde_json::from_str(data).expect("json"));
            }
        }
    }
}

fn accepted() -> Value {
    json!({"outcome": "accepted"})
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_is_answered_once_with_the_executors_own_answer() {
    for kind in [Kind::Memory, Kind::JetStream, Kind::NatsCore, Kind::Redis, Kind::RedisPubSub] {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[("WEFT_COMMAND_TIMEOUT_MS", "1500")]).await;
        // The executor is at one gateway, the client at the other.
        let mut executor = FakeExecutor::start("fake", &gateways[0], &["run-1"]).await;
        let mut socket = Socket::open(&gateways[gateways.len() - 1]).await;
        socket.say(json!({"type": "user_input:provide", "executionId": "run-1", "requestId": "q", "value": {"a": [1, 2.50]}, "ref": "1"})).await;
        let command = executor.next().await;
        assert_eq!(
            (&command["kind"], &command["address"]),
            (&json!("user_input:provide"), &json!("execution:run-1")),
            "{command}"
        );
        assert_eq!(command["body"], json!({"requestId": "q", "value": {"a": [1, 2.50]}}), "{kind:?}");
        assert_eq!(executor.reply(&command, accepted()).await, 204);
        assert_eq!(socket.hear().await, json!({"type": "ack", "ref": "1"}), "{kind:?}");
        assert_eq!(executor.reply(&command, accepted()).await, 409, "{kind:?}: it has its answer");
        assert_eq!(executor.reply(&json!({"ref": "never-given"}), accepted()).await, 404, "{kind:?}");

        socket.say(json!({"type": "cancel", "executionId": "run-1", "reason": "enough", "ref": "2"})).await;
        let command = executor.next().await;
        assert_eq!((&command["kind"], &command["body"]["reason"]), (&json!("cancel"), &json!("enough")), "{command}");
        executor.reply(&command, json!({"outcome": "rejected", "code": "ended", "message": "it has ended"})).await;
        let error = socket.hear().await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("rejected"), &json!("2")), "{kind:?}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains("it has ended")), "{error}");

        // Nobody answers; the late answer then reaches nobody.
        socket.say(json!({"type": "cancel", "executionId": "run-1", "ref": "3"})).await;
        let unanswered = executor.next().await;
        let error = socket.hear().await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("timeout"), &json!("3")), "{kind:?}: {error}");
        executor.reply(&unanswered, accepted()).await;

        socket.say(json!({"type": "cancel", "executionId": "run-2", "ref": "4"})).await;
        let error = socket.hear().await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("no_executor"), &json!("4")), "{kind:?}: {error}");
        socket.hears_nothing_more().await;

        // What it runs is told in full each time.
        executor.register(&["run-2"]).await;
        socket.say(json!({"type": "cancel", "executionId": "run-1", "ref": "5"})).await;
        assert_eq!(socket.hear().await["code"], "no_executor", "{kind:?}");
        socket.say(json!({"type": "cancel", "executionId": "run-2", "ref": "6"})).await;
        let command = executor.next().await;
        executor.reply(&command, accepted()).await;
        assert_eq!(socket.hear().await, json!({"type": "ack", "ref": "6"}), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commands_at_once_are_answered_once_each() {
    let broker = Broker::start(Kind::Redis).await;
    let gateways = broker.gateways(&[]).await;
    let mut executor = FakeExecutor::start("fake", &gateways[0], &["run"]).await;
    let mut sockets = Vec::new();
    for index in 0..4 {
        let mut socket = Socket::open(&gateways[index % 2]).await;
        for n in 0..10 {
            let message =
                json!({"type": "user_input:provide", "executionId": "run", "requestId": "q", "value": n, "ref": n.to_string()});
            socket.say(message).await;
        }
        sockets.push(socket);
    }
    for _ in 0..40 {
        let command = executor.next().await;
        assert_eq!(executor.reply(&command, accepted()).await, 204);
    }
    for socket in &mut sockets {
        let mut references = Vec::new();
        for _ in 0..10 {
            let ack = socket.hear().await;
            assert_eq!(ack["type"], "ack", "{ack}");
            references.push(ack["ref"].as_str().and_then(|text| text.parse::<u32>().ok()).expect("a ref"));
        }
        references.sort_unstable();
        assert_eq!(references, (0..10).collect::<Vec<_>>());
        socket.hears_nothing_more().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executors_newest_stream_is_the_one_that_counts() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[]).await;
    let mut older = FakeExecutor::start("fake", &gateway, &["run"]).await;
    let mut newer = FakeExecutor::start("fake", &gateway, &["run"]).await;
    let mut socket = Socket::open(&gateway).await;
    for reference in ["1", "2", "3"] {
        socket.say(json!({"type": "cancel", "executionId": "run", "ref": reference})).await;
        let command = newer.next().await;
        newer.reply(&command, accepted()).await;
        assert_eq!(socket.hear().await["ref"], reference);
    }
    assert!(tokio::time::timeout(SOON, older.commands.recv()).await.expect("the older one ends").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_are_listed_and_run_by_whoever_announced_them() {
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let other = &gateways[1];
        let (status, body) = request(other, "POST", "/api/workflows/demo/execute", Some("{}".into())).await;
        assert_eq!((status, &body["error"]["code"]), (503, &json!("no_executor")), "{kind:?}: {body}");
        let executor = Arc::new(tokio::sync::Mutex::new(FakeExecutor::start("fake", &gateways[0], &["run"]).await));
        until("the announcement", async || {
            crate::support::get(other, "/api/workflows").await.1["workflows"] == json!([{"name": "demo"}])
        })
        .await;
        let answering = executor.clone();
        let answers = tokio::spawn(async move {
            let mut executor = answering.lock().await;
            let mut commands = Vec::new();
            for _ in 0..5 {
                let command = executor.next().await;
                let id = command["body"]["executionId"].clone();
                let reply = match command["body"]["inputs"]["bad"].as_bool() {
                    Some(true) => json!({"outcome": "rejected", "code": "invalid", "message": "bad input"}),
                    _ => json!({"outcome": "accepted", "body": {"executionId": id}}),
                };
                executor.reply(&command, reply).await;
                commands.push(command);
            }
            commands
        });
        let body = json!({"inputs": {"a": 1}, "executionId": "mine"}).to_string();
        let (status, answer) = request(other, "POST", "/api/workflows/demo/execute", Some(body)).await;
        assert_eq!((status, &answer["executionId"]), (202, &json!("mine")), "{kind:?}: {answer}");
        let body = json!({"inputs": {"bad": true}}).to_string();
        let (status, answer) = request(other, "POST", "/api/workflows/demo/execute", Some(body)).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("invalid")), "{kind:?}: {answer}");
        // A workflow that the request itself brings along.
        let body = json!({"name": "mine", "steps": [{"id": "a", "sleep": "1s"}]}).to_string();
        let (status, answer) = request(other, "POST", "/api/workflows", Some(body)).await;
        assert_eq!(status, 202, "{kind:?}: {answer}");
        assert!(answer["executionId"].is_string(), "{kind:?}: {answer}");
        let (status, answer) = request(other, "POST", "/api/executions/run/cancel", None).await;
        assert_eq!((status, &answer["executionId"]), (202, &json!("run")), "{kind:?}: {answer}");
        let body = json!({"requestId": "q", "value": {"a": [1, null]}});
        let (status, answer) = request(other, "POST", "/api/executions/run/input", Some(body.to_string())).await;
        assert_eq!((status, &answer["executionId"]), (202, &json!("run")), "{kind:?}: {answer}");
        let commands = answers.await.expect("five commands");
        assert_eq!((&commands[4]["kind"], &commands[4]["body"]), (&json!("user_input:provide"), &body), "{kind:?}");
        assert_eq!(commands[2]["body"]["definition"], json!({"name": "mine", "nodes": [{"id": "a", "sleep": "1s"}]}), "{kind:?}");
        let (status, answer) = request(other, "POST", "/api/workflows", Some(json!({"name": "x"}).to_string())).await;
        assert_eq!((status, &answer["error"]["field"]), (400, &json!("nodes")), "{kind:?}: {answer}");
        let (status, answer) = request(other, "POST", "/api/workflows/other/execute", None).await;
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("no_executor")), "{kind:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_whose_stream_has_ended_is_soon_offered_nothing() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_COMMAND_TIMEOUT_MS", "1000")]).await;
    let executor = FakeExecutor::start("x1", &gateway, &["e"]).await;
    drop(executor);
    let mut timeouts = 0;
    loop {
        let (status, body) = request(&gateway, "POST", "/api/executions/e/cancel", None).await;
        match body["error"]["code"].as_str() {
            Some("no_executor") => break,
            Some("timeout") => timeouts += 1,
            _ => panic!("{status} {body}"),
        }
        // Its registration alone would have lasted for thirty of them.
        assert!(timeouts < 10, "commands are still given to nobody");
    }
}
