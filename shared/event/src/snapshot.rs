//! The state that an execution's events fold into (wire contract, section 3).
//!
//! The fold is deterministic: the same events in the same order give the same snapshot, byte for byte, whether
//! they are folded in one go or from any earlier snapshot on. Its size is bounded: a value over
//! [`VALUE_BYTES_MAX`], or one that would take the values past [`VALUES_BYTES_MAX`] in all, is kept as
//! `{"truncated":true,"bytes":n}`, and nodes past [`NODES_MAX`] are only counted. What the execution itself ended with has a
//! place of its own, whatever its nodes left. In all it fits into one message of a broker, a mebibyte.

use crate::{Envelope, Family, Prepared};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Largest single value (an output, a result, an error) kept in a snapshot, in bytes.
pub const VALUE_BYTES_MAX: usize = 192 * 1024;
/// Largest sum of the values kept in a snapshot, in bytes; the execution's own result or error is not among them.
pub const VALUES_BYTES_MAX: usize = 384 * 1024;
/// Most nodes kept in a snapshot.
pub const NODES_MAX: usize = 1000;
/// Most prompts kept as pending; an execution that opens more has its oldest forgotten.
pub const PENDING_INPUT_MAX: usize = 64;

type Raw = Box<RawValue>;

/// State of an execution or a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Status {
    #[default]
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    /// Whether the execution has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// The folded state of one execution, without the offset it stands at: whoever keeps it knows that.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the wire contract, section 3, lists the fields
pub struct Snapshot {
    pub execution_id: String,
    pub workflow_id: Option<String>,
    pub user_id: Option<String>,
    pub status: Status,
    pub progress: Option<Raw>,
    pub current_node: Option<Raw>,
    pub error: Option<Raw>,
    pub result: Option<Raw>,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
    pub nodes: IndexMap<String, NodeState>,
    pub pending_input: Vec<Raw>,
    /// Nodes seen past [`NODES_MAX`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nodes_omitted: u64,
    /// Bytes of values kept so far, see [`VALUES_BYTES_MAX`].
    #[serde(default)]
    pub value_bytes: usize,
}

/// The folded state of one node, or of one agent step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct NodeState {
    pub status: Status,
    pub progress: Option<Raw>,
    pub output: Option<Raw>,
    pub error: Option<Raw>,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature serde asks for
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The keys of `data` that are folded. Everything stays raw: a value is kept as it was published.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    started_at: Option<&'a RawValue>,
    #[serde(borrow)]
    completed_at: Option<&'a RawValue>,
    #[serde(borrow)]
    progress: Option<&'a RawValue>,
    #[serde(borrow)]
    current_node: Option<&'a RawValue>,
    #[serde(borrow)]
    current_agent: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    outputs: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
}

/// Whether events of this type change a snapshot at all; the others need no parsing.
#[must_use]
pub fn is_folded(kind: &str) -> bool {
    match kind.split_once(':') {
        Some(("execution" | "node" | "user_input", _)) => true,
        Some(("agent", name)) => matches!(name, "started" | "progress" | "completed" | "failed"),
        _ => false,
    }
}

impl Snapshot {
    /// Folds a checked event in. When it was stored is asked only where it brings no time of its own.
    pub fn apply_prepared(&mut self, event: &Prepared, stored_at: impl FnOnce() -> Option<String>) {
        if is_folded(&event.kind) || self.may_learn_from(event) {
            let stored_at = if event.has_timestamp { None } else { stored_at() };
            self.apply(&event.envelope(), stored_at.as_deref());
        }
    }

    /// Whether an event of a type that is not folded may still say whose execution it is, or of which workflow.
    fn may_learn_from(&self, event: &Prepared) -> bool {
        let names_workflow = || {
            // A key may be written with escapes.
            memchr::memchr(b'\\', &event.body).is_some() || memchr::memmem::find(&event.body, b"workflowId").is_some()
        };
        (self.user_id.is_none() && event.user_id.is_some()) || (self.workflow_id.is_none() && names_workflow())
    }

    /// The state before the first event.
    #[must_use]
    pub fn new(execution_id: &str) -> Self {
        Self { execution_id: execution_id.to_owned(), ..Self::default() }
    }

