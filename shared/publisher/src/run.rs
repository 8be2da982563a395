//! Helpers by event type: the execution of a workflow, and the knowledge base.

use crate::{EventDraft, Pending, PublishError, Publisher, data};
use serde::Serialize;

/// What enqueueing answers.
type Enqueued = Result<Pending, PublishError>;

/// Writes the events of one execution. Each method enqueues one event, as [`Publisher::enqueue`] does.
#[derive(Clone)]
pub struct Run {
    publisher: Publisher,
    execution: String,
    /// What every event begins with.
    template: EventDraft,
}

impl Run {
    pub(crate) fn new(publisher: Publisher, execution: String) -> Self {
        Self { publisher, template: EventDraft::new("").execution(&execution), execution }
    }

    /// Writes `workflowId` into every event.
    #[must_use]
    pub fn workflow(self, id: impl Into<String>) -> Self {
        Self { template: self.template.workflow(id), ..self }
    }

    /// Writes `userId`, the owner, into every event.
    #[must_use]
    pub fn user(self, id: impl Into<String>) -> Self {
        Self { template: self.template.user(id), ..self }
    }

    /// Writes the W3C trace context into every event.
    #[must_use]
    pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
        Self { template: self.template.traceparent(traceparent), ..self }
    }

    /// The execution's id.
    #[must_use]
    pub fn execution_id(&self) -> &str {
        &self.execution
    }

    /// An event of this execution, to be filled in and given to [`Run::enqueue`].
    #[must_use]
    pub fn draft(&self, kind: &str) -> EventDraft {
        self.template.clone().of_kind(kind)
    }

    /// Enqueues a draft.
    pub fn enqueue(&self, draft: EventDraft) -> Enqueued {
        self.publisher.enqueue(draft)
    }

    fn send(&self, kind: &str, data: impl Serialize) -> Enqueued {
        self.enqueue(self.draft(kind).data(data))
    }

    fn send_of_node(&self, kind: &str, node: &str, data: impl Serialize) -> Enqueued {
        self.enqueue(self.draft(kind).node(node).data(data))
    }

    fn send_of_agent(&self, kind: &str, agent: &str, data: impl Serialize) -> Enqueued {
        self.enqueue(self.draft(kind).agent(agent).data(data))
    }

    /// `execution:started`: its status is `running` unless `data` says otherwise.
    pub fn execution_started(&self, data: data::ExecutionStarted) -> Enqueued {
        self.send("execution:started", data)
    }

    /// `execution:updated`
    pub fn execution_updated(&self, data: data::ExecutionUpdated) -> Enqueued {
        self.send("execution:updated", data)
    }

    /// `execution:progress`
    pub fn execution_progress(&self, data: data::ExecutionProgress) -> Enqueued {
        self.send("execution:progress", data)
    }

    /// `execution:completed`, which ends the execution.
    pub fn execution_completed(&self, data: data::ExecutionCompleted) -> Enqueued {
        self.send("execution:completed", data)
    }

    /// `execution:failed`, which ends the execution.
    pub fn execution_failed(&self, data: data::ExecutionFailed) -> Enqueued {
        self.send("execution:failed", data)
    }

    /// `execution:cancelled`, which ends the execution.
    pub fn execution_cancelled(&self, data: data::ExecutionCancelled) -> Enqueued {
        self.send("execution:cancelled", data)
    }

    /// `node:started`
    pub fn node_started(&self, node_id: &str, data: data::NodeStarted) -> Enqueued {
        self.send_of_node("node:started", node_id, data)
    }

    /// `node:progress`
    pub fn node_progress(&self, node_id: &str, data: data::NodeProgress) -> Enqueued {
        self.send_of_node("node:progress", node_id, data)
    }

    /// `node:completed`
    pub fn node_completed(&self, node_id: &str, data: data::NodeCompleted) -> Enqueued {
        self.send_of_node("node:completed", node_id, data)
    }

    /// `node:failed`
    pub fn node_failed(&self, node_id: &str, data: data::NodeFailed) -> Enqueued {
        self.send_of_node("node:failed", node_id, data)
    }

    /// `agent:started`
    pub fn agent_started(&self, agent_id: &str, data: data::AgentStep) -> Enqueued {
        self.send_of_agent("agent:started", agent_id, data)
    }

    /// `agent:progress`
    pub fn agent_progress(&self, agent_id: &str, data: data::AgentStep) -> Enqueued {
        self.send_of_agent("agent:progress", agent_id, data)
    }

    /// `agent:completed`
    pub fn agent_completed(&self, agent_id: &str, data: data::AgentStep) -> Enqueued {
        self.send_of_agent("agent:completed", agent_id, data)
    }

    /// `agent:failed`
    pub fn agent_failed(&self, agent_id: &str, data: data::AgentStep) -> Enqueued {
        self.send_of_agent("agent:failed", agent_id, data)
    }

    /// `agent:streaming_start`
    pub fn agent_streaming_start(&self, agent_id: &str, data: data::AgentStep) -> Enqueued {
        self.send_of_agent("agent:streaming_start", agent_id, data)
    }

    /// `agent:token`
    pub fn agent_token(&self, agent_id: &str, data: data::AgentToken) -> Enqueued {
        self.send_of_agent("agent:token", agent_id, data)
    }

    /// `agent:streaming_end`
    pub fn agent_streaming_end(&self, agent_id: &str, data: data::AgentStreamingEnd) -> Enqueued {
        self.send_of_agent("agent:streaming_end", agent_id, data)
    }

    /// `agent:tool_call`
    pub fn agent_tool_call(&self, agent_id: &str, data: data::AgentToolCall) -> Enqueued {
        self.send_of_agent("agent:tool_call", agent_id, data)
    }

    /// `log`
    pub fn log(&self, data: data::Log) -> Enqueued {
        self.send("log", data)
    }

    /// `user_input:required`
    pub fn user_input_required(&self, data: data::UserInputRequired) -> Enqueued {
        self.send("user_input:required", data)
    }

    /// `user_input:provided`, when an answer was accepted.
    pub fn user_input_provided(&self, data: data::UserInputProvided) -> Enqueued {
        self.send("user_input:provided", data)
    }

    /// `user_input:timeout`
    pub fn user_input_timeout(&self, data: data::UserInputTimeout) -> Enqueued {
        self.send("user_input:timeout", data)
    }
}

