//! An executor without a broker: everything goes through a gateway's HTTP, which may be away for a while.

mod rig;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use clap::Parser as _;
use parking_lot::Mutex;
use rig::{SOON, directory, find, kind, shipped};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use weft_drain::Drain;
use weft_executor::{Settings, Way, gateway::Line, run};
use weft_publisher::Publisher;
use weft_telemetry::Readiness;

const TOKEN: &str = "a-token-of-some-length";

/// As much of a gateway as an executor sees.
#[derive(Clone, Default)]
struct Gateway(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    events: Vec<Value>,
    registered: Vec<Value>,
    replies: Vec<(String, Value)>,
    /// So many replies are answered 503 first.
    replies_to_fail: usize,
    streams: usize,
    stream: Option<mpsc::Sender<String>>,
}

impl Gateway {
    async fn start(&self) -> String {
        let routes = Router::new()
            .route("/api/events", post(take_events))
            .route(
                "/api/executions/{id}",
                get(|Path(id): Path<String>| async move { if id == "known" { StatusCode::OK } else { StatusCode::NOT_FOUND } }),
            )
            .route("/api/commands", get(stream))
            .route("/api/commands/{executor}", put(register))
            .route("/api/commands/{reference}/reply", post(take_reply))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let base = format!("http://{}", listener.local_addr().expect("address"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        base
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&Seen) -> Option<T>) -> T {
        let waited = timeout(SOON, async {
            loop {
                if let Some(found) = look(&self.0.lock()) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{what} never came"))
    }

    async fn send(&self, command: Value) {
        let stream = self.until("a stream", |seen| seen.stream.clone()).await;
        stream.send(format!(": comment\n\nevent: command\ndata: {command}\n\n")).await.expect("sent");
    }

    async fn reply(&self, reference: &str) -> Value {
        let is_it = |seen: &Seen| seen.replies.iter().find(|(of, _)| of == reference).map(|(_, reply)| reply.clone());
        self.until(&format!("the reply to {reference}"), is_it).await
    }

    async fn events_until(&self, execution: &str, last: &str) -> Vec<Value> {
        self.until(&format!("{last} of {execution}"), |seen| {
            let of: Vec<Value> = seen.events.iter().filter(|event| event["executionId"] == execution).cloned().collect();
            of.iter().any(|event| kind(event) == last).then_some(of)
        })
        .await
    }
}

fn is_known(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value == &format!("Bearer {TOKEN}"))
}

async fn take_events(State(gateway): State<Gateway>, headers: HeaderMap, body: String) -> Response {
    if !is_known(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    // One event, an array, or a line each.
    let taken: Vec<Value> = serde_json::Deserializer::from_str(&body).into_iter().map(|event| event.expect("json")).collect();
    let events: Vec<Value> =
        taken.into_iter().flat_map(|value| if let Value::Array(list) = value { list } else { vec![value] }).collect();
    let ids: Vec<Value> = events.iter().map(|event| event["id"].clone()).collect();
    gateway.0.lock().events.extend(events);
    (StatusCode::ACCEPTED, Json(json!({"accepted": ids.len(), "ids": ids}))).into_response()
}

async fn stream(State(gateway): State<Gateway>, Query(query): Query<HashMap<String, String>>, headers: HeaderMap) -> Response {
    if !is_known(&headers) || query.get("executor").map(String::as_str) != Some("line-1") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (sender, receiver) = mpsc::channel::<String>(16);
    let mut seen = gateway.0.lock();
    (seen.stream, seen.streams) = (Some(sender), seen.streams + 1);
    let lines = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let line = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), receiver))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(lines)).into_response()
}

async fn register(
    State(gateway): State<Gateway>,
    Path(executor): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    if !is_known(&headers) || executor != "line-1" {
        return StatusCode::UNAUTHORIZED;
    }
    gateway.0.lock().registered.push(body);
    StatusCode::NO_CONTENT
}

