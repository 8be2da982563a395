//! One node: its attempts, their deadline, and what is told of each.

use super::{note, now};
use crate::{
    executions::{Execution, NodeProgress, Stop},
    reporter::Report,
    steps::{Attempt, Failure, Tools},
    template::Scope,
    workflow::{Node, Step},
};
use serde_json::{Value, json};
use std::{path::PathBuf, pin::pin, sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;
use weft_event::Status;

/// One node of one execution.
pub(super) struct NodeRun {
    pub(super) at: usize,
    pub(super) tools: Arc<Tools>,
    pub(super) execution: Arc<Execution>,
    pub(super) report: Report,
    pub(super) scratch: PathBuf,
    pub(super) scope: Scope,
}

impl NodeRun {
    pub(super) fn node(&self) -> &Node {
        &self.execution.workflow.nodes[self.at]
    }
}

/// Tries a node until it has completed or failed for good.
pub(super) async fn run_node(run: &NodeRun) -> Result<Value, String> {
    let node = run.node();
    let attempts = node.retries.attempts + 1;
    let mut attempt = 1;
    loop {
        let error = match run_attempt(run, attempt).await {
            Ok(output) => return Ok(output),
            Err(error) => error,
        };
        if attempt == attempts || run.execution.stopping.is_cancelled() {
            return Err(error);
        }
        attempt += 1;
        let rest = tokio::time::sleep(node.retries.delay);
        if run.execution.stopping.run_until_cancelled(rest).await.is_none() {
            return Err(error);
        }
    }
}

async fn run_attempt(run: &NodeRun, attempt: u32) -> Result<Value, String> {
    let (node, begun, started_at) = (run.node(), Instant::now(), now());
    let progress = |status, error| NodeProgress { status, attempt, error };
    let depends_on: Vec<&str> = run.execution.workflow.needs(node).collect();
    let started = json!({"nodeType": node.step.word(), "name": node.name, "agentName": node.name, "attempt": attempt,
        "dependsOn": depends_on, "startedAt": started_at});
    note(run, "started", progress(Status::Running, None), started).await;
    let ended = limited(run).await;
    let took = begun.elapsed();
    let times = json!({"durationMs": took.as_millis() as u64, "startedAt": started_at, "completedAt": now()});
    match ended {
        Ok(output) => {
            crate::metrics::node(node.step.word(), "completed", took);
            note(run, "completed", progress(Status::Completed, None), with(times, json!({output_key(node): output}))).await;
            Ok(output)
        }
        Err((error, outcome)) => {
            crate::metrics::node(node.step.word(), outcome, took);
            let mut data = with(times, json!({"error": error}));
            if attempt <= node.retries.attempts && outcome != "stopped" {
                let delay_ms = node.retries.delay.as_millis() as u64;
                data["retry"] = json!({"attempt": attempt, "of": node.retries.attempts + 1, "delayMs": delay_ms});
            }
            note(run, "failed", progress(Status::Failed, Some(error.clone())), data).await;
            Err(error)
        }
    }
}

/// One attempt within its time: its output, or how it failed and as what that counts.
async fn limited(run: &NodeRun) -> Result<Value, (String, &'static str)> {
    let (node, stop) = (run.node(), run.execution.stopping.child_token());
    let ended = {
        let attempt = Attempt {
            tools: &run.tools,
            execution: &run.execution,
            report: &run.report,
            node,
            scope: &run.scope,
            scratch: &run.scratch,
            stop: &stop,
        };
        let mut work = pin!(attempt.run());
        tokio::select! {
            ended = &mut work => ended,
            () = expire(node, &stop) => work.await,
        }
    };
    ended.map_err(|failure| match failure {
        Failure::Failed(error) => (error, "failed"),
        Failure::Stopped if run.execution.stopping.is_cancelled() => (why_stopped(&run.execution), "stopped"),
        Failure::Stopped => (format!("took longer than {:?}", node.timeout.unwrap_or_default()), "timeout"),
    })
}

/// Cancels an attempt when its time is over; never comes back where there is no limit.
async fn expire(node: &Node, stop: &CancellationToken) {
    match node.timeout {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
    stop.cancel();
}

fn why_stopped(execution: &Execution) -> String {
    match execution.stop_reason() {
        Some(Stop::Cancelled { reason }) => format!("stopped: {reason}"),
        Some(Stop::Failed { node, .. }) if !node.is_empty() => format!("stopped: node '{node}' failed"),
        Some(Stop::TookTooLong) => "stopped: the execution took too long".into(),
        Some(Stop::Failed { .. }) | None => "stopped".into(),
    }
}

/// The contract's word for what comes out of a node, and of an agent.
fn output_key(node: &Node) -> &'static str {
    if matches!(node.step, Step::Tokens(_)) { "result" } else { "output" }
}

fn with(mut data: Value, further: Value) -> Value {
    if let (Value::Object(data), Value::Object(further)) = (&mut data, further) {
        data.extend(further);
    }
    data
}
