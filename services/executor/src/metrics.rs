//! What the executor measures; one line of help each.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

/// Executions by outcome.
pub const EXECUTIONS: &str = "weft_executor_executions_total";
/// Executions that run now.
pub const RUNNING: &str = "weft_executor_running";
/// How long attempts of nodes took, by kind and outcome.
pub const NODE_SECONDS: &str = "weft_executor_node_seconds";
/// Commands by kind and outcome.
pub const COMMANDS: &str = "weft_executor_commands_total";
/// Lines of output that were not told.
pub const LINES_CUT: &str = "weft_executor_output_lines_cut_total";
/// Events that the publisher refused at once.
pub const EVENTS_REFUSED: &str = "weft_executor_events_refused_total";
/// HTTP requests by status.
pub const REQUESTS: &str = "weft_executor_http_requests_total";

/// Describes all of them to the recorder.
pub fn describe() {
    describe_counter!(EXECUTIONS, "Executions that ended, by outcome (completed, failed, cancelled), and those refused");
    describe_gauge!(RUNNING, "Executions that run now");
    describe_histogram!(NODE_SECONDS, Unit::Seconds, "Time of an attempt of a node, by kind and outcome");
    describe_counter!(COMMANDS, "Commands taken from the bus or a gateway, by kind and outcome");
    describe_counter!(LINES_CUT, "Lines of output beyond the bounds of a node, counted and not told");
    describe_counter!(EVENTS_REFUSED, "Events that the publisher refused at once");
    describe_counter!(REQUESTS, "HTTP requests answered, by status");
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
    histogram!(NODE_SECONDS, "kind" => kind, "outcome" => outcome).record(took.as_secs_f64());
}

/// A command was answered. Unknown kinds are one label, so that nobody can make up labels without end.
pub fn command(kind: &'static str, outcome: &'static str) {
    counter!(COMMANDS, "kind" => kind, "outcome" => outcome).increment(1);
}
