//! The executions of this process: those that run, bounded in number, and the last ones that ended.

use crate::{
    prompts::Prompts,
    refusal::{Code, Refusal},
    workflow::Workflow,
};
use indexmap::IndexMap;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weft_event::{Room, Status};

/// Why an execution stops before all of its nodes have completed. The first reason counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody asked for it, or the executor leaves.
    Cancelled {
        /// Why, for people.
        reason: String,
    },
    /// A node has failed for good.
    Failed {
        /// Which.
        node: String,
        /// How.
        error: String,
    },
    /// It took longer than its workflow allows.
    TookTooLong,
}

/// One execution of a workflow.
pub struct Execution {
    /// Its id.
    pub id: String,
    /// Its room, with the tenant.
    pub room: Room,
    /// What it runs.
    pub workflow: Arc<Workflow>,
    /// What it was given, defaults included.
    pub inputs: Arc<Map<String, Value>>,
    /// Who owns it.
    pub user: Option<String>,
    /// The W3C trace context of whoever asked for it.
    pub traceparent: Option<String>,
    /// Its open questions.
    pub prompts: Prompts,
    /// Cancelled once it stops, see [`Execution::stop`].
    pub stopping: CancellationToken,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    status: Status,
    stop: Option<Stop>,
    started_at: Option<String>,
    ended_at: Option<String>,
    error: Option<String>,
    result: Option<Value>,
    nodes: IndexMap<String, NodeProgress>,
}

/// What is known of a node.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeProgress {
    /// Where it stands.
    pub status: Status,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How it failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Execution {
    /// An execution that has not begun.
    #[must_use]
    pub fn new(room: Room, workflow: Arc<Workflow>, inputs: Map<String, Value>) -> Self {
        let nodes = workflow.nodes.iter().map(|node| (node.id.clone(), NodeProgress::default())).collect();
        Self {
            id: room.id().to_owned(),
            room,
            workflow,
            inputs: Arc::new(inputs),
            user: None,
            traceparent: None,
            prompts: Prompts::default(),
            stopping: CancellationToken::new(),
            progress: Mutex::new(Progress { nodes, ..Progress::default() }),
        }
    }

    /// Asks it to stop; whether it was still running. Only the first reason counts.
    pub fn stop(&self, reason: Stop) -> bool {
        let mut progress = self.progress.lock();
        if progress.status.is_terminal() {
            return false;
        }
        progress.stop.get_or_insert(reason);
        drop(progress);
        self.stopping.cancel();
        true
    }

    /// Why it stops, if it does.
    #[must_use]
    pub fn stop_reason(&self) -> Option<Stop> {
        self.progress.lock().stop.clone()
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.progress.lock().status
    }

    /// Notes that it runs.
    pub fn started(&self, at: String) {
        let mut progress = self.progress.lock();
        (progress.status, progress.started_at) = (Status::Running, Some(at));
    }

    /// Notes how it ended.
    pub fn ended(&self, status: Status, at: String, error: Option<String>, result: Option<Value>) {
        let mut progress = self.progress.lock();
        progress.status = status;
        (progress.ended_at, progress.error, progress.result) = (Some(at), error, result);
    }

    /// Notes where a node stands.
    pub fn node(&self, id: &str, node: NodeProgress) {
        self.progress.lock().nodes.insert(id.to_owned(), node);
    }

    /// What a list tells of it.
    #[must_use]
    pub fn summary(&self) -> Value {
        let progress = self.progress.lock();
        json!({"executionId": self.id, "workflow": self.workflow.name, "userId": self.user, "status": progress.status,
            "startedAt": progress.started_at, "endedAt": progress.ended_at, "error": progress.error})
    }

    /// All that is known of it.
    #[must_use]
    pub fn report(&self) -> Value {
        let mut report = self.summary();
        let asked = self.prompts.asked();
        let progress = self.progress.lock();
        report["inputs"] = Value::Object((*self.inputs).clone());
        report["nodes"] = json!(progress.nodes);
        report["result"] = progress.result.clone().unwrap_or(Value::Null);
        report["pendingInput"] = Value::Array(asked);
        report
    }
}

/// The executions of this process.
pub struct Executions {
    state: Mutex<State>,
    running_max: usize,
    remembered_max: usize,
    /// Counts changes of what runs.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    by_id: HashMap<String, Arc<Execution>>,
    running: usize,
    /// Ids of those that ended, oldest first.
    ended: VecDeque<String>,
    closed: bool,
}

