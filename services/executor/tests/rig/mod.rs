//! An executor on a memory bus, with workflows of the test's own, and eyes on what it tells.

#![allow(dead_code, unreachable_pub)] // each test file uses a part of it

use clap::Parser as _;
use serde_json::{Value, json, value::to_raw_value};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use weft_bus::{Address, Bus, BusConfig, Command, PageLimit, Presence, ReadFrom, Reply, RequestError};
use weft_drain::Drain;
use weft_event::Room;
use weft_executor::{Settings, Way, run};
use weft_publisher::Publisher;
use weft_telemetry::Readiness;

/// Nothing here takes nearly as long; it only bounds a hang.
pub const SOON: Duration = Duration::from_secs(60);

pub const EXECUTOR_ID: &str = "executor-under-test";

pub struct Rig {
    pub bus: Bus,
    pub base: String,
    pub drain: Drain,
    pub task: Option<JoinHandle<()>>,
    pub client: reqwest::Client,
    dir: Option<PathBuf>,
}

/// The workflows that the executor ships.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows")
}

pub async fn memory_bus() -> Bus {
    Bus::connect(BusConfig::parse("memory:").expect("a bus")).await.expect("connected")
}

pub fn client() -> reqwest::Client {
    weft_testkit::http::client()
}

/// A directory with these workflows, each named by its `name`.
pub fn directory(workflows: &[&str]) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("weft-workflows-{}", uuid::Uuid::new_v4()));
    fs::create_dir(&dir).expect("a directory");
    for text in workflows {
        let name = text.lines().find_map(|line| line.strip_prefix("name: ")).expect("a name");
        fs::write(dir.join(format!("{name}.yaml")), text).expect("written");
    }
    dir
}

impl Rig {
    /// With these workflows.
    pub async fn start(workflows: &[&str]) -> Self {
        Self::start_with(workflows, &[]).await
    }

    /// With these workflows and flags.
    pub async fn start_with(workflows: &[&str], flags: &[&str]) -> Self {
        let dir = directory(workflows);
        let mut rig = Self::start_in(&dir, flags).await;
        rig.dir = Some(dir);
        rig
    }

    /// With the workflows of a directory.
    pub async fn start_in(dir: &Path, flags: &[&str]) -> Self {
        Self::start_on(memory_bus().await, dir, flags).await
    }

    /// On this bus, with the workflows of a directory.
    pub async fn start_on(bus: Bus, dir: &Path, flags: &[&str]) -> Self {
        let dir = dir.to_string_lossy().into_owned();
        let fixed = ["executor", "--workflow-dir", &dir, "--gateway-url", "http://127.0.0.1:1"];
        let id = if flags.contains(&"--executor-id") { &[][..] } else { &["--executor-id", EXECUTOR_ID] };
        let settings = Settings::try_parse_from(fixed.iter().chain(id).chain(flags)).expect("flags");
        let (config, _) = settings.check().expect("settings");
        let publisher = Publisher::over_bus(bus.clone(), settings.limits.publisher(None, settings.bus.retention_events));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let base = format!("http://{}", listener.local_addr().expect("address"));
        let drain = Drain::new(Duration::from_secs(20));
        let (way, leaving) = (Way::Bus(bus.clone()), drain.clone());
        let task = tokio::spawn(async move {
            run(config, listener, way, publisher, &leaving, &Readiness::new(&["listening"])).await.expect("runs");
        });
        let rig = Self { bus, base, drain, task: Some(task), client: client(), dir: None };
        rig.until_announced().await;
        rig
    }

