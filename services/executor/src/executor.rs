//! The executor: takes orders, runs them, and answers what is asked about them. Cheap to clone.

use crate::{
    definition, engine,
    executions::{Execution, Executions, Stop},
    place::Place,
    reach::Reach,
    refusal::{Code, Refusal},
    reporter::Report,
    steps::Tools,
    workflow::Workflow,
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;
use weft_bus::{Expect, StoreError};
use weft_event::{Head, Room, id};
use weft_publisher::Publisher;

/// The workflow that `start-streaming` runs.
pub const DEMO_WORKFLOW: &str = "demo";
/// Why executions end when the executor leaves.
pub const STOPPED: &str = "executor stopped";
/// How long an execution that ended still takes commands, so that a repeat is answered as the first was.
const LINGER: Duration = Duration::from_secs(120);
/// Longest reason of a cancellation, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// What is to be run.
#[derive(Clone, Debug)]
pub enum Plan {
    /// A workflow of the workflow directory.
    Named(String),
    /// One that the request brings along; it may hold neither commands nor http steps.
    Brought(Value),
}

/// Asks for an execution.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is to be run.
    pub plan: Plan,
    /// The execution's id; a new one where absent.
    pub execution_id: Option<String>,
    /// What it is given.
    pub inputs: Map<String, Value>,
    /// Who owns it.
    pub user: Option<String>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// Runs workflows.
#[derive(Clone)]
pub struct Executor(Arc<Shared>);

/// What an executor is made of.
pub struct Parts {
    /// The workflows that may be run by name.
    pub workflows: BTreeMap<String, Arc<Workflow>>,
    /// What steps need.
    pub tools: Tools,
    /// Where events go.
    pub publisher: Publisher,
    /// The tenant of all its rooms.
    pub tenant: Option<String>,
    /// How commands reach it.
    pub reach: Reach,
    /// Running and remembered executions.
    pub executions: Executions,
}

struct Shared {
    workflows: BTreeMap<String, Arc<Workflow>>,
    tools: Arc<Tools>,
    publisher: Publisher,
    tenant: Option<String>,
    reach: Reach,
    executions: Arc<Executions>,
    runs: TaskTracker,
    leaving: CancellationToken,
}

impl Executor {
    /// An executor that waits for orders.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { workflows, tools, publisher, tenant, reach, executions } = parts;
        let (tools, executions) = (Arc::new(tools), Arc::new(executions));
        let (runs, leaving) = (TaskTracker::new(), CancellationToken::new());
        Self(Arc::new(Shared { workflows, tools, publisher, tenant, reach, executions, runs, leaving }))
    }

    /// Begins an execution; its id.
    pub async fn execute(&self, order: Order) -> Result<String, Refusal> {
        let prepared = self.prepare(order);
        let (place, is_given) = prepared.inspect_err(|_| crate::metrics::execution("refused"))?;
        let id = place.execution().id.clone();
        // In a task of its own: whoever asked may go away in between, and an admitted execution must begin or be
        // taken back.
        let executor = self.clone();
        let begun = self.0.runs.spawn(async move { executor.begin(place, is_given).await });
        begun.await.map_err(|_| Refusal::new(Code::Unavailable, "a fault of the executor"))??;
        Ok(id)
    }

    fn prepare(&self, order: Order) -> Result<(Place, bool), Refusal> {
        let workflow = match order.plan {
            Plan::Named(name) => self.workflow(&name)?,
            Plan::Brought(definition) => Arc::new(definition::parse_request(definition)?),
        };
        let inputs = workflow.bind(order.inputs)?;
        if let Some(user) = &order.user {
            id::check("userId", user)?;
        }
        let is_given = order.execution_id.is_some();
        let id = order.execution_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let room = Room::execution(&id)?.in_tenant(self.0.tenant.as_deref())?;
        let mut execution = Execution::new(room, workflow, inputs);
        (execution.user, execution.traceparent) = (order.user, order.traceparent);
        let execution = Arc::new(execution);
        Ok((Place::take(&self.0.executions, execution)?, is_given))
    }

    async fn begin(&self, mut place: Place, is_given: bool) -> Result<(), Refusal> {
        let execution = place.execution().clone();
        if is_given {
            self.claim(&execution).await.inspect_err(|_| crate::metrics::execution("refused"))?;
        }
        // Commands can reach it before its first event is out, so that no prompt is told before it can be answered.
        let served = self.0.reach.serve(&execution).await;
        let report = Report::new(&self.0.publisher, &execution);
        let executor = self.clone();
        place.begin();
        self.0.runs.spawn(async move {
            engine::run(executor.0.tools.clone(), execution, report).await;
            drop(place);
            let leaving = executor.0.leaving.clone();
            tokio::spawn(async move {
                leaving.run_until_cancelled(tokio::time::sleep(LINGER)).await;
                drop(served);
            });
        });
        Ok(())
    }

    /// Makes an id that was given this executor's own. On a bus that stores, only one executor can create its head; a
    /// gateway is asked whether it knows the id.
    async fn claim(&self, execution: &Execution) -> Result<(), Refusal> {
        let taken = || Refusal::new(Code::Exists, "there is an execution with this id");
        let away = |error: &dyn std::fmt::Display| {
            warn!(execution = execution.id, %error, "an execution's id cannot be claimed");
            Refusal::new(Code::Unavailable, "the bus is away; try again, or without an executionId")
        };
        match &self.0.reach {
            Reach::Bus { bus, .. } if bus.is_durable() => {
                let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
                let head = Head::new(self.0.tenant.as_deref(), &execution.id, execution.user.as_deref(), now_ms);
                match bus.store_head(&head, Expect::Absent).await {
                    Ok(_) => Ok(()),
                    Err(StoreError::Conflict) => Err(taken()),
                    Err(StoreError::Bus(error)) => Err(away(&error)),
                }
            }
            Reach::Bus { .. } => Ok(()),
            Reach::Gateway(registration) => match registration.knows(&execution.id).await {
                Ok(true) => Err(taken()),
                Ok(false) => Ok(()),
                Err(error) => Err(away(&error)),
            },
        }
    }

    /// Asks an execution to stop. Asking again while it stops is fine.
    pub fn cancel(&self, id: &str, reason: Option<&str>) -> Result<Value, Refusal> {
        let reason = reason.unwrap_or("cancelled");
        if reason.len() > REASON_BYTES_MAX {
            return Err(Refusal::field("reason", format!("must be at most {REASON_BYTES_MAX} bytes")));
        }
        let execution = self.0.executions.get(id)?;
        if execution.stop(Stop::Cancelled { reason: reason.to_owned() }) {
            Ok(json!({"executionId": id, "status": "stopping"}))
        } else {
            Err(Refusal::new(Code::NotRunning, "the execution has ended"))
        }
    }

    /// Answers a question of an execution.
    pub fn provide(&self, id: &str, request_id: &str, value: Value, by: Option<&str>) -> Result<Value, Refusal> {
        self.0.executions.get(id)?.prompts.provide(request_id, value, by)
    }

    /// Runs the demo workflow under an id.
    pub async fn start_streaming(&self, id: String, user: Option<String>) -> Result<String, Refusal> {
        let plan = Plan::Named(DEMO_WORKFLOW.into());
        self.execute(Order { plan, execution_id: Some(id), inputs: Map::new(), user, traceparent: None }).await
    }

    /// The tenant of all its executions.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.0.tenant.as_deref()
    }

    /// One workflow.
    pub fn workflow(&self, name: &str) -> Result<Arc<Workflow>, Refusal> {
        self.0
            .workflows
            .get(name)
            .cloned()
            .ok_or_else(|| Refusal::new(Code::UnknownWorkflow, "there is no workflow of this name"))
    }

    /// All workflows, by name.
    pub fn workflows(&self) -> impl Iterator<Item = &Arc<Workflow>> {
        self.0.workflows.values()
    }

    /// The executions of this process.
    #[must_use]
    pub fn executions(&self) -> &Executions {
        &self.0.executions
    }

    /// How commands reach it.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.0.reach
    }

    /// Takes no more orders, stops what runs and waits until it has ended and told so, at most until `limit`.
    /// Answers how many executions had not ended by then.
    pub async fn leave(&self, limit: Duration) -> usize {
        self.0.executions.close(STOPPED);
        self.0.runs.close();
        let ended = tokio::time::timeout(limit, self.0.runs.wait()).await.is_ok();
        self.0.leaving.cancel();
        if ended { 0 } else { self.0.executions.running() }
    }
}