async fn take_reply(
    State(gateway): State<Gateway>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    Json(reply): Json<Value>,
) -> StatusCode {
    let mut seen = gateway.0.lock();
    if !is_known(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    if seen.replies_to_fail > 0 {
        seen.replies_to_fail -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if seen.replies.iter().any(|(of, _)| *of == reference) {
        return StatusCode::CONFLICT;
    }
    seen.replies.push((reference, reply));
    StatusCode::NO_CONTENT
}

/// Starts an executor that knows only this gateway.
async fn start(base: &str, workflows: &[&str]) -> (Drain, tokio::task::JoinHandle<()>) {
    let dir = directory(workflows);
    let path = dir.to_string_lossy().into_owned();
    let settings =
        Settings::try_parse_from(["executor", "--workflow-dir", &path, "--gateway-url", base, "--executor-id", "line-1"])
            .expect("flags");
    let (config, _) = settings.check().expect("settings");
    let way = Way::Gateway(Line::new(base, Some(TOKEN.into()), "line-1").expect("a line"));
    let publisher =
        Publisher::over_http(base, Some(TOKEN.into()), settings.limits.publisher(None, settings.bus.retention_events))
            .expect("a publisher");
    let (drain, listener) = (Drain::new(Duration::from_secs(20)), TcpListener::bind("127.0.0.1:0").await.expect("bind"));
    let leaving = drain.clone();
    let task = tokio::spawn(async move {
        run(config, listener, way, publisher, &leaving, &Readiness::new(&["listening"])).await.expect("runs");
        let _ = std::fs::remove_dir_all(dir);
    });
    (drain, task)
}

const ASK: &str = "name: ask\nnodes:\n  - {id: ask, prompt: {text: Well?, timeout: 5m}}";

#[tokio::test]
async fn a_prompt_is_answered_and_a_run_cancelled_through_the_gateway() {
    let gateway = Gateway::default();
    let (drain, task) = start(&gateway.start().await, &[ASK]).await;
    let registered = gateway.until("a registration", |seen| seen.registered.first().cloned()).await;
    assert_eq!(registered, json!({"executions": [], "workflows": [{"name": "ask", "description": "", "inputs": {}}]}));

    let order = json!({"workflow": "ask", "executionId": "e-1", "inputs": {}, "userId": null});
    let command = |reference: &str, address: &str, kind: &str, body: Value| json!({"ref": reference, "address": address, "kind": kind, "subject": "ada", "body": body});
    gateway.send(command("r1", "executor:line-1", "execute", order)).await;
    assert_eq!(gateway.reply("r1").await, json!({"outcome": "accepted", "body": {"executionId": "e-1"}}));
    let events = gateway.events_until("e-1", "user_input:required").await;
    assert_eq!(events[0]["userId"], "ada");
    // It was registered before its first event was out.
    assert!(gateway.0.lock().registered.iter().any(|registered| registered["executions"] == json!(["e-1"])));

    let request = &find(&events, "user_input:required")["data"]["requestId"];
    gateway.0.lock().replies_to_fail = 2;
    let answer = json!({"requestId": request, "value": "fine"});
    gateway.send(command("r2", "execution:e-1", "user_input:provide", answer.clone())).await;
    assert_eq!(gateway.reply("r2").await, json!({"outcome": "accepted", "body": answer}));
    let events = gateway.events_until("e-1", "execution:completed").await;
    assert_eq!(find(&events, "execution:completed")["data"]["result"]["ask"], "fine");
    gateway.send(command("r3", "execution:e-1", "cancel", json!({"reason": null}))).await;
    assert_eq!(gateway.reply("r3").await["code"], "not_running");
    gateway.send(command("r4", "planet:mars", "cancel", json!({}))).await;
    assert_eq!(gateway.reply("r4").await["code"], "invalid");
    gateway.send(json!({"what": "is this"})).await;
    gateway.send(command("r7", "executor:line-1", "execute", json!({"workflow": "ask", "executionId": "known"}))).await;
    assert_eq!(gateway.reply("r7").await["code"], "exists");

    gateway.send(command("r5", "executor:line-1", "execute", json!({"workflow": "ask", "executionId": "e-2"}))).await;
    gateway.events_until("e-2", "user_input:required").await;
    gateway.send(command("r6", "execution:e-2", "cancel", json!({"reason": "enough"}))).await;
    let events = gateway.events_until("e-2", "execution:cancelled").await;
    assert_eq!(find(&events, "execution:cancelled")["data"]["reason"], "enough");

    drain.begin("test");
    timeout(SOON, task).await.expect("the executor leaves").expect("without a panic");
}

#[tokio::test]
async fn a_stream_that_breaks_comes_back_and_registers_again() {
    let gateway = Gateway::default();
    let (drain, task) = start(&gateway.start().await, &[ASK]).await;
    gateway.until("a stream", |seen| seen.stream.clone()).await;
    gateway.until("a registration", |seen| (!seen.registered.is_empty()).then_some(())).await;
    // The gateway dies and another takes its place, knowing nothing.
    {
        let mut seen = gateway.0.lock();
        seen.stream = None;
        seen.registered.clear();
    }
    gateway.until("a second stream", |seen| (seen.streams >= 2).then_some(())).await;
    gateway.until("a second registration", |seen| (!seen.registered.is_empty()).then_some(())).await;
    let order = json!({"ref": "r1", "address": "executor:line-1", "kind": "execute", "subject": null, "body": {"workflow": "ask", "userId": "bob"}});
    gateway.send(order).await;
    let id = gateway.reply("r1").await["body"]["executionId"].as_str().expect("an id").to_owned();
    let events = gateway.events_until(&id, "user_input:required").await;
    assert_eq!(events[0]["userId"], "bob", "without a verified subject the body names the user");
    drain.begin("test");
    timeout(SOON, task).await.expect("the executor leaves").expect("without a panic");
    let events = gateway.events_until(&id, "execution:cancelled").await;
    assert_eq!(find(&events, "execution:cancelled")["data"]["reason"], "executor stopped");
}

/// The process as it runs anywhere: started by flags, with one execution that would take long.
struct Sleeper {
    gateway: Gateway,
    dir: PathBuf,
    child: Child,
}

impl Sleeper {
    async fn start(flags: &[&str], stderr: impl Into<Stdio>) -> Self {
        let gateway = Gateway::default();
        let base = gateway.start().await;
        let dir = directory(&["name: sleeper\nnodes:\n  - {id: a, command: 'echo up; sleep 1000'}"]);
        let token = dir.join("token");
        std::fs::write(&token, TOKEN).expect("written");
        let child = binary()
            .args(["--executor-id", "line-1", "--executor-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--gateway-url", &base])
            .args(flags)
            .arg("--workflow-dir")
            .arg(&dir)
            .arg("--gateway-token-file")
            .arg(&token)
            .stderr(stderr)
            .spawn()
            .expect("starts");
        let body = json!({"workflow": "sleeper", "executionId": "e"});
        gateway.send(json!({"ref": "r1", "address": "executor:line-1", "kind": "execute", "subject": null, "body": body})).await;
        assert_eq!(gateway.reply("r1").await["outcome"], "accepted");
        gateway.events_until("e", "log").await;
        Self { gateway, dir, child }
    }

    /// Ends it by SIGTERM; answers its code and what it has logged, where that was piped.
    async fn end(self) -> (Option<i32>, String) {
        let Self { gateway, dir, mut child } = self;
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
        let events = gateway.events_until("e", "execution:cancelled").await;
        assert_eq!(find(&events, "execution:cancelled")["data"]["reason"], "executor stopped");
        let ended = tokio::task::spawn_blocking(move || {
            let (mut log, status) = (String::new(), child.wait().expect("waited"));
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut log).expect("text");
            }
            (status.code(), log)
        });
        let ended = timeout(SOON, ended).await.expect("the executor leaves").expect("joined");
        std::fs::remove_dir_all(dir).expect("removed");
        ended
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_executions_and_tells_it() {
    let (code, log) = Sleeper::start(&[], Stdio::piped()).await.end().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("the executor has stopped"), "{log}");
}

/// The log's reader may go away first, as in a pipe to `head`; the executor works and leaves as if it were there.
#[tokio::test(flavor = "multi_thread")]
async fn a_gone_log_reader_stops_nothing() {
    let (code, _) = Sleeper::start(&["--log", "trace"], unread()).await.end().await;
    assert_eq!(code, Some(0));
}

/// Nor does one that is there and reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_stops_nothing() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let mut log = rustix::pipe::fcntl_getpipe_size(&writer).expect("a size");
    while log > 0 {
        log -= writer.write(&vec![b'.'; log]).expect("there is room");
    }
    let (code, _) = Sleeper::start(&["--log", "trace"], writer).await.end().await;
    assert_eq!(code, Some(0));
    drop(reader);
}

