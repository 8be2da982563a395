//! Who opens a page late, while an execution runs or after its end, at a gateway that has not heard of it: first the state in
//! the words of its dialect, then what happens.

use crate::{
    clients::Clients,
    support::{Broker, DURABLE, Kind, Socket, publish},
};
use serde_json::{Value, json};
use weft_testkit::process::Process;

const WEBSOCKET: &str = r#"{"transports": ["websocket"]}"#;

fn event(execution: &str, kind: &str, node: Option<&str>, data: Value) -> Value {
    let mut event = json!({"type": kind, "executionId": execution, "data": data});
    if let Some(node) = node {
        event["nodeId"] = node.into();
    }
    event
}

/// One node has ended, one is at work, and a line was logged.
fn half_done(execution: &str) -> Value {
    json!([
        event(execution, "execution:started", None, json!({})),
        event(execution, "node:started", Some("n1"), json!({})),
        event(execution, "node:completed", Some("n1"), json!({"output": {"x": 1}})),
        event(execution, "node:started", Some("n2"), json!({})),
        event(execution, "execution:progress", None, json!({"progress": 40, "currentNode": "n2"})),
        event(execution, "log", None, json!({"level": "info", "message": "before"})),
    ])
}

/// Everybody who opens the execution now, each in its dialect.
struct Late {
    clients: Clients,
    a: String,
    d: String,
    c: Socket,
    b: Socket,
}

impl Late {
    async fn open(gateway: &Process, execution: &str) -> Self {
        let mut clients = Clients::start();
        let websocket: Value = serde_json::from_str(WEBSOCKET).expect("JSON");
        let (a, d) = ("a".to_owned(), "d".to_owned());
        clients.connected(&a, &format!("{}/executions", gateway.url()), websocket.clone()).await;
        clients.connected(&d, &gateway.url(), websocket).await;
        assert_eq!(clients.ask(&a, "subscribe", json!([execution])).await["outcome"], "snapshot");
        assert_eq!(clients.ask(&d, "subscribe", json!([format!("execution:{execution}")])).await["outcome"], "snapshot");
        let c = Socket::open_at(gateway, &format!("/api/ws/executions/{execution}")).await.expect("an upgrade");
        let mut b = Socket::open(gateway).await;
        let answer = b.subscribe(json!({"executionId": execution, "snapshot": true})).await;
        assert_eq!(answer["outcome"], "snapshot", "{answer}");
        Self { clients, a, d, c, b }
    }

    /// What A is told next, as (event, payload).
    async fn a(&mut self, count: usize) -> Vec<(String, Value)> {
        let mut told = Vec::new();
        for _ in 0..count {
            let (name, args) = self.clients.event(&self.a).await;
            told.push((name, args[0].clone()));
        }
        told
    }

    async fn c(&mut self, count: usize) -> Vec<Value> {
        let mut told = Vec::new();
        for _ in 0..count {
            told.push(self.c.hear().await);
        }
        told
    }

    /// The state that D and B are told: the same.
    async fn state(&mut self) -> Value {
        let (name, args) = self.clients.event(&self.d).await;
        assert_eq!(name, "snapshot");
        let told = self.b.hear().await;
        assert_eq!(told["type"], "snapshot", "{told}");
        assert_eq!(told["snapshot"], args[0]["snapshot"], "D and B");
        told["snapshot"].clone()
    }

    /// All hear this line next, and nothing before it.
    async fn hear_line(&mut self, message: &str) {
        let (name, log) = self.a(1).await.remove(0);
        assert_eq!((name.as_str(), &log["log"]["message"]), ("log", &json!(message)));
        assert_eq!(self.c(1).await[0]["log"]["message"], message);
        let (name, args) = self.clients.event(&self.d).await;
        assert_eq!((name.as_str(), &args[0]["data"]["message"]), ("log", &json!(message)));
        assert_eq!(self.b.hear().await["data"]["message"], message);
    }
}

fn names(told: &[(String, Value)]) -> Vec<&str> {
    told.iter().map(|(name, _)| name.as_str()).collect()
}

