//! One trace from whoever asks for an execution to the frame that a client gets, through real brokers.

use crate::support::{Broker, Kind, SHARED, SOON, Socket, until};
use base64::{Engine as _, prelude::BASE64_STANDARD as STANDARD};
use serde_json::{Value, json};
use std::path::Path;
use weft_testkit::{
    collector::{Collector, Span},
    http,
    process::{Process, ProcessOptions},
    raw::Reply,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const WORKFLOW: &str = "name: brief\nnodes:\n  - {id: wait, sleep: 100ms}\n";

fn of<'s>(spans: &'s [Span], service: &str, name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.service == service && span.name == name).collect()
}

/// The trace contexts that stand beside a room's events on the broker: in the headers of NATS' messages, in the field `p` of
/// Redis' entries.
async fn stored(broker: &Broker, room: &str) -> Vec<String> {
    if broker.kind == Kind::Redis {
        let mut redis = broker.redis().raw().await.expect("a connection");
        let entries = list(redis.say(&["XRANGE", &format!("weft:{{{room}}}:s"), "-", "+"]).await.expect("a stream"));
        let fields = entries.into_iter().map(|entry| list(list(entry).swap_remove(1)));
        let contexts = fields.filter_map(|fields| {
            let at = fields.iter().step_by(2).position(|name| name.to_string() == "p")?;
            Some(fields[2 * at + 1].to_string())
        });
        return contexts.collect();
    }
    let (mut nats, mut found, mut from) = (broker.nats().raw().await.expect("a connection"), Vec::new(), 1);
    loop {
        let asked = json!({"seq": from, "next_by_subj": format!("weft.{room}")}).to_string();
        let answer = nats.request("$JS.API.STREAM.MSG.GET.WEFT_EVENTS", asked.as_bytes(), SOON).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let Some(seq) = answer["message"]["seq"].as_u64() else { return found };
        from = seq + 1;
        let headers = STANDARD.decode(answer["message"]["hdrs"].as_str().unwrap_or_default()).expect("base64");
        let headers = String::from_utf8(headers).expect("text");
        let context = headers.lines().filter_map(|line| line.strip_prefix("traceparent:"));
        found.extend(context.map(|context| context.trim().to_owned()));
    }
}

fn list(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::List(items) => items,
        other => panic!("no list: {other}"),
    }
}

async fn execute(executor: &Process, id: &str, traceparent: Option<String>) {
    let request = http::client().post(format!("{}/workflows/brief/execute", executor.url())).json(&json!({"executionId": id}));
    let request = traceparent.iter().fold(request, |request, traceparent| request.header("traceparent", traceparent));
    let answer = request.send().await.expect("answered");
    assert_eq!(answer.status(), 202, "{:?}", answer.text().await);
}

