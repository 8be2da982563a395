//! Drives one execution: nodes whose dependencies have completed run at once, the first failure stops the rest.

mod node;

use crate::{
    executions::{Execution, NodeProgress, Stop},
    reporter::Report,
    steps::Tools,
    template::Scope,
};
use node::{NodeRun, run_node};
use serde_json::{Map, Value, json};
use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::task::JoinSet;
use tracing::{error, info, warn};
use weft_event::Status;

/// Largest result published, in bytes; a larger one is told by its size.
const RESULT_BYTES_MAX: usize = 256 * 1024;
/// Largest result remembered by this process, in bytes: there may be hundreds.
const REMEMBERED_BYTES_MAX: usize = 16 * 1024;

/// Runs an execution to its end, telling everything on the way, and its terminal event last.
pub async fn run(tools: Arc<Tools>, execution: Arc<Execution>, report: Report) {
    let begun = Instant::now();
    let workflow = &execution.workflow;
    execution.started(now());
    info!(execution = execution.id, workflow = workflow.name, trace_id = report.trace_id(), "execution started");
    let agents = workflow.nodes.iter().filter(|node| matches!(node.step, crate::workflow::Step::Tokens(_))).count();
    let started = json!({"status": "running", "workflowName": workflow.name, "nodeCount": workflow.nodes.len(),
        "agentCount": agents, "startedAt": now()});
    report.execution("started", started).await;
    let scratch = match Scratch::new() {
        Ok(scratch) => Some(scratch),
        Err(error) => {
            let error = format!("no scratch directory: {error}");
            execution.stop(Stop::Failed { node: String::new(), error });
            None
        }
    };
    let mut course = Course::new(tools, execution.clone(), report.clone(), scratch.as_ref().map(Scratch::path));
    course.drive().await;
    // The directory goes before the end is told: whoever sees the end sees everything cleaned up.
    drop(scratch);
    finish(&execution, &report, &course, begun).await;
}

async fn finish(execution: &Execution, report: &Report, course: &Course, begun: Instant) {
    let duration = begun.elapsed().as_secs_f64();
    let (name, status, error, result, data) = match execution.stop_reason() {
        // A stop that came when everything had completed changes nothing.
        _ if course.completed == execution.workflow.nodes.len() => {
            let result = course.result();
            let data = json!({"result": result, "duration": duration, "nodesCompleted": course.completed, "nodesFailed": 0});
            ("completed", Status::Completed, None, Some(result), data)
        }
        Some(Stop::Cancelled { reason }) => {
            ("cancelled", Status::Cancelled, Some(reason.clone()), None, json!({"reason": reason, "duration": duration}))
        }
        stop => {
            let (node, error) = match stop {
                Some(Stop::Failed { node, error }) => (node, error),
                _ => (String::new(), format!("the execution took longer than {:?}", execution.workflow.timeout)),
            };
            let mut data = json!({"error": error, "duration": duration});
            if !node.is_empty() {
                data["failedNode"] = node.into();
            }
            ("failed", Status::Failed, Some(error), None, data)
        }
    };
    info!(execution = execution.id, outcome = name, duration, trace_id = report.trace_id(), "execution ended");
    crate::metrics::execution(name);
    report.ended(name, error.as_deref());
    report.execution(name, data).await;
    let result = result.map(|result| bounded(result, REMEMBERED_BYTES_MAX));
    execution.ended(status, now(), error, result);
}

/// A value, or its size where it is too large.
fn bounded(value: Value, bytes_max: usize) -> Value {
    match value.to_string().len() {
        bytes if bytes > bytes_max => json!({"truncated": true, "bytes": bytes}),
        _ => value,
    }
}

/// An execution on its way.
struct Course {
    tools: Arc<Tools>,
    execution: Arc<Execution>,
    report: Report,
    scratch: PathBuf,
    /// For each node, how many of its dependencies have not completed.
    missing: Vec<usize>,
    ready: VecDeque<usize>,
    running: JoinSet<(usize, Result<Value, String>)>,
    outputs: HashMap<String, Arc<Value>>,
    completed: usize,
}