    /// Waits until orders can reach the executor.
    async fn until_announced(&self) {
        let announced = timeout(SOON, async {
            while self.bus.present(Presence::Executor).await.expect("bus").is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        announced.await.expect("the executor announces itself");
    }

    /// Starts an execution by HTTP; its id.
    pub async fn execute(&self, workflow: &str, inputs: Value) -> String {
        let (status, body) = self.post(&format!("/workflows/{workflow}/execute"), &json!({"inputs": inputs})).await;
        assert_eq!(status, 202, "{body}");
        body["executionId"].as_str().expect("an id").to_owned()
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.client.post(format!("{}{path}", self.base)).json(body).send().await.expect("answered");
        (response.status().as_u16(), response.json().await.expect("json"))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.client.get(format!("{}{path}", self.base)).send().await.expect("answered");
        (response.status().as_u16(), response.json().await.expect("json"))
    }

    /// Everything stored in the execution's room so far.
    pub async fn events(&self, execution: &str) -> Vec<Value> {
        events_of(&self.bus, &Room::execution(execution).expect("room")).await
    }

    /// Everything told, once the execution has ended.
    pub async fn until_ended(&self, execution: &str) -> Vec<Value> {
        let is_end = |event: &Value| matches!(kind(event), "execution:completed" | "execution:failed" | "execution:cancelled");
        self.until(execution, is_end).await
    }

    /// Everything told, once there is an event like this.
    pub async fn until(&self, execution: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let waited = timeout(SOON, async {
            loop {
                let events = self.events(execution).await;
                if events.iter().any(&is_it) {
                    return events;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        match waited.await {
            Ok(events) => events,
            Err(_) => panic!("the event never came; these did: {:#?}", self.events(execution).await),
        }
    }

    /// Sends a command as a gateway would.
    pub async fn command(&self, address: &Address, reference: &str, kind: &str, body: Value) -> Result<Reply, RequestError> {
        let body = to_raw_value(&body).expect("json");
        let command = Command { reference: reference.into(), kind: kind.into(), subject: Some("ada".into()), body };
        self.bus.request(address, command, Duration::from_secs(20)).await
    }

    /// Leaves as on SIGTERM and waits for the end.
    pub async fn stop(&mut self) {
        self.drain.begin("test");
        let task = self.task.take().expect("running");
        timeout(SOON, task).await.expect("the executor leaves").expect("without a panic");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.drain.close();
        if let Some(dir) = &self.dir {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

pub async fn events_of(bus: &Bus, room: &Room) -> Vec<Value> {
    let limit = PageLimit { events: 100_000, bytes: 1 << 30 };
    let page = bus.read(room, ReadFrom::Start, limit).await.expect("history");
    page.events.iter().map(|delivery| serde_json::from_slice(&delivery.payload).expect("json")).collect()
}

pub fn kind(event: &Value) -> &str {
    event["type"].as_str().expect("a type")
}

/// The events but for logs, each as `type node` or `type`.
pub fn outline(events: &[Value]) -> Vec<String> {
    let told = events.iter().filter(|event| kind(event) != "log").map(|event| {
        let who = event["nodeId"].as_str().or(event["agentId"].as_str());
        who.map_or_else(|| kind(event).to_owned(), |who| format!("{} {who}", kind(event)))
    });
    told.collect()
}

/// The messages of a node's log.
pub fn messages<'a>(events: &'a [Value], node: &str) -> Vec<&'a str> {
    let of_node = events.iter().filter(|event| kind(event) == "log" && event["nodeId"] == node);
    of_node.map(|event| event["data"]["message"].as_str().expect("a message")).collect()
}

/// The first event of a type, of a node or agent where one is named.
pub fn find<'a>(events: &'a [Value], wanted: &str) -> &'a Value {
    let (wanted_kind, who) = wanted.split_once(' ').unwrap_or((wanted, ""));
    let is_it =
        |event: &&Value| kind(event) == wanted_kind && (who.is_empty() || event["nodeId"] == who || event["agentId"] == who);
    events.iter().find(is_it).unwrap_or_else(|| panic!("no {wanted} in {events:#?}"))
}

/// Waits until a process is gone, or is a zombie that only its parent has not looked at.
pub async fn is_gone(pid: &str) -> bool {
    for _ in 0..600 {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        let is_zombie = state.as_deref().and_then(|stat| stat.rsplit_once(") ")).map(|(_, rest)| rest.starts_with('Z'));
        if is_zombie != Some(false) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}
