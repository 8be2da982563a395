//! What does not exist, what is nobody's and what is somebody else's are answered in the same words, by the same questions to
//! the broker, and at the same beat. Times are printed as figures; what is asserted is what they come from.

use crate::{
    auth_rig::{self, Ws, log, of, publish},
    auth_watch::Watched,
    support::{Broker, DURABLE, Kind},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Tries of each, in turn.
const TRIES: usize = 25;
/// Tries of each whose questions to the broker are counted.
const COUNTED: usize = 4;
/// Hers, nobody's, and one that there is not.
const EXECUTIONS: [&str; 3] = ["hers", "nobodys", "unseen"];
/// How refusals are timed (`weft_guard::owners::BEAT`).
const BEAT: Duration = Duration::from_millis(50);

/// A way to ask about an execution.
struct Way {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    body: fn(&str) -> Option<Value>,
}

const fn read(name: &'static str, path: &'static str) -> Way {
    Way { name, method: "GET", path, body: |_| None }
}

const WAYS: [Way; 9] = [
    read("state", "/api/executions/@"),
    read("events", "/api/executions/@/events"),
    read("events of its room", "/api/rooms/execution:@/events"),
    read("events of its agent", "/api/rooms/agent:a:@/events"),
    Way { name: "cancel", method: "POST", path: "/api/executions/@/cancel", body: |_| None },
    Way {
        name: "answer",
        method: "POST",
        path: "/api/executions/@/input",
        body: |_| Some(json!({"requestId": "q", "value": 1})),
    },
    Way { name: "begin by name", method: "POST", path: "/api/workflows/w/execute", body: |id| Some(json!({"executionId": id})) },
    Way {
        name: "begin what is brought",
        method: "POST",
        path: "/api/workflows",
        body: |id| Some(json!({"executionId": id, "nodes": []})),
    },
    Way { name: "begin the demo", method: "POST", path: "/executions/@/start-streaming", body: |_| None },
];

/// Reads of the broker so far, but for those that the clock asks for.
async fn broker_reads(gateway: &Watched) -> u64 {
    let text = gateway.metrics().await.expect("metrics");
    let of = |kind: &str| {
        let series = format!("weft_bus_reads_total{{kind=\"{kind}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok()).expect("a series")
    };
    ["page", "tail", "anchor", "epoch", "head", "head_list", "owner", "record"].into_iter().map(of).sum()
}

async fn answered(gateway: &Watched, way: &Way, execution: &str, bearer: &str) -> (Duration, (u16, String)) {
    let (path, body) = (way.path.replace('@', execution), (way.body)(execution));
    let asked = Instant::now();
    let answer = auth_rig::ask(gateway, way.method, &path, Some(bearer), body).await;
    (asked.elapsed(), answer)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Asks about each in turn, again and again: all say the same, none before the first beat. The medians of the times.
async fn alike(name: &str, mut ask: impl AsyncFnMut(&str) -> (Duration, String)) -> Vec<Duration> {
    let mut times = vec![Vec::new(); EXECUTIONS.len()];
    let mut first: Option<String> = None;
    for _ in 0..TRIES {
        for (of, execution) in times.iter_mut().zip(EXECUTIONS) {
            let (took, answer) = ask(execution).await;
            assert!(took >= BEAT, "{name}: {execution} was answered before the beat: {answer}");
            assert_eq!(&answer, first.get_or_insert_with(|| answer.clone()), "{name}: {execution}");
            of.push(took);
        }
    }
    times.iter_mut().map(|times| median(times)).collect()
}

fn show(kind: Kind, name: &str, medians: &[Duration], reads: &[u64]) {
    let medians: Vec<String> = medians.iter().map(|median| format!("{:.1}", median.as_secs_f64() * 1000.0)).collect();
    eprintln!("| {kind:?} | {name} | {} ms | {reads:?} reads |", medians.join(" / "));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_alike_in_words_in_what_they_cost_and_in_time() {
    eprintln!("| broker | way | medians of {TRIES} tries: hers / nobody's / unseen | for {COUNTED} of each |");
    // Most of the time each waits for a beat.
    futures_util::future::join_all(DURABLE.map(on)).await;
}

async fn on(kind: Kind) {
    let broker = Broker::start(kind).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_READS_PER_USER", "0")]).await;
    publish(&gateway, None, json!([log("hers", Some("ada"), "x"), log("nobodys", None, "x")])).await;
    let bob = of("bob");
    for way in &WAYS {
        let mut reads = Vec::new();
        for execution in EXECUTIONS {
            let before = broker_reads(&gateway).await;
            for _ in 0..COUNTED {
                answered(&gateway, way, execution, &bob).await;
            }
            reads.push(broker_reads(&gateway).await - before);
        }
        assert!(reads.iter().all(|count| *count == reads[0]), "{kind:?} {}: {reads:?}", way.name);
        assert!(kind == Kind::Memory || reads[0] > 0, "{kind:?} {}: the broker was asked", way.name);
        let medians = alike(way.name, async |execution| {
            let (took, (status, body)) = answered(&gateway, way, execution, &bob).await;
            assert!(matches!(status, 403 | 404), "{kind:?} {}: {status} {body}", way.name);
            (took, format!("{status} {body}"))
        });
        show(kind, way.name, &medians.await, &reads);
    }
    upstream(&gateway, kind, &bob).await;
}

/// The same over a WebSocket.
async fn upstream(gateway: &Watched, kind: Kind, bob: &str) {
    let mut socket = Ws::bearing(gateway, "/api/ws", bob).await;
    socket.hear("connected").await;
    for message in [
        json!({"type": "cancel", "executionId": "@", "ref": "r"}),
        json!({"type": "user_input:provide", "executionId": "@", "requestId": "q", "value": 1, "ref": "r"}),
    ] {
        let name = message["type"].as_str().expect("a type").to_owned();
        let medians = alike(&name, async |execution| {
            let message = message.to_string().replace('@', execution);
            let asked = Instant::now();
            socket.text(message).await;
            let text = socket.hear(r#""type":"error""#).await;
            let mut error: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(error["code"], "forbidden", "{error}");
            let fields = error.as_object_mut().expect("an object");
            fields.remove("timestamp");
            (asked.elapsed(), error.to_string().replace(execution, "@"))
        });
        show(kind, &name, &medians.await, &[]);
    }
}
