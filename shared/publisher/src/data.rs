//! The `data` of each event type that the wire contract names. Absent fields are not written.
//!
//! Values that a workflow produces are [`serde_json::Value`]; to pass bytes through untouched, build an
//! [`EventDraft`](crate::EventDraft) with a `RawValue` instead.

use serde::Serialize;
use serde_json::Value;

macro_rules! data {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* #[serde(skip_serializing_if = "Absent::is_absent")] pub $field: $type,)*
        }
    )*};
}

/// Whether a field is left out.
trait Absent {
    fn is_absent(&self) -> bool;
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

macro_rules! always_written {
    ($($type:ty),*) => {$(impl Absent for $type { fn is_absent(&self) -> bool { false } })*};
}

always_written!(String, f64, u64, Level);

data! {
    /// `execution:started`
    ExecutionStarted {
        /// Other than `running`, where the execution begins otherwise.
        status: Option<Status>,
        /// The workflow's name, for people.
        workflow_name: Option<String>,
        /// Agents that take part.
        agent_count: Option<u64>,
        /// RFC 3339.
        started_at: Option<String>,
    }
    /// `execution:updated`
    ExecutionUpdated {
        /// The new status.
        status: Option<Status>,
        /// The node at work.
        current_node: Option<String>,
        /// 0 to 100.
        progress: Option<f64>,
    }
    /// `execution:progress`
    ExecutionProgress {
        /// 0 to 100.
        progress: f64,
        /// The node at work.
        current_node: Option<String>,
        /// The agent at work.
        current_agent: Option<String>,
    }
    /// `execution:completed`
    ExecutionCompleted {
        /// What came out of it.
        result: Option<Value>,
        /// What came out of it, by name.
        outputs: Option<Value>,
        /// Seconds.
        duration: Option<f64>,
        /// Nodes that completed.
        nodes_completed: Option<u64>,
        /// Nodes that failed.
        nodes_failed: Option<u64>,
    }
    /// `execution:failed`
    ExecutionFailed {
        /// Why.
        error: String,
        /// Where.
        failed_node: Option<String>,
    }
    /// `execution:cancelled`
    ExecutionCancelled {
        /// Why, or by whom.
        reason: Option<String>,
    }
    /// `node:started`
    NodeStarted {
        /// What kind of node.
        node_type: Option<String>,
        /// What it was given.
        input: Option<Value>,
        /// RFC 3339.
        started_at: Option<String>,
    }
    /// `node:progress`
    NodeProgress {
        /// 0 to 100.
        progress: f64,
        /// What it does now.
        step: Option<String>,
    }
    /// `node:completed`
    NodeCompleted {
        /// What came out of it.
        output: Option<Value>,
        /// What came out of it, by name.
        outputs: Option<Value>,
        /// Milliseconds.
        duration_ms: Option<u64>,
        /// RFC 3339.
        started_at: Option<String>,
        /// RFC 3339.
        completed_at: Option<String>,
    }
    /// `node:failed`
    NodeFailed {
        /// Why.
        error: String,
        /// Whether and when it is tried again.
        retry: Option<Value>,
    }
    /// `agent:started`, `agent:progress`, `agent:completed` and `agent:failed`
    AgentStep {
        /// The agent's name, for people.
        agent_name: Option<String>,
        /// 0 to 100.
        progress: Option<f64>,
        /// What it does now.
        message: Option<String>,
        /// What came out of it.
        result: Option<Value>,
        /// Why it failed.
        error: Option<String>,
    }
    /// `agent:token`
    AgentToken {
        /// The next piece of the text.
        token: String,
        /// Its number.
        index: Option<u64>,
        /// The text so far.
        response: Option<String>,
    }
    /// `agent:streaming_end`
    AgentStreamingEnd {
        /// The whole text.
        response: Option<String>,
        /// Tokens sent.
        token_count: Option<u64>,
    }
    /// `agent:tool_call`
    AgentToolCall {
        /// The tool.
        tool: String,
        /// What it is given.
        arguments: Option<Value>,
        /// How far it is: `started`, `completed`, `failed`.
        status: String,
    }
    /// `user_input:required`
    UserInputRequired {
        /// Names the request; its answer carries it.
        request_id: String,
        /// What is asked.
        prompt: String,
        /// How it is to be asked: `text`, `choice`, …
        input_type: Option<String>,
        /// Rules for the answer.
        validation: Option<Value>,
    }
    /// `user_input:provided`
    UserInputProvided {
        /// The request that was answered.
        request_id: String,
    }
    /// `user_input:timeout`
    UserInputTimeout {
        /// The request that nobody answered.
        request_id: String,
        /// How long it was open, milliseconds.
        timeout_ms: u64,
    }
    /// `kb:*`
    KbStep {
        /// The file.
        file_name: Option<String>,
        /// Bytes.
        file_size: Option<u64>,
        /// 0 to 100.
        progress: Option<f64>,
        /// `extraction`, `chunking` or `embedding`.
        step: Option<String>,
        /// The document it became.
        document_id: Option<String>,
        /// Its chunks.
        chunk_count: Option<u64>,
        /// Its embeddings.
        embedding_count: Option<u64>,
        /// Why it failed.
        error: Option<String>,
        /// At which step it failed.
        failed_step: Option<String>,
    }
    /// `log`
    Log {
        /// The entry's id.
        id: Option<String>,
        /// How grave it is.
        level: Level,
        /// What there is to say.
        message: String,
        /// The node that says it.
        node_id: Option<String>,
        /// Anything else.
        metadata: Option<Value>,
        /// The step's name, for step logs.
        step_name: Option<String>,
        /// What kind of step.
        step_type: Option<String>,
        /// What it was given.
        input_data: Option<Value>,
        /// What came out of it.
        output_data: Option<Value>,
        /// Milliseconds.
        duration_ms: Option<u64>,
    }
}

/// The state of an execution, as the contract writes it.
pub use weft_event::Status;

/// How grave a log entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Level {
    Debug,
    #[default]
    Info,
    Warning,
    Error,
}

impl Log {
    /// An entry of this level.
    #[must_use]
    pub fn new(level: Level, message: impl Into<String>) -> Self {
        Self { level, message: message.into(), ..Self::default() }
    }

    /// An entry of level `info`.
    #[must_use]
    pub fn info(message: impl Into<String>) -> Self {
        Self::new(Level::Info, message)
    }

    /// An entry of level `error`.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Level::Error, message)
    }
}