#[test]
fn a_bad_setting_is_answered_with_its_code_also_unread() {
    let mut child = binary().args(["--no-such-flag"]).stderr(unread()).spawn().expect("starts");
    assert_eq!(child.wait().expect("waited").code(), Some(64));
}

/// A pipe whose reader is gone from the start.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
    command.env_clear().env("PATH", std::env::var_os("PATH").expect("PATH")).stdin(Stdio::null());
    command
}

#[test]
fn a_bad_setting_stops_the_start_with_one_line() {
    let shipped = shipped().to_string_lossy().into_owned();
    let broken = directory(&["name: broken\nnodes: [{id: a, depends_on: [b], sleep: 1s}]"]);
    let broken_text = broken.to_string_lossy().into_owned();
    for (flags, told) in [
        (vec!["--executor-listen", "somewhere"], "executor: WEFT_EXECUTOR_LISTEN: invalid value 'somewhere'"),
        (vec!["--no-such-flag"], "executor: unexpected argument"),
        (vec!["--workflow-dir", &shipped], "executor: WEFT_GATEWAY_URL: is mandatory"),
        (vec!["--workflow-dir", &shipped, "--bus", "kafka://x"], "executor: WEFT_BUS: names no bus"),
        (
            vec!["--workflow-dir", &shipped, "--bus", "redis://x", "--retention-secs", "18446744073709551615"],
            "executor: WEFT_RETENTION_SECS: must be 1 to",
        ),
        (vec!["--workflow-dir", &shipped, "--executor-listen", "0.0.0.0:0"], "executor: WEFT_EXECUTOR_TOKEN_FILE: is mandatory"),
        (
            vec!["--workflow-dir", &broken_text, "--gateway-url", "http://x"],
            "broken.yaml: nodes.a.depends_on: there is no node 'b'",
        ),
        (vec!["--workflow-dir", &shipped, "--gateway-url", "http://x", "--log", "a=loud"], "executor: WEFT_LOG: "),
    ] {
        let ended = binary().args(&flags).output().expect("runs");
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(64), "{flags:?}: {stderr}");
        assert!(stderr.contains(told) && stderr.trim_end().lines().count() == 1, "{flags:?}: {stderr}");
    }
    std::fs::remove_dir_all(broken).expect("removed");
}

#[test]
fn help_names_every_setting() {
    let ended = binary().arg("--help").output().expect("runs");
    let help = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.status.code(), Some(0));
    for setting in [
        "WEFT_EXECUTOR_LISTEN",
        "WEFT_ADMIN_LISTEN",
        "WEFT_EXECUTOR_TOKEN_FILE",
        "WEFT_EXECUTOR_HOSTS",
        "WEFT_EXECUTOR_ORIGINS",
        "WEFT_WORKFLOW_DIR",
        "WEFT_BUS",
        "WEFT_GATEWAY_URL",
        "WEFT_GATEWAY_TOKEN_FILE",
        "WEFT_EXECUTIONS_MAX",
        "WEFT_LOG",
    ] {
        assert!(help.contains(&format!("[env: {setting}=")), "{setting} is not in --help");
    }
}
