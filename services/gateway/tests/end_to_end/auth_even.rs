//! What does not exist, what is nobody's and what is somebody else's are answered in the same words, by the same questions to
//! the broker, and at the same beat. Times are printed as figures; what is asserted is what they come from.

use crate::{
    auth_rig::{self, Ws, log, of, publish},
    auth_watch::Watched,
    support::{Broker, DURABLE, Kind},
};
use futures_util::future::join_all;
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

/// Kinds of reads of the broker, but for those that the clock asks for where nothing is followed.
const READS: [&str; 8] = ["page", "tail", "anchor", "epoch", "head", "head_list", "owner", "record"];
/// The same where rooms are followed: their ends are looked at now and then, and what follows on a doubt is read.
const READS_WHILE_FOLLOWING: [&str; 2] = ["head", "owner"];

/// Ways to follow an execution; each waits until it is known whose it is, or its time is over.
const SUBSCRIPTIONS: [&str; 7] = ["native", "native, state", "native, resumed", "C", "E", "D", "A"];
/// Seconds for that: longer than it takes to ask all the questions that are asked meanwhile.
const PENDING_SECS: &str = "4";

/// Reads of these kinds so far.
async fn broker_reads(gateway: &Watched, kinds: &[&str]) -> u64 {
    let text = gateway.metrics().await.expect("metrics");
    let of = |kind: &str| {
        let series = format!("weft_bus_reads_total{{kind=\"{kind}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok()).expect("a series")
    };
    kinds.iter().copied().map(of).sum()
}

/// Somebody who asks by HTTP, on a connection that is kept: to connect takes time of its own.
struct Asker {
    client: reqwest::Client,
    url: String,
    bearer: String,
}

impl Asker {
    async fn ask(&self, way: &Way, execution: &str) -> (Duration, (u16, String)) {
        let url = format!("{}{}", self.url, way.path.replace('@', execution));
        let request = self.client.request(way.method.parse().expect("a method"), url).bearer_auth(&self.bearer);
        let request = (way.body)(execution).iter().fold(request, |request, body| request.json(body));
        let asked = Instant::now();
        let answer = request.send().await.expect("an answer");
        let took = asked.elapsed();
        (took, (answer.status().as_u16(), answer.text().await.expect("a body")))
    }
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
    join_all(DURABLE.map(on)).await;
}

async fn on(kind: Kind) {
    let broker = Broker::start(kind).await;
    let gateway = auth_rig::gateway(&broker, &[("WEFT_READS_PER_USER", "0"), ("WEFT_PENDING_TIMEOUT", PENDING_SECS)]).await;
    publish(&gateway, None, json!([log("hers", Some("ada"), "x"), log("nobodys", None, "x")])).await;
    let bob = of("bob");
    let asker = Asker { client: weft_testkit::http::client(), url: gateway.url(), bearer: bob.clone() };
    for way in &WAYS {
        let mut reads = Vec::new();
        for execution in EXECUTIONS {
            let before = broker_reads(&gateway, &READS).await;
            for _ in 0..COUNTED {
                asker.ask(way, execution).await;
            }
            reads.push(broker_reads(&gateway, &READS).await - before);
        }
        assert!(reads.iter().all(|count| *count == reads[0]), "{kind:?} {}: {reads:?}", way.name);
        assert!(kind == Kind::Memory || reads[0] > 0, "{kind:?} {}: the broker was asked", way.name);
        let medians = alike(way.name, async |execution| {
            let (took, (status, body)) = asker.ask(way, execution).await;
            assert!(matches!(status, 403 | 404), "{kind:?} {}: {status} {body}", way.name);
            (took, format!("{status} {body}"))
        });
        show(kind, way.name, &medians.await, &reads);
    }
    upstream(&gateway, kind, &bob).await;
    waiting(&gateway, kind, &bob).await;
}

/// Subscriptions that wait, and are then refused: in as many messages, the same but for the name, and for as many questions to
/// the broker. How long they wait is asserted where it can be (`auth_life.rs`).
async fn waiting(gateway: &Watched, kind: Kind, bob: &str) {
    let (mut told, mut reads) = (Vec::new(), Vec::new());
    for execution in EXECUTIONS {
        let before = broker_reads(gateway, &READS_WHILE_FOLLOWING).await;
        told.push(join_all(SUBSCRIPTIONS.map(|way| refused_in_the_end(gateway, way, execution, bob))).await);
        reads.push(broker_reads(gateway, &READS_WHILE_FOLLOWING).await - before);
    }
    let [hers, nobodys, unseen] = told.try_into().expect("as many as there are");
    for (way, ((hers, nobodys), unseen)) in SUBSCRIPTIONS.into_iter().zip(hers.into_iter().zip(nobodys).zip(unseen)) {
        assert!(hers == nobodys && nobodys == unseen, "{kind:?} {way}: {hers:?} {nobodys:?} {unseen:?}");
        let last = hers.last().expect("something");
        assert!(last.contains("forbidden") || last == "close 4403", "{kind:?} {way}: {hers:?}");
        eprintln!("| {kind:?} | {way}, waiting | {} messages of each |", hers.len());
    }
    eprintln!("| {kind:?} | all that wait | {reads:?} reads |");
    assert!(reads.iter().all(|count| *count == reads[0]), "{kind:?}: {reads:?}");
}

/// All that is told to somebody who follows this execution and may not, but for names, numbers and times.
async fn refused_in_the_end(gateway: &Watched, way: &str, execution: &str, bearer: &str) -> Vec<String> {
    let (mut socket, packet) = match way {
        "C" => (Ws::bearing(gateway, &format!("/api/ws/executions/{execution}"), bearer).await, None),
        "E" => (Ws::bearing(gateway, &format!("/ws/executions/{execution}/logs"), bearer).await, None),
        "D" | "A" => {
            let namespace = if way == "A" { "/executions," } else { "" };
            let (socket, _) = Ws::socketio_in(gateway, namespace, &json!({"token": bearer})).await;
            let channel = if way == "A" { execution.to_owned() } else { format!("execution:{execution}") };
            (socket, Some(format!("42{namespace}7{}", json!(["subscribe", channel]))))
        }
        _ => {
            let mut subscribe = json!({"type": "subscribe", "executionId": execution, "ref": "r"});
            match way {
                "native, state" => subscribe["snapshot"] = true.into(),
                "native, resumed" => subscribe["offset"] = "0".into(),
                _ => {}
            }
            let mut socket = Ws::bearing(gateway, "/api/ws", bearer).await;
            socket.hear("connected").await;
            (socket, Some(subscribe.to_string()))
        }
    };
    if let Some(packet) = packet {
        socket.text(packet).await;
    }
    let names = [format!("execution:{execution}"), format!("\"{execution}\"")];
    let mut told = Vec::new();
    loop {
        let text = socket.next().await.unwrap_or_else(|code| format!("close {}", code.unwrap_or_default()));
        let frame = serde_json::from_str(&text).map(|mut frame: Value| {
            frame.as_object_mut().map(|fields| fields.remove("timestamp"));
            frame.to_string()
        });
        let shown = names.iter().fold(frame.unwrap_or(text), |text, name| text.replace(name, "@"));
        // C says why, and is closed then.
        let is_last = shown.starts_with("close ") || (shown.contains("forbidden") && !matches!(way, "C" | "E"));
        told.push(shown);
        if is_last {
            return told;
        }
    }
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