impl Executions {
    /// None yet; at most `running_max` at once, of those that ended the last `remembered_max` are kept.
    #[must_use]
    pub fn new(running_max: usize, remembered_max: usize) -> Self {
        Self { state: Mutex::default(), running_max, remembered_max, changes: watch::Sender::new(0) }
    }

    /// Takes an execution in.
    pub fn admit(&self, execution: &Arc<Execution>) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refusal::new(Code::Draining, "the executor is stopping"));
        }
        if state.by_id.contains_key(&execution.id) {
            return Err(Refusal::new(Code::Exists, "there is an execution with this id"));
        }
        if state.running >= self.running_max {
            return Err(Refusal::new(Code::Busy, format!("{} executions run already", self.running_max)));
        }
        state.by_id.insert(execution.id.clone(), execution.clone());
        self.changed(&mut state, 1);
        Ok(())
    }

    /// Takes back an execution that was admitted and could not begin; its id is free again.
    pub fn forget(&self, id: &str) {
        let mut state = self.state.lock();
        if state.by_id.remove(id).is_some() {
            self.changed(&mut state, -1);
        }
    }

    /// An admitted execution has ended; it is remembered for a while.
    pub fn ended(&self, id: &str) {
        let mut state = self.state.lock();
        state.ended.push_back(id.to_owned());
        while state.ended.len() > self.remembered_max {
            if let Some(oldest) = state.ended.pop_front() {
                state.by_id.remove(&oldest);
            }
        }
        self.changed(&mut state, -1);
    }

    fn changed(&self, state: &mut State, by: isize) {
        state.running = state.running.saturating_add_signed(by);
        crate::metrics::running(state.running);
        self.changes.send_modify(|count| *count += 1);
    }

    /// One execution.
    pub fn get(&self, id: &str) -> Result<Arc<Execution>, Refusal> {
        self.state
            .lock()
            .by_id
            .get(id)
            .cloned()
            .ok_or_else(|| Refusal::new(Code::UnknownExecution, "this executor knows no such execution"))
    }

    /// All that are known, in no particular order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Execution>> {
        self.state.lock().by_id.values().cloned().collect()
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.state.lock().running
    }

    /// Tells of every change of what runs.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Takes no more executions in and stops those that run.
    pub fn close(&self, reason: &str) {
        self.state.lock().closed = true;
        for execution in self.all() {
            execution.stop(Stop::Cancelled { reason: reason.to_owned() });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::definition::parse_yaml;

    /// One that runs nothing.
    pub(crate) fn execution(id: &str) -> Arc<Execution> {
        let workflow = parse_yaml("w", "name: w\nnodes: [{id: a, sleep: 1s}]").expect("valid");
        let room = Room::execution(id).expect("room");
        Arc::new(Execution::new(room, Arc::new(workflow), Map::new()))
    }

    #[test]
    fn what_runs_and_what_is_remembered_is_bounded() {
        let executions = Executions::new(2, 2);
        let code = |id: &str| executions.admit(&execution(id)).map_err(|refusal| refusal.code);
        assert_eq!((code("a"), code("a"), code("b"), code("c")), (Ok(()), Err(Code::Exists), Ok(()), Err(Code::Busy)));
        for id in ["a", "b"] {
            executions.ended(id);
        }
        assert_eq!((code("a"), code("c"), executions.running()), (Err(Code::Exists), Ok(()), 1));
        executions.ended("c");
        // The oldest is forgotten, and its id is free again.
        assert_eq!(
            (executions.get("a").map(|_| ()).map_err(|refusal| refusal.code), code("a")),
            (Err(Code::UnknownExecution), Ok(()))
        );
        executions.forget("a");
        assert_eq!(executions.running(), 0);
        executions.close("executor stopped");
        assert_eq!(code("z"), Err(Code::Draining));
    }

    #[test]
    fn the_first_reason_to_stop_counts() {
        let execution = execution("e");
        execution.started("t".into());
        assert!(execution.stop(Stop::TookTooLong) && execution.stopping.is_cancelled());
        assert!(execution.stop(Stop::Cancelled { reason: "late".into() }));
        assert_eq!(execution.stop_reason(), Some(Stop::TookTooLong));
        execution.ended(Status::Failed, "t".into(), None, None);
        assert!(!execution.stop(Stop::TookTooLong));
    }
}