    /// Folds one event in. `stored_at` (RFC 3339) stands in for a missing `timestamp`.
    ///
    /// Once the status is terminal it never changes again, and neither do progress and current node.
    pub fn apply(&mut self, event: &Envelope<'_>, stored_at: Option<&str>) {
        self.workflow_id = self.workflow_id.take().or_else(|| event.workflow_id.as_deref().map(str::to_owned));
        self.user_id = self.user_id.take().or_else(|| event.user_id.as_deref().map(str::to_owned));
        if !is_folded(&event.kind) {
            return;
        }
        // A `data` that repeats a key is legal JSON but says two things; it is folded as if it said nothing.
        let data: Data<'_> = serde_json::from_str(event.data_text()).unwrap_or_default();
        let at = event.timestamp.as_deref().or(stored_at);
        let (_, name) = event.kind.split_once(':').unwrap_or_default();
        let family = crate::Kind::parse(&event.kind).map_or(Family::Other, crate::Kind::family);
        match family {
            Family::Execution => self.apply_execution(name, &data, at),
            Family::Node | Family::Agent => self.apply_node(event, name, &data, at),
            Family::UserInput => self.apply_input(event, name, &data),
            Family::Kb | Family::Log | Family::Other => {}
        }
    }

    fn apply_execution(&mut self, name: &str, data: &Data<'_>, at: Option<&str>) {
        match name {
            "started" => {
                self.started_at = self.started_at.take().or_else(|| text(data.started_at)).or_else(|| at.map(str::to_owned));
                self.move_to(status_of(data.status).unwrap_or(Status::Running));
            }
            "updated" | "progress" if !self.status.is_terminal() => {
                self.progress = present(data.progress).or(self.progress.take());
                self.current_node =
                    present(data.current_node).or_else(|| present(data.current_agent)).or(self.current_node.take());
                let status = if name == "updated" { status_of(data.status) } else { None };
                self.move_to(status.unwrap_or(if self.status == Status::Pending { Status::Running } else { self.status }));
            }
            "completed" | "failed" | "cancelled" if self.ended_at.is_none() => self.end(name, data, at),
            _ => {}
        }
    }

    fn end(&mut self, name: &str, data: &Data<'_>, at: Option<&str>) {
        match name {
            "completed" => {
                self.move_to(Status::Completed);
                self.result = present(data.result).or_else(|| present(data.outputs)).map(bounded);
            }
            "failed" => {
                self.move_to(Status::Failed);
                self.error = present(data.error).map(bounded);
            }
            _ => {
                self.move_to(Status::Cancelled);
                self.error = present(data.reason).map(bounded);
            }
        }
        // Without any clock the end is still marked, so that a second terminal event changes nothing.
        self.ended_at = Some(at.unwrap_or_default().to_owned());
        self.current_node = None;
        self.pending_input.clear();
    }

    fn move_to(&mut self, status: Status) {
        if !self.status.is_terminal() {
            self.status = status;
        }
    }

    fn apply_node(&mut self, event: &Envelope<'_>, name: &str, data: &Data<'_>, at: Option<&str>) {
        let Some(id) = node_id(event) else { return };
        if !self.nodes.contains_key(id.as_str()) && self.nodes.len() >= NODES_MAX {
            self.nodes_omitted += u64::from(name == "started");
            return;
        }
        let output = present(data.output).or_else(|| present(data.outputs)).or_else(|| present(data.result));
        let output = if name == "completed" { output.map(|value| self.bounded(value)) } else { None };
        let error = if name == "failed" { present(data.error).map(|value| self.bounded(value)) } else { None };
        let node = self.nodes.entry(id).or_default();
        let now = || at.map(str::to_owned);
        match name {
            "started" => {
                // A retry begins again.
                *node =
                    NodeState { status: Status::Running, started_at: text(data.started_at).or_else(now), ..NodeState::default() };
            }
            "progress" => {
                node.progress = present(data.progress).or(node.progress.take());
                if node.status == Status::Pending {
                    node.status = Status::Running;
                }
            }
            "completed" | "failed" => {
                node.status = if name == "completed" { Status::Completed } else { Status::Failed };
                node.started_at = node.started_at.take().or_else(|| text(data.started_at));
                node.completed_at = text(data.completed_at).or_else(now);
                (node.output, node.error) = (output, error);
            }
            _ => {}
        }
    }