impl Publisher {
    fn send_of_kb(&self, kind: &str, kb: &str, user: Option<&str>, data: data::KbStep) -> Enqueued {
        let draft = EventDraft::new(kind).knowledge_base(kb).data(data);
        self.enqueue(match user {
            Some(user) => draft.user(user),
            None => draft,
        })
    }

    /// `kb:upload_started`; with a user it reaches that user's room too.
    pub fn kb_upload_started(&self, knowledge_base_id: &str, user: Option<&str>, data: data::KbStep) -> Enqueued {
        self.send_of_kb("kb:upload_started", knowledge_base_id, user, data)
    }

    /// `kb:processing`
    pub fn kb_processing(&self, knowledge_base_id: &str, user: Option<&str>, data: data::KbStep) -> Enqueued {
        self.send_of_kb("kb:processing", knowledge_base_id, user, data)
    }

    /// `kb:upload_completed`
    pub fn kb_upload_completed(&self, knowledge_base_id: &str, user: Option<&str>, data: data::KbStep) -> Enqueued {
        self.send_of_kb("kb:upload_completed", knowledge_base_id, user, data)
    }

    /// `kb:upload_failed`
    pub fn kb_upload_failed(&self, knowledge_base_id: &str, user: Option<&str>, data: data::KbStep) -> Enqueued {
        self.send_of_kb("kb:upload_failed", knowledge_base_id, user, data)
    }
}