/// Type, and the status that it tells.
fn statuses(told: &[Value]) -> Vec<(&str, &str)> {
    let status = |kind: &str| match kind {
        "node_update" => "/node_state/status",
        "completion" => "/result/status",
        _ => "/status",
    };
    let kinds = told.iter().map(|frame| (frame, frame["type"].as_str().unwrap_or_default()));
    kinds.map(|(frame, kind)| (kind, frame.pointer(status(kind)).and_then(Value::as_str).unwrap_or_default())).collect()
}

async fn gateways(kind: Kind, broker: &Broker) -> (Process, Option<Process>) {
    let here = broker.gateway(&[]).await;
    let there = if kind == Kind::Memory { None } else { Some(broker.gateway(&[]).await) };
    (here, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_execution_is_told_as_it_stands_and_goes_on() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let (here, there) = gateways(kind, &broker).await;
        publish(&here, half_done("run")).await;
        let mut late = Late::open(there.as_ref().unwrap_or(&here), "run").await;

        let a = late.a(3).await;
        assert_eq!(names(&a), ["status", "nodeStatus", "nodeStatus"], "{kind:?}");
        assert_eq!(a[0].1["status"], "running", "{kind:?}");
        assert_eq!(a[1].1, json!({"executionId": "run", "nodeId": "n1", "status": "completed", "output": {"x": 1}}), "{kind:?}");
        assert_eq!((&a[2].1["nodeId"], &a[2].1["status"]), (&json!("n2"), &json!("running")), "{kind:?}");

        let c = late.c(3).await;
        assert_eq!(statuses(&c), [("status", "running"), ("node_update", "completed"), ("node_update", "running")], "{kind:?}");
        assert_eq!(c[0]["data"], json!({"progress": 0.4, "current_node": "n2"}), "{kind:?}");
        assert_eq!((&c[1]["node_id"], &c[1]["node_state"]["output"]), (&json!("n1"), &json!({"x": 1})), "{kind:?}");

        let state = late.state().await;
        assert_eq!((&state["status"], &state["progress"]), (&json!("running"), &json!(40)), "{kind:?}: {state}");
        assert_eq!(state["nodes"]["n1"]["output"], json!({"x": 1}), "{kind:?}: {state}");

        publish(&here, event("run", "log", None, json!({"level": "info", "message": "after"}))).await;
        late.hear_line("after").await;
    }
}

/// As long as what a model writes may be.
fn result() -> Value {
    json!({"n": 1, "text": "All's well that ends well. ".repeat(4000)})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_execution_is_told_with_its_result_and_a_failed_one_with_its_error() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let (here, there) = gateways(kind, &broker).await;
        let there = there.as_ref().unwrap_or(&here);
        for (execution, end, data) in [
            ("done", "execution:completed", json!({"result": result()})),
            ("broken", "execution:failed", json!({"error": "why"})),
        ] {
            let what = format!("{kind:?} {execution}");
            publish(&here, half_done(execution)).await;
            publish(&here, event(execution, end, None, data)).await;
            let mut late = Late::open(there, execution).await;
            let is_done = execution == "done";

            let a = late.a(4).await;
            let last = if is_done { "result" } else { "error" };
            assert_eq!(names(&a), ["status", "nodeStatus", "nodeStatus", last], "{what}");
            assert_eq!(a[0].1["status"], if is_done { "completed" } else { "failed" }, "{what}");
            let told = if is_done { result() } else { json!("why") };
            assert_eq!(a[3].1, json!({"executionId": execution, last: told}), "{what}");

            let c = late.c(4).await;
            let last = if is_done { ("completion", "completed") } else { ("error", "") };
            assert_eq!((statuses(&c)[0].0, statuses(&c)[3]), ("status", last), "{what}");
            let told_by_c = if is_done { &c[3]["result"]["output"] } else { &c[3]["error"] };
            assert_eq!(told_by_c, &told, "{what}");

            let state = late.state().await;
            let field = if is_done { "result" } else { "error" };
            assert_eq!(state[field], told, "{what}: {state}");

            // What is said after the end is said all the same.
            publish(&here, event(execution, "log", None, json!({"level": "info", "message": "epilogue"}))).await;
            late.hear_line("epilogue").await;
        }
    }
}