    fn apply_input(&mut self, event: &Envelope<'_>, name: &str, data: &Data<'_>) {
        let Some(request) = text(data.request_id) else { return };
        self.pending_input.retain(|pending| request_id(pending).as_deref() != Some(&request));
        if name == "required"
            && !self.status.is_terminal()
            && let Some(prompt) = present(event.data)
        {
            let prompt = self.bounded(prompt);
            self.pending_input.push(prompt);
            if self.pending_input.len() > PENDING_INPUT_MAX {
                self.pending_input.remove(0);
            }
        }
    }

    fn bounded(&mut self, value: Raw) -> Raw {
        let bytes = value.get().len();
        if bytes > VALUE_BYTES_MAX || self.value_bytes + bytes > VALUES_BYTES_MAX {
            return truncated(value);
        }
        self.value_bytes += bytes;
        value
    }

    /// The snapshot as clients get it, with the offset it stands at.
    #[must_use]
    pub fn to_json(&self, offset: Option<&str>) -> String {
        #[derive(Serialize)]
        struct Told<'a> {
            #[serde(flatten)]
            snapshot: Shown<'a>,
            offset: Option<&'a str>,
        }
        let told = Told { snapshot: Shown::from(self), offset };
        serde_json::to_string(&told).expect("a snapshot of strings and valid JSON serializes")
    }
}

/// The value, or what stands for one that is too large.
fn bounded(value: Raw) -> Raw {
    if value.get().len() > VALUE_BYTES_MAX { truncated(value) } else { value }
}

fn truncated(value: Raw) -> Raw {
    RawValue::from_string(format!("{{\"truncated\":true,\"bytes\":{}}}", value.get().len())).unwrap_or(value)
}

/// The fields that clients see, in the contract's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    execution_id: &'a str,
    workflow_id: Option<&'a str>,
    user_id: Option<&'a str>,
    status: Status,
    progress: &'a Option<Raw>,
    current_node: &'a Option<Raw>,
    error: &'a Option<Raw>,
    result: &'a Option<Raw>,
    started_at: Option<&'a str>,
    ended_at: Option<&'a str>,
    nodes: &'a IndexMap<String, NodeState>,
    pending_input: &'a [Raw],
    #[serde(skip_serializing_if = "is_zero")]
    nodes_omitted: u64,
}

impl<'a> From<&'a Snapshot> for Shown<'a> {
    fn from(of: &'a Snapshot) -> Self {
        Self {
            execution_id: &of.execution_id,
            workflow_id: of.workflow_id.as_deref(),
            user_id: of.user_id.as_deref(),
            status: of.status,
            progress: &of.progress,
            current_node: &of.current_node,
            error: &of.error,
            result: &of.result,
            started_at: of.started_at.as_deref(),
            ended_at: of.ended_at.as_deref(),
            nodes: &of.nodes,
            pending_input: &of.pending_input,
            nodes_omitted: of.nodes_omitted,
        }
    }
}

fn present(value: Option<&RawValue>) -> Option<Raw> {
    value.filter(|value| value.get() != "null").map(ToOwned::to_owned)
}

fn text(value: Option<&RawValue>) -> Option<String> {
    value.and_then(|value| serde_json::from_str(value.get()).ok())
}

/// The status that a `data.status` names, if it is one.
pub(crate) fn status_of(value: Option<&RawValue>) -> Option<Status> {
    value.and_then(|value| serde_json::from_str(value.get()).ok())
}

fn node_id(event: &Envelope<'_>) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Ids {
        node_id: Option<String>,
        agent_id: Option<String>,
    }
    let is_agent = event.kind.starts_with("agent:");
    let own = if is_agent { &event.agent_id } else { &event.node_id };
    own.as_deref().map(str::to_owned).or_else(|| {
        let ids: Ids = serde_json::from_str(event.data_text()).ok()?;
        if is_agent { ids.agent_id } else { ids.node_id }
    })
}

fn request_id(prompt: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Id {
        request_id: Option<String>,
    }
    serde_json::from_str::<Id>(prompt.get()).ok().and_then(|id| id.request_id)
}

#[cfg(test)]
mod tests;
