//! What the executor measures; one line of help each, and every series from the start.

use crate::refusal::Code;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

/// Executions by outcome.
pub const EXECUTIONS: &str = "weft_executor_executions_total";
/// Executions that run now.
pub const RUNNING: &str = "weft_executor_running";
/// As many as may.
pub const EXECUTIONS_MAX: &str = "weft_executor_executions_max";
/// Attempts of nodes by kind and outcome.
pub const NODES: &str = "weft_executor_nodes_total";
/// How long attempts of nodes took, by kind.
pub const NODE_SECONDS: &str = "weft_executor_node_seconds";
/// Commands by kind and outcome.
pub const COMMANDS: &str = "weft_executor_commands_total";
/// Lines of output that were not told.
pub const LINES_CUT: &str = "weft_executor_output_lines_cut_total";
/// Events that the publisher refused at once.
pub const EVENTS_REFUSED: &str = "weft_executor_events_refused_total";
/// HTTP requests by status.
pub const REQUESTS: &str = "weft_executor_http_requests_total";

/// How executions end, or do not begin.
const EXECUTION_OUTCOMES: [&str; 4] = ["completed", "failed", "cancelled", "refused"];
/// What nodes do.
const NODE_KINDS: [&str; 5] = ["command", "http", "sleep", "prompt", "tokens"];
/// How attempts of nodes end.
const NODE_OUTCOMES: [&str; 4] = ["completed", "failed", "timeout", "stopped"];
/// The commands that there are, and all others.
pub const COMMAND_KINDS: [&str; 5] = ["user_input:provide", "cancel", "execute", "start-streaming", "unknown"];
/// Statuses of requests that were answered as they asked.
const STATUSES_OK: [u16; 2] = [200, 202];

/// Describes all of them to the recorder, and begins every series that there may be: the first step of one that was not there
/// is no increase to Prometheus.
pub fn begin(executions_max: usize) {
    describe_counter!(EXECUTIONS, "Executions that ended, by outcome (completed, failed, cancelled), and those refused");
    describe_gauge!(RUNNING, "Executions that run now");
    describe_gauge!(EXECUTIONS_MAX, "As many executions as may run at once");
    describe_counter!(NODES, "Attempts of nodes that ended, by kind and outcome");
    describe_histogram!(NODE_SECONDS, Unit::Seconds, "Time of an attempt of a node, by kind");
    describe_counter!(COMMANDS, "Commands taken from the bus or a gateway, by kind and outcome");
    describe_counter!(LINES_CUT, "Lines of output beyond the bounds of a node, counted and not told");
    describe_counter!(EVENTS_REFUSED, "Events that the publisher refused at once");
    describe_counter!(REQUESTS, "HTTP requests answered, by status");
    running(0);
    gauge!(EXECUTIONS_MAX).set(executions_max as f64);
    EXECUTION_OUTCOMES.iter().for_each(|outcome| counter!(EXECUTIONS, "outcome" => *outcome).absolute(0));
    for kind in NODE_KINDS {
        let _ = histogram!(NODE_SECONDS, "kind" => kind);
        NODE_OUTCOMES.iter().for_each(|outcome| counter!(NODES, "kind" => kind, "outcome" => *outcome).absolute(0));
    }
    let refusals = Code::ALL.iter().filter(|code| !code.is_of_http()).map(|code| code.word());
    let outcomes: Vec<_> = ["accepted", "repeated"].into_iter().chain(refusals).collect();
    for kind in COMMAND_KINDS {
        outcomes.iter().for_each(|outcome| counter!(COMMANDS, "kind" => kind, "outcome" => *outcome).absolute(0));
    }
    counter!(LINES_CUT).absolute(0);
    counter!(EVENTS_REFUSED).absolute(0);
    let refused = Code::ALL.iter().map(|code| code.status().as_u16());
    STATUSES_OK.into_iter().chain(refused).for_each(|status| counter!(REQUESTS, "status" => status.to_string()).absolute(0));
    counter!(REQUESTS, "status" => "other").absolute(0);
}

/// An execution has ended, or was refused before it began.
pub fn execution(outcome: &'static str) {
    counter!(EXECUTIONS, "outcome" => outcome).increment(1);
}

/// So many executions run.
pub fn running(count: usize) {
    gauge!(RUNNING).set(count as f64);
}

/// An attempt of a node has ended.
pub fn node(kind: &'static str, outcome: &'static str, took: Duration) {
    counter!(NODES, "kind" => kind, "outcome" => outcome).increment(1);
    histogram!(NODE_SECONDS, "kind" => kind).record(took.as_secs_f64());
}

/// A command was answered. Unknown kinds are one label, so that nobody can make up labels without end.
pub fn command(kind: &'static str, outcome: &'static str) {
    counter!(COMMANDS, "kind" => kind, "outcome" => outcome).increment(1);
}

/// A request was answered. Statuses that no handler of ours gives are one label, for the same reason.
pub fn request(status: u16) {
    let is_ours = STATUSES_OK.contains(&status) || Code::ALL.iter().any(|code| code.status().as_u16() == status);
    let status = if is_ours { status.to_string() } else { "other".to_owned() };
    counter!(REQUESTS, "status" => status).increment(1);
}
