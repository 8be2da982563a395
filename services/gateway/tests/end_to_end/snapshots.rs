//! The folded state: the same for who comes early, in the middle or late, and for who only asks.

use crate::support::{Broker, DURABLE, Kind, SHARED, Socket, get, is_full, publish, until};
use serde_json::{Value, json};
use weft_event::{Envelope, Snapshot};
use weft_testkit::process::Process;

/// An execution's events, every kind that the fold looks at among them.
fn story(execution: &str, step: u64) -> Value {
    let node = format!("n{}", step % 7);
    let (kind, data) = match step % 9 {
        0 => ("node:started", json!({"nodeType": "command", "startedAt": "2026-01-01T00:00:00.000Z"})),
        1 => ("node:progress", json!({"progress": step % 100})),
        2 => ("execution:progress", json!({"progress": step % 100, "currentNode": node})),
        3 => ("node:completed", json!({"output": {"n": step, "pi": 3.10}, "completedAt": "2026-01-01T00:00:01.000Z"})),
        4 => ("user_input:required", json!({"requestId": format!("r{}", step % 3), "prompt": "Go on?"})),
        5 => ("user_input:provided", json!({"requestId": format!("r{}", (step + 1) % 3)})),
        6 => ("node:failed", json!({"error": format!("e{step}")})),
        7 => ("execution:updated", json!({"status": "running", "currentNode": node})),
        _ => ("log", json!({"level": "info", "message": "m"})),
    };
    json!({
        "type": kind, "executionId": execution, "workflowId": "w", "userId": "ada", "nodeId": node,
        "timestamp": "2026-01-01T00:00:02.000Z", "data": data,
    })
}

fn started(execution: &str) -> Value {
    json!({"type": "execution:started", "executionId": execution, "workflowId": "w", "userId": "ada",
           "timestamp": "2026-01-01T00:00:00.000Z", "data": {"status": "running"}})
}

fn completed(execution: &str) -> Value {
    json!({"type": "execution:completed", "executionId": execution, "userId": "ada",
           "timestamp": "2026-01-01T00:00:09.000Z", "data": {"result": {"ok": true}}})
}

/// Folds events as they come to a client. The snapshot it begins with, if any, is taken over whole.
struct Fold {
    snapshot: Snapshot,
}

impl Fold {
    fn new(execution: &str) -> Self {
        Self { snapshot: Snapshot::new(execution) }
    }

    /// Reads frames until the execution has ended; true if a snapshot was among them.
    async fn read_to_the_end(&mut self, socket: &mut Socket) -> bool {
        let mut had_snapshot = false;
        while !self.snapshot.status.is_terminal() {
            let frame = socket.hear().await;
            if frame["type"] == "snapshot" {
                let state = frame["snapshot"].to_string();
                self.snapshot = serde_json::from_str(&state).unwrap_or_else(|error| panic!("{error}: {state}"));
                had_snapshot = true;
            } else if frame["type"] == "log" || frame["type"].as_str().is_some_and(|kind| kind.contains(':')) {
                let mut event = frame;
                event.as_object_mut().expect("an object").remove("offset");
                self.apply(&event);
            }
        }
        had_snapshot
    }

    fn apply(&mut self, event: &Value) {
        let text = event.to_string();
        self.snapshot.apply(&Envelope::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}")), None);
    }

    fn shown(&self) -> Value {
        without_offset(serde_json::from_str(&self.snapshot.to_json(None)).expect("json"))
    }
}

