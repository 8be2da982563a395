//! Why the load could not be run: one sentence for whoever started it.

use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
    #[error(
        "{what} needs {needed} file descriptors in a process, and the limit is {limit}: raise it with `ulimit -n {needed}`, or spread the clients with --gateways"
    )]
    Descriptors { what: String, needed: u64, limit: u64 },
    #[error("no gateway at {0}: build it with `cargo build --release --bin gateway`, or name it with --gateway")]
    NoGateway(String),
    #[error("{what} did not become ready: {why}; the end of its log:\n{log}")]
    NotReady { what: String, why: String, log: String },
    #[error("only {done} of {wanted} clients {what} within {} s{detail}", waited.as_secs())]
    Clients { done: u64, wanted: u64, what: &'static str, waited: Duration, detail: String },
    #[error("client processes: {0}")]
    Swarm(String),
    #[error("publishing failed: {0}")]
    Publish(String),
    #[error("the broker: {0}")]
    Broker(String),
    #[error("{0}")]
    Options(String),
    #[error("the plots could not be drawn: {0}")]
    Plot(String),
    #[error("the time allowed ({} s, --time-max) is up", .0.as_secs())]
    TimeUp(Duration),
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// For `map_err`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}