/// An executor and a gateway that send their spans to a collector.
async fn start(broker: &Broker, collector: &Collector, workflows: &Path) -> (Process, Process) {
    let gateway = broker.gateway(&[("WEFT_OTLP_ENDPOINT", collector.url()), ("OTEL_BSP_SCHEDULE_DELAY", "200")]).await;
    let options = ProcessOptions::executor(&broker.url(), workflows)
        .env("WEFT_OTLP_ENDPOINT", collector.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", "200")
        .env("WEFT_TRACE_RATIO", "0");
    (gateway, Process::start(options).await.expect("an executor"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_request_through_the_broker_to_the_client() {
    let workflows = std::env::temp_dir().join(format!("weft-traces-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&workflows).expect("a directory");
    std::fs::write(workflows.join("brief.yaml"), WORKFLOW).expect("written");
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let collector = Collector::start().await.expect("a collector");
        let (gateway, executor) = start(&broker, &collector, &workflows).await;
        let mut socket = Socket::open(&gateway).await;
        for room in ["execution:traced", "execution:untraced"] {
            socket.subscribe(json!({"room": room})).await;
        }
        execute(&executor, "untraced", None).await;
        execute(&executor, "traced", Some(format!("00-{TRACE}-00f067aa0ba902b7-01"))).await;
        let (mut told, mut ended) = (Vec::new(), 0);
        while ended < 2 {
            let frame = socket.hear().await;
            ended += usize::from(frame["type"] == "execution:completed");
            let context = frame["traceparent"].as_str();
            assert_eq!(
                context.is_some_and(|context| context.contains(TRACE)),
                frame["executionId"] == "traced",
                "{kind:?}: {frame}"
            );
            told.extend(context.map(str::to_owned));
        }
        let traced = told.len();
        assert_eq!(stored(&broker, "execution:traced").await, told, "{kind:?}: what clients are told is what the broker has");
        assert!(stored(&broker, "execution:untraced").await.is_empty(), "{kind:?}");
        let all_there = |spans: &[Span]| {
            of(spans, "weft-gateway", "process execution:{id}").len() >= traced
                && of(spans, "weft-executor", "publish execution:{id}").len() >= traced
                && !of(spans, "weft-executor", "execute workflow").is_empty()
        };
        let spans = collector.until(SOON, all_there).await;
        assert!(spans.iter().all(|span| span.trace_id == TRACE), "{kind:?}: {spans:#?}");
        let root = of(&spans, "weft-executor", "execute workflow");
        assert_eq!(root.len(), 1, "{kind:?}: {spans:#?}");
        assert_eq!(root[0].parent_id, "00f067aa0ba902b7");
        for (service, name) in [("weft-executor", "publish execution:{id}"), ("weft-gateway", "process execution:{id}")] {
            let found = of(&spans, service, name);
            assert_eq!(found.len(), traced, "{kind:?}: {service} {name}");
            let system = if kind == Kind::Redis { "redis" } else { "nats" };
            for span in found {
                assert_eq!(
                    (span.parent_id.as_str(), span.attributes["messaging.system"].as_str()),
                    (root[0].span_id.as_str(), system)
                );
                assert!(service != "weft-gateway" || span.attributes["weft.fanout.count"] == "1", "{kind:?}: {span:?}");
            }
        }
        for context in &told {
            assert_eq!(context[36..52], root[0].span_id, "{kind:?}: {context} names the executor's span as its parent");
        }
        let sent = gateway.metric("weft_trace_spans_total{result=\"sent\"}").await.expect("metrics");
        assert!(sent as usize >= traced, "{kind:?}: {sent}");
    }
    std::fs::remove_dir_all(workflows).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_in_a_broker_header_reaches_the_client() {
    let broker = Broker::start(Kind::JetStream).await;
    let collector = Collector::start().await.expect("a collector");
    let gateway = broker.gateway(&[("WEFT_OTLP_ENDPOINT", collector.url()), ("OTEL_BSP_SCHEDULE_DELAY", "200")]).await;
    let mut socket = Socket::open(&gateway).await;
    socket.subscribe(json!({"room": "execution:headed"})).await;
    let context = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let mut nats = broker.nats().raw().await.expect("a connection");
    let headers = format!("NATS/1.0\r\ntraceparent: {context}\r\n\r\n");
    nats.publish_with_headers("weft.execution:headed", headers.as_bytes(), br#"{"type":"log","data":{"n":1}}"#)
        .await
        .expect("published");
    nats.flush().await.expect("flushed");
    let frame = socket.hear().await;
    assert_eq!(frame["traceparent"], context, "{frame}");
    let spans = collector.until(SOON, |spans| !spans.is_empty()).await;
    assert_eq!((spans[0].trace_id.as_str(), spans[0].parent_id.as_str()), (TRACE, "00f067aa0ba902b7"), "{spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_about_traced_events_name_their_trace() {
    let broker = Broker::start(Kind::JetStream).await;
    let collector = Collector::start().await.expect("a collector");
    let gateway = broker.gateway(&[("WEFT_OTLP_ENDPOINT", collector.url()), ("WEFT_LOG_FORMAT", "json")]).await;
    let mut socket = Socket::open(&gateway).await;
    socket.subscribe(json!({"room": "execution:headed"})).await;
    let mut nats = broker.nats().raw().await.expect("a connection");
    let headers = format!("NATS/1.0\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n\r\n");
    for body in [&br#"{"type":"log","data":{"n":1}}"#[..], b"no JSON", br#"{"type":"log","data":{"n":2}}"#] {
        nats.publish_with_headers("weft.execution:headed", headers.as_bytes(), body).await.expect("published");
    }
    nats.flush().await.expect("flushed");
    socket.hear_numbers(1..=2).await;
    let lines = async |message: &str| {
        let text = std::fs::read_to_string(gateway.log()).expect("a log");
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        all.filter(|line| line["message"] == message).collect::<Vec<_>>()
    };
    until("both are handed over", async || lines("a traced event was handed over").await.len() == 2).await;
    for line in lines("a traced event was handed over").await {
        assert_eq!((&line["trace_id"], &line["clients"]), (&json!(TRACE), &json!(1)), "{line}");
    }
    let skipped = lines("an invalid event on the bus was skipped").await;
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    let (trace_id, span_id) = (&skipped[0]["trace_id"], &skipped[0]["span_id"]);
    assert_eq!((trace_id, span_id), (&json!(TRACE), &json!("00f067aa0ba902b7")), "{skipped:?}");
}