fn without_offset(mut state: Value) -> Value {
    if let Some(state) = state.as_object_mut() {
        state.remove("offset");
    }
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_in_the_middle_folds_what_who_came_early_has_folded() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateways = broker.gateways(&[]).await;
        let there = &gateways[gateways.len() - 1];
        let mut early = Socket::open(&gateways[0]).await;
        early.subscribe(json!({"executionId": "run", "offset": "0"})).await;
        let publisher = async {
            publish(&gateways[0], started("run")).await;
            for first in (0..600).step_by(6) {
                publish(&gateways[0], (first..first + 6).map(|step| story("run", step)).collect()).await;
            }
            publish(&gateways[0], completed("run")).await;
        };
        let joiners = async {
            let mut folds = Vec::new();
            for index in 0..12 {
                let mut socket = Socket::open(&gateways[index % gateways.len()]).await;
                let answer = socket.subscribe(json!({"executionId": "run", "snapshot": true})).await;
                let mut fold = Fold::new("run");
                let had_snapshot = fold.read_to_the_end(&mut socket).await;
                assert_eq!(had_snapshot, answer["outcome"] == "snapshot", "{kind:?}: {answer}");
                folds.push(fold.shown());
                // The first joins during the run; the later ones find it ended.
                if index == 0 {
                    continue;
                }
                socket.hears_nothing_more().await;
            }
            folds
        };
        let middle = async {
            let mut tasks = tokio::task::JoinSet::new();
            for index in 0..10_u64 {
                let address = gateways[index as usize % gateways.len()].address();
                tasks.spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_millis(40 * index)).await;
                    let mut socket = Socket::open_with(&address, None, 0).await.expect("an upgrade");
                    socket.hear_a("connected").await;
                    socket.subscribe(json!({"executionId": "run", "snapshot": true})).await;
                    let mut fold = Fold::new("run");
                    fold.read_to_the_end(&mut socket).await;
                    fold.shown()
                });
            }
            tasks.join_all().await
        };
        let ((), late, middle) = tokio::join!(publisher, joiners, middle);
        let mut whole = Fold::new("run");
        assert!(!whole.read_to_the_end(&mut early).await);
        let expected = whole.shown();
        for (index, state) in late.into_iter().chain(middle).enumerate() {
            assert_eq!(state, expected, "{kind:?}: joiner {index}");
        }
        for gateway in [&gateways[0], there] {
            let (status, state) = get(gateway, "/api/executions/run").await;
            assert_eq!((status, without_offset(state)), (200, expected.clone()), "{kind:?}");
        }
        // One that has never heard of this execution folds it from the head.
        if kind != Kind::Memory {
            let fresh = broker.gateway(&[]).await;
            let (status, state) = get(&fresh, "/api/executions/run").await;
            assert_eq!((status, without_offset(state)), (200, expected), "{kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_events_with_a_thousand_retained_leave_owner_status_and_state_right() {
    for kind in SHARED {
        let env = [("WEFT_RETENTION_EVENTS", "1000")];
        let broker = Broker::start(kind).await;
        let mut gateway = broker.gateway(&env).await;
        let total = if is_full() { 100_000 } else { 20_000 };
        publish(&gateway, started("long")).await;
        let mut early = Fold::new("long");
        early.apply(&started("long"));
        for first in (0..total).step_by(500) {
            let batch: Vec<Value> = (first..first + 500).map(|step| story("long", step)).collect();
            batch.iter().for_each(|event| early.apply(event));
            publish(&gateway, Value::Array(batch)).await;
        }
        gateway.terminate(crate::support::SOON).await.expect("it leaves");

        let fresh = broker.gateway(&env).await;
        let expected = early.shown();
        let (status, state) = get(&fresh, "/api/executions/long").await;
        assert_eq!((status, without_offset(state)), (200, expected.clone()), "{kind:?}");
        assert_eq!((&expected["userId"], &expected["status"]), (&json!("ada"), &json!("running")));
        let (_, list) = get(&fresh, "/api/executions").await;
        assert_eq!(list["executions"][0]["userId"], "ada", "{kind:?}: {list}");
        let mut socket = Socket::open(&fresh).await;
        let answer = socket.subscribe(json!({"executionId": "long", "snapshot": true})).await;
        assert_eq!(answer["outcome"], "snapshot", "{kind:?}");
        let told = socket.hear_a("snapshot").await;
        assert_eq!(without_offset(told["snapshot"].clone()), expected, "{kind:?}");
        let (status, body) =
            crate::support::post(&fresh, json!({"type": "log", "executionId": "long", "userId": "eve"}).to_string()).await;
        assert_eq!((status, &body["error"]["code"]), (409, &json!("owner_mismatch")), "{kind:?}: {body}");
    }
}

/// The head outlives the events, also where nobody has followed the execution.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_outlives_all_events_of_its_execution() {
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[("WEFT_RETENTION_SECS", "2")]).await;
        publish(&gateway, json!([started("brief"), story("brief", 3), completed("brief")])).await;
        let (_, before) = get(&gateway, "/api/executions/brief").await;
        assert_eq!(before["status"], "completed", "{kind:?}: {before}");
        until_nothing_is_retained(&gateway, "brief").await;
        let (status, after) = get(&gateway, "/api/executions/brief").await;
        assert_eq!((status, without_offset(after)), (200, without_offset(before.clone())), "{kind:?}");
        let mut socket = Socket::open(&gateway).await;
        let answer = socket.subscribe(json!({"executionId": "brief", "snapshot": true})).await;
        assert_eq!(answer["outcome"], "snapshot", "{kind:?}: {answer}");
        let told = socket.hear_a("snapshot").await;
        assert_eq!(without_offset(told["snapshot"].clone()), without_offset(before), "{kind:?}");
        publish(&gateway, crate::support::numbered("brief", 1)).await;
        assert_eq!(socket.hear_number().await, 1, "{kind:?}");
    }
}

async fn until_nothing_is_retained(gateway: &Process, execution: &str) {
    let path = format!("/api/executions/{execution}/events");
    until("the end of retention", async || get(gateway, &path).await.1["events"].as_array().is_some_and(Vec::is_empty)).await;
}
