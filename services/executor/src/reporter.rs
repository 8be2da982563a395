//! What the executor tells: the one file that touches the publisher.
//!
//! Every event waits for room in the publisher's retry buffer, so a flood of output slows its process down instead
//! of being lost. The publisher says what it had to give up; here only what it refused at once is told.

use crate::{
    executions::Execution,
    workflow::{Node, Step},
};
use opentelemetry::{
    KeyValue,
    global::{self, BoxedSpan},
    trace::{Span as _, Status, Tracer as _},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use tracing::error;
use weft_publisher::{EventDraft, Publisher, Run, trace};

pub use weft_publisher::data::Level;

/// Tells about one execution. Cheap to clone.
#[derive(Clone)]
pub struct Report {
    publisher: Publisher,
    run: Run,
    /// The execution's span, if it is traced; it ends with the last of those who tell about the execution.
    span: Option<Arc<Mutex<BoxedSpan>>>,
}

/// Goes on with the trace of whoever asked for the execution, or begins one.
fn begin_span(execution: &Execution) -> BoxedSpan {
    let parent = execution.traceparent.as_deref().and_then(trace::sampled).unwrap_or_default();
    let tracer = global::tracer("weft");
    let attributes = [
        KeyValue::new("weft.execution.id", execution.id.clone()),
        KeyValue::new("weft.workflow.name", execution.workflow.name.clone()),
    ];
    tracer.span_builder("execute workflow").with_attributes(attributes).start_with_context(&tracer, &parent)
}

impl Report {
    /// A report on one execution, which its user owns.
    #[must_use]
    pub fn new(publisher: &Publisher, execution: &Execution) -> Self {
        let mut run = publisher.run(&execution.id).workflow(&execution.workflow.name);
        if let Some(user) = &execution.user {
            run = run.user(user);
        }
        let span = begin_span(execution);
        let traceparent = trace::traceparent_of(span.span_context());
        let span = traceparent.is_some().then(|| Arc::new(Mutex::new(span)));
        if let Some(traceparent) = traceparent {
            run = run.traceparent(traceparent);
        }
        Self { publisher: publisher.clone(), run, span }
    }

    /// The id of the execution's trace, for the log; empty if it is not traced.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.span.as_ref().map(|span| span.lock().span_context().trace_id().to_string()).unwrap_or_default()
    }

    /// How the execution ended.
    pub fn ended(&self, outcome: &'static str, error: Option<&str>) {
        let Some(span) = &self.span else { return };
        let mut span = span.lock();
        span.set_attribute(KeyValue::new("weft.execution.outcome", outcome));
        if let Some(error) = error {
            span.set_status(Status::error(error.to_owned()));
        }
    }

    async fn send(&self, kind: &str, draft: EventDraft) {
        if let Err(refused) = self.publisher.enqueue_wait(draft).await {
            metrics::counter!(crate::metrics::EVENTS_REFUSED).increment(1);
            error!(execution = self.run.execution_id(), kind, %refused, "an event was not published");
        }
    }

    /// An `execution:*` event.
    pub async fn execution(&self, name: &str, data: Value) {
        let kind = format!("execution:{name}");
        self.send(&kind, self.run.draft(&kind).data(data)).await;
    }

    /// What happens to a node: `started`, `progress`, `completed` or `failed`. A node that streams tokens is a step
    /// of a multi-agent workflow, where the agent stands for the node.
    pub async fn node(&self, node: &Node, name: &str, data: Value) {
        if let Step::Tokens(_) = node.step {
            return self.agent(&node.id, name, data).await;
        }
        let kind = format!("node:{name}");
        self.send(&kind, self.run.draft(&kind).node(&node.id).data(data)).await;
    }

    /// An `agent:*` event.
    pub async fn agent(&self, agent: &str, name: &str, data: Value) {
        let kind = format!("agent:{name}");
        self.send(&kind, self.run.draft(&kind).agent(agent).data(data)).await;
    }

    /// A `user_input:*` event of a node.
    pub async fn user_input(&self, node: &Node, name: &str, data: Value) {
        let kind = format!("user_input:{name}");
        self.send(&kind, self.run.draft(&kind).node(&node.id).data(data)).await;
    }

    /// A line of a node's log.
    pub async fn log(&self, node: &Node, level: Level, message: &str, metadata: Value) {
        let data = json!({"level": level, "message": message, "stepName": node.name,
            "stepType": node.step.word(), "metadata": metadata});
        self.send("log", self.run.draft("log").node(&node.id).data(data)).await;
    }
}
