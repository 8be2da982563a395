//! The runtime beneath everything: whether its threads are busy, and how much waits for them.
//!
//! Read from Tokio when somebody scrapes.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use std::time::Duration;
use tokio::runtime::RuntimeMetrics;

const WORKERS: &str = "weft_runtime_workers";
const BUSY: &str = "weft_runtime_busy_seconds_total";
const TASKS: &str = "weft_runtime_tasks";
const WAITING: &str = "weft_runtime_waiting_tasks";

pub(crate) fn describe() {
    describe_gauge!(WORKERS, "Threads that run tasks");
    describe_counter!(BUSY, "Time in which these threads ran tasks rather than waited, of all together");
    describe_gauge!(TASKS, "Tasks that have not ended");
    describe_gauge!(WAITING, "Tasks that wait for any thread to take them");
}

/// Brings all up to date.
pub(crate) fn collect(runtime: &RuntimeMetrics) {
    let workers = runtime.num_workers();
    let busy: Duration = (0..workers).map(|worker| runtime.worker_total_busy_duration(worker)).sum();
    gauge!(WORKERS).set(workers as f64);
    // Whole seconds, as of the process.
    counter!(BUSY).absolute(busy.as_secs());
    gauge!(TASKS).set(runtime.num_alive_tasks() as f64);
    gauge!(WAITING).set(runtime.global_queue_depth() as f64);
}
