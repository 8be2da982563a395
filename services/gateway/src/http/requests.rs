//! How long requests may take to come, and how much of what is stored one subscription may read.

use clap::Args;
use std::time::Duration;

/// What requests may take.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs)] // the help texts are the documentation
pub struct RequestSettings {
    /// Seconds that a client may take for its handshake of TLS, and then for the head of each request.
    #[arg(long, env = "WEFT_HEADER_SECS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub header_secs: u32,
    /// Seconds in which the body of a request must have come.
    #[arg(long, env = "WEFT_BODY_SECS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub body_secs: u32,
    /// Stored events that a subscription may read before it has caught up; then it is told a gap. 0 is no bound.
    #[arg(long, env = "WEFT_REPLAY_EVENTS_MAX", default_value_t = 100_000)]
    pub replay_events_max: u32,
}

impl RequestSettings {
    /// For a handshake, and for the head of a request.
    #[must_use]
    pub fn head_time(&self) -> Duration {
        Duration::from_secs(self.header_secs.into())
    }

    /// For the body of a request.
    #[must_use]
    pub fn body_time(&self) -> Duration {
        Duration::from_secs(self.body_secs.into())
    }
}