impl Course {
    fn new(tools: Arc<Tools>, execution: Arc<Execution>, report: Report, scratch: Option<&Path>) -> Self {
        let missing: Vec<usize> = execution.workflow.nodes.iter().map(|node| node.depends_on.len()).collect();
        let ready = (0..missing.len()).filter(|at| missing[*at] == 0).collect();
        let scratch = scratch.map_or_else(PathBuf::new, Path::to_owned);
        let (running, outputs) = (JoinSet::new(), HashMap::new());
        Self { tools, execution, report, scratch, missing, ready, running, outputs, completed: 0 }
    }

    async fn drive(&mut self) {
        let stopping = self.execution.stopping.clone();
        let mut deadline = std::pin::pin!(tokio::time::sleep(self.execution.workflow.timeout));
        loop {
            while !stopping.is_cancelled() && self.running.len() < self.tools.nodes_at_once {
                let Some(at) = self.ready.pop_front() else { break };
                self.start(at);
            }
            tokio::select! {
                ended = self.running.join_next() => match ended {
                    None => return,
                    Some(ended) => self.node_ended(ended).await,
                },
                () = &mut deadline, if !stopping.is_cancelled() => {
                    self.execution.stop(Stop::TookTooLong);
                }
            }
        }
    }

    fn start(&mut self, at: usize) {
        let run = NodeRun {
            at,
            tools: self.tools.clone(),
            execution: self.execution.clone(),
            report: self.report.clone(),
            scratch: self.scratch.clone(),
            scope: Scope {
                execution_id: self.execution.id.clone(),
                inputs: self.execution.inputs.clone(),
                outputs: self.outputs.clone(),
            },
        };
        self.running.spawn(async move { (run.at, run_node(&run).await) });
    }

    async fn node_ended(&mut self, ended: Result<(usize, Result<Value, String>), tokio::task::JoinError>) {
        match ended {
            Ok((at, Ok(output))) => self.node_completed(at, output).await,
            Ok((at, Err(error))) => {
                let node = self.execution.workflow.nodes[at].id.clone();
                self.execution.stop(Stop::Failed { node, error });
            }
            Err(panicked) => {
                error!(execution = self.execution.id, error = %panicked, "a node's task has panicked");
                self.execution.stop(Stop::Failed { node: String::new(), error: "a fault of the executor".into() });
            }
        }
    }

    async fn node_completed(&mut self, at: usize, output: Value) {
        let workflow = self.execution.workflow.clone();
        self.outputs.insert(workflow.nodes[at].id.clone(), Arc::new(output));
        self.completed += 1;
        for (other, node) in workflow.nodes.iter().enumerate() {
            if node.depends_on.contains(&at) {
                self.missing[other] -= 1;
                if self.missing[other] == 0 {
                    self.ready.push_back(other);
                }
            }
        }
        let progress = 100 * self.completed / workflow.nodes.len();
        let current = &workflow.nodes[self.ready.front().copied().unwrap_or(at)].id;
        self.report.execution("progress", json!({"progress": progress, "currentNode": current})).await;
    }

    /// The outputs of the nodes that no other depends on, by id.
    fn result(&self) -> Value {
        let workflow = &self.execution.workflow;
        let leaves = workflow.leaves().into_iter().map(|at| &workflow.nodes[at].id);
        let outputs = leaves.map(|id| (id.clone(), self.outputs.get(id).map_or(Value::Null, |output| (**output).clone())));
        bounded(Value::Object(outputs.collect::<Map<_, _>>()), RESULT_BYTES_MAX)
    }
}

/// A directory of one execution's own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("weft-{}", uuid::Uuid::new_v4()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            warn!(path = %self.0.display(), %error, "a scratch directory was left behind");
        }
    }
}

/// The time as events write it.
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Notes and tells where a node stands.
async fn note(run: &NodeRun, name: &str, progress: NodeProgress, data: Value) {
    run.execution.node(&run.node().id, progress);
    run.report.node(run.node(), name, data).await;
}
