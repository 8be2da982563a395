//! How long requests may take to come, how large they may be, and how much of what is stored one subscription may read.

use clap::Args;
use metrics::{Unit, counter, describe_counter};
use std::time::Duration;

const LARGE: &str = "weft_gateway_large_requests_total";

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
    /// Largest head of a request in bytes: its line and its headers. A token of 8 KiB must have room in it.
    #[arg(long, env = "WEFT_HEADER_BYTES_MAX", default_value_t = 32 * 1024, value_parser = clap::value_parser!(u32).range(16_384..=1_048_576))]
    pub header_bytes_max: u32,
    /// Largest body of a request in bytes, but for those of POST /api/events, of Socket.IO and of operators, which have bounds
    /// of their own.
    #[arg(long, env = "WEFT_BODY_BYTES_MAX", default_value_t = 1024 * 1024, value_parser = clap::value_parser!(u32).range(1024..=67_108_864))]
    pub body_bytes_max: u32,
    /// Stored events that a subscription may read before it has caught up; then it is told a gap. 0 is no bound.
    #[arg(long, env = "WEFT_REPLAY_EVENTS_MAX", default_value_t = 100_000)]
    pub replay_events_max: u32,
}

impl RequestSettings {
    /// What the head of a request may take.
    #[must_use]
    pub fn heads(&self) -> Heads {
        Heads { time: Duration::from_secs(self.header_secs.into()), bytes: self.header_bytes_max as usize }
    }

    /// For the body of a request.
    #[must_use]
    pub fn body_time(&self) -> Duration {
        Duration::from_secs(self.body_secs.into())
    }
}

/// What the head of a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// How long a client may take for its handshake of TLS, and then for the head of each request.
    pub time: Duration,
    /// Its most bytes, 8 KiB at least.
    pub bytes: usize,
}

/// What of a request was larger than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its line and headers: answered 431, or 414 where the line alone is endless.
    Head,
    /// What came after them: answered 413.
    Body,
}

impl Part {
    const ALL: [Self; 2] = [Self::Head, Self::Body];

    /// A request more that was refused for it.
    pub fn count(self) {
        counter!(LARGE, "part" => self.word()).increment(1);
    }

    fn word(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

/// Begins all series, so that each exists from the start.
pub fn begin_counting() {
    describe_counter!(LARGE, Unit::Count, "Requests refused because their head or their body was too large");
    Part::ALL.iter().for_each(|part| counter!(LARGE, "part" => part.word()).absolute(0));
}
